use super::*;

#[test]
fn an_ino_names_its_slot_and_counter() {
    let ino = Ino::new(Slot(0xffff), 0x123);
    assert_eq!((ino.slot(), ino.counter()), (Slot(0xffff), 0x123));
    assert_eq!(ino.0 >> 63, 0, "the sign bit stays free");
}

#[test]
fn the_root_is_of_slot_0() {
    assert_eq!(Ino::ROOT, Ino::new(Slot(0), 1));
}

#[test]
fn a_later_incarnation_counts_above_an_earlier_one() {
    assert!(Seq::first_of(Incarnation(2)) > Seq(Seq::first_of(Incarnation(1)).0 + 1_000_000_000));
}

#[test]
fn a_migration_id_reads_back_what_it_prints() {
    let id = MigrationId { exporter: Rank(2), incarnation: Incarnation(7), number: 19 };
    assert_eq!(id.to_string().parse(), Ok(id));
    for bad in ["", "1.2", "1.2.3.4", "a.2.3", "1.2.-3"] {
        assert_eq!(bad.parse::<MigrationId>(), Err(ParseMigrationIdError), "{bad}");
    }
}
