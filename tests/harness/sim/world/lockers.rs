//! The world's part that has processes lock files, wait for each other, and be interrupted while they do.

use std::time::Duration;

use client_core::{Call, CallId, Done, Handle, Input, Signal};
use common::attr::FileKind;
use common::error::FsError;
use common::file_lock::{ByteRange, FileLock, LockKind, LockOwner};
use common::id::Ino;
use common::wire::request::{OnConflict, SetLock};

use super::{Event, Violation, World};
use crate::sim::client::{Asks, Standing};
use crate::sim::lock_book::Locker;

/// Bytes of a file that are locked: few, so that processes meet.
const BYTES: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(90);
/// Nobody waits behind more than so many others, each of whom has its own time.
const CHAIN_MAX: u32 = 8;

/// A lock that a process asks for.
#[derive(Clone, Copy, Debug)]
pub struct AsksForLock {
    pub ino: Ino,
    pub lock: FileLock,
}

impl World {
    /// What an operation has locked in its kernel.
    pub(super) fn unlock(&mut self, client: usize, process: usize) {
        let host = &mut self.clients[client];
        let locks = std::mem::take(&mut host.processes[process].locks);
        host.kernel.unlock(&locks);
    }

    /// A file that the process is to lock next, of those it has nothing locked of.
    pub(super) fn file_to_lock(&mut self, client: usize, process: usize) -> Option<Ino> {
        if self.settings.locks == 0 {
            return None;
        }
        let kernel = &self.clients[client].kernel;
        let files = kernel.of_kind(|kind| kind == FileKind::File);
        let known = files
            .into_iter()
            .filter(|ino| kernel.is_pinned(*ino) && !self.lock_book.has(*ino, (client, process)));
        let known: Vec<Ino> = known.collect();
        if known.is_empty() || !self.dice.percent(self.settings.locks) {
            return None;
        }
        self.dice.pick(&known).copied()
    }

    /// A process locks something of a file, of which it has nothing locked.
    pub(super) fn lock_file(
        &mut self,
        client: usize,
        process: usize,
        ino: Ino,
    ) -> Result<(), Violation> {
        let by = (client, process);
        let (one, other) = (self.dice.below(BYTES), self.dice.below(BYTES));
        let range = ByteRange { first: one.min(other), last: one.max(other) };
        let kind = if self.dice.percent(30) { LockKind::Read } else { LockKind::Write };
        let waits = self.dice.percent(60);
        let on_conflict = if waits { OnConflict::Wait } else { OnConflict::Refuse };
        let (owner, pid) = (self.owner(by), 1);
        let set = SetLock { owner, pid, range, kind: Some(kind), on_conflict };
        let lock = FileLock { owner, pid, range, kind };
        self.lock_book.ask(ino, by, lock);
        self.clients[client].kernel.keep(ino);
        let asks = Asks::Lock(AsksForLock { ino, lock });
        let call = Call::SetLock { ino, set, handle: Handle(1) };
        let id = self.wait_for(client, process, asks, call)?;
        if waits && self.dice.percent(20) {
            let signal = if self.dice.percent(50) { Signal::Handled } else { Signal::Fatal };
            let event = Event::Signal { client, call: id, signal };
            self.soon(Duration::from_secs(2), event);
        }
        Ok(())
    }

    pub(super) fn signal(
        &mut self,
        client: usize,
        id: CallId,
        signal: Signal,
    ) -> Result<(), Violation> {
        let Some(waiting) = self.clients[client].calls.get(&id) else { return Ok(()) };
        if let (Asks::Lock(AsksForLock { ino, lock }), Some(process), Signal::Fatal) =
            (&waiting.asks, waiting.process, signal)
        {
            self.lock_book.left(*ino, (client, process), *lock);
            self.clients[client].processes[process].killed += 1;
        }
        self.client_input(client, Input::Cancel { id, signal })
    }

    pub(super) fn lock_answered(
        &mut self,
        client: usize,
        process: usize,
        AsksForLock { ino, lock }: AsksForLock,
        result: Result<Done, FsError>,
    ) -> Result<(), Violation> {
        let by = (client, process);
        let clients = &self.clients;
        let lives = |client: usize| clients[client].standing == Standing::Lives;
        let judged = match result {
            Ok(_) => {
                self.tally.locks += 1;
                self.lock_book.locked(ino, by, lock, lives)
            }
            Err(error) => {
                self.tally.locks_refused += u64::from(error == FsError::WouldBlock);
                self.tally.deadlocks += u64::from(error == FsError::Deadlock);
                // What one that has died had made may be lost, with a rank's power.
                let all_live = clients.iter().all(|host| host.standing == Standing::Lives);
                let known = clients[client].kernel.is_pinned(ino) && all_live;
                let expected =
                    matches!(error, FsError::WouldBlock | FsError::Deadlock | FsError::Interrupted);
                let judged = self.lock_book.refused(ino, by, lock, error);
                self.clients[client].kernel.let_go(ino);
                if known && !expected {
                    Err(format!("{by:?} could not lock {lock:?} of {ino}: {error}"))
                } else {
                    judged
                }
            }
        };
        judged.map_err(Violation::Disagreement)?;
        // Who would wait for itself, or is killed, lets go of what it has.
        let gives_up = matches!(result, Err(FsError::Deadlock | FsError::Interrupted));
        match self.lock_book.files_of(by).first() {
            Some(ino) if gives_up => self.close_file(client, process, *ino),
            Some(_) | None => {
                self.pause(client, process);
                Ok(())
            }
        }
    }

    /// A process unlocks some of what it has of a file, or closes that.
    pub(super) fn unlock_file(
        &mut self,
        client: usize,
        process: usize,
        ino: Ino,
    ) -> Result<(), Violation> {
        if self.dice.percent(60) {
            return self.close_file(client, process, ino);
        }
        let by = (client, process);
        let first = self.dice.below(BYTES);
        let range = ByteRange { first, last: first + self.dice.below(2) };
        let owner = self.lock_book.unlock(ino, by, range).unwrap_or_else(|| self.owner(by));
        let on_conflict = OnConflict::Refuse;
        let set = SetLock { owner, pid: 1, range, kind: None, on_conflict };
        let call = Call::SetLock { ino, set, handle: Handle(1) };
        self.wait_for(client, process, Asks::Unlock(ino, range), call).map(drop)
    }

    pub(super) fn close_file(
        &mut self,
        client: usize,
        process: usize,
        ino: Ino,
    ) -> Result<(), Violation> {
        let by = (client, process);
        let owner = self.lock_book.unlock(ino, by, ByteRange::WHOLE);
        let owner = owner.unwrap_or_else(|| self.owner(by));
        let call = Call::Flush { ino, owner };
        self.wait_for(client, process, Asks::Unlock(ino, ByteRange::WHOLE), call).map(drop)
    }

    pub(super) fn unlock_answered(
        &mut self,
        client: usize,
        process: usize,
        (ino, range): (Ino, ByteRange),
        result: Result<Done, FsError>,
    ) -> Result<(), Violation> {
        let by = (client, process);
        // A close does not wait for a rank that is not there, which finds out when it is.
        let is_late = range == ByteRange::WHOLE && self.settings.faults() > 0;
        if result.is_ok() {
            self.lock_book.unlocked(ino, by, (range, is_late), self.now);
        }
        if !self.lock_book.has(ino, by) {
            self.clients[client].kernel.let_go(ino);
        }
        self.pause(client, process);
        Ok(())
    }

    /// Whether somebody waits for what nobody has locked.
    pub(super) fn waits_in_vain(&self, client: usize, waiting: &super::Waiting) -> bool {
        let (Asks::Lock(AsksForLock { ino, lock }), Some(process)) =
            (&waiting.asks, waiting.process)
        else {
            return self.now.since(waiting.since) > PATIENCE;
        };
        let since =
            self.lock_book.waits_for_nothing_since(*ino, (client, process), *lock, waiting.since);
        since.is_some_and(|since| self.now.since(since) > PATIENCE)
            || self.now.since(waiting.since) > PATIENCE * CHAIN_MAX
    }

    /// Numbers of owners are the same for all clients. In the place of a process that is killed there is
    /// another one.
    pub(super) fn owner(&self, (client, process): Locker) -> LockOwner {
        let killed = self.clients[client].processes[process].killed;
        LockOwner(process as u64 + 1 + 100 * killed)
    }

    /// At rest no process has locked anything, and no rank believes that one has. (Unless somebody has died:
    /// with what that had made a file may be gone of which others had locked something.)
    pub(super) fn check_locks(&self) -> Result<(), Violation> {
        if self.clients.iter().any(|host| host.standing != Standing::Lives) {
            return Ok(());
        }
        for host in &self.ranks {
            let pins = host.process.as_ref().map(|process| &process.mds.holdings().pins);
            let locked = pins.into_iter().flat_map(|pins| pins.locks().locked());
            if let Some((ino, client, lock)) = locked.into_iter().next() {
                let left = format!("{client} has locked {lock:?} of {ino} ({})", ino.0);
                return Err(Violation::LeftOver { rank: host.rank, left });
            }
        }
        Ok(())
    }
}
