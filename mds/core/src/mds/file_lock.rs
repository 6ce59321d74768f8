//! Who waits for a lock of a file, and what ends that: it is unlocked, or found to be a circle.

use std::collections::BTreeSet;

use common::id::{ClientId, Rank, RequestId};
use common::limit::LOCK_PROBE;
use common::time::Now;

use super::Mds;
use crate::cx::Wait;
use crate::effect::{Effect, Effects};
use crate::message::deadlock::{DeadlockMsg, OWNERS_MAX, PROBES_MAX, Probe};
use crate::timer::Timer;

/// Waits for locks that other ranks may have to be asked about.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct LockWaits {
    /// Whether the timer runs.
    probes: bool,
    /// Those that waited when it rang last.
    seen: BTreeSet<(ClientId, RequestId)>,
}

impl Mds {
    /// Whoever waits for what has been unlocked in this turn tries again. Tells whether there was anything.
    pub(super) fn wake_unlocked(&mut self, now: Now, out: &mut Effects) -> bool {
        let released = self.own.pins.take_released();
        for ino in &released {
            self.wake(now, &Wait::FileLock(*ino), out);
        }
        let alone = self.map.ranks.len() <= 1;
        if !self.lock_waits.probes && !alone && self.requests.waits_for_locks() {
            self.set_probe_timer(now, out);
        }
        !released.is_empty()
    }

    fn set_probe_timer(&mut self, now: Now, out: &mut Effects) {
        self.lock_waits.probes = true;
        out.push(Effect::SetTimer { timer: Timer::LockProbe, at: now.monotonic.after(LOCK_PROBE) });
    }

    /// What has waited for a while may wait for itself, by way of other ranks.
    pub(super) fn on_probe_timer(&mut self, now: Now, out: &mut Effects) {
        self.lock_waits.probes = false;
        let probes = self.requests.probes(&self.own.pins);
        let waiting = probes.iter().map(|probe| (probe.owner.0, probe.request)).collect();
        let seen = std::mem::replace(&mut self.lock_waits.seen, waiting);
        let mut long: Vec<Probe> = probes;
        long.retain(|probe| seen.contains(&(probe.owner.0, probe.request)));
        self.probe(self.params.me, long, out);
        if self.requests.waits_for_locks() {
            self.set_probe_timer(now, out);
        }
    }

    fn probe(&self, asked_by: Rank, probes: Vec<Probe>, out: &mut Effects) {
        for probes in probes.chunks(PROBES_MAX) {
            for rank in self.map.ranks.keys().filter(|rank| **rank != self.params.me) {
                out.send(*rank, DeadlockMsg::Probe { asked_by, probes: probes.to_vec() });
            }
        }
    }

    pub(super) fn on_deadlock_msg(&mut self, now: Now, msg: DeadlockMsg, out: &mut Effects) {
        match msg {
            DeadlockMsg::Probe { asked_by, probes } => {
                let mut further = Vec::new();
                for Probe { owner, request, waits_for } in probes {
                    let known = waits_for.len();
                    let waits_for = self.requests.closure(waits_for, &self.own.pins);
                    if waits_for.contains(&owner) {
                        self.found_circle(now, asked_by, (owner.0, request), out);
                    } else if waits_for.len() > known && waits_for.len() <= OWNERS_MAX {
                        further.push(Probe { owner, request, waits_for });
                    }
                }
                self.probe(asked_by, further, out);
            }
            DeadlockMsg::Found { client, request } => {
                let (mut cx, requests) = self.split(now, out);
                requests.on_deadlock(client, request, &mut cx);
            }
        }
    }

    fn found_circle(
        &mut self,
        now: Now,
        asked_by: Rank,
        (client, request): (ClientId, RequestId),
        out: &mut Effects,
    ) {
        if asked_by == self.params.me {
            let (mut cx, requests) = self.split(now, out);
            requests.on_deadlock(client, request, &mut cx);
        } else {
            out.send(asked_by, DeadlockMsg::Found { client, request });
        }
    }
}
