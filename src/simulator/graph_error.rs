//! Meta's error bodies (reference §7).

use serde_json::{Value, json};

use super::rules::Refusal;
use super::sdp::SdpFault;

/// One error answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GraphError {
    /// HTTP status.
    pub(super) http: u16,
    /// Code of reference §7.2.
    pub(super) code: u32,
    /// `error_subcode`.
    pub(super) subcode: Option<u32>,
    /// `error_data.details`.
    pub(super) details: String,
}

/// HTTP status and message of a code.
const CODES: [(u32, u16, &str); 26] = [
    (100, 400, "Invalid parameter"),
    (190, 401, "Invalid OAuth 2.0 Access Token"),
    (613, 429, "Calls to this API have exceeded the rate limit"),
    (131_030, 400, "Recipient phone number not in allowed list"),
    (131_047, 400, "Re-engagement message"),
    (132_001, 404, "Template name does not exist in the translation"),
    (131_044, 400, "Business eligibility payment issue"),
    (131_055, 400, "Method not allowed: the number uses SIP"),
    (138_000, 401, "Calling not enabled"),
    (138_001, 400, "Receiver uncallable"),
    (138_002, 429, "Concurrent calls limit"),
    (138_003, 400, "Duplicate call: a call with this user is already up"),
    (138_004, 500, "Connection error"),
    (138_005, 429, "Call rate limit exceeded"),
    (138_006, 401, "No approved call permission from the recipient"),
    (138_007, 500, "Connection timeout error"),
    (138_008, 400, "SDP Validation error"),
    (138_009, 400, "Call permission request limit hit"),
    (138_011, 403, "Call not allowed"),
    (138_012, 400, "Business initiated calls limit hit"),
    (138_013, 400, "Business initiated calling is not available for this number"),
    (138_014, 400, "Calling is temporarily disabled"),
    (138_015, 400, "Calling cannot be enabled"),
    (138_017, 400, "Call permission request not needed"),
    (138_018, 400, "Calling prerequisites are missing"),
    (131_009, 400, "Parameter value is not valid"),
];

impl GraphError {
    /// An error with the status that belongs to the code.
    pub(super) fn new(code: u32, details: impl Into<String>) -> Self {
        let http = CODES.iter().find(|(known, ..)| *known == code).map_or(400, |(_, http, _)| *http);
        Self { http, code, subcode: None, details: details.into() }
    }

    /// Code 100.
    pub(super) fn parameter(details: impl Into<String>) -> Self {
        Self::new(100, details)
    }

    /// The body; `trace` is Meta's request id.
    pub(super) fn body(&self, trace: &str) -> Value {
        let text =
            CODES.iter().find(|(known, ..)| *known == self.code).map_or("Unknown error", |(.., text)| text);
        let mut error = json!({
            "message": format!("(#{}) {text}", self.code), "type": "OAuthException", "code": self.code,
            "error_data": { "messaging_product": "whatsapp", "details": self.details }, "fbtrace_id": trace
        });
        if let Some(subcode) = self.subcode {
            error["error_subcode"] = json!(subcode);
        }
        json!({ "error": error })
    }
}

impl From<SdpFault> for GraphError {
    fn from(fault: SdpFault) -> Self {
        match &fault {
            SdpFault::Malformed(_) => Self::parameter(fault.details()),
            SdpFault::Invalid(_) => Self { subcode: Some(2_593_093), ..Self::new(138_008, fault.details()) },
        }
    }
}

impl From<Refusal> for GraphError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Concurrent => Self::new(138_002, "the number has reached its limit of concurrent calls"),
            Refusal::PairBusy => {
                Self::new(138_003, "there is a call between this number and this user already")
            }
            Refusal::Initiations => Self::new(138_005, "the number has started too many calls in 24 hours"),
            Refusal::Paused => Self::new(138_014, "calling is paused for low quality"),
            Refusal::NoPermission => Self::new(138_006, "the user has not approved calls from this number"),
            Refusal::PairLimit(until) => Self::new(
                138_012,
                format!(
                    "the limit of connected calls to this user in 24 hours is reached; the next call is possible at \
                     {} (limit_expiration_time {})",
                    until,
                    until.secs()
                ),
            ),
        }
    }
}
