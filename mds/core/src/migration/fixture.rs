//! For unit tests: one migration between real ranks, brought to a state and disturbed there.
//!
//! Rank 1 gives `/r1/a` to rank 2. Rank 0 is the neighbor: a bystander, the owner of the bound
//! `/r1/a/t`, or both, as the story is told.

use std::collections::BTreeSet;

use common::id::{DirFragId, Ino, MigrationId, Rank};
use common::migration::{MigrationOutcome, MigrationRecord};
use common::wire::admin::{AdminReply, AdminRequest, Settlement};
use common::wire::request::Op;

use super::Migrator;
use crate::cluster_fixture::{Cluster, D1, R0, R1, R2};
use crate::fixture::{A, name};
use crate::input::{AdminId, Input};
use crate::message::PeerMsg;
use crate::message::migration::{MigrationMsg, Step};
use crate::message::replica::ReplicaMsg;
use crate::subtree::{DirAuth, Freeze, Subtree};
use crate::timer::Timer;

pub(super) const E: Rank = R1;
pub(super) const I: Rank = R2;
pub(super) const B: Rank = R0;
pub(super) const IN_DOUBT: DirAuth = DirAuth::Ambiguous { first: E, second: I };

/// What rank 0 has to do with the migration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Neighbor {
    Stranger,
    /// It replicates the base.
    Bystander,
    /// The bound is its own, and it does not replicate the base.
    BoundOwner,
}

/// The half that is brought to a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Exporter,
    Importer,
}

pub(super) struct Story {
    pub(super) cluster: Cluster,
    pub(super) exporter: Rank,
    pub(super) importer: Rank,
    /// What is given away.
    pub(super) dir: Ino,
    pub(super) id: MigrationId,
    file: Ino,
}

impl Story {
    /// Nothing was ordered yet.
    pub(super) fn before(neighbor: Neighbor) -> Self {
        let mut cluster = Cluster::new();
        let dir = cluster.at(E).mkdir(A, D1, "a");
        let file = cluster.at(E).create(A, dir, "f");
        let bound = cluster.at(E).mkdir(A, dir, "t");
        cluster.run();
        let id = MigrationId { exporter: E, incarnation: incarnation(&cluster), number: 0 };
        let mut story = Self { cluster, exporter: E, importer: I, dir, id, file };
        match neighbor {
            Neighbor::Stranger => {}
            Neighbor::Bystander => story.replicate(dir),
            Neighbor::BoundOwner => {
                story.give(bound, B);
                story.stop_replicating(dir);
            }
        }
        story
    }

    /// Ordered, and gone on until that half is in that state.
    pub(super) fn at(half: Half, state: &str, neighbor: Neighbor) -> Self {
        if (half, state) == (Half::Exporter, "Locking") {
            return Self::locking();
        }
        let mut story = Self::before(neighbor);
        if (half, state) == (Half::Exporter, "Freezing") {
            story.auth_pin();
        }
        if (half, state) == (Half::Importer, "Aborting") {
            story = Self::at(half, "Prepped", neighbor);
            story.cluster.kill(E);
        } else if (half, state) == (Half::Exporter, "Cancelling") {
            story = Self::at(half, "Warning", neighbor);
            assert_eq!(story.cancel(), AdminReply::Cancelling);
        } else {
            story.order();
        }
        story.run_until(half, state);
        story
    }

    pub(super) fn exporter_at(state: &str) -> Self {
        Self::at(Half::Exporter, state, Neighbor::Bystander)
    }

    pub(super) fn importer_at(state: &str) -> Self {
        Self::at(Half::Importer, state, Neighbor::Bystander)
    }

    /// Rank 0 gives the bound on, and has forgotten what is above it.
    fn locking() -> Self {
        let mut story = Self::before(Neighbor::BoundOwner);
        let above = story.dir;
        story.cluster.at(B).mds.holdings_for_test().spine.drop_replica(above);
        (story.exporter, story.dir) = (B, story.bound());
        story.order();
        story.run_until(Half::Exporter, "Locking");
        story
    }

    /// The subtree below, which is rank 0's.
    pub(super) fn bound(&self) -> Ino {
        let own = self.cluster.ranks[&B].mds.holdings();
        own.subtrees.iter().map(|(base, _)| base.ino).max().unwrap()
    }

    pub(super) fn order(&mut self) {
        let request = AdminRequest::Export { dir: self.dir, to: self.importer };
        match self.admin(self.exporter, request) {
            AdminReply::Exporting(id) => self.id = id,
            reply => panic!("{reply:?}"),
        }
    }

    pub(super) fn admin(&mut self, rank: Rank, request: AdminRequest) -> AdminReply {
        self.cluster.at(rank).input(Input::Admin { id: AdminId(1), request });
        self.cluster.at(rank).answers.pop().expect("an answer at once")
    }

    /// An operator wants to know how it ends; the answer comes with [`Self::told_end`].
    pub(super) fn ask_for_end(&mut self) {
        let request = AdminRequest::AwaitMigration { id: self.id };
        self.cluster.at(self.exporter).input(Input::Admin { id: AdminId(2), request });
    }

    pub(super) fn told_end(&mut self) -> Option<AdminReply> {
        self.cluster.at(self.exporter).answers.pop()
    }

    pub(super) fn cancel(&mut self) -> AdminReply {
        self.admin(self.exporter, AdminRequest::CancelMigration { id: self.id })
    }

    /// A whole migration, before the one that is told about.
    fn give(&mut self, dir: Ino, to: Rank) {
        self.give_from(E, dir, to);
    }

    pub(super) fn give_from(&mut self, from: Rank, dir: Ino, to: Rank) {
        let reply = self.admin(from, AdminRequest::Export { dir, to });
        assert!(matches!(reply, AdminReply::Exporting(_)), "{reply:?}");
        self.rest();
    }

    fn replicate(&mut self, dir: Ino) {
        self.cluster.tell(B, E, PeerMsg::Replica(ReplicaMsg::Discover { dir }));
        self.cluster.run();
    }

    fn stop_replicating(&mut self, dir: Ino) {
        let own = self.cluster.at(B).mds.holdings_for_test();
        let nonce = own.spine.drop_replica(dir).expect("it has been an importer below").nonce;
        let expire = ReplicaMsg::Expire { dirs: vec![(dir, nonce)], region: None };
        self.cluster.tell(B, E, PeerMsg::Replica(expire));
    }

    /// An operation of several turns works in the region.
    pub(super) fn auth_pin(&mut self) {
        let dir = self.dir;
        self.cluster.at(E).mds.holdings_for_test().subtrees.auth_pin(dir);
    }

    /// It ends, and something happens.
    pub(super) fn auth_unpin(&mut self) {
        let dir = self.dir;
        self.cluster.at(E).mds.holdings_for_test().subtrees.auth_unpin(dir);
        self.cluster.at(E).make_durable();
    }

    pub(super) fn run_until(&mut self, half: Half, state: &str) {
        for _ in 0..1000 {
            if self.state(half) == state {
                return;
            }
            self.cluster.step();
        }
        panic!("the {half:?} comes to {state}, not {}", self.state(half));
    }

    /// `None` of it is there: not begun, or over.
    pub(super) fn state(&self, half: Half) -> &'static str {
        let migrator =
            |rank: Rank| -> &Migrator { self.cluster.ranks[&rank].mds.migrator_for_test() };
        let state = match half {
            Half::Exporter => migrator(self.exporter).exports.get(&self.id).map(|it| it.name()),
            Half::Importer => migrator(self.importer).imports.get(&self.id).map(|it| it.name()),
        };
        state.unwrap_or("Over")
    }

    pub(super) fn exporter(&self) -> &'static str {
        self.state(Half::Exporter)
    }

    pub(super) fn importer(&self) -> &'static str {
        self.state(Half::Importer)
    }

    /// The subtree the directory is in, as a rank sees it.
    pub(super) fn subtree(&self, rank: Rank) -> Option<Subtree> {
        let own = self.cluster.ranks[&rank].mds.holdings();
        let base = own.subtrees.base_of(self.dir, &own.namespace).ok()??;
        own.subtrees.get(base).cloned()
    }

    /// Brings the exporter back. What the bystander hears of authority meanwhile.
    pub(super) fn told_bystander_while_reviving(&mut self) -> Vec<DirAuth> {
        self.cluster.revive(E);
        let mut told = BTreeSet::new();
        loop {
            told.extend(self.steps_to(B).into_iter().filter_map(|step| match step {
                Step::Notify { auth, .. } => Some(auth),
                _ => None,
            }));
            if !self.cluster.step() {
                self.rest();
                return told.into_iter().collect();
            }
        }
    }

    pub(super) fn settle(&mut self, verdict: Settlement) -> AdminReply {
        let id = self.id;
        self.admin(self.importer, AdminRequest::SettleMigration { id, verdict })
    }

    /// State, authority and freeze, as the rank sees them.
    pub(super) fn view(&self, half: Half) -> String {
        let rank = match half {
            Half::Exporter => self.exporter,
            Half::Importer => self.importer,
        };
        let subtree = self.subtree(rank).map_or_else(
            || "nothing".to_owned(),
            |subtree| {
                let auth = match subtree.auth {
                    DirAuth::Sole(rank) => self.role(rank).to_owned(),
                    DirAuth::Ambiguous { first, second } => {
                        format!("{},{}", self.role(first), self.role(second))
                    }
                };
                let freeze = match subtree.freeze {
                    Freeze::Live => "live",
                    Freeze::Freezing => "freezing",
                    Freeze::ReadOnly => "read-only",
                    Freeze::Sealed => "sealed",
                    Freeze::Frozen => "frozen",
                };
                format!("{auth} {freeze}")
            },
        );
        format!("{}: {subtree}", self.state(half))
    }

    fn role(&self, rank: Rank) -> &'static str {
        if rank == self.exporter {
            "E"
        } else if rank == self.importer {
            "I"
        } else {
            "B"
        }
    }

    /// Steps of this migration that have not arrived, to that rank.
    pub(super) fn steps_to(&mut self, to: Rank) -> Vec<Step> {
        let id = self.id;
        let under_way = self.cluster.under_way().into_iter();
        under_way
            .filter_map(|(_, receiver, msg)| match msg {
                PeerMsg::Migration(msg) if receiver == to && msg.id == id => Some(msg.step),
                _ => None,
            })
            .collect()
    }

    /// A step of this migration, out of its order.
    pub(super) fn tell(&mut self, from: Rank, to: Rank, step: Step) {
        let msg = MigrationMsg { id: self.id, base: DirFragId::whole(self.dir), step };
        self.cluster.tell(from, to, PeerMsg::Migration(msg));
    }

    /// The state has lasted as long as it may.
    pub(super) fn deadline(&mut self, half: Half) {
        let (rank, timer) = match half {
            Half::Exporter => (self.exporter, Timer::Exporter(self.id)),
            Half::Importer => (self.importer, Timer::Importer(self.id)),
        };
        let set = self.cluster.at(rank).timers.contains(&timer);
        assert!(set, "{half:?} in {} has a deadline", self.state(half));
        self.cluster.at(rank).input(Input::Timer(timer));
    }

    pub(super) fn deadline_if_set(&mut self, half: Half) {
        let (rank, timer) = match half {
            Half::Exporter => (self.exporter, Timer::Exporter(self.id)),
            Half::Importer => (self.importer, Timer::Importer(self.id)),
        };
        if self.cluster.at(rank).timers.contains(&timer) {
            self.cluster.at(rank).input(Input::Timer(timer));
        }
    }

    /// Brings the way up from the region into the cache of a rank that may have lost it.
    pub(super) fn look(&mut self, rank: Rank) {
        let op = Op::Lookup { dir: self.dir, name: name("f") };
        self.cluster.ask(rank, A, op);
    }

    /// Everything arrives and becomes durable, and clocks go on until nothing is due.
    pub(super) fn rest(&mut self) {
        for _ in 0..10 {
            self.cluster.run();
            for rank in self.cluster.up() {
                let due: Vec<Timer> = self.cluster.at(rank).timers.iter().copied().collect();
                for timer in due {
                    if let Timer::Sweep | Timer::Exporter(_) | Timer::Importer(_) = timer {
                        self.cluster.at(rank).timers.remove(&timer);
                        self.cluster.at(rank).input(Input::Timer(timer));
                    }
                }
            }
        }
        self.cluster.run();
    }

    pub(super) fn kill(&mut self, rank: Rank) {
        self.cluster.kill(rank);
    }

    pub(super) fn revive(&mut self, rank: Rank) {
        self.cluster.revive(rank);
        self.rest();
    }

    pub(super) fn record(&self) -> MigrationRecord {
        let records = self.cluster.ranks[&self.exporter].mds.migrator_for_test().records();
        records.into_iter().find(|record| record.id == self.id).expect("every attempt has one")
    }

    pub(super) fn outcome(&self) -> Option<MigrationOutcome> {
        self.record().outcome
    }

    /// Nothing is under way, nothing is frozen, one rank owns the region, and the file is there.
    #[track_caller]
    pub(super) fn assert_owner(&mut self, owner: Rank) {
        // It also brings the way up into the cache of a rank that has just come back.
        if self.exporter == E && self.cluster.up().contains(&owner) {
            let dir = self.dir;
            assert_eq!(self.cluster.lookup(owner, dir, "f"), Some((self.file, 1)));
        }
        for rank in self.cluster.up() {
            let mds = &self.cluster.ranks[&rank].mds;
            assert_eq!(mds.migrator_for_test().running(), 0, "{rank}");
            let own = mds.holdings();
            for (base, subtree) in own.subtrees.iter() {
                assert_eq!(subtree.freeze, Freeze::Live, "{base} at {rank}");
            }
            assert!(own.sweep.is_empty(), "{rank} sweeps");
            assert_eq!(own.spine.in_doubt.regions().next(), None, "{rank} keeps expires");
            assert_eq!(own.spine.watch.bases().next(), None, "{rank} watches");
            self.cluster.assert_registered(rank);
            let mine = self.subtree(rank).map(|it| it.auth) == Some(DirAuth::Sole(rank));
            assert_eq!(mine, rank == owner, "{rank} is the authority");
        }
    }
}

fn incarnation(cluster: &Cluster) -> common::id::Incarnation {
    cluster.ranks[&E].mds.seq().incarnation()
}
