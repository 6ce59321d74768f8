//! Which replicas are needed, and giving back the others.
//!
//! Needed are: the directories on the way up from everything this rank holds or is about to get, the
//! bases that its own subtrees end at (who replicates a base hears of its migration), and what an
//! operation or a migration under way relies on.

use std::collections::BTreeSet;

use common::id::Ino;

use super::expire;
use crate::cx::Cx;
use crate::subtree::SubtreeMap;

/// What verbs rely on.
#[derive(Clone, Debug, Default)]
pub struct Relied {
    /// These and everything above them.
    pub paths: BTreeSet<Ino>,
    /// These and everything below them: an importer expires nothing of the region.
    pub regions: BTreeSet<Ino>,
}

/// Gives back what is not needed.
pub fn trim(cx: &mut Cx<'_>, mut relied: Relied) {
    relied.paths.extend(own_paths(cx));
    let mut needed = BTreeSet::new();
    for start in &relied.paths {
        climb(cx, *start, &mut needed);
    }
    let replicas: Vec<Ino> = cx.own.spine.replicas().map(|(dir, _)| dir).collect();
    let idle: Vec<Ino> = replicas
        .into_iter()
        .filter(|dir| !needed.contains(dir) && !is_within(cx, *dir, &relied.regions))
        .collect();
    expire(cx, &idle);
}

/// The directories above this rank's subtrees, and the bases below them.
fn own_paths(cx: &Cx<'_>) -> BTreeSet<Ino> {
    let subtrees = &cx.own.subtrees;
    let mut paths = BTreeSet::new();
    for (base, subtree) in subtrees.iter() {
        if subtrees.is_mine(base) {
            paths.extend(subtree.parent);
        } else if subtree.parent.is_some_and(|parent| may_be_mine(cx, subtrees, parent)) {
            paths.insert(base.ino);
        }
    }
    paths
}

/// If that cannot be told without fetching, it stays as it is.
fn may_be_mine(cx: &Cx<'_>, subtrees: &SubtreeMap, dir: Ino) -> bool {
    if cx.own.spine.replica(dir).is_some() {
        return false;
    }
    match subtrees.base_of(dir, &cx.own.namespace) {
        Ok(Some(base)) => subtrees.is_mine(base),
        Ok(None) => false,
        Err(_fetch) => true,
    }
}

/// The replicas from a directory up. A directory of our own ends it: its subtree has a way up itself.
fn climb(cx: &Cx<'_>, start: Ino, needed: &mut BTreeSet<Ino>) {
    let mut here = Some(start);
    while let Some(dir) = here {
        let Some(replica) = cx.own.spine.replica(dir) else { return };
        if !needed.insert(dir) {
            return;
        }
        here = replica.parent.as_ref().map(|parent| parent.dir);
    }
}

fn is_within(cx: &Cx<'_>, dir: Ino, regions: &BTreeSet<Ino>) -> bool {
    let mut here = Some(dir);
    let mut seen = BTreeSet::new();
    while let Some(dir) = here.filter(|dir| seen.insert(*dir)) {
        if regions.contains(&dir) {
            return true;
        }
        let replica = cx.own.spine.replica(dir);
        here = replica.and_then(|it| it.parent.as_ref()).map(|parent| parent.dir);
    }
    false
}
