//! Event subscriptions as the notifier sees them (RFC 6665 §4.2): who watches what, until when, and when it is told.

pub mod dialog_info;
pub mod message_summary;
pub mod presence;
mod xml;

use std::time::{Duration, Instant};

use crate::id::PhoneName;

use super::dialog::Dialog;
use dialog_info::WatchedDialog;

/// The shortest time between two NOTIFYs of one subscription (RFC 4235 §3.10, RFC 3842 §3.9).
pub const PACE: Duration = Duration::from_secs(1);
/// How long a NOTIFY that was refused for the moment waits for its next try.
const RETRY: Duration = Duration::from_secs(5);
/// A watcher that refused so many NOTIFYs in a row wants none.
const MOST_FAILURES: u8 = 3;

/// What can be watched: an event package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Package {
    /// `dialog`: the calls of a phone, for busy lamps (RFC 4235).
    Dialog,
    /// `message-summary`: messages that wait in a phone's mailboxes (RFC 3842).
    Messages,
    /// `presence`: whether a phone is there and talks (RFC 3856), for soft phones without lamps.
    Presence,
}

impl Package {
    /// Every package, in order.
    pub const ALL: [Self; 3] = [Self::Dialog, Self::Messages, Self::Presence];

    /// The word in Event and Allow-Events.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dialog => "dialog",
            Self::Messages => "message-summary",
            Self::Presence => "presence",
        }
    }

    /// The type of its bodies.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Dialog => "application/dialog-info+xml",
            Self::Messages => "application/simple-message-summary",
            Self::Presence => "application/pidf+xml",
        }
    }

    /// What an Event header asks for, and what NOTIFYs repeat of it: the package and its `id`.
    #[must_use]
    pub fn read(event: &str) -> Option<(Self, String)> {
        let mut parts = event.split(';').map(str::trim);
        let word = parts.next()?;
        let package = Self::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(word))?;
        let id = parts.find(|it| it.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("id=")));
        let id = id.map_or_else(String::new, |id| format!(";{id}"));
        Some((package, format!("{}{id}", package.as_str())))
    }
}

/// How much a NOTIFY tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// What is not as it was told last.
    Changes,
    /// All there is.
    Everything,
}

/// What a subscription asks for when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Tell the watcher.
    Tell(Scope),
    /// It is over: tell the watcher so, and forget it.
    End,
}

/// What the answer to a NOTIFY means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It goes on.
    Kept,
    /// The watcher wants no more of it: forget it.
    Gone,
}

/// Whether the way to the watcher is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Open,
    /// Its connection is gone; what is to be told waits until it registers on another, or the subscription ends.
    Closed,
}

/// One subscription: the state of one dialog.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) watcher: PhoneName,
    /// Whose state is told.
    pub(super) resource: PhoneName,
    pub(super) package: Package,
    /// The value of Event in NOTIFYs.
    pub(super) event: String,
    pub(super) dialog: Dialog,
    /// The number of the next body, where bodies are numbered.
    pub(super) version: u32,
    /// Whether the watcher knows the phone to be there.
    pub(super) reach: Option<presence::Reach>,
    /// The calls that the watcher knows of.
    pub(super) told: Vec<WatchedDialog>,
    expires: Instant,
    wants: Option<Scope>,
    in_flight: bool,
    not_before: Instant,
    failures: u8,
    line: Line,
}

impl Subscription {
    /// A subscription that is granted now: the first NOTIFY is due at once.
    pub(super) fn new(
        now: Instant,
        (watcher, resource): (PhoneName, PhoneName),
        (package, event): (Package, String),
        dialog: Dialog,
        life: Duration,
    ) -> Self {
        Self {
            watcher,
            resource,
            package,
            event,
            dialog,
            version: 0,
            reach: None,
            told: Vec::new(),
            expires: now + life,
            wants: Some(Scope::Everything),
            in_flight: false,
            not_before: now,
            failures: 0,
            line: Line::Open,
        }
    }

    /// The watcher has asked again: everything is told once more, whatever the pace (RFC 6665 §4.2.1.2).
    pub(super) fn refresh(&mut self, now: Instant, life: Duration) {
        self.expires = now + life;
        self.wants = Some(Scope::Everything);
        self.not_before = now;
        self.line = Line::Open;
    }

    /// What is watched has changed.
    pub(super) fn touch(&mut self) {
        self.wants = self.wants.max(Some(Scope::Changes));
    }

    /// Its connection has closed.
    pub(super) fn lose_line(&mut self) {
        self.line = Line::Closed;
        self.in_flight = false;
        self.wants = Some(Scope::Everything);
    }

    /// The watcher is back on another connection.
    pub(super) fn find_line(&mut self) {
        self.line = Line::Open;
    }

    /// What is left of it, in whole seconds; those are what the watcher counts in.
    pub(super) fn seconds_left(&self, now: Instant) -> u64 {
        u64::try_from(self.expires.saturating_duration_since(now).as_millis().div_ceil(1000)).unwrap_or(0)
    }

    /// When [`Subscription::take_due`] has something.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let tells = self.wants.is_some() && !self.in_flight && self.line == Line::Open;
        Some(if tells { self.expires.min(self.not_before) } else { self.expires })
    }

    /// What is to be done now; a NOTIFY is then on its way until [`Subscription::answered`].
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Due> {
        if now >= self.expires {
            return Some(Due::End);
        }
        if self.in_flight || self.line == Line::Closed || now < self.not_before {
            return None;
        }
        let scope = self.wants.take()?;
        self.in_flight = true;
        self.not_before = now + PACE;
        Some(Due::Tell(scope))
    }

    /// What was to be told turned out to be known.
    pub(super) fn told_nothing(&mut self) {
        self.in_flight = false;
    }

    /// The watcher answered a NOTIFY with a final status (RFC 6665 §4.2.2, RFC 5057 §5.1).
    pub(super) fn answered(&mut self, now: Instant, status: u16) -> Outcome {
        self.in_flight = false;
        match status {
            200..300 => {
                self.failures = 0;
                Outcome::Kept
            }
            404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604 => Outcome::Gone,
            _ => {
                self.failures += 1;
                self.wants = Some(Scope::Everything);
                self.not_before = now + RETRY;
                if self.failures < MOST_FAILURES { Outcome::Kept } else { Outcome::Gone }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::flow::Flow;
    use super::*;

    fn subscription(now: Instant) -> Subscription {
        let snapshot = super::super::DialogSnapshot {
            call_id: "x".to_owned(),
            local_tag: "l".to_owned(),
            remote_tag: "r".to_owned(),
            local_uri: "sip:1002@h".to_owned(),
            remote_uri: "sip:1001@h".to_owned(),
            remote_target: "sip:1001@192.0.2.2".to_owned(),
            route_set: Vec::new(),
            local_cseq: 0,
            flow: Flow::udp("192.0.2.1:5060".parse().unwrap(), "192.0.2.2:5060".parse().unwrap()),
        };
        Subscription::new(
            now,
            ("1001".into(), "1002".into()),
            (Package::Dialog, "dialog".to_owned()),
            Dialog::from_snapshot(&snapshot),
            Duration::from_secs(60),
        )
    }

    const EVERYTHING: Option<Due> = Some(Due::Tell(Scope::Everything));
    const CHANGES: Option<Due> = Some(Due::Tell(Scope::Changes));

    #[test]
    fn changes_are_told_a_second_apart_and_one_at_a_time() {
        let zero = Instant::now();
        let at = |millis| zero + Duration::from_millis(millis);
        let mut it = subscription(zero);
        assert_eq!((it.poll_timeout(), it.take_due(zero)), (Some(zero), EVERYTHING));
        it.touch();
        assert_eq!((it.poll_timeout(), it.take_due(at(5000))), (Some(at(60_000)), None));
        assert_eq!(it.answered(at(100), 200), Outcome::Kept);
        assert_eq!((it.poll_timeout(), it.take_due(at(999))), (Some(at(1000)), None));
        it.touch();
        assert_eq!(it.take_due(at(1000)), CHANGES);
        it.answered(at(1001), 200);
        assert_eq!(it.take_due(at(9000)), None);
        // Who asks again is told at once.
        it.touch();
        assert_eq!(it.take_due(at(9000)), CHANGES);
        it.answered(at(9001), 200);
        it.refresh(at(9002), Duration::from_secs(60));
        assert_eq!(it.take_due(at(9002)), EVERYTHING);
    }

    #[test]
    fn it_ends_on_time_whatever_is_on_its_way() {
        let zero = Instant::now();
        let mut it = subscription(zero);
        it.take_due(zero);
        assert_eq!(it.take_due(zero + Duration::from_millis(59_999)), None);
        assert_eq!(it.seconds_left(zero + Duration::from_millis(59_999)), 1);
        assert_eq!(it.take_due(zero + Duration::from_secs(60)), Some(Due::End));
    }

    #[test]
    fn a_watcher_that_knows_nothing_of_it_or_refuses_three_times_is_forgotten() {
        let zero = Instant::now();
        for status in [404, 481, 489, 501, 604] {
            assert_eq!(subscription(zero).answered(zero, status), Outcome::Gone, "{status}");
        }
        let mut it = subscription(zero);
        assert_eq!([500, 401, 200, 503, 503].map(|status| it.answered(zero, status)), [Outcome::Kept; 5]);
        assert_eq!(it.answered(zero, 503), Outcome::Gone);
    }

    #[test]
    fn without_a_connection_nothing_is_told_until_the_watcher_is_back_and_then_everything() {
        let zero = Instant::now();
        let mut it = subscription(zero);
        it.take_due(zero);
        it.lose_line();
        it.touch();
        assert_eq!(it.take_due(zero + Duration::from_secs(10)), None);
        it.find_line();
        assert_eq!(it.take_due(zero + Duration::from_secs(10)), EVERYTHING);
    }

    #[test]
    fn an_event_is_known_by_its_package_and_repeated_with_its_id() {
        let read = |text| Package::read(text).map(|(package, event)| format!("{package:?} {event}"));
        assert_eq!(read("dialog").as_deref(), Some("Dialog dialog"));
        assert_eq!(read("Dialog; call-id=x ; id=7").as_deref(), Some("Dialog dialog;id=7"));
        assert_eq!(read("message-summary").as_deref(), Some("Messages message-summary"));
        assert_eq!((read("refer"), read(""), read("dialog.winfo")), (None, None, None));
    }
}
