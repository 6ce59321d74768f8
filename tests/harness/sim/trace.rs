//! `Trace`: one line for each event, in fixed columns. Kept only when somebody will read it.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use common::id::Rank;
use common::time::Monotonic;

/// Lines kept: the last ones, which is where a run went wrong.
const LINES_MAX: usize = 200_000;

#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// `None`: nobody will read it.
    lines: Option<VecDeque<String>>,
}

/// Whom a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    World,
    Monitor,
    Rank(Rank),
    Daemon(usize),
    Client(usize),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::World => f.pad("world"),
            Self::Monitor => f.pad("mon"),
            Self::Rank(rank) => f.pad(&format!("mds.{rank}")),
            Self::Daemon(number) => f.pad(&format!("daemon.{number}")),
            Self::Client(number) => f.pad(&format!("client.{number}")),
        }
    }
}

impl Trace {
    #[must_use]
    pub fn kept() -> Self {
        Self { lines: Some(VecDeque::new()) }
    }

    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.lines.is_some()
    }

    /// Adds a line: when, who, what, and what there is to say about it.
    pub fn line(&mut self, at: Monotonic, who: Who, what: &str, detail: impl FnOnce() -> String) {
        let Some(lines) = &mut self.lines else { return };
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        let (millis, micros) = (at.0 / 1_000_000, at.0 / 1_000 % 1_000);
        lines.push_back(format!("{millis:>8}.{micros:03} {who:<9} {what:<10} {}", detail()));
    }

    /// The last lines, for a report.
    #[must_use]
    pub fn tail(&self, lines_max: usize) -> String {
        let Some(lines) = &self.lines else { return String::new() };
        let mut text = String::new();
        for line in lines.iter().skip(lines.len().saturating_sub(lines_max)) {
            writeln!(text, "{line}").expect("strings take everything");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_fixed() {
        let mut trace = Trace::kept();
        trace.line(Monotonic(1_234_567_890), Who::Rank(Rank(2)), "turn", || "3 inputs".to_owned());
        trace.line(Monotonic(5), Who::World, "power", String::new);
        assert_eq!(
            trace.tail(9),
            "    1234.567 mds.2     turn       3 inputs\n       0.000 world     power      \n"
        );
        assert_eq!(trace.tail(1).lines().count(), 1);
        assert_eq!(Trace::default().tail(9), "");
    }
}
