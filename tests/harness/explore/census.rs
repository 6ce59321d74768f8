//! What many states are made of: for people who want to know where a world blows up.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;

use super::arena::Id;
use super::event::{self, Event};
use super::model::Model;
use super::state::{Party, State};

/// Sorts shown, the most frequent first.
const SORTS_MAX: usize = 40;

/// How many states there are of each sort; and of each party, how many states of it there are, with and without
/// what is on its way to it, and for how many states one would be seen if one did not look at it.
#[must_use]
pub fn census(model: &Model, states: &[State]) -> Vec<String> {
    let mut sorts: BTreeMap<String, usize> = BTreeMap::new();
    for state in states {
        *sorts.entry(sort(state, model)).or_default() += 1;
    }
    let mut counted: Vec<(usize, String)> =
        sorts.into_iter().map(|(sort, it)| (it, sort)).collect();
    counted.sort_by(|a, b| b.cmp(a));
    let sorts = counted.iter().take(SORTS_MAX);
    let mut lines: Vec<String> = sorts.map(|(count, sort)| format!("{count:>9}  {sort}")).collect();
    for party in model.parties() {
        let nodes: FxHashSet<Id> = states.iter().map(|state| model.node_id(state, party)).collect();
        let seats: FxHashSet<Id> = states.iter().map(|state| state.seat(party)).collect();
        let without = states.iter().map(|state| {
            let mut state = *state;
            state.set_seat(party, Id::default());
            state
        });
        let rest: FxHashSet<State> = without.collect();
        let (nodes, seats, rest) = (nodes.len(), seats.len(), rest.len());
        lines.push(format!("{party}: {nodes} nodes, {seats} with lanes; without it {rest} states"));
    }
    lines
}

/// How far everybody's life is, what may still go wrong, and who has something to do.
fn sort(state: &State, model: &Model) -> String {
    let map = model.map(state);
    let lives: Vec<&str> = map.ranks.values().map(|entry| entry.state.name()).collect();
    let events = event::enabled(state, model);
    let news = events.iter().filter(|event| matches!(event, Event::Map(_))).count();
    let busy = events.iter().filter_map(|event| match event {
        Event::Deliver { to: Party::Rank(to), .. } => Some(*to),
        _ => None,
    });
    let busy: FxHashSet<_> = busy.collect();
    format!(
        "{}; {} may die; messages for {}, a map for {news}",
        lives.join(" "),
        state.left.crashes,
        busy.len()
    )
}
