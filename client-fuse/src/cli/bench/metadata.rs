//! The workload: phases, each done by all threads at the same time, each operation timed.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::Serialize;

#[derive(Clone, Copy, Debug)]
pub(super) struct Workload {
    pub(super) threads: u16,
    pub(super) files: u32,
    pub(super) sharing: Sharing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Each thread has a directory.
    Private,
    Shared,
}

#[derive(Debug, Serialize)]
pub(super) struct Measured {
    pub(super) phase: &'static str,
    pub(super) operations: u64,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) max_us: f64,
}

/// In the order in which they are run.
const PHASES: [Phase; 7] = [
    Phase { name: "create", once: Once::EachFile, act: create },
    Phase { name: "stat", once: Once::EachFile, act: stat },
    Phase { name: "open", once: Once::EachFile, act: open },
    Phase { name: "readdir", once: Once::Listing, act: list },
    Phase { name: "unlink", once: Once::EachFile, act: unlink },
    Phase { name: "mkdir", once: Once::EachFile, act: make_dir },
    Phase { name: "rmdir", once: Once::EachFile, act: remove_dir },
];

/// Listings of each thread.
const LISTINGS: u32 = 10;
/// Significant digits of a latency.
const DIGITS: u8 = 3;

#[derive(Clone, Copy)]
struct Phase {
    name: &'static str,
    once: Once,
    act: fn(&Path) -> io::Result<()>,
}

/// What an operation is done to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Once {
    EachFile,
    Listing,
}

fn create(path: &Path) -> io::Result<()> {
    OpenOptions::new().write(true).create_new(true).open(path).map(drop)
}

fn stat(path: &Path) -> io::Result<()> {
    fs::symlink_metadata(path).map(drop)
}

fn open(path: &Path) -> io::Result<()> {
    File::open(path).map(drop)
}

fn list(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path.parent().unwrap_or(path))? {
        entry?;
    }
    Ok(())
}

fn unlink(path: &Path) -> io::Result<()> {
    fs::remove_file(path)
}

fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir(path)
}

fn remove_dir(path: &Path) -> io::Result<()> {
    fs::remove_dir(path)
}

/// Runs all phases below `dir`, and leaves nothing there.
pub(super) fn run(dir: &Path, workload: Workload) -> anyhow::Result<Vec<Measured>> {
    let base = dir.join(format!("grove-bench-{}", std::process::id()));
    fs::create_dir(&base).with_context(|| format!("cannot make {}", base.display()))?;
    let result = PHASES.iter().map(|phase| run_phase(&base, *phase, workload)).collect();
    let removed = fs::remove_dir_all(&base);
    let measured: anyhow::Result<Vec<Measured>> = result;
    removed.with_context(|| format!("cannot remove {}", base.display()))?;
    measured
}

fn run_phase(base: &Path, phase: Phase, workload: Workload) -> anyhow::Result<Measured> {
    for thread in 0..workload.threads {
        fs::create_dir_all(folder(base, thread, workload.sharing))?;
    }
    let barrier = Barrier::new(usize::from(workload.threads) + 1);
    let (started, results) = thread::scope(|scope| {
        let threads: Vec<_> = (0..workload.threads)
            .map(|number| {
                let paths = paths(base, phase, number, workload);
                let barrier = &barrier;
                scope.spawn(move || {
                    barrier.wait();
                    measure(&paths, phase)
                })
            })
            .collect();
        barrier.wait();
        let started = Instant::now();
        let results: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        (started, results)
    });
    let seconds = started.elapsed().as_secs_f64();
    let mut all = Histogram::<u64>::new(DIGITS)?;
    for result in results {
        let of_thread = result.map_err(|_| anyhow::anyhow!("a thread panicked"))?;
        all.add(of_thread.with_context(|| format!("{} failed", phase.name))?)?;
    }
    Ok(summary(phase.name, &all, seconds))
}

fn folder(base: &Path, thread: u16, sharing: Sharing) -> PathBuf {
    match sharing {
        Sharing::Private => base.join(format!("t{thread}")),
        Sharing::Shared => base.join("all"),
    }
}

fn paths(base: &Path, phase: Phase, thread: u16, workload: Workload) -> Vec<PathBuf> {
    let folder = folder(base, thread, workload.sharing);
    let count = if phase.once == Once::Listing { LISTINGS } else { workload.files };
    (0..count).map(|file| folder.join(format!("f.{thread}.{file}"))).collect()
}

/// Nanoseconds of each operation.
fn measure(paths: &[PathBuf], phase: Phase) -> anyhow::Result<Histogram<u64>> {
    let mut times = Histogram::new(DIGITS)?;
    for path in paths {
        let before = Instant::now();
        (phase.act)(path).with_context(|| path.display().to_string())?;
        times.record(nanos(before.elapsed()))?;
    }
    Ok(times)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
fn summary(phase: &'static str, times: &Histogram<u64>, seconds: f64) -> Measured {
    let micros = |nanos: u64| nanos as f64 / 1e3;
    Measured {
        phase,
        operations: times.len(),
        seconds,
        per_second: times.len() as f64 / seconds,
        p50_us: micros(times.value_at_quantile(0.5)),
        p99_us: micros(times.value_at_quantile(0.99)),
        max_us: micros(times.max()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_runs_and_nothing_is_left() {
        for sharing in [Sharing::Private, Sharing::Shared] {
            let folder = tempfile::tempdir().unwrap();
            let workload = Workload { threads: 2, files: 3, sharing };
            let measured = run(folder.path(), workload).unwrap();
            assert_eq!(measured.len(), PHASES.len());
            assert_eq!(measured[0].operations, 6);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_failure_names_the_phase_and_leaves_nothing() {
        assert!(
            run(
                Path::new("/nonexistent"),
                Workload { threads: 1, files: 1, sharing: Sharing::Private }
            )
            .is_err()
        );
    }
}
