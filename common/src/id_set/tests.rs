use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn behaves_as_a_set_of_numbers(steps in prop::collection::vec((0u64..64, prop::bool::ANY), 0..200)) {
        let mut set = IdSet::default();
        let mut model = BTreeSet::new();
        for (id, trim) in steps {
            if trim {
                set.trim_below(RequestId(id / 4));
                model.retain(|kept| *kept >= id / 4);
            } else {
                prop_assert_eq!(set.insert(RequestId(id)), model.insert(id));
            }
            let ids: Vec<u64> = set.iter().map(|id| id.0).collect();
            prop_assert_eq!(ids, model.iter().copied().collect::<Vec<_>>());
        }
        for id in 0..64 {
            prop_assert_eq!(set.contains(RequestId(id)), model.contains(&id));
        }
    }
}

#[test]
fn ids_in_order_are_one_interval() {
    let set: IdSet = (1..=1000).map(RequestId).collect();
    assert_eq!(set.intervals(), 1);
}

#[test]
fn the_ends_of_the_range_are_ids_too() {
    let set: IdSet = [RequestId(0), RequestId(u64::MAX)].into_iter().collect();
    assert!(set.contains(RequestId(0)) && set.contains(RequestId(u64::MAX)));
    assert_eq!(set.intervals(), 2);
}
