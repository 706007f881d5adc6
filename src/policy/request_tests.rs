//! Each limit on asking at its edge.

use super::*;
use crate::policy::Unavailable;
use crate::user::Msisdn;

const DAY: i64 = 86_400_000;

fn ask(template: bool) -> Ask {
    let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
    Ask { number: "108911223344556".into(), user, template }
}

fn decided(facts: &AskFacts, now: i64) -> Result<RequestKind, AskDenial> {
    decide_request(&Rules::default(), facts, &ask(true), Wall(now))
}

fn denied(reason: AskReason, until: Option<i64>) -> Result<RequestKind, AskDenial> {
    Err(AskDenial { reason, until: until.map(Wall) })
}

#[test]
fn b5_the_window_decides_the_form_and_without_a_template_a_shut_one_forbids() {
    let facts = AskFacts { window: Some(Wall(1000)), ..AskFacts::default() };
    assert_eq!(decided(&facts, 999), Ok(RequestKind::FreeForm));
    assert_eq!(decided(&facts, 1000), Ok(RequestKind::Template));
    let rules = Rules::default();
    assert_eq!(decide_request(&rules, &facts, &ask(false), Wall(999)), Ok(RequestKind::FreeForm));
    let shut = decide_request(&rules, &facts, &ask(false), Wall(1000));
    assert_eq!(shut, denied(AskReason::NoTemplate, None));
}

#[test]
fn b6_one_in_a_day_and_two_in_a_week_each_free_to_the_millisecond() {
    let one = AskFacts { sent: vec![Wall(5)], ..AskFacts::default() };
    assert_eq!(decided(&one, 4 + DAY), denied(AskReason::ShortLimit, Some(5 + DAY)));
    assert_eq!(decided(&one, 5 + DAY), Ok(RequestKind::Template));
    let two = AskFacts { sent: vec![Wall(5 + DAY), Wall(5)], ..AskFacts::default() };
    assert_eq!(decided(&two, 4 + 7 * DAY), denied(AskReason::LongLimit, Some(5 + 7 * DAY)));
    assert_eq!(decided(&two, 5 + 7 * DAY), Ok(RequestKind::Template));
}

#[test]
fn b6_a_connected_call_in_either_direction_frees_both_limits() {
    let facts = AskFacts {
        sent: vec![Wall(5 + DAY), Wall(5)],
        connected: Some(Wall(6 + DAY)),
        ..AskFacts::default()
    };
    assert_eq!(decided(&facts, 7 + DAY), Ok(RequestKind::Template));
    let again = AskFacts { sent: vec![Wall(7 + DAY), Wall(5 + DAY), Wall(5)], ..facts };
    assert_eq!(decided(&again, 8 + DAY), denied(AskReason::ShortLimit, Some(7 + 2 * DAY)));
}

#[test]
fn nobody_is_asked_for_what_is_permanent_forbidden_or_not_offered() {
    let permanent = AskFacts { permission: Some(Permission::Permanent), ..AskFacts::default() };
    assert_eq!(decided(&permanent, 0), denied(AskReason::Needless, None));
    let restricted =
        AskFacts { restriction: Some(Restriction { until: Some(Wall(9)) }), ..AskFacts::default() };
    assert_eq!(decided(&restricted, 8), denied(AskReason::Restricted, Some(9)));
    assert_eq!(decided(&restricted, 9), Ok(RequestKind::Template));
    let rules = Rules { country: Unavailable::always(), ..Rules::default() };
    let blocked = decide_request(&rules, &AskFacts::default(), &ask(true), Wall(0));
    assert_eq!(blocked, denied(AskReason::CountryBlocked, None));
    let held = AskFacts { meta_hold: Some(Wall(50)), ..AskFacts::default() };
    assert_eq!(decided(&held, 49), denied(AskReason::ShortLimit, Some(50)));
}

#[test]
fn b7_a_request_lapses_a_week_after_its_answer_or_without_one_and_at_once_when_a_newer_one_goes_out() {
    let week = 7 * DAY;
    let request = PermissionRequest { sent: Wall(0), taken: Some(Wall(1)), answered: None };
    assert_eq!(last_request_state(&request, 0, Wall(week)), RequestState::Open { lapses: Wall(week + 1) });
    assert_eq!(last_request_state(&request, 0, Wall(week + 1)), RequestState::Lapsed);
    assert_eq!(last_request_state(&request, 1, Wall(2)), RequestState::Superseded);
    let answered = PermissionRequest { answered: Some(Wall(DAY)), ..request.clone() };
    let until = RequestState::Answered { lapses: Wall(DAY + week) };
    assert_eq!(last_request_state(&answered, 0, Wall(DAY + week - 1)), until);
    assert_eq!(last_request_state(&answered, 0, Wall(DAY + week)), RequestState::Lapsed);
    let under_way = PermissionRequest { taken: None, ..request };
    assert_eq!(last_request_state(&under_way, 0, Wall(2)), RequestState::UnderWay);
}
