//! What the business may do to a call: the five actions of `POST /{PHONE_NUMBER_ID}/calls` (reference §3).

use std::time::Duration;

use serde::Deserialize;

use super::call::{Call, Direction, DtlsChoice, Ending, Phase, User};
use super::delivery::Change;
use super::dtls::Role;
use super::graph_error::GraphError;
use super::media::{Command, now};
use super::meta::{Meta, State};
use super::offer;
use super::rules::Permission;
use super::sdp::{Half, Setup, read_business};

/// A `session` object.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Session {
    sdp_type: Option<String>,
    sdp: Option<String>,
}

/// The body of `POST …/calls`; fields that the stand-in does not act on may be there.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Request {
    messaging_product: Option<String>,
    /// Which of the five.
    pub(super) action: Option<String>,
    call_id: Option<String>,
    to: Option<String>,
    recipient: Option<String>,
    session: Option<Session>,
    biz_opaque_callback_data: Option<String>,
    recording: Option<serde_json::Value>,
    transcription: Option<serde_json::Value>,
}

/// What an action led to.
pub(super) enum Done {
    /// `{"messaging_product":"whatsapp","success":true}`.
    Success,
    /// A call was made; its `connect` webhook is to be sent before or after the reply.
    Connected(String, Change, Box<User>),
}

/// Prefixes of business numbers for which business-initiated calling is not available (reference §16.1). Numbers
/// of the fictional range +1 555 are left out: test set-ups use them.
pub(super) const NOT_AVAILABLE: [&str; 4] = ["1", "20", "84", "234"];

impl Request {
    fn sdp(&self, kind: &str) -> Result<&str, GraphError> {
        let session = self.session.as_ref().ok_or_else(|| GraphError::parameter("session is required"))?;
        if session.sdp_type.as_deref() != Some(kind) {
            return Err(GraphError::parameter(format!(
                "session.sdp_type must be \"{kind}\" for this action"
            )));
        }
        session.sdp.as_deref().ok_or_else(|| GraphError::parameter("session.sdp is required"))
    }

    fn check(&self) -> Result<&str, GraphError> {
        if self.messaging_product.as_deref() != Some("whatsapp") {
            return Err(GraphError::parameter("messaging_product must be \"whatsapp\""));
        }
        if self.biz_opaque_callback_data.as_ref().is_some_and(|data| data.chars().count() > 512) {
            return Err(GraphError::parameter("biz_opaque_callback_data is longer than 512 characters"));
        }
        for part in [&self.recording, &self.transcription].into_iter().flatten() {
            let enabled = part["status"].as_str() == Some("ENABLED");
            if enabled
                && (part["purpose"].as_str().is_none() || part["announcement_language"].as_str().is_none())
            {
                return Err(GraphError::parameter(
                    "purpose and announcement_language are required when ENABLED",
                ));
            }
        }
        self.action.as_deref().ok_or_else(|| GraphError::parameter("action is required"))
    }
}

impl Meta {
    /// Carries out one request for a number.
    pub(super) async fn act(&self, number: &str, request: Request) -> Result<Done, GraphError> {
        let action = request.check()?.to_owned();
        self.with(|state| match state.numbers.get(number) {
            Some(number) if number.calling => Ok(()),
            _ => Err(GraphError::new(138_000, "calling is not enabled on this number")),
        })?;
        if action == "connect" {
            return self.connect(number, &request).await;
        }
        let call = request.call_id.clone().ok_or_else(|| GraphError::parameter("call_id is required"))?;
        self.with(|state| match state.calls.get(&call) {
            Some(known) if known.number == number => Ok(()),
            _ => Err(GraphError::parameter("call_id is not valid: no such call on this number")),
        })?;
        match action.as_str() {
            "pre_accept" => self.pre_accept(&call, request.sdp("answer")?),
            "accept" => self.accept(&call, request.sdp("answer")?, request.biz_opaque_callback_data.clone()),
            "reject" => self.reject(&call),
            "terminate" => self.terminate(&call),
            _ => Err(GraphError::parameter(
                "action must be one of connect, pre_accept, accept, reject, terminate",
            )),
        }
    }

    fn pre_accept(&self, id: &str, sdp: &str) -> Result<Done, GraphError> {
        self.with(|state| {
            let call = open_call(state, id)?;
            if call.phase != Phase::Offered {
                return Err(GraphError::parameter("the call is already in progress: pre_accept comes once"));
            }
            self.apply(call, sdp)?;
            call.phase = Phase::PreAccepted;
            call.stage("pre_accept", now().wall);
            Ok(Done::Success)
        })
    }

    fn accept(&self, id: &str, sdp: &str, opaque: Option<String>) -> Result<Done, GraphError> {
        self.with(|state| {
            let call = open_call(state, id)?;
            match call.phase {
                Phase::Offered => self.apply(call, sdp)?,
                Phase::PreAccepted if call.business_sdp.as_deref() == Some(sdp) => {}
                Phase::PreAccepted => {
                    call.violations
                        .push((now().wall, "accept with an SDP other than that of pre_accept".to_owned()));
                    let details = "the SDP of accept is not byte for byte the SDP of pre_accept";
                    return Err(GraphError { subcode: Some(2_593_093), ..GraphError::new(138_008, details) });
                }
                _ => return Err(GraphError::parameter("the call is already in progress")),
            }
            let at = now().wall;
            call.phase = Phase::InProgress;
            call.picked_up.get_or_insert(at);
            call.opaque = opaque.or(call.opaque.take());
            call.stage("accept", at);
            let (pair, line) = (State::pair(call), call.line);
            state.ledger.connected(&pair, at, false);
            self.0.media.send(line, Command::Answer);
            Ok(Done::Success)
        })
    }

    /// Reads the business's answer and hands it to media.
    fn apply(&self, call: &mut Call, sdp: &str) -> Result<(), GraphError> {
        let business = read_business(sdp, Half::Answer)?;
        let role = match business.setup {
            Setup::Active | Setup::ActPass => Role::Server,
            Setup::Passive => Role::Client,
        };
        let fixed = match call.dtls_choice {
            Some(DtlsChoice::Client) => Some(Role::Client),
            Some(DtlsChoice::Server) => Some(Role::Server),
            None => None,
        };
        if fixed.is_some_and(|fixed| fixed != role) {
            return Err(GraphError::from(super::sdp::SdpFault::Invalid(
                "a=setup of the answer does not fit the a=setup of the offer".to_owned(),
            )));
        }
        call.business_sdp = Some(sdp.to_owned());
        call.business = Some(business.clone());
        self.0.media.send(call.line, Command::Remote(Box::new((business, role))));
        Ok(())
    }

    fn reject(&self, id: &str) -> Result<Done, GraphError> {
        self.with(|state| {
            let call = open_call(state, id)?;
            if !matches!(call.phase, Phase::Offered | Phase::PreAccepted) {
                return Err(GraphError::parameter("the call is already in progress and cannot be rejected"));
            }
            call.stage("reject", now().wall);
            Ok::<(), GraphError>(())
        })?;
        self.finish(id, Ending::Rejected);
        Ok(Done::Success)
    }

    fn terminate(&self, id: &str) -> Result<Done, GraphError> {
        let gone = || GraphError::parameter("the call has already ended");
        self.with(|state| {
            let call = state.calls.get_mut(id).filter(|call| call.phase != Phase::Ended).ok_or_else(gone)?;
            call.stage("terminate", now().wall);
            Ok::<(), GraphError>(())
        })?;
        if self.finish(id, Ending::Business) { Ok(Done::Success) } else { Err(gone()) }
    }

    async fn connect(&self, number: &str, request: &Request) -> Result<Done, GraphError> {
        let business = read_business(request.sdp("offer")?, Half::Offer)?;
        if request.to.is_none() && request.recipient.is_none() {
            return Err(GraphError::parameter("to or recipient is required"));
        }
        let digits = request.to.as_deref().map(|to| to.trim_start_matches('+'));
        if digits.is_some_and(|to| !(5..=15).contains(&to.len()) || !to.bytes().all(|b| b.is_ascii_digit())) {
            return Err(GraphError::parameter("to must be a phone number in E.164 digits"));
        }
        let user = self.with(|state| {
            let known =
                state.user(digits, if digits.is_some() { None } else { request.recipient.as_deref() });
            known.clone()
        });
        let sound =
            self.sound(user.speak.as_deref(), user.record.as_deref(), 0).await.map_err(|problem| {
                GraphError::new(138_004, format!("stand-in: {}; {}", problem.what, problem.remedy))
            })?;
        let (id, change, user) = self.with(|state| {
            let ours = state
                .numbers
                .get(number)
                .cloned()
                .ok_or_else(|| GraphError::new(138_000, "no such number"))?;
            let blocked = NOT_AVAILABLE.iter().any(|prefix| ours.digits.starts_with(prefix));
            if blocked && !ours.digits.starts_with("1555") {
                return Err(GraphError::new(
                    138_013,
                    "business-initiated calling is not available in this country",
                ));
            }
            if !user.callable {
                return Err(GraphError::new(138_001, "the receiver cannot be called"));
            }
            let pair = (number.to_owned(), user.key().to_owned());
            state.ledger.connect(&pair, now().wall)?;
            let choice = user.dtls_role.unwrap_or(if state.random.below(2) == 0 {
                DtlsChoice::Client
            } else {
                DtlsChoice::Server
            });
            let (setup, role) = match choice {
                DtlsChoice::Client => ("active", Role::Client),
                DtlsChoice::Server => ("passive", Role::Server),
            };
            let (mut call, side) = self.open(state, number, user.clone(), Direction::Business, sound, setup);
            call.opaque.clone_from(&request.biz_opaque_callback_data);
            let answer = offer::write_answer(&side, &business);
            self.0.media.send(call.line, Command::Remote(Box::new((business.clone(), role))));
            call.business = Some(business);
            let change = self.change(&call, "connect", call.connect_value(&ours, &answer, call.started));
            let id = call.id.clone();
            Self::keep(state, call);
            Ok((id, change, user))
        })?;
        Ok(Done::Connected(id, change, Box::new(user)))
    }

    /// The called user's phone rings, and the user answers, declines, or lets it ring. Begins with the `connect`
    /// webhook.
    pub(super) fn play_the_user(&self, id: &str, user: &User) {
        let (this, id) = (self.clone(), id.to_owned());
        let (ring, answer, reject) = (user.ring_after_ms, user.answer_after_ms, user.reject);
        tokio::spawn(async move {
            let deadline = tokio::time::Instant::now() + this.0.patience.ring_time;
            if let Some(ring) = ring {
                tokio::time::sleep(Duration::from_millis(ring)).await;
                this.ring(&id);
                if let Some(answer) = answer {
                    tokio::time::sleep(Duration::from_millis(answer)).await;
                    if reject {
                        this.decline(&id);
                    } else {
                        this.pick_up(&id);
                    }
                }
            }
            tokio::time::sleep_until(deadline).await;
            let rings = |call: &Call| matches!(call.phase, Phase::Dialling | Phase::Ringing);
            if this.with(|state| state.calls.get(&id).is_some_and(rings)) {
                this.finish(&id, Ending::Unanswered);
            }
        });
    }

    /// What `call_permissions` answers (reference §4).
    pub(super) fn permissions(
        &self,
        number: &str,
        phone: Option<&str>,
        scoped: Option<&str>,
    ) -> Result<serde_json::Value, GraphError> {
        let at = now().wall;
        self.with(|state| {
            match state.numbers.get(number) {
                Some(number) if number.calling => {}
                _ => return Err(GraphError::new(138_000, "calling is not enabled on this number")),
            }
            if phone.is_none() && scoped.is_none() {
                return Err(GraphError::parameter("user_wa_id or recipient is required"));
            }
            if !state.ledger.query(number, at) {
                return Err(GraphError::new(613, "too many call_permissions queries in one second"));
            }
            let user = state.user(phone, scoped).clone();
            let pair = (number.to_owned(), user.key().to_owned());
            let mut view = state.ledger.view(&pair, at);
            if !user.callable {
                (view.permission, view.expires_ms) = (Permission::None.status(), None);
            }
            let most = state.ledger.limits.pair_calls;
            let mut permission = serde_json::json!({ "status": view.permission });
            if let Some(until) = view.expires_ms {
                permission["expiration_time"] = (until / 1000).into();
            }
            let mut start = serde_json::json!({ "time_period": "PT24H", "max_allowed": most,
                "current_usage": view.connected });
            if let Some(until) = view.limit_expires_ms {
                start["limit_expiration_time"] = (until / 1000).into();
            }
            let granted = view.permission != "no_permission";
            let ask = view.requests_day < 1 && view.requests_week < 2 && view.permission != "permanent";
            Ok(serde_json::json!({ "messaging_product": "whatsapp", "permission": permission, "actions": [
                { "action_name": "send_call_permission_request", "can_perform_action": ask, "limits": [
                    { "time_period": "PT24H", "max_allowed": 1, "current_usage": view.requests_day },
                    { "time_period": "P7D", "max_allowed": 2, "current_usage": view.requests_week } ] },
                { "action_name": "start_call",
                  "can_perform_action": granted && view.limit_expires_ms.is_none(), "limits": [start] } ] }))
        })
    }
}

fn open_call<'a>(state: &'a mut State, id: &str) -> Result<&'a mut Call, GraphError> {
    match state.calls.get_mut(id) {
        Some(call) if call.phase == Phase::Ended => Err(GraphError::parameter("the call has already ended")),
        Some(call) if call.direction == Direction::User => Ok(call),
        Some(_) => Err(GraphError::parameter("this action is for calls that the user placed")),
        None => Err(GraphError::parameter("call_id is not valid")),
    }
}
