//! Any datagrams at the socket of a WebRTC leg: STUN, DTLS, SRTP or garbage, from Meta's address or a stranger's.
#![no_main]

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cordboard::media::dtls::Identity;
use cordboard::media::webrtc_leg::{WebRtcLeg, WebRtcSettings};
use cordboard::random::Random;
use cordboard::rtp::Ssrc;
use cordboard::sdp::webrtc::FingerprintCase;

static IDENTITY: OnceLock<Arc<Identity>> = OnceLock::new();

fn leg(address: SocketAddr, seed: u64) -> WebRtcLeg {
    let identity = IDENTITY.get_or_init(|| Arc::new(Identity::generate().expect("a certificate")));
    let settings = WebRtcSettings {
        local: address,
        candidates: vec![address],
        identity: Arc::clone(identity),
        ssrc: Ssrc(9),
        cname: "fuzz".to_owned(),
        fingerprint_case: FingerprintCase::Lower,
    };
    WebRtcLeg::new(settings, Random::from_number(seed))
}

libfuzzer_sys::fuzz_target!(|datagrams: Vec<(bool, Vec<u8>)>| {
    let (ours, metas): (SocketAddr, SocketAddr) =
        (([192, 0, 2, 1], 40_000).into(), ([192, 0, 2, 99], 3480).into());
    let mut now = Instant::now();
    let mut leg_of_ours = leg(ours, 1);
    let offer = leg(metas, 2).offer();
    leg_of_ours.answer(now, &offer).expect("our own offer");
    leg_of_ours.start_dtls(now);
    for (stranger, datagram) in datagrams {
        let from = if stranger { ([203, 0, 113, 66], 9).into() } else { metas };
        let _ = leg_of_ours.handle_datagram(now, from, &datagram);
        while leg_of_ours.poll_transmit().is_some() {}
        while leg_of_ours.poll_event().is_some() {}
        now += Duration::from_millis(20);
        leg_of_ours.handle_timeout(now);
    }
});
