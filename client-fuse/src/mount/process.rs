//! `Process`: one process, for ever. Numbers are used again; together with the time of the start, in one
//! namespace, they are not.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pid_namespace: String,
    pid: i32,
    /// Clock ticks from the machine's start to the process's.
    started: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Lives,
    /// It runs nothing more, even if one of its threads cannot leave the kernel.
    Ended,
    /// A process of another container.
    Unknown,
}

impl Process {
    /// # Errors
    /// `/proc` is not there.
    pub fn own() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_pid();
        let stat = fs::read_to_string("/proc/self/stat")?;
        let (_, started) = parse(&stat).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self { pid_namespace: pid_namespace()?, pid, started })
    }

    #[must_use]
    pub fn life(&self) -> Life {
        if pid_namespace().ok().as_ref() != Some(&self.pid_namespace) {
            return Life::Unknown;
        }
        match fs::read_to_string(format!("/proc/{}/stat", self.pid)) {
            Ok(stat) => match parse(&stat) {
                Some((state, started)) if started == self.started && !is_over(state) => Life::Lives,
                Some(_) | None => Life::Ended,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Life::Ended,
            Err(_) => Life::Unknown,
        }
    }
}

fn pid_namespace() -> io::Result<String> {
    Ok(fs::read_link("/proc/self/ns/pid")?.to_string_lossy().into_owned())
}

/// The first thread has ended, which ours does last.
fn is_over(state: &str) -> bool {
    matches!(state, "Z" | "X")
}

/// State and start, of `proc_pid_stat(5)`. The name, in parentheses, may hold anything.
fn parse(stat: &str) -> Option<(&str, u64)> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn we_live() {
        let own = Process::own().unwrap();
        assert_eq!(own.life(), Life::Lives);
        let earlier = Process { started: own.started - 1, ..own.clone() };
        assert_eq!(earlier.life(), Life::Ended);
        let elsewhere = Process { pid_namespace: "pid:[1]".to_owned(), ..own };
        assert_eq!(elsewhere.life(), Life::Unknown);
    }

    #[test]
    fn who_was_not_waited_for_yet_has_ended() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
        let started = parse(&stat).unwrap().1;
        let pid = i32::try_from(child.id()).unwrap();
        let process = Process { pid_namespace: pid_namespace().unwrap(), pid, started };
        assert_eq!(process.life(), Life::Lives);
        child.kill().unwrap();
        let is_zombie = || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            parse(&stat).is_some_and(|(state, _)| is_over(state))
        };
        while !is_zombie() {
            std::thread::yield_now();
        }
        assert_eq!(process.life(), Life::Ended);
        child.wait().unwrap();
        assert_eq!(process.life(), Life::Ended);
    }

    #[test]
    fn a_name_may_hold_anything() {
        let fields: Vec<String> = (4..=22).map(|number| number.to_string()).collect();
        let stat = format!("17 (a) b) S {}", fields.join(" "));
        assert_eq!(parse(&stat), Some(("S", 22)));
        assert_eq!(parse("17 (a) S 1"), None);
    }
}
