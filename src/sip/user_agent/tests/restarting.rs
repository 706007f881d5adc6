//! The process ends and another takes up where phones are.

use super::*;
use crate::sip::registrar::SavedBinding;

const URI: &str = "sip:gw.example.com";

impl Rig {
    /// What the store would hold: the last set of each phone.
    fn saved(&mut self) -> Vec<SavedBinding> {
        let mut phones = BTreeMap::new();
        while let Some((phone, bindings)) = self.ua.poll_unsaved(self.now) {
            phones.insert(phone, bindings);
        }
        phones.into_values().flatten().collect()
    }

    /// Another process `millis` later, with other randomness and another monotonic clock.
    fn restarted(&self, settings: Settings, millis: u64, saved: Vec<SavedBinding>) -> (Self, usize) {
        let now = Now { mono: Instant::now(), wall: self.now.wall + Duration::from_millis(millis) };
        let mut ua = UserAgent::new(settings, Random::from_number(2));
        let restored = ua.restore_bindings(now, saved);
        (Self { ua, now, branch: 1000 }, restored)
    }

    fn register_again(&mut self, from: &str, number: u32, lines: &str) -> Heard {
        let text = self
            .request("REGISTER", URI, "1001", number, lines, "")
            .replace(&format!("To: <{URI}>"), "To: <sip:1001@gw.example.com>")
            .replace("10.0.0.5:5060>", "10.0.0.5:40001>")
            .replace("Call-ID: c1001", "Call-ID: reg100140001");
        self.send(from, &text);
        self.one()
    }
}

#[test]
fn a_phone_that_registered_before_the_restart_rings_after_it_where_it_was() {
    let mut before = Rig::new();
    before.register("1001", PHONE);
    let saved = before.saved();
    let (mut after, restored) = before.restarted(settings(), 5_000, saved);
    assert_eq!((restored, after.ua.is_registered(&"1001".into())), (1, true));
    after.call(Endpoint::Phone("1001".into()));
    let invite = after.one();
    assert_eq!((invite.to.as_str(), invite.uri()), (PHONE, "sip:1001@10.0.0.5:40001"));
}

#[test]
fn a_binding_ends_after_the_restart_when_it_would_have_ended_before() {
    let mut before = Rig::new();
    before.register("1001", PHONE);
    let saved = before.saved();
    let (_, restored) = before.restarted(settings(), 300_000, saved.clone());
    assert_eq!(restored, 0, "the phone said 300 s");
    let (mut after, restored) = before.restarted(settings(), 299_999, saved);
    assert_eq!(restored, 1);
    after.wait(1);
    assert_eq!(after.events(), [Event::Unregistered { phone: "1001".into() }]);
}

#[test]
fn a_wall_clock_that_was_set_back_keeps_no_phone_longer_than_the_longest_registration() {
    let mut before = Rig::new();
    before.register("1001", PHONE);
    let saved = before.saved();
    before.now.wall = Wall(0);
    let (mut after, restored) = before.restarted(settings(), 0, saved);
    assert_eq!(restored, 1);
    after.wait(3_599_999);
    assert!(after.ua.is_registered(&"1001".into()));
    after.wait(1);
    assert!(!after.ua.is_registered(&"1001".into()));
}

#[test]
fn every_register_that_changes_something_is_told_once_and_the_last_end_as_an_empty_set() {
    let mut rig = Rig::new();
    assert_eq!(rig.ua.poll_unsaved(rig.now), None);
    rig.register("1001", PHONE);
    let (phone, bindings) = rig.ua.poll_unsaved(rig.now).expect("it is new");
    assert_eq!((phone.as_str(), bindings.len()), ("1001", 1));
    assert_eq!(bindings[0].expires, rig.now.wall + Duration::from_secs(300));
    assert_eq!(rig.ua.poll_unsaved(rig.now), None);

    rig.wait(100_000);
    let challenge = rig.register_again(PHONE, 3, "");
    let refresh = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 1);
    assert_eq!(rig.register_again(PHONE, 4, &refresh).what(), "200 REGISTER");
    let (_, bindings) = rig.ua.poll_unsaved(rig.now).expect("it ends later now");
    assert_eq!(bindings[0].expires, rig.now.wall + Duration::from_secs(300));

    let end = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 2);
    assert_eq!(rig.register_again(PHONE, 5, &format!("{end}Expires: 0\r\n")).what(), "200 REGISTER");
    assert_eq!(rig.ua.poll_unsaved(rig.now), Some(("1001".into(), vec![])));
    assert_eq!(rig.events(), [Event::Unregistered { phone: "1001".into() }]);

    rig.register("1001", OTHER);
    assert!(rig.ua.poll_unsaved(rig.now).is_some());
    let all = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 3);
    let text = rig
        .request("REGISTER", URI, "1001", 6, &format!("{all}Expires: 0\r\n"), "")
        .replace(&format!("To: <{URI}>"), "To: <sip:1001@gw.example.com>")
        .replace("<sip:1001@10.0.0.5:5060>", "*");
    rig.send(PHONE, &text);
    assert_eq!(rig.one().what(), "200 REGISTER");
    assert_eq!(rig.ua.poll_unsaved(rig.now), Some(("1001".into(), vec![])));
}

#[test]
fn a_register_from_before_the_restart_is_late_after_it_and_its_credentials_are_worth_nothing() {
    let mut before = Rig::new();
    let challenge = before.register_again(PHONE, 1, "");
    let captured = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 1);
    assert_eq!(before.register_again(PHONE, 2, &captured).what(), "200 REGISTER");
    let saved = before.saved();
    let (mut after, _) = before.restarted(settings(), 5_000, saved);

    let replayed = after.register_again(OTHER, 3, &captured);
    assert_eq!(replayed.what(), "401 REGISTER", "the nonce was another process's");
    let challenge = after.register_again(PHONE, 3, "");
    let fresh = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 1);
    assert_eq!(after.register_again(PHONE, 2, &fresh).what(), "500 REGISTER", "its number was used");
    let fresh = Rig::credentials(&challenge, "1001", "s3cret", "REGISTER", URI, 2);
    assert_eq!(after.register_again(PHONE, 3, &fresh).what(), "200 REGISTER");
    assert_eq!(after.ua.figures().bindings, 1, "it is the same binding");
}

#[test]
fn a_phone_that_was_removed_or_got_another_password_or_another_socket_must_register_again() {
    let mut before = Rig::new();
    before.register("1001", PHONE);
    before.register("1002", OTHER);
    let saved = before.saved();
    assert_eq!(before.restarted(settings(), 0, saved.clone()).1, 2);

    let mut removed = settings();
    removed.phones.retain(|phone| phone.name.as_str() != "1001");
    assert_eq!(before.restarted(removed, 0, saved.clone()).1, 1);

    let mut changed = settings();
    changed.phones[0].ha1 = Secret::new(DigestAlgorithm::Md5.ha1("1001", "gw.example.com", "n3w"));
    assert_eq!(before.restarted(changed, 0, saved.clone()).1, 1);

    let mut moved = settings();
    moved.local = "192.0.2.1:5070".parse().unwrap();
    assert_eq!(before.restarted(moved, 0, saved).1, 0);
}

#[test]
fn of_several_bindings_the_stalest_is_still_the_stalest_after_the_restart() {
    let mut limited = settings();
    limited.max_bindings = 2;
    let mut before = Rig::with(limited.clone());
    before.register("1001", PHONE);
    before.register("1001", OTHER);
    let saved = before.saved();
    let (mut after, restored) = before.restarted(limited, 1_000, saved);
    assert_eq!(restored, 2);
    after.register("1001", "203.0.113.9:40003");
    let left: Vec<String> =
        after.ua.registrations().map(|(_, binding)| binding.flow.remote.to_string()).collect();
    assert_eq!(left, [OTHER, "203.0.113.9:40003"]);
}
