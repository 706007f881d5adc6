//! Sockets with the options that SIP wants.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Connections that wait to be taken.
const BACKLOG: i32 = 1024;
/// A peer that is gone without a word is noticed after about two minutes, and one that does not acknowledge what
/// was sent after half a minute.
const KEEP_ALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(60))
    .with_interval(Duration::from_secs(15))
    .with_retries(4);
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);
/// What a UDP socket holds while the loop is busy: some thousand messages, as when every phone of a site registers at
/// once after a power cut. The usual 200 KiB are a hundred of them, and each one lost costs its sender half a second.
/// The system may grant less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 4 << 20;

/// `[::]` takes IPv6 only, so that `0.0.0.0` can stand beside it and IPv4 peers are seen by their own addresses.
fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
}

pub(super) fn udp(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = socket(address, Type::DGRAM, Protocol::UDP)?;
    // Less is no reason not to start.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

pub(super) fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, Type::STREAM, Protocol::TCP)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// A message leaves at once, and the system watches the peer.
pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&KEEP_ALIVE)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}
