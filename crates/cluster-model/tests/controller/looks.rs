//! What is compared of a StatefulSet, its pods and its claims, wherever it was looked at.

use std::collections::BTreeMap;

/// All of it, by ordinals.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Look {
    pub set: Option<SetLook>,
    pub pods: BTreeMap<u32, PodLook>,
    pub claims: BTreeMap<u32, ClaimLook>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetLook {
    pub uid: String,
    pub generation: u64,
    pub is_seen: bool,
    pub replicas: u32,
    pub ready: u32,
    pub updated: u32,
    /// The template of the current revision.
    pub present: Option<String>,
    pub rolled: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodLook {
    pub uid: String,
    pub owner: Owner,
    pub template: String,
    pub is_placed: bool,
    pub ran: bool,
    pub ready: bool,
    pub is_going: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    Nobody,
    TheSet,
    /// One of the same name that is not there any more.
    AnotherSet,
}

impl Owner {
    pub fn of(owner: Option<&String>, set: Option<&String>) -> Self {
        match owner {
            None => Self::Nobody,
            Some(_) if owner == set => Self::TheSet,
            Some(_) => Self::AnotherSet,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimLook {
    pub uid: String,
    pub bytes: u64,
    pub is_going: bool,
}

impl Look {
    /// The same, with what became of each uid since an earlier look instead of the uids.
    pub fn since(&self, before: &Look) -> Look {
        let mut look = self.clone();
        if let Some(set) = &mut look.set {
            set.uid = kept(&set.uid, before.set.as_ref().map(|set| &set.uid));
        }
        for (ordinal, pod) in &mut look.pods {
            pod.uid = kept(&pod.uid, before.pods.get(ordinal).map(|pod| &pod.uid));
        }
        for (ordinal, claim) in &mut look.claims {
            claim.uid = kept(&claim.uid, before.claims.get(ordinal).map(|claim| &claim.uid));
        }
        look
    }
}

fn kept(now: &String, before: Option<&String>) -> String {
    if Some(now) == before { "as before".to_owned() } else { "another".to_owned() }
}
