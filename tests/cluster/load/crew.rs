//! Several workers at work while something happens.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::ensure;
use nix::sched::{CloneFlags, unshare};
use tests::cluster::wait_until;

use super::{Progress, Worker};

/// Lets everybody work while a story is told. The story's mistake and those of the workers, whichever
/// there are: none hides another.
pub(crate) fn while_working(
    workers: &mut [Worker<'_>],
    progress: &[Progress],
    story: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let employed = employ(scope, workers, progress, &stop);
        let told = story();
        stop.store(true, Ordering::Relaxed);
        let worked = employed.into_iter().map(|worker| {
            worker.join().unwrap_or_else(|_| Err(anyhow::anyhow!("a worker panicked")))
        });
        verdict(told, worked.collect())
    })
}

fn employ<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    workers: &'env mut [Worker<'_>],
    progress: &'env [Progress],
    stop: &'env AtomicBool,
) -> Vec<ScopedJoinHandle<'scope, anyhow::Result<()>>> {
    let apart = Arc::new(Barrier::new(workers.len() + 1));
    let employ = |(worker, progress): (&'env mut Worker<'_>, &'env Progress)| {
        let apart = Arc::clone(&apart);
        scope.spawn(move || {
            // Programs that the story starts would have this thread's files open as well for a moment,
            // close them, and wait for a mount that is stopped: its open files are its own. Nobody
            // opens others until all have parted.
            let parted = unshare(CloneFlags::CLONE_FILES);
            apart.wait();
            parted?;
            let worked = worker.work(stop, progress);
            // For the same reason nobody else can.
            worker.close();
            worked
        })
    };
    let employed = workers.iter_mut().zip(progress).map(employ).collect();
    apart.wait();
    employed
}

fn verdict(told: anyhow::Result<()>, worked: Vec<anyhow::Result<()>>) -> anyhow::Result<()> {
    let all = std::iter::once(told).chain(worked);
    let wrong: Vec<String> =
        all.filter_map(|one| one.err().map(|error| format!("{error:#}"))).collect();
    ensure!(wrong.is_empty(), "{}", wrong.join("\nand: "));
    Ok(())
}

/// Waits until each of them has done so many operations more.
pub(crate) fn wait_for_progress(all: &[Progress], more: u64) -> anyhow::Result<()> {
    let before: Vec<u64> = all.iter().map(|one| one.done.load(Ordering::Relaxed)).collect();
    let mut failed = false;
    wait_until("work goes on", || {
        failed = anybody_failed(all);
        let now = all.iter().map(|one| one.done.load(Ordering::Relaxed));
        Ok(failed || now.zip(&before).all(|(now, before)| now >= before + more))
    })?;
    ensure!(!failed, "a worker has given up");
    Ok(())
}

pub(crate) fn anybody_failed(all: &[Progress]) -> bool {
    total(all, |one| &one.failed) > 0
}

pub(crate) fn total(all: &[Progress], of: fn(&Progress) -> &AtomicU64) -> u64 {
    all.iter().map(|one| of(one).load(Ordering::Relaxed)).sum()
}

/// The longest that anybody has waited for an operation, looks included.
pub(crate) fn longest(all: &[Progress]) -> Duration {
    let longest = all.iter().map(|one| one.longest.load(Ordering::Relaxed)).max();
    Duration::from_millis(longest.unwrap_or(0))
}
