//! `Mds`: owns the parts and dispatches. No logic of its own.

use std::collections::BTreeSet;

use common::id::{ClientId, ClusterId, Incarnation, MapEpoch, Rank, Seq};
use common::mds_map::{MdsMap, RankState, Switch};
use common::time::Now;

use crate::balancer::Balancer;
use crate::capability::exclusive;
use crate::check;
use crate::cx::{Cx, Wait};
use crate::effect::{AbortReason, Effect, Effects};
use crate::holdings::Holdings;
use crate::input::{Input, Restored};
use crate::journal::entry::Entry;
use crate::lost::Lost;
use crate::message::PeerMsg;
use crate::message::session::SessionMsg;
use crate::migration::Migrator;
use crate::migration::sweep;
use crate::mutant::mutated;
use crate::namespace::Namespace;
use crate::params::Params;
use crate::recovery::{Recovery, replay};
use crate::request::{Parked, Requests, Verdict};
use crate::row::Row;
use crate::timer::Timer;
use crate::two_phase::TwoPhase;

mod admin;
mod balancer;
mod claim;
mod client;
mod early_mail;
mod file_lock;
mod life;
mod lost;
mod migration;
mod repair;
mod slow;
mod two_phase;

/// What its kernel has cached when a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Caches {
    /// Nothing: it was silent for longer than that lasts, or has said that it is gone.
    Gone,
    /// Anything that it was told, until that ends by itself.
    Last,
}

/// One metadata server.
#[derive(Clone, Debug, Hash)]
pub struct Mds {
    params: Params,
    map: MdsMap,
    own: Holdings,
    requests: Requests,
    two_phase: TwoPhase,
    recovery: Recovery,
    lost: Lost,
    migrator: Migrator,
    balancer: Balancer,
    clients: client::Clients,
    admin: admin::Questions,
    slow: slow::Slow,
    lock_waits: file_lock::LockWaits,
    early_mail: early_mail::EarlyMail,
}

/// What a new file system's store of slot 0 begins with.
#[must_use]
pub fn format_root(now: Now) -> (Vec<Row>, Vec<Entry>) {
    let root = Namespace::root(now.wall);
    let id = common::id::DirFragId::whole(common::id::Ino::ROOT);
    (vec![Row::Dir(id, root)], vec![Entry::SubtreeMap(replay::root_claims(Rank::ROOT))])
}

impl Mds {
    /// Replays what the store holds. The rank serves nothing until the monitor has led it through
    /// its stages.
    #[must_use]
    pub fn new(params: Params, restored: Restored, now: Now, out: &mut Effects) -> Self {
        let journal = restored.journal.clone();
        let replay::Replayed { mut own, migrations, evicted } = replay::replay(&params, restored);
        let map = no_map(params.cluster, &params);
        let mut cx = Cx { now, params: &params, map: &map, own: &mut own, out };
        let two_phase = TwoPhase::restore(&mut cx, &journal);
        let migrator = Migrator::restore(migrations, &mut cx);
        let seq = own.advance();
        own.inos.reserve(seq, out);
        let all = mutated!(params, ImportedSessionsExpected);
        let known = own.sessions.iter().filter(|(_, session)| all || !session.stored().untold);
        let expected = known.map(|(client, _)| client).chain(evicted.iter().copied()).collect();
        for client in &evicted {
            own.capabilities.evicted.restore(*client, now.monotonic);
        }
        own.capabilities.suspect(evicted, now.monotonic);
        Self {
            map,
            two_phase,
            recovery: Recovery::new(expected),
            lost: Lost::default(),
            requests: Requests::default(),
            migrator,
            balancer: Balancer::default(),
            clients: client::Clients::default(),
            admin: admin::Questions::default(),
            slow: slow::Slow::default(),
            lock_waits: file_lock::LockWaits::default(),
            early_mail: early_mail::EarlyMail::default(),
            params,
            own,
        }
    }

    /// The only way in. Same state, same `now`, same input: same effects.
    pub fn handle(&mut self, now: Now, input: Input, out: &mut Effects) {
        match input {
            Input::Client { conn, client, msg } => self.on_client(now, (conn, client), msg, out),
            Input::ClientGone { conn, client } => {
                self.own.sessions.disconnect(client, conn);
                self.clients.gone(conn);
            }
            Input::Peer { from, incarnation, msg } => {
                self.on_peer(now, (from, incarnation), msg, out)
            }
            Input::Durable { through } => self.on_durable(now, through, out),
            Input::Fetched(fetched) => {
                let fetched = sweep::without_listed(fetched, &self.own);
                let asked = self.own.namespace.on_fetched(fetched);
                self.clients.claims.on_fetched(&asked);
                // What is held here by mistake is not given back here.
                self.verify_claims(out);
                self.wake(now, &Wait::Fetch(asked), out);
                self.go_on_after_loss(now, out);
                self.compare_claims(now, out);
            }
            Input::Purged { ino } => self.on_purged(ino, out),
            Input::Map(map) => self.on_map(now, map, out),
            Input::Timer(timer) => self.on_timer(now, timer, out),
            Input::Admin { id, request } => self.on_admin(now, id, request, out),
        }
        self.verify_claims(out);
        self.continue_replay(now, out);
        loop {
            self.poke_migrations(now, out);
            if !self.wake_unlocked(now, out) && !self.wake_let_go(now, out) {
                break;
            }
        }
        self.tell_of_ends(out);
        self.own.namespace.trim(self.params.cache_rows_max);
        // What was not told to anybody is of no client's doing.
        let _untold = self.own.namespace.take_touched();
    }

    /// # Errors
    /// The first invariant of this rank that does not hold.
    pub fn check(&self) -> Result<(), check::Broken> {
        check::check(check::Rank {
            me: self.params.me,
            own: &self.own,
            requests: &self.requests,
            two_phase: &self.two_phase,
            migrator: &self.migrator,
        })
    }

    /// The position reached: what a sync begun after this turn was written makes durable.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.own.seq
    }

    #[must_use]
    pub fn state(&self) -> RankState {
        self.recovery.state()
    }

    #[must_use]
    pub fn holdings(&self) -> &Holdings {
        &self.own
    }

    /// Regions that are frozen for a migration.
    pub fn frozen_regions(&self) -> impl Iterator<Item = crate::migration::Region<'_>> {
        self.migrator.frozen_regions()
    }

    /// Requests that wait, for whatever.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.requests.waiting()
    }

    fn split<'a>(&'a mut self, now: Now, out: &'a mut Effects) -> (Cx<'a>, &'a mut Requests) {
        let cx = Cx { now, params: &self.params, map: &self.map, own: &mut self.own, out };
        (cx, &mut self.requests)
    }

    /// What requests and questions waited for has come.
    fn wake(&mut self, now: Now, wait: &Wait, out: &mut Effects) {
        let (mut cx, requests) = self.split(now, out);
        let handed_over = requests.wake(wait, &mut cx);
        self.begin_two_phase(now, handed_over, out);
        self.wake_two_phase(now, wait, out);
        self.retry_questions(now, out);
    }

    /// Whoever waits for a directory that its holder has let go in this turn tries again. Tells whether
    /// there was anything.
    fn wake_let_go(&mut self, now: Now, out: &mut Effects) -> bool {
        let (exclusives, sessions) = (&mut self.own.capabilities.exclusives, &self.own.sessions);
        let mut waits: Vec<Wait> =
            exclusives.take_released().into_iter().map(Wait::Recall).collect();
        if exclusives.strangers_have_come(sessions) {
            waits.push(Wait::Strangers);
        }
        for wait in &waits {
            self.wake(now, wait, out);
        }
        !waits.is_empty()
    }

    fn run_request(&mut self, now: Now, parked: Parked, out: &mut Effects) {
        if let Some(dir) = parked.request.op.dir() {
            self.balancer.hit(dir);
        }
        let (mut cx, requests) = self.split(now, out);
        match requests.admit(parked.client, parked.request, &mut cx) {
            Verdict::Kept => {}
            Verdict::TwoPhase(parked) => self.begin_two_phase(now, vec![parked], out),
        }
    }

    /// What a dead incarnation says is not heard, and what a future one says is heard when the map shows it: that
    /// decides who is who.
    fn on_peer(
        &mut self,
        now: Now,
        (from, incarnation): (Rank, Incarnation),
        msg: PeerMsg,
        out: &mut Effects,
    ) {
        let begun = self.map.ranks.get(&from).map(|entry| entry.incarnation);
        if begun.is_none_or(|begun| begun < incarnation) {
            // It has its map earlier than this rank, and may not say it again.
            return self.early_mail.keep(from, incarnation, msg);
        }
        if self.map.incarnation(from) != Some(incarnation) {
            tracing::debug!(
                from = from.0,
                incarnation = incarnation.0,
                "message of another incarnation"
            );
            return;
        }
        match msg {
            PeerMsg::Replica(msg) => self.on_replica(now, from, msg, out),
            PeerMsg::TwoPhase(msg) => self.on_two_phase(now, (from, incarnation), msg, out),
            PeerMsg::Load(msg) => self.on_load(now, from, msg, out),
            PeerMsg::Lost(msg) => self.on_lost_msg(now, from, msg, out),
            PeerMsg::Session(SessionMsg::Untold { client }) => self.on_untold(from, client, out),
            PeerMsg::Session(SessionMsg::Unknown { client }) => {
                self.on_unknown(now, from, client, out)
            }
            PeerMsg::Deadlock(msg) => self.on_deadlock_msg(now, msg, out),
            PeerMsg::Claims(msg) => self.on_claims_msg(now, (from, incarnation), msg, out),
            PeerMsg::Migration(msg) => self.on_migration_msg(now, from, msg, out),
        }
    }

    fn on_durable(&mut self, now: Now, through: Seq, out: &mut Effects) {
        self.own.durable = self.own.durable.max(through);
        self.own.inos.on_durable(through);
        self.own.sessions.tell_notices(through, out);
        self.own.sessions.tell_durable(through, out);
        self.own.sessions.tell_lent(through, self.map.epoch, out);
        self.own.capabilities.undurable.on_durable(through);
        let (mut cx, requests) = self.split(now, out);
        let handed_over = requests.wake_durable(through, &mut cx);
        self.begin_two_phase(now, handed_over, out);
        self.two_phase_durable(now, through, out);
        self.on_migrations_durable(now, through, out);
        self.go_on_after_loss(now, out);
        self.see_off(through, out);
        self.open_waiting(now, out);
        self.advance_life(out);
    }

    fn on_timer(&mut self, now: Now, timer: Timer, out: &mut Effects) {
        match timer {
            Timer::Lease(client) => self.on_lease(now, client, out),
            Timer::ReconnectWindow => self.on_reconnect_window(now, out),
            Timer::Exporter(_) | Timer::Importer(_) | Timer::Sweep => {
                self.on_migration_timer(now, timer, out)
            }
            Timer::Pins => self.on_pins_timer(now, out),
            Timer::Spine => self.on_spine_timer(now, out),
            Timer::LockProbe => self.on_probe_timer(now, out),
            Timer::Balancer => self.on_balancer_timer(now, out),
        }
    }

    /// The session is over: its lease ran out, an operator ended it, or it was left.
    fn evict(&mut self, now: Now, client: ClientId, caches: Caches, out: &mut Effects) {
        self.clients.forget(client);
        self.own.end_session(client, out);
        exclusive::end_session(&mut self.split(now, out).0, client, caches == Caches::Last);
        let awaited = match caches {
            Caches::Gone => {
                self.own.capabilities.forget_client(client);
                BTreeSet::new()
            }
            Caches::Last => {
                self.own.capabilities.evicted.note(client, now.monotonic, out);
                self.own.capabilities.told_to(client)
            }
        };
        let (mut cx, requests) = self.split(now, out);
        requests.forget_client(client, &awaited, &mut cx);
        self.two_phase_acked(now, client, |notice| !awaited.contains(&notice), out);
        if caches == Caches::Gone {
            self.on_client_returned(now, client, out);
        }
    }

    fn on_map(&mut self, now: Now, map: MdsMap, out: &mut Effects) {
        if map.epoch <= self.map.epoch {
            return;
        }
        let current = map.incarnation(self.params.me);
        if current.is_some_and(|current| current > self.params.incarnation) {
            out.push(Effect::Abort { reason: AbortReason::Superseded });
            return;
        }
        let state = if current == Some(self.params.incarnation) {
            map.state(self.params.me)
        } else {
            self.recovery.state()
        };
        let dead = deaths(&self.map, &map, self.params.me);
        let before = std::mem::replace(&mut self.map, map);
        for rank in dead {
            self.on_rank_down(now, rank, out);
        }
        if state != self.recovery.state() {
            self.enter(now, state, out);
        }
        self.on_ranks_changed(now, &before, out);
        self.wake_thawed(now, out);
        if before.is_degraded() && !self.map.is_degraded() {
            self.renew_untold(now, out);
        }
        if self.map.lost == before.lost {
            self.look_after_lost(now, out);
        } else {
            self.on_loss(now, out);
        }
        self.wake(now, &Wait::Map, out);
        for (from, incarnation, msg) in self.early_mail.due(&self.map) {
            self.on_peer(now, (from, incarnation), msg, out);
        }
    }
}

/// Ranks of which a life has ended between two maps.
fn deaths(old: &MdsMap, new: &MdsMap, me: Rank) -> Vec<Rank> {
    old.ranks.keys().copied().filter(|rank| *rank != me && has_died(*rank, old, new)).collect()
}

/// Maps may be skipped: a life may have begun, granted us something through others, and ended, and
/// none of ours has shown it.
fn has_died(rank: Rank, old: &MdsMap, new: &MdsMap) -> bool {
    if old.incarnation(rank).is_some() {
        return old.incarnation(rank) != new.incarnation(rank);
    }
    let last = |map: &MdsMap| map.ranks.get(&rank).map_or(0, |entry| entry.incarnation.0);
    let alive = u64::from(new.incarnation(rank).is_some());
    old.ranks.contains_key(&rank) && last(new) > last(old) + alive
}

fn no_map(cluster: ClusterId, params: &Params) -> MdsMap {
    MdsMap {
        epoch: MapEpoch(0),
        cluster,
        name_hash_key: params.name_hash_key,
        ranks: std::collections::BTreeMap::new(),
        slots: std::collections::BTreeMap::new(),
        data_stores: Vec::new(),
        balancer: Switch::Off,
        lost: BTreeSet::new(),
    }
}

#[cfg(test)]
mod client_tests;
#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod tests;
