//! Each rule at its edge, and against a model that counts the slow way.

use std::time::Instant;

use proptest::prelude::*;

use super::super::facts::InFlight;
use super::*;
use crate::id::CallId;
use crate::policy::{Restriction, Unavailable};
use crate::user::{Msisdn, UserId};

const DAY: Duration = Duration::from_secs(86_400);
const DAY_MS: i64 = 86_400_000;

fn at(ms: i64) -> Now {
    Now { mono: Instant::now(), wall: Wall(ms) }
}

fn attempt() -> Attempt {
    let user = UserId::Phone(Msisdn::parse("5521955500123").expect("digits"));
    Attempt { number: "108911223344556".into(), user, call: CallId(7) }
}

fn permitted() -> Facts {
    Facts { permission: Permission::Permanent, ..Facts::default() }
}

fn reason(rules: &Rules, facts: &Facts, ms: i64) -> Option<Denial> {
    match decide(rules, facts, &attempt(), at(ms)) {
        Decision::Allow(_) => None,
        Decision::Deny(denial) => Some(denial),
    }
}

fn denied(reason: DenialReason, until: Option<i64>) -> Option<Denial> {
    Some(Denial { reason, until: until.map(Wall), stands: Stands::Fact })
}

fn held(reason: DenialReason) -> Option<Denial> {
    Some(Denial { reason, until: None, stands: Stands::Reservation })
}

#[test]
fn without_a_word_of_the_user_nothing_is_allowed() {
    let rules = Rules::default();
    assert_eq!(reason(&rules, &Facts::default(), 0), denied(DenialReason::NoPermission, None));
    let declined = Facts { permission: Permission::Declined, ..Facts::default() };
    assert_eq!(reason(&rules, &declined, 0), denied(DenialReason::NoPermission, None));
    assert_eq!(reason(&rules, &permitted(), 0), None);
}

#[test]
fn a_temporary_permission_is_over_at_its_very_end() {
    let facts = Facts { permission: Permission::Temporary { until: Wall(1000) }, ..Facts::default() };
    assert_eq!(reason(&Rules::default(), &facts, 999), None);
    assert_eq!(reason(&Rules::default(), &facts, 1000), denied(DenialReason::PermissionExpired, None));
}

#[test]
fn b8_the_101st_call_is_possible_exactly_24_h_after_the_first_connected() {
    // Calls 10 minutes apart: the first at 5 s past the epoch.
    let connected: Vec<Wall> = (0..100).rev().map(|n| Wall(5000 + n * 600_000)).collect();
    let facts = Facts { connected_number: connected, ..permitted() };
    let frees = 5000 + DAY_MS;
    let expected = denied(DenialReason::NumberCap, Some(frees));
    assert_eq!(reason(&Rules::default(), &facts, frees - 1), expected);
    assert_eq!(reason(&Rules::default(), &facts, frees), None);
    let pair = Facts { connected_pair: facts.connected_number, ..permitted() };
    assert_eq!(reason(&Rules::default(), &pair, frees - 1), denied(DenialReason::PairCap, Some(frees)));
    assert_eq!(reason(&Rules::default(), &pair, frees), None);
}

#[test]
fn reservations_in_flight_take_places_until_they_lapse_or_as_long_as_their_call_is_open() {
    let rules = Rules { per_number: Some(Cap { max: 2, window: DAY }), ..Rules::default() };
    let life = i64::try_from(rules.reservation_life.as_millis()).expect("small");
    let flying = |record_open| Facts {
        connected_number: vec![Wall(0)],
        in_flight: vec![InFlight { reserved: Wall(0), same_user: false, record_open }],
        ..permitted()
    };
    let full = held(DenialReason::NumberCap);
    assert_eq!(reason(&rules, &flying(false), life - 1), full);
    assert_eq!(reason(&rules, &flying(false), life), None);
    assert_eq!(reason(&rules, &flying(true), life), full);
}

#[test]
fn one_user_has_one_call_at_a_time() {
    let busy = denied(DenialReason::OneCallPerPair, None);
    let up = Facts { up: 1, up_with_user: 1, ..permitted() };
    assert_eq!(reason(&Rules::default(), &up, 0), busy);
    let mut flying = InFlight { reserved: Wall(0), same_user: true, record_open: false };
    let dialling = held(DenialReason::OneCallPerPair);
    assert_eq!(reason(&Rules::default(), &Facts { in_flight: vec![flying], ..permitted() }, 0), dialling);
    flying.same_user = false;
    assert_eq!(reason(&Rules::default(), &Facts { in_flight: vec![flying], ..permitted() }, 0), None);
}

#[test]
fn calls_at_once_are_those_up_and_those_in_flight() {
    let rules = Rules { concurrent: Some(3), ..Rules::default() };
    let other = InFlight { reserved: Wall(0), same_user: false, record_open: false };
    let facts = |up| Facts { up, in_flight: vec![other], ..permitted() };
    assert_eq!(reason(&rules, &facts(1), 0), None);
    assert_eq!(reason(&rules, &facts(2), 0), held(DenialReason::Concurrent));
    assert_eq!(reason(&rules, &facts(3), 0), denied(DenialReason::Concurrent, None));
    assert_eq!(reason(&Rules { concurrent: None, ..rules }, &facts(u32::MAX), 0), None);
}

#[test]
fn calls_started_are_capped_too() {
    let rules = Rules { initiations: Some(Cap { max: 10, window: DAY }), ..Rules::default() };
    let facts = Facts { initiation_at_cap: Some(Wall(50)), ..permitted() };
    assert_eq!(reason(&rules, &facts, 49 + DAY_MS), denied(DenialReason::Initiations, Some(50 + DAY_MS)));
    assert_eq!(reason(&rules, &facts, 50 + DAY_MS), None);
}

#[test]
fn rule_28_the_stricter_of_the_houses_and_metas_rule_wins_and_is_named() {
    let house = |max| Rules { per_number: Some(Cap { max, window: DAY }), ..Rules::default() };
    // Meta allows the next call; the house has had enough.
    let facts = Facts { connected_number: vec![Wall(0); 3], ..permitted() };
    assert_eq!(reason(&house(4), &facts, 1), None);
    assert_eq!(reason(&house(3), &facts, 1), denied(DenialReason::NumberCap, Some(DAY_MS)));
    // The house would allow it; Meta has had enough of this pair.
    let facts = Facts { connected_pair: vec![Wall(0); 500], ..permitted() };
    let refused = reason(&house(1000), &facts, 1).map(|it| it.reason);
    assert_eq!(refused, Some(DenialReason::PairCap));
}

#[test]
fn a_cap_of_none_forbids_and_a_rule_switched_off_allows() {
    let zero = Some(Cap { max: 0, window: DAY });
    let never = |rules: Rules| reason(&rules, &permitted(), 0);
    assert_eq!(never(Rules { per_pair: zero, ..Rules::default() }), denied(DenialReason::PairCap, None));
    assert_eq!(never(Rules { per_number: zero, ..Rules::default() }), denied(DenialReason::NumberCap, None));
    assert_eq!(
        never(Rules { initiations: zero, ..Rules::default() }),
        denied(DenialReason::Initiations, None)
    );
    let open = Rules { per_pair: None, per_number: None, initiations: None, ..Rules::default() };
    let many = Facts {
        connected_number: vec![Wall(0); 500],
        connected_pair: vec![Wall(0); 500],
        initiation_at_cap: Some(Wall(0)),
        ..permitted()
    };
    assert_eq!(reason(&open, &many, 1), None);
}

#[test]
fn an_unserved_country_and_a_barred_prefix_come_before_everything() {
    let rules = Rules { country: Unavailable::always(), ..Rules::default() };
    assert_eq!(reason(&rules, &Facts::default(), 0), denied(DenialReason::CountryBlocked, None));
    let rules = Rules { barred_prefixes: vec![String::new(), "5521".into()], ..Rules::default() };
    assert_eq!(reason(&rules, &permitted(), 0), denied(DenialReason::Barred, None));
    let rules = Rules { barred_prefixes: vec![String::new(), "44".into()], ..Rules::default() };
    assert_eq!(reason(&rules, &permitted(), 0), None);
}

#[test]
fn a_restriction_of_metas_forbids_until_it_ends() {
    let until = |until: Option<i64>| Facts {
        restriction: Some(Restriction { until: until.map(Wall) }),
        ..permitted()
    };
    let rules = Rules::default();
    assert_eq!(reason(&rules, &until(Some(9)), 8), denied(DenialReason::Restricted, Some(9)));
    assert_eq!(reason(&rules, &until(Some(9)), 9), None);
    assert_eq!(reason(&rules, &until(None), i64::MAX), denied(DenialReason::Restricted, None));
}

#[test]
fn what_meta_said_of_the_pairs_limit_counts_more_than_our_own_account() {
    let facts = Facts { meta_hold: Some(Wall(9)), ..permitted() };
    assert_eq!(reason(&Rules::default(), &facts, 8), denied(DenialReason::PairCap, Some(9)));
    assert_eq!(reason(&Rules::default(), &facts, 9), None);
}

#[test]
fn three_unanswered_in_a_row_need_somebody_who_decides() {
    let facts = |unanswered, overridden| Facts { unanswered, overridden, ..permitted() };
    let rules = Rules::default();
    assert_eq!(reason(&rules, &facts(2, false), 0), None);
    assert_eq!(reason(&rules, &facts(3, false), 0), denied(DenialReason::Unanswered, None));
    assert_eq!(reason(&rules, &facts(3, true), 0), None);
    assert_eq!(reason(&Rules { unanswered_stop: None, ..rules }, &facts(9, false), 0), None);
}

#[test]
fn outside_hours_a_call_waits_and_learns_until_when() {
    let rules = Rules { hours: Hours::Held { opens: Some(Wall(77)) }, ..Rules::default() };
    assert_eq!(reason(&rules, &permitted(), 0), denied(DenialReason::OutsideHours, Some(77)));
    // What Meta would say comes first: it does not end when the shop opens.
    assert_eq!(reason(&rules, &Facts::default(), 0), denied(DenialReason::NoPermission, None));
}

#[test]
fn a_cap_warns_once_on_its_way_up_before_the_wall_is_hit() {
    let cap = Some(Cap { max: 10, window: DAY });
    let rules = Rules { per_number: cap, per_pair: None, concurrent: None, ..Rules::default() };
    let warned = |connected: usize| {
        let facts = Facts { connected_number: vec![Wall(0); connected], ..permitted() };
        match decide(&rules, &facts, &attempt(), at(1)) {
            Decision::Allow(grant) => grant.warnings,
            Decision::Deny(denial) => panic!("{denial:?}"),
        }
    };
    assert_eq!(warned(7), [CapWarning { cap: CapName::Number, used: 8, max: 10 }]);
    assert!(warned(6).is_empty() && warned(8).is_empty());
}

/// Times near the edges of a window of `window` ms, so that equality happens often.
fn starts(window: i64) -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec((0..3_i64, -2..3_i64).prop_map(move |(n, off)| n * window + off), 0..12)
}

proptest! {
    #[test]
    fn a_sliding_window_agrees_with_counting_the_slow_way(
        connected in starts(10), now in 0..40_i64, max in 0..6_u32, flying in 0..3_usize,
        pair in any::<bool>(), newest_only in any::<bool>(),
    ) {
        let cap = Some(Cap { max, window: Duration::from_millis(10) });
        let rules = Rules { per_number: cap.filter(|_| !pair), per_pair: cap.filter(|_| pair), ..Rules::default() };
        let mut newest_first: Vec<Wall> = connected.iter().copied().map(Wall).collect();
        newest_first.sort_by(|one, other| other.cmp(one));
        if newest_only {
            newest_first.truncate(max as usize);
        }
        // For a pair, anything in flight is refused as a second call, so the cap itself sees none.
        let flying = if pair { 0 } else { flying };
        let mut facts = permitted();
        facts.in_flight = vec![InFlight { reserved: Wall(now), same_user: false, record_open: false }; flying];
        *if pair { &mut facts.connected_pair } else { &mut facts.connected_number } = newest_first;

        let count = |t: i64| connected.iter().filter(|start| t - **start < 10).count() + flying;
        let denial = reason(&rules, &facts, now);
        prop_assert_eq!(denial.is_some(), count(now) >= max as usize);
        if let Some(Denial { until: Some(until), .. }) = denial {
            let without = |t: i64| count(t) - flying;
            prop_assert!(without(until.millis()) < max as usize, "it is said to be free then");
            prop_assert!(without(until.millis() - 1) >= max as usize, "and not a millisecond earlier");
        }
        if let Some(Denial { until: None, .. }) = denial {
            prop_assert!(max == 0 || count(now) - flying < max as usize, "only a reservation stands in the way");
        }
    }

    #[test]
    fn a_permission_holds_until_its_end_and_not_at_it(until in -5..5_i64, now in -5..5_i64) {
        let facts = Facts { permission: Permission::Temporary { until: Wall(until) }, ..Facts::default() };
        prop_assert_eq!(reason(&Rules::default(), &facts, now).is_none(), now < until);
    }

    #[test]
    fn a_grant_is_given_only_if_every_rule_alone_would_give_it(
        up in 0..4_u32, with_user in 0..2_u32, at_cap in prop::option::of(0..20_i64), max in 1..4_u32,
        connected in starts(10), now in 0..40_i64, same_user in any::<bool>(), reserved in 0..40_i64, open in any::<bool>(),
    ) {
        let short = Duration::from_millis(10);
        let cap = Some(Cap { max, window: short });
        let all = Rules {
            per_number: cap, per_pair: cap, initiations: cap, concurrent: Some(max), reservation_life: short,
            ..Rules::default()
        };
        let facts = Facts {
            connected_number: connected.iter().copied().map(Wall).collect(),
            connected_pair: connected.iter().copied().map(Wall).take(2).collect(),
            initiation_at_cap: at_cap.map(Wall),
            in_flight: vec![InFlight { reserved: Wall(reserved), same_user, record_open: open }],
            up, up_with_user: with_user.min(up), ..permitted()
        };
        let none = Rules { per_number: None, per_pair: None, initiations: None, concurrent: None, ..all.clone() };
        let alone = [
            Rules { per_number: cap, ..none.clone() },
            Rules { per_pair: cap, ..none.clone() },
            Rules { initiations: cap, ..none.clone() },
            Rules { concurrent: Some(max), ..none },
        ];
        let each = alone.iter().all(|rules| reason(rules, &facts, now).is_none());
        prop_assert_eq!(reason(&all, &facts, now).is_none(), each);
        let live = open || now - reserved < 10;
        if (live && same_user) || facts.up_with_user > 0 {
            let denial = reason(&all, &facts, now).expect("refused");
            prop_assert_eq!(denial.reason, DenialReason::OneCallPerPair);
        }
    }
}
