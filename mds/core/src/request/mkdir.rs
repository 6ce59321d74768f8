//! `mkdir`: always at the authority of the parent; a pin migrates afterwards.

use common::acl::{self, Made};
use common::attr::{SET_GROUP_ID, Times};
use common::error::FsError;
use common::id::{ClientId, Ino};
use common::limit::SUBDIRS_MAX;
use common::name::Name;
use common::wire::reply::{Answer, Found};
use common::wire::request::Request;

use super::Done;
use super::create::{Subdirs, check_lent, dir_and_entry, enter, group_of_new};
use crate::cx::{Cx, Step};
use crate::row::{Dir, Linkage, Parent};
use crate::subtree::Intent;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub struct NewDir<'a> {
    pub dir: Ino,
    pub name: &'a Name,
    pub ino: Ino,
    pub mode: u16,
    pub umask: u16,
}

impl NewDir<'_> {
    /// As it is when it has just been made.
    #[must_use]
    pub fn made(&self, parent: &Dir, request: &Request) -> Dir {
        let default = parent.xattrs.get(acl::DEFAULT);
        let inherited = acl::inherit(default, self.mode, self.umask, Made::Directory);
        Dir {
            mode: inherited.mode | (parent.mode & SET_GROUP_ID),
            uid: request.caller.uid,
            gid: group_of_new(parent, request),
            times: Times::all(request.at),
            entries: 0,
            subdirs: 0,
            parent: Some(Parent { dir: self.dir, name: self.name.clone() }),
            xattrs: inherited.xattrs,
            pin: None,
        }
    }
}

/// # Errors
/// `Exists`, `TooManyLinks`, `Stale` for an inode number that was not lent; or why it does not go on.
pub fn mkdir(cx: &mut Cx<'_>, client: ClientId, request: &Request, new: &NewDir<'_>) -> Step<Done> {
    cx.admit(new.dir, Intent::Change)?;
    let (parent, linkage) = dir_and_entry(cx, new.dir, new.name)?;
    if linkage.is_some() {
        return Err(FsError::Exists.into());
    }
    if parent.subdirs >= SUBDIRS_MAX {
        return Err(FsError::TooManyLinks.into());
    }
    check_lent(cx, client, new.ino)?;
    let dir = new.made(&parent, request);
    let attr = dir.attr(new.ino);
    cx.own.namespace.put_entry(new.dir, new.name, Linkage::Dir { ino: new.ino }, cx.out);
    cx.own.namespace.make_dir(new.ino, dir, cx.out);
    enter(cx, new.dir, parent, request.at, Subdirs::OneMore);
    let found = Found::Dir { ino: new.ino, rank: cx.me(), attr: Some(attr) };
    Ok(Done::changed(Answer::Found(found)))
}
