//! Bills of whole months, by a small card and by the one that is shipped.

use super::*;
use crate::billing::{Card, Markets};
use crate::id::CallId;
use crate::user::{Bsuid, Msisdn, UserId};

fn user(digits: &str) -> UserId {
    UserId::Phone(Msisdn::parse(digits).expect("digits"))
}

/// A call to a user that Meta says lasted so long.
fn call(user: UserId, started: &str, seconds: u32) -> CallRecord {
    let started = Wall(started.parse::<Timestamp>().expect("a moment").as_millisecond());
    CallRecord {
        opened: started,
        answered: Some(started),
        ended: Some(started + Duration::from_secs(u64::from(seconds) + 2)),
        meta_start: Some(started),
        meta_duration: Some(seconds),
        ..CallRecord::new(
            CallId(1),
            "support".into(),
            "108911223344556".into(),
            CallDirection::BusinessInitiated,
            user,
        )
    }
}

fn card() -> RateCard {
    let countries = [("DE", "germany"), ("US", "north_america"), ("JM", "islands")];
    let by_country = countries.map(|(country, market)| (country.to_owned(), Market::from(market)));
    let codes = [("DE", "49"), ("US", "1"), ("JM", "1876")];
    let codes = codes.map(|(country, code)| (country.to_owned(), vec![code.to_owned()]));
    let markets = Markets::new(by_country.into(), &codes.into(), "other".into());
    let rates = |list: &[(&str, &[u32])]| {
        let row = |(market, rates): &(&str, &[u32])| {
            (Market::from(*market), rates.iter().copied().map(Rate).collect())
        };
        list.iter().map(row).collect()
    };
    let first = Card {
        from: Date::constant(2026, 1, 1),
        tiers: vec![2],
        rates: rates(&[("germany", &[10_000, 5000]), ("islands", &[20_000]), ("other", &[30_000])]),
    };
    let later =
        Card { from: Date::constant(2026, 7, 1), tiers: vec![2], rates: rates(&[("germany", &[9000])]) };
    RateCard::new("EUR".to_owned(), markets, vec![later, first])
}

fn tally() -> Tally {
    Tally::new(Arc::new(card()), TimeZone::UTC)
}

fn charged(bill: Bill) -> Charge {
    match bill {
        Bill::Charged(charge) => charge,
        other => panic!("{other:?}"),
    }
}

#[test]
fn b17_a_users_call_is_free_and_so_is_one_that_nobody_answered() {
    let mut tally = tally();
    let paid = call(user("4930555"), "2026-03-01T10:00:00Z", 56);
    let theirs = CallRecord { direction: CallDirection::UserInitiated, ..paid.clone() };
    assert_eq!(tally.bill(&theirs), Bill::Free(Free::UserInitiated));
    let missed = CallRecord { answered: None, meta_start: None, meta_duration: None, ..paid.clone() };
    assert_eq!(tally.bill(&missed), Bill::Free(Free::NotConnected));
    let running = CallRecord { ended: None, ..missed };
    assert_eq!(tally.bill(&running), Bill::Free(Free::StillUp));
    let charge = charged(tally.bill(&paid));
    assert_eq!((charge.pulses, charge.cost.to_string().as_str()), (Pulses(10), "0.0100"));
}

#[test]
fn metas_duration_wins_over_our_clock_and_ours_is_an_estimate() {
    let mut tally = tally();
    let told = call(user("4930555"), "2026-03-01T10:00:00Z", 6);
    let charge = charged(tally.bill(&told));
    assert_eq!((charge.pulses, charge.timed, charge.is_exact()), (Pulses(1), Timed::ByMeta, true));
    // Eight seconds by our clock, because the `terminate` never came.
    let silent = CallRecord { meta_start: None, meta_duration: None, ..told };
    let charge = charged(tally.bill(&silent));
    assert_eq!((charge.pulses, charge.timed, charge.is_exact()), (Pulses(2), Timed::ByUs, false));
}

#[test]
fn a_call_that_crosses_a_tier_is_priced_at_the_lower_rate_as_a_whole() {
    let mut tally = tally();
    let minute = || call(user("4930555"), "2026-03-01T10:00:00Z", 60);
    let rates: Vec<u32> = (0..3).map(|_| charged(tally.bill(&minute())).rate.0).collect();
    assert_eq!(rates, [10_000, 10_000, 5000], "two minutes are the first tier, to the pulse");
    let next = charged(tally.bill(&call(user("4930555"), "2026-04-01T00:00:00Z", 60)));
    assert_eq!((next.rate, next.tier), (Rate(10_000), 1), "a month begins at nothing");
    let crossing = charged(tally.bill(&call(user("4930555"), "2026-04-02T00:00:00Z", 600)));
    assert_eq!((crossing.tier, crossing.cost), (2, Rate(5000).cost(Pulses(100))));
}

#[test]
fn the_market_is_that_of_the_longest_beginning_or_else_of_the_scoped_id() {
    let mut tally = tally();
    let mut market = |user: UserId| charged(tally.bill(&call(user, "2026-03-01T10:00:00Z", 6))).market;
    assert_eq!(market(user("18765550100")).as_str(), "islands");
    assert_eq!(market(user("14155550100")).as_str(), "north_america");
    assert_eq!(market(user("99955500")).as_str(), "other");
    let scoped = |id| UserId::Scoped(Bsuid::parse(id).expect("an id"));
    assert_eq!(market(scoped("DE.2099")).as_str(), "germany");
    assert_eq!(market(scoped("QQ.2099")).as_str(), "other");
}

#[test]
fn a_card_holds_from_its_first_day_in_the_accounts_time_zone() {
    let zone = TimeZone::get("America/Sao_Paulo").expect("a zone");
    let mut there = Tally::new(Arc::new(card()), zone);
    let late = call(user("4930555"), "2026-07-01T02:59:59Z", 60);
    assert_eq!(charged(there.bill(&late)).month.to_string(), "2026-06");
    assert_eq!(charged(there.bill(&late)).rate, Rate(10_000), "still June there");
    let charge = charged(tally().bill(&late));
    assert_eq!((charge.rate, charge.month.to_string().as_str()), (Rate(9000), "2026-07"));
    let before = call(user("4930555"), "2025-12-31T10:00:00Z", 60);
    assert_eq!(tally().bill(&before), Bill::Unrated(Pulses(10)));
}

#[test]
fn what_the_card_does_not_know_is_an_estimate_and_says_so() {
    let mut tally = tally();
    let charge = charged(tally.bill(&call(user("14155550100"), "2026-03-01T10:00:00Z", 60)));
    assert_eq!((charge.rate, charge.listed), (Rate(30_000), Listed::Otherwise));
    let long = charged(tally.bill(&call(user("18765550100"), "2026-03-01T10:00:00Z", 181)));
    assert_eq!((long.tier, long.rate, long.listed), (2, Rate(20_000), Listed::LastTier));
    assert!(!long.is_exact());
}

#[test]
fn a_month_reads_back_and_knows_its_first_moment() {
    let month = Month::parse("2026-12").expect("a month");
    assert_eq!((month.to_string().as_str(), month.next().to_string().as_str()), ("2026-12", "2027-01"));
    assert_eq!(month.begins(&TimeZone::UTC).to_string(), "2026-12-01T00:00:00.000Z");
    let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
    assert_eq!(month.begins(&berlin).to_string(), "2026-11-30T23:00:00.000Z");
    for wrong in ["2026-13", "2026-00", "26-11", "2026", "2026-1", "-026-11"] {
        assert_eq!(Month::parse(wrong), None, "{wrong}");
    }
}
