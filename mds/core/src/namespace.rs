//! `Namespace`: the directories, entries and inodes this rank has in memory.
//!
//! A cache of the store, written through: every change goes to the cache and, as an effect, into the
//! batch of the turn. What is not cached is asked for: a look-up here answers `Err(Fetch)`, and the
//! caller waits. Content of a fetch never overwrites what is cached, which may be newer.
//!
//! Who is the authority for an object is not known here; see [`crate::subtree`].

use std::collections::{BTreeMap, BTreeSet};

use common::id::{DirFragId, Ino};
use common::name::{Name, NameHash, NameHashKey};

use crate::effect::Effects;
use crate::input::{Fetch, FetchEnd, Fetched};
use crate::row::{Dir, EntryKey, Inode, Key, Linkage, Orphan, Parent, Row};

pub mod trim;

/// All a rank has in memory of the tree.
#[derive(Clone, Debug, Hash)]
pub struct Namespace {
    hash_key: NameHashKey,
    dirs: BTreeMap<Ino, CachedDir>,
    /// Inodes with several names whose home is here. `None`: known to be absent.
    inodes: BTreeMap<Ino, Option<Inode>>,
    /// All of them, always: there are as many as open unlinked files.
    orphans: BTreeMap<Ino, Orphan>,
    cached_entries: u64,
    /// What was left when something was last dropped; see [`Self::trim`].
    trimmed_to: u64,
    /// Counts uses, to tell which directories were not used for long.
    clock: u64,
    /// Asked of the store, not answered yet.
    fetching: BTreeSet<Fetch>,
    /// Of those, the ones whose answers may be older than what is stored by now.
    superseded: BTreeSet<Fetch>,
    pinned_dirs: BTreeSet<Ino>,
    /// Keys of rows that changed, if somebody copies.
    changes: Option<BTreeSet<Key>>,
    /// The same of one operation, for those who may have cached them.
    touched: BTreeSet<Key>,
}

#[derive(Clone, Debug, Default, Hash)]
struct CachedDir {
    dir: Presence,
    /// Names known to exist, and (`None`) names known not to.
    entries: BTreeMap<(NameHash, Name), Option<Linkage>>,
    listing: Listing,
    used: u64,
}

#[derive(Clone, Debug, Default, Hash)]
enum Presence {
    #[default]
    Unknown,
    Absent,
    Here(Box<Dir>),
}

/// How much of a directory's entries is cached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Listing {
    #[default]
    Nothing,
    /// Everything up to and with this key.
    Until(EntryKey),
    Complete,
}

impl Namespace {
    #[must_use]
    pub fn new(hash_key: NameHashKey) -> Self {
        Self {
            hash_key,
            dirs: BTreeMap::new(),
            inodes: BTreeMap::new(),
            orphans: BTreeMap::new(),
            cached_entries: 0,
            trimmed_to: 0,
            clock: 0,
            fetching: BTreeSet::new(),
            superseded: BTreeSet::new(),
            pinned_dirs: BTreeSet::new(),
            changes: None,
            touched: BTreeSet::new(),
        }
    }

    #[must_use]
    pub fn key(&self, dir: Ino, name: &Name) -> EntryKey {
        EntryKey { dir, hash: self.hash_key.hash(name), name: name.clone() }
    }

    /// # Errors
    /// What must be fetched first.
    pub fn dir(&self, ino: Ino) -> Result<Option<&Dir>, Fetch> {
        match self.dirs.get(&ino).map(|cached| &cached.dir) {
            None | Some(Presence::Unknown) => Err(Fetch::Dir(DirFragId::whole(ino))),
            Some(Presence::Absent) => Ok(None),
            Some(Presence::Here(dir)) => Ok(Some(dir)),
        }
    }

    /// # Errors
    /// What must be fetched first.
    pub fn entry(&mut self, dir: Ino, name: &Name) -> Result<Option<&Linkage>, Fetch> {
        let key = self.key(dir, name);
        self.clock += 1;
        let clock = self.clock;
        let Some(cached) = self.dirs.get_mut(&dir) else { return Err(Fetch::Entry(key)) };
        cached.used = clock;
        let EntryKey { hash, name, .. } = key;
        match cached.entries.get(&(hash, name.clone())) {
            Some(linkage) => Ok(linkage.as_ref()),
            None if cached.listing == Listing::Complete => Ok(None),
            None => Err(Fetch::Entry(EntryKey { dir, hash, name })),
        }
    }

    /// The entries from a hash on, in order.
    ///
    /// # Errors
    /// What must be fetched first: a listing needs the whole directory.
    pub fn entries_from(
        &self,
        dir: Ino,
        from: NameHash,
    ) -> Result<impl Iterator<Item = (NameHash, &Name, &Linkage)>, Fetch> {
        let frag = DirFragId::whole(dir);
        let Some(cached) = self.dirs.get(&dir) else {
            return Err(Fetch::Entries { frag, after: None });
        };
        match &cached.listing {
            Listing::Nothing => Err(Fetch::Entries { frag, after: None }),
            Listing::Until(key) => Err(Fetch::Entries { frag, after: Some(key.clone()) }),
            Listing::Complete => Ok(cached
                .entries
                .range((from, Name::least())..)
                .filter_map(|((hash, name), linkage)| Some((*hash, name, linkage.as_ref()?)))),
        }
    }

    /// # Errors
    /// What must be fetched first.
    pub fn inode(&self, ino: Ino) -> Result<Option<&Inode>, Fetch> {
        self.inodes.get(&ino).map(Option::as_ref).ok_or(Fetch::Inode(ino))
    }

    #[must_use]
    pub fn orphan(&self, ino: Ino) -> Option<&Orphan> {
        self.orphans.get(&ino)
    }

    pub fn orphans(&self) -> impl Iterator<Item = (Ino, &Orphan)> {
        self.orphans.iter().map(|(ino, orphan)| (*ino, orphan))
    }

    /// Where a directory's name is. `Ok(None)`: the directory is not stored here, or is the root.
    ///
    /// # Errors
    /// What must be fetched first.
    pub fn parent(&self, ino: Ino) -> Result<Option<&Parent>, Fetch> {
        Ok(self.dir(ino)?.and_then(|dir| dir.parent.as_ref()))
    }

    pub fn put_entry(&mut self, dir: Ino, name: &Name, linkage: Linkage, out: &mut Effects) {
        let key = self.key(dir, name);
        self.cache_entry(&key, Some(linkage.clone()));
        self.note(Key::Entry(key.clone()));
        out.put(Row::Entry(key, linkage));
    }

    pub fn remove_entry(&mut self, dir: Ino, name: &Name, out: &mut Effects) {
        let key = self.key(dir, name);
        self.cache_entry(&key, None);
        self.note(Key::Entry(key.clone()));
        out.delete(Key::Entry(key));
    }

    pub fn put_dir(&mut self, ino: Ino, dir: Dir, out: &mut Effects) {
        let id = DirFragId::whole(ino);
        self.note_policy(ino, &dir);
        self.dirs.entry(ino).or_default().dir = Presence::Here(Box::new(dir.clone()));
        self.note(Key::Dir(id));
        out.put(Row::Dir(id, dir));
    }

    /// A directory nobody has put anything into yet: its listing is complete from the start.
    pub fn make_dir(&mut self, ino: Ino, dir: Dir, out: &mut Effects) {
        self.put_dir(ino, dir, out);
        self.dirs.entry(ino).or_default().listing = Listing::Complete;
    }

    pub fn remove_dir(&mut self, ino: Ino, out: &mut Effects) {
        self.uncache_dir(ino);
        self.pinned_dirs.remove(&ino);
        let cached = self.dirs.entry(ino).or_default();
        cached.dir = Presence::Absent;
        cached.listing = Listing::Complete;
        let id = DirFragId::whole(ino);
        self.note(Key::Dir(id));
        out.delete(Key::Dir(id));
    }

    pub fn put_inode(&mut self, ino: Ino, inode: Inode, out: &mut Effects) {
        self.inodes.insert(ino, Some(inode.clone()));
        self.touched.insert(Key::Inode(ino));
        out.put(Row::Inode(ino, inode));
    }

    pub fn remove_inode(&mut self, ino: Ino, out: &mut Effects) {
        self.inodes.insert(ino, None);
        self.touched.insert(Key::Inode(ino));
        out.delete(Key::Inode(ino));
    }

    pub fn put_orphan(&mut self, ino: Ino, orphan: Orphan, out: &mut Effects) {
        self.orphans.insert(ino, orphan.clone());
        self.touched.insert(Key::Orphan(ino));
        out.put(Row::Orphan(ino, orphan));
    }

    pub fn remove_orphan(&mut self, ino: Ino, out: &mut Effects) {
        self.orphans.remove(&ino);
        out.delete(Key::Orphan(ino));
    }

    /// At start, from the store.
    pub fn restore_orphan(&mut self, ino: Ino, orphan: Orphan) {
        self.orphans.insert(ino, orphan);
    }

    /// Whether the store owes the answer to this.
    #[must_use]
    pub fn is_asked(&self, fetch: &Fetch) -> bool {
        self.fetching.contains(fetch)
    }

    /// Directories with a pin policy of which this rank knows.
    pub fn pinned_dirs(&self) -> impl Iterator<Item = Ino> + '_ {
        self.pinned_dirs.iter().copied()
    }

    /// A directory with a pin policy has come from another rank.
    pub fn note_pinned(&mut self, dir: Ino) {
        self.pinned_dirs.insert(dir);
    }

    /// Asks the store, unless that is under way.
    pub fn fetch(&mut self, fetch: Fetch, out: &mut Effects) {
        if self.fetching.insert(fetch.clone()) {
            out.fetch(fetch);
        }
    }

    /// Takes in what the store found, where nothing is cached that may be newer. Tells what had
    /// been asked.
    pub fn on_fetched(&mut self, fetched: Fetched) -> Fetch {
        let asked = fetched.asked();
        self.fetching.remove(&asked);
        if !self.superseded.remove(&asked) {
            self.take_in(fetched);
        }
        asked
    }

    /// The rows of a directory were replaced behind the cache's back, by a copy: what is cached or
    /// being fetched may be older.
    pub fn supersede(&mut self, ino: Ino) {
        self.uncache_dir(ino);
        let old = self.fetching.iter().filter(|fetch| fetch.dir() == Some(ino));
        self.superseded.extend(old.cloned());
    }

    fn take_in(&mut self, fetched: Fetched) {
        match fetched {
            Fetched::Entry(key, linkage) => self.cache_if_unknown(&key, linkage),
            Fetched::Entries { frag, after, entries, end } => {
                self.on_fetched_entries(frag, after, entries, end);
            }
            Fetched::Dir(id, dir) => {
                let cached = self.dirs.entry(id.ino).or_default();
                if matches!(cached.dir, Presence::Unknown) {
                    if dir.as_ref().is_some_and(|dir| dir.pin.is_some()) {
                        self.pinned_dirs.insert(id.ino);
                    }
                    cached.dir = dir.map_or(Presence::Absent, |dir| Presence::Here(Box::new(dir)));
                }
            }
            Fetched::Inode(ino, inode) => {
                self.inodes.entry(ino).or_insert(inode);
            }
        }
    }

    fn on_fetched_entries(
        &mut self,
        frag: DirFragId,
        after: Option<EntryKey>,
        entries: Vec<(EntryKey, Linkage)>,
        end: FetchEnd,
    ) {
        let expected = match &self.dirs.entry(frag.ino).or_default().listing {
            Listing::Nothing => after.is_none(),
            Listing::Until(key) => after.as_ref() == Some(key),
            Listing::Complete => false,
        };
        if !expected {
            return;
        }
        let seen = match (end, entries.last()) {
            (FetchEnd::More, Some((last, _))) => Some(Listing::Until(last.clone())),
            (FetchEnd::More, None) => None,
            (FetchEnd::Last, _) => Some(Listing::Complete),
        };
        for (key, linkage) in entries {
            self.cache_if_unknown(&key, Some(linkage));
        }
        if let Some(seen) = seen {
            self.dirs.entry(frag.ino).or_default().listing = seen;
        }
    }

    /// A name that a complete listing does not have is known to be absent.
    fn cache_if_unknown(&mut self, key: &EntryKey, linkage: Option<Linkage>) {
        let known = self.dirs.get(&key.dir).is_some_and(|cached| {
            cached.listing == Listing::Complete
                || cached.entries.contains_key(&(key.hash, key.name.clone()))
        });
        if !known {
            self.cache_entry(key, linkage);
        }
    }

    fn cache_entry(&mut self, key: &EntryKey, linkage: Option<Linkage>) {
        self.clock += 1;
        let cached = self.dirs.entry(key.dir).or_default();
        cached.used = self.clock;
        if linkage.is_none() && cached.listing == Listing::Complete {
            if cached.entries.remove(&(key.hash, key.name.clone())).is_some() {
                self.cached_entries -= 1;
            }
        } else if cached.entries.insert((key.hash, key.name.clone()), linkage).is_none() {
            self.cached_entries += 1;
        }
    }

    /// Forgets a directory and its entries, as when it was given away.
    pub fn uncache_dir(&mut self, ino: Ino) {
        if let Some(cached) = self.dirs.remove(&ino) {
            self.cached_entries -= cached.entries.len() as u64;
        }
    }

    fn note_policy(&mut self, ino: Ino, dir: &Dir) {
        if dir.pin.is_some() {
            self.pinned_dirs.insert(ino);
        } else {
            self.pinned_dirs.remove(&ino);
        }
    }

    fn note(&mut self, key: Key) {
        self.touched.insert(key.clone());
        if let Some(changes) = &mut self.changes {
            changes.insert(key);
        }
    }

    /// What changed since the last time, for [`crate::capability::tell`].
    pub fn take_touched(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.touched)
    }

    /// From here on the keys of changed rows are kept.
    pub fn watch_changes(&mut self) {
        self.changes.get_or_insert_default();
    }

    pub fn stop_watching(&mut self) {
        self.changes = None;
    }

    /// What changed since the last time.
    pub fn take_changes(&mut self) -> BTreeSet<Key> {
        self.changes.as_mut().map(std::mem::take).unwrap_or_default()
    }

    #[must_use]
    pub fn cached_dirs(&self) -> u64 {
        self.dirs.len() as u64
    }

    #[must_use]
    pub fn cached_entries(&self) -> u64 {
        self.cached_entries
    }

    /// Rows in memory that may be dropped: entries, directories, inodes at home.
    #[must_use]
    pub fn cached_rows(&self) -> u64 {
        self.cached_entries + (self.dirs.len() + self.inodes.len()) as u64
    }

    /// The root directory's row, as `grove-mds --format` writes it.
    #[must_use]
    pub fn root(at: common::time::Timestamp) -> Dir {
        Dir {
            mode: 0o755,
            uid: 0,
            gid: 0,
            times: common::attr::Times::all(at),
            entries: 0,
            subdirs: 0,
            parent: None,
            xattrs: BTreeMap::new(),
            pin: None,
        }
    }
}

#[cfg(test)]
mod tests;
