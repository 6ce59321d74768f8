//! The importer's steps forward, and back.

use std::collections::BTreeSet;

use common::id::{DirFragId, Rank, Seq};
use common::limit::FORGET_ITEMS_MAX;
use common::mds_map::RankState;
use common::wire::session::Notice;

use super::{ExporterIs, Importer, State, Told};
use crate::capability;
use crate::cx::Cx;
use crate::effect::Effect;
use crate::journal::entry::{Entry, ImportOutcome, ImportStart};
use crate::kill_point::KillPoint;
use crate::message::migration::{MigrationMsg, Payload, Step};
use crate::migration::importer::receive::Unheard;
use crate::mutant::mutated;
use crate::replica;
use crate::session::Tell;
use crate::subtree::{DirAuth, Freeze, Subtree};

impl Importer {
    /// Every bound must be known here before the region is frozen on this side.
    pub(super) fn open_bounds(&mut self, cx: &mut Cx<'_>) -> State {
        let mut all_open = true;
        for (bound, claim) in &self.import.bounds {
            // The exporter may not have heard that it has come here: nobody else knows it then.
            let came_here =
                cx.own.subtrees.get(*bound).is_some_and(|own| {
                    own.auth == DirAuth::Sole(cx.me()) && own.epoch >= claim.epoch
                });
            let known = came_here || cx.own.spine.replica(bound.ino).is_some();
            if claim.auth == cx.me() || known {
                continue;
            }
            all_open = false;
            replica::discover(cx, bound.ino, Some(claim.auth));
        }
        if !all_open {
            return State::Prepping;
        }
        let auth = DirAuth::Ambiguous { first: self.import.exporter, second: cx.me() };
        self.set_base(auth, Freeze::Frozen, cx);
        self.send(Step::PrepAck, cx);
        cx.out.reached(KillPoint::PrepAckSent);
        State::Prepped
    }

    fn set_base(&self, auth: DirAuth, freeze: Freeze, cx: &mut Cx<'_>) {
        let subtree = Subtree {
            auth,
            epoch: self.import.epoch,
            parent: self.import.parent,
            freeze,
            apart: freeze != Freeze::Live,
        };
        cx.own.subtrees.insert(self.import.base, subtree);
    }

    /// The last delta and the fact that it is here are one batch.
    pub(super) fn log_start(&mut self, payload: Box<Payload>, cx: &mut Cx<'_>) -> State {
        if !self.takes(payload.delta.clone(), cx) {
            return self.decline(State::Prepped, cx);
        }
        let auth = DirAuth::Ambiguous { first: cx.me(), second: self.import.exporter };
        self.set_base(auth, Freeze::Frozen, cx);
        // By what claim this rank has what the exporter says is its, the exporter may know from a migration
        // that was undone.
        let own = cx.own.subtrees.claims();
        for (bound, claim) in &mut self.import.bounds {
            if let Some(known) = own.get(bound).filter(|known| known.auth == cx.me()) {
                *claim = known.clone();
            }
        }
        let entry = Entry::ImportStart(ImportStart {
            id: self.import.id,
            base: self.import.base,
            from: self.import.exporter,
            epoch: self.import.epoch,
            bounds: self.import.bounds.clone(),
            parent: self.import.parent,
            sessions: payload.sessions.clone(),
        });
        let seq = cx.own.advance();
        cx.out.push(Effect::Journal { seq, entry });
        cx.own.journal.note_open(self.import.id, seq);
        cx.out.push(Effect::SyncSoon);
        cx.out.reached(KillPoint::ImportStartSubmitted);
        if mutated!(cx.params, AckBeforeImportStartDurable) {
            return self.ack(payload, cx);
        }
        if mutated!(cx.params, DoubtNotFrozen) {
            self.set_base(auth, Freeze::Live, cx);
        }
        State::LoggingStart(payload, seq)
    }

    pub(super) fn ack(&mut self, payload: Box<Payload>, cx: &mut Cx<'_>) -> State {
        cx.out.reached(KillPoint::ImportStartDurable);
        self.send(Step::ExportAck, cx);
        cx.out.reached(KillPoint::ExportAckSent);
        State::Acking(payload)
    }

    /// The exporter's `Export` is durable: this rank is the authority, and serves.
    pub(super) fn serve(&mut self, payload: &Payload, cx: &mut Cx<'_>) -> State {
        let base = self.import.base;
        cx.own.imports += 1;
        self.set_base(DirAuth::Sole(cx.me()), Freeze::Live, cx);
        let forgotten = self.forget_inner_bases(cx);
        for (bound, claim) in &self.import.bounds {
            // It may have moved on since the exporter spoke of it, even to here.
            let known = cx.own.subtrees.get(*bound).is_some_and(|it| it.epoch >= claim.epoch);
            if claim.auth != cx.me() && !known {
                cx.own.subtrees.restore(*bound, claim);
            }
        }
        self.adopt_clients(payload, cx);
        for (dir, holders) in &payload.registrations {
            // The exporter may not have known that one of them is dead, or known a life that we do not.
            let alive = holders
                .iter()
                .filter(|(rank, known)| **rank != cx.me() && !cx.map.has_ended(**rank, known.life));
            let alive = alive.map(|(rank, known)| (*rank, *known)).collect();
            cx.own.spine.adopt_holders(*dir, alive);
        }
        replica::win(cx, base);
        let seq = self.log_finish(ImportOutcome::Owned, cx);
        self.join_neighbors(cx);
        if forgotten > 0 {
            // The end of the import does not say so by itself: after a restart they would seem to lie
            // with whoever had them once.
            cov_mark::hit!(inner_bases_are_forgotten_for_good);
            cx.own.checkpoint(cx.out);
        }
        self.thawed.push(base);
        if self.exporter_began_anew(cx) {
            self.tell_everybody(DirAuth::Sole(cx.me()), cx);
        }
        State::Finishing { seq, told: Told::NotYet, over: ExporterIs::Notifying }
    }

    /// Takes in what was the exporter's standing with its clients. What they pin came with the copy; a life
    /// that finds the import in its journal has forgotten it.
    fn adopt_clients(&mut self, payload: &Payload, cx: &mut Cx<'_>) {
        let pins_known = self.received.brings_pins();
        let unheard = self.received.adopt(&payload.sessions, cx);
        let clients = payload.sessions.iter().map(|session| session.client);
        if !mutated!(cx.params, NobodySuspected) {
            cx.own.capabilities.suspect(clients, cx.now.monotonic);
        }
        // With the end of the import, which comes next.
        let recorded = cx.own.seq.next();
        for session in &payload.sessions {
            // Nothing is taken from a silent client before one full lease from now.
            let until = cx.now.monotonic.after(cx.params.lease);
            if cx.own.sessions.adopt(session, recorded, cx.out) {
                cx.own.sessions.keep(session.client, until, cx.out);
                if !pins_known {
                    cx.own.sessions.holds_unknown(session.client);
                }
            }
            if session.exclusive {
                cx.own.sessions.comes_with_exclusive(session.client, cx.out);
            }
        }
        capability::take_over(cx, &payload.cached);
        ask_about_pins(unheard, cx);
    }

    /// What this rank once knew to be a base inside the region, and what is no bound, is none any more.
    /// Tells how many there were.
    fn forget_inner_bases(&self, cx: &mut Cx<'_>) -> usize {
        let stale: Vec<DirFragId> = cx
            .own
            .subtrees
            .iter()
            .map(|(base, _)| base)
            .filter(|base| *base != self.import.base && self.received.has(*base))
            .filter(|base| !self.import.bounds.contains_key(base))
            .collect();
        for base in &stale {
            cx.own.subtrees.remove(*base);
        }
        stale.len()
    }

    /// Adjacent subtrees of this rank become one.
    fn join_neighbors(&self, cx: &mut Cx<'_>) {
        let bases: Vec<DirFragId> =
            self.import.bounds.keys().copied().chain([self.import.base]).collect();
        for base in bases {
            if cx.own.subtrees.get(base).is_some() {
                cx.own.merge(base, cx.out);
            }
        }
    }

    pub(super) fn log_finish(&self, outcome: ImportOutcome, cx: &mut Cx<'_>) -> Seq {
        let seq = cx.own.advance();
        let entry = Entry::ImportFinish { id: self.import.id, base: self.import.base, outcome };
        cx.out.push(Effect::Journal { seq, entry });
        cx.own.journal.note_open(self.import.id, seq);
        cx.out.push(Effect::SyncSoon);
        cx.out.reached(KillPoint::ImportFinishSubmitted);
        seq
    }

    pub(super) fn tell_finished(
        &mut self,
        seq: Seq,
        told: Told,
        over: ExporterIs,
        cx: &mut Cx<'_>,
    ) -> State {
        if told == Told::NotYet {
            cx.out.reached(KillPoint::ImportFinishDurable);
            self.send(Step::Finished, cx);
            cx.own.journal.settle(self.import.id);
            cx.own.checkpoint(cx.out);
        }
        Self::end_if_done(seq, Told::Yes, over)
    }

    pub(super) fn end_if_done(seq: Seq, told: Told, over: ExporterIs) -> State {
        if told == Told::Yes && over == ExporterIs::Done {
            State::Over
        } else {
            State::Finishing { seq, told, over }
        }
    }

    /// The exporter takes it back. Once we serve, its `Export` was durable and it cannot.
    pub(super) fn on_cancel(&mut self, state: State, cx: &mut Cx<'_>) -> State {
        match state {
            State::Discovering
            | State::Discovered
            | State::Copying
            | State::Prepping
            | State::Prepped
            | State::LoggingStart(..)
            | State::Acking(_) => {
                self.reverse(&state, cx);
                self.send(Step::CancelAck, cx);
                cx.out.reached(KillPoint::CancelAckSent);
                if self.exporter_began_anew(cx) {
                    self.tell_everybody(DirAuth::Sole(self.import.exporter), cx);
                }
                State::Over
            }
            State::Aborting { .. } => {
                self.send(Step::CancelAck, cx);
                state
            }
            State::Finishing { .. } | State::Over => {
                tracing::warn!(migration = %self.import.id, "a cancel after the point of no return");
                state
            }
        }
    }

    /// Undoes everything; the region is the exporter's, as ever.
    pub(super) fn reverse(&mut self, state: &State, cx: &mut Cx<'_>) {
        let base = self.import.base;
        if matches!(state, State::LoggingStart(..) | State::Acking(_)) {
            self.log_finish(ImportOutcome::Foreign, cx);
        }
        let frozen_here =
            cx.own.subtrees.get(base).is_some_and(|subtree| subtree.freeze == Freeze::Frozen);
        replica::lose(cx, base);
        if frozen_here {
            match self.import.before.clone() {
                Some(before) => {
                    // It may have been a bystander's doubt about an earlier migration, and is again.
                    let freeze = match before.auth {
                        DirAuth::Sole(_) => Freeze::Live,
                        DirAuth::Ambiguous { .. } => Freeze::Frozen,
                    };
                    cx.own.subtrees.insert(base, Subtree { freeze, ..before });
                }
                None if self.encloses(cx) => {
                    cov_mark::hit!(what_encloses_the_region_came_meanwhile);
                    self.set_base(DirAuth::Sole(self.import.exporter), Freeze::Live, cx);
                }
                None => {
                    cx.own.subtrees.remove(base);
                }
            }
            self.thawed.push(base);
        }
        if self.received.has_begun() && !mutated!(cx.params, ReverseLooksAtNewState) {
            self.received.sweep(cx);
            cx.own.journal.settle(self.import.id);
            cx.own.checkpoint(cx.out);
        }
    }

    /// Whether the directory that holds the base's name is this rank's, or may be.
    fn encloses(&self, cx: &Cx<'_>) -> bool {
        let Some(parent) = self.import.parent else { return false };
        match cx.own.subtrees.rank_of(parent, &cx.own.namespace) {
            Ok(rank) => rank == Some(cx.me()),
            // It is better to know of a base too many.
            Err(_) => true,
        }
    }

    /// The exporter died before it decided: nobody else tells the bystanders.
    pub(super) fn abort(&mut self, cx: &mut Cx<'_>) -> State {
        // `Prep` may name one that this rank had seen die before it came.
        self.import.bystanders.retain(|rank| cx.map.state(*rank) != RankState::Down);
        let awaiting = self.import.bystanders.clone();
        self.notify_bystanders(&awaiting, DirAuth::Sole(self.import.exporter), cx);
        cx.out.reached(KillPoint::AbortBegun);
        self.end_if_unwarned(awaiting, cx)
    }

    /// Whether the life of the exporter that knew the bystanders is over.
    fn exporter_began_anew(&self, cx: &Cx<'_>) -> bool {
        cx.map.incarnation(self.import.exporter) != Some(self.import.id.incarnation)
    }

    /// Neither the exporter's next life nor one of ours knows who the bystanders were. Whoever was none
    /// learns nothing by it. The answers need not be waited for: none of them is in doubt.
    fn tell_everybody(&mut self, auth: DirAuth, cx: &mut Cx<'_>) {
        let others = cx.map.ranks.keys().copied();
        let others = others.filter(|rank| *rank != cx.me() && *rank != self.import.exporter);
        let others: BTreeSet<Rank> = others.collect();
        self.notify_bystanders(&others, auth, cx);
        self.import.bystanders = others;
    }

    /// The exporter died after it decided.
    pub(super) fn announce_ourselves(&self, cx: &mut Cx<'_>) {
        self.notify_bystanders(&self.import.bystanders, DirAuth::Sole(cx.me()), cx);
    }

    pub(super) fn notify_bystanders(
        &self,
        bystanders: &BTreeSet<Rank>,
        auth: DirAuth,
        cx: &mut Cx<'_>,
    ) {
        for rank in bystanders {
            // What it had of the exporter it has dropped: that one is dead.
            let step = Step::Notify { auth, epoch: self.import.epoch, dirs: Vec::new() };
            let msg = MigrationMsg { id: self.import.id, base: self.import.base, step };
            cx.out.send(*rank, msg);
        }
    }

    pub(super) fn end_if_unwarned(&mut self, awaiting: BTreeSet<Rank>, cx: &mut Cx<'_>) -> State {
        if !awaiting.is_empty() {
            return State::Aborting { awaiting };
        }
        self.reverse(&State::Prepped, cx);
        State::Over
    }
}

/// An answer that pins may have been lost with its connection to the exporter. Its client would never
/// give back what it does not know of.
fn ask_about_pins(unheard: Unheard, cx: &mut Cx<'_>) {
    for (client, pins) in unheard {
        for inos in pins.chunks(FORGET_ITEMS_MAX) {
            let notice = Notice::Pinned { inos: inos.to_vec() };
            let _not_waited_for = cx.own.sessions.notify(client, notice, Tell::Now, cx.out);
        }
    }
}
