//! Both legs and both pipes of one call, without sockets and clocks.

mod settings;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::settings::BridgeSettings;
use self::succession::Succession;
use self::vigil::Vigil;
use super::format::Passing;
use super::frames::Frames;
use super::hold::Hold;
use super::jitter::Timing;
use super::leg_reports::{LegReports, Metrics, Moment};
use super::order::{LegFailure, MetaSide, OpenRefusal, OpenSpec, Order, PhoneSide, Report, Side, Stage};
use super::outbox::{BridgePort, Outbox, Transmit};
use super::rtp_leg::{KeyMaker, RtpLeg};
use super::stream::Stream;
use super::summary::Histogram;
use super::tap::{Inlet, Tap};
use super::to_meta::{LineSettings, ToMeta};
use super::to_phone::ToPhone;
use super::webrtc_leg::{LegEvent, Received, WebRtcLeg, WebRtcSettings};
use crate::codec::AudioCodec;
use crate::codec::EncoderSettings;
use crate::random::Random;
use crate::rtp::{Event, NtpClock, PayloadType, RtpTime, SeqNo, Ssrc, read_rtcp};
use crate::sdp::audio::{LocalAudio, LocalKeying};
use crate::sdp::protection::{Protection, ProtectionRule};
use crate::sdp::webrtc::RemoteWebRtc;
use crate::time::Now;

mod announcing;
mod figures;
mod phone_side;
mod succession;
mod vigil;

/// Opus in our own offers, until the answer is known.
const OUR_OPUS: PayloadType = PayloadType(111);
/// Telephone events in our own offers, and what Meta uses when nobody names one (reference §12.3).
const OUR_EVENTS: PayloadType = PayloadType(126);
/// Meta's only codec, and its clock (RFC 7587 §4.1).
const OPUS: &str = "opus";
const OPUS_CLOCK: u32 = 48_000;
/// Meta's `maxaveragebitrate`, for descriptions that name none.
pub const BITRATE: u32 = 20_000;
/// What a phone may ask of us without harm.
const BITRATES: std::ops::RangeInclusive<u32> = 8_000..=64_000;

/// The media of one bridged call.
#[derive(Debug)]
pub struct Bridge {
    webrtc: WebRtcLeg,
    phone: RtpLeg,
    to_meta: ToMeta,
    to_phone: ToPhone,
    meta_reports: LegReports,
    phone_reports: LegReports,
    ntp: NtpClock,
    cname: String,
    stage: Stage,
    dtls_up: bool,
    dead_after: Duration,
    /// Since when both sides have been silent.
    quiet_since: Option<Instant>,
    vigil: Vigil,
    frames: Frames,
    outbox: Outbox,
    reports: VecDeque<Report>,
    told: Told,
    transit_to_meta: Histogram,
    transit_to_phone: Histogram,
    foreign: u64,
    hold: Hold,
    succession: Succession,
    /// What the phone that answers next may do.
    rule: ProtectionRule,
    ways: Vec<Protection>,
    codecs: String,
    tap: Tap,
    encoder: EncoderSettings,
    closed: bool,
}

/// Whether a report is followed by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Words {
    More,
    Last,
}

fn moment(clock: &NtpClock, now: Now) -> Moment {
    Moment { mono: now.mono, ntp: clock.at(now.mono) }
}

/// Reports that are made once.
#[derive(Debug, Default)]
struct Told {
    user_spoke: bool,
    audio_to_meta: bool,
    audio_to_phone: bool,
    stalled: bool,
}

/// Our side of the WhatsApp leg in words.
fn describe(webrtc: &mut WebRtcLeg, now: Now, side: &MetaSide) -> Result<String, OpenRefusal> {
    match side {
        MetaSide::Offer => Ok(webrtc.offer()),
        MetaSide::Answer { offer } => webrtc.answer(now.mono, offer).map_err(OpenRefusal::Meta),
    }
}

/// Our side of the SIP leg in words, and every way in which that was said to a phone that is called.
fn describe_phone(
    phone: &mut RtpLeg,
    now: Now,
    spec: &OpenSpec,
) -> Result<(String, Vec<(Protection, String)>), OpenRefusal> {
    match &spec.phone {
        PhoneSide::Offer => {
            let offers = phone.offers(&spec.ways);
            Ok((offers.first().map(|(_, sdp)| sdp.clone()).unwrap_or_default(), offers))
        }
        PhoneSide::Answer { offer } => {
            Ok((phone.answer(now.mono, offer).map_err(OpenRefusal::Phone)?, Vec::new()))
        }
    }
}

/// The stream towards the phone, begun by chance (RFC 3550 §5.1).
fn stream(random: &mut Random) -> Stream {
    let ssrc = Ssrc(random.next_u32());
    let first = SeqNo(u16::try_from(random.below(1 << 15)).unwrap_or(0));
    Stream::new(ssrc, first, RtpTime(random.next_u32()))
}

impl Bridge {
    /// Opens both legs and makes their descriptions ([`Report::Opened`], the second value).
    ///
    /// # Errors
    /// [`OpenRefusal`] if an offer cannot be used or libopus has no memory.
    pub fn open(now: Now, settings: BridgeSettings, spec: &OpenSpec) -> Result<(Self, Report), OpenRefusal> {
        let BridgeSettings { mut random, identity, fingerprint_case, .. } = settings;
        let cname = random.token(16);
        let ssrc = Ssrc(random.next_u32());
        let mut webrtc = WebRtcLeg::new(
            WebRtcSettings {
                local: settings.webrtc_local,
                candidates: settings.webrtc_candidates,
                identity: Arc::clone(&identity),
                ssrc,
                cname: cname.clone(),
                fingerprint_case,
            },
            random.split(),
        );
        let meta_sdp = describe(&mut webrtc, now, &spec.meta)?;
        let local = LocalAudio {
            session_id: random.next_u64() >> 2,
            version: 1,
            rtp: settings.rtp,
            rtcp: settings.rtcp,
            codecs: spec.codecs.clone(),
            voip_metrics: spec.voip_metrics,
            opus_bitrate: bitrate(webrtc.remote()),
            keying: LocalKeying { rule: spec.rule, ..LocalKeying::default() },
        };
        let keys = KeyMaker { identity, fingerprint_case, random: random.split() };
        let mut phone = RtpLeg::new(local, keys);
        let (phone_sdp, offers) = describe_phone(&mut phone, now, spec)?;
        let to_meta = ToMeta::new(LineSettings {
            ssrc,
            opus: OUR_OPUS,
            telephone_event: OUR_EVENTS,
            encoder: spec.encoder,
            comfort_after: spec.comfort_after,
            first_seq: SeqNo(u16::try_from(random.below(1 << 15)).unwrap_or(0)),
            first_timestamp: RtpTime(random.next_u32()),
            noise: random.next_u32(),
        })
        .map_err(|_| OpenRefusal::NoResources)?;
        let stream = stream(&mut random);
        let to_phone = ToPhone::new(OUR_OPUS, Some(OUR_EVENTS), stream, spec.encoder)
            .map_err(|_| OpenRefusal::NoResources)?;
        let mut bridge = Self {
            webrtc,
            phone,
            to_meta,
            to_phone,
            meta_reports: LegReports::new(random.split()),
            phone_reports: LegReports::new(random.split()),
            ntp: NtpClock::new(now),
            cname,
            stage: Stage::Shut,
            dtls_up: false,
            dead_after: spec.dead_after,
            quiet_since: None,
            vigil: Vigil::new(spec.ask_after),
            frames: Frames::default(),
            outbox: Outbox::default(),
            reports: VecDeque::new(),
            told: Told::default(),
            transit_to_meta: Histogram::default(),
            transit_to_phone: Histogram::default(),
            foreign: 0,
            hold: Hold::new(spec.hold_audio.clone()),
            succession: Succession::new(random.split()),
            rule: spec.rule,
            ways: spec.ways.clone(),
            codecs: String::new(),
            tap: Tap::default(),
            encoder: spec.encoder,
            closed: false,
        };
        bridge.set_timing(spec.timing);
        bridge.take_remote()?;
        bridge.take_agreement(now);
        Ok((bridge, Report::Opened { meta_sdp, phone_sdp, offers }))
    }

    /// Sets the pipes to what Meta's description says, once it is known.
    fn take_remote(&mut self) -> Result<(), OpenRefusal> {
        let Some(remote) = self.webrtc.remote() else { return Ok(()) };
        let RemoteWebRtc { opus, telephone_event, .. } = remote;
        let events = telephone_event.map_or(OUR_EVENTS, |(payload_type, _)| payload_type);
        let bitrate = bitrate(Some(remote)).min(self.encoder.bitrate);
        self.to_phone.set_source(*opus, Some(events));
        self.tap.set_format(Side::Meta, *opus, AudioCodec::Opus);
        self.to_meta.set_line(*opus, events, bitrate).map_err(|_| OpenRefusal::NoResources)
    }

    /// Sets the pipes to what was agreed with the phone.
    fn take_agreement(&mut self, now: Now) {
        let (Some(incoming), Some(outgoing)) = (self.phone.incoming(), self.phone.outgoing()) else { return };
        self.tap.set_format(Side::Phone, incoming.payload_type, incoming.codec);
        let set = self.to_meta.set_format(incoming);
        if set.and_then(|()| self.to_phone.set_out(outgoing, self.phone.speaks())).is_err() {
            self.reports.push_back(Report::Refused(OpenRefusal::NoResources));
        }
        self.to_meta.set_open(self.stage == Stage::Open && self.phone.hears());
        self.to_meta.reception().set_clock(self.phone.clock());
        self.phone_reports.clock.start(now.mono);
        self.take_hold(now);
        self.note_media(now.mono);
        self.vigil.excused(now.mono);
        self.codecs = outgoing.route(BITRATE);
    }

    /// Carries out an order. Never fails: what goes wrong is a report.
    pub fn handle_order(&mut self, now: Now, order: Order) {
        if self.closed {
            return;
        }
        match order {
            Order::ApplyMetaAnswer { sdp } => match self.webrtc.apply_answer(now.mono, &sdp) {
                Ok(()) if self.take_remote().is_ok() => {}
                Ok(()) => self.reports.push_back(Report::Refused(OpenRefusal::NoResources)),
                Err(refusal) => self.reports.push_back(Report::MetaAnswerRefused(refusal)),
            },
            Order::StartDtls => self.webrtc.start_dtls(now.mono),
            Order::SetStage(stage) => self.set_stage(now, stage),
            Order::SetTiming(timing) => self.set_timing(timing),
            Order::SetPhoneRule(rule) => self.rule = rule,
            Order::ApplyPhoneAnswer { sdp } => {
                self.phone.set_rule(self.rule);
                self.apply_phone_answer(now, &sdp);
            }
            Order::ApplyPhoneReanswer { sdp } => self.apply_phone_answer(now, &sdp),
            Order::AnswerPhoneReoffer { sdp: None } => {
                let sdp = self.phone.offer();
                self.reports.push_back(Report::PhoneReofferAnswered { sdp });
            }
            Order::AnswerPhoneReoffer { sdp: Some(offer) } => match self.phone.answer(now.mono, &offer) {
                Ok(sdp) => {
                    self.take_agreement(now);
                    self.reports.push_back(Report::PhoneReofferAnswered { sdp });
                }
                Err(refusal) => self.reports.push_back(Report::PhoneReofferRefused(refusal)),
            },
            Order::Digit { digit, duration } => {
                if let Some(event) = Event::from_digit(digit) {
                    let ticks = key_ticks(duration);
                    self.to_meta.press(now.mono, event, ticks, &mut self.frames);
                    self.send_to_meta();
                }
            }
            Order::SetKeyWay(way) => self.to_phone.set_key_way(way),
            Order::DigitToPhone { digit, duration } => self.press_to_phone(now, digit, duration),
            Order::LookForCodes(codes) => self.to_meta.look_for_codes(codes),
            Order::OfferToNext => self.offer_to_next(),
            Order::TakeNext { sdp } => self.take_next(now, &sdp),
            Order::AnswerNext { offer } => self.answer_next(now, &offer),
            Order::PrepareNext { offer } => self.prepare_next(now, &offer),
            Order::SwitchToNext => self.switch_to_next(now),
            Order::LeavePhone => self.leave_phone(),
            Order::DropNext => self.drop_next(),
            Order::Play { towards, clip, repeat } => self.announce(now, towards, clip, repeat),
            Order::StopPlaying { towards } => self.stop_announcing(towards),
            Order::Close => self.close(now),
        }
        self.settle(now);
    }

    const fn set_timing(&mut self, timing: Timing) {
        self.to_meta.set_timing(timing);
        self.to_phone.set_timing(timing);
    }

    /// Lets a recorder hear both sides from now on.
    pub fn record(&mut self, inlet: Inlet) {
        self.tap.open(inlet);
    }

    /// Whether Opus may go through undecoded, both ways.
    pub fn set_passing(&mut self, passing: Passing) {
        self.to_meta.set_passing(passing);
        self.to_phone.set_passing(passing);
    }

    /// Trades work for sound in this call's encoders: 0 (least work) to 10.
    pub fn set_complexity(&mut self, complexity: u8) {
        self.to_meta.set_complexity(complexity);
        self.to_phone.set_complexity(complexity);
    }

    fn set_stage(&mut self, now: Now, stage: Stage) {
        // Back to silence would tear the line that has begun.
        if stage == Stage::Shut && self.stage != Stage::Shut {
            return;
        }
        self.stage = stage;
        self.to_meta.set_open(stage == Stage::Open && self.phone.hears());
        if stage == Stage::Open {
            self.note_media(now.mono);
        }
        self.begin_line(now);
    }

    /// The line begins when there are keys and the gate is not shut (rules 4 and 7).
    fn begin_line(&mut self, now: Now) {
        if self.dtls_up && self.stage != Stage::Shut {
            self.to_meta.begin(now.mono, &mut self.frames);
            self.send_to_meta();
            self.meta_reports.clock.start(now.mono);
        }
    }

    fn note_media(&mut self, now: Instant) {
        self.quiet_since = Some(now);
    }

    /// Takes a datagram that was received just now.
    pub fn handle_datagram(&mut self, now: Now, port: BridgePort, from: SocketAddr, bytes: &[u8]) {
        self.handle_arrival(now, now.mono, port, from, bytes);
    }

    /// Takes a datagram that the kernel received at `arrived`.
    pub fn handle_arrival(
        &mut self,
        now: Now,
        arrived: Instant,
        port: BridgePort,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        if self.closed {
            return;
        }
        match port {
            BridgePort::WebRtc => match self.webrtc.handle_datagram(now.mono, from, bytes) {
                Received::Rtp(packet) => {
                    self.quiet_since = Some(now.mono);
                    self.tap.hear(Side::Meta, arrived, packet);
                    self.to_phone.receive(now.mono, arrived, packet, &mut self.frames);
                    self.send_to_phone();
                }
                Received::Rtcp(packet) => {
                    self.quiet_since = Some(now.mono);
                    let line = self.to_meta.line();
                    if let Ok(facts) = read_rtcp(packet, line.ssrc()) {
                        let (at, stream) = (moment(&self.ntp, now), (OPUS_CLOCK, line.figures().0));
                        self.meta_reports.hear(at, &facts, line.ssrc(), stream, self.to_phone.reception());
                        self.to_meta.expect_loss(self.meta_reports.reported.expected_loss());
                    }
                }
                Received::Nothing => {}
            },
            BridgePort::Rtp | BridgePort::Rtcp => self.hear_phone(now, arrived, port, from, bytes),
        }
        self.settle(now);
    }

    /// Moves what the legs and pipes have to say into the outbox and the reports.
    fn settle(&mut self, now: Now) {
        // The last flight of the handshake leaves before the first packet under its keys.
        self.drain_webrtc();
        while let Some(event) = self.webrtc.poll_event() {
            let report = match event {
                LegEvent::IceConnected => Report::IceConnected,
                LegEvent::DtlsUp => {
                    self.dtls_up = true;
                    self.begin_line(now);
                    Report::DtlsUp
                }
                LegEvent::DtlsFailed(failure) => Report::LegFailed(LegFailure::Dtls(failure)),
                LegEvent::IceFailed => Report::LegFailed(LegFailure::Ice),
                LegEvent::ConsentLost => Report::LegFailed(LegFailure::ConsentLost),
                LegEvent::Closed => Report::LegFailed(LegFailure::Closed),
            };
            self.reports.push_back(report);
        }
        self.drain_webrtc();
        self.drain_phone();
        if !self.told.user_spoke && self.to_phone.user_spoke() {
            self.told.user_spoke = true;
            self.reports.push_back(Report::UserSpoke);
        }
        self.reports.extend(self.to_meta.take_code().map(Report::CodePressed));
        while let Some((digit, duration)) = self.to_phone.take_told() {
            self.reports.push_back(Report::KeyPressed { digit, duration });
        }
        self.tell_announced();
        if !self.told.audio_to_meta && self.to_meta.has_spoken() {
            self.told.audio_to_meta = true;
            self.reports.push_back(Report::FirstAudio { towards: Side::Meta });
        }
        if !self.told.audio_to_phone && self.to_phone.has_sent() {
            self.told.audio_to_phone = true;
            self.reports.push_back(Report::FirstAudio { towards: Side::Phone });
        }
    }

    fn drain_webrtc(&mut self) {
        while let Some((to, datagram)) = self.webrtc.poll_transmit() {
            self.outbox.push(BridgePort::WebRtc, to, &datagram, None);
        }
    }

    fn send_to_meta(&mut self) {
        for (packet, arrived) in self.frames.iter() {
            if let Some((to, sealed)) = self.webrtc.protect_rtp(packet) {
                let transit = arrived.map(|at| (Side::Meta, at));
                self.outbox.push(BridgePort::WebRtc, to, sealed, transit);
            }
        }
        self.frames.clear();
    }

    fn send_meta_report(&mut self, now: Now, last: Words) {
        let at = moment(&self.ntp, now);
        let line = self.to_meta.line();
        let (ssrc, facts) = (line.ssrc(), line.facts(at.mono, at.ntp));
        let figures = self.to_phone.figures();
        let reception = self.to_phone.reception();
        let received = self.meta_reports.received(OPUS, reception, &figures);
        let compound = match last {
            Words::Last => self.meta_reports.write_bye(at, ssrc, facts, reception, &self.cname),
            Words::More => {
                let heard = (reception, &received);
                self.meta_reports.write(at, ssrc, facts, heard, (&self.cname, Metrics::Unwanted))
            }
        };
        if let Some((to, sealed)) = self.webrtc.protect_rtcp(&compound) {
            self.outbox.push(BridgePort::WebRtc, to, sealed, None);
        }
    }

    fn close(&mut self, now: Now) {
        // Rule 4: before the line began, nothing has told Meta of us, and nothing does now.
        if self.to_meta.line().has_begun() {
            self.send_meta_report(now, Words::Last);
        }
        if self.phone_reports.clock.has_sent() || self.to_phone.has_sent() {
            self.send_phone_report(now, Words::Last);
        }
        self.closed = true;
        self.tap.close(now.mono);
        self.reports.push_back(Report::Closed(Box::new(self.summary())));
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit<'_>> {
        self.outbox.pop()
    }

    /// The next report.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    /// When the bridge wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        [
            self.webrtc.poll_timeout(),
            self.phone.poll_timeout(),
            self.to_meta.poll_timeout(),
            self.to_phone.poll_timeout(),
            self.meta_reports.clock.due(),
            self.phone_reports.clock.due(),
            self.stall_due(),
            self.silence_due(),
            self.hold.due(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Rule 20, resting while on hold (rule 16) and before the call is up.
    fn stall_due(&self) -> Option<Instant> {
        let resting = self.phone.is_held() || self.phone.is_absent();
        if self.stage != Stage::Open || resting || self.told.stalled {
            return None;
        }
        self.quiet_since.map(|since| since + self.dead_after)
    }

    /// When the phone's silence wants an explanation; a hold explains it (rule 16).
    fn silence_due(&self) -> Option<Instant> {
        let resting = self.phone.is_held() || self.phone.is_absent();
        (self.stage == Stage::Open && !resting).then(|| self.vigil.due())?
    }

    /// Does what is due; an early or extra call does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.closed {
            return;
        }
        if self.webrtc.poll_timeout().is_some_and(|due| due <= now.mono) {
            self.webrtc.handle_timeout(now.mono);
        }
        self.phone.handle_timeout(now.mono);
        if let Some(clip) = self.hold.take_due(now.mono) {
            self.to_meta.play_on_hold(clip);
        }
        self.to_meta.handle_timeout(now.mono, &mut self.frames);
        self.send_to_meta();
        self.to_phone.handle_timeout(now.mono, &mut self.frames);
        self.send_to_phone();
        if self.meta_reports.clock.take_due(now.mono) {
            self.send_meta_report(now, Words::More);
        }
        if self.phone_reports.clock.take_due(now.mono) {
            self.send_phone_report(now, Words::More);
        }
        if self.stall_due().is_some_and(|due| due <= now.mono) {
            self.told.stalled = true;
            self.reports.push_back(Report::Stalled);
        }
        if self.silence_due().is_some() && self.vigil.take_due(now.mono) {
            self.reports.push_back(Report::PhoneFellSilent);
        }
        self.settle(now);
    }
}

/// The length of a key in ticks of 8 kHz.
fn key_ticks(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis() * 8).unwrap_or(u16::MAX)
}

/// Bits a second that Meta's side wants, within reason.
fn bitrate(remote: Option<&RemoteWebRtc>) -> u32 {
    let wanted = remote.and_then(|it| it.max_average_bitrate).unwrap_or(BITRATE);
    wanted.clamp(*BITRATES.start(), *BITRATES.end())
}
