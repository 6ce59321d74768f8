//! `forget`: pins given back. Orphans that nobody holds any more go.

use common::id::ClientId;
use common::wire::reply::Answer;
use common::wire::request::{Forget, Place};

use super::{Done, target};
use crate::cx::{Cx, Step, Stop};
use crate::subtree::Intent;

/// Items that are not here are answered as such: the client gives them back where they are.
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
        // What changes with the last pin is only what nobody can name.
        match target::find(cx, &item.target, Intent::Change) {
            Ok(_) => here.push(item),
            Err(stop @ Stop::Wait(_)) => return Err(stop),
            Err(Stop::Redirect(_) | Stop::Gone(_) | Stop::Refuse(_) | Stop::TwoPhase) => {
                elsewhere.push(item.target.clone());
            }
        }
    }
    for item in here {
        cx.own.give_back(item.target.ino, client, item.count, cx.out);
    }
    Ok(Done::read(Answer::NotHere(elsewhere)))
}
