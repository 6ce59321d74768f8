//! A file system that does nothing but keep its tree in memory, mounted exactly as a GroveFS mount
//! is: same mount options, same init flags, same ENOSYS answers, same lifetimes in the kernel's
//! caches. What a workload reaches on it is what FUSE leaves to anybody.

mod fuse;
mod tree;

pub use fuse::NullFs;
