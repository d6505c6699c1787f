//! What an operator asks a node: the simulator's `node/src/service/{ring,view}.rs`. What is answered is `keeping`'s.

use std::collections::BTreeMap;

use dynamo_gossip::{Disk, PeerState, Phase};
use dynamo_keeping::{
    edits::{self, Edit, EditError, Edits, Known, Next},
    receipt::Receipt,
    view::View,
};
use dynamo_planner::{ChangeView, NodeView, ReceiptView, RingView};
use dynamo_ring::NodeId;

use super::Node;
use crate::{
    operator::{Change, MARK, News},
    world::{Kernel, Shape, index_of},
};

/// So few tokens at once that a change has several steps.
const TOKENS_AT_ONCE: usize = 3;
/// For how long those who take part in a step are asked after somebody looked, microseconds.
const WATCH_US: u64 = 5_000_000;

impl Node {
    /// Asks for what an operator wants of the ring; the kernel hears what came of it.
    pub fn operator_changes(&mut self, request: u64, change: &Change, kernel: &mut Kernel) {
        let (version, charter) = (self.keeping.keeper.version(), self.keeping.keeper.charter().clone());
        let next = match change {
            Change::Cancel { id } => edits::cancelled(&charter, *id).map(|(charter, _)| Some(charter)),
            Change::Edits { version: planned, .. } if *planned != version => {
                Err(EditError::Unfit(format!("the register has version {version}")))
            }
            Change::Edits { edits, fewer_zones, .. } => {
                let known = self.known_nodes();
                let held = Edits {
                    charter: &charter,
                    known: &known,
                    allow_fewer: *fewer_zones,
                    accept_loss: false,
                    needed: self.sources(),
                    tokens_at_once: TOKENS_AT_ONCE,
                    mismatch: |_, _| None,
                };
                let edits: Vec<Edit> = edits.iter().map(|edit| edit_of(edit, &kernel.shape)).collect();
                held.next(version, &edits).map(|next| match next {
                    Next::Nothing => None,
                    Next::Released(charter) | Next::Begun(charter, _) => Some(charter),
                })
            }
        };
        match next {
            Ok(Some(next)) => {
                self.drive_keeper(kernel, |keeper, at, effects| keeper.change(request, version, next, at, effects));
            }
            Ok(None) => kernel.news.push(News::Changed { request, made: true }),
            Err(why) => {
                crate::world::say!(kernel, "node-{} refuses an operator's change: {why}", self.me);
                kernel.news.push(News::Changed { request, made: false });
            }
        }
    }

    /// Tells an operator of the ring, once it is known whether this is the newest.
    pub fn operator_looks(&mut self, request: u64, kernel: &mut Kernel) {
        self.keeping.keeper.watch(kernel.clock_us() + WATCH_US);
        self.drive_keeper(kernel, |keeper, at, effects| keeper.look(request, at, effects));
    }

    /// It is known.
    pub(super) fn tell_operator(&self, request: u64, confirmed: bool, kernel: &mut Kernel) {
        debug_assert!(request & MARK != 0, "an administrator's question");
        let ring = Box::new(self.ring_view(confirmed, &kernel.shape));
        kernel.news.push(News::Looked { request, node: self.me, ring });
    }

    /// What this node still has.
    pub fn receipt(&self) -> Option<ReceiptView> {
        let known = self.known_nodes().into_iter().find(|known| known.info.id == self.id())?;
        let receipt = Receipt::of(self.keeping.keeper.charter(), self.keeping.keeper.version(), &known);
        let (complete, incarnation) = (receipt.is_complete(), receipt.incarnation);
        Some(ReceiptView { complete, incarnation, missing: receipt.missing })
    }

    fn known_nodes(&self) -> Vec<Known> {
        let me = self.id();
        let mut known: Vec<Known> = self
            .gossip
            .members()
            .filter(|(info, _)| !info.name.is_empty())
            .map(|(info, detector)| {
                let state = if info.id == me { PeerState::Up } else { detector.state() };
                Known { info: info.clone(), state }
            })
            .collect();
        // What gossip carries of this node is a round old.
        if let Some(known) = known.iter_mut().find(|known| known.info.id == me) {
            known.info.load.hints_held = self.store.hints_held();
        }
        known
    }

    fn ring_view(&self, confirmed: bool, shape: &Shape) -> RingView {
        let keeper = &self.keeping.keeper;
        let (charter, known) = (keeper.charter(), self.known_nodes());
        let view = View { version: keeper.version(), charter, known: &known };
        let pod = |id: NodeId| shape.pod(index_of(id));
        let pods = |ids: &[NodeId]| ids.iter().map(|id| pod(*id)).collect();
        let node = |known: &Known| {
            let node = NodeView {
                up: known.state == PeerState::Up && known.info.phase == Phase::Serving,
                incarnation: known.info.incarnation,
                refilling: known.info.refilling,
                hints: known.info.load.hints_held,
                disk_refuses: known.info.disk != Disk::Ok,
                ..NodeView::default()
            };
            (pod(known.info.id), node)
        };
        let mut nodes: BTreeMap<_, _> = view.ids().into_iter().map(|id| (pod(id), NodeView::default())).collect();
        nodes.extend(known.iter().map(node));
        let blocked_by = || keeper.progress(|id| pod(id).to_string()).map(|progress| progress.blocked_by);
        let change = charter.change().zip(view.moves()).map(|(change, moves)| ChangeView {
            id: change.id,
            joins: pods(&moves.joins),
            leaves: pods(&moves.leaves),
            cancelled: change.cancelled,
            blocked_by: blocked_by().unwrap_or_default(),
        });
        RingView {
            version: view.version,
            epoch: charter.ring().epoch(),
            confirmed,
            members: charter.ring().members().iter().map(|member| (pod(member.id), member.weight)).collect(),
            homes: view.homes().iter().map(|homes| homes.iter().map(|id| pod(*id)).collect()).collect(),
            change,
            leavers: charter.leavers().iter().map(|id| pod(*id)).collect(),
            gone: view.last_gone().into_iter().map(|(id, life)| (pod(id), life)).collect(),
            behind: charter
                .ring()
                .members()
                .iter()
                .map(|member| member.id)
                .filter(|id| view.is_behind(*id))
                .map(pod)
                .collect(),
            nodes,
            quorum: self.largest_quorum() as u32,
            sources: self.sources() as u32,
        }
    }

    /// max(R, N - R + 1), the largest over the buckets; N while there may be others than those that are known.
    fn sources(&self) -> usize {
        if self.knows_buckets() { self.needed() } else { usize::from(self.view.ring().n()) }
    }

    fn largest_quorum(&self) -> usize {
        let n = self.view.ring().n();
        if !self.knows_buckets() {
            return n.into();
        }
        self.shape.buckets.iter().map(|bucket| bucket.r.max(bucket.w)).fold(n / 2 + 1, u8::max).into()
    }

    fn knows_buckets(&self) -> bool {
        self.buckets.iter().all(|known| *known)
    }
}

fn edit_of(edit: &dynamo_planner::Edit, shape: &Shape) -> Edit {
    let name = |pod| format!("node-{}", shape.node_of(pod));
    match edit {
        dynamo_planner::Edit::Join { pod, weight } => Edit::Join { node: name(pod), weight: *weight },
        dynamo_planner::Edit::Leave { pod } => Edit::Leave { node: name(pod) },
        dynamo_planner::Edit::Remove { pod } => Edit::Remove { node: name(pod) },
        dynamo_planner::Edit::Reweigh { pod, weight } => {
            Edit::Update { node: name(pod), weight: *weight, zone: String::new() }
        }
    }
}
