//! Requests that change something, with an `Idempotency-Key`: done once however often they are sent.

use aws_lc_rs::digest::{Context, SHA256};
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::{Kind, Problem};
use super::token::Caller;
use super::{Api, BODY_LIMIT};
use crate::io::signalling::now;
use crate::io::store::{Asked, Fingerprint};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer is one of before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// Answers are short; what is longer is not kept.
const ANSWER_LIMIT: usize = 256 * 1024;

/// Looks at the key of a request, if it has one.
pub(super) async fn once(State(api): State<Api>, request: Request, next: Next) -> Response {
    let changes = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let Some(key) = request.headers().get(KEY).filter(|_| changes).cloned() else {
        return next.run(request).await;
    };
    match guarded(&api, key, request, next).await {
        Ok(response) => response,
        Err(problem) => problem.into_response(),
    }
}

async fn guarded(api: &Api, key: HeaderValue, request: Request, next: Next) -> Result<Response, Problem> {
    let good = |it: &&str| (1..=200).contains(&it.len()) && it.bytes().all(|b| b.is_ascii_graphic());
    let key = key.to_str().ok().filter(good).ok_or_else(|| {
        Kind::BadRequest
            .because("an Idempotency-Key is 1 to 200 visible characters without blanks, best a UUID")
    })?;
    let caller = request.extensions().get::<Caller>().cloned();
    let caller = caller.ok_or_else(|| Kind::NoToken.because("no token was looked at"))?;
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_LIMIT)
        .await
        .map_err(|_| Kind::TooLong.because(format!("the body is longer than {BODY_LIMIT} bytes")))?;
    let mut hash = Context::new(&SHA256);
    for part in [parts.method.as_str().as_bytes(), parts.uri.to_string().as_bytes(), &body] {
        hash.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut fingerprint = Fingerprint::default();
    fingerprint.copy_from_slice(hash.finish().as_ref());
    match api.store().ask_once(&caller.name, key, fingerprint, now().wall).await? {
        Asked::New => {}
        Asked::Answered(status, text) => return Ok(replay(status, text)),
        Asked::Unanswered => {
            return Err(Kind::Conflict
                .because("a request with this key is being done, or the gateway died during it"));
        }
        Asked::Other => {
            return Err(Kind::Senseless.because("this Idempotency-Key came with another request before"));
        }
    }
    // The program may hang up before the answer: what it asked for is done and kept all the same.
    let (api, key) = (api.clone(), key.to_owned());
    let doing = tokio::spawn(async move {
        let response = next.run(Request::from_parts(parts, Body::from(body))).await;
        keep(&api, &caller, &key, response).await
    });
    doing.await.unwrap_or_else(|_| Err(Kind::Broken.because("a bug of ours; please report the log")))
}

/// Keeps an answer under its key, and gives it.
async fn keep(api: &Api, caller: &Caller, key: &str, response: Response) -> Result<Response, Problem> {
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, ANSWER_LIMIT)
        .await
        .map_err(|_| Kind::Broken.because("the answer could not be kept under its key"))?;
    // What failed on our side may be tried again under the same key.
    let kept = if parts.status.is_server_error() { None } else { String::from_utf8(body.to_vec()).ok() };
    let answer = kept.map(|text| (parts.status.as_u16(), text));
    api.store().asked(&caller.name, key, answer).await?;
    Ok(Response::from_parts(parts, Body::from(body)))
}

fn replay(status: u16, text: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response = (status, text).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
