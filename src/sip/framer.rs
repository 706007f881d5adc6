//! Where one message ends and the next begins in a stream (RFC 3261 §18.3, RFC 5626 §3.5.1).

/// What stands next in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole message.
    Message(Vec<u8>),
    /// A message whose end nobody knows, as far as its headers go: it can be refused, and nothing behind it read.
    Endless(Vec<u8>),
    /// A double line end between messages: the peer wants one line end back ([`PONG`]).
    Ping,
}

/// The answer to [`Frame::Ping`].
pub const PONG: &[u8] = b"\r\n";

/// Why a stream cannot be read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// The headers or the message are longer than is taken.
    TooLong,
    /// Content-Length is no number or stands there twice with two values; or something stood there for which it is
    /// missing.
    Lost,
}

impl StreamFault {
    /// The word in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too long",
            Self::Lost => "no usable Content-Length",
        }
    }
}

/// Headers may be no longer than this, whatever the limit of the whole message.
const MAX_HEADERS: usize = 32 * 1024;

/// Cuts a stream into messages; holds at most one unfinished message and what came with it.
#[derive(Debug)]
pub struct Framer {
    buffer: Vec<u8>,
    /// How much of `buffer` was searched for the end of the headers.
    searched: usize,
    /// Line ends seen since the last message.
    line_ends: u8,
    longest: usize,
    fault: Option<StreamFault>,
}

impl Framer {
    /// A stream that begins; no message may be longer than `longest` bytes.
    #[must_use]
    pub const fn new(longest: usize) -> Self {
        Self { buffer: Vec::new(), searched: 0, line_ends: 0, longest, fault: None }
    }

    /// Bytes came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.fault.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Whether a message has begun and not ended.
    #[must_use]
    pub const fn is_within_message(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The next frame; `None` until more bytes come.
    ///
    /// # Errors
    /// See [`StreamFault`]; it stays.
    pub fn poll_frame(&mut self) -> Result<Option<Frame>, StreamFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        if self.skip_line_ends() {
            return Ok(Some(Frame::Ping));
        }
        self.cut().inspect_err(|fault| self.fail(*fault))
    }

    /// Takes the line ends before a message away; `true` when they make a ping.
    fn skip_line_ends(&mut self) -> bool {
        let mut skipped = 0;
        let mut ping = false;
        for byte in &self.buffer {
            match byte {
                b'\r' => {}
                b'\n' => {
                    self.line_ends += 1;
                    ping = self.line_ends == 2;
                }
                _ => {
                    self.line_ends = 0;
                    break;
                }
            }
            skipped += 1;
            if ping {
                self.line_ends = 0;
                break;
            }
        }
        self.buffer.drain(..skipped);
        ping
    }

    fn cut(&mut self) -> Result<Option<Frame>, StreamFault> {
        let Some(head) = self.end_of_headers() else {
            let limit = MAX_HEADERS.min(self.longest);
            return if self.buffer.len() > limit { Err(StreamFault::TooLong) } else { Ok(None) };
        };
        if head > MAX_HEADERS.min(self.longest) {
            return Err(StreamFault::TooLong);
        }
        let body = match content_length(self.buffer.get(..head).unwrap_or_default()) {
            Ok(Some(body)) => body,
            // Nothing tells where its body ends (RFC 3261 §18.3).
            Ok(None) => {
                let endless = self.buffer.drain(..head).collect();
                self.fail(StreamFault::Lost);
                return Ok(Some(Frame::Endless(endless)));
            }
            Err(fault) => return Err(fault),
        };
        let whole = head.saturating_add(body);
        if whole > self.longest {
            return Err(StreamFault::TooLong);
        }
        if self.buffer.len() < whole {
            return Ok(None);
        }
        self.searched = 0;
        Ok(Some(Frame::Message(self.buffer.drain(..whole).collect())))
    }

    fn fail(&mut self, fault: StreamFault) {
        self.fault = Some(fault);
        self.buffer = Vec::new();
    }

    /// Where the body begins. What was searched is not searched again: bytes may come one by one.
    fn end_of_headers(&mut self) -> Option<usize> {
        let from = self.searched.saturating_sub(3);
        let rest = self.buffer.get(from..)?;
        let mut after_line = false;
        for (at, byte) in rest.iter().enumerate() {
            match byte {
                b'\n' if after_line => {
                    let end = from + at + 1;
                    self.searched = from;
                    return Some(end);
                }
                b'\n' => after_line = true,
                b'\r' => {}
                _ => after_line = false,
            }
        }
        self.searched = self.buffer.len();
        None
    }
}

/// The value of Content-Length in a block of headers; `None` if there is none.
fn content_length(head: &[u8]) -> Result<Option<usize>, StreamFault> {
    let mut found: Option<usize> = None;
    let mut lines = head.split(|b| *b == b'\n').skip(1).peekable();
    while let Some(line) = lines.next() {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = line.get(..colon).unwrap_or_default().trim_ascii_end();
        if !name.eq_ignore_ascii_case(b"Content-Length") && !name.eq_ignore_ascii_case(b"l") {
            continue;
        }
        let mut value = line.get(colon + 1..).unwrap_or_default().to_vec();
        // A value may go on in the next line, if that begins with white space (RFC 3261 §7.3.1).
        while let Some(more) = lines.next_if(|line| matches!(line.first(), Some(b' ' | b'\t'))) {
            value.extend_from_slice(more);
        }
        let text = str::from_utf8(value.trim_ascii()).map_err(|_| StreamFault::Lost)?;
        let length = super::message::uri::parse_number::<usize>(text).ok_or(StreamFault::Lost)?;
        if found.is_some_and(|found| found != length) {
            return Err(StreamFault::Lost);
        }
        found = Some(length);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &str = "OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK1\r\n";

    fn message(body: &str) -> String {
        format!("{HEAD}Content-Length: {}\r\n\r\n{body}", body.len())
    }

    fn frames(framer: &mut Framer) -> Vec<Frame> {
        std::iter::from_fn(|| framer.poll_frame().expect("a good stream")).collect()
    }

    fn read(bytes: &str) -> (Vec<Frame>, Option<StreamFault>) {
        let mut framer = Framer::new(4096);
        framer.push(bytes.as_bytes());
        let mut found = Vec::new();
        loop {
            match framer.poll_frame() {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => return (found, None),
                Err(fault) => return (found, Some(fault)),
            }
        }
    }

    #[test]
    fn a_message_ends_where_content_length_says_in_whatever_pieces_it_comes() {
        let (one, two) = (message("first"), message(""));
        let wanted = [Frame::Message(one.clone().into_bytes()), Frame::Message(two.clone().into_bytes())];
        assert_eq!(read(&(one.clone() + &two)), (wanted.to_vec(), None));
        let mut framer = Framer::new(4096);
        let mut found = Vec::new();
        for byte in (one + &two).bytes() {
            framer.push(&[byte]);
            found.extend(frames(&mut framer));
        }
        assert_eq!(found, wanted);
        assert!(!framer.is_within_message());
    }

    #[test]
    fn content_length_is_found_in_every_spelling_and_not_inside_another_header() {
        for line in
            ["l: 4", "CONTENT-LENGTH:4", "Content-Length \t: 4", "Content-Length:\r\n  4", "l: 4\r\nl: 4"]
        {
            let text = format!("{HEAD}{line}\r\n\r\nbody");
            assert_eq!(read(&text), (vec![Frame::Message(text.clone().into_bytes())], None), "{line}");
        }
        let text = format!("{HEAD}Subject: x\r\n l: 9\r\nl: 4\r\n\r\nbody");
        assert_eq!(read(&text), (vec![Frame::Message(text.clone().into_bytes())], None));
    }

    #[test]
    fn a_message_without_content_length_is_handed_out_once_and_nothing_behind_it_is_read() {
        let text = format!("{HEAD}\r\n");
        let endless = vec![Frame::Endless(text.clone().into_bytes())];
        assert_eq!(read(&(text + &message(""))), (endless, Some(StreamFault::Lost)));
    }

    #[test]
    fn a_length_that_is_none_or_two_ends_the_stream() {
        for line in ["l: x", "l: -1", "l:", "l: 99999999999999999999999", "l: 4\r\nContent-Length: 5"] {
            assert_eq!(
                read(&format!("{HEAD}{line}\r\n\r\nbody")),
                (vec![], Some(StreamFault::Lost)),
                "{line}"
            );
        }
    }

    #[test]
    fn what_is_too_long_ends_the_stream_before_it_is_there() {
        assert_eq!(read(&format!("{HEAD}l: 4096\r\n\r\n")), (vec![], Some(StreamFault::TooLong)));
        assert_eq!(read(&"X: yyyyyyy\r\n".repeat(400)), (vec![], Some(StreamFault::TooLong)));
        assert_eq!(read(&"x".repeat(4097)), (vec![], Some(StreamFault::TooLong)));
        assert_eq!(read(&"x".repeat(4096)), (vec![], None));
    }

    #[test]
    fn a_double_line_end_is_a_ping_and_a_single_one_is_nothing() {
        assert_eq!(read("\r\n\r\n"), (vec![Frame::Ping], None));
        assert_eq!(read("\r\n\r\n\r\n\r\n").0, [Frame::Ping, Frame::Ping]);
        assert_eq!(read("\r\n"), (vec![], None));
        let text = message("");
        let whole = Frame::Message(text.clone().into_bytes());
        assert_eq!(read(&format!("\r\n{text}\r\n{text}\r\n")).0, [whole.clone(), whole.clone()]);
        assert_eq!(read(&format!("{text}\r\n\r\n{text}")).0, [whole.clone(), Frame::Ping, whole]);
    }

    #[test]
    fn a_ping_may_come_byte_by_byte() {
        let mut framer = Framer::new(4096);
        let mut found = Vec::new();
        for byte in b"\r\n\r\n" {
            framer.push(&[*byte]);
            found.extend(frames(&mut framer));
        }
        assert_eq!(found, [Frame::Ping]);
    }

    proptest! {
        #[test]
        fn the_frames_do_not_depend_on_how_the_stream_was_cut(
            pieces in proptest::collection::vec(prop_oneof![
                Just("\r\n".to_owned()), Just(message("abc")), Just(message("")), Just("\n".to_owned()),
                Just(format!("{HEAD}\r\n")), Just("x: y\r\n".to_owned()), Just("l: 3\r\n\r\n".to_owned()),
            ], 0..8),
            cuts in proptest::collection::vec(1_usize..40, 1..20),
        ) {
            let text = pieces.concat();
            let whole = read(&text);
            let mut framer = Framer::new(4096);
            let (mut found, mut fault, mut rest) = (Vec::new(), None, text.as_bytes());
            for cut in cuts.iter().cycle() {
                if rest.is_empty() || fault.is_some() {
                    break;
                }
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                framer.push(now);
                rest = later;
                loop {
                    match framer.poll_frame() {
                        Ok(Some(frame)) => found.push(frame),
                        Ok(None) => break,
                        Err(it) => { fault = Some(it); break; }
                    }
                }
            }
            prop_assert_eq!((found, fault), whole);
        }
    }
}
