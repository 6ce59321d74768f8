//! `Client`: keeps a [`ClientCore`] under a lock, hands it inputs and carries its effects out.
//!
//! The lock is held for one `handle` and for queueing what it sends, so that messages leave in
//! the order in which they were decided. Answers are given after it is released.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client_core::{
    Call, CallId, ClientCore, Done, Effect, Effects, Input, InvalidationId, LinkEnd, LinkId,
    Params, References, Signal, Timer,
};
use common::error::FsError;
use common::id::{Incarnation, Ino, Rank};
use common::limit::OUTBOX_MESSAGES_MAX;
use common::mds_map::MdsMap;
use common::time::{Monotonic, Now, Timestamp};
use common::wire::request::Caller;
use common::wire::session::ToMds;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};

use crate::data::DataStore;
use crate::fuse::{KernelCaches, NameDropper};

/// What becomes of an answer, and for how long it may be used again.
type Reply = Box<dyn FnOnce(Result<Done, FsError>, Duration) + Send>;

pub struct Client {
    state: Mutex<State>,
    /// Where connections are made.
    dials: mpsc::Sender<Dial>,
    /// A timer is to go off earlier than any before.
    pub(crate) timer_moved: Notify,
    started: Instant,
    data: Option<Arc<dyn DataStore>>,
    /// There once the kernel's session is.
    dropped_names: OnceLock<NameDropper>,
    /// The same, if it can be told what to drop.
    caches: OnceLock<KernelCaches>,
}

struct State {
    core: ClientCore,
    /// Kept to spare allocations.
    effects: Effects,
    replies: BTreeMap<CallId, Waiting>,
    last_call: u64,
    links: BTreeMap<LinkId, mpsc::Sender<ToMds>>,
    timers: BTreeMap<Timer, Monotonic>,
}

struct Waiting {
    reply: Reply,
    /// The thread that waits in the kernel; 0 if none does.
    thread: u32,
    since: Instant,
}

/// An order to connect to a rank.
#[derive(Debug)]
pub struct Dial {
    pub link: LinkId,
    pub rank: Rank,
    pub incarnation: Incarnation,
    pub addr: SocketAddr,
    /// What is to be sent. The connection ends when there is no sender any more.
    pub outbox: mpsc::Receiver<ToMds>,
}

/// Connections ordered and not yet begun: one for each rank and attempt.
pub const DIALS_MAX: usize = 1024;

/// What is to be done once the lock is released.
#[derive(Default)]
struct Afterwards {
    answers: Vec<(Reply, Result<Done, FsError>, Monotonic)>,
    forgotten: Vec<Ino>,
    /// Where nothing is cached.
    invalidated: Vec<InvalidationId>,
    /// Links whose queue is full: their receivers are too far behind.
    stuck: Vec<LinkId>,
}

impl Client {
    #[must_use]
    pub fn new(
        params: Params,
        dials: mpsc::Sender<Dial>,
        data: Option<Arc<dyn DataStore>>,
    ) -> Self {
        let state = State {
            core: ClientCore::new(params),
            effects: Effects::default(),
            replies: BTreeMap::new(),
            last_call: 0,
            links: BTreeMap::new(),
            timers: BTreeMap::new(),
        };
        Self {
            state: Mutex::new(state),
            dials,
            timer_moved: Notify::new(),
            started: Instant::now(),
            data,
            dropped_names: OnceLock::new(),
            caches: OnceLock::new(),
        }
    }

    /// Names that the kernel may let go of are told to `dropper` from now on.
    pub fn drop_names_with(&self, dropper: NameDropper) {
        // Set once, by the mount.
        let _ = self.dropped_names.set(dropper);
    }

    /// The kernel may keep what it is told from now on.
    pub fn cache_with(&self, caches: KernelCaches) {
        // Set once, by the mount.
        let _ = self.caches.set(caches);
    }

    /// Begins a call for the thread that waits for it in the kernel. `reply` may be called before
    /// this returns, or later on another thread; it must not sleep.
    pub fn call(
        &self,
        (caller, thread): (Caller, u32),
        call: Call,
        reply: impl FnOnce(Result<Done, FsError>, Duration) + Send + 'static,
    ) {
        self.turn(|state| {
            state.last_call += 1;
            let id = CallId(state.last_call);
            let waiting = Waiting { reply: Box::new(reply), thread, since: Instant::now() };
            state.replies.insert(id, waiting);
            Input::Call { id, caller, call }
        });
    }

    pub fn refer(&self, change: References) {
        self.handle(Input::References(change));
    }

    pub fn handle(&self, input: Input) {
        self.turn(|_| input);
    }

    /// The process that waits for this call has a signal pending.
    pub fn cancel(&self, id: CallId, signal: Signal) {
        self.handle(Input::Cancel { id, signal });
    }

    #[must_use]
    pub fn map(&self) -> Option<MdsMap> {
        self.state.lock().core.map().cloned()
    }

    /// Calls that have waited for longer than this, with the threads that wait.
    #[must_use]
    pub fn waiting_longer_than(&self, time: Duration) -> Vec<(CallId, u32)> {
        let state = self.state.lock();
        state
            .replies
            .iter()
            .filter(|(_, waiting)| waiting.thread != 0 && waiting.since.elapsed() > time)
            .map(|(id, waiting)| (*id, waiting.thread))
            .collect()
    }

    /// When the next timer goes off.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        let state = self.state.lock();
        let at = state.timers.values().min()?;
        Some(self.started + Duration::from_nanos(at.0))
    }

    /// Lets go off what is due.
    pub(crate) fn fire_timers(&self) {
        while let Some(timer) = self.take_due() {
            self.handle(Input::Timer(timer));
        }
    }

    fn take_due(&self) -> Option<Timer> {
        let now = self.now().monotonic;
        let mut state = self.state.lock();
        let due = state.timers.iter().filter(|(_, at)| **at <= now).min_by_key(|(_, at)| **at);
        let timer = due.map(|(timer, _)| *timer)?;
        state.timers.remove(&timer);
        Some(timer)
    }

    fn now(&self) -> Now {
        let monotonic = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Now { monotonic: Monotonic(monotonic), wall: timestamp(SystemTime::now()) }
    }

    fn turn(&self, input: impl FnOnce(&mut State) -> Input) {
        let mut after = Afterwards::default();
        {
            let mut state = self.state.lock();
            // Under the lock, so that time never runs backwards from one input to the next.
            let now = self.now();
            let input = input(&mut state);
            let mut effects = std::mem::take(&mut state.effects);
            state.core.handle(now, input, &mut effects);
            for effect in effects.drain() {
                self.carry_out(&mut state, effect, &mut after);
            }
            state.effects = effects;
        }
        for (reply, result, until) in after.answers {
            let ttl = match self.caches.get() {
                Some(_) => until.since(self.now().monotonic),
                None => Duration::ZERO,
            };
            reply(result, ttl);
        }
        if let Some(data) = &self.data {
            after.forgotten.into_iter().for_each(|ino| data.forget(ino));
        }
        for id in after.invalidated {
            self.handle(Input::Invalidated { id });
        }
        for link in after.stuck {
            self.handle(Input::Disconnected { link, end: LinkEnd::Broken });
        }
    }

    fn carry_out(&self, state: &mut State, effect: Effect, after: &mut Afterwards) {
        match effect {
            Effect::Connect { link, rank, incarnation, addr } => {
                let (sender, outbox) = mpsc::channel(OUTBOX_MESSAGES_MAX);
                match self.dials.try_send(Dial { link, rank, incarnation, addr, outbox }) {
                    Ok(()) => {
                        state.links.insert(link, sender);
                    }
                    Err(_) => after.stuck.push(link),
                }
            }
            Effect::Disconnect { link } => {
                state.links.remove(&link);
            }
            Effect::Send { link, message } => {
                let Some(sender) = state.links.get(&link) else { return };
                if sender.try_send(message).is_err() {
                    state.links.remove(&link);
                    after.stuck.push(link);
                }
            }
            Effect::Answer { call, result, until, .. } => {
                if let Some(waiting) = state.replies.remove(&call) {
                    after.answers.push((waiting.reply, result, until));
                }
            }
            Effect::SetTimer { timer, at } => {
                let is_first = state.timers.values().min().is_none_or(|first| at < *first);
                state.timers.insert(timer, at);
                if is_first {
                    self.timer_moved.notify_one();
                }
            }
            Effect::StopTimer(timer) => {
                state.timers.remove(&timer);
            }
            Effect::DropName { dir, name } => {
                if let Some(names) = self.dropped_names.get() {
                    names.drop_name(dir, name);
                }
            }
            Effect::Invalidate { id, names, inodes } => match self.caches.get() {
                Some(caches) => caches.invalidate(id, names, inodes),
                None => after.invalidated.push(id),
            },
            Effect::DropCaches { inodes } => {
                if let Some(caches) = self.caches.get() {
                    caches.drop_all(&inodes);
                }
            }
            Effect::Forgotten { ino } => after.forgotten.push(ino),
            // Whoever asks whether it is durable is told; the core has said so in the log.
            Effect::Lost { .. } => {}
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// A moment of this machine's clock, also before 1970.
#[must_use]
pub fn timestamp(time: SystemTime) -> Timestamp {
    let secs = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Timestamp { secs: secs(since), nanos: since.subsec_nanos() },
        Err(before) => match before.duration().subsec_nanos() {
            0 => Timestamp { secs: -secs(before.duration()), nanos: 0 },
            nanos => Timestamp {
                secs: (-secs(before.duration())).saturating_sub(1),
                nanos: 1_000_000_000 - nanos,
            },
        },
    }
}
