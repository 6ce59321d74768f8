//! What `mount(8)` and `umount(8)` start for our file systems: `mount.grovefs SOURCE DIR …` and
//! `umount.fuse.grovefs DIR …`. The program is `grove`, called by these names.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::mount::{HasSaidWhy, Request, serve_in_background};
use super::{output, umount};
use crate::config::ConnectionArgs;
use crate::mount::options::{OptionError, Options, Unknown};
use crate::mount::remount::remount;
use crate::mount::source::{Source, SourceError};

/// Exit codes of `mount(8)`.
const WRONGLY_CALLED: u8 = 1;
const FAILED: u8 = 32;
/// How long `umount` waits until everything is given back.
const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(15);

/// By which of our names we were called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helper {
    Mount,
    Umount,
}

/// The names, in the folder where `mount(8)` looks. The mount table calls our type `fuse.grovefs`, and so
/// do those who read it: remounts and unmounts. `umount(8)` does so if `mount(8)` has noted something
/// about the mount, as it does of `_netdev`, or of `uhelper=grovefs`; else it calls nobody.
pub(super) const NAMES: [(&str, Helper); 4] = [
    ("mount.grovefs", Helper::Mount),
    ("mount.fuse.grovefs", Helper::Mount),
    ("umount.grovefs", Helper::Umount),
    ("umount.fuse.grovefs", Helper::Umount),
];

/// Mounts a GroveFS file system, for mount(8).
#[derive(Debug, Parser)]
#[command(name = "mount.grovefs")]
struct MountArgs {
    /// MONITOR:PORT, with commas between several, and `:/PATH` if it is not to be the whole file system
    source: OsString,
    /// An existing directory
    mountpoint: PathBuf,
    #[arg(short = 'o', value_name = "OPTIONS")]
    options: Vec<String>,
    /// Ignore options that are not known
    #[arg(short = 's')]
    sloppy: bool,
    /// Check everything, but do not mount
    #[arg(short = 'f')]
    fake: bool,
    /// There is no /etc/mtab of ours to be left alone
    #[arg(short = 'n')]
    _no_mtab: bool,
    /// Say what is done
    #[arg(short = 'v')]
    verbose: bool,
    /// The mount namespace in which everything is done
    #[arg(short = 'N', value_name = "FILE")]
    namespace: Option<PathBuf>,
    #[arg(short = 't', value_name = "TYPE")]
    _type: Option<OsString>,
    /// As `-o ro`
    #[arg(short = 'r')]
    read_only: bool,
    /// As `-o rw`
    #[arg(short = 'w')]
    writable: bool,
}

/// Unmounts it, for umount(8), and waits until everything is given back.
#[derive(Debug, Parser)]
#[command(name = "umount.fuse.grovefs")]
struct UmountArgs {
    mountpoint: PathBuf,
    /// Take it out of the tree at once; it ends when its last user has gone
    #[arg(short = 'l')]
    lazy: bool,
    /// A mount that was killed is unmounted without
    #[arg(short = 'f')]
    _force: bool,
    /// There is no /etc/mtab of ours to be left alone
    #[arg(short = 'n')]
    _no_mtab: bool,
    /// If it cannot be unmounted, remount it read-only
    #[arg(short = 'r')]
    read_only: bool,
    /// Say what is done
    #[arg(short = 'v')]
    verbose: bool,
    /// The mount namespace in which everything is done
    #[arg(short = 'N', value_name = "FILE")]
    namespace: Option<PathBuf>,
    #[arg(short = 't', value_name = "TYPE")]
    _type: Option<OsString>,
}

impl Helper {
    /// From the first of a program's arguments.
    #[must_use]
    pub fn called(program: &OsStr) -> Option<Self> {
        let called = Path::new(program).file_name()?;
        NAMES.iter().find(|(name, _)| called == *name).map(|(_, helper)| *helper)
    }

    /// Does what `mount(8)` wants, and tells it how that went.
    #[must_use]
    pub fn run(self, words: impl Iterator<Item = OsString>) -> ExitCode {
        let done = match self {
            Self::Mount => MountArgs::try_parse_from(words).map(|args| (self, mount(&args))),
            Self::Umount => UmountArgs::try_parse_from(words).map(|args| (self, unmount(&args))),
        };
        match done {
            Ok((_, Ok(()))) => ExitCode::SUCCESS,
            Ok((_, Err(error))) => self.failed(&error),
            Err(error) => {
                // If nobody reads it there is the exit code.
                let _ = error.print();
                if error.use_stderr() { WRONGLY_CALLED.into() } else { ExitCode::SUCCESS }
            }
        }
    }

    #[expect(clippy::print_stderr, reason = "where a helper says why it failed")]
    fn failed(self, error: &anyhow::Error) -> ExitCode {
        let name = match self {
            Self::Mount => "mount.grovefs",
            Self::Umount => "umount.grovefs",
        };
        if !error.is::<HasSaidWhy>() {
            eprintln!("{name}: {error:#}");
        }
        let wrongly_called = error.is::<OptionError>() || error.is::<SourceError>();
        if wrongly_called { WRONGLY_CALLED.into() } else { FAILED.into() }
    }
}

fn mount(args: &MountArgs) -> anyhow::Result<()> {
    let unknown = if args.sloppy { Unknown::Ignored } else { Unknown::Refused };
    let mut flags = args.options.clone();
    flags.extend(args.read_only.then(|| "ro".to_owned()));
    flags.extend(args.writable.then(|| "rw".to_owned()));
    let options = Options::parse_with(flags.iter().map(String::as_str), unknown)?;
    let (source, mountpoint) = (args.source.display(), args.mountpoint.display());
    enter(args.namespace.as_ref())?;
    let done = if options.remount {
        if !args.fake {
            remount(&args.mountpoint, &flags, unknown)?;
        }
        "remounted"
    } else {
        let source = Source::parse(&args.source)?;
        if args.fake {
            let (connection, mountpoint) = (ConnectionArgs::default(), args.mountpoint.clone());
            Request { connection, source, mountpoint, options }.check()?;
            "could be mounted"
        } else {
            serve_in_background(words(args, &flags).into_iter())?;
            "mounted"
        }
    };
    if args.verbose {
        output::line(format!("mount.grovefs: {source} {done} at {mountpoint}"))?;
    }
    Ok(())
}

/// The same, said to `grove`.
fn words(args: &MountArgs, flags: &[String]) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["mount".into()];
    words.extend(args.sloppy.then(|| "--sloppy".into()));
    words.extend(flags.iter().flat_map(|flag| ["-o".into(), flag.into()]));
    words.extend(["--".into(), args.source.clone(), args.mountpoint.clone().into_os_string()]);
    words
}

fn unmount(args: &UmountArgs) -> anyhow::Result<()> {
    enter(args.namespace.as_ref())?;
    let mountpoint = args.mountpoint.clone();
    let order = umount::Args { mountpoint, lazy: args.lazy, timeout: GIVEN_BACK_WITHIN };
    if let Err(error) = umount::run(&order) {
        if args.read_only {
            let read_only = ["remount,ro".to_owned()];
            remount(&args.mountpoint, &read_only, Unknown::Refused)?;
        }
        return Err(error);
    }
    if args.verbose {
        let mountpoint = args.mountpoint.display();
        output::line(format!("umount.grovefs: {mountpoint} is unmounted"))?;
    }
    Ok(())
}

/// Before there is a second thread, which could not follow.
fn enter(namespace: Option<&PathBuf>) -> anyhow::Result<()> {
    let Some(path) = namespace else { return Ok(()) };
    let enter = || {
        let file = File::open(path)?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Mount))?;
        anyhow::Ok(())
    };
    enter().with_context(|| format!("cannot enter the mount namespace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_decides() {
        let called = |name: &str| Helper::called(name.as_ref());
        assert_eq!(called("/sbin/mount.grovefs"), Some(Helper::Mount));
        assert_eq!(called("mount.fuse.grovefs"), Some(Helper::Mount));
        assert_eq!(called("/usr/sbin/umount.fuse.grovefs"), Some(Helper::Umount));
        assert_eq!(called("/usr/bin/grove"), None);
    }

    #[test]
    fn what_mount_says_is_understood() {
        let words = "mount.grovefs a:1:/x /mnt -sfnv -N /proc/7/fd/3 -o ro,x -t fuse.grovefs";
        let args = MountArgs::try_parse_from(words.split(' ')).unwrap();
        assert!(args.sloppy && args.fake && args.verbose);
        assert_eq!(args.options, ["ro,x"]);
        assert_eq!(args.namespace.as_deref(), Some(Path::new("/proc/7/fd/3")));
        let same = super::words(&args, &args.options);
        assert_eq!(same, ["mount", "--sloppy", "-o", "ro,x", "--", "a:1:/x", "/mnt"]);
        let words = "umount.fuse.grovefs /mnt -flnrv -N /proc/7/ns/mnt -t fuse.grovefs";
        assert!(UmountArgs::try_parse_from(words.split(' ')).is_ok_and(|args| args.lazy));
    }
}
