//! Attended transfer: who asked a colleague first joins the two calls. Who hears whom, and what WhatsApp sees of it.

use serde_json::json;

use crate::rig::baresip::{OnRing, Phone};
use crate::rig::gateway::{self, Setup};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::simulator::{MetaCall, assert_unbroken};
use crate::rig::sound::{OTHER_HZ, PHONE_HZ, USER_HZ, assert_heard, tenths_of};
use crate::rig::{USER, World, assert_record, sipp};

/// Two seconds and a half of talking.
const TALK: u64 = 125;

/// What a phone writes into Refer-To to name one of its calls: the dialogs in its trace, in their order.
pub(crate) fn replaces(phone: &Phone, at: usize, ringing: bool) -> String {
    let (call_id, from, to) = wait_for("the phone's trace shows the call", PATIENCE, || {
        dialogs(&phone.output(), if ringing { "SIP/2.0 180" } else { "SIP/2.0 200" }).into_iter().nth(at)
    });
    format!("Replaces={call_id}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}")
}

/// Call-ID and the tags of From and To of every INVITE that was answered with this status.
fn dialogs(trace: &str, status: &str) -> Vec<(String, String, String)> {
    let mut found: Vec<(String, String, String)> = Vec::new();
    for answer in trace.split("SIP/2.0 ").skip(1).map(|it| format!("SIP/2.0 {it}")) {
        let head = answer.split("Content-Length").next().unwrap_or("");
        let value = |name: &str| head.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
        let tag = |name: &str| value(name)?.rsplit_once("tag=").map(|(_, tag)| tag.to_owned());
        let invite = value("CSeq:").is_some_and(|it| it.ends_with("INVITE")) && answer.starts_with(status);
        if let (true, Some(id), Some(from), Some(to)) = (invite, value("Call-ID:"), tag("From:"), tag("To:"))
            && !found.iter().any(|(known, ..)| known == id)
        {
            found.push((id.to_owned(), from, to));
        }
    }
    found
}

/// How many tenths of a second of this pitch a phone has heard in all its calls.
fn heard_of(phone: &Phone, hz: f64) -> usize {
    phone.all_heard().iter().map(|path| tenths_of(path, hz).0).sum()
}

/// The user heard both phones, one after the other, in one line.
fn assert_user_heard_both(world: &World, call: &MetaCall<'_>) {
    assert_unbroken(&call.told());
    let ((first, loud), (second, _)) = (tenths_of(&call.heard, PHONE_HZ), tenths_of(&call.heard, OTHER_HZ));
    assert!(first >= 10 && second >= 10, "{first} and {second} of {loud} loud tenths of a second");
    world.assert_no_violations();
}

/// Phone 1001 has a user on hold and talks to 1002.
fn consulting<'a>(world: &'a World, phone: &mut Phone, other: &mut Phone) -> MetaCall<'a> {
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("hold", "");
    let mark = phone.mark();
    phone.order("dial", &world.uri_of("1002"));
    other.wait("CALL_ESTABLISHED", 0);
    phone.wait("CALL_ESTABLISHED", mark);
    let before = other.received().0;
    wait_for("the colleague is asked", PATIENCE, || (other.received().0 >= before + TALK).then_some(()));
    call
}

#[test]
fn a_phone_asks_a_colleague_and_joins_that_one_with_the_user_by_refer_in_either_call() {
    for (line, names, codec) in [("1", 1, "PCMA"), ("2", 0, "PCMU"), ("1", 1, "opus"), ("2", 0, "G722")] {
        let mut world = World::start(&Setup::default());
        let mut phone = world.phone(OnRing::Answer);
        let mut other = world.other_phone(OnRing::Answer, codec);
        let uri = world.uri_of("1002");
        let call = consulting(&world, &mut phone, &mut other);
        let (mark, named) = (phone.mark(), replaces(&phone, names, false));
        phone.order("line", line);
        phone.order("transfer", &format!("<{uri}?{named}>"));
        for _ in 0..2 {
            phone.wait("CALL_CLOSED", mark);
        }
        call.talk(TALK);
        call.act("hangup", &json!({}));
        other.wait("CALL_CLOSED", 0);
        call.wait_over();
        // Before: each other; after: the user.
        assert!(heard_of(&other, PHONE_HZ) >= 10 && heard_of(&other, USER_HZ) >= 10, "line {line}");
        assert!(heard_of(&phone, USER_HZ) >= 10 && heard_of(&phone, OTHER_HZ) >= 10, "line {line}");
        assert_user_heard_both(&world, &call);
        let record = world.closed_record(&call.id);
        assert_record(&record, "user_initiated", true, "user");
        assert!(record["endpoint"].as_str().is_some_and(|it| it.contains("1002")), "{record:#}");
        let desk = gateway::desk_calls(&world.layout);
        assert_eq!((desk.len(), &desk[0]["cause"]), (1, &"transferred".into()), "{desk:#?}");
    }
}

#[test]
fn a_colleague_who_still_rings_rings_on_and_gets_the_user() {
    let mut world = World::start(&Setup::default());
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Wait, "PCMU");
    let uri = world.uri_of("1002");
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("hold", "");
    phone.order("dial", &uri);
    other.wait("CALL_INCOMING", 0);
    let (mark, named) = (phone.mark(), replaces(&phone, 1, true));
    phone.order("line", "1");
    phone.order("transfer", &format!("<{uri}?{named}>"));
    call.talk(50);
    assert!(other.seen("CALL_CLOSED", 0).is_none(), "it rings on");
    other.order("accept", "");
    other.wait("CALL_ESTABLISHED", 0);
    phone.wait("CALL_CLOSED", mark);
    call.talk(TALK);
    other.order("hangup", "");
    other.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert!(heard_of(&other, USER_HZ) >= 10);
    assert_user_heard_both(&world, &call);
    assert_record(&world.closed_record(&call.id), "user_initiated", true, "phone");
}

/// The Replaces of the call that a SIPp has made or taken, from its log; tags of From and To.
fn replaces_of(folder: &std::path::Path) -> (String, String, String) {
    wait_for("SIPp's call is up", PATIENCE, || {
        let trace = std::fs::read_to_string(folder.join("sipp-messages.log")).ok()?;
        dialogs(&trace, "SIP/2.0 200").into_iter().next()
    })
}

#[test]
fn a_trunk_joins_its_consultation_with_the_user_by_refer_with_replaces() {
    let setup = Setup { ring: r#""trunk:pbx/200""#, trunk: "refer = true", ..Setup::default() };
    let mut world = World::start(&setup);
    let folder = world.folder().to_owned();
    let mut other = world.other_phone(OnRing::Answer, "PCMU");
    let consulting =
        sipp::second_instance(&folder, &world.layout, &mut world.ports, "trunk_consults.xml", "1002", "");
    other.wait("CALL_ESTABLISHED", 0);
    let (id, from, to) = replaces_of(&consulting.1);
    let named = format!("{}%3Bto-tag%3D{to}%3Bfrom-tag%3D{from}", id.replace('@', "%40"));
    let scenario = "trunk_refers_with_replaces.xml";
    let mut trunk = sipp::trunk_with(&folder, &world.layout, &mut world.ports, scenario, &named);
    let call = world.meta.place_call(USER);
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    let mut consulting = consulting.0;
    assert!(consulting.wait_exit().success(), "the consultation was ended");
    call.talk(TALK);
    call.act("hangup", &json!({}));
    other.wait("CALL_CLOSED", 0);
    call.wait_over();
    assert!(heard_of(&other, USER_HZ) >= 10);
    let (theirs, _) = tenths_of(&call.heard, OTHER_HZ);
    assert!(theirs >= 10, "{theirs} tenths of a second of the colleague");
    assert_unbroken(&call.told());
    world.assert_no_violations();
}

#[test]
fn a_trunk_takes_its_call_over_by_invite_with_replaces_and_nobody_elses() {
    let mut world = World::start(&Setup { ring: r#""trunk:pbx/200""#, ..Setup::default() });
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_answers.xml", 1);
    let call = world.meta.place_call(USER);
    call.talk(TALK);
    let (id, from, to) = replaces_of(&folder);
    let named = format!("{id};to-tag={from};from-tag={to}");
    let ports = &mut world.ports;
    let (mut taking, _) =
        sipp::second_instance(&folder, &world.layout, ports, "trunk_takes_over.xml", "200", &named);
    assert!(trunk.wait_exit().success(), "the first one was hung up on");
    assert!(taking.wait_exit().success(), "SIPp saw its whole scenario");
    call.wait_over();
    assert_unbroken(&call.told());
    assert_heard(&call.heard, USER_HZ);
    world.assert_no_violations();
    // A phone's call is none of the trunk's, and a call that is over is nobody's.
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "PCMU");
    phone.order("dial", &world.uri_of("1002"));
    other.wait("CALL_ESTABLISHED", 0);
    let (id, from, to) = wait_for("the call is in the trace", PATIENCE, || {
        dialogs(&phone.output(), "SIP/2.0 200").into_iter().next()
    });
    for (named, status) in [
        (format!("{id};to-tag={to};from-tag={from}"), "403"),
        (format!("{id};to-tag={to};from-tag=guessed"), "481"),
        (format!("{id};to-tag={to};from-tag={from};early-only"), "486"),
    ] {
        let ports = &mut world.ports;
        let (mut refused, folder) =
            sipp::second_instance(&folder, &world.layout, ports, "trunk_takes_nothing.xml", "200", &named);
        assert!(refused.wait_exit().success(), "SIPp saw its whole scenario");
        let trace = std::fs::read_to_string(folder.join("sipp-messages.log")).expect("SIPp's log");
        assert!(trace.contains(&format!("SIP/2.0 {status}")), "{status}: {trace}");
    }
    assert!(phone.seen("CALL_CLOSED", 0).is_none(), "the call goes on");
}

#[test]
fn a_phone_asks_behind_a_trunk_and_joins_that_with_the_user() {
    let mut world = World::start(&Setup::default());
    let folder = world.folder().to_owned();
    let mut trunk = sipp::trunk(&folder, &world.layout, &mut world.ports, "trunk_is_consulted.xml", 1);
    let mut phone = world.phone(OnRing::Answer);
    let uri = world.uri_of("0200");
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    phone.order("hold", "");
    let mark = phone.mark();
    phone.order("dial", &uri);
    phone.wait("CALL_ESTABLISHED", mark);
    let before = phone.received().0;
    wait_for("the echo is heard", PATIENCE, || (phone.received().0 >= before + TALK).then_some(()));
    let (mark, named) = (phone.mark(), replaces(&phone, 1, false));
    phone.order("line", "1");
    phone.order("transfer", &format!("<{uri}?{named}>"));
    for _ in 0..2 {
        phone.wait("CALL_CLOSED", mark);
    }
    call.talk(TALK);
    call.act("hangup", &json!({}));
    let told = call.wait_over();
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert_unbroken(&told);
    let (echo, _) = tenths_of(&call.heard, USER_HZ);
    assert!(echo >= 10, "{echo} tenths of a second of the echo");
    assert_eq!(world.closed_record(&call.id)["endpoint"], "trunk pbx");
    world.assert_no_violations();
}

#[test]
fn rule_24_no_transfer_takes_a_user_to_a_trunk_that_may_lead_to_the_telephone_network() {
    let pstn = "[[trunk]]\nname = \"pstn\"\naddress = \"SECOND\"\nprobe = { enabled = false }\ndial_prefix = \"9\"\nvoip_only = false";
    let mut world = World::start(&Setup { trunk: pstn, ..Setup::default() });
    let folder = world.folder().to_owned();
    let mut pstn = sipp::second_server(&folder, &world.layout, &mut world.ports, "trunk_answers.xml");
    let mut phone = world.phone(OnRing::Answer);
    let uri = world.uri_of("9123");
    let call = world.meta.place_call(USER);
    phone.wait("CALL_ESTABLISHED", 0);
    call.talk(TALK);
    let mark = phone.mark();
    phone.order("dial", &uri);
    phone.wait("CALL_ESTABLISHED", mark);
    let named = replaces(&phone, 1, false);
    phone.order("line", "1");
    phone.order("transfer", &format!("<{uri}?{named}>"));
    wait_for("the transfer is refused", PATIENCE, || {
        phone.output().contains("SIP/2.0 403 Transfer Not Allowed").then_some(())
    });
    // baresip hangs up on whom it could not transfer; the desk call is not touched.
    call.wait_over();
    phone.order("hangup", "");
    assert!(pstn.wait_exit().success(), "SIPp saw its whole scenario: one INVITE, one BYE");
    let (echo, _) = tenths_of(&call.heard, USER_HZ);
    assert_eq!(echo, 0, "the user never heard anything from there");
    world.assert_no_violations();
}

#[test]
fn a_trunks_caller_is_joined_with_a_colleague_whom_the_phone_has_asked() {
    let mut world = World::start(&Setup::default());
    let folder = world.folder().to_owned();
    let mut phone = world.phone(OnRing::Answer);
    let mut other = world.other_phone(OnRing::Answer, "G722");
    let uri = world.uri_of("1002");
    let mut trunk =
        sipp::trunk_caller(&folder, &world.layout, &mut world.ports, "trunk_consults.xml", "1001");
    phone.wait("CALL_ESTABLISHED", 0);
    phone.order("hold", "");
    let mark = phone.mark();
    phone.order("dial", &uri);
    other.wait("CALL_ESTABLISHED", 0);
    phone.wait("CALL_ESTABLISHED", mark);
    let before = other.received().0;
    wait_for("the colleague is asked", PATIENCE, || (other.received().0 >= before + TALK).then_some(()));
    let (mark, named) = (phone.mark(), replaces(&phone, 1, false));
    phone.order("line", "1");
    phone.order("transfer", &format!("<{uri}?{named}>"));
    for _ in 0..2 {
        phone.wait("CALL_CLOSED", mark);
    }
    let before = other.received().0;
    wait_for("the colleague hears the trunk's echo", PATIENCE, || {
        (other.received().0 >= before + TALK).then_some(())
    });
    other.order("hangup", "");
    other.wait("CALL_CLOSED", 0);
    assert!(trunk.wait_exit().success(), "SIPp saw its whole scenario");
    assert!(
        heard_of(&other, PHONE_HZ) >= 10 && heard_of(&other, OTHER_HZ) >= 10,
        "the phone, then its own echo"
    );
    let desk = wait_for("both records are closed", PATIENCE, || {
        let all = gateway::desk_calls(&world.layout);
        all.iter().all(|it| !it["ended"].is_null()).then_some(all)
    });
    assert_eq!(
        (desk.len(), &desk[0]["cause"], &desk[1]["callee"]),
        (2, &"transferred".into(), &"phone 1002".into())
    );
    assert!(world.meta.calls().is_empty());
}
