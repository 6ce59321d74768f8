//! `History`: is there an order of the operations that explains every answer?
//!
//! Operations overlap, so no single run of the model can be right. The history keeps *every* state
//! the model may be in: between the moment an operation was asked for and the moment it was answered
//! it may take effect at any time (linearizability). An answer that fits none of the states is a
//! violation; the answer of a state that fits is the only thing that lets the state live on.
//! This looks at clients alone, so it holds whatever the ranks do to each other meanwhile.
//!
//! * Only changes make states: they are tried in every order in which they may happen. A question
//!   changes nothing; each state keeps the answers that were right since it was asked.
//! * After power loss a rank may have forgotten changes that were not answered, although somebody has
//!   seen them.  They are taken back, and happen again when their client repeats them.  What was
//!   answered was repeated by its client before that and stays, unless it rested on what was taken back.
//! * Some answers never come: their client died, or was told that nobody knows. Such a change happens once
//!   or not at all. Nobody repeats what is lost with the power of a rank if its client's session is over.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hash, Hasher};

use common::error::FsError;
use common::id::Ino;
use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use super::model::{Model, Sym, Verdict};
use super::operation::{Answer, Operation, Outcome};

/// One operation, in the order in which they were asked for; also names what it makes. Not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub u32);

/// States above which something is wrong with the workload: it must not overlap so much.
const STATES_MAX: usize = 65_536;
/// States made in one run: a workload may also overlap a little all the time.
const MADE_MAX: usize = 400_000;
/// Of so many changes any may be lost. Above that there are too many ways.
const LOST_MAX: usize = 8;
/// With more, a run says nothing of the file system.
pub const NOT_JUDGED: &str = "the workload overlaps too much to be checked";

/// Those between which there is a difference.
type States = IndexSet<State, FxBuildHasher>;

#[derive(Clone, Debug)]
pub struct History {
    /// By number, from 1 on.
    asked: Vec<Operation<Ino>>,
    open: BTreeSet<OperationId>,
    /// Of those that are open: changes of which nobody will ever tell.
    abandoned: BTreeSet<OperationId>,
    states: States,
    made: usize,
}

/// One possible present.
#[derive(Clone, Debug, Default)]
struct State {
    model: Model,
    /// Numbers of inodes, as far as somebody was told.
    numbers: BTreeMap<Ino, Sym>,
    /// Open changes that have taken effect, with what they must be answered.
    ahead: BTreeMap<OperationId, Verdict>,
    /// Open questions, with every answer that was right at some moment.
    seen: BTreeMap<OperationId, Vec<Verdict>>,
    /// Changes in the order in which they took effect. No difference between two states.
    order: Vec<OperationId>,
    /// Changes that might have been lost and were not: what comes of it when others are.
    spared: BTreeSet<OperationId>,
}

impl State {
    fn difference(&self) -> impl PartialEq + Hash + use<'_> {
        (&self.model, &self.ahead, &self.seen, &self.numbers, &self.spared)
    }
}

impl PartialEq for State {
    fn eq(&self, other: &Self) -> bool {
        self.difference() == other.difference()
    }
}

impl Eq for State {}

impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.difference().hash(hasher);
    }
}

/// An answer that no order of the operations explains.
#[derive(Clone, Debug, thiserror::Error)]
#[error("operation {} {operation:?} was answered {observed:?}; possible: {possible:?}", .id.0)]
pub struct Unexplained {
    pub id: OperationId,
    pub operation: Operation<Ino>,
    pub observed: Outcome<Ino>,
    pub possible: Vec<Verdict>,
}

impl Default for History {
    fn default() -> Self {
        let mut state = State::default();
        state.numbers.insert(Ino::ROOT, Sym::ROOT);
        Self {
            asked: Vec::new(),
            open: BTreeSet::new(),
            abandoned: BTreeSet::new(),
            states: States::from_iter([state]),
            made: 0,
        }
    }
}

impl History {
    /// Somebody asks.
    pub fn ask(&mut self, operation: Operation<Ino>) -> OperationId {
        let change = operation.is_change();
        self.asked.push(operation);
        let id = OperationId(u32::try_from(self.asked.len()).expect("runs are short"));
        self.open.insert(id);
        if !change {
            let asked = std::mem::take(&mut self.asked);
            self.each(|state| {
                state.seen.insert(id, Vec::new());
                state.look(id, &asked);
            });
            self.asked = asked;
        }
        id
    }

    /// Somebody was answered.
    ///
    /// # Errors
    /// If no state explains the answer.
    pub fn answer(
        &mut self,
        id: OperationId,
        observed: &Outcome<Ino>,
    ) -> Result<(), Box<Unexplained>> {
        let (mut after, mut possible) = (States::default(), Vec::new());
        for state in self.possible_presents() {
            for verdict in state.verdicts(id) {
                match state.clone().explains(&verdict, observed) {
                    Some(mut explained) => {
                        explained.ahead.remove(&id);
                        explained.seen.remove(&id);
                        if !self.is_repeated(id, &verdict) {
                            explained.order.retain(|done| *done != id);
                        }
                        add(&mut self.made, &mut after, explained);
                    }
                    None if possible.contains(&verdict) => (),
                    None => possible.push(verdict),
                }
            }
        }
        if after.is_empty() {
            let operation = self.asked[index(id)].clone();
            let observed = observed.clone();
            return Err(Box::new(Unexplained { id, operation, observed, possible }));
        }
        self.open.remove(&id);
        self.states = after;
        Ok(())
    }

    /// Whether a client does again what it was told to be done: not what was refused or changed nothing.
    fn is_repeated(&self, id: OperationId, verdict: &Verdict) -> bool {
        match (&self.asked[index(id)], verdict) {
            (_, Err(_)) => false,
            (Operation::Create { .. }, Ok(Answer::Entry { node, .. })) => node.0 == id.0,
            (Operation::Rename { from_dir, from, to_dir, to, .. }, Ok(_)) => {
                (from_dir, from) != (to_dir, to)
            }
            (_, Ok(_)) => true,
        }
    }

    /// Somebody was told that it was not done, for a reason the model does not know.
    ///
    /// # Errors
    /// If it must have been done.
    pub fn withdraw(&mut self, id: OperationId) -> Result<(), Box<Unexplained>> {
        self.states.retain(|state| !state.ahead.contains_key(&id));
        self.each(|state| {
            state.seen.remove(&id);
        });
        self.open.remove(&id);
        if self.states.is_empty() {
            let operation = self.asked[index(id)].clone();
            let observed = Err(FsError::Stale);
            return Err(Box::new(Unexplained { id, operation, observed, possible: Vec::new() }));
        }
        Ok(())
    }

    /// Nobody will hear the answer: what was asked happens some time, once, or never.
    pub fn abandon(&mut self, id: OperationId) {
        if self.asked[index(id)].is_change() {
            self.abandoned.insert(id);
            return;
        }
        self.open.remove(&id);
        self.each(|state| {
            state.seen.remove(&id);
        });
    }

    /// What was abandoned has happened by now, or will not any more.
    pub fn settle(&mut self) {
        self.states = self.possible_presents();
        let abandoned = std::mem::take(&mut self.abandoned);
        self.open.retain(|id| !abandoned.contains(id));
        self.each(|state| {
            state.ahead.retain(|id, _| !abandoned.contains(id));
            state.spared.clear();
        });
    }

    /// These, which one rank has made in that order and whose client does not repeat them, may be lost:
    /// all of them, or all from one on. What others have done with a file that one of them had moved may be
    /// lost too: it is repeated where the file is not.
    pub fn may_lose(&mut self, made: &[OperationId]) {
        let mut after = States::default();
        for state in std::mem::take(&mut self.states) {
            for kept in 0..=made.len() {
                let lost: BTreeSet<OperationId> = made[kept..].iter().copied().collect();
                let displaced = state.displaced(&lost, &self.asked);
                for choice in 0..1_usize << displaced.len() {
                    let too =
                        displaced.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1);
                    let lost = lost.iter().chain(too.map(|(_, id)| id)).copied().collect();
                    let mut state = state.without(&lost, &self.asked);
                    state.spared.extend(&made[..kept]);
                    add(&mut self.made, &mut after, state);
                }
            }
        }
        self.states = after;
    }

    /// Any of these may be lost.
    pub fn may_lose_any(&mut self, made: &[OperationId]) {
        assert!(made.len() <= LOST_MAX, "{NOT_JUDGED}");
        let mut after = States::default();
        for state in std::mem::take(&mut self.states) {
            for choice in 0..1_usize << made.len() {
                let lost = made.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1);
                let lost: BTreeSet<OperationId> = lost.map(|(_, id)| *id).collect();
                let mut state = state.without(&lost, &self.asked);
                state.spared.extend(made.iter().filter(|id| !lost.contains(id)));
                add(&mut self.made, &mut after, state);
            }
        }
        self.states = after;
    }

    /// Changes every state; those between which there is no difference any more become one.
    fn each(&mut self, change: impl Fn(&mut State)) {
        let mut after = States::default();
        for mut state in std::mem::take(&mut self.states) {
            change(&mut state);
            add(&mut self.made, &mut after, state);
        }
        self.states = after;
    }

    /// A rank lost power: any of the open changes may be undone.
    pub fn lose_power(&mut self) {
        let mut after = States::default();
        for state in self.possible_presents() {
            let ahead: Vec<OperationId> = state.ahead.keys().copied().collect();
            for choice in 0..1_usize << ahead.len() {
                let undone = ahead.iter().enumerate().filter(|(bit, _)| choice >> bit & 1 == 1);
                let undone: BTreeSet<OperationId> = undone.map(|(_, id)| *id).collect();
                let state = state.without(&undone, &self.asked);
                add(&mut self.made, &mut after, state);
            }
        }
        self.states = after;
    }

    /// The states, and all that can become of them by changes under way.
    fn possible_presents(&mut self) -> States {
        let mut all = self.states.clone();
        let mut next = 0;
        let changes: Vec<OperationId> =
            self.open.iter().copied().filter(|id| self.asked[index(*id)].is_change()).collect();
        while next < all.len() {
            let ahead = &all[next].ahead;
            let left: Vec<_> = changes.iter().filter(|id| !ahead.contains_key(id)).collect();
            for id in left {
                let mut state = all[next].clone();
                state.carry_out(*id, &self.asked);
                // What nobody will hear of and changes nothing is as if it had never been.
                if state.ahead[id].is_ok() || !self.abandoned.contains(id) {
                    add(&mut self.made, &mut all, state);
                }
            }
            next += 1;
        }
        all
    }

    /// What the tree may hold once nothing is open: directories but the root, and names.
    #[must_use]
    pub fn totals(&self) -> BTreeSet<(u64, u64)> {
        self.states.iter().map(|state| state.model.totals()).collect()
    }

    /// Whether somebody was told which inode has this number.
    #[must_use]
    pub fn knows(&self, ino: Ino) -> bool {
        self.states.iter().all(|state| state.numbers.contains_key(&ino))
    }

    #[must_use]
    pub fn states(&self) -> usize {
        self.states.len()
    }

    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.open.is_empty()
    }
}

fn index(id: OperationId) -> usize {
    usize::try_from(id.0).expect("32 bits fit") - 1
}

/// Adds a state unless one like it is there: how they came to be does not matter.
fn add(made: &mut usize, states: &mut States, state: State) {
    states.insert(state);
    *made += 1;
    assert!(states.len() <= STATES_MAX && *made <= MADE_MAX, "{NOT_JUDGED}");
}

impl State {
    /// One change takes effect.
    fn carry_out(&mut self, id: OperationId, asked: &[Operation<Ino>]) {
        let operation = &asked[index(id)];
        let names = matches!(operation, Operation::Rename { .. }).then(|| self.model.clone());
        let verdict = self.apply(id, operation);
        let changed = verdict.is_ok();
        self.ahead.insert(id, verdict);
        // Of two names of one file neither goes, and nobody does that again (rename(2)).
        if names.is_none_or(|before| before != self.model) {
            self.order.push(id);
        }
        if changed {
            let questions: Vec<OperationId> = self.seen.keys().copied().collect();
            for question in questions {
                self.look(question, asked);
            }
        }
    }

    /// Notes what a question would be answered at this moment.
    fn look(&mut self, id: OperationId, asked: &[Operation<Ino>]) {
        let verdict = self.apply(id, &asked[index(id)]);
        let seen = self.seen.entry(id).or_default();
        if !seen.contains(&verdict) {
            seen.push(verdict);
            // In which order they were right makes no difference.
            seen.sort_by_cached_key(|verdict| FxBuildHasher.hash_one(verdict));
        }
    }

    fn apply(&mut self, id: OperationId, operation: &Operation<Ino>) -> Verdict {
        // Its maker's operation may have been undone by power loss.
        let sym = |ino| Some(self.numbers.get(&ino).copied().unwrap_or(Sym::NOTHING));
        let operation = operation.renamed(sym).expect("what is nothing has a name too");
        self.model.apply(&operation, Sym(id.0))
    }

    /// What an operation may be answered here: nothing if it has not taken effect.
    fn verdicts(&self, id: OperationId) -> Vec<Verdict> {
        match self.ahead.get(&id) {
            Some(verdict) => vec![verdict.clone()],
            None => self.seen.get(&id).cloned().unwrap_or_default(),
        }
    }

    /// This state, with what the answer tells of numbers; `None` if the answer does not fit.
    fn explains(mut self, verdict: &Verdict, observed: &Outcome<Ino>) -> Option<Self> {
        match (verdict, observed) {
            (Err(reasons), Err(error)) => reasons.contains(error).then_some(self),
            (Ok(answer), Ok(observed)) if answer.anonymous() == observed.anonymous() => {
                let numbers = observed.nodes().into_iter().zip(answer.nodes());
                for (ino, sym) in numbers {
                    self.is_numbered(ino, sym)?;
                }
                Some(self)
            }
            (Ok(_), Ok(_) | Err(_)) | (Err(_), Ok(_)) => None,
        }
    }

    fn is_numbered(&mut self, ino: Ino, sym: Sym) -> Option<()> {
        match self.numbers.get(&ino) {
            Some(known) => (*known == sym).then_some(()),
            None if self.numbers.values().any(|known| *known == sym) => None,
            None => {
                self.numbers.insert(ino, sym);
                Some(())
            }
        }
    }

    /// Answered changes of inodes that have other names if some changes have not happened.
    fn displaced(
        &self,
        undone: &BTreeSet<OperationId>,
        asked: &[Operation<Ino>],
    ) -> Vec<OperationId> {
        let anew = || Self { numbers: self.numbers.clone(), ..Self::default() };
        let (mut with, mut without) = (anew(), anew());
        let mut displaced = Vec::new();
        for id in &self.order {
            let operation = &asked[index(*id)];
            let node = operation.node().and_then(|ino| self.numbers.get(&ino));
            if undone.contains(id) {
                with.apply(*id, operation).ok();
                continue;
            }
            if let Some(node) = node
                && !self.ahead.contains_key(id)
                && with.model.names_of(*node) != without.model.names_of(*node)
            {
                displaced.push(*id);
            }
            with.apply(*id, operation).ok();
            without.apply(*id, operation).ok();
        }
        displaced
    }

    /// The present as it is if some changes have not happened yet.
    fn without(&self, undone: &BTreeSet<OperationId>, asked: &[Operation<Ino>]) -> Self {
        if undone.is_empty() {
            return self.clone();
        }
        let spared = self.spared.difference(undone).copied().collect();
        let mut state = Self { numbers: self.numbers.clone(), spared, ..Self::default() };
        for id in self.order.iter().filter(|id| !undone.contains(id)) {
            let verdict = state.apply(*id, &asked[index(*id)]);
            state.order.push(*id);
            if self.ahead.contains_key(id) {
                state.ahead.insert(*id, verdict);
            }
        }
        // A number chosen for what was undone may be given up: its client chooses anew.
        state.numbers.retain(|_, sym| !undone.contains(&OperationId(sym.0)));
        state.seen.clone_from(&self.seen);
        let questions: Vec<OperationId> = state.seen.keys().copied().collect();
        for question in questions {
            state.look(question, asked);
        }
        state
    }
}

#[cfg(test)]
mod tests;
