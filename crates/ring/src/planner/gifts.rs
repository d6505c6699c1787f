//! Which token to give to a zone or node that is due one.
//!
//! A gift is clean if no walk that looks at the token skips one afterwards. Among clean gifts those are better that cost no
//! second one (their owner has a token too many, or there is none), and for zones those that continue a row: where a zone
//! owns the N-th token before or after. Zones that stay in rows leave others whole stretches in which they are not, and
//! into which they can grow in their turn.

use std::cmp::Reverse;

use super::{
    board::Board,
    shape::{VACANT, mix},
};

/// Pairs of tokens that are tried for a gift by way of a third node.
const WAYS: usize = 20_000;

/// Nodes of a zone that are compared for a token.
const NEEDIEST: usize = 4;

/// Who is due tokens.
#[derive(Clone, Copy)]
pub enum Receiver {
    /// Some node of a zone.
    Zone(usize),
    /// A node; from others of its zone.
    Node(u16),
}

/// How good a token is for somebody; the less the better.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    skips: usize,
    costs_another: bool,
    stands_alone: bool,
    owned: bool,
    tie: u64,
}

impl Receiver {
    /// Tokens that it is due.
    pub fn due(self, board: &Board) -> i64 {
        match self {
            Receiver::Zone(zone) => board.net[zone],
            Receiver::Node(node) => board.need[usize::from(node)],
        }
    }

    /// Whether it takes so many of its possible places that it has to keep to rows, and how far its tokens are apart then.
    fn row(self, board: &Board) -> Option<usize> {
        let shape = board.shape;
        match self {
            Receiver::Zone(zone) => {
                let many = shape.zoned || board.tokens_of(zone) * (2 * shape.homes - 1) >= shape.tokens;
                many.then_some(shape.homes)
            }
            Receiver::Node(node) => {
                let (zone, own) = (shape.zone_of(node), board.owners.iter().filter(|owner| **owner == node).count());
                let (apart, places) = (shape.apart(zone) as f64, shape.places(zone));
                let many = (own as i64 + self.due(board)) as f64 * (2.0 * apart - 1.0) * shape.homes as f64;
                let stride = (apart * shape.homes as f64 / places).round() as usize;
                (many >= shape.tokens as f64 * places).then_some(stride)
            }
        }
    }

    /// The node that is to own a token.
    pub fn node(self, board: &Board, token: usize) -> u16 {
        let zone = match self {
            Receiver::Node(node) => return node,
            Receiver::Zone(zone) => zone,
        };
        let need = |node: u16| board.need[usize::from(node)];
        let rank = |node: u16| (Reverse(need(node)), mix(board.shape.seed[usize::from(node)] ^ token as u64));
        if board.shape.apart(zone) < 2 {
            return *board.shape.zones[zone].iter().min_by_key(|node| rank(**node)).expect("a zone has nodes");
        }
        // Of those that are due most, the one that fits best.
        let mut first = [None; NEEDIEST];
        for node in board.shape.zones[zone].iter().map(|node| (rank(*node), *node)) {
            if first[NEEDIEST - 1].is_none_or(|last| node < last) {
                first[NEEDIEST - 1] = Some(node);
                first.sort_by_key(|node| (node.is_none(), *node));
            }
        }
        let due = |node: &u16| need(*node) > 0;
        let first = first.into_iter().flatten().map(|(_, node)| node);
        let best =
            first.clone().filter(due).map(|node| (board.skips(token, node), node)).min_by_key(|(skips, _)| *skips);
        best.map(|(_, node)| node).or(first.into_iter().next()).expect("a zone has nodes")
    }

    /// A node to judge a token by: which of a zone's it is matters only where these have to be apart.
    fn some_node(self, board: &Board, token: usize) -> u16 {
        match self {
            Receiver::Zone(zone) if board.shape.apart(zone) < 2 => board.shape.zones[zone][0],
            _ => self.node(board, token),
        }
    }

    /// Whether a token's owner has it to spare, itself and not only its zone; `None` if the token has to stay.
    fn spares(self, board: &Board, token: usize) -> Option<bool> {
        let owner = board.owners[token];
        if owner == VACANT {
            return Some(true);
        }
        let (zone, spare) = (board.shape.zone_of(owner), board.need[usize::from(owner)] < 0);
        match self {
            Receiver::Zone(to) => (zone != to && board.net[zone] < 0).then_some(spare),
            Receiver::Node(to) => (zone == board.shape.zone_of(to) && spare).then_some(true),
        }
    }

    fn owns(self, board: &Board, token: usize) -> bool {
        match self {
            Receiver::Zone(zone) => board.zone(token) == Some(zone),
            Receiver::Node(node) => board.owners[token] == node,
        }
    }

    /// Whether it owns a token one row before or after.
    pub fn joins(self, board: &Board, token: usize, row: usize) -> bool {
        let tokens = board.owners.len();
        self.owns(board, (token + row) % tokens) || self.owns(board, (token + tokens - row % tokens) % tokens)
    }

    /// Whether it can have a token without a walk skipping one.
    pub fn fits(self, board: &Board, token: usize) -> bool {
        board.skips(token, self.some_node(board, token)) == 0
    }

    fn rank(self, board: &Board, token: usize, row: Option<usize>) -> Option<Rank> {
        let spares = self.spares(board, token)?;
        let to = self.some_node(board, token);
        Some(Rank {
            skips: board.skips(token, to),
            costs_another: !spares,
            stands_alone: row.is_some_and(|row| !self.joins(board, token, row)),
            owned: board.owners[token] != VACANT,
            tie: mix(token as u64 ^ mix(u64::from(to))),
        })
    }

    /// Gives it tokens, the best first, each of which makes at most `skips` walks skip, and costs no other than the board
    /// has to spare. How many.
    pub fn gain(self, board: &mut Board, skips: usize) -> usize {
        let row = self.row(board);
        let tokens = 0..board.owners.len();
        let mut ranked: Vec<(Rank, usize)> = tokens
            .filter_map(|token| Some((self.rank(board, token, row)?, token)))
            .filter(|(rank, _)| rank.skips <= skips && (board.spare > 0 || !rank.costs_another))
            .collect();
        ranked.sort_unstable();
        let Some((best, _)) = ranked.first().copied() else { return 0 };
        // Where a token stands alone, others join it: those are seen by the next look.
        let due = self.due(board) as usize;
        let most = if best.stands_alone { (due / 8).max(1) } else { due };
        let mut gained = 0;
        for (rank, token) in ranked {
            if gained == most || (rank.skips, rank.stands_alone) != (best.skips, best.stands_alone) {
                break;
            }
            let now = self.rank(board, token, None);
            let as_good = now.is_some_and(|now| (now.skips, now.costs_another) <= (rank.skips, rank.costs_another));
            if as_good && (board.spare > 0 || !rank.costs_another) {
                board.spare -= usize::from(rank.costs_another);
                board.give(token, self.node(board, token));
                gained += 1;
            }
        }
        gained
    }

    /// Where nothing it could be given fits: a third node takes that, and gives it one of its own that does. How many.
    pub fn gain_by_way(self, board: &mut Board) -> usize {
        if board.spare == 0 {
            return 0;
        }
        let tokens = board.owners.len();
        let third = |token: &usize| {
            let owner = board.owners[*token];
            let stays = owner != VACANT && self.spares(board, *token).is_none();
            stays
                && match self {
                    // Another node of the zone does where it is nodes that are too near.
                    Receiver::Zone(zone) => board.shape.apart(zone) > 1 || board.shape.zone_of(owner) != zone,
                    Receiver::Node(node) => owner != node && board.shape.zone_of(owner) == board.shape.zone_of(node),
                }
        };
        let froms = (0..tokens).filter(|token| self.spares(board, *token) == Some(true));
        let pairs = froms.flat_map(|from| {
            let start = mix(from as u64) as usize % tokens;
            (0..tokens).map(move |step| (from, (start + step) % tokens))
        });
        let clean = |(from, way): &(usize, usize)| {
            let (to, owner) = (self.some_node(board, *way), board.owners[*way]);
            let gifts = [(*from, owner), (*way, to)];
            to != owner && board.skips_if(*way, &gifts) == 0 && board.skips_if(*from, &gifts) == 0
        };
        let Some((from, way)) = pairs.take(WAYS).filter(|(_, way)| third(way)).find(clean) else { return 0 };
        let (to, owner) = (self.some_node(board, way), board.owners[way]);
        board.give(way, if board.shape.apart(board.shape.zone_of(to)) > 1 { to } else { self.node(board, way) });
        board.give(from, owner);
        board.spare -= 1;
        1
    }
}
