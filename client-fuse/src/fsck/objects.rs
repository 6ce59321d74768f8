//! `Objects`: the data that there is, by the inodes whose it is.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use common::data_store::object_path;
use common::id::Ino;

#[derive(Clone, Debug, Default)]
pub struct Objects {
    bytes: BTreeMap<Ino, u64>,
    /// What lies there and is nobody's data.
    pub strangers: Vec<String>,
}

impl Objects {
    /// Looks through a data store's folder.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn look(root: &Path) -> io::Result<Self> {
        let mut objects = Self::default();
        for first in folders(root)? {
            for second in folders(&first)? {
                for entry in fs::read_dir(&second)? {
                    let entry = entry?;
                    // Removed meanwhile.
                    let Ok(metadata) = entry.metadata() else { continue };
                    let name = entry.file_name();
                    let ino = name.to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
                    match ino.map(Ino) {
                        Some(ino) if entry.path() == root.join(object_path(ino)) => {
                            objects.bytes.insert(ino, metadata.len());
                        }
                        Some(_) | None => {
                            objects.strangers.push(entry.path().display().to_string());
                        }
                    }
                }
            }
        }
        Ok(objects)
    }

    #[cfg(test)]
    pub(super) fn of(bytes: &[(Ino, u64)]) -> Self {
        Self { bytes: bytes.iter().copied().collect(), strangers: Vec::new() }
    }

    #[must_use]
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Ino, u64)> + '_ {
        self.bytes.iter().map(|(ino, bytes)| (*ino, *bytes))
    }

    #[must_use]
    pub fn bytes(&self, ino: Ino) -> u64 {
        self.bytes.get(&ino).copied().unwrap_or(0)
    }
}

/// Folders whose names are two hexadecimal digits: others are not ours.
fn folders(of: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(of)? {
        let entry = entry?;
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|name| {
            name.len() == 2 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
        });
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}
