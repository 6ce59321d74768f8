//! `Model`: what an event makes of a state. Everything a rank does is computed once and remembered.

mod locality;
mod step;

use std::rc::Rc;

use common::id::{Incarnation, MapEpoch, Rank};
use common::mds_map::{MdsMap, RankState};
use mds_core::message::PeerMsg;
use mds_core::message::replica::ReplicaMsg;
use mds_core::timer::Timer;
use rustc_hash::FxHashMap;

use super::arena::{Arena, Fingerprint, Id};
use super::client::ClientNode;
use super::event::{self, Event};
use super::property::{View, Violation};
use super::rank::{Lane, Letter, RankNode};
use super::seat::Seat;
use super::state::{Left, Party, State};
use super::world::World;

#[derive(Debug)]
pub struct Model {
    pub world: World,
    nodes: Arena<RankNode>,
    /// What checkers want to know of each node.
    views: Vec<View>,
    clients: Arena<ClientNode>,
    seats: Arena<Seat>,
    envelopes: Arena<Envelope>,
    /// Lanes: envelopes, the oldest first.
    queues: Arena<Vec<Id>>,
    maps: Arena<MdsMap>,
    steps: Steps,
    client_steps: Steps,
    /// What becomes of a lane when something is added to it.
    longer: FxHashMap<(Id, Id), Id>,
}

/// What becomes of a node by an event.
type Steps = FxHashMap<(Id, Key), Rc<Stepped>>;

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    pub from: Party,
    pub from_life: Incarnation,
    /// Whom it is for. To another life it does not get.
    pub to_life: Incarnation,
    pub letter: Letter,
}

/// What happens to one rank, small enough to look it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Message(Id),
    Map(Id),
    Timer(Timer),
    Sync,
    Fetched(u8),
    Order(u8),
    Cancel,
    Die(u8),
    Start(Id),
    Call(u8),
    Connect(bool),
    ClientTimer(client_core::Timer),
}

/// What came of it.
#[derive(Debug)]
struct Stepped {
    node: Id,
    sent: Vec<(Party, Lane, Id)>,
    /// An `Export` of the region has become durable: to whom.
    exported: Option<Rank>,
    log: Vec<String>,
}

impl Model {
    #[must_use]
    pub fn new(world: World) -> Self {
        Self {
            world,
            nodes: Arena::default(),
            views: Vec::new(),
            clients: Arena::default(),
            seats: Arena::default(),
            envelopes: Arena::default(),
            queues: Arena::default(),
            maps: Arena::default(),
            steps: FxHashMap::default(),
            client_steps: FxHashMap::default(),
            longer: FxHashMap::default(),
        }
    }

    pub fn ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        (0..self.world.ranks).map(Rank)
    }

    /// Who may have sent something.
    pub fn parties(&self) -> impl Iterator<Item = Party> + use<> {
        let client = self.world.client.is_some().then_some(Party::Client);
        self.ranks().map(Party::Rank).chain(client)
    }

    #[must_use]
    pub fn node_id(&self, state: &State, party: Party) -> Id {
        self.seats.at(state.seat(party)).node
    }

    #[must_use]
    pub fn node(&self, state: &State, rank: Rank) -> &RankNode {
        self.nodes.at(self.node_id(state, Party::Rank(rank)))
    }

    #[must_use]
    pub fn view(&self, state: &State, rank: Rank) -> &View {
        &self.views[self.node_id(state, Party::Rank(rank)).index()]
    }

    /// If there is one in this world.
    #[must_use]
    pub fn client(&self, state: &State) -> Option<&ClientNode> {
        self.world.client.is_some().then(|| self.clients.at(self.node_id(state, Party::Client)))
    }

    /// The life of a rank that runs.
    #[must_use]
    pub fn life(&self, state: &State, rank: Rank) -> Option<Incarnation> {
        let node = self.node(state, rank);
        node.process.is_some().then_some(node.incarnation)
    }

    #[must_use]
    pub fn map(&self, state: &State) -> &MdsMap {
        self.maps.at(state.map)
    }

    #[must_use]
    pub fn first_in_lane(
        &self,
        state: &State,
        from: Party,
        to: Party,
        lane: Lane,
    ) -> Option<&Envelope> {
        self.head(self.seat(state, to).lane(from, lane))
    }

    #[must_use]
    pub fn seat(&self, state: &State, party: Party) -> &Seat {
        self.seats.at(state.seat(party))
    }

    /// The first thing in a lane.
    #[must_use]
    pub fn head(&self, queue: Id) -> Option<&Envelope> {
        // The empty lane was there before all others.
        let full = queue != Id::default();
        full.then(|| self.envelopes.at(self.queues.at(queue)[0]))
    }

    /// Whether a rank has said something to the client before it died that the client may not hear.
    #[must_use]
    pub fn has_last_words(&self, state: &State, from: Rank) -> bool {
        let seat = self.seats.at(state.seat(Party::Client));
        let queue = self.queues.at(seat.lane(Party::Rank(from), Lane::Ordered));
        let broken = |id: &Id| self.envelopes.at(*id).letter == Letter::Broken;
        queue.iter().position(broken).is_some_and(|words| words > 0)
    }

    /// Distinct states of single ranks seen so far.
    #[must_use]
    pub fn nodes_seen(&self) -> usize {
        self.nodes.len()
    }

    /// Distinct steps of single parties seen so far.
    #[must_use]
    pub fn steps_seen(&self) -> usize {
        self.steps.len() + self.client_steps.len()
    }

    /// The same for the same state in another model.
    #[must_use]
    pub fn fingerprint(&self, state: &State) -> Fingerprint {
        let ranks: Vec<Fingerprint> =
            self.ranks().map(|rank| Fingerprint::of(self.node(state, rank))).collect();
        let client = self.client(state).map(Fingerprint::of);
        Fingerprint::of(&(ranks, client, self.map(state), state.left, state.owner))
    }

    /// Every rank with its store, before anything was started.
    pub fn cold(&mut self, left: Left) -> State {
        let map = self.maps.keep(self.world.first_map());
        let nothing = self.queues.keep(Vec::new());
        assert_eq!(nothing, Id::default(), "so it is known for what it is");
        let nobody = self.seats.keep(Seat::new(Id::default(), nothing));
        let mut state = State::new(map, nobody, self.world.exporter, left);
        for rank in self.ranks() {
            let disk = self.world.disk(rank);
            let node = self.keep_node(RankNode::new(rank, disk));
            state.set_seat(Party::Rank(rank), self.seats.keep(Seat::new(node, nothing)));
        }
        if self.world.client.is_some() {
            let node = self.clients.keep(ClientNode::default());
            state.set_seat(Party::Client, self.seats.keep(Seat::new(node, nothing)));
        }
        state
    }

    /// # Errors
    /// The core panicked.
    pub fn apply(&mut self, state: &State, event: Event) -> Result<State, Violation> {
        self.apply_logged(state, event, &mut Vec::new())
    }

    /// Tells what happened beyond the event itself, for people.
    ///
    /// # Errors
    /// The core panicked.
    pub fn apply_logged(
        &mut self,
        state: &State,
        event: Event,
        log: &mut Vec<String>,
    ) -> Result<State, Violation> {
        let mut next = self.happen(state, event, log)?;
        while let Some(event) = event::at_once(&next, self) {
            next = self.happen(&next, event, log)?;
        }
        Ok(next)
    }

    fn happen(
        &mut self,
        state: &State,
        event: Event,
        log: &mut Vec<String>,
    ) -> Result<State, Violation> {
        let mut next = *state;
        let (rank, key) = match event {
            Event::Deliver { from, to: Party::Rank(to), lane } => {
                let to_rank = (from, Party::Rank(to));
                (to, Key::Message(self.take_first(&mut next, to_rank, lane)))
            }
            Event::Deliver { to: Party::Client, .. }
            | Event::LastWords(_)
            | Event::Call
            | Event::ClientMap
            | Event::Connect(_)
            | Event::ClientTimer(_) => {
                let key = self.client_key(&mut next, event);
                return self.client_does(next, key);
            }
            Event::Sync(rank) => (rank, Key::Sync),
            Event::Fetched(rank, number) => (rank, Key::Fetched(number)),
            Event::Sweep(rank) => (rank, Key::Timer(Timer::Sweep)),
            Event::Map(rank) => (rank, Key::Map(state.map)),
            Event::Down(rank) => {
                next.map = self.new_map(state, rank, |entry| entry.state = RankState::Down);
                return Ok(next);
            }
            Event::Start(rank) => {
                let incarnation = Incarnation(self.node(state, rank).incarnation.0 + 1);
                next.map = self.new_map(state, rank, |entry| {
                    entry.incarnation = incarnation;
                    entry.state = RankState::Replay;
                });
                (rank, Key::Start(next.map))
            }
            Event::Grant(rank) => return self.grant(state, rank, log),
            Event::Order => {
                next.left.orders -= 1;
                let number = self.world.order_number(next.left.orders);
                (self.world.orders[usize::from(number)].at, Key::Order(number))
            }
            Event::Ask(rank) => {
                next.left.asks -= 1;
                let ask = PeerMsg::Replica(ReplicaMsg::Discover { dir: self.world.region });
                self.inject(&mut next, (rank, self.world.exporter), ask);
                return Ok(next);
            }
            Event::Trim(rank) => {
                next.left.trims -= 1;
                (rank, Key::Timer(Timer::Spine))
            }
            Event::Cancel(rank) => {
                next.left.cancels -= 1;
                (rank, Key::Cancel)
            }
            Event::Deadline { rank, number, early } => {
                next.left.deadlines -= u8::from(early);
                let mut armed = event::deadlines(self.node(state, rank));
                let timer = armed.nth(usize::from(number)).expect("it was armed a moment ago");
                drop(armed);
                (rank, Key::Timer(timer))
            }
            Event::Patience => return self.let_deadlines_pass(state, log),
            Event::Die { rank, kept, .. } => {
                next.left.crashes -= 1;
                self.lose_messages_to(&mut next, rank);
                (rank, Key::Die(kept))
            }
        };
        let stepped = self.step(self.node_id(&next, Party::Rank(rank)), key)?;
        self.commit(&mut next, Party::Rank(rank), &stepped);
        log.extend(stepped.log.iter().cloned());
        Ok(next)
    }

    fn client_key(&mut self, next: &mut State, event: Event) -> Key {
        match event {
            Event::Deliver { from, lane, .. } => {
                Key::Message(self.take_first(next, (from, Party::Client), lane))
            }
            Event::LastWords(from) => {
                let lane = (Party::Rank(from), Party::Client);
                let mut last = self.take_first(next, lane, Lane::Ordered);
                while self.envelopes.at(last).letter != Letter::Broken {
                    last = self.take_first(next, lane, Lane::Ordered);
                }
                Key::Message(last)
            }
            Event::Call => {
                let script = self.world.client.as_ref().expect("there is a client");
                let all = u8::try_from(script.calls.len()).expect("there are few");
                let number = all - next.left.calls;
                next.left.calls -= 1;
                Key::Call(number)
            }
            Event::ClientMap => Key::Map(next.map),
            Event::Connect(made) => Key::Connect(made),
            Event::ClientTimer(timer) => Key::ClientTimer(timer),
            event => unreachable!("{event} happens to ranks"),
        }
    }

    fn client_does(&mut self, mut next: State, key: Key) -> Result<State, Violation> {
        let stepped = self.step_client(self.node_id(&next, Party::Client), key)?;
        self.commit(&mut next, Party::Client, &stepped);
        Ok(next)
    }

    fn let_deadlines_pass(
        &mut self,
        state: &State,
        log: &mut Vec<String>,
    ) -> Result<State, Violation> {
        let mut next = *state;
        for rank in self.ranks() {
            let timers: Vec<Timer> = event::deadlines(self.node(state, rank)).collect();
            for timer in timers {
                let node = self.node_id(&next, Party::Rank(rank));
                let stepped = self.step(node, Key::Timer(timer))?;
                self.commit(&mut next, Party::Rank(rank), &stepped);
                log.extend(stepped.log.iter().cloned());
            }
        }
        Ok(next)
    }

    /// One stage after the other, for as long as the rank has to wait for nobody.
    fn grant(
        &mut self,
        state: &State,
        rank: Rank,
        log: &mut Vec<String>,
    ) -> Result<State, Violation> {
        let mut next = *state;
        while let Some(process) = &self.node(&next, rank).process
            && process.wanted > self.map(&next).state(rank)
        {
            let wanted = process.wanted;
            next.map = self.new_map(&next, rank, |entry| entry.state = wanted);
            let node = self.node_id(&next, Party::Rank(rank));
            let stepped = self.step(node, Key::Map(next.map))?;
            self.commit(&mut next, Party::Rank(rank), &stepped);
            log.push(wanted.name().to_owned());
            log.extend(stepped.log.iter().cloned());
        }
        Ok(next)
    }

    /// A message that a rank sends for reasons of its own.
    pub fn inject(&mut self, state: &mut State, (from, to): (Rank, Rank), msg: PeerMsg) {
        let sender = self.node(state, from);
        let known = sender.process.as_ref().and_then(|process| process.map.incarnation(to));
        let (from_life, Some(to_life)) = (sender.incarnation, known) else { return };
        let (from, letter) = (Party::Rank(from), Letter::Peer(msg));
        let envelope = self.envelopes.keep(Envelope { from, from_life, to_life, letter });
        self.send(state, from, (Party::Rank(to), Lane::Ordered, envelope));
    }

    /// Puts a message on its way, if the life it is for has not ended.
    fn send(&mut self, state: &mut State, from: Party, (to, lane, envelope): (Party, Lane, Id)) {
        let arrives = match to {
            Party::Rank(rank) => {
                self.life(state, rank) == Some(self.envelopes.at(envelope).to_life)
            }
            Party::Client => self.world.client.is_some(),
        };
        if arrives {
            let mut seat = *self.seats.at(state.seat(to));
            let before = seat.lane(from, lane);
            let queues = &mut self.queues;
            let after = *self.longer.entry((before, envelope)).or_insert_with(|| {
                let mut queue = queues.at(before).clone();
                queue.push(envelope);
                queues.keep(queue)
            });
            seat.set_lane(from, lane, after);
            state.set_seat(to, self.seats.keep(seat));
        }
    }

    fn commit(&mut self, state: &mut State, party: Party, stepped: &Stepped) {
        let mut seat = *self.seats.at(state.seat(party));
        if seat.node != stepped.node {
            seat.node = stepped.node;
            state.set_seat(party, self.seats.keep(seat));
        }
        if let Some(owner) = stepped.exported {
            state.owner = owner;
        }
        for sent in &stepped.sent {
            self.send(state, party, *sent);
        }
    }

    fn take_first(&mut self, state: &mut State, (from, to): (Party, Party), lane: Lane) -> Id {
        let mut seat = *self.seats.at(state.seat(to));
        let (first, rest) =
            self.queues.at(seat.lane(from, lane)).split_first().expect("something is on its way");
        let (first, rest) = (*first, rest.to_vec());
        seat.set_lane(from, lane, self.queues.keep(rest));
        state.set_seat(to, self.seats.keep(seat));
        first
    }

    /// What it has sent may still arrive, for as long as nobody knows that it is dead.
    fn lose_messages_to(&mut self, state: &mut State, dead: Rank) {
        let nothing = self.queues.keep(Vec::new());
        let node = self.node_id(state, Party::Rank(dead));
        state.set_seat(Party::Rank(dead), self.seats.keep(Seat::new(node, nothing)));
    }

    fn new_map(
        &mut self,
        state: &State,
        rank: Rank,
        change: impl FnOnce(&mut common::mds_map::RankEntry),
    ) -> Id {
        let mut map = self.map(state).clone();
        change(map.ranks.get_mut(&rank).expect("every rank is in the map from the start"));
        map.epoch = epoch_of(&map);
        self.maps.keep(map)
    }
}

/// Epochs only have to grow: one that is worked out from what a map says is the same however many maps
/// there were before.
fn epoch_of(map: &MdsMap) -> MapEpoch {
    let stages_of_a_life = RankState::Stopping as u64 + 2;
    let stages = map.ranks.values().map(|entry| {
        let stage = match entry.state {
            RankState::Down if entry.incarnation == Incarnation(0) => 0,
            RankState::Down => stages_of_a_life - 1,
            state => state as u64,
        };
        entry.incarnation.0 * stages_of_a_life + stage
    });
    MapEpoch(1 + stages.sum::<u64>())
}
