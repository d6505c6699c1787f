//! What is measured: sizes of values, shares of reads, numbers of clients.

use std::{fmt, str::FromStr};

use crate::workload::draw::{VALUE_BYTES_MAX, VALUE_BYTES_MIN};

/// More clients than this are no load of one machine.
const CLIENTS_MAX: usize = 10_000;

/// One combination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cell {
    /// Of each value.
    pub value_bytes: usize,
    /// 0 to 100.
    pub read_percent: u32,
    /// How many ask at once.
    pub clients: usize,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B, {} % reads, {} clients", self.value_bytes, self.read_percent, self.clients)
    }
}

/// Several, in the order in which they are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells(pub Vec<Cell>);

impl FromStr for Cells {
    type Err = String;

    /// `all`, `quick`, or a list as 1024:50:32,100:95:128.
    fn from_str(text: &str) -> Result<Self, String> {
        let cells: Vec<Cell> = match text {
            "all" => matrix(),
            "quick" => vec![Cell { value_bytes: 1024, read_percent: 50, clients: 32 }],
            list => list.split(',').map(one).collect::<Result<_, _>>()?,
        };
        match (1..cells.len()).find(|&place| cells[..place].contains(&cells[place])) {
            Some(place) => Err(format!("{} is there twice", cells[place])),
            None => Ok(Self(cells)),
        }
    }
}

/// Those of one value size follow each other: a store is loaded anew for each.
fn matrix() -> Vec<Cell> {
    let mut cells = Vec::new();
    for value_bytes in [1024, 100] {
        for read_percent in [50, 95] {
            cells.extend([32, 128].map(|clients| Cell { value_bytes, read_percent, clients }));
        }
    }
    cells
}

fn one(text: &str) -> Result<Cell, String> {
    let expected =
        || format!("{text:?} is no cell: expected all, quick, or VALUE_BYTES:READ_PERCENT:CLIENTS, as in 1024:50:32");
    let numbers: Vec<usize> = text.split(':').map(str::parse).collect::<Result<_, _>>().map_err(|_| expected())?;
    let [value_bytes, read_percent, clients] = numbers[..] else { return Err(expected()) };
    if !(VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&value_bytes) {
        return Err(format!("values of {value_bytes} bytes: {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX}"));
    }
    if read_percent > 100 {
        return Err(format!("{read_percent} % of reads: 0 to 100"));
    }
    if !(1..=CLIENTS_MAX).contains(&clients) {
        return Err(format!("{clients} clients: 1 to {CLIENTS_MAX}"));
    }
    Ok(Cell { value_bytes, read_percent: read_percent as u32, clients })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Cell>, String> {
        text.parse().map(|Cells(cells)| cells)
    }

    #[test]
    fn the_matrix_is_whole_and_quick_is_one_of_it() {
        let all = parse("all").unwrap();
        assert_eq!(all.len(), 8);
        assert!(all.contains(&parse("quick").unwrap()[0]));
        let sizes: Vec<usize> = all.iter().map(|cell| cell.value_bytes).collect();
        assert_eq!(sizes, [1024, 1024, 1024, 1024, 100, 100, 100, 100], "loaded anew but once");
    }

    #[test]
    fn a_list_is_taken_apart_and_what_is_no_cell_is_named() {
        assert_eq!(parse("100:95:128").unwrap(), [Cell { value_bytes: 100, read_percent: 95, clients: 128 }]);
        assert_eq!(parse("100:95:128,16:0:1").unwrap().len(), 2);
        for (text, says) in [
            ("", "no cell"),
            ("slow", "no cell"),
            ("1024:50", "no cell"),
            ("1024:50:32:1", "no cell"),
            ("1024:-1:32", "no cell"),
            ("15:50:32", "15 bytes"),
            ("9999999:50:32", "9999999 bytes"),
            ("1024:101:32", "101 %"),
            ("1024:50:0", "0 clients"),
            ("1024:50:32,1024:50:32", "twice"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
