//! The watcher: lets processes go that are to die while they wait for us.
//!
//! The kernel's INTERRUPT does not reach us (fuser answers it itself), so a process that waits for
//! a rank would survive SIGKILL. This thread looks at requests that have waited long, and at the
//! signals pending for their threads.

use std::fs;
use std::io;
use std::sync::Weak;
use std::thread;
use std::time::Duration;

use client_core::Signal;

use crate::client::Client;

/// A request that waits for longer is looked at.
const LONG: Duration = Duration::from_millis(100);
const PERIOD: Duration = Duration::from_millis(50);

/// Watches until the client is gone.
///
/// # Errors
/// The thread cannot be made.
pub fn start(client: Weak<Client>) -> io::Result<()> {
    thread::Builder::new().name("grove-watch".to_owned()).spawn(move || {
        while let Some(client) = client.upgrade() {
            for (call, waiting) in client.waiting_longer_than(LONG) {
                if let Some(signal) = pending_signal(waiting) {
                    client.cancel(call, signal);
                }
            }
            drop(client);
            thread::sleep(PERIOD);
        }
    })?;
    Ok(())
}

/// What a thread will act on when it returns to user space.
fn pending_signal(thread: u32) -> Option<Signal> {
    let Ok(status) = fs::read_to_string(format!("/proc/{thread}/status")) else {
        // It is gone: nobody will miss the answer.
        return Some(Signal::Fatal);
    };
    judge(&status)
}

fn judge(status: &str) -> Option<Signal> {
    let mask = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let pending = mask("SigPnd:")? | mask("ShdPnd:")?;
    let (blocked, ignored, caught) = (mask("SigBlk:")?, mask("SigIgn:")?, mask("SigCgt:")?);
    if pending & bit(libc::SIGKILL) != 0 {
        return Some(Signal::Fatal);
    }
    let acted_on = pending & !blocked & !ignored;
    if acted_on & !caught & TERMINATING != 0 {
        return Some(Signal::Fatal);
    }
    (acted_on & caught != 0).then_some(Signal::Handled)
}

const fn bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// Signals that end a process which does not handle them and that the kernel does not turn into
/// SIGKILL itself, because they leave a core file.
const TERMINATING: u64 = bit(libc::SIGQUIT)
    | bit(libc::SIGILL)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGABRT)
    | bit(libc::SIGBUS)
    | bit(libc::SIGFPE)
    | bit(libc::SIGSEGV)
    | bit(libc::SIGXCPU)
    | bit(libc::SIGXFSZ)
    | bit(libc::SIGSYS);

#[cfg(test)]
mod tests {
    use super::*;

    fn status(pending: u64, blocked: u64, ignored: u64, caught: u64) -> String {
        format!(
            "Name:\tx\nSigPnd:\t{pending:016x}\nShdPnd:\t0\nSigBlk:\t{blocked:016x}\n\
             SigIgn:\t{ignored:016x}\nSigCgt:\t{caught:016x}\n"
        )
    }

    #[test]
    fn death_needs_no_permission() {
        let kill = bit(libc::SIGKILL);
        assert_eq!(judge(&status(kill, !0, !0, 0)), Some(Signal::Fatal));
        assert_eq!(judge(&status(bit(libc::SIGQUIT), 0, 0, 0)), Some(Signal::Fatal));
    }

    #[test]
    fn only_what_will_be_acted_on_counts() {
        let int = bit(libc::SIGINT);
        assert_eq!(judge(&status(int, 0, 0, int)), Some(Signal::Handled));
        assert_eq!(judge(&status(int, int, 0, int)), None);
        assert_eq!(judge(&status(int, 0, int, 0)), None);
        assert_eq!(judge(&status(bit(libc::SIGCHLD), 0, 0, 0)), None);
        assert_eq!(judge(&status(0, 0, 0, int)), None);
    }
}
