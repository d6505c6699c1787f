//! Carries out the plan's faults.

use dynamo_storage::engine::Space;

use super::{World, event::Event, kernel::say};
use crate::{fault::Fault, network::Badness};

/// How long a wrong disk stays mounted, microseconds.
const WRONG_DISK_US: u64 = 2_000_000;

impl World {
    pub(super) fn fault_begins(&mut self, number: u16) {
        let shape = self.kernel.shape.clone();
        let fault = &shape.plan.faults[usize::from(number)];
        say!(self.kernel, "*** {:?} for {} ms", fault.what, fault.for_ms);
        let ends = (u64::from(fault.at_ms) + u64::from(fault.for_ms)) * 1000;
        self.kernel.at(ends.min(shape.plan.run_us()), Event::FaultEnds { fault: number });
        self.kernel.disturbed(&fault.what, true);
        self.active.push(number);
        match &fault.what {
            Fault::Crash { node, power } => self.hold_down(*node, *power),
            Fault::Restart { node } => {
                self.hosts[usize::from(*node)].held_down += 1;
                self.stop(*node);
            }
            Fault::Pause { node } => {
                self.hosts[usize::from(*node)].paused_until = ends.min(shape.plan.run_us());
            }
            Fault::Cut { from, to, both, flap_ms } => {
                self.cut(from, to, *both);
                if *flap_ms > 0 {
                    let after = u64::from(*flap_ms) * 1000;
                    self.kernel.after(after, Event::FaultTurns { fault: number, cut: false });
                }
            }
            Fault::Bad { from, to, slow_us, loss, duplicate, reorder } => {
                let (loss, duplicate, reorder) = (*loss, *duplicate, *reorder);
                self.set_bad(from, to, Badness { slow_us: *slow_us, loss, duplicate, reorder });
            }
            Fault::Reset { one, other } => {
                for stream in 0..shape.nodes() * shape.nodes() * 2 {
                    let (client, server, _) = self.kernel.network.ends(stream.into());
                    if (client, server) == (*one, *other) || (server, client) == (*one, *other) {
                        self.kernel.break_stream(stream.into(), crate::message::Lost::Refused);
                    }
                }
            }
            Fault::BitFlips { node, count } => self.flip_bits(*node, *count),
            Fault::Move { places } => {
                for node in self.moving(places) {
                    self.hold_down(node, false);
                }
                self.kernel.places.clone_from(places);
            }
            _ => self.disk_fault_begins(&fault.what),
        }
    }

    fn disk_fault_begins(&mut self, fault: &Fault) {
        match fault {
            Fault::DiskFull { node } => self.hosts[usize::from(*node)].disk.set_full(true),
            Fault::DiskFailing { node } => self.hosts[usize::from(*node)].disk.set_failing(true),
            Fault::DiskSlow { node, times } => self.set_disk_speed(*node, *times),
            Fault::Wipe { node } => {
                self.hold_down(*node, true);
                let host = &mut self.hosts[usize::from(*node)];
                host.disk.wipe();
                host.beside = Default::default();
            }
            Fault::RollBack { node } => {
                let volume = self.hosts[usize::from(*node)].volume();
                self.hold_down(*node, true);
                let host = &mut self.hosts[usize::from(*node)];
                if let Some(old) = host.snapshot.replace(volume) {
                    host.mount_engine(old);
                }
            }
            Fault::PutBack { node } => {
                let volume = self.hosts[usize::from(*node)].volume();
                self.hold_down(*node, true);
                let host = &mut self.hosts[usize::from(*node)];
                if let Some(old) = host.snapshot.replace(volume) {
                    host.mount(old);
                }
            }
            Fault::Clone { node, of } => {
                let wrong = self.hosts[usize::from(*of)].volume();
                self.hold_down(*node, false);
                let host = &mut self.hosts[usize::from(*node)];
                // A disk that is nobody's would be taken for its own.
                if wrong.is_of_somebody() {
                    host.own = Some(host.volume());
                    host.mount(wrong);
                }
            }
            Fault::Clock { node, by_ms } => {
                self.kernel.clock_error_ms[usize::from(*node)] += by_ms;
            }
            _ => unreachable!("all other faults are carried out before"),
        }
    }

    pub(super) fn fault_ends(&mut self, number: u16) {
        let Some(at) = self.active.iter().position(|active| *active == number) else { return };
        let shape = self.kernel.shape.clone();
        let fault = &shape.plan.faults[usize::from(number)].what;
        if let Fault::Clone { node, .. } = fault
            && self.hosts[usize::from(*node)].own.is_some()
        {
            return self.mount_own(*node, number);
        }
        self.active.remove(at);
        say!(self.kernel, "*** end of {fault:?}");
        self.kernel.disturbed(fault, false);
        match fault {
            Fault::Crash { node, .. }
            | Fault::Restart { node }
            | Fault::Wipe { node }
            | Fault::RollBack { node }
            | Fault::PutBack { node }
            | Fault::Clone { node, .. } => self.let_up(*node),
            Fault::Move { .. } => {
                for node in std::mem::take(&mut self.moved) {
                    self.let_up(node);
                }
            }
            Fault::Cut { from, to, both, flap_ms } => {
                if *flap_ms == 0 || self.is_cut_now(number) {
                    self.mend(from, to, *both);
                }
            }
            Fault::Bad { from, to, .. } => self.set_bad(from, to, Badness::default()),
            Fault::DiskFull { node } => self.hosts[usize::from(*node)].disk.set_full(false),
            Fault::DiskFailing { node } => self.hosts[usize::from(*node)].disk.set_failing(false),
            Fault::DiskSlow { node, .. } => self.set_disk_speed(*node, 1),
            Fault::Clock { node, by_ms } => self.kernel.clock_error_ms[usize::from(*node)] -= by_ms,
            Fault::Pause { .. } | Fault::Reset { .. } | Fault::BitFlips { .. } => {}
        }
    }

    /// The wrong disk is tried first; then the node gets its own back.
    fn mount_own(&mut self, node: u8, fault: u16) {
        self.hosts[usize::from(node)].held_down -= 1;
        self.start(node);
        let host = &mut self.hosts[usize::from(node)];
        assert!(host.node.is_none(), "a node starts on a disk of another");
        host.held_down += 1;
        if let Some(own) = host.own.take() {
            host.mount(own);
        }
        self.kernel.after(WRONG_DISK_US, Event::FaultEnds { fault });
    }

    pub(super) fn fault_turns(&mut self, number: u16, cut: bool) {
        if !self.active.contains(&number) {
            return;
        }
        let shape = self.kernel.shape.clone();
        let Fault::Cut { from, to, both, flap_ms } = &shape.plan.faults[usize::from(number)].what else { return };
        if cut {
            self.cut(from, to, *both);
            self.flapping_open.retain(|open| *open != number);
        } else {
            self.mend(from, to, *both);
            self.flapping_open.push(number);
        }
        let after = u64::from(*flap_ms) * 1000;
        self.kernel.after(after, Event::FaultTurns { fault: number, cut: !cut });
    }

    fn is_cut_now(&mut self, number: u16) -> bool {
        let before = self.flapping_open.len();
        self.flapping_open.retain(|open| *open != number);
        before == self.flapping_open.len()
    }

    /// Those whose place will be another. Each is to be let up once, so they are noted.
    fn moving(&mut self, places: &[u8]) -> Vec<u8> {
        let before = self.kernel.places.clone();
        let moving = (0..places.len()).filter(|node| places[*node] != before[*node]).map(|node| node as u8);
        let moving: Vec<u8> = moving.collect();
        self.moved.extend(&moving);
        moving
    }

    fn hold_down(&mut self, node: u8, power: bool) {
        self.hosts[usize::from(node)].held_down += 1;
        self.crash(node, power);
    }

    fn let_up(&mut self, node: u8) {
        let host = &mut self.hosts[usize::from(node)];
        host.held_down -= 1;
        if host.held_down == 0 {
            self.power_on(node);
        }
    }

    fn cut(&mut self, from: &[u8], to: &[u8], both: bool) {
        for (one, other) in ways(from, to, both) {
            self.kernel.network.cut(one, other);
        }
        let nodes = self.kernel.shape.nodes();
        let concerned = ways(from, to, both);
        let within = |client, server| concerned.contains(&(client, server)) || concerned.contains(&(server, client));
        self.kernel.watch_streams(
            |client, server| client < nodes && server < nodes && within(client, server),
            &mut self.chance,
        );
    }

    fn mend(&mut self, from: &[u8], to: &[u8], both: bool) {
        for (one, other) in ways(from, to, both) {
            if self.kernel.network.mend(one, other) {
                self.kernel.flush_streams(one, other);
            }
        }
    }

    fn set_bad(&mut self, from: &[u8], to: &[u8], bad: Badness) {
        for (one, other) in ways(from, to, false) {
            self.kernel.network.set_bad(one, other, bad);
        }
    }

    fn set_disk_speed(&mut self, node: u8, times: u32) {
        let host = &mut self.hosts[usize::from(node)];
        host.slow_disk = times;
        if let Some(node) = &mut host.node {
            node.set_disk_speed(times);
        }
    }

    fn flip_bits(&mut self, node: u8, count: u32) {
        let host = &mut self.hosts[usize::from(node)];
        for _ in 0..count {
            if let Some(key) = host.disk.flip_bit(Space::Data, &mut host.chance) {
                say!(self.kernel, "a bit flips on node-{node} in {}", key.escape_ascii());
            }
        }
    }
}

/// Every way from the ones to the others, and back if it is both.
fn ways(from: &[u8], to: &[u8], both: bool) -> Vec<(u8, u8)> {
    let pairs = from.iter().flat_map(|one| to.iter().map(move |other| (*one, *other)));
    let back = from.iter().flat_map(|one| to.iter().map(move |other| (*other, *one))).filter(|_| both);
    pairs.chain(back).filter(|(one, other)| one != other).collect()
}
