//! `cordboard permission show|request`, `rules`, `button`, `link`: what Meta's rules allow now, and asking users.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::check::load;
use super::permission::{PermissionOf, RequestArgs, find_number, line};
use super::records::{Trouble, run, with_store};
use super::{Exit, Form, complain, say};
use crate::call::HangupCause;
use crate::config::{Config, NumberConfig, NumberPolicy, Records};
use crate::id::{CallId, PhoneNumberId};
use crate::io::app::graph_settings;
use crate::io::asking::{AskFailure, Asking, Question};
use crate::io::graph::GraphClient;
use crate::io::parts::rules as rules_of;
use crate::io::rules_state::{PickUpState, RulesState, Use};
use crate::io::signalling::now;
use crate::io::store::{RequestLine, Store};
use crate::masked::Secret;
use crate::policy::{
    Ask, AskDenial, Attempt, Decision, Denial, Facts, RequestKind, Rules, Stands, decide_request,
};
use crate::time::Wall;
use crate::whatsapp::{Message, MessageKind, call_link};

/// Shows how much of each of Meta's limits a business number has used, what Meta restricts, and how many of the
/// users' calls are picked up.
#[derive(Debug, Args)]
pub struct RulesArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// The label of the business number; all of them by default.
    #[arg(long)]
    number: Option<String>,
    /// Meta has lifted its restrictions: forget them.
    #[arg(long)]
    lift: bool,
    /// For machines.
    #[arg(long)]
    json: bool,
}

/// Sends a user a call button.
#[derive(Debug, Args)]
pub struct ButtonArgs {
    /// Whom, from which business number.
    #[command(flatten)]
    of: PermissionOf,
    /// What the message says.
    #[arg(long)]
    text: String,
    /// What stands on the button, up to 20 characters.
    #[arg(long, default_value = "Call now")]
    display: String,
    /// How long the button works: "1m" to "30d".
    #[arg(long = "for", value_name = "TIME", default_value = "7d", value_parser = super::permission::span)]
    life: Duration,
    /// What the call brings along, to route it: up to 512 characters that the user can read and change.
    #[arg(long)]
    payload: Option<String>,
}

/// Prints a link that calls the business number on WhatsApp.
#[derive(Debug, Args)]
pub struct LinkArgs {
    /// The configuration.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// The label of the business number; may be left out if there is only one.
    #[arg(long)]
    number: Option<String>,
    /// What the call brings along, to route it.
    #[arg(long)]
    payload: Option<String>,
}

fn find<'c>(config: &'c Config, label: Option<&str>) -> Result<&'c NumberConfig, Trouble> {
    let known = || config.numbers.iter().map(|it| it.label.as_str()).collect::<Vec<_>>().join(", ");
    let found = match (label, &config.numbers[..]) {
        (Some(wanted), numbers) => numbers.iter().find(|it| it.label.as_str() == wanted),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    found.ok_or_else(|| Trouble(format!("which business number? --number one of {}", known())))
}

/// Reads the configuration, opens the store and does `act` for the number that is meant.
fn with(
    of: &PermissionOf,
    act: impl AsyncFnOnce(&Config, &NumberConfig, &Store) -> Result<(), Trouble>,
) -> Exit {
    let Some(config) = load(&of.config) else { return Exit::Usage };
    run(&config.store.path, async |store| act(&config, find(&config, of.number.as_deref())?, store).await)
}

/// The rules of a number, for commands that need no secret.
fn policy_of<'r>(
    records: &'r Records,
    label: Option<&str>,
) -> Result<(&'r PhoneNumberId, &'r NumberPolicy), Trouble> {
    let id = find_number(records, label).map_err(Trouble)?;
    let at = records.numbers.iter().position(|(_, it)| it == id);
    let policy = at.and_then(|at| records.policies[at].as_ref());
    policy
        .map(|it| (id, it))
        .ok_or_else(|| Trouble("something in its [[number]] is wrong: cordboard check".to_owned()))
}

fn rules_in(records: &Records, number: &NumberPolicy) -> Rules {
    rules_of(number, &records.policy, records.reservation_life)
}

/// `cordboard permission show`: the permission, and whether a call and a request are possible now.
pub(super) fn show(of: &PermissionOf) -> Exit {
    with_store(&of.config, async |records, store| {
        let (id, number) = policy_of(records, of.number.as_deref())?;
        let (at, user, rules) = (now(), &of.user, rules_in(records, number));
        let attempt = Attempt { number: id.clone(), user: user.clone(), call: CallId(0) };
        let (facts, decision) = store.judge(&rules, &attempt, at).await?;
        let ask = Ask { number: id.clone(), user: user.clone(), template: number.ask.template.is_some() };
        let asked = decide_request(&rules, &store.ask_facts(id, user, at.wall).await?, &ask, at.wall);
        let requests = store.requests(id, user, at.wall).await?;
        let told = pair_as_json(&facts, &decision, &asked, &requests);
        Form::of(of.json).print(&told, || {
            let first = line(user, facts.permission.as_str(), facts.permission.until(), at.wall);
            format!("{first}\n{}", pair(&facts, &decision, &asked, &requests))
        });
        Ok(())
    })
}

type Asked = Result<RequestKind, AskDenial>;

fn pair(facts: &Facts, decision: &Decision, asked: &Asked, requests: &[RequestLine]) -> String {
    let mut out = format!("  call now: {}\n", verdict(decision));
    out += &match asked {
        Ok(kind) => format!("  ask now: yes, {}\n", kind.as_str()),
        Err(denial) => {
            let text = HangupCause::AskDenied(denial.reason).verdict().advice;
            format!("  ask now: no, {}: {text}{}\n", denial.reason.label(), until(denial.until))
        }
    };
    if let Some(request) = requests.first() {
        let sent = request.request.sent;
        out += &format!("  last request: {} at {sent}, {}\n", request.kind, request.state.as_str());
    }
    if facts.unanswered > 0 {
        let decided = if facts.overridden { ", and somebody decided to go on" } else { "" };
        out += &format!("  unanswered in a row: {}{decided}\n", facts.unanswered);
    }
    out
}

fn pair_as_json(facts: &Facts, decision: &Decision, asked: &Asked, requests: &[RequestLine]) -> Value {
    let no = |rule: &str, until: Option<Wall>| json!({ "now": false, "rule": rule, "from": until.map(|it| it.to_string()) });
    let call = match decision {
        Decision::Allow(_) => json!({ "now": true }),
        Decision::Deny(denial) => no(denial.reason.label(), denial.until),
    };
    let ask = match asked {
        Ok(kind) => json!({ "now": true, "form": kind.as_str() }),
        Err(denial) => no(denial.reason.label(), denial.until),
    };
    let request = |it: &RequestLine| json!({ "form": it.kind, "state": it.state.as_str(), "sent_at": it.request.sent.to_string() });
    json!({
        "state": facts.permission.as_str(),
        "until": facts.permission.until().map(|it| it.to_string()),
        "call": call,
        "ask": ask,
        "unanswered": facts.unanswered,
        "overridden": facts.overridden,
        "requests": requests.iter().map(request).collect::<Vec<_>>(),
    })
}

fn verdict(decision: &Decision) -> String {
    match decision {
        Decision::Allow(_) => "yes".to_owned(),
        Decision::Deny(Denial { reason, until: end, stands }) => {
            let text = HangupCause::Denied(*reason).verdict().advice;
            let flight = if *stands == Stands::Reservation { " (a call in flight)" } else { "" };
            format!("no, {}{flight}: {text}{}", reason.label(), until(*end))
        }
    }
}

fn until(end: Option<Wall>) -> String {
    end.map_or(String::new(), |it| format!(" From {it} on it is possible."))
}

/// The way to Meta for one number.
fn asking(config: &Config, number: &NumberConfig, store: &Store) -> Result<Asking, Trouble> {
    let graph = GraphClient::new(graph_settings(config)).map_err(|error| Trouble(error.to_string()))?;
    Ok(Asking {
        store: store.clone(),
        graph: Arc::new(graph),
        number: number.phone_number_id.clone(),
        token: Secret::new(number.access_token.expose().clone()),
        rules: rules_of(&number.policy(), &config.policy, config.calls.reservation_life),
        words: number.ask.clone(),
    })
}

/// `cordboard permission request`
pub(super) fn request(args: &RequestArgs) -> Exit {
    with(&args.of, async |config, number, store| {
        let question = Question {
            user: args.of.user.clone(),
            text: args.text.clone(),
            parameters: args.parameters.clone(),
            ring: args.ring.clone(),
        };
        match asking(config, number, store)?.ask(&question, now().wall).await {
            Ok(asked) => {
                let told = json!({ "form": asked.kind.as_str(), "message": asked.message });
                let text = || format!("asked ({}): {}", asked.kind.as_str(), asked.message);
                Form::of(args.of.json).print(&told, text);
                Ok(())
            }
            Err(failure) => Err(refused(&failure)),
        }
    })
}

fn refused(failure: &AskFailure) -> Trouble {
    Trouble(format!("{}: {failure}{}", failure.cause().verdict().label, until(failure.until())))
}

/// `cordboard button`
pub(super) fn button(args: &ButtonArgs) -> Exit {
    let (text, display, payload) = (args.text.clone(), args.display.clone(), args.payload.clone());
    let kind = MessageKind::Button { text, display, life: args.life, payload };
    let message = Message { to: args.of.user.clone(), kind };
    if let Err(fault) = message.check() {
        complain(fault);
        return Exit::Usage;
    }
    with(&args.of, async |config, number, store| {
        let asking = asking(config, number, store)?;
        match asking.graph.message(&asking.number, &asking.token, &message).await {
            Ok(id) => {
                Form::of(args.of.json).print(&json!({ "message": id }), || format!("sent: {id}"));
                Ok(())
            }
            Err((failure, _)) => Err(refused(&AskFailure::Graph(failure))),
        }
    })
}

/// `cordboard link`
pub(super) fn link(args: &LinkArgs) -> Exit {
    let Some(config) = load(&args.config) else { return Exit::Usage };
    if args.payload.as_ref().is_some_and(|it| it.chars().count() > 512) {
        complain("the payload is longer than 512 characters");
        return Exit::Usage;
    }
    match find(&config, args.number.as_deref()) {
        Ok(number) => {
            say(call_link(&number.display_number, args.payload.as_deref()));
            Exit::Done
        }
        Err(Trouble(text)) => {
            complain(text);
            Exit::Usage
        }
    }
}

/// `cordboard rules`
pub(super) fn rules(args: &RulesArgs) -> Exit {
    with_store(&args.config, async |records, store| {
        let wanted = |label: &str| args.number.as_deref().is_none_or(|it| it == label);
        let mut lines = Vec::new();
        for (label, id) in records.numbers.iter().filter(|(label, _)| wanted(label.as_str())) {
            if args.lift {
                let lifted = store.lift_restrictions(id, now().wall).await?;
                if !args.json {
                    say(format_args!("{label}: {lifted} lifted"));
                }
            }
            let (id, number) = policy_of(records, Some(label.as_str()))?;
            let rules = rules_in(records, number);
            let (named, known) = ((label.as_str(), id), (number, &rules));
            lines.push(RulesState::read(store, named, known, ToString::to_string, now()).await?);
        }
        if lines.is_empty() {
            return Err(Trouble("no such business number".to_owned()));
        }
        for told in lines {
            Form::of(args.json).print(&told, || readable(&told));
        }
        Ok(())
    })
}

fn readable(told: &RulesState) -> String {
    let of = |it: Use| match it.max {
        None => format!("{}, no cap", it.used),
        Some(max) => format!("{} of {max}", it.used),
    };
    let mut out = format!("{}\n", told.number);
    let rows = [
        ("connected calls in the window", of(told.connected)),
        ("places held by calls not answered yet", told.reserved.to_string()),
        ("calls started in 24 h", of(told.started)),
        ("users' calls picked up in 24 h", pickup(&told.pickup)),
    ];
    for (name, value) in rows {
        out.push_str(&format!("  {name}: {value}\n"));
    }
    if told.country_blocked {
        out.push_str("  Meta offers no calls to users for numbers of this country\n");
    }
    for run in &told.unanswered {
        let decided = if run.overridden { ", one more call is allowed" } else { "" };
        out.push_str(&format!("  {}: {} unanswered in a row{decided}\n", run.user, run.unanswered));
    }
    for line in &told.restrictions {
        let end = line.until.as_ref().map_or(String::new(), |it| format!(" until {it}"));
        out.push_str(&format!("  Meta: {}{end}, told {}\n", line.kind, line.at));
    }
    out.trim_end().to_owned()
}

fn pickup(told: &PickUpState) -> String {
    let alarm = if told.alarm { ", too few: Meta hides the call button of such numbers" } else { "" };
    match told.percent {
        None => "no calls".to_owned(),
        Some(percent) => format!("{percent} % of {}, {}{alarm}", told.calls, told.trend),
    }
}
