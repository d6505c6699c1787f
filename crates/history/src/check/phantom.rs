//! No value that nobody wrote, none that was refused, and no deleted or replaced value back (riak_kv, scylladb 3560).

use super::{Evidence, Violation};
use crate::history::{WriteId, WriteOutcome};

pub fn check(evidence: &Evidence<'_>) -> Option<Violation> {
    strange(evidence).or_else(|| refused(evidence)).or_else(|| from_nowhere(evidence)).or_else(|| back(evidence))
}

fn violation(key: u16, what: String) -> Option<Violation> {
    Some(Violation::new("phantom", Some(key), what))
}

/// A value that names no write of its key.
fn strange(evidence: &Evidence<'_>) -> Option<Violation> {
    let read = evidence.history.reads.iter().find(|read| !read.strange.is_empty());
    if let Some(read) = read {
        let value = read.strange[0].escape_ascii();
        return violation(read.key, format!("client-{} was given \"{value}\", which nobody wrote there", read.client));
    }
    let key = evidence.keys().find(|key| !evidence.ending(*key).strange.is_empty())?;
    violation(key, format!("\"{}\" stands, which nobody wrote there", evidence.ending(key).strange[0]))
}

/// A write whose client was told that nothing was written.
fn refused(evidence: &Evidence<'_>) -> Option<Violation> {
    let told =
        |write: &crate::history::WriteRecord| write.outcome == WriteOutcome::NotWritten && write.minted.is_some();
    let (id, write) = evidence.history.writes.iter().enumerate().find(|(_, write)| told(write))?;
    violation(write.key, format!("write {id} was made, though client-{} was told that it was not", write.client))
}

/// A value that was read before it was written.
fn from_nowhere(evidence: &Evidence<'_>) -> Option<Violation> {
    let history = evidence.history;
    let unmade = |write: &WriteId, by: u64| history.write(*write).minted.is_none_or(|minted| minted.at_us > by);
    let read = history.reads.iter().find(|read| read.found.iter().any(|write| unmade(write, read.ended_us)))?;
    violation(read.key, format!("client-{} was given {:?} before it was written", read.client, read.found))
}

/// Something stands that an acknowledged write had replaced.
fn back(evidence: &Evidence<'_>) -> Option<Violation> {
    let history = evidence.history;
    if evidence.terms.may_lose {
        return None;
    }
    evidence.keys().filter(|key| !evidence.bucket(*key).last_write_wins).find_map(|key| {
        let standing = &evidence.ending(key).standing;
        let acknowledged = |write: &&WriteId| history.write(**write).outcome == WriteOutcome::Acknowledged;
        evidence.writes(key).iter().filter(acknowledged).find_map(|replacing| {
            let replaced = |write: &&WriteId| **write != *replacing && history.follows(*replacing, **write);
            let back = standing.iter().find(replaced)?;
            let how = if history.write(*replacing).delete { "deleted" } else { "replaced" };
            violation(key, format!("write {back} is back: it was {how} by {replacing}, which was acknowledged"))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Ending,
            tests::{ending, terms},
        },
        *,
    };
    use crate::{
        history::{History, Minted, ReadRecord, tests as histories},
        terms::Bucket,
    };
    use dynamo_version::{Actor, Dot, Timestamp};

    fn minted(history: &mut History, write: WriteId, at_us: u64) {
        let actor = Actor { node: 1, incarnation: 1, key_epoch: 1 };
        let dot = Dot { actor, counter: u64::from(write) + 1 };
        history.minted(write, Minted { dot, timestamp: Timestamp(at_us), at_us });
    }

    fn read(found: &[WriteId], ended_us: u64) -> ReadRecord {
        ReadRecord { client: 0, key: 0, began_us: 0, ended_us, found: found.into(), strange: vec![] }
    }

    #[test]
    fn what_comes_back_is_noticed() {
        let terms = terms(Bucket::DEFAULT);
        let mut history = histories::history(&[&[], &[0], &[]]);
        history.writes[1].delete = true;
        let found = |standing: &[u32]| check(&Evidence::new(&terms, &history, &ending(standing)));
        assert_eq!(found(&[1, 2]), None);
        assert!(found(&[0, 2]).unwrap().what.contains("deleted by 1"));
    }

    #[test]
    fn values_from_nowhere_are_noticed() {
        let terms = terms(Bucket::DEFAULT);
        let found = |history: &History| check(&Evidence::new(&terms, history, &ending(&[0]))).map(|found| found.what);
        let mut history = histories::history(&[&[]]);
        minted(&mut history, 0, 50);
        history.reads.push(read(&[0], 60));
        assert_eq!(found(&history), None);
        history.reads.push(read(&[0], 40));
        assert!(found(&history).unwrap().contains("before it was written"));
        history.reads[1] = ReadRecord { strange: vec!["?".into()], ..read(&[], 60) };
        assert!(found(&history).unwrap().contains("nobody wrote"));
        let standing = vec![Ending { strange: vec!["?".into()], ..Ending::default() }];
        history.reads.clear();
        assert!(check(&Evidence::new(&terms, &history, &standing)).is_some());
    }

    #[test]
    fn a_refused_write_that_was_made_is_noticed() {
        let terms = terms(Bucket::DEFAULT);
        let mut history = histories::history(&[&[]]);
        minted(&mut history, 0, 1);
        assert_eq!(check(&Evidence::new(&terms, &history, &ending(&[0]))), None);
        history.writes[0].outcome = WriteOutcome::NotWritten;
        assert!(check(&Evidence::new(&terms, &history, &ending(&[0]))).unwrap().what.contains("was told"));
    }
}
