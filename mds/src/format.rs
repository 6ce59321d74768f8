//! `grove-mds --format`: makes a rank's store, and the cluster's data store if there is none yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::data_store::{LABEL_FILE, StoreLabel};
use common::id::{ClusterId, Rank, Seq, Slot};
use common::mds_map::MdsMap;
use common::wire::monitor::{FromMonitor, ToMonitor};
use mds_core::mds::format_root;
use mds_core::row::Change;
use tracing::info;
use transport::client_endpoint;
use transport::hello::Greeted;

use crate::clock::Clock;
use crate::config::mds::MdsConfig;
use crate::purge::{DataStoreError, check_label};
use crate::random::random;
use crate::store::batch::BatchBuilder;
use crate::store::superblock::Superblock;
use crate::store::{Store, StoreError, format_file};
use crate::transport::monitor::{LinkError, connect};

#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("`data_dir` is missing in the configuration: it names what is to be made")]
    NoDirectory,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Endpoint(#[from] transport::EndpointError),
    #[error("the monitor is needed to format: {0}")]
    Monitor(#[from] LinkError),
    #[error(transparent)]
    DataStore(#[from] DataStoreError),
    #[error("cannot make the data store {}: {source}; check `data_store`", path.display())]
    MakeDataStore { path: PathBuf, source: io::Error },
}

/// # Errors
/// Nothing was made, unless the disk failed in the middle: then the directory is not marked as
/// formatted, and has to be removed.
pub async fn format(config: &MdsConfig) -> Result<Slot, FormatError> {
    let dir = config.data_dir.as_deref().ok_or(FormatError::NoDirectory)?;
    format_file::require_vacant(dir)?;
    if let Some(path) = &config.data_store {
        check_vacant_or_ours(path, config.cluster)?;
    }
    let endpoint = client_endpoint(&config.credentials)?;
    let (_connection, mut monitor) =
        connect(&endpoint, config.monitor, config.cluster, &config.name).await?;
    let (slot, map) = allocate_slot(&mut monitor, &config.name).await?;
    make_store(dir, slot, &map)?;
    if let Some(path) = &config.data_store {
        let id = make_data_store(path, config.cluster)?;
        ask(&mut monitor, &ToMonitor::AddDataStore { id }).await?;
    }
    info!(%slot, data_dir = %dir.display(), "formatted");
    Ok(slot)
}

async fn ask(monitor: &mut Greeted, msg: &ToMonitor) -> Result<FromMonitor, LinkError> {
    monitor.send.send(msg).await?;
    match monitor.recv.next().await?.ok_or(LinkError::Ended)? {
        FromMonitor::Refused(error) => Err(LinkError::Refused(error)),
        answer @ (FromMonitor::Slot { .. }
        | FromMonitor::Done
        | FromMonitor::Map(_)
        | FromMonitor::BeaconAck { .. }
        | FromMonitor::StandByAck { .. }
        | FromMonitor::TakeOver(_)
        | FromMonitor::Description(_)) => Ok(answer),
    }
}

async fn allocate_slot(monitor: &mut Greeted, name: &str) -> Result<(Slot, MdsMap), LinkError> {
    match ask(monitor, &ToMonitor::AllocateSlot { daemon: name.to_owned() }).await? {
        FromMonitor::Slot { slot, map } => Ok((slot, map)),
        FromMonitor::Done
        | FromMonitor::Map(_)
        | FromMonitor::BeaconAck { .. }
        | FromMonitor::StandByAck { .. }
        | FromMonitor::TakeOver(_)
        | FromMonitor::Description(_)
        | FromMonitor::Refused(_) => Err(LinkError::Ended),
    }
}

/// The store of the slot whose rank holds the root begins with the root.
fn make_store(dir: &Path, slot: Slot, map: &MdsMap) -> Result<(), StoreError> {
    let store = Store::create(dir)?;
    let (cluster, name_hash_key) = (map.cluster, map.name_hash_key);
    store.put_superblock(&Superblock { cluster, slot, name_hash_key })?;
    if map.rank_of(slot) == Some(Rank::ROOT) {
        let (rows, entries) = format_root(Clock::default().now());
        let mut batch = BatchBuilder::default();
        for row in rows {
            batch.change(&store, &Change::Put(row));
        }
        for (seq, entry) in (1..).zip(&entries) {
            batch.journal(&store, Seq(seq), entry);
        }
        batch.write_synced(&store)?;
    }
    store.finish_format(dir)
}

fn check_vacant_or_ours(path: &Path, cluster: ClusterId) -> Result<(), FormatError> {
    if is_vacant(path) {
        return Ok(());
    }
    check_label(path, cluster)?;
    Ok(())
}

fn is_vacant(path: &Path) -> bool {
    match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    }
}

/// Labels an empty folder; a store that is this cluster's already stays as it is. Tells its id.
fn make_data_store(path: &Path, cluster: ClusterId) -> Result<String, FormatError> {
    if !is_vacant(path) {
        return Ok(check_label(path, cluster)?.store);
    }
    let make = || -> io::Result<String> {
        fs::create_dir_all(path)?;
        let store = format!("{:032x}", u128::from_le_bytes(random()?));
        let created = Clock::default().now().wall.secs;
        let label = StoreLabel { cluster: cluster.to_string(), store: store.clone(), created };
        let temporary = path.join("grove-store.new");
        fs::write(&temporary, serde_json::to_vec_pretty(&label)?)?;
        fs::rename(temporary, path.join(LABEL_FILE))?;
        Ok(store)
    };
    make().map_err(|source| FormatError::MakeDataStore { path: path.to_owned(), source })
}
