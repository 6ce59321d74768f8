//! mkdir, rmdir, readdir, readdirplus.

use std::collections::BTreeSet;

use anyhow::ensure;
use rustix::io::Errno;

use super::{Arena, refused};

const MANY: usize = 3000;

pub(super) fn check(arena: &Arena) -> anyhow::Result<()> {
    let sub = arena.dir.join("sub");
    std::fs::create_dir(&sub)?;
    refused(std::fs::create_dir(&sub), Errno::EXIST)?;
    refused(std::fs::create_dir(arena.dir.join("missing/sub")), Errno::NOENT)?;
    std::fs::write(sub.join("file"), "")?;
    refused(std::fs::remove_dir(arena.dir_elsewhere.join("sub")), Errno::NOTEMPTY)?;
    refused(std::fs::remove_dir(sub.join("file")), Errno::NOTDIR)?;
    std::fs::remove_file(sub.join("file"))?;
    std::fs::remove_dir(arena.dir_elsewhere.join("sub"))?;
    refused(std::fs::metadata(&sub), Errno::NOENT)?;
    refused(std::fs::write(sub.join("file"), ""), Errno::NOENT)?;

    let many = arena.other.join("many");
    std::fs::create_dir(&many)?;
    for number in 0..MANY {
        std::fs::File::create(many.join(format!("entry-{number}")))?;
    }
    let listed = |step: usize| -> anyhow::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for (position, entry) in std::fs::read_dir(&many)?.enumerate() {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // What is removed while it is listed must not disturb the rest.
            if step > 0 && position % step == 0 {
                std::fs::remove_file(many.join(&name))?;
            }
            ensure!(names.insert(name.clone()), "{name} is listed twice");
        }
        Ok(names)
    };
    ensure!(listed(0)?.len() == MANY);
    ensure!(listed(3)?.len() == MANY);
    ensure!(listed(0)?.len() == MANY - MANY.div_ceil(3));
    std::fs::remove_dir_all(&many)?;
    Ok(())
}
