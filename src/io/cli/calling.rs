//! `cordboard call` and `cordboard hangup`: calls that somebody begins and ends from a shell.

use std::path::PathBuf;

use clap::Args;
use reqwest::Method;

use super::call_actions::call_id;
use super::{Exit, Form, complain, gateway, say};
use crate::id::CallId;
use crate::io::desk::{BegunRow, EndingRow};

/// Where the running gateway takes both.
const PATH: &str = "/calls";

/// Calls a user: rings your phone, then the user; asks the running gateway.
#[derive(Debug, Args)]
pub struct CallArgs {
    /// The user: a number with its country code, or a business-scoped id.
    #[arg(value_name = "USER")]
    user: String,
    /// The label of the business number that calls; may be left out where there is one.
    #[arg(long, value_name = "LABEL")]
    number: Option<String>,
    /// The phone that rings first.
    #[arg(long, value_name = "PHONE")]
    from: String,
    /// The configuration of the gateway.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// Ends a call at both sides; asks the running gateway.
#[derive(Debug, Args)]
pub struct HangupArgs {
    /// The call, as `calls` shows it.
    #[arg(value_name = "CALL", value_parser = call_id)]
    call: CallId,
    /// The configuration of the gateway.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn call(args: &CallArgs) -> Exit {
    let mut query = vec![("user", args.user.as_str()), ("from", args.from.as_str())];
    query.extend(args.number.as_deref().map(|label| ("number", label)));
    let asked = gateway::ask(&args.config, PATH, async |gateway| {
        let answer = gateway.request(Method::PUT, PATH).query(&query).send().await?;
        Ok((answer.status().is_success(), answer.text().await?))
    });
    told(asked, args.json, "nobody is called", |row: &BegunRow| {
        format!("call {}: {} rings, then the user {}", row.call, row.from, row.user)
    })
}

pub(super) fn hang_up(args: &HangupArgs) -> Exit {
    let call = args.call.to_string();
    let asked = gateway::ask(&args.config, PATH, async |gateway| {
        let answer = gateway.request(Method::DELETE, PATH).query(&[("call", &call)]).send().await?;
        Ok((answer.status().is_success(), answer.text().await?))
    });
    told(asked, args.json, "nothing is ended", |row: &EndingRow| {
        format!("call {} ends at both sides", row.call)
    })
}

/// Prints what the gateway answered, or why it did not do it.
fn told<T: serde::Serialize + serde::de::DeserializeOwned>(
    asked: Result<(bool, String), Exit>,
    json: bool,
    not_done: &str,
    sentence: impl FnOnce(&T) -> String,
) -> Exit {
    match asked {
        Ok((true, text)) => {
            match serde_json::from_str(&text) {
                Ok(row) => Form::of(json).print(&row, || sentence(&row)),
                Err(_) => say(text.trim_end()),
            }
            Exit::Done
        }
        Ok((false, text)) => {
            complain(format_args!("{not_done}: {}", text.trim_end()));
            Exit::Unavailable
        }
        Err(exit) => exit,
    }
}
