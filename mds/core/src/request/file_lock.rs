//! `F_GETLK`, `F_SETLK` and `F_SETLKW`: byte-range locks between all mounts.
//!
//! They are known where the file's pins are. What is about to take these to another rank stops locks as it
//! stops changes.

use std::collections::BTreeSet;

use common::attr::FileKind;
use common::error::FsError;
use common::file_lock::FileLock;
use common::id::{ClientId, Ino, RequestId};
use common::limit::FILE_LOCKS_MAX;
use common::wire::reply::{Answer, Holder, InTheWay};
use common::wire::request::{OnConflict, SetLock, Target};

use super::{Done, target};
use crate::cx::{Cx, Step, Stop, Wait};
use crate::file_lock::{Known, Settled};
use crate::mutant::mutated;
use crate::subtree::Intent;

/// # Errors
/// Why it does not go on.
pub fn get(cx: &mut Cx<'_>, client: ClientId, target: &Target, wanted: FileLock) -> Step<Done> {
    find(cx, client, target)?;
    let in_the_way = cx.own.pins.locks().in_the_way(target.ino, client, wanted).next();
    let in_the_way = in_the_way.map(|(of, lock)| InTheWay {
        lock,
        of: if of == client { Holder::Ours } else { Holder::Others },
    });
    Ok(Done::read(Answer::InTheWay(in_the_way)))
}

/// # Errors
/// Why it does not go on.
pub fn set(
    cx: &mut Cx<'_>,
    client: ClientId,
    id: RequestId,
    target: &Target,
    (set, unanswered): (&SetLock, &BTreeSet<RequestId>),
) -> Step<Done> {
    if set.range.first > set.range.last {
        return Err(FsError::Invalid.into());
    }
    let ino = find(cx, client, target)?;
    let settled = match cx.own.pins.locks_mut(ino).on_request(ino, client, id, unanswered) {
        Known::Settled(settled) => settled,
        // Nobody waits for an answer.
        Known::Over => Settled::Refused(FsError::Stale),
        Known::New => {
            let settled = attempt(cx, client, ino, set)?;
            cx.own.pins.locks_mut(ino).settle(ino, client, id, settled);
            settled
        }
    };
    Ok(Done::read(match settled {
        Settled::Locked => Answer::Locked(ino),
        Settled::Refused(error) => Answer::NotLocked(error),
    }))
}

fn attempt(cx: &mut Cx<'_>, client: ClientId, ino: Ino, set: &SetLock) -> Step<Settled> {
    let Some(lock) = set.lock() else {
        cx.own.pins.locks_mut(ino).unlock(ino, client, set.owner, set.range);
        return Ok(Settled::Locked);
    };
    let locks = cx.own.pins.locks();
    let is_free =
        mutated!(cx.params, LockedTwice) || locks.in_the_way(ino, client, lock).next().is_none();
    if !is_free {
        return match set.on_conflict {
            OnConflict::Refuse => Ok(Settled::Refused(FsError::WouldBlock)),
            OnConflict::Wait => Err(Stop::Wait(Wait::FileLock(ino))),
        };
    }
    if locks.count(ino) >= FILE_LOCKS_MAX {
        return Ok(Settled::Refused(FsError::NoLocks));
    }
    cx.own.pins.locks_mut(ino).lock(ino, client, lock);
    Ok(Settled::Locked)
}

/// The file is here, its pins stay here, and everybody has said what is locked.
fn find(cx: &mut Cx<'_>, client: ClientId, target: &Target) -> Step<Ino> {
    let found = target::find(cx, target, Intent::Change)?;
    let (attr, dir) = (found.attr(), found.embedded_in());
    if attr.kind == FileKind::Dir {
        return Err(FsError::Invalid.into());
    }
    let met_at = cx.own.sessions.get(client).map(|session| session.met_at());
    if let Some(met_at) = met_at
        && cx.own.durable < met_at
    {
        // A next life waits for those who may have locked something, if it knows of them.
        return Err(Stop::Wait(Wait::Durable(met_at)));
    }
    cx.own.assume_held(attr.ino, dir);
    if cx.own.pins.locks().may_be_in_the_way(attr.ino, client) {
        cov_mark::hit!(who_is_still_to_say_may_have_locked_anything);
        return Err(Stop::Wait(Wait::FileLock(attr.ino)));
    }
    target::pin_admitted(cx, client, &attr, dir);
    Ok(attr.ino)
}

#[cfg(test)]
mod tests;
