//! The sub-commands of `grove`, one file for each.

mod balancer;
mod bench;
mod ca;
mod export;
mod fsck;
mod guard;
pub mod helper;
mod install;
mod leftovers;
mod mds;
mod migrations;
mod mount;
mod output;
mod ranks;
mod session;
mod status;
mod store;
mod subtree;
mod umount;

use clap::{Parser, Subcommand};
use common::wire::hello::Identity;
use transport::Role;

pub use mount::HasSaidWhy;

use crate::cluster::Cluster;
use crate::config::ConnectionArgs;

/// Mounts a GroveFS file system, and what its operators need.
#[derive(Debug, Parser)]
#[command(name = "grove", version, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Mount the file system
    Mount(mount::Args),
    /// Breaks the connection of a mount that was killed
    #[command(name = crate::mount::guard::COMMAND, hide = true)]
    Guard(guard::Args),
    /// Unmount it, and wait until everything is given back
    Umount(umount::Args),
    /// Make `mount -t grovefs` and `umount` find this program
    Install(install::Args),
    /// Certificates: make an authority, issue certificates
    #[command(subcommand)]
    Ca(ca::Command),
    /// Data stores
    #[command(subcommand)]
    Store(store::Command),
    /// Who holds which rank, and how busy it is
    Status(status::Args),
    /// The partition of the namespace
    #[command(subcommand)]
    Subtree(subtree::Command),
    /// Move a subtree to a rank
    Export(export::Args),
    /// Migrations, running and over
    Migrations(migrations::Args),
    /// Mounts, as ranks know them
    #[command(subcommand)]
    Session(session::Command),
    /// Daemons of metadata servers
    #[command(subcommand)]
    Mds(mds::Command),
    /// Ranks
    #[command(subcommand)]
    Ranks(ranks::Command),
    /// Let rank 0 move subtrees by itself, or not
    Balancer(balancer::Args),
    /// Check whether names, inodes, counts and data agree, and mend what can be mended
    Fsck(fsck::Args),
    /// What ranks hold that must not be there when nothing runs
    Leftovers(leftovers::Args),
    /// Measure
    #[command(subcommand)]
    Bench(bench::Command),
}

/// Carries out one command.
///
/// # Errors
/// The whole reason, for the user.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    let connection = &cli.connection;
    match cli.command {
        Command::Mount(args) => mount::run(connection.clone(), args),
        Command::Guard(args) => guard::run(&args),
        Command::Umount(args) => umount::run(&args),
        Command::Install(args) => install::run(&args),
        Command::Ca(command) => ca::run(&command),
        Command::Store(command) => store::run(connection, &command),
        Command::Status(args) => status::run(connection, &args),
        Command::Subtree(command) => subtree::run(connection, &command),
        Command::Export(args) => export::run(connection, &args),
        Command::Migrations(args) => migrations::run(connection, &args),
        Command::Session(command) => session::run(connection, &command),
        Command::Mds(command) => mds::run(connection, &command),
        Command::Ranks(command) => ranks::run(connection, &command),
        Command::Balancer(args) => balancer::run(connection, &args),
        Command::Fsck(args) => fsck::run(connection, &args),
        Command::Leftovers(args) => leftovers::run(connection, &args),
        Command::Bench(command) => bench::run(&command),
    }
}

/// Connects as an operator.
fn connect(connection: &ConnectionArgs) -> anyhow::Result<Cluster> {
    let settings = connection.resolve(Role::Admin)?;
    Ok(Cluster::connect(&settings, Identity::Admin)?)
}
