//! What the kernel is asked for when the file system is mounted.

use fuser::{InitFlags, KernelConfig};

use crate::fuse::convert;

/// Bytes of one READ or WRITE.
const IO_BYTES_MAX: u32 = 1024 * 1024;
/// Requests of readahead and the like that the kernel keeps under way.
const BACKGROUND_MAX: u16 = 64;

/// What a mount's options choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    pub locks: Locks,
    pub acl: Acl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locks {
    /// OPEN, CREATE, FLUSH and locks of byte ranges reach us.
    Cluster,
    /// They do not: faster, and errors surface at fsync alone.
    Local,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acl {
    On,
    /// No POSIX ACLs on this mount: the kernel asks for none, and applies the umask itself.
    Off,
}

impl Profile {
    /// Asks the kernel for what a mount of this profile wants, as far as it has it.
    ///
    /// Never wanted: `WRITEBACK_CACHE` (the kernel then ignores sizes from us), `ATOMIC_O_TRUNC`,
    /// `EXPORT_SUPPORT`, `SETXATTR_EXT`, and `FLOCK_LOCKS`: fuser does not tell which kind of lock is meant.
    pub fn negotiate(self, config: &mut KernelConfig) {
        let mut wanted = InitFlags::FUSE_PARALLEL_DIROPS
            | InitFlags::FUSE_DO_READDIRPLUS
            | InitFlags::FUSE_READDIRPLUS_AUTO
            | InitFlags::FUSE_MAX_PAGES
            | InitFlags::FUSE_CACHE_SYMLINKS
            | InitFlags::FUSE_HANDLE_KILLPRIV_V2
            | InitFlags::FUSE_AUTO_INVAL_DATA
            | InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP
            | InitFlags::FUSE_NO_OPENDIR_SUPPORT;
        if self.acl == Acl::On {
            wanted |= InitFlags::FUSE_POSIX_ACL | InitFlags::FUSE_DONT_MASK;
        }
        wanted |= match self.locks {
            Locks::Cluster => InitFlags::FUSE_POSIX_LOCKS,
            Locks::Local => InitFlags::FUSE_NO_OPEN_SUPPORT,
        };
        if let Err(missing) = config.add_capabilities(wanted) {
            tracing::warn!(?missing, "this kernel lacks something; it works, but not as well");
            // What is left was found to be supported.
            let _ = config.add_capabilities(wanted & !missing);
        }
        // Both are within the bounds that would be refused.
        let _ = config.set_max_write(IO_BYTES_MAX);
        let _ = config.set_max_background(BACKGROUND_MAX);
    }

    /// The umask is ours to apply only if the kernel leaves it to us.
    #[must_use]
    pub fn umask(self, umask: u32) -> u16 {
        match self.acl {
            Acl::On => convert::permissions(umask),
            Acl::Off => 0,
        }
    }
}
