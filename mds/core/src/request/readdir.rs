//! `readdir`: the entries of a directory in order of hash, page by page.

use common::id::Ino;
use common::limit::{PAGE_BYTES_MAX, PAGE_ENTRIES_MAX};
use common::name::NameHash;
use common::wire::reply::{Answer, Page, PageEnd, PageEntry};

use super::{Done, lookup};
use crate::cx::{Cx, Step, Stop, Wait};
use crate::row::Linkage;
use crate::subtree::Intent;

/// What an entry takes of a page besides its name: attributes, cookie, lengths. An upper bound.
const ENTRY_BYTES: usize = 160;

/// Entries with equal cookies (their hashes differ in the lowest two bits only) are never split over
/// two pages: a page may grow beyond its bounds by them.
///
/// # Errors
/// Why it does not go on.
pub fn readdir(cx: &mut Cx<'_>, dir: Ino, cookie: u64, entries_max: u32) -> Step<Done> {
    cx.admit(dir, Intent::Read)?;
    cx.dir(dir)?;
    let entries_max = (entries_max as usize).clamp(1, PAGE_ENTRIES_MAX);
    let mut chosen: Vec<(NameHash, common::name::Name, Linkage)> = Vec::new();
    let mut bytes = 0;
    let mut end = PageEnd::Last;
    if let Some(from) = NameHash::after_cookie(cookie) {
        for (hash, name, linkage) in cx.own.namespace.entries_from(dir, from)? {
            let full = chosen.len() >= entries_max || bytes >= PAGE_BYTES_MAX;
            let splits = chosen.last().is_some_and(|(last, ..)| last.cookie() == hash.cookie());
            if full && !splits {
                end = PageEnd::More;
                break;
            }
            bytes += name.as_bytes().len() + ENTRY_BYTES;
            chosen.push((hash, name.clone(), linkage.clone()));
        }
    }
    let last = chosen.last().map(|(hash, ..)| *hash).filter(|_| end == PageEnd::More);
    if let Some(from) = NameHash::after_cookie(cookie)
        && let Some(lock) = cx.own.locks.in_page(dir, from, last)
    {
        // Whoever has seen it done at another rank must not find it undone here.
        return Err(Stop::Wait(Wait::Unlock(lock.clone())));
    }
    let mut entries = Vec::with_capacity(chosen.len());
    for (hash, name, linkage) in chosen {
        let found = lookup::listed(cx, dir, &linkage)?;
        entries.push(PageEntry { name, cookie: hash.cookie(), found });
    }
    Ok(Done::read(Answer::Page(Page { entries, end })))
}
