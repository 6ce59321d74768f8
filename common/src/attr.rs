//! `Attr`: what `stat` shows; `SetAttr`: what a client may change of it.

use serde::{Deserialize, Serialize};

use crate::id::Ino;
use crate::time::Timestamp;

/// Permission bits with set-user-id, set-group-id and sticky: `0o7777`.
pub const PERMISSION_BITS: u16 = 0o7777;
pub const SET_USER_ID: u16 = 0o4000;
pub const SET_GROUP_ID: u16 = 0o2000;
pub const GROUP_EXECUTE: u16 = 0o0010;

/// What an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FileKind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Attr {
    pub ino: Ino,
    pub kind: FileKind,
    /// Below [`PERMISSION_BITS`].
    pub mode: u16,
    /// Of a directory: 2 and one for each sub-directory.
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    /// Of a device: its number as `stat` encodes it. Else 0.
    pub rdev: u32,
    /// Bytes; of a directory the number of entries; of a symlink the length of its target.
    pub size: u64,
    pub times: Times,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Times {
    pub atime: Timestamp,
    pub mtime: Timestamp,
    pub ctime: Timestamp,
}

impl Times {
    /// All three at once, as when an inode is made.
    #[must_use]
    pub fn all(at: Timestamp) -> Self {
        Self { atime: at, mtime: at, ctime: at }
    }
}

/// What is to change. `ctime` becomes the time of the request in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SetAttr {
    pub mode: Option<u16>,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub size: Option<u64>,
    pub atime: Option<Timestamp>,
    pub mtime: Option<Timestamp>,
    /// Clear set-user-id, and set-group-id of what its group may execute: somebody without
    /// privilege has written or truncated (FUSE_HANDLE_KILLPRIV_V2).
    pub kill_privileges: bool,
}

impl SetAttr {
    /// Carries the change out. Sizes of directories and symlinks are not for clients to set.
    pub fn apply(&self, attr: &mut Attr, ctime: Timestamp) {
        if let Some(mode) = self.mode {
            attr.mode = mode & PERMISSION_BITS;
        }
        if let Some(uid) = self.uid {
            attr.uid = uid;
        }
        if let Some(gid) = self.gid {
            attr.gid = gid;
        }
        if let (Some(size), FileKind::File) = (self.size, attr.kind) {
            attr.size = size;
            attr.times.mtime = ctime;
        }
        if let Some(atime) = self.atime {
            attr.times.atime = atime;
        }
        if let Some(mtime) = self.mtime {
            attr.times.mtime = mtime;
        }
        if self.kill_privileges {
            attr.mode = without_privileges(attr.mode);
        }
        attr.times.ctime = ctime;
    }
}

/// A mode as a write by an unprivileged process leaves it.
#[must_use]
pub fn without_privileges(mode: u16) -> u16 {
    let mode = mode & !SET_USER_ID;
    if mode & GROUP_EXECUTE == 0 { mode } else { mode & !SET_GROUP_ID }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Attr {
        Attr {
            ino: Ino(0x100),
            kind: FileKind::File,
            mode: 0o644,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            size: 10,
            times: Times::default(),
        }
    }

    #[test]
    fn truncating_sets_mtime_and_ctime() {
        let mut attr = file();
        SetAttr { size: Some(3), ..SetAttr::default() }.apply(&mut attr, Timestamp::from_secs(9));
        assert_eq!(attr.size, 3);
        assert_eq!(attr.times.mtime, Timestamp::from_secs(9));
        assert_eq!(attr.times.ctime, Timestamp::from_secs(9));
        assert_eq!(attr.times.atime, Timestamp::default());
    }

    #[test]
    fn set_group_id_without_group_execute_is_no_privilege() {
        assert_eq!(without_privileges(0o6755), 0o755);
        assert_eq!(without_privileges(0o6745), 0o2745);
    }
}
