//! Keeps the shape of the house. To change the shape, change a table here: that is the visible diff.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::sources::{Source, closing, files, find_word, line, root, sources};

const WORDS: &[&str] = &["id", "user", "masked", "time", "random"];

/// What each module may use beside itself and std. Words may be used by everything below them.
const MAY_USE: &[(&str, &[&str])] = &[
    // words: newtypes without logic
    ("id", &[]),
    ("masked", &[]),
    ("time", &[]),
    ("random", &[]),
    ("user", &["masked"]),
    // protocols: bytes and `now` in, values out
    ("rtp", &[]),
    ("codec", &["rtp"]),
    ("sdp", &["rtp", "codec"]),
    // which of several offers a place is sent
    ("sip", &["sdp"]),
    ("whatsapp", &[]),
    // domain: what the product decides; `call` and `media` meet in io::signalling only
    ("dialplan", &[]),
    ("policy", &["whatsapp"]),
    ("media", &["rtp", "codec", "sdp"]),
    ("call", &["whatsapp", "sip", "policy", "dialplan"]),
    ("billing", &["call"]),
    // surface: what an administrator writes and reads
    ("config", &["codec", "policy", "sip", "dialplan", "billing"]),
    ("metrics", &["call", "policy", "media", "config"]),
    // world: the only places that await; the simulator shares nothing that it is to test
    (
        "io",
        &[
            "rtp",
            "codec",
            "sdp",
            "sip",
            "whatsapp",
            "dialplan",
            "policy",
            "media",
            "call",
            "billing",
            "config",
            "metrics",
            "simulator",
        ],
    ),
    ("simulator", &["rtp", "codec", "sdp", "whatsapp"]),
    ("main", &["io"]),
];

/// The folders that await, own sockets and read clocks.
const WORLD: &[&str] = &["src/io/", "src/simulator/", "src/main.rs"];

/// What only they may say, and what the others do instead.
const WORLD_WORDS: &[(&str, &str)] = &[
    ("Instant::now", "take `now: Instant` or `Now` as an argument"),
    ("SystemTime::now", "take `now: Now` as an argument"),
    (".await", "return what is to be done and let src/io do it"),
    ("async", "return what is to be done and let src/io do it"),
    ("tokio", "return what is to be done and let src/io do it"),
    ("mio", "return what is to be done and let src/io do it"),
    ("Mutex", "give the state one owner"),
    ("RwLock", "give the state one owner"),
    ("thread::spawn", "return what is to be done and let src/io do it"),
    ("thread::Builder", "return what is to be done and let src/io do it"),
    ("thread::sleep", "return a timeout and let src/io wait for it"),
    ("UdpSocket", "take bytes and return bytes"),
    ("TcpStream", "take bytes and return bytes"),
    ("TcpListener", "take bytes and return bytes"),
    ("getrandom", "take a `Random` as an argument"),
    ("std::fs", "take the text as an argument"),
    ("std::env", "take the value as an argument"),
];

/// Who else may say one of them, and why.
const WORLD_EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("src/config/", "std::fs", "a configuration names files; they are read behind `Surroundings`"),
    ("src/config/", "std::env", "a configuration names variables; they are read behind `Surroundings`"),
];

/// Where each library is named. A second place is a decision: it goes into this table.
const NAMED_IN: &[(&str, &[&str])] = &[
    ("audio_codec", &["src/codec/g722.rs"]),
    ("aws_lc_rs", &["src/sip/digest.rs", "src/media/dtls.rs", "src/whatsapp/", "src/io/", "src/simulator/"]),
    (
        "axum",
        &[
            "src/io/admin.rs",
            "src/io/bans.rs",
            "src/io/phones.rs",
            "src/io/webhook/",
            "src/io/voicemail/",
            "src/simulator/",
            "src/io/api/",
            "src/io/desk.rs",
        ],
    ),
    ("axum_server", &["src/io/webhook/", "src/io/listeners.rs"]),
    (
        "base64",
        &[
            "src/sdp/crypto.rs",
            "src/whatsapp/sound.rs",
            "src/media/",
            "src/io/api/",
            "src/io/cli/token.rs",
            "src/simulator/",
        ],
    ),
    ("bytes", &["src/media/", "src/io/", "src/simulator/"]),
    ("clap", &["src/io/cli/", "src/simulator/cli.rs"]),
    ("dimpl", &["src/media/dtls.rs"]),
    ("futures_util", &["src/io/sip/websocket.rs", "src/io/api/events.rs", "src/io/api/records.rs"]),
    ("getrandom", &["src/io/", "src/simulator/"]),
    ("hex", &["src/"]),
    ("hickory_resolver", &["src/io/dns.rs"]),
    (
        "hound",
        &[
            "src/simulator/",
            "src/io/cli/codec_chain.rs",
            "src/io/cli/pipe_chain.rs",
            "src/io/recording/",
            "src/io/sounds.rs",
        ],
    ),
    (
        "ipnet",
        &[
            "src/io/sip/door.rs",
            "src/sip/defence/",
            "src/sip/trunk/mod.rs",
            "src/config/setting.rs",
            "src/config/trunk.rs",
        ],
    ),
    ("is", &["src/media/ice.rs"]),
    ("jiff", &["src/billing/", "src/policy/hours.rs", "src/config/", "src/io/graph/inspect.rs"]),
    ("libc", &["src/io/"]),
    ("md5", &["src/sip/digest.rs"]),
    ("memchr", &["src/sip/message/"]),
    ("mio", &["src/io/media/", "src/simulator/"]),
    ("ogg", &["src/io/recording/", "src/io/sounds.rs"]),
    ("opus", &["src/codec/opus.rs", "src/codec/archive.rs", "src/simulator/voice.rs"]),
    ("prometheus_client", &["src/metrics/mod.rs"]),
    ("rand_chacha", &["src/random.rs"]),
    ("regex_lite", &["src/sip/trunk/numbers.rs"]),
    (
        "reqwest",
        &[
            "src/io/graph/",
            "src/io/doctor/",
            "src/io/cli/gateway.rs",
            "src/io/cli/bans.rs",
            "src/io/cli/calling.rs",
            "src/io/cli/phone.rs",
            "src/simulator/",
            "src/io/api/hooks.rs",
            "src/io/cli/dnd.rs",
            "src/io/cli/missed.rs",
            "src/io/cli/voicemail.rs",
        ],
    ),
    ("rtc_dtls", &["src/simulator/"]),
    ("rtc_rtcp", &["src/rtp/rtcp.rs", "src/rtp/xr.rs", "src/simulator/"]),
    ("rtc_srtp", &["src/media/srtp.rs", "src/simulator/"]),
    ("rtc_stun", &["src/simulator/"]),
    ("rtrb", &["src/media/tap.rs"]),
    ("rustls", &["src/io/", "src/simulator/"]),
    ("rustls_native_certs", &["src/io/tls.rs"]),
    ("sd_notify", &["src/io/systemd.rs"]),
    ("serde", &["src/"]),
    ("serde_json", &["src/"]),
    ("slab", &["src/io/media/"]),
    ("socket2", &["src/io/", "src/simulator/"]),
    ("sqlx", &["src/io/store/"]),
    (
        "subtle",
        &[
            "src/sip/digest.rs",
            "src/media/dtls.rs",
            "src/whatsapp/",
            "src/io/webhook/",
            "src/io/api/token.rs",
        ],
    ),
    ("thiserror", &["src/"]),
    ("tokio", &["src/io/", "src/simulator/"]),
    ("tokio_rustls", &["src/io/sip/"]),
    ("tokio_tungstenite", &["src/io/sip/"]),
    ("toml", &["src/config/"]),
    ("tracing", &["src/"]),
    ("tracing_appender", &["src/io/log.rs"]),
    ("tracing_subscriber", &["src/io/log.rs", "src/simulator/"]),
    ("utoipa", &["src/io/api/", "src/io/bans.rs", "src/io/gateway_state.rs", "src/io/rules_state.rs"]),
    ("utoipa_axum", &["src/io/api/mod.rs"]),
    ("x509_parser", &["src/io/certificates.rs", "src/io/doctor/webhook.rs"]),
    ("zeroize", &["src/masked.rs", "src/io/cli/password.rs"]),
];

/// What may stand at the top of the repository.
const TOP: &[&str] = &[
    ".ci",
    ".clippy.toml",
    ".config",
    ".git",
    ".gitignore",
    ".rustfmt.toml",
    ".tools",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "benches",
    "config",
    "out",
    "scripts",
    "src",
    "systemd",
    "target",
    "tests",
];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 80;

/// Fails with every finding at once.
fn none(findings: &[String], what_to_do: &str) {
    let mut text = String::new();
    for finding in findings {
        let _ = writeln!(text, "  {finding}");
    }
    assert!(findings.is_empty(), "\n{text}  -> {what_to_do}\n");
}

fn may_use(module: &str) -> Option<BTreeSet<&'static str>> {
    let (_, listed) = MAY_USE.iter().find(|(name, _)| *name == module)?;
    let words = if WORDS.contains(&module) { &[][..] } else { WORDS };
    Some(listed.iter().chain(words).copied().collect())
}

/// `crate::{module}` as far as it can be seen in the text.
fn used_modules(source: &Source) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for prefix in ["crate::", "cordboard::"] {
        for at in find_word(&source.shipped, prefix) {
            let rest = &source.shipped[at + prefix.len()..];
            let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if name.is_empty() && rest.starts_with('{') {
                let end = closing(rest, 0);
                let group = rest[1..end.saturating_sub(1)].split(',');
                let first =
                    |it: &str| it.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                used.extend(
                    group.map(|it| (at, first(it))).filter(|(_, it): &(usize, String)| !it.is_empty()),
                );
            } else {
                used.push((at, name));
            }
        }
    }
    used
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let mut findings = Vec::new();
    for source in sources("src") {
        let module = source.module();
        if module == "lib" {
            continue;
        }
        let Some(allowed) = may_use(module) else {
            findings.push(format!("{}: the module `{module}` has no row", source.path));
            continue;
        };
        let known = |name: &str| MAY_USE.iter().any(|(it, _)| *it == name);
        for (at, used) in used_modules(&source) {
            if used != module && known(&used) && !allowed.contains(used.as_str()) {
                findings.push(format!(
                    "{}:{}: `{module}` uses `{used}`",
                    source.path,
                    line(&source.shipped, at)
                ));
            }
        }
    }
    none(&findings, "pass a value instead, or change MAY_USE in tests/it/tidy.rs and the map in src/lib.rs");
}

#[test]
fn only_the_world_awaits_locks_reads_clocks_and_owns_sockets() {
    let mut findings = Vec::new();
    for source in sources("src") {
        if WORLD.iter().any(|it| source.path.starts_with(it)) {
            continue;
        }
        for (word, instead) in WORLD_WORDS {
            let excepted = |(path, of, _): &(&str, &str, &str)| source.path.starts_with(path) && of == word;
            if WORLD_EXCEPTIONS.iter().any(excepted) {
                continue;
            }
            for at in find_word(&source.shipped, word) {
                findings.push(format!("{}:{}: `{word}`: {instead}", source.path, line(&source.shipped, at)));
            }
        }
    }
    none(&findings, "see the first invariant of the architecture; the core is fed, it does not fetch");
}

#[test]
fn each_library_is_named_where_the_table_says() {
    let mut findings = Vec::new();
    for source in sources("src") {
        for (library, places) in NAMED_IN {
            if places.iter().any(|it| source.path.starts_with(it)) {
                continue;
            }
            let path = format!("{library}::");
            let foreign =
                |at: &usize| !source.shipped[..*at].ends_with("::") && !source.shipped[..*at].ends_with('.');
            let local = |at: usize| {
                // `opus::Encoder` of a `mod opus` or `use` in the same file is ours.
                let own =
                    [format!("mod {library};"), format!("super::{library}"), format!("self::{library}")];
                at > 0 && own.iter().any(|it| source.shipped.contains(it.as_str()))
            };
            for at in find_word(&source.shipped, &path).filter(foreign).filter(|at| !local(*at)) {
                findings.push(format!("{}:{}: names `{library}`", source.path, line(&source.shipped, at)));
            }
        }
    }
    none(&findings, "use what wraps the library, or add the place to NAMED_IN in tests/it/tidy.rs");
}

#[test]
fn every_dependency_has_a_row_and_every_row_a_dependency() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a package");
    let manifest: toml::Table = manifest.parse().expect("TOML");
    let dependencies = manifest["dependencies"].as_table().expect("there are some");
    let named = |package: &str| if package == "md-5" { "md5".to_owned() } else { package.replace('-', "_") };
    let wanted: BTreeSet<String> = dependencies.keys().map(|it| named(it)).collect();
    let listed: BTreeSet<String> = NAMED_IN.iter().map(|(library, _)| (*library).to_owned()).collect();
    let difference: Vec<String> = wanted.symmetric_difference(&listed).cloned().collect();
    none(&difference, "Cargo.toml and NAMED_IN in tests/it/tidy.rs should name the same libraries");
}

#[test]
fn files_are_short() {
    let long = |source: &Source| {
        let lines = source.text.lines().count();
        (lines > FILE_LINES).then(|| format!("{}: {lines} lines", source.path))
    };
    let findings: Vec<String> =
        [sources("src"), sources("tests")].iter().flatten().filter_map(long).collect();
    none(&findings, &format!("split by nouns: {FILE_LINES} lines are the most"));
}

/// Name, first line and number of lines of each function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in find_word(code, "fn") {
        let name: String =
            code[at + 2..].trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if name.is_empty() {
            continue;
        }
        // The body begins at the first brace outside of the arguments; `[u8; 4]` is inside some.
        let mut from = at;
        let open = loop {
            let Some(next) = code[from..].find(['(', '[', '{', ';']).map(|it| from + it) else { break None };
            match code.as_bytes()[next] {
                b'{' => break Some(next),
                b';' => break None,
                _ => from = closing(code, next),
            }
        };
        if let Some(open) = open {
            let first = line(code, at);
            found.push((name, first, line(code, closing(code, open) - 1) - first + 1));
        }
    }
    found
}

#[test]
fn functions_are_short() {
    let mut findings = Vec::new();
    for source in [sources("src"), sources("tests")].iter().flatten() {
        for (name, first, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES {
                findings.push(format!("{}:{first}: fn {name} has {lines} lines", source.path));
            }
        }
    }
    none(&findings, &format!("give a part of it a name: {FUNCTION_LINES} lines are the most"));
}

#[test]
fn functions_are_measured_from_name_to_closing_brace() {
    let code = "trait T {\n fn a(x: [u8; 2]);\n}\nfn b<T>(f: impl Fn() -> u8)\nwhere\n T: Sized,\n{\n let c = || {};\n}\n";
    assert_eq!(functions(code), [("b".to_owned(), 4, 6)]);
}

#[test]
fn every_file_begins_by_saying_what_it_is() {
    // The tests of a module stand in its shadow: it says what it is for them.
    let own = |it: &Source| !it.shipped.trim().is_empty() && !it.text.starts_with("//! ");
    let mute = sources("src").into_iter().chain(sources("tests")).filter(own);
    let findings: Vec<String> = mute.map(|it| it.path).collect();
    none(&findings, "begin with one line `//! What this file is.`");
}

#[test]
fn names_say_what_a_thing_is() {
    let vague = ["Manager", "Service", "Handler", "Helper", "Util"];
    let mut findings = Vec::new();
    for source in sources("src") {
        for keyword in ["struct", "enum", "trait", "mod", "type"] {
            for at in find_word(&source.code, keyword) {
                let rest = source.code[at + keyword.len()..].trim_start();
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                let lower = name.to_ascii_lowercase();
                let parts: Vec<&str> = lower.split('_').collect();
                let is_vague = |word: &&str| {
                    let small = word.to_ascii_lowercase();
                    name.contains(*word) || parts.iter().any(|it| *it == small || *it == format!("{small}s"))
                };
                if let Some(word) = vague.iter().find(|it| is_vague(it)) {
                    findings.push(format!("{}:{}: `{name}`: {word}", source.path, line(&source.code, at)));
                }
            }
        }
    }
    none(&findings, "name the thing after what it is in the domain");
}

#[test]
fn the_top_of_the_repository_stays_small() {
    let entries = fs::read_dir(root()).expect("the root").map(|it| it.expect("an entry").file_name());
    let names = entries.map(|it| it.into_string().expect("plain names"));
    let findings: Vec<String> = names.filter(|it| !TOP.contains(&it.as_str())).collect();
    none(&findings, "put it into one of the folders, or add it to TOP in tests/it/tidy.rs");
}

#[test]
fn every_script_says_what_it_is_for_and_can_be_run() {
    let mut findings = Vec::new();
    let scripts = files("scripts").into_iter().chain(files(".ci"));
    for path in scripts {
        let text = fs::read_to_string(root().join(&path)).expect("UTF-8");
        let mut lines = text.lines();
        let command = text.starts_with("#!");
        let first = if command { lines.nth(1) } else { lines.next() }.unwrap_or_default();
        let says = |mark: &str| first.strip_prefix(mark).is_some_and(|it| it.trim().len() >= 20);
        if !["# ", "\"\"\"", "// "].into_iter().any(says) {
            findings.push(format!("{path}: begin with one line that says what it is for"));
        }
        let mode = fs::metadata(root().join(&path)).expect("there").permissions().mode();
        if command && mode & 0o111 == 0 {
            findings.push(format!("{path}: chmod +x"));
        }
        if command
            && text.lines().next().is_some_and(|it| it.ends_with("bash"))
            && !text.contains("set -euo pipefail")
        {
            findings.push(format!("{path}: set -euo pipefail"));
        }
    }
    none(&findings, "a script is read before it is run");
}

#[test]
fn nothing_knows_the_machine_it_was_written_on() {
    // In two halves, so that this file does not find itself.
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ro", "ot/"),
        concat!("/tmp", "/cb"),
        concat!(".cargo/", "registry"),
    ];
    let mut findings = Vec::new();
    let folders = ["src", "tests", "benches", "scripts", "config", "systemd", ".ci", ".config"];
    let top = ["README.md", "CHANGELOG.md", "Cargo.toml", ".gitignore"].map(str::to_owned);
    for path in folders.iter().flat_map(|it| files(it)).chain(top) {
        // Sound and other bytes name no machine.
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for place in places {
            findings.extend(
                text.match_indices(place).map(|(at, _)| format!("{path}:{}: {place}", line(&text, at))),
            );
        }
    }
    none(&findings, "use a path inside the repository or a temporary folder");
}
