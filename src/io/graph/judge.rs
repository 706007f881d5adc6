//! What a try that ended means: done, failed, or once more. No clock, no socket.

use std::time::Duration;

use serde_json::Value;

use crate::id::WaCallId;
use crate::time::Wall;
use crate::whatsapp::error::Standing;
use crate::whatsapp::{Action, Failure, Meaning, Refusal, Reply};

/// The longest wait that a `Retry-After` brings about; the call's own deadline will not wait longer.
const LONGEST_WAIT: Duration = Duration::from_secs(2);

/// How long `pre_accept` and `accept` wait after a refusal that may pass: the accept window runs.
const BREATH: Duration = Duration::from_millis(300);

/// How one try ended.
#[derive(PartialEq, Eq)]
pub(super) enum End {
    /// HTTP success.
    Answered { body: Vec<u8> },
    /// Graph's error envelope.
    Refused { http: u16, refusal: Refusal, after: Option<Duration> },
    /// No connection was opened, so nobody has read the request.
    NeverSent,
    /// The connection broke; Graph may have read the request.
    Cut,
    /// No answer in time; Graph may have read the request.
    TimedOut,
    /// An HTTP error that is not Graph's.
    Unreadable { http: u16 },
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answered { .. } => f.write_str("answered"),
            Self::Refused { http, refusal, .. } => {
                write!(f, "refused: {} ({}), HTTP {http}", refusal.meaning.label(), refusal.meaning.code())
            }
            Self::NeverSent => f.write_str("never sent"),
            Self::Cut => f.write_str("cut"),
            Self::TimedOut => f.write_str("timed out"),
            Self::Unreadable { http } => write!(f, "unreadable, HTTP {http}"),
        }
    }
}

/// What follows from it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Done(Reply),
    Failed(Failure),
    Again { after: Duration },
}

impl End {
    /// Whether Meta may have carried the request out.
    pub(super) const fn may_have_reached(&self) -> bool {
        matches!(self, Self::Cut | Self::TimedOut | Self::Unreadable { http: 500.. })
    }

    /// The failure, if there is no further try; `now` turns a `Retry-After` into a moment.
    pub(super) fn failure(&self, now: Wall) -> Failure {
        match self {
            Self::Refused { http, refusal, after } => Failure::Refused {
                meaning: refusal.meaning,
                http: *http,
                until: refusal.until.or(after.map(|it| now + it)),
            },
            Self::TimedOut => Failure::TimedOut,
            Self::NeverSent | Self::Cut => Failure::Unreachable,
            Self::Answered { .. } | Self::Unreadable { .. } => Failure::Unreadable,
        }
    }

    /// A line for the operator, with Meta's name of the request for their support.
    pub(super) fn log(&self, action: &'static str) {
        match self {
            Self::Answered { .. } => tracing::debug!(action, "Graph did it"),
            Self::Refused { refusal, .. } => {
                tracing::warn!(action, end = ?self, trace = refusal.trace.as_deref(), "Graph refused");
            }
            _ => tracing::warn!(action, end = ?self, "a request to Graph failed"),
        }
    }
}

/// Judges try number `tried`; `reached` says whether an earlier one may have been carried out.
pub(super) fn judge(action: &Action, end: &End, tried: u32, reached: bool, now: Wall) -> Verdict {
    let tries = match action {
        Action::PreAccept { .. } | Action::Accept { .. } | Action::Connect { .. } => 2,
        Action::Reject { .. } | Action::Terminate { .. } => 3,
    };
    let hangs_up = matches!(action, Action::Reject { .. } | Action::Terminate { .. });
    let connects = matches!(action, Action::Connect { .. });
    let backoff = if hangs_up { Duration::from_millis(200) * tried } else { Duration::from_millis(30) };
    let again = |after| {
        if tried < tries { Some(Verdict::Again { after }) } else { None }
    };
    let repeat = match end {
        End::Answered { body } => return answered(action, body),
        End::Refused { refusal, .. } if reached && is_our_own_echo(action, refusal.standing) => {
            return Verdict::Done(Reply::Done);
        }
        End::Refused { http, refusal, after } if hangs_up && passes(*http, refusal.meaning) => {
            again(after.unwrap_or(backoff).min(LONGEST_WAIT))
        }
        // The user hears it ring meanwhile and the agent has picked up: once more, soon.
        End::Refused { http, refusal, after } if !connects && passes(*http, refusal.meaning) => {
            again(after.unwrap_or(BREATH).min(BREATH))
        }
        End::Refused { .. } => None,
        End::NeverSent => again(backoff),
        End::Cut | End::TimedOut | End::Unreadable { http: 500.. } if !connects => again(backoff),
        End::Cut | End::TimedOut | End::Unreadable { .. } => None,
    };
    repeat.unwrap_or_else(|| Verdict::Failed(end.failure(now)))
}

fn answered(action: &Action, body: &[u8]) -> Verdict {
    let unreadable = Verdict::Failed(Failure::Unreadable);
    let Ok(answer) = serde_json::from_slice::<Value>(body) else { return unreadable };
    if answer["success"] == Value::Bool(false) {
        return unreadable;
    }
    if !matches!(action, Action::Connect { .. }) {
        return Verdict::Done(Reply::Done);
    }
    match answer["calls"][0]["id"].as_str() {
        Some(id) if !id.is_empty() => Verdict::Done(Reply::Connected(WaCallId::from(id))),
        _ => unreadable,
    }
}

/// Whether a refusal of a second try only tells that the first one worked.
fn is_our_own_echo(action: &Action, standing: Standing) -> bool {
    match action {
        Action::PreAccept { .. } | Action::Accept { .. } => standing == Standing::InProgress,
        Action::Reject { .. } | Action::Terminate { .. } => standing != Standing::Unsaid,
        Action::Connect { .. } => false,
    }
}

/// Whether the same request may be granted in a moment.
fn passes(http: u16, meaning: Meaning) -> bool {
    http == 429
        || http >= 500
        || matches!(meaning, Meaning::TemporaryFault | Meaning::Throttled | Meaning::ConnectionError)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{Msisdn, UserId};

    fn accept() -> Action {
        Action::Accept { call: "wacid.A".into(), sdp: "v=0\r\n".into(), opaque: None }
    }

    fn terminate() -> Action {
        Action::Terminate { call: "wacid.A".into() }
    }

    fn connect() -> Action {
        let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
        Action::Connect { user, offer: "v=0\r\n".into(), opaque: "00".into() }
    }

    fn refused(http: u16, code: i64, text: &str) -> End {
        let body = serde_json::json!({ "error": { "code": code, "message": text } }).to_string();
        End::Refused { http, refusal: Refusal::parse(body.as_bytes()).expect("an envelope"), after: None }
    }

    fn judged(action: &Action, end: &End, tried: u32, reached: bool) -> Verdict {
        judge(action, end, tried, reached, Wall(0))
    }

    fn is_again(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::Again { .. })
    }

    #[test]
    fn accept_is_tried_twice_and_hanging_up_three_times() {
        for (action, tries) in [(accept(), 2), (terminate(), 3)] {
            for end in [End::TimedOut, End::Cut, End::NeverSent, End::Unreadable { http: 502 }] {
                let count = (1..).take_while(|tried| is_again(&judged(&action, &end, *tried, true))).count();
                assert_eq!(count + 1, tries, "{action:?} {end:?}");
            }
        }
    }

    #[test]
    fn connect_comes_again_only_if_nobody_can_have_read_it() {
        assert!(is_again(&judged(&connect(), &End::NeverSent, 1, false)));
        assert_eq!(judged(&connect(), &End::NeverSent, 2, false), Verdict::Failed(Failure::Unreachable));
        assert_eq!(judged(&connect(), &End::TimedOut, 1, false), Verdict::Failed(Failure::TimedOut));
        assert_eq!(judged(&connect(), &End::Cut, 1, false), Verdict::Failed(Failure::Unreachable));
        assert_eq!(
            judged(&connect(), &End::Unreadable { http: 502 }, 1, false),
            Verdict::Failed(Failure::Unreadable)
        );
        assert!(!is_again(&judged(&connect(), &refused(429, 4, "slow down"), 1, false)));
    }

    #[test]
    fn already_in_progress_is_success_only_if_it_can_be_our_own_first_try() {
        let in_progress = refused(400, 100, "Accept is already in progress");
        assert_eq!(judged(&accept(), &in_progress, 2, true), Verdict::Done(Reply::Done));
        let first = judged(&accept(), &in_progress, 1, false);
        assert!(matches!(
            first,
            Verdict::Failed(Failure::Refused { meaning: Meaning::InvalidParameter, .. })
        ));
        let other_sdp = refused(400, 100, "SDP mismatch: accept already in progress");
        assert!(matches!(judged(&accept(), &other_sdp, 2, true), Verdict::Failed(_)));
        let over = refused(400, 100, "Call already terminated");
        assert!(matches!(judged(&accept(), &over, 2, true), Verdict::Failed(_)));
        assert_eq!(judged(&terminate(), &over, 2, true), Verdict::Done(Reply::Done));
        assert!(matches!(judged(&terminate(), &over, 1, false), Verdict::Failed(_)));
    }

    #[test]
    fn a_plain_refusal_is_final_and_a_passing_one_comes_again_but_for_connect() {
        assert!(matches!(judged(&terminate(), &refused(400, 100, "no"), 1, false), Verdict::Failed(_)));
        assert!(is_again(&judged(&terminate(), &refused(500, 2, "later"), 1, false)));
        assert!(is_again(&judged(&accept(), &refused(500, 2, "later"), 1, false)));
        assert!(!is_again(&judged(&accept(), &refused(500, 2, "later"), 2, false)));
        assert!(!is_again(&judged(&accept(), &refused(400, 100, "no"), 1, false)));
        assert!(!is_again(&judged(&connect(), &refused(500, 2, "later"), 1, false)));
        let End::Refused { http, refusal, .. } = refused(429, 4, "later") else { panic!("refused") };
        let slow = End::Refused { http, refusal, after: Some(Duration::from_secs(3600)) };
        assert_eq!(judged(&terminate(), &slow, 1, false), Verdict::Again { after: LONGEST_WAIT });
        assert_eq!(judged(&accept(), &slow, 1, false), Verdict::Again { after: BREATH });
    }

    #[test]
    fn an_answer_is_read_for_what_was_asked() {
        let answer =
            |action: &Action, body: &str| judged(action, &End::Answered { body: body.into() }, 1, false);
        assert_eq!(answer(&accept(), r#"{"success":true}"#), Verdict::Done(Reply::Done));
        assert_eq!(answer(&accept(), r#"{"success":false}"#), Verdict::Failed(Failure::Unreadable));
        assert_eq!(answer(&accept(), "<html>"), Verdict::Failed(Failure::Unreadable));
        let id = r#"{"messaging_product":"whatsapp","calls":[{"id":"wacid.B"}],"success":true}"#;
        assert_eq!(answer(&connect(), id), Verdict::Done(Reply::Connected("wacid.B".into())));
        assert_eq!(answer(&connect(), r#"{"success":true}"#), Verdict::Failed(Failure::Unreadable));
    }
}
