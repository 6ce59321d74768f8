//! `rename`, where this rank is the authority for everything that takes part. Else the two-phase
//! coordinator does it.

use common::attr::FileKind;
use common::error::FsError;
use common::id::{ClientId, DirFragId, Ino, NoticeId};
use common::time::Timestamp;
use common::wire::reply::{Answer, Moved, Renamed};
use common::wire::request::{Place, Rename, RenameMode, Request};
use common::wire::session::Notice;

use super::create::{Subdirs, touch};
use super::{Changed, Done, rmdir, unlink};
use crate::cx::{Cx, Step, Stop};
use crate::lock::Lock;
use crate::row::{Linkage, Parent};
use crate::session::Requester;
use crate::subtree::Intent;

/// # Errors
/// Those of rename(2); or why it does not go on.
pub fn rename(cx: &mut Cx<'_>, client: ClientId, request: &Request, rename: &Rename) -> Step<Done> {
    cx.admit(rename.to_dir, Intent::Change)?;
    match cx.admit(rename.from_dir, Intent::Change) {
        Err(Stop::Redirect(_)) => return Err(Stop::TwoPhase),
        Err(Stop::Gone(_)) if rename.from_rank != cx.me() => return Err(Stop::TwoPhase),
        step => step?,
    };
    cx.dir(rename.to_dir)?;
    cx.dir(rename.from_dir)?;
    let source = cx.entry(rename.from_dir, &rename.from)?.ok_or(FsError::NotFound)?;
    let target = cx.entry(rename.to_dir, &rename.to)?;
    check(&source, target.as_ref(), rename.mode)?;
    let renamed = |cx: &Cx<'_>, linkage: &Linkage| Moved {
        ino: linkage.ino(),
        kind: linkage.kind(),
        rank: cx.me(),
    };
    if target.as_ref().is_some_and(|target| target.ino() == source.ino()) {
        // Two names of one inode, or one name: nothing happens (rename(2)).
        let moved = renamed(cx, &source);
        return Ok(Done::read(Answer::Renamed(Renamed { moved, exchanged: None })));
    }
    check_moved_dir(cx, &source, rename.from_dir, rename.to_dir)?;
    match (rename.mode, target) {
        (RenameMode::Exchange, Some(target)) => {
            check_moved_dir(cx, &target, rename.to_dir, rename.from_dir)?;
            let answer = Answer::Renamed(Renamed {
                moved: renamed(cx, &source),
                exchanged: Some(renamed(cx, &target)),
            });
            let awaited = exchange(cx, client, request, rename, (source, target));
            Ok(Done { answer, effect: Changed::Something, awaited })
        }
        (RenameMode::Exchange | RenameMode::Replace | RenameMode::NoReplace, target) => {
            let moved = renamed(cx, &source);
            let mut awaited = match target {
                None => Vec::new(),
                Some(target) => replace(cx, client, rename, target, request.at)?,
            };
            awaited.extend(relocate(cx, client, request, rename, source));
            let answer = Answer::Renamed(Renamed { moved, exchanged: None });
            Ok(Done { answer, effect: Changed::Something, awaited })
        }
    }
}

/// What rename(2) demands of the two.
///
/// # Errors
/// The errno it prescribes.
pub fn check(source: &Linkage, target: Option<&Linkage>, mode: RenameMode) -> Result<(), FsError> {
    let is_dir = |linkage: &Linkage| linkage.kind() == FileKind::Dir;
    match (mode, target) {
        (RenameMode::NoReplace, Some(_)) => Err(FsError::Exists),
        (RenameMode::Exchange, None) => Err(FsError::NotFound),
        (RenameMode::Replace, Some(target)) if target.ino() != source.ino() => {
            match (is_dir(source), is_dir(target)) {
                (true, false) => Err(FsError::NotDirectory),
                (false, true) => Err(FsError::IsDirectory),
                (true, true) | (false, false) => Ok(()),
            }
        }
        (RenameMode::Replace | RenameMode::NoReplace | RenameMode::Exchange, _) => Ok(()),
    }
}

/// A directory may not go below itself; its contents must be ours, and nobody else may rely on where
/// its name is.
fn check_moved_dir(cx: &Cx<'_>, linkage: &Linkage, from: Ino, to: Ino) -> Step<()> {
    let Linkage::Dir { ino } = linkage else { return Ok(()) };
    if cx.rank_of_dir(*ino, from)? != cx.me() {
        return Err(Stop::TwoPhase);
    }
    cx.admit(*ino, Intent::Change)?;
    cx.dir(*ino)?;
    cx.unlocked(&Lock::Parent(*ino))?;
    if cx.own.spine.holders(*ino).next().is_some() {
        return Err(Stop::TwoPhase);
    }
    if from == to { Ok(()) } else { check_not_below(cx, *ino, from, to) }
}

/// `to` is not at or below `ino`, which lies in `from`.
fn check_not_below(cx: &Cx<'_>, ino: Ino, from: Ino, to: Ino) -> Step<()> {
    let region = cx.own.subtrees.base_of(from, &cx.own.namespace)?;
    let mut here = to;
    loop {
        if here == ino {
            return Err(FsError::Invalid.into());
        }
        // Above the base of its own region it cannot be.
        if region == Some(DirFragId::whole(here)) {
            return Ok(());
        }
        cx.unlocked(&Lock::Parent(here))?;
        here = match cx.own.namespace.parent(here)? {
            Some(parent) => parent.dir,
            None if here == Ino::ROOT => return Ok(()),
            // The way up leaves this rank's rows: others must take part in the check.
            None => return Err(Stop::TwoPhase),
        };
    }
}

/// The target's name is taken over: what it stood for loses it.
fn replace(
    cx: &mut Cx<'_>,
    client: ClientId,
    rename: &Rename,
    target: Linkage,
    at: Timestamp,
) -> Step<Vec<(ClientId, NoticeId)>> {
    let mut awaited = Vec::new();
    let subdirs = if let Linkage::Dir { ino } = target {
        rmdir::remove_empty(cx, ino, rename.to_dir)?;
        Subdirs::OneLess
    } else {
        awaited = unlink::drop_link(cx, target, at, Requester::of_one_rank(client))?;
        Subdirs::Same
    };
    cx.own.namespace.remove_entry(rename.to_dir, &rename.to, cx.out);
    count(cx, rename.to_dir, at, Count { entries: -1, subdirs });
    Ok(awaited)
}

/// Takes the source's name away and gives it the target's.
fn relocate(
    cx: &mut Cx<'_>,
    client: ClientId,
    request: &Request,
    rename: &Rename,
    source: Linkage,
) -> Vec<(ClientId, NoticeId)> {
    let is_dir = source.kind() == FileKind::Dir;
    let (less, more) =
        if is_dir { (Subdirs::OneLess, Subdirs::OneMore) } else { (Subdirs::Same, Subdirs::Same) };
    cx.own.namespace.remove_entry(rename.from_dir, &rename.from, cx.out);
    count(cx, rename.from_dir, request.at, Count { entries: -1, subdirs: less });
    let parent = Parent { dir: rename.to_dir, name: rename.to.clone() };
    let awaited = put_moved(cx, client, request, source, parent);
    count(cx, rename.to_dir, request.at, Count { entries: 1, subdirs: more });
    awaited
}

/// Puts a moved linkage under its new name; whoever holds its inode hears of it.
fn put_moved(
    cx: &mut Cx<'_>,
    client: ClientId,
    request: &Request,
    mut linkage: Linkage,
    to: Parent,
) -> Vec<(ClientId, NoticeId)> {
    let mut awaited = Vec::new();
    match &mut linkage {
        Linkage::Primary(inode) => {
            inode.attr.times.ctime = request.at;
            inode.moves += 1;
            let ino = inode.attr.ino;
            cx.own.pins.relocate(ino, Some(to.dir));
            cx.own.assume_held(ino, Some(to.dir));
            let place = Place::Entry { dir: to.dir, name: to.name.clone() };
            let notice = Notice::Moved { ino, place, rank: cx.me(), moves: inode.moves };
            awaited = cx.own.notify_holders(ino, &notice, Requester::of_one_rank(client), cx.out);
        }
        Linkage::Dir { ino } => reparent(cx, *ino, to.clone(), request.at),
        Linkage::Remote { .. } => {}
    }
    cx.own.namespace.put_entry(to.dir, &to.name, linkage, cx.out);
    awaited
}

/// A directory of ours has another name. If it left a subtree for another, it keeps apart until
/// somebody finds that nothing tells it from its new surroundings.
pub fn reparent(cx: &mut Cx<'_>, ino: Ino, to: Parent, at: Timestamp) {
    if let Some(subtree) = cx.own.subtrees.get_mut(DirFragId::whole(ino)) {
        subtree.parent = Some(to.dir);
        cx.own.journal_subtrees(cx.out);
    }
    let Ok(Some(dir)) = cx.own.namespace.dir(ino) else {
        unreachable!("the directory was looked at before anything changed");
    };
    let mut dir = dir.clone();
    dir.parent = Some(to);
    dir.times.ctime = dir.times.ctime.max(at);
    cx.own.namespace.put_dir(ino, dir, cx.out);
}

fn exchange(
    cx: &mut Cx<'_>,
    client: ClientId,
    request: &Request,
    rename: &Rename,
    (source, target): (Linkage, Linkage),
) -> Vec<(ClientId, NoticeId)> {
    let subdirs = |goes: &Linkage, comes: &Linkage| match (goes.kind(), comes.kind()) {
        (FileKind::Dir, FileKind::Dir) => Subdirs::Same,
        (FileKind::Dir, _) => Subdirs::OneLess,
        (_, FileKind::Dir) => Subdirs::OneMore,
        (_, _) => Subdirs::Same,
    };
    let from = Count { entries: 0, subdirs: subdirs(&source, &target) };
    let to = Count { entries: 0, subdirs: subdirs(&target, &source) };
    let from_name = Parent { dir: rename.from_dir, name: rename.from.clone() };
    let to_name = Parent { dir: rename.to_dir, name: rename.to.clone() };
    // The one who asked knows where both went from the answer.
    let mut awaited = put_moved(cx, client, request, source, to_name);
    awaited.extend(put_moved(cx, client, request, target, from_name));
    count(cx, rename.from_dir, request.at, from);
    count(cx, rename.to_dir, request.at, to);
    awaited
}

/// How a directory's counts change.
#[derive(Clone, Copy, Debug)]
struct Count {
    entries: i64,
    subdirs: Subdirs,
}

fn count(cx: &mut Cx<'_>, ino: Ino, at: Timestamp, count: Count) {
    let Ok(Some(dir)) = cx.own.namespace.dir(ino) else {
        unreachable!("both directories were looked at before anything changed");
    };
    let mut dir = dir.clone();
    dir.entries =
        dir.entries.checked_add_signed(count.entries).expect("a directory counts its entries");
    touch(&mut dir, at, count.subdirs);
    cx.own.namespace.put_dir(ino, dir, cx.out);
}
