//! Stories of a phone whose sound comes by DTLS-SRTP over ICE: a browser, played by a leg of our own.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::dtls::Identity;
use super::rtp_leg::{Heard, KeyMaker, RtpLeg};
use super::*;
use crate::codec::AudioCodec;
use crate::random::Random;
use crate::rtp::{PayloadType, RtpHeader, RtpTime, SeqNo, Ssrc};
use crate::sdp::audio::{AudioRefusal, LocalAudio, LocalKeying};
use crate::sdp::protection::{Protection, ProtectionRule};
use crate::sdp::webrtc::FingerprintCase;
use crate::time::{Now, Wall};

const OURS: &str = "10.0.0.1:30000";
const BROWSERS: &str = "10.0.0.7:50000";

fn identity(which: usize) -> Arc<Identity> {
    static IDENTITIES: [OnceLock<Arc<Identity>>; 2] = [OnceLock::new(), OnceLock::new()];
    Arc::clone(IDENTITIES[which].get_or_init(|| Arc::new(Identity::generate().unwrap())))
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// A gateway and a browser with nothing between them.
struct Pair {
    start: Instant,
    now: Instant,
    bridge: Bridge,
    browser: RtpLeg,
    reports: Vec<Report>,
    /// RTP that the browser could decrypt, and that we made of its own.
    heard: usize,
}

fn now_of(start: Instant, now: Instant) -> Now {
    Now { mono: now, wall: Wall(1_790_000_000_000) + (now - start) }
}

fn browser() -> RtpLeg {
    let local = LocalAudio {
        session_id: 9,
        version: 1,
        rtp: address(BROWSERS),
        rtcp: address(BROWSERS),
        codecs: vec![AudioCodec::Opus, AudioCodec::Pcmu],
        voip_metrics: false,
        opus_bitrate: 20_000,
        keying: LocalKeying { rule: ProtectionRule::ANY, ..LocalKeying::default() },
    };
    let keys = KeyMaker {
        identity: identity(1),
        fingerprint_case: FingerprintCase::Lower,
        random: Random::from_number(2),
    };
    RtpLeg::new(local, keys)
}

fn open(start: Instant, phone: PhoneSide) -> (Bridge, String) {
    let settings = BridgeSettings {
        webrtc_local: address("192.0.2.1:40000"),
        webrtc_candidates: vec![address("192.0.2.1:40000")],
        identity: identity(0),
        fingerprint_case: FingerprintCase::Lower,
        rtp: address(OURS),
        rtcp: address("10.0.0.1:30001"),
        random: Random::from_number(1),
    };
    let mut spec = OpenSpec::new(MetaSide::Offer, phone);
    spec.rule = ProtectionRule::ANY;
    spec.ways = vec![Protection::Dtls];
    let (bridge, opened) = Bridge::open(now_of(start, start), settings, &spec).unwrap();
    let Report::Opened { phone_sdp, .. } = opened else { panic!("{opened:?}") };
    (bridge, phone_sdp)
}

impl Pair {
    /// The browser is called and answers.
    fn called() -> Self {
        let start = Instant::now();
        let (mut bridge, offer) = open(start, PhoneSide::Offer);
        let mut browser = browser();
        let answer = browser.answer(start, &offer).unwrap();
        bridge.handle_order(now_of(start, start), Order::ApplyPhoneAnswer { sdp: answer });
        Self::of(start, bridge, browser)
    }

    /// The browser calls.
    fn calling() -> Self {
        let start = Instant::now();
        let mut browser = browser();
        let (_, offer) = browser.offers(&[Protection::Dtls]).remove(0);
        let (bridge, answer) = open(start, PhoneSide::Answer { offer });
        assert!(answer.contains("a=setup:active\r\n"), "we begin DTLS: {answer}");
        browser.apply(start, &answer).unwrap();
        Self::of(start, bridge, browser)
    }

    fn of(start: Instant, bridge: Bridge, browser: RtpLeg) -> Self {
        Self { start, now: start, bridge, browser, reports: Vec::new(), heard: 0 }
    }

    fn exchange(&mut self) {
        loop {
            let mut quiet = true;
            while let Some(report) = self.bridge.poll_report() {
                self.reports.push(report);
            }
            while let Some(transmit) = self.bridge.poll_transmit() {
                if transmit.port == BridgePort::WebRtc || transmit.to != address(BROWSERS) {
                    continue;
                }
                quiet = false;
                let bytes = transmit.bytes.to_vec();
                if let Heard::Rtp(_) = self.browser.receive(self.now, BridgePort::Rtp, address(OURS), &bytes)
                {
                    self.heard += 1;
                }
            }
            while let Some((to, bytes)) = self.browser.poll_transmit() {
                quiet = false;
                if to == address(OURS) {
                    let now = now_of(self.start, self.now);
                    self.bridge.handle_datagram(now, BridgePort::Rtp, address(BROWSERS), &bytes);
                }
            }
            while self.browser.poll_event().is_some() {}
            if quiet {
                return;
            }
        }
    }

    /// Lets time pass; without a browser, if it is gone.
    fn run(&mut self, span: Duration, is_there: bool) {
        let end = self.now + span;
        while self.now < end {
            self.now += Duration::from_millis(5);
            if self.bridge.poll_timeout().is_some_and(|at| at <= self.now) {
                self.bridge.handle_timeout(now_of(self.start, self.now));
            }
            if is_there {
                self.browser.handle_timeout(self.now);
                self.exchange();
            } else {
                while self.bridge.poll_transmit().is_some() {}
                self.reports.extend(std::iter::from_fn(|| self.bridge.poll_report()));
            }
        }
    }

    /// The browser says something; how many of its packets were refused since the beginning.
    fn say(&mut self, packets: u16) -> u64 {
        for count in 0..packets {
            let header = RtpHeader {
                marker: count == 0,
                payload_type: PayloadType(111),
                seq: SeqNo(count),
                timestamp: RtpTime(u32::from(count) * 960),
                ssrc: Ssrc(5),
            };
            let packet = [&header.to_bytes()[..], &[0x08; 20]].concat();
            let (to, sealed) = self.browser.seal_rtp(&packet).expect("keys are there");
            assert_eq!(to, address(OURS));
            let sealed = sealed.to_vec();
            let now = now_of(self.start, self.now);
            self.bridge.handle_datagram(now, BridgePort::Rtp, address(BROWSERS), &sealed);
        }
        self.bridge.summary().to_meta.refused
    }
}

#[test]
fn a_browser_that_is_called_or_calls_has_keys_within_a_second_and_is_heard_by_them_alone() {
    for mut pair in [Pair::called(), Pair::calling()] {
        pair.run(Duration::from_secs(1), true);
        assert!(pair.browser.protection().is_some());
        assert_eq!(pair.say(20), 0);
        assert_eq!(pair.bridge.summary().to_meta.packets_in, 20);
        // The same in the clear, from the browser's own address.
        let plain = [&[0x80, 111, 0, 99, 0, 0, 0, 1, 0, 0, 0, 5][..], &[0x08; 20]].concat();
        let now = now_of(pair.start, pair.now);
        pair.bridge.handle_datagram(now, BridgePort::Rtp, address(BROWSERS), &plain);
        assert_eq!(pair.bridge.summary().to_meta.packets_in, 20);
        assert!(pair.bridge.summary().codecs.contains("; phone by SRTP_"));
    }
}

#[test]
fn a_browser_that_vanishes_is_given_up_when_its_consent_ends() {
    let mut pair = Pair::called();
    pair.run(Duration::from_secs(60), true);
    assert!(!pair.reports.contains(&Report::Stalled), "consent is asked for and given");
    pair.run(Duration::from_secs(24), false);
    assert!(!pair.reports.contains(&Report::Stalled));
    pair.run(Duration::from_secs(7), false);
    assert_eq!(pair.reports.iter().filter(|it| **it == Report::Stalled).count(), 1);
}

#[test]
fn hold_leaves_the_connection_as_it_is_and_another_one_is_refused() {
    let mut pair = Pair::called();
    pair.run(Duration::from_secs(1), true);
    let again = pair.browser.offer();
    assert!(again.contains("a=setup:actpass\r\n") && again.contains("UDP/TLS/RTP/SAVPF"), "{again}");
    let held = again.replace("a=sendrecv", "a=sendonly");
    pair.bridge.handle_order(now_of(pair.start, pair.now), Order::AnswerPhoneReoffer { sdp: Some(held) });
    pair.exchange();
    let answer = pair.reports.iter().rev().find_map(|report| match report {
        Report::PhoneReofferAnswered { sdp } => Some(sdp.clone()),
        _ => None,
    });
    let answer = answer.expect("an answer");
    assert!(answer.contains("a=recvonly\r\n") && answer.contains("a=setup:passive\r\n"), "{answer}");
    assert_eq!(pair.say(20), 0);
    let restarted = again.replace("a=ice-ufrag:", "a=ice-ufrag:x");
    let order = Order::AnswerPhoneReoffer { sdp: Some(restarted) };
    pair.bridge.handle_order(now_of(pair.start, pair.now), order);
    pair.exchange();
    assert!(pair.reports.contains(&Report::PhoneReofferRefused(AudioRefusal::NoDtls)));
    pair.run(Duration::from_secs(1), true);
    assert!(pair.browser.protection().is_some());
}
