//! The stand-in itself: numbers, users and calls, and what happens to them when somebody acts or time passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::call::{
    Accepted, Call, Direction, DtlsChoice, Ending, Number, Phase, Reply, User, reply_value, scoped_id,
};
use super::delivery::{Change, Delivery};
use super::dtls::Identity;
use super::faults::GraphFaults;
use super::line::{LineEvent, LineSpec, Patience};
use super::media::{Command, LineId, Media, now};
use super::offer::{self, Ours, Shape};
use super::recorder::Recorder;
use super::rules::{Consequence, Ledger, PairKey};
use super::speaker::Speaker;
use super::voice::{Clip, Voices};
use crate::masked::Secret;
use crate::random::Random;
use crate::time::Wall;

/// Ended calls that are kept for questions.
const KEPT_CALLS: usize = 5_000;

/// How long things take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patiences {
    /// From `connect` to the end of a user's unanswered call.
    pub(super) accept_window: Duration,
    /// How long a called user's phone rings.
    pub(super) ring_time: Duration,
    /// Media watchdogs.
    pub(super) media: Patience,
}

/// What is wrong with a request to the control API, and what to do.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    /// HTTP status.
    pub(super) status: u16,
    /// What is wrong.
    pub(super) what: String,
    /// What to do.
    pub(super) remedy: &'static str,
}

impl Problem {
    pub(super) fn new(status: u16, what: impl Into<String>, remedy: &'static str) -> Self {
        Self { status, what: what.into(), remedy }
    }
}

/// A user's call, as `POST /sim/calls` asks for it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Placing {
    number: String,
    from: Option<String>,
    user_id: Option<String>,
    name: Option<String>,
    username: Option<String>,
    #[serde(default)]
    shape: Shape,
    speak: Option<PathBuf>,
    #[serde(default)]
    speak_after_ms: u32,
    record: Option<PathBuf>,
    cta_payload: Option<String>,
    deeplink_payload: Option<String>,
    dtls_role: Option<DtlsChoice>,
}

/// Everything that the two HTTP interfaces share; cheap to clone.
#[derive(Clone)]
pub(super) struct Meta(pub(super) Arc<Inner>);

/// What is behind [`Meta`].
pub(super) struct Inner {
    /// How long things take.
    pub(super) patience: Patiences,
    /// The media thread.
    pub(super) media: Media,
    /// Webhooks.
    pub(super) delivery: Delivery,
    /// Bearer token of the Graph.
    pub(super) token: Secret<String>,
    identity: Arc<Identity>,
    voices: Voices,
    state: Mutex<State>,
}

/// What is known at one moment.
pub(super) struct State {
    /// Business numbers by id.
    pub(super) numbers: BTreeMap<String, Number>,
    /// Users by scoped id.
    pub(super) users: BTreeMap<String, User>,
    /// Calls by id.
    pub(super) calls: BTreeMap<String, Call>,
    /// The rules' memory.
    pub(super) ledger: Ledger,
    /// What was sent to users, oldest first.
    pub(super) messages: Vec<Value>,
    /// What users have said to the voicemail, by the id of the sound.
    pub(super) sounds: BTreeMap<String, Vec<u8>>,
    /// `calling` of the numbers whose settings were changed.
    pub(super) settings: BTreeMap<String, Value>,
    /// Misbehaviour of the Graph.
    pub(super) faults: GraphFaults,
    /// For ids and keys.
    pub(super) random: Random,
    order: Vec<String>,
    lines: BTreeMap<LineId, String>,
    next_line: LineId,
}

/// A call's voice and ear, read and opened before the call is made.
pub(super) struct Sound {
    pub(super) clip: Option<Arc<Clip>>,
    pub(super) wait: u32,
    pub(super) recorder: Option<Recorder>,
}

impl State {
    /// The rules' key of a call.
    pub(super) fn pair(call: &Call) -> PairKey {
        (call.number.clone(), call.user.key().to_owned())
    }

    /// A user by phone digits or scoped id; made up if unknown.
    pub(super) fn user(&mut self, phone: Option<&str>, scoped: Option<&str>) -> &mut User {
        let known = scoped.map(str::to_owned).or_else(|| {
            let phone = phone?;
            self.users
                .values()
                .find(|user| user.phone.as_deref() == Some(phone))
                .map(|user| user.scoped.clone())
        });
        let random = &mut self.random;
        let scoped = known.unwrap_or_else(|| {
            phone.map_or_else(|| scoped_id(&format!("55{}", random.next_u64())), scoped_id)
        });
        self.users.entry(scoped.clone()).or_insert_with(|| User::new(phone.map(str::to_owned), scoped))
    }

    fn keep(&mut self, call: Call) {
        if self.order.len() >= KEPT_CALLS {
            let ended = |id: &String| self.calls.get(id).is_none_or(|call| call.phase == Phase::Ended);
            if let Some(at) = self.order.iter().position(ended) {
                let oldest = self.order.remove(at);
                if let Some(gone) = self.calls.remove(&oldest) {
                    self.lines.remove(&gone.line);
                }
            }
        }
        self.lines.insert(call.line, call.id.clone());
        self.order.push(call.id.clone());
        self.calls.insert(call.id.clone(), call);
    }
}

impl Meta {
    /// The stand-in with its numbers; nothing has happened yet.
    pub(super) fn new(
        numbers: Vec<Number>,
        patience: Patiences,
        media: Media,
        identity: Arc<Identity>,
        delivery: Delivery,
        token: Secret<String>,
        random: Random,
    ) -> Self {
        let state = State {
            numbers: numbers.into_iter().map(|number| (number.id.clone(), number)).collect(),
            users: BTreeMap::new(),
            calls: BTreeMap::new(),
            ledger: Ledger::default(),
            messages: Vec::new(),
            sounds: BTreeMap::new(),
            settings: BTreeMap::new(),
            faults: GraphFaults::default(),
            random,
            order: Vec::new(),
            lines: BTreeMap::new(),
            next_line: 1,
        };
        let voices = Voices::default();
        Self(Arc::new(Inner { patience, media, delivery, token, identity, voices, state: Mutex::new(state) }))
    }

    /// Works on the state; short, never across an await.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.state.lock().expect("no panic while the lock is held"))
    }

    /// Follows the media thread and the webhook sender until they end.
    pub(super) async fn follow(
        self,
        mut media: mpsc::UnboundedReceiver<(LineId, Wall, LineEvent)>,
        mut taken: mpsc::UnboundedReceiver<(String, String, i64)>,
    ) {
        loop {
            tokio::select! {
                Some((line, at, event)) = media.recv() => self.media_event(line, at, event),
                Some((call, event, at)) = taken.recv() => self.with(|state| {
                    if let Some(call) = state.calls.get_mut(&call) {
                        call.stage(&format!("webhook_{}_taken", event.to_ascii_lowercase()), Wall(at));
                    }
                }),
                else => return,
            }
        }
    }

    fn media_event(&self, line: LineId, at: Wall, event: LineEvent) {
        let ending = self.with(|state| {
            let id = state.lines.get(&line)?.clone();
            let call = state.calls.get_mut(&id)?;
            match event {
                LineEvent::Stage(name) => call.stage(name, at),
                LineEvent::Violation(what) => call.violations.push((at, what)),
                LineEvent::EarlyMedia => {
                    // The caller's timer starts now (reference §3.2).
                    call.picked_up.get_or_insert(at);
                    call.stage("early_media", at);
                }
                LineEvent::NoMedia => {
                    return Some((
                        id,
                        Ending::Failed(138_021, "client received no media for long".to_owned()),
                    ));
                }
                LineEvent::NotConnected => {
                    let what = "connect timeout: the SDP answer was not applied in time".to_owned();
                    return Some((id, Ending::Failed(138_007, what)));
                }
                LineEvent::DtlsFailed(what) => {
                    call.violations.push((at, what.clone()));
                    return Some((id, Ending::Failed(138_004, what)));
                }
            }
            None
        });
        if let Some((id, ending)) = ending {
            self.finish(&id, ending);
        }
    }

    /// Reads the clip and creates the recording.
    pub(super) async fn sound(
        &self,
        speak: Option<&Path>,
        record: Option<&Path>,
        wait: u32,
    ) -> Result<Sound, Problem> {
        let (this, speak, record) = (self.clone(), speak.map(Path::to_owned), record.map(Path::to_owned));
        let work = move || {
            let clip = speak.map(|path| this.0.voices.clip(&path)).transpose().map_err(|error| {
                Problem::new(400, error.to_string(), "name a WAV file that this process can read")
            })?;
            let recorder = record.map(|path| Recorder::create(&path)).transpose().map_err(|error| {
                Problem::new(
                    400,
                    format!("record: {error}"),
                    "name a file in a folder that this process can write",
                )
            })?;
            Ok(Sound { clip, wait, recorder })
        };
        tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
            Err(Problem::new(500, error.to_string(), "report this as a fault of the stand-in"))
        })
    }

    /// Makes a call and its line; gives our side of the SDP too.
    pub(super) fn open(
        &self,
        state: &mut State,
        number: &str,
        user: User,
        direction: Direction,
        sound: Sound,
        setup: &'static str,
    ) -> (Call, Ours) {
        let at = now().wall;
        let line = state.next_line;
        state.next_line += 1;
        let random = &mut state.random;
        let (id, pwd) = (padded(random, 25), padded(random, 16));
        let speaker = Speaker::new(random, sound.clip, sound.wait);
        let ours = Ours {
            media: self.0.media.local(),
            ufrag: random.token(16),
            pwd,
            fingerprint: self.0.identity.fingerprint,
            ssrc: speaker.ssrc(),
            setup,
            session: at.millis(),
            stream: random.hex(16),
        };
        let spec = LineSpec {
            ufrag: ours.ufrag.clone(),
            pwd: ours.pwd.clone(),
            speaker,
            recorder: sound.recorder,
            early_is_breach: direction == Direction::User,
            patience: self.0.patience.media,
        };
        self.0.media.send(line, Command::Open(Box::new(spec)));
        let mut call = Call {
            id: format!("wacid.{id}"),
            line,
            number: number.to_owned(),
            user,
            direction,
            phase: if direction == Direction::User { Phase::Offered } else { Phase::Dialling },
            started: at,
            picked_up: None,
            ended: None,
            ending: None,
            opaque: None,
            cta_payload: None,
            deeplink_payload: None,
            business_sdp: None,
            business: None,
            dtls_choice: None,
            stages: serde_json::Map::new(),
            violations: Vec::new(),
            terminate: None,
            report: None,
        };
        call.stage("started", at);
        (call, ours)
    }

    /// Takes a call into the books.
    pub(super) fn keep(state: &mut State, call: Call) {
        state.keep(call);
    }

    /// A user calls a business: `POST /sim/calls`.
    pub(super) async fn place(&self, placing: Placing) -> Result<String, Problem> {
        let sound = self
            .sound(placing.speak.as_deref(), placing.record.as_deref(), placing.speak_after_ms / 20)
            .await?;
        let (id, change) = self.with(|state| self.place_now(state, placing, sound))?;
        self.0.delivery.post(change);
        let (this, waiting) = (self.clone(), id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(this.0.patience.accept_window).await;
            let open = |call: &Call| matches!(call.phase, Phase::Offered | Phase::PreAccepted);
            if this.with(|state| state.calls.get(&waiting).is_some_and(open)) {
                this.finish(&waiting, Ending::Unanswered);
            }
        });
        Ok(id)
    }

    fn place_now(
        &self,
        state: &mut State,
        placing: Placing,
        sound: Sound,
    ) -> Result<(String, Change), Problem> {
        let Some(number) = state.numbers.get(&placing.number).cloned() else {
            return Err(Problem::new(
                404,
                "no such business number",
                "use a phone_number_id given with --number",
            ));
        };
        let from = match (placing.from, &placing.user_id) {
            (None, None) => Some(format!("55219{:08}", state.random.below(100_000_000))),
            (from, _) => from.map(|digits| digits.trim_start_matches('+').to_owned()),
        };
        let user = state.user(from.as_deref(), placing.user_id.as_deref());
        if let Some(name) = placing.name {
            user.name = name;
        }
        if placing.username.is_some() {
            user.username = placing.username;
        }
        let mut user = user.clone();
        user.phone = from;
        let pair = (number.id.clone(), user.key().to_owned());
        let busy = |call: &&Call| call.phase != Phase::Ended && State::pair(call) == pair;
        if let Some(call) = state.calls.values().find(busy) {
            let what = format!("this user is already in call {}", call.id);
            return Err(Problem::new(409, what, "hang that call up first, or call from another user"));
        }
        if !number.calling || !state.ledger.user_calls(&pair) {
            let what = "the number takes no calls (switched off, or its concurrency limit is reached); no webhook is sent";
            return Err(Problem::new(409, what, "see POST /sim/numbers and POST /sim/limits"));
        }
        state.ledger.open_window(&pair, now().wall);
        let setup = match placing.dtls_role {
            None => "actpass",
            Some(DtlsChoice::Client) => "active",
            Some(DtlsChoice::Server) => "passive",
        };
        let (mut call, ours) = self.open(state, &number.id, user, Direction::User, sound, setup);
        call.cta_payload = placing.cta_payload;
        call.deeplink_payload = placing.deeplink_payload;
        call.dtls_choice = placing.dtls_role;
        let sdp = offer::write_offer(&ours, placing.shape);
        let change = self.change(&call, "connect", call.connect_value(&number, &sdp, call.started));
        let id = call.id.clone();
        state.keep(call);
        Ok((id, change))
    }

    /// A change on the field `calls`.
    pub(super) fn change(&self, call: &Call, event: &str, value: Value) -> Change {
        Change {
            call: call.id.clone(),
            event: event.to_owned(),
            field: "calls",
            account: format!("2045{}", call.number),
            value,
        }
    }

    /// The user presses "answer" on a business-initiated call; false if there is nothing to answer.
    pub(super) fn pick_up(&self, id: &str) -> bool {
        let at = now().wall;
        let accepted = self.with(|state| {
            let call = state.calls.get_mut(id)?;
            if call.direction != Direction::Business
                || !matches!(call.phase, Phase::Dialling | Phase::Ringing)
            {
                return None;
            }
            call.phase = Phase::InProgress;
            call.picked_up = Some(at);
            call.stage("picked_up", at);
            let (pair, line, accepted) = (State::pair(call), call.line, call.user.accepted);
            state.ledger.connected(&pair, at, true);
            self.0.media.send(line, Command::Answer);
            Some(accepted)
        });
        let Some(accepted) = accepted else { return false };
        match accepted {
            Accepted::Normal => self.status(id, "ACCEPTED"),
            Accepted::Never => {}
            Accepted::After(ms) => {
                let (this, id) = (self.clone(), id.to_owned());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    // Sent even if the call has ended meanwhile: such stragglers are documented.
                    this.status(&id, "ACCEPTED");
                });
            }
        }
        true
    }

    /// Sends a call status webhook.
    pub(super) fn status(&self, id: &str, status: &str) {
        let at = now().wall;
        let change = self.with(|state| {
            let number = state.numbers.get(&state.calls.get(id)?.number)?.clone();
            let call = state.calls.get_mut(id)?;
            call.stage(&format!("webhook_{}", status.to_ascii_lowercase()), at);
            Some(self.change(call, status, call.status_value(&number, status, at)))
        });
        if let Some(change) = change {
            self.0.delivery.post(change);
        }
    }

    /// The called user's phone begins to ring.
    pub(super) fn ring(&self, id: &str) -> bool {
        let at = now().wall;
        let rings = self.with(|state| {
            let call = state.calls.get_mut(id).filter(|call| call.phase == Phase::Dialling);
            call.is_some_and(|call| {
                call.phase = Phase::Ringing;
                call.stage("ringing", at);
                true
            })
        });
        if rings {
            self.status(id, "RINGING");
        }
        rings
    }

    /// The called user declines; false if there is nothing to decline.
    pub(super) fn decline(&self, id: &str) -> bool {
        let rings = |call: &Call| {
            call.direction == Direction::Business && matches!(call.phase, Phase::Dialling | Phase::Ringing)
        };
        let open = self.with(|state| state.calls.get(id).is_some_and(rings));
        if open {
            self.status(id, "REJECTED");
            self.finish(id, Ending::Declined);
        }
        open
    }

    /// Ends a call, whoever did it: `terminate` webhook, rules, media. False if it had ended before.
    pub(super) fn finish(&self, id: &str, ending: Ending) -> bool {
        let at = now().wall;
        let done = self.with(|state| {
            let call = state.calls.get_mut(id).filter(|call| call.phase != Phase::Ended)?;
            let rang = call.phase == Phase::Ringing;
            let by_user = ending == Ending::User;
            call.phase = Phase::Ended;
            call.ended = Some(at);
            call.ending = Some(ending);
            call.stage("ended", at);
            let number = state.numbers.get(&call.number)?.clone();
            let value = call.terminate_value(&number, at);
            call.terminate = value["calls"].get(0).cloned();
            if let (Some(part), Some(errors)) = (&mut call.terminate, value.get("errors")) {
                part["errors"] = errors.clone();
            }
            let mut changes = vec![self.change(call, "terminate", value)];
            let (pair, user, line, direction) =
                (State::pair(call), call.user.clone(), call.line, call.direction);
            let call_id = call.id.clone();
            state.ledger.ended(&pair);
            let unanswered = direction == Direction::Business && rang;
            if unanswered && state.ledger.unanswered(&pair) == Consequence::Revoked {
                let reply = Reply { automatic: true, ..Reply::default() };
                changes.push(self.reply_change(state, &number, &user, &reply));
            }
            if direction == Direction::User && number.callback_permission {
                let until = state.ledger.permit_by_call(&pair, at);
                let reply = Reply { granted: Some(Some(until)), automatic: true, context: Some(call_id) };
                changes.push(self.reply_change(state, &number, &user, &reply));
            }
            Some((changes, line, by_user))
        });
        let Some((changes, line, by_user)) = done else { return false };
        for change in changes {
            self.0.delivery.post(change);
        }
        let (this, id) = (self.clone(), id.to_owned());
        tokio::spawn(async move {
            let report = this.0.media.close(line, by_user).await.unwrap_or_default();
            this.with(|state| {
                if let Some(call) = state.calls.get_mut(&id) {
                    call.report = Some(report);
                }
            });
        });
        true
    }

    /// A permission reply on the field `messages`.
    pub(super) fn reply_change(
        &self,
        state: &mut State,
        number: &Number,
        user: &User,
        reply: &Reply,
    ) -> Change {
        let id = format!("wamid.{}", padded(&mut state.random, 19));
        Change {
            call: format!("permission {}", user.key()),
            event: "call_permission_reply".to_owned(),
            field: "messages",
            account: format!("2045{}", number.id),
            value: reply_value(number, user, &id, reply, now().wall),
        }
    }
}

/// Base64 of random bytes; 25 or 16 bytes make it end in `=`, as Meta's ids and passwords do.
pub(super) fn padded(random: &mut Random, bytes: usize) -> String {
    use base64::Engine as _;
    let mut raw = vec![0; bytes];
    random.fill(&mut raw);
    if bytes == 16 {
        return base64::engine::general_purpose::STANDARD.encode(raw);
    }
    base64::engine::general_purpose::URL_SAFE.encode(raw)
}
