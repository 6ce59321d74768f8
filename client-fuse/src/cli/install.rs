//! `grove install`: makes `mount -t grovefs`, fstab and `umount` find us.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use super::helper::NAMES;
use super::output;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where mount(8) looks for helpers
    #[arg(long, value_name = "DIR", default_value = "/sbin")]
    dir: PathBuf,
    /// Take away what was made
    #[arg(long)]
    remove: bool,
}

pub(super) fn run(args: &Args) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("cannot find this program")?;
    for (name, _) in NAMES {
        let link = args.dir.join(name);
        let shown = link.display();
        let done = if args.remove {
            remove(&link).with_context(|| format!("cannot remove {shown}"))?
        } else {
            make(&link, &program).with_context(|| format!("cannot make {shown}"))?
        };
        output::line(format!("{shown} {done}"))?;
    }
    Ok(())
}

fn make(link: &Path, program: &Path) -> anyhow::Result<String> {
    remove(link)?;
    symlink(program, link)?;
    Ok(format!("-> {}", program.display()))
}

/// Whatever is no link is somebody else's.
fn remove(link: &Path) -> anyhow::Result<String> {
    match fs::symlink_metadata(link) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok("is not there".to_owned()),
        Err(error) => Err(error.into()),
        Ok(found) if !found.is_symlink() => bail!("a file of that name is there, and not ours"),
        Ok(_) => {
            fs::remove_file(link)?;
            Ok("is removed".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_replaced_and_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("mount.grovefs");
        for program in ["/old/grove", "/new/grove"] {
            make(&link, Path::new(program)).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(program));
        }
        remove(&link).unwrap();
        remove(&link).unwrap();
        fs::write(&link, "theirs").unwrap();
        assert!(make(&link, Path::new("/new/grove")).is_err() && remove(&link).is_err());
        assert_eq!(fs::read(&link).unwrap(), b"theirs");
    }
}
