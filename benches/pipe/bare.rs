//! The sockets and the SRTP of the packets, and nothing else.

use std::hint::black_box;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use cordboard::io::bench::sound::{FRAMES, Sound};
use cordboard::io::media::sys::{Batch, stamp_datagrams};
use cordboard::media::srtp::{Srtp, SrtpKeys, SrtpProfile};
use cordboard::rtp::{PayloadType, RtpHeader, RtpTime, SeqNo, Ssrc};

use crate::process;

/// One call's sockets and keys.
struct Call {
    user: (UdpSocket, SocketAddr),
    phone: (UdpSocket, SocketAddr),
    ours: Srtp,
    theirs: Srtp,
}

fn socket() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
    socket.set_nonblocking(true).expect("a socket that does not block");
    stamp_datagrams(socket.as_raw_fd()).expect("time stamps");
    let own = socket.local_addr().expect("it is bound");
    (socket, own)
}

fn srtp(client: bool) -> Srtp {
    let keys =
        SrtpKeys::from_exported(SrtpProfile::Aes128CmSha1_80, &[7; 60], client).expect("2 x (16 + 14)");
    Srtp::new(keys).expect("sound keys")
}

/// Processor time of `calls` calls of `seconds` each whose Opus packets are only received, protected or
/// unprotected, and sent: per packet one receive with a time stamp, one SRTP operation and one send.
pub(crate) fn sockets_and_srtp(sound: &Sound, calls: usize, seconds: usize) -> Duration {
    let make = |_| Call { user: socket(), phone: socket(), ours: srtp(true), theirs: srtp(false) };
    let mut calls: Vec<Call> = (0..calls).map(make).collect();
    let mut batch = Batch::new();
    let mut spent = Duration::ZERO;
    for at in 0..seconds * 50 {
        for call in &mut calls {
            let header = RtpHeader {
                marker: false,
                payload_type: PayloadType(111),
                seq: SeqNo((at & 0xffff) as u16),
                timestamp: RtpTime((at as u32).wrapping_mul(960)),
                ssrc: Ssrc(5),
            };
            let packet = [&header.to_bytes()[..], &sound.user[at % FRAMES]].concat();
            // What the user sealed is the user's work, not the gateway's.
            let sealed = call.theirs.protect_rtp(&packet).expect("an RTP packet");
            let before = process::thread_clock();
            forward(&call.user, &sealed, &mut batch, |bytes| drop(black_box(call.ours.unprotect_rtp(bytes))));
            forward(&call.phone, &packet, &mut batch, |bytes| drop(black_box(call.ours.protect_rtp(bytes))));
            spent += process::thread_clock().saturating_sub(before);
        }
    }
    spent
}

/// Sends to the socket itself and takes it out again: one send, its delivery, one receive, one piece of work.
fn forward(
    (socket, own): &(UdpSocket, SocketAddr),
    bytes: &[u8],
    batch: &mut Batch,
    mut work: impl FnMut(&[u8]),
) {
    socket.send_to(bytes, own).expect("loopback takes it");
    batch.receive(socket).expect("it is there");
    batch.datagrams().for_each(|datagram| work(datagram.bytes));
}
