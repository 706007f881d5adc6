//! `cordboard calls show|note|export` and `cordboard costs`: one record, what people say of it, many, and money.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;

use super::calls::Cover;
use super::quality::align;
use crate::billing::{Month, Pulses, Statement, Tally};
use crate::call::CallDirection;
use crate::config::{Records, read_moment};
use crate::id::{CallId, NumberLabel};
use crate::io::export::Format;
use crate::io::store::CallFilter;
use crate::time::Wall;

/// What to do with records besides listing them.
#[derive(Debug, Subcommand)]
pub enum CallsAction {
    /// Writes the records out, oldest first, with their cost.
    Export(ExportArgs),
    /// Shows all that is known of one call, as JSON.
    Show {
        /// The call, as `calls` shows it.
        #[arg(value_name = "CALL", value_parser = call_id)]
        call: CallId,
        /// Shows the user's number and name in full.
        #[arg(long)]
        unmasked: bool,
    },
    /// Says what became of a call: an outcome of `records.outcomes`, a note, or both.
    Note {
        /// The call, as `calls` shows it.
        #[arg(value_name = "CALL", value_parser = call_id)]
        call: CallId,
        /// The outcome, or its place in the list.
        #[arg(long)]
        outcome: Option<String>,
        /// A note.
        #[arg(long)]
        text: Option<String>,
        /// Who says so.
        #[arg(long, default_value = "operator")]
        by: String,
    },
}

/// What to export, and how.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The form.
    #[arg(long, value_enum, default_value = "csv")]
    pub format: FormatWord,
    /// Calls from this moment or day on: 2026-11-01 or 2026-11-01T08:00:00Z; days are those of records.billing_zone.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Calls before this moment or day.
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
    /// Calls of this business number only.
    #[arg(long, value_name = "LABEL")]
    pub number: Option<String>,
    /// Calls of this direction only.
    #[arg(long, value_enum)]
    pub direction: Option<DirectionWord>,
    /// Writes users' numbers and names in full.
    #[arg(long)]
    pub unmasked: bool,
    /// Into this new file, readable for you alone, instead of to the screen.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// A form of export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatWord {
    /// RFC 4180 with a line of headings.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

impl From<FormatWord> for Format {
    fn from(word: FormatWord) -> Self {
        match word {
            FormatWord::Csv => Self::Csv,
            FormatWord::Jsonl => Self::JsonLines,
        }
    }
}

/// Who called whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DirectionWord {
    /// Users called.
    In,
    /// Phones called users.
    Out,
}

impl From<DirectionWord> for CallDirection {
    fn from(word: DirectionWord) -> Self {
        match word {
            DirectionWord::In => Self::UserInitiated,
            DirectionWord::Out => Self::BusinessInitiated,
        }
    }
}

/// What Meta charges for calls to users, by month and market.
#[derive(Debug, Args)]
pub struct CostsArgs {
    /// The configuration that names store and rates.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    pub config: PathBuf,
    /// A month, 2026-11; by default the present one. Months are those of records.billing_zone.
    #[arg(long, value_parser = month)]
    pub month: Option<Month>,
    /// Every month that the store knows.
    #[arg(long, conflicts_with = "month")]
    pub all: bool,
    /// One JSON object instead of a table.
    #[arg(long)]
    pub json: bool,
}

pub(super) fn call_id(text: &str) -> Result<CallId, String> {
    CallId::parse(text).ok_or_else(|| "write the 16 letters and digits that `calls` shows".to_owned())
}

fn month(text: &str) -> Result<Month, String> {
    Month::parse(text).ok_or_else(|| "write year and month: 2026-11".to_owned())
}

/// An account to bill by.
pub(super) fn tally(records: &Records) -> Tally {
    Tally::new(records.records.rates.clone(), records.records.billing_zone.clone())
}

impl ExportArgs {
    /// Which records are meant.
    ///
    /// # Errors
    /// A sentence for the administrator.
    pub fn filter(&self, records: &Records) -> Result<CallFilter, String> {
        let moment = |name: &str, text: &Option<String>| -> Result<Option<Wall>, String> {
            let Some(text) = text else { return Ok(None) };
            let read = read_moment(text, &records.records.billing_zone);
            read.map(Some)
                .ok_or_else(|| format!("--{name} {text:?}: write 2026-11-01 or 2026-11-01T08:00:00Z"))
        };
        let known = |label: &String| {
            let all: Vec<&str> = records.numbers.iter().map(|(label, _)| label.as_str()).collect();
            let number = NumberLabel::from(label.as_str());
            let found = all.contains(&label.as_str()).then_some(number);
            found.ok_or_else(|| format!("no such number: --number one of {}", all.join(", ")))
        };
        Ok(CallFilter {
            number: self.number.as_ref().map(known).transpose()?,
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
            direction: self.direction.map(CallDirection::from),
            ended: None,
            before: None,
        })
    }

    /// Where it goes: a file of the caller's own, which must be new, or the screen.
    ///
    /// # Errors
    /// The file's.
    pub fn open(&self) -> io::Result<Box<dyn Write>> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let Some(path) = &self.out else { return Ok(Box::new(BufWriter::new(io::stdout().lock()))) };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(BufWriter::new(file)))
    }

    /// Whether personal values are covered.
    #[must_use]
    pub const fn cover(&self) -> Cover {
        if self.unmasked { Cover::Open } else { Cover::Masked }
    }
}

/// The outcome that a word or a place in the list means.
///
/// # Errors
/// A sentence for the administrator.
pub fn outcome(word: &str, known: &[String]) -> Result<String, String> {
    let by_place = word.parse::<usize>().ok().and_then(|it| known.get(it.checked_sub(1)?));
    let found = known.iter().find(|it| *it == word).or(by_place);
    found.cloned().ok_or_else(|| format!("no such outcome: --outcome one of {}", known.join(", ")))
}

impl CostsArgs {
    /// Which records are meant.
    #[must_use]
    pub fn filter(&self, tally: &Tally, now: Wall) -> CallFilter {
        let direction = Some(CallDirection::BusinessInitiated);
        if self.all {
            return CallFilter { direction, ..CallFilter::default() };
        }
        let month = self.month.unwrap_or_else(|| Month::of(now, tally.zone()));
        // A call counts in the month in which the user picked up; its record opened up to minutes before.
        let since = Some(month.begins(tally.zone()) - std::time::Duration::from_hours(1));
        CallFilter {
            since,
            until: Some(month.next().begins(tally.zone())),
            direction,
            ..CallFilter::default()
        }
    }

    /// Drops what belongs to the month before.
    pub fn trim(&self, statement: &mut Statement, zone_month: Month) {
        if !self.all {
            let wanted = self.month.unwrap_or(zone_month);
            statement.rows.retain(|(month, _), _| *month == wanted);
        }
    }
}

/// What `cordboard costs` prints.
#[must_use]
pub fn costs(statement: &Statement, currency: &str, json: bool) -> String {
    if json {
        let rows: Vec<_> = statement
            .rows
            .iter()
            .map(|((month, market), row)| {
                json!({
                    "month": month.to_string(), "market": market.as_str(), "calls": row.calls,
                    "estimated": row.estimated, "pulses": row.pulses.0, "cost": row.cost.to_string(),
                })
            })
            .collect();
        let total = statement.total();
        let all = json!({
            "currency": currency, "rows": rows, "unrated": statement.unrated,
            "total": { "calls": total.calls, "pulses": total.pulses.0, "cost": total.cost.to_string() },
        });
        return serde_json::to_string_pretty(&all).expect("values of text and numbers");
    }
    if statement.rows.is_empty() && statement.unrated == 0 {
        return "no calls that cost anything".to_owned();
    }
    let line = |month: String, market: String, row: crate::billing::Sum| {
        let minutes = format!("{}.{}", row.pulses.0 / Pulses::PER_MINUTE, row.pulses.0 % Pulses::PER_MINUTE);
        [month, market, row.calls.to_string(), minutes, row.cost.to_string(), row.estimated.to_string()]
    };
    let cost = format!("COST ({currency})");
    let mut rows =
        vec![["MONTH", "MARKET", "CALLS", "MINUTES", cost.as_str(), "ESTIMATED"].map(str::to_owned)];
    rows.extend(
        statement.rows.iter().map(|((month, market), row)| line(month.to_string(), market.to_string(), *row)),
    );
    rows.push(line(String::new(), "all".to_owned(), statement.total()));
    let mut text = align(&rows);
    if statement.total().estimated > 0 {
        text += "\n\nestimated: Meta's duration never came, or the rate card has no rate of its own for market and tier";
    }
    if statement.unrated > 0 {
        text += &format!("\n\nwithout any rate, and not in the sum: {} calls", statement.unrated);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_is_a_word_of_the_list_or_its_place() {
        let known = ["resolved", "follow_up"].map(str::to_owned);
        assert_eq!(outcome("follow_up", &known).as_deref(), Ok("follow_up"));
        assert_eq!(outcome("2", &known).as_deref(), Ok("follow_up"));
        for wrong in ["0", "3", "Resolved", ""] {
            let said = outcome(wrong, &known).expect_err(wrong);
            assert_eq!(said, "no such outcome: --outcome one of resolved, follow_up");
        }
    }

    #[test]
    fn costs_are_a_row_per_month_and_market_and_a_sum() {
        use crate::billing::{Money, Sum};
        let mut statement = Statement::default();
        let month = Month::parse("2026-11").expect("a month");
        let row = |calls, pulses, cost, estimated| Sum {
            calls,
            estimated,
            pulses: Pulses(pulses),
            cost: Money(cost),
        };
        statement.rows.insert((month, "brazil".into()), row(2, 21, 237_300, 0));
        statement.rows.insert((month, "germany".into()), row(1, 10, 108_000, 1));
        let expected = "\
MONTH    MARKET   CALLS  MINUTES  COST (USD)  ESTIMATED
2026-11  brazil   2      2.1      0.02373     0
2026-11  germany  1      1.0      0.0108      1
         all      3      3.1      0.03453     1";
        let shown = costs(&statement, "USD", false);
        assert!(shown.starts_with(expected), "{shown}");
        assert_eq!(costs(&Statement::default(), "USD", false), "no calls that cost anything");
    }
}
