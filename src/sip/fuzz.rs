//! Bodies of the fuzz targets for SIP; the same code runs under proptest and replays their seeds in the tests.

use std::net::SocketAddr;
use std::time::Duration;

use super::alert::AlertForms;
use super::message::parse;
use super::{
    DigestAlgorithm, Event, Flow, PhoneAccount, PhoneLamps, Refusal, Settings, TrunkPeer, UserAgent,
};
use crate::masked::Secret;
use crate::random::Random;
use crate::time::Now;

/// Reads `bytes` as a message; what was read must print and read back as the same message.
///
/// # Panics
/// If it does not: that is the bug a fuzzer looks for.
pub fn message(bytes: &[u8]) {
    if let Ok(first) = parse(bytes) {
        let printed = first.message.to_bytes();
        let again = parse(&printed).expect("a printed message parses");
        assert_eq!(first.message, again.message, "print after parse is the identity");
        assert_eq!(first.head.call_id, again.head.call_id);
    }
}

/// Datagrams (NUL between them) at a user agent that has a phone and a trunk; each is sent by both, and a
/// call that comes of it is refused after it rang.
///
/// # Panics
/// If we answer what can be read with what cannot.
pub fn agent(now: Now, bytes: &[u8]) {
    let address = |last: u8| SocketAddr::from(([192, 0, 2, last], 5060));
    let (local, phone, trunk) = (address(1), address(2), address(3));
    let mut settings = Settings::new("gw.example.com", local);
    settings.phones.push(PhoneAccount {
        name: "1001".into(),
        display: String::new(),
        algorithm: DigestAlgorithm::Md5,
        ha1: Secret::new(String::new()),
        srtp: crate::sip::SrtpSetting::default(),
        lamps: PhoneLamps::default(),
        alerts: AlertForms::default(),
    });
    settings.trunks.push(TrunkPeer::at("pbx", trunk));
    let (mut now, mut agent) = (now, UserAgent::new(settings, Random::from_number(1)));
    for datagram in bytes.split(|byte| *byte == 0).take(64) {
        for remote in [trunk, phone] {
            agent.handle_message(now, Flow::udp(local, remote), datagram);
            while let Some(event) = agent.poll_event() {
                if let Event::Invited { leg, .. } = event {
                    agent.ring(now, leg, None);
                    agent.refuse(now, leg, Refusal::status(486, "Busy"));
                }
            }
            while let Some((_, sent)) = agent.poll_transmit() {
                // The answer to what cannot be read repeats its broken headers (RFC 4475 §3.1.2).
                let readable = parse(datagram).is_err() || parse(&sent).is_ok();
                assert!(readable, "we sent what cannot be read: {}", sent.escape_ascii());
            }
        }
        now = now.after(Duration::from_millis(700));
        agent.handle_timeout(now);
    }
}
