//! The stages a rank goes through: what it does on entering one, and when it asks for the next.

use common::id::{ClientId, Incarnation, Ino, Rank};
use common::mds_map::RankState;
use common::time::Now;

use super::{Caches, Mds};
use crate::cx::{Cx, Wait};
use crate::effect::{Effect, Effects};
use crate::holdings::Repeated;
use crate::kill_point::KillPoint;
use crate::message::claims::ClaimsMsg;
use crate::mutant::mutated;
use crate::recovery;
use crate::timer::Timer;

impl Mds {
    /// Leaves `Replay` once inode numbers can be lent.
    pub(super) fn advance_life(&mut self, out: &mut Effects) {
        if self.recovery.state() == RankState::Replay {
            let alone = self.map.ranks.len() <= 1;
            out.push(Effect::WantState(if alone {
                RankState::Reconnect
            } else {
                RankState::Resolve
            }));
        }
    }

    /// The monitor has granted a stage.
    pub(super) fn enter(&mut self, now: Now, state: RankState, out: &mut Effects) {
        tracing::debug!(
            rank = self.params.me.0,
            from = self.recovery.state().name(),
            to = state.name(),
            "life"
        );
        self.recovery.enter(state);
        match state {
            RankState::Down | RankState::Replay => {}
            RankState::Resolve => {
                out.reached(KillPoint::ResolveBegun);
                if mutated!(self.params, ResolveAwaitsMigrations) && self.migrator.running() > 0 {
                    return;
                }
                recovery::claims::announce(&mut self.split(now, out).0);
                out.push(Effect::WantState(RankState::Reconnect));
            }
            RankState::Reconnect => {
                out.reached(KillPoint::ReconnectBegun);
                self.open_waiting(now, out);
                if self.recovery.expects_clients() {
                    let at = now.monotonic.after(self.params.reconnect_window);
                    out.push(Effect::SetTimer { timer: Timer::ReconnectWindow, at });
                } else {
                    out.push(Effect::WantState(RankState::Rejoin));
                }
            }
            RankState::Rejoin => {
                out.reached(KillPoint::RejoinBegun);
                out.push(Effect::WantState(RankState::Active));
            }
            RankState::Active => {
                self.begin_serving(now, out);
                out.reached(KillPoint::ActiveBegun);
            }
            RankState::Stopping => {}
        }
    }

    pub(super) fn on_claims_msg(
        &mut self,
        now: Now,
        from: (Rank, Incarnation),
        msg: ClaimsMsg,
        out: &mut Effects,
    ) {
        let mut cx = Cx { now, params: &self.params, map: &self.map, own: &mut self.own, out };
        self.recovery.claims.on_message(from, msg, &mut cx);
    }

    /// Something was fetched.
    pub(super) fn compare_claims(&mut self, now: Now, out: &mut Effects) {
        if self.recovery.claims.waits() {
            let mut cx = Cx { now, params: &self.params, map: &self.map, own: &mut self.own, out };
            self.recovery.claims.go_on(&mut cx);
        }
    }

    /// A client known from before has claimed and replayed, or will not.
    pub(super) fn on_client_returned(&mut self, _now: Now, client: ClientId, out: &mut Effects) {
        if self.recovery.on_claims_done(client) && self.recovery.state() == RankState::Reconnect {
            out.push(Effect::StopTimer(Timer::ReconnectWindow));
            out.push(Effect::WantState(RankState::Rejoin));
        }
    }

    /// Clients that did not come back in time have lost their sessions.
    pub(super) fn on_reconnect_window(&mut self, now: Now, out: &mut Effects) {
        for client in self.recovery.take_expected() {
            // Not of whom an operator has evicted, unless it has begun another one.
            if self.own.sessions.get(client).is_some() {
                tracing::info!(
                    client = client.0,
                    "session ended: the client did not reconnect in time"
                );
                self.evict(now, client, Caches::Gone, out);
            }
        }
        if self.recovery.state() == RankState::Reconnect {
            out.push(Effect::WantState(RankState::Rejoin));
        }
    }

    /// First what clients replay, in the order in which it was once applied, then what is new.
    fn begin_serving(&mut self, now: Now, out: &mut Effects) {
        self.set_pins_timer(now, out);
        self.set_balancer_timer(now, out);
        self.set_spine_timer(now, out);
        self.resume_migrations(now, out);
        self.on_loss(now, out);
        self.open_waiting(now, out);
        self.clients.begin_replay(&self.params);
        self.continue_replay(now, out);
    }

    /// Replays as far as nothing has to be waited for; at the end, new requests begin.
    pub(super) fn continue_replay(&mut self, now: Now, out: &mut Effects) {
        if self.clients.replay_is_over() || !self.recovery.is_serving() {
            return;
        }
        loop {
            for stumbled in self.requests.take_stumbled() {
                if let Some(hopeless) = self.clients.put_back(stumbled) {
                    self.requests.give_up(&hopeless);
                    self.run_request(now, hopeless, out);
                }
            }
            let Some(parked) = self.clients.next_replay(&self.requests) else { break };
            self.run_request(now, parked, out);
        }
        let over = self.clients.replay_is_over();
        let repeated = self.clients.is_repeated();
        let current = self.clients.repeating();
        // Should others wait for this rank as it does for them, somebody has to begin.
        let waits = current.is_some_and(|(client, id)| self.requests.is_handed_over(client, id));
        if (repeated || waits) && self.own.repeated == Repeated::NotYet {
            self.own.repeated = Repeated::Yes;
            self.wake(now, &Wait::Repeated, out);
        }
        if over {
            self.begin_new_requests(now, out);
        }
    }

    fn begin_new_requests(&mut self, now: Now, out: &mut Effects) {
        for parked in self.clients.take_early() {
            self.run_request(now, parked, out);
        }
        let orphans: Vec<Ino> = self.own.namespace.orphans().map(|(ino, _)| ino).collect();
        for ino in orphans {
            if !self.own.pins.is_pinned(ino) {
                self.own.purge(ino, out);
            }
        }
    }

    pub(super) fn on_purged(&mut self, ino: Ino, out: &mut Effects) {
        if self.own.namespace.orphan(ino).is_some() && !self.own.pins.is_pinned(ino) {
            self.own.namespace.remove_orphan(ino, out);
        }
    }
}
