use super::*;

const MIGRATION: MigrationId =
    MigrationId { exporter: Rank(3), incarnation: Incarnation(0x0102), number: 7 };

fn entry_key(dir: u64, hash: u64, name: &[u8]) -> EntryKey {
    EntryKey { dir: Ino(dir), hash: NameHash(hash), name: Name::new(name).unwrap() }
}

fn part(value: u64, bits: u8) -> DirFragId {
    DirFragId { ino: Ino(5), frag: Frag::containing(NameHash(value), bits).unwrap() }
}

#[test]
fn entry_is_dir_hash_name() {
    let key = entry_key(0x11, 0x2233, b"ab");
    let bytes = entry(&key);
    assert_eq!(bytes, b"\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\x22\x33ab");
    assert_eq!(parse_entry(&bytes), Ok(key));
    assert_eq!(parse_entry(&bytes[..16]), Err(MalformedKey), "no name");
    assert_eq!(parse_entry(&bytes[..15]), Err(MalformedKey));
}

#[test]
fn entries_are_ordered_by_dir_then_hash_then_name() {
    let keys = [
        entry_key(1, 0, b"z"),
        entry_key(1, 1, b"b"),
        entry_key(1, 256, b"a"),
        entry_key(1, u64::MAX, b"a"),
        entry_key(1, u64::MAX, b"aa"),
        entry_key(1, u64::MAX, b"b"),
        entry_key(2, 0, b"a"),
        entry_key(1 << 62, 0, b"a"),
    ];
    assert!(keys.is_sorted(), "as the core orders them");
    assert!(keys.iter().map(entry).is_sorted(), "and as the store does");
}

#[test]
fn a_fragments_entries_are_one_range() {
    let half = 1 << 63;
    let (begin, end) = entries_of(part(0, 1));
    assert!(begin <= entry(&entry_key(5, 0, b"\x01")));
    assert!(entry(&entry_key(5, half - 1, &[0xff; 255])) < end);
    assert_eq!(end, entries_of(part(half, 1)).0, "the next one begins there");

    let (_, end) = entries_of(DirFragId::whole(Ino(5)));
    assert!(entry(&entry_key(5, u64::MAX, &[0xff; 255])) < end);
    assert!(end <= entry(&entry_key(6, 0, b"\x01")));
}

#[test]
fn frag_is_ino_value_bits() {
    let id = part(1 << 63, 1);
    let bytes = frag(id);
    assert_eq!(bytes, *b"\0\0\0\0\0\0\0\x05\x80\0\0\0\0\0\0\0\x01");
    assert_eq!(parse_frag(&bytes), Ok(id));
    assert_eq!(parse_frag(&bytes[..16]), Err(MalformedKey));
    let mut impossible = bytes;
    impossible[16] = 0;
    assert_eq!(parse_frag(&impossible), Err(MalformedKey), "a value longer than its bits");
    impossible[16] = 65;
    assert_eq!(parse_frag(&impossible), Err(MalformedKey));
}

#[test]
fn ino_client_and_seq_are_their_number() {
    assert_eq!(ino(Ino(0x0102)), *b"\0\0\0\0\0\0\x01\x02");
    assert_eq!(parse_ino(&ino(Ino(0x0102))), Ok(Ino(0x0102)));
    assert_eq!(parse_client(&client(ClientId(9))), Ok(ClientId(9)));
    assert_eq!(parse_seq(&seq(Seq(1 << 40))), Ok(Seq(1 << 40)));
    assert_eq!(parse_seq(b"short"), Err(MalformedKey));
}

#[test]
fn completed_is_client_request() {
    let bytes = completed(ClientId(1), RequestId(2));
    assert_eq!(bytes, *b"\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x02");
    assert_eq!(parse_completed(&bytes), Ok((ClientId(1), RequestId(2))));
}

#[test]
fn migration_is_exporter_incarnation_number() {
    let bytes = migration(MIGRATION);
    assert_eq!(bytes, *b"\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x07");
    assert_eq!(parse_migration(&bytes), Ok(MIGRATION));
    assert_eq!(parse_migration(&bytes[..13]), Err(MalformedKey));
}

#[test]
fn copied_and_drop_are_migration_frag() {
    let bytes = migration_frag(MIGRATION, part(0, 0));
    assert_eq!(bytes[..14], migration(MIGRATION));
    assert_eq!(bytes[14..], frag(part(0, 0)));
    assert_eq!(parse_migration_frag(&bytes), Ok((MIGRATION, part(0, 0))));
}

#[test]
fn families_have_names_of_their_own() {
    let names: std::collections::BTreeSet<&str> = Family::ALL.map(Family::name).into();
    assert_eq!(names.len(), Family::ALL.len());
}
