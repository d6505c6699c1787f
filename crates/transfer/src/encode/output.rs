//! Writes the parts of questions and answers.

use dynamo_merkle::Call;

use super::FORMAT;
use crate::question::{Record, Stored};

pub(crate) struct Output(pub(crate) Vec<u8>);

impl Output {
    pub(crate) fn begin(kind: u8) -> Output {
        Output(vec![FORMAT, kind])
    }

    pub(crate) fn u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn digest(&mut self, digest: u64) {
        self.0.extend_from_slice(&digest.to_be_bytes());
    }

    pub(super) fn call(&mut self, call: &Call) {
        self.number(call.partition.into());
        self.number(call.exchange.into());
        self.number(call.step.into());
    }

    pub(super) fn named(kind: u8, call: &Call, epoch: u64) -> Output {
        let mut out = Output::begin(kind);
        out.call(call);
        out.number(epoch);
        out
    }

    pub(super) fn records(&mut self, records: &[Record]) {
        self.number(records.len() as u64);
        for Record { key, set, digest } in records {
            self.bytes(key);
            self.bytes(set);
            self.digest(*digest);
        }
    }

    pub(super) fn stored(&mut self, stored: &Stored) {
        match stored {
            Stored::Absent => self.u8(0),
            Stored::Damaged => self.u8(1),
            Stored::State { set, digest } => {
                self.u8(2);
                self.bytes(set);
                self.digest(*digest);
            }
        }
    }
}
