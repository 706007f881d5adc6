//! The matrix with real peers: what baresip, as a phone and as a PBX, can do to a call in each codec, and what the
//! WhatsApp user's side judges of the line that it receives. Each test prints its part of the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::attended::replaces;
use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{PASSWORD, Setup, sample, scrape};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::simulator::MetaCall;
use crate::rig::sound::{OTHER_HZ, PHONE_HZ, TRUNK_HZ, tenths_of};
use crate::rig::{USER, World};

/// A second and a half of talking.
const TALK: u64 = 75;
const CODECS: [&str; 4] = ["PCMU", "PCMA", "G722", "opus"];
/// A cell with a longer gap than the machine's own is played again.
const TRIES: usize = 3;
/// The longest silence towards the user.
const GAP: Duration = Duration::from_millis(60);

/// The gateway of every cell: the trunk may transfer, and a group has hold audio and a place to park.
const DESK: Setup = Setup {
    ring: r#""phone:1001""#,
    media: "",
    calls: "",
    number: "[[group]]\nname = \"desk\"\nmembers = [\"phone:1001\", \"phone:1002\"]\n[sounds]\nhold = \"tone:1700/500\"\n",
    trunk: "refer = true",
    probe: "enabled = false",
    phone: "",
    front_desk: "",
    recording: "",
    api: false,
    aiortc: false,
};

/// The same where the trunk takes the calls.
const BEHIND_TRUNK: Setup = Setup { ring: r#""trunk:pbx/200""#, ..DESK };

/// Keys of the trunk in SIP that nobody can read here but we.
const ENCRYPTED_TRUNK: Setup =
    Setup { trunk: "refer = true\nsrtp = \"required\"\nsrtp_keys_in_clear = true", ..BEHIND_TRUNK };
const ENCRYPTED_PHONES: Setup = Setup { phone: "srtp = \"required\"\nsrtp_keys_in_clear = true", ..DESK };

/// A peer of a cell.
#[derive(Clone, Copy)]
struct Peer {
    codec: &'static str,
    encryption: &'static str,
}

impl Peer {
    fn name(self) -> String {
        let wire = if self.encryption.is_empty() { "" } else { " SRTP" };
        format!("{}{wire}", self.codec)
    }
}

fn trunk(world: &mut World, on_ring: OnRing, peer: Peer) -> Phone {
    let (folder, at) = (world.folder().to_owned(), world.layout.trunk.clone());
    Phone::trunk(&folder, &mut world.ports, &at, on_ring, peer.codec, peer.encryption)
}

fn phone(world: &mut World, peer: Peer) -> Phone {
    let Peer { codec, encryption } = peer;
    world.start_phone(OnRing::Answer, codec, PASSWORD, "udp", encryption).registered()
}

/// What the user's side says of the line that it received.
struct Judged {
    told: Value,
}

impl Judged {
    fn number(&self, key: &str) -> u64 {
        self.told["rtp"][key].as_u64().unwrap_or(0)
    }

    fn sources(&self) -> u64 {
        let it = &self.told["rtp"]["ssrcs"];
        it.as_array().map_or_else(|| it.as_u64().unwrap_or(0), |list| list.len() as u64)
    }

    /// Everything but the gap, which a busy machine makes, too.
    #[track_caller]
    fn assert_whole(&self, cell: &str) {
        let breaks = ["seq_breaks", "timestamp_breaks", "lost"].map(|key| self.number(key));
        assert_eq!((self.sources(), breaks), (1, [0; 3]), "{cell}: {}", self.told["rtp"]);
    }

    #[expect(clippy::print_stdout, reason = "the table is what this is for")]
    fn print(&self, cell: &str, machine: Duration, tries: usize) {
        println!(
            "| {cell} | {} | {} | {} | {} | {} ms | {} ms | {tries} |",
            self.sources(),
            self.number("received"),
            self.number("seq_breaks"),
            self.number("timestamp_breaks"),
            self.number("max_gap_ms"),
            machine.as_millis(),
        );
    }
}

/// How long this machine lets a thread wait that asks for nothing but 5 ms of sleep: gaps that are not ours.
struct Metronome {
    stop: Arc<AtomicBool>,
    beats: JoinHandle<Duration>,
}

impl Metronome {
    fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let beats = std::thread::spawn(move || {
            let (mut longest, mut last) = (Duration::ZERO, Instant::now());
            while !stopped.load(Ordering::Relaxed) {
                std::thread::sleep(BEAT);
                let now = Instant::now();
                longest = longest.max((now - last).saturating_sub(BEAT));
                last = now;
            }
            longest
        });
        Self { stop, beats }
    }

    fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.beats.join().expect("it only sleeps")
    }
}

const BEAT: Duration = Duration::from_millis(5);

/// Plays a cell until no gap is longer than 60 ms and what the machine itself let pass, and writes its line of the
/// table.
#[track_caller]
fn cell(name: &str, mut play: impl FnMut() -> Value) {
    for tries in 1..=TRIES {
        let metronome = Metronome::start();
        let judged = Judged { told: play() };
        let machine = metronome.stop();
        judged.assert_whole(name);
        judged.print(name, machine, tries);
        if Duration::from_millis(judged.number("max_gap_ms")) <= GAP + machine {
            return;
        }
    }
    panic!("{name}: a gap over 60 ms in each of {TRIES} calls");
}

/// Ends the call; fails if Meta was told anything but that the call was taken, or if a voice was not heard.
fn over(world: &World, call: &MetaCall<'_>, voices: &[f64]) -> Value {
    call.act("hangup", &json!({}));
    let told = call.wait_over();
    for hz in voices {
        let (theirs, loud) = tenths_of(&call.heard, *hz);
        assert!(theirs >= 5, "{hz} Hz: {theirs} of {loud} loud tenths of a second");
    }
    let asked = asked_of_meta(world);
    assert_eq!(
        asked,
        [("accept".to_owned(), 1.0), ("pre_accept".to_owned(), 1.0)],
        "nothing is renegotiated"
    );
    world.assert_no_violations();
    told
}

/// What was asked of Meta, and how often.
fn asked_of_meta(world: &World) -> Vec<(String, f64)> {
    let text = scrape(&world.layout);
    let asked = text.lines().filter(|line| line.starts_with("cordboard_graph_requests_total{"));
    let mut asked: Vec<(String, f64)> = asked
        .filter_map(|line| {
            let action = line.split_once("action=\"")?.1.split('"').next()?.to_owned();
            sample(line).filter(|count| *count > 0.0).map(|count| (action, count))
        })
        .collect();
    asked.sort_by(|one, two| one.0.cmp(&two.0));
    asked
}

/// A call that rings at the first peer, which takes it.
fn talking<'a>(world: &'a World, first: &mut Phone) -> MetaCall<'a> {
    let call = world.meta.place_call(USER);
    first.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    call
}

fn hold_and_resume(call: &MetaCall<'_>, first: &mut Phone) {
    for order in ["hold", "resume"] {
        let mark = first.mark();
        first.order(order, "");
        first.wait("CALL_REMOTE_SDP", mark);
        call.talk(TALK);
    }
}

#[test]
fn invariant_6_a_phone_holds_and_resumes() {
    let encrypted = [("PCMU", "srtp-mand"), ("opus", "srtp-mand")];
    for (codec, encryption) in CODECS.map(|codec| (codec, "")).into_iter().chain(encrypted) {
        let peer = Peer { codec, encryption };
        cell(&format!("phone {} | hold, resume | the same", peer.name()), || {
            let mut world = World::start(if encryption.is_empty() { &DESK } else { &ENCRYPTED_PHONES });
            let mut first = phone(&mut world, peer);
            let call = talking(&world, &mut first);
            hold_and_resume(&call, &mut first);
            over(&world, &call, &[PHONE_HZ])
        });
    }
}

#[test]
fn invariant_6_a_trunk_holds_and_resumes() {
    let encrypted = [("PCMA", "srtp-mand"), ("G722", "srtp-mand")];
    for (codec, encryption) in CODECS.map(|codec| (codec, "")).into_iter().chain(encrypted) {
        let peer = Peer { codec, encryption };
        cell(&format!("trunk {} | hold, resume | the same", peer.name()), || {
            let mut world =
                World::start(if encryption.is_empty() { &BEHIND_TRUNK } else { &ENCRYPTED_TRUNK });
            let mut first = trunk(&mut world, OnRing::Answer, peer);
            let call = talking(&world, &mut first);
            hold_and_resume(&call, &mut first);
            over(&world, &call, &[TRUNK_HZ])
        });
    }
}

/// The codec of the one who gets the call, so that each pair of neighbours is crossed.
fn next(at: usize) -> Peer {
    Peer { codec: CODECS[(at + 1) % CODECS.len()], encryption: "" }
}

#[test]
fn invariant_6_a_phone_hands_on_to_a_phone_and_to_a_trunk() {
    for (at, codec) in CODECS.into_iter().enumerate() {
        let (before, after) = (Peer { codec, encryption: "" }, next(at));
        cell(&format!("phone {codec} | blind | phone {}", after.name()), || {
            let mut world = World::start(&DESK);
            let mut first = phone(&mut world, before);
            let mut other = world.other_phone(OnRing::Answer, after.codec);
            let call = talking(&world, &mut first);
            first.order("transfer", &world.uri_of("1002"));
            other.wait("CALL_ESTABLISHED", 0);
            call.talk(TALK);
            over(&world, &call, &[PHONE_HZ, OTHER_HZ])
        });
        cell(&format!("phone {codec} | blind | trunk {}", after.name()), || {
            let mut world = World::start(&DESK);
            let mut first = phone(&mut world, before);
            let mut other = trunk(&mut world, OnRing::Answer, after);
            let call = talking(&world, &mut first);
            first.order("transfer", &world.uri_of("0200"));
            other.wait("CALL_ESTABLISHED", 0);
            call.talk(TALK);
            over(&world, &call, &[PHONE_HZ, TRUNK_HZ])
        });
    }
}

#[test]
fn invariant_6_a_trunk_hands_on_to_a_phone() {
    for (at, codec) in CODECS.into_iter().enumerate() {
        let (before, after) = (Peer { codec, encryption: "" }, next(at));
        cell(&format!("trunk {codec} | blind | phone {}", after.name()), || {
            let mut world = World::start(&BEHIND_TRUNK);
            let mut first = trunk(&mut world, OnRing::Answer, before);
            let mut other = world.other_phone(OnRing::Answer, after.codec);
            let call = talking(&world, &mut first);
            first.order("transfer", &world.uri_of("1002"));
            other.wait("CALL_ESTABLISHED", 0);
            call.talk(TALK);
            over(&world, &call, &[TRUNK_HZ, OTHER_HZ])
        });
    }
}

/// The first peer holds its user, asks `other` under `uri`, and joins both.
fn join(world: &World, first: &mut Phone, other: &mut Phone, uri: &str) -> Value {
    let call = talking(world, first);
    first.order("hold", "");
    let mark = first.mark();
    first.order("dial", uri);
    other.wait("CALL_ESTABLISHED", 0);
    first.wait("CALL_ESTABLISHED", mark);
    let before = other.received().0;
    wait_for("they talk", PATIENCE, || (other.received().0 >= before + TALK).then_some(()));
    let (mark, named) = (first.mark(), replaces(first, 1, false));
    first.order("line", "1");
    first.order("transfer", &format!("<{uri}?{named}>"));
    for _ in 0..2 {
        first.wait("CALL_CLOSED", mark);
    }
    call.talk(TALK);
    over(world, &call, &[])
}

#[test]
fn invariant_6_a_phone_asks_first_and_joins_a_phone_or_a_trunk_with_the_user() {
    for (at, codec) in CODECS.into_iter().enumerate() {
        let (before, after) = (Peer { codec, encryption: "" }, next(at));
        cell(&format!("phone {codec} | attended | phone {}", after.name()), || {
            let mut world = World::start(&DESK);
            let mut first = phone(&mut world, before);
            let mut other = world.other_phone(OnRing::Answer, after.codec);
            let uri = world.uri_of("1002");
            join(&world, &mut first, &mut other, &uri)
        });
        cell(&format!("phone {codec} | attended | trunk {}", after.name()), || {
            let mut world = World::start(&DESK);
            let mut first = phone(&mut world, before);
            let mut other = trunk(&mut world, OnRing::Answer, after);
            let uri = world.uri_of("0200");
            join(&world, &mut first, &mut other, &uri)
        });
    }
}

#[test]
fn invariant_6_a_phone_parks_and_another_phone_fetches() {
    for (at, codec) in CODECS.into_iter().enumerate() {
        let (before, after) = (Peer { codec, encryption: "" }, next(at));
        cell(&format!("phone {codec} | parked, fetched | phone {}", after.name()), || {
            let mut world = World::start(&DESK);
            let mut first = phone(&mut world, before);
            let mut other = world.other_phone(OnRing::Answer, after.codec);
            let call = talking(&world, &mut first);
            first.order("transfer", &world.uri_of("*68"));
            first.wait("CALL_CLOSED", 0);
            call.talk(TALK);
            other.order("dial", &world.uri_of("*85701"));
            other.wait("CALL_ESTABLISHED", 0);
            call.talk(TALK);
            over(&world, &call, &[PHONE_HZ, 1700.0, OTHER_HZ])
        });
    }
}
