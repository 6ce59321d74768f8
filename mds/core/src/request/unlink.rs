//! `unlink`: removes a name of a non-directory, and the inode with its last one.

use common::error::FsError;
use common::id::{ClientId, Ino, NoticeId};
use common::name::Name;
use common::time::Timestamp;
use common::wire::reply::Answer;
use common::wire::request::Request;
use common::wire::session::Notice;

use super::create::{Subdirs, dir_and_entry, leave};
use super::{Changed, Done};
use crate::cx::{Cx, Step, Stop};
use crate::row::{Inode, Linkage};
use crate::session::Requester;
use crate::subtree::Intent;

/// # Errors
/// `NotFound`, `IsDirectory`; or why it does not go on.
pub fn unlink(
    cx: &mut Cx<'_>,
    client: ClientId,
    request: &Request,
    dir: Ino,
    name: &Name,
) -> Step<Done> {
    cx.admit(dir, Intent::Change)?;
    let (parent, linkage) = dir_and_entry(cx, dir, name)?;
    let linkage = linkage.ok_or(FsError::NotFound)?;
    if matches!(linkage, Linkage::Dir { .. }) {
        return Err(FsError::IsDirectory.into());
    }
    let awaited = drop_link(cx, linkage, request.at, Requester::of_one_rank(client))?;
    cx.own.namespace.remove_entry(dir, name, cx.out);
    leave(cx, dir, parent, request.at, Subdirs::Same);
    Ok(Done { answer: Answer::Done, effect: Changed::Something, awaited })
}

/// One name of a non-directory goes; the caller removes the entry itself.
///
/// # Errors
/// What to wait for, or that its home is another rank. Nothing has changed then.
pub(super) fn drop_link(
    cx: &mut Cx<'_>,
    linkage: Linkage,
    at: Timestamp,
    requester: Requester,
) -> Step<Vec<(ClientId, NoticeId)>> {
    match linkage {
        Linkage::Primary(inode) => Ok(last_name_gone(cx, *inode, at, requester)),
        Linkage::Remote { ino, .. } => {
            if cx.home_rank(ino)? != cx.me() {
                return Err(Stop::TwoPhase);
            }
            let inode = cx.home_inode(ino)?.cloned();
            Ok(inode.map(|inode| one_name_less(cx, inode, at, requester)).unwrap_or_default())
        }
        Linkage::Dir { .. } => unreachable!("callers handle directories"),
    }
}

/// At its home: an inode has lost one of its names.
pub fn one_name_less(
    cx: &mut Cx<'_>,
    mut inode: Inode,
    at: Timestamp,
    requester: Requester,
) -> Vec<(ClientId, NoticeId)> {
    let ino = inode.attr.ino;
    if inode.attr.nlink <= 1 {
        cx.own.namespace.remove_inode(ino, cx.out);
        return last_name_gone(cx, inode, at, requester);
    }
    inode.attr.nlink -= 1;
    inode.attr.times.ctime = at;
    cx.own.namespace.put_inode(ino, inode, cx.out);
    Vec::new()
}

/// Where an inode is embedded or at its home: nothing names it any more.
pub fn last_name_gone(
    cx: &mut Cx<'_>,
    mut inode: Inode,
    at: Timestamp,
    requester: Requester,
) -> Vec<(ClientId, NoticeId)> {
    let ino = inode.attr.ino;
    inode.attr.nlink = 0;
    inode.attr.times.ctime = at;
    let notice = Notice::Unlinked { ino, rank: cx.me() };
    let dir = cx.own.pins.dir_of(ino);
    cx.own.assume_held(ino, dir);
    let awaited = cx.own.notify_holders(ino, &notice, requester, cx.out);
    cx.own.let_go(inode, cx.out);
    awaited
}
