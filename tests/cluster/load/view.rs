//! `View`: a worker's directories, seen through one of the mounts.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::model::{DIRS, File, Place, Shown, Tree, file_name, symlink_name};

/// The extended attribute that files are marked with.
pub(super) const MARK: &str = "user.mark";

/// Directories may lie with different ranks.
#[derive(Clone, Debug)]
pub(super) struct View {
    roots: Vec<PathBuf>,
}

impl View {
    pub(super) fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots }
    }

    pub(super) fn dir(&self, dir: u64) -> PathBuf {
        let roots = self.roots.len() as u64;
        let root = usize::try_from(dir % roots).expect("few roots");
        self.roots[root].join(format!("d{dir}"))
    }

    pub(super) fn file(&self, (dir, name): Place) -> PathBuf {
        self.dir(dir).join(file_name(name))
    }

    pub(super) fn symlink(&self, (dir, name): Place) -> PathBuf {
        self.dir(dir).join(symlink_name(name))
    }

    pub(super) fn names(&self, dir: u64) -> io::Result<Vec<u8>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.dir(dir))? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names.join("/").into_bytes())
    }

    /// Everything there is.
    pub(super) fn look(&self) -> anyhow::Result<Tree> {
        let mut tree = Tree::new();
        for dir in 0..DIRS {
            let Some(entries) = there(fs::read_dir(self.dir(dir)))? else { continue };
            let mut shown = BTreeMap::new();
            for entry in entries {
                let path = entry?.path();
                let name = path.file_name().context("a name")?.to_string_lossy().into_owned();
                shown.insert(name, look_at(&path)?.context("it was listed")?);
            }
            tree.insert(dir, shown);
        }
        Ok(tree)
    }

    pub(super) fn look_at(&self, at: Place) -> anyhow::Result<Option<Shown>> {
        look_at(&self.file(at))
    }
}

fn there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn look_at(path: &Path) -> anyhow::Result<Option<Shown>> {
    let shown = path.display();
    let stat = there(fs::symlink_metadata(path)).with_context(|| format!("stat {shown}"))?;
    let Some(stat) = stat else { return Ok(None) };
    if stat.is_symlink() {
        let to = fs::read_link(path).with_context(|| format!("readlink {shown}"))?;
        return Ok(Some(Shown::Symlink(to.to_string_lossy().into_owned())));
    }
    let bytes = fs::read(path).with_context(|| format!("read {shown}"))?;
    let size = stat.size();
    ensure!(size == bytes.len() as u64, "{shown} has {size} bytes, and {} are read", bytes.len());
    let mut value = [0];
    let mark = match rustix::fs::getxattr(path, MARK, &mut value) {
        Ok(_) => Some(value[0]),
        Err(rustix::io::Errno::NODATA) => None,
        Err(error) => return Err(error).with_context(|| format!("getxattr {shown}")),
    };
    let mode = stat.permissions().mode() & 0o7777;
    Ok(Some(Shown::File { file: File { bytes, mode, mark }, links: stat.nlink() }))
}
