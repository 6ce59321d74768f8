//! What speaks against a migration before it begins.

use common::id::{DirFragId, Ino, Rank};
use common::mds_map::RankState;
use common::migration::{EndReason, MigrationCause};

use crate::cx::{Cx, Step as Attempt};
use crate::migration::Order;
use crate::subtree::{DirAuth, Freeze};

/// # Errors
/// What to wait for before this can be told.
pub fn check(order: &Order, cx: &mut Cx<'_>) -> Attempt<Result<(), EndReason>> {
    if order.dir == Ino::ROOT {
        return Ok(Err(EndReason::Root));
    }
    if order.to == cx.me() {
        return Ok(Err(EndReason::AlreadyThere));
    }
    if cx.own.is_read_only() {
        return Ok(Err(EndReason::ReadOnly));
    }
    if cx.map.state(order.to) != RankState::Active {
        return Ok(Err(EndReason::ImporterNotActive));
    }
    if cx.map.is_degraded() {
        return Ok(Err(EndReason::Degraded));
    }
    let Some(base) = cx.own.subtrees.base_of(order.dir, &cx.own.namespace)? else {
        return Ok(Err(EndReason::Gone));
    };
    let subtree = cx.own.subtrees.get(base).expect("a base that was just found");
    if subtree.auth == DirAuth::Sole(order.to) {
        return Ok(Err(EndReason::AlreadyThere));
    }
    if subtree.auth != DirAuth::Sole(cx.me()) {
        return Ok(Err(EndReason::NotAuthority));
    }
    if subtree.freeze != Freeze::Live {
        return Ok(Err(EndReason::Overlaps));
    }
    if cx.own.namespace.dir(order.dir)?.is_none() {
        return Ok(Err(EndReason::Gone));
    }
    if pinned_elsewhere(order, cx)? {
        return Ok(Err(EndReason::Pinned));
    }
    Ok(Ok(()))
}

/// The nearest pin at or above the directory decides, as far as this rank's subtree reaches.
fn pinned_elsewhere(order: &Order, cx: &Cx<'_>) -> Attempt<bool> {
    if order.cause == MigrationCause::Pin {
        return Ok(false);
    }
    Ok(pin_of(order.dir, cx)?.is_some_and(|rank| rank != order.to))
}

/// # Errors
/// What to wait for.
fn pin_of(dir: Ino, cx: &Cx<'_>) -> Attempt<Option<Rank>> {
    let mut here = dir;
    loop {
        let Some(row) = cx.own.namespace.dir(here)? else { return Ok(None) };
        if row.pin.is_some()
            || cx.own.subtrees.get(DirFragId::whole(here)).is_some_and(|own| !own.apart)
        {
            return Ok(row.pin);
        }
        match &row.parent {
            Some(parent) => here = parent.dir,
            None => return Ok(None),
        }
    }
}
