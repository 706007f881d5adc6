//! A few hundred random deeds against the running gateway: it and the stand-in for Meta, whose rules are code of its own,
//! must say the same of every call and every request.
//!
//! `CORDBOARD_DEEDS` makes it longer, `CORDBOARD_POLICY_SEED` begins elsewhere.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::rig::World;
use crate::rig::gateway::{Setup, cordboard, records, run};
use crate::rig::program::{PATIENCE, wait_until};
use crate::rig::simulator::NUMBER_ID;
use crate::rig::sip::{SipPeer, header, is_answer, offer};

const USERS: u64 = 5;
const CONCURRENT: usize = 3;

/// The house's own rules are switched off, and Meta's limits are small on both sides.
const NUMBER: &str = "cap_per_number = { enabled = false, max = 100, window = \"24h\" }\n\
    cap_per_pair = { enabled = true, max = 4, window = \"24h\" }\nmax_concurrent = 3\nmax_initiations = 120\n\
    guards = { unanswered_stop = 0 }";

/// A call that is up: who is called, its id at the peer and at Meta.
struct Up {
    user: String,
    id: String,
    meta: String,
}

struct Deeds {
    world: World,
    peer: SipPeer,
    state: u64,
    next: u64,
    up: Vec<Up>,
    seen: BTreeMap<String, u32>,
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|it| it.parse().ok()).unwrap_or(default)
}

impl Deeds {
    fn start() -> Self {
        let mut world =
            World::start(&Setup { number: NUMBER, media: "quarantine = \"1ms\"", ..Setup::default() });
        let limits =
            json!({ "pair_calls": 4, "initiations": 120, "concurrent": CONCURRENT, "queries": 10_000 });
        world.meta.order("/sim/limits", &limits);
        world.meta.order(&format!("/sim/numbers/{NUMBER_ID}"), &json!({ "callback_permission": true }));
        let peer = SipPeer::trunk(&mut world.ports, &world.layout.sip);
        let state = setting("CORDBOARD_POLICY_SEED", 1) | 1 << 40;
        let (next, up, seen) = (0, Vec::new(), BTreeMap::new());
        let mut deeds = Self { world, peer, state, next, up, seen };
        for user in 0..USERS {
            let user = Self::user(user);
            deeds.world.meta.set_user(&user, &json!({ "permission": "none", "ring_after_ms": 0 }));
            deeds.note("user");
        }
        deeds
    }

    fn user(number: u64) -> String {
        format!("55219555001{number:02}")
    }

    /// xorshift64
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % bound
    }

    fn note(&mut self, what: &str) {
        *self.seen.entry(what.to_owned()).or_default() += 1;
    }

    /// What a command of the product says, both ways.
    fn said(&self, words: &[&str]) -> String {
        let output = run(cordboard(words).arg("--config").arg(self.world.layout.config()), "");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// Waits until the ledger says of a user what Meta does, and gives what Meta says.
    fn settle(&self, user: &str) -> Value {
        let (mut ours, mut meta) = (String::new(), Value::Null);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            ours = self.said(&["permission", "show", "--user", user]);
            meta = self.world.meta.rules(user);
            let said = ours.split_once(": ").map_or("", |(_, rest)| rest);
            let word = match said.split(|letter: char| !letter.is_ascii_lowercase()).next() {
                Some("none" | "declined" | "revoked") => "no_permission",
                word => word.unwrap_or("nothing"),
            };
            if meta["permission"] == word {
                return meta;
            }
        }
        panic!("the ledger and Meta never agree on {user}: {ours} {meta:#}");
    }

    /// Sends an INVITE; the id of the call and what came of it: an answer, or 180 where nobody takes it.
    fn invite(&mut self, user: &str, takes: bool) -> (String, String) {
        for _ in 0..100 {
            self.next += 1;
            let id = format!("deed-{}", self.next);
            let (uri, sdp) = (self.uri(user), offer(&self.peer.own, 40_000));
            self.peer.request("INVITE", &uri, &id, &id, "Content-Type: application/sdp\r\n", &sdp);
            let answer = self.peer.wait("an answer to the INVITE", |text| {
                let ours = header(text, "Call-ID") == Some(&id) && text.starts_with("SIP/2.0 ");
                let early = text.starts_with("SIP/2.0 100") || text.starts_with("SIP/2.0 183");
                ours && !early && (!takes || !text.starts_with("SIP/2.0 180"))
            });
            let busy = ["No ports left", "Gateway overloaded"].iter().any(|it| answer.contains(it));
            if !busy {
                return (id, answer);
            }
            // The few ports of this test rest a moment after each call; and the machine may have other work.
            self.ack(user, &id, &id, &answer);
            std::thread::sleep(Duration::from_millis(200));
        }
        panic!("no port comes free");
    }

    fn uri(&self, user: &str) -> String {
        self.world.uri_of(&format!("8{user}"))
    }

    fn ack(&self, user: &str, id: &str, branch: &str, answer: &str) {
        let to = format!("To: {}\r\n", header(answer, "To").unwrap_or_default());
        self.peer.request("ACK", &self.uri(user), id, branch, &to, "");
    }

    /// Dials, as both sides know the facts by now, and compares what they say.
    fn dial(&mut self, user: &str, takes: bool) {
        let behaviour = json!({ "answer_after_ms": takes.then_some(0) });
        self.world.meta.order(&format!("/sim/users/{user}"), &behaviour);
        let meta = self.settle(user);
        let (id, answer) = self.invite(user, takes);
        let line = answer.lines().next().unwrap_or_default().to_owned();
        let after = self.world.meta.rules(user);
        assert_eq!(meta["refused"], after["refused"], "Meta had to refuse a call: {line}, {meta:#}");
        if !line.starts_with("SIP/2.0 180") && !line.starts_with("SIP/2.0 200") {
            self.ack(user, &id, &id, &answer);
            assert_ne!(meta["no_call"], Value::Null, "Meta would allow what we refuse: {line}, {meta:#}");
            return self.note(&format!("denied {}", meta["no_call"]));
        }
        assert_eq!(meta["no_call"], Value::Null, "Meta would refuse this: {line}");
        if takes {
            self.ack(user, &id, &format!("{id}-ack"), &answer);
            let call = self.open_with(user).pop().expect("Meta has the call");
            self.up.push(Up { user: user.to_owned(), id, meta: call });
            self.note("answered");
        } else {
            self.peer.request("CANCEL", &self.uri(user), &id, &id, "", "");
            let is_end = |text: &str| is_answer(text, 487, "INVITE") && header(text, "Call-ID") == Some(&id);
            let answer = self.peer.wait("487", is_end);
            self.ack(user, &id, &id, &answer);
            self.over(user);
            self.note("missed");
        }
    }

    /// Ids of the calls with a user that Meta has not ended.
    fn open_with(&self, user: &str) -> Vec<String> {
        let open = self.world.meta.calls().into_iter().filter(|it| it["state"] != "ended");
        let ids = open.filter_map(|it| it["call"].as_str().map(str::to_owned));
        ids.filter(|id| self.world.meta.call(id).told().to_string().contains(user)).collect()
    }

    /// Waits until no call with the user is left on either side.
    fn over(&self, user: &str) {
        wait_until("Meta has ended the call", || self.open_with(user).is_empty());
        let up: Vec<&str> = self.up.iter().map(|it| it.meta.as_str()).collect();
        wait_until("the records of calls that are over are closed", || {
            let open = records(&self.world.layout).into_iter().filter(|it| it["ended"].is_null());
            open.into_iter().all(|it| it["wa_call"].as_str().is_some_and(|id| up.contains(&id)))
        });
    }

    /// The user ends a call; our side of it ends, too.
    fn hang_up(&mut self) {
        if self.up.is_empty() {
            return;
        }
        let at = usize::try_from(self.below(self.up.len() as u64)).expect("small");
        let up = self.up.swap_remove(at);
        self.world.meta.call(&up.meta).act("hangup", &json!({}));
        let bye =
            self.peer.wait("BYE", |text| text.starts_with("BYE ") && header(text, "Call-ID") == Some(&up.id));
        let copied = ["Via", "From", "To", "Call-ID", "CSeq"]
            .map(|name| format!("{name}: {}\r\n", header(&bye, name).unwrap_or_default()));
        self.peer.send(format!("SIP/2.0 200 OK\r\n{}Content-Length: 0\r\n\r\n", copied.concat()).as_bytes());
        self.over(&up.user);
    }

    /// Asks; the gateway and Meta agree whether that is possible.
    fn ask(&mut self, user: &str) {
        let meta = self.settle(user);
        let told = self.said(&["permission", "request", "--user", user]);
        let after = self.world.meta.rules(user);
        assert_eq!(meta["refused"], after["refused"], "Meta had to refuse a request: {told}, {meta:#}");
        let sent = after["requests_week"].as_u64() > meta["requests_week"].as_u64();
        if sent {
            assert_eq!(meta["no_request"], Value::Null);
            return self.note("asked");
        }
        let shut = told.contains("No open chat") || told.contains("template");
        assert!(shut || meta["no_request"] != Value::Null, "Meta would allow it: {told}, {meta:#}");
        let what = if shut { "no window".to_owned() } else { format!("not asked {}", meta["no_request"]) };
        self.note(&what);
    }

    fn reply(&mut self, user: &str) {
        let (response, permanent) =
            [("accept", false), ("accept", true), ("accept", true), ("reject", false)]
                [usize::try_from(self.below(4)).expect("small")];
        let body = json!({ "number": NUMBER_ID, "response": response, "permanent": permanent });
        self.world.meta.order(&format!("/sim/users/{user}/permission-reply"), &body);
        self.settle(user);
        self.note(response);
    }

    fn deed(&mut self) {
        let user = Self::user(self.below(USERS));
        match self.below(20) {
            0..9 => {
                let takes = self.below(3) > 0;
                self.dial(&user, takes);
            }
            9..12 => self.hang_up(),
            12..15 => self.ask(&user),
            15..17 => self.reply(&user),
            17 => {
                self.world.meta.order(&format!("/sim/users/{user}/message"), &json!({ "number": NUMBER_ID }));
                self.note("wrote");
            }
            18 if !self.up.iter().any(|it| it.user == user) && self.up.len() < CONCURRENT => {
                // Nobody's phone is there: the call is refused, and Meta grants a week for it.
                self.world.meta.place_call(&user);
                self.over(&user);
                self.settle(&user);
                self.note("called us");
            }
            _ if self.below(4) == 0 => {
                self.world
                    .meta
                    .order(&format!("/sim/numbers/{NUMBER_ID}"), &json!({ "paused_for_ms": 1500 }));
                wait_until("the pause is known", || {
                    let known = self.said(&["rules"]).contains("RESTRICTED_BUSINESS_INITIATED_CALLING");
                    known || self.world.meta.rules(&user)["no_call"] != 138_014
                });
                self.dial(&user, false);
                // Whole seconds in Meta's webhook: a little longer, and both know that it is over.
                std::thread::sleep(Duration::from_millis(2600));
                self.note("paused");
            }
            _ => {}
        }
    }
}

#[test]
fn the_gateway_and_the_stand_in_for_meta_never_disagree_about_a_call_or_a_request() {
    let mut deeds = Deeds::start();
    for _ in 0..setting("CORDBOARD_DEEDS", 300) {
        deeds.deed();
    }
    while !deeds.up.is_empty() {
        deeds.hang_up();
    }
    let wanted = [
        "answered",
        "missed",
        "asked",
        "denied 138006",
        "denied 138003",
        "denied 138012",
        "not asked 138009",
    ];
    let missing: Vec<_> = wanted.into_iter().filter(|it| !deeds.seen.contains_key(*it)).collect();
    assert!(missing.is_empty(), "it never came to {missing:?}: {:#?}", deeds.seen);
    deeds.world.assert_no_violations();
}
