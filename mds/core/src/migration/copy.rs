//! The live copy: the region streams to the importer while clients go on working in it.
//!
//! A walk visits every directory below the base, down to the bounds, and takes pins along with the
//! entries they are on. Whatever changes meanwhile is remembered by key (for pins, by inode); rounds
//! send the changed keys' present values until few are left. Rows need no snapshot: one that is read
//! before it changes is sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::id::{DirFragId, Ino, MigrationId};
use common::limit::BULK_CHUNK_BYTES;
use common::name::NameHash;
use common::wire::encoded_bytes;

use crate::cx::{Cx, Step, Stop, Wait};
use crate::message::migration::Content;
use crate::row::{EntryKey, Key, Linkage, Row};

/// Pieces in one bulk message.
const PIECES_PER_MESSAGE: usize = 1024;

/// What one message carries. The piece that makes it full is still in it: a frame has room for that.
#[derive(Clone, Debug, Default)]
struct Load {
    pieces: Vec<Content>,
    bytes: usize,
}

impl Load {
    fn push(&mut self, piece: Content) {
        self.bytes += encoded_bytes(&piece);
        self.pieces.push(piece);
    }

    fn is_full(&self) -> bool {
        self.pieces.len() >= PIECES_PER_MESSAGE || self.bytes >= BULK_CHUNK_BYTES
    }
}

/// How much of it is rows: pins are in memory alone.
#[must_use]
pub fn rows(content: &[Content]) -> u64 {
    content.iter().filter(|piece| !matches!(piece, Content::Pins { .. })).count() as u64
}

/// Shares content out over as many messages as it needs.
#[must_use]
pub fn loads(content: Vec<Content>) -> Vec<Vec<Content>> {
    let mut all = Vec::new();
    let mut load = Load::default();
    for piece in content {
        load.push(piece);
        if load.is_full() {
            all.push(std::mem::take(&mut load).pieces);
        }
    }
    if !load.pieces.is_empty() {
        all.push(load.pieces);
    }
    all
}

/// What changed at this rank, wherever: keys of rows, and inodes whose pins did.
#[derive(Clone, Debug, Default)]
pub struct Changes {
    pub keys: BTreeSet<Key>,
    pub pins: BTreeSet<Ino>,
}

/// How far the copy of one region has come.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Copy {
    id: MigrationId,
    base: DirFragId,
    /// Directories still to be walked; of the first one, what was sent already.
    walk: VecDeque<Ino>,
    walked_to: Option<EntryKey>,
    /// Directories the importer has, or is about to get.
    sent: BTreeSet<Ino>,
    /// Something left the region: whether these went with it is not known before the way up from them is
    /// fetched.
    unsure: BTreeSet<Ino>,
    /// Changed since they were sent.
    dirty: BTreeSet<Key>,
    dirty_pins: BTreeSet<Ino>,
    pins_sent: BTreeSet<Ino>,
    /// The number of the last bulk message.
    last: u32,
    /// Rounds begun: 1 is the walk.
    pub rounds: u32,
    pub rows: u64,
}

impl Copy {
    /// Begins to walk. From here on the caller reports changes.
    pub fn begin(id: MigrationId, base: DirFragId, cx: &mut Cx<'_>) -> Self {
        let mut copy = Self {
            id,
            base,
            walk: VecDeque::new(),
            walked_to: None,
            sent: BTreeSet::new(),
            unsure: BTreeSet::new(),
            dirty: BTreeSet::new(),
            dirty_pins: BTreeSet::new(),
            pins_sent: BTreeSet::new(),
            last: 0,
            rounds: 1,
            rows: 0,
        };
        copy.visit(base.ino, cx);
        copy
    }

    /// The number of the next bulk message.
    pub fn next_number(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// Puts a directory on the way, and on the list of what is deleted here once the importer is the
    /// authority.
    fn visit(&mut self, dir: Ino, cx: &mut Cx<'_>) {
        if !self.sent.insert(dir) {
            return;
        }
        let frag = DirFragId::whole(dir);
        let held = cx.own.held.get(&frag).copied();
        cx.out.put(Row::Drop(self.id, frag, held));
        self.walk.push_back(dir);
    }

    /// The next bulk message of this round. `None`: the round is complete.
    ///
    /// # Errors
    /// What to wait for.
    pub fn next(&mut self, cx: &mut Cx<'_>) -> Step<Option<Vec<Content>>> {
        self.make_sure(cx)?;
        let mut load = Load::default();
        while !load.is_full() {
            let Some(dir) = self.walk.front().copied() else { break };
            match self.walk_dir(dir, &mut load, cx) {
                Ok(()) => {}
                // Send what there is; the rest comes when it was fetched.
                Err(Stop::Wait(Wait::Fetch(fetch))) if !load.pieces.is_empty() => {
                    cx.own.namespace.fetch(fetch, cx.out);
                    break;
                }
                Err(stop) => return Err(stop),
            }
        }
        self.rows += rows(&load.pieces);
        Ok(if load.pieces.is_empty() { None } else { Some(load.pieces) })
    }

    /// Some of one directory, or the rest of it.
    fn walk_dir(&mut self, dir: Ino, load: &mut Load, cx: &mut Cx<'_>) -> Step<()> {
        let frag = DirFragId::whole(dir);
        let Some(row) = cx.own.namespace.dir(dir)?.cloned() else {
            // Removed since it was put on the way; its key is dirty.
            self.walk.pop_front();
            self.walked_to = None;
            return Ok(());
        };
        let from = self.walked_to.as_ref().map_or(NameHash(0), |key| key.hash);
        let strangers = cx.own.sessions.strangers();
        let entries = cx.own.namespace.entries_from(dir, from)?;
        if self.walked_to.is_none() {
            load.push(Content::Dir(frag, row));
        }
        let mut subdirs = Vec::new();
        let mut complete = true;
        for (hash, name, linkage) in entries {
            let key = EntryKey { dir, hash, name: name.clone() };
            if self.walked_to.as_ref().is_some_and(|walked| key <= *walked) {
                continue;
            }
            if load.is_full() {
                complete = false;
                break;
            }
            match linkage {
                Linkage::Dir { ino } => subdirs.push(*ino),
                Linkage::Primary(inode) => {
                    let ino = inode.attr.ino;
                    cx.own.pins.assume(ino, Some(dir), &strangers);
                    let holders: BTreeMap<_, _> = cx.own.pins.holders(ino).collect();
                    if !holders.is_empty() {
                        self.pins_sent.insert(ino);
                        let locks = cx.own.pins.locks().of(ino);
                        load.push(Content::Pins { ino, dir, holders, locks });
                    }
                }
                Linkage::Remote { .. } => {}
            }
            self.walked_to = Some(key.clone());
            load.push(Content::Entry(key, linkage.clone()));
        }
        if complete {
            self.walk.pop_front();
            self.walked_to = None;
        }
        self.visit_all(subdirs, cx);
        Ok(())
    }

    /// Puts those on the way that are not subtrees of their own.
    fn visit_all(&mut self, dirs: Vec<Ino>, cx: &mut Cx<'_>) {
        for dir in dirs {
            if cx.own.subtrees.get(DirFragId::whole(dir)).is_none() {
                self.visit(dir, cx);
            }
        }
    }

    /// Takes over what changed since the last look: inside the region, it is dirty.
    pub fn note(&mut self, changes: &Changes, cx: &mut Cx<'_>) {
        for key in &changes.keys {
            let Some(dir) = key.dir() else { continue };
            if self.is_inside(dir, cx) {
                self.visit(dir, cx);
                self.dirty.insert(key.clone());
            } else if self.sent.contains(&dir) && matches!(key, Key::Dir(_)) {
                // Removed, or moved out: with everything below it.
                self.dirty.insert(key.clone());
                self.leave_region(cx);
            }
        }
        for ino in &changes.pins {
            let inside = cx.own.pins.dir_of(*ino).is_some_and(|dir| self.is_inside(dir, cx));
            if inside || self.pins_sent.contains(ino) {
                self.dirty_pins.insert(*ino);
            }
        }
    }

    /// What changed was looked at in the same turn, so the way up is cached: nothing is missed.
    fn is_inside(&self, dir: Ino, cx: &Cx<'_>) -> bool {
        cx.own.subtrees.base_of(dir, &cx.own.namespace) == Ok(Some(self.base))
    }

    /// Some directory left the region: finds all that went with it.
    fn leave_region(&mut self, cx: &mut Cx<'_>) {
        self.unsure.clone_from(&self.sent);
        // What is not cached is looked for before anything else is sent.
        let _wait = self.make_sure(cx);
    }

    /// Finds out which directories are not in the region any more.
    ///
    /// # Errors
    /// What to wait for.
    fn make_sure(&mut self, cx: &mut Cx<'_>) -> Step<()> {
        let (mut outside, mut unknown) = (Vec::new(), None);
        self.unsure.retain(|dir| match cx.own.subtrees.base_of(*dir, &cx.own.namespace) {
            Ok(base) if base == Some(self.base) => false,
            Ok(_) => {
                outside.push(*dir);
                false
            }
            Err(fetch) => {
                unknown = Some(fetch);
                true
            }
        });
        for dir in outside {
            self.sent.remove(&dir);
            if self.walk.front() == Some(&dir) {
                self.walked_to = None;
            }
            self.walk.retain(|walked| *walked != dir);
            let frag = DirFragId::whole(dir);
            self.dirty.insert(Key::Dir(frag));
            cx.out.delete(Key::Drop(self.id, frag));
        }
        unknown.map_or(Ok(()), |fetch| {
            cov_mark::hit!(what_left_the_region_is_looked_for);
            Err(fetch.into())
        })
    }

    /// What is left to send.
    #[must_use]
    pub fn rest(&self) -> u64 {
        (self.dirty.len() + self.dirty_pins.len()) as u64
    }

    /// The present values of everything dirty, in messages; nothing is dirty then.
    ///
    /// # Errors
    /// What to wait for; nothing is lost then.
    pub fn take_dirty(&mut self, cx: &mut Cx<'_>) -> Step<Vec<Vec<Content>>> {
        self.make_sure(cx)?;
        let mut content = Vec::with_capacity(self.dirty.len());
        for key in &self.dirty {
            content.extend(self.value(key, cx)?);
        }
        for ino in &self.dirty_pins {
            let inside = match cx.own.pins.dir_of(*ino) {
                Some(dir) => {
                    let base = cx.own.subtrees.base_of(dir, &cx.own.namespace)?;
                    (base == Some(self.base)).then_some(dir)
                }
                None => None,
            };
            let (dir, holders, locks) = match inside {
                Some(dir) => {
                    let pins = &cx.own.pins;
                    (dir, pins.holders(*ino).collect(), pins.locks().of(*ino))
                }
                // Unpinned, unlinked or moved away: the importer must not keep what it was told.
                None => (self.base.ino, BTreeMap::new(), BTreeMap::new()),
            };
            content.push(Content::Pins { ino: *ino, dir, holders, locks });
        }
        self.pins_sent.append(&mut self.dirty_pins);
        self.dirty.clear();
        self.rows += rows(&content);
        Ok(loads(content))
    }

    fn value(&self, key: &Key, cx: &mut Cx<'_>) -> Step<Option<Content>> {
        Ok(match key {
            Key::Entry(entry) => {
                let linkage = cx.own.namespace.entry(entry.dir, &entry.name)?.cloned();
                Some(match linkage {
                    Some(linkage) => Content::Entry(entry.clone(), linkage),
                    None => Content::NoEntry(entry.clone()),
                })
            }
            Key::Dir(frag) => {
                let inside = self.sent.contains(&frag.ino);
                match cx.own.namespace.dir(frag.ino)? {
                    Some(dir) if inside => Some(Content::Dir(*frag, dir.clone())),
                    Some(_) | None => Some(Content::NoDir(*frag)),
                }
            }
            Key::Inode(_)
            | Key::Orphan(_)
            | Key::Session(_)
            | Key::Completed(..)
            | Key::Held(_)
            | Key::Copied(..)
            | Key::Drop(..)
            | Key::InoReserved
            | Key::Clock
            | Key::Notice(..)
            | Key::Evicted(_) => None,
        })
    }

    /// Whether the round's walk has come to its end.
    #[must_use]
    pub fn walk_is_over(&self) -> bool {
        self.walk.is_empty()
    }

    /// The directories of the region.
    #[must_use]
    pub fn dirs(&self) -> &BTreeSet<Ino> {
        &self.sent
    }
}

#[cfg(test)]
mod tests;
