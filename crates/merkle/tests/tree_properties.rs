//! A tree kept with each write is the tree of what is there (§4.7).

mod support;

use std::collections::BTreeMap;

use dynamo_merkle::{DEPTH_MAX, LEAF_BYTES, LEAF_FORMAT, LeafError, Shape, Tree, decode_leaf, encode_leaf, entry_sum};
use proptest::{collection, prelude::*};
use support::{hash, key};

/// A key's number, and its digest from now on; None removes it.
type Write = (usize, Option<u64>);

fn writes() -> impl Strategy<Value = Vec<Write>> {
    let digest = prop_oneof![1 => Just(None), 4 => prop_oneof![0u64..5, any::<u64>()].prop_map(Some)];
    collection::vec((0usize..50, digest), 0..200)
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![60 => 1u8..=3, 1 => 4..=DEPTH_MAX].prop_map(|depth| Shape::new(depth).expect("a depth in range"))
}

fn numbered(number: usize) -> u64 {
    hash(&key(number))
}

/// Keeps a tree through the writes, and beside it the plain keys and what the engine would have stored of the leaves.
fn keep(shape: Shape, writes: &[Write]) -> (Tree, BTreeMap<usize, u64>, BTreeMap<u32, u64>) {
    let (mut tree, mut keys, mut stored) = (Tree::new(shape), BTreeMap::new(), BTreeMap::new());
    for &(number, new) in writes {
        let old = keys.get(&number).copied();
        let change = tree.apply(numbered(number), old, new);
        assert_eq!(change.before, stored.get(&change.leaf).copied().unwrap_or(0));
        assert_eq!((change.leaf, change.after), (shape.leaf_of(numbered(number)), tree.leaf(change.leaf)));
        stored.insert(change.leaf, change.after);
        match new {
            Some(digest) => keys.insert(number, digest),
            None => keys.remove(&number),
        };
    }
    (tree, keys, stored)
}

fn build(shape: Shape, keys: impl IntoIterator<Item = (usize, u64)>) -> Tree {
    Tree::build(shape, keys.into_iter().map(|(number, digest)| (numbered(number), digest)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_is_the_tree_built_from_scratch_after_any_writes_and_in_any_order(shape in shape(), writes in writes()) {
        let (tree, keys, _) = keep(shape, &writes);
        prop_assert_eq!(&tree, &build(shape, keys.clone()));
        prop_assert_eq!(&tree, &build(shape, keys.into_iter().rev()));
    }

    #[test]
    fn it_comes_back_from_the_leaves_that_were_stored_with_the_writes(shape in shape(), writes in writes()) {
        let (tree, keys, stored) = keep(shape, &writes);
        let decoded = stored.iter().map(|(&leaf, &sum)| {
            (leaf, decode_leaf(shape, leaf, &encode_leaf(shape, leaf, sum)).expect("its own encoding"))
        });
        prop_assert_eq!(Tree::from_leaves(shape, decoded), Some(tree.clone()));
        // Or from those that are not 0 only, and going on from there.
        let mut loaded = Tree::from_leaves(shape, tree.leaves()).expect("leaves of this shape");
        prop_assert_eq!(&loaded, &tree);
        for (number, digest) in keys {
            loaded.apply(numbered(number), Some(digest), None);
        }
        prop_assert_eq!((loaded.root(), loaded.leaves().count()), (0, 0));
    }

    #[test]
    fn the_root_is_the_sum_of_the_leaves_whatever_the_depth(one in shape(), other in shape(), writes in writes()) {
        let (tree, _, _) = keep(one, &writes);
        prop_assert_eq!(tree.leaves().fold(0u64, |sum, (_, leaf)| sum.wrapping_add(leaf)), tree.root());
        prop_assert_eq!(keep(other, &writes).0.root(), tree.root());
    }

    #[test]
    fn a_change_that_was_not_committed_is_taken_back(shape in shape(), writes in writes(), lost in writes()) {
        let (tree, keys, _) = keep(shape, &writes);
        let (mut now, mut overlay, mut done) = (tree.clone(), keys, Vec::new());
        for (number, new) in lost {
            let old = overlay.get(&number).copied();
            now.apply(numbered(number), old, new);
            done.push((number, old, new));
            match new {
                Some(digest) => overlay.insert(number, digest),
                None => overlay.remove(&number),
            };
        }
        while let Some((number, old, new)) = done.pop() {
            now.apply(numbered(number), new, old);
        }
        prop_assert_eq!(now, tree);
    }

    #[test]
    fn other_keys_or_states_make_another_tree(shape in shape(), writes in writes(), other in writes()) {
        let (one, one_keys, _) = keep(shape, &writes);
        let (other, other_keys, _) = keep(shape, &other);
        prop_assert_eq!(one == other, one_keys == other_keys);
        prop_assert_eq!(one.root() == other.root(), one_keys == other_keys);
        let leaf_keys = |keys: &BTreeMap<usize, u64>, leaf| -> Vec<(usize, u64)> {
            let of_leaf = keys.iter().filter(|(number, _)| shape.leaf_of(numbered(**number)) == leaf);
            of_leaf.map(|(&number, &digest)| (number, digest)).collect()
        };
        for leaf in one.differing_leaves(&other) {
            prop_assert_ne!(leaf_keys(&one_keys, leaf), leaf_keys(&other_keys, leaf));
        }
        let all = one_keys.iter().chain(&other_keys).filter(|(number, digest)| {
            (one_keys.get(number), other_keys.get(number)) != (Some(digest), Some(digest))
        });
        for (&number, _) in all {
            let leaf = shape.leaf_of(numbered(number));
            prop_assert_ne!(one.leaf(leaf), other.leaf(leaf), "the leaf of key {}", number);
        }
    }

    #[test]
    fn keys_that_swap_their_states_are_seen(one in 0usize..1000, other in 0usize..1000, a: u64, b: u64) {
        prop_assume!(one != other && a != b);
        let shape = Shape::new(1).expect("a depth in range");
        prop_assert_ne!(build(shape, [(one, a), (other, b)]).root(), build(shape, [(one, b), (other, a)]).root());
        prop_assert_ne!(entry_sum(numbered(one), a), entry_sum(numbered(one), b));
    }

    #[test]
    fn a_stored_leaf_with_any_bit_changed_or_in_another_place_is_refused(
        shape in shape(),
        leaf in 0u32..16,
        sum: u64,
        bit in 0..LEAF_BYTES * 8,
    ) {
        let good = encode_leaf(shape, leaf, sum);
        prop_assert_eq!(decode_leaf(shape, leaf, &good), Ok(sum));
        prop_assert_eq!(decode_leaf(shape, leaf + 1, &good), Err(LeafError::Damaged));
        let mut bad = good;
        bad[bit / 8] ^= 1 << (bit % 8);
        prop_assert_eq!(decode_leaf(shape, leaf, &bad), Err(LeafError::Damaged));
        prop_assert_eq!(decode_leaf(shape, leaf, &good[..bit / 8]), Err(LeafError::Damaged));
        let other = Shape::new(shape.depth() % DEPTH_MAX + 1).expect("a depth in range");
        let refused = LeafError::OtherShape { depth: shape.depth() };
        prop_assert_eq!(decode_leaf(other, leaf, &good), Err(refused));
    }
}

#[test]
fn a_stored_leaf_of_zeroes_is_damaged() {
    assert_eq!(decode_leaf(Shape::default(), 0, &[0; LEAF_BYTES]), Err(LeafError::Damaged));
}

/// Written down, so that a change of what is on disks, or of what replicas of several versions compare, does not slip in.
#[test]
fn sums_and_stored_leaves_are_those_of_format_1() {
    assert_eq!(LEAF_FORMAT, 1);
    let shape = Shape::default();
    let mut tree = Tree::new(shape);
    let change = tree.apply(0x0123_4567_89ab_cdef, None, Some(42));
    assert_eq!((change.leaf, tree.root()), (0x012, 0x6961_a78b_d3ec_10ec));
    let sum = tree.root().to_be_bytes();
    let head = [&[1, 3, 0, 0, 0, 0x12], &sum[..]].concat();
    assert_eq!(encode_leaf(shape, change.leaf, change.after)[..], [&head[..], &0x9b9b_35c5u32.to_be_bytes()].concat());
}

#[test]
fn leaves_of_a_deeper_tree_are_refused() {
    let shape = Shape::new(1).expect("a depth in range");
    assert_eq!(Tree::from_leaves(shape, [(16, 1)]), None);
    assert!(Tree::from_leaves(shape, [(15, 1)]).is_some());
    assert_eq!((Shape::new(0), Shape::new(DEPTH_MAX + 1)), (None, None));
}

#[test]
fn a_leaf_that_is_set_changes_all_above_it() {
    for depth in 1..=DEPTH_MAX {
        let shape = Shape::new(depth).expect("a depth in range");
        let (mut tree, mut set) = (Tree::new(shape), Tree::new(shape));
        for number in 0..40 {
            let change = tree.apply(numbered(number), None, Some(7));
            set.set_leaf(change.leaf, change.after);
        }
        assert_eq!(set, tree);
        tree.leaves().for_each(|(leaf, _)| set.set_leaf(leaf, 0));
        assert_eq!(set, Tree::new(shape));
    }
}

#[test]
fn the_first_bits_of_a_hash_choose_the_leaf() {
    for depth in 1..=DEPTH_MAX {
        let shape = Shape::new(depth).expect("a depth in range");
        assert_eq!(shape.leaf_of(u64::MAX), shape.leaves() - 1);
        assert_eq!(shape.leaf_of(1 << (64 - shape.leaf_bits())), 1);
        assert_eq!(shape.leaf_of((1 << (64 - shape.leaf_bits())) - 1), 0);
    }
}
