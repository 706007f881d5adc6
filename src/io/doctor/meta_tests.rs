//! Judging what Meta says, without asking anybody.

use serde_json::json;

use super::super::Severity;
use super::*;
use crate::io::api::number_of_tests;

const NOW: Wall = Wall::from_secs(1_791_900_000);

fn severities(findings: &[Finding]) -> Vec<(Severity, &'static str)> {
    findings.iter().map(|it| (it.severity, it.check)).collect()
}

#[test]
fn b19_a_limit_below_2000_a_day_a_coexistence_number_and_calling_that_is_off_are_faults() {
    let number = number_of_tests();
    for (word, severity) in [
        ("TIER_50", Severity::Fault),
        ("TIER_250", Severity::Fault),
        ("TIER_1K", Severity::Fault),
        ("TIER_2K", Severity::Good),
        ("TIER_10K", Severity::Good),
        ("TIER_UNLIMITED", Severity::Good),
        ("TIER_NOT_SET", Severity::Warning),
    ] {
        for name in ["whatsapp_business_manager_messaging_limit", "messaging_limit_tier"] {
            assert_eq!(tier("support", &json!({ name: word })).severity, severity, "{name} {word}");
        }
    }
    let test = json!({ "messaging_limit_tier": "TIER_250", "account_mode": "SANDBOX" });
    assert_eq!(tier("support", &test).severity, Severity::Good, "test numbers are exempt");
    assert_eq!(tier("support", &json!({})).severity, Severity::Unknown);
    let good = json!({ "display_phone_number": "+55 11 5000-0000", "platform_type": "CLOUD_API",
        "is_on_biz_app": false, "status": "CONNECTED", "quality_rating": "GREEN" });
    assert_eq!(severities(&identity(&number, &good)), [(Severity::Good, "number")]);
    for (key, value, check, severity) in [
        ("is_on_biz_app", json!(true), "coexistence", Severity::Fault),
        ("platform_type", json!("ON_PREMISE"), "platform", Severity::Fault),
        ("status", json!("BANNED"), "number", Severity::Fault),
        ("display_phone_number", json!("+1 415 555 0100"), "number", Severity::Fault),
        ("quality_rating", json!("RED"), "quality", Severity::Warning),
    ] {
        let mut facts = good.clone();
        facts[key] = value;
        assert_eq!(severities(&identity(&number, &facts)), [(severity, check)], "{key}");
    }
    let window = Duration::from_secs(25);
    let of = |calling: Value| severities(&settings(&number, window, &calling));
    assert_eq!(of(json!({ "status": "ENABLED" })), [(Severity::Good, "settings")]);
    assert_eq!(of(json!({ "status": "DISABLED" })), [(Severity::Fault, "settings")]);
    assert_eq!(of(json!({})), [(Severity::Fault, "settings")]);
    let sip = json!({ "status": "ENABLED", "sip": { "status": "ENABLED" } });
    assert_eq!(of(sip), [(Severity::Fault, "settings")], "Meta calls a SIP server then, not us");
    let restricted = json!({ "status": "ENABLED", "restrictions": { "restrictions_list": [
        { "type": "RESTRICTED_BUSINESS_INITIATED_CALLING", "reason": "feedback", "expiration": 1_791_990_000 } ] } });
    let told = settings(&number, window, &restricted);
    assert_eq!(severities(&told), [(Severity::Fault, "restricted")]);
    assert!(told[0].found.contains("feedback, until 2026-"), "{}", told[0].found);
}

#[test]
fn metas_voicemail_that_takes_calls_while_phones_ring_is_told() {
    let mut number = number_of_tests();
    let window = Duration::from_secs(25);
    let of = |number: &NumberConfig, seconds: u64| {
        let calling = json!({ "status": "ENABLED", "voicemail": { "status": "ENABLED", "triggers": ["TIMEOUT"],
            "audio": { "default": { "timeout_seconds": seconds } } } });
        settings(number, window, &calling)[0].check
    };
    assert_eq!(
        (of(&number, 24), of(&number, 25)),
        ("meta_voicemail", "settings"),
        "the plan rings all the window"
    );
    number.ring.steps[0].ring = Some(Duration::from_secs(12));
    assert_eq!((of(&number, 11), of(&number, 12)), ("meta_voicemail", "settings"));
    number.ring.steps.push(number.ring.steps[0].clone());
    assert_eq!((of(&number, 23), of(&number, 24)), ("meta_voicemail", "settings"));
    number.ring.overflow = Some(crate::config::LastTarget::Ring(crate::id::Endpoint::Phone("1002".into())));
    assert_eq!(
        (of(&number, 24), of(&number, 25)),
        ("meta_voicemail", "settings"),
        "the overflow has its time, too"
    );
}

#[test]
fn a_token_that_ends_lacks_a_scope_or_is_refused_is_told_with_what_to_do() {
    let of = |facts: Value| severities(&token("support", &facts, NOW));
    let both = json!(["whatsapp_business_management", "whatsapp_business_messaging"]);
    let with = |ends: i64| json!({ "is_valid": true, "expires_at": ends, "scopes": both });
    assert_eq!(of(with(0)), [(Severity::Good, "token")]);
    assert_eq!(of(with(NOW.secs() + 20 * 86_400)), [(Severity::Good, "token")]);
    assert_eq!(of(with(NOW.secs() + 13 * 86_400)), [(Severity::Warning, "token")]);
    assert_eq!(of(with(NOW.secs())), [(Severity::Fault, "token")]);
    assert_eq!(of(json!({ "is_valid": false })), [(Severity::Fault, "token")]);
    let scopes = |scopes: Value| json!({ "is_valid": true, "scopes": scopes });
    assert_eq!(of(scopes(json!(["whatsapp_business_messaging"]))), [(Severity::Warning, "token")]);
    assert_eq!(of(scopes(json!(["whatsapp_business_management"]))), [(Severity::Fault, "token")]);
}

#[test]
fn a_field_that_is_not_subscribed_says_what_never_comes() {
    let all = json!(["calls", "messages", "account_update", "account_settings_update"]);
    let of = |fields: Value, more: Value| {
        let mut one = json!({ "object": "whatsapp_business_account", "active": true, "fields": fields,
            "callback_url": "https://gw.example.com/webhook?x=1" });
        for (key, value) in more.as_object().expect("an object") {
            one[key] = value.clone();
        }
        let (findings, callback) = subscription("7", "/webhook", &json!([{ "object": "page" }, one]));
        assert!(callback.is_some());
        severities(&findings)
    };
    assert_eq!(of(all.clone(), json!({})), [(Severity::Good, "subscription")]);
    let named = json!([{ "name": "calls" }, { "name": "messages" }, { "name": "account_update" },
        { "name": "account_settings_update" }]);
    assert_eq!(of(named, json!({})), [(Severity::Good, "subscription")]);
    assert_eq!(of(all.clone(), json!({ "active": false })), [(Severity::Fault, "subscription")]);
    let other = json!({ "callback_url": "https://gw.example.com/" });
    assert_eq!(of(all, other), [(Severity::Warning, "callback")]);
    let missing = of(json!(["messages", "account_update"]), json!({}));
    assert_eq!(missing, [(Severity::Fault, "subscription"), (Severity::Warning, "subscription")]);
    let (none, callback) = subscription("7", "/webhook", &json!([]));
    assert_eq!((severities(&none), callback), (vec![(Severity::Fault, "subscription")], None));
    assert_eq!(account_tells("support", "2045", "7", &["8".into()]).severity, Severity::Fault);
    assert_eq!(account_tells("support", "2045", "7", &["8".into(), "7".into()]).severity, Severity::Good);
}

#[test]
fn a_clock_that_is_off_is_told_before_it_spoils_calls() {
    let of = |away: i64| {
        let ours = Wall(NOW.millis() + away);
        clock(NOW, ours).expect("always told").severity
    };
    assert_eq!([of(0), of(1999), of(-1999)], [Severity::Good; 3]);
    assert_eq!([of(3000), of(-9000)], [Severity::Warning; 2]);
    assert_eq!([of(11_000), of(-3_600_000)], [Severity::Fault; 2]);
}

#[test]
fn what_metas_health_complains_of_is_told_but_for_sip_that_nobody_wants() {
    let error = |code: i64| json!({ "error_code": code, "error_description": "bad\u{1b}[2J", "possible_solution": "pay" });
    let health =
        json!({ "entities": [ { "entity_type": "WABA", "errors": [error(141_006), error(138_024)] } ] });
    let told = entities("support", &health);
    assert_eq!(severities(&told), [(Severity::Warning, "health")]);
    assert_eq!((told[0].found.as_str(), told[0].remedy.as_deref()), ("WABA: bad[2J (141006)", Some("pay")));
    assert!(entities("support", &json!({})).is_empty());
    assert_eq!(country("support", true).map(|it| it.severity), Some(Severity::Warning));
}
