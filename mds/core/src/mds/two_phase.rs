//! Operations of several ranks, and replicas: where they meet requests and the map.

use common::id::{ClientId, Incarnation, NoticeId, Rank, Seq};
use common::limit::SPINE_TRIM;
use common::mds_map::MdsMap;
use common::time::Now;

use super::{Mds, has_died};
use crate::capability::exclusive;
use crate::cx::{Cx, Wait};
use crate::effect::{Effect, Effects};
use crate::message::replica::ReplicaMsg;
use crate::message::two_phase::TwoPhaseMsg;
use crate::replica;
use crate::request::{Parked, Verdict};
use crate::timer::Timer;
use crate::two_phase::TwoPhase;
use crate::two_phase::post::Ended;

impl Mds {
    #[must_use]
    pub fn two_phase(&self) -> &TwoPhase {
        &self.two_phase
    }

    pub(super) fn begin_two_phase(
        &mut self,
        now: Now,
        handed_over: Vec<Parked>,
        out: &mut Effects,
    ) {
        for parked in handed_over {
            self.in_two_phase(now, out, |two_phase, cx| two_phase.begin(cx, parked));
        }
    }

    pub(super) fn on_two_phase(
        &mut self,
        now: Now,
        from: (Rank, Incarnation),
        msg: TwoPhaseMsg,
        out: &mut Effects,
    ) {
        self.in_two_phase(now, out, |two_phase, cx| two_phase.on_message(cx, from, msg));
    }

    pub(super) fn wake_two_phase(&mut self, now: Now, wait: &Wait, out: &mut Effects) {
        let (mut cx, _) = self.split(now, out);
        replica::wake(&mut cx, wait);
        self.in_two_phase(now, out, |two_phase, cx| two_phase.wake(cx, wait));
    }

    pub(super) fn two_phase_durable(&mut self, now: Now, through: Seq, out: &mut Effects) {
        self.in_two_phase(now, out, |two_phase, cx| two_phase.on_durable(cx, through));
    }

    /// What a lost rank would have to settle is settled without it.
    pub(super) fn two_phase_lost(&mut self, now: Now, out: &mut Effects) {
        self.in_two_phase(now, out, TwoPhase::settle_lost);
    }

    /// A client has acknowledged notices, or need not.
    pub(super) fn two_phase_acked(
        &mut self,
        now: Now,
        client: ClientId,
        knows: impl Fn(NoticeId) -> bool,
        out: &mut Effects,
    ) {
        self.in_two_phase(now, out, |two_phase, cx| two_phase.on_client_acked(cx, client, knows));
    }

    pub(super) fn on_replica(&mut self, now: Now, from: Rank, msg: ReplicaMsg, out: &mut Effects) {
        let (mut cx, _) = self.split(now, out);
        match replica::on_message(&mut cx, from, msg) {
            replica::Outcome::Nothing => {}
            replica::Outcome::Woken(wait) => self.wake(now, &wait, out),
            replica::Outcome::MovedAcked { dir, holder } => {
                self.in_two_phase(now, out, |two_phase, cx| {
                    two_phase.on_replica_acked(cx, dir, holder);
                });
            }
        }
    }

    pub(super) fn set_spine_timer(&self, now: Now, out: &mut Effects) {
        let at = now.monotonic.after(SPINE_TRIM);
        out.push(Effect::SetTimer { timer: Timer::Spine, at });
    }

    pub(super) fn on_spine_timer(&mut self, now: Now, out: &mut Effects) {
        self.set_spine_timer(now, out);
        let mut relied = self.migrator.relied();
        relied.paths.extend(self.two_phase.paths());
        let (mut cx, _) = self.split(now, out);
        replica::trim::trim(&mut cx, relied);
        self.look_after_lost(now, out);
        exclusive::trim(&mut self.split(now, out).0);
        self.own.capabilities.evicted.trim(now.monotonic, out);
        for (client, notice) in self.own.capabilities.trim(now.monotonic) {
            self.heard(now, client, notice, out);
        }
        self.tell_slow();
    }

    /// Ranks whose life ended, and ranks that have a new one.
    pub(super) fn on_ranks_changed(&mut self, now: Now, before: &MdsMap, out: &mut Effects) {
        let ranks: Vec<Rank> = self.map.ranks.keys().chain(before.ranks.keys()).copied().collect();
        let mut changed: Vec<Rank> = ranks
            .into_iter()
            .filter(|rank| {
                before.incarnation(*rank) != self.map.incarnation(*rank)
                    || has_died(*rank, before, &self.map)
            })
            .collect();
        changed.sort_unstable();
        changed.dedup();
        let mut woken = Vec::new();
        for rank in changed {
            if has_died(rank, before, &self.map) && rank != self.params.me {
                let (mut cx, _) = self.split(now, out);
                woken.extend(replica::on_rank_changed(&mut cx, rank));
                self.in_two_phase(now, out, |two_phase, cx| two_phase.on_rank_down(cx, rank));
            }
            if self.map.incarnation(rank).is_some() {
                self.in_two_phase(now, out, |two_phase, cx| two_phase.on_rank_returned(cx, rank));
                self.on_exporter_returned(now, rank, out);
            }
        }
        let (mut cx, _) = self.split(now, out);
        woken.extend(replica::on_map(&mut cx));
        for wait in woken {
            self.wake(now, &wait, out);
        }
        self.in_two_phase(now, out, TwoPhase::on_map);
    }

    fn in_two_phase(
        &mut self,
        now: Now,
        out: &mut Effects,
        work: impl FnOnce(&mut TwoPhase, &mut Cx<'_>),
    ) {
        let mut cx = Cx { now, params: &self.params, map: &self.map, own: &mut self.own, out };
        work(&mut self.two_phase, &mut cx);
        self.hear_two_phase(now, out);
    }

    /// Requests go on with what has come of operations of several ranks.
    fn hear_two_phase(&mut self, now: Now, out: &mut Effects) {
        let (ended, woken) = self.two_phase.take_news();
        for ended in ended {
            let (mut cx, requests) = self.split(now, out);
            match ended {
                Ended::Done { parked, applied, done } => {
                    requests.finish_two_phase(&parked, applied, done, &mut cx);
                }
                Ended::Stopped { parked, stop } => requests.stop_two_phase(parked, stop, &mut cx),
                Ended::Again { parked } => match requests.retry_two_phase(parked, &mut cx) {
                    Verdict::Kept => {}
                    Verdict::TwoPhase(parked) => self.begin_two_phase(now, vec![parked], out),
                },
            }
        }
        for wait in woken {
            self.wake(now, &wait, out);
        }
    }
}

#[cfg(test)]
impl Mds {
    /// As a migration would, and as it would tell that the freeze is over.
    pub(crate) fn freeze_for_test(
        &mut self,
        base: common::id::DirFragId,
        freeze: crate::subtree::Freeze,
    ) {
        self.own.subtrees.get_mut(base).expect("a base").freeze = freeze;
    }

    pub(crate) fn uncache_for_test(&mut self, dir: common::id::Ino) {
        self.own.namespace.uncache_dir(dir);
    }

    pub(crate) fn wake_for_test(&mut self, now: Now, wait: &Wait, out: &mut Effects) {
        self.wake(now, wait, out);
    }
}
