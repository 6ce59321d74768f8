//! `FileLockTable`: which clients have locked which ranges of files, and what has become of what they asked
//! for. It is part of what is known of pins ([`crate::pin`]), and goes where they go.
//!
//! Nothing of this is stored. A client that has an answer says what it has locked when the rank begins
//! anew; what it has no answer to it asks for again. So that asking again, here or where the file is by
//! then, does nothing twice, what was answered is kept by its id until the client has had the answer.

use std::collections::{BTreeMap, BTreeSet};

use common::error::FsError;
use common::file_lock::{ByteRange, FileLock, FileLocks, LockOwner};
use common::id::{ClientId, Ino, RequestId};
use serde::{Deserialize, Serialize};

/// An owner of locks, of all mounts.
pub type Owner = (ClientId, LockOwner);

/// What each client has locked of one file.
pub type LocksOfFile = BTreeMap<ClientId, LocksOfClient>;

#[derive(Clone, Debug, Default, Hash)]
pub struct FileLockTable {
    files: BTreeMap<Ino, LocksOfFile>,
    /// Files of which something is not locked any more, since somebody looked: whoever waits may go on.
    released: BTreeSet<Ino>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LocksOfClient {
    held: FileLocks,
    /// It may have locked anything: it is still to say.
    unknown: bool,
    /// The latest request, and those up to it that its client had no answer to when it sent that.
    latest: RequestId,
    unanswered: BTreeSet<RequestId>,
    /// Of these: what has become of them.
    settled: BTreeMap<RequestId, Settled>,
}

/// What was answered to a request for a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Settled {
    Locked,
    Refused(FsError),
}

/// What is known of a request before it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    New,
    /// A copy of what was answered already.
    Settled(Settled),
    /// A copy of what its client has had the answer to, from wherever.
    Over,
}

impl FileLockTable {
    /// A request has come, of which its client says that these are unanswered.
    pub fn on_request(
        &mut self,
        ino: Ino,
        client: ClientId,
        id: RequestId,
        unanswered: &BTreeSet<RequestId>,
    ) -> Known {
        let locks = self.files.entry(ino).or_default().entry(client).or_default();
        if id > locks.latest {
            locks.latest = id;
            locks.unanswered.clone_from(unanswered);
            locks.settled.retain(|id, _| unanswered.contains(id));
        } else if !locks.unanswered.contains(&id) {
            return Known::Over;
        }
        locks.settled.get(&id).map_or(Known::New, |settled| Known::Settled(*settled))
    }

    pub fn settle(&mut self, ino: Ino, client: ClientId, id: RequestId, settled: Settled) {
        let Some(locks) = self.files.get_mut(&ino).and_then(|file| file.get_mut(&client)) else {
            return;
        };
        locks.settled.insert(id, settled);
    }

    pub fn lock(&mut self, ino: Ino, client: ClientId, lock: FileLock) {
        let locks = &mut self.files.entry(ino).or_default().entry(client).or_default().held;
        locks.lock(lock);
        // It may have been locked for writing before.
        self.released.insert(ino);
    }

    pub fn unlock(&mut self, ino: Ino, client: ClientId, owner: LockOwner, range: ByteRange) {
        if let Some(locks) = self.files.get_mut(&ino).and_then(|file| file.get_mut(&client)) {
            locks.held.unlock(owner, range);
            self.released.insert(ino);
        }
    }

    /// Others' locks that are in the way of one.
    pub fn in_the_way(
        &self,
        ino: Ino,
        client: ClientId,
        wanted: FileLock,
    ) -> impl Iterator<Item = (ClientId, FileLock)> + '_ {
        let all = self.files.get(&ino).into_iter().flatten();
        let all = all.flat_map(|(client, locks)| locks.held.iter().map(|lock| (*client, lock)));
        all.filter(move |(of, lock)| {
            (*of, lock.owner) != (client, wanted.owner) && lock.excludes(&wanted)
        })
    }

    /// Whether somebody else may have locked anything.
    #[must_use]
    pub fn may_be_in_the_way(&self, ino: Ino, client: ClientId) -> bool {
        let mut all = self.files.get(&ino).into_iter().flatten();
        all.any(|(of, locks)| *of != client && locks.unknown)
    }

    /// Whether anything may be in anybody's way.
    #[must_use]
    pub fn is_locked(&self, ino: Ino) -> bool {
        let mut all = self.files.get(&ino).into_iter().flatten();
        all.any(|(_, locks)| locks.unknown || !locks.held.is_empty())
    }

    /// What a client has locked was known to an earlier life.
    pub fn assume(&mut self, ino: Ino, client: ClientId) {
        self.files.entry(ino).or_default().entry(client).or_default().unknown = true;
    }

    /// Whether it is not known what a client has locked.
    #[must_use]
    pub fn is_assumed(&self, ino: Ino, client: ClientId) -> bool {
        self.files.get(&ino).and_then(|file| file.get(&client)).is_some_and(|locks| locks.unknown)
    }

    /// Locked ranges of a file.
    #[must_use]
    pub fn count(&self, ino: Ino) -> usize {
        let all = self.files.get(&ino).into_iter().flatten();
        all.map(|(_, locks)| locks.held.count()).sum()
    }

    /// Every locked range: of which file, by whom.
    pub fn locked(&self) -> impl Iterator<Item = (Ino, ClientId, FileLock)> + '_ {
        self.files.iter().flat_map(|(ino, file)| {
            file.iter().flat_map(move |(client, locks)| {
                locks.held.iter().map(move |lock| (*ino, *client, lock))
            })
        })
    }

    /// Of whom something is known about which file.
    pub fn iter(&self) -> impl Iterator<Item = (Ino, ClientId)> + '_ {
        self.files.iter().flat_map(|(ino, file)| file.keys().map(|client| (*ino, *client)))
    }

    /// What is known of a file's locks, to be known elsewhere.
    #[must_use]
    pub fn of(&self, ino: Ino) -> LocksOfFile {
        self.files.get(&ino).cloned().unwrap_or_default()
    }

    /// What a client says that it has locked, and nothing else. Of one whose earlier session has ended
    /// others may have locked something since: what is in their way is returned, and is not locked.
    pub fn claim(
        &mut self,
        ino: Ino,
        client: ClientId,
        claimed: FileLocks,
        is_resumed: bool,
    ) -> Vec<FileLock> {
        self.drop_of(ino, client);
        let (lost, held): (Vec<FileLock>, Vec<FileLock>) = claimed
            .iter()
            .filter(|lock| lock.range.first <= lock.range.last)
            .partition(|lock| !is_resumed && self.in_the_way(ino, client, *lock).next().is_some());
        if !held.is_empty() {
            let held = held.into_iter().collect();
            let locks = LocksOfClient { held, ..LocksOfClient::default() };
            self.files.entry(ino).or_default().insert(client, locks);
        }
        lost
    }

    /// What was known elsewhere.
    pub fn take_over(&mut self, ino: Ino, locks: LocksOfFile) {
        if !locks.is_empty() {
            self.files.entry(ino).or_default().extend(locks);
        }
    }

    pub fn drop_of(&mut self, ino: Ino, client: ClientId) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        if file.remove(&client).is_some() {
            self.released.insert(ino);
        }
        if file.is_empty() {
            self.files.remove(&ino);
        }
    }

    /// The file is elsewhere from here on, or nowhere.
    pub fn drop_file(&mut self, ino: Ino) {
        if self.files.remove(&ino).is_some() {
            self.released.insert(ino);
        }
    }

    /// Files of which something was unlocked since the last time.
    pub fn take_released(&mut self) -> BTreeSet<Ino> {
        std::mem::take(&mut self.released)
    }
}

#[cfg(test)]
mod tests;
