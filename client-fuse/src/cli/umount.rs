//! `grove umount`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use crate::mount::{dead, presence, table};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where it is mounted
    mountpoint: PathBuf,
    /// Take it out of the tree at once; it ends when its last user has gone
    #[arg(long)]
    lazy: bool,
    /// How long to wait until the mount's process has given everything back
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = humantime::parse_duration)]
    timeout: Duration,
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
        Err((Some(Errno::BUSY), _)) => {
            bail!(
                "{shown} is in use; `fuser -vm {shown}` shows by whom, --lazy does not wait for them"
            )
        }
        Err((Some(Errno::PERM), _)) => bail!("only root may unmount {shown}"),
        Err((_, error)) => return Err(error).with_context(|| format!("cannot unmount {shown}")),
    }
    if !args.lazy && !server.wait_for_end(args.timeout) {
        bail!("{shown} is unmounted, but its process has not ended yet");
    }
    Ok(())
}
