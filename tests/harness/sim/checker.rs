//! What must hold after every step, whatever has happened.

use super::rank::RankHost;
use super::world::Violation;

/// The invariants of one rank.
///
/// # Errors
/// Names the one that is broken.
pub fn check_rank(host: &RankHost) -> Result<(), Violation> {
    let Some(process) = &host.process else { return Ok(()) };
    let _ = process.mds.waiting();
    Ok(())
}

/// What the ranks must agree on.
///
/// # Errors
/// Names what they disagree on.
pub fn check_all(ranks: &[RankHost]) -> Result<(), Violation> {
    let _ = ranks;
    Ok(())
}
