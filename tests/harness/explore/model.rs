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
use super::event::{self, Event};
use super::property::{self, View, Violation};
use super::rank::{Lane, Local, Out, RankNode};
use super::state::{Left, State};
use super::world::World;

#[derive(Debug)]
pub struct Model {
    pub world: World,
    nodes: Arena<RankNode>,
    /// What checkers want to know of each node.
    views: Vec<View>,
    envelopes: Arena<Envelope>,
    /// Lanes: envelopes, the oldest first.
    queues: Arena<Vec<Id>>,
    maps: Arena<MdsMap>,
    steps: FxHashMap<(Id, Key), Rc<Stepped>>,
}

/// A message under way.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Envelope {
    pub from: Rank,
    pub from_life: Incarnation,
    /// Whom it is for. To another life it does not get.
    pub to_life: Incarnation,
    pub msg: PeerMsg,
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
}

/// What came of it.
#[derive(Debug)]
struct Stepped {
    node: Id,
    sent: Vec<(Rank, Lane, Id)>,
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
            envelopes: Arena::default(),
            queues: Arena::default(),
            maps: Arena::default(),
            steps: FxHashMap::default(),
        }
    }

    pub fn ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        (0..self.world.ranks).map(Rank)
    }

    #[must_use]
    pub fn node(&self, state: &State, rank: Rank) -> &RankNode {
        self.nodes.at(state.node(rank))
    }

    #[must_use]
    pub fn view(&self, state: &State, rank: Rank) -> &View {
        &self.views[state.node(rank).index()]
    }

    #[must_use]
    pub fn map(&self, state: &State) -> &MdsMap {
        self.maps.at(state.map)
    }

    #[must_use]
    pub fn first_in_lane(
        &self,
        state: &State,
        from: Rank,
        to: Rank,
        lane: Lane,
    ) -> Option<&Envelope> {
        let queue = self.queues.at(state.lane(from, to, lane));
        queue.first().map(|first| self.envelopes.at(*first))
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
        let mut state = State::new(map, nothing, self.world.exporter, left);
        for rank in self.ranks() {
            let disk = self.world.disk(rank);
            state.set_node(rank, self.keep_node(RankNode::new(rank, disk)));
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
            Event::Deliver { from, to, lane } => {
                (to, Key::Message(self.take_first(&mut next, (from, to), lane)))
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
        let stepped = self.step(state.node(rank), key)?;
        self.commit(&mut next, rank, &stepped);
        log.extend(stepped.log.iter().cloned());
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
                let stepped = self.step(next.node(rank), Key::Timer(timer))?;
                self.commit(&mut next, rank, &stepped);
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
            let stepped = self.step(next.node(rank), Key::Map(next.map))?;
            self.commit(&mut next, rank, &stepped);
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
        let envelope = self.envelopes.keep(Envelope { from, from_life, to_life, msg });
        self.send(state, from, (to, Lane::Ordered, envelope));
    }

    /// Puts a message on its way, if the life it is for has not ended.
    fn send(&mut self, state: &mut State, from: Rank, (to, lane, envelope): (Rank, Lane, Id)) {
        let receiver = self.node(state, to);
        let life = self.envelopes.at(envelope).to_life;
        if receiver.process.is_some() && receiver.incarnation == life {
            let mut queue = self.queues.at(state.lane(from, to, lane)).clone();
            queue.push(envelope);
            state.set_lane(from, to, lane, self.queues.keep(queue));
        }
    }

    fn commit(&mut self, state: &mut State, rank: Rank, stepped: &Stepped) {
        state.set_node(rank, stepped.node);
        if let Some(owner) = stepped.exported {
            state.owner = owner;
        }
        for sent in &stepped.sent {
            self.send(state, rank, *sent);
        }
    }

    fn take_first(&mut self, state: &mut State, (from, to): (Rank, Rank), lane: Lane) -> Id {
        let mut queue = self.queues.at(state.lane(from, to, lane)).clone();
        let first = queue.remove(0);
        state.set_lane(from, to, lane, self.queues.keep(queue));
        first
    }

    /// What it has sent may still arrive, for as long as nobody knows that it is dead.
    fn lose_messages_to(&mut self, state: &mut State, dead: Rank) {
        let nothing = self.queues.keep(Vec::new());
        for from in self.ranks() {
            state.set_lane(from, dead, Lane::Ordered, nothing);
            state.set_lane(from, dead, Lane::Bulk, nothing);
        }
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
                    let envelope = Envelope { from: rank, from_life: life, to_life, msg };
                    sent.push((to, lane, self.envelopes.keep(envelope)));
                }
                Out::Tell { .. } | Out::CloseConnection { .. } => {}
            }
        }
        let stepped = Rc::new(Stepped { node, sent, exported, log });
        self.steps.insert((before, key), Rc::clone(&stepped));
        Ok(stepped)
    }

    fn local(&self, node: Id, key: Key) -> Local {
        let node = self.nodes.at(node);
        match key {
            Key::Message(id) => {
                let Envelope { from, from_life, msg, .. } = self.envelopes.at(id).clone();
                Local::Input(Box::new(Input::Peer { from, incarnation: from_life, msg }))
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
