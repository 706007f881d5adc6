//! No phone number, name, token or key leaves unmasked: not in logs, not by `Debug`, not in a message.

use std::io;
use std::path::Path;

use cordboard::config::{Config, Surroundings};

use crate::sources::{Source, closing, find_word, line, sources};

/// The macros that write a log.
const LOGS: &[&str] = &[
    "trace!",
    "debug!",
    "info!",
    "warn!",
    "error!",
    "event!",
    "span!",
    "trace_span!",
    "debug_span!",
    "info_span!",
    "warn_span!",
    "error_span!",
];

/// What must not stand between their brackets: ways out of a mask, and texts that hold keys or numbers.
const UNMASKED: &[(&str, &str)] = &[
    (".expose()", "log the masked value itself: it prints covered"),
    (".digits()", "log the number itself: it prints covered"),
    ("to_number", "log the masked number"),
    ("password", "a password is never logged"),
    ("token", "a token is never logged"),
    ("ha1", "an HA1 is as good as a password"),
    ("secret", "a secret is never logged"),
    ("sdp", "SDP holds keys: log what was negotiated"),
    ("offer", "SDP holds keys: log what was negotiated"),
];

/// Who may take a value out from behind its mask, and what for. Everybody else passes it on covered.
const MAY_UNCOVER: &[(&str, &str)] = &[
    ("src/user.rs", "compares and prints covered"),
    ("src/whatsapp/", "writes Graph's JSON and reads the webhooks'"),
    ("src/sip/", "writes From, To and the Request-URI, and compares digests"),
    ("src/media/srtp.rs", "hands the keys to SRTP"),
    ("src/sdp/crypto.rs", "writes the keys into a session description"),
    ("src/media/dtls.rs", "takes the keys from DTLS"),
    ("src/policy/", "finds the country of a number"),
    ("src/billing/market.rs", "finds the market of a number"),
    ("src/dialplan.rs", "turns digits into users and users into callers"),
    ("src/config/", "checks the form of secrets and compares numbers"),
    ("src/io/store/", "writes records"),
    ("src/io/graph/", "puts the token into the request"),
    ("src/io/webhook/", "checks signatures"),
    ("src/io/cli/calls.rs", "shows numbers when asked with --unmasked"),
    ("src/io/", "hands settings to the modules and callers to SIP"),
    ("src/simulator/", "plays the users, with numbers that it makes up"),
];

/// What stands between the brackets of each log macro, with its place.
fn log_lines(source: &Source) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for name in LOGS {
        for at in find_word(&source.shipped, name) {
            let open = at + name.len();
            if source.shipped[open..].starts_with(['(', '{', '[']) {
                found.push((at, &source.shipped[open..closing(&source.shipped, open)]));
            }
        }
    }
    found
}

#[test]
fn log_macros_get_masked_values_only() {
    let mut findings = Vec::new();
    let mut seen = 0;
    for source in sources("src") {
        for (at, arguments) in log_lines(&source) {
            seen += 1;
            for (word, instead) in UNMASKED {
                if find_word(arguments, word).next().is_some() {
                    findings.push(format!(
                        "  {}:{}: `{word}`: {instead}",
                        source.path,
                        line(&source.shipped, at)
                    ));
                }
            }
        }
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
    assert!(seen > 0, "there are log lines, but this test finds none");
}

#[test]
fn masks_are_taken_off_only_where_the_table_says() {
    let mut findings = Vec::new();
    for source in sources("src") {
        if MAY_UNCOVER.iter().any(|(path, _)| source.path.starts_with(path)) {
            continue;
        }
        for word in [".expose()", ".digits()"] {
            let places = find_word(&source.shipped, word);
            findings
                .extend(places.map(|at| format!("  {}:{}: {word}", source.path, line(&source.shipped, at))));
        }
    }
    let remedy = "pass the value on covered, or add a row to MAY_UNCOVER in tests/it/privacy.rs";
    assert!(findings.is_empty(), "\n{}\n  -> {remedy}\n", findings.join("\n"));
}

/// A machine where every secret can be told from every other text.
struct Vault;

const SECRET: &str = "5ec3e75ec3e75ec3e75ec3e75ec3e75e";

impl Surroundings for Vault {
    fn read_file(&self, path: &Path) -> io::Result<String> {
        if path.ends_with("phone-1002") { Err(io::ErrorKind::NotFound.into()) } else { Ok(SECRET.to_owned()) }
    }

    fn permissions(&self, _: &Path) -> Option<u32> {
        Some(0o666)
    }

    fn variable(&self, _: &str) -> Option<String> {
        Some("/run/credentials".to_owned())
    }
}

const EXAMPLE: &str = include_str!("../../config/gateway.example.toml");

fn parse(text: &str) -> Result<Config, cordboard::config::ConfigFaults> {
    Config::parse(text, Path::new("/etc/cordboard/gateway.toml"), &Vault).0
}

#[test]
fn a_configuration_prints_without_its_secrets_and_numbers() {
    let config = parse(EXAMPLE).expect("good");
    assert_eq!(config.numbers[0].access_token.expose(), SECRET);
    let printed = format!("{config:?} {config:#?}");
    assert!(!printed.contains(SECRET) && !printed.contains("493055500010"), "{printed}");
}

#[test]
fn the_faults_of_a_configuration_repeat_no_secret() {
    // Wrong in every way in which a secret can be wrong, and in ways that make a message quote the value.
    let wrong = EXAMPLE
        .replace("ha1 = { credential = \"phone-1001\" }", "ha1 = { credential = \"phone-1002\" }")
        .replace("verify_token = { credential = \"verify-token\" }", &format!("verify_token = \"{SECRET}\""))
        .replace(
            "access_token = { credential = \"access-token\" }",
            &format!("access_token = {{ token = \"{SECRET}\" }}"),
        )
        .replace("[{ credential = \"app-secret\" }]", &format!("[\"{SECRET}\", 7]"));
    let faults = parse(&wrong).expect_err("four faults");
    assert!(faults.faults.len() >= 4, "{faults}");
    let printed = format!("{faults} {faults:?}");
    assert!(!printed.contains(SECRET), "{printed}");
    let warned = EXAMPLE.replace("{ credential = \"phone-1001\" }", "{ file = \"ha1\" }");
    let warnings = parse(&warned).expect("works").warnings;
    assert!(warnings.len() == 1 && !format!("{warnings:?}").contains(SECRET), "{warnings:?}");
}
