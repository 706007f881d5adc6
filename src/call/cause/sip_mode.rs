//! What Meta's SIP side answers a business-initiated call with (reference §14.6): to causes, for numbers that a PBX
//! runs in SIP mode beside us, and for whoever reads its traces with `cordboard`'s table.

use super::HangupCause;
use crate::whatsapp::Meaning;

impl HangupCause {
    /// The cause behind a status and the texts of reason phrase and `Warning: 399`.
    ///
    /// Meta hides on purpose whether a user is not on WhatsApp or has not allowed calls.
    #[must_use]
    pub fn from_sip_mode(status: u16, text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let meta = Self::Meta;
        match status {
            400 => meta(Meaning::InvalidParameter),
            403 if says(&["permission"]) => meta(Meaning::NoPermission),
            403 if says(&["server does not match", "server doesn't match"]) => meta(Meaning::NoSipServer),
            403 if says(&["authori"]) => meta(Meaning::AccessDenied),
            403 if says(&["per day", "limit"]) => meta(Meaning::DailyCallLimit),
            403 if says(&["duplicate"]) => meta(Meaning::AlreadyInCall),
            403 if says(&["digest", "credential", "password"]) => meta(Meaning::TokenInvalid),
            403 if says(&["payment"]) => meta(Meaning::PaymentMissing),
            403 if says(&["sdp"]) => meta(Meaning::SdpInvalid),
            403 => meta(Meaning::AccessDenied),
            404 => meta(Meaning::InvalidParameter),
            407 => meta(Meaning::TokenInvalid),
            408 => meta(Meaning::NoMediaReceived),
            480 => Self::UserUnanswered,
            486 => Self::UserRejected,
            487 => Self::PhoneCancelled,
            488 => meta(Meaning::SdpInvalid),
            503 => meta(Meaning::TemporaryFault),
            _ => meta(Meaning::Unknown(0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_the_reference_has_a_row_of_its_own_kind() {
        for (status, text, label) in [
            (400, "Asset not found", "meta_parameter"),
            (403, "SIP server does not match", "meta_no_sip_server"),
            (403, "No approved call permission", "meta_no_permission"),
            (403, "App not authorised for number", "meta_token"),
            (403, "Connected call per day limit of 5", "meta_pair_cap"),
            (403, "Duplicate call", "meta_pair_busy"),
            (403, "Bad digest", "meta_token"),
            (403, "Payment problem", "meta_payment"),
            (403, "SDP Validation error", "meta_sdp_refused"),
            (404, "IP address in Request-URI", "meta_parameter"),
            (407, "", "meta_token"),
            (408, "RTP timeout", "user_heard_nothing"),
            (480, "Temporarily Unavailable", "user_unanswered"),
            (486, "Busy Here", "user_rejected"),
            (487, "Request Terminated", "phone_cancelled"),
            (500, "re-INVITE", "meta_unknown"),
            (503, "internal", "meta_fault"),
        ] {
            assert_eq!(HangupCause::from_sip_mode(status, text).verdict().label, label, "{status} {text}");
        }
    }
}
