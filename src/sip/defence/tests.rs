//! The defence by itself: thresholds, windows, bounds.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn defence() -> Defence {
    Defence::new(DefenceSettings::default(), [ip("198.51.100.9")])
}

fn away() -> bool {
    false
}

fn fail(defence: &mut Defence, at: Instant, from: &str, user: &str, times: usize) {
    (0..times).for_each(|_| defence.failed(at, ip(from), user, away));
}

#[test]
fn the_tenth_failure_within_the_window_bans_and_the_tenth_just_outside_does_not() {
    let zero = Instant::now();
    let window = DefenceSettings::default().window;
    for (last, heard) in [(window.checked_sub(Duration::from_nanos(1)).unwrap(), false), (window, true)] {
        let mut it = defence();
        fail(&mut it, zero, "203.0.113.7", "1001", 1);
        fail(&mut it, zero + SECOND, "203.0.113.7", "1001", 8);
        fail(&mut it, zero + last, "203.0.113.7", "1001", 1);
        assert_eq!(it.hears(zero + last, ip("203.0.113.7"), "1001", away), heard, "{last:?}");
    }
}

#[test]
fn a_right_password_in_between_forgives_the_wrong_ones() {
    let zero = Instant::now();
    let mut it = defence();
    fail(&mut it, zero, "203.0.113.7", "1001", 9);
    it.proved(zero, ip("203.0.113.7"), "1001", zero);
    fail(&mut it, zero, "203.0.113.7", "1001", 9);
    assert!(it.hears(zero, ip("203.0.113.7"), "1001", away));
}

#[test]
fn one_password_for_many_names_bans_the_source_as_one_name_with_many_passwords_does() {
    let zero = Instant::now();
    let mut it = defence();
    for name in 0..30 {
        assert_eq!(it.admit(zero, ip("203.0.113.7"), 500, away), Admission::Welcome, "{name}");
        fail(&mut it, zero, "203.0.113.7", &format!("user{name}"), 1);
    }
    assert_eq!(it.admit(zero, ip("203.0.113.7"), 500, away), Admission::Dropped);
    assert_eq!(it.figures(zero).dropped.get(&Dropped::BannedSource), Some(&1));
}

#[test]
fn rule_23_three_banned_users_ban_the_source_but_not_where_somebody_is_at_home() {
    let zero = Instant::now();
    for (home, admission) in [(false, Admission::Dropped), (true, Admission::Welcome)] {
        let mut it = defence();
        for name in ["1001", "1002", "1003"] {
            (0..10).for_each(|_| it.failed(zero, ip("203.0.113.7"), name, || home));
        }
        assert_eq!(it.admit(zero, ip("203.0.113.7"), 500, away), admission);
        assert!(!it.hears(zero, ip("203.0.113.7"), "1001", || home), "each pair stays banned");
    }
}

#[test]
fn rule_23_a_trunk_is_neither_banned_nor_doubted_nor_slowed_down_like_a_stranger() {
    let zero = Instant::now();
    let mut it = defence();
    let trunk = ip("198.51.100.9");
    for n in 0..10_000 {
        assert_eq!(it.admit(zero, ip("::ffff:198.51.100.9"), 500, away), Admission::Welcome);
        it.suspect(zero, trunk, Suspicion::Garbage, away);
        it.suspect(zero, trunk, Suspicion::Name(&n.to_string()), away);
        it.failed(zero, trunk, "1001", away);
        assert!(!it.is_scanner(trunk, Some("friendly-scanner")));
    }
    assert!(it.bans(zero).is_empty());
}

#[test]
fn names_asked_for_slowly_or_again_and_again_raise_no_doubt() {
    let zero = Instant::now();
    let mut it = defence();
    for n in 0..1000_u32 {
        let at = zero + SECOND * 20 * n;
        it.suspect(at, ip("203.0.113.7"), Suspicion::Name(&n.to_string()), away);
        it.suspect(at, ip("203.0.113.8"), Suspicion::Name("1001"), away);
    }
    assert!(it.bans(zero + SECOND * 20_000).is_empty());
}

#[test]
fn a_doubted_source_is_answered_once_in_two_seconds_until_the_doubt_ends() {
    let zero = Instant::now();
    let (mut it, from) = (defence(), ip("203.0.113.7"));
    (0..20).for_each(|_| it.suspect(zero, from, Suspicion::Garbage, away));
    assert_eq!(it.admit(zero, from, 500, away), Admission::Doubted);
    let answered = (0..600).filter(|n| it.keyhole(zero + Duration::from_millis(100) * *n, from)).count();
    assert_eq!(answered, 30);
    assert_eq!(it.bans(zero)[0].dropped, 570);
    assert_eq!(it.admit(zero + SECOND * 300, from, 500, away), Admission::Welcome);
}

#[test]
fn who_goes_on_without_a_pause_while_a_user_is_banned_is_doubted_and_a_stubborn_phone_is_not() {
    let zero = Instant::now();
    for (gap, doubted) in [(Duration::from_millis(10), true), (Duration::from_millis(1500), false)] {
        let (mut it, from) = (defence(), ip("203.0.113.7"));
        fail(&mut it, zero, "203.0.113.7", "1001", 10);
        for n in 1..150 {
            assert!(!it.hears(zero + gap * n, from, "1001", away));
        }
        let end = zero + gap * 150;
        assert_eq!(it.admit(end, from, 500, away) == Admission::Doubted, doubted, "{gap:?}");
    }
}

#[test]
fn forged_senders_neither_fill_the_memory_nor_push_out_bans_and_those_who_proved_themselves() {
    let zero = Instant::now();
    let settings = DefenceSettings { max_sources: 1000, ..DefenceSettings::default() };
    let mut it = Defence::new(settings, []);
    fail(&mut it, zero, "203.0.113.7", "1001", 10);
    it.proved(zero, ip("203.0.113.8"), "1002", zero + SECOND * 3600);
    for n in 0..100_000_u32 {
        let forged = IpAddr::from(std::net::Ipv6Addr::from(u128::from(n) << 64 | 1));
        let at = zero + Duration::from_millis(n.into());
        it.admit(at, forged, 500, away);
        it.suspect(at, forged, Suspicion::Name("1001"), away);
        it.suspect(at, forged, Suspicion::Garbage, away);
    }
    let at = zero + SECOND * 100;
    assert!(it.seen.count() <= 1000 && it.proven.count() == 1 && it.failures.count() <= 1);
    assert!(!it.hears(at, ip("203.0.113.7"), "1001", away));
    let passed =
        (0..5000).filter(|_| it.admit(at, ip("203.0.113.8"), 500, away) == Admission::Welcome).count();
    assert_eq!(passed, 5000);
}

#[test]
fn one_source_cannot_take_the_room_of_another() {
    let zero = Instant::now();
    let mut it = defence();
    let passed = |it: &mut Defence, from: &str, size| {
        (0..3000).filter(|_| it.admit(zero, ip(from), size, away) == Admission::Welcome).count()
    };
    assert_eq!(passed(&mut it, "203.0.113.7", 500), 1000);
    assert_eq!(passed(&mut it, "203.0.113.8", 500), 1000);
    // One address of a /64 is as good as another.
    assert_eq!(passed(&mut it, "2001:db8::1", 500) + passed(&mut it, "2001:db8::2", 500), 1000);
    // Large messages take longer to read and count for more.
    assert_eq!(passed(&mut it, "203.0.113.9", 65_000), 1000 / 32);
}

#[test]
fn who_is_at_home_is_heard_whatever_others_send_in_that_name() {
    let zero = Instant::now();
    let mut it = defence();
    let looks = std::cell::Cell::new(0);
    for (home, heard) in [(false, 1000), (true, 6000)] {
        let look = || {
            looks.set(looks.get() + 1);
            home
        };
        let at = zero + SECOND * 100 * u32::from(home);
        let passed = (0..6000).filter(|_| it.admit(at, ip("203.0.113.7"), 500, look) == Admission::Welcome);
        assert_eq!(passed.count(), heard);
    }
    assert_eq!(looks.get(), 2, "it is asked once a second at most");
}

#[test]
fn the_access_list_holds_with_the_defence_switched_off_and_lets_trunks_in() {
    let zero = Instant::now();
    let nets = |text: &str| vec![text.parse().unwrap()];
    let acl = Acl { allow: nets("10.0.0.0/8"), deny: nets("10.9.0.0/16") };
    let settings = DefenceSettings { enabled: false, acl, ..DefenceSettings::default() };
    let mut it = Defence::new(settings, [ip("198.51.100.9")]);
    for (from, admission) in [
        ("10.1.2.3", Admission::Welcome),
        ("10.9.2.3", Admission::Dropped),
        ("203.0.113.7", Admission::Dropped),
        ("198.51.100.9", Admission::Welcome),
    ] {
        assert_eq!(it.admit(zero, ip(from), 500, away), admission, "{from}");
    }
    fail(&mut it, zero, "10.1.2.3", "1001", 100);
    assert!(it.hears(zero, ip("10.1.2.3"), "1001", away) && it.bans(zero).is_empty());
}

#[test]
fn a_very_long_claimed_name_is_remembered_by_its_beginning() {
    let zero = Instant::now();
    let mut it = defence();
    let name = "ü".repeat(10_000);
    fail(&mut it, zero, "203.0.113.7", &name, 10);
    assert!(!it.hears(zero, ip("203.0.113.7"), &name, away));
    assert_eq!(it.bans(zero)[0].user.as_ref().map(|it| it.chars().count()), Some(NAME));
    assert_eq!(it.lift(zero, Source::of(ip("203.0.113.7")), None), 1);
    assert!(it.hears(zero, ip("203.0.113.7"), &name, away));
}
