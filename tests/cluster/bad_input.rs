//! What people get wrong: a message that names the thing, a failing exit, and nothing changed.

use std::net::UdpSocket;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use tests::cluster::{Cluster, binary, run};

/// Runs something that must fail, and say all of this, without a panic.
fn refused(command: &mut Command, says: &[&str]) -> anyhow::Result<()> {
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success(), "{command:?} did not fail");
    ensure!(output.status.code().is_some(), "{command:?} was ended by a signal: {said}");
    ensure!(!said.contains("panicked"), "{command:?}: {said}");
    for text in says {
        ensure!(said.contains(text), "{command:?} does not say `{text}`: {said}");
    }
    Ok(())
}

fn grove(cluster: &Cluster, arguments: &[&str], says: &[&str]) -> anyhow::Result<()> {
    refused(&mut cluster.grove_command(arguments)?, says)
}

fn daemon(program: &str, config: &Path, says: &[&str]) -> anyhow::Result<()> {
    refused(Command::new(binary(program)?).arg("--config").arg(config), says)
}

/// The configuration of a further rank, with one thing changed.
fn config(
    cluster: &Cluster,
    name: &str,
    from: &str,
    to: &str,
) -> anyhow::Result<std::path::PathBuf> {
    let text = cluster.rank_config(name)?;
    ensure!(text.contains(from), "the configuration has no `{from}`");
    let path = cluster.path(&format!("bad-{name}.toml"));
    std::fs::write(&path, text.replace(from, to))?;
    Ok(path)
}

#[test]
fn operators_are_told_what_is_wrong() -> anyhow::Result<()> {
    let cluster = Cluster::start(2, "")?;
    let mount = cluster.mount("mount")?;
    std::fs::create_dir(mount.path("dir"))?;
    std::fs::write(mount.path("file"), "")?;
    grove(&cluster, &["export", "/missing", "1"], &["/missing"])?;
    grove(&cluster, &["export", "/file", "1"], &["/file"])?;
    grove(&cluster, &["export", "/dir", "0"], &["already"])?;
    grove(&cluster, &["export", "/dir", "7"], &["7"])?;
    grove(&cluster, &["export", "/", "1"], &["rank 0"])?;
    grove(&cluster, &["migrations", "cancel", "0.1.99"], &["no such migration"])?;
    grove(&cluster, &["migrations", "cancel", "x"], &["RANK.INCARNATION.NUMBER"])?;
    grove(&cluster, &["frobnicate"], &["frobnicate"])?;
    grove(&cluster, &["status", "--certs", "/nonexistent"], &["/nonexistent"])?;
    grove(&cluster, &["status", "--cluster", &"0".repeat(32)], &["cluster"])?;
    grove(&cluster, &["status", "--monitor", "nowhere"], &["nowhere"])?;
    let status = cluster.grove_json(&["status"])?;
    ensure!(status["degraded"] == false, "{status}");
    mount.unmount()?;
    cluster.end()
}

#[test]
fn mounts_are_refused_with_a_reason() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let mount = cluster.mount("mount")?;
    let point = mount.point().to_str().context("our paths are ASCII")?.to_owned();
    std::fs::write(cluster.path("file"), "")?;
    let path = |name: &str| cluster.path(name).display().to_string();
    let monitor = cluster.monitor().to_owned();
    grove(&cluster, &["mount", &monitor, &point], &["already"])?;
    grove(&cluster, &["mount", &monitor, &path("file")], &["not a directory"])?;
    grove(&cluster, &["mount", &monitor, &path("missing")], &["missing"])?;
    std::fs::create_dir(cluster.path("free"))?;
    grove(&cluster, &["mount", &monitor, &path("free"), "-o", "frob"], &["frob"])?;
    let elsewhere = format!("data=file://{}", path("free"));
    grove(&cluster, &["mount", &monitor, &path("free"), "-o", &elsewhere], &["free"])?;
    // An operator's certificate is not one for mounts.
    grove(&cluster, &["--name", "admin", "mount", &monitor, &path("free")], &["admin", "client"])?;
    ensure!(std::fs::read_dir(cluster.path("free"))?.count() == 0);
    mount.unmount()?;
    cluster.end()
}

#[test]
fn daemons_refuse_what_they_do_not_understand() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    cluster.issue("mds", "new")?;
    cluster.issue("client", "guest")?;
    daemon("grove-mds", Path::new("/nonexistent.toml"), &["/nonexistent.toml"])?;
    let path = config(&cluster, "new", "data_dir", "data_dri")?;
    daemon("grove-mds", &path, &["data_dri"])?;
    let path = config(&cluster, "new", "certs/new.key", "certs/guest.key")?;
    daemon("grove-mds", &path, &["guest.key"])?;
    let path = config(&cluster, "guest", "name = \"guest\"", "name = \"guest\"")?;
    daemon("grove-mds", &path, &["client"])?;
    // Not formatted.
    let path = config(&cluster, "new", "name = \"new\"", "name = \"new\"")?;
    daemon("grove-mds", &path, &["--format"])?;
    // Formatted already.
    let mut again = Command::new(binary("grove-mds")?);
    refused(again.arg("--format").arg("--config").arg(cluster.path("mds-0.toml")), &["mds-0"])?;

    let taken = UdpSocket::bind("127.0.0.1:0")?;
    let addr = taken.local_addr()?.to_string();
    let path = config(&cluster, "new", "127.0.0.1:0", &addr)?;
    run(Command::new(binary("grove-mds")?).arg("--format").arg("--config").arg(&path))?;
    daemon("grove-mds", &path, &[&addr])?;
    ensure!(cluster.runs("mds-0") && cluster.runs("mon"));
    cluster.end()
}

#[test]
fn noise_on_their_ports_does_not_harm_daemons() -> anyhow::Result<()> {
    let cluster = Cluster::start(1, "")?;
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    let status = cluster.grove_json(&["status"])?;
    let rank = status["ranks"][0]["addr"].as_str().context("a rank has an address")?.to_owned();
    let mut state: u32 = 7;
    for length in (0..1400).step_by(50) {
        let noise: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                u8::try_from(state >> 24).unwrap_or(0)
            })
            .collect();
        socket.send_to(&noise, &rank)?;
        socket.send_to(&noise, cluster.monitor())?;
    }
    let mount = cluster.mount("mount")?;
    std::fs::write(mount.path("file"), "well")?;
    mount.unmount()?;
    cluster.end()
}
