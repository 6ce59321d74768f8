//! What a journal may not say: a `SubtreeMap` that denies the facts before it.
//!
//! A later `SubtreeMap` is the record of every change outside migrations (renames, removals, what
//! others have told), so it need not equal what was replayed. But no such change gives or takes
//! authority, or makes a release end:
//!
//! - what is another's by a claim that is as high, is not this rank's;
//! - what is this rank's alone becomes another's only with a higher claim;
//! - a release that no `Export` made is none, and none ends without `Finished`.
//!
//! A rank whose journal does that serves what it has, and changes nothing any more.

use common::id::Rank;

use crate::holdings::Holdings;
use crate::journal::entry::SubtreeSnapshot;

/// Everything in which a `SubtreeMap` contradicts what was replayed up to it.
#[must_use]
pub fn between(me: Rank, replayed: &Holdings, map: &SubtreeSnapshot) -> Vec<String> {
    let known = replayed.subtrees.claims();
    let mut wrong = Vec::new();
    for (base, claim) in &map.subtrees {
        let Some(before) = known.get(base) else { continue };
        let (now, then) = (claim.auth, before.auth);
        let regained = now == me && then != me && claim.epoch <= before.epoch;
        let lost = then == me && now != me && claim.epoch < before.epoch;
        let fell = now == me && then == me && claim.epoch < before.epoch;
        if regained || lost || fell {
            wrong.push(format!(
                "{base} is rank {then}'s by claim {}, and a later SubtreeMap has it as rank {now}'s \
                 by claim {}",
                before.epoch.0, claim.epoch.0
            ));
        }
    }
    for (id, release) in &map.released {
        if !replayed.released.contains_key(id) {
            let (base, to) = (release.base, release.to);
            wrong.push(format!(
                "a SubtreeMap says that {id} gave {base} to rank {to}: no Export does"
            ));
        }
    }
    if !wrong.is_empty() {
        tracing::error!(replayed = ?known, released = ?replayed.released, ?map, "SubtreeMap");
    }
    wrong
}

#[cfg(test)]
mod tests;
