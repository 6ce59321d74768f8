//! `hold`: a client asks for a directory exclusively, with all that it needs to know of it.
//!
//! It takes it from nobody: as long as others may have something of it cached, they go on sharing it. Whoever is
//! recalled goes on as one of those, so two clients in one directory do not pass it to and fro.

use common::acl;
use common::id::{ClientId, Ino};
use common::limit::PAGE_ENTRIES_MAX;
use common::wire::reply::{Answer, Contents, PageEnd};

use super::{Done, readdir};
use crate::capability::{self, exclusive};
use crate::cx::{Cx, Step, Stop, Wait};
use crate::subtree::Intent;

/// # Errors
/// Why it does not go on.
pub fn hold(cx: &mut Cx<'_>, client: ClientId, dir: Ino) -> Step<Done> {
    cx.admit(dir, Intent::Change)?;
    let row = cx.dir(dir)?;
    let (attr, is_plain) = (row.attr(dir), !row.xattrs.contains_key(acl::DEFAULT));
    // A large one is not read for that: everybody there would wait.
    let is_small = row.entries <= PAGE_ENTRIES_MAX as u64;
    let is_strangers = exclusive::may_be_a_strangers(cx, dir, Some(client));
    let is_free = is_plain && is_small && !is_strangers && !cx.own.is_read_only();
    if !is_free || !capability::is_alone(cx, client, dir) {
        return Ok(Done::read(Answer::NotHeld));
    }
    let entries_max = u32::try_from(PAGE_ENTRIES_MAX).unwrap_or(u32::MAX);
    let Answer::Page(page) = readdir::readdir(cx, dir, 0, entries_max)?.answer else {
        unreachable!("a listing is answered with a page")
    };
    if page.end == PageEnd::More {
        return Ok(Done::read(Answer::NotHeld));
    }
    if let Some(seq) = cx.own.capabilities.undurable.of_others(dir, client) {
        // Its client goes by what is there: what somebody else has made must not be undone.
        return Err(Stop::Wait(Wait::Durable(seq)));
    }
    cx.own.capabilities.exclusives.grant(dir, client);
    Ok(Done::read(Answer::Held(Contents { attr, entries: page.entries })))
}

#[cfg(test)]
mod tests;
