//! `Model`: what an event makes of a state. Everything a rank does is computed once and remembered.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use common::id::{DirFragId, Incarnation, MapEpoch, Rank};
use common::mds_map::{MdsMap, RankState};
use common::wire::admin::AdminRequest;
use mds_core::Input;
use mds_core::input::AdminId;
use mds_core::journal::entry::Entry;
use mds_core::message::PeerMsg;
use mds_core::message::replica::ReplicaMsg;
use mds_core::timer::Timer;
use rustc_hash::FxHashMap;

use super::arena::{Arena, Id};
use super::client::{self, CLIENT, ClientNode, Life};
use super::event::{self, Event};
use super::property::{self, View, Violation};
use super::rank::{Lane, Letter, Local, Out, RankNode};
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
    steps: FxHashMap<(Id, Key), Rc<Stepped>>,
    client_steps: FxHashMap<(Id, Key), Rc<Stepped>>,
    /// What becomes of a lane when something is added to it.
    longer: FxHashMap<(Id, Id), Id>,
}

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

    fn node_id(&self, state: &State, party: Party) -> Id {
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
        let queue = self.queues.at(self.seats.at(state.seat(to)).lane(from, lane));
        queue.first().map(|first| self.envelopes.at(*first))
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

    /// Every rank with its store, before anything was started.
    pub fn cold(&mut self, left: Left) -> State {
        let map = self.maps.keep(self.world.first_map());
        let nothing = self.queues.keep(Vec::new());
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
        map.epoch = MapEpoch(map.epoch.0 + 1);
        change(map.ranks.get_mut(&rank).expect("every rank is in the map from the start"));
        self.maps.keep(map)
    }

    fn step(&mut self, before: Id, key: Key) -> Result<Rc<Stepped>, Violation> {
        if let Some(known) = self.steps.get(&(before, key)) {
            return Ok(Rc::clone(known));
        }
        let local = self.local(before, key);
        let mut node = self.nodes.at(before).clone();
        let slow_store = self.world.slow_store;
        let mut log = Vec::new();
        let step = AssertUnwindSafe(|| node.step(local, slow_store, &mut log));
        let outs = catch_unwind(step).map_err(|payload| Violation::panicked(payload.as_ref()))?;
        let exported = newly_exported(&self.world, self.nodes.at(before), &node);
        let (rank, life) = (node.rank, node.incarnation);
        let node = self.keep_node(node);
        let mut sent = Vec::new();
        for out in outs {
            match out {
                Out::Send { msg, .. } if !self.world.heeds(&msg) => {}
                Out::Send { to, life: to_life, lane, msg } => {
                    let (from, letter) = (Party::Rank(rank), Letter::Peer(msg));
                    let envelope = Envelope { from, from_life: life, to_life, letter };
                    sent.push((Party::Rank(to), lane, self.envelopes.keep(envelope)));
                }
                Out::Tell(_) if self.world.client.is_none() => {}
                Out::Tell(letter) => {
                    let (from, to_life) = (Party::Rank(rank), Incarnation(0));
                    let envelope = Envelope { from, from_life: life, to_life, letter };
                    sent.push((Party::Client, Lane::Ordered, self.envelopes.keep(envelope)));
                }
            }
        }
        let stepped = Rc::new(Stepped { node, sent, exported, log });
        self.steps.insert((before, key), Rc::clone(&stepped));
        Ok(stepped)
    }

    fn step_client(&mut self, before: Id, key: Key) -> Result<Rc<Stepped>, Violation> {
        if let Some(known) = self.client_steps.get(&(before, key)) {
            return Ok(Rc::clone(known));
        }
        let local = self.local_to_client(key);
        let mut node = self.clients.at(before).clone();
        let step = AssertUnwindSafe(|| node.step(local));
        let outs = catch_unwind(step).map_err(|payload| Violation::panicked(payload.as_ref()))?;
        let sent = outs.into_iter().map(|client::Out { to, letter }| {
            let (from, from_life, to_life) = (Party::Client, Incarnation(0), to.incarnation);
            let envelope = Envelope { from, from_life, to_life, letter };
            (Party::Rank(to.rank), Lane::Ordered, self.envelopes.keep(envelope))
        });
        let sent = sent.collect();
        let node = self.clients.keep(node);
        let stepped = Rc::new(Stepped { node, sent, exported: None, log: Vec::new() });
        self.client_steps.insert((before, key), Rc::clone(&stepped));
        Ok(stepped)
    }

    fn local_to_client(&self, key: Key) -> client::Local {
        match key {
            Key::Message(id) => {
                let Envelope { from, from_life, letter, .. } = self.envelopes.at(id).clone();
                let Party::Rank(rank) = from else { unreachable!("it does not write to itself") };
                client::Local::Letter(Life { rank, incarnation: from_life }, letter)
            }
            Key::Map(id) => client::Local::Map(Box::new(self.maps.at(id).clone())),
            Key::Call(number) => {
                let script = self.world.client.as_ref().expect("there is a client");
                client::Local::Call(Box::new(script.calls[usize::from(number)].call.clone()))
            }
            Key::Connect(made) => client::Local::Connect(made),
            Key::ClientTimer(timer) => client::Local::Timer(timer),
            Key::Timer(_)
            | Key::Sync
            | Key::Fetched(_)
            | Key::Order(_)
            | Key::Cancel
            | Key::Die(_)
            | Key::Start(_) => unreachable!("happens to ranks"),
        }
    }

    fn local(&self, node: Id, key: Key) -> Local {
        let node = self.nodes.at(node);
        match key {
            Key::Message(id) => {
                let Envelope { from, from_life, letter, .. } = self.envelopes.at(id).clone();
                Local::Input(Box::new(heard(from, from_life, letter)))
            }
            Key::Call(_) | Key::Connect(_) | Key::ClientTimer(_) => {
                unreachable!("happens to the client")
            }
            Key::Map(id) => Local::Input(Box::new(Input::Map(self.maps.at(id).clone()))),
            Key::Timer(timer) => Local::Input(Box::new(Input::Timer(timer))),
            Key::Sync => Local::Sync,
            Key::Fetched(number) => Local::Fetched(usize::from(number)),
            Key::Order(number) => {
                let order = self.world.orders[usize::from(number)];
                let request = AdminRequest::Export { dir: order.dir, to: order.to };
                Local::Input(Box::new(Input::Admin { id: AdminId(u64::from(number)), request }))
            }
            Key::Cancel => {
                let process = node.process.as_ref().expect("only the living are asked");
                let mut exports = process.timers.iter().filter_map(|timer| match timer {
                    Timer::Exporter(id) => Some(*id),
                    _ => None,
                });
                let id = exports.next().expect("it is looked for where there is one");
                let request = AdminRequest::CancelMigration { id };
                Local::Input(Box::new(Input::Admin { id: AdminId(100), request }))
            }
            Key::Die(kept) => Local::Die { kept: usize::from(kept) },
            Key::Start(map) => {
                let map = self.maps.at(map).clone();
                let life = map.ranks[&node.rank].incarnation;
                Local::Start(Box::new((self.world.params(node, life, &map), map)))
            }
        }
    }

    fn keep_node(&mut self, node: RankNode) -> Id {
        let id = self.nodes.keep(node);
        if id.index() == self.views.len() {
            self.views.push(property::view(self.nodes.at(id), &self.world));
        }
        id
    }
}

/// What a rank makes of a message.
fn heard(from: Party, incarnation: Incarnation, letter: Letter) -> Input {
    match (from, letter) {
        (Party::Rank(from), Letter::Peer(msg)) => Input::Peer { from, incarnation, msg },
        (_, Letter::ToMds(conn, msg)) => Input::Client { conn, client: CLIENT, msg },
        (_, Letter::Gone(conn)) => Input::ClientGone { conn, client: CLIENT },
        (from, letter) => unreachable!("{from} says {letter:?} to a rank"),
    }
}

/// The moment the exporter's fact survives everything, the importer is the authority (**E1**).
fn newly_exported(world: &World, before: &RankNode, after: &RankNode) -> Option<Rank> {
    let base = DirFragId::whole(world.region);
    let exports = |node: &RankNode| {
        let entries = node.disk.durable_journal().filter_map(|entry| match entry {
            Entry::Export { id, base: of, to, .. } if *of == base => Some((*id, *to)),
            _ => None,
        });
        entries.collect::<Vec<_>>()
    };
    let known = exports(before);
    exports(after).into_iter().rev().find(|export| !known.contains(export)).map(|(_, to)| to)
}
