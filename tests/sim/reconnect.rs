//! Power fails while clients build on each other's changes: at every moment, with every part of what was
//! written on disk, and the clients come back in every order.

use std::time::Duration;

use tests::sim::random::unless;
use tests::sim::trace::Trace;
use tests::sim::world::World;
use tests::sim::world::reconnect::PowerCut;

const MOMENTS: u64 = 60;
const STEP: Duration = Duration::from_micros(700);

/// Plays all; returns how many runs had something to lose.
fn play_all(seed: u64, ranks: u16, orders: &[&[usize]]) -> u64 {
    let (mut wrong, mut had_to_lose) = (Vec::new(), 0);
    for moment in 1..=MOMENTS {
        let after = STEP * u32::try_from(moment).expect("few");
        for order in orders {
            let mut kept = 0;
            loop {
                let cut = PowerCut { after, kept, order, ranks };
                let met = unless(|| World::play_power_cut(seed, cut, Trace::default()).1);
                match met {
                    Ok(met) => {
                        had_to_lose += u64::from(kept < met.unsynced);
                        if kept >= met.unsynced {
                            break;
                        }
                    }
                    Err(why) => wrong.push(format!("seed {seed} {cut:?}: {why}")),
                }
                kept += 1;
                if kept > 40 {
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} went wrong:\n{}", wrong.len(), wrong.join("\n"));
    had_to_lose
}

const TWO: [&[usize]; 2] = [&[0, 1], &[1, 0]];

#[test]
fn two_clients_come_back_in_either_order() {
    let had_to_lose = play_all(1, 1, &TWO);
    assert!(had_to_lose > 100, "only {had_to_lose} runs had something to lose");
}

#[test]
fn two_clients_of_two_ranks_come_back_in_either_order() {
    let had_to_lose = play_all(2, 2, &TWO);
    assert!(had_to_lose > 100, "only {had_to_lose} runs had something to lose");
}

#[test]
fn three_clients_come_back_in_every_order() {
    let orders: [&[usize]; 6] =
        [&[0, 1, 2], &[0, 2, 1], &[1, 0, 2], &[1, 2, 0], &[2, 0, 1], &[2, 1, 0]];
    let had_to_lose = play_all(3, 1, &orders);
    assert!(had_to_lose > 1000, "only {had_to_lose} runs had something to lose");
}
