//! The exporter's steps forward: what is set, journaled and sent on each edge to the right.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{DirFragId, Ino, Rank, Seq};
use common::id_set::IdSet;
use common::mds_map::RankState;
use common::migration::EndReason;
use common::wire::reply::Route;
use common::wire::session::ToClient;

use super::{
    Copying, Exporter, Finished, Kept, Resent, State, Undone, Warning, await_locally, stamp,
};
use crate::capability;
use crate::cx::{Cx, Step as Attempt, Stop};
use crate::effect::Effect;
use crate::journal::entry::{Entry, Release, SubtreeClaim};
use crate::kill_point::KillPoint;
use crate::message::migration::{
    Content, MigrationMsg, Payload, Registration, Step, TravelSession,
};
use crate::migration::copy::{self, Copy};
use crate::migration::sweep;
use crate::mutant::mutated;
use crate::replica;
use crate::row::Parent;
use crate::session::Tell;
use crate::spine::Replica;
use crate::subtree::{DirAuth, Freeze};

impl Exporter {
    pub(super) fn discover(&mut self, cx: &mut Cx<'_>) -> State {
        match self.path(cx) {
            Ok(ask) => {
                self.send(Step::Discover { parent: self.export.parent.clone(), ask }, cx);
                cx.out.reached(KillPoint::DiscoverSent);
                State::Discovering
            }
            Err(stop) => {
                await_locally(stop, cx);
                State::Locking
            }
        }
    }

    /// Who is the authority for each directory above the base, as far as we know.
    fn path(&self, cx: &Cx<'_>) -> Attempt<BTreeMap<Ino, Rank>> {
        let mut ask = BTreeMap::new();
        for dir in cx.ancestors(self.export.base.ino)? {
            let rank = match cx.own.spine.replica(dir) {
                Some(replica) => replica.authority,
                None => {
                    let known = cx.own.subtrees.rank_of(dir, &cx.own.namespace)?;
                    known.unwrap_or_else(|| cx.me())
                }
            };
            ask.insert(dir, rank);
        }
        Ok(ask)
    }

    pub(super) fn copy(&mut self, cx: &mut Cx<'_>) -> State {
        let notice = common::wire::session::Notice::Expect { rank: self.export.importer };
        let clients: Vec<_> = cx.own.sessions.iter().map(|(client, _)| client).collect();
        for client in clients {
            cx.own.sessions.notify(client, notice.clone(), Tell::Now, cx.out);
        }
        let copy = Copy::begin(self.export.id, self.export.base, cx);
        self.copy_on(Copying { copy, unacked: BTreeSet::new() }, cx)
    }

    /// Sends what may be sent; when everything has arrived, begins another round or freezes.
    pub(super) fn copy_on(&mut self, mut copying: Copying, cx: &mut Cx<'_>) -> State {
        let params = &cx.params.migration;
        let (window, rest_max, rounds_max) =
            (params.copy_window as usize, params.copy_rest_max, params.copy_rounds_max);
        while copying.unacked.len() < window && !copying.copy.walk_is_over() {
            match copying.copy.next(cx) {
                Ok(Some(content)) => {
                    let number = self.send_rows(&mut copying.copy, content, cx);
                    copying.unacked.insert(number);
                }
                Ok(None) => break,
                Err(stop) => {
                    await_locally(stop, cx);
                    break;
                }
            }
        }
        let done = copying.copy.walk_is_over() && copying.unacked.is_empty();
        if !done {
            return State::Copying(copying);
        }
        if copying.copy.rest() <= rest_max || copying.copy.rounds >= rounds_max {
            if cx.own.durable < self.export.stamped {
                return State::Copying(copying);
            }
            return match self.is_enclosed_by_doubt(cx) {
                Ok(false) => self.freeze(copying.copy, cx),
                Ok(true) => {
                    cov_mark::hit!(what_is_around_the_region_leaves_first);
                    State::Copying(copying)
                }
                Err(stop) => {
                    await_locally(stop, cx);
                    State::Copying(copying)
                }
            };
        }
        match copying.copy.take_dirty(cx) {
            Ok(changed) => {
                copying.copy.rounds += 1;
                for content in changed {
                    let number = self.send_rows(&mut copying.copy, content, cx);
                    copying.unacked.insert(number);
                }
            }
            Err(stop) => await_locally(stop, cx),
        }
        State::Copying(copying)
    }

    /// Whether the region around this one is leaving, as a rename may have brought it there: what it ends at
    /// has been said.
    fn is_enclosed_by_doubt(&self, cx: &Cx<'_>) -> Attempt<bool> {
        let above = cx.own.subtrees.base_above(self.export.base, &cx.own.namespace)?;
        Ok(above.is_some_and(|above| cx.own.subtrees.is_in_doubt(above)))
    }

    fn send_rows(&self, copy: &mut Copy, content: Vec<Content>, cx: &mut Cx<'_>) -> u32 {
        let number = copy.next_number();
        self.send_bulk(Step::Rows { number, content }, cx);
        number
    }

    /// Bulk messages keep their order among themselves, and may be overtaken by others.
    fn send_bulk(&self, step: Step, cx: &mut Cx<'_>) {
        let msg = MigrationMsg { id: self.export.id, base: self.export.base, step };
        cx.out.push(Effect::SendBulk { to: self.export.importer, msg: msg.into() });
    }

    fn freeze(&mut self, copy: Copy, cx: &mut Cx<'_>) -> State {
        self.record.rows_copied_live = copy.rows;
        self.record.rounds = copy.rounds;
        self.set_subtree(DirAuth::Sole(cx.me()), Freeze::Freezing, cx);
        cx.own.spine.watch.begin(self.export.id, self.export.base.ino);
        self.freeze_if_drained(copy, cx)
    }

    /// Frozen once no operation of several turns works in the region. Then the importer is told
    /// where the region ends.
    pub(super) fn freeze_if_drained(&mut self, copy: Copy, cx: &mut Cx<'_>) -> State {
        if !self.is_in_place(cx) {
            // The importer knows another path.
            return self.undo(State::Freezing(copy), EndReason::Changed, Undone::Awaited, cx);
        }
        let drained = self.bounds_if_drained(cx);
        let bounds = match drained {
            Ok(Some(bounds)) => bounds,
            Ok(None) => return State::Freezing(copy),
            Err(stop) => {
                await_locally(stop, cx);
                return State::Freezing(copy);
            }
        };
        if !self.is_highest(cx) {
            cov_mark::hit!(a_rename_has_claimed_what_is_being_given_away);
            (self.export.epoch, self.export.stamped) = stamp(cx);
        }
        if cx.own.durable < self.export.stamped {
            return State::Freezing(copy);
        }
        let me = cx.me();
        self.frozen = Some(cx.now.monotonic);
        self.set_subtree(DirAuth::Ambiguous { first: me, second: me }, Freeze::ReadOnly, cx);
        cx.out.reached(KillPoint::Frozen);
        self.export.replicated = self.replicated(&copy, cx);
        self.export.bystanders = self.export.replicated.keys().copied().collect();
        self.export.bounds = bounds.clone();
        let bystanders = self.export.bystanders.clone();
        self.send(Step::Prep { epoch: self.export.epoch, bounds, bystanders }, cx);
        cx.out.reached(KillPoint::PrepSent);
        State::Prepping(copy)
    }

    /// The base is there, in the directory where it was.
    fn is_in_place(&self, cx: &Cx<'_>) -> bool {
        let subtree = cx.own.subtrees.get(self.export.base);
        subtree.is_some_and(|subtree| subtree.parent == Some(self.export.parent.dir))
    }

    /// Whether the importer's claim will be higher than the present one: a rename may have made a new one
    /// since this began. From here on there is none.
    fn is_highest(&self, cx: &Cx<'_>) -> bool {
        let subtree = cx.own.subtrees.get(self.export.base);
        subtree.is_none_or(|subtree| subtree.epoch < self.export.epoch)
    }

    /// Who replicates what of the region. Nobody gets more of it from here on.
    fn replicated(&self, copy: &Copy, cx: &Cx<'_>) -> BTreeMap<Rank, Vec<Ino>> {
        let mut replicated: BTreeMap<Rank, Vec<Ino>> = BTreeMap::new();
        let registered = cx.own.spine.registered();
        for (dir, holders) in registered.filter(|(dir, _)| copy.dirs().contains(dir)) {
            for rank in holders.keys() {
                replicated.entry(*rank).or_default().push(dir);
            }
        }
        replicated.retain(|rank, _| {
            *rank != self.export.importer && cx.map.state(*rank) != RankState::Down
        });
        replicated
    }

    fn bounds_if_drained(&self, cx: &Cx<'_>) -> Attempt<Option<BTreeMap<DirFragId, SubtreeClaim>>> {
        let base = self.export.base;
        if cx.own.subtrees.has_auth_pins(base, &cx.own.namespace)? {
            return Ok(None);
        }
        let claims = cx.own.subtrees.claims();
        let mut bounds = BTreeMap::new();
        for bound in cx.own.subtrees.bounds(base, &cx.own.namespace)? {
            // Also what is in doubt: that is frozen.
            if cx.own.subtrees.get(bound).is_some_and(|it| it.freeze != Freeze::Live) {
                cov_mark::hit!(what_is_in_the_region_leaves_first);
                return Ok(None);
            }
            bounds.insert(bound, claims[&bound].clone());
        }
        Ok(Some(bounds))
    }

    pub(super) fn warn(&mut self, copy: Copy, cx: &mut Cx<'_>) -> State {
        let awaiting = self.export.bystanders.clone();
        let auth = self.in_doubt(cx.me());
        self.announce(&awaiting, auth, cx);
        cx.out.reached(KillPoint::WarningsSent);
        let warning = Warning { copy, awaiting, delta: Vec::new(), resent: Resent::NotYet };
        self.export_if_all_know(warning, cx)
    }

    pub(super) fn announce(&self, to: &BTreeSet<Rank>, auth: DirAuth, cx: &mut Cx<'_>) {
        for rank in to {
            let dirs = self.export.replicated.get(rank).cloned().unwrap_or_default();
            self.send_to(*rank, Step::Notify { auth, epoch: self.export.epoch, dirs }, cx);
        }
    }

    /// Sends the last delta when every bystander knows both candidates.
    pub(super) fn export_if_all_know(&mut self, mut warning: Warning, cx: &mut Cx<'_>) -> State {
        if !warning.awaiting.is_empty() {
            return State::Warning(warning);
        }
        let gathered = gather_delta(&mut warning, cx).and_then(|()| self.kept(&warning.copy, cx));
        match gathered {
            Ok(kept) => self.export.kept = kept,
            Err(stop) => {
                await_locally(stop, cx);
                return State::Warning(warning);
            }
        }
        let Warning { mut copy, delta, .. } = warning;
        self.record.rows_in_last_delta = copy::rows(&delta);
        // What one frame cannot hold goes ahead.
        let mut loads = copy::loads(delta);
        let delta = loads.pop().unwrap_or_default();
        for content in loads {
            self.send_rows(&mut copy, content, cx);
        }
        self.set_subtree(self.in_doubt(cx.me()), Freeze::Sealed, cx);
        let payload = Payload {
            delta,
            sessions: travel_sessions(cx),
            registrations: if mutated!(cx.params, RegistrationsNotCarried) {
                BTreeMap::new()
            } else {
                self.registrations(&copy, cx)
            },
            cached: capability::cached(cx, copy.dirs()),
        };
        self.send_bulk(Step::Export(Box::new(payload)), cx);
        cx.out.reached(KillPoint::ExportSent);
        State::Exporting(copy)
    }

    /// We become a holder of the base, and of what is between it and the subtrees that stay with us.
    /// (If the migration is cancelled nothing has come of it: we hold no replicas of our own.)
    fn kept(&self, copy: &Copy, cx: &mut Cx<'_>) -> Attempt<BTreeMap<Ino, Kept>> {
        let me = cx.me();
        let mut parents: BTreeMap<Ino, Parent> = BTreeMap::new();
        let own_bounds = self.export.bounds.values().filter(|claim| claim.auth == me);
        let above_them = own_bounds.filter_map(|claim| claim.parent);
        for start in above_them.chain([self.export.base.ino]) {
            let mut here = Some(start);
            while let Some(dir) = here.filter(|dir| copy.dirs().contains(dir)) {
                here = match cx.parent_of(dir)? {
                    Some(parent) if !parents.contains_key(&dir) => {
                        let above = parent.dir;
                        parents.insert(dir, parent);
                        Some(above)
                    }
                    Some(_) | None => None,
                };
            }
        }
        let spine = &mut cx.own.spine;
        let kept = parents
            .into_iter()
            .map(|(dir, parent)| (dir, Kept { parent, nonce: spine.new_nonce() }));
        Ok(kept.collect())
    }

    /// Replicas of the region's directories that others hold, or will.
    fn registrations(
        &self,
        copy: &Copy,
        cx: &Cx<'_>,
    ) -> BTreeMap<Ino, BTreeMap<Rank, Registration>> {
        let mut registrations: BTreeMap<Ino, BTreeMap<Rank, Registration>> = cx
            .own
            .spine
            .registered()
            .filter(|(dir, _)| copy.dirs().contains(dir))
            .map(|(dir, holders)| (dir, holders.clone()))
            .collect();
        for holders in registrations.values_mut() {
            holders.remove(&self.export.importer);
        }
        for (dir, kept) in &self.export.kept {
            let ours = Registration { nonce: kept.nonce, life: cx.params.incarnation };
            registrations.entry(*dir).or_default().insert(cx.me(), ours);
        }
        registrations
    }

    /// The point of no return: from here on the importer may be the authority.
    pub(super) fn log_export(&mut self, copy: Copy, cx: &mut Cx<'_>) -> State {
        let super::Export { id, base, importer, epoch, .. } = self.export;
        let auth = DirAuth::Ambiguous { first: importer, second: cx.me() };
        self.set_subtree(auth, Freeze::Frozen, cx);
        cx.own.released.insert(id, Release { base, to: importer, epoch });
        let seq: Seq = cx.own.advance();
        let parent = cx.own.subtrees.get(base).and_then(|subtree| subtree.parent);
        let entry = Entry::Export { id, base, parent, to: importer, epoch };
        cx.out.push(Effect::Journal { seq, entry });
        cx.own.journal.note_open(id, seq);
        cx.out.push(Effect::SyncSoon);
        cx.out.reached(KillPoint::ExportSubmitted);
        if mutated!(cx.params, UnfreezeBeforeExportDurable) {
            return self.notify(&copy, cx);
        }
        State::LoggingExport(copy, seq)
    }

    /// The importer is the authority. It may serve; everybody else is told.
    pub(super) fn notify(&mut self, copy: &Copy, cx: &mut Cx<'_>) -> State {
        let super::Export { base, importer, epoch, .. } = self.export;
        cx.out.reached(KillPoint::ExportDurable);
        if let Some(frozen) = self.frozen {
            self.record.freeze_nanos = cx.now.monotonic.0.saturating_sub(frozen.0);
        }
        self.send(Step::Serve, cx);
        cx.out.reached(KillPoint::FinishSent);
        self.set_subtree(DirAuth::Sole(importer), Freeze::Live, cx);
        replica::lose(cx, base);
        self.thawed.push(base);
        let route = Route { base, rank: importer, epoch };
        let clients: Vec<_> = cx.own.sessions.iter().map(|(client, _)| client).collect();
        for client in clients {
            cx.own.sessions.tell(client, ToClient::Route(route), cx.out);
        }
        self.let_go(copy, cx);
        let awaiting = self.export.bystanders.clone();
        self.announce(&awaiting, DirAuth::Sole(importer), cx);
        let early = mutated!(cx.params, ReleasedForgottenEarly);
        self.finish_if_all_know(awaiting, if early { Finished::Yes } else { Finished::NotYet }, cx)
    }

    /// What was ours and is the importer's: registrations, pins, and the bounds beyond.
    fn let_go(&mut self, copy: &Copy, cx: &mut Cx<'_>) {
        let dropped = copy.dirs().iter().map(|dir| DirFragId::whole(*dir));
        let dropped = dropped.map(|frag| (frag, cx.own.held.get(&frag).copied())).collect();
        sweep::begin_dropped(self.export.id, dropped, cx);
        let registered: Vec<Ino> = cx
            .own
            .spine
            .registered()
            .map(|(dir, _)| dir)
            .filter(|dir| copy.dirs().contains(dir))
            .collect();
        for dir in registered {
            let _theirs_now = cx.own.spine.take_holders(dir);
        }
        let (authority, epoch) = (self.export.importer, self.export.epoch);
        for (dir, Kept { parent, nonce }) in std::mem::take(&mut self.export.kept) {
            let parent = Some(parent);
            cx.own.spine.keep(dir, Replica { parent, authority, epoch, doubt: None, nonce });
        }
        let pinned: Vec<Ino> = cx
            .own
            .pins
            .embedded()
            .filter(|(_, dir)| copy.dirs().contains(dir))
            .map(|(ino, _)| ino)
            .collect();
        for ino in pinned {
            cx.own.pins.take(ino);
        }
        for bound in self.export.bounds.keys() {
            // If it is in doubt it may be about to be ours.
            let is_mine = cx.own.subtrees.is_mine(*bound);
            if !is_mine && !cx.own.subtrees.is_in_doubt(*bound) {
                cx.own.subtrees.remove(*bound);
            }
        }
    }

    pub(super) fn finish_if_all_know(
        &mut self,
        awaiting: BTreeSet<Rank>,
        finished: Finished,
        cx: &mut Cx<'_>,
    ) -> State {
        if !awaiting.is_empty() || finished == Finished::NotYet {
            return State::Notifying { awaiting, finished };
        }
        let id = self.export.id;
        self.send(Step::Over, cx);
        cx.out.reached(KillPoint::LastFinishSent);
        cx.own.released.remove(&id);
        let seq = cx.own.advance();
        cx.out.push(Effect::Journal { seq, entry: Entry::Finished { id } });
        cx.own.journal.note_open(id, seq);
        cx.own.journal.settle(id);
        cx.own.checkpoint(cx.out);
        State::Over(Ok(()))
    }

    pub(super) fn set_subtree(&self, auth: DirAuth, freeze: Freeze, cx: &mut Cx<'_>) {
        let (importer, epoch) = (self.export.importer, self.export.epoch);
        if let Some(subtree) = cx.own.subtrees.get_mut(self.export.base) {
            subtree.auth = auth;
            subtree.freeze = freeze;
            if auth == DirAuth::Sole(importer) {
                subtree.epoch = epoch;
                subtree.apart = false;
            }
        }
    }
}

/// Everything the importer does not have yet. May be begun anew after a wait.
fn gather_delta(warning: &mut Warning, cx: &mut Cx<'_>) -> Result<(), Stop> {
    while let Some(content) = warning.copy.next(cx)? {
        warning.delta.extend(content);
    }
    debug_assert!(warning.copy.walk_is_over(), "nothing more to send means the walk is over");
    let changed = warning.copy.take_dirty(cx)?;
    if !mutated!(cx.params, DeltaForgotten) {
        warning.delta.extend(changed.into_iter().flatten());
    }
    Ok(())
}

/// Any client may have completed a request in the region without having heard so.
fn travel_sessions(cx: &Cx<'_>) -> Vec<TravelSession> {
    cx.own
        .sessions
        .iter()
        .map(|(client, session)| TravelSession {
            client,
            ranges: session.stored().ranges.clone(),
            completed: if mutated!(cx.params, CompletedTableForgotten) {
                IdSet::default()
            } else {
                session.completed().clone()
            },
            oldest: session.oldest(),
            exclusive: cx.own.capabilities.exclusives.are_held_by(client),
        })
        .collect()
}
