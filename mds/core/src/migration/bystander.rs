//! A bystander's part in a migration: it replicates the base, so it must know who is the authority,
//! and when that is in doubt.
//!
//! It has no state of its own: what it is told stands in its [`crate::subtree::SubtreeMap`]. While
//! authority is in doubt it parks what it would otherwise redirect.

use common::id::{DirFragId, Epoch, Ino, MigrationId, Rank};

use crate::cx::Cx;
use crate::kill_point::KillPoint;
use crate::message::migration::{MigrationMsg, Step};
use crate::subtree::{DirAuth, Freeze};

/// Takes a notice in, unless it is older than what is known, and acknowledges it in any case. Returns
/// the base if its doubt has ended.
pub fn on_notify(
    (from, id, base): (Rank, MigrationId, DirFragId),
    (auth, epoch): (DirAuth, Epoch),
    dirs: &[Ino],
    cx: &mut Cx<'_>,
) -> Option<DirFragId> {
    cx.own.subtrees.see_epoch(epoch);
    for dir in dirs {
        cx.own.spine.set_authority(*dir, base, auth, epoch);
    }
    let thawed = apply(base, auth, epoch, cx);
    let step = Step::NotifyAck { auth };
    cx.out.send(from, MigrationMsg { id, base, step });
    cx.out.reached(KillPoint::NotifyAckSent);
    thawed
}

fn apply(base: DirFragId, auth: DirAuth, epoch: Epoch, cx: &mut Cx<'_>) -> Option<DirFragId> {
    let me = cx.me();
    let subtree = cx.own.subtrees.get_mut(base)?;
    let ours = match subtree.auth {
        DirAuth::Sole(rank) => rank == me,
        DirAuth::Ambiguous { first, second } => first == me || second == me,
    };
    if ours || subtree.epoch > epoch {
        return None;
    }
    subtree.auth = auth;
    match auth {
        DirAuth::Ambiguous { .. } => {
            subtree.freeze = Freeze::Frozen;
            None
        }
        DirAuth::Sole(_) => {
            subtree.epoch = epoch;
            subtree.freeze = Freeze::Live;
            Some(base)
        }
    }
}

/// Whoever warned us is dead, and may never say how it ended. What it owned by its own record is what
/// we go by, until we hear better: a wrong guess is answered by a redirect. Returns the bases whose
/// doubt has ended.
pub fn on_rank_down(dead: Rank, cx: &mut Cx<'_>) -> Vec<DirFragId> {
    let me = cx.me();
    let doubtful = cx.own.subtrees.iter().filter(|(_, subtree)| match subtree.auth {
        DirAuth::Ambiguous { first, second } => first == dead && second != me,
        DirAuth::Sole(_) => false,
    });
    let doubtful: Vec<DirFragId> = doubtful.map(|(base, _)| base).collect();
    for base in &doubtful {
        if let Some(subtree) = cx.own.subtrees.get_mut(*base) {
            subtree.auth = DirAuth::Sole(dead);
            subtree.freeze = Freeze::Live;
        }
    }
    doubtful
}

#[cfg(test)]
mod tests;
