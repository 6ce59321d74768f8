//! A lost rank's region becomes an empty directory of whoever holds the directory above.

use common::attr::Times;
use common::id::{DirFragId, Incarnation, Ino, MigrationId, Rank};
use common::name::{Name, NameHash};
use common::wire::request::{XattrName, XattrValue};

use crate::cx::{Cx, Step, Stop, Wait};
use crate::effect::Effect;
use crate::lock::Lock;
use crate::row::{Change, DIR_LOST, Dir, Linkage, Parent, Row};
use crate::subtree::{Access, DirAuth, Freeze, Intent, Subtree};

/// The region is ours from here on, and empty.
pub(super) fn claim(base: DirFragId, lost: Rank, cx: &mut Cx<'_>) -> Vec<Wait> {
    let Some(parent) = cx.own.subtrees.get(base).and_then(|subtree| subtree.parent) else {
        return Vec::new();
    };
    // Something may have changed while the others were asked: then it is looked at again.
    let Ok(Access::Granted { .. }) =
        cx.own.subtrees.access(parent, Intent::Change, &cx.own.namespace)
    else {
        return Vec::new();
    };
    let Ok(Some(name)) = name_in(base.ino, parent, cx) else { return Vec::new() };
    let lock = Lock::Entry(cx.own.namespace.key(parent, &name));
    if cx.unlocked(&lock).is_err() {
        return Vec::new();
    }
    tracing::warn!(
        dir = %base.ino, %name, rank = lost.0,
        "a lost rank's region is an empty directory now"
    );
    put_empty(base, lost, Parent { dir: parent, name }, cx);
    let auth = DirAuth::Sole(cx.me());
    let epoch = cx.own.subtrees.stamp();
    let subtree = Subtree { auth, epoch, parent: Some(parent), freeze: Freeze::Live, apart: true };
    cx.own.subtrees.insert(base, subtree);
    cx.own.spine.drop_replica(base.ino);
    cx.own.journal_subtrees(cx.out);
    vec![Wait::Thaw(base)]
}

/// Whatever older life this store has of the fragment goes, and what deletes that later leaves this
/// alone: the fragment is held like one that a migration brought.
pub(super) fn put_empty(base: DirFragId, lost: Rank, parent: Parent, cx: &mut Cx<'_>) {
    let mark = MigrationId { exporter: lost, incarnation: Incarnation(0), number: 0 };
    cx.own.namespace.supersede(base.ino);
    cx.out.push(Effect::Write(Change::DeleteFragment(base)));
    cx.own.held.insert(base, mark);
    cx.out.put(Row::Held(base, mark));
    let name = XattrName((*DIR_LOST).into());
    let value = XattrValue(lost.to_string().into_bytes().into());
    let dir = Dir {
        mode: 0o755,
        uid: 0,
        gid: 0,
        times: Times::all(cx.now.wall),
        entries: 0,
        subdirs: 0,
        parent: Some(parent),
        xattrs: [(name, value)].into(),
        pin: None,
    };
    cx.own.namespace.make_dir(base.ino, dir, cx.out);
}

/// The lost rank that is, or may be, the authority for a base as far as is known here.
pub(super) fn lost_owner(base: DirFragId, subtree: &Subtree, cx: &Cx<'_>) -> Option<Rank> {
    let is_lost = |rank: &Rank| cx.map.lost.contains(rank);
    match subtree.auth {
        DirAuth::Sole(rank) => Some(rank).filter(is_lost),
        // In doubt between a migration's two halves: if one of them lives, it settles that.
        DirAuth::Ambiguous { .. } if cx.own.subtrees.is_candidate(base) => None,
        DirAuth::Ambiguous { first, second } => [first, second].into_iter().find(is_lost),
    }
}

/// # Errors
/// What to wait for.
pub(super) fn is_to_be_claimed(base: DirFragId, parent: Ino, cx: &mut Cx<'_>) -> Step<bool> {
    match cx.own.subtrees.access(parent, Intent::Change, &cx.own.namespace)? {
        Access::Granted { .. } => Ok(name_in(base.ino, parent, cx)?.is_some()),
        Access::Frozen { base } => Err(Stop::Wait(Wait::Thaw(base))),
        Access::Elsewhere(_) | Access::Unknown => Ok(false),
    }
}

/// Under which name a directory of ours holds another.
///
/// # Errors
/// What must be fetched first.
pub(super) fn name_in(dir: Ino, parent: Ino, cx: &Cx<'_>) -> Step<Option<Name>> {
    let mut entries = cx.own.namespace.entries_from(parent, NameHash(0))?;
    let named = |(_, name, linkage): (NameHash, &Name, &Linkage)| {
        (*linkage == Linkage::Dir { ino: dir }).then(|| name.clone())
    };
    Ok(entries.find_map(named))
}
