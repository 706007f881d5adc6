//! The same pipe while a buffer stands in the way: a frame for every slot, from the buffer or invented.

use std::time::Instant;

use super::super::frames::Frames;
use super::super::jitter_buffer::Carries;
use super::super::player::Played;
use super::super::playout::{PhoneVoice, Way, carries};
use super::{PhoneFormat, ToMeta};
use crate::codec::{AudioCodec, MAX_FRAME_SAMPLES};
use crate::rtp::RtpPacket;

impl ToMeta {
    /// Takes the packet into the buffer, if one stands in the way.
    pub(super) fn is_buffered(
        &mut self,
        now: Instant,
        arrived: Instant,
        packet: &RtpPacket<'_>,
        format: PhoneFormat,
        out: &mut Frames,
    ) -> bool {
        if !self.plays() {
            return false;
        }
        if packet.header.payload_type != format.payload_type {
            if self.playout.is_playing() {
                self.deliver(now, arrived, packet, out);
            }
            return self.playout.is_playing();
        }
        let opus = format.codec == AudioCodec::Opus;
        let carries = if opus { carries(packet.payload) } else { Carries::Itself };
        match self.playout.hear(arrived, packet, carries) {
            Way::Relay => return false,
            Way::Buffered => {}
            Way::BufferedFirst => {
                self.deliver_held(now, out);
                self.reorder.reset();
                self.leave_passing(now, out);
                let rest = std::mem::take(&mut self.pcm);
                self.due.clear();
                self.next = None;
                if let Some(player) = self.playout.player() {
                    player.prepend(&rest);
                }
                self.pcm = rest;
                self.pcm.clear();
            }
        }
        true
    }

    /// True if the phone's speech goes to the user now.
    pub(super) fn plays(&self) -> bool {
        self.open && self.line.has_begun() && !self.digits.is_active()
    }

    /// Plays the frame that is due: a line that is played never falls silent.
    pub(super) fn play(&mut self, now: Instant, out: &mut Frames) {
        let Some(due) = self.line.due().filter(|due| *due <= now) else { return };
        let Some(player) = self.playout.player() else { return };
        let mut storage = [0; MAX_FRAME_SAMPLES];
        let frame = &mut storage[..self.rate.frame()];
        let mut voice = PhoneVoice { decoder: &mut self.decoder, concealer: &mut self.concealer };
        let played = player.play(due, &mut voice, frame);
        if played == Played::Speech && !self.admit(now, frame) && self.digits.is_active() {
            self.playout.reset();
            self.begin_key(now, true, out);
            return;
        }
        if self.is_occupied() {
            self.invent(frame);
            self.spliced = true;
        } else if played == Played::Speech {
            if std::mem::take(&mut self.spliced) {
                self.line.mark();
            }
            self.spoke = true;
        } else if self.concealer.is_faded() {
            self.figures.comfort += 1;
            self.spliced = true;
        }
        self.encode(now, frame, None, out);
    }
}
