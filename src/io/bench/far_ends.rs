//! The far ends, in a process of their own so that they cost the gateway nothing.
//!
//! Protocol: a line with both offers in hexadecimal comes in, a line with both answers goes out. A gateway
//! that stands between and offers nothing itself: the line `offer` comes in, the user's offer goes out; a line
//! with that gateway's offer to the phone comes in, the phone's answer goes out; a line with its answer to the
//! user comes in. The line `heard` asks for the packets that came since it was asked last. When the input ends,
//! so does the process.

use std::io::{BufRead, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use crate::media::dtls::Identity;
use crate::media::webrtc_leg::{Received, WebRtcLeg, WebRtcSettings};
use crate::random::Random;
use crate::rtp::{PayloadType, RtpHeader, RtpTime, SeqNo, Ssrc};
use crate::sdp::audio::RemoteAudio;
use crate::sdp::webrtc::FingerprintCase;

use super::sound::{FRAMES, Sound};

/// A frame of every call.
pub const FRAME: Duration = Duration::from_millis(20);

/// Where in the 20 ms a call speaks: calls do not speak in step.
#[must_use]
pub const fn offset(call: usize) -> Duration {
    Duration::from_micros(call as u64 * 7_300 % 20_000)
}

/// What the phones speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PhoneSpeech {
    /// G.711.
    Pcmu,
    /// Opus, the user's own packets, where the gateway offers it; else G.711.
    Opus,
    /// Nothing, and neither do the users: what a set-up costs without the talk.
    Nothing,
}

/// A line of the protocol.
enum Line {
    /// Both offers of a gateway.
    Offers(String, String),
    /// The user shall offer.
    Offer,
    /// An offer for the phone.
    ForPhone(String),
    /// The answer for the user.
    ForUser(String),
    /// How many packets came, of all calls?
    Heard,
}

impl Line {
    fn read(line: &str) -> Self {
        let mut words = line.split(' ');
        match (words.next().unwrap_or_default(), words.next()) {
            ("offer", None) => Self::Offer,
            ("heard", None) => Self::Heard,
            ("phone", Some(offer)) => Self::ForPhone(text(offer)),
            ("user", Some(answer)) => Self::ForUser(text(answer)),
            (meta, phone) => Self::Offers(text(meta), text(phone.expect("two offers"))),
        }
    }
}

/// A user and a phone of one call.
struct Ends {
    user: WebRtcLeg,
    user_socket: UdpSocket,
    phone: UdpSocket,
    gateway: SocketAddr,
    /// The payload type of Opus, if the phone speaks it.
    phone_opus: Option<u8>,
    sent: usize,
    /// RTP packets that came and could be read, both ends together.
    heard: u64,
    next: Instant,
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("a socket that does not block");
    socket
}

fn text(hexadecimal: &str) -> String {
    String::from_utf8(hex::decode(hexadecimal).expect("our own hexadecimal")).expect("our own text")
}

impl Ends {
    fn new(call: u32, identity: &Arc<Identity>) -> Self {
        let (user_socket, phone) = (socket(), socket());
        let local = user_socket.local_addr().expect("it is bound");
        let settings = WebRtcSettings {
            local,
            candidates: vec![local],
            identity: Arc::clone(identity),
            ssrc: Ssrc(call),
            cname: "user".to_owned(),
            fingerprint_case: FingerprintCase::Lower,
        };
        let user = WebRtcLeg::new(settings, Random::from_number(call.into()));
        let next = Instant::now() + offset(call as usize);
        Self { user, user_socket, phone, gateway: local, phone_opus: None, sent: 0, heard: 0, next }
    }

    /// The user answers a gateway's offer.
    fn answer_user(&mut self, offer: &str) -> String {
        let answer = self.user.answer(Instant::now(), offer).expect("the gateway's own offer");
        self.user.start_dtls(Instant::now());
        answer
    }

    /// The user takes a gateway's answer.
    fn take_answer(&mut self, answer: &str) {
        self.user.apply_answer(Instant::now(), answer).expect("an answer to the user's offer");
        self.user.start_dtls(Instant::now());
    }

    /// The phone answers a gateway's offer.
    fn answer_phone(&mut self, offer: &str, speech: PhoneSpeech) -> String {
        self.phone_opus = opus_in(offer).filter(|_| speech == PhoneSpeech::Opus);
        let codec = self.phone_opus.map_or_else(
            || "0".to_owned(),
            |payload_type| format!("{payload_type}\r\na=rtpmap:{payload_type} opus/48000/2"),
        );
        self.gateway = RemoteAudio::read(offer).expect("the gateway's own offer").rtp;
        format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {} RTP/AVP {codec}\r\n",
            self.phone.local_addr().expect("it is bound").port()
        )
    }

    fn listen(&mut self, now: Instant) {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = self.user_socket.recv_from(&mut bytes) {
            if matches!(self.user.handle_datagram(now, from, &bytes[..length]), Received::Rtp(_)) {
                self.heard += 1;
            }
        }
        while self.phone.recv_from(&mut bytes).is_ok() {
            self.heard += 1;
        }
        if self.user.poll_timeout().is_some_and(|at| at <= now) {
            self.user.handle_timeout(now);
        }
        while let Some((to, datagram)) = self.user.poll_transmit() {
            let _ = self.user_socket.send_to(&datagram, to);
        }
        while self.user.poll_event().is_some() {}
    }

    fn speak(&mut self, sound: &Sound) {
        let header = |payload_type, ticks: u32| RtpHeader {
            marker: false,
            payload_type: PayloadType(payload_type),
            seq: SeqNo((self.sent & 0xffff) as u16),
            timestamp: RtpTime((self.sent as u32).wrapping_mul(ticks)),
            ssrc: Ssrc(9),
        };
        let at = self.sent % FRAMES;
        let packet = match self.phone_opus {
            Some(payload_type) => [&header(payload_type, 960).to_bytes()[..], &sound.user[at]].concat(),
            None => [&header(0, 160).to_bytes()[..], &sound.phone[at]].concat(),
        };
        let _ = self.phone.send_to(&packet, self.gateway);
        let packet = [&header(111, 960).to_bytes()[..], &sound.user[at]].concat();
        if let Some((to, sealed)) = self.user.protect_rtp(&packet) {
            let _ = self.user_socket.send_to(sealed, to);
        }
        self.sent += 1;
    }
}

/// The payload type under which an offer has Opus.
fn opus_in(offer: &str) -> Option<u8> {
    let maps = offer.lines().filter_map(|line| line.strip_prefix("a=rtpmap:")?.split_once(' '));
    maps.filter(|(_, codec)| codec.starts_with("opus/48000")).find_map(|(number, _)| number.parse().ok())
}

fn lines() -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Does what a line says; what is to be said to it.
fn obey(line: &Line, calls: &mut Vec<Ends>, identity: &Arc<Identity>, speech: PhoneSpeech) -> Option<String> {
    if matches!(line, Line::Offers(..) | Line::Offer) {
        calls.push(Ends::new(calls.len() as u32 + 1, identity));
    }
    if matches!(line, Line::Heard) {
        return Some(calls.iter_mut().map(|ends| std::mem::take(&mut ends.heard)).sum::<u64>().to_string());
    }
    let ends = calls.last_mut().expect("a call was begun");
    match line {
        Line::Heard => None,
        Line::Offers(meta, phone) => {
            let (user, phone) = (ends.answer_user(meta), ends.answer_phone(phone, speech));
            Some(format!("{} {}", hex::encode(user), hex::encode(phone)))
        }
        Line::Offer => Some(hex::encode(ends.user.offer())),
        Line::ForPhone(offer) => Some(hex::encode(ends.answer_phone(offer, speech))),
        Line::ForUser(answer) => {
            ends.take_answer(answer);
            None
        }
    }
}

/// Runs until the input ends.
///
/// # Panics
/// If there are no ports, or what comes in is not of the protocol above.
pub fn run(speech: PhoneSpeech) {
    let sound = Sound::new();
    let identity = Arc::new(Identity::generate().expect("cryptography works"));
    let mut calls: Vec<Ends> = Vec::new();
    let offers = lines();
    let mut listen_at = Instant::now();
    loop {
        match offers.try_recv() {
            Ok(line) => {
                if let Some(answer) = obey(&Line::read(&line), &mut calls, &identity, speech) {
                    let mut out = std::io::stdout().lock();
                    let _ = writeln!(out, "{answer}").and_then(|()| out.flush());
                }
            }
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        let now = Instant::now();
        if listen_at <= now {
            calls.iter_mut().for_each(|ends| ends.listen(now));
            listen_at = now + Duration::from_millis(5);
        }
        let due = calls.iter_mut().filter(|ends| speech != PhoneSpeech::Nothing && ends.next <= now);
        for ends in due {
            ends.speak(&sound);
            ends.next += FRAME;
        }
        let speeches = calls.iter().map(|ends| ends.next).filter(|_| speech != PhoneSpeech::Nothing);
        let next = speeches.chain([listen_at]).min().unwrap_or(listen_at);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
