//! Keys of the phone on the line: reports heard in its stream or told by signalling, said anew slot by slot.

use std::time::Instant;

use super::super::format::EventFormat;
use super::super::frames::Frames;
use super::super::line::SLOT;
use super::ToMeta;
use super::inserted::Ear;
use crate::rtp::{Event, RtpPacket, TelephoneEvent};

impl ToMeta {
    /// Takes a report that the phone sent.
    pub(super) fn hear_key(
        &mut self,
        now: Instant,
        packet: &RtpPacket<'_>,
        events: EventFormat,
        out: &mut Frames,
    ) {
        if let Ok(report) = TelephoneEvent::parse(packet.payload) {
            let idle = !self.digits.is_active();
            self.digits.hear(now, packet.header.timestamp, report.rescaled(events.clock, 8000));
            self.ear = Ear::Mutes;
            self.begin_key(now, idle, out);
        }
    }

    /// Says a key that came by signalling; the gate must be open for it like for speech.
    pub fn press(&mut self, now: Instant, event: Event, duration: u16, out: &mut Frames) {
        if !self.open || !self.line.has_begun() {
            return;
        }
        let idle = !self.digits.is_active();
        self.digits.press(now, event, duration);
        self.begin_key(now, idle, out);
    }

    /// Takes these codes out of what the phone presses.
    pub fn look_for_codes(&mut self, codes: Vec<String>) {
        self.digits.look_for(codes);
    }

    /// A code that the phone has pressed, once.
    pub const fn take_code(&mut self) -> Option<String> {
        self.digits.take_code()
    }

    /// The first key after none takes the place of the speech.
    pub(super) fn begin_key(&mut self, now: Instant, was_idle: bool, out: &mut Frames) {
        if was_idle && self.digits.is_active() {
            self.drop_speech();
            self.concealer.forget();
            self.say(now, out);
        }
    }

    /// Says the key for every slot that is due; the first report of a key does not wait for its slot.
    pub(super) fn say(&mut self, now: Instant, out: &mut Frames) {
        // A line that is ahead already would fall silent for as long as the clock needs to catch up.
        let mut first = self.line.due().is_some_and(|due| due <= now + SLOT);
        while first || self.line.due().is_some_and(|due| due <= now) {
            let Some(saying) = self.digits.say(now, self.line.timestamp()) else { return };
            self.line.say(now, self.settings.telephone_event, &saying, out);
            self.generating = true;
            self.spliced = true;
            first = false;
        }
    }
}
