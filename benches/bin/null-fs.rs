//! `null-fs`: mounts a file system that does nothing, as GroveFS is mounted.
//!
//! ```text
//! null-fs [--locks cluster|local] [--acl off] [--ttl-ms N] [--threads N] MOUNTPOINT
//! ```
//!
//! Runs until it is unmounted (`umount MOUNTPOINT`). Prints `mounted` once it serves.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use benches::null_fs::{Acl, Locks, NullFs};
use clap::Parser;
use fuser::{Config, MountOption, Session, SessionACL};

/// A file system that does nothing, mounted as GroveFS is.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which upcalls there are at all.
    #[arg(long, value_enum, default_value = "cluster")]
    locks: Locks,
    /// Whether the kernel asks for POSIX ACLs.
    #[arg(long, value_enum, default_value = "on")]
    acl: Acl,
    /// How long the kernel may use names and attributes without asking.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    ttl_ms: u64,
    /// Event loops.
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    mountpoint: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let ttl = Duration::from_millis(arguments.ttl_ms);
    let file_system = NullFs::new(arguments.locks, arguments.acl, ttl);
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("null".to_owned()),
        MountOption::Subtype("null".to_owned()),
        MountOption::DefaultPermissions,
        MountOption::Dev,
        MountOption::Suid,
    ];
    config.acl = SessionACL::All;
    config.n_threads = Some(arguments.threads);
    config.clone_fd = true;
    let session = Session::new(file_system, &arguments.mountpoint, &config)
        .with_context(|| format!("mount on {}", arguments.mountpoint.display()))?;
    writeln!(std::io::stdout(), "mounted").context("say so")?;
    session.run().context("serve")
}
