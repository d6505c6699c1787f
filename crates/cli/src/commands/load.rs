//! `dynamo load`: writes JSON lines, one record a line.

use std::collections::HashMap;

use bytes::Bytes;
use clap::Args;
use dynamo_client::{Client, Error, Put};
use tokio::sync::mpsc;

use crate::{
    args,
    failure::Failure,
    records::{Record, insist, lanes, lines, lines::Lines, summary::Progress},
};

const EXAMPLES: &str = "\
Examples:
  dynamo load packages.jsonl --key-field Package
  zcat events.jsonl.gz | dynamo load - --key-field id --bucket events --concurrency 256

The value of a record is its line, byte for byte, without the newline. Of several lines with one key the last wins. The \
first write of a key has read nothing: where the bucket holds an older value, both become siblings; load into an empty \
bucket, or one that keeps the last write. Failures are listed as `line N: ...`, the rest goes on, and the exit code is 1. \
Memory grows with the number of keys (some 200 bytes each), not with the file.";

/// Writes a file of JSON lines
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
    /// Writes under way at once
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=4096))]
    concurrency: u16,
    /// How many replicas have to hold a write [default: the bucket's W]
    #[arg(short, value_parser = clap::value_parser!(u32).range(1..), value_name = "REPLICAS")]
    w: Option<u32>,
    #[command(flatten)]
    endpoint: args::Endpoint,
    #[command(flatten)]
    output: args::Output,
}

impl Command {
    pub async fn run(self) -> Result<(), Failure> {
        let (input, bytes) = lines::open(&self.file)
            .map_err(|error| Failure::usage(format!("can't read {}: {error}. Nothing was written", self.file)))?;
        let client = self.endpoint.connect().await?;
        client.describe_bucket(&self.bucket.bucket).await?;
        let progress = Progress::new(bytes);
        let lines = Lines::new(input, &self.key_field);
        let ended = lanes::run(
            lines,
            self.concurrency.into(),
            progress.clone(),
            |_| true,
            |records| {
                let writer = Writer {
                    client: client.clone(),
                    bucket: self.bucket.bucket.clone(),
                    w: self.w,
                    written: HashMap::new(),
                    progress: progress.clone(),
                };
                writer.run(records)
            },
        )
        .await;
        let printed = progress.finish().print("written", self.output.json());
        ended.and(printed)
    }
}

/// What is known of a key that was written before.
enum Earlier {
    /// This context covers it.
    Context(Bytes),
    /// It was tried more than once, or failed: who writes next has to read what became of it.
    Unclear,
}

/// Writes the records of one lane, one after the other.
struct Writer {
    client: Client,
    bucket: String,
    w: Option<u32>,
    written: HashMap<Bytes, Earlier>,
    progress: Progress,
}

impl Writer {
    async fn run(mut self, mut records: mpsc::Receiver<Record>) {
        while let Some(record) = records.recv().await {
            let line = record.line;
            match self.write(record).await {
                Ok(()) => self.progress.done(),
                Err(error) => self.progress.failed(line, &error.to_string()),
            }
        }
    }

    async fn write(&mut self, record: Record) -> Result<(), Error> {
        let context = match self.written.get(&record.key) {
            None => Bytes::new(),
            Some(Earlier::Context(context)) => context.clone(),
            Some(Earlier::Unclear) => {
                insist(|| self.client.get(&self.bucket, record.key.clone(), None)).await.0?.context
            }
        };
        let put = || Put {
            bucket: self.bucket.clone(),
            key: record.key.clone(),
            value: record.value.clone(),
            context: context.clone(),
            w: self.w,
        };
        let (ended, tries) = insist(|| self.client.put(put())).await;
        let earlier = match &ended {
            Ok(written) if tries == 1 => Earlier::Context(written.context.clone()),
            _ => Earlier::Unclear,
        };
        // The key's bytes would keep the whole line alive if they shared its memory: they do not.
        self.written.insert(record.key, earlier);
        ended.map(drop)
    }
}
