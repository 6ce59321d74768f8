//! Answers a change that was applied already: its first answer was lost with a connection or a rank.
//!
//! What the request does not determine is read from what is there now. If somebody has changed it
//! since, that is what the application would see with its next call anyway.

use common::error::FsError;
use common::id::{ClientId, Ino};
use common::name::Name;
use common::wire::reply::{Answer, Found, Moved, Renamed};
use common::wire::request::{Create, Op, Place, Request, Target};

use super::{Done, create, lookup, target};
use crate::cx::{Cx, Step, Stop};
use crate::subtree::Intent;

/// # Errors
/// Where to ask instead, or what to wait for.
pub fn answer(cx: &mut Cx<'_>, client: ClientId, request: &Request) -> Step<Done> {
    match answer_now(cx, client, request) {
        // It was applied, and what it was applied to has gone since. Who replays it was answered
        // then, and only wants to know that it is not lost.
        Err(Stop::Gone(_) | Stop::Refuse(FsError::NotFound))
            if request.replay.is_some() || is_removal(&request.op) =>
        {
            Ok(Done::read(Answer::Done))
        }
        answered => answered,
    }
}

fn is_removal(op: &Op) -> bool {
    matches!(op, Op::Unlink { .. } | Op::Rmdir { .. })
}

fn answer_now(cx: &mut Cx<'_>, client: ClientId, request: &Request) -> Step<Done> {
    let answer = match &request.op {
        Op::Create(create) => created(cx, client, request, create)?,
        Op::Mkdir { dir, name, ino, .. } => entry(cx, client, *ino, (*dir, name))?,
        Op::Link { target, dir, name, .. } => entry(cx, client, target.ino, (*dir, name))?,
        Op::Setattr { target, .. } | Op::Wrote { target, .. } => attr(cx, client, target)?,
        Op::Rename(rename) => {
            cx.admit(rename.to_dir, Intent::Read)?;
            match cx.entry(rename.to_dir, &rename.to)? {
                None => Answer::Done,
                Some(linkage) => {
                    let moved = Moved { ino: linkage.ino(), kind: linkage.kind(), rank: cx.me() };
                    Answer::Renamed(Renamed { moved, exchanged: None })
                }
            }
        }
        Op::Unlink { dir, .. } | Op::Rmdir { dir, .. } => {
            cx.admit(*dir, Intent::Read)?;
            Answer::Done
        }
        Op::SetXattr { target, .. } | Op::RemoveXattr { target, .. } => {
            target::find(cx, target, Intent::Read)?;
            Answer::Done
        }
        Op::Lookup { .. }
        | Op::Getattr { .. }
        | Op::Readdir { .. }
        | Op::Stat { .. }
        | Op::Readlink { .. }
        | Op::GetXattr { .. }
        | Op::ListXattr { .. }
        | Op::Forget { .. }
        | Op::Sync => unreachable!("only changes are completed"),
    };
    Ok(Done::read(answer))
}

/// What was made, as it was then if it is gone or elsewhere by now.
fn created(cx: &mut Cx<'_>, client: ClientId, request: &Request, create: &Create) -> Step<Answer> {
    match entry(cx, client, create.ino, (create.dir, &create.name)) {
        Err(Stop::Refuse(FsError::NotFound)) => {
            let parent = cx.dir(create.dir)?.clone();
            let attr = create::new_inode(create, &parent, request)?.attr;
            // Where it is by now is known if somebody pins it, and must not be forgotten.
            let dir = cx.own.pins.dir_of(create.ino);
            target::pin(cx, client, &attr, dir);
            Ok(Answer::Found(Found::Here(attr)))
        }
        answer => answer,
    }
}

/// What was made under a name. If the name stands for something else by now, the inode is looked for
/// where it may be: among the orphans, or at its home.
fn entry(cx: &mut Cx<'_>, client: ClientId, ino: Ino, (dir, name): (Ino, &Name)) -> Step<Answer> {
    cx.admit(dir, Intent::Read)?;
    match cx.entry(dir, name)? {
        Some(linkage) if linkage.ino() == ino => {
            Ok(Answer::Found(lookup::pinned(cx, client, dir, &linkage)?))
        }
        Some(_) | None => {
            let at_home = Target { ino, place: Place::Home };
            let found = match target::find(cx, &at_home, Intent::Read) {
                Err(Stop::Gone(_)) => return Err(FsError::NotFound.into()),
                found => found?,
            };
            let attr = found.attr();
            target::pin(cx, client, &attr, None);
            let (kind, rank) = (attr.kind, cx.me());
            Ok(Answer::Found(Found::Remote { ino, kind, rank, attr: Some(attr) }))
        }
    }
}

fn attr(cx: &mut Cx<'_>, client: ClientId, target: &Target) -> Step<Answer> {
    match target::find(cx, target, Intent::Read) {
        Ok(found) => {
            let attr = found.attr();
            target::pin(cx, client, &attr, found.embedded_in());
            Ok(Answer::Attr(attr))
        }
        Err(
            stop @ (Stop::Wait(_)
            | Stop::Redirect(_)
            | Stop::Gone(_)
            | Stop::Refuse(_)
            | Stop::TwoPhase),
        ) => Err(stop),
    }
}
