//! `unlink` of a name whose inode has its home at another rank.

use common::error::FsError;
use common::id::Ino;
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
    drop_link(&mut planner, entry.linkage.ok_or(FsError::NotFound)?)?;
    planner.act(me, Act::RemoveEntry { dir, name: name.clone() });
    planner.count(me, dir, -1, 0);
    Ok(planner.finish(Answer::Done))
}

/// What a name of a non-directory stood for loses it.
///
/// # Errors
/// What is missing for it, or the refusal.
pub fn drop_link(planner: &mut Planner<'_, '_>, linkage: Linkage) -> Planned<()> {
    let (at, requester) = (planner.request.at, planner.client);
    match linkage {
        Linkage::Primary(inode) => {
            planner.act(planner.cx.me(), Act::LetGo { inode, at, requester });
        }
        Linkage::Remote { ino, .. } => {
            let (home, _) = planner.home(ino)?;
            planner.act(home, Act::OneNameLess { ino, at, requester });
        }
        Linkage::Dir { .. } => return Err(FsError::IsDirectory.into()),
    }
    Ok(())
}
