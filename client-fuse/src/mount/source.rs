//! `Source`: what is mounted, as `mount(8)` and fstab name it: `MONITOR[,MONITOR…][:/PATH]`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use common::name::{Name, NameError};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// As it was written: so the mount table shows it, and `mount -a` finds that it is there.
    pub text: OsString,
    /// Each HOST:PORT, with commas between.
    pub monitors: String,
    /// The directory that is to be the mount's root, from the file system's.
    pub path: Vec<Name>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    #[error(
        "`{0}` names no monitor; write MONITOR:PORT:/PATH, with commas between several monitors"
    )]
    NoMonitor(String),
    #[error("`{monitor}` in `{text}` is no monitor; write HOST:PORT, or [ADDRESS]:PORT for IPv6")]
    Monitor { text: String, monitor: String },
    #[error("`{text}` has no `:` between monitor and path; write {monitors}:{path}")]
    NoColon { text: String, monitors: String, path: String },
    #[error("the path in `{text}` cannot be used: {reason}")]
    Name { text: String, reason: NameError },
    #[error("the path in `{0}` contains `..`; write it without")]
    Parent(String),
}

impl Source {
    /// # Errors
    /// Says what is wrong, and how it is written.
    pub fn parse(text: &OsStr) -> Result<Self, SourceError> {
        let shown = || text.to_string_lossy().into_owned();
        let (monitors, path) = split(text.as_bytes());
        let Ok(monitors) = std::str::from_utf8(monitors) else {
            return Err(SourceError::NoMonitor(shown()));
        };
        if let Some((monitors, path)) = monitors.split_once('/') {
            let (monitors, path) = (monitors.to_owned(), format!("/{path}"));
            return Err(SourceError::NoColon { text: shown(), monitors, path });
        }
        for monitor in monitors.split(',') {
            if !is_monitor(monitor) {
                return Err(match monitors {
                    "" => SourceError::NoMonitor(shown()),
                    _ => SourceError::Monitor { text: shown(), monitor: monitor.to_owned() },
                });
            }
        }
        let names = path.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        let path = names
            .map(|part| match part {
                b".." => Err(SourceError::Parent(shown())),
                name => {
                    let name = Name::new(name);
                    name.map_err(|reason| SourceError::Name { text: shown(), reason })
                }
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { text: text.to_owned(), monitors: monitors.to_owned(), path })
    }
}

/// Where the path begins. A slash at the end of what has none is the root.
fn split(text: &[u8]) -> (&[u8], &[u8]) {
    match text.windows(2).position(|pair| pair == b":/") {
        Some(colon) => (&text[..colon], &text[colon + 1..]),
        None => (text.strip_suffix(b"/").unwrap_or(text), b"/"),
    }
}

/// Whether it has the form HOST:PORT. Whether there is such a host is found out when it is asked.
fn is_monitor(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_v6 = host.strip_prefix('[').is_some_and(|host| host.ends_with(']'));
    port.parse::<u16>().is_ok_and(|port| port > 0)
        && !host.is_empty()
        && (is_v6 || !host.contains(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, SourceError> {
        Source::parse(text.as_ref())
    }

    fn parts(text: &str) -> (String, Vec<String>) {
        let source = parse(text).unwrap();
        assert_eq!(source.text, text);
        (source.monitors, source.path.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn monitors_and_path_are_told_apart() {
        let of = |monitors: &str, path: &[&str]| {
            (monitors.to_owned(), path.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(parts("mon:7000:/some/dir"), of("mon:7000", &["some", "dir"]));
        assert_eq!(parts("a:1,b:2:/x"), of("a:1,b:2", &["x"]));
        assert_eq!(parts("[::1]:7000:/path"), of("[::1]:7000", &["path"]));
        assert_eq!(parts("[fe80::1]:1,10.0.0.1:2"), of("[fe80::1]:1,10.0.0.1:2", &[]));
        for root in ["mon:7000", "mon:7000/", "mon:7000:/", "mon:7000://./"] {
            assert_eq!(parts(root), of("mon:7000", &[]));
        }
        // Only the first `:/` ends the monitors.
        assert_eq!(parts("mon:7000:/a b:/c,d/"), of("mon:7000", &["a b:", "c,d"]));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let monitor = |text: &str| match parse(text) {
            Err(SourceError::Monitor { monitor, .. }) => monitor,
            other => panic!("{other:?}"),
        };
        assert_eq!(monitor("mon:/path"), "mon");
        assert_eq!(monitor("a:1,,b:2:/"), "");
        assert_eq!(monitor("a:1,b:70000:/"), "b:70000");
        assert_eq!(monitor("::1:7000:/"), "::1:7000");
        assert_eq!(monitor(":7000:/"), ":7000");
        assert!(matches!(parse(":/path"), Err(SourceError::NoMonitor(_))));
        assert!(matches!(parse(""), Err(SourceError::NoMonitor(_))));
        assert!(matches!(parse("mon:1:/a/../b"), Err(SourceError::Parent(_))));
        let long = format!("mon:1:/{}", "x".repeat(256));
        assert!(matches!(parse(&long), Err(SourceError::Name { .. })));
        let error = parse("mon:7000/some/dir").unwrap_err();
        assert!(error.to_string().ends_with("write mon:7000:/some/dir"), "{error}");
    }
}
