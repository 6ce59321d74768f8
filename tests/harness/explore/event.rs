//! `Event`: everything that can happen next. Which of them can, in a given state, is in [`enabled`].

use std::fmt;

use client_core::Timer as ClientTimer;
use common::id::{Incarnation, Rank};
use common::mds_map::{MdsMap, RankState};
use mds_core::message::PeerMsg;
use mds_core::timer::Timer;

use super::model::{Envelope, Model};
use super::rank::{Lane, Letter, RankNode};
use super::seat::Seat;
use super::state::{Party, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    /// The oldest message of a lane arrives.
    Deliver {
        from: Party,
        to: Party,
        lane: Lane,
    },
    /// The client finds a connection broken before it has read what the dead rank had said last.
    LastWords(Rank),
    /// The client begins the next of what it is to do.
    Call,
    /// The client hears of the newest map.
    ClientMap,
    /// The connection that the client wants first is made, or refused.
    Connect(bool),
    ClientTimer(client_core::Timer),
    /// What a rank has written becomes durable, and it hears so.
    Sync(Rank),
    /// A rank's store answers a question.
    Fetched(Rank, u8),
    /// Given-away fragments are deleted, a slice at a time.
    Sweep(Rank),
    /// A rank hears of the newest map; it may have missed some.
    Map(Rank),
    /// The monitor notices that a rank is dead.
    Down(Rank),
    /// The next process of a dead rank starts, and the monitor hears of it.
    Start(Rank),
    /// The monitor grants the stage of life a rank asks for, and those it then asks for.
    Grant(Rank),
    /// The operator gives the next order.
    Order,
    /// A rank wants to know the region's base, and asks the exporter.
    Ask(Rank),
    /// A rank gives back the replicas it does not need.
    Trim(Rank),
    /// The operator cancels what a rank exports.
    Cancel(Rank),
    /// A deadline passes; perhaps although things were going on, which is not counted upon.
    Deadline {
        rank: Rank,
        number: u8,
        early: bool,
    },
    /// Nothing else happens, and every deadline passes.
    Patience,
    /// A rank dies; so many batches survive of those that were not synced.
    Die {
        rank: Rank,
        kept: u8,
        unsynced: u8,
    },
}

/// Why an event may be left out of account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Happens in the end, if nothing happens before that prevents it.
    Fair,
    /// Nobody may count on it, and nobody may be hurt by it.
    Fault,
}

impl Event {
    #[must_use]
    pub fn kind(self) -> Kind {
        match self {
            Self::Deliver { .. }
            | Self::Sync(_)
            | Self::Fetched(..)
            | Self::Sweep(_)
            | Self::Map(_)
            | Self::Down(_)
            | Self::Start(_)
            | Self::Grant(_)
            | Self::Order
            | Self::Call
            | Self::ClientMap
            | Self::Connect(_)
            | Self::ClientTimer(_)
            | Self::Patience => Kind::Fair,
            Self::LastWords(_)
            | Self::Ask(_)
            | Self::Trim(_)
            | Self::Cancel(_)
            | Self::Deadline { .. }
            | Self::Die { .. } => Kind::Fault,
        }
    }
}

/// Everything that can happen next: what is fair first, in the order in which a kind world does it.
pub fn enabled(state: &State, model: &Model) -> Vec<Event> {
    let mut events = Vec::new();
    deliveries(state, model, &mut events);
    for rank in model.ranks() {
        let node = model.node(state, rank);
        let Some(process) = &node.process else { continue };
        events.extend((0..small(process.fetches.len())).map(|number| Event::Fetched(rank, number)));
        if process.sync_awaited {
            events.push(Event::Sync(rank));
        }
        if model.world.sweeps_early && process.timers.contains(&Timer::Sweep) {
            events.push(Event::Sweep(rank));
        }
    }
    lives(state, model, &mut events);
    client(state, model, &mut events);
    if state.left.orders > 0 {
        let number = model.world.order_number(state.left.orders - 1);
        let asked = model.world.orders[usize::from(number)].at;
        if model.node(state, asked).process.is_some() {
            events.push(Event::Order);
        }
    }
    if events.is_empty() {
        late(state, model, &mut events);
    }
    let still = events.is_empty();
    if still && model.ranks().any(|rank| deadlines(model.node(state, rank)).next().is_some()) {
        events.push(Event::Patience);
    }
    for rank in model.ranks() {
        faults(state, model, rank, still, &mut events);
    }
    events
}

fn deliveries(state: &State, model: &Model, events: &mut Vec<Event>) {
    let seats: Vec<(Party, &Seat)> =
        model.parties().map(|to| (to, model.seat(state, to))).collect();
    for lane in [Lane::Ordered, Lane::Bulk] {
        for from in model.parties() {
            for (to, seat) in &seats {
                let Some(first) = model.head(seat.lane(from, lane)) else { continue };
                let to = *to;
                if hears(state, model, to, first) {
                    events.push(Event::Deliver { from, to, lane });
                }
            }
        }
    }
}

/// What happens before anything else can: it changes nothing.
pub fn at_once(state: &State, model: &Model) -> Option<Event> {
    if model.world.claims_late {
        return None;
    }
    let brings_claims = |event: &Event| {
        let Event::Deliver { from, to, lane } = *event else { return false };
        let first = model.first_in_lane(state, from, to, lane);
        first.is_some_and(|first| matches!(first.letter, Letter::Peer(PeerMsg::Claims(_))))
    };
    let mut events = Vec::new();
    deliveries(state, model, &mut events);
    events.into_iter().find(brings_claims)
}

/// What a life says that the receiver's map does not show yet waits.
fn hears(state: &State, model: &Model, to: Party, first: &Envelope) -> bool {
    let (Party::Rank(from), Party::Rank(to)) = (first.from, to) else { return true };
    let process = model.node(state, to).process.as_ref();
    let known = process.and_then(|process| process.map.ranks.get(&from));
    known.is_some_and(|known| known.incarnation >= first.from_life)
}

/// What the client does when it can. It tries again where that leads to something.
fn client(state: &State, model: &Model, events: &mut Vec<Event>) {
    let Some(client) = model.client(state) else { return };
    if let Some(to) = client.connects_to() {
        events.push(Event::Connect(model.life(state, to.rank) == Some(to.incarnation)));
    }
    let (known, newest) = (client.map(), model.map(state));
    if known.is_none_or(|known| is_news_to_clients(known, newest)) {
        events.push(Event::ClientMap);
    }
    for timer in &client.timers {
        if let ClientTimer::Reconnect(rank) = timer {
            let life = known.and_then(|map| map.incarnation(*rank));
            if life.is_none() || life == model.life(state, *rank) {
                events.push(Event::ClientTimer(*timer));
            }
        }
    }
    if state.left.calls > 0 {
        events.push(Event::Call);
    }
    for rank in model.ranks() {
        if model.has_last_words(state, rank) {
            events.push(Event::LastWords(rank));
        }
    }
}

/// Clients go by which life of a rank takes connections.
fn is_news_to_clients(known: &MdsMap, newest: &MdsMap) -> bool {
    let gist = |map: &MdsMap| {
        let takes = |rank| map.state(rank) >= RankState::Reconnect;
        let ranks = map.ranks.keys().map(|rank| (map.incarnation(*rank), takes(*rank)));
        ranks.collect::<Vec<_>>()
    };
    known.epoch < newest.epoch && gist(known) != gist(newest)
}

/// What nobody waits for. That something was durable before it had to be shows only when a rank loses
/// power, and then any number of batches may have been: [`Event::Die`].
fn late(state: &State, model: &Model, events: &mut Vec<Event>) {
    for rank in model.ranks() {
        let node = model.node(state, rank);
        let Some(process) = &node.process else { continue };
        if node.disk.unsynced() > 0 {
            events.push(Event::Sync(rank));
        }
        if process.timers.contains(&Timer::Sweep) {
            events.push(Event::Sweep(rank));
        }
    }
    let waits =
        |timer: &&ClientTimer| matches!(timer, ClientTimer::Retry(_) | ClientTimer::GiveBack);
    if events.is_empty() {
        let client = model.client(state);
        let timers = client.iter().flat_map(|client| client.timers.iter()).filter(waits);
        events.extend(timers.map(|timer| Event::ClientTimer(*timer)));
    }
}

fn lives(state: &State, model: &Model, events: &mut Vec<Event>) {
    let map = model.map(state);
    for rank in model.ranks() {
        let node = model.node(state, rank);
        match &node.process {
            Some(process) => {
                if is_news(&process.map, map) {
                    events.push(Event::Map(rank));
                }
                if process.wanted > map.state(rank) {
                    events.push(Event::Grant(rank));
                }
            }
            None => {
                if map.incarnation(rank).is_some() {
                    events.push(Event::Down(rank));
                }
                if !model.world.buried.contains(&rank) || node.incarnation == Incarnation(0) {
                    events.push(Event::Start(rank));
                }
            }
        }
    }
}

/// Maps may be skipped, so those that tell nobody but the rank concerned anything are: what counts is
/// who lives, who settles with others, and whether all serve.
fn is_news(known: &MdsMap, newest: &MdsMap) -> bool {
    let gist = |map: &MdsMap| {
        let ranks = map.ranks.iter().map(|(rank, entry)| {
            (*rank, map.incarnation(*rank), entry.state == RankState::Resolve)
        });
        (ranks.collect::<Vec<_>>(), map.is_degraded())
    };
    known.epoch < newest.epoch && gist(known) != gist(newest)
}

fn faults(state: &State, model: &Model, rank: Rank, still: bool, events: &mut Vec<Event>) {
    let node = model.node(state, rank);
    let Some(process) = &node.process else { return };
    if still || state.left.deadlines > 0 {
        let early = !still;
        let armed = small(deadlines(node).count());
        events.extend((0..armed).map(|number| Event::Deadline { rank, number, early }));
    }
    if state.left.asks > 0 && model.world.bystanders.contains(&rank) {
        events.push(Event::Ask(rank));
    }
    if state.left.trims > 0 && process.timers.contains(&Timer::Spine) {
        events.push(Event::Trim(rank));
    }
    let exports = process.timers.iter().any(|timer| matches!(timer, Timer::Exporter(_)));
    if state.left.cancels > 0 && exports {
        events.push(Event::Cancel(rank));
    }
    if state.left.crashes > 0 && model.world.mortal.contains(&rank) {
        let unsynced = small(node.disk.unsynced());
        events.extend((0..=unsynced).map(|kept| Event::Die { rank, kept, unsynced }));
    }
}

/// Timers that go off when something takes too long. (Leases and reconnect windows do not: clients
/// come in time. Pins and the balancer begin migrations by themselves: nobody has asked for that.)
fn is_deadline(timer: Timer) -> bool {
    matches!(timer, Timer::Exporter(_) | Timer::Importer(_))
}

/// All deadlines that are armed, as they pass when nothing else happens.
pub fn deadlines<'a>(node: &'a RankNode) -> impl Iterator<Item = Timer> + 'a {
    let timers = node.process.iter().flat_map(|process| process.timers.iter().copied());
    timers.filter(|timer| is_deadline(*timer))
}

fn small(count: usize) -> u8 {
    u8::try_from(count).expect("little goes on in a small world")
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver { from, to, lane: Lane::Ordered } => write!(f, "{from} -> {to}"),
            Self::Deliver { from, to, lane: Lane::Bulk } => write!(f, "{from} => {to}"),
            Self::LastWords(rank) => write!(f, "client loses {rank}'s last words"),
            Self::Call => write!(f, "client calls"),
            Self::ClientMap => write!(f, "client map"),
            Self::Connect(true) => write!(f, "client connects"),
            Self::Connect(false) => write!(f, "client is refused"),
            Self::ClientTimer(timer) => write!(f, "client {timer:?}"),
            Self::Sync(rank) => write!(f, "{rank} synced"),
            Self::Fetched(rank, index) => write!(f, "{rank} fetched {index}"),
            Self::Sweep(rank) => write!(f, "{rank} sweeps"),
            Self::Map(rank) => write!(f, "{rank} map"),
            Self::Down(rank) => write!(f, "{rank} declared down"),
            Self::Start(rank) => write!(f, "{rank} starts"),
            Self::Grant(rank) => write!(f, "{rank} granted"),
            Self::Order => write!(f, "order"),
            Self::Ask(rank) => write!(f, "{rank} wants to know the base"),
            Self::Trim(rank) => write!(f, "{rank} trims replicas"),
            Self::Cancel(rank) => write!(f, "{rank} cancel"),
            Self::Deadline { rank, number, .. } => write!(f, "{rank} deadline {number}"),
            Self::Patience => write!(f, "all deadlines"),
            Self::Die { rank, kept, unsynced } if kept == unsynced => write!(f, "{rank} KILLED"),
            Self::Die { rank, kept, unsynced } => {
                write!(f, "{rank} LOSES POWER, {kept} of {unsynced} batches kept")
            }
        }
    }
}
