//! The media of one call as WhatsApp's relay and client see it: ICE-lite, DTLS, SRTP, the user's voice and ear,
//! and the watch over what the business sends. No socket, no clock: bytes and `now` in, bytes and events out.

use std::mem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use serde::Serialize;

use super::digits::DigitReader;
use super::dtls::{Dtls, DtlsFault, Identity, Role, Srtp};
use super::recorder::Recorder;
use super::rtcp::{self, Heard};
use super::sdp::Business;
use super::speaker::Speaker;
use super::stream::{Counted, Header, StreamCheck};
use super::stun::{self, Checked};
use super::voice::{Clip, Ear};
use crate::time::Now;

/// Distance of our RTCP reports.
const REPORT_EVERY: Duration = Duration::from_secs(5);

/// A frame louder than this (RMS) counts as somebody speaking.
const VOICED: f64 = 300.0;

/// More violations than this say nothing new about one call.
const MOST_VIOLATIONS: usize = 100;

/// How long the client waits (reference §10).
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// From the answer to the first RTP packet: 20 s.
    pub(super) first: Duration,
    /// Between packets, RTCP included: 30 s.
    pub(super) gap: Duration,
    /// From our SDP answer to the first ICE check of a business-initiated call (138007).
    pub(super) setup: Duration,
}

/// What a line is opened with.
pub(super) struct LineSpec {
    /// Our half of the STUN username.
    pub(super) ufrag: String,
    /// Our ICE password.
    pub(super) pwd: String,
    /// The user's voice.
    pub(super) speaker: Speaker,
    /// Where what is heard goes.
    pub(super) recorder: Option<Recorder>,
    /// Media before the answer is a breach: so for calls that a user placed.
    pub(super) early_is_breach: bool,
    /// Watchdogs.
    pub(super) patience: Patience,
}

/// What media tells signalling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LineEvent {
    /// A point of the call was reached; the name stands under `stages`.
    Stage(&'static str),
    /// The business broke a rule.
    Violation(String),
    /// Media came before `accept`: the client takes it as the answer.
    EarlyMedia,
    /// Nothing came in time: 138021.
    NoMedia,
    /// No check ever came: 138007.
    NotConnected,
    /// The handshake failed: 138004.
    DtlsFailed(String),
}

/// Figures of one line for `GET /sim/calls/{id}`.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct MediaReport {
    /// Of the business's stream.
    #[serde(flatten)]
    pub(super) counted: Counted,
    /// RTP packets sent by the user's client.
    pub(super) sent: u64,
    /// From the answer to the first RTP audio after it.
    pub(super) first_audio_ms: Option<u64>,
    /// From the answer to the first voiced frame after it.
    pub(super) first_voice_ms: Option<u64>,
    /// RTP packets that came before `accept`.
    pub(super) before_answer: u64,
    /// DTLS datagrams dropped because the business's SDP had not come yet.
    pub(super) early_dtls: u64,
    /// RTCP packets received.
    pub(super) rtcp_received: u64,
    /// RTCP packets sent.
    pub(super) rtcp_sent: u64,
    /// Loss of our stream as the business last reported it, 0 to 1.
    pub(super) reported_loss: Option<f64>,
    /// Average payload bitrate of the business in bit/s.
    pub(super) bitrate: u64,
    /// Frames that were not one mono 20 ms Opus frame.
    pub(super) odd_frames: u64,
    /// Negotiated protection.
    pub(super) srtp: Option<&'static str>,
    /// The business's media address.
    pub(super) remote: Option<SocketAddr>,
    /// Digits received.
    #[serde(skip)]
    pub(super) digits: String,
}

/// One call's media.
pub(super) struct Line {
    ufrag: String,
    pwd: String,
    remote: Option<(Business, Role)>,
    peer: Option<SocketAddr>,
    nominated: bool,
    opened: Instant,
    dtls: Option<Dtls>,
    srtp: Option<Srtp>,
    answered: Option<Instant>,
    early_is_breach: bool,
    early_rtcp: bool,
    patience: Patience,
    gave_up: bool,
    speaker: Speaker,
    check: StreamCheck,
    ear: Option<Ear>,
    recorder: Option<Recorder>,
    reader: DigitReader,
    heard: Heard,
    heard_sr_at: Option<Instant>,
    last_heard: Option<Instant>,
    next_report: Option<Instant>,
    first_packet: Option<Instant>,
    octets: u64,
    violations: usize,
    report: MediaReport,
    out: Vec<(SocketAddr, BytesMut)>,
    events: Vec<LineEvent>,
}

impl Line {
    /// A line that waits for checks.
    pub(super) fn new(spec: LineSpec, now: Now) -> Self {
        Self {
            ufrag: spec.ufrag,
            pwd: spec.pwd,
            remote: None,
            peer: None,
            nominated: false,
            opened: now.mono,
            dtls: None,
            srtp: None,
            answered: None,
            early_is_breach: spec.early_is_breach,
            early_rtcp: false,
            patience: spec.patience,
            gave_up: false,
            speaker: spec.speaker,
            check: StreamCheck::default(),
            ear: Ear::new().ok(),
            recorder: spec.recorder,
            reader: DigitReader::default(),
            heard: Heard::default(),
            heard_sr_at: None,
            last_heard: None,
            next_report: None,
            first_packet: None,
            octets: 0,
            violations: 0,
            report: MediaReport::default(),
            out: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Our half of the STUN username.
    pub(super) fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// The business's SDP has come.
    pub(super) fn set_remote(&mut self, now: Now, business: Business, role: Role, identity: &Identity) {
        self.speaker.set_payload_types(business.opus, business.telephone_event);
        self.remote = Some((business, role));
        self.start_dtls(now, identity);
    }

    /// The user is on the line: `accept` succeeded, or the user picked up.
    pub(super) fn answer(&mut self, now: Now) {
        if self.answered.is_none() {
            self.answered = Some(now.mono);
        }
    }

    /// Speaks a clip from the next frame on.
    pub(super) fn speak(&mut self, clip: Arc<Clip>) {
        self.speaker.speak(clip);
    }

    /// Presses keys; false if one is none.
    pub(super) fn press(&mut self, digits: &str) -> bool {
        self.speaker.press(digits)
    }

    /// A STUN datagram that names our ufrag; true if it was valid, so that the source now belongs to this call.
    pub(super) fn handle_stun(
        &mut self,
        now: Now,
        from: SocketAddr,
        bytes: &[u8],
        identity: &Identity,
    ) -> bool {
        match stun::answer(bytes, from, &self.pwd, &identity.crypto) {
            Checked::Ignored(reason) => {
                tracing::debug!(reason, "a STUN datagram is not answered");
                false
            }
            Checked::RoleConflict(response) => {
                self.out.push((from, BytesMut::from(&response[..])));
                self.breach("ICE: the business claimed the controlled role (answered 487)".to_owned());
                false
            }
            Checked::Valid { response, nominated } => {
                self.out.push((from, BytesMut::from(&response[..])));
                if self.peer.is_none() {
                    self.events.push(LineEvent::Stage("ice_check"));
                }
                if self.nominated && nominated && self.peer != Some(from) && self.srtp.is_some() {
                    self.breach("ICE: the business changed the pair during the call".to_owned());
                }
                if nominated && !self.nominated {
                    self.nominated = true;
                    self.events.push(LineEvent::Stage("ice_nominated"));
                }
                if nominated || self.peer.is_none() {
                    self.peer = Some(from);
                    self.report.remote = Some(from);
                }
                self.start_dtls(now, identity);
                true
            }
        }
    }

    /// DTLS needs the fingerprint; a client also needs somewhere to send to.
    fn start_dtls(&mut self, now: Now, identity: &Identity) {
        let Some((business, role)) = self.remote.as_ref().filter(|_| self.dtls.is_none()) else { return };
        if *role == Role::Client && !self.nominated {
            return;
        }
        match Dtls::new(identity, *role, business.fingerprint, now.mono) {
            Ok(dtls) => self.dtls = Some(dtls),
            Err(fault) => self.dtls_failed(&fault),
        }
        self.flush_dtls();
    }

    fn dtls_failed(&mut self, fault: &DtlsFault) {
        let text = match fault {
            DtlsFault::WrongFingerprint => "DTLS: the certificate is not the one of the SDP".to_owned(),
            DtlsFault::Failed(error) => format!("DTLS: {error}"),
        };
        self.events.push(LineEvent::DtlsFailed(text));
    }

    fn flush_dtls(&mut self) {
        let (Some(dtls), Some(peer)) = (&mut self.dtls, self.peer) else { return };
        while let Some(datagram) = dtls.poll_transmit() {
            self.out.push((peer, datagram));
        }
    }

    /// A DTLS datagram of this call's source.
    pub(super) fn handle_dtls(&mut self, now: Now, bytes: &[u8]) {
        let Some(dtls) = &mut self.dtls else {
            // Without the fingerprint there is nobody to talk to (reference §10): the business will repeat it.
            self.report.early_dtls += 1;
            return;
        };
        match dtls.read(now.mono, bytes) {
            Ok(None) => {}
            Ok(Some(srtp)) => {
                self.report.srtp = Some(srtp.profile());
                self.srtp = Some(srtp);
                self.events.push(LineEvent::Stage("dtls_up"));
            }
            Err(fault) => self.dtls_failed(&fault),
        }
        self.flush_dtls();
    }

    /// An SRTP or SRTCP datagram of this call's source.
    pub(super) fn handle_srtp(&mut self, now: Now, bytes: &[u8]) {
        let Some(srtp) = &mut self.srtp else { return };
        if bytes.get(1).is_some_and(|second| (192..=223).contains(second)) {
            if let Some(packet) = srtp.open_rtcp(bytes) {
                self.handle_rtcp(now, &packet);
            }
            return;
        }
        if let Some(packet) = srtp.open_rtp(bytes) {
            self.handle_rtp(now, &packet);
        }
    }

    fn breach(&mut self, text: String) {
        self.violations += 1;
        if self.violations <= MOST_VIOLATIONS {
            self.events.push(LineEvent::Violation(text));
        }
    }

    fn handle_rtp(&mut self, now: Now, packet: &[u8]) {
        let Some((header, payload)) = Header::split(packet) else {
            self.breach("RTP: the decrypted bytes are no RTP packet".to_owned());
            return;
        };
        let Some((business, _)) = &self.remote else { return };
        let (opus, events) = (business.opus, business.telephone_event);
        if self.answered.is_none() {
            self.report.before_answer += 1;
            if self.early_is_breach && self.report.before_answer == 1 {
                self.breach("RTP before accept: the client takes it as the answer".to_owned());
                self.events.push(LineEvent::EarlyMedia);
            }
        }
        if self.first_packet.is_none() {
            self.first_packet = Some(now.mono);
            self.events.push(LineEvent::Stage("first_rtp"));
            self.heard.ssrc = header.ssrc;
        }
        self.last_heard = Some(now.mono);
        self.octets += payload.len() as u64;
        let audio = header.payload_type == opus;
        for breach in self.check.packet(now.mono, header, audio) {
            self.breach(format!("RTP: {}", breach.describe()));
        }
        self.heard.highest = self.heard.highest & 0xffff_0000 | u32::from(header.sequence);
        if audio {
            self.hear(now, header, payload);
        } else if header.payload_type == events {
            self.reader.packet(header.timestamp, payload);
        } else {
            self.breach(format!("RTP: payload type {} was not negotiated", header.payload_type));
        }
    }

    fn hear(&mut self, now: Now, header: Header, payload: &[u8]) {
        let since = self.answered.map(|at| now.mono.saturating_duration_since(at));
        if let Some(since) = since.filter(|_| self.report.first_audio_ms.is_none()) {
            self.report.first_audio_ms = Some(millis(since));
        }
        let Some((shape, pcm)) = self.ear.as_mut().and_then(|ear| ear.hear(payload)) else {
            self.report.odd_frames += 1;
            self.breach("RTP: the payload is no Opus frame".to_owned());
            return;
        };
        let odd = shape.samples != 960 || shape.stereo;
        if let Some(since) = since {
            if self.report.first_voice_ms.is_none() && rms(pcm) > VOICED {
                self.report.first_voice_ms = Some(millis(since));
                self.events.push(LineEvent::Stage("first_voice"));
            }
            if let Some(recorder) = &mut self.recorder {
                recorder.frame(header.timestamp, since, pcm);
            }
        }
        if odd {
            self.report.odd_frames += 1;
            self.breach(format!("RTP: an Opus packet of {} samples, stereo {}", shape.samples, shape.stereo));
        }
    }

    fn handle_rtcp(&mut self, now: Now, packet: &[u8]) {
        self.report.rtcp_received += 1;
        self.last_heard = Some(now.mono);
        if self.answered.is_none() && self.early_is_breach && !self.early_rtcp {
            self.early_rtcp = true;
            self.breach("RTCP before accept: the client takes it as the answer".to_owned());
            self.events.push(LineEvent::EarlyMedia);
        }
        let seen = rtcp::read(packet);
        if let Some(middle) = seen.sender_report {
            self.heard.last_sr = middle;
            self.heard_sr_at = Some(now.mono);
        }
        if let Some(fraction) = seen.reported_fraction {
            self.report.reported_loss = Some(f64::from(fraction) / 256.0);
        }
        if seen.bye {
            self.breach("RTCP BYE before terminate".to_owned());
        }
    }

    /// When [`Self::handle_timeout`] is next needed.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let talking = self.answered.is_some() && self.srtp.is_some();
        let watch = (!self.gave_up).then(|| self.watch_deadline()).flatten();
        let slot = talking.then(|| self.speaker.next_slot().unwrap_or(self.opened));
        let report = self.next_report.filter(|_| talking);
        [watch, slot, report, self.dtls.as_ref().and_then(Dtls::poll_timeout)].into_iter().flatten().min()
    }

    fn watch_deadline(&self) -> Option<Instant> {
        match (self.answered, self.check.last_packet()) {
            (Some(at), None) => Some(at + self.patience.first),
            (Some(at), Some(_)) => {
                Some(self.last_heard.map_or(at, |heard| heard.max(at)) + self.patience.gap)
            }
            (None, _) if !self.early_is_breach && self.peer.is_none() => {
                Some(self.opened + self.patience.setup)
            }
            (None, _) => None,
        }
    }

    /// Sends what is due and looks at the watchdogs.
    pub(super) fn handle_timeout(&mut self, now: Now) {
        if let Some(Err(fault)) = self.dtls.as_mut().map(|dtls| dtls.handle_timeout(now.mono)) {
            self.dtls = None;
            self.dtls_failed(&fault);
        }
        self.flush_dtls();
        if !self.gave_up && self.watch_deadline().is_some_and(|at| at <= now.mono) {
            self.gave_up = true;
            let event = if self.answered.is_some() { LineEvent::NoMedia } else { LineEvent::NotConnected };
            self.events.push(event);
        }
        self.send(now);
    }

    fn send(&mut self, now: Now) {
        let (Some(srtp), Some(peer), Some(_)) = (&mut self.srtp, self.peer, self.answered) else { return };
        while let Some(packet) = self.speaker.poll_packet(now.mono) {
            if let Some(protected) = srtp.protect_rtp(packet) {
                self.out.push((peer, protected));
            }
        }
        let due = *self.next_report.get_or_insert(now.mono + Duration::from_secs(1));
        if due <= now.mono {
            self.next_report = Some(now.mono + REPORT_EVERY);
            let mut heard = self.heard;
            heard.lost = u32::try_from(self.check.counted().lost).unwrap_or(u32::MAX);
            heard.delay = self.heard_sr_at.map_or(0, |at| {
                let delay = now.mono.saturating_duration_since(at).as_millis() * 65_536 / 1000;
                u32::try_from(delay).unwrap_or(u32::MAX)
            });
            let packet =
                rtcp::write_report(now.wall, self.speaker.spoken(), self.first_packet.map(|_| heard));
            if let Some(protected) = srtp.protect_rtcp(&packet) {
                self.report.rtcp_sent += 1;
                self.out.push((peer, protected));
            }
        }
    }

    /// Ends the line; with `bye` the client says goodbye in RTCP, as it does when the user hangs up.
    pub(super) fn close(&mut self, now: Now, bye: bool) -> MediaReport {
        if let (Some(srtp), Some(peer), true) = (&mut self.srtp, self.peer, bye && self.answered.is_some())
            && let Some(protected) = srtp.protect_rtcp(&rtcp::write_bye(now.wall, self.speaker.spoken()))
        {
            self.report.rtcp_sent += 1;
            self.out.push((peer, protected));
        }
        if let Some(recorder) = self.recorder.take() {
            recorder.finish();
        }
        self.report()
    }

    /// The figures so far.
    pub(super) fn report(&self) -> MediaReport {
        let mut report = self.report.clone();
        report.counted = self.check.counted().clone();
        report.sent = self.speaker.sent();
        report.digits = self.reader.digits().to_owned();
        if let (Some(first), Some(last)) = (self.first_packet, self.check.last_packet()) {
            let spoken = millis(last.saturating_duration_since(first)) + 20;
            report.bitrate = self.octets * 8 * 1000 / spoken;
        }
        report
    }

    /// What is to be sent.
    pub(super) fn take_output(&mut self) -> Vec<(SocketAddr, BytesMut)> {
        mem::take(&mut self.out)
    }

    /// What signalling should know.
    pub(super) fn take_events(&mut self) -> Vec<LineEvent> {
        mem::take(&mut self.events)
    }

    /// Notes a breach that only the socket's owner can see.
    pub(super) fn note_breach(&mut self, text: String) {
        self.breach(text);
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn rms(pcm: &[i16]) -> f64 {
    let sum: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    let count = u32::try_from(pcm.len().max(1)).unwrap_or(u32::MAX);
    (sum / f64::from(count)).sqrt()
}
