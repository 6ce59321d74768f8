//! `rename`, where names, inodes or the contents of directories are several ranks', or others rely
//! on where a directory is.
//!
//! A file's inode goes to the authority of its new directory, with all who hold it. A directory's
//! contents stay where they are: its name moves, its row learns its new parent, and where that makes
//! it border on another authority, the ranks around it learn so.

use common::attr::FileKind;
use common::error::FsError;
use common::id::{DirFragId, Ino, Rank};
use common::name::Name;
use common::wire::reply::{Answer, Moved, Renamed};
use common::wire::request::{Place, Rename, RenameMode};
use common::wire::session::Notice;

use super::plan::{Need, Plan, Planned, Planner, SeenEntry};
use super::{rmdir, unlink};
use crate::message::two_phase::Act;
use crate::request::rename::check;
use crate::row::{Linkage, Parent};

/// A name that is to be: whose, and where.
#[derive(Clone, Copy, Debug)]
struct Spot<'a> {
    rank: Rank,
    dir: Ino,
    name: &'a Name,
}

/// # Errors
/// What is missing for it, or the refusal.
pub fn plan(mut planner: Planner<'_, '_>, rename: &Rename) -> Planned<Plan> {
    let me = planner.cx.me();
    let presumed = if rename.from_dir == rename.to_dir { me } else { from_rank(&planner, rename)? };
    let source = planner.entry(presumed, rename.from_dir, &rename.from)?;
    let target = planner.entry(me, rename.to_dir, &rename.to)?;
    let moved = source.linkage.clone().ok_or(FsError::NotFound)?;
    check(&moved, target.linkage.as_ref(), rename.mode)?;
    let from = Spot { rank: source.rank, dir: rename.from_dir, name: &rename.from };
    let to = Spot { rank: me, dir: rename.to_dir, name: &rename.to };
    if target.linkage.as_ref().is_some_and(|target| target.ino() == moved.ino()) {
        // Two names of one inode: nothing happens (rename(2)).
        let moved = whereabouts(&planner, &moved, &source, me)?;
        return Ok(planner.finish(Answer::Renamed(Renamed { moved, exchanged: None })));
    }
    check_path(&planner, &moved, from, to)?;
    let exchanged = match (rename.mode, target.linkage.clone()) {
        (RenameMode::Exchange, Some(other)) => {
            check_path(&planner, &other, to, from)?;
            let back = relocate(&mut planner, &target, &other, (to, from))?;
            let change = subdirs(&other) - subdirs(&moved);
            planner.count(from.rank, from.dir, 0, change);
            planner.count(to.rank, to.dir, 0, -change);
            Some(back)
        }
        (RenameMode::Exchange | RenameMode::Replace | RenameMode::NoReplace, target_linkage) => {
            let replaced = match target_linkage {
                None => (0, 0),
                Some(Linkage::Dir { ino }) => {
                    rmdir::remove_empty(&mut planner, target.child.unwrap_or(me), ino)?;
                    (1, 1)
                }
                Some(other) => {
                    unlink::drop_link(&mut planner, other)?;
                    (1, 0)
                }
            };
            planner.act(from.rank, Act::RemoveEntry { dir: from.dir, name: from.name.clone() });
            planner.count(from.rank, from.dir, -1, -subdirs(&moved));
            planner.count(to.rank, to.dir, 1 - replaced.0, subdirs(&moved) - replaced.1);
            None
        }
    };
    let moved = relocate(&mut planner, &source, &moved, (from, to))?;
    Ok(planner.finish(Answer::Renamed(Renamed { moved, exchanged })))
}

/// What this rank knows of the source's authority; else what the client believes.
fn from_rank(planner: &Planner<'_, '_>, rename: &Rename) -> Planned<Rank> {
    let own = &planner.cx.own;
    Ok(own.subtrees.rank_of(rename.from_dir, &own.namespace)?.unwrap_or(rename.from_rank))
}

fn subdirs(linkage: &Linkage) -> i64 {
    i64::from(linkage.kind() == FileKind::Dir)
}

/// A directory may not go below itself; and while it is found out that it does not, no other may
/// move.
fn check_path(
    planner: &Planner<'_, '_>,
    linkage: &Linkage,
    from: Spot<'_>,
    to: Spot<'_>,
) -> Planned<()> {
    let Linkage::Dir { ino } = linkage else { return Ok(()) };
    if from.dir == to.dir {
        return Ok(());
    }
    if !planner.may_move_dirs {
        return Err(Need::RenameLock);
    }
    if to.dir == *ino || planner.cx.ancestors(to.dir)?.contains(ino) {
        return Err(FsError::Invalid.into());
    }
    Ok(())
}

/// Gives a linkage its new name, and tells where it is from then on.
fn relocate(
    planner: &mut Planner<'_, '_>,
    old: &SeenEntry,
    linkage: &Linkage,
    (from, to): (Spot<'_>, Spot<'_>),
) -> Planned<Moved> {
    let mut linkage = linkage.clone();
    let place = whereabouts(planner, &linkage, old, to.rank)?;
    match &mut linkage {
        Linkage::Primary(inode) => {
            inode.attr.times.ctime = planner.request.at;
            inode.moves += 1;
            let (ino, moves) = (inode.attr.ino, inode.moves);
            let place = Place::Entry { dir: to.dir, name: to.name.clone() };
            let notice = Notice::Moved { ino, place, rank: to.rank, moves };
            if from.rank != to.rank {
                planner.arrive(to.rank, notice.clone(), old);
            }
            planner.act(from.rank, Act::Moved { notice, requester: planner.client });
        }
        Linkage::Dir { ino } => {
            let parent = Parent { dir: to.dir, name: to.name.clone() };
            let at = planner.request.at;
            planner.act(place.rank, Act::Reparent { dir: *ino, parent, at });
            rebase(planner, *ino, place.rank, (from, to));
        }
        Linkage::Remote { .. } => {}
    }
    planner.act(to.rank, Act::PutEntry { dir: to.dir, name: to.name.clone(), linkage });
    Ok(place)
}

/// Where the borders run when a directory's name is somewhere else.
fn rebase(planner: &mut Planner<'_, '_>, dir: Ino, own: Rank, (from, to): (Spot<'_>, Spot<'_>)) {
    let base = DirFragId::whole(dir);
    if own != to.rank {
        // It lies below another authority now: a base of its own, and a bound of what is above.
        let claim = planner.claim(own, to.dir);
        planner.act(own, Act::PutBase { base, claim: claim.clone() });
        planner.act(to.rank, Act::PutBase { base, claim });
    } else if own != from.rank {
        // It comes home.
        let claim = planner.claim(own, to.dir);
        planner.act(own, Act::PutBase { base, claim });
    }
    if from.rank != to.rank && from.rank != own {
        planner.act(from.rank, Act::DropBase { base });
    }
}

/// The rank that is the authority for what a linkage stands for, once its name is at `new`.
fn whereabouts(
    planner: &Planner<'_, '_>,
    linkage: &Linkage,
    old: &SeenEntry,
    new: Rank,
) -> Planned<Moved> {
    let rank = match linkage {
        Linkage::Primary(_) => new,
        Linkage::Dir { ino } => planner.moving(old.child.unwrap_or(old.rank), *ino)?,
        Linkage::Remote { ino, .. } => planner.cx.home_rank(*ino)?,
    };
    Ok(Moved { ino: linkage.ino(), kind: linkage.kind(), rank })
}
