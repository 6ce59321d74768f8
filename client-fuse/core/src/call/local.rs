//! Calls that need no rank: about what this mount holds exclusively.
//!
//! What such a call comes to is known: the kernel is told at once, and the rank afterwards. Should the rank
//! not have been heard of lately, or too much be on its way to it, whoever changes something waits for it, but
//! what comes of it is known as well.

use common::attr::{Attr, FileKind, PERMISSION_BITS, SET_GROUP_ID, SetAttr, Times};
use common::error::FsError;
use common::id::{Ino, Rank};
use common::limit::{FILE_BYTES_MAX, INO_RANGE_LOW, SYMLINK_BYTES_MAX, UNMADE_MAX};
use common::name::Name;
use common::wire::reply::{Answer, Found, Moved, Renamed};
use common::wire::request::{
    Caller, Create, IfExists, Node, Op, Place, Rename, RenameMode, Target,
};

use crate::call::{Active, CallTable, Step};
use crate::capability::NEVER;
use crate::cx::Cx;
use crate::effect::{Done, Effect};
use crate::exclusive::Member;
use crate::input::{Call, CallId};
use crate::pending::{Owner, Pending};

/// Set-user-id and set-group-id: whoever clears them by writing has the kernel told of it.
const PRIVILEGES: u16 = 0o6000;

/// What is known of a call beforehand.
enum Outcome {
    /// Nothing changes.
    Known(Result<Done, FsError>, Vec<Ino>),
    Change(Box<Change>),
    /// Only a rank can tell.
    Open,
}

struct Change {
    op: Op,
    done: Done,
    /// What the rank will answer, as far as it says where things are.
    answer: Answer,
    about: Vec<Ino>,
}

impl CallTable {
    /// Answers a call that needs no rank. False: it does.
    pub(super) fn begin_local(
        &mut self,
        id: CallId,
        (caller, call): (Caller, &Call),
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) -> bool {
        if cx.atlas.exclusives.is_empty() {
            return false;
        }
        let is_fresh = cx.sessions.are_fresh(cx.now.monotonic);
        match decide(call, caller, pending, cx) {
            Outcome::Known(result, about) if is_fresh || matches!(call, Call::Open { .. }) => {
                if let Ok(Done::Entry(attr)) = &result {
                    cx.atlas.inodes.looked_up(attr.ino);
                }
                let until = cx.atlas.capabilities.known(
                    &about,
                    cx.sessions.shortest_lease(),
                    cx.now.monotonic,
                );
                cx.out.push(Effect::Answer { call: id, result, until, change: None });
                true
            }
            Outcome::Change(change) => {
                self.change(id, (caller, call), *change, pending, cx);
                true
            }
            Outcome::Known(..) | Outcome::Open => {
                let_go_of_changed(call, cx);
                false
            }
        }
    }

    fn change(
        &mut self,
        id: CallId,
        (caller, call): (Caller, &Call),
        change: Change,
        pending: &mut Pending,
        cx: &mut Cx<'_>,
    ) {
        let Change { op, done, answer, about } = change;
        let rank = op.dir().map_or(Rank::ROOT, |dir| cx.atlas.rank_of_dir(dir));
        let is_fresh = cx.sessions.are_fresh(cx.now.monotonic);
        if !is_fresh || pending.unmade() >= UNMADE_MAX {
            cov_mark::hit!(what_is_known_waits_for_its_rank);
            let request = pending.begin_known(Owner::Call(id), caller, op, cx);
            let active = Active::new((caller, call.clone()), Step::Asking, [request].into(), cx);
            self.calls.insert(id, active);
            return;
        }
        let request = pending.begin_known(Owner::Unmade, caller, op.clone(), cx);
        cx.atlas.learn(&op, &answer, rank);
        if let (Op::Rename(rename), Answer::Renamed(renamed)) = (&op, &answer) {
            cx.atlas.has_moved(renamed.moved.ino, rename, rank);
        }
        if let Done::Entry(attr) = &done {
            cx.atlas.inodes.looked_up(attr.ino);
        }
        let (now, lease) = (cx.now.monotonic, cx.sessions.shortest_lease());
        let capabilities = &mut cx.atlas.capabilities;
        capabilities.changed_by_us(&about, now);
        let until = if let Done::Entry(attr) | Done::Attr(attr) = &done {
            capabilities.told(attr);
            capabilities.known(&about, lease, now)
        } else {
            NEVER
        };
        cx.out.push(Effect::Answer { call: id, result: Ok(done), until, change: Some(request) });
    }
}

fn decide(call: &Call, caller: Caller, pending: &Pending, cx: &mut Cx<'_>) -> Outcome {
    match call {
        Call::Lookup { dir, name } => look_up(*dir, name, pending, cx),
        Call::Getattr { ino } => match attr_of(*ino, cx) {
            Some(attr) => Outcome::Known(Ok(Done::Attr(attr.clone())), vec![*ino]),
            None => Outcome::Open,
        },
        Call::Create { dir, name, node, mode, umask, existing } => {
            let create = Create {
                dir: *dir,
                name: name.clone(),
                ino: Ino(0),
                node: node.clone(),
                mode: *mode,
                umask: *umask,
                existing: *existing,
            };
            make(create, caller, pending, cx)
        }
        Call::Mkdir { dir, name, mode, umask } => {
            make_dir((*dir, name), (*mode, *umask), caller, cx)
        }
        Call::Unlink { dir, name } => unlink(*dir, name, cx),
        Call::Rmdir { dir, name } => rmdir(*dir, name, cx),
        Call::Rename(rename) => rename_file(rename, cx),
        Call::Setattr { ino, set } => setattr(*ino, *set, cx),
        Call::Wrote { ino, end, kill_privileges } => wrote(*ino, *end, *kill_privileges, cx),
        // Whoever removes its name waits until it is made and pinned.
        Call::Open { ino } if pending.is_being_made(*ino) => {
            cx.atlas.inodes.opened(*ino);
            Outcome::Known(Ok(Done::Nothing), Vec::new())
        }
        Call::Open { .. }
        | Call::Link { .. }
        | Call::Readlink { .. }
        | Call::Readdir { .. }
        | Call::GetXattr { .. }
        | Call::SetXattr { .. }
        | Call::ListXattr { .. }
        | Call::RemoveXattr { .. }
        | Call::Made { .. }
        | Call::Sync
        | Call::GetLock { .. }
        | Call::SetLock { .. }
        | Call::Flush { .. } => Outcome::Open,
    }
}

/// What is known exclusively of an inode.
fn attr_of<'a>(ino: Ino, cx: &'a mut Cx<'_>) -> Option<&'a mut Attr> {
    match cx.atlas.inodes.place(ino) {
        Place::Dir => cx.atlas.exclusives.dir_mut(ino),
        Place::Entry { dir, name } => cx.atlas.exclusives.file_mut((dir, &name), ino),
        Place::Home | Place::Orphan { .. } => None,
    }
}

/// What the kernel is to refer to must be known, and pinned by its rank, or about to be.
fn is_referable(ino: Ino, kind: FileKind, pending: &Pending, cx: &Cx<'_>) -> bool {
    let inodes = &cx.atlas.inodes;
    inodes.get(ino).is_some()
        && (kind == FileKind::Dir || inodes.is_pinned(ino) || pending.is_being_made(ino))
}

fn look_up(dir: Ino, name: &Name, pending: &Pending, cx: &mut Cx<'_>) -> Outcome {
    let Some(held) = cx.atlas.exclusives.get(dir) else { return Outcome::Open };
    let Some(member) = held.member(name) else {
        return Outcome::Known(Err(FsError::NotFound), vec![dir]);
    };
    let (ino, kind) = (member.ino, member.kind);
    if !is_referable(ino, kind, pending, cx) {
        return Outcome::Open;
    }
    match attr_of(ino, cx).cloned() {
        Some(attr) => Outcome::Known(Ok(Done::Entry(attr)), vec![dir, ino]),
        None => Outcome::Open,
    }
}

/// A number for what is made in a directory, from its rank: none other takes it, and it cannot be another one
/// once the kernel knows it.
fn number(rank: Rank, cx: &mut Cx<'_>) -> Option<Ino> {
    let ino = cx.numbers.take(rank);
    let left = cx.numbers.left(rank);
    if left < INO_RANGE_LOW {
        cx.sessions.renew_early(rank, left, cx.now, cx.out);
    }
    ino
}

/// In a set-group-id directory everything belongs to the directory's group (inode(7)).
fn group_of_new(parent: &Attr, caller: Caller) -> u32 {
    if parent.mode & SET_GROUP_ID == 0 { caller.gid } else { parent.gid }
}

fn make(mut create: Create, caller: Caller, pending: &Pending, cx: &mut Cx<'_>) -> Outcome {
    let Some(held) = cx.atlas.exclusives.get(create.dir) else { return Outcome::Open };
    if let Some(member) = held.member(&create.name) {
        let is_file = member.kind == FileKind::File;
        return match create.existing {
            IfExists::Refuse => Outcome::Known(Err(FsError::Exists), vec![create.dir]),
            IfExists::Open if is_file => look_up(create.dir, &create.name, pending, cx),
            IfExists::Open => Outcome::Open,
        };
    }
    if matches!(&create.node, Node::Symlink(target) if target.len() > SYMLINK_BYTES_MAX) {
        return Outcome::Open;
    }
    let (parent, rank) = (held.attr.clone(), held.rank);
    let Some(ino) = number(rank, cx) else { return Outcome::Open };
    create.ino = ino;
    let mode = if let Node::Symlink(_) = &create.node {
        0o777
    } else {
        create.mode & !create.umask & PERMISSION_BITS
    };
    let owner = (caller.uid, group_of_new(&parent, caller));
    let attr = create.attr(mode, owner, cx.now.wall);
    let member = Member::file(attr.clone());
    cx.atlas.exclusives.enter(create.dir, create.name.clone(), member, cx.now.wall);
    Outcome::Change(Box::new(Change {
        about: vec![create.dir, ino],
        op: Op::Create(create),
        done: Done::Entry(attr.clone()),
        answer: Answer::Found(Found::Here(attr)),
    }))
}

fn make_dir(
    (dir, name): (Ino, &Name),
    (mode, umask): (u16, u16),
    caller: Caller,
    cx: &mut Cx<'_>,
) -> Outcome {
    let Some(held) = cx.atlas.exclusives.get(dir) else { return Outcome::Open };
    if held.member(name).is_some() {
        return Outcome::Known(Err(FsError::Exists), vec![dir]);
    }
    let (parent, rank) = (held.attr.clone(), held.rank);
    let Some(ino) = number(rank, cx) else { return Outcome::Open };
    let attr = Attr {
        ino,
        kind: FileKind::Dir,
        mode: (mode & !umask & PERMISSION_BITS) | (parent.mode & SET_GROUP_ID),
        nlink: 2,
        uid: caller.uid,
        gid: group_of_new(&parent, caller),
        rdev: 0,
        size: 0,
        times: Times::all(cx.now.wall),
    };
    let member = Member::dir(ino);
    cx.atlas.exclusives.enter(dir, name.clone(), member, cx.now.wall);
    let exclusive = cx.atlas.exclusives.has_room();
    if exclusive {
        cx.atlas.exclusives.hold(attr.clone(), rank);
    }
    Outcome::Change(Box::new(Change {
        op: Op::Mkdir { dir, name: name.clone(), ino, mode, umask, exclusive },
        done: Done::Entry(attr.clone()),
        answer: Answer::Found(Found::Dir { ino, rank, attr: Some(attr) }),
        about: vec![dir, ino],
    }))
}

fn unlink(dir: Ino, name: &Name, cx: &mut Cx<'_>) -> Outcome {
    let Some(held) = cx.atlas.exclusives.get(dir) else { return Outcome::Open };
    let Some(member) = held.member(name) else {
        return Outcome::Known(Err(FsError::NotFound), vec![dir]);
    };
    if member.kind == FileKind::Dir {
        return Outcome::Known(Err(FsError::IsDirectory), vec![dir]);
    }
    if member.is_remote {
        return Outcome::Open;
    }
    removed(dir, name, Op::Unlink { dir, name: name.clone() }, cx)
}

fn rmdir(dir: Ino, name: &Name, cx: &mut Cx<'_>) -> Outcome {
    let Some(held) = cx.atlas.exclusives.get(dir) else { return Outcome::Open };
    let Some(member) = held.member(name) else {
        return Outcome::Known(Err(FsError::NotFound), vec![dir]);
    };
    if member.kind != FileKind::Dir {
        return Outcome::Known(Err(FsError::NotDirectory), vec![dir]);
    }
    match cx.atlas.exclusives.get(member.ino) {
        Some(inner) if inner.is_empty() => {
            removed(dir, name, Op::Rmdir { dir, name: name.clone() }, cx)
        }
        Some(_) => Outcome::Known(Err(FsError::NotEmpty), vec![dir]),
        None => Outcome::Open,
    }
}

fn removed(dir: Ino, name: &Name, op: Op, cx: &mut Cx<'_>) -> Outcome {
    let ino = cx.atlas.exclusives.get(dir).and_then(|held| held.member(name)).map(|it| it.ino);
    cx.atlas.exclusives.leave(dir, name, cx.now.wall);
    let about = [dir].into_iter().chain(ino).collect();
    Outcome::Change(Box::new(Change { op, done: Done::Nothing, answer: Answer::Done, about }))
}

/// Of what is renamed only files are known well enough: where a directory may go only ranks can tell.
fn rename_file(rename: &Rename, cx: &mut Cx<'_>) -> Outcome {
    let Rename { from_dir, from, to_dir, to, mode, .. } = rename;
    let exclusives = &cx.atlas.exclusives;
    let (Some(source), Some(target)) = (exclusives.get(*from_dir), exclusives.get(*to_dir)) else {
        return Outcome::Open;
    };
    let Some(Member { ino, kind, is_remote, .. }) = source.member(from).cloned() else {
        return Outcome::Known(Err(FsError::NotFound), vec![*from_dir]);
    };
    let replaced = target.member(to).map(|there| (there.ino, there.kind));
    let is_remote = is_remote || target.member(to).is_some_and(|there| there.is_remote);
    let rank = cx.atlas.rank_of_dir(*to_dir);
    let place = Place::Entry { dir: *from_dir, name: from.clone() };
    let is_here = cx.atlas.inodes.get(ino).is_none_or(|inode| inode.place == place);
    let is_simple = kind != FileKind::Dir
        && !is_remote
        && replaced.is_none_or(|(other, kind)| other != ino && kind != FileKind::Dir);
    match mode {
        RenameMode::NoReplace if replaced.is_some() => {
            return Outcome::Known(Err(FsError::Exists), vec![*to_dir]);
        }
        RenameMode::Replace | RenameMode::NoReplace
            if is_simple && is_here && rank == cx.atlas.rank_of_dir(*from_dir) => {}
        RenameMode::Replace | RenameMode::NoReplace | RenameMode::Exchange => return Outcome::Open,
    }
    cx.atlas.exclusives.rename((*from_dir, from), (*to_dir, to), cx.now.wall);
    let moved = Moved { ino, kind, rank };
    let about = [*from_dir, *to_dir, ino].into_iter().chain(replaced.map(|(ino, _)| ino));
    Outcome::Change(Box::new(Change {
        op: Op::Rename(Rename { from_rank: rank, ..rename.clone() }),
        done: Done::Nothing,
        answer: Answer::Renamed(Renamed { moved, exchanged: None }),
        about: about.collect(),
    }))
}

fn setattr(ino: Ino, set: SetAttr, cx: &mut Cx<'_>) -> Outcome {
    let now = cx.now.wall;
    let Some(attr) = attr_of(ino, cx) else { return Outcome::Open };
    let has_size = attr.kind == FileKind::File;
    if set.size.is_some_and(|size| !has_size || size > FILE_BYTES_MAX) {
        return Outcome::Open;
    }
    let set = SetAttr { kill_privileges: set.kill_privileges && attr.kind != FileKind::Dir, ..set };
    if set.kill_privileges && attr.mode & PRIVILEGES != 0 {
        return Outcome::Open;
    }
    set.apply(attr, now);
    let attr = attr.clone();
    changed(attr, |target| Op::Setattr { target, set }, cx)
}

fn wrote(ino: Ino, end: u64, kill_privileges: bool, cx: &mut Cx<'_>) -> Outcome {
    let now = cx.now.wall;
    let Some(attr) = attr_of(ino, cx) else { return Outcome::Open };
    let clears = kill_privileges && attr.mode & PRIVILEGES != 0;
    if attr.kind != FileKind::File || end > FILE_BYTES_MAX || clears {
        return Outcome::Open;
    }
    attr.size = attr.size.max(end);
    SetAttr { mtime: Some(now), ..SetAttr::default() }.apply(attr, now);
    let attr = attr.clone();
    changed(attr, |target| Op::Wrote { target, end, kill_privileges }, cx)
}

fn changed(attr: Attr, op: impl FnOnce(Target) -> Op, cx: &Cx<'_>) -> Outcome {
    let ino = attr.ino;
    let op = op(cx.atlas.target(ino));
    let answer = Answer::Done;
    Outcome::Change(Box::new(Change { op, done: Done::Attr(attr), answer, about: vec![ino] }))
}

/// A rank is about to change something in a way that is not known beforehand, or has not done what was known.
pub(super) fn let_go_of_changed(call: &Call, cx: &mut Cx<'_>) {
    let (exclusives, inodes) = (&mut cx.atlas.exclusives, &cx.atlas.inodes);
    // It may be a directory, and about to be removed.
    let mut drop_with = |dir: Ino, name: &Name| {
        exclusives.drop(dir);
        if let Some(inner) = inodes.named(dir, name) {
            exclusives.drop(inner);
        }
    };
    match call {
        Call::Create { dir, name, existing, .. } => {
            let is_there = exclusives.get(*dir).is_some_and(|held| held.member(name).is_some());
            if *existing == IfExists::Refuse || !is_there {
                exclusives.drop(*dir);
            }
        }
        Call::Mkdir { dir, .. } | Call::Unlink { dir, .. } => exclusives.drop(*dir),
        Call::Rmdir { dir, name } => drop_with(*dir, name),
        Call::Rename(rename) => {
            drop_with(rename.from_dir, &rename.from);
            drop_with(rename.to_dir, &rename.to);
        }
        Call::Link { ino, dir, .. } => {
            exclusives.drop(*dir);
            if let Some(dir) = inodes.place(*ino).embedded_in() {
                exclusives.drop(dir);
            }
        }
        Call::Setattr { ino, .. }
        | Call::SetXattr { ino, .. }
        | Call::RemoveXattr { ino, .. }
        | Call::Wrote { ino, .. } => match inodes.place(*ino) {
            Place::Dir => exclusives.drop(*ino),
            Place::Entry { dir, name } => exclusives.forget_file((dir, &name)),
            Place::Home | Place::Orphan { .. } => {}
        },
        Call::Lookup { .. }
        | Call::Getattr { .. }
        | Call::Open { .. }
        | Call::Readlink { .. }
        | Call::Readdir { .. }
        | Call::GetXattr { .. }
        | Call::ListXattr { .. }
        | Call::Made { .. }
        | Call::Sync
        | Call::GetLock { .. }
        | Call::SetLock { .. }
        | Call::Flush { .. } => {}
    }
}

#[cfg(test)]
mod tests;
