//! `Exclusives`: directories that this mount has for itself, and what is in them.
//!
//! A directory that we make, or that we ask for because we make changes there ([`wish`]), is ours alone until its
//! rank recalls it: nobody else sees or changes it, its names, or the files embedded in its entries. So what is in it is known here whole ([`HeldDir`]), the kernel
//! is answered from that, and the rank hears afterwards ([`crate::call::local`]).
//!
//! All of it hangs on our sessions: it is used only while every rank has heard of us lately
//! ([`SessionTable::are_fresh`](crate::session::SessionTable::are_fresh)), and forgotten when one has ended
//! ours.

mod wish;

use std::collections::{BTreeMap, BTreeSet};

use common::attr::{Attr, FileKind};
use common::id::{Ino, NoticeId, Rank};
use common::limit::{HELD_DIRS_MAX, HELD_NAMES_MAX};
use common::name::Name;
use common::time::{Monotonic, Timestamp};
use common::wire::reply::{Contents, Found};

use crate::exclusive::wish::Wishes;
use crate::input::LinkId;

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Exclusives {
    /// Whether anything is held at all.
    is_on: bool,
    dirs: BTreeMap<Ino, HeldDir>,
    /// In all of them.
    names: usize,
    /// Recalled, and not acknowledged: something that we have answered is still to be made.
    recalls: Vec<Recall>,
    /// Not held any more, and no rank has been told.
    unheld: BTreeSet<Ino>,
    wishes: Wishes,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct HeldDir {
    pub(crate) attr: Attr,
    /// The rank that it was last certain to be with. Where routes lead may be wrong, once somebody has renamed
    /// a directory above.
    pub(crate) rank: Rank,
    members: BTreeMap<Name, Member>,
}

/// What a name in a held directory stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Member {
    pub(crate) ino: Ino,
    pub(crate) kind: FileKind,
    /// It has several names, and lies elsewhere: what becomes of it only ranks know.
    pub(crate) is_remote: bool,
    /// Of a file, as far as they are known.
    pub(crate) attr: Option<Box<Attr>>,
}

impl Member {
    /// What a rank says of an entry. Attributes that do not lie in it are not ours.
    fn found(found: &Found) -> Self {
        match found {
            Found::Here(attr) => Self::file(attr.clone()),
            Found::Dir { ino, .. } => Self::dir(*ino),
            Found::Remote { ino, kind, .. } => {
                Self { ino: *ino, kind: *kind, is_remote: true, attr: None }
            }
        }
    }

    /// A non-directory that lies in the entry.
    pub(crate) fn file(attr: Attr) -> Self {
        Self { ino: attr.ino, kind: attr.kind, is_remote: false, attr: Some(Box::new(attr)) }
    }

    pub(crate) fn dir(ino: Ino) -> Self {
        Self { ino, kind: FileKind::Dir, is_remote: false, attr: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Recall {
    pub(crate) link: LinkId,
    pub(crate) notice: NoticeId,
    pub(crate) dir: Ino,
}

impl HeldDir {
    pub(crate) fn member(&self, name: &Name) -> Option<&Member> {
        self.members.get(name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// As its rank does: a directory's times never go back.
    fn touch(&mut self, at: Timestamp) {
        self.attr.times.mtime = self.attr.times.mtime.max(at);
        self.attr.times.ctime = self.attr.times.ctime.max(at);
        self.attr.size = self.members.len() as u64;
    }
}

impl Exclusives {
    pub(crate) fn new(is_on: bool) -> Self {
        Self { is_on, ..Self::default() }
    }

    pub(crate) fn get(&self, dir: Ino) -> Option<&HeldDir> {
        self.dirs.get(&dir)
    }

    pub(crate) fn dirs(&self) -> impl Iterator<Item = Ino> + '_ {
        self.dirs.keys().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.dirs.is_empty()
    }

    /// Whether one more may be held.
    pub(crate) fn has_room(&self) -> bool {
        self.is_on && self.dirs.len() < HELD_DIRS_MAX && self.names < HELD_NAMES_MAX
    }

    /// A directory was just made, for us.
    pub(crate) fn hold(&mut self, attr: Attr, rank: Rank) {
        self.drop(attr.ino);
        self.unheld.remove(&attr.ino);
        self.dirs.insert(attr.ino, HeldDir { attr, rank, members: BTreeMap::new() });
    }

    /// A directory was found, and given to us.
    pub(crate) fn hold_found(&mut self, contents: &Contents, rank: Rank) {
        let Contents { attr, entries } = contents;
        let members = entries.iter().map(|it| (it.name.clone(), Member::found(&it.found)));
        self.hold(attr.clone(), rank);
        if let Some(held) = self.dirs.get_mut(&attr.ino) {
            held.members = members.collect();
            self.names += held.members.len();
        }
    }

    /// A rank has changed something in a directory for us. Tells whether we would have it for ourselves.
    pub(crate) fn wants(&mut self, dir: Ino, now: Monotonic) -> bool {
        let is_recalled = self.recalls.iter().any(|recall| recall.dir == dir);
        let may_be = self.has_room() && !is_recalled && !self.dirs.contains_key(&dir);
        may_be && self.wishes.changed(dir, now)
    }

    /// It is somebody else's as well.
    pub(crate) fn rests(&mut self, dir: Ino, now: Monotonic) {
        self.wishes.rests(dir, now);
    }

    pub(crate) fn trim_wishes(&mut self, now: Monotonic) {
        self.wishes.trim(now);
    }

    /// A rank has answered something about it.
    pub(crate) fn is_at(&mut self, dir: Ino, rank: Rank) {
        if let Some(held) = self.dirs.get_mut(&dir) {
            held.rank = rank;
        }
    }

    /// Its rank is told when there is time.
    pub(crate) fn drop(&mut self, dir: Ino) {
        if let Some(held) = self.dirs.remove(&dir) {
            self.names -= held.members.len();
            self.unheld.insert(dir);
        }
    }

    /// A rank has given us a directory that we do not use as ours.
    pub(crate) fn is_not_wanted(&mut self, dir: Ino) {
        self.unheld.insert(dir);
    }

    /// A session has ended: what hung on it, or on another that we have not heard of yet, is not ours.
    pub(crate) fn drop_all(&mut self) {
        self.unheld.extend(std::mem::take(&mut self.dirs).into_keys());
        self.names = 0;
    }

    /// Those that are to be given back and of which nothing is under way.
    pub(crate) fn take_unheld(&mut self, is_done: impl Fn(Ino) -> bool) -> Vec<Ino> {
        self.unheld.extract_if(.., |dir| is_done(*dir)).collect()
    }

    /// Something was made in a held directory.
    pub(crate) fn enter(&mut self, dir: Ino, name: Name, member: Member, at: Timestamp) {
        let Some(held) = self.dirs.get_mut(&dir) else { return };
        held.attr.nlink += u32::from(member.kind == FileKind::Dir);
        self.names += usize::from(held.members.insert(name, member).is_none());
        held.touch(at);
    }

    /// A name of a held directory was removed.
    pub(crate) fn leave(&mut self, dir: Ino, name: &Name, at: Timestamp) {
        let Some(held) = self.dirs.get_mut(&dir) else { return };
        let Some(member) = held.members.remove(name) else { return };
        held.attr.nlink -= u32::from(member.kind == FileKind::Dir);
        self.names -= 1;
        held.touch(at);
        if self.dirs.remove(&member.ino).is_some() {
            // It is empty: nobody asks for it any more.
            self.unheld.insert(member.ino);
        }
    }

    /// A file in a held directory was given a name in another one, or in the same.
    pub(crate) fn rename(&mut self, from: (Ino, &Name), to: (Ino, &Name), at: Timestamp) {
        self.leave(to.0, to.1, at);
        let Some(held) = self.dirs.get(&from.0) else { return };
        let Some(mut member) = held.member(from.1).cloned() else { return };
        self.leave(from.0, from.1, at);
        if let Some(attr) = &mut member.attr {
            attr.times.ctime = at;
        }
        self.enter(to.0, to.1.clone(), member, at);
    }

    /// The attributes of a file in a held directory, to be changed.
    pub(crate) fn file_mut(&mut self, (dir, name): (Ino, &Name), ino: Ino) -> Option<&mut Attr> {
        let member = self.dirs.get_mut(&dir)?.members.get_mut(name)?;
        member.attr.as_deref_mut().filter(|attr| attr.ino == ino)
    }

    pub(crate) fn dir_mut(&mut self, dir: Ino) -> Option<&mut Attr> {
        Some(&mut self.dirs.get_mut(&dir)?.attr)
    }

    /// A request is about to change a file's attributes in a way that only its rank knows.
    pub(crate) fn forget_file(&mut self, (dir, name): (Ino, &Name)) {
        if let Some(held) = self.dirs.get_mut(&dir)
            && let Some(member) = held.members.get_mut(name)
        {
            member.attr = None;
        }
    }

    /// Somebody else asks for a directory.
    pub(crate) fn recall(&mut self, recall: Recall) {
        self.drop(recall.dir);
        // It is acknowledged, which says the same.
        self.unheld.remove(&recall.dir);
        self.recalls.push(recall);
    }

    /// Recalls of directories of which nothing is under way any more.
    pub(crate) fn take_recalls(&mut self, is_done: impl Fn(Ino) -> bool) -> Vec<Recall> {
        self.recalls.extract_if(.., |recall| is_done(recall.dir)).collect()
    }
}
