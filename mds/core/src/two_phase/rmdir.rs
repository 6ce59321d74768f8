//! `rmdir` of a directory whose contents are another rank's.

use common::error::FsError;
use common::id::{Ino, Rank};
use common::name::Name;
use common::wire::reply::Answer;

use super::plan::{Plan, Planned, Planner};
use crate::message::two_phase::Act;
use crate::row::Linkage;

/// # Errors
/// What is missing for it, or the refusal.
pub fn plan(mut planner: Planner<'_, '_>, dir: Ino, name: &Name) -> Planned<Plan> {
    let me = planner.cx.me();
    let entry = planner.entry(me, dir, name)?;
    let Linkage::Dir { ino } = entry.linkage.ok_or(FsError::NotFound)? else {
        return Err(FsError::NotDirectory.into());
    };
    remove_empty(&mut planner, entry.child.unwrap_or(me), ino)?;
    planner.act(me, Act::RemoveEntry { dir, name: name.clone() });
    planner.count(me, dir, -1, -1);
    Ok(planner.finish(Answer::Done))
}

/// An empty directory whose name is here goes.
///
/// # Errors
/// What is missing for it, or `NotEmpty`.
pub fn remove_empty(planner: &mut Planner<'_, '_>, presumed: Rank, ino: Ino) -> Planned<()> {
    let (rank, entries) = planner.victim(presumed, ino)?;
    if entries > 0 {
        return Err(FsError::NotEmpty.into());
    }
    planner.remove_dir(planner.cx.me(), rank, ino);
    Ok(())
}
