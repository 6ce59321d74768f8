//! `grove`: mounts a GroveFS file system, and what its operators need.

use std::process::ExitCode;

use clap::Parser;
use client_fuse::cli::helper::Helper;
use client_fuse::cli::{Cli, HasSaidWhy, run};

#[expect(clippy::print_stderr, reason = "where a command says why it failed")]
fn main() -> ExitCode {
    let called = std::env::args_os().next().unwrap_or_default();
    if let Some(helper) = Helper::called(&called) {
        return helper.run(std::env::args_os());
    }
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is::<HasSaidWhy>() {
                eprintln!("grove: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
