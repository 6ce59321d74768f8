//! What one mount has changed, the other sees with its very next call, although its kernel keeps names and
//! attributes.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use common::limit::{LEASE, LEASE_RENEW};
use tests::cluster::mount::Mount;
use tests::cluster::network::Network;
use tests::cluster::{Cluster, pass, say, wait_until};

/// The longest that anybody may wait in a directory that two mounts change all the time.
const STORM_WAIT_MAX: Duration = Duration::from_millis(100);
/// Threads between a change and its answer: kernel and mount here, the rank, mount and kernel there, and back.
const STORM_HOPS: u32 = 8;
/// Appended by each of those who do.
const RECORDS: usize = 300;
const STORM: Duration = Duration::from_secs(5);

fn names(dir: &Path) -> anyhow::Result<Vec<String>> {
    let entries =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()));
    let mut names = entries.collect::<anyhow::Result<Vec<String>>>()?;
    names.sort();
    Ok(names)
}

/// Everything that can be cached is, then it changes under the eyes of the other.
fn changes_are_seen(here: &Path, there: &Path) -> anyhow::Result<()> {
    let (mine, theirs) = (here.join("f"), there.join("f"));
    ensure!(!theirs.exists() && names(there)?.is_empty(), "there is nothing yet");
    fs::write(&mine, "one")?;
    let made = fs::metadata(&theirs).context("what was missing is there")?;
    ensure!(made.len() == 3 && names(there)? == ["f"]);
    ensure!(fs::read(&theirs)? == b"one");

    fs::set_permissions(&mine, Permissions::from_mode(0o600))?;
    ensure!(fs::metadata(&theirs)?.mode() & 0o777 == 0o600, "chmod");
    let open = File::options().read(true).write(true).open(&theirs)?;
    ensure!(open.metadata()?.len() == 3);
    let writer = File::options().append(true).open(&mine)?;
    (&writer).write_all(b", two")?;
    ensure!(open.metadata()?.len() == 8, "fstat of an open file");
    let mut bytes = [0; 8];
    open.read_exact_at(&mut bytes, 0)?;
    ensure!(&bytes == b"one, two", "{bytes:?}");
    ensure!(fs::metadata(&theirs)?.mtime_nsec() == fs::metadata(&mine)?.mtime_nsec(), "mtime");
    open.write_all_at(b"ONE", 0)?;
    ensure!(fs::read(&mine)? == b"ONE, two");

    fs::hard_link(&mine, here.join("g"))?;
    ensure!(fs::metadata(&theirs)?.nlink() == 2 && names(there)? == ["f", "g"], "link");
    fs::remove_file(here.join("g"))?;
    ensure!(fs::metadata(&theirs)?.nlink() == 1 && !there.join("g").exists(), "unlink of one name");

    fs::create_dir(here.join("d"))?;
    ensure!(there.join("d").is_dir() && !there.join("d/f").exists(), "mkdir");
    fs::rename(&mine, here.join("d/f"))?;
    ensure!(!theirs.exists() && there.join("d/f").exists(), "rename");
    ensure!(names(there)? == ["d"] && names(&there.join("d"))? == ["f"], "listings after a rename");
    ensure!(open.metadata()?.nlink() == 1);
    // Back by the other one, which had cached both.
    fs::rename(there.join("d/f"), &theirs)?;
    ensure!(mine.exists() && !here.join("d/f").exists(), "rename by the other");
    fs::remove_dir(here.join("d"))?;
    ensure!(!there.join("d").exists(), "rmdir");
    fs::remove_file(&mine)?;
    ensure!(!theirs.exists() && names(there)?.is_empty(), "unlink");
    ensure!(open.metadata()?.nlink() == 0, "an open file without a name");
    Ok(())
}

/// Of a file that was only listed its rank does not know who refers to it.
fn what_was_listed_outlives_its_name(here: &Path, there: &Path) -> anyhow::Result<()> {
    let (mine, theirs) = (here.join("f"), there.join("f"));
    fs::write(&mine, "text")?;
    ensure!(names(there)? == ["f"], "listed");
    let open = File::open(&theirs)?;
    fs::remove_file(&mine)?;
    let mut bytes = [0; 4];
    open.read_exact_at(&mut bytes, 0).context("read an open file without a name")?;
    ensure!(&bytes == b"text" && open.metadata()?.nlink() == 0);

    // Gone between the listing and the open, also for a kernel that has it from the listing.
    fs::write(&mine, "text")?;
    ensure!(names(there)? == ["f"], "listed again");
    fs::remove_file(&mine)?;
    let gone = File::open(&theirs).map_err(|error| error.kind());
    ensure!(gone.err() == Some(std::io::ErrorKind::NotFound));
    Ok(())
}

fn both_ways(one: &Mount, other: &Mount, dir: &str) -> anyhow::Result<()> {
    changes_are_seen(&one.path(dir), &other.path(dir)).context("changed by one")?;
    what_was_listed_outlives_its_name(&one.path(dir), &other.path(dir))?;
    changes_are_seen(&other.path(dir), &one.path(dir)).context("changed by the other")
}

/// Records of `size` bytes, each of one letter.
fn append_records(path: &Path, letter: u8, size: usize) -> anyhow::Result<()> {
    let file = File::options().append(true).open(path)?;
    for _ in 0..RECORDS {
        (&file).write_all(&vec![letter; size])?;
    }
    Ok(())
}

fn appends_lose_nothing(one: &Path, other: &Path, size: usize) -> anyhow::Result<()> {
    let (mine, theirs) = (one.join("log"), other.join("log"));
    fs::write(&mine, "")?;
    std::thread::scope(|scope| {
        let here = [b'a', b'b'].map(|letter| {
            scope.spawn({
                let path = &mine;
                move || append_records(path, letter, size)
            })
        });
        append_records(&theirs, b'c', size)?;
        here.into_iter().try_for_each(|writer| writer.join().expect("no writer panics"))
    })?;
    let text = fs::read(&mine)?;
    ensure!(text == fs::read(&theirs)?, "both see the same");
    ensure!(text.len() == 3 * RECORDS * size, "{} bytes of {size} each", text.len());
    let whole = text.chunks(size).all(|record| record.iter().all(|byte| *byte == record[0]));
    ensure!(whole, "no record lies in another");
    for letter in [b'a', b'b', b'c'] {
        let count = text.iter().filter(|byte| **byte == letter).count();
        ensure!(count == RECORDS * size, "{count} of {}", char::from(letter));
    }
    fs::remove_file(&theirs)?;
    Ok(())
}

#[test]
fn appends_of_two_mounts_lose_nothing() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    fs::create_dir(one.path("d"))?;
    appends_lose_nothing(&one.path("d"), &other.path("d"), 1)?;
    cluster.export(Path::new("/d"), 1)?;
    appends_lose_nothing(&one.path("d"), &other.path("d"), 100)?;
    fs::remove_dir(one.path("d"))?;
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn the_next_call_sees_what_another_mount_has_changed() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    fs::create_dir(one.path("dir"))?;
    for _ in 0..10 {
        both_ways(&one, &other, "dir")?;
    }
    cluster.export(Path::new("/dir"), 1)?;
    both_ways(&one, &other, "dir")?;
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn also_while_the_directory_moves_and_its_rank_dies() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    cluster.expect_log("lost");
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    fs::create_dir(one.path("dir"))?;
    let moving = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            while moving.load(Ordering::Relaxed) {
                both_ways(&one, &other, "dir")?;
            }
            anyhow::Ok(())
        });
        let moved =
            [1, 0, 1, 0, 1].iter().try_for_each(|rank| cluster.export(Path::new("/dir"), *rank));
        moving.store(false, Ordering::Relaxed);
        let worked = worker.join().expect("it does not panic");
        moved.and(worked)
    })?;
    for _ in 0..2 {
        changes_are_seen(&one.path("dir"), &other.path("dir"))?;
        // Both have cached what the one has just made; then the rank dies.
        fs::write(one.path("dir/f"), "one")?;
        ensure!(other.path("dir/f").exists() && !other.path("dir/g").exists());
        cluster.kill_daemon("mds-1")?;
        cluster.start_daemon("mds-1")?;
        fs::rename(one.path("dir/f"), one.path("dir/g"))?;
        ensure!(!other.path("dir/f").exists() && other.path("dir/g").exists());
        fs::remove_file(other.path("dir/g"))?;
        ensure!(!one.path("dir/g").exists());
    }
    cluster.wait_active()?;
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}

fn requests(cluster: &Cluster) -> anyhow::Result<u64> {
    let status = cluster.grove_json(&["status"])?;
    status["ranks"][0]["details"]["requests"].as_u64().context("ranks count requests")
}

#[test]
fn what_is_cached_is_not_asked_for() -> anyhow::Result<()> {
    const LOOKS: u64 = 1000;
    let cluster = Cluster::start(1, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    fs::create_dir(one.path("dir"))?;
    fs::write(one.path("dir/f"), "f")?;
    let look = || -> anyhow::Result<()> {
        ensure!(other.path("dir/f").metadata()?.len() == 1 && !other.path("dir/g").exists());
        Ok(())
    };
    // Nothing is kept that was asked for shortly after a change.
    wait_until("it is cached", || {
        let before = requests(&cluster)?;
        look()?;
        Ok(requests(&cluster)? == before)
    })?;
    let before = requests(&cluster)?;
    for _ in 0..LOOKS {
        look()?;
    }
    // What is cached ends meanwhile, if this machine is slow.
    let asked = requests(&cluster)? - before;
    ensure!(asked < LOOKS / 20, "{asked} requests for {LOOKS} times two cached names");
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}

#[test]
fn a_mount_that_is_cut_off_serves_nothing_from_its_caches() -> anyhow::Result<()> {
    let cluster = Cluster::start_in(Some(Network::new()?), (1, 0), "")?;
    for text in ["lost", "the rank has ended our session", "operation failed", "sendmsg error"] {
        cluster.expect_log(text);
    }
    let (cut, other) = (cluster.mount("cut")?, cluster.mount("other")?);
    fs::write(other.path("f"), "before")?;
    ensure!(cut.path("f").metadata()?.len() == 6);
    let network = cluster.network().context("there is a network")?;
    for (from, to) in [("cut", "mds-0"), ("mds-0", "cut")] {
        network.cut(from, to)?;
    }
    let began = Instant::now();
    fs::remove_file(other.path("f"))?;
    let waited = began.elapsed();
    ensure!(waited < LEASE + LEASE_RENEW, "the other has waited for {waited:?}");
    // It asks, and nobody answers until the link is whole.
    let path = cut.path("f");
    let looks = std::thread::spawn(move || path.exists());
    network.heal_all();
    ensure!(!looks.join().expect("it does not panic"), "it still shows what is gone");
    cut.unmount()?;
    other.unmount()?;
    cluster.end()
}

/// How late a thread is that has only slept, at worst: for so long this machine holds anybody up.
fn lateness(until: Instant) -> Duration {
    const NAP: Duration = Duration::from_millis(1);
    let mut longest = Duration::ZERO;
    while Instant::now() < until {
        let began = Instant::now();
        pass(NAP);
        longest = longest.max(began.elapsed().saturating_sub(NAP));
    }
    longest
}

/// Makes and removes names, and looks at those of the others; the longest that one call took.
fn storm(dir: &Path, own: &str, others: &str, until: Instant) -> anyhow::Result<Duration> {
    let mut longest = Duration::ZERO;
    let mut timed = |what: &dyn Fn() -> std::io::Result<()>| -> anyhow::Result<()> {
        let began = Instant::now();
        what()?;
        longest = longest.max(began.elapsed());
        Ok(())
    };
    while Instant::now() < until {
        for number in 0..8 {
            let path = dir.join(format!("{own}-{number}"));
            timed(&|| File::create(&path).map(drop))?;
            timed(&|| dir.join(format!("{others}-{number}")).try_exists().map(drop))?;
        }
        for number in 0..8 {
            timed(&|| fs::remove_file(dir.join(format!("{own}-{number}"))))?;
        }
    }
    Ok(longest)
}

#[test]
fn two_mounts_that_change_one_directory_do_not_wait_for_long() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let (one, other) = (cluster.mount("one")?, cluster.mount("other")?);
    fs::create_dir(one.path("dir"))?;
    let until = Instant::now() + STORM;
    let (here, there) = (one.path("dir"), other.path("dir"));
    let (longest, late) = std::thread::scope(|scope| {
        let first = scope.spawn(|| storm(&here, "a", "b", until));
        let idle = scope.spawn(|| lateness(until));
        let second = storm(&there, "b", "a", until);
        let first = first.join().expect("it does not panic")?;
        anyhow::Ok((first.max(second?), idle.join().expect("it does not panic")))
    })?;
    say(format_args!("the longest wait: {longest:?}; a thread that slept was late by {late:?}"));
    // Each of those who take part may be held up by whoever else works on this machine.
    ensure!(longest < STORM_WAIT_MAX + late * STORM_HOPS, "waited {longest:?}, late {late:?}");
    ensure!(names(&one.path("dir"))?.is_empty() && names(&other.path("dir"))?.is_empty());
    one.unmount()?;
    other.unmount()?;
    cluster.end()
}
