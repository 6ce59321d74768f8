//! The world's part for one power loss and what follows: clients depend on each other's changes, the power
//! fails at a chosen moment with a chosen part on disk, and the clients come back in a chosen order.

use std::time::Duration;

use common::id::{Ino, Rank};
use common::name::Name;
use common::wire::request::{IfExists, RenameMode};

use super::deaths::Death;
use super::plan::Settings;
use super::{Event, Violation, World};
use crate::sim::dice::Dice;
use crate::sim::operation::{Answer, Make, Operation};
use crate::sim::trace::{Trace, Who};

/// One power loss of rank 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCut<'a> {
    /// After the first change was asked for.
    pub after: Duration,
    /// Of the batches that were not synced, how many had reached the disk.
    pub kept: usize,
    /// Each client comes back a while after the one before it.
    pub order: &'a [usize],
    /// A rank of its own holds `/r`, with which the clients exchange files.
    pub ranks: u16,
}

/// What has come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerCutMet {
    /// Batches that were not synced when the power failed.
    pub unsynced: usize,
    /// Nothing was under way any more.
    pub was_over: bool,
}

/// Until the first client is let through again; the others follow one by one. The rank waits longer.
const BACK: Duration = Duration::from_millis(2_600);
const APART: Duration = Duration::from_millis(1_200);
const AWAY: Duration = Duration::from_millis(500);

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("names of scenes are short")
}

impl World {
    /// Plays it.
    ///
    /// # Errors
    /// The first thing that must not happen.
    pub fn play_power_cut(
        seed: u64,
        cut: PowerCut<'_>,
        trace: Trace,
    ) -> (Self, Result<PowerCutMet, Violation>) {
        let clients = cut.order.len();
        let peace = Settings::peace();
        let settings = Settings { ranks: cut.ranks, clients, processes: 2, actions: 0, ..peace };
        let mut world = Self::new(seed, settings, trace);
        let outcome = world.suffer(cut);
        (world, outcome)
    }

    fn suffer(&mut self, cut: PowerCut<'_>) -> Result<PowerCutMet, Violation> {
        self.run_until_idle()?;
        let (dir, other) = self.stage_of_power_cut(cut)?;
        let fails = self.now.after(cut.after);
        let began = self.now;
        let mut turn = 0;
        while self.now < fails && turn < TURNS {
            self.take_turns(turn, dir, other)?;
            turn += 1;
            let next = began.after(TURN * u32::try_from(turn).expect("there are few"));
            self.run_until(next.min(fails))?;
        }
        let calls = self.clients.iter().map(|host| host.calls.len()).sum::<usize>();
        let unsynced = self.ranks[0].disk.unsynced();
        let met = PowerCutMet { unsynced, was_over: calls == 0 && turn == TURNS };
        self.power_fails(cut);
        self.run_until_idle()?;
        self.walk()?;
        self.check_at_rest()?;
        self.remove_everything()?;
        self.check_empty()?;
        Ok(met)
    }

    fn stage_of_power_cut(&mut self, cut: PowerCut<'_>) -> Result<(Ino, Ino), Violation> {
        let mut made = Vec::new();
        for text in ["d", "r"] {
            let existing = IfExists::Refuse;
            let (dir, make) = (Ino::ROOT, Make::Dir);
            let create = Operation::Create { dir, name: name(text), make, mode: 0o755, existing };
            match self.perform(0, create)? {
                Ok(Answer::Entry { node, .. }) => made.push(node),
                other => return Err(Violation::Hung(format!("the stage is not set: {other:?}"))),
            }
        }
        self.cancelled_percent = 0;
        if cut.ranks > 1 {
            let to = Rank(1);
            self.order(Rank::ROOT, common::wire::admin::AdminRequest::Export { dir: made[1], to });
        }
        for client in 1..self.clients.len() {
            for text in ["d", "r"] {
                self.perform(client, Operation::Lookup { dir: Ino::ROOT, name: name(text) })?.ok();
            }
        }
        self.run_for(Duration::from_secs(2))?;
        Ok((made[0], made[1]))
    }

    /// Each client in turn goes on with what the one before has left: it makes a file, gives it another
    /// name, removes it. Nobody waits for an answer.
    fn take_turns(&mut self, turn: usize, dir: Ino, other: Ino) -> Result<(), Violation> {
        let client = turn % self.clients.len();
        let process = turn / self.clients.len() % 2;
        if self.clients[client].processes[process].busy {
            return Ok(());
        }
        let round = turn / 4;
        let at = |place: usize| name(["a", "b", "c"][(round + place) % 3]);
        let existing = IfExists::Open;
        let to_dir = if round % 2 == 1 { other } else { dir };
        let operation = match turn % 4 {
            0 => Operation::Create { dir, name: at(0), make: Make::File, mode: 0o644, existing },
            1 => Operation::Rename {
                from_dir: dir,
                from: at(0),
                to_dir,
                to: at(1),
                mode: RenameMode::Replace,
            },
            2 => {
                let existing = IfExists::Refuse;
                Operation::Create { dir, name: at(2), make: Make::Dir, mode: 0o755, existing }
            }
            _ => Operation::Unlink { dir: to_dir, name: at(1) },
        };
        self.ask(client, process, operation)
    }

    fn power_fails(&mut self, cut: PowerCut<'_>) {
        for (place, client) in cut.order.iter().enumerate() {
            let later = BACK + APART * u32::try_from(place).expect("there are few");
            let heals = self.now.after(later);
            let ends = (Who::Client(*client), Who::Rank(Rank::ROOT));
            self.network.cut(ends.0, ends.1, heals);
            self.network.cut(ends.1, ends.0, heals);
        }
        let host = &mut self.ranks[0];
        let kept = cut.kept.min(host.disk.unsynced());
        host.disk.lose_power_but_for(kept);
        if let Some(pid) = host.process.as_ref().map(|process| process.pid) {
            let mut dice = Dice::new(self.dice.throw());
            self.trace.line(self.now, Who::World, "power", || format!("{cut:?}"));
            self.process_dies(pid, Death::PowerLost, &mut dice);
            self.after(AWAY, Event::Start(pid.daemon));
        }
    }
}

/// Changes that are asked for, and how long after each other.
const TURNS: usize = 16;
const TURN: Duration = Duration::from_millis(2);
