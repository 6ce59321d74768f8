//! The balancer, wired: requests are counted, orders become migrations.

use common::id::Rank;
use common::time::Now;

use super::Mds;
use crate::balancer::{Balancer, Ordered};
use crate::cx::{Cx, Stop, Wait};
use crate::effect::Effects;
use crate::message::load::LoadMsg;
use crate::migration::Order;

impl Mds {
    fn split_balancer<'a>(
        &'a mut self,
        now: Now,
        out: &'a mut Effects,
    ) -> (Cx<'a>, &'a mut Balancer) {
        let cx = Cx { now, params: &self.params, map: &self.map, own: &mut self.own, out };
        (cx, &mut self.balancer)
    }

    pub(super) fn set_balancer_timer(&mut self, now: Now, out: &mut Effects) {
        let (mut cx, _) = self.split_balancer(now, out);
        Balancer::set_timer(&mut cx);
    }

    pub(super) fn on_balancer_timer(&mut self, now: Now, out: &mut Effects) {
        let (mut cx, balancer) = self.split_balancer(now, out);
        let ordered = balancer.on_timer(&mut cx);
        self.carry_out_order(now, ordered, out);
    }

    pub(super) fn on_load(&mut self, now: Now, from: Rank, msg: LoadMsg, out: &mut Effects) {
        let (cx, balancer) = self.split_balancer(now, out);
        let ordered = balancer.on_message(from, msg, &cx);
        self.carry_out_order(now, ordered, out);
    }

    /// A refusal leaves its record; what had to be fetched first is tried with a later epoch.
    fn carry_out_order(&mut self, now: Now, ordered: Option<Ordered>, out: &mut Effects) {
        let Some(Ordered { dir, to, cause }) = ordered else { return };
        let order = Order { dir, to, cause };
        if let Err(Stop::Wait(Wait::Fetch(fetch))) = self.export(now, &order, out) {
            self.own.namespace.fetch(fetch, out);
        }
    }
}
