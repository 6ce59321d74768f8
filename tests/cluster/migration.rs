//! Subtrees move while they are used, and nobody notices.

use std::path::Path;

use anyhow::{Context, ensure};
use tests::cluster::{Cluster, wait_until};

use crate::load::{Presence, Progress, Worker, wait_for_progress, while_working};

#[test]
fn work_goes_on_while_its_directory_moves() -> anyhow::Result<()> {
    let cluster = Cluster::start(3, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    for dir in ["tree", "tree/one", "tree/other"] {
        std::fs::create_dir(one.path(dir))?;
    }
    let presence = Presence::default();
    let mut workers = [
        Worker::new(vec![one.path("tree/one")], &presence, 1),
        Worker::new(vec![other.path("tree/other")], &presence, 2)
            .also_through(vec![one.path("tree/other")], &presence),
    ];
    let progress: [Progress; 2] = Default::default();
    while_working(&mut workers, &progress, || {
        [1, 2, 0, 2, 1, 0].iter().try_for_each(|rank| {
            cluster.export(Path::new("/tree"), *rank)?;
            wait_for_progress(&progress, 50)
        })
    })?;
    for worker in &mut workers {
        worker.check()?;
        worker.clean()?;
    }
    for dir in ["tree/one", "tree/other", "tree"] {
        std::fs::remove_dir(one.path(dir))?;
    }
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
