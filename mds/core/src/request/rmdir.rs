//! `rmdir`: removes an empty directory.

use common::error::FsError;
use common::id::{DirFragId, Ino};
use common::name::Name;
use common::wire::reply::Answer;
use common::wire::request::Request;

use super::Done;
use super::create::{Subdirs, dir_and_entry, leave};
use crate::cx::{Cx, Step, Stop, Wait};
use crate::lock::Lock;
use crate::row::Linkage;
use crate::subtree::Intent;

/// # Errors
/// `NotFound`, `NotDirectory`, `NotEmpty`; or why it does not go on.
pub fn rmdir(cx: &mut Cx<'_>, request: &Request, dir: Ino, name: &Name) -> Step<Done> {
    cx.admit(dir, Intent::Change)?;
    let (parent, linkage) = dir_and_entry(cx, dir, name)?;
    let Linkage::Dir { ino } = linkage.ok_or(FsError::NotFound)? else {
        return Err(FsError::NotDirectory.into());
    };
    remove_empty(cx, ino, dir)?;
    cx.own.namespace.remove_entry(dir, name, cx.out);
    leave(cx, dir, parent, request.at, Subdirs::OneLess);
    Ok(Done::changed(Answer::Done))
}

/// Removes a directory's contents' row, if it is empty and here.
///
/// # Errors
/// `NotEmpty`, what to wait for, or that another rank is the authority. Nothing has changed then.
pub(super) fn remove_empty(cx: &mut Cx<'_>, ino: Ino, parent: Ino) -> Step<()> {
    if cx.rank_of_dir(ino, parent)? != cx.me() {
        return Err(Stop::TwoPhase);
    }
    cx.admit(ino, Intent::Change)?;
    cx.unlocked(&Lock::Contents(ino))?;
    if let Some((lock, _)) = cx.own.locks.in_dir(ino) {
        // Something may be about to be put into it.
        return Err(Stop::Wait(Wait::Unlock(lock)));
    }
    if cx.dir(ino)?.entries > 0 {
        return Err(FsError::NotEmpty.into());
    }
    cx.own.namespace.remove_dir(ino, cx.out);
    if cx.own.subtrees.remove(DirFragId::whole(ino)).is_some() {
        cx.own.journal_subtrees(cx.out);
    }
    Ok(())
}
