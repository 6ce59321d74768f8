//! Operations of several ranks: presumed-abort two-phase commit.
//!
//! ```text
//!  coordinator ── Look ─────▶ participant     lock, in memory; one thing after the other
//!  coordinator ◀─ Looked ──── participant     (or Elsewhere: ask there; Busy … Free: begin anew)
//!  coordinator ── Prepare ──▶ participant     journals PeerPrepare
//!  coordinator ◀─ Prepared ── participant     when that is durable
//!  coordinator: own rows + Decision, one batch; when durable its own locks end, the client is answered
//!  coordinator ── Commit ───▶ participant     rows + PeerCommit
//!  coordinator ◀─ Settled ─── participant     durable, and known to all whom it concerns
//!  coordinator: Committed
//! ```
//!
//! [`coordinator`] and [`participant`] are the two halves, [`plan`] (with a file for each operation)
//! says what they are to do, [`part`] does it. Renames of directories to another parent take the
//! cluster's [`rename_lock`] as well.

use std::collections::{BTreeMap, BTreeSet};

use common::error::FsError;
use common::id::{ClientId, Incarnation, Ino, NoticeId, Rank, RequestId, Seq, TwoPhaseId};

use crate::cx::{Cx, Wait};
use crate::journal::entry::Entry;
use crate::lock::Operation;
use crate::message::two_phase::{Item, TwoPhaseMsg};
use crate::mutant::mutated;
use crate::request::Parked;
use coordinator::Coordinator;
use part::Acks;
use participant::{Looked, Participant, Promise};
use post::{Ended, Post};
use rename_lock::RenameLock;

#[cfg(test)]
mod completed_tests;
pub mod coordinator;
pub mod link;
pub mod look;
pub mod part;
pub mod participant;
pub mod plan;
pub mod post;
pub mod rename;
pub mod rename_lock;
pub mod rmdir;
pub mod unlink;

/// The operations of several ranks in which this one takes part.
#[derive(Clone, Debug, Default, Hash)]
pub struct TwoPhase {
    coordinating: BTreeMap<TwoPhaseId, Coordinator>,
    taking_part: BTreeMap<Operation, Participant>,
    /// Told that we are busy: to be told when this is over.
    told_busy: BTreeMap<Wait, BTreeSet<Operation>>,
    /// At rank 0.
    rename_lock: RenameLock,
    post: Post,
}

impl TwoPhase {
    /// What was undecided when this rank's last life ended. Takes its locks again.
    #[must_use]
    pub fn restore(cx: &mut Cx<'_>, journal: &[(Seq, Entry)]) -> Self {
        let mut two_phase = Self::default();
        let mut open = Open::read(journal);
        for (id, (decision, participants)) in open.decisions {
            if participants.is_empty() {
                // It is done: its client asks again, and replicas are read anew.
                cov_mark::hit!(what_was_decided_alone_is_over);
                open.closed.push(decision);
                continue;
            }
            let coordinator = Coordinator::restore(id, decision, participants);
            two_phase.coordinating.insert(id, coordinator);
        }
        for (operation, promise) in open.promises {
            let participant = Participant::restore(cx, operation, promise);
            two_phase.taking_part.insert(operation, participant);
        }
        // They are durable: what is on record when a rank starts has been synced.
        two_phase.post.trim(cx.own.durable, open.closed);
        two_phase
    }

    /// Takes over a request that this rank cannot carry out alone.
    pub fn begin(&mut self, cx: &mut Cx<'_>, parked: Parked) {
        let id = TwoPhaseId(cx.own.advance().0);
        let coordinator = Coordinator::begin(cx, &mut self.post, id, parked);
        self.coordinating.insert(id, coordinator);
        self.tidy(cx);
    }

    pub fn on_message(
        &mut self,
        cx: &mut Cx<'_>,
        (from, incarnation): (Rank, Incarnation),
        msg: TwoPhaseMsg,
    ) {
        self.dispatch(cx, (from, incarnation), msg);
        self.tidy(cx);
    }

    fn dispatch(
        &mut self,
        cx: &mut Cx<'_>,
        (from, incarnation): (Rank, Incarnation),
        msg: TwoPhaseMsg,
    ) {
        let of_sender = |id| Operation { coordinator: from, id };
        match msg {
            TwoPhaseMsg::RenameLock { id } => self.rename_lock.ask(of_sender(id)),
            TwoPhaseMsg::RenameUnlock { id } => self.rename_lock.release(of_sender(id)),
            TwoPhaseMsg::RenameHolds { ids } => self.rename_lock.hear(from, incarnation, ids),
            TwoPhaseMsg::Look { id, client, items } => {
                self.on_look(cx, (of_sender(id), client), items)
            }
            TwoPhaseMsg::Prepare { id, part } => {
                // Unknown: the locks were lost with this rank's last life, and the coordinator will
                // hear of that. It gets no promise.
                if let Some(participant) = self.taking_part.get_mut(&of_sender(id)) {
                    participant.on_prepare(cx, &mut self.post, part);
                }
            }
            TwoPhaseMsg::Commit { id } => match self.taking_part.get_mut(&of_sender(id)) {
                Some(participant) => participant.on_commit(cx, &mut self.post),
                // Settled before, and the news was lost.
                None => self.post.send(cx, from, TwoPhaseMsg::Settled { id }),
            },
            TwoPhaseMsg::Rollback { id } => {
                if let Some(participant) = self.taking_part.get_mut(&of_sender(id)) {
                    participant.on_rollback(cx, &mut self.post);
                }
            }
            TwoPhaseMsg::RenameLocked { id } => match self.coordinating.get_mut(&id) {
                Some(coordinator) => coordinator.on_rename_locked(cx, &mut self.post),
                None => self.post.send(cx, from, TwoPhaseMsg::RenameUnlock { id }),
            },
            TwoPhaseMsg::Looked { id, clock, sights } => {
                cx.own.subtrees.see_epoch(clock);
                match self.coordinating.get_mut(&id) {
                    Some(coordinator) => coordinator.on_looked(cx, &mut self.post, from, sights),
                    // It was given up for dead while this was on its way: its locks are for nobody.
                    None => self.post.send(cx, from, TwoPhaseMsg::Rollback { id }),
                }
            }
            TwoPhaseMsg::Elsewhere { id, dir, rank } => {
                self.report(id, |it, post| it.on_elsewhere(cx, post, (from, dir), rank));
            }
            TwoPhaseMsg::Refused { id, error } => {
                self.report(id, |it, post| it.on_refused(cx, post, from, error));
            }
            TwoPhaseMsg::Busy { id } => self.report(id, |it, post| it.on_busy(cx, post, from)),
            TwoPhaseMsg::Free { id } => self.report(id, |it, post| it.on_free(post, from)),
            TwoPhaseMsg::Prepared { id } => match self.coordinating.get_mut(&id) {
                Some(coordinator) => coordinator.on_prepared(cx, &mut self.post, from),
                // Promised to an earlier life, or undone meanwhile: presumed abort.
                None => self.post.send(cx, from, TwoPhaseMsg::Rollback { id }),
            },
            TwoPhaseMsg::Settled { id } => {
                self.report(id, |it, post| it.on_settled(cx, post, from));
            }
            TwoPhaseMsg::Query { id } => match self.coordinating.get_mut(&id) {
                Some(_) if mutated!(cx.params, DecisionDenied) => {
                    self.post.send(cx, from, TwoPhaseMsg::Rollback { id });
                }
                Some(coordinator) => coordinator.on_query(cx, &mut self.post, from),
                None => self.post.send(cx, from, TwoPhaseMsg::Rollback { id }),
            },
        }
    }

    /// What is reported to an operation that is over changes nothing.
    fn report(&mut self, id: TwoPhaseId, tell: impl FnOnce(&mut Coordinator, &mut Post)) {
        if let Some(coordinator) = self.coordinating.get_mut(&id) {
            tell(coordinator, &mut self.post);
        }
    }

    fn on_look(
        &mut self,
        cx: &mut Cx<'_>,
        (operation, client): (Operation, ClientId),
        items: Vec<Item>,
    ) {
        if cx.own.is_read_only() && !self.taking_part.contains_key(&operation) {
            let (id, error) = (operation.id, FsError::ReadOnly);
            self.post.send(cx, operation.coordinator, TwoPhaseMsg::Refused { id, error });
            return;
        }
        let new = || Participant::new(operation, Some(client));
        let participant = self.taking_part.entry(operation).or_insert_with(new);
        let looked = participant.look(cx, &mut self.post, items);
        self.note_busy(operation, looked);
    }

    fn note_busy(&mut self, operation: Operation, looked: Looked) {
        match looked {
            Looked::Kept => {}
            Looked::Busy(wait) => {
                self.told_busy.entry(wait).or_default().insert(operation);
            }
        }
    }

    pub fn on_durable(&mut self, cx: &mut Cx<'_>, through: Seq) {
        let awaited = self.taking_part.values().filter_map(Participant::awaits_durable);
        let due: BTreeSet<Seq> = awaited.filter(|seq| *seq <= through).collect();
        for seq in due {
            self.wake(cx, &Wait::Durable(seq));
        }
        for participant in self.taking_part.values_mut() {
            participant.on_durable(cx, &mut self.post, through);
        }
        for coordinator in self.coordinating.values_mut() {
            coordinator.on_durable(cx, &mut self.post, through);
        }
        self.post.on_durable(cx, through);
        self.tidy(cx);
    }

    /// What `wait` stood for has come.
    pub fn wake(&mut self, cx: &mut Cx<'_>, wait: &Wait) {
        let mut busy = Vec::new();
        for (operation, participant) in &mut self.taking_part {
            busy.push((*operation, participant.wake(cx, &mut self.post, wait)));
        }
        for (operation, looked) in busy {
            self.note_busy(operation, looked);
        }
        for coordinator in self.coordinating.values_mut() {
            coordinator.wake(cx, &mut self.post, wait);
        }
        for Operation { coordinator, id } in self.told_busy.remove(wait).unwrap_or_default() {
            self.post.send(cx, coordinator, TwoPhaseMsg::Free { id });
        }
        self.tidy(cx);
    }

    /// The operation that carries a request out.
    #[must_use]
    pub fn of_request(&self, client: ClientId, id: RequestId) -> Option<&coordinator::State> {
        self.coordinating.values().find(|it| it.carries_out(client, id)).map(Coordinator::state)
    }

    /// A client knows what it was told, or is no more.
    pub fn on_client_acked(
        &mut self,
        cx: &mut Cx<'_>,
        client: ClientId,
        knows: impl Fn(NoticeId) -> bool,
    ) {
        self.remove_acks(cx, |acks| {
            acks.clients.retain(|(other, id)| *other != client || !knows(*id));
        });
    }

    /// A rank knows where a directory of ours is now.
    pub fn on_replica_acked(&mut self, cx: &mut Cx<'_>, dir: Ino, holder: Rank) {
        self.remove_acks(cx, |acks| {
            acks.replicas.remove(&(dir, holder));
        });
    }

    fn remove_acks(&mut self, cx: &mut Cx<'_>, remove: impl Fn(&mut Acks)) {
        for participant in self.taking_part.values_mut() {
            participant.on_acked(cx, &mut self.post, &remove);
        }
        for coordinator in self.coordinating.values_mut() {
            coordinator.on_acked(cx, &mut self.post, &remove);
        }
        self.tidy(cx);
    }

    /// The life of a rank that was known is over.
    pub fn on_rank_down(&mut self, cx: &mut Cx<'_>, dead: Rank) {
        let current = cx.map.incarnation(dead);
        for coordinator in self.coordinating.values_mut() {
            coordinator.on_rank_down(cx, &mut self.post, dead);
        }
        for (operation, participant) in &mut self.taking_part {
            if operation.coordinator == dead && operation.is_orphaned(current) {
                participant.on_coordinator_down(cx, &mut self.post);
            }
        }
        for waiting in self.told_busy.values_mut() {
            waiting.retain(|operation| {
                operation.coordinator != dead || !operation.is_orphaned(current)
            });
        }
        self.rename_lock.forget_waiting(dead, current);
        // A next life may be registered already: whoever we have that from had heard of it before us.
        let living: BTreeSet<Ino> = cx
            .own
            .spine
            .registered()
            .filter(|(_, holders)| holders.contains_key(&dead))
            .map(|(dir, _)| dir)
            .collect();
        self.remove_acks(cx, |acks| {
            acks.replicas.retain(|(dir, holder), _| *holder != dead || living.contains(dir));
        });
    }

    /// A rank has a life that was not known before.
    pub fn on_rank_returned(&mut self, cx: &mut Cx<'_>, rank: Rank) {
        for coordinator in self.coordinating.values_mut() {
            coordinator.on_rank_returned(cx, &mut self.post, rank);
            if let Some(acks) = coordinator.acks() {
                acks.tell_again(cx, rank);
            }
        }
        for participant in self.taking_part.values() {
            if let Some(acks) = participant.acks() {
                acks.tell_again(cx, rank);
            }
        }
        self.tidy(cx);
    }

    /// The map is another one. What others did not listen to while their map was older is said
    /// again: hearing it twice changes nothing.
    pub fn on_map(&mut self, cx: &mut Cx<'_>) {
        if cx.map.incarnation(Rank::ROOT).is_some() {
            let held = self.coordinating.iter().filter(|(_, it)| it.holds_rename_lock());
            let ids = held.map(|(id, _)| *id).collect();
            self.post.send(cx, Rank::ROOT, TwoPhaseMsg::RenameHolds { ids });
        }
        for (operation, participant) in &mut self.taking_part {
            if cx.map.incarnation(operation.coordinator).is_some() {
                participant.ask_for_verdict(cx, &mut self.post);
            }
        }
        self.tidy(cx);
    }

    /// Nobody will ever say what a lost rank had promised or decided. What it took part in goes on
    /// without it. What it coordinated, and this rank has only promised, never was: the names it was
    /// to make were the lost rank's, and those it was to take away stay.
    pub fn settle_lost(&mut self, cx: &mut Cx<'_>) {
        for rank in &cx.map.lost.clone() {
            for coordinator in self.coordinating.values_mut() {
                coordinator.on_rank_lost(cx, &mut self.post, *rank);
            }
            for (operation, participant) in &mut self.taking_part {
                if operation.coordinator == *rank {
                    participant.on_coordinator_lost(cx, &mut self.post);
                }
            }
            self.rename_lock.forget_lost(*rank);
        }
        self.tidy(cx);
    }

    /// What this rank says to itself is done in the same turn; what is over goes.
    pub fn tidy(&mut self, cx: &mut Cx<'_>) {
        let me = (cx.me(), cx.params.incarnation);
        loop {
            while let Some(msg) = self.post.next_to_self() {
                self.dispatch(cx, me, msg);
            }
            let granted = if cx.me() == Rank::ROOT { self.rename_lock.grant(cx.map) } else { None };
            let Some(Operation { coordinator, id }) = granted else { break };
            self.post.send(cx, coordinator, TwoPhaseMsg::RenameLocked { id });
        }
        self.coordinating.retain(|_, coordinator| !coordinator.is_over());
        self.taking_part.retain(|_, participant| !participant.is_over());
    }

    /// The operations this rank takes part in, and how many auth pins each holds.
    pub fn taking_part(&self) -> impl Iterator<Item = (Operation, usize)> + '_ {
        self.taking_part.iter().map(|(operation, it)| (*operation, it.auth_pins()))
    }

    /// Requests that are answered here.
    pub fn coordinated(&self) -> impl Iterator<Item = (ClientId, RequestId)> + '_ {
        self.coordinating.values().filter_map(Coordinator::request)
    }

    /// Directories whose way up operations under way here have to know.
    pub fn paths(&self) -> impl Iterator<Item = Ino> + '_ {
        self.coordinating.values().flat_map(Coordinator::paths)
    }

    /// What requests have to be told.
    #[must_use]
    pub fn take_news(&mut self) -> (Vec<Ended>, Vec<Wait>) {
        self.post.take()
    }

    /// Operations that are under way here, and what each waits for.
    pub fn states(&self) -> impl Iterator<Item = (TwoPhaseId, &'static str)> + '_ {
        let coordinating = self.coordinating.iter().map(|(id, it)| (*id, it.name()));
        coordinating.chain(self.taking_part.iter().map(|(operation, it)| (operation.id, it.name())))
    }

    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.coordinating.is_empty() && self.taking_part.is_empty() && self.told_busy.is_empty()
    }
}

/// What a journal leaves undecided.
#[derive(Debug, Default)]
struct Open {
    decisions: BTreeMap<TwoPhaseId, (Seq, Vec<Rank>)>,
    promises: BTreeMap<Operation, Promise>,
    /// Entries of operations that are over.
    closed: Vec<Seq>,
}

impl Open {
    fn read(journal: &[(Seq, Entry)]) -> Self {
        let mut open = Self::default();
        for (seq, entry) in journal {
            match entry {
                Entry::Decision { id, participants } => {
                    open.decisions.insert(*id, (*seq, participants.clone()));
                }
                Entry::Committed { id } => {
                    open.closed.extend(open.decisions.remove(id).map(|(decision, _)| decision));
                    open.closed.push(*seq);
                }
                Entry::PeerPrepare { id, coordinator, part, held } => {
                    let operation = Operation { coordinator: *coordinator, id: *id };
                    let (part, held) = (part.clone(), held.clone());
                    open.promises.insert(operation, Promise { prepare: *seq, part, held });
                }
                Entry::PeerCommit { id, coordinator } | Entry::PeerRollback { id, coordinator } => {
                    let operation = Operation { coordinator: *coordinator, id: *id };
                    open.closed
                        .extend(open.promises.remove(&operation).map(|promise| promise.prepare));
                    open.closed.push(*seq);
                }
                Entry::SubtreeMap(_)
                | Entry::ImportCopy { .. }
                | Entry::ImportStart(_)
                | Entry::Export { .. }
                | Entry::ImportFinish { .. }
                | Entry::Finished { .. }
                | Entry::Step(_) => {}
            }
        }
        open
    }
}

#[cfg(test)]
mod departed_tests;
#[cfg(test)]
mod failure_tests;
#[cfg(test)]
mod random_tests;
#[cfg(test)]
mod tests;
