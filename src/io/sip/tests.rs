//! Real sockets on loopback, every port given by the system.

mod framing;

use std::net::Ipv4Addr;
use std::path::Path;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::*;
use crate::io::certificates::{CertificateFiles, Listening, reload_when_changed};
use crate::io::tls::{ClientCertificates, client_config};
use crate::sip::DefenceSettings;

const OPTIONS: &str = "OPTIONS sip:gw SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\nl: 4\r\n\r\nbody";
const OK: &str = "SIP/2.0 200 OK\r\nl: 0\r\n\r\n";
/// Nothing here waits so long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        all: 100,
        per_address: 50,
        idle: Duration::from_secs(120),
        connect: Duration::from_secs(2),
        message: 65_536,
    }
}

fn settings(streams: &[Transport]) -> SocketSettings {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    SocketSettings {
        udp: vec![any],
        streams: streams.iter().map(|it| (*it, any)).collect(),
        tls: None,
        trunks: HashMap::new(),
        named_trunks: HashMap::new(),
        door: Door::default(),
        limits: limits(),
    }
}

fn address(sockets: &Sockets, transport: Transport) -> SocketAddr {
    sockets.addresses().find(|(it, _)| *it == transport).expect("bound").1
}

async fn arrival(sockets: &mut Sockets) -> Arrival {
    tokio::time::timeout(PATIENCE, sockets.next()).await.expect("something comes")
}

async fn message(sockets: &mut Sockets) -> (Flow, String) {
    match arrival(sockets).await {
        Arrival::Message(flow, bytes) => (flow, String::from_utf8(bytes).expect("text")),
        other => panic!("{other:?}"),
    }
}

/// What the peer hears until it has `wanted`, while the loop runs as it does in the process.
async fn hears(sockets: &mut Sockets, peer: &mut (impl AsyncRead + Unpin), wanted: &str) {
    let mut heard = vec![0; wanted.len()];
    tokio::select! {
        read = peer.read_exact(&mut heard) => {
            read.expect("the peer is answered");
            assert_eq!(String::from_utf8_lossy(&heard), wanted);
        }
        arrival = arrival(sockets) => panic!("{arrival:?}"),
    }
}

/// A certificate for localhost and 127.0.0.1 in files of a folder.
fn certificate(folder: &Path) -> (std::path::PathBuf, std::path::PathBuf) {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("made");
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
    (certificate, key)
}

fn secure(folder: &Path, transport: Transport, clients: ClientCertificates) -> SocketSettings {
    let (certificate, key) = certificate(folder);
    let files = CertificateFiles { listening: Listening::Sip, certificate, key, clients };
    SocketSettings { tls: Some(reload_when_changed(files).expect("usable")), ..settings(&[transport]) }
}

async fn tls_to(at: SocketAddr, folder: &Path) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let config = client_config(Some(&folder.join("certificate.pem")), None).expect("usable");
    let stream = TcpStream::connect(at).await?;
    TlsConnector::from(config).connect("localhost".try_into().expect("a name"), stream).await
}

async fn exchange(
    sockets: &mut Sockets,
    mut peer: impl AsyncRead + AsyncWrite + Unpin,
    transport: Transport,
) {
    let (first, rest) = OPTIONS.split_at(70);
    peer.write_all(first.as_bytes()).await.expect("sent");
    peer.flush().await.expect("sent");
    peer.write_all(rest.as_bytes()).await.expect("sent");
    let (flow, text) = message(sockets).await;
    assert_eq!((flow.transport, text.as_str()), (transport, OPTIONS));
    assert_eq!(flow.local, address(sockets, transport));
    sockets.send(flow, OK.into()).expect("sent");
    hears(sockets, &mut peer, OK).await;
    peer.write_all(b"\r\n\r\n").await.expect("sent");
    hears(sockets, &mut peer, "\r\n").await;
    drop(peer);
    assert_eq!(arrival(sockets).await, Arrival::Closed(flow));
    assert!(matches!(sockets.send(flow, OK.into()), Err(Unsent::Closed)));
    assert_eq!(arrival(sockets).await, Arrival::Closed(flow));
}

#[tokio::test]
async fn a_peer_by_tcp_is_heard_answered_ponged_and_missed_when_it_goes() {
    let mut sockets = Sockets::bind(settings(&[Transport::Tcp])).expect("bound");
    let peer = TcpStream::connect(address(&sockets, Transport::Tcp)).await.expect("taken");
    exchange(&mut sockets, peer, Transport::Tcp).await;
    assert!(sockets.figures().open.iter().all(|(_, count)| *count == 0));
}

#[tokio::test]
async fn a_peer_inside_tls_is_heard_and_answered_on_its_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let settings = secure(folder.path(), Transport::Tls, ClientCertificates::Unasked);
    let mut sockets = Sockets::bind(settings).expect("bound");
    let at = address(&sockets, Transport::Tls);
    let peer = tokio::select! {
        peer = tls_to(at, folder.path()) => peer.expect("the certificate is good"),
        arrival = arrival(&mut sockets) => panic!("{arrival:?}"),
    };
    exchange(&mut sockets, peer, Transport::Tls).await;
}

#[tokio::test]
async fn who_must_show_a_certificate_and_shows_none_is_not_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let authorities = folder.path().join("certificate.pem");
    let settings = secure(folder.path(), Transport::Tls, ClientCertificates::Required(authorities));
    let mut sockets = Sockets::bind(settings).expect("bound");
    let at = address(&sockets, Transport::Tls);
    let peer = async {
        // With TLS 1.3 the client learns of the refusal only when it reads.
        let Ok(mut peer) = tls_to(at, folder.path()).await else { return };
        let _ = peer.write_all(OPTIONS.as_bytes()).await;
        assert!(peer.read_u8().await.is_err());
    };
    let (arrived, ()) = tokio::join!(arrival(&mut sockets), peer);
    assert!(matches!(arrived, Arrival::Closed(_)), "{arrived:?}");
    assert_eq!(sockets.figures().broken, 1);
}

#[tokio::test]
async fn a_browser_phone_speaks_by_websocket_if_it_offers_the_subprotocol() {
    let mut sockets = Sockets::bind(settings(&[Transport::Ws])).expect("bound");
    let at = address(&sockets, Transport::Ws);
    let dial = |protocol: &'static str| async move {
        let stream = TcpStream::connect(at).await.expect("taken");
        let mut request = format!("ws://{at}/").into_client_request().expect("a request");
        request.headers_mut().insert("Sec-WebSocket-Protocol", HeaderValue::from_static(protocol));
        tokio_tungstenite::client_async(request, stream).await
    };
    let (refused, arrived) = tokio::join!(dial("chat"), arrival(&mut sockets));
    assert!(matches!(refused, Err(WsError::Http(it)) if it.status() == 400));
    assert!(matches!(arrived, Arrival::Closed(_)), "{arrived:?}");

    let (mut peer, answer) = tokio::select! {
        peer = dial("chat, sip") => peer.expect("agreed"),
        arrival = arrival(&mut sockets) => panic!("{arrival:?}"),
    };
    assert_eq!(answer.headers().get("Sec-WebSocket-Protocol").expect("told"), "sip");
    // A message ends with its WebSocket message, whatever Content-Length says or does not say (RFC 7118 §5).
    let unmeasured = OPTIONS.replace("l: 4\r\n", "");
    peer.send(Message::text(unmeasured.clone())).await.expect("sent");
    let (flow, text) = message(&mut sockets).await;
    assert_eq!((flow.transport, text), (Transport::Ws, unmeasured));
    sockets.send(flow, OK.into()).expect("sent");
    peer.send(Message::text("\r\n\r\n")).await.expect("sent");
    for wanted in [OK, "\r\n"] {
        let heard = tokio::select! {
            heard = peer.next() => heard.expect("open").expect("good"),
            arrival = arrival(&mut sockets) => panic!("{arrival:?}"),
        };
        assert_eq!(heard, Message::text(wanted));
    }
    peer.close(None).await.expect("closed");
    assert_eq!(arrival(&mut sockets).await, Arrival::Closed(flow));
}

#[tokio::test]
async fn one_connection_too_many_is_closed_and_its_place_can_be_had_when_another_goes() {
    let limits = ConnectionLimits { per_address: 1, ..limits() };
    let mut sockets = Sockets::bind(SocketSettings { limits, ..settings(&[Transport::Tcp]) }).expect("bound");
    let at = address(&sockets, Transport::Tcp);
    let mut first = TcpStream::connect(at).await.expect("taken");
    first.write_all(OPTIONS.as_bytes()).await.expect("sent");
    message(&mut sockets).await;
    let mut second = TcpStream::connect(at).await.expect("taken by the system");
    let ended = async { matches!(second.read(&mut [0]).await, Ok(0) | Err(_)) };
    tokio::select! {
        ended = ended => assert!(ended),
        arrival = arrival(&mut sockets) => panic!("{arrival:?}"),
    }
    assert_eq!(sockets.figures().refused, 1);
    drop(first);
    assert!(matches!(arrival(&mut sockets).await, Arrival::Closed(_)));
    let mut third = TcpStream::connect(at).await.expect("taken");
    third.write_all(OPTIONS.as_bytes()).await.expect("sent");
    message(&mut sockets).await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_loses_its_connection_and_another_notices_nothing() {
    let mut sockets = Sockets::bind(settings(&[Transport::Tcp])).expect("bound");
    let at = address(&sockets, Transport::Tcp);
    let mut deaf = TcpStream::connect(at).await.expect("taken");
    deaf.write_all(OPTIONS.as_bytes()).await.expect("sent");
    let (flow, _) = message(&mut sockets).await;
    // More than the queue and what the system holds for a peer that never reads.
    let large = vec![b'x'; 60_000];
    let choked = (0..10_000).find_map(|_| sockets.send(flow, large.clone()).err());
    assert!(matches!(choked, Some(Unsent::Choked)), "{choked:?}");
    assert_eq!(arrival(&mut sockets).await, Arrival::Closed(flow));
    assert_eq!(sockets.figures().choked, 1);
    let peer = TcpStream::connect(at).await.expect("taken");
    exchange(&mut sockets, peer, Transport::Tcp).await;
}

#[tokio::test]
async fn a_connection_of_ours_is_opened_by_the_first_message_used_by_the_next_and_opened_again() {
    let mut sockets = Sockets::bind(settings(&[])).expect("bound");
    let trunk = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
    let flow = Flow::dialled(Transport::Tcp, trunk.local_addr().expect("bound"));
    for _ in 0..2 {
        sockets.send(flow, OPTIONS.into()).expect("queued");
        sockets.send(flow, OPTIONS.into()).expect("queued");
        let (mut peer, _) = tokio::select! {
            peer = trunk.accept() => peer.expect("opened"),
            arrival = arrival(&mut sockets) => panic!("{arrival:?}"),
        };
        hears(&mut sockets, &mut peer, &OPTIONS.repeat(2)).await;
        peer.write_all(OPTIONS.as_bytes()).await.expect("sent");
        assert_eq!(message(&mut sockets).await, (flow, OPTIONS.to_owned()));
        drop(peer);
        assert_eq!(arrival(&mut sockets).await, Arrival::Closed(flow));
    }
}

#[tokio::test]
async fn a_trunk_that_is_not_there_or_cannot_prove_its_name_is_told_as_closed() {
    let folder = tempfile::tempdir().expect("a folder");
    let secured = secure(folder.path(), Transport::Tls, ClientCertificates::Unasked);
    let mut trunk = Sockets::bind(secured).expect("bound");
    let at = address(&trunk, Transport::Tls);
    let towards = |name: &str, ca: Option<&Path>| TrunkTls {
        name: name.to_owned().try_into().expect("a name"),
        config: client_config(ca, None).expect("usable"),
    };
    let ca = folder.path().join("certificate.pem");
    let flow = Flow::dialled(Transport::Tls, at);
    for (tls, good) in [(towards("localhost", Some(&ca)), true), (towards("localhost", None), false)] {
        let trunks = HashMap::from([(at, tls)]);
        let mut sockets = Sockets::bind(SocketSettings { trunks, ..settings(&[]) }).expect("bound");
        sockets.send(flow, OPTIONS.into()).expect("queued");
        tokio::select! {
            arrived = arrival(&mut trunk) => {
                assert_eq!(matches!(arrived, Arrival::Message(..)), good, "{arrived:?}");
            }
            arrived = arrival(&mut sockets) => {
                assert!(!good, "{arrived:?}");
                assert_eq!(arrived, Arrival::Closed(flow));
            }
        }
    }
    let gone = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("bound");
        Flow::dialled(Transport::Tcp, listener.local_addr().expect("bound"))
    };
    let mut sockets = Sockets::bind(settings(&[])).expect("bound");
    sockets.send(gone, OPTIONS.into()).expect("queued");
    assert_eq!(arrival(&mut sockets).await, Arrival::Closed(gone));
    assert_eq!(sockets.figures().unopened, 1);
}

#[tokio::test]
async fn a_silent_connection_is_closed_unless_something_needs_it() {
    let mut sockets = Sockets::bind(settings(&[Transport::Tcp])).expect("bound");
    let at = address(&sockets, Transport::Tcp);
    let mut peers = Vec::new();
    let mut flows = Vec::new();
    for _ in 0..2 {
        let mut peer = TcpStream::connect(at).await.expect("taken");
        peer.write_all(OPTIONS.as_bytes()).await.expect("sent");
        flows.push(message(&mut sockets).await.0);
        peers.push(peer);
    }
    let later = Instant::now() + Duration::from_secs(60);
    sockets.sweep(later, HashSet::new);
    assert_eq!(sockets.figures().idle, 0, "not silent for long enough");
    let later = Instant::now() + Duration::from_secs(180);
    sockets.sweep(later, || HashSet::from([flows[0]]));
    assert_eq!(arrival(&mut sockets).await, Arrival::Closed(flows[1]));
    assert_eq!(peers[1].read(&mut [0]).await.expect("a proper end"), 0);
    sockets.send(flows[0], OK.into()).expect("sent");
    hears(&mut sockets, &mut peers[0], OK).await;
}

#[tokio::test]
async fn a_message_without_an_end_is_handed_on_and_its_refusal_still_sent_before_the_connection_closes() {
    let mut sockets = Sockets::bind(settings(&[Transport::Tcp])).expect("bound");
    let mut peer = TcpStream::connect(address(&sockets, Transport::Tcp)).await.expect("taken");
    let endless = "OPTIONS sip:gw SIP/2.0\r\nX: y\r\n\r\n";
    peer.write_all(endless.as_bytes()).await.expect("sent");
    let Arrival::Endless(flow, bytes) = arrival(&mut sockets).await else { panic!("not told") };
    assert_eq!(bytes, endless.as_bytes());
    sockets.send(flow, OK.into()).expect("sent");
    hears(&mut sockets, &mut peer, OK).await;
    assert_eq!(arrival(&mut sockets).await, Arrival::Closed(flow));
    assert_eq!(sockets.figures().broken, 1);
}

#[tokio::test]
async fn datagrams_come_and_go_by_the_socket_of_their_family() {
    let addresses = ["127.0.0.1:0", "[::1]:0"].map(|it| it.parse().expect("an address"));
    let mut sockets =
        Sockets::bind(SocketSettings { udp: addresses.to_vec(), ..settings(&[]) }).expect("bound");
    let locals: Vec<SocketAddr> = sockets.addresses().map(|(_, local)| local).collect();
    for (local, any) in locals.into_iter().zip(addresses) {
        let peer = UdpSocket::bind(any).await.expect("bound");
        peer.send_to(OPTIONS.as_bytes(), local).await.expect("sent");
        let (flow, text) = message(&mut sockets).await;
        assert_eq!((flow, text.as_str()), (Flow::udp(local, peer.local_addr().expect("bound")), OPTIONS));
        sockets.send(flow, OK.into()).expect("sent");
        let mut heard = [0; 100];
        let (length, from) = peer.recv_from(&mut heard).await.expect("answered");
        assert_eq!((from, &heard[..length]), (local, OK.as_bytes()));
    }
}

#[tokio::test]
async fn a_connection_from_outside_the_list_of_its_transport_is_closed_before_a_handshake() {
    let mut rules = DefenceSettings::default();
    rules.by_transport.insert(Transport::Tcp, vec!["192.0.2.0/24".parse().expect("a network")]);
    let mut door = Door::new(rules, Vec::new());
    let settings = |door: &Door| SocketSettings { door: door.clone(), ..settings(&[Transport::Tcp]) };
    let mut sockets = Sockets::bind(settings(&door)).expect("bound");
    let (_, at) = sockets.addresses().find(|(it, _)| *it == Transport::Tcp).expect("listens");
    let mut stranger = TcpStream::connect(at).await.expect("the system takes it");
    let mut byte = [0; 1];
    tokio::select! {
        arrival = sockets.next() => panic!("{arrival:?}"),
        read = stranger.read(&mut byte) => assert!(matches!(read, Ok(0) | Err(_)), "it is closed"),
    }
    assert_eq!((sockets.figures().denied, sockets.connections.len()), (1, 0));
    door.set_trunk(&"pbx".into(), ["127.0.0.1".parse().expect("an address")]);
    let mut sockets = Sockets::bind(settings(&door)).expect("bound");
    let (_, at) = sockets.addresses().find(|(it, _)| *it == Transport::Tcp).expect("listens");
    let mut trunk = TcpStream::connect(at).await.expect("the system takes it");
    trunk.write_all(b"OPTIONS sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n").await.expect("sent");
    assert!(matches!(sockets.next().await, Arrival::Message(..)));
}
