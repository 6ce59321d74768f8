//! Reads of the store for the core. Answers come back through the inbox, in a later turn.
//!
//! A row that is in memory is read at once: waking a thread costs more than the read. What may need
//! the disk, or is long, is for threads.

use std::sync::Arc;
use std::thread::JoinHandle;

use common::wire::admin::Leftovers;
use common::wire::fsck::{Position, Scanned};
use mds_core::Input;
use mds_core::input::{Fetch, Fetched};
use tracing::error;

use crate::inbox::Inbox;
use crate::store::{Store, StoreError};
use crate::work_queue::WorkQueue;

/// Enough to keep a disk busy while one read waits; a rank's rows are mostly cached.
const THREADS: usize = 2;

/// Dropping it ends the threads, and waits for them: they must not use the store when the process
/// ends.
#[derive(Debug)]
pub struct Readers {
    store: Arc<Store>,
    inbox: Inbox,
    /// Bounded by the requests the core has accepted, each of which waits for few rows.
    questions: Arc<WorkQueue<Fetch>>,
    threads: Vec<JoinHandle<()>>,
}

impl Readers {
    /// # Errors
    /// A thread cannot be started.
    pub fn start(store: &Arc<Store>, inbox: &Inbox) -> std::io::Result<Self> {
        let questions = Arc::new(WorkQueue::default());
        let mut threads = Vec::with_capacity(THREADS);
        for number in 0..THREADS {
            let (store, inbox, questions) =
                (Arc::clone(store), inbox.clone(), Arc::clone(&questions));
            let thread = std::thread::Builder::new()
                .name(format!("read-{number}"))
                .spawn(move || read_forever(&store, &inbox, &questions))?;
            threads.push(thread);
        }
        Ok(Self { store: Arc::clone(store), inbox: inbox.clone(), questions, threads })
    }

    /// Adds to what the core counts the rows that are stored.
    pub async fn count_rows(&self, counts: Leftovers) -> Leftovers {
        let store = Arc::clone(&self.store);
        let count = move || store.count_rows(counts).unwrap_or_else(|error| give_up(&error));
        // A panic has ended the process.
        tokio::task::spawn_blocking(count).await.expect("it is not cancelled")
    }

    /// Rows that are stored, for an operator.
    pub async fn scan(&self, after: Option<Position>) -> Scanned {
        let store = Arc::clone(&self.store);
        let scan = move || store.scan(after.as_ref()).unwrap_or_else(|error| give_up(&error));
        // A panic has ended the process.
        tokio::task::spawn_blocking(scan).await.expect("it is not cancelled")
    }

    pub fn ask(&self, fetch: Fetch) {
        let cached = self.store.fetch_cached(&fetch).unwrap_or_else(|error| give_up(&error));
        let answered = cached.map(|fetched| self.inbox.try_put(Input::Fetched(fetched)));
        if !matches!(answered, Some(Ok(()))) {
            self.questions.put(fetch);
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.questions.close();
        for thread in self.threads.drain(..) {
            // A panic of the thread has ended the process already, but for tests.
            let _ = thread.join();
        }
    }
}

fn read_forever(store: &Store, inbox: &Inbox, questions: &WorkQueue<Fetch>) {
    while let Some(fetch) = questions.take() {
        let fetched: Fetched = store.fetch(&fetch).unwrap_or_else(|error| give_up(&error));
        if inbox.put_blocking(Input::Fetched(fetched)).is_err() {
            return;
        }
    }
}

fn give_up(error: &StoreError) -> ! {
    error!(%error, "a row cannot be read");
    std::process::abort();
}
