//! The far ends, in a process of their own so that they cost the gateway nothing.
//!
//! Protocol: a line with both offers in hexadecimal comes in, a line with both answers goes out; when
//! the input ends, so does the process.

use std::io::{BufRead, Write};
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant};

use crate::media::dtls::Identity;
use crate::media::webrtc_leg::{WebRtcLeg, WebRtcSettings};
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
    fn meet(line: &str, call: u32, identity: &Arc<Identity>, speech: PhoneSpeech) -> (Self, String) {
        let (meta, phone) = line.split_once(' ').expect("two offers");
        let (user_socket, phone_socket) = (socket(), socket());
        let local = user_socket.local_addr().expect("it is bound");
        let settings = WebRtcSettings {
            local,
            candidates: vec![local],
            identity: Arc::clone(identity),
            ssrc: Ssrc(call),
            cname: "user".to_owned(),
            fingerprint_case: FingerprintCase::Lower,
        };
        let mut user = WebRtcLeg::new(settings, Random::from_number(call.into()));
        let answer = user.answer(Instant::now(), &text(meta)).expect("the gateway's own offer");
        user.start_dtls(Instant::now());
        let offer = text(phone);
        let phone_opus = opus_in(&offer).filter(|_| speech == PhoneSpeech::Opus);
        let codec = phone_opus.map_or_else(
            || "0".to_owned(),
            |payload_type| format!("{payload_type}\r\na=rtpmap:{payload_type} opus/48000/2"),
        );
        let phone_answer = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
             m=audio {} RTP/AVP {codec}\r\n",
            phone_socket.local_addr().expect("it is bound").port()
        );
        let gateway = RemoteAudio::read(&offer).expect("the gateway's own offer").rtp;
        let answers = format!("{} {}", hex::encode(answer), hex::encode(phone_answer));
        let next = Instant::now() + offset(call as usize);
        (Self { user, user_socket, phone: phone_socket, gateway, phone_opus, sent: 0, next }, answers)
    }

    fn listen(&mut self, now: Instant) {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = self.user_socket.recv_from(&mut bytes) {
            let _ = self.user.handle_datagram(now, from, &bytes[..length]);
        }
        while self.phone.recv_from(&mut bytes).is_ok() {}
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
                let (ends, answers) = Ends::meet(&line, calls.len() as u32 + 1, &identity, speech);
                calls.push(ends);
                let mut out = std::io::stdout().lock();
                let _ = writeln!(out, "{answers}").and_then(|()| out.flush());
            }
            Err(TryRecvError::Disconnected) => return,
            Err(TryRecvError::Empty) => {}
        }
        let now = Instant::now();
        if listen_at <= now {
            calls.iter_mut().for_each(|ends| ends.listen(now));
            listen_at = now + Duration::from_millis(5);
        }
        for ends in calls.iter_mut().filter(|ends| ends.next <= now) {
            ends.speak(&sound);
            ends.next += FRAME;
        }
        let next = calls.iter().map(|ends| ends.next).chain([listen_at]).min().unwrap_or(listen_at);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}
