//! `/v1/records`: call records with their cost, outcome and notes, as many as there are.

use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::Api;
use super::ask::Ask;
use super::calls::{DirectionWord, moment};
use super::problem::Problem;
use super::token::{Caller, Cover};
use crate::billing::Tally;
use crate::call::CallDirection;
use crate::config::ApiScope;
use crate::io::cli::calls as shown;
use crate::io::export::{Format, Pages, Writer};
use crate::io::store::CallFilter;

/// Which records, and in which form.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WantedRecords {
    /// The form; CSV unless the request says otherwise.
    format: Option<FormatWord>,
    /// Of the business number with this label.
    number: Option<String>,
    /// Who started them.
    direction: Option<DirectionWord>,
    /// Opened at or after this, milliseconds since 1970.
    #[param(minimum = 0, maximum = 253402300799999i64)]
    since: Option<i64>,
    /// Opened before this, milliseconds since 1970.
    #[param(minimum = 0, maximum = 253402300799999i64)]
    until: Option<i64>,
}

/// A form of export.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FormatWord {
    /// RFC 4180 with a line of headings.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

/// Call records, oldest first, with cost, outcome and notes; a stream, a page of it in memory.
#[utoipa::path(get, path = "/v1/records", tag = "calls", params(WantedRecords), responses(
    (status = 200, description = "All records that are wanted", content(
        (String = "text/csv"), (String = "application/jsonl"))),
    (status = 404, description = "No such number", body = Problem, content_type = "application/problem+json"),
))]
pub(super) async fn export(
    State(api): State<Api>,
    caller: Caller,
    Ask(wanted): Ask<WantedRecords>,
) -> Result<Response, Problem> {
    caller.needs(ApiScope::ReadCalls)?;
    let number = wanted.number.as_deref().map(|it| api.number(it)).transpose()?;
    let filter = CallFilter {
        number: number.map(|it| it.config.label.clone()),
        since: moment("since", wanted.since)?,
        until: moment("until", wanted.until)?,
        direction: wanted.direction.map(CallDirection::from),
        ..CallFilter::default()
    };
    let (format, kind) = match wanted.format {
        None | Some(FormatWord::Csv) => (Format::Csv, "text/csv; charset=utf-8; header=present"),
        Some(FormatWord::Jsonl) => (Format::JsonLines, "application/jsonl"),
    };
    let cover = match caller.cover() {
        Cover::Open => shown::Cover::Open,
        Cover::Masked => shown::Cover::Masked,
    };
    let tally = Tally::new(api.records().rates.clone(), api.records().billing_zone.clone());
    let writer = Writer::new(format, cover, tally.card().currency.clone());
    let mut pages = Pages::new(api.store().clone(), filter, tally);
    // What fails at the beginning can still be said as a problem.
    let first = pages.next().await?;
    let head = writer.head() + &first.iter().flatten().map(|it| writer.line(it)).collect::<String>();
    let rest = first.is_some().then_some((pages, writer, Some(head.clone())));
    let stream = unfold(rest, next);
    let body = if first.is_some() { Body::from_stream(stream) } else { Body::from(head) };
    Ok(([(header::CONTENT_TYPE, kind)], body).into_response())
}

type Rest = (Pages, Writer, Option<String>);

/// The next chunk; a store that fails on the way breaks the connection off, which no reader takes for the end.
async fn next(rest: Option<Rest>) -> Option<(Result<String, std::io::Error>, Option<Rest>)> {
    let (mut pages, writer, head) = rest?;
    if let Some(head) = head {
        return Some((Ok(head), Some((pages, writer, None))));
    }
    match pages.next().await {
        Ok(None) => None,
        Ok(Some(page)) => {
            let text = page.iter().map(|it| writer.line(it)).collect();
            Some((Ok(text), Some((pages, writer, None))))
        }
        Err(error) => {
            tracing::warn!(%error, "an export breaks off: the store does not answer");
            Some((Err(std::io::Error::other(error)), None))
        }
    }
}
