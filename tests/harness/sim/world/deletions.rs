//! The world's part in which old copies and data are deleted, or wait for that.

use std::time::Duration;

use common::id::Ino;
use mds_core::Input;
use mds_core::timer::Timer;

use super::{Event, World};
use crate::sim::network::Life;
use crate::sim::rank::Sweeps;

const PURGE: Duration = Duration::from_millis(2);

impl World {
    /// A life that begins while nothing is deleted.
    pub(super) fn hold_deletions(&mut self, life: Life) {
        let held = self.deletions_held;
        if let Some(process) = self.alive(life).filter(|_| held) {
            process.sweeps = Sweeps::Held;
        }
    }

    /// The data of a file is to be removed.
    pub(super) fn purge(&mut self, life: Life, ino: Ino) {
        if self.deletions_held {
            self.purges_held.push((life, ino));
            return;
        }
        self.data.remove(&ino);
        self.soon(PURGE, Event::RankInput(life, Box::new(Input::Purged { ino })));
    }

    /// What has waited is done.
    pub(super) fn let_deletions_go(&mut self) {
        if !std::mem::take(&mut self.deletions_held) {
            return;
        }
        for (life, ino) in std::mem::take(&mut self.purges_held) {
            // What a dead life has asked for, the next one asks for again.
            if self.alive(life).is_some() {
                self.purge(life, ino);
            }
        }
        let lives = self.ranks.iter().filter_map(|host| host.process.as_ref());
        let lives: Vec<Life> = lives.map(|process| process.life).collect();
        for life in lives {
            let Some(process) = self.alive(life) else { continue };
            if std::mem::replace(&mut process.sweeps, Sweeps::Go) == Sweeps::Due {
                self.rank_input(life, Input::Timer(Timer::Sweep));
            }
        }
    }
}
