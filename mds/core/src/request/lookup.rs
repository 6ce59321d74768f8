//! `lookup`: what a name stands for.

use common::attr::FileKind;
use common::error::FsError;
use common::id::{ClientId, Ino};
use common::name::Name;
use common::wire::reply::{Answer, Found};

use super::{Done, target};
use crate::cx::{Cx, Step};
use crate::row::Linkage;
use crate::subtree::Intent;

/// # Errors
/// `NotFound`; or why it does not go on.
pub fn lookup(cx: &mut Cx<'_>, client: ClientId, dir: Ino, name: &Name) -> Step<Done> {
    cx.admit(dir, Intent::Read)?;
    cx.dir(dir)?;
    let linkage = cx.entry(dir, name)?.ok_or(FsError::NotFound)?;
    let found = pinned(cx, client, dir, &linkage)?;
    Ok(Done::read(Answer::Found(found)))
}

/// What a linkage stands for, as a reply names it: a non-directory answered here is pinned.
///
/// # Errors
/// What to wait for; nothing is pinned then.
pub fn pinned(cx: &mut Cx<'_>, client: ClientId, dir: Ino, linkage: &Linkage) -> Step<Found> {
    match linkage {
        Linkage::Primary(inode) => {
            target::pin(cx, client, &inode.attr, Some(dir))?;
            Ok(Found::Here(inode.attr.clone()))
        }
        Linkage::Dir { ino } => {
            let rank = cx.rank_of_dir(*ino, dir)?;
            let here = rank == cx.me() && is_settled(cx, *ino);
            let attr = if here { Some(cx.dir(*ino)?.attr(*ino)) } else { None };
            Ok(Found::Dir { ino: *ino, rank, attr })
        }
        Linkage::Remote { ino, kind } => {
            let rank = cx.home_rank(*ino)?;
            let attr = if rank == cx.me() {
                cx.home_inode(*ino)?.map(|inode| inode.attr.clone())
            } else {
                None
            };
            if let Some(attr) = &attr {
                target::pin_admitted(cx, client, attr, None);
            }
            Ok(Found::Remote { ino: *ino, kind: *kind, rank, attr })
        }
    }
}

/// Whether no operation of several ranks is about to change what is in a directory: else its attributes
/// are to be asked for, which waits.
fn is_settled(cx: &Cx<'_>, dir: Ino) -> bool {
    cx.own.locks.in_dir(dir).is_none()
}

/// The same for a listing: nothing is pinned, and nothing is waited for. Attributes that are not
/// at hand are left out, and the client asks for those it needs, together.
///
/// # Errors
/// What to wait for.
pub fn listed(cx: &Cx<'_>, dir: Ino, linkage: &Linkage) -> Step<Found> {
    Ok(match linkage {
        Linkage::Primary(inode) => Found::Here(inode.attr.clone()),
        Linkage::Dir { ino } => {
            let rank = cx.rank_of_dir(*ino, dir)?;
            // Its holder may know better.
            let held = cx.own.capabilities.exclusives.holder(*ino).is_some();
            let here = rank == cx.me() && is_settled(cx, *ino) && !held;
            let here = here.then(|| cx.own.namespace.dir(*ino).ok().flatten()).flatten();
            Found::Dir { ino: *ino, rank, attr: here.map(|dir| dir.attr(*ino)) }
        }
        Linkage::Remote { ino, kind } => {
            debug_assert_ne!(*kind, FileKind::Dir, "directories have one name");
            let rank = cx.home_rank(*ino)?;
            let here =
                (rank == cx.me()).then(|| cx.own.namespace.inode(*ino).ok().flatten()).flatten();
            Found::Remote {
                ino: *ino,
                kind: *kind,
                rank,
                attr: here.map(|inode| inode.attr.clone()),
            }
        }
    })
}
