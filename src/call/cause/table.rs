//! The rows of the verdict table, exhaustive: a cause without a row does not compile.
//!
//! Statuses follow rule 9: a denial is 403 or 603 with Q.850 cause 21, because PBXs fail over to the public
//! network on 480 and 5xx; overload and Meta's outages stay 503. Meta's codes are those of the reference, §7.2.

use super::{CodeRefusal, Fault, HangupCause, Verdict};
use crate::call::input::{MediaFailure, MediaRefusal};
use crate::policy::{AskReason, DenialReason};
use crate::whatsapp::Meaning;
use Fault::{Meta, Phone, Policy, Us, User};

/// `cause => label, fault, SIP status, phrase, Q.850 cause, advice;` or `cause => (another table);`
macro_rules! table {
    ($value:expr; $($rows:tt)*) => { table!(@ $value; []; $($rows)*) };
    (@ $value:expr; [$($arms:tt)*];) => { match $value { $($arms)* } };
    (@ $value:expr; [$($arms:tt)*]; $cause:pat => $label:literal, $fault:ident, $sip:literal, $phrase:literal,
     $q850:literal, $advice:literal; $($rest:tt)*) => {
        table!(@ $value; [$($arms)* $cause => Verdict {
            label: $label, fault: $fault, sip: $sip, phrase: $phrase, q850: $q850, advice: $advice,
        },]; $($rest)*)
    };
    (@ $value:expr; [$($arms:tt)*]; $cause:pat => ($other:expr); $($rest:tt)*) => {
        table!(@ $value; [$($arms)* $cause => $other,]; $($rest)*)
    };
}

pub(super) const fn verdict(cause: HangupCause) -> Verdict {
    use HangupCause as C;
    table! { cause;
        C::UserHungUp => "user_hung_up", User, 480, "User hung up", 16, "Nothing: an ordinary end.";
        C::UserCancelled => "user_cancelled", User, 487, "User gave up", 16,
            "Call back; look at the ring targets if many give up.";
        C::UserRejected => "user_rejected", User, 486, "User declined", 21,
            "Four misses in a row lose the permission: wait.";
        C::UserUnanswered => "user_unanswered", User, 480, "No answer", 19,
            "Four misses in a row lose the permission: wait.";
        C::SessionExpired => "session_expired", Phone, 480, "Session expired", 102,
            "The phone went away during the call: check its power and network.";
        C::TransferFailed => "transfer_failed", Phone, 480,
            "Transfer failed", 19, "Nobody took a transferred call: check its target.";
        C::NotFetched => "not_fetched", Phone, 480, "Not fetched", 19,
            "Nobody fetched a parked call: see `[features.parking]`.";
        C::Transferred => "transferred", Phone, 480,
            "Transferred", 16, "Nothing: who was called talks on in another call.";
        C::Crossed => "crossed", User, 487, "User calls you", 16, "Nothing: the phone talks on the user's own call.";
        C::NotDialable => "not_dialable", Policy, 404,
            "Number unknown", 1, "Dial prefix and country code; see `dial` of the number.";
        C::NotAllowed => "not_allowed", Policy, 403, "Not allowed here", 21,
            "Add the phone or trunk to `dial` of the business number.";
        C::PhoneCapped => "phone_capped", Policy, 403, "Too many calls", 21,
            "Is its password stolen? If not, raise `calls.per_phone`.";
        C::AllCapped => "all_capped", Policy, 403, "Too many calls", 21,
            "Look who dials (`cordboard calls`); if all is well, raise `calls.together`.";
        C::Emergency => "emergency", Policy, 403, "No emergency calls", 21,
            "WhatsApp reaches no emergency service: use another line.";
        C::Code(refusal) => (code(refusal));
        C::Voicemail => "voicemail", Policy, 480,
            "Voicemail", 16, "A user could leave a message: `cordboard voicemail`, then call back.";
        C::Announced => "announced", Policy, 480,
            "Announcement", 16, "A user heard the number's announcement: call back.";
        C::MetaSilent => "meta_silent", Meta, 503,
            "WhatsApp no answer", 102, "Check that webhooks of the field `calls` arrive.";
        C::GraphTimedOut => "graph_timed_out", Meta, 503,
            "WhatsApp too slow", 102, "Check the way out to Graph; Meta's status page.";
        C::GraphUnreachable => "graph_unreachable", Meta, 503, "WhatsApp down", 38,
            "Check DNS, the firewall and the way out to Graph.";
        C::GraphUnreadable => "graph_unreadable", Meta, 503, "WhatsApp error", 38,
            "Compare `graph.version` with Meta's supported versions.";
        C::NoMedia => "no_media", Us, 480, "No audio", 31, "Check the media addresses and UDP ports on both sides.";
        C::Closed => "closed", Policy, 480, "Closed", 21, "A user called outside the number's `hours`: call back.";
        C::TooLong => "too_long", Policy, 480,
            "Call too long", 31, "Raise `calls.max_duration` if such calls are meant.";
        C::StoreDown => "store_down", Us, 503, "Database down", 41, "Check the disk and the store's file.";
        C::Overloaded => "overloaded", Us, 503, "Gateway overloaded", 42,
            "Give it a faster machine, or look at `refuse_at` in `[media]`.";
        C::Stopping => "stopping", Us, 503, "Restarting", 41, "Nothing: the gateway was stopped.";
        C::Ordered => "ordered", Policy, 480,
            "Call ended", 16, "Nothing: the call was ended by the API; the log says by whose token.";
        C::Orphaned => "orphaned", Us, 503, "Restarted", 41, "The process died during the call: look for the reason.";
        C::Panic => "panic", Us, 500, "Gateway error", 41, "A bug of ours: report it with the log of this call.";
        C::PhoneHungUp => "phone_hung_up", Phone, 480, "Phone hung up", 16, "Nothing: an ordinary end.";
        C::PhoneCancelled => "phone_cancelled", Phone, 487, "Cancelled", 16, "Nothing: the caller gave up.";
        C::PhoneBusy => "phone_busy", Phone, 486, "Busy", 17, "Add a ring target to the business number.";
        C::PhoneDeclined => "phone_declined", Phone, 603, "Declined", 21, "Nothing: somebody declined.";
        C::PhoneUnanswered => "phone_unanswered", Phone, 480, "No answer", 19,
            "Meta watches the pick-up rate: add ring targets.";
        C::PhoneUnreachable => "phone_unreachable", Phone, 480, "Phone offline", 20,
            "No ring target is registered or answers; see `/readyz`.";
        C::PhoneMediaRefused => "phone_media_refused", Phone, 488, "No common codec", 88,
            "Enable PCMU or PCMA on the phone.";
        C::PhoneLost => "phone_lost", Phone, 480,
            "Phone lost", 102, "The phone's ACK never came: check NAT and firewall.";
        C::PhoneFailed => "phone_failed", Phone, 480,
            "Phone error", 41, "Look at the phone's or PBX's status in the log.";
        C::Asked => "asked", Policy, 603, "Request sent", 21, "Wait: the phone rings when the user accepts.";
        C::Denied(reason) => (denied(reason));
        C::AskDenied(reason) => (asking(reason));
        C::Meta(meaning) => (meta(meaning));
        C::MediaRefused(refusal) => (media_refused(refusal));
        C::MediaFailed(failure) => (media_failed(failure));
    }
}

const fn code(refusal: CodeRefusal) -> Verdict {
    use CodeRefusal as R;
    table! { refusal;
        R::Unknown => "unknown_code", Policy, 404, "No such code", 1, "The codes stand in `[features]`.";
        R::NothingRings => "nothing_rings", Phone, 404,
            "Nothing rings", 1, "The call was answered or given up before it was picked up.";
        R::NotYours => "not_yours", Policy, 403, "Not your group", 21,
            "Put both phones into one `[[group]]`, or see `pick_up_by` and `retrieve_by`.";
        R::NothingToPark => "nothing_to_park", Phone, 404,
            "Nothing to park", 1, "The phone has no call with a user on another line.";
        R::NoSuchOutcome => "no_such_outcome", Phone, 404, "No such outcome", 1,
            "Dial the code and a place in `records.outcomes`, from 1.";
        R::NothingToNote => "nothing_to_note", Phone, 404, "No call to note", 1,
            "The phone had no call with a user in the last 24 h.";
        R::NothingParked => "nothing_parked", Phone, 404,
            "Nothing parked", 1, "The call was fetched, went back or ended; or it is another place.";
        R::NoParkingPlace => "no_parking_place", Policy, 486, "No parking place", 17,
            "The place is taken or does not exist: `slots` in `[features.parking]`.";
        R::NobodyToCallBack => "nobody_to_call_back", Policy, 404,
            "Nobody to call", 1, "See `cordboard missed`: none is open and allowed.";
        R::NoMessages => "no_messages", Policy, 404, "No messages", 1, "Nothing: no user has left a message.";
    }
}

const fn denied(reason: DenialReason) -> Verdict {
    use DenialReason as D;
    table! { reason;
        D::NoPermission => "no_permission", Policy, 403, "No permission", 21,
            "Send the user a call permission request first.";
        D::PermissionExpired => "permission_expired", Policy, 403, "Permission over", 21,
            "The seven days are over: ask the user again.";
        D::PermissionRevoked => "permission_revoked", Policy, 403, "Permission taken", 21,
            "The user, or Meta after 4 misses, took it back: ask again.";
        D::NumberCap => "number_cap", Policy, 403, "Daily limit", 21,
            "The number's cap per 24 h is reached; `cap_per_number`.";
        D::PairCap => "pair_cap", Policy, 403,
            "User limit", 21, "Meta allows no more calls to this user in 24 h.";
        D::OneCallPerPair => "pair_busy", Policy, 486, "Already in call", 17, "A call with this user is up.";
        D::Concurrent => "concurrent_cap", Policy, 503, "Lines full", 34,
            "Meta's concurrent calls of the number are used up.";
        D::Initiations => "initiation_cap", Policy, 403, "Dial limit", 21,
            "Meta's 10,000 attempts per 24 h are used up.";
        D::CountryBlocked => "country_blocked", Policy, 403, "Country blocked", 21,
            "Meta offers no outbound calls for numbers of this country.";
        D::Restricted => "restricted", Policy, 403, "Calling paused", 21,
            "Meta paused calls for bad feedback: see `cordboard rules`.";
        D::Barred => "barred", Policy, 403, "Number barred", 21, "The number is in `never_call`.";
        D::Unanswered => "unanswered_streak", Policy, 403, "Missed 3 times", 21,
            "One more may cost the permission: `cordboard permission override`.";
        D::OutsideHours => "outside_hours", Policy, 403, "Closed now", 21, "Calls wait for business hours.";
        D::StoreDown => "store_down", Us, 503, "Database down", 41, "Check the disk and the store's file.";
    }
}

const fn asking(reason: AskReason) -> Verdict {
    use AskReason as A;
    table! { reason;
        A::Needless => "ask_needless", Policy, 403,
            "Already allowed", 21, "The permission is permanent: just call.";
        A::ShortLimit => "ask_day_limit", Policy, 403,
            "Asked today", 21, "One request in 24 h; a call frees it.";
        A::LongLimit => "ask_week_limit", Policy, 403,
            "Asked twice", 21, "Two requests in 7 days; a call frees them.";
        A::Restricted => "ask_restricted", Policy, 403, "Calling paused", 21,
            "Meta paused calls and requests: see `cordboard rules`.";
        A::CountryBlocked => "ask_country", Policy, 403, "Country blocked", 21,
            "Meta offers no outbound calls for numbers of this country.";
        A::NoTemplate => "ask_no_template", Policy, 403, "No open chat", 21,
            "Name an approved template in `ask`, or wait for a message.";
    }
}

const fn media_refused(refusal: MediaRefusal) -> Verdict {
    use MediaRefusal as R;
    table! { refusal;
        R::NoPorts => "no_ports", Us, 503,
            "No ports left", 34, "Widen the port range of the realm in `[media]`.";
        R::MetaOffer => "meta_sdp", Meta, 488, "WhatsApp SDP", 88,
            "Report it with the masked session description of the log.";
        R::PhoneOffer => "phone_media_refused", Phone, 488, "No common codec", 88,
            "Enable PCMU or PCMA on the phone.";
        R::PhoneUnencrypted => "phone_unencrypted", Policy, 488, "SRTP required", 88,
            "Switch SRTP on in the phone, or relax its `srtp` here.";
        R::PhoneReadableKeys => "phone_keys_readable", Policy, 488, "SRTP needs TLS", 88,
            "Let the phone use SIP over TLS, or set `srtp_keys_in_clear`.";
        R::PhoneEncryption => "phone_encryption", Phone, 488, "SRTP mismatch", 88,
            "Compare the phone's SRTP suites with ours, and its `srtp` here.";
        R::Unavailable => "media_down", Us, 503,
            "Gateway busy", 41, "A media worker is gone: restart; report it.";
    }
}

const fn media_failed(failure: MediaFailure) -> Verdict {
    use MediaFailure as F;
    table! { failure;
        F::Ice => "ice_failed", Us, 503, "No media path", 27,
            "Open outbound UDP to Meta's relays; check `advertised`.";
        F::Dtls => "dtls_failed", Us, 503, "No secure media", 27,
            "Check the clock; report it with the log of this call.";
        F::Fingerprint => "fingerprint_mismatch", Meta, 503, "No secure media", 27,
            "Somebody stands between us and Meta's relay.";
        F::Consent => "consent_lost", Meta, 480, "Path lost", 27, "The path to Meta's relay broke for 30 s.";
        F::Panic => "media_panic", Us, 500, "Gateway error", 41,
            "A bug of ours: report it with the log of this call.";
    }
}

const fn meta(meaning: Meaning) -> Verdict {
    use Meaning as M;
    table! { meaning;
        M::NotCallable => "meta_not_callable", Meta, 404, "Not on WhatsApp", 1,
            "The user has no WhatsApp or an old client.";
        M::AlreadyInCall => "meta_pair_busy", Meta, 486, "Already in call", 17, "A call with this user is up.";
        M::DailyCallLimit => "meta_pair_cap", Meta, 403, "User limit", 21,
            "Meta allows no more calls to this user in 24 h.";
        M::CountryUnavailable => "meta_country", Meta, 403, "Country blocked", 21,
            "Meta offers no outbound calls for numbers of this country.";
        M::ConcurrentCallsLimit => "meta_concurrent", Meta, 503, "Lines full", 34,
            "Meta's concurrent calls are used up.";
        M::CallRateLimit => "meta_call_rate", Meta, 503,
            "Dial limit", 42, "Meta's attempts per 24 h are used up.";
        M::PausedForQuality => "meta_paused", Meta, 503, "Calling paused", 42,
            "Meta paused calling: too many users complained.";
        M::Throttled | M::PermissionQueryLimit => "meta_throttled", Meta, 503, "WhatsApp busy", 42,
            "Too many Graph requests: slow down.";
        M::TemporaryFault | M::ConnectionError => "meta_fault", Meta, 503, "WhatsApp error", 41,
            "Meta has a fault that may pass; try again.";
        M::TokenInvalid | M::AccessDenied => "meta_token", Us, 500, "Token refused", 41,
            "Renew `access_token`; it needs whatsapp_business_messaging.";
        M::InvalidParameter => "meta_parameter", Us, 500, "WhatsApp refused", 41,
            "Report it with the log of this call.";
        M::SdpInvalid => "meta_sdp_refused", Us, 488,
            "WhatsApp SDP", 88, "Report it with the log of this call.";
        M::NotOnAllowList => "meta_allow_list", Policy, 403, "Test number", 21,
            "Add the user to the test number's allow list.";
        M::PaymentMissing => "meta_payment", Policy, 403, "Payment missing", 21,
            "Add a payment method to the account at Meta.";
        M::ConnectTimeout => "meta_connect_timeout", Us, 408, "WhatsApp timeout", 102,
            "Check outbound UDP and `advertised`.";
        M::NoConversation => "meta_no_conversation", Policy, 403, "No conversation", 21,
            "Exchange messages first, then ask for permission.";
        M::WindowShut => "meta_window_shut", Policy, 403, "No open chat", 21,
            "24 h since the user wrote: name an approved template.";
        M::PermissionRequestLimit => "meta_request_limit", Policy, 403, "Asked too often", 21,
            "One request in 24 h and two in 7 days.";
        M::PermanentPermissionExists => "meta_permission_exists", Policy, 403, "Already allowed", 21,
            "The permission is permanent: just call.";
        M::NoPermission => "meta_no_permission", Policy, 403, "No permission", 21,
            "Send the user a call permission request first.";
        M::CallingNotEnabled => "meta_not_enabled", Policy, 403, "Calling is off", 21,
            "Enable calling in the number's settings at Meta.";
        M::NotSubscribed => "meta_not_subscribed", Policy, 403, "Not subscribed", 21,
            "Subscribe the app to the webhook field `calls`.";
        M::MessagingLimitTooLow => "meta_tier", Policy, 403, "Tier too low", 21,
            "Calling needs a messaging limit of 2,000 per day.";
        M::NoSipServer => "meta_no_sip_server", Policy, 403,
            "No SIP server", 21, "Only of interest in SIP mode.";
        M::NumberInSipMode => "meta_sip_mode", Us, 500, "Number in SIP mode", 41,
            "Disable `sip.status` of the number at Meta.";
        M::ClientSetupFailed => "client_setup_failed", User, 480, "User's app failed", 41,
            "Nothing here: the user's client.";
        M::RelayUnreachable => "client_no_relay", User, 480,
            "User offline", 41, "Nothing here: the user's network.";
        M::NoMediaReceived => "user_heard_nothing", Us, 480, "User heard nothing", 31,
            "Our media did not arrive: check UDP and `advertised`.";
        M::NoMediaSent => "user_sent_nothing", User, 480,
            "User was silent", 31, "Nothing here: the user's client.";
        M::NoMediaSignals => "no_media_signals", Meta, 480,
            "No media", 31, "Meta saw no media on either side.";
        M::CallButtonUnsupported | M::Undeliverable | M::TemplateMissing => "meta_message", Meta, 500, "WhatsApp refused", 41,
            "An error of the messages API; no call should see it.";
        M::Unknown(_) => "meta_unknown", Meta, 500, "WhatsApp error", 41,
            "A code nobody has described: see the log for it.";
    }
}
