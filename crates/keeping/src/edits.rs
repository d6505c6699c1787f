//! What an administrator wants of the ring, held against the ring as it is: the members it would have, and the change that
//! leads there, or a sentence that says why not (§4.9).

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use dynamo_gossip::{NodeInfo, PeerState};
use dynamo_keeper::step::sources_needed;
use dynamo_ring::{
    Member, NodeId, Ring,
    charter::{Charter, Move, Proposed},
    planner,
};

/// What is to become of one node, by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// It gets its share of the tokens.
    Join {
        /// Who.
        node: String,
        /// How much it takes; 0: as much as it says itself.
        weight: u32,
    },
    /// It gives its tokens up, and what it has to others.
    Leave {
        /// Who.
        node: String,
    },
    /// It is down for good, and its place is filled from the others. Of one that left: it is not waited for.
    Remove {
        /// Who.
        node: String,
    },
    /// It is down for good, and another gets its tokens.
    Replace {
        /// Who.
        node: String,
        /// The other.
        with: String,
    },
    /// It weighs otherwise, or stands elsewhere.
    Update {
        /// Who.
        node: String,
        /// How much it takes; 0: as before.
        weight: u32,
        /// Its zone; empty: as before.
        zone: String,
    },
}

/// Why edits can't be made: a sentence that says what does not fit, and what to do. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EditError {
    /// They make no sense, whatever the ring is like.
    Invalid(String),
    /// Nobody has that name.
    Unknown(String),
    /// They do not fit the ring as it is.
    Unfit(String),
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Invalid(what) | Self::Unknown(what) | Self::Unfit(what)) = self;
        f.write_str(what)
    }
}

impl std::error::Error for EditError {}

/// What there is to be registered.
pub enum Next {
    /// Nothing would change.
    Nothing,
    /// Those who left are not waited for any more.
    Released(Charter),
    /// A change begins, in so many steps.
    Begun(Charter, usize),
}

/// A node as this one knows it.
#[derive(Debug, Clone)]
pub struct Known {
    /// What it says of itself.
    pub info: NodeInfo,
    /// Whether it answers.
    pub state: PeerState,
}

/// What is wanted.
pub struct Wanted {
    /// The change.
    pub proposed: Proposed,
    /// The ring after it.
    pub after: Ring,
    /// Copies of partitions that are made, and how many the balance needs at least.
    pub replicas: (usize, usize),
    /// Tokens that change hands.
    pub tokens: usize,
    /// What becomes of each node that is not merely staying, by id.
    pub roles: BTreeMap<NodeId, &'static str>,
    /// Why it can't be applied now.
    pub blocked_by: Vec<String>,
    /// What is worth knowing.
    pub warnings: Vec<String>,
}

/// Holds edits against a charter.
pub struct Edits<'a> {
    /// The charter.
    pub charter: &'a Charter,
    /// All nodes that are known.
    pub known: &'a [Known],
    /// Fewer than N nodes or zones are meant.
    pub allow_fewer: bool,
    /// What only nodes had that are down for good, or homes that are not whole, may be lost.
    pub accept_loss: bool,
    /// Of how many old homes everything is needed: max(R, N - R + 1), the largest over the buckets.
    pub needed: usize,
    /// How many tokens change hands with one turn of the epoch.
    pub tokens_at_once: usize,
    /// Why a newcomer and a member can't speak with each other.
    pub mismatch: fn(&NodeInfo, &NodeInfo) -> Option<String>,
}

impl Edits<'_> {
    /// The change that these edits make.
    ///
    /// # Errors
    /// A sentence that says what does not fit, and what to do.
    pub fn wanted(&self, edits: &[Edit]) -> Result<Wanted, EditError> {
        if edits.is_empty() {
            return Err(EditError::Invalid(
                "no edit is given: say which node is to join, leave, be replaced or removed".to_owned(),
            ));
        }
        if let Some(wanted) = self.given_up(edits)? {
            return Ok(wanted);
        }
        let replaced: Vec<(&str, &str)> = edits
            .iter()
            .filter_map(|edit| match edit {
                Edit::Replace { node, with } => Some((node.as_str(), with.as_str())),
                _ => None,
            })
            .collect();
        if replaced.is_empty() {
            return self.planned(edits);
        }
        if replaced.len() != edits.len() {
            return Err(EditError::Invalid("replacing nodes and other edits can't be one change, since who is replaced gives its tokens to one node only: apply them one after the other".to_owned()));
        }
        self.replaced(&replaced)
    }

    /// What is to be registered after this version for these edits.
    ///
    /// # Errors
    /// What does not fit; also that another change is under way.
    pub fn next(&self, version: u64, edits: &[Edit]) -> Result<Next, EditError> {
        let wanted = self.wanted(edits)?;
        if let Some(blocked) = wanted.blocked_by.first() {
            return Err(is_blocked(blocked));
        }
        let steps = wanted.proposed.steps.len();
        if let Some(charter) = self.charter.release(&wanted.proposed.lost).filter(|_| steps == 0) {
            return Ok(Next::Released(charter));
        }
        if steps == 0 {
            return Ok(Next::Nothing);
        }
        let charter = self.charter.begin(version + 1, wanted.proposed);
        Ok(Next::Begun(charter.map_err(|error| EditError::Unfit(error.to_string()))?, steps))
    }

    /// Nodes that left and are not waited for any more: nothing moves, and `lost` names them. None: other edits.
    fn given_up(&self, edits: &[Edit]) -> Result<Option<Wanted>, EditError> {
        let (mut lost, mut warnings) = (Vec::new(), Vec::new());
        for edit in edits {
            let Edit::Remove { node } = edit else { return Ok(None) };
            // By its id, as `dynamo ring status` names one whose name nobody remembers.
            let nameless = node.parse().ok().filter(|id| self.charter.leavers().contains(id));
            if let Some(id) = nameless.filter(|id| self.known.iter().all(|known| known.info.id != *id)) {
                warnings.push(format!("{id} left and may still hold something: what only it has is lost"));
                lost.push(id);
                continue;
            }
            let known = self.named(node)?;
            if !self.charter.leavers().contains(&known.info.id) {
                return Ok(None);
            }
            not_alive(known)?;
            warnings.push(format!("{node} left and may still hold something: what only it has is lost"));
            lost.push(known.info.id);
        }
        let ring = self.charter.ring();
        let (what, members, lives) =
            ("nodes that left are given up".to_owned(), ring.members().to_vec(), BTreeMap::new());
        let proposed = Proposed { what, members, steps: vec![], lost, accept_loss: false, lives };
        let (after, roles, blocked_by) = (ring.clone(), BTreeMap::new(), self.under_way());
        Ok(Some(Wanted { proposed, after, replicas: (0, 0), tokens: 0, roles, blocked_by, warnings }))
    }

    /// Why nothing can begin now.
    fn under_way(&self) -> Vec<String> {
        under_way(self.charter).into_iter().collect()
    }

    fn planned(&self, edits: &[Edit]) -> Result<Wanted, EditError> {
        let ring = self.charter.ring();
        let mut members: BTreeMap<NodeId, Member> =
            ring.members().iter().map(|member| (member.id, member.clone())).collect();
        let mut change = Change::default();
        for edit in edits {
            match edit {
                Edit::Join { node, weight } => {
                    let known = self.newcomer(node)?;
                    let weight = if *weight > 0 { *weight } else { known.info.weight };
                    if members.insert(known.info.id, member_of(&known.info, weight)).is_some() {
                        return Err(twice(node));
                    }
                    change.add(known, "joins");
                }
                Edit::Leave { node } => {
                    let known = self.member(node)?;
                    if !matches!(known.state, PeerState::Up | PeerState::Suspect) {
                        return Err(EditError::Unfit(format!(
                            "{node} is down and can't hand over what it has: nothing was changed; start it, or take it out with `dynamo node remove` or `dynamo node replace`, which fill its place from the other replicas"
                        )));
                    }
                    members.remove(&known.info.id).ok_or_else(|| twice(node))?;
                    change.add(known, "leaves");
                }
                Edit::Remove { node } => {
                    let known = self.dead(node)?;
                    members.remove(&known.info.id).ok_or_else(|| twice(node))?;
                    change.lost.push(known.info.id);
                    change.add(known, "is removed");
                }
                Edit::Update { node, weight, zone } => {
                    let known = self.member(node)?;
                    let member = members.get_mut(&known.info.id).ok_or_else(|| twice(node))?;
                    member.weight = if *weight > 0 { *weight } else { member.weight };
                    if !zone.is_empty() {
                        member.zone.clone_from(zone);
                    }
                    change.add(known, "changes");
                }
                Edit::Replace { .. } => unreachable!("edits with a replacement are planned apart"),
            }
        }
        let members: Vec<Member> = members.into_values().collect();
        self.check_enough(&members)?;
        let plan =
            planner::plan(ring, &members).map_err(|error| EditError::Unfit(format!("{error}: nothing was changed")))?;
        let steps = planner::steps(&plan, self.tokens_at_once);
        let moves = |step: &planner::Step| {
            step.moved.iter().map(|moved| Move { partition: moved.partition, to: moved.to }).collect()
        };
        let steps = steps.iter().map(moves).collect();
        let moved = ((plan.replicas_moved, plan.replicas_least), plan.moved.len());
        self.finish(members, steps, plan.ring(), moved, change)
    }

    /// The tokens of one that is down go to one other, so that only its own copies are made anew.
    fn replaced(&self, pairs: &[(&str, &str)]) -> Result<Wanted, EditError> {
        let ring = self.charter.ring();
        let mut members = ring.members().to_vec();
        let (mut change, mut heirs) = (Change::default(), BTreeMap::new());
        for (old, new) in pairs {
            let (old, new) = (self.dead(old)?, self.newcomer(new)?);
            let place = members.iter_mut().find(|member| member.id == old.info.id);
            let place = place.ok_or_else(|| twice(&old.info.name))?;
            *place = Member { weight: place.weight, ..member_of(&new.info, place.weight) };
            if heirs.values().any(|heir| *heir == new.info.id) {
                return Err(twice(&new.info.name));
            }
            heirs.insert(old.info.id, new.info.id);
            change.lost.push(old.info.id);
            change.add(old, "is replaced");
            change.add(new, "replaces it");
        }
        members.sort_by_key(|member| member.id);
        let moved = ring.partitions().iter().filter_map(|partition| {
            let to = *heirs.get(&ring.owner(partition).id)?;
            Some(Move { partition, to })
        });
        let moves: Vec<Move> = moved.collect();
        let heir = |partition| {
            let owner = ring.owner(partition).id;
            heirs.get(&owner).copied().unwrap_or(owner)
        };
        let after = ring.turned(members.clone(), heir).map_err(|error| {
            EditError::Unfit(format!(
                "{error}: nothing was changed; the new node has to stand in the zone of the one that it replaces"
            ))
        })?;
        let steps = moves.chunks(self.tokens_at_once).map(<[Move]>::to_vec).collect();
        let held = |id: &NodeId| ring.partitions().iter().filter(|partition| ring.is_home(*partition, *id)).count();
        let copies = heirs.keys().map(held).sum();
        self.finish(members, steps, after, ((copies, copies), moves.len()), change)
    }

    fn finish(
        &self,
        members: Vec<Member>,
        steps: Vec<Vec<Move>>,
        after: Ring,
        (replicas, tokens): ((usize, usize), usize),
        change: Change,
    ) -> Result<Wanted, EditError> {
        let blocked_by = self.under_way();
        let down = self.known.iter().filter(|known| !matches!(known.state, PeerState::Up | PeerState::Suspect));
        let down = down.filter(|known| self.charter.ring().member(known.info.id).is_some());
        let down = down.filter(|known| !change.lost.contains(&known.info.id));
        let down = down.map(|known| {
            format!(
                "{} is down: what moves goes on with the other replicas, as long as enough of them answer",
                known.info.name
            )
        });
        let warnings = down.chain(self.being_filled(&change.lost)).chain(self.check_sources(&change.lost)?).collect();
        let Change { what, lost, lives, roles } = change;
        let what = what.join(", ") + if self.accept_loss { " (a loss is accepted)" } else { "" };
        let proposed = Proposed { what, members, steps, lost, accept_loss: self.accept_loss, lives };
        Ok(Wanted { proposed, after, replicas, tokens, roles, blocked_by, warnings })
    }

    /// Members that are no source for what moves until they are whole.
    fn being_filled(&self, lost: &[NodeId]) -> Vec<String> {
        let member = |known: &&Known| self.charter.ring().member(known.info.id).is_some();
        let filled = |known: &&Known| known.info.refilling > 0 && !lost.contains(&known.info.id) && !self.accept_loss;
        let says = |known: &Known| {
            format!(
                "{} is being refilled: where its copies are needed, the change waits until it is whole",
                known.info.name
            )
        };
        self.known.iter().filter(member).filter(filled).map(says).collect()
    }

    /// Whether enough homes are left for what W acknowledged to be found at one of them. The sentence that says what may be
    /// lost, where that was accepted.
    fn check_sources(&self, lost: &[NodeId]) -> Result<Option<String>, EditError> {
        let (ring, mut short) = (self.charter.ring(), 0);
        for partition in ring.partitions().iter() {
            let homes = ring.preference_list(partition);
            let gone = homes.iter().filter(|id| lost.contains(id)).count();
            short += usize::from(homes.len() - gone < sources_needed(self.needed, homes.len(), gone));
        }
        if self.accept_loss {
            return Ok(Some(
                "a loss is accepted: writes that were acknowledged are gone if only nodes had them that are down for good, or homes that are not filled yet".to_owned(),
            ));
        }
        if short == 0 {
            return Ok(None);
        }
        let name = |id: &NodeId| ring.member(*id).map_or_else(|| id.to_string(), |member| member.name.clone());
        let names: Vec<String> = lost.iter().map(name).collect();
        Err(EditError::Unfit(format!(
            "without {} too few homes are left of {short} partitions to have every write that was acknowledged: nothing was changed; start one of them again, or, if they will never return, accept that what only they had is lost (--accept-loss)",
            names.join(" and ")
        )))
    }

    fn check_enough(&self, members: &[Member]) -> Result<(), EditError> {
        if members.is_empty() {
            return Err(EditError::Unfit("the last node can't leave: stop the cluster instead".to_owned()));
        }
        let n = usize::from(self.charter.ring().n());
        let zones =
            |members: &[Member]| members.iter().map(|member| member.zone.clone()).collect::<BTreeSet<_>>().len();
        let (before, after) = (self.charter.ring().members(), members);
        let fewer = |what: &str, before: usize, after: usize| {
            if self.allow_fewer || after >= n.min(before) {
                return Ok(());
            }
            Err(EditError::Unfit(format!(
                "the cluster would have {after} {what}, and each key has {n} replicas: nothing was changed; join others first, or say that it is meant (--allow-fewer-than-n)"
            )))
        };
        fewer("nodes", before.len(), after.len())?;
        fewer("zones", zones(before), zones(after))
    }

    fn named(&self, name: &str) -> Result<&Known, EditError> {
        self.known.iter().find(|known| known.info.name == name).ok_or_else(|| {
            let mut names: Vec<&str> = self.known.iter().map(|known| known.info.name.as_str()).collect();
            names.sort_unstable();
            EditError::Unknown(format!(
                "no node {name:?} is known (known are {}): nothing was changed; a node that is to join has to run, with this cluster's name and an address of one of its members in cluster.seeds",
                names.join(", ")
            ))
        })
    }

    fn member(&self, name: &str) -> Result<&Known, EditError> {
        let known = self.named(name)?;
        if self.charter.ring().member(known.info.id).is_none() {
            return Err(EditError::Unfit(format!(
                "{name} is no member of the ring: nothing was changed; `dynamo ring` shows the members"
            )));
        }
        Ok(known)
    }

    fn newcomer(&self, name: &str) -> Result<&Known, EditError> {
        let known = self.named(name)?;
        if self.charter.ring().member(known.info.id).is_some() {
            return Err(EditError::Unfit(format!("{name} is a member of the ring already: nothing was changed")));
        }
        let gone = dynamo_ring::charter::Gone { id: known.info.id, incarnation: known.info.incarnation };
        if self.charter.gone().contains(&gone) {
            return Err(EditError::Unfit(format!(
                "{name} left this cluster with the data that it has: nothing was changed; start it with an empty data directory, or with node.retired={}, which empties the one that it has",
                known.info.incarnation
            )));
        }
        self.check_protocol(known)?;
        if known.state != PeerState::Up {
            return Err(EditError::Unfit(format!(
                "{name} does not answer: nothing was changed; start it, or wait a moment if it has just started"
            )));
        }
        Ok(known)
    }

    /// Who speaks another version than the members could not exchange anything with them.
    fn check_protocol(&self, newcomer: &Known) -> Result<(), EditError> {
        let members = self.known.iter().filter(|known| self.charter.ring().member(known.info.id).is_some());
        let mut why = members.filter_map(|member| (self.mismatch)(&newcomer.info, &member.info));
        why.next().map_or(Ok(()), |why| Err(EditError::Unfit(why)))
    }

    fn dead(&self, name: &str) -> Result<&Known, EditError> {
        let known = self.member(name)?;
        not_alive(known)?;
        Ok(known)
    }
}

/// The change under way taken back, and its name; `asked` is the one that is meant, 0 for whichever it is.
///
/// # Errors
/// There is none, it is another one, or it is being taken back.
pub fn cancelled(charter: &Charter, asked: u64) -> Result<(Charter, u64), EditError> {
    let next = charter.cancel().map_err(|error| EditError::Unfit(error.to_string()))?;
    let change = charter.change().map_or(0, |change| change.id);
    if asked != 0 && asked != change {
        return Err(EditError::Unfit(format!(
            "change {change} is under way, not change {asked}, which has ended: nothing was changed"
        )));
    }
    Ok((next, change))
}

/// That something else is under way.
pub fn is_blocked(what: &str) -> EditError {
    EditError::Unfit(format!("{what}; nothing was changed"))
}

/// That there is a change already, and what to do about it.
pub fn under_way(charter: &Charter) -> Option<String> {
    let change = charter.change()?;
    let (id, what) = (change.id, &change.what);
    Some(format!("change {id} is under way ({what}): wait for its end, or take it back with `dynamo ring cancel`"))
}

fn not_alive(known: &Known) -> Result<(), EditError> {
    if matches!(known.state, PeerState::Up | PeerState::Suspect) {
        let name = &known.info.name;
        return Err(EditError::Unfit(format!(
            "{name} is alive: nothing was changed; let it leave (`dynamo node leave {name}`), so that it hands over what it has, or stop it first"
        )));
    }
    Ok(())
}

#[derive(Default)]
struct Change {
    what: Vec<String>,
    lost: Vec<NodeId>,
    lives: BTreeMap<NodeId, u64>,
    roles: BTreeMap<NodeId, &'static str>,
}

impl Change {
    fn add(&mut self, known: &Known, role: &'static str) {
        self.what.push(format!("{} {role}", known.info.name));
        self.lives.insert(known.info.id, known.info.incarnation);
        let role = match role {
            "is removed" => "leaves",
            "is replaced" => "replaced",
            "replaces it" => "replaces",
            "changes" => "stays",
            role => role,
        };
        self.roles.insert(known.info.id, role);
    }
}

fn member_of(info: &NodeInfo, weight: u32) -> Member {
    Member { id: info.id, name: info.name.clone(), zone: info.zone.clone(), weight: weight.max(1) }
}

fn twice(name: &str) -> EditError {
    EditError::Invalid(format!("{name} is named twice: nothing was changed"))
}

/// A sixteenth of the tokens at once: a step that is sealed holds up few keys, and each costs a turn of the epoch.
pub fn tokens_at_once(ring: &Ring) -> usize {
    (ring.partitions().get() as usize / 16).max(8)
}
