//! What both daemons do around their work: logging, panics, the last word.

use std::io::{self, Write};
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

/// Logs to standard error. `RUST_LOG` wins over the configuration.
///
/// # Errors
/// The configured filter does not parse.
pub fn start_logging(configured: &str) -> Result<(), String> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(chosen) if !chosen.is_empty() => EnvFilter::try_new(&chosen),
        Ok(_) | Err(_) => EnvFilter::try_new(configured),
    };
    let filter = filter.map_err(|error| {
        format!("`log` in the configuration (or RUST_LOG) is no filter: {error}; try `info`")
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        .init();
    Ok(())
}

/// A broken invariant ends the whole process, whichever thread finds it: replay is the repair.
pub fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        tracing::error!(%panic, "panicked");
        std::process::abort();
    }));
}

/// One line for whoever started the program: the error and its causes, each said once. (Our own
/// errors name their cause already; those of libraries may not.)
pub fn fail(program: &str, error: &anyhow::Error) -> ExitCode {
    let mut line = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !line.contains(&cause) {
            line += if line.is_empty() { "" } else { ": " };
            line += &cause;
        }
    }
    // If even this cannot be written, the exit code has to say it all.
    let _ = writeln!(io::stderr(), "{program}: {}", line.replace('\n', " "));
    ExitCode::FAILURE
}
