//! Call records as lines of text, page by page: whatever their number, a page is all that is in memory.

use std::io;

use serde_json::{Value, json};

use crate::billing::{Bill, Free, Listed, Month, Tally, Timed};
use crate::call::{CallDirection, CallNote, CallRecord};
use crate::io::cli::calls::{Cover, object};
use crate::io::store::{CallFilter, Store, StoreError};

/// So many records are in memory at once.
const PAGE: u32 = 500;

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 4180, the names of the columns first.
    Csv,
    /// A JSON object a line.
    JsonLines,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody takes the lines.
    #[error("the export cannot be written")]
    Write(#[from] io::Error),
}

/// A record with all that is known of it beside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The record.
    pub record: CallRecord,
    /// What it costs.
    pub bill: Bill,
    /// What people say of it, oldest first.
    pub notes: Vec<CallNote>,
}

/// Walks through records in the order in which they were opened and bills each.
///
/// `tally` is empty. Tiers depend on all calls of a month: those before the filter's first are billed, too, and not shown.
///
/// # Errors
/// The store's, and those of `take`.
pub async fn walk<E: From<StoreError>>(
    store: &Store,
    filter: &CallFilter,
    mut tally: Tally,
    mut take: impl FnMut(Line) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(since) = filter.since {
        let month = Month::of(since, tally.zone()).begins(tally.zone());
        let before = CallFilter {
            since: Some(month),
            until: Some(since),
            direction: Some(CallDirection::BusinessInitiated),
            ..CallFilter::default()
        };
        let mut after = None;
        loop {
            let page = store.calls_after(after, PAGE, &before).await?;
            let Some(last) = page.last() else { break };
            after = Some((last.opened, last.id));
            for record in &page {
                let _ = tally.bill(record);
            }
        }
    }
    // Calls that are not wanted still count in the tiers of those that are.
    let all = CallFilter { since: filter.since, until: filter.until, ..CallFilter::default() };
    let mut after = None;
    loop {
        let page = store.calls_after(after, PAGE, &all).await?;
        let Some(last) = page.last() else { return Ok(()) };
        after = Some((last.opened, last.id));
        let mut notes = store.notes(&page.iter().map(|it| it.id).collect::<Vec<_>>()).await?;
        for record in page {
            let bill = tally.bill(&record);
            if wanted(&record, filter) {
                let notes = notes.remove(&record.id).unwrap_or_default();
                take(Line { record, bill, notes })?;
            }
        }
    }
}

fn wanted(record: &CallRecord, filter: &CallFilter) -> bool {
    filter.number.as_ref().is_none_or(|it| *it == record.number)
        && filter.direction.is_none_or(|it| it == record.direction)
        && filter.ended.is_none_or(|it| it == record.ended.is_some())
}

/// Writes records as text.
///
/// # Errors
/// The store's, and those of `out`.
pub async fn export(
    store: &Store,
    filter: &CallFilter,
    tally: Tally,
    (format, cover): (Format, Cover),
    out: &mut impl io::Write,
) -> Result<(), ExportError> {
    let currency = tally.card().currency.clone();
    if format == Format::Csv {
        out.write_all(row(COLUMNS.iter().map(|it| (*it).to_owned())).as_bytes())?;
    }
    walk(store, filter, tally, |line| {
        let object = full(&line, &currency, cover);
        let text = match format {
            Format::JsonLines => format!("{object}\n"),
            Format::Csv => row(COLUMNS.iter().map(|it| field(&object, it))),
        };
        out.write_all(text.as_bytes()).map_err(ExportError::from)
    })
    .await?;
    Ok(out.flush()?)
}

/// A record as JSON with its cost, its outcome and its notes.
#[must_use]
pub fn full(line: &Line, currency: &str, cover: Cover) -> Value {
    let mut all = object(&line.record, cover);
    all["charge"] = charge(&line.bill, currency);
    all["outcome"] = outcome(&line.notes).into();
    let notes = line.notes.iter().map(|it| {
        json!({
            "at": it.at.to_string(),
            "author": it.author,
            "outcome": it.outcome,
            "text": it.text.as_ref().map(|text| cover.text(text.expose())),
        })
    });
    all["notes"] = notes.collect();
    all
}

/// The outcome that counts: the newest.
#[must_use]
pub fn outcome(notes: &[CallNote]) -> Option<String> {
    notes.iter().rev().find_map(|it| it.outcome.clone())
}

fn charge(bill: &Bill, currency: &str) -> Value {
    match bill {
        Bill::Free(why) => {
            let why = match why {
                Free::UserInitiated => "user_initiated",
                Free::NotConnected => "not_connected",
                Free::StillUp => "still_up",
            };
            json!({ "free": why, "cost": "0.0000", "currency": currency })
        }
        Bill::Unrated(pulses) => json!({ "pulses": pulses.0, "cost": null, "currency": currency }),
        Bill::Charged(charge) => json!({
            "month": charge.month.to_string(),
            "market": charge.market.as_str(),
            "pulses": charge.pulses.0,
            "tier": charge.tier,
            "rate": charge.rate.to_string(),
            "cost": charge.cost.to_string(),
            "currency": currency,
            "timed_by": if charge.timed == Timed::ByMeta { "meta" } else { "us" },
            "rate_from": match charge.listed {
                Listed::Exactly => "card",
                Listed::LastTier => "last_tier",
                Listed::Otherwise => "other_markets",
            },
        }),
    }
}

/// The columns of the CSV; a point leads into an object.
const COLUMNS: &[&str] = &[
    "id",
    "wa_call",
    "sip_call_id",
    "number",
    "phone_number_id",
    "direction",
    "user",
    "user_name",
    "endpoint",
    "opened",
    "rang",
    "answered",
    "ended",
    "talk_seconds",
    "meta_start",
    "meta_end",
    "meta_duration",
    "cause",
    "fault",
    "media",
    "quality.to_phone.heard.mos",
    "quality.to_meta.heard.mos",
    "recording.file",
    "payload",
    "dialling.permission",
    "dialling.number.connected",
    "dialling.pair.connected",
    "outcome",
    "charge.market",
    "charge.pulses",
    "charge.tier",
    "charge.rate",
    "charge.cost",
    "charge.currency",
];

fn field(object: &Value, path: &str) -> String {
    match path.split('.').fold(object, |at, key| &at[key]) {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A line of RFC 4180.
fn row(fields: impl Iterator<Item = String>) -> String {
    fields.map(|it| quoted(&it)).collect::<Vec<_>>().join(",") + "\r\n"
}

/// A field that stays one in every reader, and that no spreadsheet takes for a formula: names and payloads are
/// what users wrote. Telephone numbers keep their plus.
fn quoted(field: &str) -> String {
    let number = field.strip_prefix('+').is_some_and(|it| it.bytes().all(|b| b.is_ascii_digit()));
    let formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && !number;
    let field = if formula { format!("'{field}") } else { field.to_owned() };
    if field.contains(['"', ',', '\r', '\n']) || formula {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field
    }
}

#[cfg(test)]
mod tests;
