//! `dynamo verify`: reads back what `load` wrote, and compares it byte for byte.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Seek, SeekFrom},
};

use bytes::Bytes;
use clap::Args;
use dynamo_client::Client;
use tokio::sync::mpsc;
use xxhash_rust::xxh3::xxh3_128;

use crate::{
    args,
    failure::Failure,
    records::{
        Record, insist, lanes,
        lines::{self, Line, Lines},
        summary::Progress,
    },
};

const EXAMPLES: &str = "\
Examples:
  dynamo verify packages.jsonl --key-field Package

Of several lines with one key the last is compared. A record that is not as it should be is listed with its line and a \
reason (missing; differs; N different siblings; read failed), and the exit code is 1. Nothing is written.";

/// Reads a loaded file's records back and compares them
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Command {
    /// The file, or - for standard input
    file: String,
    /// Which field of a record is its key
    #[arg(long, value_name = "FIELD")]
    key_field: String,
    #[command(flatten)]
    bucket: args::Bucket,
    /// Reads under way at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,
    /// How many replicas have to answer a read [default: the bucket's R]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    r: Option<u32>,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let unreadable = |error| Failure::usage(format!("can't read {}: {error}", self.file));
        let (file, key_field) = (self.file.clone(), self.key_field.clone());
        let indexed = tokio::task::spawn_blocking(move || index(&file, &key_field)).await;
        let (input, last_lines) = indexed.expect("indexing does not panic").map_err(unreadable)?;
        let bytes = input.metadata().map_err(unreadable)?.len();
        let client = self.endpoint.connect().await?;
        client.describe_bucket(&self.bucket.bucket).await?;
        let progress = Progress::new(Some(bytes));
        let lines = Lines::new(Box::new(input), &self.key_field);
        let wanted = move |record: &Record| last_lines.get(&xxh3_128(&record.key)) == Some(&record.line);
        let ended = lanes::run(lines, self.concurrency.into(), progress.clone(), wanted, |records| {
            compare_all(client.clone(), self.bucket.bucket.clone(), self.r, progress.clone(), records)
        })
        .await;
        let printed = progress.finish().print("verified", self.output.json());
        ended.and(printed)
    }
}

/// Reads the input once, to know the last line of each key. What can't be read twice is kept in a temporary file.
fn index(file: &str, key_field: &str) -> io::Result<(File, HashMap<u128, u64>)> {
    let (mut input, length) = lines::open(file)?;
    let mut input = match length {
        Some(_) => File::open(file)?,
        None => {
            let mut kept = tempfile::tempfile()?;
            io::copy(&mut input, &mut kept)?;
            kept.seek(SeekFrom::Start(0))?;
            kept
        }
    };
    let mut lines = Lines::new(Box::new(input.try_clone()?), key_field);
    let mut last_lines = HashMap::new();
    while let Some(line) = lines.next()? {
        if let Line::Record(record) = line {
            last_lines.insert(xxh3_128(&record.key), record.line);
        }
    }
    input.seek(SeekFrom::Start(0))?;
    Ok((input, last_lines))
}

async fn compare_all(
    client: Client,
    bucket: String,
    r: Option<u32>,
    progress: Progress,
    mut records: mpsc::Receiver<Record>,
) {
    while let Some(record) = records.recv().await {
        let read = insist(|| client.get(&bucket, record.key.clone(), r)).await.0;
        let problem = match read {
            Ok(found) => compare(&found.values, &record.value),
            Err(error) => Some(format!("read failed: {error}")),
        };
        match problem {
            None => progress.done(),
            Some(problem) => {
                let key = String::from_utf8_lossy(&record.key);
                progress.failed(record.line, &format!("{key}: {problem}"));
            }
        }
    }
}

/// What is wrong with what was read, if anything.
fn compare(values: &[Bytes], expected: &[u8]) -> Option<String> {
    match values {
        [] => Some("missing".into()),
        [value] if value == expected => None,
        [value] => {
            let at = value.iter().zip(expected).take_while(|(a, b)| a == b).count();
            Some(format!("differs from byte {at} on ({} bytes, expected {})", value.len(), expected.len()))
        }
        values => Some(format!("{} different siblings", values.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn each_kind_of_difference_has_its_reason() {
        let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
        assert_eq!(compare(&[bytes("abc")], b"abc"), None);
        assert_eq!(compare(&[], b"abc").unwrap(), "missing");
        assert_eq!(compare(&[bytes("abx")], b"abcd").unwrap(), "differs from byte 2 on (3 bytes, expected 4)");
        assert_eq!(compare(&[bytes("abc"), bytes("x")], b"abc").unwrap(), "2 different siblings");
    }

    #[test]
    fn the_last_line_of_a_key_counts_and_the_file_is_read_from_its_start_again() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{{\"id\":\"a\",\"n\":1}}\n{{\"id\":\"b\"}}\n{{\"id\":\"a\",\"n\":2}}").unwrap();
        let (mut input, last_lines) = index(file.path().to_str().unwrap(), "id").unwrap();
        assert_eq!(last_lines[&xxh3_128(b"a")], 3);
        assert_eq!(last_lines[&xxh3_128(b"b")], 2);
        assert_eq!(input.stream_position().unwrap(), 0);
    }
}
