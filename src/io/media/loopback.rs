//! The engine with real sockets on loopback: a user, a phone, and what the engine tells.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;
use crate::codec::{EncoderSettings, MAX_OPUS_PACKET, OpusEncoder, SampleRate};
use crate::media::webrtc_leg::{Received, WebRtcLeg, WebRtcSettings};
use crate::media::{LegFailure, MetaSide, PhoneSide, Side, Stage};
use crate::rtp::{PayloadType, RtpHeader, RtpTime, SeqNo, Ssrc};
use crate::sdp::audio::RemoteAudio;

const CALL: CallId = CallId(1);

fn realm(ports: std::ops::RangeInclusive<u16>) -> Realm {
    Realm { bind: "127.0.0.1".parse().unwrap(), advertised: Vec::new(), ports }
}

fn engine(settings: MediaSettings) -> (MediaEngine, UnboundedReceiver<(CallId, Report)>) {
    let (sender, receiver) = unbounded_channel();
    let settings = MediaSettings { workers: 1, ..settings };
    (MediaEngine::start(settings, Random::from_number(1), sender).unwrap(), receiver)
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// A WhatsApp user and a phone with sockets of their own.
struct Ends {
    user: WebRtcLeg,
    user_socket: UdpSocket,
    phone: UdpSocket,
    engine_rtp: SocketAddr,
    heard_by_user: usize,
    heard_by_phone: usize,
    sent: u16,
    next: Instant,
    encoder: OpusEncoder,
}

impl Ends {
    /// Both take the engine's offers; gives their answers.
    fn meet(meta_offer: &str, phone_offer: &str) -> (Self, String, String) {
        let (user_socket, phone) = (socket(), socket());
        let local = user_socket.local_addr().unwrap();
        let mut user = WebRtcLeg::new(
            WebRtcSettings {
                local,
                candidates: vec![local],
                identity: Arc::new(Identity::generate().unwrap()),
                ssrc: Ssrc(7),
                cname: "user".to_owned(),
                fingerprint_case: FingerprintCase::Lower,
            },
            Random::from_number(2),
        );
        let answer = user.answer(Instant::now(), meta_offer).unwrap();
        user.start_dtls(Instant::now());
        let phone_answer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {} RTP/AVP 8\r\n",
            phone.local_addr().unwrap().port()
        );
        let ends = Self {
            user,
            user_socket,
            phone,
            engine_rtp: RemoteAudio::read(phone_offer).unwrap().rtp,
            heard_by_user: 0,
            heard_by_phone: 0,
            sent: 0,
            next: Instant::now(),
            encoder: OpusEncoder::new(SampleRate::Narrow, &EncoderSettings::default()).unwrap(),
        };
        (ends, answer, phone_answer)
    }

    /// Lets both speak and listen for about a millisecond.
    fn turn(&mut self) {
        let now = Instant::now();
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = self.user_socket.recv_from(&mut bytes) {
            if let Received::Rtp(_) = self.user.handle_datagram(now, from, &bytes[..length]) {
                self.heard_by_user += 1;
            }
        }
        while self.phone.recv_from(&mut bytes).is_ok() {
            self.heard_by_phone += 1;
        }
        if self.user.poll_timeout().is_some_and(|at| at <= now) {
            self.user.handle_timeout(now);
        }
        while let Some((to, datagram)) = self.user.poll_transmit() {
            self.user_socket.send_to(&datagram, to).unwrap();
        }
        while self.user.poll_event().is_some() {}
        if self.next <= now {
            self.next += Duration::from_millis(20);
            self.speak();
        }
        std::thread::sleep(Duration::from_millis(1));
    }

    fn speak(&mut self) {
        self.sent += 1;
        let header = |payload_type, ticks: u32| RtpHeader {
            marker: false,
            payload_type: PayloadType(payload_type),
            seq: SeqNo(self.sent),
            timestamp: RtpTime(u32::from(self.sent) * ticks),
            ssrc: Ssrc(9),
        };
        let mut packet = header(8, 160).to_bytes().to_vec();
        packet.extend([0x15; 160]);
        self.phone.send_to(&packet, self.engine_rtp).unwrap();
        let mut opus = [0; MAX_OPUS_PACKET];
        let mut packet = header(111, 960).to_bytes().to_vec();
        let length = self.encoder.encode(&[900; 160], &mut opus).unwrap();
        packet.extend(&opus[..length]);
        if let Some((to, sealed)) = self.user.protect_rtp(&packet) {
            self.user_socket.send_to(sealed, to).unwrap();
        }
    }

    /// Turns until `report` is told, ten seconds at most.
    fn until(
        &mut self,
        reports: &mut UnboundedReceiver<(CallId, Report)>,
        wanted: impl Fn(&Report) -> bool,
    ) -> Report {
        let end = Instant::now() + Duration::from_secs(10);
        while Instant::now() < end {
            self.turn();
            while let Ok((call, report)) = reports.try_recv() {
                assert_eq!(call, CALL);
                if wanted(&report) {
                    return report;
                }
            }
        }
        panic!("not told in time");
    }
}

#[test]
fn a_call_runs_on_real_sockets_and_leaves_nothing_behind() {
    let (engine, mut reports) = engine(MediaSettings::new(realm(0..=0), realm(0..=0)));
    engine.open(CALL, OpenSpec::new(MetaSide::Offer, PhoneSide::Offer));
    let Some((CALL, Report::Opened { meta_sdp, phone_sdp, .. })) = reports.blocking_recv() else { panic!() };
    assert_eq!(engine.figures().calls, [1]);
    let (mut ends, answer, phone_answer) = Ends::meet(&meta_sdp, &phone_sdp);
    engine.order(CALL, Order::ApplyMetaAnswer { sdp: answer });
    engine.order(CALL, Order::ApplyPhoneAnswer { sdp: phone_answer });
    ends.until(&mut reports, |it| *it == Report::IceConnected);
    engine.order(CALL, Order::StartDtls);
    ends.until(&mut reports, |it| *it == Report::DtlsUp);
    assert_eq!(ends.heard_by_user, 0, "rule 4: the gate is shut");
    engine.order(CALL, Order::SetStage(Stage::Open));
    ends.until(&mut reports, |it| *it == Report::FirstAudio { towards: Side::Meta });
    let end = Instant::now() + Duration::from_millis(500);
    while Instant::now() < end {
        ends.turn();
    }
    let end = Instant::now() + Duration::from_secs(10);
    while engine.figures().flow_to_phone.packets_in == 0 {
        assert!(Instant::now() < end, "the counters know nothing of a live call");
        ends.turn();
    }
    assert_eq!(engine.figures().calls, [1]);
    engine.order(CALL, Order::Close);
    let closed = ends.until(&mut reports, |it| matches!(it, Report::Closed(_)));
    let Report::Closed(summary) = closed else { unreachable!() };
    let flows = (engine.figures().flow_to_phone, engine.figures().flow_to_meta);
    assert_eq!(flows, (Flow::from(&summary.to_phone), Flow::from(&summary.to_meta)), "to the last packet");
    assert!(ends.heard_by_user > 20 && ends.heard_by_phone > 20);
    assert_eq!((summary.to_meta.lost, summary.to_phone.lost), (0, 0));
    assert!(summary.to_meta.transit.count() > 20 && summary.to_phone.transit.count() > 20);
    assert!(summary.codecs.contains("PCMA"), "{}", summary.codecs);
    let figures = engine.figures();
    assert_eq!((figures.calls, figures.opened, figures.panics), (vec![0], 1, 0));
    assert!(figures.to_phone.count() > 20 && figures.send_errors == 0);
    engine.stop();
}

#[test]
fn rule_15_exhausted_ports_refuse_a_call_and_a_closed_call_leaves_its_ports_resting() {
    let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = probe.local_addr().unwrap().port();
    drop(probe);
    let (engine, mut reports) = engine(MediaSettings::new(realm(port..=port), realm(0..=0)));
    let spec = OpenSpec::new(MetaSide::Offer, PhoneSide::Offer);
    engine.open(CALL, spec.clone());
    assert!(matches!(reports.blocking_recv(), Some((CALL, Report::Opened { .. }))));
    engine.open(CallId(2), spec.clone());
    assert_eq!(reports.blocking_recv(), Some((CallId(2), Report::Refused(OpenRefusal::NoPorts))));
    engine.order(CALL, Order::Close);
    assert!(matches!(reports.blocking_recv(), Some((CALL, Report::Closed(_)))));
    engine.open(CallId(3), spec);
    assert_eq!(reports.blocking_recv(), Some((CallId(3), Report::Refused(OpenRefusal::NoPorts))));
    let figures = engine.figures();
    assert_eq!((figures.calls, figures.outside_ports, figures.refused), (vec![0], (0, 1), 2));
    engine.stop();
}

#[test]
fn an_offer_that_cannot_be_used_is_refused_and_gives_its_ports_back() {
    let (engine, mut reports) = engine(MediaSettings::new(realm(0..=0), realm(0..=0)));
    let meta = MetaSide::Answer { offer: "nonsense".to_owned() };
    engine.open(CALL, OpenSpec::new(meta, PhoneSide::Offer));
    assert!(matches!(reports.blocking_recv(), Some((CALL, Report::Refused(OpenRefusal::Meta(_))))));
    engine.order(CALL, Order::Close);
    assert_eq!(engine.figures().calls, [0]);
    engine.stop();
    assert!(reports.try_recv().is_err(), "a call that never was tells nothing more");
}

#[test]
fn stopping_closes_every_call_with_its_summary() {
    let (engine, mut reports) = engine(MediaSettings::new(realm(0..=0), realm(0..=0)));
    for call in 1..=3 {
        engine.open(CallId(call), OpenSpec::new(MetaSide::Offer, PhoneSide::Offer));
        assert!(matches!(reports.blocking_recv(), Some((_, Report::Opened { .. }))));
    }
    engine.stop();
    let closed = std::iter::from_fn(|| reports.try_recv().ok());
    assert_eq!(closed.filter(|(_, it)| matches!(it, Report::Closed(_))).count(), 3);
}

#[test]
fn a_panic_kills_one_call_and_is_counted() {
    let (engine, mut reports) = engine(MediaSettings::new(realm(0..=0), realm(0..=0)));
    for call in 1..=2 {
        engine.open(CallId(call), OpenSpec::new(MetaSide::Offer, PhoneSide::Offer));
        assert!(matches!(reports.blocking_recv(), Some((_, Report::Opened { .. }))));
    }
    assert!(engine.0.workers[0].send(Command::Panic(CALL)));
    assert_eq!(reports.blocking_recv(), Some((CALL, Report::LegFailed(LegFailure::Panicked))));
    assert!(matches!(reports.blocking_recv(), Some((CALL, Report::Closed(_)))));
    engine.order(CallId(2), Order::Close);
    assert!(matches!(reports.blocking_recv(), Some((CallId(2), Report::Closed(_)))));
    let figures = engine.figures();
    assert_eq!((figures.calls, figures.panics), (vec![0], 1));
    engine.stop();
}

#[test]
fn a_worker_is_filled_before_the_next_one_gets_calls_and_full_ones_share() {
    let (sender, mut reports) = unbounded_channel();
    let settings = MediaSettings { workers: 2, ..MediaSettings::new(realm(0..=0), realm(0..=0)) };
    let engine = MediaEngine::start(settings, Random::from_number(1), sender).unwrap();
    let mut calls = Vec::new();
    for (count, expected) in [(3, [3, 0]), (38, [40, 1]), (39, [40, 40]), (2, [41, 41])] {
        for _ in 0..count {
            calls.push(CallId(calls.len() as u64 + 1));
            engine.open(*calls.last().unwrap(), OpenSpec::new(MetaSide::Offer, PhoneSide::Offer));
            assert!(matches!(reports.blocking_recv(), Some((_, Report::Opened { .. }))));
        }
        assert_eq!(engine.figures().calls, expected);
    }
    engine.stop();
}
