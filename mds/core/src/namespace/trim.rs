//! What may leave the cache: the entries of directories that were not used for long.

use std::collections::BTreeSet;

use common::id::Ino;

use super::{Listing, Namespace, Presence};
use crate::input::Fetch;

impl Namespace {
    /// Drops whole directories' entries, the longest unused first, until at most seven eighths of
    /// `entries_max` remain; does nothing below `entries_max`. Directories of which something is
    /// being fetched stay: the answer must not meet a cache that has forgotten what is newer.
    pub fn trim(&mut self, entries_max: u64) {
        if self.cached_entries <= entries_max {
            return;
        }
        let kept: BTreeSet<Ino> = self.fetching.iter().filter_map(Fetch::dir).collect();
        let mut by_use: Vec<(u64, Ino)> = self
            .dirs
            .iter()
            .filter(|(ino, _)| !kept.contains(ino))
            .map(|(ino, cached)| (cached.used, *ino))
            .collect();
        by_use.sort_unstable();
        for (_, ino) in by_use {
            if self.cached_entries <= entries_max / 8 * 7 {
                return;
            }
            let Some(cached) = self.dirs.get_mut(&ino) else { continue };
            self.cached_entries -= cached.entries.len() as u64;
            cached.entries.clear();
            cached.listing = Listing::Nothing;
            if !matches!(cached.dir, Presence::Here(_)) {
                self.dirs.remove(&ino);
            }
        }
    }
}
