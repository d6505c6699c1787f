//! Reads JSON lines one at a time, in bounded memory.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::Record;

/// A longer line is refused. No cluster takes a value near it.
const LINE_BYTES_MAX: usize = 64 << 20;

/// What a line turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A record.
    Record(Record),
    /// No record, and why.
    Bad(u64, String),
}

/// An input of JSON lines.
pub struct Lines {
    input: Box<dyn BufRead + Send>,
    key_field: String,
    line: u64,
    /// Bytes read so far.
    pub position: u64,
}

/// Opens a file, or standard input for `-`. The length is that of a regular file.
pub fn open(file: &str) -> io::Result<(Box<dyn Read + Send>, Option<u64>)> {
    if file == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let opened = File::open(file)?;
    let metadata = opened.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    Ok((Box::new(opened), metadata.is_file().then_some(metadata.len())))
}

impl Lines {
    /// Reads from an input; `key_field` names the field that holds the key.
    pub fn new(input: Box<dyn Read + Send>, key_field: &str) -> Self {
        let input = Box::new(BufReader::with_capacity(1 << 16, input));
        Self { input, key_field: key_field.to_owned(), line: 0, position: 0 }
    }

    /// The next line that is not blank.
    ///
    /// # Errors
    /// Those of reading the input; a bad line is no error here.
    pub fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            let read = (&mut self.input).take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes)?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.position += read as u64;
            if bytes.last() == Some(&b'\n') {
                bytes.pop();
            } else if read > LINE_BYTES_MAX {
                self.position += self.input.skip_until(b'\n')? as u64;
                return Ok(Some(Line::Bad(self.line, format!("longer than {} MiB", LINE_BYTES_MAX >> 20))));
            }
            if bytes.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            return Ok(Some(match key_of(&bytes, &self.key_field) {
                Ok(key) => Line::Record(Record { line: self.line, key, value: bytes.into() }),
                Err(problem) => Line::Bad(self.line, problem),
            }));
        }
    }
}

fn key_of(line: &[u8], key_field: &str) -> Result<Bytes, String> {
    let mut object: Map<String, Value> = serde_json::from_slice(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => format!("half-written JSON: {error}"),
        _ => format!("no JSON object: {error}"),
    })?;
    match object.remove(key_field) {
        Some(Value::String(key)) => Ok(key.into()),
        Some(_) => Err(format!("its field {key_field:?} is no string")),
        None => Err(format!("it has no field {key_field:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &'static [u8]) -> Vec<Line> {
        let mut lines = Lines::new(Box::new(text), "id");
        std::iter::from_fn(|| lines.next().unwrap()).collect()
    }

    fn record(line: u64, key: &'static str, value: &'static str) -> Line {
        Line::Record(Record { line, key: key.into(), value: value.into() })
    }

    #[test]
    fn the_value_is_the_exact_line_and_blank_lines_only_count() {
        let lines = read(b"{\"id\":\"a\", \"x\" :1}\n\n {\"id\":\"\\u00e9\"} \r\n{\"id\":\"c\"}");
        assert_eq!(
            lines,
            [
                record(1, "a", "{\"id\":\"a\", \"x\" :1}"),
                record(3, "é", " {\"id\":\"\\u00e9\"} \r"),
                record(4, "c", "{\"id\":\"c\"}")
            ]
        );
    }

    #[test]
    fn a_bad_line_is_told_with_its_number_and_the_next_one_is_read() {
        let lines = read(b"[1]\n{\"id\":7}\n{}\n{\"id\":\"a\"}\n{\"id\":\"half");
        let told: Vec<(u64, String)> = lines
            .iter()
            .filter_map(|line| match line {
                Line::Bad(number, problem) => Some((*number, problem.clone())),
                Line::Record(_) => None,
            })
            .collect();
        assert_eq!(told.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [1, 2, 3, 5]);
        assert!(told[1].1.contains("no string") && told[2].1.contains("no field"));
        assert!(told[3].1.starts_with("half-written"), "{}", told[3].1);
        assert_eq!(lines[3], record(4, "a", "{\"id\":\"a\"}"));
    }
}
