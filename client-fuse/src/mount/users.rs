//! Who uses a mount: processes that work in it, run programs of it, or have files of it open.
//!
//! Only `/proc` is asked, never the mount, whose server may be dead. Who maps a file and has closed it is
//! not found: `fuser -m` finds those as well.

use std::fs;
use std::path::Path;

use super::table::Mounted;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct User {
    pub pid: u32,
    pub name: String,
}

/// What `umount` starts, and it itself, has what the shell has open.
const NEVER_NAMED: &str = "umount";

/// Those that can be seen, in the order of their numbers. Not we ourselves.
#[must_use]
pub fn of(mounted: &Mounted) -> Vec<User> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let processes = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let pid = path.file_name()?.to_str()?.parse().ok()?;
        uses(&path, mounted).then(|| User { pid, name: name_of(&path) })
    });
    let others =
        processes.filter(|user| user.pid != std::process::id() && user.name != NEVER_NAMED);
    let mut users: Vec<User> = others.collect();
    users.sort();
    users
}

fn uses(process: &Path, mounted: &Mounted) -> bool {
    let leads_there = |link: &str| {
        let target = fs::read_link(process.join(link));
        target.is_ok_and(|target| mounted.holds(&target))
    };
    ["cwd", "root", "exe"].into_iter().any(leads_there) || has_open(process, mounted.id)
}

fn has_open(process: &Path, mount: u64) -> bool {
    let Ok(files) = fs::read_dir(process.join("fdinfo")) else { return false };
    files.flatten().any(|file| mount_of(&file.path()) == Some(mount))
}

fn mount_of(fdinfo: &Path) -> Option<u64> {
    let text = fs::read_to_string(fdinfo).ok()?;
    text.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

fn name_of(process: &Path) -> String {
    let name = fs::read_to_string(process.join("comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::table;

    #[test]
    fn we_use_what_we_have_open() {
        let folder = tempfile::tempdir().unwrap();
        let mut mounts = table::read().unwrap();
        // The one on which it lies: the longest path that holds it, the topmost of those.
        let holds: Vec<_> =
            mounts.drain(..).filter(|mounted| mounted.holds(folder.path())).collect();
        let mounted = holds.iter().max_by_key(|it| it.mountpoint.as_os_str().len()).unwrap();
        let _open = fs::File::create(folder.path().join("file")).unwrap();
        assert!(has_open(Path::new("/proc/self"), mounted.id));
        assert!(!has_open(Path::new("/proc/self"), u64::MAX));
        let mut works_there = std::process::Command::new("sleep");
        let mut works_there = works_there.arg("60").current_dir(folder.path()).spawn().unwrap();
        let found = of(mounted);
        works_there.kill().unwrap();
        works_there.wait().unwrap();
        assert!(found.iter().any(|user| user.pid == works_there.id()));
        assert!(found.iter().all(|user| user.pid != std::process::id()));
    }
}
