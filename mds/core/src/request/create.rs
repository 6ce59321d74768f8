//! `create`: files, symlinks, devices, FIFOs and sockets.

use common::acl::{self, Inherited, Made};
use common::attr::SET_GROUP_ID;
use common::error::FsError;
use common::id::{ClientId, Ino};
use common::limit::SYMLINK_BYTES_MAX;
use common::name::Name;
use common::time::Timestamp;
use common::wire::reply::{Answer, Found};
use common::wire::request::{Create, IfExists, Node, Request, Xattrs};

use super::{Done, lookup, target};
use crate::cx::{Cx, Step};
use crate::row::{Dir, Inode, Linkage};
use crate::subtree::Intent;

/// # Errors
/// `Exists`, `NameTooLong` for a symlink's target, `Stale` for an inode number that was not lent;
/// or why it does not go on.
pub fn create(cx: &mut Cx<'_>, client: ClientId, request: &Request, create: &Create) -> Step<Done> {
    let Create { dir, name, ino, .. } = create;
    cx.admit(*dir, Intent::Change)?;
    let parent = cx.dir(*dir)?.clone();
    if let Some(linkage) = cx.entry(*dir, name)? {
        return match create.existing {
            IfExists::Refuse => Err(FsError::Exists.into()),
            IfExists::Open => {
                let found = lookup::pinned(cx, client, *dir, &linkage)?;
                Ok(Done::read(Answer::Found(found)))
            }
        };
    }
    check_lent(cx, client, *ino)?;
    let inode = new_inode(create, &parent, request)?;
    let attr = inode.attr.clone();
    cx.own.namespace.put_entry(*dir, name, Linkage::Primary(Box::new(inode)), cx.out);
    enter(cx, *dir, parent, request.at, Subdirs::Same);
    target::pin_admitted(cx, client, &attr, Some(*dir));
    Ok(Done::changed(Answer::Found(Found::Here(attr))))
}

/// Refuses an inode number that is not from a range lent to the session.
pub(super) fn check_lent(cx: &Cx<'_>, client: ClientId, ino: Ino) -> Step<()> {
    let lent = cx.own.sessions.get(client).is_some_and(|session| session.may_make(ino));
    if lent { Ok(()) } else { Err(FsError::Stale.into()) }
}

pub(super) fn new_inode(create: &Create, parent: &Dir, request: &Request) -> Step<Inode> {
    let symlink = if let Node::Symlink(target) = &create.node { &target[..] } else { &[] };
    if symlink.len() > SYMLINK_BYTES_MAX {
        return Err(FsError::NameTooLong.into());
    }
    let inherited = inherited(create, parent);
    let owner = (request.caller.uid, group_of_new(parent, request));
    let attr = create.attr(inherited.mode, owner, request.at);
    Ok(Inode { attr, xattrs: inherited.xattrs, symlink: symlink.into(), moves: 0 })
}

fn inherited(create: &Create, parent: &Dir) -> Inherited {
    if let Node::Symlink(_) = create.node {
        // It has neither permissions of its own nor ACLs.
        return Inherited { mode: 0o777, xattrs: Xattrs::new() };
    }
    acl::inherit(parent.xattrs.get(acl::DEFAULT), create.mode, create.umask, Made::Other)
}

/// In a set-group-id directory everything belongs to the directory's group (inode(7)).
pub(super) fn group_of_new(parent: &Dir, request: &Request) -> u32 {
    if parent.mode & SET_GROUP_ID == 0 { request.caller.gid } else { parent.gid }
}

/// What happens to the number of sub-directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subdirs {
    Same,
    OneMore,
    OneLess,
}

/// A name was added to a directory.
pub(super) fn enter(cx: &mut Cx<'_>, ino: Ino, mut dir: Dir, at: Timestamp, subdirs: Subdirs) {
    dir.entries += 1;
    touch(&mut dir, at, subdirs);
    cx.own.namespace.put_dir(ino, dir, cx.out);
}

/// A name was removed from a directory.
pub(super) fn leave(cx: &mut Cx<'_>, ino: Ino, mut dir: Dir, at: Timestamp, subdirs: Subdirs) {
    dir.entries = dir.entries.checked_sub(1).expect("a directory counts its entries");
    touch(&mut dir, at, subdirs);
    cx.own.namespace.put_dir(ino, dir, cx.out);
}

/// A directory's times never go back, whatever the clocks of its clients say.
pub(super) fn touch(dir: &mut Dir, at: Timestamp, subdirs: Subdirs) {
    dir.times.mtime = dir.times.mtime.max(at);
    dir.times.ctime = dir.times.ctime.max(at);
    match subdirs {
        Subdirs::Same => {}
        Subdirs::OneMore => dir.subdirs += 1,
        Subdirs::OneLess => {
            dir.subdirs = dir.subdirs.checked_sub(1).expect("a directory counts its own")
        }
    }
}

/// The entry of a name, if there is one, for operations that need both.
pub(super) fn dir_and_entry(
    cx: &mut Cx<'_>,
    dir: Ino,
    name: &Name,
) -> Step<(Dir, Option<Linkage>)> {
    let row = cx.dir(dir)?.clone();
    let linkage = cx.entry(dir, name)?;
    Ok((row, linkage))
}
