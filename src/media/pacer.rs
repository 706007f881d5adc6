//! Packets that would leave at once, kept apart (rule 13).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::frames::Frames;
use crate::rtp::RtpHeader;

/// More packets than this are not kept: the oldest leaves.
const WAITING: usize = 32;
/// Packets that came at once leave at this distance.
const PACE: Duration = Duration::from_millis(5);
/// When a packet comes and more than these wait, the older ones leave at once: after a stall they are late
/// for a phone with a buffer of 60 ms already, and would make those behind them late too.
const KEPT: usize = 2;

/// What a packet has to do with the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// Nothing: it leaves at once, behind those that wait.
    Free,
    /// It was made from one that has just come.
    Arrived,
    /// It was made from the same one, and leaves so long after it.
    Split(Duration),
}
/// Storage that is made at the beginning: four packets of G.711 with 60 ms.
const STORAGE: usize = 2048;

/// Finished packets that wait for their moment.
#[derive(Debug)]
pub struct Pacer {
    bytes: VecDeque<u8>,
    waiting: VecDeque<Waiting>,
    last: Option<Instant>,
    /// A packet on its way from the ring into the frames.
    packet: Vec<u8>,
}

#[derive(Debug)]
struct Waiting {
    due: Instant,
    length: usize,
    arrived: Option<Instant>,
}

impl Default for Pacer {
    fn default() -> Self {
        Self {
            bytes: VecDeque::with_capacity(STORAGE),
            waiting: VecDeque::with_capacity(WAITING),
            last: None,
            packet: Vec::with_capacity(STORAGE / 4),
        }
    }
}

impl Pacer {
    /// Lets a packet go if the last one left long enough ago, or keeps it; tells when it leaves.
    pub fn place(
        &mut self,
        now: Instant,
        spacing: Spacing,
        header: &RtpHeader,
        payload: &[u8],
        arrived: Option<Instant>,
        out: &mut Frames,
    ) -> Instant {
        let apart = match spacing {
            Spacing::Free => Duration::ZERO,
            Spacing::Arrived => {
                self.make_room(now, out);
                PACE
            }
            Spacing::Split(apart) => apart,
        };
        let due = self.last.map_or(now, |last| now.max(last + apart));
        self.last = Some(due);
        if due <= now && self.waiting.is_empty() {
            out.push(header, payload, arrived);
            return now;
        }
        if self.waiting.len() >= WAITING {
            self.let_go(out);
        }
        self.bytes.extend(header.to_bytes());
        self.bytes.extend(payload);
        self.waiting.push_back(Waiting { due, length: RtpHeader::SIZE + payload.len(), arrived });
        due
    }

    /// Lets go all but the newest that wait.
    fn make_room(&mut self, now: Instant, out: &mut Frames) {
        if self.waiting.len() <= KEPT {
            return;
        }
        while self.waiting.len() > KEPT {
            self.let_go(out);
        }
        let mut due = now;
        for it in &mut self.waiting {
            due += PACE;
            it.due = it.due.min(due);
        }
        self.last = self.waiting.back().map(|it| it.due);
    }

    /// When the next packet leaves.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.waiting.front().map(|it| it.due)
    }

    /// Lets go what is due.
    pub fn release(&mut self, now: Instant, out: &mut Frames) {
        while self.due().is_some_and(|due| due <= now) {
            self.let_go(out);
        }
    }

    fn let_go(&mut self, out: &mut Frames) {
        if let Some(Waiting { length, arrived, .. }) = self.waiting.pop_front() {
            self.packet.clear();
            self.packet.extend(self.bytes.drain(..length));
            out.push_bytes(&self.packet, arrived);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::{PayloadType, RtpTime, SeqNo, Ssrc};

    fn header(seq: u16) -> RtpHeader {
        RtpHeader {
            marker: false,
            payload_type: PayloadType(0),
            seq: SeqNo(seq),
            timestamp: RtpTime(0),
            ssrc: Ssrc(1),
        }
    }

    #[test]
    fn packets_that_come_at_once_leave_apart_in_order_and_unchanged() {
        let (start, mut pacer, mut out) = (Instant::now(), Pacer::default(), Frames::default());
        for seq in 0..4 {
            let leaves =
                pacer.place(start, Spacing::Arrived, &header(seq), &[seq as u8; 200], Some(start), &mut out);
            assert_eq!(leaves, start + PACE * u32::from(seq));
        }
        let mut left = Vec::new();
        for milli in 0..20 {
            let now = start + Duration::from_millis(milli);
            pacer.release(now, &mut out);
            for (packet, arrived) in out.iter() {
                assert_eq!(packet[..12], header(left.len() as u16).to_bytes());
                assert_eq!((&packet[12..], arrived), (&[left.len() as u8; 200][..], Some(start)));
                left.push(milli);
            }
            out.clear();
        }
        assert_eq!(left, [0, 5, 10, 15]);
        assert_eq!(pacer.due(), None);
        pacer.place(start + Duration::from_millis(20), Spacing::Arrived, &header(4), &[], None, &mut out);
        assert!(!out.is_empty(), "long enough after the last one");
    }

    #[test]
    fn of_what_comes_at_once_after_a_stall_only_the_newest_are_kept_apart() {
        let (start, mut pacer, mut out) = (Instant::now(), Pacer::default(), Frames::default());
        for seq in 0..10 {
            pacer.place(start, Spacing::Arrived, &header(seq), &[0; 160], None, &mut out);
        }
        assert_eq!(out.iter().count(), 7, "they are late whatever we do");
        let mut left = Vec::new();
        while let Some(due) = pacer.due() {
            out.clear();
            pacer.release(due, &mut out);
            left.push((due - start, out.iter().count()));
        }
        assert_eq!(left, [(PACE, 1), (PACE * 2, 1), (PACE * 3, 1)]);
    }

    #[test]
    fn packets_made_of_one_keep_their_distance_and_a_flood_of_them_is_not_kept() {
        let (start, mut pacer, mut out) = (Instant::now(), Pacer::default(), Frames::default());
        for seq in 0..100 {
            let spacing = Spacing::Split(Duration::from_millis(9));
            let leaves = pacer.place(start, spacing, &header(seq), &[0; 80], None, &mut out);
            assert_eq!(leaves, start + Duration::from_millis(9) * u32::from(seq));
        }
        assert_eq!(out.iter().count(), 100 - WAITING);
    }
}
