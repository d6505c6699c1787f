//! Which rare branches of the protocol a run has been through: a name each, counted, and an error if one never is.

use std::cell::RefCell;

/// Every branch that is counted.
pub const BRANCHES: &[(&str, &str)] = &[
    ("put.forwarded", "a node that is no home sends a write on to one"),
    ("put.coordinated_without_home", "no home can be reached: a fallback coordinates"),
    ("put.coordinator_lost", "the home that coordinated is lost before it answers"),
    ("put.refused_at_once", "W cannot be met, and the client hears before anything is written"),
    ("put.failed_after_begin", "a write fails after some replicas have it"),
    ("put.not_minted", "the coordinator's own engine refuses"),
    ("put.resent_for_durability", "one-fsync: another node is asked for the durable copy"),
    ("put.hint_sent", "a fallback gets a hint for a home that is not there"),
    ("put.note_kept", "the coordinator keeps a note of what a home misses"),
    ("put.copy_kept", "a coordinator that is no home keeps a copy for a home"),
    ("put.hint_lost", "the coordinator could not keep the hint either"),
    ("put.too_many_siblings", "a blind write is refused for too many siblings"),
    ("get.diverged", "answers differ, and states are joined"),
    ("get.repaired", "a stale home is sent the join"),
    ("get.repaired_here", "the coordinator's own copy was the stale one"),
    ("get.hedged", "one replica more is asked"),
    ("get.siblings", "a client is given more than one value"),
    ("get.deleted", "a client finds tombstones alone"),
    ("get.refused_at_once", "R cannot be met, and the client hears at once"),
    ("get.failed", "a read fails after it began"),
    ("get.from_hints", "a fallback answers out of its hints"),
    ("handoff.delivered", "a hint was confirmed and dropped"),
    ("handoff.moved_on", "a hint that changed after it was sent is kept"),
    ("handoff.refused", "the target refuses a hint"),
    ("handoff.interrupted", "the target is lost with hints under way"),
    ("gossip.suspect", "a peer lets requests time out"),
    ("gossip.down", "a peer counts as down"),
    ("gossip.up_again", "a peer that was down answers"),
    ("gossip.duplicate", "a message arrives twice"),
    ("gossip.lost", "a message or its receipt is lost"),
    ("gossip.buckets_learnt", "a node without buckets learns them from a peer"),
    ("gossip.nobody_there", "a message goes to an address where nobody is any more"),
    ("gossip.draining", "a node announces that it stops"),
    ("link.reset", "a connection breaks with requests under way"),
    ("link.timed_out", "a connection is given up after silence"),
    ("link.another_there", "a stream finds another node at the address"),
    ("link.stalled", "a message waits for a cut to end"),
    ("disk.lost_unsynced", "a power cut loses what was not synced"),
    ("disk.full", "a commit finds no space"),
    ("disk.sync_failed", "a sync fails"),
    ("disk.reopened", "a broken engine is opened again"),
    ("store.opened_clean", "a store is opened that was closed in order"),
    ("store.opened_unclean", "a store is opened after a crash: memories are broken"),
    ("store.lost_tail", "a disk has lost what was durable"),
    ("store.sealed", "an operation meets a fence that is above its epoch"),
    ("store.hints_full", "a hint is refused for want of room"),
    ("store.batched", "several operations make one batch"),
    ("identity.new_incarnation", "an empty disk is another life"),
    ("life.after_loss", "a disk that has lost something begins another life"),
    ("life.superseded", "others remember more of a disk than it holds: it begins another life"),
    ("doubt.over", "what a new life found on its disk is as new as what was collected"),
    ("doubt.emptied", "something was collected since a disk was written: it is emptied"),
    ("doubt.newer_refused", "a disk in doubt serves nobody whose ring is newer"),
    ("doubt.hint_kept", "a disk in doubt hands on no hint"),
    ("identity.refused", "a disk of another node is not taken"),
    ("identity.gone", "a node that left and has nothing to hand over does not start again"),
    ("handoff.for_who_left", "a hint for a node that is no home any more goes to one that is"),
    ("get.refilling", "a strict read is refused by a home that is not filled yet"),
    ("keeper.answer_late", "a keeper's question is not answered in time"),
    ("keeper.whole", "a home is filled: it answers strict reads"),
    ("keeper.refilled", "a home whose disk was emptied has a partition again"),
    ("keeper.compared", "two replicas of a partition compare"),
    ("keeper.leftover_forgotten", "a partition that was given away is deleted"),
    ("keeper.damage_met", "a request meets a damaged record"),
    ("keeper.mended", "a damaged record is taken out, to be had again"),
    ("keeper.store_failed", "the engine fails the keeper"),
    ("collect.tombstone_gone", "a round removes a tombstone that all homes have"),
    ("collect.actor_retired", "a round drops the name of a node that is gone"),
    ("collect.old_read_refused", "who has not heard of the last collection is not read for"),
    ("collect.outsider_refused", "what somebody has who is outside of the ring is not taken"),
    ("collect.outsider_mints_nothing", "a node that is no member refuses to stand in for a home"),
    ("ring.seal_asked", "old homes are asked to seal"),
    ("ring.fenced", "requests of older epochs are refused from here on"),
    ("ring.turned", "a step of a change is taken"),
    ("ring.waits_for_whole", "a step waits for a home that is being refilled"),
    ("ring.unsealed", "a step is given up for now, and its old homes serve again"),
    ("ring.cancelled", "a change is taken back"),
    ("ring.change_done", "a change has ended"),
    ("ring.life_attested", "the others confirm that a first member's disk is its first"),
    ("ring.life_admitted", "an emptied disk gets its vote back"),
    ("ring.joined", "a node becomes a member"),
    ("ring.left", "a node is a member no more"),
    ("ring.behind", "a request comes from a newer ring than the node's"),
    ("ring.no_home_any_more", "a request comes to a node that has given the partition away"),
    ("ring.heard_of_newer", "a node asks for a newer ring that a request told it of"),
    ("ring.told_who_is_behind", "a node tells another of a newer ring"),
    ("ring.request_again", "a request that met a seal is begun again"),
    ("ring.sent_again", "a write that met a seal half done is sent again as it was made"),
    ("admin.begun", "a change of the ring begins"),
    ("admin.refused", "a change does not fit the ring as it is"),
    ("admin.outdated", "two changes at once: one comes too late"),
    ("admin.no_majority", "a change finds no majority of voters"),
    ("admin.unknown", "it is not known what came of a change"),
    ("admin.unable", "a node can't ask for a change now"),
    ("admin.gone_refused", "a node that left may not come back with its data"),
    ("look.confirmed", "a node's ring is the newest, as a majority says"),
    ("look.not_confirmed", "no majority says whether a node's ring is the newest"),
    ("operator.founded", "an operator founds the cluster"),
    ("operator.ring_changed", "nodes make a change of the ring that an operator asks for"),
    ("operator.ring_refused", "nodes refuse a change that an operator asks for"),
    ("operator.cancelled", "an operator takes a change back"),
    ("operator.not_confirmed", "an operator hears of no majority that knows the ring"),
    ("operator.receipt", "it is written down that a node left with its receipt"),
    ("operator.shrunk", "pods go that have their receipts"),
    ("operator.disk_deleted", "the disk of a node that left is deleted"),
    ("operator.disk_replaced", "an operator gives a disk up"),
    ("operator.new_disk", "a pod comes back on an empty disk"),
    ("operator.retired", "a disk that was kept is emptied as its pod comes back"),
    ("operator.restarted", "an operator restarts a pod"),
    ("operator.rolled", "pods may be made anew from another template"),
    ("operator.set_remade", "a StatefulSet is made anew around its pods"),
    ("operator.conflict", "an operator's write meets an object that is another by now"),
    ("operator.died", "an operator dies"),
    ("client.timed_out", "a client gives up waiting"),
    ("client.retried_write", "a write that may have happened is written again"),
    ("client.refused_connection", "a client finds nobody at a node"),
    ("clock.behind", "a write is stamped right after what it supersedes, since the clock is behind"),
];

const COUNT: usize = BRANCHES.len();

/// How often each branch was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage(Vec<u64>);

impl Default for Coverage {
    fn default() -> Self {
        Self(vec![0; COUNT])
    }
}

thread_local! {
    static TAKEN: RefCell<[u64; COUNT]> = const { RefCell::new([0; COUNT]) };
}

impl Coverage {
    /// Adds another run's.
    pub fn merge(&mut self, other: &Self) {
        for (mine, others) in self.0.iter_mut().zip(&other.0) {
            *mine += others;
        }
    }

    /// Names, meanings and counts, in the order of the list.
    pub fn table(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> + '_ {
        BRANCHES.iter().zip(&self.0).map(|((name, meaning), count)| (*name, *meaning, *count))
    }

    /// The branches that were never taken.
    pub fn missing(&self) -> Vec<&'static str> {
        self.table().filter(|(.., count)| *count == 0).map(|(name, ..)| name).collect()
    }
}

/// Place of a name in the list; the build fails for one that is not there.
pub(crate) const fn index_of(name: &str) -> usize {
    let mut at = 0;
    while at < COUNT {
        if same(BRANCHES[at].0.as_bytes(), name.as_bytes()) {
            return at;
        }
        at += 1;
    }
    panic!("the branch is not in the list of branches");
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let mut at = 0;
    while at < one.len() {
        if one[at] != other[at] {
            return false;
        }
        at += 1;
    }
    true
}

pub(crate) fn count(branch: usize) {
    TAKEN.with_borrow_mut(|taken| taken[branch] += 1);
}

/// What this thread has counted since it last asked.
pub(crate) fn take() -> Coverage {
    TAKEN.with_borrow_mut(|taken| Coverage(std::mem::replace(taken, [0; COUNT]).to_vec()))
}

/// Counts a branch by its name.
macro_rules! cover {
    ($name:literal) => {{
        const BRANCH: usize = $crate::coverage::index_of($name);
        $crate::coverage::count(BRANCH);
    }};
}
pub(crate) use cover;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_never_taken_is_named() {
        take();
        cover!("get.diverged");
        cover!("get.diverged");
        let coverage = take();
        assert!(!coverage.missing().contains(&"get.diverged"));
        assert_eq!(coverage.missing().len(), COUNT - 1);
        let mut sum = coverage.clone();
        sum.merge(&coverage);
        assert!(sum.table().any(|(name, _, count)| name == "get.diverged" && count == 4));
        assert_eq!(take(), Coverage::default());
    }
}
