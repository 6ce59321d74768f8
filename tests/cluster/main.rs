//! Real daemons, real mounts, the real kernel. Needs root, `/dev/fuse` and the release binaries
//! (`cargo build --release -p mds -p client-fuse`).

mod bad_input;
mod failover;
mod malformed;
mod migration;
mod posix;
mod restart;
mod routing;
mod smoke;
