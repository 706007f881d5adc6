//! Vectors of `tests/data/webhook` and what must come out of them.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::user::Bsuid;
use crate::whatsapp::Notice;
use crate::whatsapp::error::Meaning;

const RECEIVED: Wall = Wall(1_791_900_300_500);

fn file(name: &str) -> String {
    let path = format!("{}/tests/data/webhook/{name}.json", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn batch(name: &str) -> Batch {
    parse(file(name).as_bytes(), RECEIVED).expect("an envelope")
}

/// The only event of a vector, which must be a call's.
fn call(name: &str) -> CallEvent {
    let batch = batch(name);
    assert_eq!(batch.flaws, [], "{name}");
    match batch.events.as_slice() {
        [Event::Call(event)] => event.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn reply(name: &str) -> PermissionReply {
    match batch(name).events.as_slice() {
        [Event::Permission(reply)] => reply.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

fn others(name: &str) -> Vec<String> {
    let batch = batch(name);
    assert_eq!(batch.flaws, [], "{name}");
    batch
        .events
        .into_iter()
        .map(|it| match it {
            Event::Other { field } => field,
            other => panic!("{name}: {other:?}"),
        })
        .collect()
}

fn ana() -> UserId {
    UserId::Both(
        Msisdn::parse("5521955500123").expect("digits"),
        Bsuid::parse("BR.20995511223344556677").expect("scoped"),
    )
}

fn ana_hidden() -> UserId {
    UserId::Scoped(Bsuid::parse("BR.20995511223344556677").expect("scoped"))
}

#[test]
fn the_signature_covers_the_raw_bytes_and_any_of_the_secrets_will_do() {
    let body = br#"{"entry":[]}"#;
    let header = sign(b"new secret", body);
    assert_eq!(verify(b"new secret", body, &header), Signature::Good);
    assert_eq!(verify_any([&b"old secret"[..], b"new secret"], body, &header), Signature::Good);
    assert_eq!(verify_any([&b"new secret"[..], b"next secret"], body, &header), Signature::Good);
    assert_eq!(verify(b"old secret", body, &header), Signature::Bad);
    assert_eq!(verify(b"new secret", br#"{"entry": []}"#, &header), Signature::Bad);
    assert_eq!(verify_any([], body, &header), Signature::Bad);
    assert_eq!(
        verify(b"new secret", body, &header.to_ascii_uppercase().replace("SHA256", "sha256")),
        Signature::Good
    );
}

#[test]
fn the_signature_agrees_with_the_vector_of_rfc_4231() {
    // Test case 2 of RFC 4231 §4.3.
    let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(sign(b"Jefe", b"what do ya want for nothing?"), expected);
}

#[test]
fn a_header_that_is_no_signature_and_an_empty_secret_are_refused() {
    let body = b"{}";
    for header in
        ["", "sha256=", "sha1=00", "sha256=zz", &sign(b"s", body)[..70], &format!("{}00", sign(b"s", body))]
    {
        assert_eq!(verify(b"s", body, header), Signature::Bad, "{header}");
    }
    assert_eq!(verify(b"", body, &sign(b"", body)), Signature::Bad);
}

#[test]
fn a_users_call_brings_offer_name_both_ids_and_payloads() {
    let event = call("connect_user_initiated");
    assert_eq!(event.number.as_str(), "108911223344556");
    assert_eq!(event.call.as_str(), "wacid.EXAMPLEinZ9y8=");
    assert_eq!((event.at, event.user), (Wall::from_secs(1_791_900_000), Some(ana())));
    let CallEventKind::UserCalled { offer, name, username, cta_payload, deeplink_payload } = event.kind
    else {
        panic!("not a user's call");
    };
    assert!(offer.starts_with("v=0\r\n") && offer.ends_with("a=ice-pwd:abc=\r\n"));
    assert_eq!(name.as_ref().map(|it| it.expose().as_str()), Some("Ana"));
    assert_eq!(username.as_ref().map(|it| it.expose().as_str()), Some("ana.example"));
    assert_eq!((cta_payload.as_deref(), deeplink_payload.as_deref()), (Some("ext=204"), Some("campaign-7")));
}

#[test]
fn a_missing_direction_follows_from_the_kind_of_sdp() {
    let event = call("connect_without_direction");
    assert!(matches!(event.kind, CallEventKind::UserCalled { .. }));
    assert_eq!(event.at, Wall::from_secs(1_791_900_000));
    let event = call("connect_answer_without_direction_and_to");
    assert!(matches!(event.kind, CallEventKind::Answered { .. }));
    assert_eq!(event.user, Some(ana_hidden()));
}

#[test]
fn a_user_who_hides_the_number_is_known_by_the_scoped_id() {
    assert_eq!(call("connect_hidden_number").user, Some(ana_hidden()));
    let event = call("connect_number_omitted_no_contacts");
    assert_eq!(event.user, Some(ana_hidden()));
    assert!(matches!(event.kind, CallEventKind::UserCalled { name: None, username: None, .. }));
}

#[test]
fn our_call_is_answered_by_sdp_and_keeps_what_we_sent_along() {
    let event = call("connect_business_initiated");
    assert_eq!(event.opaque.as_deref(), Some("00000000000000ff"));
    assert_eq!(event.user, Some(ana()));
    let CallEventKind::Answered { sdp } = event.kind else { panic!("not an answer") };
    assert!(!sdp.contains("ignored"));
}

#[test]
fn a_status_is_read_in_any_case_and_as_an_array() {
    assert_eq!(call("status_ringing").kind, CallEventKind::Rang);
    assert_eq!(call("status_accepted_lower_case").kind, CallEventKind::Accepted);
    let event = call("status_rejected_as_array");
    assert_eq!((event.kind, event.user), (CallEventKind::Rejected, Some(ana())));
    assert_eq!(event.opaque.as_deref(), Some("00000000000000ff"));
}

#[test]
fn an_end_tells_start_end_and_duration_or_that_nobody_picked_up() {
    let answered = Termination {
        outcome: Outcome::Completed,
        start: Some(Wall::from_secs(1_791_900_120)),
        end: Some(Wall::from_secs(1_791_900_244)),
        duration: Some(Duration::from_secs(124)),
        errors: vec![],
    };
    let phone_only = Some(UserId::Phone(Msisdn::parse("5521955500123").expect("digits")));
    let event = call("terminate_completed");
    assert_eq!((event.kind, event.user), (CallEventKind::Terminated(answered.clone()), phone_only.clone()));
    let event = call("terminate_without_direction_numbers_as_strings");
    assert_eq!((event.kind, event.user), (CallEventKind::Terminated(answered), phone_only));
    let missed =
        Termination { outcome: Outcome::Completed, start: None, end: None, duration: None, errors: vec![] };
    assert_eq!(call("terminate_unanswered").kind, CallEventKind::Terminated(missed.clone()));
    let failed = Termination { outcome: Outcome::Failed, errors: vec![Meaning::NoMediaReceived], ..missed };
    assert_eq!(call("terminate_failed_as_array").kind, CallEventKind::Terminated(failed));
}

#[test]
fn every_permission_reply_of_the_reference_is_understood() {
    let said = |name: &str| {
        let reply = reply(name);
        (reply.response, reply.source, reply.context)
    };
    let (request, call) = (Some("wamid.EXAMPLEreq1".to_owned()), Some("wacid.EXAMPLEinZ9y8=".to_owned()));
    let week = PermissionResponse::Granted { until: Some(Wall::from_secs(1_792_503_800)) };
    let forever = PermissionResponse::Granted { until: None };
    let (declined, user, meta) =
        (PermissionResponse::Declined, ReplySource::UserAction, ReplySource::Automatic);
    assert_eq!(said("permission_temporary"), (week, user, request.clone()));
    assert_eq!(said("permission_permanent"), (forever, user, request.clone()));
    assert_eq!(said("permission_permanent_from_profile"), (forever, user, None));
    assert_eq!(said("permission_declined"), (declined, user, request));
    assert_eq!(said("permission_automatic_callback"), (week, meta, call));
    assert_eq!(said("permission_revoked_after_unanswered"), (declined, meta, None));
    assert_eq!(reply("permission_temporary").user, ana());
}

#[test]
fn a_grant_without_an_end_that_is_not_permanent_lasts_seven_days() {
    let reply = reply("permission_without_end");
    let end = Wall::from_secs(1_791_899_000) + Duration::from_secs(7 * 86_400);
    assert_eq!(reply.response, PermissionResponse::Granted { until: Some(end) });
}

#[test]
fn a_reply_that_names_the_user_in_contacts_only_is_understood() {
    assert_eq!(reply("permission_number_hidden_in_contacts").user, ana_hidden());
}

#[test]
fn an_audio_message_whose_id_is_a_call_is_what_a_user_said_to_metas_voicemail() {
    let told = |id: &str| {
        let body = format!(
            r#"{{"object":"whatsapp_business_account","entry":[{{"id":"1","changes":[{{"field":"messages","value":{{
            "metadata":{{"phone_number_id":"108911223344556"}},"messages":[{{"id":"{id}","from":"5521955500123",
            "timestamp":"1791899000","type":"audio","audio":{{"id":"7155","mime_type":"audio/ogg; codecs=opus",
            "sha256":"ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="}}}}]}}}}]}}]}}"#
        );
        let events = parse(body.as_bytes(), Wall::from_secs(1_791_899_001)).expect("a webhook").events;
        match events.as_slice() {
            [Event::Wrote(message)] => message.voicemail.clone(),
            other => panic!("{other:?}"),
        }
    };
    let sound = KeptSound { id: "7155".to_owned(), digest: Some(SoundDigest::of(b"abc")) };
    assert_eq!(told("wacid.HBgN"), Some(sound));
    assert_eq!(told("wamid.HBgN"), None, "a voice note in the chat");
}

#[test]
fn what_is_no_call_and_no_permission_is_named() {
    match batch("message_text_and_status").events.as_slice() {
        [Event::Other { field }, Event::Wrote(message)] => {
            assert_eq!(field, "messages/status message");
            assert_eq!((message.id.as_str(), message.at), ("wamid.T", Wall::from_secs(1_791_899_000)));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(others("account_settings_update"), ["account_settings_update/phone_number_settings"]);
    match batch("account_update_restriction").events.as_slice() {
        [Event::Account(notice)] => {
            assert_eq!((notice.account.as_str(), &notice.number), ("204500667788990", &None));
            let until = Some(Wall::from_secs(1_792_503_800));
            let kind = "RESTRICTED_BUSINESS_INITIATED_CALLING".to_owned();
            assert_eq!(notice.notices, [Notice { kind, until, reason: None }]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(others("call_created_sip_mode"), ["calls/call_created"]);
    assert_eq!(others("call_recording_available"), ["calls/call_recording_available"]);
    assert_eq!(others("errors_without_calls"), ["calls/error 131044"]);
}

#[test]
fn a_broken_item_does_not_take_its_neighbours_with_it() {
    let batch = batch("batch_with_broken_items");
    let words: Vec<_> = batch
        .events
        .iter()
        .map(|it| match it {
            Event::Call(event) => event.kind.word(),
            Event::Permission(_) => "permission",
            Event::Wrote(_) => "wrote",
            Event::Account(_) => "account",
            Event::Other { .. } => "other",
        })
        .collect();
    assert_eq!(words, ["connect", "RINGING", "terminate", "permission"]);
    let flaws = [
        Flaw::NoSdp,
        Flaw::NotObject,
        Flaw::NoCallId,
        Flaw::NoCallId,
        Flaw::NotObject,
        Flaw::NoNumber,
        Flaw::NoResponse,
        Flaw::NotObject,
    ];
    assert_eq!(batch.flaws, flaws);
}

#[test]
fn several_entries_keep_their_own_business_number() {
    let numbers: Vec<_> = batch("several_entries_and_numbers")
        .events
        .into_iter()
        .map(|it| match it {
            Event::Call(event) => event.number.to_string(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(numbers, ["108911223344556", "108911223344557"]);
    assert_eq!(batch("dashboard_sample").events.len(), 1);
}

#[test]
fn a_missing_time_stamp_is_the_time_of_receipt() {
    let body = file("status_ringing").replace("\"timestamp\": \"1791900101\",", "");
    let batch = parse(body.as_bytes(), RECEIVED).expect("an envelope");
    assert!(matches!(&batch.events[..], [Event::Call(event)] if event.at == RECEIVED));
}

#[test]
fn what_is_no_envelope_is_an_error() {
    assert_eq!(parse(b"<html>", RECEIVED), Err(WebhookError::NotJson));
    assert_eq!(parse(b"\"entry\"", RECEIVED), Err(WebhookError::NotEnvelope));
    assert_eq!(parse(b"{\"entry\":7}", RECEIVED), Err(WebhookError::NotEnvelope));
    assert_eq!(parse("[".repeat(100_000).as_bytes(), RECEIVED), Err(WebhookError::NotJson));
    assert_eq!(parse(b"{\"entry\":[]}", RECEIVED), Ok(Batch::default()));
}

/// Every vector of the directory, so that a new file is mangled below without being listed.
fn corpus() -> Vec<String> {
    let directory = format!("{}/tests/data/webhook", env!("CARGO_MANIFEST_DIR"));
    let mut all: Vec<_> = std::fs::read_dir(directory)
        .expect("the vectors")
        .map(|it| it.expect("an entry").path())
        .filter(|it| it.extension().is_some_and(|it| it == "json"))
        .map(|it| std::fs::read_to_string(it).expect("text"))
        .collect();
    all.sort();
    all
}

/// Puts an odd value in place of the `nth` value met on the way.
fn mangle(value: &mut Value, nth: &mut usize, odd: &Value) {
    if *nth == 0 {
        *value = odd.clone();
        *nth = usize::MAX;
        return;
    }
    *nth = nth.saturating_sub(1);
    match value {
        Value::Array(items) => items.iter_mut().for_each(|it| mangle(it, nth, odd)),
        Value::Object(fields) => fields.values_mut().for_each(|it| mangle(it, nth, odd)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_odd_value_anywhere_makes_reading_panic(
        which in 0..64_usize, nth in 0..60_usize,
        odd in prop_oneof![
            Just(Value::Null), Just(serde_json::json!([])), Just(serde_json::json!({})), Just(Value::Bool(true)),
            Just(serde_json::json!(-1)), Just(serde_json::json!(i64::MAX)), Just(serde_json::json!(1e300)),
            "\\PC{0,30}".prop_map(Value::from), Just(serde_json::json!([[["x"]]])),
        ],
    ) {
        let corpus = corpus();
        let mut value: Value = serde_json::from_str(&corpus[which % corpus.len()]).expect("JSON");
        let mut at = nth;
        mangle(&mut value, &mut at, &odd);
        let _ = parse(value.to_string().as_bytes(), RECEIVED);
    }

    #[test]
    fn no_bytes_make_reading_or_verifying_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), header in "\\PC{0,80}") {
        let _ = parse(&bytes, RECEIVED);
        let _ = verify(b"secret", &bytes, &header);
    }
}
