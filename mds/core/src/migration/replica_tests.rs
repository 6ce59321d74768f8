//! Replicas of a region while it migrates: given back, registered with whoever wins, and told of
//! other names above only when it is over.

use std::collections::BTreeMap;

use common::id::{DirFragId, Ino, Nonce, Rank};
use common::wire::reply::{Answer, Outcome};
use common::wire::request::RenameMode;

use crate::cluster_fixture::{D1, R1};
use crate::fixture::{A, rename_op};
use crate::message::PeerMsg;
use crate::message::replica::ReplicaMsg;
use crate::migration::fixture::{B, E, Half, I, Neighbor, Story};

fn holders(story: &Story, rank: Rank) -> BTreeMap<Rank, Nonce> {
    story.cluster.ranks[&rank].mds.holdings().spine.holders(story.dir).collect()
}

/// To whom a rank gives back what, in messages that have not arrived.
fn expires(story: &mut Story, from: Rank) -> Vec<(Rank, Vec<Ino>, Option<DirFragId>)> {
    let under_way = story.cluster.under_way().into_iter();
    let expires = under_way.filter_map(|(sender, to, msg)| match msg {
        PeerMsg::Replica(ReplicaMsg::Expire { dirs, region }) if sender == from => {
            Some((to, dirs.into_iter().map(|(dir, _)| dir).collect(), region))
        }
        _ => None,
    });
    expires.collect()
}

#[test]
fn what_nobody_needs_is_given_back() {
    let mut story = Story::before(Neighbor::Bystander);
    assert!(holders(&story, E).contains_key(&B));
    story.cluster.trim(B);
    let dir = story.dir;
    assert_eq!(expires(&mut story, B), [(E, vec![dir], None)]);
    story.rest();
    assert_eq!(holders(&story, E), BTreeMap::new());
}

/// Rank 0 owns what is below, so it needs everything above that; and rank 1 needs the bound.
#[test]
fn what_is_needed_stays() {
    let mut story = Story::before(Neighbor::BoundOwner);
    for rank in [B, E, I] {
        story.cluster.trim(rank);
        assert_eq!(expires(&mut story, rank), [], "{rank}");
    }
}

#[test]
fn before_the_sender_is_warned_the_exporter_does_it_at_once() {
    let mut story = Story::exporter_at("Prepping");
    story.cluster.trim(B);
    let dir = story.dir;
    assert_eq!(expires(&mut story, B), [(E, vec![dir], None)]);
    story.rest();
    assert_eq!(
        holders(&story, I).keys().copied().collect::<Vec<_>>(),
        [E],
        "the exporter keeps one"
    );
    story.assert_owner(I);
}

#[test]
fn in_doubt_both_are_told_and_the_winner_does_it() {
    for cancelled in [false, true] {
        let mut story = Story::exporter_at("Exporting");
        story.cluster.trim(B);
        let (dir, region) = (story.dir, Some(DirFragId::whole(story.dir)));
        assert_eq!(expires(&mut story, B), [(E, vec![dir], region), (I, vec![dir], region)]);
        if cancelled {
            story.cluster.unsynced.insert(I);
            story.cluster.run();
            assert!(holders(&story, E).contains_key(&B), "not yet");
            story.cancel();
            assert_eq!(holders(&story, E), BTreeMap::new());
            story.cluster.unsynced.clear();
        }
        story.rest();
        let winner = if cancelled { E } else { I };
        assert_eq!(holders(&story, winner).get(&B), None);
        story.assert_owner(winner);
    }
}

#[test]
fn when_one_of_two_candidates_dies_the_other_is_told() {
    let mut story = Story::exporter_at("Exporting");
    story.kill(I);
    assert!(holders(&story, E).contains_key(&B));
    story.rest();
    assert_eq!(holders(&story, E), BTreeMap::new());
    story.assert_owner(E);
}

#[test]
fn registrations_are_carried_with_their_nonces() {
    let mut story = Story::before(Neighbor::Bystander);
    let before = holders(&story, E)[&B];
    story.order();
    story.rest();
    let after = holders(&story, I);
    assert_eq!(after[&B], before);
    let own = story.cluster.ranks[&E].mds.holdings();
    assert_eq!(own.spine.replica(story.dir).map(|replica| replica.nonce), Some(after[&E]));
    assert_eq!(own.spine.holders(story.dir).count(), 0, "what was the exporter's is not any more");
}

/// An exporter that would be a holder of its own directory would wait for itself.
#[test]
fn nothing_is_registered_for_an_export_that_is_cancelled() {
    let mut story = Story::exporter_at("Exporting");
    story.cancel();
    story.rest();
    assert_eq!(holders(&story, E).keys().copied().collect::<Vec<_>>(), [B]);
    let op = rename_op((D1, "a"), (D1, "b"), RenameMode::Replace);
    let outcome = story.cluster.ask(E, A, op);
    assert!(matches!(outcome, Outcome::Done(Answer::Renamed(_))), "{outcome:?}");
}

#[test]
fn an_importer_gives_nothing_of_the_region_back() {
    let mut story = Story::before(Neighbor::Stranger);
    let dir = story.dir;
    story.cluster.tell(I, E, PeerMsg::Replica(ReplicaMsg::Discover { dir }));
    story.cluster.run();
    story.order();
    for state in ["Discovered", "Copying", "Prepped", "Acking"] {
        story.run_until(Half::Importer, state);
        story.cluster.trim(I);
        assert_eq!(expires(&mut story, I), [], "in {state}");
    }
    story.rest();
    story.assert_owner(I);
}

/// Rank 0 gives `/r1/a/t` to rank 2, and rank 1 renames `/r1/a`.
#[test]
fn both_halves_withhold_that_the_path_has_changed() {
    let mut story = Story::before(Neighbor::BoundOwner);
    let above = story.dir;
    (story.exporter, story.dir) = (B, story.bound());
    story.order();
    story.cluster.unsynced.insert(I);
    story.run_until(Half::Exporter, "Exporting");
    let mv = rename_op((D1, "a"), (D1, "b"), RenameMode::Replace);
    let id = story.cluster.send(R1, A, mv).id;
    story.cluster.run();
    for rank in [B, I] {
        let own = story.cluster.ranks[&rank].mds.holdings();
        let withheld: Vec<Ino> = own.spine.watch.withheld().map(|ack| ack.dir).collect();
        assert_eq!(withheld, [above], "{rank}");
        let name = own.spine.replica(above).and_then(|it| it.parent.clone()).unwrap().name;
        assert_eq!(name.to_string(), "b", "it knows all the same");
    }
    assert_eq!(story.cluster.states(R1), ["Committing"], "it is not settled");

    story.cluster.unsynced.clear();
    story.rest();
    let outcome = story.cluster.reply(R1, A, id);
    assert!(matches!(outcome, Some(Outcome::Done(_))), "{outcome:?}");
    story.cluster.assert_settled();
    assert_eq!(story.exporter(), "Over");
}

/// One of them dies: the other is over, and so is what was withheld.
#[test]
fn nothing_is_withheld_for_ever() {
    for dead in [B, I] {
        let mut story = Story::before(Neighbor::BoundOwner);
        (story.exporter, story.dir) = (B, story.bound());
        story.order();
        story.run_until(Half::Exporter, "Warning");
        let mv = rename_op((D1, "a"), (D1, "b"), RenameMode::Replace);
        let id = story.cluster.send(R1, A, mv).id;
        story.run_until(Half::Exporter, "Exporting");
        story.kill(dead);
        story.rest();
        story.revive(dead);
        let outcome = story.cluster.reply(R1, A, id);
        assert!(matches!(outcome, Some(Outcome::Done(_))), "{dead} died: {outcome:?}");
        story.cluster.assert_settled();
    }
}
