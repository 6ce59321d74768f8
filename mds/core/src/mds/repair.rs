//! What `grove fsck` orders: each is done in one turn, by the authority, if it finds that it is needed.

use common::attr::FileKind;
use common::error::FsError;
use common::id::{DirFragId, Ino};
use common::name::NameHash;
use common::wire::admin::Repaired;
use common::wire::fsck::{Place, Repair};

use crate::capability::exclusive;
use crate::cx::{Cx, Step, Stop, Wait};
use crate::lock::Lock;
use crate::row::Linkage;
use crate::subtree::Intent;

pub(super) fn repair(cx: &mut Cx<'_>, repair: &Repair) -> Step<Repaired> {
    if cx.own.is_read_only() {
        return Err(FsError::ReadOnly.into());
    }
    let done = match repair {
        Repair::Recount { dir } => recount(cx, *dir)?,
        Repair::SetLinks { ino, from, to } => set_links(cx, *ino, *from, *to)?,
        Repair::RemoveName { place, ino } => remove_name(cx, place, *ino)?,
        Repair::RemoveInode { ino } => remove_inode(cx, *ino)?,
    };
    if done {
        tracing::warn!(?repair, "repaired by order of an operator");
        cx.own.advance();
    }
    Ok(if done { Repaired::Done } else { Repaired::NotNeeded })
}

/// Nobody else is at work in it.
fn at_rest(cx: &mut Cx<'_>, dir: Ino) -> Step<()> {
    cx.admit(dir, Intent::Change)?;
    exclusive::admit(cx, dir, None)?;
    cx.unlocked(&Lock::Contents(dir))?;
    match cx.own.locks.in_dir(dir) {
        Some((lock, _)) => Err(Stop::Wait(Wait::Unlock(lock))),
        None => Ok(()),
    }
}

fn recount(cx: &mut Cx<'_>, dir: Ino) -> Step<bool> {
    at_rest(cx, dir)?;
    let mut row = cx.dir(dir)?.clone();
    let (mut entries, mut subdirs) = (0, 0);
    for (_, _, linkage) in cx.own.namespace.entries_from(dir, NameHash(0))? {
        entries += 1;
        subdirs += u32::from(linkage.kind() == FileKind::Dir);
    }
    if (row.entries, row.subdirs) == (entries, subdirs) {
        return Ok(false);
    }
    (row.entries, row.subdirs) = (entries, subdirs);
    cx.own.namespace.put_dir(dir, row, cx.out);
    Ok(true)
}

fn set_links(cx: &mut Cx<'_>, ino: Ino, from: u32, to: u32) -> Step<bool> {
    let Some(mut inode) = cx.home_inode(ino)?.cloned() else { return Ok(false) };
    if inode.attr.nlink != from || to == 0 {
        return Ok(false);
    }
    inode.attr.nlink = to;
    cx.own.namespace.put_inode(ino, inode, cx.out);
    Ok(true)
}

/// The rank at which what it stands for would be does not have it: that was seen from outside.
fn remove_name(cx: &mut Cx<'_>, place: &Place, ino: Ino) -> Step<bool> {
    at_rest(cx, place.dir)?;
    let mut row = cx.dir(place.dir)?.clone();
    match cx.entry(place.dir, &place.name)? {
        Some(Linkage::Dir { ino: found }) if found == ino => {
            let is_base = cx.own.subtrees.get(DirFragId::whole(ino)).is_some();
            if is_base || cx.own.namespace.dir(ino)?.is_some() {
                return Ok(false);
            }
            row.subdirs = row.subdirs.saturating_sub(1);
        }
        Some(Linkage::Remote { ino: found, .. }) if found == ino => {
            if cx.home_rank(ino)? == cx.me() && cx.home_inode(ino)?.is_some() {
                return Ok(false);
            }
        }
        Some(Linkage::Primary(_) | Linkage::Dir { .. } | Linkage::Remote { .. }) | None => {
            return Ok(false);
        }
    }
    row.entries = row.entries.saturating_sub(1);
    cx.own.namespace.remove_entry(place.dir, &place.name, cx.out);
    cx.own.namespace.put_dir(place.dir, row, cx.out);
    Ok(true)
}

fn remove_inode(cx: &mut Cx<'_>, ino: Ino) -> Step<bool> {
    let Some(inode) = cx.home_inode(ino)?.cloned() else { return Ok(false) };
    cx.own.namespace.remove_inode(ino, cx.out);
    cx.own.let_go(inode, cx.out);
    Ok(true)
}

#[cfg(test)]
mod tests;
