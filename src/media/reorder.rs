//! Order for a relay: one packet at most is held back, for ten milliseconds at most.

use std::time::{Duration, Instant};

use crate::rtp::SeqNo;

/// Packets that changed places arrive within a few milliseconds of each other; what takes longer is lost.
const PATIENCE: Duration = Duration::from_millis(10);
/// Longer packets are no speech and are not worth waiting for.
const LONGEST: usize = 1500;

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is its turn; so many packets before it are lost.
    Now {
        /// Packets given up.
        missing: u16,
    },
    /// One before it is missing: it was put aside.
    Held,
    /// The packet put aside goes first: take it, then ask again.
    AfterHeld,
    /// Its turn is over.
    Late,
}

/// A packet that waits for the one before it.
#[derive(Clone)]
pub struct Held {
    seq: SeqNo,
    /// When it arrived.
    pub arrived: Instant,
    length: usize,
    bytes: [u8; LONGEST],
}

impl Held {
    /// The whole packet.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held").field("seq", &self.seq).finish_non_exhaustive()
    }
}

/// Restores the order of neighbours.
#[derive(Debug, Default)]
pub struct Reorder {
    next: Option<SeqNo>,
    held: Option<Box<Held>>,
    until: Option<Instant>,
    spare: Option<Box<Held>>,
}

impl Reorder {
    /// Forgets the stream: the next packet starts a new one.
    pub fn reset(&mut self) {
        self.next = None;
        self.until = None;
        if let Some(held) = self.held.take() {
            self.spare = Some(held);
        }
    }

    /// Finds the place of a packet; one that must wait is copied.
    pub fn place(&mut self, now: Instant, arrived: Instant, seq: SeqNo, bytes: &[u8]) -> Place {
        let ahead = self.next.map_or(0, |next| seq.since(next));
        if ahead < 0 {
            return Place::Late;
        }
        if ahead > 0 && bytes.len() <= LONGEST {
            match &self.held {
                None => {
                    self.hold(now, arrived, seq, bytes);
                    return Place::Held;
                }
                Some(held) if seq.since(held.seq) > 0 => return Place::AfterHeld,
                Some(_) => {}
            }
        }
        self.next = Some(seq.next());
        Place::Now { missing: ahead.unsigned_abs() }
    }

    fn hold(&mut self, now: Instant, arrived: Instant, seq: SeqNo, bytes: &[u8]) {
        let mut held = self
            .spare
            .take()
            .unwrap_or_else(|| Box::new(Held { seq, arrived, length: 0, bytes: [0; LONGEST] }));
        held.seq = seq;
        held.arrived = arrived;
        held.length = bytes.len();
        held.bytes[..bytes.len()].copy_from_slice(bytes);
        self.held = Some(held);
        self.until = Some(now + PATIENCE);
    }

    /// The packet put aside, if its turn has come.
    pub fn ready(&mut self) -> Option<Box<Held>> {
        if self.held.as_ref().map(|held| held.seq) == self.next {
            self.take().map(|(held, _)| held)
        } else {
            None
        }
    }

    /// The packet put aside, whether its turn has come or not, and how many before it are lost.
    pub fn take(&mut self) -> Option<(Box<Held>, u16)> {
        let held = self.held.take()?;
        self.until = None;
        let missing = self.next.map_or(0, |next| held.seq.since(next)).max(0).unsigned_abs();
        self.next = Some(held.seq.next());
        Some((held, missing))
    }

    /// Gives the storage of a taken packet back.
    pub fn give_back(&mut self, held: Box<Held>) {
        self.spare = Some(held);
    }

    /// When to stop waiting.
    #[must_use]
    pub const fn deadline(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seqs: &[u16]) -> Vec<(u16, u16)> {
        let now = Instant::now();
        let mut reorder = Reorder::default();
        let mut out = Vec::new();
        for seq in seqs {
            let bytes = seq.to_be_bytes();
            loop {
                match reorder.place(now, now, SeqNo(*seq), &bytes) {
                    Place::Now { missing } => out.push((*seq, missing)),
                    Place::AfterHeld => {
                        let (held, missing) = reorder.take().unwrap();
                        out.push((held.seq.0, missing));
                        continue;
                    }
                    Place::Held | Place::Late => {}
                }
                break;
            }
            while let Some(held) = reorder.ready() {
                out.push((u16::from_be_bytes([held.bytes()[0], held.bytes()[1]]), 0));
                reorder.give_back(held);
            }
        }
        out
    }

    #[test]
    fn neighbours_that_changed_places_are_put_right_over_the_wrap() {
        let seqs = [65_534, 0, 65_535, 1];
        assert_eq!(order(&seqs), [(65_534, 0), (65_535, 0), (0, 0), (1, 0)]);
    }

    #[test]
    fn a_packet_that_never_comes_is_given_up_with_the_next_one() {
        assert_eq!(order(&[1, 3, 4]), [(1, 0), (3, 1), (4, 0)]);
        assert_eq!(order(&[1, 4, 3, 5]), [(1, 0), (3, 1), (4, 0), (5, 0)]);
        assert_eq!(order(&[1, 3, 2, 2, 1]), [(1, 0), (2, 0), (3, 0)]);
    }

    #[test]
    fn waiting_ends_after_ten_milliseconds() {
        let now = Instant::now();
        let mut reorder = Reorder::default();
        reorder.place(now, now, SeqNo(1), &[]);
        assert_eq!(reorder.deadline(), None);
        assert_eq!(reorder.place(now, now, SeqNo(3), &[3]), Place::Held);
        assert_eq!(reorder.deadline(), Some(now + Duration::from_millis(10)));
        let (held, missing) = reorder.take().unwrap();
        assert_eq!((held.bytes(), missing), (&[3][..], 1));
        assert_eq!(reorder.place(now, now, SeqNo(2), &[]), Place::Late);
    }
}
