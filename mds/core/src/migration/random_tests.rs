//! Migrations in any order of messages, with any of the ranks dying and coming back, operators
//! cancelling and deadlines passing: in the end one rank owns the region, and everything is there.

use common::id::{Ino, Rank};
use common::wire::request::RenameMode;

use super::fixture::{B, E, Half, I, Neighbor, Story};
use crate::cluster_fixture::{Chance, R0};
use crate::fixture::{A, rename_op};
use crate::subtree::DirAuth;

/// One thing happens.
fn disturb(story: &mut Story, chance: &mut Chance) {
    let rank = [E, I, B][chance.below(3)];
    let up = story.cluster.up();
    match chance.below(40) {
        0 | 1 if up.len() > 1 && up.contains(&rank) => story.kill(rank),
        2..=5 if !up.contains(&rank) => story.cluster.revive(rank),
        6 if up.contains(&E) => {
            story.cancel();
        }
        7 if up.contains(&rank) => story.cluster.at(rank).checkpoint(),
        8 if up.contains(&E) => story.deadline_if_set(Half::Exporter),
        9 if up.contains(&I) => story.deadline_if_set(Half::Importer),
        10 if up.contains(&rank) => story.cluster.at(rank).make_durable(),
        11 if up.contains(&rank) => story.cluster.trim(rank),
        // The path of the region, there and back: one of them is refused.
        12 | 13 if up.contains(&R0) => {
            let there = rename_op((Ino::ROOT, "r1"), (Ino::ROOT, "there"), RenameMode::Replace);
            let back = rename_op((Ino::ROOT, "there"), (Ino::ROOT, "r1"), RenameMode::Replace);
            for op in [there, back] {
                story.cluster.send(R0, A, op);
            }
        }
        _ => {
            story.cluster.step();
        }
    }
}

fn tell(seed: u64) {
    let mut chance = Chance(seed);
    let neighbor = [Neighbor::Stranger, Neighbor::Bystander, Neighbor::BoundOwner][chance.below(3)];
    let mut story = Story::before(neighbor);
    story.cluster.chance = Some(Chance(seed));
    story.order();
    for _ in 0..chance.below(120) {
        disturb(&mut story, &mut chance);
        story.cluster.assert_sound();
    }
    for rank in [E, I, B] {
        if !story.cluster.up().contains(&rank) {
            story.cluster.revive(rank);
        }
    }
    story.rest();
    let owners: Vec<Rank> = [E, I, B]
        .into_iter()
        .filter(|rank| {
            story.look(*rank);
            story.subtree(*rank).map(|it| it.auth) == Some(DirAuth::Sole(*rank))
        })
        .collect();
    assert!(matches!(owners.as_slice(), [E] | [I]), "{owners:?} own the region");
    story.assert_owner(owners[0]);
    story.cluster.assert_settled();
}

#[test]
fn in_the_end_one_rank_owns_the_region() {
    for seed in 0..2000 {
        let told = std::panic::catch_unwind(|| tell(seed));
        assert!(told.is_ok(), "seed {seed}");
    }
}
