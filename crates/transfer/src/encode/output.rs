//! Writes the parts of questions and answers.

use dynamo_merkle::Call;

use crate::question::{Record, Stored};

pub(super) struct Output(pub(super) Vec<u8>);

impl Output {
    pub(super) fn u8(&mut self, byte: u8) {
        self.0.push(byte);
    }

    pub(super) fn number(&mut self, mut value: u64) {
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

    fn digest(&mut self, digest: u64) {
        self.0.extend_from_slice(&digest.to_be_bytes());
    }

    pub(super) fn call(&mut self, call: &Call) {
        self.number(call.partition.into());
        self.number(call.exchange.into());
        self.number(call.step.into());
    }

    pub(super) fn named(&mut self, kind: u8, call: &Call) {
        self.u8(kind);
        self.call(call);
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
