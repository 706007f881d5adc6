//! Streams that break the framing (RFC 3261 §18.3): bounded memory, closed in time, and nobody else notices.

use super::*;

/// What a stream that cannot be read may cost in time.
const SOON: Duration = Duration::from_secs(5);

/// Sends `bytes` in pieces of `piece`; the messages that come of them until the connection ends, and how long that
/// took; `None` if it did not end.
async fn until_closed(bytes: &[u8], piece: usize) -> (Vec<Arrival>, Option<Duration>) {
    let mut sockets = Sockets::bind(settings(&[Transport::Tcp])).expect("bound");
    let peer = TcpStream::connect(address(&sockets, Transport::Tcp)).await.expect("taken");
    peer.set_nodelay(true).expect("set");
    let (mut reading, mut writing) = peer.into_split();
    let bytes = bytes.to_vec();
    let writer = tokio::spawn(async move {
        for piece in bytes.chunks(piece) {
            // The other side may have had enough.
            if writing.write_all(piece).await.is_err() {
                break;
            }
        }
        let _ = reading.read(&mut [0; 64]).await;
    });
    let (start, mut arrivals) = (Instant::now(), Vec::new());
    let ended = loop {
        match tokio::time::timeout(SOON, sockets.next()).await {
            Ok(Arrival::Closed(_)) => break Some(start.elapsed()),
            Ok(arrival) => arrivals.push(arrival),
            Err(_) => break None,
        }
    };
    writer.abort();
    (arrivals, ended)
}

#[tokio::test]
async fn a_message_that_comes_byte_by_byte_is_read_and_its_connection_stays() {
    let mut sockets = Sockets::bind(settings(&[Transport::Tcp])).expect("bound");
    let mut peer = TcpStream::connect(address(&sockets, Transport::Tcp)).await.expect("taken");
    peer.set_nodelay(true).expect("set");
    for _ in 0..2 {
        for byte in OPTIONS.as_bytes() {
            peer.write_all(&[*byte]).await.expect("sent");
            tokio::task::yield_now().await;
        }
        let (flow, text) = message(&mut sockets).await;
        assert_eq!(text, OPTIONS);
        sockets.send(flow, OK.into()).expect("sent");
        hears(&mut sockets, &mut peer, OK).await;
    }
}

#[tokio::test]
async fn a_stream_that_breaks_the_framing_is_closed_and_nothing_behind_it_is_read() {
    let with =
        |line: &str| format!("OPTIONS sip:gw SIP/2.0\r\nVia: SIP/2.0/TCP h\r\n{line}\r\n\r\n{OPTIONS}");
    let header = format!("OPTIONS sip:gw SIP/2.0\r\nX: {}\r\n\r\n{OPTIONS}", "x".repeat(64 * 1024));
    let endless_header = "X: y\r\n".repeat(200_000);
    let mut streams = tokio::task::JoinSet::new();
    for (what, bytes) in [
        ("64 KB in one header", header),
        ("headers without an end", endless_header),
        ("a negative length", with("Content-Length: -1")),
        ("a length beyond all numbers", with("Content-Length: 99999999999999999999")),
        ("a length beyond what is taken", with("Content-Length: 1000000")),
        ("two lengths", with("Content-Length: 1\r\nl: 2")),
        ("a length that is none", with("Content-Length: one")),
    ] {
        streams.spawn(async move { (what, until_closed(bytes.as_bytes(), 1400).await) });
    }
    while let Some(told) = streams.join_next().await {
        let (what, (arrivals, ended)) = told.expect("no panic");
        assert!(ended.is_some(), "{what}: not closed in {SOON:?}");
        let messages = arrivals.iter().filter(|it| matches!(it, Arrival::Message(..))).count();
        assert_eq!(messages, 0, "{what}: {arrivals:?}");
    }
    // A length that is missing is refused once (RFC 3261 §18.3), and then the connection closes, too.
    let (arrivals, ended) = until_closed(with("X: y").as_bytes(), 1400).await;
    assert!(matches!(arrivals.as_slice(), [Arrival::Endless(..)]) && ended.is_some(), "{arrivals:?}");
}

#[tokio::test]
async fn broken_streams_in_numbers_leave_nothing_behind_and_a_good_one_is_served_meanwhile() {
    const BATCHES: u64 = 4;
    const BATCH: u64 = 45;
    let mut sockets = Sockets::bind(settings(&[Transport::Tcp])).expect("bound");
    let at = address(&sockets, Transport::Tcp);
    let mut good = TcpStream::connect(at).await.expect("taken");
    good.write_all(OPTIONS.as_bytes()).await.expect("sent");
    let (flow, _) = message(&mut sockets).await;
    for _ in 0..BATCHES {
        let mut peers = Vec::new();
        for number in 0..BATCH {
            let mut peer = TcpStream::connect(at).await.expect("taken");
            let broken = match number % 4 {
                0 => "OPTIONS sip:gw SIP/2.0\r\nl: -1\r\n\r\n".to_owned(),
                1 => format!("OPTIONS sip:gw SIP/2.0\r\nX: {}", "y".repeat(40_000)),
                2 => "OPTIONS sip:gw SIP/2.0\r\nl: 70000\r\n\r\n".to_owned(),
                _ => "OPTIONS sip:gw SIP/2.0\r\nl: 1\r\nl: 2\r\n\r\n".to_owned(),
            };
            let _ = peer.write_all(broken.as_bytes()).await;
            peers.push(peer);
        }
        for _ in 0..BATCH {
            assert!(matches!(arrival(&mut sockets).await, Arrival::Closed(_)));
        }
    }
    assert_eq!(sockets.figures().broken, BATCHES * BATCH);
    assert_eq!(sockets.figures().open.iter().map(|(_, open)| open).sum::<usize>(), 1);
    sockets.send(flow, OK.into()).expect("sent");
    hears(&mut sockets, &mut good, OK).await;
}
