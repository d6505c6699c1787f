//! How results look: tables and sentences for people, JSON documents for programs.

use std::{
    env,
    io::{self, Write},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::ValueEnum;
use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failure::Failure;

/// For whom the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum Format {
    /// Tables and sentences
    #[default]
    Text,
    /// One JSON document
    Json,
}

/// Writes bytes to standard output.
pub fn raw(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Writes a line to standard output.
pub fn line(text: impl AsRef<str>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", text.as_ref())?;
    out.flush()?;
    Ok(())
}

/// Writes a JSON document to standard output.
pub fn document(document: &impl Serialize) -> Result<(), Failure> {
    line(serde_json::to_string(document).expect("plain data can be written"))
}

/// A table without frames, which `awk` and `cut` can read too. `right` names the columns that hold numbers.
pub fn table(header: &[&str], right: &[&str], rows: Vec<Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    // Decides by itself that what is no terminal gets no attributes.
    let bold = |name| Cell::new(name).add_attribute(Attribute::Bold);
    table.set_header(header.iter().map(|name| if plain() { Cell::new(name) } else { bold(name) }));
    table.add_rows(rows);
    for (index, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(index) {
            column.set_padding((0, 2));
            if right.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table
}

/// Whether the person, or the terminal, wants no attributes (<https://no-color.org>).
fn plain() -> bool {
    env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
        || env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Writes a table to standard output, without blanks at the ends of lines.
pub fn print_table(table: &Table) -> Result<(), Failure> {
    line(table.to_string().lines().map(str::trim_end).collect::<Vec<_>>().join("\n"))
}

/// Bytes as JSON: a string where they are UTF-8, else `{"base64": "..."}`.
pub fn bytes_to_json(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    }
}

/// A number of bytes for people.
pub fn bytes_for_people(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_is_no_utf8_says_that_it_is_base64() {
        assert_eq!(bytes_to_json("zażółć".as_bytes()), json!("zażółć"));
        assert_eq!(bytes_to_json(&[0xff, 0x00, 0xfe]), json!({ "base64": "/wD+" }));
        assert_eq!(bytes_to_json(b""), json!(""));
    }

    #[test]
    fn byte_counts_read_well_at_the_borders() {
        assert_eq!(bytes_for_people(1023), "1023 B");
        assert_eq!(bytes_for_people(1024), "1.0 KiB");
        assert_eq!(bytes_for_people((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes_for_people(u64::MAX), "16384.0 PiB");
    }

    #[test]
    fn columns_of_numbers_stand_right() {
        let table =
            table(&["id", "keys"], &["keys"], vec![vec!["a".into(), "7".into()], vec!["b".into(), "1234".into()]]);
        let text = table.to_string();
        let ends: Vec<usize> = text.lines().map(|line| line.trim_end().len()).collect();
        assert!(ends.windows(2).all(|pair| pair[0] == pair[1]), "{text}");
    }
}
