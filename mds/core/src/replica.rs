//! Replicas of the spine: how a rank comes to know directories of others, and stays right about them.
//!
//! ```text
//!  asker ── Discover ──▶ presumed authority          asker ◀── Moved ── authority
//!  asker ◀─ Discovered ─ authority                   asker ── MovedAcked ─▶ authority
//!  asker ◀─ NotHere{ask} ─ anybody else: ask there   asker ── Expire ────▶ authority
//! ```
//!
//! Only a live, unambiguous authority grants one: others' questions wait until a freeze ends.
//! Whoever waits for a directory waits for `Wait::Spine`, and asks again if nobody knew.

use std::collections::BTreeMap;

use common::id::{Ino, Nonce, Rank};
use common::mds_map::RankState;

use crate::cx::{Cx, Step, Stop, Wait};
use crate::message::replica::ReplicaMsg;
use crate::row::Parent;
use crate::spine::Replica;
use crate::subtree::{Access, Intent};

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

/// Gives replicas back that are not needed any more.
pub fn expire(cx: &mut Cx<'_>, dirs: &[Ino]) {
    let mut gone: BTreeMap<Rank, Vec<(Ino, Nonce)>> = BTreeMap::new();
    for dir in dirs {
        if let Some(replica) = cx.own.spine.drop_replica(*dir) {
            gone.entry(replica.authority).or_default().push((*dir, replica.nonce));
        }
    }
    for (authority, dirs) in gone {
        cx.out.send(authority, ReplicaMsg::Expire { dirs });
    }
}

pub fn on_message(cx: &mut Cx<'_>, from: Rank, msg: ReplicaMsg) -> Outcome {
    match msg {
        ReplicaMsg::Discover { dir } => {
            on_discover(cx, from, dir);
            Outcome::Nothing
        }
        ReplicaMsg::Discovered { dir, parent, nonce } => {
            if let Some(parent) = &parent {
                // Whoever is the authority for a directory knows something about the next one.
                cx.own.spine.discovery.hint(parent.dir, from);
            }
            cx.own.spine.discovery.end(dir);
            cx.own.spine.keep(dir, Replica { parent, authority: from, nonce });
            Outcome::Woken(Wait::Spine(dir))
        }
        ReplicaMsg::NotHere { dir, ask } => on_not_here(cx, from, dir, ask),
        ReplicaMsg::Expire { dirs } => {
            for (dir, nonce) in dirs {
                cx.own.spine.expire(dir, from, nonce);
            }
            Outcome::Nothing
        }
        ReplicaMsg::Moved { dir, parent, nonce } => {
            cx.own.spine.moved(dir, parent, nonce);
            cx.out.send(from, ReplicaMsg::MovedAcked { dir, nonce });
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
    cx.own.spine.forget_rank(rank);
    let asked = cx.own.spine.discovery.asked_of(rank);
    for dir in &asked {
        cx.own.spine.discovery.end(*dir);
    }
    asked.into_iter().map(Wait::Spine).collect()
}

/// The map changed: perhaps there is somebody to ask now.
#[must_use]
pub fn on_map(cx: &mut Cx<'_>) -> Vec<Wait> {
    cx.own.spine.discovery.take_unasked().into_iter().map(Wait::Spine).collect()
}

fn on_discover(cx: &mut Cx<'_>, asker: Rank, dir: Ino) {
    match locate(cx, dir) {
        Ok(Located::Here(parent)) => {
            let nonce = cx.own.spine.register(dir, asker);
            cx.out.send(asker, ReplicaMsg::Discovered { dir, parent, nonce });
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
    Here(Option<Parent>),
    Elsewhere(Option<Rank>),
}

fn locate(cx: &Cx<'_>, dir: Ino) -> Step<Located> {
    let replica_of = || cx.own.spine.replica(dir).map(|replica| replica.authority);
    match cx.own.subtrees.access(dir, Intent::Change, &cx.own.namespace)? {
        Access::Granted { .. } => match cx.own.namespace.dir(dir)? {
            Some(row) => Ok(Located::Here(row.parent.clone())),
            None => Ok(Located::Elsewhere(replica_of())),
        },
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
