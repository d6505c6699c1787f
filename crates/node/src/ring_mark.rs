//! Two nodes that go by rings of one epoch have to go by the same ring (docs/PROTOCOL.md: chosen rings form one chain).
//! Where they do not, their configurations name different first rings, or they are of two clusters with one name: each
//! would keep keys where the other does not look. So a stream says by which ring its sender goes, and such a one is
//! refused. Rings of different epochs say nothing about each other.

use arc_swap::ArcSwap;
use dynamo_ring::Ring;

/// The ring that this node goes by, in a few bytes.
#[derive(Debug, Default)]
pub struct RingMark(ArcSwap<Mark>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Mark {
    epoch: u64,
    digest: u64,
}

impl Mark {
    fn of(ring: &Ring) -> Self {
        Self { epoch: ring.epoch(), digest: xxhash_rust::xxh3::xxh3_64(&ring.encode()) }
    }

    fn parse(text: &str) -> Option<Self> {
        let (epoch, digest) = text.split_once(':')?;
        Some(Self { epoch: epoch.parse().ok()?, digest: u64::from_str_radix(digest, 16).ok()? })
    }
}

impl RingMark {
    /// This node goes by another ring.
    pub fn set(&self, ring: &Ring) {
        self.0.store(Mark::of(ring).into());
    }

    /// For a stream's headers.
    pub fn text(&self) -> String {
        let Mark { epoch, digest } = **self.0.load();
        format!("{epoch}:{digest:016x}")
    }

    /// The epoch of which a peer has another ring, if it has. One that says nothing is an older node.
    pub fn contradicted_by(&self, text: &str) -> Option<u64> {
        let (ours, theirs) = (**self.0.load(), Mark::parse(text)?);
        (ours.epoch == theirs.epoch && ours.digest != theirs.digest).then_some(ours.epoch)
    }
}

#[cfg(test)]
mod tests {
    use dynamo_ring::{Member, NodeId, PartitionCount};

    use super::*;

    fn mark(partitions: u32, zone: &str) -> RingMark {
        let member = |name: &str| Member {
            id: NodeId::initial("shop", name),
            name: name.to_owned(),
            zone: zone.to_owned(),
            weight: 1,
        };
        let partitions = PartitionCount::try_from(partitions).unwrap();
        let mark = RingMark::default();
        mark.set(&Ring::bootstrap(2, partitions, vec![member("a"), member("b")]).unwrap());
        mark
    }

    #[test]
    fn another_ring_of_the_same_epoch_is_noticed_and_nothing_else() {
        let ours = mark(64, "z");
        assert_eq!(ours.contradicted_by(&mark(64, "z").text()), None);
        assert_eq!(ours.contradicted_by(&mark(32, "z").text()), Some(1), "other partitions");
        assert_eq!(ours.contradicted_by(&mark(64, "y").text()), Some(1), "other members");
        let later = ours.text().replacen("1:", "2:", 1);
        assert_eq!(ours.contradicted_by(&later.replace('0', "1")), None, "of another epoch");
        for unknown in ["", "1", "1:xyz", "x:0123456789abcdef"] {
            assert_eq!(ours.contradicted_by(unknown), None, "{unknown}");
        }
    }
}
