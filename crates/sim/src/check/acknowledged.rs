//! No acknowledged write is lost (§4.4, 4.5): its version stands at the end, or one that causally follows it, or a delete
//! followed it. (A delete itself may be collected: what it deleted must not come back, and that is `phantom`'s matter.)

use super::{Evidence, Violation};
use crate::history::WriteOutcome;

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    if evidence.plan.may_lose() {
        return None;
    }
    let history = evidence.history;
    evidence.keys().filter(|key| !evidence.bucket(*key).last_write_wins).find_map(|key| {
        let standing = &evidence.ending(key).standing;
        let safe = evidence.covered_by(key, standing);
        let acknowledged = |write: &&u32| {
            let record = history.write(**write);
            record.outcome == WriteOutcome::Acknowledged && !record.delete
        };
        let lost = evidence.writes(key).iter().filter(acknowledged).find(|write| safe.binary_search(write).is_err())?;
        let record = history.write(*lost);
        let what = format!(
            "write {lost} of client-{} was acknowledged at {:.3} s and is lost: {standing:?} stand, and none has seen it",
            record.client,
            record.ended_us.unwrap_or(0) as f64 / 1e6
        );
        Some(Violation::new("acknowledged", Some(key), what))
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{ending, plan},
        *,
    };
    use crate::{
        history::{WriteRecord, tests as histories},
        plan::BucketPlan,
    };

    #[test]
    fn a_lost_write_is_noticed_and_an_overwritten_one_is_none() {
        let plan = plan(BucketPlan::DEFAULT);
        let history = histories::history(&[&[], &[0], &[]]);
        let found = |standing: &[u32]| check(&Evidence::new(&plan, &history, &ending(standing)));
        assert_eq!(found(&[1, 2]), None);
        assert_eq!(found(&[0, 1, 2]), None);
        assert!(found(&[2]).unwrap().what.contains("write 0"));
        assert!(found(&[1]).unwrap().what.contains("write 2"));
        assert!(found(&[0, 2]).unwrap().what.contains("write 1"), "it must not give way to what it replaced");
        assert!(found(&[]).is_some());
    }

    #[test]
    fn a_write_that_was_not_acknowledged_may_go() {
        let plan = plan(BucketPlan::DEFAULT);
        let mut history = histories::history(&[&[]]);
        history.begin_write(WriteRecord { began_us: 99, ..histories::write(&[]) });
        assert_eq!(check(&Evidence::new(&plan, &history, &ending(&[0]))), None);
    }
}
