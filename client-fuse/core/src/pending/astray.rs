//! What becomes of a request that did not find its authority.
//!
//! A redirect teaches a route, and the request follows it. `Gone` means that its inode is not
//! where we believed: what has been told since decides, else its name is looked up once more. No
//! errno comes of the authority having moved.

use std::time::Duration;

use common::error::FsError;
use common::id::{Ino, Rank, RequestId};
use common::limit::{PAGE_ENTRIES_MAX, REDIRECTS_BEFORE_WARNING};
use common::name::Name;
use common::wire::reply::{Answer, Found, Page, PageEnd, PageEntry, Route};
use common::wire::request::{Caller, Op, Place, Target};

use crate::atlas::Atlas;
use crate::capability::NEVER;
use crate::cx::Cx;
use crate::pending::{Owner, Pended, Pending, State};
use crate::timer::Timer;

/// How long a request rests that goes in circles.
const PAUSE: Duration = Duration::from_millis(50);
/// How often one request's inode is looked up again before it is taken to be gone.
const FOUND_AGAIN_MAX: u32 = 32;
/// How often an inode is looked for where it was before it was moved, and where it was moved to.
const MOVED_BACK_MAX: u32 = 8;

impl Pending {
    pub(super) fn on_redirect(&mut self, id: RequestId, from: Rank, route: Route, cx: &mut Cx<'_>) {
        let Some(pended) = self.requests.get_mut(&id) else { return };
        pended.redirects += 1;
        if pended.redirects == REDIRECTS_BEFORE_WARNING {
            tracing::warn!(request = id.0, base = %route.base, "routing does not settle");
        }
        if pended.is_bound() {
            return self.finish(id, from, Err(FsError::NotFound), NEVER);
        }
        match pended.op.dir() {
            Some(dir) => {
                pended.forced = None;
                pended.known_at = pended.known_at.map(|_| route.rank);
                cx.atlas.routes.redirected(dir, route, &cx.atlas.inodes);
            }
            None => pended.forced = Some(route.rank),
        }
        if route.rank == from
            || cx.atlas.is_lost(route.rank)
            || pended.redirects >= REDIRECTS_BEFORE_WARNING
        {
            self.pause(id, cx);
        } else {
            self.dispatch(id, cx);
        }
    }

    fn pause(&mut self, id: RequestId, cx: &mut Cx<'_>) {
        if let Some(pended) = self.requests.get_mut(&id) {
            pended.state = State::Paused;
            cx.out.set_timer(Timer::Retry(id), cx.now.monotonic.after(PAUSE));
        }
    }

    pub(crate) fn on_retry_timer(&mut self, id: RequestId, cx: &mut Cx<'_>) {
        if self.requests.get(&id).is_some_and(|pended| pended.state == State::Paused) {
            self.dispatch(id, cx);
        }
    }

    /// The rank does not have the inode, and does not know where it is.
    pub(super) fn on_gone(&mut self, id: RequestId, from: Rank, ino: Ino, cx: &mut Cx<'_>) {
        let sought = self.is_sought_by_way_of(id, ino);
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if ino == Ino::ROOT {
            // It cannot be gone: whoever said so is not rank 0.
            cx.atlas.routes.forget(ino);
            return self.pause(id, cx);
        }
        if pended.is_bound() || matches!(pended.owner, Owner::Seeker { .. }) {
            return self.finish(id, from, Err(FsError::NotFound), NEVER);
        }
        let place = cx.atlas.inodes.place(ino);
        if was_moved(pended, cx.atlas) {
            return self.dispatch(id, cx);
        }
        pended.forced = None;
        pended.found_again += 1;
        let name = match &place {
            Place::Entry { dir, name } => Some((*dir, name.clone())),
            Place::Dir | Place::Home => cx.atlas.inodes.name_of(ino).cloned(),
            Place::Orphan { .. } => None,
        };
        match name {
            Some((dir, name)) if !sought && pended.found_again <= FOUND_AGAIN_MAX => {
                pended.state = State::Finding;
                let owner = Owner::Finder { request: id, ino };
                self.begin(owner, Caller::default(), Op::Lookup { dir, name }, cx);
            }
            Some(_) | None => self.seek(id, ino, from, cx),
        }
    }

    /// Whether a request is there only because that is looked for: what is known of names is of different
    /// ages, and may lead in a circle.
    fn is_sought_by_way_of(&self, id: RequestId, ino: Ino) -> bool {
        let owner = |id: RequestId| self.requests.get(&id).map(|pended| pended.owner);
        let mut at = owner(id);
        while let Some(Owner::Finder { request, ino: sought }) = at {
            if sought == ino {
                cov_mark::hit!(names_lead_in_a_circle);
                return true;
            }
            at = owner(request);
        }
        false
    }

    /// Somebody else renamed the directory, or one above it, and its new parent is with another rank:
    /// no name we know leads to it, but a process may still work in it, or with a file that was moved
    /// there. Whoever has it knows it.
    fn seek(&mut self, id: RequestId, ino: Ino, from: Rank, cx: &mut Cx<'_>) {
        let Some(pended) = self.requests.get_mut(&id) else { return };
        let place = cx.atlas.inodes.place(ino);
        // The file that is asked for, if it is its directory that is gone.
        let file = pended
            .target()
            .cloned()
            .filter(|target| matches!(&target.place, Place::Entry { dir, .. } if *dir == ino));
        let next = match place {
            Place::Dir => pended.next_with_dir(ino, file.as_ref(), cx),
            Place::Entry { .. } | Place::Home | Place::Orphan { .. } => None,
        };
        if next.is_none() && (self.we_move(ino, id, cx) || self.move_back(id, ino, cx)) {
            return self.pause(id, cx);
        }
        let Some(pended) = self.requests.get_mut(&id) else { return };
        match next.or_else(|| pended.next_to_tell(ino, cx)) {
            Some((rank, target)) => {
                pended.state = State::Finding;
                pended.sought.insert(rank);
                self.begin_at(rank, Owner::Seeker { request: id, ino }, Op::Getattr { target }, cx);
            }
            None if was_moved(pended, cx.atlas) => self.dispatch(id, cx),
            None if self.look_through(id, ino, 0, cx) => {}
            None => {
                let place = file.map_or(place, |target| target.place);
                self.finish(id, from, Err(gone(&place)), NEVER);
            }
        }
    }

    /// What gave a file the name by which we know it was lost with a rank's power, and with whoever had done
    /// that: if it was made again by nobody, the file is in the same directory under another name.
    fn look_through(&mut self, id: RequestId, ino: Ino, after: u64, cx: &mut Cx<'_>) -> bool {
        let Some(pended) = self.requests.get_mut(&id) else { return false };
        let is_next = after > 0 || !std::mem::replace(&mut pended.looked_through, true);
        let Some(dir) = cx.atlas.inodes.told_in(ino).filter(|_| is_next) else { return false };
        if !cx.atlas.inodes.is_referred(ino) {
            return false;
        }
        pended.state = State::Finding;
        let owner = Owner::Seeker { request: id, ino };
        let entries_max = u32::try_from(PAGE_ENTRIES_MAX).unwrap_or(u32::MAX);
        let op = Op::Readdir { dir, cookie: after, entries_max };
        self.begin(owner, Caller::default(), op, cx);
        true
    }

    /// One page of that directory. Tells whether the file is there, or may be in the next one.
    fn is_in_page(
        &mut self,
        id: RequestId,
        ino: Ino,
        page: &Page,
        from: Rank,
        cx: &mut Cx<'_>,
    ) -> bool {
        let entry = page.entries.iter().find(|entry| entry.found.ino() == ino);
        let Some(dir) = cx.atlas.inodes.told_in(ino) else { return false };
        if let Some(PageEntry { name, found, .. }) = entry {
            cov_mark::hit!(it_is_found_under_another_name);
            let (place, at) = match found {
                Found::Here(_) => (Place::Entry { dir, name: name.clone() }, from),
                Found::Remote { rank, .. } => (Place::Home, *rank),
                Found::Dir { .. } => return false,
            };
            cx.atlas.inodes.moved(ino, place, at);
            self.dispatch(id, cx);
            return true;
        }
        let last = page.entries.last().filter(|_| page.end == PageEnd::More);
        last.is_some_and(|last| self.look_through(id, ino, last.cookie, cx))
    }

    /// A rank that did not have what is sought may have it now.
    pub(crate) fn authority_moved(&mut self) {
        for pended in self.requests.values_mut() {
            pended.sought.clear();
        }
    }

    /// What moved it may have been lost with its rank's power: then it is where it was before, until
    /// that is done again.
    fn move_back(&mut self, id: RequestId, ino: Ino, cx: &mut Cx<'_>) -> bool {
        let Some(pended) = self.requests.get_mut(&id) else { return false };
        if pended.moved_back >= MOVED_BACK_MAX || !cx.atlas.inodes.move_back(ino) {
            return false;
        }
        cov_mark::hit!(a_move_was_lost);
        pended.moved_back += 1;
        true
    }

    /// Whether another request of ours is under way that gives the inode another place. Of an operation of
    /// two ranks only the answer tells us where that is, and one of the two may have done it already.
    fn we_move(&self, ino: Ino, but: RequestId, cx: &Cx<'_>) -> bool {
        let named = cx.atlas.inodes.name_of(ino);
        let is_named = |dir: Ino, name: &Name| named.is_some_and(|it| (it.0, &it.1) == (dir, name));
        let under_way = |state: &State| matches!(state, State::Sent(_) | State::Waiting(_));
        let others = self.requests.iter().filter(|(id, it)| **id != but && under_way(&it.state));
        others.map(|(_, pended)| &pended.op).any(|op| {
            if let Op::Rename(rename) = op {
                is_named(rename.from_dir, &rename.from) || is_named(rename.to_dir, &rename.to)
            } else {
                matches!(op, Op::Link { target, .. } if target.ino == ino)
            }
        })
    }

    /// A rank was asked whether it has a directory.
    pub(crate) fn on_sought(
        &mut self,
        id: RequestId,
        ino: Ino,
        result: &Result<Answer, FsError>,
        from: Rank,
        cx: &mut Cx<'_>,
    ) {
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if pended.state != State::Finding {
            return;
        }
        if let Ok(Answer::Page(page)) = result
            && self.is_in_page(id, ino, page, from, cx)
        {
            return;
        }
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if let Ok(Answer::Attr(_)) = result {
            pended.sought.clear();
            pended.known_at = pended.known_at.map(|_| from);
            let is_dir = cx.atlas.inodes.place(ino) == Place::Dir;
            // Of what the kernel has removed nobody would forget the way.
            if is_dir && (!pended.is_known() || cx.atlas.inodes.get(ino).is_some()) {
                cx.atlas.routes.learn(ino, from, &cx.atlas.inodes);
            }
            self.dispatch(id, cx);
        } else {
            self.seek(id, ino, from, cx);
        }
    }

    /// The lookup for a request has ended.
    pub(crate) fn on_found(
        &mut self,
        id: RequestId,
        ino: Ino,
        result: &Result<Answer, FsError>,
        from: Rank,
        cx: &mut Cx<'_>,
    ) {
        let Some(pended) = self.requests.get_mut(&id) else { return };
        if pended.state != State::Finding {
            return;
        }
        let found = match result {
            Ok(Answer::Found(Found::Here(attr))) => Some(attr.ino),
            Ok(Answer::Found(Found::Dir { ino, .. } | Found::Remote { ino, .. })) => Some(*ino),
            Ok(_) | Err(_) => None,
        };
        let is_first = pended.found_again == 1;
        if was_moved(pended, cx.atlas) {
            self.dispatch(id, cx);
        } else if found != Some(ino) {
            self.seek(id, ino, from, cx);
        } else if is_first {
            self.dispatch(id, cx);
        } else {
            self.pause(id, cx);
        }
    }
}

impl Pended {
    /// The next rank that may have a directory.
    fn next_with_dir(
        &self,
        ino: Ino,
        file: Option<&Target>,
        cx: &Cx<'_>,
    ) -> Option<(Rank, Target)> {
        let inodes = &cx.atlas.inodes;
        let holds_file = file.is_some_and(|target| inodes.is_referred(target.ino));
        let is_wanted = holds_file || self.is_known() || inodes.is_referred(ino);
        let ranks = cx.atlas.map.iter().flat_map(|map| map.ranks.keys().copied());
        let next = self.next_of(ranks).filter(|_| is_wanted)?;
        Some((next, Target::dir(ino)))
    }

    /// The next rank that may have told us what has become of a file, or would have if it could: that comes
    /// before its answer.
    fn next_to_tell(&self, ino: Ino, cx: &Cx<'_>) -> Option<(Rank, Target)> {
        let is_ours = cx.atlas.inodes.is_pinned(ino);
        let rank = self.next_of(cx.sessions.ranks()).filter(|_| is_ours)?;
        Some((rank, Target { ino, place: Place::Orphan { rank } }))
    }

    fn next_of(&self, mut ranks: impl Iterator<Item = Rank>) -> Option<Rank> {
        let next = ranks.find(|rank| !self.sought.contains(rank));
        next.filter(|_| self.found_again <= FOUND_AGAIN_MAX)
    }
}

/// Whether we were told, while the request was under way, that its inode is elsewhere: then whatever is
/// gone, the inode or the directory in which it was, says nothing.
fn was_moved(pended: &mut Pended, atlas: &Atlas) -> bool {
    let Some(target) = pended.target() else { return false };
    let place = atlas.inodes.place(target.ino);
    place != Place::Dir && target.place != place
}

/// What the caller hears of an inode that is nowhere: a directory was removed; a file we refer to
/// would be an orphan, so our session has missed something.
fn gone(place: &Place) -> FsError {
    match place {
        Place::Dir => FsError::NotFound,
        Place::Entry { .. } | Place::Home | Place::Orphan { .. } => FsError::Stale,
    }
}
