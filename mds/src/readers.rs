//! The threads that read the store for the core. Answers come back through the inbox.

use std::sync::Arc;

use crossbeam_channel::{Sender, unbounded};
use mds_core::Input;
use mds_core::input::Fetch;
use tracing::error;

use crate::inbox::Inbox;
use crate::store::Store;

/// Enough to keep a disk busy while one read waits; a rank's rows are mostly cached.
const THREADS: usize = 2;

/// Dropping it ends the threads.
#[derive(Debug)]
pub struct Readers {
    /// Bounded by the requests the core has accepted, each of which waits for few rows.
    questions: Sender<Fetch>,
}

impl Readers {
    /// # Errors
    /// A thread cannot be started.
    pub fn start(store: &Arc<Store>, inbox: &Inbox) -> std::io::Result<Self> {
        let (questions, asked) = unbounded::<Fetch>();
        for number in 0..THREADS {
            let (store, inbox, asked) = (Arc::clone(store), inbox.clone(), asked.clone());
            std::thread::Builder::new().name(format!("read-{number}")).spawn(move || {
                for fetch in asked {
                    let fetched = store.fetch(&fetch).unwrap_or_else(|error| {
                        error!(%error, ?fetch, "a row cannot be read");
                        std::process::abort();
                    });
                    if inbox.put_blocking(Input::Fetched(fetched)).is_err() {
                        return;
                    }
                }
            })?;
        }
        Ok(Self { questions })
    }

    pub fn ask(&self, fetch: Fetch) {
        // Fails only when the threads have ended, and with them the core.
        let _ = self.questions.send(fetch);
    }
}
