//! Moving tokens from those who have too many to those who have too few, with walks that skip as little as can be.

use std::cmp::Reverse;

use super::{
    board::Board,
    gifts::Receiver,
    shape::{VACANT, mix},
};

/// Up to so many zones are compared for each vacant token.
const ZONES_COMPARED: usize = 16;

/// Ways to give tokens, each for those who had nothing left from the one before.
#[derive(Clone, Copy)]
enum Way {
    Clean,
    ByThird,
    Skipping,
    Anyhow,
}

const WAYS: [Way; 4] = [Way::Clean, Way::ByThird, Way::Skipping, Way::Anyhow];

/// Moves tokens until every node has those it is due.
pub fn transfer(board: &mut Board) {
    if board.shape.zones.len() <= ZONES_COMPARED {
        fill_vacant(board);
    }
    for way in WAYS {
        between_zones(board, way);
    }
    for way in WAYS {
        inside_zones(board, way);
    }
}

fn gain(board: &mut Board, receiver: Receiver, way: Way) -> usize {
    match way {
        Way::Clean => receiver.gain(board, 0),
        Way::ByThird => receiver.gain_by_way(board),
        Way::Skipping => receiver.gain(board, usize::MAX),
        Way::Anyhow => {
            let spare = std::mem::replace(&mut board.spare, usize::MAX);
            let gained = receiver.gain(board, usize::MAX);
            board.spare = spare;
            gained
        }
    }
}

fn between_zones(board: &mut Board, way: Way) {
    let mut stuck = vec![false; board.net.len()];
    loop {
        let open = (0..stuck.len()).filter(|zone| !stuck[*zone] && board.net[*zone] > 0);
        let Some(zone) = open.max_by_key(|zone| (board.net[*zone], Reverse(*zone))) else { return };
        stuck[zone] = gain(board, Receiver::Zone(zone), way) == 0;
    }
}

fn inside_zones(board: &mut Board, way: Way) {
    let mut open: Vec<u16> = (0..board.need.len() as u16).filter(|node| board.need[usize::from(*node)] > 0).collect();
    open.sort_by_key(|node| (Reverse(board.need[usize::from(*node)]), *node));
    for node in open {
        while board.need[usize::from(node)] > 0 && gain(board, Receiver::Node(node), way) > 0 {}
    }
}

/// Vacant tokens have to go to somebody: those first that fit the fewest zones.
fn fill_vacant(board: &mut Board) {
    loop {
        let mut options: Vec<(usize, u64, usize, Vec<usize>)> = Vec::new();
        for token in (0..board.owners.len()).filter(|token| board.owners[*token] == VACANT) {
            let due = (0..board.net.len()).filter(|zone| board.net[*zone] > 0);
            let zones: Vec<usize> = due.filter(|zone| Receiver::Zone(*zone).fits(board, token)).collect();
            if !zones.is_empty() {
                options.push((zones.len(), mix(token as u64), token, zones));
            }
        }
        options.sort_unstable();
        let Some(fewest) = options.first().map(|(fewest, ..)| *fewest) else { return };
        // Where there is a choice, a part of them changes what the others can choose from.
        let most = if fewest == 1 { usize::MAX } else { (options.len() / 8).max(1) };
        let alike = options.into_iter().take_while(|(fits, ..)| *fits == fewest);
        let filled = alike.take(most).filter(|(.., token, zones)| fill(board, *token, zones)).count();
        if filled == 0 {
            return;
        }
    }
}

fn fill(board: &mut Board, token: usize, zones: &[usize]) -> bool {
    let joins = |zone: usize| Receiver::Zone(zone).joins(board, token, board.shape.homes);
    let due = zones.iter().copied().filter(|zone| board.net[*zone] > 0);
    let Some(zone) = due.max_by_key(|zone| (joins(*zone), board.net[*zone], Reverse(*zone))) else { return false };
    let to = Receiver::Zone(zone).node(board, token);
    let clean = board.skips(token, to) == 0;
    if clean {
        board.give(token, to);
    }
    clean
}
