//! `ClientHost`: one client, its kernel, and the processes that work on the mount.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use client_core::{Call, CallId, ClientCore, Done, ListDetail, Timer};
use common::attr::Attr;
use common::error::FsError;
use common::file_lock::ByteRange;
use common::id::{ClientId, Ino, MapEpoch, Rank, RequestId};
use common::mds_map::MdsMap;
use common::name::Name;
use common::time::{Monotonic, Now, Timestamp};
use common::wire::request::{Node, Rename};

use super::cache::Cache;
use super::history::OperationId;
use super::kernel::{Kernel, Lock};
use super::operation::{Answer, Make, Operation, Outcome, Seen};
use super::world::AsksForLock;

const MONOTONIC_APART: Duration = Duration::from_secs(77_777);
const WALL_START: i64 = 1_700_000_000;

#[derive(Clone, Debug)]
pub struct ClientHost {
    pub number: usize,
    pub id: ClientId,
    pub core: ClientCore,
    pub kernel: Kernel,
    pub cache: Cache,
    pub calls: BTreeMap<CallId, Waiting>,
    call_last: u64,
    timers: BTreeMap<Timer, u64>,
    timer_last: u64,
    pub processes: Vec<Process>,
    /// The newest map it was told.
    pub map_epoch: MapEpoch,
    /// Its wall clock was set wrong by so many seconds.
    pub wall_ahead: i64,
    pub standing: Standing,
    /// Ranks that have taken a session of it up.
    pub opened: BTreeSet<Rank>,
    /// Changes that were under way when an operator ended its sessions. A rank that it had not met yet has
    /// forgotten then that it did them, and may do them again.
    pub in_doubt: BTreeSet<OperationId>,
    /// Changes that a rank has answered, as far as they may still be at risk.
    pub changes: BTreeMap<RequestId, Change>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No rank may end its session.
    Lives,
    /// It was cut off, or an operator has sent it away: a rank may.
    Disturbed,
    Dead,
}

/// A change that was answered.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    pub id: OperationId,
    pub asked: Monotonic,
    /// The inode that the answer names.
    pub made: Option<Ino>,
}

/// A call that is under way.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// `None`: no process waits for it.
    pub process: Option<usize>,
    pub since: Monotonic,
    pub asks: Asks,
}

#[derive(Clone, Debug)]
pub enum Asks {
    /// Its answer is checked.
    Operation(OperationId, Operation<Ino>),
    Sync,
    /// From the answer on it refers to the file.
    Open(Ino),
    Lock(AsksForLock),
    Unlock(Ino, ByteRange),
    /// Nobody checks its answer.
    Anything,
    /// A page of a listing, whose answer names what the kernel then refers to.
    Page(Ino),
}

/// A process on the mount: it does one thing after the other.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// What is left of its plan.
    pub plan: VecDeque<Operation<Ino>>,
    pub locks: Vec<Lock>,
    pub busy: bool,
    /// How often it was killed while it waited for a lock of a file.
    pub killed: u64,
}

impl ClientHost {
    #[must_use]
    pub fn new(number: usize, id: ClientId, core: ClientCore, processes: usize) -> Self {
        Self {
            number,
            id,
            core,
            kernel: Kernel::default(),
            cache: Cache::default(),
            calls: BTreeMap::new(),
            call_last: 0,
            timers: BTreeMap::new(),
            timer_last: 0,
            processes: vec![Process::default(); processes],
            map_epoch: MapEpoch(0),
            wall_ahead: 0,
            standing: Standing::Lives,
            opened: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
            changes: BTreeMap::new(),
        }
    }

    /// From now on it may lose its sessions.
    pub fn is_disturbed(&mut self) {
        if self.standing == Standing::Lives {
            self.standing = Standing::Disturbed;
        }
    }

    /// An operator ends its sessions.
    pub fn is_sent_away(&mut self) {
        self.is_disturbed();
        let under_way = self.calls.values().filter_map(|waiting| match &waiting.asks {
            Asks::Operation(id, operation) if operation.is_change() => Some(*id),
            Asks::Operation(..)
            | Asks::Sync
            | Asks::Open(_)
            | Asks::Lock(_)
            | Asks::Unlock(..)
            | Asks::Anything
            | Asks::Page(_) => None,
        });
        self.in_doubt.extend(under_way);
    }

    /// What it has just heard was the answer to a change.
    pub fn note_change(
        &mut self,
        request: RequestId,
        (id, asked): (OperationId, Monotonic),
        outcome: &Outcome<Ino>,
    ) {
        let made = match outcome {
            Ok(Answer::Entry { node, .. }) => Some(*node),
            Ok(_) | Err(_) => None,
        };
        self.changes.insert(request, Change { id, asked, made });
    }

    /// The kernel forgets an inode; tells how often it had been named.
    pub fn forget(&mut self, ino: Ino) -> u64 {
        self.cache.forget(ino);
        self.kernel.forget(ino)
    }

    /// What the kernel answers without asking. Linux would do so also while the inode is being changed from
    /// here: a process could be told of that by another mount, and see what was before on its own.
    #[must_use]
    pub fn cached(&self, operation: &Operation<Ino>, world: Monotonic) -> Option<Outcome<Ino>> {
        let changing = operation.node().is_some_and(|ino| self.kernel.is_changing(ino));
        let answer = self.cache.answer(operation, self.now(world).monotonic);
        answer.filter(|_| !changing)
    }

    /// The kernel drops what it was told to. What is locked stays until all names are looked up once more.
    pub fn invalidate(&mut self, names: Option<(Ino, Vec<Name>)>, inodes: &[Ino]) {
        match names {
            Some((dir, _)) if self.kernel.is_locked(dir) => self.cache.drop_all_names(),
            Some((dir, names)) => self.cache.drop_names(dir, &names),
            None => (),
        }
        self.cache.drop_attributes(inodes);
    }

    #[must_use]
    pub fn now(&self, world: Monotonic) -> Now {
        let nanos = u32::try_from(world.0 % 1_000_000_000).expect("below 10^9");
        let secs = i64::try_from(world.0 / 1_000_000_000).expect("runs are short");
        let behind = i64::try_from(self.number).expect("there are few clients");
        let wall = Timestamp { secs: WALL_START + secs - behind + self.wall_ahead, nanos };
        Now { monotonic: world.after(MONOTONIC_APART), wall }
    }

    /// When the world's clock shows what the client's does at `at`.
    #[must_use]
    pub fn in_world(&self, at: Monotonic) -> Monotonic {
        let since = at.since(Monotonic::default().after(MONOTONIC_APART));
        Monotonic(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    pub fn next_call(&mut self) -> CallId {
        self.call_last += 1;
        CallId(self.call_last)
    }

    pub fn set_timer(&mut self, timer: Timer) -> u64 {
        self.timer_last += 1;
        self.timers.insert(timer, self.timer_last);
        self.timer_last
    }

    pub fn stop_timer(&mut self, timer: Timer) {
        self.timers.remove(&timer);
    }

    pub fn goes_off(&mut self, timer: Timer, number: u64) -> bool {
        let due = self.timers.get(&timer) == Some(&number);
        if due {
            self.timers.remove(&timer);
        }
        due
    }

    /// Whether a map is news.
    pub fn is_news(&mut self, map: &MdsMap) -> bool {
        let news = map.epoch > self.map_epoch;
        self.map_epoch = self.map_epoch.max(map.epoch);
        news
    }
}

/// The kernel's call for an operation.
#[must_use]
pub fn call(operation: &Operation<Ino>) -> Call {
    match operation.clone() {
        Operation::Lookup { dir, name } => Call::Lookup { dir, name },
        Operation::Getattr { node } => Call::Getattr { ino: node },
        Operation::Readdir { dir } => {
            Call::Readdir { dir, cookie: 0, entries_max: 1000, detail: ListDetail::Names }
        }
        Operation::Readlink { node } => Call::Readlink { ino: node },
        Operation::GetXattr { node, name } => Call::GetXattr { ino: node, name },
        Operation::ListXattr { node } => Call::ListXattr { ino: node },
        Operation::Setattr { node, set } => Call::Setattr { ino: node, set },
        Operation::Create { dir, name, make: Make::Dir, mode, .. } => {
            Call::Mkdir { dir, name, mode, umask: 0 }
        }
        Operation::Create { dir, name, make, mode, existing } => {
            let node = match make {
                Make::Symlink(target) => Node::Symlink(target),
                Make::Fifo => Node::Fifo,
                Make::File | Make::Dir => Node::File,
            };
            Call::Create { dir, name, node, mode, umask: 0, existing }
        }
        Operation::Unlink { dir, name } => Call::Unlink { dir, name },
        Operation::Rmdir { dir, name } => Call::Rmdir { dir, name },
        Operation::Link { node, dir, name } => Call::Link { ino: node, dir, name },
        Operation::Rename { from_dir, from, to_dir, to, mode } => {
            Call::Rename(Rename { from_dir, from, to_dir, to, mode, from_rank: Rank::ROOT })
        }
        Operation::SetXattr { node, name, value, mode } => {
            Call::SetXattr { ino: node, name, value, mode }
        }
        Operation::RemoveXattr { node, name } => Call::RemoveXattr { ino: node, name },
        Operation::Write { node, end } => Call::Wrote { ino: node, end, kill_privileges: false },
    }
}

/// What the kernel was told, as far as the model vouches for it.
///
/// A change repeated after a restart is answered with attributes as they are by then, and a lookup of
/// something that lies with another rank asks twice: of those only who and what it is are checked.
pub fn outcome(operation: &Operation<Ino>, result: Result<Done, FsError>) -> Outcome<Ino> {
    Ok(match result? {
        Done::Nothing | Done::InTheWay(_) => Answer::Done,
        Done::Entry(attr) => Answer::Entry { node: attr.ino, kind: attr.kind },
        Done::Attr(_) if operation.is_change() => Answer::Done,
        Done::Attr(attr) => Answer::Attr(seen(&attr)),
        Done::Listing(listing) => {
            let entries = listing.entries.into_iter();
            let mut names: Vec<_> = entries.map(|it| (it.name, it.ino, it.kind)).collect();
            names.sort();
            Answer::Names(names)
        }
        Done::Symlink(target) => Answer::Target(target.into()),
        Done::Xattr(value) => Answer::Xattr(value),
        Done::XattrNames(mut names) => {
            names.sort();
            Answer::XattrNames(names)
        }
    })
}

/// What the model vouches for of attributes.
#[must_use]
pub fn seen(attr: &Attr) -> Seen<Ino> {
    Seen {
        node: attr.ino,
        kind: attr.kind,
        mode: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        size: attr.size,
    }
}
