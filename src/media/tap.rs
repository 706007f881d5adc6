//! What a recorder hears of a call: each packet as it came, with its moment, through a ring without locks.
//!
//! The packets are passed on as they are. Decoding, ordering and aligning them is the recorder's work, on
//! its own thread and with all the patience it wants; here a packet costs one copy of its payload. When the
//! recorder does not keep up, packets are left out and counted: nothing here ever waits or allocates.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rtrb::{Consumer, Producer, RingBuffer};

use super::Side;
use crate::codec::AudioCodec;
use crate::rtp::{PayloadType, RtpPacket, RtpTime, SeqNo, Ssrc};

/// The longest payload that is passed on: a datagram of an Ethernet.
pub const MAX_PAYLOAD: usize = 1500;
/// What a packet takes in the ring beside its payload.
const HEADER: usize = 22;

/// One packet that a side sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard<'p> {
    /// Who sent it.
    pub side: Side,
    /// What its payload is.
    pub codec: AudioCodec,
    /// When it arrived, counted from the beginning of the recording.
    pub at: Duration,
    /// Its source.
    pub ssrc: Ssrc,
    /// Its sequence number.
    pub seq: SeqNo,
    /// Its time stamp, in ticks of [`AudioCodec::clock`].
    pub timestamp: RtpTime,
    /// Its payload.
    pub payload: &'p [u8],
}

/// The end of the ring that belongs to the media thread.
#[derive(Debug)]
pub struct Inlet {
    ring: Producer<u8>,
    began: Instant,
    shared: Arc<Shared>,
}

/// What both ends see beside the ring.
#[derive(Debug)]
struct Shared {
    dropped: AtomicU64,
    /// When the call ended, in microseconds since the beginning; [`u64::MAX`]: it has not.
    ended: AtomicU64,
}

/// The end of the ring that belongs to the recorder.
#[derive(Debug)]
pub struct Outlet {
    ring: Consumer<u8>,
    shared: Arc<Shared>,
}

/// A ring for the packets of one call; `began` is the moment from which their times count.
#[must_use]
pub fn ring(began: Instant, bytes: usize) -> (Inlet, Outlet) {
    let (producer, consumer) = RingBuffer::new(bytes.max(HEADER + MAX_PAYLOAD));
    let shared = Arc::new(Shared { dropped: AtomicU64::new(0), ended: AtomicU64::new(u64::MAX) });
    (Inlet { ring: producer, began, shared: Arc::clone(&shared) }, Outlet { ring: consumer, shared })
}

impl Outlet {
    /// Takes the next packet out of the ring into `buffer`; `None` if it is empty.
    pub fn next<'b>(&mut self, buffer: &'b mut [u8; MAX_PAYLOAD]) -> Option<Heard<'b>> {
        loop {
            let mut header = [0; HEADER];
            // A packet is put in as a whole: behind a header there is always its payload.
            self.ring.pop_entire_slice(&mut header).ok()?;
            let number = |from: usize, length: usize| {
                header[from..from + length].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
            };
            let length = number(20, 2) as usize;
            let payload = buffer.get_mut(..length)?;
            self.ring.pop_entire_slice(payload).ok()?;
            let Some(codec) = AudioCodec::ALL.get(usize::from(header[1])).copied() else { continue };
            return Some(Heard {
                side: if header[0] == 0 { Side::Meta } else { Side::Phone },
                codec,
                at: Duration::from_micros(number(2, 8)),
                ssrc: Ssrc(number(10, 4) as u32),
                seq: SeqNo(number(14, 2) as u16),
                timestamp: RtpTime(number(16, 4) as u32),
                payload: &buffer[..length],
            });
        }
    }

    /// Whether the call's media is gone: what is in the ring now is the last.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.ring.is_abandoned()
    }

    /// When the call ended, if it ended in order.
    #[must_use]
    pub fn ended(&self) -> Option<Duration> {
        let micros = self.shared.ended.load(Ordering::Relaxed);
        (micros != u64::MAX).then(|| Duration::from_micros(micros))
    }

    /// Packets for which there was no room so far.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

/// A call's place for a recorder; most calls have none, and then it does nothing.
#[derive(Debug, Default)]
pub struct Tap {
    inlet: Option<Inlet>,
    /// What each side's audio is, the user's first.
    formats: [Option<(PayloadType, AudioCodec)>; 2],
}

impl Tap {
    /// What a side's audio is from now on.
    pub const fn set_format(&mut self, side: Side, payload_type: PayloadType, codec: AudioCodec) {
        self.formats[side as usize] = Some((payload_type, codec));
    }

    /// Lets a recorder hear from now on.
    pub fn open(&mut self, inlet: Inlet) {
        self.inlet = Some(inlet);
    }

    /// Ends the recording.
    pub fn close(&mut self, now: Instant) {
        if let Some(inlet) = self.inlet.take() {
            inlet.shared.ended.store(inlet.micros(now), Ordering::Relaxed);
        }
    }

    /// Passes on a packet of `side` that arrived at `arrived`, if somebody records and it is audio.
    pub fn hear(&mut self, side: Side, arrived: Instant, bytes: &[u8]) {
        let (Some(inlet), Some((payload_type, codec))) = (&mut self.inlet, self.formats[side as usize])
        else {
            return;
        };
        let Ok(packet) = RtpPacket::parse(bytes) else { return };
        if packet.header.payload_type == payload_type && !packet.payload.is_empty() {
            inlet.put(side, codec, arrived, &packet);
        }
    }
}

impl Inlet {
    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX - 1)
    }

    fn put(&mut self, side: Side, codec: AudioCodec, arrived: Instant, packet: &RtpPacket<'_>) {
        let RtpPacket { header, payload } = packet;
        let length = payload.len();
        if length > MAX_PAYLOAD {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let at = self.micros(arrived);
        let mut piece = [0; HEADER + MAX_PAYLOAD];
        piece[0] = u8::from(side == Side::Phone);
        piece[1] = AudioCodec::ALL.iter().position(|it| *it == codec).unwrap_or(usize::MAX) as u8;
        piece[2..10].copy_from_slice(&at.to_be_bytes());
        piece[10..14].copy_from_slice(&header.ssrc.0.to_be_bytes());
        piece[14..16].copy_from_slice(&header.seq.0.to_be_bytes());
        piece[16..20].copy_from_slice(&header.timestamp.0.to_be_bytes());
        piece[20..22].copy_from_slice(&(length as u16).to_be_bytes());
        piece[HEADER..HEADER + length].copy_from_slice(payload);
        // All or nothing: half a packet would tear the ring.
        if self.ring.push_entire_slice(&piece[..HEADER + length]).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::world::{World, millis};
    use super::*;
    use crate::media::Order;
    use crate::rtp::RtpHeader;

    #[test]
    fn a_recorder_hears_both_sides_as_they_came_and_learns_of_the_end() {
        let mut world = World::up(1);
        let began = world.now;
        let (inlet, mut outlet) = ring(began, 64 * 1024);
        world.bridge.record(inlet);
        world.phone.speaking = true;
        world.user_voice.speaking = true;
        world.run(millis(1000));
        let mut buffer = [0; MAX_PAYLOAD];
        let (mut user, mut phone) = (Vec::new(), Vec::new());
        while let Some(heard) = outlet.next(&mut buffer) {
            let side = if heard.side == Side::Meta { &mut user } else { &mut phone };
            side.push((heard.codec, heard.at, heard.timestamp));
        }
        for (heard, codec, ticks) in [(&user, AudioCodec::Opus, 960), (&phone, AudioCodec::Pcmu, 160)] {
            assert!((48..=51).contains(&heard.len()), "{codec:?}: {} packets in a second", heard.len());
            assert!(heard.iter().all(|it| it.0 == codec));
            for pair in heard.windows(2) {
                assert_eq!((pair[1].1 - pair[0].1, pair[1].2.since(pair[0].2)), (millis(20), ticks));
            }
        }
        assert!(!outlet.is_over());
        world.order(Order::Close);
        assert!(outlet.is_over());
        assert_eq!(outlet.ended(), Some(world.now - began));
    }

    fn packet(payload_type: u8, number: u16, length: usize) -> Vec<u8> {
        let header = RtpHeader {
            marker: false,
            payload_type: PayloadType(payload_type),
            seq: SeqNo(number),
            timestamp: RtpTime(u32::from(number) * 160),
            ssrc: Ssrc(1),
        };
        [&header.to_bytes()[..], &vec![number as u8; length]].concat()
    }

    #[test]
    fn a_full_ring_loses_whole_packets_counts_them_and_takes_the_next_when_there_is_room() {
        let began = Instant::now();
        let (inlet, mut outlet) = ring(began, 2000);
        let mut tap = Tap::default();
        tap.set_format(Side::Phone, PayloadType(8), AudioCodec::Pcma);
        tap.open(inlet);
        for number in 0..100 {
            tap.hear(Side::Phone, began, &packet(8, number, 160));
        }
        assert_eq!(outlet.dropped(), 90, "ten packets of 182 bytes fit");
        let mut buffer = [0; MAX_PAYLOAD];
        assert_eq!(outlet.next(&mut buffer).map(|it| it.seq), Some(SeqNo(0)));
        tap.hear(Side::Phone, began, &packet(8, 100, 160));
        let left: Vec<u16> = std::iter::from_fn(|| {
            let heard = outlet.next(&mut buffer)?;
            assert!(heard.payload.iter().all(|it| u16::from(*it) == heard.seq.0), "no packet is torn");
            Some(heard.seq.0)
        })
        .collect();
        assert_eq!(left, (1..10).chain([100]).collect::<Vec<_>>());
        assert_eq!(outlet.dropped(), 90);
    }

    #[test]
    fn keys_and_unknown_sides_are_not_recorded() {
        let began = Instant::now();
        let (inlet, mut outlet) = ring(began, 4000);
        let mut tap = Tap::default();
        tap.set_format(Side::Phone, PayloadType(8), AudioCodec::Pcma);
        tap.hear(Side::Phone, began, &packet(8, 1, 160));
        tap.open(inlet);
        tap.hear(Side::Phone, began, &packet(101, 2, 4));
        tap.hear(Side::Meta, began, &packet(111, 3, 50));
        tap.hear(Side::Phone, began, b"no packet");
        assert_eq!(outlet.next(&mut [0; MAX_PAYLOAD]), None);
        assert_eq!(outlet.dropped(), 0);
    }
}
