//! Weeks, holidays and changes of the clocks.

use super::*;

fn spans(texts: &[&str]) -> Vec<Span> {
    texts.iter().map(|it| Span::parse(it).expect(it)).collect()
}

/// Monday to Friday with a lunch break, in Berlin.
fn office() -> OpeningHours {
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let day = || spans(&["09:00-12:00", "13:00-17:00"]);
    let week = [day(), day(), day(), day(), day(), vec![], vec![]];
    let holidays =
        [(Date::constant(2026, 12, 24), spans(&["09:00-12:00"])), (Date::constant(2026, 12, 25), vec![])];
    OpeningHours::new(zone, week, holidays.into()).expect("no overlap")
}

fn wall_of(text: &str) -> Wall {
    Wall(text.parse::<Timestamp>().expect("a moment").as_millisecond())
}

/// `open until …` or `closed until …`, in UTC.
fn at(hours: &OpeningHours, now: &str) -> String {
    let (word, until) = match hours.at(wall_of(now)) {
        Opening::Open { until } => ("open", until),
        Opening::Closed { until } => ("closed", until),
    };
    until.map_or_else(|| format!("{word} for ever"), |until| format!("{word} until {until}"))
}

#[test]
fn b12_a_number_opens_and_closes_to_the_millisecond() {
    let office = office();
    // A Monday in winter: Berlin is UTC+1.
    assert_eq!(at(&office, "2026-11-23T07:59:59.999Z"), "closed until 2026-11-23T08:00:00.000Z");
    assert_eq!(at(&office, "2026-11-23T08:00:00Z"), "open until 2026-11-23T11:00:00.000Z");
    assert_eq!(at(&office, "2026-11-23T11:00:00Z"), "closed until 2026-11-23T12:00:00.000Z");
    assert_eq!(at(&office, "2026-11-23T15:59:59.999Z"), "open until 2026-11-23T16:00:00.000Z");
    assert_eq!(at(&office, "2026-11-27T16:00:00Z"), "closed until 2026-11-30T08:00:00.000Z", "a weekend");
}

#[test]
fn the_hours_are_those_of_the_wall_before_and_after_the_clocks_change() {
    let office = office();
    // The clocks go forward on Sunday, 29 March 2026, and back on Sunday, 25 October.
    assert_eq!(at(&office, "2026-03-27T16:00:00Z"), "closed until 2026-03-30T07:00:00.000Z");
    assert_eq!(at(&office, "2026-10-23T15:00:00Z"), "closed until 2026-10-26T08:00:00.000Z");
}

#[test]
fn an_hour_that_is_skipped_is_skipped_and_one_that_comes_twice_counts_twice() {
    let zone = TimeZone::get("Europe/Berlin").expect("a zone");
    let night = || spans(&["01:00-02:30"]);
    let every = [night(), night(), night(), night(), night(), night(), night()];
    let night = OpeningHours::new(zone, every, BTreeMap::new()).expect("no overlap");
    // 02:00 becomes 03:00 at 01:00 UTC: 02:30 never comes, and it closes as the clocks change.
    assert_eq!(at(&night, "2026-03-29T00:00:00Z"), "open until 2026-03-29T01:00:00.000Z");
    assert_eq!(at(&night, "2026-03-29T01:00:00Z"), "closed until 2026-03-29T23:00:00.000Z");
    // 03:00 becomes 02:00 at 01:00 UTC: from 02:00 to 02:30 it is open twice.
    assert_eq!(at(&night, "2026-10-25T00:00:00Z"), "open until 2026-10-25T00:30:00.000Z");
    assert_eq!(at(&night, "2026-10-25T00:45:00Z"), "closed until 2026-10-25T01:00:00.000Z");
    assert_eq!(at(&night, "2026-10-25T01:15:00Z"), "open until 2026-10-25T01:30:00.000Z");
    assert_eq!(at(&night, "2026-10-25T01:30:00Z"), "closed until 2026-10-26T00:00:00.000Z");
}

#[test]
fn a_holiday_has_hours_of_its_own_or_none() {
    let office = office();
    assert_eq!(at(&office, "2026-12-24T10:00:00Z"), "open until 2026-12-24T11:00:00.000Z");
    assert_eq!(at(&office, "2026-12-24T12:00:00Z"), "closed until 2026-12-28T08:00:00.000Z");
}

#[test]
fn a_day_that_ends_open_goes_on_into_the_next_and_always_open_never_closes() {
    let zone = TimeZone::UTC;
    let mut week: [Vec<Span>; 7] = Default::default();
    week[4] = spans(&["22:00-24:00"]);
    week[5] = spans(&["00:00-02:00"]);
    let bar = OpeningHours::new(zone.clone(), week, BTreeMap::new()).expect("no overlap");
    assert_eq!(at(&bar, "2026-11-27T23:00:00Z"), "open until 2026-11-28T02:00:00.000Z");
    let always = std::array::from_fn(|_| vec![Span::WHOLE_DAY]);
    let always = OpeningHours::new(zone.clone(), always, BTreeMap::new()).expect("no overlap");
    assert_eq!(at(&always, "2026-11-27T23:00:00Z"), "open for ever");
    let never = OpeningHours::new(zone, Default::default(), BTreeMap::new()).expect("no overlap");
    assert_eq!(at(&never, "2026-11-27T23:00:00Z"), "closed for ever");
}

#[test]
fn spans_read_strictly_and_must_not_meet() {
    assert_eq!(Span::parse("09:00-24:00").map(|it| it.to_string()).as_deref(), Some("09:00-24:00"));
    for wrong in
        ["9:00-17:00", "09:00", "17:00-09:00", "09:00-09:00", "09:60-10:00", "23:00-24:01", "aa:bb-10:00"]
    {
        assert_eq!(Span::parse(wrong), None, "{wrong}");
    }
    let mut week: [Vec<Span>; 7] = Default::default();
    week[0] = spans(&["12:00-17:00", "09:00-12:01"]);
    let Overlap(first, second) =
        OpeningHours::new(TimeZone::UTC, week, BTreeMap::new()).expect_err("an overlap");
    assert_eq!((first.to_string().as_str(), second.to_string().as_str()), ("09:00-12:01", "12:00-17:00"));
}

#[test]
fn metas_form_has_two_spans_a_day_closed_holidays_and_none_of_the_past() {
    let hours = office().for_meta(wall_of("2026-12-24T23:30:00Z")).expect("it fits");
    assert_eq!((hours.zone.as_str(), hours.weekly.len()), ("Europe/Berlin", 10));
    let shown = |it: &HolidayHours| format!("{} {}-{}", it.date, it.start, it.end);
    let holidays: Vec<String> = hours.holidays.iter().map(shown).collect();
    assert_eq!(holidays, ["2026-12-25 0000-2359"], "in Berlin it is the 25th already");
    let eve = office().for_meta(wall_of("2026-12-24T10:00:00Z")).expect("it fits");
    let eve: Vec<String> = eve.holidays.iter().map(shown).collect();
    assert_eq!(eve, ["2026-12-24 0000-0900", "2026-12-24 1200-2359", "2026-12-25 0000-2359"]);
    let mut week: [Vec<Span>; 7] = Default::default();
    week[2] = spans(&["08:00-09:00", "10:00-11:00", "12:00-13:00"]);
    let three = OpeningHours::new(TimeZone::UTC, week, BTreeMap::new()).expect("no overlap");
    assert_eq!(three.for_meta(Wall(0)), Err("WEDNESDAY has 3 spans; Meta takes two a day".to_owned()));
}
