//! Breadth first through every order of events, so that the first violation found is a shortest one.
//!
//! Of each state is kept how it came about and where the *fair* next event leads. At the end every
//! state is followed along fair events: it must come to rest. So liveness is checked from every state,
//! not from samples. Not all that can happen is tried: [`super::reduction`] says why that is enough.

use std::time::{Duration, Instant};

use mds_core::message::PeerMsg;
use mds_core::message::replica::ReplicaMsg;

use super::arena::Fingerprint;
use super::census;
use super::event::{self, Event, Kind};
use super::model::Model;
use super::property::{self, Violation};
use super::reduction::{Parties, Reduction};
use super::state::{Left, State};
use super::trace;
use super::visited::{NOWHERE, Visited};
use super::world::World;

/// How far to go.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    pub crashes: u8,
    pub cancels: u8,
    pub deadlines: u8,
    pub states_max: usize,
    pub time_max: Duration,
    /// Leave out what leads nowhere else.
    pub reduced: bool,
    /// Tell what the states are made of.
    pub census: bool,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    pub states: usize,
    pub transitions: u64,
    /// Events from the first state to the one farthest away.
    pub depth: u32,
    /// Distinct states of single ranks.
    pub nodes: usize,
    /// Distinct states of the world at rest.
    pub ends: usize,
    /// Nothing was left to look at within the bound.
    pub complete: bool,
    pub took: Duration,
    pub found: Option<Found>,
    pub census: Vec<String>,
    /// Fingerprints of the states at rest, in order.
    pub at_rest: Vec<Fingerprint>,
}

/// A violation, and how one gets there.
#[derive(Clone, Debug)]
pub struct Found {
    pub violation: Violation,
    pub trace: Vec<String>,
}

/// Of the states beyond the bound every so many-th is followed, for so many events at most.
const UNSEEN_STEP: usize = 97;
const FOLLOW_MAX: usize = 2_000;
/// Events shown of a world that goes round in a circle.
const STUCK_EVENTS: usize = 40;

/// States of single ranks that are kept: some 50 KiB each. A world that never comes to rest makes new
/// ones for ever.
const NODES_MAX: usize = 60_000;

struct Search {
    model: Model,
    visited: Visited,
    /// The oldest state that was not expanded.
    next: u32,
    reduction: Option<Reduction>,
    transitions: u64,
    ends: Vec<u32>,
}

/// What is wrong in a state, or becomes so by an event.
type Wrong = (Violation, Option<Event>);

/// Looks at everything that can happen in a world.
#[must_use]
pub fn explore(world: World, bound: &Bound) -> Report {
    let began = Instant::now();
    let mut model = Model::new(world);
    let first = begin(&mut model, bound);
    let mut search = Search {
        model,
        visited: Visited::default(),
        next: 0,
        reduction: bound.reduced.then(Reduction::default),
        transitions: 0,
        ends: Vec::new(),
    };
    search.visited.reach(first, NOWHERE, 0);
    let (found, complete) = search.run(bound, began);
    let states = search.visited.len();
    let mut at_rest: Vec<Fingerprint> = search
        .ends
        .iter()
        .map(|number| search.model.fingerprint(&search.visited.state(*number)))
        .collect();
    at_rest.sort_unstable();
    let seen = search.visited.states();
    Report {
        states,
        transitions: search.transitions,
        depth: search.visited.depth(),
        nodes: search.model.nodes_seen(),
        ends: search.ends.len(),
        complete,
        took: began.elapsed(),
        found,
        census: if bound.census { census::census(&search.model, seen) } else { Vec::new() },
        at_rest,
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
        loop {
            while index(self.next) < self.visited.len() {
                let many =
                    self.visited.len() >= bound.states_max || self.model.nodes_seen() >= NODES_MAX;
                if many || began.elapsed() > bound.time_max {
                    return (self.find_stuck().or_else(|| self.follow_unseen()), false);
                }
                let number = self.next;
                self.next += 1;
                if let Err((violation, by)) = self.expand(number) {
                    return (Some(self.explain(violation, number, by.as_slice())), false);
                }
            }
            match self.mend() {
                Err((number, (violation, by))) => {
                    return (Some(self.explain(violation, number, by.as_slice())), false);
                }
                Ok(true) => {}
                Ok(false) => return (self.find_stuck(), true),
            }
        }
    }

    /// Everything that can happen next, or as much of it as is enough.
    fn expand(&mut self, number: u32) -> Result<(), Wrong> {
        let state = self.visited.state(number);
        property::check(&state, &self.model).map_err(|violation| (violation, None))?;
        let events = event::enabled(&state, &self.model);
        if fair(&events).is_none() {
            self.ends.push(number);
            property::check_rest(&state, &self.model).map_err(|violation| (violation, None))?;
            self.visited.story_mut(number).fair = number;
        }
        if !self.expand_in_part(number, &state, &events)? {
            self.try_all(number, &state, &events, Parties::ALL)?;
        }
        Ok(())
    }

    fn expand_in_part(
        &mut self,
        number: u32,
        state: &State,
        events: &[Event],
    ) -> Result<bool, Wrong> {
        let Some(reduction) = &mut self.reduction else { return Ok(false) };
        reduction.learn_sometimes(&self.model);
        for parties in reduction.candidates(state, &self.model, events) {
            let is_in = |event: &&Event| {
                self.model.party_of(state, **event).is_some_and(|party| parties.has(party))
            };
            let part: Vec<Event> = events.iter().filter(is_in).copied().collect();
            if fair(&part).is_none() {
                continue;
            }
            let mut leads_on = false;
            let mut takes_away = false;
            for event in part {
                let next = self.model.apply(state, event).map_err(|it| (it, Some(event)))?;
                leads_on |= self.visited.number(&next).is_none_or(|next| next > number);
                takes_away |= self.model.took_away(state, &next);
            }
            if leads_on && !takes_away {
                self.try_all(number, state, events, parties)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// All events that happen to some parties, or to more than one.
    fn try_all(
        &mut self,
        number: u32,
        state: &State,
        events: &[Event],
        parties: Parties,
    ) -> Result<(), Wrong> {
        self.visited.story_mut(number).tried = parties;
        let mut fair = None;
        for (by, event) in (0_u8..).zip(events.iter().copied()) {
            let all = parties == Parties::ALL;
            if !all && !self.model.party_of(state, event).is_some_and(|it| parties.has(it)) {
                continue;
            }
            let next = self.model.apply(state, event).map_err(|it| (it, Some(event)))?;
            self.transitions += 1;
            let next = self.visited.reach(next, number, by);
            if fair.is_none() && event.kind() == Kind::Fair {
                fair = Some(next);
            }
        }
        if let Some(fair) = fair {
            self.visited.story_mut(number).fair = fair;
        }
        Ok(())
    }

    /// Where less was tried than is enough, by what is known now, all is tried. Whether there is more to
    /// look at.
    fn mend(&mut self) -> Result<bool, (u32, Wrong)> {
        let Some(reduction) = &mut self.reduction else { return Ok(false) };
        if !reduction.learn(&self.model) && reduction.is_checked() {
            return Ok(false);
        }
        for number in 0..self.next {
            let tried = self.visited.story(number).tried;
            let state = self.visited.state(number);
            let reduction = self.reduction.as_ref().expect("there is one");
            if tried != Parties::ALL && !reduction.is_undisturbed(&state, &self.model, tried) {
                let events = event::enabled(&state, &self.model);
                self.try_all(number, &state, &events, Parties::ALL).map_err(|it| (number, it))?;
            }
        }
        if let Some(reduction) = &mut self.reduction {
            reduction.set_checked();
        }
        Ok(true)
    }

    /// A state from which fair events lead round in a circle.
    fn find_stuck(&mut self) -> Option<Found> {
        // Of each state: the walk along fair events that was there first.
        let mut walked = vec![NOWHERE; self.visited.len()];
        for start in 0..self.visited.len() {
            let walk = u32::try_from(start).expect("states are numbered with 32 bits");
            let mut here = walk;
            while here != NOWHERE && walked[index(here)] == NOWHERE {
                walked[index(here)] = walk;
                let next = self.visited.story(here).fair;
                if next == here {
                    break;
                }
                if next != NOWHERE && walked[index(next)] == walk {
                    return Some(self.explain(Violation::Stuck, walk, &[]));
                }
                here = next;
            }
        }
        None
    }

    /// Of the states that were not looked at any more, some are followed to their end.
    fn follow_unseen(&mut self) -> Option<Found> {
        let all = u32::try_from(self.visited.len()).expect("states are numbered with 32 bits");
        for number in (self.next..all).step_by(UNSEEN_STEP) {
            let mut events = Vec::new();
            if let Err(violation) = self.follow(self.visited.state(number), &mut events) {
                if violation == Violation::Stuck {
                    events.clear();
                }
                return Some(self.explain(violation, number, &events));
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
    fn explain(&mut self, violation: Violation, number: u32, after: &[Event]) -> Found {
        let mut events = after.to_vec();
        let mut here = number;
        while self.visited.story(here).parent != NOWHERE {
            let story = *self.visited.story(here);
            let before = event::enabled(&self.visited.state(story.parent), &self.model);
            events.insert(0, before[usize::from(story.by)]);
            here = story.parent;
        }
        let first = self.visited.state(0);
        let (mut trace, last) = trace::tell(&mut self.model, first, &events);
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
