//! Real daemons, real mounts, the real kernel. Needs root, `/dev/fuse` and the release binaries
//! (`cargo build --release -p mds -p client-fuse`).

mod bad_input;
mod clients;
mod coherence;
mod failover;
mod file_locks;
mod fsck;
mod kill_points;
mod leash;
mod load;
mod lost_rank;
mod malformed;
mod migration;
mod mounting;
mod old_life;
mod posix;
mod recovery_time;
mod reference;
mod restart;
mod routing;
mod smoke;
mod soak;
mod unmade;
mod waiting;
