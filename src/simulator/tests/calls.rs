//! Calls in both directions, and the rules of Meta that end or refuse them.

use std::time::Duration;

use serde_json::json;

use super::business::{Gateway, World};
use crate::simulator::dtls::Role;
use crate::simulator::sdp::tests::good_answer;
use crate::simulator::stream::Breach;

const ANA: &str = "5521955500123";

fn tone(millis: u32) -> Vec<i16> {
    (0..16 * millis)
        .map(|i| ((f64::from(i) * 440.0 * std::f64::consts::TAU / 16_000.0).sin() * 8000.0) as i16)
        .collect()
}

fn wav(path: &std::path::Path, samples: &[i16]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(path, spec).expect("file");
    samples.iter().for_each(|sample| writer.write_sample(*sample).expect("sample"));
    writer.finalize().expect("file");
}

/// What the business did wrong, without the gaps that a busy test machine makes.
fn wrongs(view: &serde_json::Value) -> Vec<&str> {
    let list = view["violations"].as_array().expect("violations").iter();
    list.filter_map(|one| one["what"].as_str()).filter(|what| !what.contains("no packet for")).collect()
}

async fn connect_request(world: &World, to: &str, sdp: &str) -> (u16, serde_json::Value) {
    world
        .graph(json!({ "action": "connect", "to": to, "biz_opaque_callback_data": "leg 7",
            "session": { "sdp_type": "offer", "sdp": sdp } }))
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_calls_both_hear_each_other_digits_go_both_ways_and_the_user_hangs_up() {
    let mut world = World::new(|_| {}).await;
    let (speech, heard) = (world.folder.path().join("speech.wav"), world.folder.path().join("heard.wav"));
    wav(&speech, &tone(800));
    let call = world
        .place(json!({ "from": ANA, "name": "Ana", "speak": speech, "record": heard,
        "cta_payload": "ext=204" }))
        .await;
    let connect = world.event("connect").await;
    assert_eq!(
        (&connect["id"], &connect["from"], &connect["cta_payload"]),
        (&json!(call), &json!(ANA), &json!("ext=204"))
    );
    assert_eq!((&connect["to"], &connect["direction"]), (&json!("493055500010"), &json!("USER_INITIATED")));
    assert_eq!(connect["contacts"][0]["profile"]["name"], "Ana");
    let mut gateway = Gateway::new(1).await;
    gateway.read(connect["session"]["sdp"].as_str().expect("offer"));
    let sdp = gateway.sdp("active");
    world.succeeds("pre_accept", &call, Some(&sdp)).await;
    gateway.check_ice().await;
    gateway.handshake(Role::Client).await;
    assert_eq!(world.view(&call).await["state"], "pre_accepted");
    world.succeeds("accept", &call, Some(&sdp)).await;
    gateway.speak(&tone(900));
    world.told(&format!("calls/{call}/digits"), json!({ "digits": "42" })).await;
    gateway.talk(40, |_, _| {}).await;
    gateway.press("7#");
    gateway.talk(35, |_, _| {}).await;
    gateway.breaches.retain(|breach| !matches!(breach, Breach::Gap(_)));
    assert_eq!(gateway.breaches, [], "the stand-in's own stream is clean");
    assert_eq!(gateway.digits.digits(), "42");
    assert!(gateway.loud > 15, "{} loud frames heard by the business", gateway.loud);
    world.told(&format!("calls/{call}/hangup"), json!({})).await;
    let terminate = world.event("terminate").await;
    assert_eq!(terminate["status"], "COMPLETED");
    assert!(terminate["duration"].is_u64() && terminate["start_time"].is_string());
    let view = world.ended(&call).await;
    assert_eq!(wrongs(&view), [""; 0]);
    assert_eq!((&view["digits"], &view["ended_by"]), (&json!("7#"), &json!("user")), "{view:#}");
    let rtp = &view["rtp"];
    assert_eq!((&rtp["lost"], &rtp["seq_breaks"], &rtp["odd_frames"]), (&json!(0), &json!(0), &json!(0)));
    assert!(rtp["received"].as_u64() >= Some(70) && rtp["first_voice_ms"].is_u64(), "{rtp}");
    let mut reader = hound::WavReader::open(&heard).expect("recording");
    let samples: Vec<i16> = reader.samples().map(|s| s.expect("sample")).collect();
    let loud = samples.chunks(320).filter(|frame| frame.iter().any(|s| s.unsigned_abs() > 2_000)).count();
    assert!((30..=48).contains(&loud), "{loud} loud frames of 0.9 s less the digits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_before_accept_is_a_violation_and_starts_the_callers_timer() {
    let mut world = World::new(|_| {}).await;
    let call = world.place(json!({ "from": ANA, "shape": "old" })).await;
    let connect = world.event("connect").await;
    let mut gateway = Gateway::new(2).await;
    gateway.read(connect["session"]["sdp"].as_str().expect("offer"));
    world.succeeds("pre_accept", &call, Some(&gateway.sdp("active"))).await;
    gateway.check_ice().await;
    gateway.handshake(Role::Client).await;
    gateway.talk(3, |_, _| {}).await;
    world.succeeds("terminate", &call, None).await;
    let terminate = world.event("terminate").await;
    assert!(terminate["duration"].is_u64(), "the caller's client counted: {terminate}");
    let view = world.ended(&call).await;
    assert_eq!(wrongs(&view), ["RTP before accept: the client takes it as the answer"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_source_a_skipped_number_and_a_wrong_payload_type_are_named() {
    let mut world = World::new(|_| {}).await;
    let call = world.place(json!({ "from": ANA })).await;
    let connect = world.event("connect").await;
    let mut gateway = Gateway::new(3).await;
    gateway.read(connect["session"]["sdp"].as_str().expect("offer"));
    world.succeeds("accept", &call, Some(&gateway.sdp("passive"))).await;
    gateway.check_ice().await;
    gateway.handshake(Role::Server).await;
    let bend = |frame: u32, packet: &mut Vec<u8>| match frame {
        5 => packet[11] ^= 1,
        7 => packet[1] = 96,
        _ => {}
    };
    gateway.talk(12, bend).await;
    world.succeeds("terminate", &call, None).await;
    let view = world.ended(&call).await;
    let all = view["violations"].to_string();
    for what in ["second business SSRC", "sequence number went +2", "payload type 96"] {
        assert!(all.contains(what), "{what} in {all}");
    }
    assert_eq!(view["rtp"]["ssrcs"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accept_must_repeat_the_sdp_and_no_action_is_taken_twice() {
    let mut world = World::new(|_| {}).await;
    let call = world.place(json!({ "from": ANA })).await;
    world.event("connect").await;
    let sdp = good_answer();
    assert_eq!(
        world.action("pre_accept", &call, Some(&sdp.replace("\r\n", "\n"))).await.1["error"]["code"],
        100
    );
    let offer_type =
        json!({ "action": "accept", "call_id": call, "session": { "sdp_type": "offer", "sdp": sdp } });
    assert_eq!(world.graph(offer_type).await.1["error"]["code"], 100);
    world.succeeds("pre_accept", &call, Some(&sdp)).await;
    let (status, error) = world.action("accept", &call, Some(&sdp.replace("5501", "5502"))).await;
    assert_eq!(
        (status, &error["error"]["code"], &error["error"]["error_subcode"]),
        (400, &json!(138_008), &json!(2_593_093))
    );
    world.succeeds("accept", &call, Some(&sdp)).await;
    for action in ["pre_accept", "accept", "reject"] {
        let (status, error) = world.action(action, &call, Some(&sdp)).await;
        assert_eq!((status, &error["error"]["code"]), (400, &json!(100)), "{action}");
        assert!(
            error["error"]["error_data"]["details"]
                .as_str()
                .is_some_and(|d| d.contains("already in progress"))
        );
    }
    world.succeeds("terminate", &call, None).await;
    assert_eq!(world.action("terminate", &call, None).await.0, 400);
    assert_eq!(world.event("terminate").await["status"], "COMPLETED");
    assert!(world.is_quiet().await, "one end, one webhook");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_graph_wants_its_token_its_product_and_a_call_it_knows() {
    let world = World::new(|_| {}).await;
    let (status, error) =
        world.graph_with("wrong", json!({ "action": "reject", "call_id": "wacid.x" })).await;
    assert_eq!(
        (status, &error["error"]["code"], &error["error"]["type"]),
        (401, &json!(190), &json!("OAuthException"))
    );
    assert!(error["error"]["fbtrace_id"].is_string());
    for body in [json!({ "action": "reject", "call_id": "wacid.x" }), json!({ "action": "hold" }), json!({})]
    {
        assert_eq!(world.graph(body).await.1["error"]["code"], 100);
    }
    let (status, problem) = world.post("calls", json!({ "number": "1" })).await;
    assert_eq!(status, 404);
    assert!(problem["error"]["what"].is_string() && problem["error"]["do"].is_string());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_answers_and_the_call_ends_completed_without_a_duration() {
    let mut world = World::new(|args| args.accept_window = Duration::from_millis(100)).await;
    let call = world.place(json!({ "from": ANA })).await;
    world.event("connect").await;
    let terminate = world.event("terminate").await;
    assert_eq!((&terminate["status"], &terminate["duration"]), (&json!("COMPLETED"), &json!(null)));
    assert_eq!(world.ended(&call).await["ended_by"], "unanswered");
    assert_eq!(world.action("accept", &call, Some(&good_answer())).await.0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answered_call_without_media_fails_with_138021() {
    let mut world = World::new(|args| args.first_media = Duration::from_millis(100)).await;
    let call = world.place(json!({ "from": ANA })).await;
    world.event("connect").await;
    world.succeeds("accept", &call, Some(&good_answer())).await;
    let terminate = world.event("terminate").await;
    assert_eq!((&terminate["status"], &terminate["errors"][0]["code"]), (&json!("FAILED"), &json!(138_021)));
    assert!(terminate["duration"].is_u64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_in_the_middle_of_a_call_fails_with_138021() {
    let mut world = World::new(|args| args.media_gap = Duration::from_millis(150)).await;
    let call = world.place(json!({ "from": ANA })).await;
    let connect = world.event("connect").await;
    let mut gateway = Gateway::new(4).await;
    gateway.read(connect["session"]["sdp"].as_str().expect("offer"));
    world.succeeds("accept", &call, Some(&gateway.sdp("active"))).await;
    gateway.check_ice().await;
    gateway.handshake(Role::Client).await;
    gateway.talk(10, |_, _| {}).await;
    assert_eq!(world.event("terminate").await["errors"][0]["code"], 138_021);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_certificate_fails_the_call() {
    let mut world = World::new(|_| {}).await;
    let call = world.place(json!({ "from": ANA })).await;
    let connect = world.event("connect").await;
    let mut gateway = Gateway::new(5).await;
    gateway.read(connect["session"]["sdp"].as_str().expect("offer"));
    let another = good_answer().replace("Gw4t", "another");
    world.succeeds("accept", &call, Some(&another)).await;
    gateway.check_ice().await;
    gateway.handshake(Role::Client).await;
    assert_eq!(world.event("terminate").await["errors"][0]["code"], 138_004);
    assert!(world.ended(&call).await["violations"].to_string().contains("not the one of the SDP"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_business_calls_in_either_dtls_role_and_the_user_answers() {
    for (choice, setup, role) in
        [("client", "a=setup:active", Role::Server), ("server", "a=setup:passive", Role::Client)]
    {
        let mut world = World::new(|_| {}).await;
        world
            .told(
                &format!("users/{ANA}"),
                json!({ "permission": "temporary", "dtls_role": choice, "ring_after_ms": 30,
                "answer_after_ms": 200 }),
            )
            .await;
        let mut gateway = Gateway::new(6).await;
        let (status, reply) = connect_request(&world, ANA, &gateway.sdp("actpass")).await;
        assert_eq!(status, 200, "{reply}");
        let call = reply["calls"][0]["id"].as_str().expect("id").to_owned();
        let connect = world.event("connect").await;
        let answer = connect["session"]["sdp"].as_str().expect("answer");
        assert!(answer.contains(setup) && connect["session"]["sdp_type"] == "answer");
        assert_eq!(connect["biz_opaque_callback_data"], "leg 7");
        gateway.read(answer);
        gateway.check_ice().await;
        gateway.handshake(role).await;
        gateway.talk(5, |_, _| {}).await;
        assert_eq!(world.event("RINGING").await["id"], json!(call));
        assert_eq!(world.event("ACCEPTED").await["recipient_id"], ANA);
        gateway.talk(10, |_, _| {}).await;
        assert!(gateway.check.counted().received > 3, "the user speaks");
        world.succeeds("terminate", &call, None).await;
        assert!(world.event("terminate").await["duration"].is_u64());
        assert_eq!(wrongs(&world.ended(&call).await), [""; 0], "comfort before the answer is allowed");
        let permissions = world.permissions(ANA).await;
        assert_eq!(permissions["actions"][1]["limits"][0]["current_usage"], 1);
        assert_eq!(permissions["permission"]["status"], "temporary");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_may_come_late_or_never() {
    let mut world = World::new(|_| {}).await;
    let offer = good_answer().replace("active", "actpass");
    world
        .told(
            &format!("users/{ANA}"),
            json!({ "permission": "permanent", "ring_after_ms": 20, "answer_after_ms": 20,
        "accepted": { "delay_ms": 200 } }),
        )
        .await;
    let (_, reply) = connect_request(&world, ANA, &offer).await;
    let call = reply["calls"][0]["id"].as_str().expect("id").to_owned();
    world.event("connect").await;
    world.event("RINGING").await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(world.view(&call).await["state"], "in_progress");
    world.succeeds("terminate", &call, None).await;
    world.event("terminate").await;
    assert_eq!(world.event("ACCEPTED").await["id"], json!(call), "a straggler after the end");
    world.told(&format!("users/{ANA}"), json!({ "accepted": "never" })).await;
    let (_, reply) = connect_request(&world, ANA, &offer).await;
    world.event("connect").await;
    world.event("RINGING").await;
    tokio::time::sleep(Duration::from_millis(60)).await;
    world.succeeds("terminate", reply["calls"][0]["id"].as_str().expect("id"), None).await;
    world.event("terminate").await;
    assert!(world.is_quiet().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_refused_calls_end_the_permission_with_an_automatic_reject() {
    let mut world = World::new(|_| {}).await;
    let offer = good_answer().replace("active", "actpass");
    assert_eq!(connect_request(&world, ANA, &offer).await.0, 401);
    world
        .told(
            &format!("users/{ANA}"),
            json!({ "permission": "permanent", "ring_after_ms": 10, "answer_after_ms": 10,
        "reject": true }),
        )
        .await;
    for round in 1..=4 {
        let (status, reply) = connect_request(&world, ANA, &offer).await;
        assert_eq!(status, 200, "round {round}: {reply}");
        if round == 4 {
            world.message_last(4).await;
        }
        for event in ["connect", "RINGING", "REJECTED", "terminate"] {
            let part = world.event(event).await;
            assert_eq!(part["duration"], json!(null));
        }
    }
    let reply = world.event("interactive").await["interactive"]["call_permission_reply"].clone();
    assert_eq!(reply, json!({ "response": "reject", "response_source": "automatic" }));
    let (status, error) = connect_request(&world, ANA, &offer).await;
    assert_eq!((status, &error["error"]["code"]), (401, &json!(138_006)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_limits_answer_with_their_codes_and_the_time_of_the_next_call() {
    let mut world = World::new(|_| {}).await;
    let offer = good_answer().replace("active", "actpass");
    world
        .told(
            &format!("users/{ANA}"),
            json!({ "permission": "permanent", "ring_after_ms": 0, "answer_after_ms": 0,
            }),
        )
        .await;
    world.told("limits", json!({ "pair_calls": 1 })).await;
    let (_, reply) = connect_request(&world, ANA, &offer).await;
    for event in ["RINGING", "ACCEPTED"] {
        while world.value().await["statuses"][0]["status"] != event {}
    }
    let (_, busy) = connect_request(&world, ANA, &offer).await;
    assert_eq!(busy["error"]["code"], 138_003);
    world.succeeds("terminate", reply["calls"][0]["id"].as_str().expect("id"), None).await;
    let (status, full) = connect_request(&world, ANA, &offer).await;
    assert_eq!((status, &full["error"]["code"]), (400, &json!(138_012)));
    let until = &world.permissions(ANA).await["actions"][1]["limits"][0]["limit_expiration_time"];
    let details = full["error"]["error_data"]["details"].as_str().expect("details");
    assert!(details.contains(&until.as_i64().expect("seconds").to_string()), "{details}");
    world.told("limits", json!({ "concurrent": 0 })).await;
    assert_eq!(connect_request(&world, ANA, &offer).await.1["error"]["code"], 138_002);
    world.told("limits", json!({ "initiations": 1 })).await;
    assert_eq!(connect_request(&world, ANA, &offer).await.1["error"]["code"], 138_005);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_username_user_is_known_by_the_scoped_id_only() {
    let mut world = World::new(|_| {}).await;
    let bsuid = "BR.20995511223344556677";
    let call = world.place(json!({ "user_id": bsuid, "username": "ana.example" })).await;
    let connect = world.event("connect").await;
    assert_eq!((&connect["from"], &connect["from_user_id"]), (&json!(null), &json!(bsuid)));
    assert_eq!(connect["contacts"][0]["wa_id"], json!(null));
    assert_eq!(connect["contacts"][0]["profile"]["username"], "ana.example");
    world.succeeds("reject", &call, None).await;
    assert_eq!(world.event("terminate").await["from"], json!(null));
    world.told(&format!("users/{bsuid}"), json!({ "permission": "permanent", "ring_after_ms": 5 })).await;
    let offer = good_answer().replace("active", "actpass");
    let (status, _) = world
        .graph(json!({ "action": "connect", "recipient": bsuid, "session": { "sdp_type": "offer", "sdp": offer } }))
        .await;
    assert_eq!(status, 200);
    let connect = world.event("connect").await;
    assert_eq!((&connect["to"], &connect["to_user_id"]), (&json!(null), &json!(bsuid)));
}
