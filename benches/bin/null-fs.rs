//! `null-fs`: mounts a file system that does nothing, as GroveFS is mounted.
//!
//! ```text
//! null-fs [-o OPTION,…] [--ttl-ms N] MOUNTPOINT
//! ```
//!
//! Options are those of `grove mount`. Runs until it is unmounted (`umount MOUNTPOINT`). Prints
//! `mounted` once it serves.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use benches::null_fs::NullFs;
use clap::Parser;
use client_fuse::mount::options::Options;
use fuser::{Config, MountOption, Session, SessionACL};

/// A file system that does nothing, mounted as GroveFS is.
#[derive(Debug, Parser)]
struct Arguments {
    /// As of `grove mount`: locks=, acl, noacl, threads=, …
    #[arg(short, value_name = "OPTIONS")]
    options: Vec<String>,
    /// How long the kernel may use names and attributes without asking.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0)]
    ttl_ms: u64,
    mountpoint: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let options = Options::parse(arguments.options.iter().map(String::as_str))?;
    let ttl = Duration::from_millis(arguments.ttl_ms);
    let file_system = NullFs::new(options.profile, ttl);
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::FSName("null".to_owned()),
        MountOption::CUSTOM("subtype=null".to_owned()),
        MountOption::DefaultPermissions,
    ];
    config.mount_options.extend(options.kernel);
    config.acl = SessionACL::All;
    config.n_threads = Some(options.threads);
    config.clone_fd = true;
    let session = Session::new(file_system, &arguments.mountpoint, &config)
        .with_context(|| format!("mount on {}", arguments.mountpoint.display()))?;
    writeln!(std::io::stdout(), "mounted").context("say so")?;
    session.run().context("serve")
}
