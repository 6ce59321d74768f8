//! `SweepList`: fragments that are to be deleted, because they were given away or came with a copy
//! that is of no use. The list is on disk as rows; this is what is left of it.
//!
//! What is listed is as good as deleted: its rows say what was so when it was given away. Whoever read
//! them would believe in a name that was removed elsewhere, or take what another rank has for its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use common::id::{DirFragId, MigrationId};

use crate::row::Key;

/// What is still to be deleted.
#[derive(Clone, Debug, Default, Hash)]
pub struct SweepList {
    queue: VecDeque<Item>,
    /// What is deleted if it is still held so. A fragment may be listed once for each time it was here.
    doomed: BTreeSet<(DirFragId, Option<MigrationId>)>,
    /// Of each migration, how many fragments that it gave away are left.
    left: BTreeMap<MigrationId, usize>,
}

#[derive(Clone, Debug, Hash)]
pub struct Item {
    /// The row that lists the fragment; it goes with it.
    pub listed: Key,
    pub frag: DirFragId,
    /// Deleted only while it is held so.
    pub held: Option<MigrationId>,
}

impl SweepList {
    /// Given away: the importer has them.
    pub fn add_dropped(
        &mut self,
        id: MigrationId,
        frags: impl IntoIterator<Item = (DirFragId, Option<MigrationId>)>,
    ) {
        for (frag, held) in frags {
            self.doomed.insert((frag, held));
            self.queue.push_back(Item { listed: Key::Drop(id, frag), frag, held });
            *self.left.entry(id).or_default() += 1;
        }
    }

    /// Came with a copy that is of no use.
    pub fn add_copied(&mut self, id: MigrationId, frags: impl IntoIterator<Item = DirFragId>) {
        for frag in frags {
            self.doomed.insert((frag, Some(id)));
            self.queue.push_back(Item { listed: Key::Copied(id, frag), frag, held: Some(id) });
        }
    }

    /// Listed for a migration that gave nothing away: only the list goes.
    pub fn add_void(&mut self, id: MigrationId, frags: impl IntoIterator<Item = DirFragId>) {
        let items = frags.into_iter().map(|frag| Item {
            listed: Key::Drop(id, frag),
            frag,
            held: Some(id),
        });
        self.queue.extend(items);
    }

    pub fn pop(&mut self) -> Option<Item> {
        let item = self.queue.pop_front()?;
        self.doomed.remove(&(item.frag, item.held));
        Some(item)
    }

    /// Whether what is stored of a fragment that is held so waits to be deleted.
    #[must_use]
    pub fn dooms(&self, frag: DirFragId, held: Option<MigrationId>) -> bool {
        self.doomed.contains(&(frag, held))
    }

    /// An item was dealt with. Names the migration of which it was the last given away.
    pub fn done(&mut self, item: &Item) -> Option<MigrationId> {
        let Key::Drop(id, _) = item.listed else { return None };
        let left = self.left.get_mut(&id)?;
        *left -= 1;
        if *left > 0 {
            return None;
        }
        self.left.remove(&id);
        Some(id)
    }

    #[must_use]
    pub fn len(&self) -> u64 {
        self.queue.len() as u64
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}
