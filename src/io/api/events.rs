//! `/v1/events`: what happened, page by page, and as it happens (SSE).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::stream::{Stream, unfold};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::ask::Ask;
use super::calls::page_length;
use super::problem::{Kind, Problem};
use super::token::{Caller, Cover};
use super::view::{CallView, UserView, time};
use crate::config::ApiScope;
use crate::io::store::{EventId, Store, StoreError, StoredEvent};

/// How soon after it was written an event is on its way.
pub(super) const BEAT: Duration = Duration::from_millis(100);
/// So many events are read at once.
pub(super) const BATCH: u32 = 100;

/// Something that happened. Receivers may see an event twice, never one out of order: its id tells.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventView {
    /// Its place among all events, as text.
    pub id: String,
    /// What kind: those of the description's webhooks; more may come.
    #[serde(rename = "type")]
    pub kind: String,
    /// When it became true, RFC 3339.
    pub at: String,
    /// The label of the business number.
    pub number: Option<String>,
    /// The call as it is now.
    pub call: Option<CallView>,
    /// The user, for events that belong to no call.
    pub user: Option<UserView>,
    /// What else is to be told, by kind; see the description's webhooks.
    #[schema(value_type = Option<Object>)]
    pub detail: Option<Value>,
}

impl EventView {
    /// `event` with its call, as the receiver may see it.
    pub(super) async fn new(api: &Api, event: StoredEvent, cover: Cover) -> Result<Self, StoreError> {
        let call = match event.call {
            Some(call) => api.store().call(call).await?.map(|it| CallView::new(&it, cover)),
            None => None,
        };
        Ok(Self {
            id: event.id.0.to_string(),
            kind: event.kind,
            at: time(event.at),
            number: event.number.as_ref().map(|it| api.label(it)),
            call,
            user: event.user.as_ref().map(|it| UserView::new(it, cover)),
            detail: event.detail.as_deref().and_then(|it| serde_json::from_str(it).ok()),
        })
    }
}

/// Which events.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct After {
    /// Those after this id; all that are kept if it is left out.
    #[param(pattern = "^[0-9]{1,18}$")]
    after: Option<String>,
    /// How many at most.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
}

/// A page of events, oldest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EventPage {
    /// The events.
    events: Vec<EventView>,
    /// `after` of the next page; null if there is nothing more yet.
    next: Option<String>,
}

fn event_id(text: &str) -> Result<EventId, Problem> {
    // SQLite's whole numbers end at 2^63 - 1.
    let id = text.parse::<i64>().ok().and_then(|it| u64::try_from(it).ok());
    id.map(EventId).ok_or_else(|| Kind::BadRequest.because("an event's id is a whole number"))
}

/// What happened, oldest first.
#[utoipa::path(get, path = "/v1/events", tag = "events", params(After), responses(
    (status = 200, description = "A page of events", body = EventPage),
))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Ask(ask): Ask<After>,
) -> Result<Json<EventPage>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let limit = page_length(ask.limit)?;
    let after = ask.after.as_deref().map(event_id).transpose()?.unwrap_or_default();
    let mut stored = api.store().events_after(after, limit + 1).await?;
    let more = stored.len() > limit as usize;
    stored.truncate(limit as usize);
    let next = if more { stored.last().map(|it| it.id.0.to_string()) } else { None };
    let mut events = Vec::with_capacity(stored.len());
    for event in stored {
        events.push(EventView::new(&api, event, caller.cover()).await?);
    }
    Ok(Json(EventPage { events, next }))
}

/// What a stream of events is at.
struct Streaming {
    api: Api,
    cover: Cover,
    place: EventId,
    waiting: VecDeque<StoredEvent>,
    newest: watch::Receiver<EventId>,
    /// Given back when the stream ends.
    _place: OwnedSemaphorePermit,
}

/// One look at the store for all streams, at every beat, and none while there is no stream.
pub(super) fn watch_newest(store: Store) -> watch::Receiver<EventId> {
    let (newest, watcher) = watch::channel(EventId(0));
    tokio::spawn(async move {
        let mut beat = tokio::time::interval(BEAT);
        // The API itself keeps one receiver to make others of.
        while !newest.is_closed() {
            beat.tick().await;
            if newest.receiver_count() > 1
                && let Ok(id) = store.newest_event().await
            {
                newest.send_if_modified(|known| std::mem::replace(known, id) != id);
            }
        }
    });
    watcher
}

/// What happens, as it happens (server-sent events). `Last-Event-ID` goes on where a connection broke.
#[utoipa::path(get, path = "/v1/events/stream", tag = "events",
    params(("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was seen", pattern = "^[0-9]{1,18}$")),
    responses(
    (status = 200, description = "Events without end; `data` is an EventView", content_type = "text/event-stream", body = String),
))]
pub(super) async fn stream(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let place = match headers.get("last-event-id") {
        Some(id) => event_id(id.to_str().unwrap_or_default())?,
        None => api.store().newest_event().await?,
    };
    let Some((permit, newest)) = api.stream() else {
        return Err(Kind::Busy.because("too many streams of events at once: one serves a whole program"));
    };
    let (cover, waiting) = (caller.cover(), VecDeque::new());
    let streaming = Streaming { api, cover, place, waiting, newest, _place: permit };
    let keep_alive = KeepAlive::new().interval(Duration::from_secs(15));
    Ok(Sse::new(unfold(streaming, next)).keep_alive(keep_alive))
}

async fn next(mut streaming: Streaming) -> Option<(Result<Event, Infallible>, Streaming)> {
    loop {
        if let Some(event) = streaming.waiting.pop_front() {
            streaming.place = event.id;
            let Ok(view) = EventView::new(&streaming.api, event, streaming.cover).await else {
                // The receiver comes back with the id of the last one it saw.
                return None;
            };
            let event = Event::default().id(&view.id).event(&view.kind).json_data(&view);
            return event.ok().map(|event| (Ok(event), streaming));
        }
        match streaming.api.store().events_after(streaming.place, BATCH).await {
            Ok(events) if events.is_empty() => {
                let place = streaming.place;
                // The API is gone: so is the gateway.
                streaming.newest.wait_for(|newest| *newest > place).await.ok()?;
            }
            Ok(events) => streaming.waiting.extend(events),
            Err(error) => {
                tracing::warn!(%error, "a stream of events ends: the store does not answer");
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, BodyDataStream};
    use axum::http::StatusCode;
    use futures_util::StreamExt as _;
    use tower::ServiceExt as _;

    use super::super::tests::{Desk, READER, asking};
    use super::*;

    /// The next piece of a stream that is an event.
    async fn next_event(stream: &mut BodyDataStream) -> String {
        let piece = async {
            loop {
                let piece = stream.next().await.expect("no end").expect("no error");
                let text = String::from_utf8(piece.to_vec()).expect("text");
                if text.contains("data:") {
                    return text;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), piece).await.expect("an event in time")
    }

    #[tokio::test]
    async fn every_stream_hears_of_an_event_once_and_one_too_many_is_told_to_share() {
        let mut desk = Desk::open().await;
        let opening = || asking("GET", READER, "/v1/events/stream").body(Body::empty()).expect("good");
        let mut streams = Vec::new();
        for _ in 0..64 {
            let response = desk.router.clone().oneshot(opening()).await.expect("infallible");
            assert_eq!(response.status(), StatusCode::OK);
            streams.push(response.into_body().into_data_stream());
        }
        assert_eq!(desk.ask(opening()).await.0, StatusCode::SERVICE_UNAVAILABLE);
        desk.open_call(9, 1_791_900_000_000).await;
        for stream in &mut streams {
            assert!(next_event(stream).await.contains("call.started"));
        }
        streams.pop();
        let freed = desk.router.clone().oneshot(opening()).await.expect("infallible");
        assert_eq!(freed.status(), StatusCode::OK, "a place is given back with its stream");
    }
}
