//! The failure matrix: printed by the real code, compared with the snapshots and with what
//! `README.md` beside this file shows. `UPDATE_EXPECT=1` rewrites the snapshots.

use std::fmt::Write as _;

use expect_test::expect;

use super::fixture::{B, Half, Neighbor, Story};

const README: &str = include_str!("README.md");

const EXPORTER: [&str; 10] = [
    "Locking",
    "Discovering",
    "Copying",
    "Freezing",
    "Prepping",
    "Warning",
    "Exporting",
    "LoggingExport",
    "Notifying",
    "Cancelling",
];

const IMPORTER: [&str; 9] = [
    "Discovering",
    "Discovered",
    "Copying",
    "Prepping",
    "Prepped",
    "LoggingStart",
    "Acking",
    "Finishing",
    "Aborting",
];

#[derive(Clone, Copy)]
enum Dead {
    Other,
    Bystander,
    BoundOwner,
}

/// How that half stands right after somebody has died.
fn after_death(half: Half, state: &str, dead: Dead) -> String {
    let neighbor = match dead {
        Dead::BoundOwner => Neighbor::BoundOwner,
        // Without a bound that it must open the importer does not stay in it.
        _ if (half, state) == (Half::Importer, "Prepping") => Neighbor::BoundOwner,
        // Only a bystander that has not answered makes the exporter wait.
        Dead::Other | Dead::Bystander => Neighbor::Bystander,
    };
    let lonely = matches!(dead, Dead::BoundOwner) && ["Warning", "Cancelling"].contains(&state);
    if lonely || ((half, state) == (Half::Exporter, "Locking") && !matches!(dead, Dead::Other)) {
        return "–".to_owned();
    }
    let mut story = Story::at(half, state, neighbor);
    let rank = match (dead, half) {
        (Dead::Bystander | Dead::BoundOwner, _) => B,
        (Dead::Other, Half::Exporter) => story.importer,
        (Dead::Other, Half::Importer) => story.exporter,
    };
    if (half, state) == (Half::Importer, "Aborting") && matches!(dead, Dead::Other) {
        story.cluster.revive(rank);
    }
    story.kill(rank);
    story.view(half)
}

fn table(half: Half, states: &[&str], columns: &[(&str, Dead)]) -> String {
    let mut table = format!("| {half:?} in |");
    for (title, _) in columns {
        write!(table, " {title} |").unwrap();
    }
    table.push_str("\n|---|");
    table.push_str(&"---|".repeat(columns.len()));
    table.push('\n');
    for state in states {
        write!(table, "| {state} |").unwrap();
        for (_, dead) in columns {
            write!(table, " {} |", after_death(half, state, *dead)).unwrap();
        }
        table.push('\n');
    }
    table
}

#[track_caller]
fn assert_shown(table: &str) {
    assert!(README.contains(table), "migration/README.md shows another matrix than\n{table}");
}

#[test]
fn the_exporters_failure_matrix() {
    let columns = [
        ("the importer dies", Dead::Other),
        ("a bystander dies", Dead::Bystander),
        ("a bound's owner dies", Dead::BoundOwner),
    ];
    let table = table(Half::Exporter, &EXPORTER, &columns);
    expect![[r#"
        | Exporter in | the importer dies | a bystander dies | a bound's owner dies |
        |---|---|---|---|
        | Locking | Over: E live | – | – |
        | Discovering | Over: E live | Discovering: E live | Discovering: E live |
        | Copying | Over: E live | Copying: E live | Copying: E live |
        | Freezing | Over: E live | Freezing: E freezing | Cancelling: E live |
        | Prepping | Over: E live | Prepping: E,E read-only | Cancelling: E live |
        | Warning | Cancelling: E live | Exporting: E,I sealed | – |
        | Exporting | Cancelling: E live | Exporting: E,I sealed | Exporting: E,I sealed |
        | LoggingExport | LoggingExport: I,E frozen | LoggingExport: I,E frozen | LoggingExport: I,E frozen |
        | Notifying | Notifying: I live | Notifying: I live | Notifying: I live |
        | Cancelling | Cancelling: E live | Cancelling: E live | – |
    "#]].assert_eq(&table);
    assert_shown(&table);
}

#[test]
fn the_importers_failure_matrix() {
    let columns = [("the exporter dies", Dead::Other), ("a bystander dies", Dead::Bystander)];
    let table = table(Half::Importer, &IMPORTER, &columns);
    expect![[r#"
        | Importer in | the exporter dies | a bystander dies |
        |---|---|---|
        | Discovering | Over: nothing | Discovering: nothing |
        | Discovered | Over: nothing | Discovered: nothing |
        | Copying | Over: nothing | Copying: nothing |
        | Prepping | Over: nothing | Prepping: nothing |
        | Prepped | Aborting: E,I frozen | Prepped: E,I frozen |
        | LoggingStart | Aborting: I,E frozen | LoggingStart: I,E frozen |
        | Acking | Acking: I,E frozen | Acking: I,E frozen |
        | Finishing | Finishing: I live | Finishing: I live |
        | Aborting | Aborting: E,I frozen | Over: nothing |
    "#]]
    .assert_eq(&table);
    assert_shown(&table);
}
