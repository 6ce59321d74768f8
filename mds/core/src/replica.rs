//! Replicas of the spine: how a rank comes to know directories of others, and stays right about them.
//!
//! ```text
//!  asker ── Discover ──▶ presumed authority          asker ◀── Moved ── authority
//!  asker ◀─ Discovered ─ authority                   asker ── MovedAcked ─▶ authority
//!  asker ◀─ NotHere{ask} ─ anybody else: ask there   asker ── Expire ────▶ authority
//! ```
//!
//! Only a live, unambiguous authority grants one: others' questions wait until a freeze ends.
//! A rank gives back what it does not need ([`trim`]). Both are subject to what a migration makes of
//! the region: see `migration/README.md`, *Replicas while it runs*.
//!
//! Whoever waits for a directory waits for `Wait::Spine`, and asks again if nobody knew.

use std::collections::BTreeMap;

use common::id::{DirFragId, Epoch, Ino, MigrationId, Nonce, Rank};
use common::limit::PATH_DIRS_MAX;
use common::mds_map::RankState;

use crate::cx::{Cx, Step, Stop, Wait};
use crate::message::replica::ReplicaMsg;
use crate::mutant::mutated;
use crate::row::Parent;
use crate::spine::Replica;
use crate::spine::watch::Withheld;
use crate::subtree::{Access, Intent};

pub mod trim;

/// What a message about replicas has brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Nothing,
    /// Whoever waits for this may try again.
    Woken(Wait),
    /// A holder of a replica of ours knows where the directory is now.
    MovedAcked {
        dir: Ino,
        holder: Rank,
    },
}

/// Asks for a directory, unless that is under way, or the map must change first. `hint`: who may be the authority.
pub fn discover(cx: &mut Cx<'_>, dir: Ino, hint: Option<Rank>) {
    if cx.own.spine.discovery.is_asking(dir) || cx.own.spine.discovery.is_put_off(dir) {
        return;
    }
    let hint = hint.or_else(|| cx.own.spine.discovery.hinted(dir));
    match next_to_ask(cx, dir, hint) {
        Some(rank) => ask(cx, dir, rank),
        None => cx.own.spine.discovery.put_off(dir),
    }
}

/// Gives replicas back that are not needed any more. Where it is in doubt who is the authority, both
/// candidates are told.
pub fn expire(cx: &mut Cx<'_>, dirs: &[Ino]) {
    let mut gone: BTreeMap<Addressee, Vec<(Ino, Nonce)>> = BTreeMap::new();
    for dir in dirs {
        let Some(replica) = cx.own.spine.drop_replica(*dir) else { continue };
        let region = replica.doubt.map(|doubt| doubt.base);
        for rank in [Some(replica.authority), replica.doubt.map(|doubt| doubt.other)] {
            let to = rank.filter(|rank| *rank != cx.me() && cx.map.state(*rank) != RankState::Down);
            if let Some(to) = to {
                gone.entry(Addressee { to, region }).or_default().push((*dir, replica.nonce));
            }
        }
    }
    for (Addressee { to, region }, dirs) in gone {
        cx.out.send(to, ReplicaMsg::Expire { dirs, region });
    }
}

/// Who is told of replicas that are dropped, and of which region in doubt they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Addressee {
    to: Rank,
    region: Option<DirFragId>,
}

/// An authority, or an exporter that has not warned the sender, does it at once; it does nothing
/// where the directory is not registered. Who may be the authority, or may not, does not know yet.
fn on_expire(cx: &mut Cx<'_>, from: Rank, dirs: Vec<(Ino, Nonce)>, region: Option<DirFragId>) {
    if let Some(base) = region
        && cx.own.subtrees.is_candidate(base)
    {
        cx.own.spine.in_doubt.keep(base, from, dirs);
        return;
    }
    for (dir, nonce) in dirs {
        let known = cx.own.spine.holders(dir).find(|(holder, _)| *holder == from);
        if let Some((_, newest)) = known {
            let nonce = if mutated!(cx.params, ExpireAppliedTwice) { newest } else { nonce };
            cx.own.spine.expire(dir, from, nonce);
            continue;
        }
        assert!(!mutated!(cx.params, ExpireOfUnknownAsserts), "{from} does not hold {dir}");
        // The sender may have heard before us that a region is ours, with who is registered there.
        let regions: Vec<DirFragId> = cx.own.subtrees.candidacies().collect();
        for base in regions {
            cx.own.spine.in_doubt.keep(base, from, vec![(dir, nonce)]);
        }
    }
}

/// This rank is the authority for a region that was in doubt: what came meanwhile is done.
pub fn win(cx: &mut Cx<'_>, base: DirFragId) {
    for (sender, dirs) in cx.own.spine.in_doubt.take(base) {
        on_expire(cx, sender, dirs, None);
    }
}

/// It is not, and has no registrations there: the other one does it.
pub fn lose(cx: &mut Cx<'_>, base: DirFragId) {
    let _done_elsewhere = cx.own.spine.in_doubt.take(base);
}

/// A directory above has another name. While a region below it is frozen, that is not acknowledged.
fn on_moved(cx: &mut Cx<'_>, from: Rank, (dir, nonce): (Ino, Nonce), parent: Parent) {
    cx.own.spine.moved(dir, parent, nonce);
    let ack = Withheld { to: from, dir, nonce };
    if is_watched(cx, dir) {
        cx.own.spine.watch.withhold(ack);
    } else {
        acknowledge(cx, ack);
    }
}

fn acknowledge(cx: &mut Cx<'_>, Withheld { to, dir, nonce }: Withheld) {
    cx.out.send(to, ReplicaMsg::MovedAcked { dir, nonce });
}

fn is_watched(cx: &Cx<'_>, dir: Ino) -> bool {
    cx.own.spine.watch.bases().any(|(_, base)| is_above(cx, dir, base))
}

/// What cannot be told, for it must be fetched first, is taken for true: that costs a little time.
fn is_above(cx: &Cx<'_>, dir: Ino, below: Ino) -> bool {
    let mut here = below;
    for _ in 0..PATH_DIRS_MAX {
        match cx.parent_of(here) {
            Ok(Some(parent)) if parent.dir == dir => return true,
            Ok(Some(parent)) => here = parent.dir,
            Ok(None) => return false,
            Err(_) => return true,
        }
    }
    false
}

/// A migration is over: what was withheld for it is acknowledged.
pub fn end_watch(cx: &mut Cx<'_>, id: MigrationId) {
    cx.own.spine.watch.end(id);
    for ack in cx.own.spine.watch.take_withheld() {
        if is_watched(cx, ack.dir) {
            cx.own.spine.watch.withhold(ack);
        } else {
            acknowledge(cx, ack);
        }
    }
}

pub fn on_message(cx: &mut Cx<'_>, from: Rank, msg: ReplicaMsg) -> Outcome {
    match msg {
        ReplicaMsg::Discover { dir } => {
            on_discover(cx, from, dir);
            Outcome::Nothing
        }
        ReplicaMsg::Discovered { dir, parent, nonce, epoch } => {
            if let Some(parent) = &parent {
                // Whoever is the authority for a directory knows something about the next one.
                cx.own.spine.discovery.hint(parent.dir, from);
            }
            cx.own.spine.discovery.end(dir);
            let replica = Replica { parent, authority: from, epoch, doubt: None, nonce };
            cx.own.spine.keep(dir, replica);
            Outcome::Woken(Wait::Spine(dir))
        }
        ReplicaMsg::NotHere { dir, ask } => on_not_here(cx, from, dir, ask),
        ReplicaMsg::Expire { dirs, region } => {
            on_expire(cx, from, dirs, region);
            Outcome::Nothing
        }
        ReplicaMsg::Moved { dir, parent, nonce } => {
            on_moved(cx, from, (dir, nonce), parent);
            Outcome::Nothing
        }
        ReplicaMsg::MovedAcked { dir, .. } => Outcome::MovedAcked { dir, holder: from },
    }
}

/// Something came for which others' questions may have waited.
pub fn wake(cx: &mut Cx<'_>, wait: &Wait) {
    for (asker, dir) in cx.own.spine.discovery.take_parked(wait) {
        on_discover(cx, asker, dir);
    }
}

/// A rank has died, or come back as somebody else: what it was asked is asked of others, and what it
/// had granted is to be asked for anew. Returns what waiters may try again.
#[must_use]
pub fn on_rank_changed(cx: &mut Cx<'_>, rank: Rank) -> Vec<Wait> {
    forget_rank(cx, rank);
    let asked = cx.own.spine.discovery.asked_of(rank);
    for dir in &asked {
        cx.own.spine.discovery.end(*dir);
    }
    asked.into_iter().map(Wait::Spine).collect()
}

/// What a dead rank had granted is worth nothing. Where it was one of two candidates, the other one
/// hears that it is dropped: if that one wins, nobody asks for it to be registered anew.
pub fn forget_rank(cx: &mut Cx<'_>, rank: Rank) {
    let replicas = cx.own.spine.replicas();
    let doubtful = replicas.filter(|(_, it)| it.doubt.is_some() && it.concerns(rank));
    let doubtful: Vec<Ino> = doubtful.map(|(dir, _)| dir).collect();
    expire(cx, &doubtful);
    cx.own.spine.forget_rank(rank, cx.map);
}

/// The map changed: perhaps there is somebody to ask now.
#[must_use]
pub fn on_map(cx: &mut Cx<'_>) -> Vec<Wait> {
    cx.own.spine.discovery.take_unasked().into_iter().map(Wait::Spine).collect()
}

fn on_discover(cx: &mut Cx<'_>, asker: Rank, dir: Ino) {
    match locate(cx, dir) {
        Ok(Located::Here(parent, epoch)) => {
            // Those of the dead were dropped with them.
            let Some(life) = cx.map.incarnation(asker) else { return };
            let nonce = cx.own.spine.register(dir, asker, life);
            cx.out.send(asker, ReplicaMsg::Discovered { dir, parent, nonce, epoch });
        }
        Ok(Located::Elsewhere(ask)) => {
            cx.out.send(asker, ReplicaMsg::NotHere { dir, ask: ask.filter(|rank| *rank != asker) });
        }
        Err(Stop::Wait(wait)) => {
            if let Wait::Fetch(fetch) = &wait {
                cx.own.namespace.fetch(fetch.clone(), cx.out);
            }
            cx.own.spine.discovery.park(wait, asker, dir);
        }
        Err(Stop::Refuse(_) | Stop::Redirect(_) | Stop::Gone(_) | Stop::TwoPhase) => {
            cx.out.send(asker, ReplicaMsg::NotHere { dir, ask: None });
        }
    }
}

enum Located {
    Here(Option<Parent>, Epoch),
    Elsewhere(Option<Rank>),
}

fn locate(cx: &Cx<'_>, dir: Ino) -> Step<Located> {
    let replica_of = || cx.own.spine.replica(dir).map(|replica| replica.authority);
    match cx.own.subtrees.access(dir, Intent::Change, &cx.own.namespace)? {
        Access::Granted { base } => match cx.own.namespace.dir(dir)? {
            Some(row) => {
                let epoch = cx.own.subtrees.get(base).map_or(Epoch(0), |subtree| subtree.epoch);
                Ok(Located::Here(row.parent.clone(), epoch))
            }
            None => Ok(Located::Elsewhere(replica_of())),
        },
        Access::Frozen { base } if mutated!(cx.params, GrantWhileFrozen) => {
            let row = cx.own.namespace.dir(dir)?;
            let epoch = cx.own.subtrees.get(base).map_or(Epoch(0), |subtree| subtree.epoch);
            Ok(Located::Here(row.and_then(|row| row.parent.clone()), epoch))
        }
        Access::Frozen { base } => Err(Stop::Wait(Wait::Thaw(base))),
        Access::Elsewhere(route) => Ok(Located::Elsewhere(Some(route.rank))),
        Access::Unknown => Ok(Located::Elsewhere(replica_of())),
    }
}

fn on_not_here(cx: &mut Cx<'_>, from: Rank, dir: Ino, hint: Option<Rank>) -> Outcome {
    if !cx.own.spine.discovery.asks_of(dir, from) {
        return Outcome::Nothing;
    }
    match next_to_ask(cx, dir, hint) {
        Some(rank) => {
            ask(cx, dir, rank);
            Outcome::Nothing
        }
        None => {
            cx.own.spine.discovery.end(dir);
            if cx.map.ranks.values().any(|entry| entry.state == RankState::Down) {
                // Whoever knows is down.
                cx.own.spine.discovery.put_off(dir);
                return Outcome::Nothing;
            }
            Outcome::Woken(Wait::Spine(dir))
        }
    }
}

/// The one named, else the root's, else the others in turn: each once.
fn next_to_ask(cx: &Cx<'_>, dir: Ino, hint: Option<Rank>) -> Option<Rank> {
    let is_new = |rank: &Rank| {
        *rank != cx.me()
            && cx.map.state(*rank) != RankState::Down
            && !cx.own.spine.discovery.was_asked(dir, *rank)
    };
    let others = std::iter::once(Rank::ROOT).chain(cx.map.ranks.keys().copied());
    hint.into_iter().chain(others).find(is_new)
}

fn ask(cx: &mut Cx<'_>, dir: Ino, rank: Rank) {
    cx.own.spine.discovery.ask(dir, rank);
    cx.out.send(rank, ReplicaMsg::Discover { dir });
}

#[cfg(test)]
mod tests;
