//! Turns become batches, and what they say leaves when its batch is written.
//!
//! While the core is busy a thread writes turn k and the core runs turn k + 1. When nothing else
//! waits, the core's own thread writes at once: that spares two wake-ups, which cost more than the
//! write.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use common::id::Seq;
use common::mds_map::MdsMap;
use mds_core::Effect;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::error;

use crate::kill_points::Fate;
use crate::outlet::Outlet;
use crate::store::batch::BatchBuilder;
use crate::store::{Store, StoreError};
use crate::syncer::Written;

/// Turns between the core and the thread: the core waits when the disk is so far behind.
const TURNS_AHEAD: usize = 4;

/// What one turn of the core asked for.
#[derive(Debug)]
pub struct Turn {
    /// Which the core has seen in this turn, before it asked for anything here.
    pub map: Option<MdsMap>,
    pub effects: Vec<Effect>,
    /// The position the core had reached.
    pub seq: Seq,
}

/// Whether something else waits for the core's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    Idle,
    Busy,
}

/// The one place through which turns pass, in order.
#[derive(Debug)]
struct Press {
    store: Arc<Store>,
    outlet: Arc<Outlet>,
    written: Written,
    batch: Mutex<BatchBuilder>,
    /// Turns handed to the thread and not yet done.
    ahead: AtomicUsize,
}

/// Dropping it ends the thread.
#[derive(Debug)]
pub struct Writer {
    press: Arc<Press>,
    turns: mpsc::Sender<Turn>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// # Errors
    /// The thread cannot be started.
    pub fn start(
        store: Arc<Store>,
        outlet: Arc<Outlet>,
        written: Written,
    ) -> std::io::Result<Self> {
        let batch = Mutex::new(BatchBuilder::default());
        let press = Arc::new(Press { store, outlet, written, batch, ahead: AtomicUsize::new(0) });
        let (turns, mut queue) = mpsc::channel(TURNS_AHEAD);
        let thread = {
            let press = Arc::clone(&press);
            std::thread::Builder::new().name("write".to_owned()).spawn(move || {
                while let Some(turn) = queue.blocking_recv() {
                    let fate = press.carry_out(turn);
                    press.ahead.fetch_sub(1, Ordering::Release);
                    if fate == Fate::Die {
                        return;
                    }
                }
            })?
        };
        Ok(Self { press, turns, thread })
    }

    /// Waits only while the disk is far behind.
    pub async fn submit(&self, turn: Turn, load: Load) -> Fate {
        if load == Load::Idle && self.press.ahead.load(Ordering::Acquire) == 0 {
            return self.press.carry_out(turn);
        }
        self.press.ahead.fetch_add(1, Ordering::Relaxed);
        // The thread ends by itself only when the process is about to.
        self.turns.send(turn).await.map_or(Fate::Die, |()| Fate::Live)
    }

    /// Waits until every turn is written.
    pub fn finish(self) {
        drop(self.turns);
        if self.thread.join().is_err() {
            error!("the writing thread panicked");
        }
    }
}

impl Press {
    fn carry_out(&self, turn: Turn) -> Fate {
        if let Err(error) = self.write(&turn.effects) {
            error!(%error, "a write failed: what is on disk is unknown");
            std::process::abort();
        }
        self.written.advance(turn.seq);
        if let Some(map) = &turn.map {
            self.outlet.peers.follow(map);
        }
        self.outlet.carry_out(turn.effects.into_iter())
    }

    fn write(&self, effects: &[Effect]) -> Result<(), StoreError> {
        let mut batch = self.batch.lock();
        for effect in effects {
            match effect {
                Effect::Write(change) => batch.change(&self.store, change),
                Effect::Journal { seq, entry } => batch.journal(&self.store, *seq, entry),
                Effect::TrimJournal { seqs } => batch.trim_journal(&self.store, seqs),
                Effect::Send { .. }
                | Effect::SendBulk { .. }
                | Effect::Tell { .. }
                | Effect::CloseConnection { .. }
                | Effect::AnswerAdmin { .. }
                | Effect::Fetch(_)
                | Effect::Purge { .. }
                | Effect::SetTimer { .. }
                | Effect::StopTimer(_)
                | Effect::SyncSoon
                | Effect::WantState(_)
                | Effect::Reached(_)
                | Effect::Abort { .. } => {}
            }
        }
        if batch.is_empty() { Ok(()) } else { batch.write(&self.store) }
    }
}
