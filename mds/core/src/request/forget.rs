//! `forget`: pins given back. Orphans that nobody holds any more go.

use common::id::ClientId;
use common::wire::reply::Answer;
use common::wire::request::{Forget, Place};

use super::{Done, target};
use crate::cx::{Cx, Step, Stop};
use crate::subtree::Intent;

/// A pin is with the rank that counts it, wherever the client believes its inode to be; the place
/// tells only whether that is in a region that is frozen. Items of which no pin is counted here are
/// answered as such: the client gives them back where they are.
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
        if let Err(stop @ Stop::Wait(_)) = target::find(cx, &item.target, Intent::Change) {
            return Err(stop);
        }
        if cx.own.pins.is_pinned_by(item.target.ino, client) {
            here.push(item);
        } else {
            elsewhere.push(item.target.clone());
        }
    }
    for item in here {
        cx.own.give_back(item.target.ino, client, item.count, cx.out);
    }
    Ok(Done::read(Answer::NotHere(elsewhere)))
}
