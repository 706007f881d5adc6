//! The client of Meta's Graph API: `POST /calls` and `GET /call_permissions`.
//!
//! What is tried again, and when that is safe:
//!
//! | action | tries | again after |
//! | --- | --- | --- |
//! | `pre_accept`, `accept` | 2 | a time-out, a broken connection, a 5xx, Graph's passing faults, 429; the body is the same to the byte |
//! | `reject`, `terminate` | 3 | the same, with longer pauses |
//! | `connect` | 2 | only if no connection was ever opened: a second one would be a second call |
//!
//! A second try may meet its own first one. "Already in progress" counts as success only if a first
//! try of ours may have reached Meta (nobody else accepts our calls) and the text does not say
//! that the call is over or the SDP another one; the same goes for "already ended" when hanging up.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response};

use crate::id::PhoneNumberId;
use crate::masked::Secret;
use crate::time::Wall;
use crate::user::UserId;
use crate::whatsapp::{Action, Failure, LivePermission, Meaning, Refusal, Reply};

mod inspect;
mod judge;
mod limiter;
mod media;
mod messages;
mod settings;

pub use media::FetchedSound;
pub use settings::SettingsError;

use judge::{End, Verdict};
use limiter::{PermissionCache, QueryLimiter};

/// Graph's answers are small; what is longer is not Graph's.
const ANSWER_LIMIT: usize = 256 * 1024;

/// How Graph is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphSettings {
    /// `https://graph.facebook.com`, or a stand-in.
    pub base: String,
    /// `v25.0`; versions expire (reference §2).
    pub version: String,
    /// How long one try may take, from connecting to the last byte.
    pub timeout: Duration,
    /// How long connecting may take, as a part of it.
    pub connect_timeout: Duration,
    /// Permission queries per second and business number (reference §4: plan for 5).
    pub permission_rate: u32,
    /// How long an answer about a permission is good for.
    pub permission_memory: Duration,
}

impl Default for GraphSettings {
    fn default() -> Self {
        Self {
            base: "https://graph.facebook.com".into(),
            version: "v25.0".into(),
            timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(2),
            permission_rate: 5,
            permission_memory: Duration::from_secs(2),
        }
    }
}

/// The client cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum GraphSetupError {
    /// The base is no URL.
    #[error("`{0}` is not the beginning of a URL such as https://graph.facebook.com")]
    Base(String),
    /// TLS or the resolver cannot be set up.
    #[error("cannot set up the client of Graph")]
    Client(#[source] reqwest::Error),
}

/// A client; it keeps its connections open between requests.
pub struct GraphClient {
    client: Client,
    root: String,
    timeout: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queries: QueryLimiter,
    known: PermissionCache,
    /// After a 429: until when a number starts no calls, and what Graph called it.
    held: HashMap<PhoneNumberId, (Instant, Meaning)>,
}

impl std::fmt::Debug for GraphClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphClient").field("root", &self.root).finish_non_exhaustive()
    }
}

impl GraphClient {
    /// Makes a client; nothing is sent yet.
    ///
    /// # Errors
    /// The base is no URL, or TLS cannot be set up.
    pub fn new(settings: GraphSettings) -> Result<Self, GraphSetupError> {
        let GraphSettings { base, version, timeout, connect_timeout, permission_rate, permission_memory } =
            settings;
        let url = reqwest::Url::parse(&base).ok().filter(|it| matches!(it.scheme(), "http" | "https"));
        let Some(url) = url else { return Err(GraphSetupError::Base(base)) };
        let mut builder = Client::builder()
            .timeout(timeout)
            .connect_timeout(connect_timeout)
            // A redirect would carry the token to somebody else.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(20))
            .pool_idle_timeout(Duration::from_secs(55));
        if matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]")) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(GraphSetupError::Client)?;
        let root = format!("{}/{}", base.trim_end_matches('/'), version.trim_matches('/'));
        let state = State {
            queries: QueryLimiter::new(permission_rate),
            known: PermissionCache::new(permission_memory),
            held: HashMap::new(),
        };
        Ok(Self { client, root, timeout, state: Mutex::new(state) })
    }

    /// Asks Meta to do something, again where that is safe.
    ///
    /// # Errors
    /// How it ended, once no further try is due.
    pub async fn post(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
        action: &Action,
    ) -> Result<Reply, Failure> {
        if matches!(action, Action::Connect { .. }) {
            self.check_hold(number)?;
        }
        let url = format!("{}/{number}/calls", self.root);
        let body = action.body().to_string();
        let mut reached = false;
        let mut tried = 0;
        loop {
            tried += 1;
            let request = self.client.post(&url).header(CONTENT_TYPE, "application/json").body(body.clone());
            let end = self.send(request, token).await;
            if let End::Refused { http: 429, refusal, after } = &end {
                self.hold(number, refusal.meaning, *after);
            }
            end.log(action.name());
            match judge::judge(action, &end, tried, reached, wall_now()) {
                Verdict::Done(reply) => return Ok(reply),
                Verdict::Failed(failure) => return Err(failure),
                Verdict::Again { after } => {
                    reached |= end.may_have_reached();
                    tokio::time::sleep(jittered(after)).await;
                }
            }
        }
    }

    /// Asks Meta whether a user may be called now. Answers are kept for a moment; queries beyond the
    /// rate wait their turn if that is soon enough.
    ///
    /// # Errors
    /// How it ended. A turn that would come too late is Meta's own refusal, 613, said by ourselves.
    pub async fn permission(
        &self,
        number: &PhoneNumberId,
        token: &Secret<String>,
        user: &UserId,
    ) -> Result<LivePermission, Failure> {
        let wait = {
            let mut state = self.state();
            if let Some(known) = state.known.get(number, user, Instant::now()) {
                return Ok(known);
            }
            state.queries.turn(number, Instant::now(), self.timeout)
        };
        let wait = wait.map_err(|until| Failure::Refused {
            meaning: Meaning::PermissionQueryLimit,
            http: 429,
            until: Some(wall_at(until)),
        })?;
        tokio::time::sleep(wait).await;
        let query = match (user.phone(), user.scoped()) {
            (Some(phone), _) => ("user_wa_id", phone.digits()),
            (None, Some(scoped)) => ("recipient", scoped.as_str()),
            (None, None) => return Err(Failure::Unreadable),
        };
        let url = format!("{}/{number}/call_permissions", self.root);
        let end = self.send(self.client.get(&url).query(&[query]), token).await;
        end.log("call_permissions");
        match end {
            End::Answered { body } => {
                let live = LivePermission::parse(&body).map_err(|_| Failure::Unreadable)?;
                self.state().known.put(number, user, live, Instant::now());
                Ok(live)
            }
            End::Refused { http: 429, ref after, .. } => {
                let pause = after.unwrap_or(Duration::from_secs(1));
                self.state().queries.pause(number, Instant::now() + pause);
                Err(end.failure(wall_now()))
            }
            other => Err(other.failure(wall_now())),
        }
    }

    /// Forgets what Meta said about a user: something has changed it.
    pub fn forget_permission(&self, number: &PhoneNumberId, user: &UserId) {
        self.state().known.forget(number, user);
    }

    /// Opens a connection, or uses the open one, so that the next call need not wait for TLS.
    ///
    /// Run it every half minute; what Graph answers does not matter.
    pub async fn warm(&self) {
        if let Err(error) = self.client.head(&self.root).send().await {
            tracing::debug!(error = %error.without_url(), "Graph cannot be reached to keep the connection warm");
        }
    }

    async fn send(&self, request: RequestBuilder, token: &Secret<String>) -> End {
        let Ok(mut bearer) = HeaderValue::from_str(&format!("Bearer {}", token.expose())) else {
            tracing::error!("the access token has characters that no header can carry");
            return End::NeverSent;
        };
        bearer.set_sensitive(true);
        match request.header(AUTHORIZATION, bearer).send().await {
            Ok(response) => read(response).await,
            Err(error) => broken(error),
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing that holds it can panic half-way; what it guards is only ever a hint.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn hold(&self, number: &PhoneNumberId, meaning: Meaning, after: Option<Duration>) {
        let until = Instant::now() + after.unwrap_or(Duration::from_secs(1)).min(Duration::from_secs(60));
        self.state().held.insert(number.clone(), (until, meaning));
    }

    fn check_hold(&self, number: &PhoneNumberId) -> Result<(), Failure> {
        let held = self.state().held.get(number).copied();
        match held.filter(|(until, _)| Instant::now() < *until) {
            Some((until, meaning)) => {
                Err(Failure::Refused { meaning, http: 429, until: Some(wall_at(until)) })
            }
            None => Ok(()),
        }
    }
}

async fn read(mut response: Response) -> End {
    let http = response.status().as_u16();
    let after = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.trim().parse().ok());
    let after = after.map(Duration::from_secs);
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() <= ANSWER_LIMIT => body.extend_from_slice(&chunk),
            Ok(Some(_)) => return End::Unreadable { http },
            Ok(None) => break,
            Err(error) => return broken(error),
        }
    }
    match Refusal::parse(&body) {
        Some(refusal) => End::Refused { http, refusal, after },
        None if (200..300).contains(&http) => End::Answered { body },
        None if http == 429 => End::Refused { http, refusal: Refusal::throttled(), after },
        None => End::Unreadable { http },
    }
}

fn broken(error: reqwest::Error) -> End {
    let end = if error.is_connect() {
        End::NeverSent
    } else if error.is_timeout() {
        End::TimedOut
    } else {
        End::Cut
    };
    // The URL of a permission query holds the user's number.
    tracing::debug!(error = %error.without_url(), ?end, "a request to Graph broke");
    end
}

/// Between half of a span and all of it, so that many calls do not come again in step.
fn jittered(span: Duration) -> Duration {
    let random = getrandom::u32().unwrap_or(u32::MAX / 2);
    span.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

fn wall_now() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Wall(0) + since
}

fn wall_at(moment: Instant) -> Wall {
    wall_now() + moment.saturating_duration_since(Instant::now())
}

#[cfg(test)]
pub(in crate::io) mod tests;
