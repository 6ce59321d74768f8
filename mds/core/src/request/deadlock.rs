//! Requests for file locks that wait, and whether they wait for themselves.

use std::collections::BTreeSet;

use common::error::FsError;
use common::file_lock::FileLock;
use common::id::{ClientId, Ino, RequestId};
use common::wire::reply::{Answer, Outcome};
use common::wire::request::Op;

use super::{Parked, Requests};
use crate::capability::Told;
use crate::cx::{Cx, Wait};
use crate::file_lock::{Owner, Settled};
use crate::message::deadlock::Probe;
use crate::pin::PinTable;

/// One of them.
struct LockWait {
    client: ClientId,
    request: RequestId,
    ino: Ino,
    lock: FileLock,
}

impl LockWait {
    fn of(Parked { client, request }: &Parked) -> Option<Self> {
        let Op::SetLock { target, set, .. } = &request.op else { return None };
        let (client, request, ino) = (*client, request.id, target.ino);
        Some(Self { client, request, ino, lock: set.lock()? })
    }

    fn owner(&self) -> Owner {
        (self.client, self.lock.owner)
    }

    fn waits_for<'a>(&self, pins: &'a PinTable) -> impl Iterator<Item = Owner> + 'a {
        let in_the_way = pins.locks().in_the_way(self.ino, self.client, self.lock);
        in_the_way.map(|(client, lock)| (client, lock.owner))
    }
}

impl Requests {
    fn lock_waits(&self) -> impl Iterator<Item = LockWait> + '_ {
        let waits = self.parked.range(Wait::FileLock(Ino(0))..=Wait::FileLock(Ino(u64::MAX)));
        waits.flat_map(|(_, parked)| parked).filter_map(LockWait::of)
    }

    /// What a client asks for of locks is void, until it is sent again.
    pub fn drop_locks_asked_for(&mut self, client: ClientId) {
        let is_it =
            |it: &Parked| it.client == client && matches!(it.request.op, Op::SetLock { .. });
        let void: Vec<RequestId> =
            self.parked.values().flatten().filter(|it| is_it(it)).map(|it| it.request.id).collect();
        self.unpark(is_it);
        for id in void {
            self.waiting.remove(&(client, id));
        }
    }

    /// Whether requests wait for others' locks.
    #[must_use]
    pub fn waits_for_locks(&self) -> bool {
        self.lock_waits().next().is_some()
    }

    /// What to ask others of those that wait.
    #[must_use]
    pub fn probes(&self, pins: &PinTable) -> Vec<Probe> {
        let probe = |wait: LockWait| Probe {
            owner: wait.owner(),
            request: wait.request,
            waits_for: self.closure(wait.waits_for(pins).collect(), pins),
        };
        self.lock_waits().map(probe).collect()
    }

    /// These, those for whom they wait at this rank, and so on.
    #[must_use]
    pub fn closure(&self, mut owners: BTreeSet<Owner>, pins: &PinTable) -> BTreeSet<Owner> {
        let waits: Vec<LockWait> = self.lock_waits().collect();
        loop {
            let known = owners.len();
            for wait in &waits {
                if owners.contains(&wait.owner()) {
                    owners.extend(wait.waits_for(pins));
                }
            }
            if owners.len() == known {
                return owners;
            }
        }
    }

    /// Whether a request would wait for its own owner, as far as this rank knows.
    pub(super) fn closes_circle(&self, parked: &Parked, pins: &PinTable) -> bool {
        LockWait::of(parked).is_some_and(|wait| {
            self.closure(wait.waits_for(pins).collect(), pins).contains(&wait.owner())
        })
    }

    /// It waits for itself: refused, so that somebody goes on.
    pub(super) fn refuse_lock(&mut self, parked: &Parked, cx: &mut Cx<'_>) {
        if let Some(LockWait { client, request, ino, .. }) = LockWait::of(parked) {
            let settled = Settled::Refused(FsError::Deadlock);
            cx.own.pins.locks_mut(ino).settle(ino, client, request, settled);
        }
        let outcome = Outcome::Done(Answer::NotLocked(FsError::Deadlock));
        self.answer(parked, None, outcome, Told::new(), cx);
    }

    /// Another rank has found that it waits for itself.
    pub fn on_deadlock(&mut self, client: ClientId, id: RequestId, cx: &mut Cx<'_>) {
        let is_it = |wait: &LockWait| (wait.client, wait.request) == (client, id);
        let Some(wait) = self.lock_waits().find(is_it) else { return };
        let parked = self.parked.get(&Wait::FileLock(wait.ino)).into_iter().flatten();
        let mut parked = parked.filter(|it| (it.client, it.request.id) == (client, id));
        let Some(parked) = parked.next().cloned() else { return };
        self.waiting.remove(&(client, id));
        self.unpark(|it| (it.client, it.request.id) == (client, id));
        self.refuse_lock(&parked, cx);
    }
}
