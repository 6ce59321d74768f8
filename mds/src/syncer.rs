//! The thread that makes what was written survive power loss, in groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::id::Seq;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use mds_core::Input;
use tracing::error;

use crate::inbox::Inbox;
use crate::store::Store;

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

/// Dropping it ends the thread.
#[derive(Debug)]
pub struct Syncer {
    soon: Sender<()>,
}

impl Syncer {
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: Arc<Store>, written: Written, inbox: Inbox) -> std::io::Result<Self> {
        // One wish is enough: the sync it causes covers all who wished before it began.
        let (soon, wishes) = bounded(1);
        let run = move || sync_forever(&store, &written, &inbox, &wishes);
        std::thread::Builder::new().name("sync".to_owned()).spawn(run)?;
        Ok(Self { soon })
    }

    /// Somebody waits.
    pub fn soon(&self) {
        let _ = self.soon.try_send(());
    }
}

fn sync_forever(store: &Store, written: &Written, inbox: &Inbox, wishes: &Receiver<()>) {
    let mut synced = Seq::default();
    loop {
        match wishes.recv_timeout(SYNC_INTERVAL) {
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
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
