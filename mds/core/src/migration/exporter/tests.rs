//! The exporter, in each of its states: deaths, deadlines, cancelling, and messages out of order.

use common::file_lock::{ByteRange, LockKind, LockOwner};
use common::id::DirFragId;
use common::migration::{EndReason, MigrationOutcome};
use common::wire::admin::{AdminError, AdminReply};
use common::wire::reply::Outcome;
use common::wire::request::{OnConflict, Op, RenameMode, SetLock};

use crate::check::Broken;
use crate::cluster_fixture::D1;
use crate::fixture::{A, in_entry, name, rename_op};
use crate::message::migration::Step;
use crate::migration::fixture::{B, E, Half, I, IN_DOUBT, Neighbor, Story};
use crate::row::{Key, Row};
use crate::subtree::{DirAuth, Freeze};

/// What it would pin would not travel: the file could be deleted while it is held.
#[test]
fn nothing_is_pinned_after_the_last_delta() {
    let look_up = |story: &mut Story| {
        let op = Op::Lookup { dir: story.dir, name: name("f") };
        let id = story.cluster.send(E, A, op).id;
        (id, story.cluster.reply(E, A, id))
    };
    let mut story = Story::exporter_at("Warning");
    assert!(matches!(look_up(&mut story).1, Some(Outcome::Done(_))));
    let mut story = Story::exporter_at("Exporting");
    let (id, answer) = look_up(&mut story);
    assert_eq!(answer, None);
    let listing = Op::Readdir { dir: story.dir, cookie: 0, entries_max: 10 };
    let id_of_listing = story.cluster.send(E, A, listing).id;
    assert!(matches!(story.cluster.reply(E, A, id_of_listing), Some(Outcome::Done(_))));
    story.rest();
    assert!(matches!(story.cluster.reply(E, A, id), Some(Outcome::Redirect(_))));
}

/// A rename has brought it there. Otherwise the importer of the region would look in vain for what is frozen
/// as well (simulator, a story of the mutants).
#[test]
fn a_region_with_a_bound_that_is_leaving_waits_for_it() {
    cov_mark::check!(what_is_in_the_region_leaves_first);
    let mut story = Story::before(Neighbor::Stranger);
    let outer = story.dir;
    let middle = story.cluster.at(E).mkdir(A, D1, "middle");
    let inner = story.cluster.at(E).mkdir(A, middle, "inner");
    let file = story.cluster.at(E).create(A, inner, "g");
    (story.dir, story.importer) = (inner, B);
    story.auth_pin();
    story.order();
    let of_inner = story.id;
    story.cluster.run();
    (story.dir, story.importer) = (outer, I);
    story.order();
    let of_outer = story.id;
    let op = rename_op((D1, "middle"), (outer, "middle"), RenameMode::Replace);
    let outcome = story.cluster.ask(E, A, op);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    assert_eq!(story.exporter(), "Freezing");

    (story.dir, story.id) = (inner, of_inner);
    story.auth_unpin();
    story.cluster.run();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    (story.dir, story.id) = (outer, of_outer);
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    story.rest();
    story.assert_owner(I);
    assert_eq!(story.cluster.lookup(B, inner, "g"), Some((file, 1)));
}

/// What it ends at has been said. It would be forgotten that the bound is in doubt.
#[test]
fn a_bound_of_a_region_that_is_leaving_waits_for_that() {
    cov_mark::check!(what_is_around_the_region_leaves_first);
    let mut story = Story::before(Neighbor::Stranger);
    let outer = story.dir;
    let middle = story.cluster.at(E).mkdir(A, D1, "middle");
    let inner = story.cluster.at(E).mkdir(A, middle, "inner");
    let file = story.cluster.at(E).create(A, inner, "g");
    story.order();
    let of_outer = story.id;
    (story.dir, story.importer) = (inner, B);
    story.order();
    story.cluster.unsynced.insert(E);
    let op = rename_op((D1, "middle"), (outer, "middle"), RenameMode::Replace);
    story.cluster.send(E, A, op);
    story.cluster.run();
    assert_eq!(story.exporter(), "Copying");

    story.cluster.unsynced.clear();
    while story.cluster.step() {
        story.cluster.assert_sound();
    }
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    (story.dir, story.id) = (outer, of_outer);
    story.importer = I;
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    story.rest();
    story.assert_owner(I);
    assert_eq!(story.cluster.lookup(B, inner, "g"), Some((file, 1)));
}

const NOT_MOVED: DirAuth = DirAuth::Sole(E);

/// The importer dies where all can be undone: it never was.
#[track_caller]
fn importer_dies_and_it_never_was(state: &str) {
    let mut story = Story::exporter_at(state);
    let exporter = story.exporter;
    story.kill(I);

    assert_eq!(story.view(Half::Exporter), "Over: E live");
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::ImporterDied)));
    assert_eq!(story.steps_to(B), [], "nobody else has heard of it");
    story.rest();
    story.assert_owner(exporter);
    story.revive(I);
    story.assert_owner(exporter);
}

/// The importer dies while bystanders believe that authority is in doubt.
#[track_caller]
fn importer_dies_and_it_is_taken_back(state: &str) {
    let mut story = Story::exporter_at(state);
    let epoch = story.subtree(E).unwrap().epoch;
    story.kill(I);

    assert_eq!(story.view(Half::Exporter), "Cancelling: E live");
    let notices = story.steps_to(B);
    assert!(
        matches!(notices.last(), Some(Step::Notify { auth: NOT_MOVED, .. })),
        "from {epoch:?}: {notices:?}"
    );
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::ImporterDied)));
    story.assert_owner(E);
    story.revive(I);
    story.assert_owner(E);
}

/// The importer dies when `Export` may be durable: it is the authority when it comes back.
#[track_caller]
fn importer_dies_and_it_stands(state: &str, view: &str) {
    let mut story = Story::exporter_at(state);
    story.kill(I);
    assert_eq!(story.view(Half::Exporter), view);
    story.rest();
    assert_eq!(story.view(Half::Exporter), "Notifying: I live", "until it says `Finished`");
    story.revive(I);
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    story.assert_owner(I);
}

#[test]
fn importer_dies_in_locking() {
    cov_mark::check!(importer_dies_in_locking);
    importer_dies_and_it_never_was("Locking");
}

#[test]
fn importer_dies_in_discovering() {
    cov_mark::check!(importer_dies_in_discovering);
    importer_dies_and_it_never_was("Discovering");
}

#[test]
fn importer_dies_in_copying() {
    cov_mark::check!(importer_dies_in_copying);
    importer_dies_and_it_never_was("Copying");
}

#[test]
fn importer_dies_in_freezing() {
    cov_mark::check!(importer_dies_in_freezing);
    let mut story = Story::exporter_at("Freezing");
    story.kill(I);
    assert_eq!(story.view(Half::Exporter), "Over: E live");
    story.auth_unpin();
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::ImporterDied)));
    story.assert_owner(E);
}

#[test]
fn importer_dies_in_prepping() {
    cov_mark::check!(importer_dies_in_prepping);
    importer_dies_and_it_never_was("Prepping");
}

#[test]
fn importer_dies_in_warning() {
    cov_mark::check!(importer_dies_in_warning);
    importer_dies_and_it_is_taken_back("Warning");
}

#[test]
fn importer_dies_in_exporting() {
    cov_mark::check!(importer_dies_in_exporting);
    importer_dies_and_it_is_taken_back("Exporting");
}

#[test]
fn importer_dies_in_logging_export() {
    cov_mark::check!(importer_dies_in_logging_export);
    importer_dies_and_it_stands("LoggingExport", "LoggingExport: I,E frozen");
}

#[test]
fn importer_dies_in_notifying() {
    cov_mark::check!(importer_dies_in_notifying);
    importer_dies_and_it_stands("Notifying", "Notifying: I live");
}

/// Its journal says that it is done, so it does not ask; it says so again, or the exporter would not hear
/// of it before it is time to send `Serve` once more.
#[test]
fn importer_returns_and_had_finished() {
    cov_mark::check!(importer_returns_and_has_finished);
    let mut story = Story::exporter_at("Notifying");
    story.run_until(Half::Importer, "Finishing");
    story.kill(I);
    story.cluster.revive(I);
    story.cluster.run();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved), "no deadline has passed");
    story.rest();
    story.assert_owner(I);
}

/// The list of it counts only while the journal says that it was given away.
#[test]
fn what_was_given_away_is_deleted_though_the_exporter_dies_twice_before() {
    let mut story = Story::exporter_at("Notifying");
    story.cluster.run();
    let row = Key::Dir(DirFragId::whole(story.dir));
    for _ in 0..2 {
        story.kill(E);
        story.cluster.revive(E);
        story.cluster.run();
        assert!(story.cluster.at(E).row(&row).is_some(), "the clock of the sweep stands still");
    }
    story.rest();
    assert_eq!(story.cluster.at(E).row(&row), None);
    story.assert_owner(I);
}

#[test]
fn importer_dies_in_cancelling() {
    cov_mark::check!(importer_dies_in_cancelling);
    let mut story = Story::exporter_at("Cancelling");
    story.kill(I);
    assert_eq!(story.view(Half::Exporter), "Cancelling: E live", "the bystander has not acked");
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::Operator)));
    story.assert_owner(E);
    story.revive(I);
    story.assert_owner(E);
}

#[test]
fn bystander_dies_in_prepping() {
    cov_mark::check!(bystander_dies_in_prepping);
    let mut story = Story::exporter_at("Prepping");
    story.kill(B);
    assert_eq!(story.view(Half::Exporter), "Prepping: E,E read-only");
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved), "nobody waits for it");
    story.assert_owner(I);
}

#[test]
fn bystander_dies_in_warning() {
    cov_mark::check!(bystander_dies_in_warning);
    let mut story = Story::exporter_at("Warning");
    story.kill(B);
    assert_eq!(story.view(Half::Exporter), "Exporting: E,I sealed", "it counts as warned");
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    story.assert_owner(I);
}

#[test]
fn bystander_dies_in_notifying() {
    cov_mark::check!(bystander_dies_in_notifying);
    let mut story = Story::exporter_at("Notifying");
    story.kill(B);
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    story.assert_owner(I);
}

#[test]
fn bystander_dies_in_cancelling() {
    cov_mark::check!(bystander_dies_in_cancelling);
    let mut story = Story::exporter_at("Cancelling");
    story.kill(B);
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::Operator)));
    story.assert_owner(E);
}

#[track_caller]
fn bound_owner_dies_and_it_is_undone(state: &str) -> Story {
    let mut story = Story::at(Half::Exporter, state, Neighbor::BoundOwner);
    story.kill(B);
    assert_eq!(story.view(Half::Exporter), "Cancelling: E live");
    assert!(matches!(story.steps_to(I).last(), Some(Step::Cancel)), "the importer is told");
    story
}

#[test]
fn bound_owner_dies_in_freezing() {
    cov_mark::check!(bound_owner_dies_in_freezing);
    let mut story = bound_owner_dies_and_it_is_undone("Freezing");
    story.auth_unpin();
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::BoundOwnerDied)));
    story.assert_owner(E);
}

#[test]
fn bound_owner_dies_in_prepping() {
    cov_mark::check!(bound_owner_dies_in_prepping);
    let mut story = bound_owner_dies_and_it_is_undone("Prepping");
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::BoundOwnerDied)));
    story.assert_owner(E);
}

/// The acknowledgement of the warning arrives after the export was undone. It must not pass for that
/// of the second notice, or the migration is over while a bystander is still in doubt.
#[test]
fn late_ack_of_warning_does_not_end_cancelling() {
    let mut story = Story::exporter_at("Warning");
    story.kill(I);
    assert_eq!(story.exporter(), "Cancelling");
    story.tell(B, E, Step::NotifyAck { auth: IN_DOUBT });
    assert_eq!(story.exporter(), "Cancelling");
    story.tell(B, E, Step::NotifyAck { auth: NOT_MOVED });
    assert_eq!(story.exporter(), "Over");
}

/// States that can be undone, in order.
const UNDOABLE: [(&str, EndReason); 7] = [
    ("Locking", EndReason::LockingTimedOut),
    ("Discovering", EndReason::DiscoveringTimedOut),
    ("Copying", EndReason::CopyingTimedOut),
    ("Freezing", EndReason::FreezingTimedOut),
    ("Prepping", EndReason::PreppingTimedOut),
    ("Warning", EndReason::WarningTimedOut),
    ("Exporting", EndReason::ExportingTimedOut),
];

#[test]
fn the_deadline_of_each_state_ends_it() {
    for (state, reason) in UNDOABLE {
        let mut story = Story::exporter_at(state);
        let exporter = story.exporter;
        story.deadline(Half::Exporter);
        if state == "Warning" {
            assert_eq!(story.exporter(), "Warning", "half of it: the warning is sent again");
            story.deadline(Half::Exporter);
        }
        if state == "Freezing" {
            story.auth_unpin();
        }
        story.rest();
        assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(reason)), "{state}");
        story.assert_owner(exporter);
    }
}

/// What must come to its end is said again, as often as it takes.
#[test]
fn notifying_and_cancelling_send_again_and_are_never_undone() {
    for (state, told) in [("Notifying", Step::Serve), ("Cancelling", Step::Cancel)] {
        let mut story = Story::exporter_at(state);
        let before = story.steps_to(B).len();
        for time in 1..4 {
            story.deadline(Half::Exporter);
            assert_eq!(story.exporter(), state);
            assert_eq!(story.steps_to(B).len(), before + time);
            assert_eq!(story.steps_to(I).last(), Some(&told));
        }
    }
}

#[test]
fn each_acknowledged_message_of_the_copy_gives_it_time_again() {
    let mut story = Story::exporter_at("Copying");
    story.tell(I, E, Step::RowsAck { number: 99 });
    assert_eq!(story.exporter(), "Copying");
    story.deadline(Half::Exporter);
    assert_eq!(story.exporter(), "Cancelling");
}

#[test]
fn cancelled_in_each_state_it_never_was() {
    for (state, _) in UNDOABLE {
        let mut story = Story::exporter_at(state);
        let exporter = story.exporter;
        assert_eq!(story.cancel(), AdminReply::Cancelling, "{state}");
        assert!(story.view(Half::Exporter).ends_with(": E live"), "{state}: thawed at once");
        if state == "Freezing" {
            story.auth_unpin();
        }
        story.rest();
        let operator = MigrationOutcome::Cancelled(EndReason::Operator);
        assert_eq!(story.outcome(), Some(operator), "{state}");
        story.assert_owner(exporter);
    }
}

#[test]
fn cancelling_is_refused_after_the_commit() {
    for state in ["LoggingExport", "Notifying"] {
        let mut story = Story::exporter_at(state);
        assert_eq!(story.cancel(), AdminReply::Refused(AdminError::PastCommit), "{state}");
        story.rest();
        assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
        story.assert_owner(I);
    }
}

#[test]
fn a_nack_ends_it() {
    let mut story = Story::exporter_at("Discovering");
    story.tell(I, E, Step::Nack { reason: EndReason::ImporterBusy });
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::ImporterBusy)));
    assert_eq!(story.view(Half::Exporter), "Over: E live");
}

/// From somebody who is not the importer, of another migration, or of a state that is not this.
#[test]
fn what_does_not_fit_changes_nothing() {
    let acks = [
        Step::DiscoverAck,
        Step::RowsAck { number: 99 },
        Step::PrepAck,
        Step::ExportAck,
        Step::Finished,
        Step::CancelAck,
        Step::NotifyAck { auth: IN_DOUBT },
    ];
    for (state, _) in UNDOABLE {
        for ack in &acks {
            let mut story = Story::exporter_at(state);
            let (exporter, before) = (story.exporter, story.view(Half::Exporter));
            let stranger = if exporter == B { E } else { B };
            if !matches!(ack, Step::NotifyAck { .. }) {
                story.tell(stranger, exporter, ack.clone());
                assert_eq!(story.view(Half::Exporter), before, "{ack:?} of a stranger");
            }
            story.id.number += 1;
            story.tell(I, exporter, ack.clone());
            story.id.number -= 1;
            assert_eq!(story.view(Half::Exporter), before, "{ack:?} of another migration");
        }
    }
}

/// What the matrix of `migration/README.md` says of a whole life: nothing stands in its way.
#[test]
fn a_migration_that_nobody_disturbs() {
    let mut story = Story::before(Neighbor::Bystander);
    story.order();
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Moved));
    story.assert_owner(I);
    let record = story.record();
    let states: Vec<&str> = record.phases.iter().map(|phase| phase.state.as_str()).collect();
    assert_eq!(
        states,
        [
            "Locking",
            "Discovering",
            "Copying",
            "Prepping",
            "Warning",
            "Exporting",
            "LoggingExport",
            "Notifying"
        ]
    );
}

/// After a loss of power the next life would claim something else by the same epoch.
#[test]
fn nobody_is_told_of_an_epoch_that_is_not_durable() {
    let mut story = Story::before(Neighbor::Bystander);
    story.cluster.unsynced.insert(E);
    story.order();
    story.cluster.run();
    assert_eq!(story.view(Half::Exporter), "Copying: E live", "it serves on while it waits");
    assert_eq!(story.steps_to(B), []);
    story.cluster.unsynced.clear();
    story.rest();
    let epoch = story.subtree(I).unwrap().epoch;
    story.assert_owner(I);
    assert_eq!(story.cluster.at(E).row(&Key::Clock), Some(&Row::Clock(epoch)));
}

/// The region's base got another name in the same directory, by an operation of two ranks; whoever compares the
/// two claims must believe the importer (simulator, `links_are_cut_during_moves` 75000661).
#[test]
fn the_importers_claim_is_higher_than_what_a_rename_has_claimed_meanwhile() {
    cov_mark::check!(a_rename_has_claimed_what_is_being_given_away);
    let mut story = Story::exporter_at("Discovering");
    let base = DirFragId::whole(story.dir);
    let subtrees = &mut story.cluster.at(E).mds.holdings_for_test().subtrees;
    let renamed = subtrees.stamp();
    subtrees.get_mut(base).expect("it is a base").epoch = renamed;
    story.rest();
    story.assert_owner(I);
    assert!(story.subtree(I).is_some_and(|subtree| subtree.epoch > renamed));
}

/// A map of subtrees that is written in the middle of it does not make the region somebody else's.
#[test]
fn exporter_returns_with_a_map_that_was_written_while_in_doubt() {
    for (state, owner) in
        [("Prepping", E), ("Warning", E), ("Exporting", E), ("LoggingExport", I), ("Notifying", I)]
    {
        let mut story = Story::exporter_at(state);
        story.cluster.at(E).checkpoint();
        story.kill(E);
        story.rest();
        story.revive(E);
        story.assert_owner(owner);
    }
}

#[test]
fn operators_are_told_how_it_ends_once_it_has() {
    let mut story = Story::exporter_at("Copying");
    story.ask_for_end();
    assert_eq!(story.told_end(), None, "it is under way");
    story.rest();
    let Some(AdminReply::MigrationOver(record)) = story.told_end() else {
        panic!("the operator was not told")
    };
    assert_eq!(record.outcome, Some(MigrationOutcome::Moved));

    story.ask_for_end();
    assert!(matches!(story.told_end(), Some(AdminReply::MigrationOver(_))), "long over");
    story.id.number += 1;
    story.ask_for_end();
    let refusal = AdminReply::Refused(AdminError::NoSuchMigration);
    assert_eq!(story.told_end(), Some(refusal), "nobody knows it");
}

/// What was given away is deleted in the end, however often the rank dies before it gets to that.
#[test]
fn exporter_dies_twice_before_it_has_swept() {
    let mut story = Story::before(Neighbor::Bystander);
    story.order();
    story.cluster.run();
    assert_eq!(story.exporter(), "Over");
    for _ in 0..2 {
        story.cluster.kill(E);
        story.cluster.revive(E);
        story.cluster.run();
    }
    let dir = story.dir;
    assert_eq!(story.cluster.at(E).entries(dir).len(), 2, "it had no time for that");
    story.rest();
    assert_eq!(story.cluster.at(E).entries(dir), []);
    story.assert_owner(I);
}

/// The importer has made the old path known to itself.
#[test]
fn a_base_that_is_renamed_to_another_directory_meanwhile_stays() {
    let mut story = Story::before(Neighbor::Stranger);
    let other = story.cluster.at(E).mkdir(A, D1, "other");
    story.order();
    story.run_until(Half::Exporter, "Copying");
    let op = rename_op((D1, "a"), (other, "a"), RenameMode::Replace);
    let outcome = story.cluster.ask(E, A, op);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    story.rest();
    assert_eq!(story.outcome(), Some(MigrationOutcome::Cancelled(EndReason::Changed)));
    story.assert_owner(E);
}

/// Or it would not be a bound of what encloses it, when that moves (simulator, everything_goes_wrong 351).
#[test]
fn what_was_given_away_before_a_restart_is_in_its_place() {
    let mut story = Story::exporter_at("Notifying");
    story.kill(E);
    story.revive(E);
    let given = story.cluster.ranks[&E].mds.holdings();
    let given = given.subtrees.get(DirFragId::whole(story.dir)).cloned();
    assert_eq!(given.map(|it| (it.auth, it.parent)), Some((DirAuth::Sole(I), Some(D1))));
}

#[test]
fn a_base_that_somebody_else_changes_is_noticed() {
    let mut story = Story::exporter_at("Exporting");
    let base = DirFragId::whole(story.dir);
    story.cluster.at(E).mds.freeze_for_test(base, Freeze::Frozen);
    let broken = story.cluster.ranks[&E].mds.check();
    assert!(matches!(broken, Err(Broken::Migration { .. })), "{broken:?}");
}

/// A directory of the region was to be exported before, which was cancelled. What is on record of it must
/// not outlive that the region above goes.
#[test]
fn what_was_a_base_inside_the_region_is_none_at_the_exporter_after_a_restart() {
    let mut story = Story::before(Neighbor::Stranger);
    let (region, inner) = (story.dir, story.cluster.at(E).mkdir(A, story.dir, "u"));
    story.dir = inner;
    story.order();
    story.cluster.at(E).checkpoint();
    assert_eq!(story.cancel(), AdminReply::Cancelling);
    story.rest();
    story.dir = region;
    story.order();
    story.run_until(Half::Exporter, "Notifying");
    story.kill(E);
    story.revive(E);
    let known = &story.cluster.at(E).mds.holdings().subtrees;
    assert_eq!(known.get(DirFragId::whole(inner)).map(|it| it.auth), None, "it lies in the region");
    story.rest();
    story.assert_owner(I);
}

/// What was thawed unlocks what somebody waits for (simulator, `the_balancer_moves` 1795933106912073).
#[test]
fn whoever_waits_for_a_lock_has_it_when_it_is_unlocked_by_what_was_thawed() {
    let mut story = Story::before(Neighbor::Bystander);
    let ino = story.cluster.lookup(E, story.dir, "f").expect("it is there").0;
    let ask = |story: &mut Story, owner: u64, kind| {
        let (range, on_conflict) = (ByteRange::WHOLE, OnConflict::Wait);
        let set = SetLock { owner: LockOwner(owner), pid: 1, range, kind, on_conflict };
        let target = in_entry(ino, story.dir, "f");
        story.cluster.send(E, A, Op::SetLock { target, set, unanswered: [].into() }).id
    };
    let first = ask(&mut story, 1, Some(LockKind::Write));
    assert!(story.cluster.reply(E, A, first).is_some());
    let waits = ask(&mut story, 2, Some(LockKind::Write));
    story.order();
    story.run_until(Half::Exporter, "Exporting");
    let unlocks = ask(&mut story, 1, None);
    assert_eq!(story.cluster.reply(E, A, unlocks), None, "it is frozen");
    assert_eq!(story.cancel(), AdminReply::Cancelling);
    assert!(story.cluster.reply(E, A, unlocks).is_some());
    assert!(story.cluster.reply(E, A, waits).is_some());
}
