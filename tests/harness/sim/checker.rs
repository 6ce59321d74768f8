//! What must hold after every step, whatever has happened: the invariants of architecture §13 that can be
//! seen from outside while things move. What must hold at rest is in `world/rest.rs`.

use std::collections::BTreeMap;

use common::id::{DirFragId, MigrationId, Rank};
use mds_core::migration::Region;
use mds_core::subtree::{DirAuth, Freeze};

use super::network::Life;
use super::rank::RankHost;
use super::world::Violation;

/// What a rank that has just done something can tell by itself.
///
/// # Errors
/// Names what is broken.
pub fn check_rank(host: &RankHost) -> Result<(), Violation> {
    let Some(process) = &host.process else { return Ok(()) };
    process.mds.check().map_err(|broken| {
        let (rank, broken) = (host.rank, broken.to_string());
        Violation::Invariant { rank, broken }
    })
}

/// M6: whoever has just turned is the newest that has begun.
///
/// # Errors
/// Names the one that should have stopped.
pub fn check_succession(host: &RankHost, turned: Life) -> Result<(), Violation> {
    let newer = host.process.as_ref().filter(|process| process.life > turned);
    newer.map_or(Ok(()), |newer| {
        let (rank, old, new) = (host.rank, turned.incarnation, newer.life.incarnation);
        Err(Violation::Disagreement(format!(
            "rank {rank}: life {old} goes on while {new} has begun"
        )))
    })
}

/// S11: both sides of a migration have frozen the same region.
fn check_bounds(ranks: &[RankHost]) -> Result<(), Violation> {
    let mut known: BTreeMap<MigrationId, Region<'_>> = BTreeMap::new();
    let processes = ranks.iter().filter_map(|host| host.process.as_ref());
    for region in processes.flat_map(|process| process.mds.frozen_regions()) {
        let Some(other) = known.insert(region.id, region) else { continue };
        if !other.bounds.keys().eq(region.bounds.keys()) {
            let both = (other.bounds.keys(), region.bounds.keys());
            let broken = format!("the bounds of {} are {both:?}", region.id);
            return Err(Violation::Disagreement(broken));
        }
    }
    Ok(())
}

/// # Errors
/// Names what is broken.
pub fn check(ranks: &[RankHost]) -> Result<(), Violation> {
    check_bounds(ranks)?;
    let mut sole: BTreeMap<DirFragId, Rank> = BTreeMap::new();
    for host in ranks {
        let Some(process) = &host.process else { continue };
        for (base, subtree) in process.mds.holdings().subtrees.iter() {
            match subtree.auth {
                // S1: one server.
                DirAuth::Sole(rank) if rank == host.rank => {
                    if let Some(other) = sole.insert(base, rank) {
                        let both = format!("{other} and {rank} are both the authority for {base}");
                        return Err(Violation::Disagreement(both));
                    }
                }
                DirAuth::Sole(_) => (),
                // S3: who is in doubt serves nothing that changes.
                DirAuth::Ambiguous { .. }
                    if subtree.freeze == Freeze::Live && concerns(host, subtree.auth) =>
                {
                    let broken = format!("{base} is ambiguous and not frozen");
                    return Err(Violation::Invariant { rank: host.rank, broken });
                }
                DirAuth::Ambiguous { .. } => (),
            }
        }
    }
    Ok(())
}

/// Whether the doubt is about this rank; a bystander's is not.
fn concerns(host: &RankHost, auth: DirAuth) -> bool {
    match auth {
        DirAuth::Sole(rank) => rank == host.rank,
        DirAuth::Ambiguous { first, second } => first == host.rank || second == host.rank,
    }
}
