//! What an `Mds` makes of a map.

use common::mds_map::RankEntry;

use super::*;

fn a_rank() -> Params {
    let key = common::name::NameHashKey(1, 2);
    Params::new(Rank(0), common::id::Slot(0), Incarnation(1), ClusterId(7), key)
}

/// A life that no map has shown has ended all the same.
#[test]
fn deaths_are_seen_over_skipped_maps() {
    use RankState::{Active, Down};
    let map = |incarnation, state| {
        let mut map = no_map(ClusterId(7), &a_rank());
        let addr = ([127, 0, 0, 1], 1).into();
        let incarnation = Incarnation(incarnation);
        let entry = RankEntry { daemon: String::new(), incarnation, addr, state };
        map.ranks.insert(Rank(1), entry);
        map
    };
    for (old, new, died) in [
        (map(1, Active), map(1, Active), false),
        (map(1, Active), map(1, Down), true),
        (map(1, Active), map(2, Active), true),
        (map(1, Down), map(1, Down), false),
        (map(1, Down), map(2, Active), false),
        (map(1, Down), map(2, Down), true),
        (map(1, Down), map(3, Active), true),
    ] {
        assert_eq!(!deaths(&old, &new, Rank(0)).is_empty(), died, "{old:?} {new:?}");
    }
}
