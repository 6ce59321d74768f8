//! Listings: a page of names, completed with the attributes of what lies elsewhere.
//!
//! The kernel drops an entry that comes without attributes, so every one is asked for: first all
//! of a rank in one request, then, one by one, those that were not where the page said.

use std::collections::BTreeMap;

use common::attr::{Attr, FileKind};
use common::error::FsError;
use common::id::{Ino, Rank, RequestId};
use common::wire::reply::{Answer, Found, Page, PageEnd, PageEntry};
use common::wire::request::{Op, Place, Target};

use crate::call::{Active, Next, Step, lost_inode};
use crate::cx::Cx;
use crate::effect::{Done, Entry, Listing};
use crate::input::{Call, CallId, ListDetail};
use crate::pending::{Finished, Owner, Pending};

/// A page of which attributes are missing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Partial {
    listing: Listing,
    /// Which inodes each request asks about.
    asked: BTreeMap<RequestId, Vec<Ino>>,
    attrs: BTreeMap<Ino, Attr>,
}

impl Active {
    pub(super) fn on_page(
        &mut self,
        id: CallId,
        page: Page,
        from: Rank,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) -> Next {
        let Call::Readdir { dir, detail, .. } = self.call else {
            return Next::Answer(Err(FsError::Io));
        };
        let parent = cx.atlas.inodes.parent(dir).unwrap_or(Ino::ROOT);
        let entries = page.entries.into_iter().map(listing_entry).collect();
        let listing = Listing { parent, entries, end: page.end };
        if detail == ListDetail::Names {
            return Next::Answer(Ok(Done::Listing(listing)));
        }
        let mut by_rank: BTreeMap<Rank, Vec<Target>> = BTreeMap::new();
        for entry in listing.entries.iter().filter(|entry| entry.attr.is_none()) {
            let rank = entry.at.unwrap_or(from);
            by_rank.entry(rank).or_default().push(target_of(entry, dir));
        }
        let mut partial = Partial { listing, asked: BTreeMap::new(), attrs: BTreeMap::new() };
        for (rank, targets) in by_rank {
            let asked = targets.iter().map(|target| target.ino).collect();
            let op = Op::Stat { targets };
            let request = pending.begin_at(rank, Owner::Call(id), op, cx);
            self.requests.insert(request);
            partial.asked.insert(request, asked);
        }
        self.next_of(id, partial, pending, cx)
    }

    pub(super) fn on_attributes(
        &mut self,
        id: CallId,
        mut partial: Partial,
        finished: Finished,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) -> Next {
        let asked = partial.asked.remove(&finished.id).unwrap_or_default();
        match finished.result {
            Ok(Answer::Stats(stats)) => {
                partial.attrs.extend(stats.into_iter().flatten().map(|attr| (attr.ino, attr)));
            }
            Ok(Answer::Attr(attr)) => {
                partial.attrs.insert(attr.ino, attr);
            }
            Err(FsError::Io) => {
                let lost = asked.iter().filter_map(|ino| lost_inode(*ino, cx));
                partial.attrs.extend(lost.map(|attr| (attr.ino, attr)));
            }
            Ok(_) | Err(_) => {}
        }
        if matches!(finished.op, Op::Stat { .. }) {
            let missing: Vec<Ino> =
                asked.into_iter().filter(|ino| !partial.attrs.contains_key(ino)).collect();
            for ino in missing {
                let Some(target) = self.target_in(&partial, ino, cx) else { continue };
                let op = Op::Getattr { target };
                let request = pending.begin(Owner::Call(id), self.caller, op, cx);
                self.requests.insert(request);
                partial.asked.insert(request, vec![ino]);
            }
        }
        self.next_of(id, partial, pending, cx)
    }

    /// Names an entry for a request of its own, which must find its way there.
    fn target_in(&self, partial: &Partial, ino: Ino, cx: &mut Cx<'_>) -> Option<Target> {
        let Call::Readdir { dir, .. } = self.call else { return None };
        let entry = partial.listing.entries.iter().find(|entry| entry.ino == ino)?;
        let target = target_of(entry, dir);
        let name = (dir, entry.name.clone());
        if cx.atlas.inodes.get(ino).is_none() {
            cx.atlas.inodes.meet(ino, entry.kind, target.place.clone(), name, entry.at);
        }
        Some(target)
    }

    fn next_of(
        &mut self,
        id: CallId,
        partial: Partial,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) -> Next {
        if !partial.asked.is_empty() {
            return Next::Step(Step::Listing(partial));
        }
        let Partial { mut listing, attrs, .. } = partial;
        for entry in listing.entries.iter_mut().filter(|entry| entry.attr.is_none()) {
            entry.attr = attrs.get(&entry.ino).cloned();
        }
        let last = listing.entries.last().map(|entry| entry.cookie);
        // What could not be found has been removed since.
        listing.entries.retain(|entry| entry.attr.is_some());
        if let (Some(cookie), true, PageEnd::More) = (last, listing.entries.is_empty(), listing.end)
            && let Call::Readdir { dir, entries_max, .. } = self.call
        {
            // To the kernel an empty page is the end.
            self.ask(id, Op::Readdir { dir, cookie, entries_max }, pending, cx);
            return Next::Step(Step::Asking);
        }
        Next::Answer(Ok(Done::Listing(listing)))
    }
}

fn listing_entry(entry: PageEntry) -> Entry {
    let PageEntry { name, cookie, found } = entry;
    let (ino, kind, at, attr) = match found {
        Found::Here(attr) => (attr.ino, attr.kind, None, Some(attr)),
        Found::Dir { ino, rank, attr } => (ino, FileKind::Dir, Some(rank), attr),
        Found::Remote { ino, kind, rank, attr } => (ino, kind, Some(rank), attr),
    };
    Entry { name, cookie, ino, kind, at, attr }
}

fn target_of(entry: &Entry, dir: Ino) -> Target {
    let place = match (entry.kind, entry.at) {
        (FileKind::Dir, _) => Place::Dir,
        (_, Some(_)) => Place::Home,
        (_, None) => Place::Entry { dir, name: entry.name.clone() },
    };
    Target { ino: entry.ino, place }
}
