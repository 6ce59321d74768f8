//! Breadth first through every order of events, so that the first violation found is a shortest one.
//!
//! A state is known by its fingerprint; of each is kept how it came about and where the *fair* next
//! event leads. At the end every state is followed along fair events: it must come to rest. So
//! liveness is checked from every state, not from samples.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use mds_core::message::PeerMsg;
use mds_core::message::replica::ReplicaMsg;
use rustc_hash::FxHashMap;

use super::arena::Fingerprint;
use super::event::{self, Event, Kind};
use super::model::Model;
use super::property::{self, Violation};
use super::state::{Left, State};
use super::trace;
use super::world::World;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub crashes: u8,
    pub cancels: u8,
    pub deadlines: u8,
    pub states_max: usize,
    pub time_max: Duration,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    pub states: usize,
    pub transitions: u64,
    /// Of the last state that was looked at.
    pub depth: u32,
    /// Distinct states of single ranks.
    pub nodes: usize,
    /// Distinct states of the world at rest.
    pub ends: u64,
    /// Nothing was left to look at within the bound.
    pub complete: bool,
    pub took: Duration,
    pub found: Option<Found>,
}

/// A violation, and how one gets there.
#[derive(Clone, Debug)]
pub struct Found {
    pub violation: Violation,
    pub trace: Vec<String>,
}

const NOWHERE: u32 = u32::MAX;
/// Of the states beyond the bound every so many-th is followed, for so many events at most.
const UNSEEN_STEP: usize = 97;
const FOLLOW_MAX: usize = 2_000;
/// Events shown of a world that goes round in a circle.
const STUCK_EVENTS: usize = 40;

/// States of single ranks that are kept: some 50 KiB each. A world that never comes to rest makes new
/// ones for ever.
const NODES_MAX: usize = 60_000;

/// What is kept of a state.
#[derive(Clone, Copy, Debug)]
struct Known {
    parent: u32,
    by: Event,
    depth: u32,
    /// Where the fair next event leads; itself, if it is at rest.
    fair: u32,
}

struct Search {
    model: Model,
    numbers: FxHashMap<Fingerprint, u32>,
    known: Vec<Known>,
    queue: VecDeque<(u32, State)>,
    first: State,
    transitions: u64,
    ends: u64,
}

/// Looks at everything that can happen in a world.
#[must_use]
pub fn explore(world: World, bound: &Bound) -> Report {
    let began = Instant::now();
    let mut model = Model::new(world);
    let first = begin(&mut model, bound);
    let mut search = Search {
        model,
        numbers: FxHashMap::default(),
        known: Vec::new(),
        queue: VecDeque::new(),
        first,
        transitions: 0,
        ends: 0,
    };
    let (found, complete) = search.run(bound, began);
    Report {
        states: search.known.len(),
        transitions: search.transitions,
        depth: search.known.last().map_or(0, |known| known.depth),
        nodes: search.model.nodes_seen(),
        ends: search.ends,
        complete,
        took: began.elapsed(),
        found,
    }
}

/// A cluster that serves, in which nothing was ordered yet.
fn begin(model: &mut Model, bound: &Bound) -> State {
    let cold = model.cold(Left::default());
    let mut state = start(model, cold);
    for bystander in model.world.bystanders.clone() {
        let ask = PeerMsg::Replica(ReplicaMsg::Discover { dir: model.world.region });
        let exporter = model.world.exporter;
        model.inject(&mut state, (bystander, exporter), ask);
        state = settle(model, state);
    }
    let orders = u8::try_from(model.world.orders.len()).expect("there are few");
    let calls = prepare(model, &mut state);
    let Bound { crashes, cancels, deadlines, .. } = *bound;
    let World { asks, trims, .. } = model.world;
    state.left = Left { orders, calls, asks, trims, crashes, cancels, deadlines };
    state
}

/// The client does what it has to do before the story begins, one thing after the other. Returns how
/// much is left.
fn prepare(model: &mut Model, state: &mut State) -> u8 {
    let Some(script) = model.world.client.clone() else { return 0 };
    let all = u8::try_from(script.calls.len()).expect("there are few");
    for number in 0..script.prepared {
        state.left.calls = all - number;
        let mut called = model.apply(state, Event::Call).expect("nothing goes wrong yet");
        called.left.calls = 0;
        *state = settle(model, called);
    }
    all - script.prepared
}

/// Every rank serves; what earlier lives have left to do is still to be done.
fn start(model: &mut Model, mut state: State) -> State {
    if !model.world.leftovers {
        return settle(model, state);
    }
    let begins = |event: &Event| event.kind() == Kind::Fair && !matches!(event, Event::Sweep(_));
    while let Some(event) = event::enabled(&state, model).into_iter().find(begins) {
        state = model.apply(&state, event).expect("nothing goes wrong before the story begins");
    }
    state
}

fn settle(model: &mut Model, mut state: State) -> State {
    while let Some(event) = fair(&event::enabled(&state, model)) {
        state = model.apply(&state, event).expect("nothing goes wrong before the story begins");
    }
    property::check_rest(&state, model).expect("a cluster that nobody disturbs comes to rest");
    state
}

/// What a kind world does next.
fn fair(events: &[Event]) -> Option<Event> {
    events.iter().copied().find(|event| event.kind() == Kind::Fair)
}

impl Search {
    fn run(&mut self, bound: &Bound, began: Instant) -> (Option<Found>, bool) {
        let first = self.first;
        self.numbers.insert(Fingerprint::of(&first), 0);
        self.known.push(Known { parent: NOWHERE, by: Event::Order, depth: 0, fair: NOWHERE });
        self.queue.push_back((0, first));
        while let Some((number, state)) = self.queue.pop_front() {
            let many = self.known.len() >= bound.states_max || self.model.nodes_seen() >= NODES_MAX;
            if many || began.elapsed() > bound.time_max {
                self.queue.push_front((number, state));
                return (self.find_stuck().or_else(|| self.follow_unseen()), false);
            }
            if let Err((violation, by)) = self.expand(number, &state) {
                return (Some(self.explain(violation, number, by.into_iter().collect())), false);
            }
        }
        (self.find_stuck(), true)
    }

    /// Everything that can happen next.
    fn expand(&mut self, number: u32, state: &State) -> Result<(), (Violation, Option<Event>)> {
        property::check(state, &self.model).map_err(|violation| (violation, None))?;
        let events = event::enabled(state, &self.model);
        let fair = fair(&events);
        if fair.is_none() {
            self.ends += 1;
            property::check_rest(state, &self.model).map_err(|violation| (violation, None))?;
            self.known[index(number)].fair = number;
        }
        for event in events {
            let next = self.model.apply(state, event).map_err(|it| (it, Some(event)))?;
            self.transitions += 1;
            let next = self.number(next, number, event);
            if Some(event) == fair {
                self.known[index(number)].fair = next;
            }
        }
        Ok(())
    }

    fn number(&mut self, state: State, parent: u32, by: Event) -> u32 {
        let next = u32::try_from(self.known.len()).expect("memory ends first");
        let number = *self.numbers.entry(Fingerprint::of(&state)).or_insert(next);
        if number == next {
            let depth = self.known[index(parent)].depth + 1;
            self.known.push(Known { parent, by, depth, fair: NOWHERE });
            self.queue.push_back((number, state));
        }
        number
    }

    /// A state from which fair events lead round in a circle.
    fn find_stuck(&mut self) -> Option<Found> {
        // Of each state: the walk along fair events that was there first.
        let mut walked = vec![NOWHERE; self.known.len()];
        for start in 0..self.known.len() {
            let walk = u32::try_from(start).expect("states are numbered with 32 bits");
            let mut here = walk;
            while here != NOWHERE && walked[index(here)] == NOWHERE {
                walked[index(here)] = walk;
                let next = self.known[index(here)].fair;
                if next == here {
                    break;
                }
                if next != NOWHERE && walked[index(next)] == walk {
                    return Some(self.explain(Violation::Stuck, walk, Vec::new()));
                }
                here = next;
            }
        }
        None
    }

    /// Of the states that were not looked at any more, some are followed to their end.
    fn follow_unseen(&mut self) -> Option<Found> {
        let some: Vec<(u32, State)> = self.queue.iter().step_by(UNSEEN_STEP).copied().collect();
        for (number, state) in some {
            let mut events = Vec::new();
            if let Err(violation) = self.follow(state, &mut events) {
                if violation == Violation::Stuck {
                    events.clear();
                }
                return Some(self.explain(violation, number, events));
            }
        }
        None
    }

    fn follow(&mut self, mut state: State, events: &mut Vec<Event>) -> Result<(), Violation> {
        for _ in 0..FOLLOW_MAX {
            property::check(&state, &self.model)?;
            let Some(event) = fair(&event::enabled(&state, &self.model)) else {
                return property::check_rest(&state, &self.model);
            };
            events.push(event);
            state = self.model.apply(&state, event)?;
        }
        Err(Violation::Stuck)
    }

    /// How one gets to a state, and what happens then; if it is stuck, how it is.
    fn explain(&mut self, violation: Violation, number: u32, after: Vec<Event>) -> Found {
        let mut events = after;
        let mut here = number;
        while self.known[index(here)].parent != NOWHERE {
            let known = self.known[index(here)];
            events.insert(0, known.by);
            here = known.parent;
        }
        let (mut trace, last) = trace::tell(&mut self.model, self.first, &events);
        if violation == Violation::Stuck {
            trace.push("and from there, with nobody dying:".to_owned());
            let mut rest = Vec::new();
            self.follow(last, &mut rest).err();
            rest.truncate(STUCK_EVENTS);
            trace.extend(trace::tell(&mut self.model, last, &rest).0);
        }
        Found { violation, trace }
    }
}

fn index(number: u32) -> usize {
    usize::try_from(number).expect("32 bits fit")
}
