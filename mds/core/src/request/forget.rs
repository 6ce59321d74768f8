//! `forget`: pins given back. Orphans that nobody holds any more go.

use common::id::{ClientId, Ino, RequestId};
use common::wire::reply::Answer;
use common::wire::request::Forget;

use super::Done;
use crate::cx::{Cx, Step, Stop, Wait};
use crate::mutant::mutated;
use crate::subtree::Intent;

/// A pin is with the rank that counts it, wherever the client believes its inode to be. Items of which
/// no pin is counted here are answered as such: the client gives them back where they are.
///
/// # Errors
/// What to wait for; nothing is given back then.
pub fn forget(cx: &mut Cx<'_>, client: ClientId, items: &[Forget]) -> Step<Done> {
    let mut here = Vec::with_capacity(items.len());
    let mut elsewhere = Vec::new();
    for item in items {
        if cx.own.pins.is_pinned_by(item.ino, client) {
            let dir = cx.own.pins.dir_of(item.ino);
            stay(cx, dir)?;
            here.push(item);
            if dir.is_none() && !is_kept(cx, item.ino)? {
                // It was claimed here and had gone, or is still to be looked for; so it may be elsewhere.
                elsewhere.push(item.ino);
            }
        } else {
            // Its pins may be about to come.
            stay(cx, item.dir)?;
            elsewhere.push(item.ino);
        }
    }
    for item in here {
        let all = mutated!(cx.params, ForgetTakesAll);
        let below = if all { RequestId(u64::MAX) } else { item.below };
        cx.own.give_back(item.ino, client, below, cx.out);
    }
    Ok(Done::read(Answer::NotHere(elsewhere)))
}

/// Whether there is such an inode that is embedded in no entry.
fn is_kept(cx: &Cx<'_>, ino: Ino) -> Step<bool> {
    Ok(cx.own.namespace.orphan(ino).is_some() || cx.home_inode(ino)?.is_some())
}

/// The pins of what is embedded in a directory are not about to go to another rank, with the region or
/// with the file alone: what was told of them there would not be taken back.
fn stay(cx: &Cx<'_>, dir: Option<Ino>) -> Step<()> {
    let Some(dir) = dir else { return Ok(()) };
    if let Err(stop @ Stop::Wait(_)) = cx.admit(dir, Intent::Change) {
        return Err(stop);
    }
    match cx.own.locks.in_dir(dir) {
        Some((lock, _)) => Err(Stop::Wait(Wait::Unlock(lock))),
        None => Ok(()),
    }
}
