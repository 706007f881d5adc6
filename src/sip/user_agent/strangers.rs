//! Answers to senders of datagrams that nobody knows: never more bytes than came from there.
//!
//! The source of a datagram may be forged, and whoever it names gets the answer. A sender whose question is shorter
//! than the answer is answered as soon as it has repeated it often enough, which a phone does by itself.

use super::super::defence::{Recent, Source};
use super::super::flow::Flow;
use super::super::message::{Name, Response};
use super::UserAgent;

/// So many senders are remembered; one more takes the place of the one heard of longest ago.
const SENDERS: usize = 4096;
/// What is not used up by answers is worth no more than this, in bytes.
const MOST: usize = 4096;
/// What an answer to a stranger can do without.
const DISPENSABLE: [Name; 5] = [Name::Server, Name::AllowEvents, Name::Accept, Name::Supported, Name::Allow];

/// What senders have sent and were not yet answered for, in bytes.
#[derive(Debug)]
pub(super) struct Credit(Recent<Source, usize>);

impl Default for Credit {
    fn default() -> Self {
        Self(Recent::new(SENDERS))
    }
}

impl UserAgent {
    /// Answers a message of `size` bytes in a form that is no longer, or else in the shortest, once that is paid for.
    pub(super) fn answer_stranger(&mut self, to: Flow, response: Response, size: usize) {
        if to.transport.is_reliable() {
            return self.transmit(to, response.to_bytes());
        }
        let credit = self.credit.0.touch(Source::of(to.remote.ip()), || 0);
        *credit = (*credit + size).min(MOST);
        let bytes = fitting(response, size);
        match credit.checked_sub(bytes.len()) {
            Some(left) => {
                *credit = left;
                self.transmit(to, bytes);
            }
            None => self.figures.muted += 1,
        }
    }
}

/// The answer as it is, with short names, or with what must be in it: the first that is no larger than `most`, or the
/// last.
fn fitting(mut response: Response, most: usize) -> Vec<u8> {
    let mut bytes = response.to_bytes();
    if bytes.len() > most {
        bytes = response.to_short_bytes();
    }
    if bytes.len() > most {
        for name in &DISPENSABLE {
            response.headers.remove(name);
        }
        bytes = response.to_short_bytes();
    }
    bytes
}
