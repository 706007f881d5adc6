//! Graph's error codes and their meanings, and how a request may end (reference §7).

use serde_json::Value;

use super::json;
use crate::time::Wall;

/// `error_subcode` of "SDP Validation error" (reference §7.2, seen by implementers).
const SDP_SUBCODE: i64 = 2_593_093;

macro_rules! meanings {
    ($($(#[$doc:meta])* $name:ident = $code:literal $(| $alias:literal)*, $label:literal;)*) => {
        /// What an error code of Graph means (reference §7.2 and the general codes of Graph).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Meaning {
            $($(#[$doc])* $name,)*
            /// A code nobody has described yet.
            Unknown(i64),
        }

        impl Meaning {
            /// Every meaning that has a name.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The meaning of a code.
            #[must_use]
            pub const fn from_code(code: i64) -> Self {
                match code {
                    $($code $(| $alias)* => Self::$name,)*
                    other => Self::Unknown(other),
                }
            }

            /// The code; of several codes with one meaning, the first.
            #[must_use]
            pub const fn code(self) -> i64 {
                match self {
                    $(Self::$name => $code,)*
                    Self::Unknown(code) => code,
                }
            }

            /// A short name for metrics, logs and records; a closed set.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                    Self::Unknown(_) => "unknown",
                }
            }
        }
    };
}

meanings! {
    /// Graph itself has a fault that may pass.
    TemporaryFault = 2 | 1 | 131_000 | 131_016, "temporary_fault";
    /// The access token is wrong or has expired.
    TokenInvalid = 190, "token_invalid";
    /// The token may not do this.
    AccessDenied = 10 | 3 | 200 | 131_005, "access_denied";
    /// Too many requests of this application or account.
    Throttled = 4 | 17 | 32 | 80_007 | 130_429, "throttled";
    /// A parameter is wrong; faults in SDP come under this code too.
    InvalidParameter = 100, "invalid_parameter";
    /// Too many `call_permissions` queries.
    PermissionQueryLimit = 613, "permission_query_limit";
    /// Call buttons cannot be sent from this country.
    CallButtonUnsupported = 131_009, "call_button_unsupported";
    /// The message could not be delivered: an old client.
    Undeliverable = 131_026, "undeliverable";
    /// Test number: the user is not on the allow list.
    NotOnAllowList = 131_030, "not_on_allow_list";
    /// No valid payment method.
    PaymentMissing = 131_044, "payment_missing";
    /// More than 24 hours since the user last wrote: only a template may be sent.
    WindowShut = 131_047, "window_shut";
    /// The number is in SIP mode; Graph calls are not allowed.
    NumberInSipMode = 131_055, "number_in_sip_mode";
    /// Template name or language does not exist.
    TemplateMissing = 132_001, "template_missing";
    /// Calling is not enabled on the business number.
    CallingNotEnabled = 138_000, "calling_not_enabled";
    /// The user cannot be called: no WhatsApp, terms not accepted, or a client without calls.
    NotCallable = 138_001, "not_callable";
    /// Too many concurrent calls of the business number.
    ConcurrentCallsLimit = 138_002, "concurrent_calls_limit";
    /// A call with this user is already up.
    AlreadyInCall = 138_003, "already_in_call";
    /// Meta could not connect the call.
    ConnectionError = 138_004, "connection_error";
    /// Too many calls of the business number in 24 h.
    CallRateLimit = 138_005, "call_rate_limit";
    /// No approved permission of this user.
    NoPermission = 138_006, "no_permission";
    /// The SDP was not applied or not sent in time.
    ConnectTimeout = 138_007, "connect_timeout";
    /// Meta's SDP validation refused ours.
    SdpInvalid = 138_008, "sdp_invalid";
    /// Too many permission requests to this user.
    PermissionRequestLimit = 138_009, "permission_request_limit";
    /// No open conversation with this user, as far as anybody knows.
    NoConversation = 138_011, "no_conversation";
    /// The connected calls of 24 h are used up.
    DailyCallLimit = 138_012, "daily_call_limit";
    /// Business-initiated calls are not available for this business number's country.
    CountryUnavailable = 138_013, "country_unavailable";
    /// Calling is paused because of low quality.
    PausedForQuality = 138_014, "paused_for_quality";
    /// The messaging limit is too low for calling.
    MessagingLimitTooLow = 138_015, "messaging_limit_too_low";
    /// A permission request is not needed: the permission is permanent.
    PermanentPermissionExists = 138_017, "permanent_permission_exists";
    /// Neither a `calls` subscription nor SIP is set up.
    NotSubscribed = 138_018, "not_subscribed";
    /// The user's client could not set the call up.
    ClientSetupFailed = 138_019, "client_setup_failed";
    /// The user's client could not reach the relay.
    RelayUnreachable = 138_020, "relay_unreachable";
    /// The user's client received no media for long: ours did not arrive.
    NoMediaReceived = 138_021, "no_media_received";
    /// The user's client sent no media for long.
    NoMediaSent = 138_022, "no_media_sent";
    /// Accepted, then ended without any sign of media.
    NoMediaSignals = 138_023, "no_media_signals";
    /// Health status: the number has no SIP server.
    NoSipServer = 138_024 | 138_025, "no_sip_server";
}

impl Meaning {
    /// The meaning of a code with its subcode, which tells an SDP fault from other bad parameters.
    #[must_use]
    pub const fn from_codes(code: i64, subcode: i64) -> Self {
        if subcode == SDP_SUBCODE
            && matches!(Self::from_code(code), Self::InvalidParameter | Self::Unknown(_))
        {
            Self::SdpInvalid
        } else {
            Self::from_code(code)
        }
    }
}

/// How a Graph request ended that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Graph answered and said no.
    Refused {
        /// What its code means.
        meaning: Meaning,
        /// The HTTP status.
        http: u16,
        /// When it may be tried again, where Graph said so.
        until: Option<Wall>,
    },
    /// No answer in time; the request may have been carried out.
    TimedOut,
    /// No connection, or it broke; unless it never opened, the request may have been carried out.
    Unreachable,
    /// An answer that nobody can read: not Graph's JSON, or without the call id it must have.
    Unreadable,
}

impl Failure {
    /// A short name for metrics, logs and records; a closed set.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Refused { meaning, .. } => meaning.label(),
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
            Self::Unreadable => "unreadable",
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused { meaning, http, until: None } => {
                write!(f, "Graph refused: {} (code {}, HTTP {http})", meaning.label(), meaning.code())
            }
            Self::Refused { meaning, http, until: Some(until) } => {
                let (label, code) = (meaning.label(), meaning.code());
                write!(f, "Graph refused until {until}: {label} (code {code}, HTTP {http})")
            }
            Self::TimedOut => f.write_str("Graph did not answer in time"),
            Self::Unreachable => f.write_str("Graph cannot be reached"),
            Self::Unreadable => f.write_str("Graph's answer cannot be read"),
        }
    }
}

/// What the text of a refusal says about the call, where the code alone does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The same action is in progress or was carried out: "already in progress", "already accepted".
    InProgress,
    /// The call is over: "completed", "failed", "ended", "terminated".
    Over,
    /// The text says neither.
    Unsaid,
}

/// Graph's error envelope, read (reference §7.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What the code means.
    pub meaning: Meaning,
    /// When it may be tried again, if `error_data` tells.
    pub until: Option<Wall>,
    /// What the text says about the call.
    pub standing: Standing,
    /// Meta's name of the request (`fbtrace_id`), for their support.
    pub trace: Option<String>,
}

impl Refusal {
    /// What a bare HTTP 429 says.
    #[must_use]
    pub const fn throttled() -> Self {
        Self { meaning: Meaning::Throttled, until: None, standing: Standing::Unsaid, trace: None }
    }

    /// Reads `{"error":{…}}`; `None` if `body` is something else.
    #[must_use]
    pub fn parse(body: &[u8]) -> Option<Self> {
        let value: Value = serde_json::from_slice(body).ok()?;
        let error = value.get("error").filter(|it| it.is_object())?;
        let code = json::integer(&error["code"])?;
        let subcode = json::integer(&error["error_subcode"]).unwrap_or(0);
        let mut said = String::new();
        for part in [
            &error["message"],
            &error["error_user_msg"],
            &error["error_data"]["details"],
            &error["error_data"],
        ] {
            said.extend(part.as_str().map(str::to_ascii_lowercase));
            said.push(' ');
        }
        Some(Self {
            meaning: Meaning::from_codes(code, subcode),
            until: until(&error["error_data"]),
            standing: standing(&said),
            trace: json::text(&error["fbtrace_id"]),
        })
    }
}

/// The meanings of a webhook's `errors` array (reference §7.1).
#[must_use]
pub fn meanings(errors: &Value) -> Vec<Meaning> {
    json::items(errors)
        .iter()
        .filter_map(|it| {
            let code = json::integer(&it["code"])?;
            Some(Meaning::from_codes(code, json::integer(&it["error_subcode"]).unwrap_or(0)))
        })
        .collect()
}

fn standing(said: &str) -> Standing {
    const OVER: &[&str] =
        &["completed", "failed", "ended", "terminated", "mismatch", "does not match", "different"];
    const IN_PROGRESS: &[&str] =
        &["in progress", "already accepted", "already pre_accepted", "already pre-accepted"];
    let listed = said.contains("in progress, completed or failed");
    if !listed && OVER.iter().any(|word| said.contains(word)) {
        Standing::Over
    } else if IN_PROGRESS.iter().any(|word| said.contains(word)) {
        Standing::InProgress
    } else {
        Standing::Unsaid
    }
}

/// The time of the next allowed call in `error_data`; Meta has not written down where it stands.
///
/// Taken in this order: a field whose name speaks of expiry, time or retry; else the first thing
/// in `details` (or in `error_data` as a text) that is an RFC 3339 time or a Unix time.
fn until(data: &Value) -> Option<Wall> {
    if let Some(fields) = data.as_object() {
        let named = |it: &&String| {
            let name = it.to_ascii_lowercase();
            ["expir", "time", "until", "retry", "next_allowed"].iter().any(|word| name.contains(word))
        };
        let found = fields.keys().filter(named).find_map(|it| plausible(json::time(&fields[it])?));
        return found.or_else(|| time_in_text(fields.get("details")?.as_str()?));
    }
    time_in_text(data.as_str()?)
}

/// Only times between 2020 and 2100 are taken for times.
fn plausible(time: Wall) -> Option<Wall> {
    (1_577_836_800..4_102_444_800).contains(&time.secs()).then_some(time)
}

fn time_in_text(text: &str) -> Option<Wall> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | ':' | '+' | '.');
    text.split(|c| !is_part(c)).map(|it| it.trim_end_matches(['.', ':'])).find_map(|word| {
        let unix = (10..=13).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
        if unix { plausible(json::time(&Value::from(word))?) } else { rfc_3339(word) }
    })
}

/// `2026-11-22T17:08:29Z`, with or without a fraction or an offset such as `+0000` or `-03:00`.
fn rfc_3339(word: &str) -> Option<Wall> {
    let number = |from: usize, to: usize| word.get(from..to)?.parse::<i64>().ok();
    let mark = |at: usize, what: &str| word.get(at..=at).is_some_and(|it| it.eq_ignore_ascii_case(what));
    if !(mark(4, "-") && mark(7, "-") && mark(10, "T") && mark(13, ":") && mark(16, ":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let zone = word.get(19..)?.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = offset_minutes(zone)?;
    // Days of the civil calendar counted from 1970-01-01, years beginning in March.
    let shifted = if month > 2 { year } else { year - 1 };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * shifted + shifted / 4 - shifted / 100 + shifted / 400 + day_of_year - 719_468;
    plausible(Wall::from_secs(days * 86_400 + (hour * 60 + minute - offset) * 60 + second))
}

fn offset_minutes(zone: &str) -> Option<i64> {
    let sign = match zone.bytes().next() {
        None | Some(b'Z' | b'z') => return Some(0),
        Some(b'+') => 1,
        Some(b'-') => -1,
        Some(_) => return None,
    };
    let digits: String = zone.chars().filter(char::is_ascii_digit).collect();
    let (hours, minutes) = (digits.get(0..2)?.parse::<i64>().ok()?, digits.get(2..4).unwrap_or("00"));
    Some(sign * (hours * 60 + minutes.parse::<i64>().ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::*;

    /// The codes of the reference's table §7.2.
    const TABLE: &[i64] = &[
        100, 613, 131_009, 131_026, 131_030, 131_044, 131_055, 138_000, 138_001, 138_002, 138_003, 138_004,
        138_005, 138_006, 138_007, 138_008, 138_009, 138_011, 138_012, 138_013, 138_014, 138_015, 138_017,
        138_018, 138_019, 138_020, 138_021, 138_022, 138_023, 138_024, 138_025, 132_001,
    ];

    fn refusal(error: &Value) -> Refusal {
        Refusal::parse(json!({ "error": error }).to_string().as_bytes()).expect("an envelope")
    }

    #[test]
    fn every_code_of_the_reference_has_a_meaning_and_its_own_label() {
        for code in TABLE {
            assert!(!matches!(Meaning::from_code(*code), Meaning::Unknown(_)), "{code}");
        }
        for meaning in Meaning::ALL {
            assert_eq!(Meaning::from_code(meaning.code()), *meaning);
        }
        let labels: BTreeSet<_> = Meaning::ALL.iter().map(|it| it.label()).collect();
        assert_eq!(labels.len(), Meaning::ALL.len());
        assert_eq!(Meaning::from_code(138_010), Meaning::Unknown(138_010));
        assert_eq!(Meaning::from_code(138_010).code(), 138_010);
    }

    #[test]
    fn the_subcode_tells_an_sdp_fault_from_other_bad_parameters() {
        assert_eq!(Meaning::from_codes(100, 2_593_093), Meaning::SdpInvalid);
        assert_eq!(Meaning::from_codes(100, 0), Meaning::InvalidParameter);
        assert_eq!(Meaning::from_codes(138_012, 2_593_093), Meaning::DailyCallLimit);
    }

    #[test]
    fn the_time_of_the_next_allowed_call_is_found_wherever_meta_puts_it() {
        let expected = Some(Wall::from_secs(1_791_990_000));
        for data in [
            json!({ "messaging_product": "whatsapp", "limit_expiration_time": 1_791_990_000 }),
            json!({ "details": "Limit reached. Next call allowed at 1791990000." }),
            json!({ "details": "try again after 2026-10-14T15:00:00Z." }),
            json!({ "details": "allowed from 2026-10-14T12:00:00.000-03:00 on" }),
            json!({ "next_allowed_call": { "x": 1 }, "details": "at 2026-10-14T15:00:00+0000" }),
            json!("after 1791990000"),
        ] {
            assert_eq!(refusal(&json!({ "code": 138_012, "error_data": data })).until, expected, "{data}");
        }
        for data in [json!({}), json!({ "details": "call 5521955500123 refused, 100 of 100" }), json!(null)] {
            assert_eq!(refusal(&json!({ "code": 138_012, "error_data": data })).until, None, "{data}");
        }
    }

    #[test]
    fn a_date_that_does_not_exist_is_no_time_and_does_not_panic() {
        for word in [
            "2026-13-01T00:00:00Z",
            "2026-10-14T25:00:00Z",
            "2026-10-14",
            "٢٠٢٦-10-14T13:00:00Z",
            "2026-10-14T13:00:00+x",
        ] {
            assert_eq!(rfc_3339(word), None, "{word}");
        }
    }

    #[test]
    fn in_progress_and_over_are_told_apart_by_the_words() {
        let of = |text: &str| refusal(&json!({ "code": 100, "message": text })).standing;
        assert_eq!(of("(#100) Accept is already in progress for this call"), Standing::InProgress);
        assert_eq!(of("(#100) Call was already terminated"), Standing::Over);
        assert_eq!(of("(#100) SDP mismatch, accept in progress"), Standing::Over);
        assert_eq!(of("(#100) Invalid parameter"), Standing::Unsaid);
    }

    #[test]
    fn what_is_not_an_envelope_is_not_one() {
        for body in ["", "<html>", "{}", r#"{"error":"no"}"#, r#"{"error":{"message":"no code"}}"#] {
            assert!(Refusal::parse(body.as_bytes()).is_none(), "{body}");
        }
    }
}
