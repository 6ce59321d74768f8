//! `Store`: what a rank keeps, in RocksDB.
//!
//! Write-through: every turn of the core is one batch ([`batch`]), written before anything that
//! speaks of it leaves. RocksDB's log is the redo log; [`Store::sync`] makes it survive power loss.
//! A write or a sync that fails is fatal to the process: what has reached the disk is then unknown,
//! and only recovery can tell.

use std::fmt;
use std::path::{Path, PathBuf};

use common::wire::DecodeError;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBRecoveryMode, LogLevel,
    Options, ReadOptions, ReadTier, WriteBatch, WriteOptions,
};

pub mod batch;
pub mod format_file;
pub mod journal;
pub mod key;
pub mod read;
pub mod restore;
pub mod scan;
pub mod superblock;

use key::{Family, MalformedKey};

/// Raised with every change of [`key`] or of what is encoded as a value.
pub const FORMAT_VERSION: u32 = 5;
pub const FORMAT_NAME: &str = "grovefs-mds-store";

const BLOCK_CACHE_BYTES: usize = 256 * 1024 * 1024;
/// Rows of the namespace gather in memory up to this before they become a file.
const NAMESPACE_BUFFER_BYTES: usize = 64 * 1024 * 1024;
const SMALL_BUFFER_BYTES: usize = 8 * 1024 * 1024;
/// Bounds how much log is read back at a start.
const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// One flush and one compaction: a rank is one busy thread, and should stay that.
const BACKGROUND_JOBS: i32 = 2;
const OWN_LOG_FILES_MAX: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{} is not a formatted data directory; make it one with `{program} --format`", path.display())]
    NotFormatted { path: PathBuf, program: &'static str },
    #[error(
        "{} has format version {found}, this release reads version {expected}; start it with the \
         release that made it",
        path.display()
    )]
    Version { path: PathBuf, found: String, expected: u32 },
    #[error(
        "{} is there already and is not empty; formatting would destroy it: remove it, or choose \
         another `data_dir`",
        path.display()
    )]
    Occupied { path: PathBuf },
    #[error("{} is in use by another process; stop that daemon first", path.display())]
    Locked { path: PathBuf },
    #[error("cannot use {}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the store fails: {0}")]
    Rocks(#[from] rocksdb::Error),
    #[error("the store is damaged: {0}")]
    Key(#[from] MalformedKey),
    #[error("the store is damaged: a value of `{family}` does not decode: {source}")]
    Value { family: &'static str, source: DecodeError },
    #[error("the store is damaged: `{0}` is missing")]
    Missing(&'static str),
}

/// An open store. Threads share it.
pub struct Store {
    db: DB,
    /// For reads that must not wait for the disk.
    cached_only: ReadOptions,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl Store {
    /// Makes the data directory. It must not exist, or be empty.
    ///
    /// # Errors
    /// It is not empty, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, StoreError> {
        format_file::require_vacant(path)?;
        std::fs::create_dir_all(path)
            .map_err(|source| StoreError::Io { path: path.to_owned(), source })?;
        let mut options = database_options();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        Self::open_with(&options, path)
    }

    /// Opens what [`Self::create`] has made and [`Self::finish_format`] has completed.
    ///
    /// # Errors
    /// Names what is wrong with the directory.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::check_format(path)?;
        Self::open_with(&database_options(), path)
    }

    /// # Errors
    /// Names what is wrong with the directory. Nothing is opened.
    pub fn check_format(path: &Path) -> Result<(), StoreError> {
        format_file::check(path, FORMAT_NAME, FORMAT_VERSION, "grove-mds")
    }

    fn open_with(options: &Options, path: &Path) -> Result<Self, StoreError> {
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families = Family::ALL.map(|family| {
            ColumnFamilyDescriptor::new(family.name(), family_options(family, &cache))
        });
        let db = DB::open_cf_descriptors(options, path, families)
            .map_err(|error| open_error(path, error))?;
        let mut cached_only = ReadOptions::default();
        cached_only.set_read_tier(ReadTier::BlockCache);
        Ok(Self { db, cached_only })
    }

    /// Syncs a new store and marks its directory as complete.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn finish_format(self, path: &Path) -> Result<(), StoreError> {
        self.sync()?;
        drop(self);
        format_file::write(path, FORMAT_NAME, FORMAT_VERSION)
    }

    /// Everything written before this call survives power loss after it.
    ///
    /// # Errors
    /// Fatal: see the module.
    pub fn sync(&self) -> Result<(), StoreError> {
        Ok(self.db.flush_wal(true)?)
    }

    /// # Errors
    /// Fatal: see the module.
    pub fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        Ok(self.db.write(batch)?)
    }

    fn write_synced(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }

    fn family(&self, family: Family) -> &ColumnFamily {
        self.db.cf_handle(family.name()).expect("opened with all families")
    }
}

fn value_error(family: Family) -> impl Fn(DecodeError) -> StoreError {
    move |source| StoreError::Value { family: family.name(), source }
}

/// RocksDB tells a taken lock by words only.
pub(crate) fn open_error(path: &Path, error: rocksdb::Error) -> StoreError {
    let text = error.as_ref();
    if text.contains("lock file") || text.contains("lock hold") {
        return StoreError::Locked { path: path.to_owned() };
    }
    StoreError::Rocks(error)
}

pub(crate) fn database_options() -> Options {
    let mut options = Options::default();
    // The log is one history: after a crash the store is as it was at one moment of it.
    options.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    options.set_recycle_log_file_num(0);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_total_wal_size(LOG_BYTES_MAX);
    options.set_max_background_jobs(BACKGROUND_JOBS);
    options.set_keep_log_file_num(OWN_LOG_FILES_MAX);
    options.set_log_level(LogLevel::Warn);
    options
}

fn family_options(family: Family, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_write_buffer_size(match family {
        Family::Dentries | Family::Dirs => NAMESPACE_BUFFER_BYTES,
        Family::Inodes
        | Family::Orphans
        | Family::Sessions
        | Family::Completed
        | Family::Notices
        | Family::Evicted
        | Family::Held
        | Family::Copied
        | Family::Drop
        | Family::Journal
        | Family::Meta => SMALL_BUFFER_BYTES,
    });
    options
}

#[cfg(test)]
mod tests;
