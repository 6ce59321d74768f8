//! `getattr` and `stat`: attributes of one inode, and of many.

use common::id::ClientId;
use common::wire::reply::Answer;
use common::wire::request::Target;

use super::{Done, target};
use crate::cx::{Cx, Step, Stop, Wait};
use crate::subtree::Intent;

/// # Errors
/// Why it does not go on.
pub fn getattr(cx: &mut Cx<'_>, client: ClientId, target: &Target) -> Step<Done> {
    let found = target::find(cx, target, Intent::Read)?;
    let attr = found.attr();
    target::pin(cx, client, &attr, found.embedded_in())?;
    Ok(Done::read(Answer::Attr(attr)))
}

/// Attributes of many, for a listing; pins nothing. What is not here is answered with `None`.
///
/// # Errors
/// What to wait for.
pub fn stat(cx: &mut Cx<'_>, targets: &[Target]) -> Step<Done> {
    let mut attrs = Vec::with_capacity(targets.len());
    let mut wait = None;
    for target in targets {
        match target::find(cx, target, Intent::Read) {
            Ok(found) => attrs.push(Some(found.attr())),
            Err(Stop::Wait(Wait::Fetch(fetch))) => {
                // Ask for everything at once, then come back: one by one would be a round each.
                cx.own.namespace.fetch(fetch.clone(), cx.out);
                wait = Some(Stop::Wait(Wait::Fetch(fetch)));
            }
            Err(stop @ Stop::Wait(_)) => return Err(stop),
            Err(Stop::Refuse(_) | Stop::Redirect(_) | Stop::Gone(_) | Stop::TwoPhase) => {
                attrs.push(None)
            }
        }
    }
    match wait {
        Some(stop) => Err(stop),
        None => Ok(Done::read(Answer::Stats(attrs))),
    }
}
