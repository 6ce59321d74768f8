//! `link`, where the new name, the old one and the inode's home are not all this rank's.

use common::error::FsError;
use common::id::{Ino, Rank};
use common::name::Name;
use common::wire::reply::{Answer, Found};
use common::wire::request::{Place, Target};
use common::wire::session::Notice;

use super::plan::{Plan, Planned, Planner};
use crate::cx::Stop;
use crate::message::two_phase::Act;
use crate::request::link::one_name_more;
use crate::row::{Inode, Linkage};

/// # Errors
/// What is missing for it, or the refusal.
pub fn plan(
    mut planner: Planner<'_, '_>,
    (target, presumed): (&Target, Rank),
    dir: Ino,
    name: &Name,
) -> Planned<Plan> {
    let me = planner.cx.me();
    if planner.entry(me, dir, name)?.linkage.is_some() {
        return Err(FsError::Exists.into());
    }
    let (home, mut inode) = match &target.place {
        Place::Dir => return Err(FsError::NotPermitted.into()),
        Place::Orphan { .. } => return Err(FsError::NotFound.into()),
        Place::Entry { dir, name } => adopt(&mut planner, target.ino, presumed, (*dir, name))?,
        Place::Home => {
            let (home, inode) = planner.home(target.ino)?;
            match inode {
                Some(inode) => (home, inode),
                None if home == me && planner.cx.is_lost(target.ino) => {
                    return Err(FsError::Io.into());
                }
                None => return Err(Stop::Gone(target.ino).into()),
            }
        }
    };
    one_name_more(&mut inode, planner.request)?;
    let (ino, kind, attr) = (inode.attr.ino, inode.attr.kind, inode.attr.clone());
    planner.act(home, Act::PutHome { inode: Box::new(inode) });
    let linkage = Linkage::Remote { ino, kind };
    planner.act(me, Act::PutEntry { dir, name: name.clone(), linkage });
    planner.count(me, dir, 1, 0);
    // An answer pins what it gives the attributes of.
    let attr = (home == me).then_some(attr);
    if attr.is_some() {
        let (requester, request) = (planner.client, planner.request.id);
        planner.act(me, Act::Pin { ino, requester, request });
    }
    Ok(planner.finish(Answer::Found(Found::Remote { ino, kind, rank: home, attr })))
}

/// An inode that had one name goes to its home, with all who hold it.
fn adopt(
    planner: &mut Planner<'_, '_>,
    ino: Ino,
    presumed: Rank,
    (dir, name): (Ino, &Name),
) -> Planned<(Rank, Inode)> {
    let old = planner.entry(presumed, dir, name)?;
    let mut inode = match &old.linkage {
        Some(Linkage::Primary(inode)) if inode.attr.ino == ino => Inode::clone(inode),
        // It is not there any more; its holders were told where it is.
        Some(Linkage::Primary(_) | Linkage::Dir { .. } | Linkage::Remote { .. }) | None => {
            return Err(Stop::Gone(ino).into());
        }
    };
    let (home, _) = planner.home(ino)?;
    let linkage = Linkage::Remote { ino, kind: inode.attr.kind };
    planner.act(old.rank, Act::PutEntry { dir, name: name.clone(), linkage });
    inode.moves += 1;
    let notice = Notice::Moved { ino, place: Place::Home, rank: home, moves: inode.moves };
    if home != old.rank {
        planner.arrive(home, notice.clone(), &old);
    }
    planner.act(old.rank, Act::Moved { notice, requester: planner.client });
    Ok((home, inode))
}
