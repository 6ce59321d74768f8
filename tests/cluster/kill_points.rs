//! Ranks that die at named moments, under load, and come back or are replaced.
//!
//! A sample of the points is part of every run; `KILL_POINTS=all` takes them all (`scripts/soak`), or
//! those that are named, with commas between.

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use anyhow::Context;
use mds_core::kill_point::KillPoint;
use tests::cluster::mount::Mount;
use tests::cluster::{Cluster, say, wait_until};

use crate::load::{Presence, Progress, Worker, longest, wait_for_progress, while_working};

const RANKS: u16 = 3;
/// Moves to and fro between the other two.
const TREE: &str = "/tree";

/// Who reaches a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Exporter,
    Importer,
    Bystander,
    /// Of an operation of two ranks that the load does all the time.
    TwoPhase,
    /// Only when something else has failed before: the simulator's matrix has these.
    Failure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Return {
    /// The same daemon is started again.
    Restart,
    /// Another one stands by; the dead one stands by in its turn.
    TakeOver,
}

fn role(point: KillPoint) -> Role {
    match point {
        KillPoint::DiscoverSent
        | KillPoint::Frozen
        | KillPoint::PrepSent
        | KillPoint::WarningsSent
        | KillPoint::ExportSent
        | KillPoint::ExportSubmitted
        | KillPoint::ExportDurable
        | KillPoint::FinishSent
        | KillPoint::LastFinishSent => Role::Exporter,
        KillPoint::DiscoverAckSent
        | KillPoint::CopyBegun
        | KillPoint::PrepAckSent
        | KillPoint::ImportStartSubmitted
        | KillPoint::ImportStartDurable
        | KillPoint::ExportAckSent
        | KillPoint::ImportFinishSubmitted
        | KillPoint::ImportFinishDurable => Role::Importer,
        KillPoint::NotifyAckSent => Role::Bystander,
        KillPoint::PrepareDurable
        | KillPoint::PreparedSent
        | KillPoint::DecisionSubmitted
        | KillPoint::DecisionDurable
        | KillPoint::CommitSent
        | KillPoint::CommitApplied => Role::TwoPhase,
        KillPoint::Unwarned
        | KillPoint::CancelSent
        | KillPoint::CancelAckSent
        | KillPoint::AbortBegun
        | KillPoint::AskSent
        | KillPoint::ResolveBegun
        | KillPoint::ReconnectBegun
        | KillPoint::RejoinBegun
        | KillPoint::ActiveBegun => Role::Failure,
    }
}

/// One before, one at, and one after each point of no return.
const SAMPLE: [KillPoint; 6] = [
    KillPoint::ExportSent,
    KillPoint::ExportSubmitted,
    KillPoint::ImportStartDurable,
    KillPoint::ExportAckSent,
    KillPoint::PreparedSent,
    KillPoint::DecisionDurable,
];

fn chosen(sample: &[KillPoint]) -> Vec<KillPoint> {
    match std::env::var("KILL_POINTS").as_deref() {
        Ok("all") => KillPoint::all().filter(|point| role(*point) != Role::Failure).collect(),
        Ok(names) => names.split(',').filter_map(|name| name.parse().ok()).collect(),
        Err(_) => sample.to_vec(),
    }
}

struct Story {
    cluster: Cluster,
    mount: Mount,
    way: Return,
    /// Where the tree is.
    at: u16,
}

impl Story {
    fn new(way: Return) -> anyhow::Result<Self> {
        let standbys = u16::from(way == Return::TakeOver);
        let cluster = Cluster::start_with_standbys(RANKS, standbys, "")?;
        for text in ["lost", "killed on purpose", "session ended", "took this incarnation for dead"]
        {
            cluster.expect_log(text);
        }
        let mount = cluster.mount("mount")?;
        for (name, rank) in [("tree", 1), ("left", 1), ("right", 2)] {
            std::fs::create_dir(mount.path(name))?;
            cluster.export(Path::new(&format!("/{name}")), rank)?;
        }
        std::fs::create_dir(mount.path("tree/near"))?;
        std::fs::create_dir(mount.path("left/dir"))?;
        cluster.export(Path::new("/tree/near"), 0)?;
        Ok(Self { cluster, mount, way, at: 1 })
    }

    fn other(&self) -> u16 {
        3 - self.at
    }

    /// Kills whoever reaches the point next, and brings the rank back. Tells how long that took.
    fn kill_at(&mut self, point: KillPoint) -> anyhow::Result<()> {
        let rank = match role(point) {
            Role::Exporter => self.at,
            Role::Importer => self.other(),
            Role::Bystander => 0,
            Role::TwoPhase | Role::Failure => 1,
        };
        if role(point) == Role::Bystander {
            self.look_up_from_below()?;
        }
        let (name, before) = (self.cluster.holder(rank)?, self.cluster.incarnation(rank)?);
        self.cluster.arm(&name, point.into())?;
        let to = self.other().to_string();
        // An operator who speaks with a rank that dies hears nothing: nobody waits for this one.
        let mut order = self.cluster.grove_command(&["export", TREE, &to])?;
        let mut orders: Vec<Child> = Vec::new();
        wait_until("the point is reached", || {
            let over = match orders.last_mut() {
                Some(last) => last.try_wait()?.is_some(),
                None => true,
            };
            // Refused or broken off: both are fair ends of a migration whose half dies.
            if over && role(point) != Role::TwoPhase {
                orders.push(order.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
            }
            Ok(!self.cluster.runs(&name))
        })?;
        for mut order in orders {
            order.kill().ok();
            order.wait().ok();
        }
        let died = Instant::now();
        if self.way == Return::TakeOver {
            wait_until("somebody takes over", || Ok(self.cluster.holder(rank)? != name))?;
        }
        self.cluster.start_daemon(&name)?;
        wait_until("the rank lives again", || Ok(self.cluster.incarnation(rank)? > before))?;
        self.cluster.wait_active()?;
        let active = died.elapsed();
        self.settle()?;
        say(format_args!("{point:?}: active after {active:?}, settled after {:?}", died.elapsed()));
        Ok(())
    }

    /// Whether a directory may come here is decided by what is above: the rank that holds this one below
    /// the tree replicates the tree from here on, and so is a bystander of its moves.
    fn look_up_from_below(&self) -> anyhow::Result<()> {
        let (left, near) = (self.mount.path("left/dir"), self.mount.path("tree/near/dir"));
        std::fs::rename(&left, &near)?;
        Ok(std::fs::rename(near, left)?)
    }

    /// One authority for the tree, and nothing frozen, parked or in doubt anywhere.
    fn settle(&mut self) -> anyhow::Result<()> {
        let mut at = self.at;
        wait_until("one rank has the tree, live", || {
            let subtrees = self.cluster.grove_json(&["subtree", "ls"])?;
            let subtrees = subtrees.as_array().context("a list of subtrees")?;
            let trees: Vec<_> = subtrees.iter().filter(|it| it["path"] == TREE).collect();
            let live = subtrees.iter().all(|it| it["state"] == "live");
            let running = self.cluster.grove_json(&["status"])?["ranks"]
                .as_array()
                .context("a list of ranks")?
                .iter()
                .any(|rank| rank["details"]["migrations_running"] != 0);
            if let [tree] = trees.as_slice() {
                at = u16::try_from(tree["rank"].as_u64().context("a rank")?)?;
                return Ok(live && !running && self.nothing_waits()?);
            }
            Ok(false)
        })?;
        self.at = at;
        Ok(())
    }

    /// Nothing is frozen, swept, or waits for something that is over: what the load does itself comes
    /// and goes.
    fn nothing_waits(&self) -> anyhow::Result<bool> {
        let left = self.cluster.grove_json(&["leftovers"])?;
        let ranks = left.as_array().context("leftovers are a list")?;
        Ok(ranks.iter().all(|rank| {
            ["frozen", "auth_pins", "waiting", "sweeping"].iter().all(|it| rank[it] == 0)
        }))
    }

    /// After each death everybody pauses: what is there is compared, and nothing may wait for
    /// something that is over.
    fn tell(mut self, points: &[KillPoint]) -> anyhow::Result<()> {
        let presence = Presence::default();
        let path = |name: &str| self.mount.path(name);
        let mut workers = [
            Worker::new(vec![path("tree")], &presence, 1),
            Worker::new(vec![path("left"), path("right")], &presence, 2),
            Worker::new(
                vec![path("tree"), path("right")].into_iter().map(|it| it.join("w")).collect(),
                &presence,
                3,
            ),
        ];
        for name in ["tree/w", "right/w"] {
            std::fs::create_dir(self.mount.path(name))?;
        }
        let progress: [Progress; 3] = std::array::from_fn(|_| Progress::default());
        for point in points {
            let name: &'static str = point.into();
            let died = while_working(&mut workers, &progress, || {
                wait_for_progress(&progress, 5)
                    .and_then(|()| self.kill_at(*point))
                    .and_then(|()| wait_for_progress(&progress, 5))
            });
            died.and_then(|()| self.look(&mut workers))
                .with_context(|| format!("killed at {name}"))?;
        }
        say(format_args!("the longest operation took {:?}", longest(&progress)));
        for worker in &mut workers {
            worker.clean()?;
        }
        std::fs::remove_dir(self.mount.path("left/dir"))?;
        for name in ["tree/near", "tree/w", "right/w", "tree", "left", "right"] {
            std::fs::remove_dir(self.mount.path(name))?;
        }
        self.mount.unmount()?;
        wait_until("nothing is left", || crate::migration::nothing_left(&self.cluster))?;
        self.cluster.end()
    }

    fn look(&mut self, workers: &mut [Worker<'_>]) -> anyhow::Result<()> {
        for worker in workers {
            worker.check()?;
        }
        self.settle()?;
        wait_until("files that nobody holds open are gone", || {
            let left = self.cluster.grove_json(&["leftovers"])?;
            let ranks = left.as_array().context("leftovers are a list")?;
            Ok(ranks.iter().all(|rank| rank["orphans"] == 0))
        })
    }
}

#[test]
fn ranks_that_die_at_any_point_come_back_and_nothing_is_lost() -> anyhow::Result<()> {
    Story::new(Return::Restart)?.tell(&chosen(&SAMPLE))
}

#[test]
fn ranks_that_die_at_any_point_are_replaced_and_nothing_is_lost() -> anyhow::Result<()> {
    Story::new(Return::TakeOver)?.tell(&chosen(&SAMPLE[1..3]))
}
