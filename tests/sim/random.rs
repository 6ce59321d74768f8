//! Random workloads under random misfortune, by seed.

use common::id::Rank;
use tests::sim::random::{Seeds, run};
use tests::sim::world::Settings;

/// One rank, one to three clients, and nothing goes wrong.
fn peace(seed: u64) -> Settings {
    Settings { clients: 1 + usize::try_from(seed % 3).expect("below 3"), ..Settings::peace() }
}

#[test]
fn one_rank_at_peace() {
    run("one_rank_at_peace", Seeds::from_environment(1000), peace);
}

#[test]
fn connections_break() {
    run("connections_break", Seeds::from_environment(3000), |seed| Settings {
        breaks: 4,
        ..peace(seed)
    });
}

#[test]
fn one_rank_loses_power() {
    run("one_rank_loses_power", Seeds::from_environment(4000), |seed| Settings {
        deaths: 2,
        breaks: 2,
        ..peace(seed)
    });
}

/// Two or three ranks, clients that stay within one directory tree, moves by an operator.
fn moves(seed: u64) -> Settings {
    Settings {
        ranks: 2 + u16::try_from(seed % 2).expect("below 2"),
        clients: 1 + usize::try_from(seed / 2 % 3).expect("below 3"),
        exports: 6,
        pins: 2,
        ..peace(seed)
    }
}

#[test]
fn subtrees_move() {
    run("subtrees_move", Seeds::from_environment(4000), moves);
}

#[test]
fn ranks_lose_power_between_moves() {
    run("ranks_lose_power_between_moves", Seeds::from_environment(4000), |seed| Settings {
        deaths: 2,
        breaks: 2,
        ..moves(seed)
    });
}

/// Links are cut, ranks stop for a while, maps come late, clocks jump, disks are slow; nobody dies.
#[test]
fn links_are_cut_during_moves() {
    run("links_are_cut_during_moves", Seeds::from_environment(4000), |seed| Settings {
        breaks: 2,
        cuts: 4,
        pauses: 2,
        slow_syncs: 2,
        clock_steps: 2,
        late_maps: 20,
        exports: 10,
        ..moves(seed)
    });
}

#[test]
fn ranks_die_during_moves() {
    run("ranks_die_during_moves", Seeds::from_environment(4000), |seed| Settings {
        hard_deaths: 2,
        deaths_at_points: 2,
        late_maps: 20,
        exports: 10,
        ..moves(seed)
    });
}

#[test]
fn everything_goes_wrong() {
    run("everything_goes_wrong", Seeds::from_environment(4000), |seed| Settings {
        hard_deaths: 2,
        deaths_at_points: 2,
        breaks: 2,
        cuts: 3,
        pauses: 1,
        slow_syncs: 1,
        clock_steps: 1,
        client_deaths: u32::try_from(seed / 6 % 3).expect("below 3"),
        evictions: u32::from(seed % 2 == 1),
        late_maps: 20,
        exports: 10,
        ..moves(seed)
    });
}

/// Clients die in the middle of what they do, and nobody else waits longer than their sessions last.
#[test]
fn clients_die() {
    let happened = run("clients_die", Seeds::from_environment(2000), |seed| Settings {
        client_deaths: 3,
        evictions: 1,
        client_cuts: u32::try_from(seed % 2).expect("below 2"),
        breaks: 1,
        leases_waited_max: Some(2),
        exports: 8,
        ..moves(seed)
    });
    assert_happened(&[
        ("a death of a client", happened.client_deaths),
        ("an end of a session", happened.sessions_ended),
    ]);
}

/// Clients die, and so do ranks.
#[test]
fn clients_and_ranks_die() {
    let happened = run("clients_and_ranks_die", Seeds::from_environment(2000), |seed| Settings {
        client_deaths: 2,
        evictions: u32::try_from(seed % 2).expect("below 2"),
        client_cuts: u32::try_from(seed / 2 % 2).expect("below 2"),
        hard_deaths: 2,
        deaths_at_points: 1,
        breaks: 1,
        late_maps: 20,
        exports: 8,
        ..moves(seed)
    });
    assert_happened(&[("a death of a client", happened.client_deaths)]);
}

/// Rank 0 moves what is busy by itself, operators move and cancel besides, and ranks die.
#[test]
fn the_balancer_moves() {
    let happened = run("the_balancer_moves", Seeds::from_environment(2000), |seed| Settings {
        balancer: Some(10),
        exports: 3,
        hard_deaths: u32::try_from(seed % 3).expect("below 3"),
        client_deaths: u32::try_from(seed / 2 % 2).expect("below 2"),
        late_maps: 10,
        ..moves(seed)
    });
    assert_happened(&[
        ("a move by the balancer", happened.balancer_moves),
        ("the cancelling of such a move", happened.balancer_cancels),
    ]);
}

/// What a story is about must happen in it, unless only few seeds are asked for.
#[track_caller]
fn assert_happened(wanted: &[(&str, u64)]) {
    let few = Seeds::from_environment(1000).count < 1000;
    for (what, count) in wanted {
        assert!(few || *count > 0, "{what} never happened");
    }
}

/// Ranks die or stop for longer than the monitor waits; a daemon on the same machine kills what is left
/// of them and takes their place, and sometimes dies itself.
#[test]
fn take_over() {
    let happened = run("take_over", Seeds::from_environment(4000), |seed| Settings {
        standbys: 1 + u16::try_from(seed % 2).expect("below 2"),
        standby_deaths: 2,
        long_pauses: 2,
        hard_deaths: 1,
        breaks: 2,
        late_maps: 20,
        exports: 8,
        ..moves(seed)
    });
    assert_happened(&[("a take-over", happened.take_overs), ("a kill", happened.killed)]);
}

/// The successor is on another machine: the old life was cut off from its store and does not know it.
#[test]
fn take_over_from_another_machine() {
    let happened =
        run("take_over_from_another_machine", Seeds::from_environment(4000), |seed| Settings {
            standbys_elsewhere: 1 + u16::try_from(seed % 2).expect("below 2"),
            standby_deaths: 1,
            long_pauses: 2,
            monitor_cuts: 2,
            hard_deaths: 1,
            breaks: 2,
            late_maps: 20,
            exports: 8,
            ..moves(seed)
        });
    assert_happened(&[
        ("a life that was cut off", happened.cut_off),
        ("a turn that was held", happened.held),
        ("a life that was declared dead", happened.declared_dead),
        ("a life that was refused", happened.refused),
    ]);
}

/// The monitor dies, stops and is not heard, while ranks die and stop.
#[test]
fn the_monitor_dies() {
    let happened = run("the_monitor_dies", Seeds::from_environment(4000), |seed| Settings {
        standbys: u16::try_from(seed % 3).expect("below 3"),
        monitor_deaths: 2,
        monitor_pauses: 1,
        monitor_cuts: 2,
        long_pauses: 1,
        hard_deaths: 1,
        deaths_at_points: 1,
        late_maps: 20,
        exports: 8,
        ..moves(seed)
    });
    assert_happened(&[("a death of the monitor", happened.monitor_deaths)]);
}

/// Ranks forget almost all they know of the tree, and read it again.
#[test]
fn a_tiny_cache() {
    run("a_tiny_cache", Seeds::from_environment(4000), |seed| Settings {
        cache_rows_max: Some(30),
        hard_deaths: u32::try_from(seed % 3).expect("below 3"),
        breaks: 1,
        exports: 10,
        ..moves(seed)
    });
}

/// The disk of one rank takes five seconds to sync, always.
#[test]
fn a_slow_disk() {
    run("a_slow_disk", Seeds::from_environment(4000), |seed| Settings {
        slow_disk: Some(Rank(u16::try_from(seed % 2).expect("below 2"))),
        actions: 60,
        hard_deaths: u32::try_from(seed / 2 % 2).expect("below 2"),
        breaks: 1,
        exports: 8,
        ..moves(seed)
    });
}

/// What was given away stays where it was until the end, also if it comes back, and so does data.
#[test]
fn nothing_is_deleted() {
    run("nothing_is_deleted", Seeds::from_environment(4000), |seed| Settings {
        deletions_held: true,
        hard_deaths: u32::try_from(seed % 3).expect("below 3"),
        deaths_at_points: 1,
        exports: 14,
        ..moves(seed)
    });
}

/// Whoever does something locks something.
#[test]
fn files_are_locked() {
    run("files_are_locked", Seeds::from_environment(4000), |seed| Settings {
        locks: 45,
        clients: 2 + usize::try_from(seed % 2).expect("below 2"),
        deaths: u32::try_from(seed / 2 % 3).expect("below 3"),
        breaks: 3,
        cuts: 1,
        exports: 10,
        ..moves(seed)
    });
}

/// Mounts answer most changes themselves, and everything happens to them and to the ranks meanwhile.
#[test]
fn mounts_work_alone() {
    let happened = run("mounts_work_alone", Seeds::from_environment(2000), |seed| Settings {
        alone: 85,
        actions: 300,
        locks: 2,
        clients: 2,
        breaks: 2,
        cuts: u32::try_from(seed % 2).expect("below 2"),
        hard_deaths: u32::try_from(seed / 2 % 3).expect("below 3"),
        deaths_at_points: u32::try_from(seed / 3 % 2).expect("below 2"),
        client_deaths: u32::try_from(seed / 5 % 3).expect("below 3"),
        evictions: u32::try_from(seed / 7 % 2).expect("below 2"),
        client_cuts: u32::try_from(seed / 11 % 2).expect("below 2"),
        exports: 10,
        ..moves(seed)
    });
    assert_happened(&[
        ("a change that was answered first", happened.answered_first),
        ("one of them that was lost", happened.never_made),
    ]);
}

/// Clients come to directories in which others were, and left them long ago; what they find becomes theirs until
/// somebody comes again.
#[test]
fn mounts_come_and_go() {
    let happened = run("mounts_come_and_go", Seeds::from_environment(2000), |seed| Settings {
        away: 12,
        alone: u64::from(seed % 3 == 0) * 40,
        locks: 2,
        clients: 2 + usize::from(seed % 4 == 0),
        breaks: 4,
        cuts: u32::try_from(seed % 3).expect("below 3"),
        hard_deaths: u32::try_from(seed / 2 % 3).expect("below 3"),
        deaths_at_points: u32::try_from(seed / 3 % 2).expect("below 2"),
        client_deaths: u32::try_from(seed / 5 % 2).expect("below 2"),
        evictions: u32::try_from(seed / 7 % 2).expect("below 2"),
        client_cuts: u32::try_from(seed / 11 % 2).expect("below 2"),
        late_maps: 20,
        exports: 14,
        ..moves(seed)
    });
    assert_happened(&[
        ("a directory that was found and held", happened.held_found),
        ("a change that was answered first", happened.answered_first),
    ]);
}
