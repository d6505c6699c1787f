//! Strict buckets with R + W > N read their writes (§4.5): a read that begins after a write was acknowledged finds it, or
//! something that follows it.

use super::{Evidence, Violation};
use crate::history::WriteOutcome;

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    // A disk that is lost takes one of the W copies with it; but a home that lost it answers no strict read before it has
    // had from the others what any of its writes met.
    if evidence.terms.may_lose {
        return None;
    }
    let history = evidence.history;
    let promises = |key: u16| {
        let (bucket, n) = (evidence.bucket(key), evidence.terms.replication);
        let (r, w) = bucket.quorums(n);
        bucket.strict && !bucket.last_write_wins && r + w > n
    };
    history.reads.iter().filter(|read| promises(read.key)).find_map(|read| {
        let before = |write: &&u32| {
            let write = history.write(**write);
            !write.delete
                && write.outcome == WriteOutcome::Acknowledged
                && write.ended_us.is_some_and(|ended| ended < read.began_us)
        };
        let mut expected = evidence.writes(read.key).iter().filter(before).peekable();
        expected.peek()?;
        let past = evidence.covered_by(read.key, &read.found);
        let missed = expected.find(|write| past.binary_search(write).is_err())?;
        let what = format!(
            "client-{} read {:?} at {:.3} s, and write {missed} had been acknowledged before it asked",
            read.client,
            read.found,
            read.ended_us as f64 / 1e6
        );
        Some(Violation::new("strict", Some(read.key), what))
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{ending, terms},
        *,
    };
    use crate::{
        history::{ReadRecord, tests as histories},
        terms::Bucket,
    };

    #[test]
    fn a_stale_read_is_noticed_where_none_may_be() {
        let (strict, sloppy) = (terms(Bucket::STRICT), terms(Bucket::DEFAULT));
        let weak = terms(Bucket { r: Some(1), ..Bucket::STRICT });
        // Acknowledged at 5, 15 and 25.
        let mut history = histories::history(&[&[], &[0], &[]]);
        let read = |began_us, found: &[u32]| ReadRecord {
            client: 0,
            key: 0,
            began_us,
            ended_us: began_us + 1,
            found: found.into(),
            strange: vec![],
        };
        history.reads = vec![read(4, &[]), read(14, &[0]), read(20, &[1]), read(24, &[1, 2]), read(30, &[1, 2])];
        let end = ending(&[1, 2]);
        assert_eq!(check(&Evidence::new(&strict, &history, &end)), None);
        history.reads.push(read(16, &[0]));
        assert!(check(&Evidence::new(&strict, &history, &end)).unwrap().what.contains("write 1"));
        assert_eq!(check(&Evidence::new(&sloppy, &history, &end)), None);
        assert_eq!(check(&Evidence::new(&weak, &history, &end)), None);
    }
}
