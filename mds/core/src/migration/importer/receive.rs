//! What has come of a region so far: its rows go straight to the store, under the mark of the copy,
//! and are visible to nobody before the import is finished.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{ClientId, DirFragId, Ino, MigrationId, RequestId};

use crate::cx::Cx;
use crate::effect::Effect;
use crate::file_lock::LocksOfFile;
use crate::journal::entry::Entry;
use crate::kill_point::KillPoint;
use crate::message::migration::{Content, TravelSession};
use crate::mutant::mutated;
use crate::row::{Change, Holders, Key, Row};

/// By client: inodes that it pins, each with its directory.
pub(super) type Unheard = BTreeMap<ClientId, Vec<(Ino, Ino)>>;

/// The pins of one inode, as the exporter has counted them.
#[derive(Clone, Debug, Hash)]
struct Pinned {
    /// In whose entry the inode is.
    dir: Ino,
    holders: Holders,
    locks: LocksOfFile,
}

#[derive(Clone, Debug, Hash)]
pub struct Received {
    id: MigrationId,
    begun: bool,
    /// Fragments that hold what came with this copy and nothing older.
    touched: BTreeSet<DirFragId>,
    /// Of those, the ones a pin policy is on.
    pinned_dirs: BTreeSet<Ino>,
    /// Pins of the region's inodes; they count once the import is finished. `None`: an earlier life had
    /// them, and the clients claim them anew.
    pins: Option<BTreeMap<Ino, Pinned>>,
}

impl Received {
    #[must_use]
    pub fn new(id: MigrationId) -> Self {
        Self {
            id,
            begun: false,
            touched: BTreeSet::new(),
            pinned_dirs: BTreeSet::new(),
            pins: Some(BTreeMap::new()),
        }
    }

    /// As the store leaves it: the rows are there.
    #[must_use]
    pub fn restored(id: MigrationId, touched: BTreeSet<DirFragId>) -> Self {
        Self { begun: true, touched, pins: None, ..Self::new(id) }
    }

    /// Whether the exporter has counted the region's pins, so that what clients claim here is not more.
    #[must_use]
    pub fn brings_pins(&self) -> bool {
        self.pins.is_some()
    }

    /// From here on there may be rows to sweep.
    pub fn begin(&mut self, base: DirFragId, cx: &mut Cx<'_>) {
        if self.begun {
            return;
        }
        self.begun = true;
        let seq = cx.own.advance();
        cx.out.push(Effect::Journal { seq, entry: Entry::ImportCopy { id: self.id, base } });
        cx.own.journal.note_open(self.id, seq);
        cx.out.reached(KillPoint::CopyBegun);
    }

    /// Whether it brings a directory of which something is here that counts, or may yet: a directory may be
    /// renamed from one region that is being copied to another, and over a slow link what was so before
    /// that may come late. Who has it cannot be told by what comes when, so this migration is not to be.
    #[must_use]
    pub fn clashes(&self, content: &[Content], cx: &Cx<'_>) -> bool {
        content.iter().any(|piece| {
            let frag = match piece {
                Content::Entry(key, _) => DirFragId::whole(key.dir),
                Content::Dir(frag, _) => *frag,
                Content::NoEntry(_) | Content::NoDir(_) | Content::Pins { .. } => return false,
            };
            let held = cx.own.held.get(&frag).copied();
            held.is_some_and(|id| id != self.id) && !cx.own.sweep.dooms(frag, held)
        })
    }

    pub fn write(&mut self, content: Vec<Content>, cx: &mut Cx<'_>) {
        for piece in content {
            match piece {
                Content::Entry(key, linkage) => {
                    self.touch(DirFragId::whole(key.dir), cx);
                    cx.out.put(Row::Entry(key, linkage));
                }
                Content::NoEntry(key) => {
                    if self.touched.contains(&DirFragId::whole(key.dir)) {
                        cx.out.delete(Key::Entry(key));
                    }
                }
                Content::Dir(frag, dir) => {
                    self.touch(frag, cx);
                    if dir.pin.is_some() {
                        self.pinned_dirs.insert(frag.ino);
                    } else {
                        self.pinned_dirs.remove(&frag.ino);
                    }
                    cx.out.put(Row::Dir(frag, dir));
                }
                Content::NoDir(frag) => {
                    self.pinned_dirs.remove(&frag.ino);
                    if self.touched.remove(&frag) {
                        // Somebody may have asked for it meanwhile.
                        cx.own.namespace.supersede(frag.ino);
                        cx.out.push(Effect::Write(Change::DeleteFragment(frag)));
                        cx.own.held.remove(&frag);
                        cx.out.delete(Key::Held(frag));
                        cx.out.delete(Key::Copied(self.id, frag));
                    }
                }
                Content::Pins { ino, dir, holders, locks } => {
                    let Some(pins) = &mut self.pins else { continue };
                    if holders.is_empty() || mutated!(cx.params, PinNotCarried) {
                        pins.remove(&ino);
                    } else {
                        pins.insert(ino, Pinned { dir, holders, locks });
                    }
                }
            }
        }
    }

    /// The first time: whatever older life this store has of the fragment goes, so that nothing of
    /// it can show through; what is being read may be that.
    fn touch(&mut self, frag: DirFragId, cx: &mut Cx<'_>) {
        if !self.touched.insert(frag) {
            return;
        }
        cx.own.namespace.supersede(frag.ino);
        if !mutated!(cx.params, CopyWithoutDeleteRange) {
            cx.out.push(Effect::Write(Change::DeleteFragment(frag)));
        }
        cx.own.held.insert(frag, self.id);
        cx.out.put(Row::Held(frag, self.id));
        cx.out.put(Row::Copied(self.id, frag));
    }

    /// Whether a fragment belongs to the region.
    #[must_use]
    pub fn has(&self, frag: DirFragId) -> bool {
        self.touched.contains(&frag)
    }

    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.begun
    }

    /// The import is finished: what came is ours, pins count, and nothing is to be swept. Returns the
    /// pins of which their clients may not have heard.
    pub fn adopt(&mut self, sessions: &[TravelSession], cx: &mut Cx<'_>) -> Unheard {
        for frag in &self.touched {
            cx.own.namespace.supersede(frag.ino);
            cx.out.delete(Key::Copied(self.id, *frag));
        }
        let heard: BTreeMap<ClientId, RequestId> =
            sessions.iter().map(|session| (session.client, session.oldest)).collect();
        let mut unheard = Unheard::new();
        for (ino, Pinned { dir, holders, locks }) in self.pins.take().unwrap_or_default() {
            if !self.touched.contains(&DirFragId::whole(dir)) {
                // Its directory was renamed out of the region after it was sent.
                continue;
            }
            cx.own.pins.take_over(ino, Some(dir), &holders);
            cx.own.pins.take_over_locks(ino, locks);
            for (client, latest) in holders {
                if heard.get(&client).is_some_and(|oldest| *oldest <= latest) {
                    unheard.entry(client).or_default().push((ino, dir));
                }
            }
        }
        for dir in &self.pinned_dirs {
            cx.own.namespace.note_pinned(*dir);
        }
        let replicas: Vec<Ino> = cx
            .own
            .spine
            .replicas()
            .map(|(dir, _)| dir)
            .filter(|dir| self.touched.contains(&DirFragId::whole(*dir)))
            .collect();
        for dir in replicas {
            cx.own.spine.drop_replica(dir);
        }
        unheard
    }

    /// The import is undone: what came is swept, in slices.
    pub fn sweep(&mut self, cx: &mut Cx<'_>) {
        let touched = std::mem::take(&mut self.touched);
        crate::migration::sweep::begin(self.id, touched, cx);
    }
}
