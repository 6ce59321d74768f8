//! The thread that makes what was written survive power loss, in groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::id::Seq;
use mds_core::Input;
use tracing::error;

use crate::inbox::Inbox;
use crate::store::Store;
use crate::work_queue::{Taken, WorkQueue};

/// What nobody waits for is synced this often.
const SYNC_INTERVAL: Duration = Duration::from_millis(50);

/// The position up to which turns were written.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<AtomicU64>);

impl Written {
    pub fn advance(&self, seq: Seq) {
        self.0.store(seq.0, Ordering::Release);
    }

    fn position(&self) -> Seq {
        Seq(self.0.load(Ordering::Acquire))
    }
}

/// Dropping it ends the thread, and waits for it: it must not use the store when the process ends.
#[derive(Debug)]
pub struct Syncer {
    wishes: Arc<WorkQueue<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: Arc<Store>, written: Written, inbox: Inbox) -> std::io::Result<Self> {
        let wishes = Arc::new(WorkQueue::default());
        let heard = Arc::clone(&wishes);
        let run = move || sync_forever(&store, &written, &inbox, &heard);
        let thread = std::thread::Builder::new().name("sync".to_owned()).spawn(run)?;
        Ok(Self { wishes, thread: Some(thread) })
    }

    /// Somebody waits. One wish is enough: its sync covers all who wished before it began.
    pub fn soon(&self) {
        self.wishes.put_once(());
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.wishes.close();
        // A panic of the thread has ended the process already, but for tests.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn sync_forever(store: &Store, written: &Written, inbox: &Inbox, wishes: &WorkQueue<()>) {
    let mut synced = Seq::default();
    loop {
        match wishes.take_within(SYNC_INTERVAL) {
            Taken::Work(()) | Taken::Nothing => {}
            Taken::Closed => return,
        }
        // Read before the sync: what is written while it runs may or may not be covered.
        let through = written.position();
        if through == synced {
            continue;
        }
        if let Err(error) = store.sync() {
            error!(%error, "a sync failed: what is on disk is unknown");
            std::process::abort();
        }
        synced = through;
        if inbox.put_blocking(Input::Durable { through }).is_err() {
            return;
        }
    }
}
