//! The event queue: ordered by time, and by the order of scheduling where times are equal.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Events to come. The heap holds small keys; the events stay where they are.
pub struct Queue<E> {
    heap: BinaryHeap<Reverse<(u64, u64, u32)>>,
    events: Vec<Option<E>>,
    free: Vec<u32>,
    sequence: u64,
}

impl<E> Queue<E> {
    pub fn new() -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub fn push(&mut self, at: u64, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.events[slot as usize] = Some(event);
                slot
            }
            None => {
                self.events.push(Some(event));
                (self.events.len() - 1) as u32
            }
        };
        self.sequence += 1;
        self.heap.push(Reverse((at, self.sequence, slot)));
    }

    /// The next event and its time, if that is not after `until`.
    pub fn pop(&mut self, until: u64) -> Option<(u64, E)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > until {
            return None;
        }
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((at, self.events[slot as usize].take().expect("each key has its event")))
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_in_the_order_of_scheduling() {
        let mut queue = Queue::new();
        for (at, event) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            queue.push(at, event);
        }
        let mut seen = Vec::new();
        while let Some((_, event)) = queue.pop(5) {
            queue.push(9, "later");
            seen.push(event);
        }
        assert_eq!(seen, ["a", "b", "c", "d"]);
        assert_eq!(queue.len(), 4);
        assert_eq!(queue.pop(8), None);
    }
}
