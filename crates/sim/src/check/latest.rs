//! Last-write-wins buckets: one version stands, and no acknowledged write was stamped later or follows it causally.

use super::{Evidence, Violation};
use crate::history::{WriteId, WriteOutcome};

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    if evidence.plan.may_lose() {
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
    let last_delete =
        evidence.writes(key).iter().filter(|write| history.write(**write).delete).map(|write| stamp(*write)).max();
    let lost = |write: &&WriteId| match &last {
        // The latest was a delete, and it was collected.
        None => stamp(**write) > last_delete.flatten(),
        // One that lost at once, to something later that was there already, has no stamp of its own.
        Some((winner, past, won_at)) => {
            let own = stamp(**write).filter(|(timestamp, _)| timestamp.0 > 0);
            // A delete that all homes had was collected: what was written after that stands, however it is stamped.
            let deleted = |other: &WriteId| {
                history.write(*other).delete && made_at(*other) < *won_at && stamp(*other) >= stamp(**write)
            };
            let beaten = past.binary_search(write).is_err() && own.is_some() && own > *winner;
            beaten && !evidence.writes(key).iter().any(deleted)
        }
    };
    let write = evidence.writes(key).iter().filter(acknowledged).find(lost)?;
    violation(format!("write {write} was acknowledged and is later than what stands: {standing:?}"))
}

#[cfg(test)]
mod tests {
    use dynamo_version::{Actor, Dot, Timestamp};

    use super::{
        super::tests::{ending, plan},
        *,
    };
    use crate::{
        history::{History, Minted, WriteRecord, tests as histories},
        plan::BucketPlan,
    };

    #[test]
    fn an_earlier_one_must_not_stand_nor_two() {
        let plan = plan(BucketPlan::LATEST);
        let mut history = histories::history(&[&[], &[]]);
        for (write, stamp) in [(0, 20), (1, 10)] {
            let dot = Dot { actor: Actor { node: 1, incarnation: 1, key_epoch: 1 }, counter: u64::from(write) + 1 };
            history.minted(write, Minted { dot, timestamp: Timestamp(stamp), at_us: 0 });
        }
        let found = |standing: &[u32]| check(&Evidence::new(&plan, &history, &ending(standing)));
        assert_eq!(found(&[0]), None);
        assert!(found(&[1]).unwrap().what.contains("write 0"));
        assert!(found(&[0, 1]).unwrap().what.contains("only the latest"));
        assert!(found(&[]).is_some());
    }

    #[test]
    fn what_came_after_a_collected_delete_may_stand_with_an_earlier_stamp() {
        let plan = plan(BucketPlan::LATEST);
        let actor = Actor { node: 1, incarnation: 1, key_epoch: 1 };
        let stands = |made_at| {
            let mut history = History::default();
            for (number, stamp, at_us) in [(1, 20, 5), (2, 10, made_at)] {
                let outcome = WriteOutcome::Acknowledged;
                let write = WriteRecord { delete: number == 1, outcome, ..histories::write(&[]) };
                let write = history.begin_write(write);
                let dot = Dot { actor, counter: number };
                history.minted(write, Minted { dot, timestamp: Timestamp(stamp), at_us });
            }
            check(&Evidence::new(&plan, &history, &ending(&[1])))
        };
        assert_eq!(stands(6), None);
        assert!(stands(4).is_some(), "it was there before the delete");
    }
}
