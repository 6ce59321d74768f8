//! Calls that concern a directory while we are asking for it.

use common::id::Ino;
use common::wire::request::{Place, Rename};

use crate::call::CallTable;
use crate::cx::Cx;
use crate::input::{Call, CallId};
use crate::pending::Pending;

/// Whether a call sees or changes something of a directory that we are asking for.
pub(super) fn concerns(call: &Call, pending: &Pending, cx: &Cx<'_>) -> bool {
    let asked = |dir: Ino| pending.asks_for(dir);
    let of_inode = |ino: Ino| match cx.atlas.inodes.place(ino) {
        Place::Dir => asked(ino),
        Place::Entry { dir, .. } => asked(dir),
        Place::Home | Place::Orphan { .. } => false,
    };
    match call {
        Call::Lookup { dir, .. }
        | Call::Create { dir, .. }
        | Call::Mkdir { dir, .. }
        | Call::Unlink { dir, .. }
        | Call::Rmdir { dir, .. }
        | Call::Readdir { dir, .. } => asked(*dir),
        Call::Link { ino, dir, .. } => asked(*dir) || of_inode(*ino),
        Call::Rename(Rename { from_dir, to_dir, .. }) => asked(*from_dir) || asked(*to_dir),
        Call::Getattr { ino }
        | Call::Open { ino }
        | Call::Setattr { ino, .. }
        | Call::Readlink { ino }
        | Call::GetXattr { ino, .. }
        | Call::SetXattr { ino, .. }
        | Call::ListXattr { ino }
        | Call::RemoveXattr { ino, .. }
        | Call::Wrote { ino, .. } => of_inode(*ino),
        Call::Made { .. }
        | Call::Sync
        | Call::GetLock { .. }
        | Call::SetLock { .. }
        | Call::Flush { .. } => false,
    }
}

impl CallTable {
    /// Those that have waited for an answer that has come.
    pub(crate) fn let_early_go(&mut self, pending: &mut Pending, cx: &mut Cx<'_>) {
        if self.early.is_empty() {
            return;
        }
        let is_free = |_: &CallId, (_, call): &mut _| !concerns(call, pending, cx);
        let free: Vec<_> = self.early.extract_if(.., is_free).collect();
        for (id, call) in free {
            self.begin(id, call, pending, cx);
        }
    }
}

#[cfg(test)]
mod tests;
