//! An adaptive jitter buffer: packets in as they come, packets out in order and when their time has come.
//!
//! The target delay is what 98 or 99 % of the last packets stayed within. The buffer itself never changes the speed
//! of what it plays: it says by how much the delay is off ([`JitterBuffer::surplus`]), moves pauses, and gives up
//! only what no stretching could catch up with.

use std::time::{Duration, Instant};

use super::jitter::{Jitter, Place};
use crate::rtp::{RtpTime, SeqNo, Ssrc};

/// Packets held at most: 1.28 s at 20 ms, 640 ms at 10 ms.
const SLOTS: usize = 64;
/// What a slot holds without ever allocating: 20 ms of G.711 or G.722 and any speech packet of Opus. A slot that
/// meets a longer packet grows once.
const SLOT_BYTES: usize = 192;
/// Share of packets that the delay shall be enough for, in per cent: a stall of 200 ms is forgotten after 2 s, ...
const COVERED: usize = 98;
/// ... but on an uneven path, where packets are late again and again, this.
const COVERED_UNEVEN: usize = 99;
/// A path is uneven if one packet in twenty comes later than this.
const UNEVEN: Duration = Duration::from_millis(10);
/// Added to it: a frame is played whole, so a packet is needed up to 20 ms before its first sample sounds; and
/// what the network does next is a little worse than what it did.
const MARGIN: Duration = Duration::from_millis(25);
/// Before so many packets are known, the delay is not below [`START`].
const FEW: usize = 25;
const START: Duration = Duration::from_millis(60);
/// The target is looked at every so many packets.
const LOOK_EVERY: u32 = 5;
/// A hole in the time stamps up to this, with sequence numbers missing, is loss; a longer one is a pause.
const LONGEST_LOSS: i64 = 200_000;
/// Of a hole, so much is reported lost at once.
const LOST_AT_ONCE: i64 = 20_000;
/// More delay than this above the target is not worked off but cut off.
const HOPELESS: i64 = 400_000;

/// What a packet is good for besides itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carries {
    /// Only its own frame.
    Itself,
    /// Also redundancy for the frame before it (Opus in-band FEC).
    FrameBefore,
}

/// What became of a packet that was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It waits for its turn.
    Queued,
    /// Its turn is over.
    Late,
    /// It is here, or was played, already.
    Duplicate,
}

/// What the buffer has for a moment.
#[derive(Debug, PartialEq, Eq)]
pub enum Popped<'a> {
    /// The next packet; tell the buffer how long it was ([`JitterBuffer::decoded`]).
    Frame(&'a [u8]),
    /// 20 ms at most are missing; tell the buffer how much was played for it ([`JitterBuffer::made_up`]). The
    /// packet after it, if it follows at once.
    Lost {
        /// How much.
        ticks: i64,
        /// May hold redundancy.
        next: Option<&'a [u8]>,
    },
    /// The next packet starts a piece of sound and its time has not come: it is to be played so much later.
    Early(Duration),
    /// Nothing is here; tell the buffer what was played instead ([`JitterBuffer::held`]).
    Empty,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    place: Option<Place>,
    payload: Vec<u8>,
}

/// The buffer; see the module's words.
#[derive(Clone, Debug)]
pub struct JitterBuffer {
    jitter: Jitter,
    slots: Vec<Slot>,
    /// What comes next; `None`: the next packet begins.
    next: Option<Place>,
    /// The highest place of a packet taken so far.
    highest: Option<Place>,
    /// Bit n: `next.seq - 1 - n` was played.
    played: u64,
    /// Length of the last frame in ticks.
    frame: i64,
    /// Sound that was played since there was nothing here, in ticks.
    held: i64,
    /// Length of what was reported lost last, in ticks.
    lost: i64,
    floor: Duration,
    most: Duration,
    target: Duration,
    since_look: u32,
    uneven: bool,
    /// Frames cut off because they were hopelessly late.
    pub skipped: u64,
    /// Ticks played while nothing was here that turned out to stand for something lost.
    pub bridged: i64,
}

impl JitterBuffer {
    /// A buffer whose delay is between `floor` and `most`; what is known of the path already comes with `jitter`.
    #[must_use]
    pub fn new(jitter: Jitter, floor: Duration, most: Duration) -> Self {
        let slot = || Slot { place: None, payload: Vec::with_capacity(SLOT_BYTES) };
        let mut buffer = Self {
            slots: std::iter::repeat_with(slot).take(SLOTS).collect(),
            next: None,
            highest: None,
            played: 0,
            frame: jitter.ticks(20_000),
            held: 0,
            lost: 0,
            floor,
            most,
            target: floor,
            since_look: 0,
            uneven: false,
            skipped: 0,
            bridged: 0,
            jitter,
        };
        buffer.look();
        buffer
    }

    /// Forgets what is queued; the next packet begins a piece of sound.
    pub fn reset(&mut self) {
        for slot in &mut self.slots {
            slot.place = None;
        }
        if let Some(highest) = self.highest {
            // What is older than now stays late.
            self.next = Some(Place { seq: highest.seq + 1, ticks: i64::MIN });
        }
        self.played = 0;
        self.held = 0;
    }

    /// The packets here continue what was played by somebody else: their first does not wait.
    pub const fn follow_on(&mut self) {
        if self.next.is_none() {
            self.next = self.highest;
        }
    }

    /// Puts a packet in.
    pub fn insert(
        &mut self,
        arrived: Instant,
        ssrc: Ssrc,
        seq: SeqNo,
        timestamp: RtpTime,
        carries: Carries,
        payload: &[u8],
    ) -> Inserted {
        let Some(place) = self.jitter.note(arrived, ssrc, seq, timestamp) else { return Inserted::Late };
        self.since_look += 1;
        if self.since_look >= LOOK_EVERY || self.jitter.known() < FEW {
            self.look();
        }
        if let Some(next) = self.next.filter(|next| place.seq < next.seq) {
            let bit = 1_u64.checked_shl(u32::try_from(next.seq - 1 - place.seq).unwrap_or(64)).unwrap_or(0);
            return if self.played & bit == 0 { Inserted::Late } else { Inserted::Duplicate };
        }
        let gap = self.highest.map_or(0, |highest| place.seq - highest.seq - 1);
        if carries == Carries::FrameBefore && gap > 0 {
            self.jitter.note_restorable(arrived, place.ticks - self.frame);
        }
        if self.highest.is_none_or(|highest| place.seq > highest.seq) {
            self.highest = Some(place);
            self.make_room(place);
        }
        let slot = &mut self.slots[index(place.seq)];
        if slot.place.is_some() {
            return Inserted::Duplicate;
        }
        slot.place = Some(place);
        slot.payload.clear();
        slot.payload.extend_from_slice(payload);
        Inserted::Queued
    }

    /// Gives up what is further back than there are slots.
    fn make_room(&mut self, place: Place) {
        let oldest = place.seq - (SLOTS as u64).cast_signed() + 1;
        if self.next.is_some_and(|next| next.seq >= oldest) {
            return;
        }
        for slot in &mut self.slots {
            if slot.place.is_some_and(|it| it.seq < oldest) {
                slot.place = None;
                self.skipped += 1;
            }
        }
        if let Some(next) = self.next.filter(|next| next.seq < oldest) {
            self.move_to(Place { seq: oldest, ticks: next.ticks });
        }
    }

    fn look(&mut self) {
        self.since_look = 0;
        let least = if self.jitter.known() < FEW { START.max(self.floor) } else { self.floor };
        self.uneven = self.jitter.percentile(95) > UNEVEN;
        let covered = if self.uneven { COVERED_UNEVEN } else { COVERED };
        self.target = (self.jitter.percentile(covered) + MARGIN).clamp(least, self.most.max(least));
    }

    /// True if packets come late again and again.
    #[must_use]
    pub const fn is_uneven(&self) -> bool {
        self.uneven
    }

    /// What the delay should be.
    #[must_use]
    pub const fn target(&self) -> Duration {
        self.target
    }

    /// How much later than at the earliest the next sample sounds if it sounds at `at`, in microseconds.
    #[must_use]
    pub fn delay(&self, at: Instant) -> Option<i64> {
        let next = self.next.filter(|next| next.ticks != i64::MIN)?;
        Some(self.jitter.quickest_at(at) - self.jitter.micros(next.ticks))
    }

    /// By how much the delay is above the target, in microseconds; what is held back is no delay of the path.
    #[must_use]
    pub fn surplus(&self, at: Instant) -> Option<i64> {
        Some(self.delay(at)? - micros(self.target))
    }

    /// The length of what is queued, holes included.
    #[must_use]
    pub fn queued(&self) -> Duration {
        let (Some(next), Some(highest)) = (self.next, self.highest) else { return Duration::ZERO };
        if next.ticks == i64::MIN || highest.seq < next.seq {
            return Duration::ZERO;
        }
        let span = self.jitter.micros(highest.ticks + self.frame - next.ticks);
        Duration::from_micros(u64::try_from(span).unwrap_or(0))
    }

    /// What is to be played at `at`.
    pub fn pop(&mut self, at: Instant) -> Popped<'_> {
        let Some(first) = self.first() else { return Popped::Empty };
        self.skip_hopeless(at, first);
        let Some(first) = self.first() else { return Popped::Empty };
        let Some(next) = self.next else { return self.begin(at, first) };
        let gap = if next.ticks == i64::MIN { i64::MAX } else { first.ticks - next.ticks };
        if gap <= 0 && first.seq == next.seq {
            return self.take(first);
        }
        if first.seq == next.seq || self.jitter.micros(gap.min(i64::from(u32::MAX))) > LONGEST_LOSS {
            return self.begin(at, first);
        }
        // What was played while nothing was here stood for what is missing.
        let done = self.held.min(gap.max(0));
        self.held -= done;
        self.bridged += done;
        let left = gap - done;
        // A few ticks are no frame: concealment and the sender's frames need not agree to the sample.
        if left <= self.frame / 4 {
            return self.take(first);
        }
        let length = left.min(self.jitter.ticks(LOST_AT_ONCE));
        let follows = left - length <= self.frame / 4;
        // Until all of the hole is made up, it is a hole and no pause of the sender.
        let seq = if follows { first.seq } else { (next.seq + 1).min(first.seq - 1) };
        self.move_to(Place { seq, ticks: next.ticks + done + length });
        self.lost = length;
        Popped::Lost { ticks: length, next: follows.then(|| self.slots[index(first.seq)].payload.as_slice()) }
    }

    /// The packet with the lowest sequence number.
    fn first(&self) -> Option<Place> {
        let highest = self.highest?;
        let from = self.next.map_or(highest.seq - (SLOTS as u64).cast_signed() + 1, |next| next.seq);
        (from..=highest.seq).find_map(|seq| self.slots[index(seq)].place.filter(|it| it.seq == seq))
    }

    /// A packet after a pause, or the first one: at its time by the target, so that pauses take the changes.
    fn begin(&mut self, at: Instant, first: Place) -> Popped<'_> {
        let wait = self.jitter.micros(first.ticks) + micros(self.target) - self.jitter.quickest_at(at);
        match u64::try_from(wait) {
            Ok(wait) if wait > 0 => Popped::Early(Duration::from_micros(wait)),
            _ => self.take(first),
        }
    }

    fn take(&mut self, first: Place) -> Popped<'_> {
        self.move_to(Place { seq: first.seq + 1, ticks: first.ticks });
        self.played |= 1;
        self.held = 0;
        let slot = &mut self.slots[index(first.seq)];
        slot.place = None;
        Popped::Frame(&slot.payload)
    }

    fn move_to(&mut self, place: Place) {
        let step = self.next.map_or(0, |next| place.seq - next.seq);
        self.played = self.played.checked_shl(u32::try_from(step).unwrap_or(64)).unwrap_or(0);
        self.next = Some(place);
    }

    /// After an outage of the path: what could be heard only seconds late is left out.
    fn skip_hopeless(&mut self, at: Instant, first: Place) {
        let late = self.jitter.quickest_at(at) - self.jitter.micros(first.ticks) - micros(self.target);
        let Some(highest) = self.highest.filter(|_| late > HOPELESS) else { return };
        let newest_late = late - self.jitter.micros(highest.ticks - first.ticks);
        for seq in first.seq..highest.seq {
            let slot = &mut self.slots[index(seq)];
            let Some(place) = slot.place.filter(|it| it.seq == seq) else { continue };
            // The newest packets stay: a path that only became longer has nothing to catch up with.
            if late - self.jitter.micros(place.ticks - first.ticks) <= newest_late.max(0) {
                return;
            }
            slot.place = None;
            self.skipped += 1;
            self.move_to(Place { seq: seq + 1, ticks: i64::MIN });
        }
    }

    /// The packet popped last was so many ticks long.
    pub fn decoded(&mut self, ticks: i64) {
        if ticks > 0 {
            self.frame = ticks;
        }
        if let Some(next) = &mut self.next {
            next.ticks += ticks.max(0);
        }
    }

    /// So many ticks were played for what was lost: what is too many stands for what is lost next.
    pub const fn made_up(&mut self, ticks: i64) {
        self.held += ticks - self.lost;
        self.lost = 0;
    }

    /// Sound of so many ticks was played while nothing was here.
    pub const fn held(&mut self, ticks: i64) {
        self.held += ticks;
    }

    /// How the stream arrives.
    #[must_use]
    pub const fn jitter(&self) -> &Jitter {
        &self.jitter
    }
}

const fn index(seq: i64) -> usize {
    seq.rem_euclid((SLOTS as u64).cast_signed()) as usize
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    const SSRC: Ssrc = Ssrc(4);
    const FRAME: i64 = 160;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// A buffer fed by a sender of 20 ms packets and emptied every 20 ms.
    struct Bench {
        buffer: JitterBuffer,
        start: Instant,
    }

    impl Bench {
        fn new(floor: u64) -> Self {
            let buffer = JitterBuffer::new(Jitter::new(8000), millis(floor), millis(400));
            Self { buffer, start: Instant::now() }
        }

        fn insert(&mut self, n: u64, late: u64) -> Inserted {
            let seq = SeqNo((65_530 + n) as u16);
            let timestamp = RtpTime((n * 160) as u32);
            let at = self.start + millis(n * 20 + late);
            self.buffer.insert(at, SSRC, seq, timestamp, Carries::Itself, &n.to_be_bytes())
        }

        /// The number of the frame that is played, or what there is instead.
        fn pop(&mut self, at: u64) -> Result<u64, &'static str> {
            let popped = match self.buffer.pop(self.start + millis(at)) {
                Popped::Frame(payload) => Ok(u64::from_be_bytes(payload.try_into().unwrap())),
                Popped::Lost { .. } => Err("lost"),
                Popped::Early(_) => Err("early"),
                Popped::Empty => Err("empty"),
            };
            match popped {
                Ok(_) => self.buffer.decoded(FRAME),
                Err("lost") => self.buffer.made_up(FRAME),
                Err("empty") => self.buffer.held(FRAME),
                Err(_) => {}
            }
            popped
        }
    }

    #[test]
    fn the_first_packet_waits_for_the_target_and_the_others_follow() {
        let mut bench = Bench::new(20);
        bench.insert(0, 0);
        assert!(matches!(bench.buffer.pop(bench.start), Popped::Early(wait) if wait == START));
        for n in 1..4 {
            bench.insert(n, 0);
        }
        assert_eq!(bench.pop(60), Ok(0));
        assert_eq!(bench.buffer.delay(bench.start + millis(80)), Some(60_000));
        assert_eq!((bench.pop(80), bench.pop(100), bench.pop(120)), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(bench.pop(140), Err("empty"));
    }

    #[test]
    fn order_is_restored_and_duplicates_and_stragglers_are_told_apart() {
        let mut bench = Bench::new(20);
        for n in [0, 2, 1, 4] {
            assert_eq!(bench.insert(n, 0), Inserted::Queued);
        }
        assert_eq!(bench.insert(2, 5), Inserted::Duplicate);
        assert_eq!(
            [60, 80, 100, 120, 140].map(|at| bench.pop(at)),
            [Ok(0), Ok(1), Ok(2), Err("lost"), Ok(4)]
        );
        assert_eq!(bench.insert(3, 80), Inserted::Late);
        assert_eq!(bench.insert(1, 120), Inserted::Duplicate);
    }

    #[test]
    fn the_packet_after_a_lost_one_is_shown_for_its_redundancy() {
        let mut bench = Bench::new(20);
        for n in [0, 3] {
            bench.insert(n, 0);
        }
        assert_eq!(bench.pop(60), Ok(0));
        assert_eq!(bench.buffer.pop(bench.start + millis(80)), Popped::Lost { ticks: FRAME, next: None });
        bench.buffer.made_up(FRAME);
        let third = 3_u64.to_be_bytes();
        let popped = bench.buffer.pop(bench.start + millis(100));
        assert_eq!(popped, Popped::Lost { ticks: FRAME, next: Some(&third) });
        bench.buffer.made_up(FRAME);
        assert_eq!(bench.pop(120), Ok(3));
    }

    #[test]
    fn what_was_played_while_nothing_was_there_stands_for_what_was_lost() {
        let mut bench = Bench::new(20);
        bench.insert(0, 0);
        assert_eq!((bench.pop(60), bench.pop(80), bench.pop(100)), (Ok(0), Err("empty"), Err("empty")));
        bench.insert(3, 0);
        assert_eq!(bench.pop(120), Ok(3), "one and two were made up for");
        assert_eq!(bench.pop(140), Err("empty"));
        bench.insert(4, 90);
        assert_eq!(bench.pop(170), Ok(4), "a late packet is played late, not thrown away");
    }

    #[test]
    fn a_pause_of_the_sender_takes_every_change_of_the_delay() {
        let mut bench = Bench::new(20);
        for n in 0..60 {
            bench.insert(n, if n % 5 == 0 { 80 } else { 0 });
            let _ = bench.pop(n * 20 + 200);
        }
        assert!(bench.buffer.target() > millis(80));
        let seq = SeqNo((65_530_u64 + 60) as u16);
        let at = bench.start + millis(3000);
        bench.buffer.insert(at, SSRC, seq, RtpTime(150 * 160), Carries::Itself, &[1]);
        let target = bench.buffer.target();
        // A packet of the pause's end, 3000 ms after the first: everything before it is played by then.
        while bench.pop(1400).is_ok() {}
        match bench.buffer.pop(at) {
            Popped::Early(wait) => assert_eq!(wait, target),
            other => panic!("{other:?}"),
        }
        assert!(matches!(bench.buffer.pop(at + target), Popped::Frame(_)));
    }

    #[test]
    fn an_outage_of_seconds_is_cut_off_and_not_worked_off() {
        let mut bench = Bench::new(20);
        for n in 0..100 {
            bench.insert(n, 0);
            let _ = bench.pop(n * 20 + 40);
        }
        // Nothing for 900 ms, then all of it at once.
        for n in 100..145 {
            bench.insert(n, 900 - (n - 100) * 20);
        }
        assert!(bench.pop(2920).is_ok());
        let delay = bench.buffer.delay(bench.start + millis(2940)).unwrap();
        assert!(delay <= micros(bench.buffer.target()) + 20_000, "{delay}");
        assert!(bench.buffer.skipped > 10);
    }

    /// What a jitter buffer is, said with a map: packets in order, each once, none after its turn.
    #[derive(Default)]
    struct Model {
        waiting: BTreeMap<u64, u64>,
        played: Vec<u64>,
        next: u64,
        /// A part of the hole before the lowest that waits was reported lost: what comes for it may be late.
        given_up: bool,
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, rng_seed: RngSeed::Fixed(3), failure_persistence: None, ..ProptestConfig::default() })]

        /// Random delays, losses and duplicates: what comes out is what a map would give, in order, each packet
        /// at most once, and nothing that came in time is missing.
        #[test]
        fn packets_leave_in_order_once_and_none_that_came_in_time_is_missing(
            path in proptest::collection::vec((0_u64..120, 0_u32..100, 0_u32..100), 20..200),
            first in 0_u64..70_000,
        ) {
            let mut bench = Bench::new(20);
            let mut model = Model { next: first, ..Model::default() };
            let mut events: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
            for (n, (late, lost, twice)) in path.iter().enumerate() {
                let n = first + n as u64;
                let at = n * 20 + late;
                if *lost >= 8 {
                    events.entry(at).or_default().push(n);
                }
                if *twice < 5 {
                    events.entry(at + 30).or_default().push(n);
                }
            }
            let end = (first + path.len() as u64) * 20 + 600;
            for now in first * 20..end {
                for n in events.remove(&now).unwrap_or_default() {
                    let seen = model.waiting.contains_key(&n) || model.played.contains(&n);
                    let inserted = bench.insert(n, now - n * 20);
                    let hole = model.given_up && model.waiting.keys().next().is_some_and(|it| n < *it);
                    let expected = if seen {
                        Inserted::Duplicate
                    } else if n < model.next || (hole && inserted == Inserted::Late) {
                        Inserted::Late
                    } else {
                        Inserted::Queued
                    };
                    prop_assert_eq!(inserted, expected, "packet {}", n);
                    if inserted == Inserted::Queued {
                        model.waiting.insert(n, now);
                    }
                }
                if (now - first * 20) % 20 != 0 {
                    continue;
                }
                match bench.pop(now) {
                    Ok(n) => {
                        let (lowest, _) = model.waiting.pop_first().expect("something waits");
                        prop_assert_eq!(n, lowest);
                        model.played.push(n);
                        model.next = n + 1;
                        model.given_up = false;
                    }
                    Err("lost") => {
                        let lowest = *model.waiting.keys().next().expect("a hole has an end");
                        prop_assert!(lowest > model.next);
                        model.given_up = true;
                    }
                    Err("empty") => prop_assert!(model.waiting.is_empty()),
                    Err(_) => prop_assert!(!model.waiting.is_empty()),
                }
            }
            prop_assert!(model.waiting.is_empty());
            prop_assert_eq!(bench.buffer.skipped, 0);
        }
    }
}
