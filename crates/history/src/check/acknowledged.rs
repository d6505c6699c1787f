//! No acknowledged write is lost (§4.4, 4.5): its version stands at the end, or one that causally follows it, or a delete
//! followed it. (A delete itself may be collected: what it deleted must not come back, and that is `phantom`'s matter.)

use super::{Evidence, Violation};
use crate::history::{WriteId, WriteOutcome};

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    let (key, lost) = lost(evidence).next()?;
    let (record, standing) = (evidence.history.write(lost), &evidence.ending(key).standing);
    let what = format!(
        "write {lost} of client-{} was acknowledged at {:.3} s and is lost: {standing:?} stand, and none has seen it",
        record.client,
        record.ended_us.unwrap_or(0) as f64 / 1e6
    );
    Some(Violation::new("acknowledged", Some(key), what))
}

/// All acknowledged writes that are lost, with their keys.
pub fn lost<'a>(evidence: &'a Evidence<'_>) -> impl Iterator<Item = (u16, WriteId)> + 'a {
    let keys = evidence.keys().filter(|_| !evidence.terms.may_lose);
    keys.filter(|key| !evidence.bucket(*key).last_write_wins).flat_map(move |key| {
        let safe = evidence.covered_by(key, &evidence.ending(key).standing);
        let acknowledged = |write: &WriteId| {
            let record = evidence.history.write(*write);
            record.outcome == WriteOutcome::Acknowledged && !record.delete
        };
        let lost = evidence.writes(key).iter().copied().filter(acknowledged);
        lost.filter(move |write| safe.binary_search(write).is_err()).map(move |write| (key, write))
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{ending, terms},
        *,
    };
    use crate::{
        history::{WriteRecord, tests as histories},
        terms::Bucket,
    };

    #[test]
    fn a_lost_write_is_noticed_and_an_overwritten_one_is_none() {
        let terms = terms(Bucket::DEFAULT);
        let history = histories::history(&[&[], &[0], &[]]);
        let found = |standing: &[u32]| check(&Evidence::new(&terms, &history, &ending(standing)));
        assert_eq!(found(&[1, 2]), None);
        assert_eq!(found(&[0, 1, 2]), None);
        assert!(found(&[2]).unwrap().what.contains("write 0"));
        assert!(found(&[1]).unwrap().what.contains("write 2"));
        assert!(found(&[0, 2]).unwrap().what.contains("write 1"), "it must not give way to what it replaced");
        assert!(found(&[]).is_some());
        assert_eq!(lost(&Evidence::new(&terms, &history, &ending(&[]))).collect::<Vec<_>>(), [(0, 0), (0, 1), (0, 2)]);
    }

    #[test]
    fn a_write_that_was_not_acknowledged_may_go() {
        let terms = terms(Bucket::DEFAULT);
        let mut history = histories::history(&[&[]]);
        history.begin_write(WriteRecord { began_us: 99, ..histories::write(&[]) });
        assert_eq!(check(&Evidence::new(&terms, &history, &ending(&[0]))), None);
    }
}
