//! Call records as lines of text, page by page: whatever their number, a page is all that is in memory.

use std::io;

use serde_json::{Value, json};

use crate::billing::{Bill, Free, Listed, Month, Tally, Timed};
use crate::call::{CallDirection, CallNote, CallRecord};
use crate::id::CallId;
use crate::io::cli::calls::{Cover, object};
use crate::io::store::{CallFilter, Store, StoreError};
use crate::time::Wall;

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

/// Records in the order in which they were opened, each with its bill, a page at a time.
///
/// Tiers depend on all calls of a month: those before the filter's first are billed, too, and not shown.
#[derive(Debug)]
pub struct Pages {
    store: Store,
    filter: CallFilter,
    tally: Tally,
    after: Option<(Wall, CallId)>,
    /// Whether the calls of the month before the first have been billed.
    caught_up: bool,
}

impl Pages {
    /// The pages of what `filter` wants; `tally` is empty.
    #[must_use]
    pub const fn new(store: Store, filter: CallFilter, tally: Tally) -> Self {
        Self { store, filter, tally, after: None, caught_up: false }
    }

    /// The next page; it may be empty. `None` is the end.
    ///
    /// # Errors
    /// As every read of the store.
    pub async fn next(&mut self) -> Result<Option<Vec<Line>>, StoreError> {
        if !std::mem::replace(&mut self.caught_up, true) {
            self.catch_up().await?;
        }
        // Calls that are not wanted still count in the tiers of those that are.
        let all = CallFilter { since: self.filter.since, until: self.filter.until, ..CallFilter::default() };
        let page = self.store.calls_after(self.after, PAGE, &all).await?;
        let Some(last) = page.last() else { return Ok(None) };
        self.after = Some((last.opened, last.id));
        let mut notes = self.store.notes(&page.iter().map(|it| it.id).collect::<Vec<_>>()).await?;
        let mut lines = Vec::new();
        for record in page {
            let bill = self.tally.bill(&record);
            if wanted(&record, &self.filter) {
                let notes = notes.remove(&record.id).unwrap_or_default();
                lines.push(Line { record, bill, notes });
            }
        }
        Ok(Some(lines))
    }

    async fn catch_up(&mut self) -> Result<(), StoreError> {
        let Some(since) = self.filter.since else { return Ok(()) };
        let month = Month::of(since, self.tally.zone()).begins(self.tally.zone());
        let before = CallFilter {
            since: Some(month),
            until: Some(since),
            direction: Some(CallDirection::BusinessInitiated),
            ..CallFilter::default()
        };
        let mut after = None;
        loop {
            let page = self.store.calls_after(after, PAGE, &before).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some((last.opened, last.id));
            for record in &page {
                let _ = self.tally.bill(record);
            }
        }
    }
}

/// Walks through records in the order in which they were opened and bills each.
///
/// # Errors
/// The store's, and those of `take`.
pub async fn walk<E: From<StoreError>>(
    store: &Store,
    filter: &CallFilter,
    tally: Tally,
    mut take: impl FnMut(Line) -> Result<(), E>,
) -> Result<(), E> {
    let mut pages = Pages::new(store.clone(), filter.clone(), tally);
    while let Some(page) = pages.next().await? {
        page.into_iter().try_for_each(&mut take)?;
    }
    Ok(())
}

fn wanted(record: &CallRecord, filter: &CallFilter) -> bool {
    filter.number.as_ref().is_none_or(|it| *it == record.number)
        && filter.direction.is_none_or(|it| it == record.direction)
        && filter.ended.is_none_or(|it| it == record.ended.is_some())
}

/// Writes records as text.
#[derive(Clone, Debug)]
pub struct Writer {
    format: Format,
    cover: Cover,
    currency: String,
}

impl Writer {
    /// A writer of this form; `currency` is that of the rates.
    #[must_use]
    pub const fn new(format: Format, cover: Cover, currency: String) -> Self {
        Self { format, cover, currency }
    }

    /// What stands before the first record.
    #[must_use]
    pub fn head(&self) -> String {
        match self.format {
            Format::Csv => row(COLUMNS.iter().map(|it| (*it).to_owned())),
            Format::JsonLines => String::new(),
        }
    }

    /// One record.
    #[must_use]
    pub fn line(&self, line: &Line) -> String {
        let object = full(line, &self.currency, self.cover);
        match self.format {
            Format::JsonLines => format!("{object}\n"),
            Format::Csv => row(COLUMNS.iter().map(|it| field(&object, it))),
        }
    }
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
    let writer = Writer::new(format, cover, tally.card().currency.clone());
    out.write_all(writer.head().as_bytes())?;
    walk(store, filter, tally, |line| {
        out.write_all(writer.line(&line).as_bytes()).map_err(ExportError::from)
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
