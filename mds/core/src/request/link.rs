//! `link`: a further name for a non-directory. With its second name an inode moves to its home.

use common::attr::FileKind;
use common::error::FsError;
use common::id::{ClientId, Ino};
use common::limit::LINKS_MAX;
use common::name::Name;
use common::wire::reply::{Answer, Found};
use common::wire::request::{Place, Request, Target};
use common::wire::session::Notice;

use super::create::{Subdirs, enter};
use super::{Changed, Done, target};
use crate::cx::{Cx, Step, Stop};
use crate::row::{Inode, Linkage};
use crate::session::Requester;
use crate::subtree::Intent;

/// # Errors
/// `Exists`, `NotPermitted` for a directory, `NotFound` for what is unlinked, `TooManyLinks`; or why
/// it does not go on.
pub fn link(
    cx: &mut Cx<'_>,
    client: ClientId,
    request: &Request,
    target: &Target,
    (dir, name): (Ino, &Name),
) -> Step<Done> {
    cx.admit(dir, Intent::Change)?;
    let parent = cx.dir(dir)?.clone();
    if cx.entry(dir, name)?.is_some() {
        return Err(FsError::Exists.into());
    }
    let found = match target::find(cx, target, Intent::Change) {
        // Another rank has it, or may have: the coordinator asks.
        Err(Stop::Redirect(_)) => return Err(Stop::TwoPhase),
        Err(Stop::Gone(gone)) if gone != target.ino || target.place == Place::Home => {
            return Err(Stop::TwoPhase);
        }
        // That it is not among our orphans says nothing of another rank's.
        Err(Stop::Gone(_)) if matches!(target.place, Place::Orphan { rank } if rank != cx.me()) => {
            return Err(FsError::NotFound.into());
        }
        step => step?,
    };
    let (old, mut inode) = match found {
        target::Found::Dir { .. } => return Err(FsError::NotPermitted.into()),
        target::Found::Orphan { .. } => return Err(FsError::NotFound.into()),
        target::Found::Entry { dir, name, inode } => (Some((dir, name)), inode),
        target::Found::Home { inode } => (None, inode),
    };
    let home = cx.home_rank(inode.attr.ino)?;
    if home != cx.me() {
        return Err(Stop::TwoPhase);
    }
    one_name_more(&mut inode, request)?;
    let attr = inode.attr.clone();
    let remote = Linkage::Remote { ino: attr.ino, kind: attr.kind };
    let mut awaited = Vec::new();
    if let Some((dir, name)) = old {
        cx.own.namespace.put_entry(dir, name, remote.clone(), cx.out);
        inode.moves += 1;
        let (place, moves) = (Place::Home, inode.moves);
        let notice = Notice::Moved { ino: attr.ino, place, rank: home, moves };
        cx.own.assume_held(attr.ino, None);
        awaited = cx.own.notify_holders(attr.ino, &notice, Requester::of_one_rank(client), cx.out);
    }
    cx.own.pins.relocate(attr.ino, None);
    cx.own.namespace.put_inode(attr.ino, inode, cx.out);
    cx.own.namespace.put_entry(dir, name, remote, cx.out);
    // The old name may be in the same directory; its row has not changed but for this entry.
    enter(cx, dir, parent, request.at, Subdirs::Same);
    target::pin_admitted(cx, client, &attr, None);
    let found = Found::Remote { ino: attr.ino, kind: attr.kind, rank: home, attr: Some(attr) };
    Ok(Done { answer: Answer::Found(found), effect: Changed::Something, awaited })
}

/// # Errors
/// `TooManyLinks`.
pub fn one_name_more(inode: &mut Inode, request: &Request) -> Result<(), FsError> {
    debug_assert_ne!(inode.attr.kind, FileKind::Dir, "directories have one name");
    if inode.attr.nlink >= LINKS_MAX {
        return Err(FsError::TooManyLinks);
    }
    inode.attr.nlink += 1;
    inode.attr.times.ctime = request.at;
    Ok(())
}
