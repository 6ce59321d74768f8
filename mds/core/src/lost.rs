//! What becomes of a lost rank's regions, and of what was named below them.
//!
//! A rank is lost when its store is destroyed and an operator has said so (`MdsMap.lost`). Then
//!
//! - its regions become empty directories of whoever holds the directory above (**claim**), with the
//!   attribute [`DIR_LOST`](crate::row::DIR_LOST) for people to see;
//! - a living rank's subtree that was named below one of them is named in the root directory
//!   (**attach**), so that nothing of the living is out of reach.
//!
//! Neither is done before it is certain that no living rank has the directory in question: what this
//! rank believes may be old. All others are asked twice (**search**). None has it if each says no both
//! times, and in between nobody has imported anything: whoever got it after its first answer would
//! have.
//!
//! ```text
//!  asker ── Whose ────▶ every other rank       authority ── Attach ───▶ rank 0
//!  asker ◀─ Standing ── each                   authority ◀─ Attached ── rank 0, when durable
//! ```
//!
//! Everything follows from the map and what this rank holds, and is looked at again with every change
//! of the map and every now and then: whatever is interrupted begins anew.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{DirFragId, Epoch, Incarnation, Ino, MapEpoch, Rank, Seq};
use common::name::Name;

use crate::cx::{Cx, Stop, Wait};
use crate::message::lost::LostMsg;
use crate::row::Parent;
use crate::subtree::{DirAuth, Freeze, Subtree};
use claim::{claim, is_to_be_claimed, lost_owner};
use search::others;

mod attach;
mod claim;
mod search;
#[cfg(test)]
mod tests;

#[derive(Clone, Debug, Default, Hash)]
pub struct Lost {
    rounds: u64,
    searches: BTreeMap<Ino, Search>,
    /// Own subtrees and the directories that are known to name them.
    named: BTreeSet<(Ino, Ino)>,
    /// For which losses that is known.
    ranks: BTreeSet<Rank>,
    /// Others' questions that wait for a row.
    parked: Vec<Question>,
    /// Own subtrees for which that life of rank 0 was asked for a name, and what named them before.
    asked: BTreeMap<Ino, (Incarnation, Ino)>,
    /// At rank 0: subtrees to be named, for whom, and whether they are, durably from there on.
    attaching: BTreeMap<(Rank, Ino), Attaching>,
    /// The names that rank 0 gave, and that are not ours yet.
    attached: BTreeMap<Ino, Parent>,
    /// What there is to do could not be seen without a row of the store.
    blind: bool,
}

#[derive(Clone, Debug, Hash)]
struct Question {
    asker: Rank,
    dir: Ino,
    names: Option<(Name, Ino)>,
    round: u64,
}

/// Is this directory with any living rank?
#[derive(Clone, Debug, Hash)]
struct Search {
    purpose: Purpose,
    /// It counts only while the map is the same: so no rank has begun a new life meanwhile.
    map: MapEpoch,
    round: u64,
    first: Option<BTreeMap<Rank, u64>>,
    told: BTreeMap<Rank, u64>,
}

/// Why it matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Purpose {
    /// It was the lost rank's, and lies below a directory of ours.
    Claim { base: DirFragId, lost: Rank },
    /// It should name this base of ours.
    Attach { base: DirFragId, name: Name },
}

impl Purpose {
    fn names(&self) -> Option<(Name, Ino)> {
        match self {
            Self::Claim { .. } => None,
            Self::Attach { base, name } => Some((name.clone(), base.ino)),
        }
    }
}

#[derive(Clone, Debug, Hash)]
struct Attaching {
    name: Name,
    epoch: Epoch,
    named: Option<(Parent, Seq)>,
}

impl Lost {
    /// Looks for what there is to do. Returns what requests may have waited for.
    #[must_use]
    pub fn look_around(&mut self, cx: &mut Cx<'_>) -> Vec<Wait> {
        self.go_on(cx);
        if self.ranks != cx.map.lost {
            self.ranks.clone_from(&cx.map.lost);
            self.named.clear();
        }
        if cx.map.is_degraded() {
            // Whoever is not there cannot say what it has.
            self.searches.clear();
            return Vec::new();
        }
        let wanted = self.wanted(cx);
        let epoch = cx.map.epoch;
        self.searches
            .retain(|dir, search| search.map == epoch && wanted.get(dir) == Some(&search.purpose));
        let new = wanted.into_iter().filter(|(dir, _)| !self.searches.contains_key(dir));
        for (dir, purpose) in new.collect::<Vec<_>>() {
            let told = BTreeMap::new();
            self.searches.insert(dir, Search { purpose, map: epoch, round: 0, first: None, told });
            self.ask(dir, cx);
        }
        self.conclude(cx)
    }

    /// What waited for the store may be able to go on.
    pub fn go_on(&mut self, cx: &mut Cx<'_>) {
        self.answer_parked(cx);
        self.name_strays(cx);
        self.take_names(cx);
    }

    pub fn on_message(&mut self, from: Rank, msg: LostMsg, cx: &mut Cx<'_>) -> Vec<Wait> {
        match msg {
            LostMsg::Whose { dir, names, round } => {
                self.parked.push(Question { asker: from, dir, names, round });
                self.answer_parked(cx);
            }
            LostMsg::Standing { dir, round, standing, imports } => {
                let mut woken = self.on_standing((from, dir, round), standing, imports, cx);
                woken.extend(self.conclude(cx));
                return woken;
            }
            LostMsg::Attach { dir, name, epoch } => {
                if cx.me() == Rank::ROOT && dir != Ino::ROOT {
                    let attaching = Attaching { name, epoch, named: None };
                    self.attaching.entry((from, dir)).or_insert(attaching);
                    self.name_strays(cx);
                }
            }
            LostMsg::Attached { dir, parent } => {
                if from == Rank::ROOT && self.asked.contains_key(&dir) {
                    self.attached.insert(dir, parent);
                    self.take_names(cx);
                }
            }
        }
        Vec::new()
    }

    /// Whether something waits for a row of the store, or to be durable.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.blind
            || !self.parked.is_empty()
            || !self.attaching.is_empty()
            || !self.attached.is_empty()
    }

    /// Every directory about which it must be known whether a living rank has it, and why.
    fn wanted(&mut self, cx: &mut Cx<'_>) -> BTreeMap<Ino, Purpose> {
        self.blind = false;
        let mut wanted = BTreeMap::new();
        let mut stale = Vec::new();
        let bases: Vec<(DirFragId, Subtree)> =
            cx.own.subtrees.iter().map(|(base, subtree)| (base, subtree.clone())).collect();
        for (base, subtree) in bases {
            let Some(parent) = subtree.parent else { continue };
            if let Some(lost) = lost_owner(base, &subtree, cx) {
                match is_to_be_claimed(base, parent, cx) {
                    Ok(true) => {
                        wanted.insert(base.ino, Purpose::Claim { base, lost });
                    }
                    // The authority for the directory above decides, and whoever asks is sent there.
                    Ok(false) => stale.push(base),
                    Err(stop) => self.wait_for(&stop, cx),
                }
            } else if subtree.auth == DirAuth::Sole(cx.me()) && subtree.freeze == Freeze::Live {
                match self.may_be_stray(base, parent, cx) {
                    Ok(Some(name)) => {
                        wanted.insert(parent, Purpose::Attach { base, name });
                    }
                    Ok(None) => {}
                    Err(stop) => self.wait_for(&stop, cx),
                }
            }
        }
        if !stale.is_empty() {
            for base in stale {
                cx.own.subtrees.remove(base);
            }
            cx.own.journal_subtrees(cx.out);
        }
        wanted
    }

    fn wait_for(&mut self, stop: &Stop, cx: &mut Cx<'_>) {
        if let Stop::Wait(Wait::Fetch(fetch)) = stop {
            cx.own.namespace.fetch(fetch.clone(), cx.out);
            self.blind = true;
        }
    }

    /// Ends rounds that everybody has answered.
    fn conclude(&mut self, cx: &mut Cx<'_>) -> Vec<Wait> {
        let asked: BTreeSet<Rank> = others(cx).into_iter().collect();
        let complete = |search: &Search| asked.iter().all(|rank| search.told.contains_key(rank));
        let due: Vec<Ino> = self
            .searches
            .iter()
            .filter(|(_, search)| complete(search))
            .map(|(dir, _)| *dir)
            .collect();
        let mut woken = Vec::new();
        for dir in due {
            let Some(search) = self.searches.get_mut(&dir) else { continue };
            let mut told = std::mem::take(&mut search.told);
            told.insert(cx.me(), cx.own.imports);
            let certain = search.first.as_ref() == Some(&told);
            search.first = Some(told);
            if !certain {
                self.ask(dir, cx);
                if asked.is_empty() {
                    woken.extend(self.conclude(cx));
                }
                continue;
            }
            let Some(search) = self.searches.remove(&dir) else { continue };
            match search.purpose {
                Purpose::Claim { base, lost } => woken.extend(claim(base, lost, cx)),
                Purpose::Attach { base, name } => {
                    self.attach(base, Parent { dir, name }, cx);
                }
            }
        }
        woken
    }
}
