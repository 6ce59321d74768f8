//! Makes a failing run smaller: fewer faults, actions, clients, as long as it goes on failing.

use super::world::Settings;

/// The smallest settings found under which `fails` still holds; it holds under `settings`.
pub fn shrink(settings: Settings, fails: impl Fn(Settings) -> bool) -> Settings {
    let mut smallest = settings;
    loop {
        let before = smallest;
        for candidate in fewer_faults(smallest).chain(fewer_actions(smallest)) {
            // Each is a step from where the round began: what went well before is kept.
            let merged = merge(smallest, candidate);
            if merged != smallest && fails(merged) {
                smallest = merged;
            }
        }
        for candidate in fewer_people(smallest) {
            if fails(candidate) {
                smallest = candidate;
            }
        }
        if smallest == before {
            return smallest;
        }
    }
}

/// All of one half, then each by itself.
fn fewer_faults(from: Settings) -> impl Iterator<Item = Settings> {
    let count = from.faults().min(64);
    let all = if count == 64 { u64::MAX } else { (1 << count) - 1 };
    let low = all >> (count / 2);
    let halves = [all, low, all & !low].into_iter();
    let each = (0..count).map(|number| 1_u64 << number);
    halves.chain(each).map(move |bits| Settings { without: from.without | bits, ..from })
}

fn fewer_actions(from: Settings) -> impl Iterator<Item = Settings> {
    let Settings { actions, .. } = from;
    let steps = [actions / 2, actions * 3 / 4, actions * 7 / 8, actions.saturating_sub(1)];
    steps.into_iter().map(move |actions| Settings { actions, ..from })
}

fn fewer_people(from: Settings) -> impl Iterator<Item = Settings> {
    let Settings { clients, processes, ranks, .. } = from;
    [
        Settings { clients: clients.saturating_sub(1).max(1), ..from },
        Settings { processes: processes.saturating_sub(1).max(1), ..from },
        Settings { ranks: ranks.saturating_sub(1).max(1), ..from },
    ]
    .into_iter()
    .filter(move |settings| *settings != from)
}

fn merge(smallest: Settings, candidate: Settings) -> Settings {
    Settings {
        without: smallest.without | candidate.without,
        actions: smallest.actions.min(candidate.actions),
        ..smallest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_matter_is_left_out() {
        let settings = Settings { clients: 3, breaks: 9, ..Settings::peace() };
        let fails = |settings: Settings| settings.actions >= 17 && settings.without >> 5 & 1 == 0;
        let smallest = shrink(settings, fails);
        assert_eq!((smallest.actions, smallest.clients, smallest.processes), (17, 1, 1));
        assert_eq!(smallest.without, 0b1_1101_1111);
    }
}
