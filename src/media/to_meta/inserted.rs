//! What the user hears instead of the phone, and what is taken out of the phone's sound on its way.

use std::time::Instant;

use super::ToMeta;
use crate::media::clip::{Clip, Repeat};

/// What is done about keys in the phone's sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    /// Nobody listens: the phone can report its keys and has not pressed any.
    Shut,
    /// The phone reports its keys; what leaks of them beside the reports is muted.
    Mutes,
    /// The phone cannot report keys: those that are heard are said for it.
    Reports,
}

impl ToMeta {
    /// Plays a clip to the user, in the place of the phone's speech; a second order replaces the first.
    pub fn announce(&mut self, clip: Clip, repeat: Repeat) {
        self.announcer.play(clip, repeat);
        self.take_over();
    }

    /// Breaks off what [`Self::announce`] began.
    pub fn stop_announcing(&mut self) {
        self.announcer.stop();
    }

    /// Plays a clip for as long as the phone holds the call.
    pub fn play_on_hold(&mut self, clip: Clip) {
        self.announcer.hold(clip);
        self.take_over();
    }

    /// The hold is over, or the PBX plays music of its own.
    pub fn stop_on_hold(&mut self) {
        self.announcer.resume();
    }

    /// True once for each clip of [`Self::announce`] that came to its end.
    pub fn take_announced(&mut self) -> bool {
        self.announcer.take_ended()
    }

    /// The generator keeps the clock: what is played fills the next slot when it is due.
    fn take_over(&mut self) {
        if self.announcer.is_playing() {
            self.stop_passing();
            self.drop_speech();
            self.concealer.forget();
            self.generating = true;
        }
    }

    /// The phone leaves its silence out and tells of its room (RFC 3389): noise like it, until speech returns.
    pub(super) fn pause(&mut self, payload: &[u8]) {
        if payload.is_empty() || self.digits.is_active() {
            return;
        }
        if !self.comfort.is_active() {
            // The end of the speech has come; nothing of it is missing.
            self.concealer.forget();
            self.generating = self.due.is_empty();
        }
        self.comfort.hear(payload);
    }

    /// Looks at decoded speech before anything is done with it; false if nobody is to hear it.
    pub(super) fn admit(&mut self, now: Instant, samples: &mut [i16]) -> bool {
        self.comfort.rest();
        let (ear, digits) = (self.ear, &mut self.digits);
        if ear != Ear::Shut {
            self.detector.hear(samples, |name, report| {
                if ear == Ear::Reports {
                    digits.hear(now, name, report);
                }
            });
        }
        if self.announcer.is_playing() || self.digits.is_active() {
            self.next = None;
            return false;
        }
        self.announcer.blend(samples, self.rate.hz());
        true
    }

    /// True if something else than the phone's speech is to be heard, or its own noise.
    pub(super) const fn is_occupied(&self) -> bool {
        self.announcer.is_playing() || self.comfort.is_active()
    }

    /// What is heard while nothing comes: a clip, the phone's room as it tells it, or what the speech leaves behind.
    pub(super) fn invent(&mut self, samples: &mut [i16]) {
        let rate = self.rate.hz();
        let filled = if self.announcer.is_playing() { self.announcer.fill(samples, rate) } else { 0 };
        let rest = &mut samples[filled..];
        if rest.is_empty() {
            return;
        }
        if self.comfort.is_active() {
            self.figures.comfort += 1;
            self.comfort.fill(rest, rate);
        } else {
            if self.concealer.is_faded() || !self.open {
                self.figures.comfort += 1;
            } else {
                self.figures.concealed += 1;
            }
            self.concealer.invent(rest);
        }
        self.announcer.blend(rest, rate);
    }
}
