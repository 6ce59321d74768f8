//! `file:///dir`: one sparse file for each inode, in a folder that all mounts of a machine share.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use common::data_store::{LABEL_FILE, StoreLabel, object_path};
use common::id::{ClusterId, Ino};
use common::mds_map::MdsMap;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, statvfs};

use crate::data::{Allocate, Appended, DataStore, Seek, Space};

/// Files kept open.
const OPEN_FILES_MAX: usize = 1024;
const SCHEME: &str = "file://";

#[derive(Debug)]
pub struct FileStore {
    root: PathBuf,
    open: Mutex<OpenFiles>,
}

#[derive(Debug, Default)]
struct OpenFiles {
    files: BTreeMap<Ino, Arc<File>>,
    /// In the order in which they were opened.
    order: VecDeque<Ino>,
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("`{0}` is not the address of a data store; write file:///DIRECTORY")]
    Address(String),
    #[error("cannot read {}: {reason}; is this the folder that `grove store init` made?", path.display())]
    NoLabel { path: PathBuf, reason: io::Error },
    #[error("{} is damaged: {reason}; restore it from a backup", path.display())]
    BadLabel { path: PathBuf, reason: serde_json::Error },
    #[error(
        "the data store in {} belongs to cluster {found}, this is cluster {expected}; name the \
         store of this cluster, or make one with `grove store init`",
        path.display()
    )]
    OtherCluster { path: PathBuf, found: String, expected: ClusterId },
    #[error(
        "the data store in {} ({store}) is not one of this cluster's; name the folder that was \
         registered, or register this one with `grove store init`",
        path.display()
    )]
    NotRegistered { path: PathBuf, store: String },
    #[error("{} is a data store already, of cluster {cluster}; choose another folder", path.display())]
    Exists { path: PathBuf, cluster: String },
    #[error("cannot write {}: {reason}", path.display())]
    Write { path: PathBuf, reason: io::Error },
}

/// Splits `file:///DIR`.
fn directory(address: &str) -> Result<PathBuf, OpenError> {
    let path = address.strip_prefix(SCHEME).map(PathBuf::from);
    path.filter(|path| path.is_absolute()).ok_or_else(|| OpenError::Address(address.to_owned()))
}

fn read_label(root: &Path) -> Result<StoreLabel, OpenError> {
    let path = root.join(LABEL_FILE);
    let text = fs::read_to_string(&path)
        .map_err(|reason| OpenError::NoLabel { path: path.clone(), reason })?;
    serde_json::from_str(&text).map_err(|reason| OpenError::BadLabel { path, reason })
}

/// Makes a folder a data store of `cluster`, or finds that it is. Returns its id.
///
/// # Errors
/// It belongs to another cluster, or cannot be written.
pub fn init(address: &str, cluster: ClusterId, store: u128) -> Result<String, OpenError> {
    let root = directory(address)?;
    match read_label(&root) {
        Ok(label) if label.belongs_to(cluster) => return Ok(label.store),
        Ok(label) => return Err(OpenError::Exists { path: root, cluster: label.cluster }),
        Err(OpenError::NoLabel { reason, .. }) if reason.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let label = StoreLabel {
        cluster: cluster.to_string(),
        store: format!("{store:032x}"),
        created: i64::try_from(created).unwrap_or(i64::MAX),
    };
    write_label(&root, &label).map_err(|reason| OpenError::Write { path: root, reason })?;
    Ok(label.store)
}

fn write_label(root: &Path, label: &StoreLabel) -> io::Result<()> {
    fs::create_dir_all(root)?;
    let text = serde_json::to_string_pretty(label)?;
    let (path, new) = (root.join(LABEL_FILE), root.join(format!("{LABEL_FILE}.new")));
    fs::write(&new, text + "\n")?;
    File::open(&new)?.sync_all()?;
    fs::rename(new, path)?;
    File::open(root)?.sync_all()
}

impl FileStore {
    /// Opens the store at `address`, if it is one of the cluster's.
    ///
    /// # Errors
    /// Says what the folder is instead, and what to do.
    pub fn open(address: &str, map: &MdsMap) -> Result<Self, OpenError> {
        let root = directory(address)?;
        let label = read_label(&root)?;
        if !label.belongs_to(map.cluster) {
            let (found, expected) = (label.cluster, map.cluster);
            return Err(OpenError::OtherCluster { path: root, found, expected });
        }
        if !map.data_stores.contains(&label.store) {
            return Err(OpenError::NotRegistered { path: root, store: label.store });
        }
        Ok(Self { root, open: Mutex::default() })
    }

    /// Where it lies.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn path(&self, ino: Ino) -> PathBuf {
        self.root.join(object_path(ino))
    }

    /// The file of an inode, if anything was ever written.
    fn existing(&self, ino: Ino) -> io::Result<Option<Arc<File>>> {
        if let Some(file) = self.open.lock().files.get(&ino) {
            return Ok(Some(Arc::clone(file)));
        }
        match OpenOptions::new().read(true).write(true).open(self.path(ino)) {
            Ok(file) => Ok(Some(self.keep(ino, file))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&self, ino: Ino) -> io::Result<Arc<File>> {
        if let Some(file) = self.existing(ino)? {
            return Ok(file);
        }
        let path = self.path(ino);
        let create =
            || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&self.root))?;
                create()?
            }
            other => other?,
        };
        Ok(self.keep(ino, file))
    }

    fn keep(&self, ino: Ino, file: File) -> Arc<File> {
        let mut open = self.open.lock();
        if open.order.len() >= OPEN_FILES_MAX
            && let Some(oldest) = open.order.pop_front()
        {
            open.files.remove(&oldest);
        }
        let file = Arc::new(file);
        if open.files.insert(ino, Arc::clone(&file)).is_none() {
            open.order.push_back(ino);
        }
        file
    }
}

impl DataStore for FileStore {
    fn read(&self, ino: Ino, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let Some(file) = self.existing(ino)? else { return Ok(Vec::new()) };
        let mut data = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match file.read_at(&mut data[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        data.truncate(filled);
        Ok(data)
    }

    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> io::Result<()> {
        self.create(ino)?.write_all_at(data, offset)
    }

    fn append(&self, ino: Ino, data: &[u8]) -> io::Result<Appended> {
        self.create(ino)?;
        // A description of its own: its position is the end of what it has written.
        let mut file = OpenOptions::new().append(true).open(self.path(ino))?;
        let written = file.write(data)?;
        Ok(Appended { end: file.stream_position()?, written })
    }

    fn truncate(&self, ino: Ino, size: u64) -> io::Result<()> {
        let file = if size == 0 { self.existing(ino)? } else { Some(self.create(ino)?) };
        file.map_or(Ok(()), |file| file.set_len(size))
    }

    fn allocate(&self, ino: Ino, offset: u64, length: u64, mode: Allocate) -> io::Result<()> {
        let flags = match mode {
            Allocate::Extend => FallocateFlags::empty(),
            Allocate::KeepSize => FallocateFlags::KEEP_SIZE,
            Allocate::PunchHole => FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE,
            Allocate::Zero => FallocateFlags::ZERO_RANGE,
            Allocate::ZeroKeepSize => FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE,
        };
        Ok(fallocate(&*self.create(ino)?, flags, offset, length)?)
    }

    fn seek(&self, ino: Ino, offset: u64, what: Seek) -> io::Result<u64> {
        // A description of its own: the cached one's position is everybody's.
        let file = match File::open(self.path(ino)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(rustix::io::Errno::NXIO.into());
            }
            other => other?,
        };
        let to = match what {
            Seek::Data => SeekFrom::Data(offset),
            Seek::Hole => SeekFrom::Hole(offset),
        };
        Ok(rustix::fs::seek(&file, to)?)
    }

    fn sync(&self, ino: Ino) -> io::Result<()> {
        match self.existing(ino)? {
            Some(file) => file.sync_data(),
            None => Ok(()),
        }
    }

    fn remove(&self, ino: Ino) -> io::Result<()> {
        self.forget(ino);
        match fs::remove_file(self.path(ino)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn space(&self) -> io::Result<Space> {
        let found = statvfs(&self.root)?;
        Ok(Space {
            block_bytes: u32::try_from(found.f_frsize).unwrap_or(4096),
            blocks: found.f_blocks,
            blocks_free: found.f_bfree,
            blocks_available: found.f_bavail,
            files: found.f_files,
            files_free: found.f_ffree,
        })
    }

    fn forget(&self, ino: Ino) {
        let mut open = self.open.lock();
        if open.files.remove(&ino).is_some() {
            open.order.retain(|known| *known != ino);
        }
    }
}

#[cfg(test)]
mod tests;
