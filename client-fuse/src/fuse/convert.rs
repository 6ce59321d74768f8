//! Between the kernel's values and ours.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use client_core::Call;
use common::attr::{Attr, FileKind, PERMISSION_BITS};
use common::id::Ino;
use common::name::Name;
use common::time::Timestamp;
use common::wire::request::{IfExists, Node, RenameMode, XattrSet};
use fuser::{FileAttr, FileType, FopenFlags, INodeNo, RenameFlags, TimeOrNow};

use crate::client::timestamp;

/// What `stat` counts in.
const BLOCK_BYTES: u64 = 512;
/// A good size for reads and writes.
const PREFERRED_BYTES: u32 = 128 * 1024;

pub(super) fn permissions(mode: u32) -> u16 {
    u16::try_from(mode & u32::from(PERMISSION_BITS)).expect("masked to 12 bits")
}

/// How the kernel uses a handle, opened with `open(2)`'s flags. Through its pages it would send what is
/// appended in pieces, and keep them where it believes the end to be.
pub(super) fn handle_flags(flags: i32) -> FopenFlags {
    if flags & libc::O_APPEND != 0 { FopenFlags::FOPEN_DIRECT_IO } else { FopenFlags::empty() }
}

/// What MKNOD is to make; `None` for what it cannot.
pub(super) fn node(mode: u32, rdev: u32) -> Option<Node> {
    match mode & libc::S_IFMT {
        libc::S_IFREG => Some(Node::File),
        libc::S_IFIFO => Some(Node::Fifo),
        libc::S_IFSOCK => Some(Node::Socket),
        libc::S_IFCHR => Some(Node::CharDevice(rdev)),
        libc::S_IFBLK => Some(Node::BlockDevice(rdev)),
        _ => None,
    }
}

pub(super) fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::File => FileType::RegularFile,
        FileKind::Dir => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::Fifo => FileType::NamedPipe,
        FileKind::Socket => FileType::Socket,
        FileKind::CharDevice => FileType::CharDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
    }
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(attr.ino.0),
        size: attr.size,
        blocks: match attr.kind {
            FileKind::File => attr.size.div_ceil(BLOCK_BYTES),
            FileKind::Dir
            | FileKind::Symlink
            | FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharDevice
            | FileKind::BlockDevice => 0,
        },
        atime: system_time(attr.times.atime),
        mtime: system_time(attr.times.mtime),
        ctime: system_time(attr.times.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(attr.kind),
        perm: attr.mode,
        nlink: attr.nlink,
        uid: attr.uid,
        gid: attr.gid,
        rdev: attr.rdev,
        blksize: PREFERRED_BYTES,
        flags: 0,
    }
}

fn system_time(time: Timestamp) -> SystemTime {
    let whole = Duration::from_secs(time.secs.unsigned_abs());
    let whole =
        if time.secs < 0 { UNIX_EPOCH.checked_sub(whole) } else { UNIX_EPOCH.checked_add(whole) };
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

/// The time that SETATTR asks for. fuser takes nanoseconds before 1970 for negative ones: that is
/// undone here.
pub(super) fn asked_time(time: TimeOrNow) -> Timestamp {
    let time = match time {
        TimeOrNow::Now => return timestamp(SystemTime::now()),
        TimeOrNow::SpecificTime(time) => time,
    };
    match time.duration_since(UNIX_EPOCH) {
        Ok(_) => timestamp(time),
        Err(before) => {
            let before = before.duration();
            let secs = 0_i64.checked_sub_unsigned(before.as_secs()).unwrap_or(i64::MIN);
            Timestamp { secs, nanos: before.subsec_nanos() }
        }
    }
}

/// Makes something new; `modes`: permission bits, and what is taken from them.
pub(super) fn create(dir: INodeNo, name: Name, node: Node, (mode, umask): (u16, u16)) -> Call {
    Call::Create { dir: Ino(dir.0), name, node, mode, umask, existing: IfExists::Refuse }
}

/// `None`: flags that Linux does not send to a file system of ours.
pub(super) fn rename_mode(flags: RenameFlags) -> Option<RenameMode> {
    let known = [
        (RenameFlags::empty(), RenameMode::Replace),
        (RenameFlags::RENAME_NOREPLACE, RenameMode::NoReplace),
        (RenameFlags::RENAME_EXCHANGE, RenameMode::Exchange),
    ];
    known.into_iter().find(|(known, _)| *known == flags).map(|(_, mode)| mode)
}

/// `None`: flags that `setxattr(2)` does not know.
pub(super) fn xattr_mode(flags: i32) -> Option<XattrSet> {
    match flags {
        0 => Some(XattrSet::Any),
        libc::XATTR_CREATE => Some(XattrSet::Create),
        libc::XATTR_REPLACE => Some(XattrSet::Replace),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kernel_says(secs: i64, nanos: u32) -> SystemTime {
        // As fuser converts it.
        if secs >= 0 {
            UNIX_EPOCH + Duration::new(secs.unsigned_abs(), nanos)
        } else {
            UNIX_EPOCH - Duration::new(secs.unsigned_abs(), nanos)
        }
    }

    #[test]
    fn times_before_1970_arrive_as_they_were_meant() {
        for (secs, nanos) in [(0, 5), (-1, 500_000_000), (-2, 0), (i64::MIN, 0), (i64::MAX, 9)] {
            let asked = asked_time(TimeOrNow::SpecificTime(kernel_says(secs, nanos)));
            assert_eq!(asked, Timestamp { secs, nanos });
        }
    }

    #[test]
    fn no_time_is_too_extreme_to_be_shown() {
        for secs in [i64::MIN, -1, 0, i64::MAX] {
            let time = system_time(Timestamp { secs, nanos: 999_999_999 });
            if secs == -1 {
                assert_eq!(timestamp(time), Timestamp { secs, nanos: 999_999_999 });
            }
        }
    }

    #[test]
    fn mknod_makes_no_directories() {
        assert_eq!(node(libc::S_IFDIR | 0o755, 0), None);
        assert_eq!(node(libc::S_IFREG | 0o644, 7), Some(Node::File));
        assert_eq!(node(libc::S_IFCHR, 0x103), Some(Node::CharDevice(0x103)));
    }
}
