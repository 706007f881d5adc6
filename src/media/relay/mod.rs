//! Media of a call between desks: two phones or trunks that each talk to us alone.
//!
//! Each seat has a session of its own, so neither learns the other's address and each may hold, refresh and change
//! codecs without the other. Both are brought to one codec where they share one, and packets then pass as they are;
//! where they share none they are decoded and encoded anew.

mod order;
mod way;

#[cfg(test)]
mod stories;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::way::Way;
use super::clip::Clip;
use super::dtls::Identity;
use super::frames::Frames;
use super::hold::{Hold, HoldAudio};
use super::leg_reports::{LegReports, Metrics, Moment};
use super::order::KeyWay;
use super::outbox::{BridgePort, Outbox};
use super::rtp_leg::{Heard, KeyMaker, RtpLeg};
use super::stream::Stream;
use super::webrtc_leg::LegEvent;
use crate::codec::AudioCodec;
use crate::id::Seat;
use crate::random::Random;
use crate::rtp::{Event, NtpClock, RtpTime, SeqNo, Ssrc, read_rtcp};
use crate::sdp::audio::{AudioRefusal, LocalAudio, LocalKeying, RemoteAudio};
use crate::sdp::protection::{Protection, ProtectionRule};
use crate::sdp::webrtc::FingerprintCase;
use crate::time::Now;

pub use order::{RelayOrder, RelayReport, RelaySpec, RelaySummary};

/// Bits a second of Opus that we ask for where we have to decode it; wide-band speech needs no more.
const OPUS_BITRATE: u32 = 32_000;

/// One of the four UDP ports of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayPort {
    /// Whose.
    pub seat: Seat,
    /// What it carries.
    pub carries: Carries,
}

/// What a port is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Carries {
    /// Media: the even port.
    Rtp,
    /// Reports: the odd port.
    Rtcp,
}

/// What a relay needs besides the call's own wishes.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// The even and the odd port of the caller, then of the callee, as they see them.
    pub addresses: [(SocketAddr, SocketAddr); 2],
    /// The process's certificate, for browsers.
    pub identity: Arc<Identity>,
    /// How its hash is named.
    pub fingerprint_case: FingerprintCase,
    /// Randomness of this call.
    pub random: Random,
}

/// One end of it.
#[derive(Debug)]
struct End {
    leg: RtpLeg,
    /// The offer that waits for our answer.
    offer: Option<String>,
    reports: LegReports,
    hold: Hold,
    /// What it hears.
    way: Way,
}

/// The media of one call between desks.
#[derive(Debug)]
pub struct Relay {
    ends: [End; 2],
    codecs: Vec<AudioCodec>,
    /// What who answers next may do.
    rule: ProtectionRule,
    caller_way: Protection,
    ways: Vec<Protection>,
    next: Option<(Seat, RtpLeg)>,
    frames: Frames,
    outbox: Outbox<RelayPort>,
    reports: VecDeque<RelayReport>,
    ntp: NtpClock,
    cname: String,
    dead_after: Duration,
    quiet_since: Instant,
    stalled: bool,
    random: Random,
    foreign: [u64; 2],
    closed: bool,
}

impl Relay {
    /// Opens both sessions and describes us to the callee ([`RelayReport::Opened`], the second value).
    ///
    /// # Errors
    /// [`AudioRefusal`] if the caller's offer cannot be used.
    pub fn open(
        now: Now,
        settings: RelaySettings,
        spec: RelaySpec,
    ) -> Result<(Self, RelayReport), AudioRefusal> {
        let RelaySettings { addresses, identity, fingerprint_case, mut random } = settings;
        let RelaySpec { offer, codecs, rule, caller_way, ways, dead_after, encoder, hold_audio } = spec;
        let wished = match &offer {
            Some(offer) => shared_first(&RemoteAudio::read(offer)?, &codecs)?,
            None => codecs.clone(),
        };
        let cname = random.token(16);
        let mut end = |(rtp, rtcp): (SocketAddr, SocketAddr), hold_audio: Option<Clip>| {
            let local = LocalAudio {
                session_id: random.next_u64() >> 2,
                version: 1,
                rtp,
                rtcp,
                codecs: wished.clone(),
                voip_metrics: false,
                opus_bitrate: OPUS_BITRATE,
                keying: LocalKeying { rule, ..LocalKeying::default() },
            };
            let keys = KeyMaker { identity: Arc::clone(&identity), fingerprint_case, random: random.split() };
            let stream = Stream::new(
                Ssrc(random.next_u32()),
                SeqNo(u16::try_from(random.below(1 << 15)).unwrap_or(0)),
                RtpTime(random.next_u32()),
            );
            End {
                leg: RtpLeg::new(local, keys),
                offer: None,
                reports: LegReports::new(random.split()),
                hold: Hold::new(hold_audio),
                way: Way::new(stream, encoder),
            }
        };
        let mut ends = [end(addresses[0], hold_audio.clone()), end(addresses[1], hold_audio)];
        ends[Seat::Caller.index()].offer = offer;
        let offers = ends[Seat::Callee.index()].leg.offers(&ways);
        let sdp = offers.first().map(|(_, sdp)| sdp.clone()).unwrap_or_default();
        let relay = Self {
            ends,
            codecs,
            rule,
            caller_way,
            ways,
            next: None,
            frames: Frames::default(),
            outbox: Outbox::default(),
            reports: VecDeque::new(),
            ntp: NtpClock::new(now),
            cname,
            dead_after,
            quiet_since: now.mono,
            stalled: false,
            random,
            foreign: [0; 2],
            closed: false,
        };
        Ok((relay, RelayReport::Opened { sdp, offers }))
    }

    fn end(&mut self, seat: Seat) -> &mut End {
        &mut self.ends[seat.index()]
    }

    /// Carries out an order. Never fails: what goes wrong is a report.
    pub fn handle_order(&mut self, now: Now, order: RelayOrder) {
        if self.closed {
            return;
        }
        match order {
            RelayOrder::SetRule(rule) => self.rule = rule,
            RelayOrder::TakeAnswer { seat, sdp } => self.take_answer(now, seat, &sdp),
            RelayOrder::Describe { seat } => self.describe(now, seat),
            RelayOrder::AnswerReoffer { seat, sdp } => self.answer_reoffer(now, seat, sdp),
            RelayOrder::OfferToNext { seat } => {
                let mut next = self.successor(seat);
                let offers = next.offers(&self.ways);
                let sdp = offers.first().map(|(_, sdp)| sdp.clone()).unwrap_or_default();
                self.next = Some((seat, next));
                self.reports.push_back(RelayReport::NextOffered { sdp, offers });
            }
            RelayOrder::TakeNext { seat, sdp } => {
                let Some((_, mut next)) = self.next.take_if(|(of, _)| *of == seat) else { return };
                next.set_rule(self.rule);
                match next.apply(now.mono, &sdp) {
                    Ok(()) => self.switch(now, seat, next),
                    Err(refusal) => self.reports.push_back(RelayReport::NextRefused(refusal)),
                }
            }
            RelayOrder::AnswerNext { seat, offer } => {
                let mut next = self.successor(seat);
                match answer(now.mono, &mut next, &offer, self.spoken_across(seat), &self.codecs) {
                    Ok(sdp) => {
                        self.switch(now, seat, next);
                        self.reports.push_back(RelayReport::NextAnswered { sdp });
                    }
                    Err(refusal) => self.reports.push_back(RelayReport::NextRefused(refusal)),
                }
            }
            RelayOrder::DropNext => self.next = None,
            RelayOrder::Play { seat, clip, repeat } => {
                let (end, frames) = (&mut self.ends[seat.index()], &mut self.frames);
                end.way.announce(now.mono, clip, repeat, frames);
                self.send(seat);
            }
            RelayOrder::StopPlaying { seat } => self.end(seat).way.stop_announcing(),
            RelayOrder::Digit { seat, digit, duration } => {
                self.press(now, seat.other(), digit, duration);
            }
            RelayOrder::SetKeyWay { seat, way } => self.end(seat).way.set_key_way(way),
            RelayOrder::DigitWithSound { seat, digit, duration } => {
                self.end(seat).way.set_key_way(KeyWay::WithSound);
                self.press(now, seat, digit, duration);
            }
            RelayOrder::Close => self.close(now),
        }
        for seat in Seat::BOTH {
            self.drain(seat);
        }
    }

    /// A key for a seat that did not come with the speech of the other one.
    fn press(&mut self, now: Now, to: Seat, digit: char, duration: Duration) {
        let Some(event) = Event::from_digit(digit) else { return };
        let ticks = u16::try_from(duration.as_millis() * 8).unwrap_or(u16::MAX);
        self.ends[to.index()].way.press(now.mono, event, ticks, &mut self.frames);
        self.send(to);
    }

    fn take_answer(&mut self, now: Now, seat: Seat, sdp: &str) {
        let rule = self.rule;
        let end = self.end(seat);
        // The caller was known from the start; who is called is when it answers.
        if seat == Seat::Callee && end.leg.incoming().is_none() {
            end.leg.set_rule(rule);
        }
        match end.leg.apply(now.mono, sdp) {
            Ok(()) => self.agreed(now, seat),
            Err(refusal) => self.reports.push_back(RelayReport::AnswerRefused { seat, refusal }),
        }
    }

    /// Answers the offer of a seat, or makes ours; said before, it is said again.
    fn describe(&mut self, now: Now, seat: Seat) {
        let across = self.spoken_across(seat);
        let end = &mut self.ends[seat.index()];
        let Some(offer) = end.offer.take() else {
            let sdp = end.leg.said().unwrap_or_else(|| {
                end.leg.prefer(preferring(across, &self.codecs));
                let offers = end.leg.offers(&[self.caller_way]);
                offers.into_iter().next().map(|(_, sdp)| sdp).unwrap_or_default()
            });
            return self.reports.push_back(RelayReport::Described { seat, sdp });
        };
        match answer(now.mono, &mut end.leg, &offer, across, &self.codecs) {
            Ok(sdp) => {
                self.agreed(now, seat);
                self.reports.push_back(RelayReport::Described { seat, sdp });
            }
            Err(refusal) => self.reports.push_back(RelayReport::AnswerRefused { seat, refusal }),
        }
    }

    fn answer_reoffer(&mut self, now: Now, seat: Seat, sdp: Option<String>) {
        let across = self.spoken_across(seat);
        let end = &mut self.ends[seat.index()];
        let Some(offer) = sdp else {
            end.leg.prefer(preferring(across, &self.codecs));
            let sdp = end.leg.offer();
            return self.reports.push_back(RelayReport::ReofferAnswered { seat, sdp });
        };
        match answer(now.mono, &mut end.leg, &offer, across, &self.codecs) {
            Ok(sdp) => {
                self.agreed(now, seat);
                self.reports.push_back(RelayReport::ReofferAnswered { seat, sdp });
            }
            Err(_) => self.reports.push_back(RelayReport::ReofferRefused { seat }),
        }
    }

    /// What the seat across has agreed on, which needs no decoding.
    fn spoken_across(&self, seat: Seat) -> Option<AudioCodec> {
        self.ends[seat.other().index()].leg.incoming().map(|it| it.codec)
    }

    fn successor(&mut self, seat: Seat) -> RtpLeg {
        let id = self.random.next_u64() >> 2;
        let codecs = preferring(self.spoken_across(seat), &self.codecs);
        let rule = self.rule;
        let mut next = self.end(seat).leg.successor(id, rule);
        next.prefer(codecs);
        next
    }

    fn switch(&mut self, now: Now, seat: Seat, mut next: RtpLeg) {
        next.succeed(&self.end(seat).leg);
        self.end(seat).leg = next;
        self.end(seat.other()).way.forget_source();
        self.agreed(now, seat);
    }

    /// Sets both ways by what a seat has agreed to.
    fn agreed(&mut self, now: Now, seat: Seat) {
        let end = &mut self.ends[seat.index()];
        let (Some(incoming), Some(outgoing)) = (end.leg.incoming(), end.leg.outgoing()) else { return };
        let (speaks, comfort) = (end.leg.speaks(), end.leg.takes_comfort_noise());
        let set = end.way.set_out(outgoing, speaks, comfort);
        end.reports.clock.start(now.mono);
        let hold = end.hold.set(now.mono, !speaks);
        let heard_by = &mut self.ends[seat.other().index()].way;
        if set.and_then(|()| heard_by.set_source(incoming)).is_err() {
            let refusal = AudioRefusal::NoCommonCodec;
            self.reports.push_back(RelayReport::AnswerRefused { seat, refusal });
            return;
        }
        if hold == HoldAudio::Ends {
            heard_by.stop_on_hold();
        }
        self.quiet_since = now.mono;
    }

    /// Takes a datagram that the kernel received at `arrived`.
    pub fn handle_arrival(
        &mut self,
        now: Now,
        arrived: Instant,
        port: RelayPort,
        from: SocketAddr,
        bytes: &[u8],
    ) {
        if self.closed {
            return;
        }
        let RelayPort { seat, carries } = port;
        let beside = match carries {
            Carries::Rtp => BridgePort::Rtp,
            Carries::Rtcp => BridgePort::Rtcp,
        };
        match self.end(seat).leg.receive(now.mono, beside, from, bytes) {
            Heard::Rtp(packet) => self.take_rtp(now, arrived, seat, &packet),
            Heard::Rtcp(compound) => self.take_rtcp(now, seat, &compound),
            Heard::Nothing => {}
            Heard::Foreign => self.foreign[seat.index()] += 1,
        }
        self.drain(seat);
    }

    fn take_rtp(&mut self, now: Now, arrived: Instant, seat: Seat, bytes: &[u8]) {
        self.quiet_since = now.mono;
        if self.end(seat).leg.take_switch() {
            self.agreed(now, seat);
        }
        let end = self.end(seat);
        let (hears, to) = (end.leg.hears(), seat.other());
        let hold = if hears { end.hold.heard(now.mono) } else { HoldAudio::AsBefore };
        let way = &mut self.ends[to.index()].way;
        if hold == HoldAudio::Ends {
            way.stop_on_hold();
        }
        way.receive(now.mono, arrived, bytes, &mut self.frames);
        self.send(to);
    }

    /// STUN and DTLS of a browser, and what has become of them.
    fn drain(&mut self, seat: Seat) {
        let port = RelayPort { seat, carries: Carries::Rtp };
        while let Some((to, datagram)) = self.ends[seat.index()].leg.poll_transmit() {
            self.outbox.push(port, to, &datagram, None);
        }
        while let Some(event) = self.end(seat).leg.poll_event() {
            let broken =
                matches!(event, LegEvent::IceFailed | LegEvent::DtlsFailed(_) | LegEvent::ConsentLost);
            if broken && !std::mem::replace(&mut self.stalled, true) {
                self.reports.push_back(RelayReport::Stalled);
            }
        }
    }

    fn take_rtcp(&mut self, now: Now, seat: Seat, bytes: &[u8]) {
        let at = Moment { mono: now.mono, ntp: self.ntp.at(now.mono) };
        let [caller, callee] = &mut self.ends;
        let (end, other) = if seat == Seat::Caller { (caller, callee) } else { (callee, caller) };
        let ssrc = end.way.ssrc();
        let Ok(facts) = read_rtcp(bytes, ssrc) else { return };
        let sent = end.way.facts(now.mono, at.ntp).map_or(0, |facts| facts.packets.into());
        end.reports.hear(at, &facts, ssrc, (end.way.clock(), sent), other.way.reception());
    }

    /// Puts what was made for a seat into the outbox.
    fn send(&mut self, seat: Seat) {
        let port = RelayPort { seat, carries: Carries::Rtp };
        let leg = &mut self.ends[seat.index()].leg;
        for (packet, arrived) in self.frames.iter() {
            if let Some((to, sealed)) = leg.seal_rtp(packet) {
                // What goes to a phone is counted as that in either direction.
                self.outbox.push(port, to, sealed, arrived.map(|at| (super::Side::Phone, at)));
            }
        }
        self.frames.clear();
        while let Some((digit, duration)) = self.ends[seat.index()].way.take_told() {
            self.reports.push_back(RelayReport::KeyPressed { seat, digit, duration });
        }
    }

    fn report(&mut self, now: Now, seat: Seat, last: bool) {
        let at = Moment { mono: now.mono, ntp: self.ntp.at(now.mono) };
        let [caller, callee] = &mut self.ends;
        let (end, other) = if seat == Seat::Caller { (caller, callee) } else { (callee, caller) };
        let (ssrc, facts) = (end.way.ssrc(), end.way.facts(at.mono, at.ntp));
        let figures = other.way.figures();
        let reception = other.way.reception();
        let received = end.reports.received(end.leg.codec_name(), reception, &figures);
        let compound = if last {
            end.reports.write_bye(at, ssrc, facts, reception, &self.cname)
        } else {
            let heard = (reception, &received);
            end.reports.write(at, ssrc, facts, heard, (&self.cname, Metrics::Unwanted))
        };
        if let Some((port, to, sealed)) = end.leg.seal_rtcp(&compound) {
            let carries = if port == BridgePort::Rtcp { Carries::Rtcp } else { Carries::Rtp };
            self.outbox.push(RelayPort { seat, carries }, to, sealed, None);
        }
    }

    fn close(&mut self, now: Now) {
        for seat in Seat::BOTH {
            let end = self.end(seat);
            if end.reports.clock.has_sent() || end.way.has_sent() {
                self.report(now, seat, true);
            }
        }
        self.closed = true;
        self.reports.push_back(RelayReport::Closed(Box::new(self.summary())));
    }

    /// The figures so far.
    #[must_use]
    pub fn summary(&self) -> RelaySummary {
        let [caller, callee] = &self.ends;
        let heard = |end: &End, other: &End, foreign: u64| {
            let mut figures = end.way.figures();
            figures.refused += foreign;
            figures.received = other.reports.received(other.leg.codec_name(), end.way.received(), &figures);
            end.reports.fill(&mut figures, end.leg.codec_name());
            figures.rate();
            figures
        };
        let (forth, back) = (callee.way.route(), caller.way.route());
        let mut codecs = if forth == back { forth } else { format!("{forth}; {back}") };
        for (end, who) in [(caller, "caller"), (callee, "callee")] {
            if let Some(protection) = end.leg.protection() {
                codecs.push_str(&format!("; {who} by {protection}"));
            }
        }
        RelaySummary {
            codecs,
            heard: [heard(caller, callee, self.foreign[1]), heard(callee, caller, self.foreign[0])],
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<super::Transmit<'_, RelayPort>> {
        self.outbox.pop()
    }

    /// The next report.
    pub fn poll_report(&mut self) -> Option<RelayReport> {
        self.reports.pop_front()
    }

    /// When the relay wants to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let of_ends = self.ends.iter().flat_map(|end| {
            [end.leg.poll_timeout(), end.way.poll_timeout(), end.reports.clock.due(), end.hold.due()]
        });
        of_ends.chain([self.stall_due()]).flatten().min()
    }

    /// Rule 20, resting while anybody holds (rule 16) and before both have agreed.
    fn stall_due(&self) -> Option<Instant> {
        let talks = |end: &End| end.leg.incoming().is_some() && !end.leg.is_held();
        (!self.stalled && self.ends.iter().all(talks)).then(|| self.quiet_since + self.dead_after)
    }

    /// Does what is due; an early or extra call does nothing.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.closed {
            return;
        }
        for seat in Seat::BOTH {
            self.end(seat).leg.handle_timeout(now.mono);
            self.drain(seat);
            let clip = self.end(seat).hold.take_due(now.mono);
            let to = seat.other();
            let (way, frames) = (&mut self.ends[to.index()].way, &mut self.frames);
            if let Some(clip) = clip {
                way.play_on_hold(now.mono, clip, frames);
            }
            way.handle_timeout(now.mono, frames);
            self.send(to);
            if self.end(seat).reports.clock.take_due(now.mono) {
                self.report(now, seat, false);
            }
        }
        if self.stall_due().is_some_and(|due| due <= now.mono) {
            self.stalled = true;
            self.reports.push_back(RelayReport::Stalled);
        }
    }
}

/// What the caller offers and we know, as it ranks them, then what we could translate from.
fn shared_first(remote: &RemoteAudio, codecs: &[AudioCodec]) -> Result<Vec<AudioCodec>, AudioRefusal> {
    let offered = remote.formats.iter().map(|(_, codec)| *codec).filter(|codec| codecs.contains(codec));
    let mut wished: Vec<AudioCodec> = Vec::new();
    for codec in offered.chain(codecs.iter().copied()) {
        if !wished.contains(&codec) {
            wished.push(codec);
        }
    }
    let shares = remote.formats.iter().any(|(_, codec)| codecs.contains(codec));
    if shares { Ok(wished) } else { Err(AudioRefusal::NoCommonCodec) }
}

/// All that we know, one of them first.
fn preferring(first: Option<AudioCodec>, codecs: &[AudioCodec]) -> Vec<AudioCodec> {
    let first = first.filter(|first| codecs.contains(first));
    first.into_iter().chain(codecs.iter().copied().filter(|codec| Some(*codec) != first)).collect()
}

/// Answers an offer with the codec of the seat across if it is in there, else with another that we know.
fn answer(
    now: Instant,
    leg: &mut RtpLeg,
    offer: &str,
    across: Option<AudioCodec>,
    codecs: &[AudioCodec],
) -> Result<String, AudioRefusal> {
    if let Some(codec) = across.filter(|codec| codecs.contains(codec)) {
        leg.prefer(vec![codec]);
        match leg.answer(now, offer) {
            Err(AudioRefusal::NoCommonCodec) => {}
            answered => return answered,
        }
    }
    leg.prefer(codecs.to_vec());
    leg.answer(now, offer)
}
