//! A plan in steps, each of which moves a few tokens and leaves a ring that keeps its promises.
//!
//! Tokens change hands clockwise, from after the longest stretch in which none does. Behind the sweep preference lists are
//! those after, before it those before; only where it stands, a list may have nodes of both. A step ends where no list has
//! lost a node that it is to have, nor got one that it is not to have: so no replica moves twice.

use std::collections::BTreeSet;

use super::{
    change::Change,
    lists::Lists,
    plan::{Moved, Plan},
    shape::VACANT,
};
use crate::{
    ring::{Member, Ring},
    walk,
};

/// Tokens that change hands together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Which, clockwise, but for a step that goes past partition 0.
    pub moved: Vec<Moved>,
    /// Replicas that move with them: pairs of a partition and a node that is in its preference list after the step and was
    /// not before.
    pub replicas_moved: usize,
}

/// Splits a plan into steps of at most `tokens_max` tokens (at least one), which together move each replica once.
///
/// A step is larger where the ring leaves no choice. When a plan brings the second or third zone, with several nodes, every
/// preference list has to have one of them from its first token on (§4.3): if the zone came in steps, that token's owner
/// would get what is to go to all the zone's nodes. The same goes for the last nodes of a zone that leaves. So such a zone
/// comes or goes at once.
///
/// A node that is to stand in another zone does so from the first step on, which then changes lists without a token that
/// moves. Only then may a later step move a replica again.
pub fn steps(plan: &Plan, tokens_max: usize) -> Vec<Step> {
    let crowd = Crowd::new(plan);
    let mut sweep = Sweep::new(plan, &crowd);
    let mut steps = Vec::new();
    if sweep.gained > 0 {
        steps.push(sweep.end(vec![]));
    }
    let moved = in_order(plan);
    let mut done = 0;
    while done < moved.len() {
        // The furthest end within bounds, or the first beyond.
        let mut end = None;
        for upto in done + 1..=moved.len() {
            if upto - done > tokens_max.max(1) && end.is_some() {
                break;
            }
            sweep.give(&crowd, moved[upto - 1]);
            if sweep.may_end() {
                end = Some((upto, sweep.lists.owners.clone()));
            }
        }
        let (upto, owners) = end.expect("the last token ends the plan");
        sweep.back_to(&crowd, owners);
        steps.push(sweep.end(moved[done..upto].to_vec()));
        done = upto;
    }
    if steps.is_empty() && plan.members != plan.current.members() {
        // Nobody's tokens change, but what is known of the members does.
        steps.push(Step { moved: vec![], replicas_moved: 0 });
    }
    steps
}

impl Plan {
    /// The ring after the first of the plan's [`steps`], one epoch later for each. Its members are those that own a token by
    /// then; after the last step, all those that the plan has.
    ///
    /// # Panics
    /// For steps of another plan: their tokens have other owners.
    pub fn ring_after(&self, steps: &[Step]) -> Ring {
        if steps.is_empty() {
            return self.current.clone();
        }
        let crowd = Crowd::new(self);
        let mut owners = crowd.owners_before.clone();
        for moved in steps.iter().flat_map(|step| &step.moved) {
            let owner = &mut owners[usize::from(moved.partition.0)];
            assert_eq!(crowd.members[usize::from(*owner)].id, moved.from, "steps are those of this plan, in order");
            *owner = crowd.index(moved.to);
        }
        let owning: BTreeSet<u16> = owners.iter().copied().collect();
        let mut numbers = vec![VACANT; crowd.members.len()];
        (0..).zip(&owning).for_each(|(number, owner)| numbers[usize::from(*owner)] = number);
        let members = owning.iter().map(|owner| crowd.members[usize::from(*owner)].clone()).collect();
        let owners = owners.iter().map(|owner| numbers[usize::from(*owner)]).collect();
        let (epoch, partitions, n) = (self.current.epoch(), self.current.partitions(), self.current.n());
        let epoch = epoch + steps.len() as u64;
        Ring::from_parts(epoch, partitions, n, members, owners).expect("a walk has all the nodes and zones there are")
    }
}

/// All that are on the ring before or after.
struct Crowd {
    /// Sorted by id; as they are to be.
    members: Vec<Member>,
    zones: Vec<u16>,
    /// By token.
    owners_before: Vec<u16>,
    n: usize,
    /// By partition, `n` each: homes before, as the current ring has them.
    before: Vec<u16>,
}

impl Crowd {
    fn new(plan: &Plan) -> Self {
        let change = Change::new(&plan.current, &plan.members);
        let mut members = plan.members.clone();
        for (member, same) in plan.current.members().iter().zip(&change.same) {
            if *same == VACANT {
                members.push(Member { zone: change.name(&member.zone).to_owned(), ..member.clone() });
            }
        }
        members.sort_by_key(|member| member.id);
        let n = usize::from(plan.current.n());
        let mut crowd = Self { zones: walk::zones(&members), members, owners_before: vec![], n, before: vec![] };
        let index: Vec<u16> = plan.current.members().iter().map(|member| crowd.index(member.id)).collect();
        crowd.owners_before = plan.current.owners().iter().map(|owner| index[usize::from(*owner)]).collect();
        for partition in plan.current.partitions().iter() {
            let homes = &plan.current.walk_ids(partition)[..plan.current.homes()];
            crowd.before.extend(homes.iter().map(|node| index[usize::from(*node)]));
            crowd.before.resize((usize::from(partition.0) + 1) * n, VACANT);
        }
        crowd
    }

    fn index(&self, id: crate::id::NodeId) -> u16 {
        self.members.binary_search_by_key(&id, |member| member.id).expect("it is on one of the rings") as u16
    }

    fn zones_of(&self, owned: &[u32]) -> usize {
        let owning = self.zones.iter().zip(owned).filter(|(_, tokens)| **tokens > 0);
        owning.map(|(zone, _)| zone).collect::<BTreeSet<_>>().len()
    }
}

/// Tokens that have changed hands so far.
struct Sweep<'a> {
    lists: Lists<'a>,
    /// By partition: its homes at the end.
    after: Vec<u16>,
    /// By partition: its homes at the end of the last step.
    ended: Vec<u16>,
    /// Replicas gained since then.
    gained: usize,
    /// Replicas that are still to be gained.
    lacking: usize,
    /// The same at the end of the last step.
    lacked: usize,
    /// Owners and zones of which there are never fewer.
    least: (usize, usize),
    standing: (usize, usize),
}

impl<'a> Sweep<'a> {
    fn new(plan: &Plan, crowd: &'a Crowd) -> Self {
        let index: Vec<u16> = plan.members.iter().map(|member| crowd.index(member.id)).collect();
        let owners = plan.owners.iter().map(|owner| index[usize::from(*owner)]).collect();
        let last = Lists::new(&crowd.zones, crowd.n, owners, false);
        let lists = Lists::new(&crowd.zones, crowd.n, crowd.owners_before.clone(), false);
        let all = |lists: &Lists| {
            (0..lists.owners.len()).flat_map(|partition| lists.of(partition).to_vec()).collect::<Vec<_>>()
        };
        let owning = |lists: &Lists| {
            let owners = lists.owned.iter().filter(|tokens| **tokens > 0).count();
            (owners, crowd.zones_of(&lists.owned))
        };
        let (one, other) = (owning(&lists), owning(&last));
        let (after, now) = (all(&last), all(&lists));
        let n = crowd.n;
        Self {
            gained: more(&now, &crowd.before, n),
            lacking: more(&after, &now, n),
            lacked: more(&after, &crowd.before, n),
            ended: crowd.before.clone(),
            least: (one.0.min(other.0), one.1.min(other.1)),
            standing: one,
            after,
            lists,
        }
    }

    fn give(&mut self, crowd: &Crowd, moved: Moved) {
        let replaced = self.lists.give(usize::from(moved.partition.0), crowd.index(moved.to));
        for (partition, homes, _) in replaced.walks(crowd.n) {
            let at = partition * crowd.n..(partition + 1) * crowd.n;
            let now = self.lists.of(partition);
            self.gained = self.gained + more(now, &self.ended[at.clone()], crowd.n)
                - more(homes, &self.ended[at.clone()], crowd.n);
            self.lacking =
                self.lacking + more(&self.after[at.clone()], now, crowd.n) - more(&self.after[at], homes, crowd.n);
        }
        let owning = self.lists.owned.iter().filter(|tokens| **tokens > 0).count();
        self.standing = (owning, crowd.zones_of(&self.lists.owned));
    }

    /// Whether all that was gained is to stay, and nothing was lost that is to stay.
    fn may_end(&self) -> bool {
        let standing = self.standing.0 >= self.least.0 && self.standing.1 >= self.least.1;
        standing && self.gained + self.lacking == self.lacked
    }

    /// Takes back what was given away after the tokens had these owners.
    fn back_to(&mut self, crowd: &'a Crowd, owners: Vec<u16>) {
        if self.lists.owners != owners {
            self.lists = Lists::new(&crowd.zones, crowd.n, owners, false);
        }
        let now: Vec<u16> =
            (0..self.lists.owners.len()).flat_map(|partition| self.lists.of(partition).to_vec()).collect();
        self.gained = more(&now, &self.ended, crowd.n);
        self.lacking = more(&self.after, &now, crowd.n);
    }

    fn end(&mut self, moved: Vec<Moved>) -> Step {
        let step = Step { moved, replicas_moved: self.gained };
        self.ended = (0..self.lists.owners.len()).flat_map(|partition| self.lists.of(partition).to_vec()).collect();
        (self.gained, self.lacked) = (0, self.lacking);
        step
    }
}

/// Nodes in lists of `n` that are not in the others.
fn more(lists: &[u16], others: &[u16], n: usize) -> usize {
    let pairs = lists.chunks_exact(n).zip(others.chunks_exact(n));
    pairs.map(|(list, other)| list.iter().filter(|node| **node != VACANT && !other.contains(node)).count()).sum()
}

/// What moves, clockwise, from after the longest stretch in which nothing does.
fn in_order(plan: &Plan) -> Vec<Moved> {
    let mut moved = plan.moved.clone();
    let tokens = plan.owners.len();
    let place = |at: usize| usize::from(plan.moved[at].partition.0);
    let gap = |at: &usize| (place(*at) + tokens - place((at + moved.len() - 1) % moved.len()) - 1) % tokens;
    if let Some(first) = (0..moved.len()).max_by_key(|at| (gap(at), std::cmp::Reverse(*at))) {
        moved.rotate_left(first);
    }
    moved
}
