//! Deleting fragments by list: those given away, once the importer has finished, and those of an
//! import that was undone. In slices; may stop and resume anywhere.
//!
//! A fragment goes only while it is held as the list says: if the region has come back meanwhile, it
//! is held by another copy and stays.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{DirFragId, MigrationId};

use crate::cx::Cx;
use crate::effect::Effect;
use crate::holdings::Holdings;
use crate::input::Fetched;
use crate::mutant::mutated;
use crate::row::{Change, Key};
use crate::timer::Timer;

/// Fragments in one slice.
const SLICE: usize = 256;

/// Puts an undone import's fragments on the list.
pub fn begin(id: MigrationId, frags: BTreeSet<DirFragId>, cx: &mut Cx<'_>) {
    for frag in &frags {
        cx.own.namespace.supersede(frag.ino);
    }
    cx.own.sweep.add_copied(id, frags);
    soon(cx);
}

/// Puts given-away fragments on the list.
pub fn begin_dropped(
    id: MigrationId,
    frags: BTreeMap<DirFragId, Option<MigrationId>>,
    cx: &mut Cx<'_>,
) {
    for frag in frags.keys() {
        cx.own.namespace.supersede(frag.ino);
    }
    cx.own.journal.await_sweep(id);
    cx.own.sweep.add_dropped(id, frags);
    soon(cx);
}

/// What the store found, but for what it will not find any more once the list is dealt with.
#[must_use]
pub fn without_listed(fetched: Fetched, own: &Holdings) -> Fetched {
    let asked = fetched.asked();
    let Some(frag) = asked.dir().map(DirFragId::whole) else { return fetched };
    let doomed = own.sweep.dooms(frag, own.held.get(&frag).copied());
    if doomed { Fetched::nothing(asked) } else { fetched }
}

/// The next slice is due as soon as what is waiting was served.
pub fn soon(cx: &mut Cx<'_>) {
    cx.out.push(Effect::SetTimer { timer: Timer::Sweep, at: cx.now.monotonic });
}

/// One slice.
pub fn sweep(cx: &mut Cx<'_>) {
    for _ in 0..SLICE {
        let Some(item) = cx.own.sweep.pop() else { return };
        let as_listed = cx.own.held.get(&item.frag).copied() == item.held;
        if as_listed || mutated!(cx.params, SweepIgnoresHeld) {
            cx.own.namespace.supersede(item.frag.ino);
            cx.own.held.remove(&item.frag);
            cx.out.push(Effect::Write(Change::DeleteFragment(item.frag)));
            cx.out.delete(Key::Held(item.frag));
        }
        if let Some(id) = cx.own.sweep.done(&item) {
            cx.own.journal.sweep_over(id);
        }
        cx.out.delete(item.listed);
    }
    if !cx.own.sweep.is_empty() {
        soon(cx);
    }
}

#[cfg(test)]
mod tests;
