//! What the phone hears instead of the user: clips, keys as tones, comfort noise in the user's pauses.

use std::time::{Duration, Instant};

use super::ToPhone;
use crate::codec::{AudioCodec, MAX_FRAME_SAMPLES, level_dbov};
use crate::media::clip::{Clip, Repeat};
use crate::media::digits::Sounding;
use crate::media::frames::Frames;
use crate::media::line::SLOT;
use crate::media::order::KeyWay;
use crate::media::pacer::Spacing;
use crate::media::stream::Sound;
use crate::rtp::{Event, PayloadType};

/// RFC 3389 on its static payload type.
const COMFORT_NOISE: PayloadType = PayloadType(13);
/// A packet of up to so many bytes says that its sender leaves silence out (RFC 6716 §2.1.9).
const PAUSE_BYTES: usize = 2;
/// After a stop longer than this, slots are left out, not filled.
const LONGEST_FILL: Duration = Duration::from_millis(500);

impl ToPhone {
    /// Plays a clip to the phone, in the place of the user's speech; a second order replaces the first.
    pub fn announce(&mut self, now: Instant, clip: Clip, repeat: Repeat, out: &mut Frames) {
        self.announcer.play(clip, repeat);
        if self.announcer.is_playing() && self.next_slot.is_none() {
            self.drop_speech();
            self.catch_up(now);
            self.next_slot = Some(now);
            self.announce_due(now, out);
        }
    }

    /// Breaks off what [`Self::announce`] began.
    pub fn stop_announcing(&mut self) {
        self.announcer.stop();
        self.finish_announcing();
    }

    /// True once for each clip of [`Self::announce`] that came to its end.
    pub fn take_announced(&mut self) -> bool {
        self.announcer.take_ended()
    }

    /// Whether the phone takes comfort noise of RFC 3389.
    pub const fn set_comfort_noise(&mut self, taken: bool) {
        self.takes_comfort = taken;
    }

    fn finish_announcing(&mut self) {
        if !self.announcer.is_playing() && self.next_slot.take().is_some() {
            // Speech after it is a new piece, placed by our own clock.
            self.next = None;
        }
    }

    /// Plays what is due of a clip; a key in between is said, and the clip goes on behind it.
    pub(super) fn announce_due(&mut self, now: Instant, out: &mut Frames) {
        while let Some(due) = self.next_slot.filter(|due| *due <= now) {
            let late = now.saturating_duration_since(due);
            if late > LONGEST_FILL {
                self.stream.leave_out(self.stream.ticks(late));
                self.next_slot = Some(now);
                continue;
            }
            self.next_slot = Some(due + SLOT);
            if self.digits.is_active() {
                continue;
            }
            let mut storage = [0; MAX_FRAME_SAMPLES];
            let frame = &mut storage[..self.rate.frame()];
            self.announcer.fill(frame, self.rate.hz());
            self.emit(now, now, frame, out);
            self.finish_announcing();
        }
    }

    /// How the user's keys reach the phone from now on.
    pub const fn set_key_way(&mut self, way: KeyWay) {
        self.key_way = way;
    }

    /// A key that did not reach the phone by signalling goes with the sound.
    pub fn press(&mut self, now: Instant, event: Event, duration: u16, out: &mut Frames) {
        let idle = !self.digits.is_active();
        self.key_way = KeyWay::WithSound;
        self.digits.press(now, event, duration);
        if idle {
            self.drop_speech();
            self.catch_up(now);
            self.next = None;
            self.next_report = Some(now);
            self.say(now, out);
        }
    }

    /// True if keys are not for this pipe to send.
    pub(super) fn tells_keys(&self) -> bool {
        let agreed = || self.out.as_ref().is_some_and(|(line, _)| line.format.events().is_some());
        match self.key_way {
            KeyWay::WithSound => false,
            KeyWay::EventsElseTold => !agreed(),
            KeyWay::Told => true,
        }
    }

    /// Hands a key over that is to be told by signalling; false when there is none any more.
    pub(super) fn tell_key(&mut self, now: Instant) -> bool {
        self.told.extend(self.digits.tell(now));
        self.digits.is_active()
    }

    /// A key that is to be told by signalling, and how long it was pressed.
    pub fn take_told(&mut self) -> Option<(char, Duration)> {
        let (event, ticks) = self.told.pop_front()?;
        Some((event.digit(), Duration::from_millis(u64::from(ticks) / 8)))
    }

    /// True if keys are heard by this phone as tones, because it takes no reports of them.
    pub(super) fn wants_tones(&self) -> bool {
        self.sending && self.out.as_ref().is_some_and(|(line, _)| line.format.events().is_none())
    }

    /// Sends 20 ms of a key's tone; false when all keys are over.
    pub(super) fn sound_key(&mut self, now: Instant, out: &mut Frames) -> bool {
        match self.digits.sound(now) {
            None => return false,
            Some(Sounding::Press(event, volume)) => self.key_tone.press(event, volume),
            Some(Sounding::Hold) => {}
            Some(Sounding::Release) => self.key_tone.release(),
        }
        let mut storage = [0; MAX_FRAME_SAMPLES];
        let frame = &mut storage[..self.rate.frame()];
        self.key_tone.fill(frame);
        self.emit(now, now, frame, out);
        true
    }

    /// Before decoded speech goes to the phone: mutes what leaks of keys, and fades out a clip that was broken off.
    pub(super) fn prepare(&mut self, samples: &mut [i16]) {
        if self.has_keys {
            self.detector.hear(samples, |_, _| {});
        }
        self.announcer.blend(samples, self.rate.hz());
    }

    /// True if this packet begins or renews a pause that is told to the phone as comfort noise instead.
    pub(super) fn is_pause(&mut self, payload: &[u8], samples: &[i16]) -> bool {
        let codec = self.out.as_ref().map(|(line, _)| line.format.codec);
        if !self.takes_comfort || !matches!(codec, Some(AudioCodec::Pcmu | AudioCodec::Pcma)) {
            return false;
        }
        self.comfort.listen(level_dbov(samples));
        let pauses = payload.len() <= PAUSE_BYTES;
        if !pauses {
            self.comfort.forget();
        }
        pauses
    }

    /// Tells the phone of the user's room if that has changed; the pause begins with so many samples.
    pub(super) fn pause(&mut self, now: Instant, arrived: Instant, samples: usize, out: &mut Frames) {
        let playing = self.announcer.is_playing() || self.digits.is_active();
        let told = if self.sending && !playing { self.comfort.tell() } else { None };
        let ticks = self.out.as_ref().map_or(0, |(line, _)| line.format.codec.ticks(samples));
        self.leave_out(0);
        match told {
            Some(payload) => {
                let sound =
                    Sound { arrived, payload_type: COMFORT_NOISE, marker: false, ticks, payload: &payload };
                self.stream.speak(now, Spacing::Free, &sound, out);
            }
            None => self.stream.leave_out(ticks),
        }
        // What comes next is a new piece, and RFC 3389 §4 marks it.
        self.stream.leave_out(0);
    }
}
