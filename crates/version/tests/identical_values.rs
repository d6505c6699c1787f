//! A write that was retried under another dot shows once to readers, though both its dots are kept.

use bytes::Bytes;
use dynamo_version::{Actor, Causality, Dot, Mode, Payload, SiblingSet, Timestamp};
use proptest::{collection, prelude::*};

proptest! {
    #[test]
    fn values_are_the_distinct_live_ones_in_the_order_of_their_dots(
        payloads in collection::vec(prop_oneof![Just(None), "[ab]{0,1}".prop_map(Some)], 0..10),
    ) {
        let mut set = SiblingSet::new();
        let mut expected: Vec<Bytes> = Vec::new();
        for (counter, payload) in (1..).zip(&payloads) {
            let dot = Dot { actor: Actor { node: 1, incarnation: 1, key_epoch: 1 }, counter };
            let payload = payload.clone().map_or(Payload::Tombstone, |text| Payload::Value(Bytes::from(text)));
            if let Payload::Value(value) = &payload
                && !expected.contains(value)
            {
                expected.push(value.clone());
            }
            set.write(&Causality::new(), dot, Timestamp(counter), payload, Mode::Siblings);
        }
        prop_assert_eq!(set.siblings().len(), payloads.len());
        prop_assert_eq!(set.values().into_iter().cloned().collect::<Vec<_>>(), expected);
        prop_assert_eq!(set.is_deleted(), !payloads.is_empty() && payloads.iter().all(Option::is_none));
        prop_assert_eq!(set.max_timestamp(), Timestamp(payloads.len() as u64));
    }
}
