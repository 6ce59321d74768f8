//! `Balancer`: each rank measures, rank 0 plans, once per epoch.
//!
//! Every rank counts requests by directory ([`load`]) and tells rank 0 its load with the directories
//! that could be moved. Rank 0 asks its [`policy`] for at most one move per epoch and orders the busy
//! rank to make it. What was moved stays for a cool-down, whatever becomes of the order.

use std::collections::BTreeMap;

use common::id::{Ino, Rank};
use common::mds_map::{RankState, Switch};
use common::migration::MigrationCause;
use common::time::Monotonic;

use crate::cx::{Cx, Step};
use crate::effect::Effect;
use crate::message::load::{Candidate, Heartbeat, LoadMsg};
use crate::subtree::{DirAuth, Freeze};
use crate::timer::Timer;

pub mod greedy;
pub mod load;
pub mod policy;

use greedy::Greedy;
use load::Loads;
use policy::{Move, Policy, View};

/// Directories a rank offers to move.
const CANDIDATES_MAX: usize = 64;

#[derive(Clone, Debug, Default, Hash)]
pub struct Balancer {
    loads: Loads,
    /// At rank 0: what each rank has said last, and when.
    heard: BTreeMap<Rank, (Monotonic, Heartbeat)>,
    /// At rank 0: directories that stay where they are until then.
    cooling: BTreeMap<Ino, Monotonic>,
}

/// A move this rank is to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordered {
    pub dir: Ino,
    pub to: Rank,
    pub cause: MigrationCause,
}

impl Balancer {
    /// A request was about this directory.
    pub fn hit(&mut self, dir: Ino) {
        self.loads.hit(dir);
    }

    /// Operations per second of this rank, decayed.
    #[must_use]
    pub fn load(&self) -> u64 {
        self.loads.total()
    }

    pub fn set_timer(cx: &mut Cx<'_>) {
        let at = cx.now.monotonic.after(cx.params.balancer.epoch);
        cx.out.push(Effect::SetTimer { timer: Timer::Balancer, at });
    }

    /// An epoch is over: measures, reports, and at rank 0 plans.
    pub fn on_timer(&mut self, cx: &mut Cx<'_>) -> Option<Ordered> {
        Self::set_timer(cx);
        self.loads.end_epoch(cx.params.balancer.epoch);
        let heartbeat = Heartbeat { load: self.loads.total(), candidates: self.candidates(cx) };
        if cx.me() != Rank::ROOT {
            if cx.map.state(Rank::ROOT) == RankState::Active {
                cx.out.send(Rank::ROOT, LoadMsg::Heartbeat(heartbeat));
            }
            return None;
        }
        self.heard.insert(cx.me(), (cx.now.monotonic, heartbeat));
        self.plan(cx)
    }

    pub fn on_message(&mut self, from: Rank, msg: LoadMsg, cx: &Cx<'_>) -> Option<Ordered> {
        match msg {
            LoadMsg::Heartbeat(heartbeat) => {
                self.heard.insert(from, (cx.now.monotonic, heartbeat));
                None
            }
            LoadMsg::Export { dir, to } => {
                (from == Rank::ROOT).then_some(Ordered { dir, to, cause: MigrationCause::Balancer })
            }
        }
    }

    fn plan(&mut self, cx: &mut Cx<'_>) -> Option<Ordered> {
        let now = cx.now.monotonic;
        self.cooling.retain(|_, until| *until > now);
        if cx.map.balancer == Switch::Off || cx.map.is_degraded() {
            return None;
        }
        let fresh = cx.params.balancer.epoch * 2;
        let ranks: BTreeMap<Rank, Heartbeat> = self
            .heard
            .iter()
            .filter(|(rank, (at, _))| {
                cx.map.state(**rank) == RankState::Active && now.since(*at) <= fresh
            })
            .map(|(rank, (_, heartbeat))| (*rank, heartbeat.clone()))
            .collect();
        let everybody =
            cx.map.ranks.values().filter(|entry| entry.state == RankState::Active).count();
        if ranks.len() < everybody {
            return None;
        }
        let view =
            View { ranks, cooling: &self.cooling, capacity: cx.params.balancer.rank_capacity };
        let Move { dir, from, to, load } = Greedy.choose(&view)?;
        tracing::info!(%dir, from = from.0, to = to.0, load, "the balancer moves a directory");
        self.cooling.insert(dir, now.after(cx.params.balancer.cool_down));
        if from != cx.me() {
            cx.out.send(from, LoadMsg::Export { dir, to });
            return None;
        }
        Some(Ordered { dir, to, cause: MigrationCause::Balancer })
    }

    /// Loads rolled up to every directory on the way to its base; those that nothing speaks against.
    fn candidates(&self, cx: &Cx<'_>) -> Vec<Candidate> {
        let mut rolled: BTreeMap<Ino, u64> = BTreeMap::new();
        for (dir, load) in self.loads.iter() {
            for dir in movable_above(dir, cx).unwrap_or_default() {
                *rolled.entry(dir).or_default() += load;
            }
        }
        let mut candidates: Vec<Candidate> =
            rolled.into_iter().map(|(dir, load)| Candidate { dir, load }).collect();
        candidates.sort_by_key(|candidate| (std::cmp::Reverse(candidate.load), candidate.dir));
        candidates.truncate(CANDIDATES_MAX);
        candidates
    }
}

/// A directory and those above it up to its base, as far as they are ours and may be moved.
fn movable_above(dir: Ino, cx: &Cx<'_>) -> Step<Vec<Ino>> {
    let Some(base) = cx.own.subtrees.base_of(dir, &cx.own.namespace)? else {
        return Ok(Vec::new());
    };
    let subtree = cx.own.subtrees.get(base).expect("a base that was just found");
    if subtree.auth != DirAuth::Sole(cx.me()) || subtree.freeze != Freeze::Live || subtree.apart {
        return Ok(Vec::new());
    }
    let mut dirs = Vec::new();
    let mut here = dir;
    loop {
        let Some(row) = cx.own.namespace.dir(here)? else { return Ok(Vec::new()) };
        if row.pin.is_some() {
            // What is pinned stays, with everything below it.
            return Ok(Vec::new());
        }
        if here != Ino::ROOT {
            dirs.push(here);
        }
        match &row.parent {
            Some(parent) if here != base.ino => here = parent.dir,
            Some(_) | None => return Ok(dirs),
        }
    }
}

#[cfg(test)]
mod tests;
