//! Who calls and what is dialled, as each trunk writes it: numbers, identity and facts, both ways.

use super::*;
use crate::masked::Masked;
use crate::sip::trunk::{
    CallerHeader, CustomHeader, FactHeaders, FromShows, Login, NumberForm, NumberOf, NumberPattern,
    NumberRule, NumberWay, Presentation,
};

fn rig(change: impl FnOnce(&mut TrunkPeer)) -> Rig {
    let mut settings = settings();
    change(&mut settings.trunks[0]);
    Rig::with(settings)
}

fn national(trunk: &mut TrunkPeer) {
    trunk.numbering.form = NumberForm::National;
    trunk.numbering.country = Some("49".to_owned());
    trunk.numbering.trunk_prefix = "0".to_owned();
}

fn facts() -> CallFacts {
    CallFacts {
        wa_call: Some("wacid.ABC=".to_owned()),
        user_id: Some("BR.2099".to_owned()),
        payload: Some(Masked::new("order 7\r\nVia: evil".to_owned())),
        business_number: Some("493055500010".to_owned()),
        ..CallFacts::default()
    }
}

fn fact_headers() -> FactHeaders {
    FactHeaders {
        wa_call: CustomHeader::parse("X-WA-Call-ID"),
        payload: CustomHeader::parse("X-WA-Payload"),
        ..FactHeaders::default()
    }
}

/// Calls `number` behind the trunk for a German user.
fn call(rig: &mut Rig, number: &str) -> Heard {
    let caller = CallerIdentity { number: "+4930123456".to_owned(), display: "Zoë".to_owned() };
    let target = Endpoint::Trunk("pbx".into(), number.to_owned());
    let invite = Invite { target, caller, facts: facts(), sdp: SDP.to_owned(), headers: Vec::new() };
    rig.ua.invite(rig.now, invite).expect("a call");
    rig.one()
}

fn from(invite: &Heard) -> &str {
    invite.header("From").split(";tag=").next().expect("a value")
}

#[test]
fn a_trunk_gets_called_and_calling_numbers_in_its_own_form_and_a_phone_gets_them_as_they_are() {
    let mut rig = rig(national);
    let invite = call(&mut rig, "+4989123456");
    assert_eq!(invite.uri(), "sip:089123456@198.51.100.9:5060");
    assert_eq!(from(&invite), "\"Zoe\" <sip:030123456@gw.example.com>");
    assert_eq!(invite.header("P-Asserted-Identity"), "\"Zoe\" <sip:030123456@gw.example.com>");
    rig.register("1001", PHONE);
    rig.call(Endpoint::Phone("1001".into()));
    assert!(rig.one().header("From").contains("<sip:5521955500123@gw.example.com>"));
}

#[test]
fn what_comes_from_a_trunk_is_read_as_the_trunk_writes_it() {
    let mut rig = rig(|trunk| {
        national(trunk);
        let pattern = NumberPattern::Prefix("77".to_owned());
        let (way, of, replacement) = (NumberWay::In, NumberOf::Called, "8".to_owned());
        trunk.numbering.rules.push(NumberRule { way, of, pattern, replacement });
    });
    let invite = |rig: &mut Rig, number, called: &str, caller: &str| {
        let uri = format!("sip:{called}@192.0.2.1");
        let text = rig.request("INVITE", &uri, caller, number, SDP_LINE, SDP);
        rig.send(TRUNK, &text);
        rig.heard();
        match rig.events().pop() {
            Some(Event::Invited { from, dialled, .. }) => (from.number, dialled),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        invite(&mut rig, 1, "005521955500123", "030123456"),
        ("+4930123456".to_owned(), "+5521955500123".to_owned())
    );
    assert_eq!(
        invite(&mut rig, 2, "775521955500123", "200"),
        ("200".to_owned(), "85521955500123".to_owned())
    );
}

#[test]
fn a_caller_behind_a_trunk_that_withholds_its_number_is_not_shown_though_the_trunk_knows_it() {
    for (privacy, number) in [
        ("", "+4930777"),
        ("Privacy: none\r\n", "+4930777"),
        ("Privacy: id\r\n", "anonymous"),
        ("Privacy: user;ID;critical\r\n", "anonymous"),
    ] {
        let mut rig = Rig::new();
        let lines = format!("P-Asserted-Identity: \"Ana\" <sip:+4930777@pbx>\r\n{privacy}{SDP_LINE}");
        let text = rig.request("INVITE", "sip:1001@192.0.2.1", "anonymous", 1, &lines, SDP);
        rig.send(TRUNK, &text);
        let events = rig.events();
        let [Event::Invited { from, .. }] = events.as_slice() else { panic!("{events:?}") };
        assert_eq!(from.number, number, "{privacy}");
        assert_eq!(from.display.contains("Ana"), number != "anonymous");
    }
}

#[test]
fn from_shows_the_account_and_the_caller_stands_where_the_provider_looks_for_it() {
    let mut rig = rig(|trunk| {
        let password = Secret::new("pa55".to_owned());
        trunk.login = Some(Login { user: "acme".to_owned(), password });
        trunk.domain = Some("sip.example.net".to_owned());
        trunk.presentation = Presentation {
            from: FromShows::Account,
            header: CallerHeader::Preferred,
            privacy: false,
            diversion: true,
        };
    });
    let invite = call(&mut rig, "200");
    assert_eq!(from(&invite), "<sip:acme@sip.example.net>");
    assert_eq!(invite.header("P-Preferred-Identity"), "\"Zoe\" <sip:+4930123456@gw.example.com>");
    assert_eq!(
        invite.header("Diversion"),
        "<sip:+493055500010@gw.example.com>;reason=unconditional;counter=1"
    );
    assert!(!invite.text.contains("P-Asserted-Identity") && !invite.text.contains("Privacy"));
}

#[test]
fn privacy_hides_the_caller_from_everybody_but_the_trunk_itself() {
    let mut rig = rig(|trunk| trunk.presentation.privacy = true);
    let invite = call(&mut rig, "200");
    assert_eq!(from(&invite), "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    assert_eq!(invite.header("Privacy"), "id");
    assert!(invite.header("P-Asserted-Identity").contains("+4930123456"));
    let mut rig = self::rig(|trunk| {
        trunk.presentation.privacy = true;
        trunk.presentation.header = CallerHeader::Nothing;
    });
    assert!(!call(&mut rig, "200").text.contains("4930123456"));
}

#[test]
fn a_trunk_is_told_what_a_call_is_about_and_a_phone_is_not() {
    let mut rig = rig(|trunk| trunk.fact_headers = fact_headers());
    let invite = call(&mut rig, "200");
    assert_eq!(invite.header("X-WA-Call-ID"), "wacid.ABC=");
    assert_eq!(invite.header("X-WA-Payload"), "order%207%0D%0AVia:%20evil");
    rig.register("1001", PHONE);
    let caller = CallerIdentity { number: "1".to_owned(), display: String::new() };
    let target = Endpoint::Phone("1001".into());
    let invite = Invite { target, caller, facts: facts(), sdp: SDP.to_owned(), headers: Vec::new() };
    rig.ua.invite(rig.now, invite).expect("a call");
    let heard = rig.one();
    assert!(!heard.text.contains("X-WA-"), "{}", heard.text);
    assert_eq!(heard.header("P-Called-Party-ID"), "<sip:493055500010@gw.example.com>");
}

#[test]
fn a_trunk_that_calls_is_told_with_our_answers_but_not_with_a_refusal() {
    let mut rig = rig(|trunk| trunk.fact_headers = fact_headers());
    let (leg, _) = rig.trunk_calls(SDP);
    rig.ua.describe(leg, &facts());
    rig.ua.ring(rig.now, leg, None);
    assert_eq!(rig.one().header("X-WA-Call-ID"), "wacid.ABC=");
    rig.ua.accept(rig.now, leg, SDP.to_owned());
    let ok = rig.one();
    assert_eq!((ok.what(), ok.header("X-WA-Call-ID")), ("200 INVITE".to_owned(), "wacid.ABC="));
    let mut rig = self::rig(|trunk| trunk.fact_headers = fact_headers());
    let (leg, _) = rig.trunk_calls(SDP);
    rig.ua.describe(leg, &facts());
    rig.ua.refuse(rig.now, leg, Refusal::status(486, "Busy"));
    assert!(!rig.one().text.contains("X-WA-"));
}
