//! The thread that removes the data of inodes that are no more.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use common::data_store::{LABEL_FILE, StoreLabel, object_path};
use common::id::{ClusterId, Ino};
use mds_core::Input;
use tracing::warn;

use crate::inbox::Inbox;
use crate::work_queue::WorkQueue;

/// After so many removals the thread rests, so that applications have the disk in between.
const BURST: u32 = 64;
/// With the burst: at most about 12,000 removals a second.
const REST: Duration = Duration::from_millis(5);
/// A removal that failed is tried again after so long.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum DataStoreError {
    #[error(
        "the data store {} has no readable {LABEL_FILE} ({reason}); check `data_store`, or make a \
         store with `grove-mds --format`",
        path.display()
    )]
    NoLabel { path: PathBuf, reason: String },
    #[error(
        "the data store {} belongs to cluster {found}, this is cluster {ours}; check `data_store`",
        path.display()
    )]
    OtherCluster { path: PathBuf, found: String, ours: ClusterId },
}

/// Reads the label of a data store and checks that it is this cluster's: nothing is removed from
/// anybody else's.
///
/// # Errors
/// There is no label, or another cluster's.
pub fn check_label(path: &Path, ours: ClusterId) -> Result<StoreLabel, DataStoreError> {
    let no_label = |reason: String| DataStoreError::NoLabel { path: path.to_owned(), reason };
    let text =
        fs::read_to_string(path.join(LABEL_FILE)).map_err(|error| no_label(error.to_string()))?;
    let label: StoreLabel =
        serde_json::from_str(&text).map_err(|error| no_label(error.to_string()))?;
    if !label.belongs_to(ours) {
        let (path, found) = (path.to_owned(), label.cluster);
        return Err(DataStoreError::OtherCluster { path, found, ours });
    }
    Ok(label)
}

/// Dropping it ends the thread.
#[derive(Debug)]
pub struct Purger {
    /// Every inode in it is an orphan row as well: the queue survives a restart there.
    queue: Arc<WorkQueue<Ino>>,
}

impl Purger {
    /// Without a store data stays where it is, and is called purged.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: Option<PathBuf>, inbox: Inbox) -> io::Result<Self> {
        let queue = Arc::new(WorkQueue::default());
        let inodes = Arc::clone(&queue);
        std::thread::Builder::new()
            .name("purge".to_owned())
            .spawn(move || purge_forever(store.as_deref(), &inodes, &inbox))?;
        Ok(Self { queue })
    }

    pub fn purge(&self, ino: Ino) {
        self.queue.put(ino);
    }
}

impl Drop for Purger {
    fn drop(&mut self) {
        self.queue.close();
    }
}

fn purge_forever(store: Option<&Path>, inodes: &WorkQueue<Ino>, inbox: &Inbox) {
    let mut burst = 0;
    while let Some(ino) = inodes.take() {
        if let Some(store) = store {
            remove(store, ino);
            burst += 1;
            if burst == BURST {
                burst = 0;
                std::thread::sleep(REST);
            }
        }
        if inbox.put_blocking(Input::Purged { ino }).is_err() {
            return;
        }
    }
}

fn remove(store: &Path, ino: Ino) {
    let path = store.join(object_path(ino));
    loop {
        match fs::remove_file(&path) {
            Ok(()) => return,
            // Never written to.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => {
                warn!(path = %path.display(), %error, "data cannot be removed yet");
                std::thread::sleep(RETRY);
            }
        }
    }
}
