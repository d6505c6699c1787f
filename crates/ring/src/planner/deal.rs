//! Dealing tokens in a circle, so that two of the same colour are some tokens apart.
//!
//! Colours are zones on the ring, or nodes among their zone's tokens. Both ways of dealing are followed by
//! [`space_out`], which swaps what came too near.

use super::shape::mix;

/// Columns of a table that are filled before the next is begun: colours return that often.
const COLUMNS: usize = 16;

/// A colour of each token, `counts` of each in all, no two of the same within `apart` tokens if that can be. `seeds` make
/// one order of colours differ from another. `rows` has colours in rows even where they are few.
pub fn deal(counts: &[usize], seeds: &[u64], apart: usize, rows: bool) -> Vec<u16> {
    let length: usize = counts.iter().sum();
    let apart = apart.min(counts.len());
    let most = counts.iter().copied().max().unwrap_or(0);
    let mut dealt = scattered(counts, seeds);
    if apart < 2 || !rows && most * (2 * apart - 1) < length && space_out(&mut dealt, apart) {
        return dealt;
    }
    dealt = table(counts, seeds, apart);
    space_out(&mut dealt, apart);
    dealt
}

/// Each colour's tokens, one in each of equal stretches of the circle, at a place in it that chance decides: so colours
/// follow each other in ever other orders, and the load of a node that dies goes to many.
fn scattered(counts: &[usize], seeds: &[u64]) -> Vec<u16> {
    let mut places: Vec<(u64, u64, u16)> = Vec::new();
    for (colour, (count, seed)) in counts.iter().zip(seeds).enumerate() {
        for token in 0..*count as u64 {
            let chance = mix(seed ^ mix(token));
            // The place as a fraction of the circle, of 2^48.
            let place = ((token << 48) + (chance >> 16)) / *count as u64;
            places.push((place, chance, colour as u16));
        }
    }
    places.sort_unstable();
    places.into_iter().map(|(_, _, colour)| colour).collect()
}

/// A colour that has nearly every `apart`-th token has to keep its distance all around the circle. So the circle is seen as
/// a table, read column by column, each column `apart` tokens high, and colours fill it row by row: one that ends a row
/// begins the next in the first column (McNaughton's rule for machines that share jobs). No colour is twice in one column,
/// and in columns side by side it stands in the same row but where it wraps. That also leaves each colour columns in a
/// row where it is not, into which it can grow by a token with no other moving.
///
/// To have all colours return often the table is one of many narrow ones, each with its part of every colour.
fn table(counts: &[usize], seeds: &[u64], apart: usize) -> Vec<u16> {
    let length: usize = counts.iter().sum();
    let columns = (length / apart).max(1);
    let rows = length / columns;
    let mut counts = counts.to_vec();
    let spare = spare(&mut counts, length - columns * rows, columns);
    let mut order: Vec<usize> = (0..counts.len()).collect();
    order.sort_by_key(|colour| (std::cmp::Reverse(counts[*colour]), seeds[*colour]));
    let mut dealt = Vec::with_capacity(length);
    let narrow = (columns / COLUMNS).max(1);
    let mut given = vec![0; counts.len()];
    for part in 0..narrow {
        let edge = |part: usize| part * columns / narrow;
        let (from, to) = (edge(part), edge(part + 1));
        let here = in_part(&order, &counts, &given, (to, columns), (to - from) * rows);
        let mut filling = Vec::with_capacity((to - from) * rows);
        for colour in &order {
            given[*colour] += here[*colour];
            filling.extend(std::iter::repeat_n(*colour as u16, here[*colour]));
        }
        for column in 0..to - from {
            dealt.extend(filling.iter().skip(column).step_by(to - from));
        }
    }
    for colour in spare {
        insert(&mut dealt, colour, apart);
    }
    dealt
}

/// Tokens of each colour in a part of the table that has `room` for so many: what brings all its parts up to this one, in
/// which `given` are already, to the colour's share of `to` columns.
fn in_part(
    order: &[usize],
    counts: &[usize],
    given: &[usize],
    (to, columns): (usize, usize),
    room: usize,
) -> Vec<usize> {
    // All before a colour, as far as a column: what rounding takes from one colour goes to the next.
    let upto = |sum: usize| (2 * sum * to + columns) / (2 * columns);
    let (mut sum, mut here) = (0, vec![0; counts.len()]);
    for colour in order {
        let next = sum + counts[*colour];
        here[*colour] = (upto(next) - upto(sum)).saturating_sub(given[*colour]);
        sum = next;
    }
    // Rounding may have given a colour one too early: others have one less here, and get it in the next part.
    for _ in room..here.iter().sum() {
        let most = order.iter().max_by_key(|colour| here[**colour]).expect("somebody has tokens");
        here[*most] -= 1;
    }
    here
}

/// Takes out the tokens that the table has no room for: of colours with more than one in each column, then of the rarest.
fn spare(counts: &mut [usize], spare: usize, columns: usize) -> Vec<u16> {
    (0..spare)
        .map(|_| {
            let owning = (0..counts.len()).filter(|colour| counts[*colour] > 0);
            let colour = owning.min_by_key(|colour| (counts[*colour] <= columns, counts[*colour], *colour));
            let colour = colour.expect("there are as many tokens as counted");
            counts[colour] -= 1;
            colour as u16
        })
        .collect()
}

/// Puts a token where its colour is far enough on both sides, or else at the end.
fn insert(dealt: &mut Vec<u16>, colour: u16, apart: usize) {
    let length = dealt.len();
    let reach = (apart - 1).min(length);
    let free = |at: usize| (0..2 * reach).all(|step| dealt[(at + length - reach + step) % length] != colour);
    // Those around it move apart by one, which never brings any too near.
    let at = (0..length).rev().find(|at| free(*at)).unwrap_or(length);
    dealt.insert(at, colour);
}

/// Swaps tokens until no two of a colour are within `apart`. Whether that was reached.
pub fn space_out(dealt: &mut [u16], apart: usize) -> bool {
    let length = dealt.len();
    let reach = apart.min(length) - 1;
    let near = |dealt: &[u16], at: usize, other: usize, colour: u16| {
        (1..=reach).any(|step| {
            let (ahead, behind) = ((at + step) % length, (at + length - step) % length);
            (ahead != other && dealt[ahead] == colour) || (behind != other && dealt[behind] == colour)
        })
    };
    let mut spaced = true;
    for at in 0..length {
        let colour = dealt[at];
        if !near(dealt, at, at, colour) {
            continue;
        }
        let fits = |other: &usize| {
            let theirs = dealt[*other];
            theirs != colour && !near(dealt, at, *other, theirs) && !near(dealt, *other, at, colour)
        };
        // Two within reach of each other are still near after they are swapped, and seen so.
        let partner = (1..length).map(|step| (at + step) % length).find(fits);
        match partner {
            Some(other) => dealt.swap(at, other),
            None => spaced = false,
        }
    }
    spaced
}
