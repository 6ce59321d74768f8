//! `grove guard-mount`: what `grove mount` starts beside itself.

use std::path::PathBuf;

use crate::mount::guard;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The process that serves the mount
    served_by: i32,
    mountpoint: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    guard::run(args.served_by, &args.mountpoint)
}
