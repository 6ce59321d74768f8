//! Claims compared: a rank that begins anew says what it holds, and hears who holds it too.
//!
//! A migration leaves no two claims to one directory, whoever dies. A store that is put back as it
//! once was does: it holds what was given away since. For any directory the claim with the highest
//! epoch on its path wins; the other rank serves what it has and changes nothing any more, so that
//! an operator can look before anything is lost.

use std::collections::VecDeque;

use common::id::{DirFragId, Epoch, Incarnation, Rank};
use common::mds_map::RankState;

use crate::cx::Cx;
use crate::input::Fetch;
use crate::message::claims::{CLAIMS_MAX, ClaimsMsg};
use crate::subtree::DirAuth;

/// Claims of others that are still to be looked at: a way up may have to be fetched first.
#[derive(Clone, Debug, Default, Hash)]
pub struct Claims {
    heard: VecDeque<Heard>,
}

#[derive(Clone, Debug, Hash)]
struct Heard {
    from: Rank,
    life: Incarnation,
    base: DirFragId,
    epoch: Epoch,
    /// It is an answer: ours is said to be lower.
    lower: bool,
}

/// Says to everybody who can hear it what is ours. Who comes later says it to us.
pub fn announce(cx: &mut Cx<'_>) {
    let bases = own(cx, |_| true);
    let others: Vec<Rank> = cx.map.ranks.keys().copied().filter(|rank| *rank != cx.me()).collect();
    for rank in others {
        let hears = !matches!(cx.map.state(rank), RankState::Down | RankState::Replay);
        if hears {
            say(rank, &bases, |bases| ClaimsMsg::Mine { bases }, cx);
        }
    }
}

/// Bases of which this rank is the authority without a doubt.
fn own(cx: &Cx<'_>, wanted: impl Fn(DirFragId) -> bool) -> Vec<(DirFragId, Epoch)> {
    let me = DirAuth::Sole(cx.me());
    let subtrees = cx.own.subtrees.iter().filter(|(_, subtree)| subtree.auth == me);
    let wanted = subtrees.filter(|(base, _)| wanted(*base));
    wanted.map(|(base, subtree)| (base, subtree.epoch)).collect()
}

fn say(
    to: Rank,
    bases: &[(DirFragId, Epoch)],
    form: impl Fn(Vec<(DirFragId, Epoch)>) -> ClaimsMsg,
    cx: &mut Cx<'_>,
) {
    for some in bases.chunks(CLAIMS_MAX) {
        cx.out.send(to, form(some.to_vec()));
    }
}

impl Claims {
    pub fn on_message(&mut self, from: (Rank, Incarnation), msg: ClaimsMsg, cx: &mut Cx<'_>) {
        match msg {
            ClaimsMsg::Mine { bases } => {
                // What it holds below itself that is ours it would hold by a claim on what is above.
                let near = own(cx, |base| is_below(base, from.0, cx));
                say(from.0, &near, |bases| ClaimsMsg::Near { bases }, cx);
                self.hear(from, bases, false, cx);
            }
            ClaimsMsg::Near { bases } => self.hear(from, bases, false, cx),
            ClaimsMsg::Lower { base, epoch } => self.hear(from, vec![(base, epoch)], true, cx),
        }
    }

    fn hear(
        &mut self,
        (from, life): (Rank, Incarnation),
        bases: Vec<(DirFragId, Epoch)>,
        lower: bool,
        cx: &mut Cx<'_>,
    ) {
        let heard = bases.into_iter().map(|(base, epoch)| Heard { from, life, base, epoch, lower });
        self.heard.extend(heard);
        self.go_on(cx);
    }

    /// Something was fetched.
    pub fn go_on(&mut self, cx: &mut Cx<'_>) {
        while let Some(heard) = self.heard.front().cloned() {
            // What an earlier life held is not what this one holds.
            if cx.map.incarnation(heard.from) == Some(heard.life) {
                match compare(&heard, cx) {
                    Ok(()) => {}
                    Err(fetch) => return cx.own.namespace.fetch(fetch, cx.out),
                }
            }
            self.heard.pop_front();
        }
    }

    #[must_use]
    pub fn waits(&self) -> bool {
        !self.heard.is_empty()
    }
}

/// Whether what encloses one of our bases may be another rank's.
fn is_below(base: DirFragId, of: Rank, cx: &Cx<'_>) -> bool {
    let Some(parent) = cx.own.subtrees.get(base).and_then(|subtree| subtree.parent) else {
        return false;
    };
    match cx.own.spine.replica(parent) {
        Some(replica) => replica.concerns(of),
        // A directory of ours, or one of which nothing is known.
        None => !matches!(
            cx.own.subtrees.rank_of(parent, &cx.own.namespace),
            Ok(Some(rank)) if rank != of
        ),
    }
}

fn compare(heard: &Heard, cx: &mut Cx<'_>) -> Result<(), Fetch> {
    let (base, epoch) = (heard.base, heard.epoch);
    cx.own.subtrees.see_epoch(epoch);
    let Some(ours) = our_claim(base, cx)? else { return Ok(()) };
    if ours <= epoch {
        let claim = format!(
            "{base} is ours by claim {}, and rank {}'s by claim {}: is this an old copy of the store?",
            ours.0, heard.from.0, epoch.0
        );
        cx.own.note_damage(claim);
    } else if !heard.lower {
        tracing::warn!(%base, rank = heard.from.0, "a rank claims what is ours by a higher claim");
        cx.out.send(heard.from, ClaimsMsg::Lower { base, epoch: ours });
    }
    Ok(())
}

/// The claim by which a directory is ours, if it is without a doubt.
fn our_claim(base: DirFragId, cx: &Cx<'_>) -> Result<Option<Epoch>, Fetch> {
    let Some(nearest) = cx.own.subtrees.base_of(base.ino, &cx.own.namespace)? else {
        return Ok(None);
    };
    let subtree = cx.own.subtrees.get(nearest);
    let Some(ours) = subtree.filter(|subtree| subtree.auth == DirAuth::Sole(cx.me())) else {
        return Ok(None);
    };
    let held = cx.own.namespace.dir(base.ino)?.is_some();
    Ok(held.then_some(ours.epoch))
}

#[cfg(test)]
mod tests;
