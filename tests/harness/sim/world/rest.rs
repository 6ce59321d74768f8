//! The world's part that brings everything to rest and looks at what is left.

use std::collections::BTreeMap;
use std::time::Duration;

use client_core::{Handle, References};
use common::attr::FileKind;
use common::id::{Ino, Rank};
use common::mds_map::RankState;
use common::time::Monotonic;
use common::wire::admin::{AdminReply, AdminRequest, Leftovers};
use mds_core::Input;
use mds_core::input::AdminId;
use mds_core::row::Row;

use super::deaths::Death;
use super::{Event, Violation, World};
use crate::sim::operation::{Answer, Operation, Outcome};

/// In the world's time: everything under way has ended by then, whatever broke before.
const PATIENCE: Duration = Duration::from_secs(90);
const SETTLE: Duration = Duration::from_secs(3);

impl World {
    /// Runs until every process is done and every rank serves.
    pub(super) fn run_until_idle(&mut self) -> Result<(), Violation> {
        let mut look_again = self.now;
        // Who was stopped, or did not hear the monitor, may have been declared dead and not know it.
        while !self.is_idle() {
            while !self.is_idle() {
                self.step()?;
                if self.now >= look_again {
                    look_again = self.now.after(SETTLE);
                    self.check_patience()?;
                }
            }
            self.points.clear();
            self.run_for(SETTLE)?;
        }
        Ok(())
    }

    /// Nobody waits for ever.
    fn check_patience(&self) -> Result<(), Violation> {
        let mut calls = self
            .clients
            .iter()
            .enumerate()
            .flat_map(|(client, host)| host.calls.values().map(move |call| (client, call)));
        let in_vain = calls.any(|(client, call)| self.waits_in_vain(client, call));
        let away = self.away_since.map_or(Duration::ZERO, |since| self.now.since(since));
        if in_vain || away > PATIENCE {
            return Err(Violation::Hung(self.waiting()));
        }
        Ok(())
    }

    fn is_idle(&self) -> bool {
        let processes_idle = |host: &super::ClientHost| {
            host.calls.is_empty()
                && host.processes.iter().all(|process| process.plan.is_empty())
                && self.lock_book.is_free(host.number)
        };
        self.actions_left == 0
            && self.gone.mounts_due == 0
            && self.faults_left == 0
            && self.now > self.disturbed_until
            && self.monitor.is_running()
            && self.clients.iter().all(processes_idle)
            && self.all_active()
            && self.all_know_the_map()
    }

    /// A map may be late: until it comes, a rank does not know of a death that others know of.
    fn all_know_the_map(&self) -> bool {
        let newest = self.monitor.map().epoch;
        let mut processes = self.ranks.iter().filter_map(|host| host.process.as_ref());
        processes.all(|process| process.map_newest >= newest)
    }

    pub(super) fn all_active(&self) -> bool {
        let map = self.monitor.map();
        self.ranks.iter().all(|host| {
            let life = host.process.as_ref().map(|process| process.life);
            life.is_some_and(|life| map.incarnation(life.rank) == Some(life.incarnation))
                && map.state(host.rank) == RankState::Active
        })
    }

    pub(super) fn run_for(&mut self, span: Duration) -> Result<(), Violation> {
        let end = self.now.after(span);
        self.run_until(end)
    }

    pub(super) fn run_until(&mut self, end: Monotonic) -> Result<(), Violation> {
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.step()?;
        }
        self.now = end;
        Ok(())
    }

    pub(super) fn waiting(&self) -> String {
        let calls = self.clients.iter().flat_map(|host| {
            let calls = host.calls.values();
            calls.map(|call| {
                format!("client {} since {}: {:?}; ", host.number, call.since.0, call.asks)
            })
        });
        let calls: String = calls.collect();
        if calls.is_empty() { format!("{:?}", self.monitor.map().ranks) } else { calls }
    }

    /// One client does one thing while nothing else goes on.
    pub(super) fn perform(
        &mut self,
        client: usize,
        operation: Operation<Ino>,
    ) -> Result<Outcome<Ino>, Violation> {
        self.last = None;
        self.ask(client, 0, operation)?;
        let deadline = self.now.after(PATIENCE);
        loop {
            if let Some(outcome) = self.last.take() {
                return Ok(outcome);
            }
            if self.now > deadline {
                return Err(Violation::Hung(self.waiting()));
            }
            self.step()?;
        }
    }

    /// Every client looks at the whole tree; what they are told is checked like any answer.
    pub(super) fn walk(&mut self) -> Result<(), Violation> {
        for client in self.living() {
            self.walk_below(client, Ino::ROOT)?;
        }
        Ok(())
    }

    fn walk_below(&mut self, client: usize, dir: Ino) -> Result<(), Violation> {
        self.perform(client, Operation::Getattr { node: dir })?.ok();
        for (name, ino, kind) in self.names(client, dir)? {
            self.perform(client, Operation::Lookup { dir, name })?.ok();
            if kind == FileKind::Dir {
                self.walk_below(client, ino)?;
            } else {
                self.perform(client, Operation::Getattr { node: ino })?.ok();
                self.perform(client, Operation::ListXattr { node: ino })?.ok();
            }
        }
        Ok(())
    }

    fn names(
        &mut self,
        client: usize,
        dir: Ino,
    ) -> Result<Vec<(common::name::Name, Ino, FileKind)>, Violation> {
        Ok(match self.perform(client, Operation::Readdir { dir })? {
            Ok(Answer::Names(names)) => names,
            Ok(_) | Err(_) => Vec::new(),
        })
    }

    /// The power of the whole house fails: what was at rest is there again.
    pub(super) fn power_cycle(&mut self) -> Result<(), Violation> {
        for rank in 0..self.ranks.len() {
            if let Some(life) = self.ranks[rank].process.as_ref().map(|process| process.life) {
                self.die(life, Death::PowerLost);
            }
        }
        self.run_until_idle()
    }

    pub(super) fn remove_everything(&mut self) -> Result<(), Violation> {
        let living = self.living();
        self.remove_below(living[0], Ino::ROOT)?;
        for client in living {
            for ino in self.clients[client].kernel.opened() {
                while self.clients[client].kernel.opened().contains(&ino) {
                    self.clients[client].kernel.release(ino);
                    self.refer(client, References::Released { ino, handle: Handle(0) })?;
                }
            }
            loop {
                let idle = self.clients[client].kernel.idle();
                if idle.is_empty() {
                    break;
                }
                let host = &mut self.clients[client];
                let items = idle.into_iter().map(|ino| (ino, host.forget(ino))).collect();
                self.refer(client, References::Forgotten { items })?;
            }
        }
        self.run_for(SETTLE)
    }

    fn remove_below(&mut self, client: usize, dir: Ino) -> Result<(), Violation> {
        for (name, ino, kind) in self.names(client, dir)? {
            if kind == FileKind::Dir {
                self.remove_below(client, ino)?;
                self.perform(client, Operation::Rmdir { dir, name })?.ok();
            } else {
                self.perform(client, Operation::Unlink { dir, name })?.ok();
            }
        }
        Ok(())
    }

    /// What is stored is what the model has, and nothing is under way.
    pub(super) fn check_at_rest(&mut self) -> Result<(), Violation> {
        self.let_deletions_go();
        self.leftovers_until(|left| {
            left.frozen + left.auth_pins + left.waiting + left.sweeping == 0
        })?;
        self.until_nothing_is_copied()?;
        self.check_replicas()?;
        self.check_undamaged()?;
        self.check_locks()?;
        let (mut dirs, mut names) = (0, 0);
        for row in self.ranks.iter().flat_map(|host| host.disk.rows()) {
            match row {
                Row::Dir(id, _) => dirs += u64::from(id.ino != Ino::ROOT),
                Row::Entry(..) => names += 1,
                Row::Inode(..)
                | Row::Orphan(..)
                | Row::Session(..)
                | Row::Completed(..)
                | Row::Held(..)
                | Row::Copied(..)
                | Row::Drop(..)
                | Row::InoReserved(_)
                | Row::Clock(_)
                | Row::Notice(..)
                | Row::Evicted(_) => (),
            }
        }
        let expected = self.history.totals();
        if expected.contains(&(dirs, names)) {
            return Ok(());
        }
        Err(Violation::Stored { dirs, names, expected: format!("{expected:?}") })
    }

    /// Who looks at the tree has pinned directories read, and they go where they belong.
    fn until_nothing_is_copied(&mut self) -> Result<(), Violation> {
        let deadline = self.now.after(PATIENCE);
        let is_copied = |row: &Row| matches!(row, Row::Copied(..));
        while self.ranks.iter().flat_map(|host| host.disk.rows()).any(is_copied) {
            if self.now > deadline {
                return Err(Violation::Hung("a copy does not end".to_owned()));
            }
            self.run_for(SETTLE)?;
        }
        Ok(())
    }

    /// No store was put back as it once was: nobody may think so.
    fn check_undamaged(&self) -> Result<(), Violation> {
        for host in &self.ranks {
            let damage = host.process.as_ref().map(|process| &process.mds.holdings().damage);
            if let Some(damage) = damage.and_then(|damage| damage.first()) {
                let broken = format!("read-only: {damage}");
                return Err(Violation::Invariant { rank: host.rank, broken });
            }
        }
        Ok(())
    }

    /// S15: the authority knows of every replica of a directory that still exists, under its nonce.
    fn check_replicas(&self) -> Result<(), Violation> {
        for holder in &self.ranks {
            let Some(process) = &holder.process else { continue };
            for (dir, replica) in process.mds.holdings().spine.replicas() {
                let host = &self.ranks[usize::from(replica.authority.0)];
                let exists = |row: &Row| matches!(row, Row::Dir(id, _) if id.ino == dir);
                let known = host.process.as_ref().is_some_and(|authority| {
                    let mut holders = authority.mds.holdings().spine.holders(dir);
                    holders.any(|known| known == (holder.rank, replica.nonce))
                });
                if !known && host.disk.rows().any(exists) {
                    let broken = format!("{} does not know of its replica of {dir}", host.rank);
                    return Err(Violation::Invariant { rank: holder.rank, broken });
                }
            }
        }
        Ok(())
    }

    /// The tree is empty and nobody refers to anything: no rank keeps anything.
    pub(super) fn check_empty(&mut self) -> Result<(), Violation> {
        self.leftovers_until(|left| *left == Leftovers::default())?;
        let left: Vec<Ino> = self.data.difference(&self.gone.data).copied().collect();
        if left.is_empty() { Ok(()) } else { Err(Violation::DataLeft(left)) }
    }

    /// Asks every rank what it has left until that is as it should be.
    fn leftovers_until(&mut self, wanted: impl Fn(&Leftovers) -> bool) -> Result<(), Violation> {
        let deadline = self.now.after(PATIENCE);
        loop {
            let left = self.leftovers()?;
            let Some((rank, left)) = left.into_iter().find(|(_, left)| !wanted(left)) else {
                return Ok(());
            };
            if self.now > deadline {
                let left = format!("{left:?}; pinned: {}", self.pinned_at(rank));
                return Err(Violation::LeftOver { rank, left });
            }
            self.run_for(SETTLE)?;
        }
    }

    /// Who pins what at a rank.
    fn pinned_at(&self, rank: Rank) -> String {
        let host = &self.ranks[usize::from(rank.0)];
        let pins = host.process.as_ref().map(|process| &process.mds.holdings().pins);
        let clients = self.clients.iter().map(|client| client.id);
        let of = clients.flat_map(|client| pins.into_iter().flat_map(move |pins| pins.of(client)));
        of.map(|ino| format!("{ino} ({}); ", ino.0)).collect()
    }

    fn leftovers(&mut self) -> Result<BTreeMap<Rank, Leftovers>, Violation> {
        let mut all = BTreeMap::new();
        for rank in 0..self.settings.ranks {
            let rank = Rank(rank);
            if let AdminReply::Leftovers(left) = self.question(rank, AdminRequest::Leftovers)? {
                all.insert(rank, left);
            }
        }
        Ok(all)
    }

    /// Asks a rank as an operator would.
    pub fn question(&mut self, rank: Rank, request: AdminRequest) -> Result<AdminReply, Violation> {
        self.admin_last += 1;
        let id = AdminId(self.admin_last);
        let Some(life) = self.host(rank).process.as_ref().map(|process| process.life) else {
            return Err(Violation::NoAnswer(rank));
        };
        self.after(Duration::ZERO, Event::RankInput(life, Box::new(Input::Admin { id, request })));
        let deadline = self.now.after(PATIENCE);
        while self.now <= deadline {
            if let Some(reply) = self.admin_replies.remove(&id) {
                return Ok(reply);
            }
            self.step()?;
        }
        Err(Violation::NoAnswer(rank))
    }
}
