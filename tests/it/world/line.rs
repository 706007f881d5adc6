//! One call on a scripted phone.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It rings here.
    Ringing,
    /// We dial.
    Dialling,
    Up,
    Over,
}

/// One call on the phone.
#[derive(Debug)]
pub struct Line {
    pub state: State,
    /// What the other side sent, in order: `INVITE`, `180 INVITE`, …
    pub log: Vec<(Duration, String)>,
    /// Reason of the CANCEL or BYE, or of the refusal.
    pub reason: String,
    /// The last final status of an INVITE or re-INVITE of ours.
    pub status: u16,
    /// Where speech goes.
    pub remote_media: Option<SocketAddr>,
    /// Answers to our re-INVITEs: what the gateway would do.
    pub answered_direction: String,
    pub(super) ours: String,
    pub(super) theirs: String,
    pub(super) target: String,
    pub(super) number: u32,
    /// The INVITE that was received, or is being sent.
    pub(super) invite: String,
    pub(super) reply: String,
    pub(super) ack: String,
    pub(super) due: Option<Instant>,
    pub(super) heard_provisional: bool,
    pub(super) cancel: bool,
    pub(super) version: u32,
    pub(super) direction: &'static str,
}

impl Line {
    pub fn said(&self, what: &str) -> usize {
        self.log.iter().filter(|(_, it)| it == what).count()
    }

    pub fn when(&self, what: &str) -> Option<Duration> {
        self.log.iter().find(|(_, it)| it == what).map(|(at, _)| *at)
    }
}

impl Line {
    pub(super) fn new(state: State) -> Self {
        Self {
            state,
            log: Vec::new(),
            reason: String::new(),
            status: 0,
            remote_media: None,
            answered_direction: String::new(),
            ours: String::new(),
            theirs: String::new(),
            target: String::new(),
            number: 0,
            invite: String::new(),
            reply: String::new(),
            ack: String::new(),
            due: None,
            heard_provisional: false,
            cancel: false,
            version: 0,
            direction: "sendrecv",
        }
    }
}
