//! What a directory's default ACL makes of a new entry's mode and ACLs (acl(5), "Object creation and default
//! ACLs").
//!
//! The kernel hands mode and umask apart (`FUSE_DONT_MASK`): where the directory has a default
//! ACL, that takes the umask's place.

use crate::attr::PERMISSION_BITS;
use crate::wire::request::{XattrName, XattrValue, Xattrs};

/// The extended attribute that holds who may do what.
pub const ACCESS: &[u8] = b"system.posix_acl_access";
/// The one of a directory that holds what is made in it begins with.
pub const DEFAULT: &[u8] = b"system.posix_acl_default";

/// Version of the attribute's layout: a little-endian header, then entries.
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;

const USER_OBJ: u16 = 0x01;
const GROUP_OBJ: u16 = 0x04;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;
/// Entries that say nothing which the mode does not say.
const IN_MODE: [u16; 3] = [USER_OBJ, GROUP_OBJ, OTHER];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AclEntry {
    tag: u16,
    permissions: u16,
    id: u32,
}

/// What a new entry begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inherited {
    pub mode: u16,
    pub xattrs: Xattrs,
}

/// What is made, as far as ACLs care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    Directory,
    Other,
}

/// `default`: the directory's default ACL, if it has one. What is no ACL counts as none.
#[must_use]
pub fn inherit(default: Option<&XattrValue>, mode: u16, umask: u16, made: Made) -> Inherited {
    let entries = default.and_then(|value| parse(&value.0));
    let (Some(default), Some(mut entries)) = (default, entries) else {
        return Inherited { mode: mode & !umask & PERMISSION_BITS, xattrs: Xattrs::new() };
    };
    let mode = restrict(&mut entries, mode);
    let mut xattrs = Xattrs::new();
    if entries.iter().any(|entry| !IN_MODE.contains(&entry.tag)) {
        xattrs.insert(XattrName(ACCESS.into()), XattrValue(print(&entries)));
    }
    if made == Made::Directory {
        xattrs.insert(XattrName(DEFAULT.into()), default.clone());
    }
    Inherited { mode, xattrs }
}

/// Takes from owner, group class and others what the mode does not grant them, and says which mode
/// comes of it.
fn restrict(entries: &mut [AclEntry], mode: u16) -> u16 {
    let group_class = if entries.iter().any(|entry| entry.tag == MASK) { MASK } else { GROUP_OBJ };
    let mut result = mode & PERMISSION_BITS & !0o777;
    for entry in entries {
        let shift = match entry.tag {
            USER_OBJ => 6,
            tag if tag == group_class => 3,
            OTHER => 0,
            _ => continue,
        };
        entry.permissions &= (mode >> shift) & 0o7;
        result |= entry.permissions << shift;
    }
    result
}

/// `None`: not an ACL as we know it.
fn parse(value: &[u8]) -> Option<Vec<AclEntry>> {
    let (header, rest) = value.split_first_chunk::<HEADER_BYTES>()?;
    if u32::from_le_bytes(*header) != VERSION || rest.len() % ENTRY_BYTES != 0 {
        return None;
    }
    let entries: Vec<AclEntry> = rest
        .chunks_exact(ENTRY_BYTES)
        .map(|entry| AclEntry {
            tag: u16::from_le_bytes([entry[0], entry[1]]),
            permissions: u16::from_le_bytes([entry[2], entry[3]]),
            id: u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]),
        })
        .collect();
    (!entries.is_empty()).then_some(entries)
}

fn print(entries: &[AclEntry]) -> Box<[u8]> {
    let mut value = VERSION.to_le_bytes().to_vec();
    for entry in entries {
        value.extend_from_slice(&entry.tag.to_le_bytes());
        value.extend_from_slice(&entry.permissions.to_le_bytes());
        value.extend_from_slice(&entry.id.to_le_bytes());
    }
    value.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: u16 = 0x02;
    const NOBODY: u32 = u32::MAX;

    fn acl(entries: &[(u16, u16, u32)]) -> XattrValue {
        let entries: Vec<AclEntry> = entries
            .iter()
            .map(|&(tag, permissions, id)| AclEntry { tag, permissions, id })
            .collect();
        XattrValue(print(&entries))
    }

    #[test]
    fn without_a_default_acl_the_umask_counts() {
        let made = inherit(None, 0o100_666 & 0o7777, 0o027, Made::Other);
        assert_eq!(made, Inherited { mode: 0o640, xattrs: Xattrs::new() });
    }

    #[test]
    fn a_default_acl_takes_the_place_of_the_umask() {
        let default = acl(&[
            (USER_OBJ, 7, NOBODY),
            (USER, 7, 1000),
            (GROUP_OBJ, 5, NOBODY),
            (MASK, 7, NOBODY),
            (OTHER, 0, NOBODY),
        ]);
        let made = inherit(Some(&default), 0o666, 0o077, Made::Other);
        assert_eq!(made.mode, 0o660);
        let access = acl(&[
            (USER_OBJ, 6, NOBODY),
            (USER, 7, 1000),
            (GROUP_OBJ, 5, NOBODY),
            (MASK, 6, NOBODY),
            (OTHER, 0, NOBODY),
        ]);
        assert_eq!(made.xattrs, [(XattrName(ACCESS.into()), access)].into());
    }

    #[test]
    fn a_directory_hands_its_default_acl_down() {
        let default = acl(&[(USER_OBJ, 7, NOBODY), (GROUP_OBJ, 5, NOBODY), (OTHER, 1, NOBODY)]);
        let made = inherit(Some(&default), 0o777, 0o077, Made::Directory);
        assert_eq!(made.mode, 0o751);
        assert_eq!(made.xattrs, [(XattrName(DEFAULT.into()), default)].into());
    }

    #[test]
    fn what_is_no_acl_is_no_default() {
        for garbage in [&b""[..], b"\x01\0\0\0", b"\x02\0\0\0\x01"] {
            let made = inherit(Some(&XattrValue(garbage.into())), 0o777, 0o022, Made::Other);
            assert_eq!(made.mode, 0o755);
        }
    }
}
