//! The five actions of `POST /{PHONE_NUMBER_ID}/calls` (reference §3).

use std::fmt;

use serde_json::{Value, json};

use crate::id::WaCallId;
use crate::user::UserId;

/// What we ask Meta to do.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// Bring up ICE and DTLS while the user still hears ringing.
    PreAccept {
        /// The user's call.
        call: WaCallId,
        /// Our SDP answer.
        sdp: String,
    },
    /// Answer the call.
    Accept {
        /// The user's call.
        call: WaCallId,
        /// The same SDP answer, byte for byte, as in `pre_accept`.
        sdp: String,
        /// Comes back in `terminate`; every app subscribed to the account can read it.
        opaque: Option<String>,
    },
    /// Decline the call.
    Reject {
        /// The user's call.
        call: WaCallId,
    },
    /// Hang up.
    Terminate {
        /// The call.
        call: WaCallId,
    },
    /// Call a user.
    Connect {
        /// Whom; by phone number where known, else by scoped id.
        user: UserId,
        /// Our complete SDP offer.
        offer: String,
        /// Comes back in statuses and `terminate`; every app subscribed to the account can read it.
        opaque: String,
    },
}

/// How an action succeeded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// Meta did it.
    Done,
    /// Meta started a call of this id.
    Connected(WaCallId),
}

impl Action {
    /// Meta's word for it, which is also its label in metrics and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::PreAccept { .. } => "pre_accept",
            Self::Accept { .. } => "accept",
            Self::Reject { .. } => "reject",
            Self::Terminate { .. } => "terminate",
            Self::Connect { .. } => "connect",
        }
    }

    /// The call it concerns; `None` for `connect`, whose call has no id yet.
    #[must_use]
    pub const fn call(&self) -> Option<&WaCallId> {
        match self {
            Self::PreAccept { call, .. }
            | Self::Accept { call, .. }
            | Self::Reject { call }
            | Self::Terminate { call } => Some(call),
            Self::Connect { .. } => None,
        }
    }

    /// The JSON body. `sdp_type` is `answer` for `pre_accept` and `accept`, whatever Meta's
    /// parameter tables say (reference §3, §13 no. 2).
    #[must_use]
    pub fn body(&self) -> Value {
        let mut body = json!({ "messaging_product": "whatsapp", "action": self.name() });
        if let Some(call) = self.call() {
            body["call_id"] = call.as_str().into();
        }
        match self {
            Self::PreAccept { sdp, .. } => body["session"] = session("answer", sdp),
            Self::Accept { sdp, opaque, .. } => {
                body["session"] = session("answer", sdp);
                if let Some(opaque) = opaque {
                    body["biz_opaque_callback_data"] = clipped(opaque).into();
                }
            }
            Self::Reject { .. } | Self::Terminate { .. } => {}
            Self::Connect { user, offer, opaque } => {
                match (user.phone(), user.scoped()) {
                    (Some(phone), _) => body["to"] = phone.digits().into(),
                    (None, Some(scoped)) => body["recipient"] = scoped.as_str().into(),
                    (None, None) => {}
                }
                body["session"] = session("offer", offer);
                body["biz_opaque_callback_data"] = clipped(opaque).into();
            }
        }
        body
    }
}

fn session(sdp_type: &str, sdp: &str) -> Value {
    json!({ "sdp_type": sdp_type, "sdp": sdp })
}

/// Meta takes 512 characters at most and refuses the whole action for one more.
fn clipped(opaque: &str) -> String {
    opaque.chars().take(512).collect()
}

/// SDP carries the ICE password and the user's number is personal: neither prints.
impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect { user, offer, .. } => write!(f, "connect({user}, sdp: {} bytes)", offer.len()),
            Self::PreAccept { call, sdp } | Self::Accept { call, sdp, .. } => {
                write!(f, "{}({call}, sdp: {} bytes)", self.name(), sdp.len())
            }
            Self::Reject { call } | Self::Terminate { call } => write!(f, "{}({call})", self.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::user::{Bsuid, Msisdn};

    fn call() -> WaCallId {
        "wacid.EXAMPLEinZ9y8=".into()
    }

    #[test]
    fn pre_accept_and_accept_carry_the_same_answer() {
        let sdp = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\n".to_owned();
        let early = Action::PreAccept { call: call(), sdp: sdp.clone() }.body();
        let late = Action::Accept { call: call(), sdp: sdp.clone(), opaque: Some("00ff".into()) }.body();
        assert_eq!(early["session"], json!({ "sdp_type": "answer", "sdp": sdp }));
        assert_eq!(early["session"], late["session"]);
        assert_eq!(
            (&early["action"], &late["action"], &late["call_id"]),
            (&json!("pre_accept"), &json!("accept"), &json!("wacid.EXAMPLEinZ9y8="))
        );
        assert_eq!(late["biz_opaque_callback_data"], "00ff");
        assert!(early.get("biz_opaque_callback_data").is_none());
    }

    #[test]
    fn connect_offers_and_names_the_user_by_number_or_else_by_scoped_id() {
        let phone = Msisdn::parse("5521955500123").expect("digits");
        let scoped = Bsuid::parse("BR.2099").expect("scoped");
        let to = |user| Action::Connect { user, offer: "v=0\r\n".into(), opaque: "00ff".into() }.body();
        let both = to(UserId::Both(phone, scoped.clone()));
        assert_eq!((&both["to"], both.get("recipient")), (&json!("5521955500123"), None));
        let hidden = to(UserId::Scoped(scoped));
        assert_eq!((hidden.get("to"), &hidden["recipient"]), (None, &json!("BR.2099")));
        assert_eq!(hidden["session"]["sdp_type"], "offer");
        assert!(hidden.get("call_id").is_none());
    }

    #[test]
    fn reject_and_terminate_carry_the_call_and_nothing_else() {
        let body = Action::Terminate { call: call() }.body();
        assert_eq!(
            body,
            json!({ "messaging_product": "whatsapp", "action": "terminate", "call_id": "wacid.EXAMPLEinZ9y8=" })
        );
        assert_eq!(Action::Reject { call: call() }.body()["action"], "reject");
    }

    #[test]
    fn an_action_prints_without_sdp_and_number() {
        let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
        let action = Action::Connect { user, offer: "a=ice-pwd:x".into(), opaque: String::new() };
        assert_eq!(format!("{action:?}"), "connect(***23, sdp: 11 bytes)");
    }
}
