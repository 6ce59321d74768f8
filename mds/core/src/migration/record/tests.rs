//! What operators can read of a migration, also after the exporter has died.

use common::migration::{EndReason, MigrationOutcome, MigrationRecord};
use common::wire::request::{Op, Target, XattrName, XattrSet, XattrValue};

use crate::fixture::A;
use crate::input::Input;
use crate::journal::entry::{Entry, Role};
use crate::migration::fixture::{E, Half, I, Neighbor, Story};
use crate::timer::Timer;

fn records(story: &Story) -> Vec<MigrationRecord> {
    story.cluster.ranks[&E].mds.migrator_for_test().records()
}

fn restart(story: &mut Story) {
    story.kill(E);
    story.revive(E);
}

#[test]
fn a_record_survives_restarts_with_all_its_figures() {
    let mut story = Story::before(Neighbor::Bystander);
    story.order();
    story.rest();
    let before = story.record();
    assert_eq!(before.outcome, Some(MigrationOutcome::Moved));
    assert!(before.rows_copied_live > 0 && before.phases.len() > 5, "{before:?}");
    for _ in 0..2 {
        restart(&mut story);
        assert_eq!(records(&story).as_slice(), std::slice::from_ref(&before));
    }
}

#[test]
fn what_was_under_way_and_not_decided_is_over_after_a_restart() {
    for state in ["Copying", "Freezing", "Warning", "Exporting"] {
        let mut story = Story::at(Half::Exporter, state, Neighbor::Bystander);
        let under_way = story.record();
        for _ in 0..2 {
            restart(&mut story);
            let record = story.record();
            let outcome = MigrationOutcome::Cancelled(EndReason::Restarted);
            assert_eq!((record.outcome, record.path), (Some(outcome), under_way.path.clone()));
            assert_eq!(record.rows_copied_live, under_way.rows_copied_live);
        }
    }
}

/// The second restart finds neither `Export` nor the release any more.
#[test]
fn what_was_decided_stands_after_every_restart() {
    let mut story = Story::exporter_at("Notifying");
    for _ in 0..3 {
        restart(&mut story);
        assert_eq!(story.record().outcome, Some(MigrationOutcome::Moved));
        story.cluster.at(E).checkpoint();
        story.rest();
    }
    let facts = story.cluster.at(E).journal();
    assert!(facts.into_iter().all(|fact| !matches!(fact, Entry::Export { .. })), "trimmed");
}

#[test]
fn one_transition_of_each_half_is_kept() {
    let mut story = Story::before(Neighbor::Bystander);
    story.order();
    story.rest();
    for (rank, role) in [(E, Role::Exporter), (I, Role::Importer)] {
        let steps: Vec<String> = story
            .cluster
            .at(rank)
            .journal()
            .filter_map(|fact| match fact {
                Entry::Step(step) if step.role == role => Some(step.to.clone()),
                _ => None,
            })
            .collect();
        assert_eq!(steps, ["Over"]);
    }
}

#[test]
fn a_pin_that_cannot_be_followed_leaves_one_record() {
    let mut story = Story::before(Neighbor::Stranger);
    story.kill(I);
    let pin = Op::SetXattr {
        target: Target::dir(story.dir),
        name: XattrName(b"grove.dir.pin".as_slice().into()),
        value: XattrValue(b"2".as_slice().into()),
        mode: XattrSet::Any,
    };
    story.cluster.ask(E, A, pin);
    for _ in 0..3 {
        story.cluster.at(E).input(Input::Timer(Timer::Pins));
    }
    let outcomes: Vec<_> = records(&story).into_iter().map(|record| record.outcome).collect();
    let refused = MigrationOutcome::Cancelled(EndReason::ImporterNotActive);
    assert_eq!(outcomes, [Some(refused)]);
}
