//! The key table: every key in the store, byte for byte. All numbers are big-endian, so that byte
//! order is the order of the values.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `dentries` | directory: ino 8 · hash of the name 8 · name 1–255 | `Linkage` |
//! | `dirs` | ino 8 · fragment: value 8, bits 1 | `Dir` |
//! | `inodes` | ino 8 | `Inode` |
//! | `orphans` | ino 8 | `Orphan` |
//! | `sessions` | client 8 | `StoredSession` |
//! | `completed` | client 8 · request 8 | empty |
//! | `notices` | client 8 · notice 8 | `Notice` |
//! | `held` | fragment 17 | migration 14 |
//! | `copied` | migration: exporter 2, incarnation 8, number 4 · fragment 17 | empty |
//! | `drop` | migration 14 · fragment 17 | empty, or the migration that held it 14 |
//! | `journal` | seq 8 | `Entry` |
//! | `meta` | a word, see [`super::superblock`] | by word |
//!
//! Values are `common::wire::encode` (postcard) of the type named, unless bytes are given.

use common::frag::Frag;
use common::id::{
    ClientId, DirFragId, Incarnation, Ino, MigrationId, NoticeId, Rank, RequestId, Seq,
};
use common::name::{Name, NameHash};
use mds_core::row::EntryKey;

/// The column families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    Dentries,
    Dirs,
    Inodes,
    Orphans,
    Sessions,
    Completed,
    Notices,
    Evicted,
    Held,
    Copied,
    Drop,
    Journal,
    Meta,
}

impl Family {
    pub const ALL: [Self; 13] = [
        Self::Dentries,
        Self::Dirs,
        Self::Inodes,
        Self::Orphans,
        Self::Sessions,
        Self::Completed,
        Self::Notices,
        Self::Evicted,
        Self::Held,
        Self::Copied,
        Self::Drop,
        Self::Journal,
        Self::Meta,
    ];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Dentries => "dentries",
            Self::Dirs => "dirs",
            Self::Inodes => "inodes",
            Self::Orphans => "orphans",
            Self::Sessions => "sessions",
            Self::Completed => "completed",
            Self::Notices => "notices",
            Self::Evicted => "evicted",
            Self::Held => "held",
            Self::Copied => "copied",
            Self::Drop => "drop",
            Self::Journal => "journal",
            Self::Meta => "meta",
        }
    }
}

/// A key that is not what its column family holds: the store is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key has an impossible form")]
pub struct MalformedKey;

const INO_BYTES: usize = 8;
const HASH_BYTES: usize = 8;
const FRAG_BYTES: usize = 17;
const MIGRATION_BYTES: usize = 14;

#[must_use]
pub fn entry(key: &EntryKey) -> Vec<u8> {
    let name = key.name.as_bytes();
    let mut bytes = Vec::with_capacity(INO_BYTES + HASH_BYTES + name.len());
    bytes.extend_from_slice(&key.dir.0.to_be_bytes());
    bytes.extend_from_slice(&key.hash.0.to_be_bytes());
    bytes.extend_from_slice(name);
    bytes
}

/// # Errors
/// The bytes are no such key.
pub fn parse_entry(bytes: &[u8]) -> Result<EntryKey, MalformedKey> {
    let (dir, rest) = take_u64(bytes)?;
    let (hash, name) = take_u64(rest)?;
    let name = Name::new(name).map_err(|_| MalformedKey)?;
    Ok(EntryKey { dir: Ino(dir), hash: NameHash(hash), name })
}

/// The first key a fragment's entries can have, and the first beyond them.
#[must_use]
pub fn entries_of(id: DirFragId) -> (Vec<u8>, Vec<u8>) {
    let (first, last) = id.frag.range();
    let begin = [id.ino.0.to_be_bytes(), first.0.to_be_bytes()].concat();
    let end = match last.0.checked_add(1) {
        Some(next) => [id.ino.0.to_be_bytes(), next.to_be_bytes()].concat(),
        None => (id.ino.0 + 1).to_be_bytes().to_vec(),
    };
    (begin, end)
}

#[must_use]
pub fn frag(id: DirFragId) -> [u8; FRAG_BYTES] {
    let mut bytes = [0; FRAG_BYTES];
    bytes[..8].copy_from_slice(&id.ino.0.to_be_bytes());
    bytes[8..16].copy_from_slice(&id.frag.range().0.0.to_be_bytes());
    bytes[16] = id.frag.bits();
    bytes
}

/// # Errors
/// The bytes are no such key.
pub fn parse_frag(bytes: &[u8]) -> Result<DirFragId, MalformedKey> {
    let (ino, rest) = take_u64(bytes)?;
    let (value, rest) = take_u64(rest)?;
    let &[bits] = rest else { return Err(MalformedKey) };
    let frag = Frag::containing(NameHash(value), bits).ok_or(MalformedKey)?;
    if frag.range().0.0 != value {
        return Err(MalformedKey);
    }
    Ok(DirFragId { ino: Ino(ino), frag })
}

#[must_use]
pub fn ino(ino: Ino) -> [u8; 8] {
    ino.0.to_be_bytes()
}

/// # Errors
/// The bytes are no such key.
pub fn parse_ino(bytes: &[u8]) -> Result<Ino, MalformedKey> {
    whole_u64(bytes).map(Ino)
}

#[must_use]
pub fn client(client: ClientId) -> [u8; 8] {
    client.0.to_be_bytes()
}

/// # Errors
/// The bytes are no such key.
pub fn parse_client(bytes: &[u8]) -> Result<ClientId, MalformedKey> {
    whole_u64(bytes).map(ClientId)
}

#[must_use]
pub fn completed(client: ClientId, id: RequestId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&client.0.to_be_bytes());
    bytes[8..].copy_from_slice(&id.0.to_be_bytes());
    bytes
}

/// # Errors
/// The bytes are no such key.
pub fn parse_completed(bytes: &[u8]) -> Result<(ClientId, RequestId), MalformedKey> {
    let (client, rest) = take_u64(bytes)?;
    Ok((ClientId(client), RequestId(whole_u64(rest)?)))
}

#[must_use]
pub fn notice(client: ClientId, id: NoticeId) -> [u8; 16] {
    completed(client, RequestId(id.0))
}

/// # Errors
/// The bytes are no such key.
pub fn parse_notice(bytes: &[u8]) -> Result<(ClientId, NoticeId), MalformedKey> {
    let (client, id) = parse_completed(bytes)?;
    Ok((client, NoticeId(id.0)))
}

#[must_use]
pub fn migration(id: MigrationId) -> [u8; MIGRATION_BYTES] {
    let mut bytes = [0; MIGRATION_BYTES];
    bytes[..2].copy_from_slice(&id.exporter.0.to_be_bytes());
    bytes[2..10].copy_from_slice(&id.incarnation.0.to_be_bytes());
    bytes[10..].copy_from_slice(&id.number.to_be_bytes());
    bytes
}

/// # Errors
/// The bytes are no such value.
pub fn parse_migration(bytes: &[u8]) -> Result<MigrationId, MalformedKey> {
    let (exporter, rest) = bytes.split_first_chunk().ok_or(MalformedKey)?;
    let (incarnation, rest) = take_u64(rest)?;
    let number = rest.try_into().map_err(|_| MalformedKey)?;
    Ok(MigrationId {
        exporter: Rank(u16::from_be_bytes(*exporter)),
        incarnation: Incarnation(incarnation),
        number: u32::from_be_bytes(number),
    })
}

/// Of `copied` and `drop`.
#[must_use]
pub fn migration_frag(id: MigrationId, frag_id: DirFragId) -> [u8; MIGRATION_BYTES + FRAG_BYTES] {
    let mut bytes = [0; MIGRATION_BYTES + FRAG_BYTES];
    bytes[..MIGRATION_BYTES].copy_from_slice(&migration(id));
    bytes[MIGRATION_BYTES..].copy_from_slice(&frag(frag_id));
    bytes
}

/// # Errors
/// The bytes are no such key.
pub fn parse_migration_frag(bytes: &[u8]) -> Result<(MigrationId, DirFragId), MalformedKey> {
    let (id, frag_id) = bytes.split_at_checked(MIGRATION_BYTES).ok_or(MalformedKey)?;
    Ok((parse_migration(id)?, parse_frag(frag_id)?))
}

#[must_use]
pub fn seq(seq: Seq) -> [u8; 8] {
    seq.0.to_be_bytes()
}

/// # Errors
/// The bytes are no such key.
pub fn parse_seq(bytes: &[u8]) -> Result<Seq, MalformedKey> {
    whole_u64(bytes).map(Seq)
}

fn take_u64(bytes: &[u8]) -> Result<(u64, &[u8]), MalformedKey> {
    let (number, rest) = bytes.split_first_chunk().ok_or(MalformedKey)?;
    Ok((u64::from_be_bytes(*number), rest))
}

fn whole_u64(bytes: &[u8]) -> Result<u64, MalformedKey> {
    let bytes = bytes.try_into().map_err(|_| MalformedKey)?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests;
