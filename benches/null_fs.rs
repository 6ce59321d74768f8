//! A file system that does nothing but keep its tree in memory, mounted exactly as a GroveFS mount
//! is: same mount options, same init flags, same ENOSYS answers, same lifetimes in the kernel's
//! caches. What a workload reaches on it is what FUSE leaves to anybody.

mod fuse;
mod tree;

pub use fuse::NullFs;

/// As the mount option `locks=` of GroveFS: which upcalls there are at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Locks {
    /// OPEN, CREATE and FLUSH are answered.
    Cluster,
    /// They are answered ENOSYS, once.
    Local,
}

/// As the mount option `acl=` of GroveFS: whether the kernel asks for POSIX ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Acl {
    On,
    Off,
}
