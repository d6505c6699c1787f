//! What is known of each node and how new it is: whatever way it comes, the newest stays (§4.8.1).

use std::{collections::BTreeMap, ops::Bound};

use dynamo_ring::NodeId;

use crate::{
    detector::Detector,
    member::{NodeInfo, Version},
};

/// Nodes in one delta: the rest comes with the next exchange.
const DELTA_NODES_MAX: usize = 256;
/// Nodes that are remembered; a cluster has at most as many as a ring has tokens.
const NODES_MAX: usize = 1 << 16;

/// What travels about a node.
pub(crate) type News = (NodeInfo, Version);

pub(crate) struct Known {
    pub info: NodeInfo,
    pub version: Version,
    pub detector: Detector,
    /// How new its knowledge of this node is, as its last digest has it.
    sees: Version,
}

impl Known {
    fn new(info: NodeInfo, version: Version) -> Self {
        Self { info, version, detector: Detector::default(), sees: Version::default() }
    }

    fn news(&self) -> News {
        (self.info.clone(), self.version)
    }
}

pub(crate) struct Nodes {
    me: NodeId,
    all: BTreeMap<NodeId, Known>,
    /// Who has seen less of this node than this may look for it at a wrong address.
    settled: Version,
    /// The last node in the last delta that had no room for all.
    last_told: NodeId,
}

impl Nodes {
    pub fn new(me: NodeInfo, generation: u64, known: Vec<NodeInfo>) -> Self {
        let id = me.id;
        let unheard = known.into_iter().map(|info| (info.id, Known::new(info, Version::default())));
        let mut all: BTreeMap<_, _> = unheard.collect();
        let version = Version::first(generation, me.incarnation);
        all.insert(id, Known::new(me, version));
        Self { me: id, all, settled: version, last_told: NodeId::default() }
    }

    pub fn my_id(&self) -> NodeId {
        self.me
    }

    pub fn me(&self) -> &Known {
        &self.all[&self.me]
    }

    pub fn my_news(&self) -> Vec<News> {
        vec![self.me().news()]
    }

    pub fn get(&self, id: NodeId) -> Option<&Known> {
        self.all.get(&id)
    }

    pub fn all(&self) -> impl Iterator<Item = &Known> {
        self.all.values()
    }

    /// Another node than this one.
    pub fn other_mut(&mut self, id: NodeId) -> Option<&mut Known> {
        self.all.get_mut(&id).filter(|known| known.info.id != self.me)
    }

    pub fn others(&self) -> Vec<NodeId> {
        self.all.keys().copied().filter(|id| *id != self.me).collect()
    }

    pub fn change_me(&mut self, change: impl FnOnce(&mut NodeInfo)) {
        let me = self.all.get_mut(&self.me).expect("a node knows itself");
        let before = me.info.clone();
        change(&mut me.info);
        me.info.id = before.id;
        if me.info == before {
            return;
        }
        me.version = me.version.next();
        if me.info.peer_addr != before.peer_addr {
            self.settled = me.version;
        }
    }

    pub fn digest(&self) -> Vec<(NodeId, Version)> {
        self.all.iter().map(|(id, known)| (*id, known.version)).collect()
    }

    /// A peer's digest shows how new its knowledge of this node is.
    pub fn note_digest(&mut self, from: NodeId, digest: &[(NodeId, Version)]) {
        let me = self.me;
        if let Some(peer) = self.other_mut(from) {
            peer.sees = digest.iter().find(|(id, _)| *id == me).map_or(Version::default(), |(_, version)| *version);
        }
    }

    /// Whether a peer has shown that it knows where this node is. Until then its answers may go astray: it has to be told
    /// before it is asked.
    pub fn can_answer(&self, peer: NodeId) -> bool {
        self.get(peer).is_some_and(|peer| peer.sees >= self.settled)
    }

    /// What is newer here than there. What was only configured is no news. Where there is more than one delta holds, the
    /// next goes on where this one ended: else those at the end would never be told of while those at the start change.
    pub fn news_for(&mut self, digest: &[(NodeId, Version)]) -> Vec<News> {
        let theirs: BTreeMap<_, _> = digest.iter().copied().collect();
        let newer = |id: &NodeId, known: &Known| known.version > theirs.get(id).copied().unwrap_or_default();
        let after = self.all.range((Bound::Excluded(self.last_told), Bound::Unbounded));
        let turned = after.chain(self.all.range(..=self.last_told));
        let mut news: Vec<_> = turned.filter(|(id, known)| newer(id, known)).take(DELTA_NODES_MAX + 1).collect();
        let all_told = news.len() <= DELTA_NODES_MAX;
        news.truncate(DELTA_NODES_MAX);
        let last = news.last().map(|(id, _)| **id).filter(|_| !all_told);
        let news = news.into_iter().map(|(_, known)| known.news()).collect();
        self.last_told = last.unwrap_or(self.last_told);
        news
    }

    /// Takes in news; returns whether any was new.
    pub fn learn(&mut self, nodes: Vec<News>) -> bool {
        let mut changed = false;
        for (info, version) in nodes {
            if info.id == self.me {
                self.outdo(&info, version);
                continue;
            }
            let room = self.all.len() < NODES_MAX;
            match self.all.get_mut(&info.id) {
                Some(known) if known.version >= version => continue,
                Some(known) => (known.info, known.version) = (info, version),
                None if room && version > Version::default() => {
                    self.all.insert(info.id, Known::new(info, version));
                }
                None => continue,
            }
            changed = true;
        }
        changed
    }

    /// What a node says of itself is older than what is remembered here: it must be told, at the address that it gives.
    pub fn memory_of(&self, from: NodeId, nodes: &[News]) -> Option<(String, News)> {
        let (said, version) = nodes.iter().find(|(info, _)| info.id == from && info.id != self.me)?;
        let known = self.get(from)?;
        let newer = known.version > *version || (known.version == *version && known.info != *said);
        (newer && !said.peer_addr.is_empty()).then(|| (said.peer_addr.clone(), known.news()))
    }

    /// Others know something newer of this node than it does, or something else as new: an earlier life whose counter this
    /// disk has lost. What it says now must be newer still.
    fn outdo(&mut self, info: &NodeInfo, version: Version) {
        let me = self.all.get_mut(&self.me).expect("a node knows itself");
        if version > me.version || (version == me.version && *info != me.info) {
            me.version = me.version.beyond(version);
            self.settled = me.version;
        }
    }
}
