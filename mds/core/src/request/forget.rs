//! `forget`: pins given back. Orphans that nobody holds any more go.

use common::id::{ClientId, Ino};
use common::wire::reply::Answer;
use common::wire::request::{Forget, Place};

use super::{Done, target};
use crate::cx::{Cx, Step, Stop, Wait};
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
        if matches!(item.target.place, Place::Dir) {
            continue;
        }
        if cx.own.pins.is_pinned_by(item.target.ino, client) {
            stay(cx, item.target.ino)?;
            here.push(item);
        } else if let Err(stop @ Stop::Wait(_)) = target::find(cx, &item.target, Intent::Change) {
            return Err(stop);
        } else {
            elsewhere.push(item.target.clone());
        }
    }
    for item in here {
        cx.own.give_back(item.target.ino, client, item.count, cx.out);
    }
    Ok(Done::read(Answer::NotHere(elsewhere)))
}

/// The pins of an inode are not about to go to another rank, with its region or with the file alone:
/// what was told of them there would not be taken back.
fn stay(cx: &mut Cx<'_>, ino: Ino) -> Step<()> {
    let Some(dir) = cx.own.pins.dir_of(ino) else { return Ok(()) };
    if let Err(stop @ Stop::Wait(_)) = cx.admit(dir, Intent::Change) {
        return Err(stop);
    }
    match cx.own.locks.in_dir(dir) {
        Some((lock, _)) => Err(Stop::Wait(Wait::Unlock(lock))),
        None => Ok(()),
    }
}
