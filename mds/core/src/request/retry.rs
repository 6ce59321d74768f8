//! Answers a change that was applied already: its first answer was lost with a connection or a rank.
//!
//! What the request does not determine is read from what is there now. If somebody has changed it
//! since, that is what the application would see with its next call anyway.

use common::error::FsError;
use common::id::{ClientId, Ino, Seq};
use common::name::Name;
use common::wire::reply::{Answer, Found, Moved, Renamed};
use common::wire::request::{Create, Op, Place, Request, Target};

use super::mkdir::NewDir;
use super::{Done, Parked, create, lookup, target};
use crate::cx::{Cx, Step, Stop};
use crate::namespace::Namespace;
use crate::subtree::Intent;

/// A change that was applied already, and may still be lost. Its client forgets it with an answer that
/// names no position, and would not repeat it after power loss.
pub fn undurable(parked: &Parked, cx: &Cx<'_>) -> Option<Seq> {
    let session = cx.own.sessions.get(parked.client)?;
    let again = parked.request.op.is_change() && session.has_completed(parked.request.id);
    (again && cx.own.durable < session.applied()).then_some(session.applied())
}

/// # Errors
/// Where to ask instead, or what to wait for.
pub fn answer(cx: &mut Cx<'_>, client: ClientId, request: &Request) -> Step<Done> {
    if request.replay.is_some() {
        // Who replays was answered then, and only wants to know that it is not lost. What it made may
        // be with another rank by now: nothing is pinned here for this answer.
        return Ok(Done::read(Answer::Done));
    }
    let answer = match &request.op {
        Op::Create(create) => created(cx, client, request, create)?,
        Op::Mkdir { dir, name, ino, mode, umask, .. } => {
            let new = NewDir { dir: *dir, name, ino: *ino, mode: *mode, umask: *umask };
            made_dir(cx, client, request, &new)?
        }
        // Another rank may hold the inode, and the name be gone: the client, which refers to it, asks.
        Op::Link { target, dir, name, .. } => {
            let seen = entry(cx, client, target.ino, (*dir, name));
            is_there(seen)?.unwrap_or(Answer::Done)
        }
        Op::Setattr { target, .. } | Op::Wrote { target, .. } => attr(cx, client, target)?,
        Op::Rename(rename) => {
            let seen = cx.admit(rename.to_dir, Intent::Read);
            let seen = seen.and_then(|_| cx.entry(rename.to_dir, &rename.to));
            match is_there(seen)?.flatten() {
                None => Answer::Done,
                Some(linkage) => {
                    let moved = Moved { ino: linkage.ino(), kind: linkage.kind(), rank: cx.me() };
                    Answer::Renamed(Renamed { moved, exchanged: None })
                }
            }
        }
        // Whatever has become of it since.
        Op::Unlink { .. } | Op::Rmdir { .. } | Op::SetXattr { .. } | Op::RemoveXattr { .. } => {
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
        | Op::Sync
        | Op::GetLock { .. }
        | Op::SetLock { .. }
        | Op::Hold { .. } => unreachable!("only changes are completed"),
    };
    Ok(Done::read(answer))
}

/// What was made, as it was then if it is gone or elsewhere by now.
fn created(cx: &mut Cx<'_>, client: ClientId, request: &Request, create: &Create) -> Step<Answer> {
    let seen = entry(cx, client, create.ino, (create.dir, &create.name));
    match is_there(seen)? {
        None if request.replay.is_some() => Ok(Answer::Done),
        None => {
            let parent = is_there(cx.dir(create.dir))?.cloned();
            let parent = parent.unwrap_or_else(|| Namespace::root(request.at));
            let attr = create::new_inode(create, &parent, request)?.attr;
            // Where it is by now is known if somebody pins it. If nobody does it is gone, or elsewhere, and
            // there it is pinned for whoever made it.
            if cx.own.pins.is_pinned(create.ino) {
                let dir = cx.own.pins.dir_of(create.ino);
                target::pin(cx, client, &attr, dir)?;
            }
            Ok(Answer::Found(Found::Here(attr)))
        }
        Some(answer) => Ok(answer),
    }
}

/// As [`created`]. Nobody pins directories.
fn made_dir(
    cx: &mut Cx<'_>,
    client: ClientId,
    request: &Request,
    new: &NewDir<'_>,
) -> Step<Answer> {
    let seen = entry(cx, client, new.ino, (new.dir, new.name));
    if let Some(answer) = is_there(seen)? {
        return Ok(answer);
    }
    let parent = is_there(cx.dir(new.dir))?.cloned();
    let parent = parent.unwrap_or_else(|| Namespace::root(request.at));
    let attr = new.made(&parent, request).attr(new.ino);
    Ok(Answer::Found(Found::Dir { ino: new.ino, rank: cx.me(), attr: Some(attr) }))
}

/// What was removed after the request was carried out is no reason to refuse it.
fn is_there<T>(seen: Step<T>) -> Step<Option<T>> {
    match seen {
        Ok(found) => Ok(Some(found)),
        Err(Stop::Gone(_) | Stop::Refuse(FsError::NotFound)) => Ok(None),
        Err(stop @ (Stop::Wait(_) | Stop::Redirect(_) | Stop::Refuse(_) | Stop::TwoPhase)) => {
            Err(stop)
        }
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
            target::pin_admitted(cx, client, &attr, None);
            let (kind, rank) = (attr.kind, cx.me());
            Ok(Answer::Found(Found::Remote { ino, kind, rank, attr: Some(attr) }))
        }
    }
}

fn attr(cx: &mut Cx<'_>, client: ClientId, target: &Target) -> Step<Answer> {
    match target::find(cx, target, Intent::Read) {
        Ok(found) => {
            let attr = found.attr();
            target::pin(cx, client, &attr, found.embedded_in())?;
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
