//! `cordboard token`: makes a bearer token for the API, and what the configuration keeps of it.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;

use super::{Exit, complain, say};
use crate::config::ApiScope;

/// Makes a token for the API and prints the lines for the configuration, which keeps only its SHA-256.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// Whose token it is; stands in the log beside what is done with it.
    #[arg(long)]
    name: String,
    /// What it is good for; may be given several times.
    #[arg(long = "scope", value_parser = scope, default_value = "calls:read")]
    scopes: Vec<ApiScope>,
}

fn scope(word: &str) -> Result<ApiScope, String> {
    ApiScope::ALL.iter().find(|(_, known)| *known == word).map(|(scope, _)| *scope).ok_or_else(|| {
        let known: Vec<&str> = ApiScope::ALL.iter().map(|(_, known)| *known).collect();
        format!("one of {}", known.join(", "))
    })
}

pub(super) fn token(args: &TokenArgs) -> Exit {
    let mut bytes = [0; 32];
    if let Err(error) = getrandom::fill(&mut bytes) {
        complain(format_args!("the kernel gave no random bytes: {error}"));
        return Exit::Unavailable;
    }
    let token = format!("cb_{}", URL_SAFE_NO_PAD.encode(bytes));
    let scopes: Vec<String> = args.scopes.iter().map(|it| format!("{:?}", it.as_str())).collect();
    say("[[api.token]]");
    say(format_args!("name = {:?}", args.name));
    say(format_args!("sha256 = \"{}\"", hex::encode(digest(&SHA256, token.as_bytes()))));
    say(format_args!("scopes = [{}]", scopes.join(", ")));
    complain(format_args!("# the token itself, shown this once: {token}"));
    Exit::Done
}
