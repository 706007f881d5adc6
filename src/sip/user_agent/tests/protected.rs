//! Who is offered encrypted sound, and who must answer so.

use super::streams::{TLS, on, streams};
use super::*;
use crate::sdp::protection::{Leave, Protection, ProtectionRule};
use crate::sip::{ReadableKeys, SrtpSetting, SrtpUse};

const CONTACT: &str = "Contact: <sip:1001@10.0.0.5:40001;transport=tcp>\r\n";
const LINE: &str = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz\r\n";

fn wanting(wanted: SrtpUse) -> Rig {
    let mut settings = streams();
    let srtp = SrtpSetting { wanted, readable: ReadableKeys::Never };
    settings.phones[0].srtp = srtp;
    settings.trunks[0].srtp = srtp;
    Rig::with(settings)
}

fn in_words(way: Protection) -> String {
    format!("{SDP}a=x-way:{way:?}\r\n")
}

/// Calls in every way that there is.
fn invite(rig: &mut Rig, target: Endpoint) -> Result<LegId, InviteRefusal> {
    let ways = [Protection::Clear, Protection::BestEffort, Protection::Sdes, Protection::Dtls];
    let caller = CallerIdentity { number: "5521955500123".to_owned(), display: String::new() };
    let (sdp, facts) = (SDP.to_owned(), CallFacts::default());
    let invite = Invite { target, caller, facts, sdp, headers: Vec::new() };
    rig.ua.invite_as(rig.now, invite, ways.map(|way| (way, in_words(way))).to_vec())
}

fn phone() -> Endpoint {
    Endpoint::Phone("1001".into())
}

fn encrypted() -> String {
    SDP.replace("RTP/AVP", "RTP/SAVP") + LINE
}

#[test]
fn s6_each_place_is_offered_what_its_setting_and_its_transport_allow() {
    for (wanted, over_udp, over_tls, over_wss) in [
        (SrtpUse::Auto, Some(Protection::Clear), Protection::Clear, Protection::Dtls),
        (SrtpUse::Off, Some(Protection::Clear), Protection::Clear, Protection::Clear),
        (SrtpUse::Optional, Some(Protection::Clear), Protection::BestEffort, Protection::BestEffort),
        (SrtpUse::Required, None, Protection::Sdes, Protection::Sdes),
        (SrtpUse::Dtls, Some(Protection::Dtls), Protection::Dtls, Protection::Dtls),
    ] {
        for (transport, local, way) in
            [(Transport::Tls, TLS, over_tls), (Transport::Wss, "192.0.2.1:443", over_wss)]
        {
            let mut rig = wanting(wanted);
            rig.register_on(on(transport, local, PHONE), 1);
            invite(&mut rig, phone()).unwrap();
            assert!(rig.one().text.ends_with(&in_words(way)), "{wanted:?} over {transport:?}");
        }
        let mut rig = wanting(wanted);
        rig.register("1001", PHONE);
        match over_udp {
            Some(way) => {
                invite(&mut rig, phone()).unwrap();
                assert!(rig.one().text.ends_with(&in_words(way)), "{wanted:?} over UDP");
            }
            None => {
                for target in [phone(), Endpoint::Trunk("pbx".into(), "200".to_owned())] {
                    assert_eq!(invite(&mut rig, target), Err(InviteRefusal::ReadableKeys));
                }
                assert_eq!(rig.whats(), Vec::<String>::new(), "nothing is sent");
            }
        }
    }
}

#[test]
fn s6_an_answer_without_the_demanded_encryption_is_acknowledged_and_ended() {
    let mut rig = wanting(SrtpUse::Required);
    let flow = on(Transport::Tls, TLS, PHONE);
    rig.register_on(flow, 1);
    rig.events();
    let leg = invite(&mut rig, phone()).unwrap();
    let asked = rig.one();
    rig.send_on(flow, &asked.answer(183, "p1", CONTACT, SDP));
    assert_eq!(rig.events(), [Event::Ringing { leg, sdp: None, status: 183 }], "no early media either");
    rig.send_on(flow, &asked.answer(200, "p1", CONTACT, SDP));
    let sent = rig.heard();
    assert_eq!(sent.iter().map(Heard::what).collect::<Vec<_>>(), ["ACK", "BYE"]);
    assert_eq!(sent[1].header("Reason"), "SIP;cause=488;text=\"SRTP is required\"");
    assert_eq!(rig.events(), [Event::Failed { leg, failure: LegFailure::Status(488) }]);
}

#[test]
fn an_encrypted_answer_is_taken_and_its_rule_can_be_asked_for() {
    let mut rig = wanting(SrtpUse::Required);
    let flow = on(Transport::Tls, TLS, PHONE);
    rig.register_on(flow, 1);
    rig.events();
    let leg = invite(&mut rig, phone()).unwrap();
    let asked = rig.one();
    rig.send_on(flow, &asked.answer(200, "p1", CONTACT, &encrypted()));
    assert!(matches!(rig.events().as_slice(), [Event::Answered { .. }]));
    let home = Some(rig.ua.rule_of(leg).home.expect("where it calls from"));
    assert_eq!(rig.ua.rule_of(leg), ProtectionRule { clear: Leave::Refused, home, ..ProtectionRule::ANY });
    assert_eq!(rig.ua.offer_of(leg), Some(Protection::Sdes));
}
