//! `grove`: mounts a GroveFS file system, and what its operators need.

use std::process::ExitCode;

use clap::Parser;
use client_fuse::cli::{Cli, run};

#[expect(clippy::print_stderr, reason = "where a command says why it failed")]
fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("grove: {error:#}");
            ExitCode::FAILURE
        }
    }
}
