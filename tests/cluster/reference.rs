//! Three mounts and a local directory: each random operation is done on one of the mounts and there, and what
//! comes of it must be the same; then another mount must see the same tree. Directories move from rank to
//! rank meanwhile. `REFERENCE_SEED` tries another story.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use rustix::fs::{AtFlags, CWD, RenameFlags, XattrFlags, renameat_with};
use rustix::fs::{Mode, Timespec, Timestamps, getxattr, removexattr, setxattr, utimensat};
use rustix::io::Errno;
use tests::cluster::dice::Dice;
use tests::cluster::mount::Mount;
use tests::cluster::{Cluster, say};

use crate::migration::nothing_left;

const MOUNTS: [&str; 3] = ["one", "two", "three"];
const STEPS: u32 = 4000;
const LOOK_EVERY: u32 = 5;
const MOVE_EVERY: u32 = 10;
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
const DEPTH_MAX: u64 = 3;
const BYTES_MAX: u64 = 20_000;
const HANDLES_MAX: usize = 6;
const XATTR: &str = "user.color";

/// What an operation says, so that two can be compared.
type Said = Result<String, Errno>;

fn said<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn done(result: std::io::Result<()>) -> Said {
    said(result).map(|()| String::new())
}

/// Of a directory neither size nor mode of counting is the same everywhere.
fn seen(found: &std::fs::Metadata) -> String {
    let size = if found.is_dir() { 0 } else { found.len() };
    let (mode, names, owner) = (found.mode(), found.nlink(), (found.uid(), found.gid()));
    format!("mode {mode:o}, {names} names, {size} bytes, of {owner:?}")
}

fn names(dir: &Path) -> Result<Vec<String>, Errno> {
    let entries = said(std::fs::read_dir(dir))?;
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        said(entry).map(|entry| entry.file_name().to_string_lossy().into_owned())
    };
    let mut names = entries.map(name).collect::<Result<Vec<_>, _>>()?;
    names.sort();
    Ok(names)
}

/// Everything below, one line each.
fn tree(base: &Path, below: &Path, lines: &mut Vec<String>) -> Result<(), Errno> {
    for name in names(&base.join(below))? {
        let path = below.join(name);
        let full = base.join(&path);
        let found = said(std::fs::symlink_metadata(&full))?;
        let content = if found.is_file() {
            let bytes = said(std::fs::read(&full))?;
            let sum = bytes
                .iter()
                .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
            format!("{sum:x}")
        } else if found.is_symlink() {
            said(std::fs::read_link(&full))?.display().to_string()
        } else {
            String::new()
        };
        lines.push(format!("{}: {}, {content}", path.display(), seen(&found)));
        if found.is_dir() {
            tree(base, &path, lines)?;
        }
    }
    Ok(())
}

fn lines(base: &Path) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    tree(base, Path::new(""), &mut lines).with_context(|| format!("walk {}", base.display()))?;
    Ok(lines)
}

#[derive(Clone, Debug)]
enum Act {
    Create,
    Write { at: u64, bytes: Vec<u8> },
    Append { bytes: Vec<u8> },
    Truncate { size: u64 },
    Read,
    Stat,
    List,
    Mkdir,
    Rmdir,
    Unlink,
    Symlink,
    Chmod { mode: u32 },
    Touch { seconds: i64 },
    SetXattr { value: u8 },
    RemoveXattr,
    Rename { to: PathBuf, flags: RenameFlags },
    Link { to: PathBuf },
}

impl Act {
    fn any(dice: &mut Dice) -> anyhow::Result<Self> {
        let at = dice.below(BYTES_MAX);
        let bytes =
            vec![u8::try_from(1 + dice.below(255))?; usize::try_from(1 + dice.below(5000))?];
        Ok(match dice.below(26) {
            0..=2 => Self::Create,
            3 | 4 => Self::Write { at, bytes },
            5 => Self::Append { bytes },
            6 => Self::Truncate { size: at },
            7 => Self::Read,
            8 => Self::Stat,
            9 => Self::List,
            10..=12 => Self::Mkdir,
            13 => Self::Rmdir,
            14 | 15 => Self::Unlink,
            16 => Self::Symlink,
            17 => Self::Chmod { mode: 0o600 + u32::try_from(dice.below(0o200))? },
            18 => Self::Touch { seconds: i64::try_from(at)? },
            19 => Self::SetXattr { value: u8::try_from(dice.below(256))? },
            20 => Self::RemoveXattr,
            21 | 22 => Self::Rename { to: any_path(dice), flags: RenameFlags::empty() },
            23 => Self::Rename { to: any_path(dice), flags: RenameFlags::NOREPLACE },
            24 => Self::Rename { to: any_path(dice), flags: RenameFlags::EXCHANGE },
            _ => Self::Link { to: any_path(dice) },
        })
    }

    fn run(&self, base: &Path, path: &Path) -> Said {
        let path = &base.join(path);
        let write = || said(File::options().write(true).open(path));
        match self {
            Self::Create => said(File::create_new(path)).map(|_| String::new()),
            Self::Write { at, bytes } => done(write()?.write_all_at(bytes, *at)),
            Self::Append { bytes } => {
                let mut file = said(File::options().append(true).open(path))?;
                done(std::io::Write::write_all(&mut file, bytes))
            }
            Self::Truncate { size } => done(write()?.set_len(*size)),
            Self::Read => said(std::fs::read(path)).map(|bytes| format!("{} bytes", bytes.len())),
            Self::Stat => {
                let found = said(std::fs::symlink_metadata(path))?;
                let mut value = [0; 8];
                let color = getxattr(path, XATTR, &mut value[..]).map(|_| value[0]);
                Ok(format!("{}, {color:?}", seen(&found)))
            }
            Self::List => names(path).map(|names| names.join(" ")),
            Self::Mkdir => done(std::fs::create_dir(path)),
            Self::Rmdir => done(std::fs::remove_dir(path)),
            Self::Unlink => done(std::fs::remove_file(path)),
            Self::Symlink => done(std::os::unix::fs::symlink("to/nowhere", path)),
            Self::Chmod { mode } => {
                done(std::fs::set_permissions(path, PermissionsExt::from_mode(*mode)))
            }
            Self::Touch { seconds } => {
                let time = Timespec { tv_sec: *seconds, tv_nsec: 7 };
                let times = Timestamps { last_access: time, last_modification: time };
                utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
                let found = said(std::fs::symlink_metadata(path))?;
                Ok(format!("{}.{}", found.mtime(), found.mtime_nsec()))
            }
            Self::SetXattr { value } => {
                setxattr(path, XATTR, &[*value], XattrFlags::empty()).map(|()| String::new())
            }
            Self::RemoveXattr => removexattr(path, XATTR).map(|()| String::new()),
            Self::Rename { to, flags } => {
                renameat_with(CWD, path, CWD, base.join(to), *flags).map(|()| String::new())
            }
            Self::Link { to } => done(std::fs::hard_link(path, base.join(to))),
        }
    }
}

fn any_path(dice: &mut Dice) -> PathBuf {
    let depth = 1 + dice.below(DEPTH_MAX);
    (0..depth).map(|_| NAMES[usize::try_from(dice.below(5)).unwrap_or_default()]).collect()
}

/// The same file, open on a mount and in the local directory.
struct Handle {
    path: PathBuf,
    here: File,
    there: File,
}

impl Handle {
    fn act(&self, dice: &mut Dice) -> anyhow::Result<(String, Said, Said)> {
        let at = dice.below(BYTES_MAX);
        let bytes = [u8::try_from(1 + dice.below(255))?; 900];
        let act = |file: &File, which: u64| -> Said {
            match which {
                0 => done(file.write_all_at(&bytes, at)),
                1 => done(file.set_len(at)),
                2 => {
                    let mut buffer = [0; 5000];
                    let count = said(file.read_at(&mut buffer, at))?;
                    Ok(format!("{count}: {:?}", buffer.iter().rposition(|byte| *byte != 0)))
                }
                3 => done(file.sync_all()),
                _ => said(file.metadata()).map(|found| seen(&found)),
            }
        };
        let which = dice.below(5);
        let what = format!("handle of {}, {which}", self.path.display());
        Ok((what, act(&self.here, which), act(&self.there, which)))
    }
}

struct Twins {
    mounts: Vec<Mount>,
    local: PathBuf,
    handles: Vec<Handle>,
    dice: Dice,
    /// Operations that were not refused.
    done: u32,
}

impl Twins {
    fn any(&mut self) -> usize {
        usize::try_from(self.dice.below(3)).unwrap_or_default()
    }

    /// What it was.
    fn step(&mut self) -> anyhow::Result<String> {
        let whose = self.any();
        let base = self.mounts[whose].path("");
        let path = any_path(&mut self.dice);
        let (what, here, there) = match self.dice.below(8) {
            0 if !self.handles.is_empty() => {
                let index = usize::try_from(self.dice.below(self.handles.len() as u64))?;
                self.handles[index].act(&mut self.dice)?
            }
            1 => {
                let open = |base: &Path| {
                    said(File::options().read(true).write(true).open(base.join(&path)))
                };
                let (here, there) = (open(&base), open(&self.local));
                let said = |file: &Result<File, Errno>| match file {
                    Ok(_) => Ok(String::new()),
                    Err(error) => Err(*error),
                };
                let both = (format!("open {}", path.display()), said(&here), said(&there));
                if let (Ok(here), Ok(there)) = (here, there) {
                    self.handles.push(Handle { path, here, there });
                    if self.handles.len() > HANDLES_MAX {
                        self.handles.remove(0);
                    }
                }
                both
            }
            _ => {
                let act = Act::any(&mut self.dice)?;
                let what = format!("{} {act:?}", path.display());
                let what = what.chars().take(120).collect();
                (what, act.run(&base, &path), act.run(&self.local, &path))
            }
        };
        let what = format!("{}: {what}", MOUNTS[whose]);
        ensure!(here == there, "{what}: {here:?}, and locally {there:?}");
        self.done += u32::from(here.is_ok());
        Ok(what)
    }

    fn look(&mut self) -> anyhow::Result<()> {
        let whose = self.any();
        let (here, there) = (lines(&self.mounts[whose].path(""))?, lines(&self.local)?);
        let wrong = here.iter().zip(&there).find(|(here, there)| here != there);
        ensure!(
            here == there,
            "{} sees {wrong:?} ({} of {})",
            MOUNTS[whose],
            here.len(),
            there.len()
        );
        Ok(())
    }

    /// Orders a move of some directory, and does not wait for it.
    fn order_move(&mut self, cluster: &Cluster) -> anyhow::Result<bool> {
        let path = any_path(&mut self.dice);
        if !self.local.join(&path).is_dir() {
            return Ok(false);
        }
        let rank = self.dice.below(3).to_string();
        let path = Path::new("/").join(path);
        let path = path.to_str().context("our paths are ASCII")?;
        // It may be there already, or be part of what moves.
        Ok(cluster.grove(&["export", path, &rank]).is_ok())
    }
}

#[test]
fn three_mounts_do_what_a_local_file_system_does() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    let mounts = MOUNTS.iter().map(|name| cluster.mount(name)).collect::<anyhow::Result<_>>()?;
    let local = cluster.path("local");
    std::fs::create_dir(&local)?;
    rustix::process::umask(Mode::from_bits_retain(0o022));
    let seed = std::env::var("REFERENCE_SEED").map_or(Ok(3), |seed| seed.parse())?;
    let mut twins = Twins { mounts, local, handles: Vec::new(), dice: Dice::new(seed), done: 0 };
    let (mut moves, mut last) = (0, Vec::new());
    for step in 0..STEPS {
        let before = |last: &[String]| format!("step {step} of seed {seed}, after {last:?}");
        let what = twins.step().with_context(|| before(&last))?;
        last.push(what);
        if last.len() > 4 {
            last.remove(0);
        }
        if step % LOOK_EVERY == 0 {
            twins.look().with_context(|| before(&last))?;
        }
        if step % MOVE_EVERY == 0 {
            moves += u32::from(twins.order_move(&cluster)?);
        }
    }
    let done = twins.done;
    say(format!(
        "reference, seed {seed}: {done} of {STEPS} operations done, {moves} moves ordered"
    ));
    ensure!(done > STEPS / 5 && moves > STEPS / MOVE_EVERY / 10, "too little was tried");
    let Twins { mounts, handles, .. } = twins;
    drop(handles);
    for name in names(mounts[0].point())? {
        let path = mounts[0].path(&name);
        if std::fs::symlink_metadata(&path)?.is_dir() {
            std::fs::remove_dir_all(&path)?;
        } else {
            std::fs::remove_file(&path)?;
        }
    }
    for mount in mounts {
        mount.unmount()?;
    }
    tests::cluster::wait_until("nothing is left", || nothing_left(&cluster))?;
    cluster.end()
}
