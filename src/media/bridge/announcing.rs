//! Orders to play, and the hold audio, which nobody orders.

use super::Bridge;
use crate::media::clip::{Clip, Repeat};
use crate::media::hold::HoldAudio;
use crate::media::{Report, Side};
use crate::time::Now;

impl Bridge {
    pub(super) fn announce(&mut self, now: Now, towards: Side, clip: Clip, repeat: Repeat) {
        match towards {
            Side::Meta => self.to_meta.announce(clip, repeat),
            Side::Phone => {
                self.to_phone.announce(now.mono, clip, repeat, &mut self.frames);
                self.send_to_phone();
            }
        }
    }

    pub(super) fn stop_announcing(&mut self, towards: Side) {
        match towards {
            Side::Meta => self.to_meta.stop_announcing(),
            Side::Phone => self.to_phone.stop_announcing(),
        }
    }

    pub(super) fn tell_announced(&mut self) {
        if self.to_meta.take_announced() {
            self.reports.push_back(Report::Played { towards: Side::Meta });
        }
        if self.to_phone.take_announced() {
            self.reports.push_back(Report::Played { towards: Side::Phone });
        }
    }

    /// What was agreed with the phone says whether it holds the call (rule 16). A phone that only takes sound
    /// has muted itself: that is no hold.
    pub(super) fn take_hold(&mut self, now: Now) {
        self.to_phone.set_comfort_noise(self.phone.takes_comfort_noise());
        if self.hold.set(now.mono, !self.phone.speaks()) == HoldAudio::Ends {
            self.to_meta.stop_on_hold();
        }
    }

    /// A packet of the phone's side has come.
    pub(super) fn hear_hold_audio(&mut self, now: Now) {
        if self.phone.hears() && self.hold.heard(now.mono) == HoldAudio::Ends {
            self.to_meta.stop_on_hold();
        }
    }
}
