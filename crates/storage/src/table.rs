//! A value for each partition, made when it is first needed and then there for good.
//!
//! How many partitions a ring has is not known here; there are never more than a `u16` can name. So the table is of
//! chunks: an unused one costs a pointer, and no lookup takes a lock.

use dynamo_ring::Partition;
use std::sync::OnceLock;

const CHUNKS: usize = 256;
const CHUNK: usize = 256;

pub(crate) struct PerPartition<T> {
    chunks: Box<[OnceLock<Box<[T]>>]>,
}

impl<T> PerPartition<T> {
    pub fn new() -> PerPartition<T> {
        PerPartition { chunks: (0..CHUNKS).map(|_| OnceLock::new()).collect() }
    }

    pub fn get(&self, partition: Partition) -> Option<&T> {
        let at = usize::from(partition.0);
        self.chunks[at / CHUNK].get().map(|chunk| &chunk[at % CHUNK])
    }

    /// As `get`; what is not there yet is made, with its neighbours.
    pub fn get_or(&self, partition: Partition, make: impl Fn() -> T) -> &T {
        let at = usize::from(partition.0);
        &self.chunks[at / CHUNK].get_or_init(|| (0..CHUNK).map(|_| make()).collect())[at % CHUNK]
    }

    /// All that were made.
    pub fn iter(&self) -> impl Iterator<Item = (Partition, &T)> {
        let chunks = self.chunks.iter().enumerate().filter_map(|(at, chunk)| Some((at * CHUNK, chunk.get()?)));
        chunks.flat_map(|(from, chunk)| {
            chunk.iter().enumerate().map(move |(at, value)| (Partition((from + at) as u16), value))
        })
    }
}
