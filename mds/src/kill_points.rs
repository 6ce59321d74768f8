//! Dying on purpose, for tests: a daemon started with `--kill-points SOCKET` listens there for the
//! name of a point, and ends without another word when the core reaches it.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mds_core::kill_point::KillPoint;
use parking_lot::Mutex;
use tracing::warn;

/// How long what was sent before the point may take to leave the process.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// Whether the process goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Live,
    /// Nothing may be done any more.
    Die,
}

#[derive(Clone, Debug, Default)]
pub struct KillPoints {
    armed: Arc<Mutex<Option<KillPoint>>>,
}

impl KillPoints {
    /// Each line `NAME` arms a point and is answered by `armed`, or by what is wrong with it.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(socket: &Path) -> std::io::Result<Self> {
        let points = Self::default();
        // An earlier life may have left its own.
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(socket)?;
        let listening = points.clone();
        std::thread::Builder::new().name("kill-points".to_owned()).spawn(move || {
            for stream in listener.incoming().flatten() {
                // A test that goes away in the middle of a line has armed nothing.
                let _ = listening.converse(&stream);
            }
        })?;
        Ok(points)
    }

    fn converse(&self, stream: &UnixStream) -> std::io::Result<()> {
        for line in BufReader::new(stream).lines() {
            let mut answer = stream;
            match line?.trim().parse::<KillPoint>() {
                Ok(point) => {
                    *self.armed.lock() = Some(point);
                    writeln!(answer, "armed")?;
                }
                Err(_) => writeln!(answer, "there is no such kill point")?,
            }
        }
        Ok(())
    }

    /// If the point is armed, the process says nothing more and aborts.
    #[must_use]
    pub fn reached(&self, point: KillPoint) -> Fate {
        if *self.armed.lock() != Some(point) {
            return Fate::Live;
        }
        let name: &'static str = point.into();
        warn!(point = name, "killed on purpose");
        // The network's thread may be this one: it has to go on for a moment.
        std::thread::spawn(|| {
            std::thread::sleep(LAST_WORDS);
            std::process::abort();
        });
        Fate::Die
    }
}
