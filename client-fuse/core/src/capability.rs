//! `Capabilities`: what the kernel may use again without asking us, and until when.
//!
//! An answer with a promise holds for [`CAPABILITY_TIME`] from when it was asked for, as long as its rank
//! counts us among the living. Whoever changes something of it meanwhile waits until we have told the kernel.
//! An answer that was asked for before we heard of a change may be older than that, whichever rank it
//! comes from, and is used once. So is what was asked for shortly after: where others make one change after the
//! other, dropping costs more than asking.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use common::attr::Attr;
use common::error::FsError;
use common::id::Ino;
use common::limit::CAPABILITY_TIME;
use common::time::Monotonic;
use common::wire::reply::{Answer, Found, Promise};
use common::wire::request::{Op, Place, Rename, Target};

/// Nothing lasts so long: each use asks anew.
pub(crate) const NEVER: Monotonic = Monotonic(0);

/// After a change nothing is kept for so long.
const UNSETTLED: Duration = Duration::from_millis(100);

/// Set-user-id and set-group-id.
const PRIVILEGES: u16 = 0o6000;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Capabilities {
    /// Directories and inodes of which we heard that something changed, and when that was.
    changed: BTreeMap<Ino, Monotonic>,
    /// The same of what we have changed ourselves: the kernel knows, but what was asked for before may come.
    ours: BTreeMap<Ino, Monotonic>,
    /// When we have removed a name last. Which file has one link less only its rank knows.
    unlinked: Monotonic,
    /// Directories, and files at their homes, of which the kernel may have something cached.
    held: BTreeMap<Ino, Monotonic>,
    /// Files that the kernel may believe to give privileges to who executes them.
    privileged: BTreeSet<Ino>,
    /// The kernel is about to go on with what it has cached of a name under one of which we hear nothing.
    loose: bool,
}

/// One answer, and what it is worth.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Promised {
    pub(crate) promise: Promise,
    pub(crate) asked: Monotonic,
    pub(crate) now: Monotonic,
    /// Until when its rank counts us among the living.
    pub(crate) lease: Monotonic,
}

/// What the kernel is about to be told, of which directories and inodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told<'a> {
    pub(crate) about: &'a [Ino],
    /// Whether it says of a file how many of several names it has.
    pub(crate) counts_links: bool,
    pub(crate) asked: Monotonic,
    pub(crate) is_change: bool,
}

impl Capabilities {
    /// Until when the kernel may use an answer.
    pub(crate) fn until(
        &mut self,
        op: &Op,
        result: &Result<Answer, FsError>,
        promised: Promised,
    ) -> Monotonic {
        // What was written is not answered with attributes.
        if !matches!(op, Op::Wrote { .. }) {
            attrs(result).for_each(|attr| self.told(attr));
        }
        let about = about(op, result);
        if op.is_change() && result.is_ok() {
            self.ours.extend(about.iter().map(|ino| (*ino, promised.now)));
        }
        if let (Op::Unlink { .. } | Op::Rename(_), Ok(_)) = (op, result) {
            self.unlinked = promised.now;
        }
        if let (Op::Rename(rename), Ok(_)) = (op, result) {
            self.renamed(rename, promised);
        }
        let (asked, is_change) = (promised.asked, op.is_change());
        let counts_links = counts_links(op, result);
        let told = Told { about: &about, counts_links, asked, is_change };
        if promised.promise == Promise::None || self.is_old(told) {
            return NEVER;
        }
        let until = promised.asked.after(CAPABILITY_TIME).min(promised.lease);
        for ino in about {
            let held = self.held.entry(ino).or_insert(until);
            *held = (*held).max(until);
        }
        until
    }

    /// What the kernel has cached of the one name it goes on with under the other, for as long.
    fn renamed(&mut self, rename: &Rename, promised: Promised) {
        let dirs = [rename.from_dir, rename.to_dir];
        let held = dirs.iter().filter_map(|dir| self.held.get(dir)).max().copied();
        let Some(until) = held.filter(|until| *until > promised.now) else { return };
        let heard = |dir| self.changed.get(dir).is_some_and(|changed| *changed >= promised.asked);
        if promised.promise == Promise::None || dirs.iter().any(heard) {
            self.loose = true;
        }
        self.held.extend(dirs.map(|dir| (dir, until)));
    }

    /// Whether it must look up every name again before it hears of that.
    pub(crate) fn take_loose(&mut self) -> bool {
        std::mem::take(&mut self.loose)
    }

    /// Whether something of it may have changed since, or will soon.
    pub(crate) fn is_old(&self, told: Told<'_>) -> bool {
        let Told { about, counts_links, asked, is_change } = told;
        if counts_links && !is_change && self.unlinked >= asked {
            return true;
        }
        about.iter().any(|ino| {
            let changed = self.changed.get(ino);
            changed.is_some_and(|changed| changed.after(UNSETTLED) >= asked)
                || (!is_change && self.ours.get(ino).is_some_and(|changed| *changed >= asked))
        })
    }

    /// What is known without asking. Until when the kernel may use it.
    pub(crate) fn known(&mut self, about: &[Ino], lease: Monotonic, now: Monotonic) -> Monotonic {
        let until = now.after(CAPABILITY_TIME).min(lease);
        for ino in about {
            let held = self.held.entry(*ino).or_insert(until);
            *held = (*held).max(until);
        }
        until
    }

    /// Answers that were asked for before say what was before.
    pub(crate) fn changed_by_us(&mut self, about: &[Ino], now: Monotonic) {
        self.ours.extend(about.iter().map(|ino| (*ino, now)));
    }

    /// The kernel is told of attributes.
    pub(crate) fn told(&mut self, attr: &Attr) {
        if attr.mode & PRIVILEGES == 0 {
            self.privileged.remove(&attr.ino);
        } else {
            self.privileged.insert(attr.ino);
        }
    }

    /// The kernel has us clear privileges, and does not do so in what it has cached itself. Whether there was
    /// something to clear.
    pub(crate) fn clears_privileges(&mut self, ino: Ino) -> bool {
        self.privileged.remove(&ino)
    }

    /// Something changed. Tells whether the kernel may have cached anything of it.
    pub(crate) fn on_changed(&mut self, ino: Ino, now: Monotonic) -> bool {
        self.changed.insert(ino, now);
        self.held.get(&ino).is_some_and(|until| *until > now)
    }

    /// Everything may have changed. Names what the kernel may have cached anything of.
    pub(crate) fn drop_all(&mut self, now: Monotonic) -> Vec<Ino> {
        let held = std::mem::take(&mut self.held);
        self.changed.extend(held.keys().map(|ino| (*ino, now)));
        held.into_iter().filter(|(_, until)| *until > now).map(|(ino, _)| ino).collect()
    }

    /// Drops what is of no consequence any more.
    pub(crate) fn trim(&mut self, now: Monotonic, oldest: Monotonic) {
        self.changed.retain(|_, changed| changed.after(UNSETTLED) >= oldest);
        self.ours.retain(|_, changed| *changed >= oldest);
        self.held.retain(|_, until| *until > now);
    }
}

/// The directories and inodes of which an answer says something.
pub(crate) fn about(op: &Op, result: &Result<Answer, FsError>) -> Vec<Ino> {
    let mut about: Vec<Ino> = match op {
        Op::Lookup { dir, .. }
        | Op::Readdir { dir, .. }
        | Op::Mkdir { dir, .. }
        | Op::Link { dir, .. }
        | Op::Unlink { dir, .. }
        | Op::Rmdir { dir, .. } => vec![*dir],
        Op::Create(create) => vec![create.dir],
        Op::Getattr { target } | Op::Setattr { target, .. } | Op::Wrote { target, .. } => {
            target.place.embedded_in().into_iter().collect()
        }
        Op::SetXattr { target, .. } | Op::RemoveXattr { target, .. } => vec![target.ino],
        Op::Stat { targets } => {
            targets.iter().filter_map(|target| target.place.embedded_in()).collect()
        }
        // What the kernel has cached of the one name it goes on with under the other.
        Op::Rename(rename) => vec![rename.from_dir, rename.to_dir],
        Op::Readlink { .. }
        | Op::GetXattr { .. }
        | Op::ListXattr { .. }
        | Op::Forget { .. }
        | Op::Sync
        | Op::GetLock { .. }
        | Op::SetLock { .. }
        | Op::Hold { .. } => return Vec::new(),
    };
    match result {
        Ok(Answer::Found(found)) => about.push(found.ino()),
        Ok(Answer::Page(page)) => about.extend(page.entries.iter().map(|it| it.found.ino())),
        Ok(_) | Err(_) => about.extend(attrs(result).map(|attr| attr.ino)),
    }
    about
}

/// Whether an answer has attributes of a file that may have several names.
pub(crate) fn counts_links(op: &Op, result: &Result<Answer, FsError>) -> bool {
    let is_remote = |found: &Found| matches!(found, Found::Remote { attr: Some(_), .. });
    let is_home = |target: &Target| target.place == Place::Home;
    match (op, result) {
        (_, Ok(Answer::Found(found))) => is_remote(found),
        (_, Ok(Answer::Page(page))) => page.entries.iter().any(|entry| is_remote(&entry.found)),
        (Op::Stat { targets }, Ok(_)) => targets.iter().any(is_home),
        (op, Ok(Answer::Attr(_))) => op.subject().is_some_and(is_home),
        (_, Ok(_) | Err(_)) => false,
    }
}

fn attrs(result: &Result<Answer, FsError>) -> impl Iterator<Item = &Attr> {
    let (one, some, page) = match result {
        Ok(Answer::Found(found)) => (found.attr(), [].as_slice(), [].as_slice()),
        Ok(Answer::Attr(attr)) => (Some(attr), [].as_slice(), [].as_slice()),
        Ok(Answer::Stats(attrs)) => (None, attrs.as_slice(), [].as_slice()),
        Ok(Answer::Page(page)) => (None, [].as_slice(), page.entries.as_slice()),
        Ok(_) | Err(_) => (None, [].as_slice(), [].as_slice()),
    };
    let page = page.iter().filter_map(|entry| entry.found.attr());
    one.into_iter().chain(some.iter().flatten()).chain(page)
}

#[cfg(test)]
mod tests {
    use common::attr::{FileKind, Times};
    use common::id::Rank;
    use common::name::Name;
    use common::wire::request::RenameMode;

    use super::*;

    const DIR: Ino = Ino(0x10);
    const FILE: Ino = Ino(0x20);

    fn at(secs: u64) -> Monotonic {
        Monotonic(secs * 1_000_000_000)
    }

    fn look_up() -> (Op, Result<Answer, FsError>) {
        let times = Times::all(common::time::Timestamp::from_secs(0));
        let kind = FileKind::File;
        let attr =
            Attr { ino: FILE, kind, mode: 0, nlink: 1, uid: 0, gid: 0, rdev: 0, size: 0, times };
        let op = Op::Lookup { dir: DIR, name: Name::new(b"f").unwrap() };
        (op, Ok(Answer::Found(Found::Here(attr))))
    }

    fn promised(asked: u64, lease: u64) -> Promised {
        let now = at(asked);
        Promised { promise: Promise::Shared, asked: at(asked), now, lease: at(lease) }
    }

    #[test]
    fn it_lasts_from_when_it_was_asked_for_and_not_beyond_the_lease() {
        let mut capabilities = Capabilities::default();
        let (op, result) = look_up();
        let long = at(100).after(CAPABILITY_TIME);
        assert_eq!(capabilities.until(&op, &result, promised(100, 200)), long);
        assert_eq!(capabilities.until(&op, &result, promised(100, 103)), at(103));
        let none = Promised { promise: Promise::None, ..promised(100, 200) };
        assert_eq!(capabilities.until(&op, &result, none), NEVER);
    }

    #[test]
    fn what_was_asked_before_a_change_was_heard_of_is_used_once() {
        for ino in [DIR, FILE] {
            let mut capabilities = Capabilities::default();
            let (op, result) = look_up();
            assert!(!capabilities.on_changed(ino, at(101)), "nothing is cached");
            assert_eq!(capabilities.until(&op, &result, promised(100, 200)), NEVER);
            assert_eq!(capabilities.until(&op, &result, promised(101, 200)), NEVER);
            let soon = Promised { asked: at(101).after(UNSETTLED), ..promised(101, 200) };
            assert_eq!(capabilities.until(&op, &result, soon), NEVER);
            assert!(capabilities.until(&op, &result, promised(102, 200)) > at(102));
            assert!(capabilities.on_changed(ino, at(103)), "something is");
        }
    }

    #[test]
    fn what_was_asked_before_a_change_of_ours_is_used_once() {
        let mut capabilities = Capabilities::default();
        let (op, result) = look_up();
        let unlink = Op::Unlink { dir: DIR, name: Name::new(b"g").unwrap() };
        let change = Promised { now: at(101), ..promised(100, 200) };
        capabilities.until(&unlink, &Ok(Answer::Done), change);
        assert_eq!(capabilities.until(&op, &result, promised(101, 200)), NEVER);
        assert!(capabilities.until(&op, &result, promised(102, 200)) > at(102));
    }

    /// Which file that was is not known here: the name that we have removed may be one of several
    /// (simulator, `links_are_cut_during_moves` 1795955570689849).
    #[test]
    fn what_counts_links_may_be_older_than_a_name_that_we_have_removed() {
        let mut capabilities = Capabilities::default();
        let (look_up, found) = look_up();
        let Ok(Answer::Found(Found::Here(attr))) = &found else { panic!("{found:?}") };
        let attr = Some(Attr { nlink: 3, ..attr.clone() });
        let (kind, rank) = (FileKind::File, Rank(0));
        let linked = Ok(Answer::Found(Found::Remote { ino: FILE, kind, rank, attr }));
        let unlink = Op::Unlink { dir: Ino(0x11), name: Name::new(b"e").unwrap() };
        let done = Promised { now: at(101), ..promised(100, 200) };
        capabilities.until(&unlink, &Ok(Answer::Done), done);
        assert_eq!(capabilities.until(&look_up, &linked, promised(101, 200)), NEVER);
        assert!(capabilities.until(&look_up, &linked, promised(102, 200)) > at(102));
        assert!(
            capabilities.until(&look_up, &found, promised(101, 200)) > at(101),
            "it has one name"
        );
    }

    fn rename() -> (Op, Result<Answer, FsError>) {
        let (from, to) = (Name::new(b"f").unwrap(), Name::new(b"g").unwrap());
        let (from_dir, to_dir) = (DIR, Ino(0x11));
        let (mode, from_rank) = (RenameMode::Replace, Rank(0));
        let rename = Rename { from_dir, from, to_dir, to, mode, from_rank };
        (Op::Rename(rename), Ok(Answer::Done))
    }

    /// With the time that it was given under its old name, whatever the answer is worth.
    #[test]
    fn what_is_cached_of_a_name_moves_with_it() {
        let ((look_up, found), (rename, done)) = (look_up(), rename());
        for (promise, heard, loose) in [
            (Promise::Shared, 99, false),
            (Promise::None, 99, true),
            // It was made before others changed it, and answered when we had heard of that.
            (Promise::Shared, 101, true),
        ] {
            let mut capabilities = Capabilities::default();
            capabilities.until(&look_up, &found, promised(100, 200));
            capabilities.on_changed(Ino(0x11), at(heard));
            capabilities.until(&rename, &done, Promised { promise, ..promised(101, 200) });
            assert_eq!(capabilities.take_loose(), loose, "{promise:?} {heard}");
            assert!(capabilities.on_changed(Ino(0x11), at(102)), "it is cached there");
        }
        let mut capabilities = Capabilities::default();
        let none = Promised { promise: Promise::None, ..promised(101, 200) };
        capabilities.until(&rename, &done, none);
        assert!(!capabilities.take_loose(), "nothing is cached");
    }

    #[test]
    fn who_writes_clears_privileges_that_the_kernel_knows_of() {
        let mut capabilities = Capabilities::default();
        let (op, mut result) = look_up();
        capabilities.until(&op, &result, promised(100, 200));
        assert!(!capabilities.clears_privileges(FILE));
        if let Ok(Answer::Found(Found::Here(attr))) = &mut result {
            attr.mode = 0o4755;
        }
        capabilities.until(&op, &result, promised(100, 200));
        assert!(capabilities.clears_privileges(FILE));
        assert!(!capabilities.clears_privileges(FILE), "once is enough");
    }
}
