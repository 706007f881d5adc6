//! The matrix: what can happen to the SIP side of a call, and what WhatsApp sees of it.
//!
//! Every cell is named by who had the call, what was done, and who has it then. A trunk differs from a phone in what
//! its media is: packets of 30 ms, no telephone events, and music of its own while it holds. In every cell the user's
//! side has one source, sequence +1, time stamps that follow elapsed time within a frame, and no gap over 60 ms.

use std::collections::BTreeSet;
use std::fmt;

use super::srtp::{Srtp, SrtpKeys};
use super::succession_stories::{OTHER, others};
use super::tone::Tone;
use super::world::*;
use super::*;
use crate::codec::{AudioCodec, level_dbov};
use crate::masked::Secret;
use crate::rtp::Ssrc;
use crate::sdp::crypto::{Crypto, CryptoSuite, cryptos};
use crate::sdp::protection::Protection;
use crate::sdp::session::Session;

/// What stands at the other end of the SIP leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Phone,
    Trunk,
}

/// How its sound travels: as it is, or under keys in the session description.
type Wire = Option<CryptoSuite>;

const WIRES: [Wire; 3] = [None, Some(CryptoSuite::AesCm128HmacSha1_80), Some(CryptoSuite::AeadAes256Gcm)];

/// Somebody who may have the call.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Peer {
    kind: Kind,
    codec: AudioCodec,
    wire: Wire,
}

/// The cell's name of it: `trunk G722 AEAD_AES_256_GCM`.
impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind == Kind::Phone { "phone" } else { "trunk" };
        write!(f, "{kind} {}", self.codec.name())?;
        self.wire.map_or(Ok(()), |suite| write!(f, " {}", suite.name()))
    }
}

/// A way of a call to another phone or trunk.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// REFER: it is rung with our offer.
    Blind,
    /// REFER with Replaces: it was on the line with somebody else, and answers our re-INVITE.
    Attended,
    /// The same while it still rang: the user hears ringing, and the one that asked has gone.
    SemiAttended,
    /// INVITE with Replaces: it makes the offer.
    TakeOver,
    /// Parked, and fetched by it.
    Parked,
}

/// How a peer holds: the direction it offers, and a connection address of its own.
const HOLDS: [(&str, &str); 3] = [("sendonly", ""), ("inactive", ""), ("sendrecv", "0.0.0.0")];

impl Peer {
    const fn ptime(self) -> usize {
        match (self.kind, self.codec) {
            (Kind::Trunk, AudioCodec::Pcmu | AudioCodec::Pcma) => 30,
            _ => 20,
        }
    }

    /// Its key; the tag is that of the line which it answers.
    fn key(self, tag: u32) -> Option<Crypto> {
        let suite = self.wire?;
        let fill = u8::try_from(tag).expect("few lines") ^ if self.kind == Kind::Phone { 0x5A } else { 0xA5 };
        let key = (0..suite.key_length()).map(|at| fill ^ u8::try_from(at).expect("a short key"));
        Some(Crypto { tag, suite, key: Secret::new(key.collect()) })
    }

    /// Its description from the first or the other place.
    fn sdp(self, place: Place, direction: &str, tag: u32) -> String {
        let mut sdp = match place {
            Place::First => codec_sdp(self.codec, direction, self.ptime()),
            Place::Other => {
                others(self.codec, direction).replace("a=ptime:20", &format!("a=ptime:{}", self.ptime()))
            }
        };
        if self.kind == Kind::Trunk {
            let kept = sdp.lines().filter(|line| !line.contains("telephone-event"));
            sdp = kept.fold(String::new(), |text, line| text + line + "\r\n");
            let events = if self.codec == AudioCodec::Opus { " 110" } else { " 101" };
            sdp = sdp.replacen(&format!("{events}\r\n"), "\r\n", 1);
        }
        if let Some(line) = self.key(tag) {
            sdp = sdp.replace("RTP/AVP", "RTP/SAVP");
            sdp = sdp.replace("a=ptime", &format!("a=crypto:{line}\r\na=ptime"));
        }
        sdp
    }

    /// Its end of SRTP under this tag, where we have described ourselves by `ours`.
    fn shield(self, tag: u32, ours: &str) -> Option<Srtp> {
        let line = self.key(tag)?;
        let lines = cryptos(&Session::parse(ours).expect("our description").media[0]);
        let own = lines.into_iter().find(|it| it.tag == tag).expect("our line of that tag");
        Some(Srtp::new(SrtpKeys::from_lines(&line, &own)).expect("keys"))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Other,
}

/// Every kind with every codec on every wire of `wires`.
fn peers(wires: &[Wire]) -> Vec<Peer> {
    let mut all = Vec::new();
    for kind in [Kind::Phone, Kind::Trunk] {
        for codec in AudioCodec::ALL {
            all.extend(wires.iter().map(|wire| Peer { kind, codec, wire: *wire }));
        }
    }
    all
}

/// Who has the call before and after: all pairs in the clear, and all pairs of wires with each codec in turn.
fn pairs() -> Vec<(Peer, Peer)> {
    let clear = peers(&[None]);
    let mut all: Vec<(Peer, Peer)> =
        clear.iter().flat_map(|before| clear.iter().map(|after| (*before, *after))).collect();
    for (at, before) in peers(&WIRES).into_iter().enumerate() {
        for (to, wire) in WIRES.into_iter().enumerate() {
            let Peer { kind, codec, .. } = clear[(at + 3 * to + 1) % clear.len()];
            let after = Peer { kind, codec, wire };
            if before.wire.or(after.wire).is_some() {
                all.push((before, after));
            }
        }
    }
    all
}

/// The last description of ours that `pick` finds in a report.
fn said(world: &World, pick: impl Fn(&Report) -> Option<String>) -> String {
    world.reports.iter().rev().find_map(|(_, report)| pick(report)).expect("a description of ours")
}

/// The peer makes an offer within its call, under the key that it has.
fn reoffer(world: &mut World, peer: Peer, (place, tag): (Place, u32), direction: &str, address: &str) {
    let mut sdp = peer.sdp(place, direction, tag);
    if !address.is_empty() {
        for host in ["10.0.0.7", "10.0.0.8"] {
            sdp = sdp.replace(&format!("\r\nc=IN IP4 {host}"), &format!("\r\nc=IN IP4 {address}"));
        }
    }
    let first = world.shield.is_none();
    world.order(Order::AnswerPhoneReoffer { sdp: Some(sdp) });
    let ours = said(world, |report| match report {
        Report::PhoneReofferAnswered { sdp } => Some(sdp.clone()),
        _ => None,
    });
    if first {
        world.shield = peer.shield(tag, &ours);
    }
}

/// A call with this peer in which both speak.
fn talking(seed: u64, peer: Peer) -> World {
    let mut world = World::up_with(seed, peer.codec, peer.ptime());
    reoffer(&mut world, peer, (Place::First, 1), "sendrecv", "");
    (world.phone.speaking, world.user_voice.speaking) = (true, true);
    world.run(millis(400));
    world
}

/// What the user's side has seen.
#[derive(Debug)]
struct Line {
    sources: usize,
    breaks: usize,
    /// Ticks of 48 kHz between elapsed time and the last time stamp, both since the first packet.
    drift: i64,
    gap: std::time::Duration,
}

fn line(world: &World) -> Line {
    let heard = &world.user_heard;
    let sources: BTreeSet<u32> = heard.iter().map(|it| it.header.ssrc.0).collect();
    let breaks = heard.windows(2).filter(|it| it[0].header.seq.next() != it[1].header.seq).count();
    let gap = heard.windows(2).map(|it| it[1].at - it[0].at).max().expect("a line");
    let (first, last) = (&heard[0], &heard[heard.len() - 1]);
    let ticks = i64::from(last.header.timestamp.since(first.header.timestamp));
    let elapsed = i64::try_from((last.at - first.at).as_micros()).expect("seconds") * 48 / 1000;
    Line { sources: sources.len(), breaks, drift: ticks - elapsed, gap }
}

/// A frame of 20 ms and the millisecond of the world's clock.
const FRAME: i64 = 960 + 48;

#[track_caller]
fn assert_cell(world: &World, cell: &dyn fmt::Debug) {
    let line = line(world);
    assert!(
        line.sources == 1 && line.breaks == 0 && line.drift.abs() <= FRAME && line.gap <= millis(60),
        "{cell:?}: {line:?}"
    );
    // Each packet's time stamp by itself.
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}

/// Both hear each other from here on.
#[track_caller]
fn assert_talk(world: &mut World, cell: &dyn fmt::Debug) {
    let (user, phone) = (world.user_heard.len(), world.phone_heard.len());
    world.run(millis(600));
    assert!(level_dbov(&decode_opus(&world.user_heard[user + 10..])) > -30.0, "{cell:?}: the user hears");
    assert!(world.phone_heard.len() > phone + 15, "{cell:?}: the other side hears");
}

fn hold_and_resume(world: &mut World, peer: Peer, place: (Place, u32)) {
    for (direction, address) in HOLDS {
        let cell = (peer, place, direction, address);
        // A PBX plays music of its own where it may.
        let music = peer.kind == Kind::Trunk && direction == "sendonly";
        reoffer(world, peer, place, direction, address);
        world.phone.speaking = music;
        world.run(millis(300));
        let (user, before) = (world.user_heard.len(), world.phone_heard.len());
        world.run(millis(400));
        assert_eq!(world.phone_heard.len(), before, "{cell:?}: who holds hears nothing");
        let level = level_dbov(&decode_opus(&world.user_heard[user..]));
        assert_eq!(level > -35.0, music, "{cell:?}: {level} dB of music");
        reoffer(world, peer, place, "sendrecv", "");
        world.phone.speaking = true;
        assert_talk(world, &cell);
        assert_cell(world, &cell);
    }
}

/// It is the other one that talks from now on.
fn change_peer(world: &mut World, peer: Peer, shield: Option<Srtp>) {
    world.shield = shield;
    world.phone_address = OTHER.parse().expect("an address");
    world.phone.header.ssrc = Ssrc(56);
    world.ptime = peer.ptime();
    world.change_voice(peer.codec);
    world.phone.speaking = true;
}

/// The other one answers our offer, in the way of its wire, with a line of this tag.
fn take(world: &mut World, peer: Peer) -> u32 {
    let wanted = if peer.wire.is_some() { Protection::Sdes } else { Protection::Clear };
    let ours = said(world, |report| match report {
        Report::NextOffered { offers, .. } => {
            offers.iter().find(|(way, _)| *way == wanted).map(|(_, sdp)| sdp.clone())
        }
        _ => None,
    });
    let lines = cryptos(&Session::parse(&ours).expect("our offer").media[0]);
    let tag = lines.iter().find(|it| Some(it.suite) == peer.wire).map_or(1, |it| it.tag);
    world.order(Order::TakeNext { sdp: peer.sdp(Place::Other, "sendrecv", tag) });
    change_peer(world, peer, peer.shield(tag, &ours));
    tag
}

/// Our answer to the offer of the other one.
fn answered(world: &World) -> String {
    said(world, |report| match report {
        Report::NextAnswered { sdp } => Some(sdp.clone()),
        _ => None,
    })
}

/// Goes that way; the tag of the key that the other one has now.
fn go(world: &mut World, (before, way, after): (Peer, Way, Peer)) -> u32 {
    match way {
        Way::Blind | Way::Attended | Way::SemiAttended => {
            if let Way::Attended = way {
                // Who asks has the user on hold meanwhile.
                reoffer(world, before, (Place::First, 1), "sendonly", "");
                world.phone.speaking = false;
                world.run(millis(300));
            }
            if let Way::SemiAttended = way {
                world.phone.speaking = false;
                world.run(millis(1000));
            }
            world.order(Order::OfferToNext);
            world.run(millis(100));
            return take(world, after);
        }
        Way::TakeOver => {
            world.order(Order::AnswerNext { offer: after.sdp(Place::Other, "sendrecv", 1) });
            let ours = answered(world);
            change_peer(world, after, after.shield(1, &ours));
        }
        Way::Parked => {
            let hold = Clip::of(&Tone::read("500/200").expect("a tone"));
            world.order(Order::LeavePhone);
            world.order(Order::Play { towards: Side::Meta, clip: hold, repeat: Repeat::Forever });
            world.phone.speaking = false;
            let (user, left) = (world.user_heard.len(), world.phone_heard.len());
            world.run(millis(1000));
            let heard = level_dbov(&decode_opus(&world.user_heard[user..]));
            assert!(heard > -25.0, "{before:?} parked: {heard} dB of hold audio");
            assert_eq!(world.phone_heard.len(), left, "{before:?} parked: nothing goes to who has left");
            world.order(Order::PrepareNext { offer: after.sdp(Place::Other, "sendrecv", 1) });
            world.run(millis(60));
            let ours = answered(world);
            world.order(Order::SwitchToNext);
            world.order(Order::StopPlaying { towards: Side::Meta });
            change_peer(world, after, after.shield(1, &ours));
        }
    }
    1
}

/// Every cell of one column.
fn column(way: Way, seed: u64) {
    for (at, (before, after)) in (seed..).zip(pairs()) {
        let cell = (before, way, after);
        let mut world = talking(at, before);
        go(&mut world, cell);
        assert_talk(&mut world, &cell);
        assert_cell(&world, &cell);
    }
}

#[test]
fn the_matrix_has_every_pair_of_kinds_codecs_and_wires() {
    let all = pairs();
    let count = |which: &dyn Fn(&(Peer, Peer)) -> bool| all.iter().filter(|it| which(it)).count();
    assert_eq!(count(&|(one, two)| one.wire.or(two.wire).is_none()), 64);
    assert_eq!(count(&|(one, two)| one.wire.or(two.wire).is_some()), 64);
    for before in WIRES {
        for after in WIRES {
            let kinds: BTreeSet<_> = all
                .iter()
                .filter(|(one, two)| (one.wire, two.wire) == (before, after))
                .map(|(one, two)| format!("{:?} {:?}", one.kind, two.kind))
                .collect();
            assert_eq!(kinds.len(), 4, "{before:?} {after:?}");
        }
    }
}

#[test]
fn invariant_6_hold_and_resume_in_every_way_codec_and_wire_leave_the_users_line_whole() {
    for (seed, peer) in (500..).zip(peers(&WIRES)) {
        let mut world = talking(seed, peer);
        hold_and_resume(&mut world, peer, (Place::First, 1));
    }
}

#[test]
fn invariant_6_a_blind_transfer_between_any_two_leaves_the_users_line_whole() {
    column(Way::Blind, 1000);
}

#[test]
fn invariant_6_an_attended_transfer_between_any_two_leaves_the_users_line_whole() {
    column(Way::Attended, 2000);
}

#[test]
fn invariant_6_a_transfer_to_whom_it_still_rings_leaves_the_users_line_whole() {
    column(Way::SemiAttended, 3000);
}

#[test]
fn invariant_6_a_call_taken_over_by_any_two_leaves_the_users_line_whole() {
    column(Way::TakeOver, 4000);
}

#[test]
fn invariant_6_a_call_parked_by_one_and_fetched_by_any_leaves_the_users_line_whole() {
    column(Way::Parked, 5000);
}

#[test]
fn invariant_6_who_got_the_call_holds_it_and_hands_it_on_and_the_line_is_still_one() {
    let first = Peer { kind: Kind::Phone, codec: AudioCodec::Pcmu, wire: None };
    for (seed, peer) in (700..).zip(peers(&WIRES)) {
        let mut world = talking(seed, first);
        let tag = go(&mut world, (first, Way::Attended, peer));
        assert_talk(&mut world, &peer);
        hold_and_resume(&mut world, peer, (Place::Other, tag));
        // And back to the first phone, with another codec than it had.
        world.order(Order::OfferToNext);
        world.order(Order::TakeNext { sdp: codec_sdp(AudioCodec::Pcma, "sendrecv", 20) });
        (world.shield, world.ptime) = (None, 20);
        world.phone_address = PHONE.parse().expect("an address");
        world.phone.header.ssrc = Ssrc(57);
        world.change_voice(AudioCodec::Pcma);
        assert_talk(&mut world, &peer);
        assert_cell(&world, &peer);
    }
}
