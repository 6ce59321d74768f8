//! The world's part that carries out what clients and their processes ask for.

use std::time::Duration;

use client_core::{
    Call, CallId, Done, Effect, Effects, Handle, Input, InvalidationId, LinkEnd, LinkId,
    ListDetail, Listed, References, Timer,
};
use common::error::FsError;
use common::id::{Ino, RequestId};
use common::name::Name;
use common::time::Monotonic;
use common::wire::reply::PageEnd;
use common::wire::request::Caller;
use common::wire::session::ToClient;
use mds_core::input::ConnId;

use super::{Event, Violation, World};
use crate::sim::action::{self, Action};
use crate::sim::client::{self, Asks, Standing, Waiting};
use crate::sim::history::OperationId;
use crate::sim::kernel::{How, Lock, locks_of};
use crate::sim::network::{Lane, Life, Way};
use crate::sim::operation::{Operation, Outcome};
use crate::sim::trace::Who;

const THINK: Duration = Duration::from_millis(25);
const HURRY: Duration = Duration::from_micros(800);
const REST: Duration = Duration::from_millis(500);
/// What others have cached has ended by then.
const AWAY: Duration = Duration::from_secs(8);
const CONNECT: Duration = Duration::from_millis(5);
/// Until the kernel knows what it is told.
const INVALIDATE: Duration = Duration::from_millis(2);

impl World {
    pub(super) fn client_input(&mut self, number: usize, input: Input) -> Result<(), Violation> {
        let host = &mut self.clients[number];
        let who = Who::Client(number);
        self.trace.line(self.now, who, "in", || format!("{input:?}"));
        let mut out = Effects::default();
        host.core.handle(host.now(self.now), input, &mut out);
        for effect in out.drain() {
            self.trace.line(self.now, who, "out", || format!("{effect:?}"));
            self.carry_out_for_client(number, effect)?;
        }
        Ok(())
    }

    fn carry_out_for_client(&mut self, client: usize, effect: Effect) -> Result<(), Violation> {
        match effect {
            Effect::Connect { link, rank, incarnation, .. } => {
                let life = Life { rank, incarnation };
                let (here, there) = (Who::Client(client), Who::Rank(rank));
                let healed = self.network.heals(here, there).max(self.network.heals(there, here));
                let at = self.now.after(self.dice.wait(Duration::from_micros(1), CONNECT));
                self.at(at.max(healed), Event::Connects { client, link, life });
            }
            Effect::Disconnect { link } => self.disconnect(client, link),
            Effect::Send { link, message } => {
                let conn = self.network.conn_of(client, link);
                let conn = conn.filter(|conn| {
                    self.network.conn(*conn).is_some_and(|conn| conn.to_rank == Way::Open)
                });
                if let Some(conn) = conn {
                    self.along(Lane::ToRank(conn), Event::ToRank(conn, message));
                }
            }
            Effect::Answer { call, result, until, change } => {
                self.answered(client, (call, change), result, until)?;
            }
            Effect::Invalidate { id, names, inodes } => {
                self.soon(INVALIDATE, Event::Invalidates { client, id, names, inodes });
            }
            Effect::DropCaches { inodes } => {
                let cache = &mut self.clients[client].cache;
                cache.drop_all_names();
                cache.drop_attributes(&inodes);
            }
            Effect::SetTimer { timer, at } => {
                let host = &mut self.clients[client];
                let (at, number) = (host.in_world(at), host.set_timer(timer));
                self.at(at, Event::ClientTimer(client, timer, number));
            }
            Effect::StopTimer(timer) => self.clients[client].stop_timer(timer),
            Effect::Lost { change } => self.is_lost(client, change)?,
            Effect::Forgotten { .. } | Effect::DropName { .. } => (),
        }
        Ok(())
    }

    /// The kernel knows.
    pub(super) fn invalidates(
        &mut self,
        client: usize,
        id: InvalidationId,
        names: Option<(Ino, Vec<Name>)>,
        inodes: &[Ino],
    ) -> Result<(), Violation> {
        self.clients[client].invalidate(names, inodes);
        self.client_input(client, Input::Invalidated { id })
    }

    /// A connection is made if that life of the rank still listens.
    pub(super) fn connects(
        &mut self,
        client: usize,
        link: LinkId,
        life: Life,
    ) -> Result<(), Violation> {
        if self.alive(life).is_none() {
            return self.no_connection(client, link);
        }
        self.network.connect(client, link, life);
        self.client_input(client, Input::Connected { link })
    }

    pub(super) fn no_connection(&mut self, client: usize, link: LinkId) -> Result<(), Violation> {
        self.client_input(client, Input::Disconnected { link, end: LinkEnd::Broken })
    }

    /// The client ends a connection, after what it has said.
    fn disconnect(&mut self, client: usize, link: LinkId) {
        let Some(conn) = self.network.conn_of(client, link) else { return };
        self.network.shut(conn, Lane::ToClient(conn));
        let Some(it) = self.network.conn_mut(conn) else { return };
        if it.to_rank == Way::Open {
            it.to_rank = Way::Ending;
            self.along(Lane::ToRank(conn), Event::ToRankEnds(conn));
        }
    }

    pub(super) fn client_hears(
        &mut self,
        conn: ConnId,
        message: ToClient,
    ) -> Result<(), Violation> {
        let Some(it) = self.network.conn(conn).copied() else { return Ok(()) };
        if it.to_client == Way::Shut {
            return Ok(());
        }
        let host = &mut self.clients[it.client];
        if message == ToClient::Evicted && host.standing == Standing::Lives {
            return Err(Violation::Evicted { client: it.client });
        }
        if matches!(message, ToClient::Opened(_)) {
            host.opened.insert(it.life.rank);
            if host.standing == Standing::Disturbed {
                // What was answered before its session ended has arrived by now, and pins nothing.
                host.kernel.unpin_all();
            }
        }
        self.tally.hears(&message);
        self.client_input(it.client, Input::FromMds { link: it.link, message })
    }

    pub(super) fn client_loses(&mut self, conn: ConnId) -> Result<(), Violation> {
        let Some(it) = self.network.conn(conn).copied() else { return Ok(()) };
        if it.to_client == Way::Shut {
            return Ok(());
        }
        self.network.shut(conn, Lane::ToClient(conn));
        self.no_connection(it.client, it.link)
    }

    pub(super) fn client_timer(
        &mut self,
        client: usize,
        timer: Timer,
        number: u64,
    ) -> Result<(), Violation> {
        if self.clients[client].goes_off(timer, number) {
            self.client_input(client, Input::Timer(timer))?;
        }
        Ok(())
    }

    /// A process is free: it goes on with its plan, or begins something.
    pub(super) fn process(&mut self, client: usize, process: usize) -> Result<(), Violation> {
        if self.clients[client].processes[process].busy {
            return Ok(());
        }
        if let Some(operation) = self.clients[client].processes[process].plan.pop_front() {
            return self.ask(client, process, operation);
        }
        self.unlock(client, process);
        if let Some(ino) =
            self.lock_book.left_behind((client, process), self.owner((client, process)))
        {
            // By the one that was killed: its files are closed before there is another in its place.
            return self.close_file(client, process, ino);
        }
        let locked = self.lock_book.files_of((client, process));
        if let Some(ino) = self.dice.pick(&locked).copied()
            && (self.actions_left == 0 || self.dice.percent(40))
        {
            return self.unlock_file(client, process, ino);
        }
        if self.actions_left == 0 {
            return Ok(());
        }
        self.actions_left -= 1;
        if let Some(ino) = self.file_to_lock(client, process) {
            return self.begin(client, process, Action::Lock(ino));
        }
        let alone = self.settings.alone > 0 && self.dice.percent(self.settings.alone);
        let choose = if alone { action::choose_alone } else { action::choose };
        let action = choose(&self.clients[client].kernel, &mut self.dice);
        self.begin(client, process, action)
    }

    fn begin(&mut self, client: usize, process: usize, action: Action) -> Result<(), Violation> {
        let host = &mut self.clients[client];
        match action {
            Action::Operations(operations) => {
                let locks = all_locks(&operations);
                if host.kernel.lock(&locks) {
                    host.processes[process].locks = locks;
                    host.processes[process].plan = operations.into();
                }
                self.pause(client, process);
                return Ok(());
            }
            Action::Open(ino) => {
                let used = vec![Lock { ino, how: How::Used }];
                host.kernel.lock(&used);
                host.processes[process].locks = used;
                let call = Call::Open { ino };
                return self.wait_for(client, process, Asks::Open(ino), call).map(drop);
            }
            Action::Lock(ino) => return self.lock_file(client, process, ino),
            Action::Release(ino) => {
                host.kernel.release(ino);
                self.refer(client, References::Released { ino, handle: Handle(0) })?;
            }
            Action::Forget(ino) => {
                let count = host.forget(ino);
                self.refer(client, References::Forgotten { items: vec![(ino, count)] })?;
            }
            Action::Sync => {
                return self.wait_for(client, process, Asks::Sync, Call::Sync).map(drop);
            }
            Action::List(dir) => return self.list(client, process, dir, 0),
        }
        self.pause(client, process);
        Ok(())
    }

    fn list(
        &mut self,
        client: usize,
        process: usize,
        dir: Ino,
        cookie: u64,
    ) -> Result<(), Violation> {
        let detail = ListDetail::Attributes;
        let entries_max = 2;
        let call = Call::Readdir { dir, cookie, entries_max, detail };
        let locks = locks_of(&Operation::Readdir { dir });
        let host = &mut self.clients[client];
        if host.processes[process].locks.is_empty() {
            if !host.kernel.lock(&locks) {
                self.pause(client, process);
                return Ok(());
            }
            host.processes[process].locks = locks;
        }
        self.wait_for(client, process, Asks::Page(dir), call).map(drop)
    }

    pub(super) fn pause(&mut self, client: usize, process: usize) {
        let (alone, away) = (self.settings.alone, self.settings.away);
        let think = match alone {
            _ if away > 0 && self.dice.percent(away) => AWAY,
            0 => THINK,
            _ if self.dice.percent(80) => HURRY,
            // Otherwise all would be done before the first of the faults begins.
            _ => REST,
        };
        self.soon(think, Event::Process { client, process });
    }

    /// A call whose answer is checked.
    pub(super) fn ask(
        &mut self,
        client: usize,
        process: usize,
        operation: Operation<Ino>,
    ) -> Result<(), Violation> {
        if let Operation::Write { node, .. } = operation {
            self.data.insert(node);
        }
        let id = self.history.ask(operation.clone());
        if let Some(outcome) = self.clients[client].cached(&operation, self.now) {
            self.tally.cached += 1;
            return self.conclude(client, process, (id, &operation), outcome);
        }
        let call = client::call(&operation);
        self.wait_for(client, process, Asks::Operation(id, operation), call).map(drop)
    }

    pub(super) fn wait_for(
        &mut self,
        client: usize,
        process: usize,
        asks: Asks,
        call: Call,
    ) -> Result<CallId, Violation> {
        let since = self.now;
        let host = &mut self.clients[client];
        host.processes[process].busy = true;
        let id = host.next_call();
        host.calls.insert(id, Waiting { process: Some(process), since, asks });
        self.client_input(client, Input::Call { id, caller: Caller::default(), call })?;
        Ok(id)
    }

    /// A call of nobody in particular, whatever comes of it.
    pub(super) fn unchecked(&mut self, client: usize, call: Call) -> Result<(), Violation> {
        let since = self.now;
        let host = &mut self.clients[client];
        let id = host.next_call();
        host.calls.insert(id, Waiting { process: None, since, asks: Asks::Anything });
        self.client_input(client, Input::Call { id, caller: Caller::default(), call })
    }

    /// The kernel refers to more, or to less.
    pub(super) fn refer(&mut self, client: usize, to: References) -> Result<(), Violation> {
        self.client_input(client, Input::References(to))
    }

    fn answered(
        &mut self,
        client: usize,
        (call, change): (CallId, Option<RequestId>),
        result: Result<Done, FsError>,
        until: Monotonic,
    ) -> Result<(), Violation> {
        let Some(waiting) = self.clients[client].calls.remove(&call) else {
            let what = format!("client {client} was answered a call twice: {call:?}");
            return Err(Violation::Disagreement(what));
        };
        let Some(process) = waiting.process else { return Ok(()) };
        if !matches!(waiting.asks, Asks::Lock(_)) {
            self.check_wait(client, waiting.since)?;
        }
        self.clients[client].processes[process].busy = false;
        match waiting.asks {
            Asks::Sync | Asks::Anything => {
                self.pause(client, process);
                Ok(())
            }
            Asks::Open(ino) => self.handle(client, process, (ino, result)),
            Asks::Lock(asked) => self.lock_answered(client, process, asked, result),
            Asks::Unlock(ino, range) => self.unlock_answered(client, process, (ino, range), result),
            Asks::Page(dir) => self.page(client, process, dir, (result, until)),
            Asks::Operation(id, operation) => {
                let host = &mut self.clients[client];
                host.cache.learn(&operation, &result, until);
                let outcome = client::outcome(&operation, result);
                host.kernel_learns(&operation, outcome.as_ref().ok());
                if let Some(change) = change {
                    self.tally.answered_first +=
                        u64::from(host.core.unmade().any(|unmade| unmade == change));
                    host.note_change(change, (id, waiting.since), &outcome);
                    if host.in_doubt.contains(&id) {
                        self.note_late_answer(client, change);
                    }
                }
                self.conclude(client, process, (id, &operation), outcome)
            }
        }
    }

    /// What only a listing has named may be gone, and a real kernel looks its name up again.
    fn handle(
        &mut self,
        client: usize,
        process: usize,
        (ino, result): (Ino, Result<Done, FsError>),
    ) -> Result<(), Violation> {
        let host = &mut self.clients[client];
        let disturbed = host.standing == Standing::Disturbed;
        let may_fail = !host.kernel.is_pinned(ino) || disturbed;
        match result {
            Ok(_) => {
                host.kernel.open(ino);
                // Whoever was sent away may believe to hold what has gone since.
                if !disturbed {
                    host.kernel.pin(ino);
                }
            }
            Err(_) if may_fail => {}
            Err(error) => {
                let what = format!("client {client} could not open {ino}, which it holds: {error}");
                return Err(Violation::Disagreement(what));
            }
        }
        self.pause(client, process);
        Ok(())
    }

    /// A process has its answer.
    fn conclude(
        &mut self,
        client: usize,
        process: usize,
        (id, operation): (OperationId, &Operation<Ino>),
        outcome: Outcome<Ino>,
    ) -> Result<(), Violation> {
        self.trace.line(self.now, Who::Client(client), "answer", || {
            format!("{} {operation:?} -> {outcome:?}", id.0)
        });
        let standing = self.clients[client].standing;
        let kernel = &self.clients[client].kernel;
        let unpinned = operation.node().is_some_and(|ino| !kernel.is_pinned(ino));
        // An orphan that nobody pins may be no more.
        let gone = match outcome {
            Err(FsError::Stale) => true,
            Err(FsError::NotFound) => standing == Standing::Disturbed,
            Ok(_) | Err(_) => false,
        };
        if gone && unpinned {
            self.history.withdraw(id)?;
        } else if self.is_in_doubt(client, (id, operation), &outcome) {
            self.history.abandon(id);
        } else {
            self.history.answer(id, &outcome)?;
        }
        if let (Operation::Write { node, .. }, Err(_)) = (operation, &outcome) {
            self.data.remove(node);
        }
        if !self.clients[client].goes_on(process, operation, &outcome) {
            self.clients[client].processes[process].plan.clear();
        }
        self.last = Some(outcome);
        self.pause(client, process);
        Ok(())
    }

    /// Whoever has lost its session is told that nobody knows, or why it cannot be done once more.
    fn is_in_doubt(
        &self,
        client: usize,
        (id, operation): (OperationId, &Operation<Ino>),
        outcome: &Outcome<Ino>,
    ) -> bool {
        let host = &self.clients[client];
        let lost = host.standing == Standing::Disturbed && operation.is_change();
        (lost && *outcome == Err(FsError::Io)) || (outcome.is_err() && host.in_doubt.contains(&id))
    }

    /// A page of a listing with attributes: the kernel refers to what it names.
    fn page(
        &mut self,
        client: usize,
        process: usize,
        dir: Ino,
        (result, until): (Result<Done, FsError>, Monotonic),
    ) -> Result<(), Violation> {
        let last = match result {
            Ok(Done::Listing(listing)) => {
                let mut entries = Vec::new();
                for entry in &listing.entries {
                    // What its maker was not told of yet has no name in the history; as if the kernel
                    // had thrown the entry away.
                    let known = self.history.knows(entry.ino);
                    if let Some(attr) = entry.attr.as_ref().filter(|_| known) {
                        let host = &mut self.clients[client];
                        host.kernel.meet(attr.ino, attr.kind, dir);
                        host.cache.entry(dir, &entry.name, attr, until);
                        let (ino, kind, at) = (entry.ino, entry.kind, entry.at);
                        entries.push(Listed { ino, kind, name: entry.name.clone(), at });
                    }
                }
                self.refer(client, References::Listed { dir, entries })?;
                let more = listing.end == PageEnd::More;
                listing.entries.last().filter(|_| more).map(|entry| entry.cookie)
            }
            Ok(_) | Err(_) => None,
        };
        match last {
            Some(cookie) => self.list(client, process, dir, cookie),
            None => {
                self.pause(client, process);
                Ok(())
            }
        }
    }
}

/// The locks of all, each inode once and the strongest way.
fn all_locks(operations: &[Operation<Ino>]) -> Vec<Lock> {
    let mut locks: Vec<Lock> = operations.iter().flat_map(locks_of).collect();
    locks.sort();
    locks.reverse();
    locks.dedup_by_key(|lock| lock.ino);
    locks
}
