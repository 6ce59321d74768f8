//! A bystander's part in a migration: it replicates the base, so it must know who is the authority,
//! and when that is in doubt.
//!
//! What it is told stands in its [`crate::subtree::SubtreeMap`]. While authority is in doubt it parks
//! what it would otherwise redirect. Exporter or importer takes the doubt away; if both have died,
//! neither remembers whom it had told, so the bystander asks the exporter's next life ([`Doubt`]).

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
    let thawed = if names(auth, cx.me()) {
        // Who takes part is no bystander.
        tracing::warn!(migration = %id, %base, from = from.0, "told by another what is ours to know");
        None
    } else {
        for dir in dirs {
            cx.own.spine.set_authority(*dir, base, auth, epoch);
        }
        apply(base, auth, epoch, cx)
    };
    let step = Step::NotifyAck { auth };
    cx.out.send(from, MigrationMsg { id, base, step });
    cx.out.reached(KillPoint::NotifyAckSent);
    thawed
}

fn names(auth: DirAuth, rank: Rank) -> bool {
    match auth {
        DirAuth::Sole(owner) => owner == rank,
        DirAuth::Ambiguous { first, second } => first == rank || second == rank,
    }
}

/// What must be known to ask how a migration has ended.
#[derive(Clone, Debug, Hash)]
pub struct Doubt {
    pub base: DirFragId,
    pub importer: Rank,
    pub epoch: Epoch,
}

impl Doubt {
    /// The doubt that this rank has about a base, if a notice has left it one.
    #[must_use]
    pub fn left(base: DirFragId, auth: DirAuth, epoch: Epoch, cx: &Cx<'_>) -> Option<Self> {
        let DirAuth::Ambiguous { second, .. } = auth else { return None };
        let taken_in = cx.own.subtrees.get(base).is_some_and(|subtree| subtree.auth == auth);
        taken_in.then_some(Self { base, importer: second, epoch })
    }

    /// The exporter's journal has decided for this rank. Returns the base if that ends a doubt.
    pub fn settle(self, owner: Rank, cx: &mut Cx<'_>) -> Option<DirFragId> {
        apply(self.base, DirAuth::Sole(owner), self.epoch, cx)
    }
}

fn apply(base: DirFragId, auth: DirAuth, epoch: Epoch, cx: &mut Cx<'_>) -> Option<DirFragId> {
    let me = cx.me();
    let subtree = cx.own.subtrees.get_mut(base)?;
    let ours = match subtree.auth {
        DirAuth::Sole(rank) => rank == me,
        DirAuth::Ambiguous { first, second } => first == me || second == me,
    };
    if let (DirAuth::Sole(owner), DirAuth::Sole(_)) = (subtree.auth, auth)
        && owner == me
        && subtree.epoch < epoch
    {
        // Two claims without a doubt. Whoever has the lower one must not go on changing things.
        let own = subtree.epoch.0;
        let claim = format!("{base} is ours by claim {own}, and {auth:?} by claim {}", epoch.0);
        cx.own.note_damage(claim);
        return None;
    }
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

#[cfg(test)]
mod tests;
