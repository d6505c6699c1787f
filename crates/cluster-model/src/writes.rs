//! The operator's writes, as the API server and the nodes take them: each with its preconditions, and each judged.

use std::collections::BTreeMap;

use dynamo_planner::{Action, Mark, PARKED, PodId};

use crate::{Store, World, kube::Kube, sets::Set};

type Outcome = Result<(), String>;

fn conflict() -> String {
    "the object is another by now".to_owned()
}

impl Kube {
    fn set(&self, name: &str, version: &str) -> Result<&Set, String> {
        self.sets.get(name).filter(|set| set.version == version).ok_or_else(conflict)
    }
}

impl<S: Store> World<S> {
    /// Carries one write out.
    ///
    /// # Errors
    /// It is refused.
    pub fn write(&mut self, action: &Action) -> Outcome {
        self.write_by(0, action)
    }

    /// Carries one write of an operator's out.
    pub(crate) fn write_by(&mut self, operator: usize, action: &Action) -> Outcome {
        let outcome = self.try_write(operator, action);
        if outcome.is_ok() && !matches!(action, Action::CheckSets(_)) {
            self.writes += 1;
        }
        self.carried.push((action.clone(), outcome.is_ok()));
        let told = format!("{:>5} {action:?} {outcome:?}", self.now);
        self.log.push(told);
        outcome
    }

    fn try_write(&mut self, operator: usize, action: &Action) -> Outcome {
        match action {
            Action::RecordZones(zones) => self.kube.zones.clone_from(zones),
            Action::CreateFounders(founders) => {
                if self.kube.founders.is_some() {
                    return Err("it exists".to_owned());
                }
                self.kube.founders = Some(founders.clone());
                let pods = founders.zones.iter().flat_map(|(zone, count)| {
                    (0..*count).map(move |ordinal| (PodId::new(&format!("c-{zone}"), ordinal), 1))
                });
                self.nodes.found(pods.collect());
            }
            Action::Retire(lives) => self.retired_before = std::mem::replace(&mut self.kube.retired, lives.clone()),
            Action::SetBudget(allowed) => self.kube.budget = Some(*allowed),
            Action::CheckSets(seen) => {
                let now = self.kube.sets.iter().map(|(set, view)| (set.clone(), view.generation));
                if now.collect::<BTreeMap<String, u64>>() != *seen {
                    return Err(conflict());
                }
            }
            Action::TakeTurn { version, turn } => {
                if self.kube.turn.version != *version || self.kube.turn.turn.is_some() {
                    return Err(conflict());
                }
                self.kube.turn.last = turn.id;
                self.kube.turn.turn = Some(turn.clone());
                self.kube.turn.version = Some(self.kube.fresh());
            }
            Action::EndTurn { version, id } => {
                let stands = self.kube.turn.turn.as_ref().is_some_and(|turn| turn.id == *id);
                if self.kube.turn.version.as_ref() != Some(version) || !stands {
                    return Err(conflict());
                }
                self.kube.turn.turn = None;
                self.kube.turn.version = Some(self.kube.fresh());
            }
            Action::ChangeRing { version, edits, fewer_zones, .. } => {
                self.nodes.apply(operator, (*version, edits, *fewer_zones), self.now, &mut self.chance)?;
            }
            Action::CancelChange { id } => self.nodes.cancel(operator, *id, self.now)?,
            Action::Certificates(_) => return Err("no authorities here".to_owned()),
            Action::MarkClaim { .. } | Action::DeleteClaim { .. } | Action::GrowClaim { .. } => self.claim(action)?,
            _ => self.set_or_pod(action)?,
        }
        Ok(())
    }

    fn set_or_pod(&mut self, action: &Action) -> Outcome {
        match action {
            Action::CreateSet { set, zone, replicas, template, storage_bytes } => {
                if !self.kube.create_set(set, zone, *replicas, template, *storage_bytes) {
                    return Err("it exists".to_owned());
                }
            }
            Action::RaiseSet { set, to, version } => {
                assert!(*to > self.kube.set(set, version)?.replicas, "a raise that lowers");
                self.kube.edit_set(set, |set| set.replicas = *to);
            }
            Action::ShrinkSet { set, to, version, cleared, .. } => {
                let (from, named) = (self.kube.set(set, version)?.replicas, cleared.len() as u32);
                self.kube.edit_set(set, |set| set.replicas = *to);
                assert_eq!(from - to, named, "a receipt for each pod that goes");
                for ordinal in *to..from {
                    self.judge_departure(&PodId::new(set, ordinal));
                }
            }
            Action::DeleteSet { set, uid, version, orphan } => {
                let view = self.kube.set(set, version)?;
                assert_eq!(view.uid, *uid);
                assert!(*orphan || view.replicas == 0, "a StatefulSet with pods is deleted");
                self.kube.delete_set(set, *orphan, self.now, &mut self.chance);
            }
            Action::SetTemplate { set, template, version } => {
                self.kube.set(set, version)?;
                self.kube.edit_set(set, |set| {
                    set.template.clone_from(template);
                    set.partition = PARKED;
                });
            }
            Action::LowerPartition { set, to, version, .. } => {
                self.kube.set(set, version)?;
                self.kube.edit_set(set, |set| set.partition = *to);
            }
            Action::ParkPartition { set, version } => {
                self.kube.set(set, version)?;
                self.kube.edit_set(set, |set| set.partition = PARKED);
            }
            Action::DeletePod { pod, uid, .. } => {
                let view = self.kube.pods.get(pod).filter(|view| view.uid == *uid).ok_or_else(conflict)?;
                if view.gone_at.is_none() {
                    self.judge_disruption(pod);
                    self.kube.delete_pod(pod, self.now, &mut self.chance);
                    self.nodes.stop(pod, self.now);
                }
            }
            other => panic!("an action that nobody carries out: {other:?}"),
        }
        Ok(())
    }

    fn claim(&mut self, action: &Action) -> Outcome {
        let fresh = self.kube.fresh();
        match action {
            Action::MarkClaim { pod, version, mark, .. } => {
                let claim = self.kube.claims.get_mut(pod).filter(|claim| claim.version == *version);
                let claim = claim.ok_or_else(conflict)?;
                (claim.mark, claim.version) = (*mark, fresh);
            }
            Action::GrowClaim { pod, version, to_bytes } => {
                let claim = self.kube.claims.get_mut(pod).filter(|claim| claim.version == *version);
                let claim = claim.ok_or_else(conflict)?;
                assert!(*to_bytes > claim.size_bytes, "a volume never shrinks");
                (claim.size_bytes, claim.version) = (*to_bytes, fresh);
            }
            Action::DeleteClaim { pod, uid, version, cleared, .. } => {
                assert_eq!(cleared.pod(), pod);
                let claim = self.kube.claims.get(pod).filter(|claim| claim.uid == *uid && claim.version == *version);
                let claim = claim.ok_or_else(conflict)?;
                if !claim.deleting {
                    if cleared.mark() != Mark::Lost {
                        self.judge_departure(pod);
                    }
                    self.judge_deletion(pod);
                    let claim = self.kube.claims.get_mut(pod).expect("it is there");
                    (claim.deleting, claim.version) = (true, fresh);
                }
            }
            other => panic!("not about a claim: {other:?}"),
        }
        Ok(())
    }
}
