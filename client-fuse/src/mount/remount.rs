//! Other flags for what is mounted: `-o remount`. All of it is the kernel's.

use std::path::Path;

use fuser::MountOption;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount_remount};

use super::options::{OptionError, Options, Unknown, kernel_words};
use super::table;

#[derive(Debug, thiserror::Error)]
pub enum RemountError {
    #[error("no GroveFS is mounted at {0}; leave `remount` out to mount one")]
    NotMounted(String),
    #[error("cannot read the mount table: {0}")]
    Table(std::io::Error),
    #[error(transparent)]
    Options(#[from] OptionError),
    #[error("{path} is in use for writing; `fuser -vm {path}` shows by whom")]
    Busy { path: String },
    #[error("only root may remount {0}")]
    NotRoot(String),
    #[error("the kernel refuses to remount {path}: {reason}")]
    Kernel { path: String, reason: Errno },
}

/// Applies the words for the kernel to what is mounted, and leaves what they do not name as it is. What is
/// ours is decided when it is mounted: such words are checked, and change nothing.
///
/// # Errors
/// Says why it stays as it is.
pub fn remount(mountpoint: &Path, flags: &[String], unknown: Unknown) -> Result<(), RemountError> {
    let path = table::locate(mountpoint).map_err(RemountError::Table)?;
    let shown = mountpoint.display().to_string();
    let mounted = table::find(&path).map_err(RemountError::Table)?;
    let mounted = mounted.ok_or_else(|| RemountError::NotMounted(shown.clone()))?;
    let now = mounted.options.iter().flat_map(|words| kernel_words(words));
    let wanted = Options::parse_with(now.chain(flags.iter().map(String::as_str)), unknown)?;
    let flags = flags_of(&wanted.kernel);
    mount_remount(&path, flags, c"").map_err(|reason| match reason {
        Errno::BUSY => RemountError::Busy { path: shown },
        Errno::PERM => RemountError::NotRoot(shown),
        reason => RemountError::Kernel { path: shown, reason },
    })
}

/// Those that are not named are off: the kernel takes the flags of a remount for all there are.
fn flags_of(options: &[MountOption]) -> MountFlags {
    options.iter().fold(MountFlags::empty(), |flags, option| {
        flags
            | match option {
                MountOption::RO => MountFlags::RDONLY,
                MountOption::NoDev => MountFlags::NODEV,
                MountOption::NoSuid => MountFlags::NOSUID,
                MountOption::NoExec => MountFlags::NOEXEC,
                MountOption::NoAtime => MountFlags::NOATIME,
                MountOption::Sync => MountFlags::SYNCHRONOUS,
                MountOption::DirSync => MountFlags::DIRSYNC,
                MountOption::RW
                | MountOption::Dev
                | MountOption::Suid
                | MountOption::Exec
                | MountOption::Atime
                | MountOption::Async
                | MountOption::FSName(_)
                | MountOption::Subtype(_)
                | MountOption::CUSTOM(_)
                | MountOption::AutoUnmount
                | MountOption::DefaultPermissions => MountFlags::empty(),
            }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_named_stays_as_it_is() {
        let table = ["rw,nosuid,relatime", "rw,sync,user_id=0,allow_other"];
        let flags = |wanted| {
            let now = table.iter().flat_map(|words| kernel_words(words));
            flags_of(&Options::parse(now.chain([wanted])).unwrap().kernel)
        };
        let kept = MountFlags::NOSUID | MountFlags::SYNCHRONOUS;
        assert_eq!(flags("remount,ro"), kept | MountFlags::RDONLY);
        assert_eq!(flags("remount,noexec,user_id=0"), kept | MountFlags::NOEXEC);
        assert_eq!(flags("remount,suid,async"), MountFlags::empty());
    }
}
