//! The importer, in each of its states: deaths, cancelling, and messages out of order.

use common::id::{ClientId, DirFragId, Epoch, Incarnation, Ino, Nonce, RequestId};
use common::migration::{EndReason, MigrationOutcome};
use common::wire::admin::{AdminError, AdminReply, AdminRequest, Settlement};
use common::wire::reply::Outcome;
use common::wire::request::{Op, RenameMode};
use common::wire::session::{PinClaim, PinnedBy, ToClient, ToMds};

use crate::cluster_fixture::D1;
use crate::fixture::{A, conn, in_entry, name, rename_op};
use crate::journal::entry::{Entry, ImportOutcome, SubtreeClaim};
use crate::message::PeerMsg;
use crate::message::migration::{MigrationMsg, Payload, Registration, Step};
use crate::message::replica::ReplicaMsg;
use crate::migration::fixture::{B, E, Half, I, Neighbor, Story};
use crate::subtree::{DirAuth, Freeze};

fn finishes(story: &mut Story) -> Vec<ImportOutcome> {
    let facts = story.cluster.at(I).journal();
    facts
        .filter_map(|entry| match entry {
            Entry::ImportFinish { outcome, .. } => Some(*outcome),
            _ => None,
        })
        .collect()
}

/// The exporter dies where nobody but the two knows: it never was.
#[track_caller]
fn exporter_dies_and_it_never_was(state: &str, neighbor: Neighbor) {
    let mut story = Story::at(Half::Importer, state, neighbor);
    story.kill(E);
    assert_eq!(story.importer(), "Over");
    assert_eq!(story.steps_to(B), []);
    story.rest();
    assert!(story.cluster.at(I).mds.holdings().sweep.is_empty(), "what was copied is gone");
    let dir = story.dir;
    assert!(story.cluster.at(I).entries(dir).is_empty(), "what was copied is gone");
    story.revive(E);
    story.assert_owner(E);
}

#[test]
fn exporter_dies_in_discovering() {
    cov_mark::check!(exporter_dies_in_discovering);
    exporter_dies_and_it_never_was("Discovering", Neighbor::Stranger);
}

#[test]
fn exporter_dies_in_discovered() {
    cov_mark::check!(exporter_dies_in_discovered);
    exporter_dies_and_it_never_was("Discovered", Neighbor::Stranger);
}

#[test]
fn exporter_dies_in_copying() {
    cov_mark::check!(exporter_dies_in_copying);
    exporter_dies_and_it_never_was("Copying", Neighbor::Stranger);
}

#[test]
fn exporter_dies_in_prepping() {
    cov_mark::check!(exporter_dies_in_prepping);
    exporter_dies_and_it_never_was("Prepping", Neighbor::BoundOwner);
}

#[test]
fn exporter_dies_in_prepped() {
    cov_mark::check!(exporter_dies_in_prepped);
    let mut story = Story::importer_at("Prepped");
    story.kill(E);
    assert_eq!(story.view(Half::Importer), "Aborting: E,I frozen");
    let notices = story.steps_to(B);
    assert!(
        matches!(notices.as_slice(), [Step::Notify { auth: DirAuth::Sole(E), .. }]),
        "{notices:?}"
    );
    story.rest();
    assert_eq!(story.importer(), "Over");
    assert_eq!(finishes(&mut story), [], "no `ImportStart`, no end of it");
    story.revive(E);
    story.assert_owner(E);
}

#[test]
fn exporter_dies_in_logging_start() {
    cov_mark::check!(exporter_dies_in_logging_start);
    let mut story = Story::importer_at("LoggingStart");
    story.kill(E);
    assert_eq!(story.importer(), "Aborting");
    assert_eq!(finishes(&mut story), [ImportOutcome::Foreign]);
    story.rest();
    assert_eq!(story.importer(), "Over");
    story.revive(E);
    story.assert_owner(E);
}

/// Nobody else asks about it any more: its facts would stay for ever.
#[test]
fn facts_of_an_undone_import_go_though_the_importer_dies() {
    for state in ["Copying", "LoggingStart"] {
        let mut story = Story::importer_at(state);
        story.kill(E);
        story.kill(I);
        story.revive(I);
        story.revive(E);
        story.cluster.at(I).checkpoint();
        story.rest();
        let facts = story.cluster.at(I).journal();
        let facts: Vec<&Entry> =
            facts.filter(|fact| !matches!(fact, Entry::SubtreeMap(_) | Entry::Step(_))).collect();
        assert_eq!(facts, [] as [&Entry; 0], "{state}");
    }
}

#[test]
fn exporter_dies_in_acking() {
    cov_mark::check!(exporter_dies_in_acking);
    let mut story = Story::importer_at("Acking");
    story.kill(E);
    assert_eq!(story.view(Half::Importer), "Acking: I,E frozen");
    story.rest();
    assert_eq!(story.view(Half::Importer), "Acking: I,E frozen", "only its journal can tell");
    assert_eq!(story.told_bystander_while_reviving(), [DirAuth::Sole(E)]);
    story.assert_owner(E);
}

/// It may have asked when there was nobody to hear it; until its clock asks again is a long time.
#[test]
fn in_doubt_it_asks_the_next_life_of_the_exporter_at_once() {
    let mut story = Story::importer_at("Acking");
    story.kill(E);
    story.rest();
    story.cluster.revive(E);
    story.cluster.run();
    assert_eq!(story.view(Half::Importer), "Over: nothing");
}

/// The commit record was in the exporter's journal when it died.
#[test]
fn exporter_dies_in_acking_after_its_commit() {
    let mut story = Story::at(Half::Exporter, "LoggingExport", Neighbor::Bystander);
    story.kill(E);
    story.rest();
    assert_eq!(story.view(Half::Importer), "Acking: I,E frozen");
    assert_eq!(story.told_bystander_while_reviving(), [DirAuth::Sole(I)]);
    story.assert_owner(I);
}

/// Neither of those who come back remembers whom it had warned.
#[test]
fn a_bystander_is_told_in_the_end_if_both_others_die() {
    let mut story = Story::at(Half::Exporter, "LoggingExport", Neighbor::Bystander);
    story.kill(E);
    story.rest();
    story.kill(I);
    story.revive(I);
    assert_eq!(story.told_bystander_while_reviving(), [DirAuth::Sole(I)]);
    story.assert_owner(I);
}

#[test]
fn settled_by_an_operator_it_serves_or_forgets() {
    for (verdict, owner) in [(Settlement::Mine, Some(I)), (Settlement::Theirs, None)] {
        let mut story = Story::at(Half::Exporter, "LoggingExport", Neighbor::Bystander);
        assert_eq!(story.settle(verdict), AdminReply::Refused(AdminError::ExporterLives(E)));
        story.kill(E);
        story.rest();
        story.cluster.lose(E);
        assert_eq!(story.settle(verdict), AdminReply::Settled);
        story.rest();
        assert_eq!(story.importer(), "Over");
        let served = story.subtree(I).filter(|subtree| subtree.auth == DirAuth::Sole(I));
        assert_eq!(served.map(|_| I), owner);
        assert_eq!(story.settle(verdict), AdminReply::Refused(AdminError::NotInDoubt));
    }
}

#[test]
fn exporter_dies_in_finishing() {
    cov_mark::check!(exporter_dies_in_finishing);
    let mut story = Story::importer_at("Finishing");
    story.kill(E);
    assert!(story.view(Half::Importer).ends_with(": I live"));
    let notices = story.steps_to(B);
    let last = notices.last();
    assert!(matches!(last, Some(Step::Notify { auth: DirAuth::Sole(I), .. })), "{notices:?}");
    story.rest();
    story.assert_owner(I);
    story.revive(E);
    story.assert_owner(I);
}

#[test]
fn exporter_dies_in_aborting() {
    cov_mark::check!(exporter_dies_in_aborting);
    let mut story = Story::importer_at("Aborting");
    // It came back, and is gone again: the map says so.
    story.cluster.revive(E);
    assert_eq!(story.importer(), "Aborting");
    story.kill(E);
    assert_eq!(story.importer(), "Aborting");
    story.rest();
    assert_eq!(story.importer(), "Over");
    story.revive(E);
    story.assert_owner(E);
}

#[test]
fn bystander_dies_in_aborting() {
    cov_mark::check!(bystander_dies_in_aborting);
    let mut story = Story::importer_at("Aborting");
    story.kill(B);
    assert_eq!(story.importer(), "Over", "it counts as told");
    story.rest();
    story.revive(E);
    story.assert_owner(E);
}

/// It died when `Prep`, which names it, was still under way.
#[test]
fn bystander_dies_before_prep_arrives() {
    let mut story = Story::exporter_at("Prepping");
    assert_eq!(story.importer(), "Copying");
    story.kill(B);
    while story.importer() != "Prepped" {
        assert!(story.cluster.step(), "`Prep` is under way");
    }
    story.kill(E);
    assert_eq!(story.importer(), "Over", "nobody is waited for");
    story.revive(E);
    story.assert_owner(E);
}

#[test]
fn a_cancel_undoes_each_state_up_to_acking() {
    for state in
        ["Discovering", "Discovered", "Copying", "Prepping", "Prepped", "LoggingStart", "Acking"]
    {
        let neighbor = if state == "Prepping" { Neighbor::BoundOwner } else { Neighbor::Bystander };
        let mut story = Story::at(Half::Importer, state, neighbor);
        story.cancel();
        story.rest();
        let outcome = story.outcome();
        assert_eq!(outcome, Some(MigrationOutcome::Cancelled(EndReason::Operator)), "{state}");
        story.assert_owner(E);
        let dir = story.dir;
        assert!(story.cluster.at(I).entries(dir).is_empty(), "{state}: swept");
    }
}

/// A directory is renamed from one region that is being copied to another. What the first one says of it last
/// is that it is gone (simulator, `links_are_cut_during_moves` 56010804).
#[test]
fn a_directory_that_moves_between_two_regions_is_not_lost_when_both_arrive() {
    cov_mark::check!(what_is_here_already_is_declined);
    let mut story = Story::before(Neighbor::Stranger);
    let first = story.dir;
    let inner = story.cluster.at(E).mkdir(A, first, "inner");
    let file = story.cluster.at(E).create(A, inner, "g");
    let other = story.cluster.at(E).mkdir(A, D1, "other");
    story.auth_pin();
    story.order();
    let first_id = story.id;
    story.run_until(Half::Importer, "Copying");
    let op = rename_op((first, "inner"), (other, "inner"), RenameMode::Replace);
    let outcome = story.cluster.ask(E, A, op);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");

    story.dir = other;
    story.order();
    story.cluster.run();
    let refused = Some(MigrationOutcome::Cancelled(EndReason::ImporterRefused));
    assert_eq!(story.outcome(), refused, "the first may still say something of it");

    (story.dir, story.id) = (first, first_id);
    story.auth_unpin();
    story.rest();
    story.assert_owner(I);
    assert_eq!(story.cluster.lookup(E, inner, "g"), Some((file, 1)));
    story.dir = other;
    story.order();
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    assert_eq!(story.cluster.lookup(I, inner, "g"), Some((file, 1)));
}

#[test]
fn a_cancel_after_the_commit_changes_nothing() {
    let mut story = Story::importer_at("Finishing");
    story.tell(E, I, Step::Cancel);
    assert!(story.view(Half::Importer).ends_with(": I live"));
    story.rest();
    story.assert_owner(I);
}

/// The exporter died when it had told, and its next life tells again what it finds in its journal.
#[test]
fn who_is_told_to_serve_once_more_before_that_is_durable_finishes_once() {
    cov_mark::check!(told_to_serve_once_more);
    let mut story = Story::importer_at("Finishing");
    let before = story.view(Half::Importer);
    story.tell(E, I, Step::Serve);
    assert_eq!(story.view(Half::Importer), before);
    story.rest();
    story.assert_owner(I);
}

/// I1: whatever is said to it, it serves only on `Serve`, and only from its own doubt.
#[test]
fn nothing_but_the_doubt_leads_to_serving() {
    for state in ["Discovered", "Copying", "Prepped", "LoggingStart"] {
        let mut story = Story::importer_at(state);
        let before = story.view(Half::Importer);
        story.tell(E, I, Step::Serve);
        story.tell(E, I, Step::Over);
        assert_eq!(story.view(Half::Importer), before, "{state}");
    }
}

#[test]
fn an_importer_in_doubt_asks_and_goes_on_waiting() {
    let mut story = Story::importer_at("Acking");
    story.deadline(Half::Importer);
    assert_eq!(story.steps_to(E).last(), Some(&Step::Ask));
    story.tell(E, I, Step::Undecided);
    assert_eq!(story.view(Half::Importer), "Acking: I,E frozen");
    story.rest();
    story.assert_owner(I);
}

/// Its second life finds the doubt in the journal and asks.
#[test]
fn importer_returns_after_acking() {
    let mut story = Story::importer_at("Acking");
    story.kill(I);
    story.rest();
    story.assert_owner(E);
    story.revive(I);
    story.assert_owner(E);
    assert_eq!(finishes(&mut story), [], "settled, and trimmed");
}

fn answer(story: &mut Story, step: Step) -> Vec<Step> {
    story.tell(E, I, step);
    story.steps_to(E)
}

/// What comes for a migration that is not here is answered so that the exporter can end it.
#[test]
fn a_stale_step_is_dropped_or_answered() {
    let mut story = Story::before(Neighbor::Stranger);
    let prep = Step::Prep {
        epoch: Epoch(9),
        bounds: std::collections::BTreeMap::new(),
        bystanders: std::collections::BTreeSet::new(),
    };
    for step in [Step::Rows { number: 1, content: Vec::new() }, prep, Step::Over, Step::Undecided] {
        assert_eq!(answer(&mut story, step), []);
    }
    let mut expected = Vec::new();
    for (step, reply) in [
        (Step::Export(Box::default()), Step::CancelAck),
        (Step::Cancel, Step::CancelAck),
        (Step::Serve, Step::Finished),
    ] {
        expected.push(reply);
        assert_eq!(answer(&mut story, step), expected);
    }
    assert_eq!(story.cluster.at(I).mds.migrator_for_test().running(), 0);
}

#[test]
fn a_step_of_a_stranger_is_not_the_exporters() {
    let mut story = Story::importer_at("Prepped");
    story.tell(B, I, Step::Export(Box::<Payload>::default()));
    assert_eq!(story.importer(), "Prepped");
}

#[test]
fn an_overlapping_region_is_refused() {
    let mut story = Story::importer_at("Copying");
    let (dir, mut id) = (story.dir, story.id);
    id.number += 1;
    let parent = crate::row::Parent { dir: story.dir, name: name("x") };
    let base = DirFragId::whole(Ino(0xffff));
    let step = Step::Discover { parent, ask: [(dir, E)].into() };
    story.cluster.tell(E, I, PeerMsg::Migration(MigrationMsg { id, base, step }));
    story.id = id;
    let nack = Step::Nack { reason: EndReason::ImporterBusy };
    assert_eq!(story.steps_to(E), [nack]);
}

/// Or it would become part of what is being copied, and be left behind.
#[test]
fn what_encloses_a_region_that_is_arriving_is_not_given_away() {
    for state in ["Discovering", "Copying", "Prepped", "Acking"] {
        let mut story = Story::before(Neighbor::BoundOwner);
        let above = story.dir;
        (story.exporter, story.importer, story.dir) = (B, E, story.bound());
        story.cluster.at(E).mds.holdings_for_test().spine.drop_replica(story.dir);
        story.order();
        if state != "Discovering" {
            story.run_until(Half::Importer, state);
        }
        while story.cluster.at(E).mds.migrator_for_test().running() == 0 {
            assert!(story.cluster.step());
        }
        let request = AdminRequest::Export { dir: above, to: I };
        assert_eq!(
            story.admin(E, request),
            AdminReply::Refused(AdminError::Migration(EndReason::Overlaps)),
            "{state}"
        );
    }
}

/// A map of subtrees that is written in the middle of it does not make the region its own.
#[test]
fn importer_returns_with_a_map_that_was_written_while_in_doubt() {
    for state in ["Prepped", "LoggingStart", "Acking"] {
        let mut story = Story::importer_at(state);
        story.cluster.at(I).checkpoint();
        story.kill(I);
        story.rest();
        story.revive(I);
        story.assert_owner(E);
    }
}

/// Nobody else can open the bound, so nobody else is asked over and over.
#[test]
fn a_bound_whose_owner_died_early_is_waited_for_in_silence() {
    let mut story = Story::at(Half::Importer, "Copying", Neighbor::BoundOwner);
    story.kill(B);
    story.cluster.run();
    assert_eq!(story.importer(), "Prepping");
    story.rest();
    let timed_out = MigrationOutcome::Cancelled(EndReason::PreppingTimedOut);
    assert_eq!(story.outcome(), Some(timed_out));
    story.assert_owner(E);
}

/// It encloses the region, and once gave it away: what comes back and is undone is not its own.
#[test]
fn a_neighbor_in_doubt_that_restarts_does_not_keep_what_is_undone() {
    let mut story = Story::before(Neighbor::Bystander);
    story.order();
    story.rest();
    story.assert_owner(I);
    (story.exporter, story.importer) = (I, E);
    story.order();
    story.run_until(Half::Importer, "Acking");
    story.kill(E);
    story.revive(E);
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::ImporterDied)));
    story.assert_owner(I);
    let dir = story.dir;
    assert_eq!(story.cluster.auth(E, dir).map(|(auth, _)| auth), Some(I));
}

/// A bystander knows of the new authority before that rank itself, and tells it at once.
#[test]
fn what_a_bystander_gives_back_early_is_not_lost() {
    let mut story = Story::importer_at("Acking");
    let dir = story.dir;
    let nonce = story.cluster.at(B).mds.holdings().spine.replica(dir).unwrap().nonce;
    let expire = ReplicaMsg::Expire { dirs: vec![(dir, nonce)], region: None };
    story.cluster.tell(B, I, PeerMsg::Replica(expire));
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    let spine = &story.cluster.at(I).mds.holdings().spine;
    assert_eq!(spine.holders(dir).filter(|(holder, _)| *holder == B).count(), 0);
}

/// As the exporter says, in its last delta, and then that it is decided.
fn is_told_of_a_replica_at(story: &mut Story, life: Incarnation) {
    let held = [(B, Registration { nonce: Nonce(1), life })].into();
    let registrations = [(story.dir, held)].into();
    story.tell(E, I, Step::Export(Box::new(Payload { registrations, ..Payload::default() })));
    story.cluster.at(I).make_durable();
    story.tell(E, I, Step::Serve);
}

fn has_registered(story: &Story, nonce: Nonce) -> bool {
    let spine = &story.cluster.ranks[&I].mds.holdings().spine;
    spine.holders(story.dir).any(|known| known == (B, nonce))
}

/// The exporter did not know that the bystander is dead, or has begun anew, which the importer had
/// heard before.
#[test]
fn a_bystander_is_not_registered_for_what_a_former_life_held() {
    for returns in [false, true] {
        let mut story = Story::importer_at("Prepped");
        let life = story.cluster.ranks[&B].mds.seq().incarnation();
        story.cluster.kill(B);
        if returns {
            story.cluster.revive(B);
        }
        is_told_of_a_replica_at(&mut story, life);
        assert!(!has_registered(&story, Nonce(1)), "returns: {returns}");
    }
}

/// The exporter had heard before the importer that the bystander has begun anew.
#[test]
fn a_death_does_not_end_what_the_next_life_holds() {
    let mut story = Story::importer_at("Prepped");
    let Incarnation(life) = story.cluster.ranks[&B].mds.seq().incarnation();
    is_told_of_a_replica_at(&mut story, Incarnation(life + 1));
    story.cluster.kill(B);
    assert!(has_registered(&story, Nonce(1)));
}

#[test]
fn who_aborts_tells_bystanders_again() {
    let mut story = Story::importer_at("Aborting");
    assert_eq!(story.steps_to(B).len(), 1);
    story.deadline(Half::Importer);
    let again = Step::Notify { auth: DirAuth::Sole(E), epoch: Epoch(2), dirs: Vec::new() };
    assert_eq!(story.steps_to(B).last(), Some(&again));
    assert_eq!(story.steps_to(B).len(), 2);
    story.rest();
    assert_eq!(story.importer(), "Over");
    story.revive(E);
    story.assert_owner(E);
}

/// The bound was given away while the region around it was on its way: what the exporter said of it
/// is old by then (simulator, `links_are_cut_during_moves` 4221).
#[test]
fn what_is_known_of_a_bound_is_not_overwritten_by_what_was() {
    let mut story = Story::at(Half::Importer, "Acking", Neighbor::BoundOwner);
    let bound = DirFragId::whole(story.bound());
    let newer = SubtreeClaim { auth: E, epoch: Epoch(99), parent: Some(story.dir) };
    story.cluster.at(I).mds.holdings_for_test().subtrees.restore(bound, &newer);
    story.cluster.run();
    let known = story.cluster.at(I).mds.holdings().subtrees.get(bound).cloned();
    assert_eq!(known.map(|it| (it.auth, it.epoch)), Some((DirAuth::Sole(E), Epoch(99))));
}

/// A migration of the bound was undone when the exporter had been warned of a higher claim (simulator,
/// `take_over` 97000373).
#[test]
fn by_what_claim_the_importer_has_a_bound_it_knows_best() {
    let mut story = Story::before(Neighbor::BoundOwner);
    let bound = story.bound();
    let base = DirFragId::whole(bound);
    story.give_from(B, bound, I);
    let mine = story.cluster.at(I).mds.holdings().subtrees.claims()[&base].clone();
    let told = SubtreeClaim { auth: I, epoch: Epoch(mine.epoch.0 + 1), ..mine.clone() };
    story.cluster.at(E).mds.holdings_for_test().subtrees.restore(base, &told);
    story.order();
    let id = story.id;
    story.run_until(Half::Importer, "Acking");
    let start = story.cluster.at(I).journal().find_map(|entry| match entry {
        Entry::ImportStart(start) if start.id == id => Some(start.bounds[&base].clone()),
        _ => None,
    });
    assert_eq!(start, Some(mine), "or what comes later would contradict it");
    story.rest();
    story.assert_owner(I);
}

/// Its name is another by now, of which the client has not heard (simulator, `links_are_cut_during_moves`
/// 80): the exporter's count is the one that holds.
#[test]
fn what_clients_claim_of_a_region_that_is_about_to_come_is_not_counted() {
    cov_mark::check!(the_exporter_counts_pins);
    let mut story = Story::importer_at("Prepped");
    let gone = Ino(0x777);
    let target = in_entry(gone, story.dir, "older");
    let importer = story.cluster.at(I);
    importer.say(A, conn(A, 9), ToMds::Open { client: A, oldest: RequestId(0) });
    importer.say(
        A,
        conn(A, 9),
        ToMds::Claim { pins: vec![PinClaim::new(target, PinnedBy::Answered(RequestId(1)))] },
    );
    importer.say(A, conn(A, 9), ToMds::ClaimsDone);
    importer.say(A, conn(A, 9), ToMds::ReplayDone);
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    assert!(!story.cluster.at(I).mds.holdings().pins.is_pinned(gone));
}

/// Its session with the exporter had ended when somebody gave the file another name, and nobody could tell it;
/// with the importer it has had one all along (simulator, `mounts_work_alone` 90003030).
#[test]
fn what_was_not_told_where_a_region_was_is_not_held_where_it_is() {
    const C: ClientId = ClientId(77);
    let mut story = Story::before(Neighbor::Stranger);
    let dir = story.dir;
    story.cluster.at(I).connect(C, conn(C, 1));
    story.cluster.at(E).connect(C, conn(C, 1));
    let file = story.cluster.at(E).create(C, dir, "g");
    story.cluster.run();
    story.admin(E, AdminRequest::EvictSession { client: C });
    story.cluster.send(E, A, rename_op((dir, "g"), (dir, "h"), RenameMode::Replace));
    story.cluster.run();
    story.order();
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));

    let (target, latest) = (in_entry(file, dir, "g"), RequestId(1));
    let claims = vec![PinClaim::new(target.clone(), PinnedBy::Answered(latest))];
    let open = ToMds::Open { client: C, oldest: RequestId(0) };
    for msg in [open, ToMds::Claim { pins: claims }, ToMds::ClaimsDone, ToMds::ReplayDone] {
        story.cluster.at(I).say(C, conn(C, 3), msg);
        story.cluster.run();
    }
    let told = story.cluster.at(I).told(conn(C, 3));
    assert!(told.contains(&ToClient::NotHeld { target, latest }), "{told:?}");
    assert!(!story.cluster.at(I).mds.holdings().pins.is_pinned_by(file, C));
}

/// A third rank gave it away (simulator, `take_over` 930351): the region is a bound of that.
#[test]
fn what_encloses_a_region_that_does_not_come_after_all_came_meanwhile() {
    cov_mark::check!(what_encloses_the_region_came_meanwhile);
    let mut story = Story::importer_at("Prepped");
    let base = DirFragId::whole(story.dir);
    let importer = story.cluster.at(I).mds.holdings_for_test();
    let own = SubtreeClaim { auth: I, epoch: Epoch(7), parent: Some(Ino::ROOT) };
    importer.subtrees.restore(DirFragId::whole(D1), &own);
    story.cluster.kill(E);
    story.cluster.run();
    let known = story.cluster.at(I).mds.holdings().subtrees.get(base).cloned();
    let known = known.expect("it is a bound");
    assert_eq!((known.auth, known.freeze), (DirAuth::Sole(E), Freeze::Live));
}

/// The importer once had a part of the region itself, and gave it back to the exporter. It dies when its
/// end of the migration is on record and nothing later is.
#[test]
fn what_was_a_base_inside_the_region_is_none_after_a_restart() {
    cov_mark::check!(inner_bases_are_forgotten_for_good);
    let mut story = Story::before(Neighbor::Stranger);
    let inner = story.cluster.at(E).mkdir(A, story.dir, "u");
    story.cluster.run();
    story.give_from(E, inner, I);
    story.give_from(I, inner, E);
    story.order();
    story.run_until(Half::Importer, "Finishing");
    story.kill(I);
    story.revive(I);
    story.assert_owner(I);
    let own = story.cluster.at(I).mds.holdings();
    let base = DirFragId::whole(inner);
    assert_eq!(own.subtrees.get(base).map(|subtree| subtree.auth), None, "it lies in the region");
}

/// The bound moved to the importer while the exporter was away: the exporter names its last holder,
/// which knows nothing of it any more.
#[test]
fn a_bound_that_is_the_importers_by_a_newer_claim_is_not_looked_for() {
    let mut story = Story::before(Neighbor::BoundOwner);
    let bound = story.bound();
    let base = DirFragId::whole(bound);
    let stale = story.cluster.at(E).mds.holdings().subtrees.claims()[&base].clone();
    assert_eq!(stale.auth, B);
    story.give_from(B, bound, I);
    story.cluster.at(E).mds.holdings_for_test().subtrees.restore(base, &stale);
    story.order();
    story.rest();
    story.assert_owner(I);
    let own = story.cluster.at(I).mds.holdings();
    let auth = own.subtrees.get(base).map(|subtree| subtree.auth);
    assert!(
        matches!(auth, None | Some(DirAuth::Sole(I))),
        "it stays, or joins the region: {auth:?}"
    );
}

/// The importer dies in doubt, and what it was told of pins with that. A client that has a file open there
/// knows nothing of its session yet (simulator, `everything_goes_wrong` 10009 with an eviction).
#[test]
fn what_came_with_an_import_that_was_in_doubt_may_be_held_by_whoever_came_with_it() {
    const C: ClientId = ClientId(77);
    let mut story = Story::before(Neighbor::Stranger);
    let exporter = story.cluster.at(E);
    exporter.connect(C, conn(C, 1));
    let file = exporter.create(C, story.dir, "g");
    story.cluster.silent.insert(C);
    story.order();
    story.run_until(Half::Exporter, "LoggingExport");
    story.kill(I);
    story.revive(I);
    story.assert_owner(I);
    story.cluster.send(I, A, Op::Unlink { dir: story.dir, name: name("g") });
    story.cluster.run();
    assert!(story.cluster.at(I).mds.holdings().pins.is_pinned_by(file, C), "it may have it open");
}

/// The same of a directory that it holds exclusively: nobody sees it before the client has said so, or is gone.
#[test]
fn what_came_with_an_import_that_was_in_doubt_may_be_held_exclusively() {
    cov_mark::check!(who_has_not_claimed_may_hold_exclusively);
    const C: ClientId = ClientId(77);
    let mut story = Story::before(Neighbor::Stranger);
    let exporter = story.cluster.at(E);
    exporter.connect(C, conn(C, 1));
    let (dir, ino) = (story.dir, exporter.new_ino(C));
    let (mode, umask, exclusive) = (0o755, 0, true);
    let op = Op::Mkdir { dir, name: name("own"), ino, mode, umask, exclusive };
    assert!(matches!(story.cluster.ask(E, C, op), Outcome::Done(_)));
    story.cluster.silent.insert(C);
    story.order();
    story.run_until(Half::Exporter, "LoggingExport");
    story.kill(I);
    story.revive(I);
    let asked = story.cluster.send(I, A, Op::Lookup { dir: ino, name: name("f") }).id;
    story.cluster.run();
    assert_eq!(story.cluster.reply(I, A, asked), None, "it may hold it");
    let importer = story.cluster.at(I);
    importer.say(C, conn(C, 1), ToMds::Open { client: C, oldest: RequestId(0) });
    importer.make_durable();
    importer.say(C, conn(C, 1), ToMds::ClaimExclusive { dirs: vec![ino] });
    importer.say(C, conn(C, 1), ToMds::ClaimsDone);
    assert_eq!(importer.mds.holdings().capabilities.exclusives.holder(ino), Some(C));
    assert_eq!(story.cluster.reply(I, A, asked), None, "it holds it");
    story.cluster.at(I).ack_notices(C);
    assert!(story.cluster.reply(I, A, asked).is_some());
}
