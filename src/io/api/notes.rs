//! What people say of calls: outcomes (dispositions) and notes.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Api;
use super::ask::{Body, Which};
use super::calls::find;
use super::problem::{Kind, Problem};
use super::token::Caller;
use super::view::time;
use crate::call::CallNote;
use crate::config::ApiScope;
use crate::io::signalling::now;
use crate::masked::Masked;

/// A note is no document.
const LONGEST: usize = 4000;

/// What may become of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OutcomeList {
    /// The words of `records.outcomes`; a phone dials their places, from 1.
    outcomes: Vec<String>,
}

/// What may become of a call, by the configuration.
#[utoipa::path(get, path = "/v1/outcomes", tag = "calls", responses(
    (status = 200, description = "The outcomes in their order", body = OutcomeList),
))]
pub(super) async fn outcomes(State(api): State<Api>, caller: Caller) -> Result<Json<OutcomeList>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    Ok(Json(OutcomeList { outcomes: api.records().outcomes.clone() }))
}

/// What somebody says of a call: an outcome, a text, or both.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewNote {
    /// What became of the call, one of `/v1/outcomes`.
    outcome: Option<String>,
    /// In your own words.
    #[schema(max_length = 4000)]
    text: Option<String>,
}

/// What somebody said of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NoteView {
    /// When, RFC 3339.
    at: String,
    /// Who: a phone, a user of the machine, a token's name.
    author: String,
    /// What became of the call.
    outcome: Option<String>,
    /// The text; covered without the scope `identities`.
    text: Option<String>,
}

impl NoteView {
    fn new(note: &CallNote, caller: &Caller) -> Self {
        let text = note.text.as_ref().map(|it| caller.cover().text(it.expose()));
        Self { at: time(note.at), author: note.author.clone(), outcome: note.outcome.clone(), text }
    }
}

/// What people said of a call.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct NoteList {
    /// The outcome that counts: the newest.
    outcome: Option<String>,
    /// Oldest first.
    notes: Vec<NoteView>,
}

/// What people said of a call.
#[utoipa::path(get, path = "/v1/calls/{id}/notes", tag = "calls",
    params(("id" = String, Path, description = "Our id of the call")),
    responses((status = 200, description = "All notes", body = NoteList)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Which(id): Which<String>,
) -> Result<Json<NoteList>, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let call = find(&api, &id).await?.id;
    let notes = api.store().notes(&[call]).await?.remove(&call).unwrap_or_default();
    let outcome = crate::io::export::outcome(&notes);
    Ok(Json(NoteList { outcome, notes: notes.iter().map(|it| NoteView::new(it, &caller)).collect() }))
}

/// Says what became of a call; notes are only ever added, and the newest outcome counts.
#[utoipa::path(post, path = "/v1/calls/{id}/notes", tag = "calls", request_body = NewNote,
    params(("id" = String, Path, description = "Our id of the call")),
    responses((status = 201, description = "It is noted", body = NoteView)))]
pub(super) async fn add(
    State(api): State<Api>,
    caller: Caller,
    Which(id): Which<String>,
    Body(new): Body<NewNote>,
) -> Result<(StatusCode, Json<NoteView>), Problem> {
    caller.needs(ApiScope::WriteCalls)?;
    let call = find(&api, &id).await?.id;
    let known = &api.records().outcomes;
    if let Some(wrong) = new.outcome.as_ref().filter(|it| !known.contains(it)) {
        return Err(Kind::Senseless.because(format!("outcome {wrong:?} is not one of {}", known.join(", "))));
    }
    if new.outcome.is_none() && new.text.is_none() {
        return Err(Kind::Senseless.because("a note needs an outcome, a text, or both"));
    }
    if new.text.as_ref().is_some_and(|it| it.chars().count() > LONGEST) {
        return Err(Kind::Senseless.because(format!("the text is longer than {LONGEST} characters")));
    }
    let (at, author) = (now().wall, caller.name.clone());
    let note = CallNote { at, author, outcome: new.outcome, text: new.text.map(Masked::new) };
    api.store().note_call(call, &note).await?;
    Ok((StatusCode::CREATED, Json(NoteView::new(&note, &caller))))
}
