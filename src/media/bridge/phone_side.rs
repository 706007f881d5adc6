//! The SIP leg's packets, in and out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{Bridge, Words, key_ticks, moment};
use crate::media::Report;
use crate::media::order::Side;
use crate::media::outbox::BridgePort;
use crate::media::rtp_leg::Heard;
use crate::media::webrtc_leg::LegEvent;
use crate::rtp::{Event, read_rtcp};
use crate::time::Now;

impl Bridge {
    pub(super) fn apply_phone_answer(&mut self, now: Now, sdp: &str) {
        match self.phone.apply(now.mono, sdp) {
            Ok(()) => self.take_agreement(now),
            Err(refusal) => self.reports.push_back(Report::PhoneAnswerRefused(refusal)),
        }
    }

    pub(super) fn hear_phone(
        &mut self,
        now: Now,
        arrived: Instant,
        port: BridgePort,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        match self.phone.receive(now.mono, port, from, bytes) {
            Heard::Rtp(packet) => {
                if self.phone.take_switch() {
                    self.take_agreement(now);
                }
                self.note_media(now.mono);
                self.tap.hear(Side::Phone, arrived, &packet);
                self.hear_hold_audio(now);
                self.to_meta.receive(now.mono, arrived, &packet, &mut self.frames);
                self.send_to_meta();
            }
            Heard::Rtcp(compound) => self.hear_phone_report(now, &compound),
            Heard::Nothing => {}
            Heard::Foreign => self.foreign += 1,
        }
    }

    fn hear_phone_report(&mut self, now: Now, bytes: &[u8]) {
        let ssrc = self.to_phone.ssrc();
        let Ok(facts) = read_rtcp(bytes, ssrc) else { return };
        let at = moment(&self.ntp, now);
        let sent = self.to_phone.facts(now.mono, at.ntp).map_or(0, |facts| facts.packets.into());
        let stream = (self.phone.clock(), sent);
        self.phone_reports.hear(at, &facts, ssrc, stream, self.to_meta.reception());
    }

    /// STUN and DTLS of a browser, and what has become of them.
    pub(super) fn drain_phone(&mut self) {
        while let Some((to, datagram)) = self.phone.poll_transmit() {
            self.outbox.push(BridgePort::Rtp, to, &datagram, None);
        }
        while let Some(event) = self.phone.poll_event() {
            match event {
                LegEvent::IceConnected | LegEvent::DtlsUp => {}
                // The BYE is on its way; if it never comes, the consent ends.
                LegEvent::Closed => {}
                LegEvent::IceFailed | LegEvent::DtlsFailed(_) | LegEvent::ConsentLost => {
                    if !std::mem::replace(&mut self.told.stalled, true) {
                        self.reports.push_back(Report::Stalled);
                    }
                }
            }
        }
    }

    /// A key of the user that goes with the sound after all.
    pub(super) fn press_to_phone(&mut self, now: Now, digit: char, duration: Duration) {
        if let Some(event) = Event::from_digit(digit) {
            self.to_phone.press(now.mono, event, key_ticks(duration), &mut self.frames);
            self.send_to_phone();
        }
    }

    pub(super) fn send_to_phone(&mut self) {
        for (packet, arrived) in self.frames.iter() {
            if let Some((to, sealed)) = self.phone.seal_rtp(packet) {
                let transit = arrived.map(|at| (Side::Phone, at));
                self.outbox.push(BridgePort::Rtp, to, sealed, transit);
            }
        }
        self.frames.clear();
    }

    pub(super) fn send_phone_report(&mut self, now: Now, last: Words) {
        let at = moment(&self.ntp, now);
        let (ssrc, facts) = (self.to_phone.ssrc(), self.to_phone.facts(at.mono, at.ntp));
        let figures = self.to_meta.figures();
        let reception = self.to_meta.reception();
        let received = self.phone_reports.received(self.phone.codec_name(), reception, &figures);
        let compound = match last {
            Words::Last => self.phone_reports.write_bye(at, ssrc, facts, reception, &self.cname),
            Words::More => {
                let heard = (reception, &received);
                self.phone_reports.write(at, ssrc, facts, heard, (&self.cname, self.phone.metrics()))
            }
        };
        if let Some((port, to, sealed)) = self.phone.seal_rtcp(&compound) {
            self.outbox.push(port, to, sealed, None);
        }
    }
}
