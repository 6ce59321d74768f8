//! What is mounted where, from `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// How mounts of ours appear.
pub const FILE_SYSTEM: &str = "fuse.grovefs";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// By which `fdinfo` names it.
    pub id: u64,
    /// `major:minor`, which no other mount of this machine has.
    pub device: String,
    pub mountpoint: PathBuf,
    pub file_system: String,
    /// What was given to be mounted.
    pub source: OsString,
    /// Of the mount and of the file system, with commas.
    pub options: [String; 2],
}

impl Mounted {
    /// Whether the path names the mountpoint or something below it. Nothing is asked of the mount.
    #[must_use]
    pub fn holds(&self, path: &Path) -> bool {
        path.starts_with(&self.mountpoint)
    }
}

/// # Errors
/// `/proc` is not there.
pub fn read() -> io::Result<Vec<Mounted>> {
    Ok(parse(&fs::read(/* names need not be UTF-8 */ "/proc/self/mountinfo")?))
}

/// The file system of ours that is mounted at exactly this place; the topmost, if several are.
///
/// # Errors
/// `/proc` is not there.
pub fn find(mountpoint: &Path) -> io::Result<Option<Mounted>> {
    let top = read()?.into_iter().rfind(|mounted| mounted.mountpoint == mountpoint);
    Ok(top.filter(|mounted| mounted.file_system == FILE_SYSTEM))
}

/// The path as the table has it. What is mounted there cannot be asked: the process behind it may be
/// dead, or hang.
///
/// # Errors
/// The folder that it is in cannot be found.
pub fn locate(mountpoint: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(mountpoint)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => {
            let path = parent.canonicalize()?.join(name);
            let is_link = find(&path)?.is_none();
            if is_link { path.canonicalize() } else { Ok(path) }
        }
        _ => path.canonicalize(),
    }
}

fn parse(text: &[u8]) -> Vec<Mounted> {
    text.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn parse_line(line: &[u8]) -> Option<Mounted> {
    let mut fields = line.split(|byte| *byte == b' ');
    let text = |field| String::from_utf8_lossy(field).into_owned();
    let id = text(fields.next()?).parse().ok()?;
    let device = fields.nth(1)?;
    let mountpoint = fields.nth(1)?;
    let of_mount = fields.next()?;
    let mut fields = fields.skip_while(|field| *field != b"-").skip(1);
    let file_system = fields.next()?;
    let source = fields.next()?;
    Some(Mounted {
        id,
        device: text(device),
        mountpoint: PathBuf::from(OsString::from_vec(unescape(mountpoint))),
        file_system: text(file_system),
        source: OsString::from_vec(unescape(source)),
        options: [text(of_mount), fields.next().map(text).unwrap_or_default()],
    })
}

/// Blanks and the like appear as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..3).filter(|digits| digits.iter().all(u8::is_ascii_digit));
        match (first, digits) {
            (b'\\', Some(digits)) => {
                let value =
                    digits.iter().fold(0_u32, |sum, digit| sum * 8 + u32::from(digit - b'0'));
                plain.push(u8::try_from(value).unwrap_or(b'?'));
                rest = &tail[3..];
            }
            _ => {
                plain.push(first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_taken_apart() {
        let line =
            b"36 35 0:52 / /mnt/a\\040b rw,nosuid shared:1 - fuse.grovefs a:1:/c\\040d rw,user_id=0";
        let mounted = Mounted {
            id: 36,
            device: "0:52".to_owned(),
            mountpoint: "/mnt/a b".into(),
            file_system: FILE_SYSTEM.to_owned(),
            source: "a:1:/c d".into(),
            options: ["rw,nosuid".to_owned(), "rw,user_id=0".to_owned()],
        };
        assert!(mounted.holds("/mnt/a b/c".as_ref()) && !mounted.holds("/mnt/a bc".as_ref()));
        assert_eq!(parse(line), [mounted]);
        assert_eq!(parse(b"\n36 35\n"), []);
    }
}
