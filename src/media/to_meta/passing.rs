//! Opus of the phone that goes to the user as it is: a new header, no decoding (rule 12).
//!
//! Only mono frames of 20 ms pass, and only while they keep the bitrate that Meta asks for. A splice
//! happens where it is not heard: into the phone's own packets at a quiet one, out of them with a
//! decoder and an encoder that have just heard the last packets, so that what is invented next
//! continues them.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::super::format::Passing;
use super::super::frames::Frames;
use super::super::line::SLOT;
use super::clock::LAG_WINDOW;
use super::inserted::Ear;
use super::{AHEAD, AHEAD_AFTER_COMFORT, PACE, ToMeta};
use crate::codec::{AudioCodec, MAX_FRAME_SAMPLES, MAX_OPUS_PACKET, OpusDecoder, SpeechDecoder};
use crate::rtp::RtpPacket;

/// Longer frames are far above any bitrate that Meta asks for.
const LONGEST: usize = 255;
/// Packets remembered for a decoder that must know what was said: 100 ms.
const REMEMBERED: usize = 5;
/// Packets that may wait for their moment; a larger burst is cut.
const WAITING: usize = 16;
/// A talker without a pause is taken over after so many packets all the same (1 s).
const UNBROKEN: u8 = 50;
/// Lost packets over which the user's own decoder carries; the generator takes over at 60 ms.
const SKIPPED: u32 = 2;

/// A packet that waits or is remembered.
#[derive(Clone, Copy, Debug)]
struct Parcel {
    arrived: Option<Instant>,
    length: usize,
    bytes: [u8; LONGEST],
}

/// How the phone's Opus goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Decoded and encoded again; so many packets in a row could have passed.
    Coded(u8),
    /// As it is.
    Passed,
}

/// What passes, what waits to pass and what has passed last.
#[derive(Debug)]
pub(super) struct Passage {
    passing: Passing,
    way: Way,
    waiting: VecDeque<Parcel>,
    recent: VecDeque<Parcel>,
    /// Bytes of a packet times 64, smoothed over a second.
    bytes64: u32,
}

impl Default for Passage {
    fn default() -> Self {
        Self {
            passing: Passing::Allowed,
            way: Way::Coded(0),
            waiting: VecDeque::new(),
            recent: VecDeque::new(),
            bytes64: 0,
        }
    }
}

impl Passage {
    /// Makes the storage: called where an offer or answer is taken.
    pub(super) fn prepare(&mut self) {
        self.waiting.reserve(WAITING);
        self.recent.reserve(REMEMBERED + 1);
    }

    /// True while packets go on as they are.
    pub(super) fn is_open(&self) -> bool {
        self.way == Way::Passed
    }

    /// Whether a packet may pass: its shape, and the bitrate of those before it.
    fn admits(&mut self, payload: &[u8], bitrate: u32) -> bool {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).min(4000);
        self.bytes64 = self.bytes64 + length - self.bytes64 / 64;
        // A quarter more than was asked for: speech is not even. Fifty packets a second of eight bits.
        let most = u64::from(bitrate) * 5 / 4 * 64 / 400;
        self.passing == Passing::Allowed
            && payload.len() <= LONGEST
            && u64::from(self.bytes64) <= most
            && OpusDecoder::is_mono_frame(payload)
    }

    fn remember(&mut self, parcel: Parcel) {
        if self.recent.len() >= REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(parcel);
    }
}

impl ToMeta {
    /// Whether Opus may go through undecoded.
    pub fn set_passing(&mut self, passing: Passing) {
        self.passage.passing = passing;
    }

    /// Takes a packet of a phone that speaks Opus.
    pub(super) fn opus_speech(
        &mut self,
        now: Instant,
        arrived: Instant,
        packet: &RtpPacket<'_>,
        out: &mut Frames,
    ) {
        // Keys in the sound must be decoded to be found, and a clip is heard instead of what would pass.
        let heard = self.ear == Ear::Reports || self.is_occupied();
        let admitted = self.passage.admits(packet.payload, self.settings.encoder.bitrate) && !heard;
        match self.passage.way {
            Way::Passed if admitted => return self.pass(now, arrived, packet, out),
            Way::Passed => self.leave_passing(now, out),
            Way::Coded(run) if admitted => {
                let quiet = OpusDecoder::is_quiet(packet.payload) || run >= UNBROKEN;
                // What was decoded goes out first.
                if quiet && self.due.is_empty() {
                    self.pcm.clear();
                    self.passage.recent.clear();
                    self.passage.way = Way::Passed;
                    return self.pass(now, arrived, packet, out);
                }
                self.passage.way = Way::Coded(run.saturating_add(1));
            }
            Way::Coded(_) => self.passage.way = Way::Coded(0),
        }
        self.repair(now, arrived, packet);
        self.speech(now, arrived, packet, AudioCodec::Opus);
    }

    /// Restores frames lost before `packet` from its redundancy, or has libopus invent them.
    fn repair(&mut self, now: Instant, arrived: Instant, packet: &RtpPacket<'_>) {
        let Some(apart) = self.next.map(|next| packet.header.timestamp.since(next)) else { return };
        if !(960..=2880).contains(&apart) || apart % 960 != 0 {
            return;
        }
        for left in (0..apart / 960).rev() {
            let mut storage = [0; MAX_FRAME_SAMPLES];
            let frame = &mut storage[..self.rate.frame()];
            let SpeechDecoder::Opus(decoder) = &mut self.decoder else { return };
            let repaired = if left == 0 && OpusDecoder::has_redundancy(packet.payload) {
                self.figures.recovered += 1;
                decoder.recover(packet.payload, frame)
            } else {
                self.figures.concealed += 1;
                decoder.conceal(frame)
            };
            if repaired.is_ok() {
                self.concealer.heard(frame);
                self.queue(now, arrived, frame, Duration::ZERO);
            }
        }
        self.last_due = None;
        self.next = Some(packet.header.timestamp);
    }

    fn pass(&mut self, now: Instant, arrived: Instant, packet: &RtpPacket<'_>, out: &mut Frames) {
        let stamp = packet.header.timestamp;
        let apart = self.next.map_or(0, |next| stamp.since(next));
        if apart < 0 && apart > -96_000 {
            if !self.is_set_back(now, packet.header.marker) {
                self.figures.late += 1;
                return;
            }
            self.line.mark();
        } else if (1..=(SKIPPED * 960).cast_signed()).contains(&apart) {
            self.leave_holes(now, apart.unsigned_abs() / 960);
        } else if apart != 0 {
            self.line.mark();
        }
        self.late_since = None;
        self.next = Some(stamp.plus(960));
        self.generating = false;
        if self.passage.waiting.len() >= WAITING {
            self.figures.late += 1;
            return;
        }
        let mut parcel = Parcel { arrived: Some(arrived), length: packet.payload.len(), bytes: [0; LONGEST] };
        parcel.bytes[..parcel.length].copy_from_slice(packet.payload);
        let due = self.last_due.map_or(now, |last| now.max(last + PACE));
        self.last_due = Some(due);
        self.due.push_back((due, arrived));
        self.passage.waiting.push_back(parcel);
        self.flush_passed(now, out);
    }

    /// Leaves slots of lost packets empty: the user's decoder fills them from the redundancy of the next one.
    fn leave_holes(&mut self, now: Instant, lost: u32) {
        for _ in 0..lost {
            if self.line.due().is_some_and(|due| due + SLOT <= now + AHEAD) {
                self.line.leave_hole();
            }
        }
    }

    /// Sends the packets that are due.
    pub(super) fn flush_passed(&mut self, now: Instant, out: &mut Frames) {
        while self.due.pop_front_if(|(due, _)| *due <= now).is_some() {
            self.send_next(now, out);
        }
    }

    /// Sends what waits without its distances.
    fn send_waiting(&mut self, now: Instant, out: &mut Frames) {
        if self.passage.way != Way::Passed {
            return;
        }
        self.due.clear();
        while !self.passage.waiting.is_empty() {
            self.send_next(now, out);
        }
    }

    fn send_next(&mut self, now: Instant, out: &mut Frames) {
        let (Some(parcel), Some(due)) = (self.passage.waiting.pop_front(), self.line.due()) else { return };
        self.passage.remember(parcel);
        let ahead = if self.spliced { AHEAD_AFTER_COMFORT } else { AHEAD };
        if due > now + ahead {
            self.figures.skipped += 1;
            return;
        }
        self.smallest_lag = self.smallest_lag.min(now.saturating_duration_since(due));
        self.lag_count += 1;
        if self.lag_count >= LAG_WINDOW {
            let surplus = self.smallest_lag.as_millis() / SLOT.as_millis();
            self.leave_holes(now, u32::try_from(surplus).unwrap_or(0).min(SKIPPED));
            (self.smallest_lag, self.lag_count) = (Duration::MAX, 0);
        }
        if std::mem::take(&mut self.spliced) {
            self.line.mark();
        }
        self.spoke = true;
        self.figures.passed += 1;
        self.line.speak(now, &parcel.bytes[..parcel.length], parcel.arrived, out);
    }

    /// Goes over to coding, what waits first.
    pub(super) fn leave_passing(&mut self, now: Instant, out: &mut Frames) {
        self.send_waiting(now, out);
        self.stop_passing();
    }

    /// Goes over to coding: decoder, concealer and encoder hear what the user has heard last.
    pub(super) fn stop_passing(&mut self) {
        if self.passage.way != Way::Passed {
            return;
        }
        self.passage.way = Way::Coded(0);
        self.passage.waiting.clear();
        self.due.clear();
        self.pcm.clear();
        if let SpeechDecoder::Opus(decoder) = &mut self.decoder {
            decoder.reset();
        }
        self.encoder.reset();
        let mut frame = [0; MAX_FRAME_SAMPLES];
        let length = self.rate.frame();
        while let Some(parcel) = self.passage.recent.pop_front() {
            if self.decoder.decode(&parcel.bytes[..parcel.length], &mut frame[..length]) == Ok(length) {
                self.concealer.heard(&mut frame[..length]);
                let _ = self.encoder.encode(&frame[..length], &mut [0; MAX_OPUS_PACKET]);
            }
        }
    }
}
