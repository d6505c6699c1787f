//! What a reply about pages means, after it was checked: the peer may say anything.

use crate::exchange::{Difference, KeyHash, PeerError, check_keys};
use crate::message::{Covered, ENTRIES_MAX, Entry, KEYS_BYTES_MAX, Key, LeafDiff, LeafPage};
use crate::shape::Shape;

/// What a reply about pages comes to.
#[derive(Debug, Default)]
pub(crate) struct Compared {
    /// Keys of which the peer has another state, or a state at all.
    pub(crate) want: Vec<Difference>,
    /// Keys of which this node has.
    pub(crate) offer: Vec<Difference>,
    /// Pages whose range was compared, at least in part. Never 0.
    pub(crate) pages: usize,
    /// The last of these is to be continued after this key, which is beyond where it began.
    pub(crate) go_on: Option<Key>,
}

/// Checks the reply and tells the differences.
pub(crate) fn compare(
    hash: KeyHash,
    shape: Shape,
    pages: &[LeafPage],
    diffs: Vec<LeafDiff>,
) -> Result<Compared, PeerError> {
    check_extent(pages, &diffs)?;
    let mut compared = Compared { pages: diffs.len(), ..Compared::default() };
    for (page, diff) in pages.iter().zip(diffs) {
        check_keys(hash, shape, page.leaf, page.after.as_deref(), &diff.extra)?;
        check_covered(hash, shape, page, &diff)?;
        add_known(page, &diff, &mut compared)?;
        for Entry { key, digest } in diff.extra {
            if page.entries.binary_search_by(|entry| entry.key.cmp(&key)).is_ok() {
                return Err(PeerError::Contradiction);
            }
            compared.want.push(Difference { key, mine: None, theirs: Some(digest) });
        }
        compared.go_on = match (diff.covered, page.entries.last()) {
            (Covered::UpTo(key), _) => Some(key),
            (Covered::Whole, Some(last)) if !page.end => Some(last.key.clone()),
            (Covered::Whole, _) => None,
        };
    }
    Ok(compared)
}

/// At least one page is answered, and only the last answer is partial. The reply is no larger than any may be.
fn check_extent(pages: &[LeafPage], diffs: &[LeafDiff]) -> Result<(), PeerError> {
    let Some((_, whole)) = diffs.split_last() else { return Err(PeerError::Contradiction) };
    if diffs.len() > pages.len() || whole.iter().any(|diff| diff.covered != Covered::Whole) {
        return Err(PeerError::Contradiction);
    }
    let extra = || diffs.iter().flat_map(|diff| &diff.extra);
    let bytes: usize = extra().map(|entry| entry.key.len()).sum();
    if extra().count() > ENTRIES_MAX || bytes > KEYS_BYTES_MAX { Err(PeerError::TooMuch) } else { Ok(()) }
}

/// What is covered lies within the page's range and moves on; no key that is named lies beyond it.
fn check_covered(hash: KeyHash, shape: Shape, page: &LeafPage, diff: &LeafDiff) -> Result<(), PeerError> {
    let range_end = page.entries.last().filter(|_| !page.end).map(|entry| &entry.key);
    let up_to = match &diff.covered {
        Covered::Whole => range_end,
        Covered::UpTo(key) => {
            let last = [Entry { key: key.clone(), digest: 0 }];
            check_keys(hash, shape, page.leaf, page.after.as_deref(), &last)?;
            if range_end.is_some_and(|end| key > end) {
                return Err(PeerError::Contradiction);
            }
            Some(key)
        }
    };
    let beyond = |key: &Key| up_to.is_some_and(|up_to| key > up_to);
    let named = diff.missing.last().into_iter().chain(diff.differing.last().map(|(position, _)| position));
    let mut named = named.filter_map(|&position| page.entries.get(position as usize)).chain(diff.extra.last());
    if named.any(|entry| beyond(&entry.key)) { Err(PeerError::Contradiction) } else { Ok(()) }
}

/// Adds what the peer says of the page's own entries.
fn add_known(page: &LeafPage, diff: &LeafDiff, compared: &mut Compared) -> Result<(), PeerError> {
    let in_order = diff.missing.is_sorted_by(|one, next| one < next);
    if !in_order || !diff.differing.is_sorted_by(|one, next| one.0 < next.0) {
        return Err(PeerError::Unsorted);
    }
    let entry = |position: u32| page.entries.get(position as usize).ok_or(PeerError::OutOfRange);
    for &position in &diff.missing {
        let Entry { key, digest } = entry(position)?.clone();
        compared.offer.push(Difference { key, mine: Some(digest), theirs: None });
    }
    for &(position, theirs) in &diff.differing {
        let Entry { key, digest } = entry(position)?.clone();
        if theirs == digest || diff.missing.binary_search(&position).is_ok() {
            return Err(PeerError::Contradiction);
        }
        let difference = Difference { key, mine: Some(digest), theirs: Some(theirs) };
        compared.want.push(difference.clone());
        compared.offer.push(difference);
    }
    Ok(())
}
