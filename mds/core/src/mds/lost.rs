//! Lost ranks, wired: what they leave open is ended, what they held is seen to.

use common::id::Rank;
use common::time::Now;

use super::Mds;
use crate::cx::{Cx, Wait};
use crate::effect::Effects;
use crate::lost::Lost;
use crate::message::lost::LostMsg;

impl Mds {
    fn split_lost<'a>(&'a mut self, now: Now, out: &'a mut Effects) -> (Cx<'a>, &'a mut Lost) {
        let cx = Cx { now, params: &self.params, map: &self.map, own: &mut self.own, out };
        (cx, &mut self.lost)
    }

    pub(super) fn on_lost_msg(&mut self, now: Now, from: Rank, msg: LostMsg, out: &mut Effects) {
        let (mut cx, lost) = self.split_lost(now, out);
        let woken = lost.on_message(from, msg, &mut cx);
        self.wake_found(now, woken, out);
    }

    /// Ends what will never be answered, and sees to what lost ranks held.
    pub(super) fn look_after_lost(&mut self, now: Now, out: &mut Effects) {
        if self.map.lost.is_empty() || !self.recovery.is_serving() {
            return;
        }
        self.two_phase_lost(now, out);
        self.migrations_lost(now, out);
        let (mut cx, lost) = self.split_lost(now, out);
        let woken = lost.look_around(&mut cx);
        self.wake_found(now, woken, out);
    }

    /// The map has another set of lost ranks, or this rank has just begun to serve.
    pub(super) fn on_loss(&mut self, now: Now, out: &mut Effects) {
        let cx = Cx { now, params: &self.params, map: &self.map, own: &mut self.own, out };
        self.migrator.warn_of_lost(&cx);
        self.look_after_lost(now, out);
    }

    /// Something was fetched or has become durable.
    pub(super) fn go_on_after_loss(&mut self, now: Now, out: &mut Effects) {
        if self.lost.waits() {
            let (mut cx, lost) = self.split_lost(now, out);
            lost.go_on(&mut cx);
            self.look_after_lost(now, out);
        }
    }

    fn wake_found(&mut self, now: Now, woken: Vec<Wait>, out: &mut Effects) {
        for wait in woken {
            self.wake(now, &wait, out);
        }
    }
}
