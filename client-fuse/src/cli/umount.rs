//! `grove umount`

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::mount::{dead, presence, table, users};

/// Users of a mount that are named.
const USERS_SHOWN: usize = 4;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it is mounted
    pub(super) mountpoint: PathBuf,
    /// Take it out of the tree at once; it ends when its last user has gone
    #[arg(long)]
    pub(super) lazy: bool,
    /// How long to wait until the mount's process has given everything back
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = humantime::parse_duration)]
    pub(super) timeout: Duration,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let shown = args.mountpoint.display();
    let path = table::locate(&args.mountpoint).with_context(|| format!("cannot find {shown}"))?;
    let mounted = table::find(&path).context("cannot read the mount table")?;
    let Some(mounted) = mounted else { bail!("no GroveFS is mounted at {shown}") };
    let server = presence::server_of(&mounted.device);
    let flags = if args.lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    // Nobody can use what nobody serves.
    let unmounted = if dead::is_dead(&mounted) {
        dead::unmount_dead(&path)
    } else {
        unmount(&path, flags).map_err(Into::into)
    };
    match unmounted.map_err(|error| (Errno::from_io_error(&error), error)) {
        Ok(()) => {}
        Err((Some(Errno::BUSY), _)) => bail!("{}", in_use(&args.mountpoint, &users::of(&mounted))),
        Err((Some(Errno::PERM), _)) => bail!("only root may unmount {shown}"),
        Err((_, error)) => return Err(error).with_context(|| format!("cannot unmount {shown}")),
    }
    if !args.lazy && !server.wait_for_end(args.timeout) {
        bail!("{shown} is unmounted, but its process has not ended yet");
    }
    Ok(())
}

fn in_use(mountpoint: &Path, users: &[users::User]) -> String {
    let shown = mountpoint.display();
    if users.is_empty() {
        return format!(
            "{shown} is in use; `fuser -vm {shown}` shows by whom, and `umount --lazy` does not wait \
             for them"
        );
    }
    let named = users.iter().take(USERS_SHOWN).map(|user| format!("{} ({})", user.pid, user.name));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = users.len().saturating_sub(USERS_SHOWN);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{shown} is in use by {named}{more}; `umount --lazy` does not wait for them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_uses_it_is_named() {
        let user = |pid| users::User { pid, name: "sh".to_owned() };
        let said = |users: &[users::User]| in_use(Path::new("/mnt"), users);
        assert!(said(&[user(7)]).starts_with("/mnt is in use by 7 (sh); "));
        let many: Vec<_> = (1..=6).map(user).collect();
        assert!(said(&many).contains("4 (sh) and 2 more; "));
        assert!(said(&[]).contains("`fuser -vm /mnt`"));
    }
}
