//! Every bound in one place, and the relations between them, checked at compile time.

use std::time::Duration;

/// Bytes of a file name, as on every Unix.
pub const NAME_BYTES_MAX: usize = 255;
/// Bytes of a symlink's target: `PATH_MAX` less its NUL.
pub const SYMLINK_BYTES_MAX: usize = 4095;
/// Names of one hard-linked file (ext4's bound).
pub const LINKS_MAX: u32 = 65_000;
/// Sub-directories of one directory: `nlink` must fit 32 bits.
pub const SUBDIRS_MAX: u32 = u32::MAX - 8;
/// Largest file: what a signed 64-bit offset can address.
pub const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// Bytes of the name of an extended attribute (`XATTR_NAME_MAX`).
pub const XATTR_NAME_BYTES_MAX: usize = 255;
/// Bytes of one value (`XATTR_SIZE_MAX`).
pub const XATTR_VALUE_BYTES_MAX: usize = 65_536;
/// Bytes of all names and values of one inode: it travels in one frame.
pub const XATTR_TOTAL_BYTES_MAX: usize = 256 * 1024;

/// Bytes of a frame on a control stream; a longer one ends the connection.
pub const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a frame on a bulk stream (rows of a migration).
pub const BULK_FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes of rows the sender puts into one bulk frame before it begins the next.
pub const BULK_CHUNK_BYTES: usize = 256 * 1024;

/// A session lives as long as its lease; the client renews it every [`LEASE_RENEW`].
pub const LEASE: Duration = Duration::from_secs(10);
pub const LEASE_RENEW: Duration = Duration::from_secs(2);
/// A daemon reports to the monitor every [`BEACON`] and is taken for dead after [`BEACON_GRACE`].
pub const BEACON: Duration = Duration::from_secs(1);
pub const BEACON_GRACE: Duration = Duration::from_secs(4);
/// What an operator may choose as grace.
pub const BEACON_GRACE_MIN: Duration = Duration::from_millis(2500);
pub const BEACON_GRACE_MAX: Duration = Duration::from_secs(7);
/// How long a restarted rank waits for the clients it knew.
pub const RECONNECT_WINDOW: Duration = LEASE;

/// How long a client may use what it was told, from when it had asked; changes are told to it meanwhile.
/// Also a process that is stopped holds nothing longer in its kernel's caches.
pub const CAPABILITY_TIME: Duration = Duration::from_secs(6);
/// How much longer a rank remembers: what a kernel is told it counts from a little later.
pub const CAPABILITY_MARGIN: Duration = Duration::from_secs(1);

/// Directories that a mount holds exclusively, and names in all of them: what is beyond is asked for.
pub const HELD_DIRS_MAX: usize = 65_536;
pub const HELD_NAMES_MAX: usize = 1 << 20;
/// Changes of one directory by which a mount begins to ask for it exclusively.
pub const HOLD_CHANGES: u32 = 2;
/// How long a mount does not ask for a directory that it was refused, or that somebody else has asked for.
pub const HOLD_REST: Duration = Duration::from_secs(2);
/// Changes that a mount has answered and that no rank has made yet: with more, whoever changes something waits.
/// Whoever looks at what they have changed waits for all of them.
pub const UNMADE_MAX: usize = 512;

/// Redirects of one request after which a client warns that routing does not settle.
pub const REDIRECTS_BEFORE_WARNING: u32 = 32;

/// Inode numbers lent to a session at a time, and how few may be left before it gets more.
pub const INO_RANGE: u64 = 4096;
pub const INO_RANGE_LOW: u64 = 1024;
/// Inode numbers a rank records as used at a time.
pub const INO_RESERVE: u64 = 1 << 20;

/// The least number of rows a rank may be told to keep in memory: what requests under way look at
/// together must fit several times over, or they would drive each other's rows out for ever.
pub const CACHE_ROWS_MIN: u64 = 100_000;

/// Entries in one answer to `readdir`.
pub const PAGE_ENTRIES_MAX: usize = 1024;
/// Bytes of names and attributes in one answer to `readdir`.
pub const PAGE_BYTES_MAX: usize = 256 * 1024;
/// Locked ranges of one file, of all mounts: they travel in one frame.
pub const FILE_LOCKS_MAX: usize = 4096;
/// Bytes of one of them, at most.
const FILE_LOCK_BYTES: usize = 48;
/// Whoever waits for a lock of a file for so long has other ranks asked whether it waits for itself.
pub const LOCK_PROBE: Duration = Duration::from_millis(500);
/// Pins given back in one request.
pub const FORGET_ITEMS_MAX: usize = 4096;

/// Directories on the way up from one. What is known of others' directories may be of different ages, so a
/// way up may lead in a circle: a longer one does.
pub const PATH_DIRS_MAX: usize = 1 << 16;
/// Counters that all ranks hear of: epochs and nonces. None comes so far by counting: a higher one that
/// somebody names is no number to go on from.
pub const SHARED_COUNTER_MAX: u64 = 1 << 62;

/// How often a rank gives back spine replicas that it does not need.
pub const SPINE_TRIM: Duration = Duration::from_secs(5);

/// Attempts to migrate of which a rank keeps the record, also over its restarts.
pub const MIGRATION_RECORDS_MAX: usize = 256;

/// Messages queued to one client or peer; a receiver that far behind is disconnected.
pub const OUTBOX_MESSAGES_MAX: usize = 64 * 1024;
/// Inputs waiting for the core; connections stop being read when it is full.
pub const INBOX_MESSAGES_MAX: usize = 16 * 1024;
/// Inputs handled in one turn.
pub const TURN_INPUTS_MAX: usize = 512;

const _: () = assert!(LEASE.as_millis() > 2 * LEASE_RENEW.as_millis());
const _: () =
    assert!(CAPABILITY_TIME.as_millis() + CAPABILITY_MARGIN.as_millis() < LEASE.as_millis());
const _: () = assert!(BEACON_GRACE.as_millis() + LEASE_RENEW.as_millis() < LEASE.as_millis());
const _: () = assert!(BEACON_GRACE_MAX.as_millis() + LEASE_RENEW.as_millis() < LEASE.as_millis());
const _: () = assert!(BEACON_GRACE_MIN.as_millis() > 2 * BEACON.as_millis());
const _: () = assert!(BEACON_GRACE_MIN.as_millis() <= BEACON_GRACE.as_millis());
const _: () = assert!(BEACON_GRACE.as_millis() <= BEACON_GRACE_MAX.as_millis());
const _: () = assert!(XATTR_TOTAL_BYTES_MAX + NAME_BYTES_MAX + SYMLINK_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(XATTR_NAME_BYTES_MAX + XATTR_VALUE_BYTES_MAX < XATTR_TOTAL_BYTES_MAX);
const _: () = assert!(PAGE_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(FILE_LOCKS_MAX * FILE_LOCK_BYTES < BULK_CHUNK_BYTES);
const _: () = assert!(BULK_CHUNK_BYTES + XATTR_TOTAL_BYTES_MAX < BULK_FRAME_BYTES_MAX);
const _: () = assert!(INO_RANGE_LOW < INO_RANGE && INO_RANGE < INO_RESERVE);
