//! THE loop: inbox → core → effects.
//!
//! One turn takes what has arrived, hands it to the core, and submits all that the core asks for as
//! one batch and what follows from it ([`crate::writer`]). Between turns the runtime's other tasks
//! run, which read and write the connections: so turns grow with the load by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::limit::{BEACON, TURN_INPUTS_MAX};
use common::mds_map::MdsMap;
use common::time::{Monotonic, Now};
use mds_core::mds::Mds;
use mds_core::timer::table::TimerTable;
use mds_core::{Effect, Effects, Input};
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::inbox::Arrival;
use crate::kill_points::Fate;
use crate::leash::Leash;
use crate::shutdown::Shutdown;
use crate::writer::{Load, Turn, Writer};

/// The core and what it needs around it.
#[derive(Debug)]
pub struct EventLoop {
    mds: Mds,
    clock: Clock,
    timers: TimerTable,
    arrivals: mpsc::Receiver<Arrival>,
    writer: Writer,
    turns: Arc<AtomicU64>,
    leash: Leash,
    out: Effects,
    /// Seen by the core since the last turn was submitted.
    map: Option<MdsMap>,
}

impl EventLoop {
    /// `out` holds what the core asked for when it was made.
    pub fn new(
        (mds, out): (Mds, Effects),
        clock: Clock,
        arrivals: mpsc::Receiver<Arrival>,
        writer: Writer,
        turns: Arc<AtomicU64>,
        leash: Leash,
    ) -> Self {
        let timers = TimerTable::default();
        Self { mds, clock, timers, arrivals, writer, turns, leash, out, map: None }
    }

    /// Runs until a signal comes; then everything the core has done is written. Tells its name.
    pub async fn run(mut self, shutdown: &mut Shutdown) -> &'static str {
        let mut arrived = Vec::with_capacity(TURN_INPUTS_MAX);
        let mut fate = self.submit(Load::Idle).await;
        let signal = loop {
            if fate == Fate::Die {
                // Killed on purpose: this thread must do no more than let sent messages leave.
                std::future::pending::<()>().await;
            }
            let next = self.timers.next();
            tokio::select! {
                _ = self.arrivals.recv_many(&mut arrived, TURN_INPUTS_MAX) => {}
                () = sleep_until(&self.clock, next) => {}
                signal = shutdown.wait() => break signal,
            }
            let ready = tokio::select! {
                () = self.hold_still() => Ok(()),
                signal = shutdown.wait() => Err(signal),
            };
            if let Err(signal) = ready {
                break signal;
            }
            fate = self.turn(&mut arrived).await;
            tokio::task::yield_now().await;
        };
        self.writer.finish();
        signal
    }

    /// While the monitor does not acknowledge us we do nothing; nor does anything fall due, since
    /// those who were to prevent it could not.
    async fn hold_still(&mut self) {
        let Some(since) = self.leash.taut_since() else { return };
        warn!("the monitor does not acknowledge this rank: it answers nobody until it does");
        self.slack().await;
        let held = self.clock.monotonic().since(since);
        self.timers.delay(held);
        info!(for_ms = held.as_millis(), "acknowledged again");
    }

    /// Stands still of its own will: beacons sent meanwhile are to be signs of life.
    async fn slack(&mut self) {
        if self.leash.is_slack() {
            return;
        }
        let mut signs = tokio::time::interval(BEACON / 2);
        loop {
            tokio::select! {
                biased;
                () = self.leash.slack() => return,
                _ = signs.tick() => {
                    self.turns.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    async fn turn(&mut self, arrived: &mut Vec<Arrival>) -> Fate {
        let now = self.clock.now();
        while let Some(timer) = self.timers.pop_due(now.monotonic) {
            self.mds.handle(now, Input::Timer(timer), &mut self.out);
        }
        for arrival in arrived.drain(..) {
            match arrival {
                Arrival::Poke => {}
                Arrival::Input(Input::Map(map)) => {
                    // What was asked for before is for those of the map before.
                    if self.submit(Load::Busy).await == Fate::Die {
                        return Fate::Die;
                    }
                    self.map = Some(map.clone());
                    self.handle(now, Input::Map(map));
                }
                Arrival::Input(input) => self.handle(now, input),
            }
        }
        self.turns.fetch_add(1, Ordering::Relaxed);
        let load = if self.arrivals.is_empty() { Load::Idle } else { Load::Busy };
        self.submit(load).await
    }

    fn handle(&mut self, now: Now, input: Input) {
        self.mds.handle(now, input, &mut self.out);
    }

    async fn submit(&mut self, load: Load) -> Fate {
        let mut effects = Vec::with_capacity(self.out.as_slice().len());
        for effect in self.out.drain() {
            if let Effect::SetTimer { timer, at } = effect {
                self.timers.set(timer, at);
            } else if let Effect::StopTimer(timer) = effect {
                self.timers.stop(timer);
            } else {
                effects.push(effect);
            }
        }
        let map = self.map.take();
        if effects.is_empty() && map.is_none() {
            return Fate::Live;
        }
        // Stopped in the middle of a turn, and woken up: what it says may not be true any more.
        self.slack().await;
        self.writer.submit(Turn { map, effects, seq: self.mds.seq() }, load).await
    }
}

async fn sleep_until(clock: &Clock, at: Option<Monotonic>) {
    match at {
        Some(at) => tokio::time::sleep_until(clock.instant(at).into()).await,
        None => std::future::pending().await,
    }
}
