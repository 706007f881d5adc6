//! Bodies of the fuzz targets for the WhatsApp leg; the same code replays their seeds in the tests.
//!
//! Where a target plays a scene, its input is a list of steps: one byte what to do, one byte how long the
//! step's data are, then the data.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::dtls::Identity;
use super::ice::Ice;
use super::srtp::{Srtp, SrtpKeys, SrtpProfile};
use super::webrtc_leg::{WebRtcLeg, WebRtcSettings};
use crate::random::Random;
use crate::rtp::Ssrc;
use crate::sdp::webrtc::{FingerprintCase, read_webrtc};

const STRANGER: ([u8; 4], u16) = ([203, 0, 113, 66], 9);

struct Step<'a> {
    what: u8,
    data: &'a [u8],
}

fn steps(mut bytes: &[u8]) -> impl Iterator<Item = Step<'_>> {
    std::iter::from_fn(move || {
        let [what, length, rest @ ..] = bytes else { return None };
        let (data, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        bytes = rest;
        Some(Step { what: *what, data })
    })
}

/// Exclusive-ors `data`, a list of (position, bits), into a datagram.
fn mutate(datagram: &mut [u8], data: &[u8]) {
    let length = datagram.len();
    for pair in data.chunks_exact(2) {
        if let Some(byte) = datagram.get_mut(usize::from(pair[0]) % length.max(1)) {
            *byte ^= pair[1];
        }
    }
}

fn leg(identity: &Arc<Identity>, address: SocketAddr, seed: u64) -> WebRtcLeg {
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

fn addresses() -> (SocketAddr, SocketAddr) {
    (([192, 0, 2, 1], 40_000).into(), ([192, 0, 2, 99], 3480).into())
}

/// Any datagrams at the socket of a leg: STUN, DTLS, SRTP or garbage, from Meta's address or a stranger's.
///
/// # Panics
/// If our own offer is refused.
pub fn webrtc_datagrams(now: Instant, identity: &Arc<Identity>, bytes: &[u8]) {
    let ((ours, metas), mut now) = (addresses(), now);
    let mut leg_of_ours = leg(identity, ours, 1);
    let offer = leg(identity, metas, 2).offer();
    leg_of_ours.answer(now, &offer).expect("our own offer");
    leg_of_ours.start_dtls(now);
    for step in steps(bytes) {
        let from = if step.what & 1 == 1 { STRANGER.into() } else { metas };
        let _ = leg_of_ours.handle_datagram(now, from, step.data);
        while leg_of_ours.poll_transmit().is_some() {}
        while leg_of_ours.poll_event().is_some() {}
        now += Duration::from_millis(20);
        leg_of_ours.handle_timeout(now);
    }
}

/// Two ICE agents between which datagrams are changed, lost, doubled, delayed and invented.
///
/// # Panics
/// If our own offer cannot be read.
pub fn stun(now: Instant, identity: &Arc<Identity>, bytes: &[u8]) {
    let ((here, there), mut now) = (addresses(), now);
    let mut agents = [here, there].map(|address| {
        let seed = u64::from(address.port());
        (address, Ice::new(address, &[], &mut Random::from_number(seed)))
    });
    for (own, other) in [(0, 1), (1, 0)] {
        let (ufrag, pwd) = agents[other].1.credentials();
        let (ufrag, pwd, candidates) = (ufrag.to_owned(), pwd.to_owned(), vec![agents[other].0]);
        let remote = read_webrtc(&leg(identity, agents[other].0, 3).offer()).expect("our own offer");
        agents[own]
            .1
            .start(now, &crate::sdp::webrtc::RemoteTransport { ufrag, pwd, candidates, ..remote.transport });
    }
    let mut wire: VecDeque<(SocketAddr, usize, Vec<u8>)> = VecDeque::new();
    for step in steps(bytes) {
        for (index, (address, agent)) in agents.iter_mut().enumerate() {
            agent.handle_timeout(now);
            while let Some((_, datagram)) = agent.poll_transmit() {
                wire.push_back((*address, 1 - index, datagram));
            }
            while agent.poll_event().is_some() {}
        }
        match step.what % 6 {
            0 => now += Duration::from_millis(10 * u64::from(step.data.first().copied().unwrap_or(2))),
            1 => drop(wire.pop_front()),
            2 => wire.extend(wire.front().cloned()),
            3 => {
                if let Some((_, _, datagram)) = wire.front_mut() {
                    mutate(datagram, step.data);
                }
            }
            4 => wire.push_front((STRANGER.into(), usize::from(step.what & 1), step.data.to_vec())),
            _ => wire.rotate_left(wire.len().min(1)),
        }
        if let Some((from, to, datagram)) = wire.pop_front() {
            agents[to].1.handle_datagram(now, from, &datagram);
        }
    }
}

/// A peer's packets, changed or invented, at the receiving end of each profile.
///
/// # Panics
/// If anything but what the peer sent is taken, or the same packet twice.
pub fn srtp(bytes: &[u8]) {
    let [choice, bytes @ ..] = bytes else { return };
    let (profile, length) = match choice % 3 {
        0 => (SrtpProfile::Aes128CmSha1_80, 60),
        1 => (SrtpProfile::AeadAes128Gcm, 56),
        _ => (SrtpProfile::AeadAes256Gcm, 88),
    };
    let material: Vec<u8> = (0..length).collect();
    let side = |client| {
        let keys = SrtpKeys::from_exported(profile, &material, client).expect("it has the right length");
        Srtp::new(keys).expect("the keys are usable")
    };
    let (mut sender, mut receiver) = (side(true), side(false));
    for (sequence, step) in (0_u16..).zip(steps(bytes)) {
        let [high, low] = sequence.to_be_bytes();
        if step.what & 1 == 0 {
            // Nobody without the keys can make a packet that is taken, whatever it looks like.
            assert!(receiver.unprotect_rtp(step.data).is_none(), "invented RTP is refused");
            assert!(receiver.unprotect_rtcp(step.data).is_none(), "invented RTCP is refused");
            continue;
        }
        let clear = [0x80, 111, high, low, 0, 0, 0, 1, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8];
        let genuine = sender.protect_rtp(&clear).expect("it is RTP").to_vec();
        let mut changed = genuine.clone();
        if step.what & 2 == 2 {
            changed.truncate(usize::from(step.what));
        }
        mutate(&mut changed, step.data);
        if changed != genuine {
            assert!(receiver.unprotect_rtp(&changed).is_none(), "changed RTP is refused");
        }
        let opened =
            receiver.unprotect_rtp(&genuine).expect("a changed copy does not spoil the packet itself");
        assert_eq!(&opened[..], clear);
        assert!(receiver.unprotect_rtp(&genuine).is_none(), "a packet is taken once");
    }
}
