//! `GET` and `POST /{PHONE_NUMBER_ID}/settings` (reference §5): the format enforced by code of the stand-in's own,
//! which shares nothing with what writes it.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Bytes;
use axum::extract::{Path, State as Shared};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::graph::{admit, refuse};
use super::graph_error::GraphError;
use super::media::now;
use super::meta::Meta;

/// The routes.
pub(super) fn routes(meta: Meta) -> Router {
    Router::new().route("/{version}/{number}/settings", get(show).post(change)).with_state(meta)
}

async fn show(
    Shared(meta): Shared<Meta>,
    Path((version, number)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Err(error) = admit(&meta, &version, &number, &headers) {
        return refuse(&meta, &error);
    }
    let calling = meta.with(|state| state.settings.get(&number).cloned()).unwrap_or_else(fresh);
    axum::response::IntoResponse::into_response(Json(json!({ "calling": calling })))
}

async fn change(
    Shared(meta): Shared<Meta>,
    Path((version, number)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let work = || {
        admit(&meta, &version, &number, &headers)?;
        let body: Value =
            serde_json::from_slice(&body).map_err(|it| wrong(format!("the body is not valid JSON: {it}")))?;
        let asked = body["calling"].as_object().ok_or_else(|| wrong("calling is required"))?;
        check(asked, &today())?;
        meta.with(|state| {
            let calling = state.settings.entry(number.clone()).or_insert_with(fresh);
            for (key, value) in asked {
                calling[key] = value.clone();
            }
        });
        Ok(Json(json!({ "success": true })))
    };
    match work() {
        Ok(done) => axum::response::IntoResponse::into_response(done),
        Err(error) => refuse(&meta, &error),
    }
}

/// What Meta has of a number that nobody has touched, calling enabled.
fn fresh() -> Value {
    json!({ "status": "ENABLED", "call_icon_visibility": "DEFAULT", "callback_permission_status": "DISABLED" })
}

/// The day in UTC: as much as the stand-in needs to know a past holiday.
fn today() -> String {
    now().wall.to_string().chars().take(10).collect()
}

fn wrong(details: impl Into<String>) -> GraphError {
    GraphError::parameter(details)
}

fn check(asked: &Map<String, Value>, today: &str) -> Result<(), GraphError> {
    for (key, value) in asked {
        match key.as_str() {
            "status" | "callback_permission_status" => one_of(key, value, &["ENABLED", "DISABLED"])?,
            "call_icon_visibility" => one_of(key, value, &["DEFAULT", "DISABLE_ALL"])?,
            "call_icons" => countries(&value["restrict_to_user_countries"])?,
            "call_hours" => hours(value, today)?,
            _ => return Err(wrong(format!("the stand-in does not know calling.{key}"))),
        }
    }
    Ok(())
}

fn one_of(key: &str, value: &Value, words: &[&str]) -> Result<(), GraphError> {
    let known = value.as_str().is_some_and(|it| words.contains(&it));
    if known { Ok(()) } else { Err(wrong(format!("{key} must be one of {}", words.join(", ")))) }
}

fn countries(list: &Value) -> Result<(), GraphError> {
    let list = list.as_array().ok_or_else(|| wrong("restrict_to_user_countries must be a list"))?;
    let iso = |it: &Value| {
        it.as_str().is_some_and(|it| it.len() == 2 && it.chars().all(|c| c.is_ascii_uppercase()))
    };
    if list.iter().all(iso) { Ok(()) } else { Err(wrong("restrict_to_user_countries must hold ISO codes")) }
}

/// `HHMM` of a clock, as a number that sorts like the time.
fn clock(value: &Value) -> Option<u16> {
    let text = value.as_str().filter(|it| it.len() == 4 && it.bytes().all(|b| b.is_ascii_digit()))?;
    let number: u16 = text.parse().ok()?;
    (number < 2400 && number % 100 < 60).then_some(number)
}

fn hours(value: &Value, today: &str) -> Result<(), GraphError> {
    one_of("call_hours.status", &value["status"], &["ENABLED", "DISABLED"])?;
    if value["status"] == "DISABLED" {
        return Ok(());
    }
    let zone = value["timezone_id"].as_str().unwrap_or_default();
    if zone != "UTC" && !zone.contains('/') {
        return Err(wrong("timezone_id must be an IANA time zone"));
    }
    let weekly = value["weekly_operating_hours"].as_array().cloned().unwrap_or_default();
    if weekly.is_empty() {
        return Err(wrong("weekly_operating_hours must not be empty"));
    }
    let mut days: BTreeMap<String, Vec<(u16, u16)>> = BTreeMap::new();
    for entry in &weekly {
        let day = entry["day_of_week"].as_str().unwrap_or_default().to_owned();
        let known = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
        if !known.contains(&day.as_str()) {
            return Err(wrong(format!("day_of_week {day:?} is not a day")));
        }
        let (Some(open), Some(close)) = (clock(&entry["open_time"]), clock(&entry["close_time"])) else {
            return Err(wrong("open_time and close_time must be HHMM"));
        };
        if open >= close {
            return Err(wrong("open_time must be before close_time"));
        }
        days.entry(day).or_default().push((open, close));
    }
    for (day, mut spans) in days {
        spans.sort_unstable();
        if spans.len() > 2 {
            return Err(wrong(format!("{day} has more than two entries")));
        }
        if spans.windows(2).any(|pair| pair[1].0 < pair[0].1) {
            return Err(wrong(format!("the entries of {day} overlap")));
        }
    }
    holidays(&value["holiday_schedule"], today)
}

fn holidays(list: &Value, today: &str) -> Result<(), GraphError> {
    let Some(list) = list.as_array() else { return Ok(()) };
    if list.len() > 20 {
        return Err(wrong("holiday_schedule takes 20 entries"));
    }
    let mut seen = BTreeSet::new();
    for entry in list {
        let date = entry["date"].as_str().unwrap_or_default();
        let shape = date.len() == 10 && date.split('-').map(str::len).eq([4, 2, 2]);
        if !shape || !date.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            return Err(wrong(format!("date {date:?} is not YYYY-MM-DD")));
        }
        if date < today {
            return Err(wrong(format!("{date} is past")));
        }
        let (Some(start), Some(end)) = (clock(&entry["start_time"]), clock(&entry["end_time"])) else {
            return Err(wrong("start_time and end_time must be HHMM"));
        };
        if start >= end || !seen.insert((date.to_owned(), start)) {
            return Err(wrong(format!("the times of {date} make no sense")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(calling: &Value) -> Result<(), String> {
        check(calling.as_object().expect("an object"), "2026-11-23").map_err(|it| it.details)
    }

    fn with_hours(change: impl FnOnce(&mut Value)) -> Result<(), String> {
        let mut hours = json!({ "status": "ENABLED", "timezone_id": "Europe/Berlin",
            "weekly_operating_hours": [
                { "day_of_week": "MONDAY", "open_time": "0900", "close_time": "1200" },
                { "day_of_week": "MONDAY", "open_time": "1300", "close_time": "1700" } ],
            "holiday_schedule": [ { "date": "2026-12-25", "start_time": "0000", "end_time": "2359" } ] });
        change(&mut hours);
        answer(&json!({ "call_hours": hours }))
    }

    #[test]
    fn good_hours_are_taken_and_each_rule_of_metas_is_kept() {
        assert_eq!(with_hours(|_| {}), Ok(()));
        type Change = fn(&mut Value);
        let changes: [(Change, &str); 8] = [
            (|it| it["timezone_id"] = "Berlin".into(), "timezone_id"),
            (|it| it["weekly_operating_hours"] = json!([]), "must not be empty"),
            (|it| it["weekly_operating_hours"][0]["open_time"] = "09:00".into(), "HHMM"),
            (|it| it["weekly_operating_hours"][0]["close_time"] = "1400".into(), "overlap"),
            (|it| it["weekly_operating_hours"][0]["close_time"] = "2400".into(), "HHMM"),
            (|it| it["holiday_schedule"][0]["date"] = "2026-11-22".into(), "is past"),
            (|it| it["holiday_schedule"][0]["date"] = "25.12.2026".into(), "YYYY-MM-DD"),
            (
                |it| {
                    let third = json!({ "day_of_week": "MONDAY", "open_time": "1800", "close_time": "1900" });
                    it["weekly_operating_hours"].as_array_mut().expect("a list").push(third);
                },
                "more than two",
            ),
        ];
        for (change, said) in changes {
            assert!(with_hours(change).expect_err(said).contains(said), "{said}");
        }
        assert!(answer(&json!({ "call_icon_visibility": "DISABLE ALL" })).is_err());
        assert!(answer(&json!({ "colour": "green" })).is_err());
    }
}
