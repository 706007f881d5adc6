//! SIP over WebSocket (RFC 7118): one WebSocket message is one SIP message.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::connection::{Broken, Happened, Wire, pong};

pub(super) use tokio_tungstenite::tungstenite::Error as Fault;

/// The name under which both ends agree to speak SIP (RFC 7118 §4.1).
const SUBPROTOCOL: &str = "sip";
const HEADER: &str = "Sec-WebSocket-Protocol";
/// Proxies cut connections that are silent for a minute, and a browser cannot ping.
const PING: Duration = Duration::from_secs(25);
const WRITE: Duration = Duration::from_secs(20);

impl From<Fault> for Broken {
    fn from(fault: Fault) -> Self {
        Self::WebSocket(Box::new(fault))
    }
}

/// Answers the upgrade request; whoever does not offer `sip` is refused.
pub(super) async fn accept<S>(stream: S, longest: usize) -> Result<WebSocketStream<S>, Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let config = WebSocketConfig::default().max_message_size(Some(longest)).max_frame_size(Some(longest));
    Ok(tokio_tungstenite::accept_hdr_async_with_config(stream, agree, Some(config)).await?)
}

#[expect(clippy::result_large_err, reason = "the library asks for this error by value")]
fn agree(request: &Request, mut response: Response) -> Result<Response, ErrorResponse> {
    let offered = request.headers().get_all(HEADER).iter().filter_map(|it| it.to_str().ok());
    if offered.flat_map(|it| it.split(',')).any(|it| it.trim().eq_ignore_ascii_case(SUBPROTOCOL)) {
        response.headers_mut().insert(HEADER, HeaderValue::from_static(SUBPROTOCOL));
        return Ok(response);
    }
    let mut refusal = ErrorResponse::new(Some("this WebSocket speaks the subprotocol sip\n".to_owned()));
    *refusal.status_mut() = StatusCode::BAD_REQUEST;
    Err(refusal)
}

/// Reads and writes until one side ends it.
pub(super) async fn serve<S>(wire: &mut Wire, socket: WebSocketStream<S>) -> Result<(), Broken>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (output, mut input) = socket.split();
    let Wire { id, flow, events, pongs, outgoing, .. } = wire;
    let reading = async {
        while let Some(message) = input.next().await {
            let bytes = match message {
                Ok(Message::Text(text)) => text.as_bytes().to_vec(),
                Ok(Message::Binary(bytes)) => bytes.to_vec(),
                Ok(Message::Close(_)) | Err(Fault::ConnectionClosed) => return Ok(()),
                Ok(_) => Vec::new(),
                Err(fault) => return Err(fault.into()),
            };
            let blank = bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'));
            if blank && bytes.len() >= 4 {
                pong(pongs);
            }
            let happened = if blank { Happened::Ping } else { Happened::Message(bytes) };
            if events.send((*id, *flow, happened)).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    tokio::select! {
        ended = reading => ended,
        ended = write(output, outgoing) => ended,
    }
}

async fn write<O>(mut output: O, outgoing: &mut mpsc::Receiver<Vec<u8>>) -> Result<(), Broken>
where
    O: SinkExt<Message, Error = Fault> + Unpin,
{
    loop {
        let message = match timeout(PING, outgoing.recv()).await {
            Ok(Some(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => Message::Text(Utf8Bytes::from(text)),
                Err(error) => Message::Binary(error.into_bytes().into()),
            },
            Ok(None) => break,
            Err(_) => Message::Ping(Vec::new().into()),
        };
        timeout(WRITE, output.send(message)).await.map_err(|_| Broken::Choked)??;
    }
    let _ = timeout(Duration::from_secs(1), output.close()).await;
    Ok(())
}
