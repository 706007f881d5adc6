//! What a program of the company does all day: it begins calls, asks for permissions, says what became of them, hears
//! what happened.

use serde_json::{Value, json};

use crate::rig::gateway::{API_TOKEN, Setup, cordboard, run};
use crate::rig::program::{PATIENCE, wait_for};
use crate::rig::{USER, World, baresip, http};

/// Asks the API; status and body.
fn ask(world: &World, method: &str, path: &str, body: &Value) -> (u16, Value) {
    let bearer = format!("Bearer {API_TOKEN}");
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = http::request(method, &world.layout.api, path, &headers, &bytes).expect("the API answers");
    (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
}

/// Asks what must go well.
fn done(world: &World, method: &str, path: &str, body: &Value) -> Value {
    let (status, answer) = ask(world, method, path, body);
    assert!((200..300).contains(&status), "{method} {path}: {status} {answer:#}");
    answer
}

fn start(number: &'static str) -> World {
    World::start(&Setup { api: true, number, ..Setup::default() })
}

#[test]
fn a_program_calls_a_user_hangs_up_and_says_what_became_of_it() {
    let mut world = start("");
    let body = json!({ "number": "support", "user": USER, "phone": "1001" });
    let (status, problem) = ask(&world, "POST", "/v1/calls", &body);
    assert_eq!(problem["type"], "/problems/phone_unreachable", "{status}: {problem:#}");
    let _phone = world.phone(baresip::OnRing::Answer);
    world.meta.set_user(USER, &json!({}));
    let permission = format!("/v1/numbers/support/users/{USER}/permission");
    done(&world, "PUT", &permission, &json!({ "state": "permanent" }));
    let begun = done(&world, "POST", "/v1/calls", &body);
    let id = begun["id"].as_str().expect("an id").to_owned();
    let path = format!("/v1/calls/{id}");
    assert_eq!(done(&world, "GET", &path, &Value::Null)["state"], "live");
    let meta = world.meta.wait_call(USER);
    meta.talk(40);
    wait_for("the call is answered", PATIENCE, || {
        let call = done(&world, "GET", &path, &Value::Null);
        call["answered_at"].is_string().then_some(())
    });
    let ending = done(&world, "POST", &format!("{path}/hangup"), &Value::Null);
    assert_eq!(ending["state"], "ending");
    meta.wait_over();
    let call = wait_for("the record is closed", PATIENCE, || {
        let call = done(&world, "GET", &path, &Value::Null);
        (call["state"] == "ended").then_some(call)
    });
    assert_eq!((&call["cause"], &call["endpoint"]["name"]), (&json!("ordered"), &json!("1001")), "{call:#}");
    done(&world, "POST", &format!("{path}/notes"), &json!({ "outcome": "resolved" }));
    let events = done(&world, "GET", "/v1/events", &Value::Null);
    let kinds: Vec<&str> =
        events["events"].as_array().expect("a list").iter().filter_map(|it| it["type"].as_str()).collect();
    for kind in ["permission.changed", "call.started", "call.answered", "call.ended", "call.noted"] {
        assert!(kinds.contains(&kind), "{kind} is missing: {kinds:?}");
    }
    world.assert_no_violations();
}

#[test]
fn somebody_at_a_shell_calls_a_user_and_hangs_up() {
    let mut world = start("");
    let run = |world: &World, arguments: &[&str]| {
        let output = run(cordboard(arguments).arg("--config").arg(world.layout.config()), "");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    };
    let (_, said) = run(&world, &["call", USER, "--from", "1001"]);
    assert!(said.contains("nobody is called: "), "{said}");
    let _phone = world.phone(baresip::OnRing::Answer);
    world.meta.set_user(USER, &json!({}));
    let permission = format!("/v1/numbers/support/users/{USER}/permission");
    done(&world, "PUT", &permission, &json!({ "state": "permanent" }));
    let (well, said) = run(&world, &["call", USER, "--from", "1001", "--number", "support", "--json"]);
    assert!(well, "{said}");
    let begun: Value = serde_json::from_str(&said).expect("JSON");
    let meta = world.meta.wait_call(USER);
    meta.talk(40);
    let (well, said) = run(&world, &["hangup", begun["call"].as_str().expect("an id")]);
    assert!(well && said.contains("ends at both sides"), "{said}");
    meta.wait_over();
    wait_for("it is over", PATIENCE, || {
        let (well, said) = run(&world, &["hangup", begun["call"].as_str().expect("an id")]);
        (!well && said.contains("there is no such call now")).then_some(())
    });
    world.assert_no_violations();
}

#[test]
fn s4_the_cap_of_a_phone_holds_for_calls_that_a_program_begins_for_it() {
    let calls = "per_phone = { at_once = 10, per_minute = 1, per_day = 10 }";
    let mut world = World::start(&Setup { api: true, calls, ..Setup::default() });
    let _phone = world.phone(baresip::OnRing::Wait);
    let body = json!({ "number": "support", "user": USER, "phone": "1001" });
    done(&world, "POST", "/v1/calls", &body);
    let (status, problem) = ask(&world, "POST", "/v1/calls", &body);
    assert_eq!((status, &problem["type"]), (429, &json!("/problems/phone_capped")), "{problem:#}");
}

#[test]
fn a_program_asks_for_the_permission_and_calls_back_who_called_in_vain() {
    let mut world = start("settings = { calls = true, call_icon = false }");
    let missed = world.meta.place_call(USER).id;
    world.closed_record(&missed);
    let listed = done(&world, "GET", "/v1/missed", &Value::Null);
    assert_eq!(listed["missed"][0]["callable"], false, "{listed:#}");
    let _phone = world.phone(baresip::OnRing::Answer);
    let (status, problem) = ask(&world, "POST", "/v1/callbacks", &json!({ "phone": "1001" }));
    assert_eq!((status, &problem["type"]), (404, &json!("/problems/not-found")), "{problem:#}");
    let id = listed["missed"][0]["call"]["id"].clone();
    let wish = json!({ "phone": "1001", "missed": id });
    let (status, problem) = ask(&world, "POST", "/v1/callbacks", &wish);
    assert_eq!((status, &problem["type"]), (403, &json!("/problems/no_permission")), "{problem:#}");
    let pair = format!("/v1/numbers/support/users/{USER}");
    let asked = done(&world, "POST", &format!("{pair}/requests"), &json!({ "text": "May we call back?" }));
    assert_eq!(asked["form"], "free_form", "the user has just called: {asked:#}");
    let (status, problem) = ask(&world, "POST", &format!("{pair}/requests"), &json!({}));
    assert_eq!((status, &problem["type"]), (429, &json!("/problems/ask_day_limit")), "{problem:#}");
    assert!(problem["until"].is_string(), "{problem:#}");
    // The user has said yes elsewhere; Meta knows it.
    world.meta.set_user(USER, &json!({}));
    done(&world, "PUT", &format!("{pair}/permission"), &json!({ "state": "temporary" }));
    let begun = done(&world, "POST", "/v1/callbacks", &json!({ "phone": "1001" }));
    assert_eq!(begun["missed"], id);
    let call = world.meta.wait_call(USER);
    call.talk(40);
    call.act("hangup", &Value::Null);
    let settings = "/v1/numbers/support/settings";
    assert_eq!(
        done(&world, "GET", &format!("{settings}/drift"), &Value::Null)["drift"][0]["path"],
        "call_icon_visibility"
    );
    done(&world, "POST", &format!("{settings}/apply"), &Value::Null);
    assert_eq!(done(&world, "GET", &format!("{settings}/drift"), &Value::Null), json!({ "drift": [] }));
    wait_for("nobody is missed any more", PATIENCE, || {
        let listed = done(&world, "GET", "/v1/missed", &Value::Null);
        listed["missed"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
    world.assert_no_violations();
}
