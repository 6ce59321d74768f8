//! Subtrees move while they are used, and nobody notices.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context, ensure};
use tests::cluster::{Cluster, wait_until};

/// Makes, renames, reads and removes files in a directory until told to stop. Every call must work.
fn work(dir: &Path, stop: &AtomicBool, rounds: &AtomicU64) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    while !stop.load(Ordering::Relaxed) {
        let round = rounds.fetch_add(1, Ordering::Relaxed);
        let (file, moved) = (dir.join(format!("f{round}")), dir.join("moved"));
        std::fs::write(&file, round.to_string()).context("write")?;
        std::fs::rename(&file, &moved).context("rename")?;
        ensure!(std::fs::read_to_string(&moved).context("read")? == round.to_string());
        std::fs::create_dir(dir.join("sub")).context("mkdir")?;
        std::fs::hard_link(&moved, dir.join("sub/link")).context("link")?;
        ensure!(std::fs::read_dir(dir).context("list")?.count() == 2);
        std::fs::remove_file(&moved).context("unlink")?;
        std::fs::remove_dir_all(dir.join("sub")).context("remove")?;
    }
    std::fs::remove_dir(dir).context("rmdir")
}

#[test]
fn work_goes_on_while_its_directory_moves() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    std::fs::create_dir(one.path("tree"))?;
    let (stop, rounds) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| -> anyhow::Result<()> {
        let workers = [one.path("tree/one"), other.path("tree/other")];
        let workers = workers.map(|dir| {
            let (stop, rounds) = (&stop, &rounds);
            scope.spawn(move || work(&dir, stop, rounds))
        });
        let moves = [1, 2, 0, 2, 1, 0].iter().try_for_each(|rank| {
            let before = rounds.load(Ordering::Relaxed);
            cluster.export(Path::new("/tree"), *rank)?;
            wait_until("work goes on", || Ok(rounds.load(Ordering::Relaxed) > before + 1))
        });
        stop.store(true, Ordering::Relaxed);
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        moves
    })?;
    std::fs::remove_dir(one.path("tree"))?;
    let migrations = cluster.grove_json(&["migrations"])?;
    let moved = migrations.as_array().map(|all| all.iter().filter(|it| it["outcome"] == "moved"));
    ensure!(moved.is_some_and(|moved| moved.count() == 6), "{migrations}");
    one.unmount()?;
    other.unmount()?;
    wait_until("nothing is left", || nothing_left(&cluster))?;
    cluster.end()
}

/// Whether every count of `grove leftovers` is 0.
pub(crate) fn nothing_left(cluster: &Cluster) -> anyhow::Result<bool> {
    let left = cluster.grove_json(&["leftovers"])?;
    let ranks = left.as_array().context("leftovers are a list")?;
    Ok(ranks.iter().filter_map(serde_json::Value::as_object).all(|counts| {
        counts.iter().all(|(name, count)| name == "rank" || count.as_u64() == Some(0))
    }))
}

#[test]
fn a_file_held_open_outlives_its_name_and_its_rank() -> anyhow::Result<()> {
    use std::io::{Read, Seek, Write};

    let cluster = Cluster::start(2, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    std::fs::create_dir(one.path("tree"))?;
    let path = one.path("tree/file");
    let mut file = std::fs::File::options().read(true).write(true).create_new(true).open(&path)?;
    file.write_all(b"held")?;
    cluster.export(Path::new("/tree"), 1)?;
    std::fs::remove_file(other.path("tree/file"))?;
    cluster.export(Path::new("/tree"), 0)?;
    file.write_all(b" open")?;
    file.rewind()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    ensure!(text == "held open");
    drop(file);
    std::fs::remove_dir(one.path("tree"))?;
    one.unmount()?;
    other.unmount()?;
    wait_until("nothing is left", || nothing_left(&cluster))?;
    cluster.end()
}
