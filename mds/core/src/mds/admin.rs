//! Operators' questions and orders.

use common::id::{ClientId, Ino, MigrationId, Rank};
use common::migration::{MigrationCause, MigrationRecord};
use common::name::Name;
use common::time::Now;
use common::wire::admin::{
    AdminError, AdminReply, AdminRequest, Bound, Leftovers, Located, SessionEntry, Status,
    SubtreeEntry,
};
use common::wire::fsck::Scanned;

use super::repair::repair;
use super::{Caches, Mds};
use crate::capability::exclusive;
use crate::cx::{Cx, Step, Stop, Wait};
use crate::effect::{Effect, Effects};
use crate::holdings::Repeated;
use crate::input::AdminId;
use crate::migration::Order;
use crate::row::{DIR_LOST, Linkage};
use crate::subtree::{DirAuth, Freeze, Intent, Subtree};

/// Questions that wait for something to be fetched.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Questions {
    waiting: Vec<(AdminId, AdminRequest)>,
    /// Operators who want to know how a migration ends.
    for_the_end: Vec<(AdminId, MigrationId)>,
}

impl Mds {
    pub(super) fn on_admin(
        &mut self,
        now: Now,
        id: AdminId,
        request: AdminRequest,
        out: &mut Effects,
    ) {
        if let AdminRequest::AwaitMigration { id: migration } = request {
            self.admin.for_the_end.push((id, migration));
            return self.tell_of_ends(out);
        }
        match self.answer_admin(now, &request, out) {
            Ok(reply) => out.push(Effect::AnswerAdmin { id, reply }),
            Err(Stop::Wait(wait)) => {
                if let Wait::Fetch(fetch) = wait {
                    self.own.namespace.fetch(fetch, out);
                }
                self.admin.waiting.push((id, request));
            }
            Err(Stop::Refuse(_) | Stop::Redirect(_) | Stop::Gone(_) | Stop::TwoPhase) => {
                out.push(Effect::AnswerAdmin {
                    id,
                    reply: AdminReply::Refused(AdminError::Malformed),
                });
            }
        }
    }

    /// Something was fetched: perhaps what a question waited for.
    pub(super) fn retry_questions(&mut self, now: Now, out: &mut Effects) {
        for (id, request) in std::mem::take(&mut self.admin.waiting) {
            self.on_admin(now, id, request, out);
        }
    }

    /// Answers those who waited for a migration that is over by now, or that nobody knows.
    pub(super) fn tell_of_ends(&mut self, out: &mut Effects) {
        if self.admin.for_the_end.is_empty() {
            return;
        }
        let records = self.migrator.records();
        for (id, migration) in std::mem::take(&mut self.admin.for_the_end) {
            let record = records.iter().find(|record| record.id == migration);
            let reply = match record {
                Some(record) if !record.is_over() => {
                    self.admin.for_the_end.push((id, migration));
                    continue;
                }
                Some(record) => AdminReply::MigrationOver(MigrationRecord::clone(record)),
                None => AdminReply::Refused(AdminError::NoSuchMigration),
            };
            out.push(Effect::AnswerAdmin { id, reply });
        }
    }

    fn answer_admin(
        &mut self,
        now: Now,
        request: &AdminRequest,
        out: &mut Effects,
    ) -> Step<AdminReply> {
        match (request, self.recovery.is_serving()) {
            (AdminRequest::Status, _) => Ok(AdminReply::Status(self.status())),
            (AdminRequest::Leftovers, _) => Ok(AdminReply::Leftovers(self.leftovers())),
            (AdminRequest::EvictSession { client }, _) => {
                Ok(self.evict_by_order(now, *client, out))
            }
            (AdminRequest::AwaitMigration { .. }, _) => {
                unreachable!("whoever waits for an end is told when it has come")
            }
            (AdminRequest::Export { .. }, true) if self.own.repeated == Repeated::NotYet => {
                Err(Stop::Wait(Wait::Repeated))
            }
            (AdminRequest::Export { dir, to }, true) => {
                let order = Order { dir: *dir, to: *to, cause: MigrationCause::Operator };
                self.export(now, &order, out)
            }
            (AdminRequest::CancelMigration { id }, true) => {
                Ok(self.cancel_migration(now, *id, out))
            }
            (AdminRequest::Migrations, true) => Ok(AdminReply::Migrations(self.migrator.records())),
            (AdminRequest::SettleMigration { id, verdict }, true) => {
                Ok(self.settle_migration(now, *id, *verdict, out))
            }
            (AdminRequest::Subtrees, true) => {
                let (cx, _) = self.split(now, out);
                Ok(AdminReply::Subtrees(subtrees(&cx)?))
            }
            // The driver reads the rows.
            (AdminRequest::Scan { .. }, true) => Ok(AdminReply::Scanned(Scanned::default())),
            (AdminRequest::Repair(order), true) => {
                let (mut cx, _) = self.split(now, out);
                match repair(&mut cx, order) {
                    Ok(repaired) => Ok(AdminReply::Repaired(repaired)),
                    Err(Stop::Wait(
                        wait @ (Wait::Fetch(_) | Wait::Recall(_) | Wait::Strangers),
                    )) => Err(Stop::Wait(wait)),
                    Err(_) => Ok(AdminReply::Refused(AdminError::NotHere)),
                }
            }
            (AdminRequest::Locate { dir, names }, true) => {
                let (mut cx, _) = self.split(now, out);
                Ok(AdminReply::Located(locate(&mut cx, *dir, names)?))
            }
            (
                AdminRequest::Export { .. }
                | AdminRequest::CancelMigration { .. }
                | AdminRequest::Migrations
                | AdminRequest::SettleMigration { .. }
                | AdminRequest::Subtrees
                | AdminRequest::Scan { .. }
                | AdminRequest::Repair(_)
                | AdminRequest::Locate { .. },
                false,
            ) => Ok(AdminReply::Refused(AdminError::NotActive)),
        }
    }

    fn evict_by_order(&mut self, now: Now, client: ClientId, out: &mut Effects) -> AdminReply {
        let Some(session) = self.own.sessions.get(client) else {
            return AdminReply::Refused(AdminError::NoSession);
        };
        let conn = session.conn();
        tracing::info!(client = client.0, "session ended by an operator");
        self.evict(now, client, Caches::Last, out);
        if let Some(conn) = conn {
            self.send_away(conn, out);
        }
        AdminReply::Evicted
    }

    fn status(&self) -> Status {
        let sessions = self
            .own
            .sessions
            .iter()
            .map(|(client, session)| SessionEntry {
                client,
                pins: self.own.pins.of(client).count() as u64,
                connected: session.conn().is_some(),
            })
            .collect();
        let (open, closed): (Vec<_>, Vec<_>) =
            self.own.namespace.orphans().partition(|(ino, _)| self.own.pins.is_pinned(*ino));
        Status {
            rank: self.params.me,
            incarnation: self.params.incarnation,
            state: self.recovery.state(),
            map_epoch: self.map.epoch,
            sessions,
            subtrees: self
                .own
                .subtrees
                .iter()
                .filter(|(_, subtree)| is_mine(subtree, self.params.me))
                .count() as u64,
            cached_dirs: self.own.namespace.cached_dirs(),
            cached_entries: self.own.namespace.cached_entries(),
            requests_waiting: self.requests.waiting() + self.clients.waiting(),
            migrations_running: self.migrator.running(),
            orphans: open.len() as u64,
            purging: closed.len() as u64,
            requests: self.requests.answered(),
            load: self.balancer.load(),
            damage: self.own.damage.clone(),
        }
    }

    /// What the core knows; the driver adds the counts of rows.
    fn leftovers(&self) -> Leftovers {
        let frozen =
            self.own.subtrees.iter().filter(|(_, subtree)| subtree.freeze != Freeze::Live).count();
        Leftovers {
            pins: self.own.pins.count(),
            frozen: frozen as u64,
            auth_pins: self.own.subtrees.auth_pins(),
            sweeping: self.own.sweep.len(),
            waiting: self.requests.waiting() + self.clients.waiting(),
            ..Leftovers::default()
        }
    }
}

fn is_mine(subtree: &Subtree, me: Rank) -> bool {
    match subtree.auth {
        DirAuth::Sole(rank) | DirAuth::Ambiguous { first: rank, .. } => rank == me,
    }
}

fn presumed(subtree: &Subtree) -> Rank {
    match subtree.auth {
        DirAuth::Sole(rank) | DirAuth::Ambiguous { first: rank, .. } => rank,
    }
}

fn subtrees(cx: &Cx<'_>) -> Step<Vec<SubtreeEntry>> {
    let mut entries = Vec::new();
    for (base, subtree) in
        cx.own.subtrees.iter().filter(|(_, subtree)| is_mine(subtree, cx.params.me))
    {
        let bounds = cx.own.subtrees.bounds(base, &cx.own.namespace)?;
        let bounds = bounds
            .into_iter()
            .filter_map(|base| Some(Bound { base, auth: presumed(cx.own.subtrees.get(base)?) }))
            .collect();
        let dir = cx.own.namespace.dir(base.ino)?;
        let is_lost = dir.is_some_and(|dir| dir.xattrs.keys().any(|name| *name.0 == *DIR_LOST));
        let state = match (subtree.auth, subtree.freeze) {
            (DirAuth::Ambiguous { .. }, _) => "in doubt",
            (DirAuth::Sole(_), Freeze::Live) if is_lost => "lost",
            (DirAuth::Sole(_), Freeze::Live) => "live",
            (DirAuth::Sole(_), Freeze::Freezing) => "freezing",
            (DirAuth::Sole(_), Freeze::ReadOnly | Freeze::Sealed | Freeze::Frozen) => "frozen",
        };
        entries.push(SubtreeEntry {
            base,
            path: cx.path_of(base.ino)?,
            auth: presumed(subtree),
            epoch: subtree.epoch,
            state: state.to_owned(),
            pinned: dir.and_then(|dir| dir.pin),
            bounds,
            load: 0,
        });
    }
    Ok(entries)
}

fn locate(cx: &mut Cx<'_>, dir: Ino, names: &[Name]) -> Step<Located> {
    let mut here = dir;
    for (position, name) in (0u32..).zip(names) {
        match cx.admit(here, Intent::Read) {
            Ok(_) => {}
            Err(Stop::Redirect(route)) => {
                return Ok(Located::Elsewhere { dir: here, rank: route.rank, followed: position });
            }
            Err(stop) => return Err(stop),
        }
        exclusive::admit(cx, here, None)?;
        match cx.entry(here, name)? {
            None => return Ok(Located::Missing { position }),
            Some(Linkage::Dir { ino }) => {
                let rank = cx.rank_of_dir(ino, here)?;
                if rank != cx.me() {
                    return Ok(Located::Elsewhere { dir: ino, rank, followed: position + 1 });
                }
                here = ino;
            }
            Some(Linkage::Primary(_) | Linkage::Remote { .. })
                if position as usize + 1 < names.len() =>
            {
                return Ok(Located::Missing { position: position + 1 });
            }
            Some(Linkage::Primary(_) | Linkage::Remote { .. }) => return Ok(Located::NotDirectory),
        }
    }
    match cx.admit(here, Intent::Read) {
        Err(Stop::Redirect(route)) => {
            let followed = u32::try_from(names.len()).unwrap_or(u32::MAX);
            Ok(Located::Elsewhere { dir: here, rank: route.rank, followed })
        }
        Err(Stop::Wait(wait)) => Err(Stop::Wait(wait)),
        // Of a directory that is gone whoever acts on it will hear.
        Ok(_) | Err(_) => Ok(Located::Dir { ino: here }),
    }
}
