//! The label of a data directory: a file that says what it is and in which format.
//!
//! It is written last, so a directory that has it was formatted to the end; and it is read before
//! RocksDB is opened, so another release's store is left untouched.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::StoreError;

const FILE_NAME: &str = "FORMAT";

/// # Errors
/// The directory holds something, or cannot be read.
pub fn require_vacant(path: &Path) -> Result<(), StoreError> {
    match fs::read_dir(path).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StoreError::Occupied { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(StoreError::Io { path: path.to_owned(), source }),
    }
}

/// # Errors
/// The directory is of another kind or version, or was never formatted to the end.
pub fn check(
    path: &Path,
    name: &str,
    version: u32,
    program: &'static str,
) -> Result<(), StoreError> {
    let text = match fs::read_to_string(path.join(FILE_NAME)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(StoreError::NotFormatted { path: path.to_owned(), program });
        }
        Err(source) => return Err(StoreError::Io { path: path.to_owned(), source }),
    };
    let Some((found_name, found)) = text.trim_end().split_once(' ') else {
        return Err(StoreError::NotFormatted { path: path.to_owned(), program });
    };
    if found_name != name {
        return Err(StoreError::NotFormatted { path: path.to_owned(), program });
    }
    if found != version.to_string() {
        let found = found.to_owned();
        return Err(StoreError::Version { path: path.to_owned(), found, expected: version });
    }
    Ok(())
}

/// # Errors
/// The directory cannot be written.
pub fn write(path: &Path, name: &str, version: u32) -> Result<(), StoreError> {
    let store = || -> io::Result<()> {
        let temporary = path.join("FORMAT.new");
        let mut file = File::create(&temporary)?;
        writeln!(file, "{name} {version}")?;
        file.sync_all()?;
        fs::rename(&temporary, path.join(FILE_NAME))?;
        File::open(path)?.sync_all()
    };
    store().map_err(|source| StoreError::Io { path: path.to_owned(), source })
}
