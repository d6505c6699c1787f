//! Last-write-wins buckets: one version stands, and no acknowledged write was stamped later or follows it causally.

use super::{Evidence, Violation};
use crate::history::{Collected, WriteId, WriteOutcome};

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    if evidence.terms.may_lose {
        return None;
    }
    evidence.keys().filter(|key| evidence.bucket(*key).last_write_wins).find_map(|key| one(evidence, key))
}

fn one(evidence: &Evidence<'_>, key: u16) -> Option<Violation> {
    let history = evidence.history;
    let violation = |what: String| Some(Violation::new("latest", Some(key), what));
    let standing = &evidence.ending(key).standing;
    if standing.len() > 1 {
        return violation(format!("{standing:?} stand, and only the latest may"));
    }
    let made_at = |write: WriteId| history.write(write).minted.map(|minted| minted.at_us);
    let stamp = |write: WriteId| history.write(write).minted.map(|minted| (minted.timestamp, minted.dot));
    let last = standing.first().map(|write| (stamp(*write), history.past_of(&[*write]), made_at(*write)));
    let acknowledged = |write: &&WriteId| history.write(**write).outcome == WriteOutcome::Acknowledged;
    let collected = history.collected.get(&key).map(Vec::as_slice).unwrap_or_default();
    let last_delete = collected.iter().map(|delete| (delete.timestamp, delete.dot)).max();
    let lost = |write: &&WriteId| match &last {
        // The latest was a delete, and it was collected.
        None => stamp(**write) > last_delete,
        // One that lost at once, to something later that was there already, has no stamp of its own.
        Some((winner, past, won_at)) => {
            let own = stamp(**write).filter(|(timestamp, _)| timestamp.0 > 0);
            // A delete that all homes had was collected: what was written after that stands, however it is stamped.
            let deleted = |delete: &Collected| {
                Some(delete.at_us) < *won_at && Some((delete.timestamp, delete.dot)) >= stamp(**write)
            };
            let beaten = past.binary_search(write).is_err() && own.is_some() && own > *winner;
            beaten && !collected.iter().any(deleted)
        }
    };
    let write = evidence.writes(key).iter().filter(acknowledged).find(lost)?;
    violation(format!("write {write} was acknowledged and is later than what stands: {standing:?}"))
}

#[cfg(test)]
mod tests {
    use dynamo_version::{Actor, Dot, Timestamp};

    use super::{
        super::tests::{ending, terms},
        *,
    };
    use crate::{
        history::{History, Minted, WriteRecord, tests as histories},
        terms::Bucket,
    };

    #[test]
    fn an_earlier_one_must_not_stand_nor_two() {
        let terms = terms(Bucket::LATEST);
        let mut history = histories::history(&[&[], &[]]);
        for (write, stamp) in [(0, 20), (1, 10)] {
            let dot = Dot { actor: Actor { node: 1, incarnation: 1, key_epoch: 1 }, counter: u64::from(write) + 1 };
            history.minted(write, Minted { dot, timestamp: Timestamp(stamp), at_us: 0 });
        }
        let found = |standing: &[u32]| check(&Evidence::new(&terms, &history, &ending(standing)));
        assert_eq!(found(&[0]), None);
        assert!(found(&[1]).unwrap().what.contains("write 0"));
        assert!(found(&[0, 1]).unwrap().what.contains("only the latest"));
        assert!(found(&[]).is_some());
    }

    #[test]
    fn nothing_stands_only_where_the_latest_was_a_delete_that_was_collected() {
        let terms = terms(Bucket::LATEST);
        let dot = |counter| Dot { actor: Actor { node: 1, incarnation: 1, key_epoch: 1 }, counter };
        let found = |collected: Option<u64>| {
            let mut history = histories::history(&[&[], &[]]);
            history.writes[1].delete = true;
            for (write, stamp) in [(0, 10), (1, 20)] {
                let minted = Minted { dot: dot(u64::from(write) + 1), timestamp: Timestamp(stamp), at_us: 0 };
                history.minted(write, minted);
            }
            let collects = |stamp| Collected { timestamp: Timestamp(stamp), dot: dot(2), at_us: 5 };
            collected.into_iter().for_each(|stamp| history.collects(0, collects(stamp)));
            check(&Evidence::new(&terms, &history, &ending(&[])))
        };
        assert_eq!(found(Some(20)), None);
        assert!(found(Some(9)).is_some(), "the write was later than what was collected");
        assert!(found(None).is_some(), "nothing was collected");
    }

    #[test]
    fn what_came_after_a_collected_delete_may_stand_with_an_earlier_stamp() {
        let terms = terms(Bucket::LATEST);
        let actor = Actor { node: 1, incarnation: 1, key_epoch: 1 };
        let stands = |made_at, collected_at: Option<u64>| {
            let mut history = History::default();
            for (number, stamp, at_us) in [(1, 20, 5), (2, 10, made_at)] {
                let outcome = WriteOutcome::Acknowledged;
                let write = WriteRecord { delete: number == 1, outcome, ..histories::write(&[]) };
                let write = history.begin_write(write);
                let dot = Dot { actor, counter: number };
                history.minted(write, Minted { dot, timestamp: Timestamp(stamp), at_us });
            }
            let dot = Dot { actor, counter: 1 };
            let collected = collected_at.map(|at_us| Collected { timestamp: Timestamp(20), dot, at_us });
            collected.into_iter().for_each(|collected| history.collects(0, collected));
            check(&Evidence::new(&terms, &history, &ending(&[1])))
        };
        assert_eq!(stands(8, Some(7)), None);
        assert!(stands(6, Some(7)).is_some(), "it was there before the delete went");
        assert!(stands(8, None).is_some(), "the delete was never collected: it has to stand");
    }
}
