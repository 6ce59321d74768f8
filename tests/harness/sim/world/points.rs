//! The world's part for kill points: one migration under a small load, and ranks that die at moments
//! chosen beforehand.

use std::time::Duration;

use common::id::{Ino, Rank};
use common::name::Name;
use common::wire::admin::AdminRequest;
use common::wire::request::{IfExists, RenameMode};
use mds_core::kill_point::KillPoint;

use super::deaths::Death;
use super::plan::Settings;
use super::{Event, Violation, World};
use crate::sim::network::Life;
use crate::sim::operation::{Answer, Make, Operation};
use crate::sim::trace::{Trace, Who};

/// Who dies, when, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doom {
    pub rank: Rank,
    pub point: KillPoint,
    pub death: Death,
}

/// Who stops for how long when a rank comes to a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Halt {
    pub rank: Rank,
    pub point: KillPoint,
    pub stopped: Rank,
    pub span: Duration,
}

/// What is to go wrong in a scene.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub dooms: Vec<Doom>,
    pub halts: Vec<Halt>,
}

/// What goes on when ranks die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// `/a`, with what is in it, goes from rank 0 to rank 1; rank 2 holds `/a/b`.
    Migration,
    /// The same, and an operator changes his mind on the way.
    CancelledMigration,
    /// `/a` has gone to rank 1 and was changed there; it comes back while rank 0 has not deleted yet
    /// what it gave away.
    ThereAndBack,
    /// Files and directories are renamed between `/a`, which rank 0 holds, and `/r`, which is rank 1's.
    TwoPhase,
}

pub const EXPORTER: Rank = Rank(0);
pub const IMPORTER: Rank = Rank(1);
pub const BYSTANDER: Rank = Rank(2);

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).expect("names of scenes are short")
}

impl World {
    /// Plays a scene in which each doom is met, if its moment comes. Returns which were.
    ///
    /// # Errors
    /// The first thing that must not happen.
    pub fn play(scene: Scene, script: Script, trace: Trace) -> (Self, Result<(), Violation>) {
        let settings = Settings {
            // Scenes are played moment by moment: nobody waits for anybody in them.
            locks: 0,
            nowsync: false,
            ranks: 3,
            clients: 2,
            processes: 1,
            actions: 0,
            deletions_held: scene == Scene::ThereAndBack,
            ..Settings::peace()
        };
        let mut world = Self::new(7, settings, trace);
        let outcome = world.act(scene, script);
        (world, outcome)
    }

    fn act(&mut self, scene: Scene, script: Script) -> Result<(), Violation> {
        self.run_until_idle()?;
        let dir = self.set_the_stage()?;
        if scene == Scene::ThereAndBack {
            self.give_away_and_change(dir)?;
        }
        self.script = script;
        if scene != Scene::TwoPhase {
            self.actions_left = 12;
            for client in 0..self.settings.clients {
                self.after(Duration::ZERO, Event::Process { client, process: 0 });
            }
        }
        match scene {
            Scene::Migration => self.order(EXPORTER, AdminRequest::Export { dir, to: IMPORTER }),
            Scene::CancelledMigration => {
                self.cancelled_percent = 100;
                self.order(EXPORTER, AdminRequest::Export { dir, to: IMPORTER });
            }
            Scene::ThereAndBack => self.order(IMPORTER, AdminRequest::Export { dir, to: EXPORTER }),
            Scene::TwoPhase => self.rename_both_ways(dir)?,
        }
        self.run_until_idle()?;
        self.script = Script::default();
        self.walk()?;
        self.check_at_rest()?;
        self.remove_everything()?;
        self.check_empty()
    }

    /// `/a` of rank 0 with a file and `/a/b`, which rank 2 holds; `/r` of rank 1.
    fn set_the_stage(&mut self) -> Result<Ino, Violation> {
        self.cancelled_percent = 0;
        let dir = self.made(Ino::ROOT, "a", Make::Dir)?;
        let inner = self.made(dir, "b", Make::Dir)?;
        self.made(dir, "f", Make::File)?;
        self.made(inner, "g", Make::File)?;
        let other = self.made(Ino::ROOT, "r", Make::Dir)?;
        self.made(other, "h", Make::File)?;
        self.order(EXPORTER, AdminRequest::Export { dir: inner, to: BYSTANDER });
        self.order(EXPORTER, AdminRequest::Export { dir: other, to: IMPORTER });
        self.run_for(Duration::from_secs(2))?;
        Ok(dir)
    }

    /// Nothing of what was given away is as it was, and some of it is gone.
    fn give_away_and_change(&mut self, dir: Ino) -> Result<(), Violation> {
        let gone = self.made(dir, "c", Make::Dir)?;
        self.made(gone, "x", Make::File)?;
        self.made(dir, "k", Make::File)?;
        self.order(EXPORTER, AdminRequest::Export { dir, to: IMPORTER });
        self.run_for(Duration::from_secs(2))?;
        let mode = RenameMode::Replace;
        let (from, to) = (name("x"), name("f"));
        for change in [
            Operation::Rename { from_dir: gone, from, to_dir: dir, to, mode },
            Operation::Rmdir { dir, name: name("c") },
            Operation::Unlink { dir, name: name("k") },
        ] {
            if let Err(error) = self.perform(0, change)? {
                return Err(Violation::Hung(format!("the stage is not set: {error}")));
            }
        }
        let again = self.made(dir, "c", Make::Dir)?;
        self.made(again, "y", Make::File)?;
        self.made(dir, "k", Make::Dir)?;
        Ok(())
    }

    fn made(&mut self, dir: Ino, text: &str, make: Make) -> Result<Ino, Violation> {
        let existing = IfExists::Refuse;
        let create = Operation::Create { dir, name: name(text), make, mode: 0o755, existing };
        match self.perform(0, create)? {
            Ok(Answer::Entry { node, .. }) => Ok(node),
            other => Err(Violation::Hung(format!("the stage is not set: {other:?}"))),
        }
    }

    fn rename_both_ways(&mut self, dir: Ino) -> Result<(), Violation> {
        let other = match self.perform(0, Operation::Lookup { dir: Ino::ROOT, name: name("r") })? {
            Ok(Answer::Entry { node, .. }) => node,
            other => return Err(Violation::Hung(format!("the stage is not set: {other:?}"))),
        };
        let mode = RenameMode::Replace;
        let moves = [
            (dir, "f", other, "f"),
            (other, "h", dir, "h"),
            (dir, "b", other, "b"),
            (other, "f", dir, "h"),
            (other, "b", Ino::ROOT, "b"),
        ];
        for (from_dir, from, to_dir, to) in moves {
            let (from, to) = (name(from), name(to));
            // Others are at work: whether it can be done is for the model to say.
            let _refused =
                self.perform(0, Operation::Rename { from_dir, from, to_dir, to, mode })?;
        }
        Ok(())
    }

    /// Whether this is the moment at which the rank was to die.
    pub(super) fn meets_doom(&mut self, life: Life, point: KillPoint) -> bool {
        self.halts_at(life, point);
        let meant = |doom: &Doom| doom.rank == life.rank && doom.point == point;
        let Some(at) = self.script.dooms.iter().position(meant) else { return false };
        let doom = self.script.dooms.remove(at);
        self.trace.line(self.now, Who::Rank(life.rank), "point", || format!("{point:?}"));
        self.met.push(doom);
        self.die(life, doom.death);
        true
    }

    /// Somebody stops at this moment, if that is in the script.
    fn halts_at(&mut self, life: Life, point: KillPoint) {
        let meant = |halt: &Halt| halt.rank == life.rank && halt.point == point;
        let Some(at) = self.script.halts.iter().position(meant) else { return };
        let halt = self.script.halts.remove(at);
        let pid = self.host(halt.stopped).process.as_ref().map(|process| process.pid);
        if let Some(pid) = pid {
            self.trace.line(self.now, Who::Rank(halt.stopped), "stops", || format!("{halt:?}"));
            self.stop(pid, self.now.after(halt.span));
            self.halted += 1;
        }
    }
}
