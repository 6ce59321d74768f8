//! What may leave the cache: entries of directories that were not used for long, then whole
//! directories, from the leaves up.

use std::collections::{BTreeMap, BTreeSet};

use common::id::Ino;

use super::{Listing, Namespace, Presence};
use crate::input::Fetch;

impl Namespace {
    /// Drops rows, the longest unused first, until at most seven eighths of `rows_max` remain; does
    /// nothing below `rows_max`. What cannot be dropped is not looked at again before an eighth more
    /// has come. Of what is being fetched everything stays: the answer must not meet a cache that has
    /// forgotten what is newer.
    pub fn trim(&mut self, rows_max: u64) {
        if self.cached_rows() <= rows_max.max(self.trimmed_to + self.trimmed_to / 8) {
            return;
        }
        self.drop_rows(rows_max / 8 * 7);
        self.trimmed_to = self.cached_rows();
    }

    fn drop_rows(&mut self, rows_max: u64) {
        let kept: BTreeSet<Ino> = self.fetching.iter().filter_map(Fetch::dir).collect();
        let unused = self.dirs.iter().filter(|(ino, _)| !kept.contains(ino));
        let mut by_use: Vec<(u64, Ino)> = unused.map(|(ino, dir)| (dir.used, *ino)).collect();
        by_use.sort_unstable();
        for (_, ino) in &by_use {
            if self.cached_rows() <= rows_max {
                return;
            }
            self.drop_entries(*ino);
        }
        self.drop_inodes(rows_max);
        if self.changes.is_none() {
            self.drop_leaves(rows_max, by_use);
        }
    }

    fn drop_entries(&mut self, ino: Ino) {
        let Some(cached) = self.dirs.get_mut(&ino) else { return };
        self.cached_entries -= cached.entries.len() as u64;
        cached.entries.clear();
        cached.listing = Listing::Nothing;
        if !matches!(cached.dir, Presence::Here(_)) {
            self.dirs.remove(&ino);
        }
    }

    fn drop_inodes(&mut self, rows_max: u64) {
        let excess = self.cached_rows().saturating_sub(rows_max);
        let idle = self.inodes.keys().filter(|ino| !self.fetching.contains(&Fetch::Inode(**ino)));
        let excess = usize::try_from(excess).unwrap_or(usize::MAX);
        for ino in idle.take(excess).copied().collect::<Vec<_>>() {
            self.inodes.remove(&ino);
        }
    }

    /// Drops rows of directories below which none is cached: the way up from what is cached stays
    /// short of fetches. While somebody copies they stay, since whether a change is in the region
    /// that is copied must be seen in the turn that makes it.
    fn drop_leaves(&mut self, rows_max: u64, mut by_use: Vec<(u64, Ino)>) {
        let mut below: BTreeMap<Ino, usize> = BTreeMap::new();
        for parent in self.dirs.keys().filter_map(|ino| self.cached_parent(*ino)) {
            *below.entry(parent).or_default() += 1;
        }
        loop {
            let before = by_use.len();
            let mut enough = false;
            by_use.retain(|(_, ino)| {
                enough = enough || self.cached_rows() <= rows_max;
                if enough || below.get(ino).is_some_and(|count| *count > 0) {
                    return true;
                }
                if let Some(count) = self.cached_parent(*ino).and_then(|it| below.get_mut(&it)) {
                    *count -= 1;
                }
                self.uncache_dir(*ino);
                false
            });
            if enough || by_use.len() == before {
                return;
            }
        }
    }

    fn cached_parent(&self, ino: Ino) -> Option<Ino> {
        match &self.dirs.get(&ino)?.dir {
            Presence::Here(dir) => dir.parent.as_ref().map(|parent| parent.dir),
            Presence::Unknown | Presence::Absent => None,
        }
    }
}
