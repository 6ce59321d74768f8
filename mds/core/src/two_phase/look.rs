//! A participant's look at what it is asked to lock.

use std::collections::BTreeMap;

use common::id::{ClientId, Ino, Rank};
use common::id_set::IdSet;

use super::participant::Participant;
use crate::capability::exclusive;
use crate::cx::{Cx, Stop, Wait};
use crate::holdings::Repeated;
use crate::lock::{Lock, Operation};
use crate::message::two_phase::{Item, Sight};
use crate::row::{Holders, Linkage};
use crate::subtree::{Access, Intent};

/// Why an item could not be locked.
#[derive(Debug)]
pub enum Unseen {
    /// Here, and soon.
    Wait(Wait),
    /// Not before this: let go of everything until then.
    Busy(Wait),
    Elsewhere {
        dir: Ino,
        rank: Option<Rank>,
    },
}

impl From<Stop> for Unseen {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Wait(wait) => Self::Wait(wait),
            Stop::Refuse(_) | Stop::Redirect(_) | Stop::Gone(_) | Stop::TwoPhase => {
                unreachable!("looking at rows refuses nothing")
            }
        }
    }
}

impl From<crate::input::Fetch> for Unseen {
    fn from(fetch: crate::input::Fetch) -> Self {
        Self::Wait(Wait::Fetch(fetch))
    }
}

/// Locks all of them, in order. What was locked before a failure stays so.
///
/// # Errors
/// Why it stopped.
pub fn look(
    cx: &mut Cx<'_>,
    participant: &mut Participant,
    operation: Operation,
    items: &[Item],
) -> Result<Vec<(Item, Sight)>, Unseen> {
    if operation.coordinator != cx.me() && cx.own.repeated == Repeated::NotYet {
        return Err(Unseen::Wait(Wait::Repeated));
    }
    if operation.coordinator != cx.me()
        && let Some(seq) = cx.own.sessions.told_at()
    {
        // Whoever asked would hear from the coordinator what is gone before it hears from us where to.
        cov_mark::hit!(looked_at_after_the_notices);
        return Err(Unseen::Wait(Wait::Durable(seq)));
    }
    let mut sights = Vec::with_capacity(items.len());
    for item in items {
        let sight = match item {
            Item::Entry { dir, name } => {
                admit(cx, participant, *dir)?;
                check_free(cx, &Lock::Contents(*dir), operation)?;
                lock(cx, Lock::Entry(cx.own.namespace.key(*dir, name)), operation)?;
                let linkage = cx.own.namespace.entry(*dir, name)?.cloned();
                entry_sight(cx, *dir, linkage)?
            }
            Item::Home { ino } => {
                lock(cx, Lock::Inode(*ino), operation)?;
                let inode = cx.own.namespace.inode(*ino)?.cloned().map(Box::new);
                if inode.is_some() {
                    cx.own.assume_held(*ino, None);
                }
                Sight::Home { inode }
            }
            Item::Victim { dir } => {
                admit(cx, participant, *dir)?;
                if let Some((lock, holder)) = cx.own.locks.in_dir(*dir)
                    && holder != operation
                {
                    return Err(in_the_way(lock, holder, operation));
                }
                lock(cx, Lock::Contents(*dir), operation)?;
                let entries = cx.own.namespace.dir(*dir)?.map_or(0, |dir| dir.entries);
                Sight::Victim { entries }
            }
            Item::Moving { dir } => {
                admit(cx, participant, *dir)?;
                lock(cx, Lock::Parent(*dir), operation)?;
                Sight::Moving
            }
        };
        sights.push((item.clone(), sight));
    }
    Ok(sights)
}

/// This rank is the authority for a directory that exists, and may change it; it stays so.
fn admit(cx: &mut Cx<'_>, participant: &mut Participant, dir: Ino) -> Result<(), Unseen> {
    match cx.own.subtrees.access(dir, Intent::Change, &cx.own.namespace)? {
        Access::Granted { .. } if cx.own.namespace.dir(dir)?.is_some() => {
            if let Err(Stop::Wait(wait)) = exclusive::admit(cx, dir, participant.client()) {
                // A client may take its time.
                return Err(Unseen::Busy(wait));
            }
            participant.pin(cx, dir);
            Ok(())
        }
        Access::Granted { .. } | Access::Unknown => Err(Unseen::Elsewhere { dir, rank: None }),
        Access::Elsewhere(route) => Err(Unseen::Elsewhere { dir, rank: Some(route.rank) }),
        Access::Frozen { base } => Err(Unseen::Busy(Wait::Thaw(base))),
    }
}

fn entry_sight(cx: &mut Cx<'_>, dir: Ino, linkage: Option<Linkage>) -> Result<Sight, Unseen> {
    let (mut holders, mut locks) = (BTreeMap::new(), BTreeMap::new());
    let mut child = None;
    match &linkage {
        Some(Linkage::Primary(inode)) => {
            cx.own.assume_held(inode.attr.ino, Some(dir));
            holders = cx.own.pins.holders(inode.attr.ino).collect();
            locks = cx.own.pins.locks().of(inode.attr.ino);
        }
        Some(Linkage::Dir { ino }) => child = Some(cx.rank_of_dir(*ino, dir)?),
        Some(Linkage::Remote { .. }) | None => {}
    }
    let completed = completed(cx, &holders);
    Ok(Sight::Entry { linkage, holders, locks, child, completed })
}

/// From here on none of them completes anything with what is locked.
fn completed(cx: &Cx<'_>, holders: &Holders) -> BTreeMap<ClientId, IdSet> {
    let sessions =
        holders.keys().filter_map(|client| Some((*client, cx.own.sessions.get(*client)?)));
    let completed = sessions.map(|(client, session)| (client, session.completed().clone()));
    completed.filter(|(_, completed)| completed.iter().next().is_some()).collect()
}

fn lock(cx: &mut Cx<'_>, lock: Lock, operation: Operation) -> Result<(), Unseen> {
    check_free(cx, &lock, operation)?;
    cx.own.locks.take(lock, operation);
    Ok(())
}

fn check_free(cx: &Cx<'_>, lock: &Lock, operation: Operation) -> Result<(), Unseen> {
    match cx.own.locks.holder(lock) {
        Some(holder) if holder != operation => Err(in_the_way(lock.clone(), holder, operation)),
        Some(_) | None => Ok(()),
    }
}

/// Only the operation that has precedence waits in place, so no two wait for each other.
fn in_the_way(lock: Lock, holder: Operation, operation: Operation) -> Unseen {
    if operation < holder {
        Unseen::Wait(Wait::Unlock(lock))
    } else {
        Unseen::Busy(Wait::Unlock(lock))
    }
}
