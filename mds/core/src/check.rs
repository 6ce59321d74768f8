//! The invariants of one rank: what holds after each input, whatever has happened. Those that concern
//! several ranks the simulator checks.
//!
//! Cheap enough to be asked after each step of a simulation: it looks at tables that are small, and
//! where something would have to be fetched to tell it tells nothing.

use std::collections::BTreeSet;

use common::id::{ClientId, DirFragId, Ino, MigrationId, RequestId};

use crate::cx::Wait;
use crate::holdings::{Holdings, Repeated};
use crate::lock::Lock;
use crate::migration::{Half, Migrator};
use crate::request::Requests;
use crate::subtree::{DirAuth, Freeze, Subtree};
use crate::two_phase::TwoPhase;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Rank<'a> {
    pub me: common::id::Rank,
    pub own: &'a Holdings,
    pub requests: &'a Requests,
    pub two_phase: &'a TwoPhase,
    pub migrator: &'a Migrator,
}

/// An invariant that does not hold, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("S3: {0} is in doubt and not frozen")]
    DoubtNotFrozen(DirFragId),
    #[error("S21: {0} is frozen, and an operation of several turns works in it")]
    PinnedWhileFrozen(DirFragId),
    #[error("{half:?} does not fit what is known of its base: {found:?}")]
    Migration { half: Half, found: Option<Subtree> },
    #[error("S11: {base} is frozen up to {frozen:?}, and ends at {known:?}")]
    Bounds { base: DirFragId, frozen: BTreeSet<DirFragId>, known: BTreeSet<DirFragId> },
    #[error("two migrations of {0} are under way")]
    TwoMigrations(DirFragId),
    #[error("{0} is frozen for no migration")]
    FrozenForNobody(DirFragId),
    #[error("S15: a replica of {0} is registered with this rank itself")]
    OwnReplica(Ino),
    #[error("the path of {0} is watched, and it is not under way")]
    WatchedForNobody(MigrationId),
    #[error("expires are kept for {0}, which is not in doubt here")]
    KeptForNobody(DirFragId),
    #[error("{0:?} is held by an operation that does not take part")]
    LockedForNobody(Lock),
    #[error("operations under way hold {held} auth pins, not {counted}")]
    AuthPins { held: u64, counted: u64 },
    #[error("what is parked is not what is known to be")]
    ParkedUnknown,
    #[error("a request of {0}, which has no session, waits")]
    RequestOfNobody(ClientId),
    #[error("request {id} of {client} waits for {wait:?}, which nothing will end")]
    WaitsForNothing { client: ClientId, id: RequestId, wait: Wait },
    #[error("request {id} of {client} was handed over, and no operation is about it")]
    HandedOverToNobody { client: ClientId, id: RequestId },
    #[error("{client} has no session, and pins {ino}")]
    PinOfNobody { ino: Ino, client: ClientId },
    #[error("{client} does not pin {ino}, and something is known of its locks there")]
    LockOfNobody { ino: Ino, client: ClientId },
}

/// # Errors
/// The first invariant that does not hold.
pub fn check(rank: Rank<'_>) -> Result<(), Broken> {
    subtrees(rank)?;
    migrations(rank)?;
    replicas(rank)?;
    operations(rank)?;
    requests(rank)?;
    for (ino, client) in rank.own.pins.iter() {
        if rank.own.sessions.get(client).is_none() {
            return Err(Broken::PinOfNobody { ino, client });
        }
    }
    for (ino, client) in rank.own.pins.locks().iter() {
        if !rank.own.pins.is_pinned_by(ino, client) {
            return Err(Broken::LockOfNobody { ino, client });
        }
    }
    Ok(())
}

fn subtrees(Rank { me, own, migrator, .. }: Rank<'_>) -> Result<(), Broken> {
    let moving: BTreeSet<DirFragId> = migrator.halves(me).map(|half| half.base).collect();
    for (base, subtree) in own.subtrees.iter() {
        let doubtful = matches!(subtree.auth, DirAuth::Ambiguous { .. });
        if doubtful && matches!(subtree.freeze, Freeze::Live | Freeze::Freezing) {
            return Err(Broken::DoubtNotFrozen(base));
        }
        if !own.subtrees.is_mine(base) || subtree.freeze == Freeze::Live {
            continue;
        }
        if !moving.contains(&base) {
            return Err(Broken::FrozenForNobody(base));
        }
        if subtree.freeze != Freeze::Freezing
            && own.subtrees.has_auth_pins(base, &own.namespace) == Ok(true)
        {
            return Err(Broken::PinnedWhileFrozen(base));
        }
    }
    Ok(())
}

/// Both halves set what is known of the base, and nobody else does while it is under way.
fn migrations(Rank { me, own, migrator, .. }: Rank<'_>) -> Result<(), Broken> {
    let mut bases = BTreeSet::new();
    for half in migrator.halves(me) {
        if half.expected.is_some() && !bases.insert(half.base) {
            return Err(Broken::TwoMigrations(half.base));
        }
        let found = own.subtrees.get(half.base);
        let fits = half.expected.is_none_or(|expected| {
            found.is_some_and(|subtree| (subtree.auth, subtree.freeze) == expected)
        });
        if !fits {
            return Err(Broken::Migration { half, found: found.cloned() });
        }
    }
    // The importer knows of bounds below only what it is told, until it is the owner.
    for region in migrator.frozen_regions().filter(|region| region.id.exporter == me) {
        let (base, frozen) = (region.base, region.bounds.keys().copied().collect());
        if let Ok(known) = own.subtrees.bounds(base, &own.namespace)
            && known != frozen
        {
            return Err(Broken::Bounds { base, frozen, known });
        }
    }
    Ok(())
}

fn replicas(Rank { me, own, migrator, .. }: Rank<'_>) -> Result<(), Broken> {
    let own_replica = own.spine.replicas().find(|(_, replica)| replica.authority == me);
    let own_holder = own.spine.registered().find(|(_, holders)| holders.contains_key(&me));
    if let Some(dir) = own_replica.map(|(dir, _)| dir).or_else(|| own_holder.map(|(dir, _)| dir)) {
        return Err(Broken::OwnReplica(dir));
    }
    let under_way: BTreeSet<MigrationId> = migrator.halves(me).map(|half| half.id).collect();
    let unknown = |(id, _): &(MigrationId, Ino)| !under_way.contains(id);
    if let Some((id, _)) = own.spine.watch.bases().find(unknown) {
        return Err(Broken::WatchedForNobody(id));
    }
    match own.spine.in_doubt.regions().find(|base| !own.subtrees.is_candidate(*base)) {
        Some(base) => Err(Broken::KeptForNobody(base)),
        None => Ok(()),
    }
}

fn operations(Rank { own, two_phase, .. }: Rank<'_>) -> Result<(), Broken> {
    let taking_part: BTreeSet<_> =
        two_phase.taking_part().map(|(operation, _)| operation).collect();
    for (lock, holder) in own.locks.iter() {
        if !taking_part.contains(&holder) {
            return Err(Broken::LockedForNobody(lock.clone()));
        }
    }
    let held = two_phase.taking_part().map(|(_, pinned)| pinned as u64).sum();
    let counted = own.subtrees.auth_pins();
    if held == counted { Ok(()) } else { Err(Broken::AuthPins { held, counted }) }
}

/// Whoever waits is known, and what it waits for will come.
fn requests(Rank { own, requests, two_phase, .. }: Rank<'_>) -> Result<(), Broken> {
    if !requests.is_consistent() {
        return Err(Broken::ParkedUnknown);
    }
    for (wait, client, id) in requests.parked() {
        if own.sessions.get(client).is_none() {
            return Err(Broken::RequestOfNobody(client));
        }
        let ends = match wait {
            Wait::Fetch(fetch) => own.namespace.is_asked(fetch),
            Wait::Thaw(base) => {
                own.subtrees.get(*base).is_some_and(|subtree| subtree.freeze != Freeze::Live)
            }
            Wait::Unlock(lock) => own.locks.holder(lock).is_some(),
            Wait::Durable(seq) => *seq > own.durable,
            Wait::Spine(dir) => own.spine.discovery.is_sought(*dir),
            Wait::Repeated => own.repeated == Repeated::NotYet,
            Wait::FileLock(ino) => own.pins.locks().is_locked(*ino),
            Wait::Recall(dir) => own.capabilities.exclusives.is_recalled(*dir),
            Wait::Strangers => own.sessions.has_strangers(),
            // Maps come as long as there is a monitor.
            Wait::Map => true,
        };
        if !ends {
            return Err(Broken::WaitsForNothing { client, id, wait: wait.clone() });
        }
    }
    let coordinated: BTreeSet<(ClientId, RequestId)> = two_phase.coordinated().collect();
    match requests.handed_over().find(|request| !coordinated.contains(request)) {
        Some((client, id)) => Err(Broken::HandedOverToNobody { client, id }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
