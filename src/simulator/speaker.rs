//! What the user's client sends: one packet every 20 ms on an absolute schedule, voice or room noise or digits,
//! all in one stream.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::digits::Keypad;
use super::rtcp::Spoken;
use super::stream::{FRAME_TICKS, Header};
use super::voice::{Clip, room};
use crate::random::Random;

/// One frame.
const FRAME: Duration = Duration::from_millis(20);

/// After a longer stall of the whole program the missed slots are left out, not sent in a burst.
const LONGEST_CATCH_UP: Duration = Duration::from_millis(100);

/// The sending half of one line.
pub(super) struct Speaker {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    event_timestamp: u32,
    opus: u8,
    telephone_event: u8,
    next: Option<Instant>,
    clip: Option<(Arc<Clip>, usize)>,
    wait: u32,
    room: Arc<Clip>,
    room_at: usize,
    marker: bool,
    keypad: Keypad,
    packets: u64,
    octets: u64,
    packet: Vec<u8>,
}

impl Speaker {
    /// A stream with random numbers; the first sequence number is below 2^15 (RFC 3711 §3.3.1 needs the headroom).
    ///
    /// The clip is spoken `wait` frames after the first packet.
    pub(super) fn new(random: &mut Random, clip: Option<Arc<Clip>>, wait: u32) -> Self {
        Self {
            ssrc: random.next_u32(),
            sequence: (random.next_u32() & 0x7fff) as u16,
            timestamp: random.next_u32(),
            event_timestamp: 0,
            opus: 111,
            telephone_event: 126,
            next: None,
            clip: clip.map(|clip| (clip, 0)),
            wait,
            room: room(),
            room_at: 0,
            marker: true,
            keypad: Keypad::default(),
            packets: 0,
            octets: 0,
            packet: Vec::with_capacity(256),
        }
    }

    /// The stream's source, for the SDP.
    pub(super) const fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// As the business's SDP numbers them.
    pub(super) fn set_payload_types(&mut self, opus: u8, telephone_event: u8) {
        (self.opus, self.telephone_event) = (opus, telephone_event);
    }

    /// Speaks a clip from the next frame on, in place of what was spoken.
    pub(super) fn speak(&mut self, clip: Arc<Clip>) {
        self.clip = Some((clip, 0));
        self.wait = 0;
        self.marker = true;
    }

    /// Presses keys; false, and none pressed, if one is no key.
    pub(super) fn press(&mut self, digits: &str) -> bool {
        self.keypad.press(digits)
    }

    /// When the next packet is due; `None` before the first one.
    pub(super) const fn next_slot(&self) -> Option<Instant> {
        self.next
    }

    /// Packets sent.
    pub(super) const fn sent(&self) -> u64 {
        self.packets
    }

    /// For sender reports.
    pub(super) fn spoken(&self) -> Spoken {
        Spoken {
            ssrc: self.ssrc,
            timestamp: self.timestamp,
            packets: u32::try_from(self.packets & 0xffff_ffff).unwrap_or(0),
            octets: u32::try_from(self.octets & 0xffff_ffff).unwrap_or(0),
        }
    }

    /// The packet that is due now, if one is; call it until it gives none.
    pub(super) fn poll_packet(&mut self, now: Instant) -> Option<&[u8]> {
        let slot = *self.next.get_or_insert(now);
        if slot > now {
            return None;
        }
        let late = now.saturating_duration_since(slot);
        let skipped =
            if late > LONGEST_CATCH_UP { u32::try_from(late.as_millis() / 20).unwrap_or(0) } else { 0 };
        let slot = slot + FRAME * skipped;
        self.next = Some(slot + FRAME);
        self.timestamp = self.timestamp.wrapping_add(FRAME_TICKS.wrapping_mul(skipped + 1));
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = Header {
            payload_type: self.opus,
            marker: self.marker,
            sequence: self.sequence,
            timestamp: self.timestamp,
            ssrc: self.ssrc,
        };
        self.packet.clear();
        // The keypad replaces the voice, but the voice's time goes on.
        let event = self.keypad.next_slot();
        let waiting = self.wait > 0;
        self.wait = self.wait.saturating_sub(1 + skipped);
        let clip = self.clip.as_mut().filter(|_| !waiting).and_then(|(clip, at)| {
            *at += 1;
            clip.frame(*at - 1)
        });
        let payload: &[u8] = match (&event, clip) {
            (Some(event), _) => {
                if event.first {
                    self.event_timestamp = self.timestamp;
                }
                header.payload_type = self.telephone_event;
                header.marker = event.first;
                header.timestamp = self.event_timestamp;
                &event.payload
            }
            (None, Some(frame)) => frame,
            (None, None) => {
                self.room_at = (self.room_at + 1) % self.room.len().max(1);
                self.room.frame(self.room_at).unwrap_or_default()
            }
        };
        header.write(&mut self.packet);
        self.packet.extend_from_slice(payload);
        self.marker = event.is_some();
        self.packets += 1;
        self.octets += payload.len() as u64;
        Some(&self.packet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulator::stream::StreamCheck;
    use crate::simulator::voice::encode;

    fn run(speaker: &mut Speaker, start: Instant, slots: u32) -> Vec<(Header, Vec<u8>)> {
        let mut packets = Vec::new();
        for slot in 0..slots {
            while let Some(packet) = speaker.poll_packet(start + FRAME * slot) {
                let (header, payload) = Header::split(packet).expect("rtp");
                packets.push((header, payload.to_vec()));
            }
        }
        packets
    }

    #[test]
    fn voice_then_room_is_one_stream_of_one_packet_each_20_ms() {
        let clip = Arc::new(encode(&[500; 3200], 16_000).expect("clip"));
        let mut speaker = Speaker::new(&mut Random::from_number(1), Some(clip.clone()), 0);
        let start = Instant::now();
        let packets = run(&mut speaker, start, 60);
        assert_eq!(packets.len(), 60);
        let mut check = StreamCheck::default();
        for (slot, (header, _)) in (0_u32..).zip(&packets) {
            assert_eq!(check.packet(start + FRAME * slot, *header, true), []);
        }
        assert_eq!(packets[3].1, clip.frame(3).expect("frame"));
        assert!(packets[0].0.marker && !packets[1].0.marker && packets[0].0.sequence < 0x8000 + 1);
    }

    #[test]
    fn a_digit_keeps_sequence_and_source_and_its_48_khz_stamp() {
        let mut speaker = Speaker::new(&mut Random::from_number(2), None, 0);
        let start = Instant::now();
        let before = run(&mut speaker, start, 10);
        assert!(speaker.press("7"));
        let packets = run(&mut speaker, start + FRAME * 10, 20);
        let events: Vec<_> = packets.iter().filter(|(h, _)| h.payload_type == 126).collect();
        assert_eq!(events.len(), 7);
        let last_audio = before[9].0;
        assert!(events.iter().all(|(h, _)| h.timestamp == last_audio.timestamp.wrapping_add(FRAME_TICKS)));
        assert!(events.iter().all(|(h, _)| h.ssrc == last_audio.ssrc));
        let sequences: Vec<u16> = packets.iter().map(|(h, _)| h.sequence).collect();
        assert!(sequences.windows(2).all(|w| w[1] == w[0].wrapping_add(1)));
        let resumed = packets[7].0;
        assert_eq!(
            resumed.timestamp,
            last_audio.timestamp.wrapping_add(FRAME_TICKS * 8),
            "time went on meanwhile"
        );
    }

    #[test]
    fn a_stall_leaves_slots_out_and_keeps_the_clock() {
        let mut speaker = Speaker::new(&mut Random::from_number(3), None, 0);
        let start = Instant::now();
        let first = run(&mut speaker, start, 1)[0].0;
        let after = run(&mut speaker, start + Duration::from_secs(1), 1);
        assert_eq!(after.len(), 1);
        assert_eq!(after[0].0.sequence, first.sequence.wrapping_add(1));
        assert_eq!(after[0].0.timestamp, first.timestamp.wrapping_add(48_000));
    }
}
