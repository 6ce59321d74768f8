use std::time::Duration;

use super::load::DecayCounter;
use super::*;

const A: Ino = Ino(0x100);
const B: Ino = Ino(0x101);

fn beat(load: u64, candidates: &[(Ino, u64)]) -> Heartbeat {
    let candidates =
        candidates.iter().map(|(dir, load)| Candidate { dir: *dir, load: *load }).collect();
    Heartbeat { load, candidates }
}

fn choose(ranks: &[Heartbeat], cooling: &[Ino]) -> Option<Move> {
    let cooling = cooling.iter().map(|dir| (*dir, Monotonic(1))).collect();
    let ranks = (0..).map(Rank).zip(ranks.iter().cloned()).collect();
    Greedy.choose(&View { ranks, cooling: &cooling, capacity: 1000 })
}

#[test]
fn the_directory_that_evens_out_best_moves_to_the_idlest() {
    let busy = beat(900, &[(Ino(9), 900), (A, 500), (B, 100)]);
    let chosen = choose(&[busy, beat(100, &[]), beat(0, &[])], &[]);
    assert_eq!(chosen, Some(Move { dir: B, from: Rank(0), to: Rank(2), load: 100 }));
}

#[test]
fn nothing_moves_while_there_is_no_need() {
    assert_eq!(choose(&[beat(400, &[(A, 200)]), beat(0, &[])], &[]), None, "far below capacity");
    assert_eq!(choose(&[beat(900, &[(A, 60)]), beat(800, &[])], &[]), None, "nearly even");
    assert_eq!(
        choose(&[beat(900, &[(A, 900)]), beat(0, &[])], &[]),
        None,
        "would only turn it round"
    );
    assert_eq!(choose(&[beat(900, &[(A, 400)])], &[]), None, "there is nobody else");
}

#[test]
fn what_moved_lately_stays() {
    let busy = beat(900, &[(A, 400), (B, 300)]);
    let chosen = choose(&[busy, beat(0, &[])], &[A]);
    assert_eq!(chosen.map(|chosen| chosen.dir), Some(B));
}

#[test]
fn a_rate_settles_and_fades() {
    let mut counter = DecayCounter::default();
    for _ in 0..20 {
        for _ in 0..100 {
            counter.hit();
        }
        counter.end_epoch(Duration::from_secs(2));
    }
    assert!((49..=50).contains(&counter.rate()), "{}", counter.rate());
    for _ in 0..20 {
        counter.end_epoch(Duration::from_secs(2));
    }
    assert_eq!(counter.rate(), 0);
}
