//! The configuration: the example shows what the code knows, and every mistake is named at once.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use cordboard::codec::{AudioCodec, Bandwidth, Redundancy};
use cordboard::config::{Config, ConfigFaults, KeyUse, Records, Surroundings};
use cordboard::sip::trunk::NumberOf;

const EXAMPLE: &str = include_str!("../../config/gateway.example.toml");

/// A machine that has every secret the example names, and no other file.
struct Desk;

const HA1: &str = "b7fbb1bd3c1eab0e9b5ee2e6d8fdd0a4";

impl Surroundings for Desk {
    fn read_file(&self, path: &Path) -> io::Result<String> {
        match path.to_str() {
            Some("/run/credentials/phone-1001" | "/etc/cordboard/ha1" | "/etc/cordboard/open") => {
                Ok(format!("{HA1}\n"))
            }
            Some("/etc/cordboard/secrets/trunk-pbx" | "/etc/cordboard/secrets/hook-crm") => {
                Ok("pa55\n".to_owned())
            }
            Some("/etc/cordboard/empty") => Ok("\n".to_owned()),
            Some("/etc/cordboard/rates.toml") => Ok(include_str!("../../config/rates.toml").to_owned()),
            Some(path) if path.ends_with(".pem") => Ok("-----BEGIN CERTIFICATE-----".to_owned()),
            Some(path) if path.starts_with("/run/credentials/") => Ok("swordfish".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn permissions(&self, path: &Path) -> Option<u32> {
        Some(if path.ends_with("open") { 0o644 } else { 0o600 })
    }

    fn variable(&self, name: &str) -> Option<String> {
        (name == "CREDENTIALS_DIRECTORY").then(|| "/run/credentials".to_owned())
    }
}

fn parse(text: &str) -> (Result<Config, ConfigFaults>, Vec<KeyUse>) {
    Config::parse(text, Path::new("/etc/cordboard/gateway.toml"), &Desk)
}

/// The example with `from` replaced by `to`; the test is wrong if `from` is not there.
fn edited(edits: &[(&str, &str)]) -> String {
    edits.iter().fold(EXAMPLE.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "the example has no {from:?}");
        text.replacen(from, to, 1)
    })
}

/// Reads an example with one edit and returns its only fault.
fn only_fault(from: &str, to: &str) -> (Option<usize>, String) {
    let text = edited(&[(from, to)]);
    let faults = parse(&text).0.expect_err("a fault").faults;
    assert_eq!(faults.len(), 1, "{from:?} -> {to:?}: {faults:#?}");
    (faults[0].line, format!("{}: {} | {}", faults[0].key, faults[0].problem, faults[0].remedy))
}

/// The line of the example in which `text` stands.
fn line_of(text: &str) -> Option<usize> {
    EXAMPLE.lines().position(|line| line.contains(text)).map(|at| at + 1)
}

/// The example with its commented keys and sections switched on; `ring` stands empty beside the steps.
fn everything_written() -> String {
    let switched = |line: &str| {
        if line.starts_with("ring = [") {
            return Some("ring = []".to_owned());
        }
        let key = line.strip_prefix('#')?;
        (key.starts_with(|c: char| c.is_ascii_lowercase()) || key.starts_with('[')).then(|| key.to_owned())
    };
    EXAMPLE.lines().map(|line| switched(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn the_example_is_accepted_as_it_is_and_warns_of_nothing() {
    let config = parse(EXAMPLE).0.expect("the example is good");
    assert_eq!(config.warnings, []);
    assert_eq!((config.phones.len(), config.trunks.len(), config.numbers.len()), (1, 1, 1));
}

#[test]
fn the_example_shows_every_key_of_the_code() {
    let text = everything_written();
    let (config, keys) = parse(&text);
    assert!(config.is_ok(), "{}", config.expect_err("faults"));
    let missing: Vec<&str> = keys.iter().filter(|it| it.line.is_none()).map(|it| it.key.as_str()).collect();
    assert_eq!(missing, Vec::<&str>::new(), "add these to config/gateway.example.toml with one line why");
}

#[test]
fn the_example_shows_the_defaults_of_the_code() {
    let (_, keys) = parse(EXAMPLE);
    // These two must differ: without a target there is nothing to show.
    let shown_otherwise =
        ["trunk[1].voip_only", "number[1].ring", "number[1].dial.phones", "number[1].dial.trunks"];
    let differing: BTreeMap<_, _> = keys
        .iter()
        .filter(|it| {
            it.default.is_some() && it.value != it.default && !shown_otherwise.contains(&it.key.as_str())
        })
        .map(|it| (&it.key, (&it.value, &it.default)))
        .collect();
    assert!(differing.is_empty(), "(in the example, in the code): {differing:#?}");
}

#[test]
fn every_key_of_the_example_says_why() {
    let mut above = "";
    let mut silent = Vec::new();
    for line in EXAMPLE.lines() {
        let is_key = line.trim_start_matches('#').split_once(" = ").is_some_and(|(key, _)| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        });
        if is_key && !above.starts_with('#') && !above.contains(" = ") && !above.starts_with("[[") {
            silent.push(line);
        }
        above = line;
    }
    assert_eq!(silent, Vec::<&str>::new());
}

#[test]
fn defaults_hold_where_the_file_is_silent() {
    let text = r#"
        [webhook]
        verify_token = { credential = "verify-token" }
        app_secrets = [{ credential = "app-secret" }]
        [sip]
        listen = "127.0.0.1:5060"
        [media.outside]
        bind = "127.0.0.1"
        [media.inside]
        bind = "127.0.0.2"
        [[number]]
        label = "support"
        phone_number_id = "108911223344556"
        display_number = "+493055500010"
        access_token = { credential = "access-token" }
    "#;
    let config = parse(text).0.expect("the smallest file");
    assert_eq!(config.sip.udp[0].advertised.to_string(), "127.0.0.1:5060");
    assert!(config.sip.streams.is_empty() && config.sip.tls.is_none());
    assert_eq!(config.sip.domain, "127.0.0.1");
    assert_eq!(config.media.outside.advertised, [config.media.outside.bind]);
    assert_eq!(config.numbers[0].cap_per_number, config.numbers[0].cap_per_pair);
    assert!(config.numbers[0].cap_per_number.enabled && config.numbers[0].cap_per_number.max == 100);
    assert_eq!(config.warnings.len(), 1, "an empty ring list is worth a word: {:?}", config.warnings);
}

#[test]
fn every_fault_of_a_file_is_reported_in_one_go_and_in_its_order() {
    let text = edited(&[
        ("synchronous = \"full\"", "synchronous = \"sometimes\""),
        ("path = \"/webhook\"", "pth = \"/webhook\""),
        ("timeout = \"10s\"", "timeout = 10"),
        ("ports = \"41000-42999\"", "ports = \"40500-42999\""),
        ("\nring = [\"phone:1001\", \"trunk:pbx/200\"]", "\nring = [\"phone:1001\", \"trunk:pxb/200\"]"),
        ("phones = [\"1001\"]", "phones = [\"1002\"]"),
    ]);
    let faults = parse(&text).0.expect_err("faults").faults;
    let keys: Vec<&str> = faults.iter().map(|it| it.key.as_str()).collect();
    let expected = [
        "store.synchronous",
        "webhook.pth",
        "graph.timeout",
        "media.inside.ports",
        "number[1].ring",
        "number[1].dial.phones",
    ];
    assert_eq!(keys, expected, "{faults:#?}");
    assert!(faults.iter().all(|it| it.line.is_some() && !it.remedy.is_empty()), "{faults:#?}");
}

#[test]
fn an_unknown_key_is_told_what_it_may_have_meant() {
    let (line, said) = only_fault("nonce_life", "nonce_live");
    assert_eq!(line, line_of("nonce_life"));
    assert_eq!(said, "sip.nonce_live: there is no such key | did you mean nonce_life?");
    let (_, said) = only_fault("[log]", "[log]\ncolour = true");
    assert_eq!(said, "log.colour: there is no such key | remove it; here stand: level, format");
    let (_, said) = only_fault("max = 100", "max = 100, per = 5");
    assert!(said.starts_with("number[1].cap_per_number.per: there is no such key"), "{said}");
}

#[test]
fn a_wrong_type_or_value_is_quoted_with_what_to_write() {
    let (line, said) = only_fault("listen = \"0.0.0.0:5060\"", "listen = 5060");
    assert_eq!(line, line_of("listen = \"0.0.0.0:5060\""));
    assert_eq!(
        said,
        "sip.listen: 5060 is not an IP address with a port, or a list of them | listen = \"0.0.0.0:5060\""
    );
    let (_, said) = only_fault("accept_window = \"25s\"", "accept_window = \"2m\"");
    let told = "calls.accept_window: \"2m\" is outside \"5s\" to \"55s\": Meta gives a call up 30 to 60 s after its \
                webhook | accept_window = \"55s\"  (the most that is allowed)";
    assert_eq!(said, told);
    let (_, said) = only_fault("\nring = [\"phone:1001\"", "\nring = [\"1001\"");
    assert!(
        said.contains("item 1, \"1001\", is not \"phone:NAME\", \"trunk:NAME/NUMBER\" or \"group:NAME\""),
        "{said}"
    );
    let (_, said) = only_fault("max_concurrent = 1000", "max_concurrent = \"many\"");
    assert!(said.contains("\"many\" is not a whole number | max_concurrent = 1000"), "{said}");
}

#[test]
fn codecs_are_known_stand_once_and_at_least_one_is_left() {
    let written = "codecs = [\"opus\", \"g722\", \"pcmu\", \"pcma\"]";
    let config = parse(&edited(&[(written, "codecs = [\"pcma\", \"g722\"]")])).0.expect("two are enough");
    assert_eq!(config.media.codecs, [AudioCodec::Pcma, AudioCodec::G722]);
    let (line, said) = only_fault(written, "codecs = [\"g729\"]");
    assert_eq!(line, line_of(written));
    assert!(said.contains("item 1, \"g729\", is not \"opus\", \"g722\", \"pcmu\" or \"pcma\""), "{said}");
    let (_, said) = only_fault(written, "codecs = [\"pcmu\", \"pcmu\"]");
    assert_eq!(said, format!("media.codecs: \"pcmu\" stands twice | {written}"));
    let (_, said) = only_fault(written, "codecs = []");
    assert!(said.starts_with("media.codecs: must not be empty: no phone could talk"), "{said}");
}

#[test]
fn the_encoders_settings_are_read_and_kept_within_what_libopus_takes() {
    let text = edited(&[
        ("complexity = 5", "complexity = 3"),
        ("redundancy = true", "redundancy = false"),
        ("bandwidth = \"wide\"", "bandwidth = \"medium\""),
    ]);
    let opus = parse(&text).0.expect("good").media.opus;
    assert_eq!((opus.complexity, opus.redundancy, opus.bandwidth), (3, Redundancy::Off, Bandwidth::Medium));
    let (_, said) = only_fault("complexity = 5", "complexity = 11");
    assert_eq!(
        said,
        "media.opus.complexity: 11 is outside 0 to 10: libopus knows no other | \
         complexity = 10  (the most that is allowed)"
    );
}

#[test]
fn a_missing_key_names_its_section() {
    let (_, said) = only_fault("label = \"support\"\n", "");
    assert_eq!(said, "number[1].label: is missing and has no default | in [[number]]: label = \"support\"");
    let (_, said) = only_fault("advertised = \"192.168.1.10:5060\"\n", "");
    assert!(
        said.starts_with("sip.advertised: must be there, because 0.0.0.0:5060 names no address"),
        "{said}"
    );
    let (_, said) = only_fault("advertised = [\"203.0.113.10\"]\n", "");
    assert!(said.contains("media.outside.advertised: is missing"), "{said}");
}

#[test]
fn a_file_that_is_no_toml_names_its_lines_only() {
    let text = edited(&[("listen = \"127.0.0.1:9780\"", "listen = 127.0.0.1:9780")]);
    let faults = parse(&text).0.expect_err("syntax").faults;
    assert_eq!(faults[0].line, line_of("listen = \"127.0.0.1:9780\""));
    assert!(faults.iter().all(|it| it.key == "syntax"), "no guesses behind a syntax error: {faults:#?}");
}

#[test]
fn a_secret_in_plain_text_is_refused_and_not_repeated() {
    let text =
        edited(&[("access_token = { credential = \"access-token\" }", "access_token = \"EAAGm0PX4ZCpsBA\"")]);
    let error = parse(&text).0.expect_err("plain text");
    assert_eq!(error.faults.len(), 1);
    assert_eq!(error.faults[0].problem, "a secret must not stand in this file in plain text");
    assert!(!error.to_string().contains("EAAG") && !format!("{error:?}").contains("EAAG"));
    assert!(
        error.faults[0].remedy.contains("access_token = { file = \"/etc/cordboard/secrets/access-token\" }")
    );
}

#[test]
fn a_secret_that_is_not_there_says_where_it_was_looked_for() {
    let from = "ha1 = { credential = \"phone-1001\" }";
    let (_, said) = only_fault(from, "ha1 = { file = \"nowhere\" }");
    assert!(
        said.contains("the secret's file /etc/cordboard/nowhere cannot be read: it does not exist"),
        "{said}"
    );
    let (_, said) = only_fault(from, "ha1 = { file = \"empty\" }");
    assert!(said.contains("the secret's file /etc/cordboard/empty is empty"), "{said}");
    let (_, said) = only_fault(from, "ha1 = { env = \"NO_SUCH\" }");
    assert!(said.contains("the environment variable NO_SUCH is not set"), "{said}");
    let (_, said) = only_fault(from, "ha1 = { file = \"ha1\", env = \"B\" }");
    assert!(said.contains("exactly one of file, env or credential"), "{said}");
    let (_, said) = only_fault(from, "ha1 = { password = \"s3cret\" }");
    assert!(said.contains("exactly one of") && !said.contains("s3cret"), "{said}");
}

#[test]
fn a_secret_that_everybody_can_read_is_worth_a_warning() {
    let text = edited(&[("ha1 = { credential = \"phone-1001\" }", "ha1 = { file = \"open\" }")]);
    let warnings = parse(&text).0.expect("works").warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!(
        (warnings[0].key.as_str(), warnings[0].remedy.as_str()),
        ("phone[1].ha1", "chmod 600 /etc/cordboard/open")
    );
}

#[test]
fn an_ha1_of_the_wrong_length_names_the_command_that_makes_one() {
    let (_, said) = only_fault("algorithm = \"md5\"", "algorithm = \"sha-256\"");
    assert!(said.contains("64 digits of 0-9 and a-f"), "{said}");
    assert!(said.contains("cordboard password --algorithm sha-256 --user 1001"), "{said}");
    assert!(!said.contains(HA1));
}

#[test]
fn a_trunk_that_may_reach_the_telephone_network_carries_no_whatsapp_call() {
    let text = edited(&[("voip_only = true", "")]);
    let faults = parse(&text).0.expect_err("PSTN").faults;
    let keys: Vec<&str> = faults.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, ["number[1].ring", "number[1].dial.trunks"]);
    assert!(
        faults.iter().all(|it| it.problem.contains("voip_only") && it.remedy.contains("voip_only = true"))
    );
}

#[test]
fn names_numbers_and_prefixes_stand_once() {
    let twice = "[[phone]]\nname = \"1001\"\nha1 = { credential = \"phone-1001\" }\n[[trunk]]";
    let (_, said) = only_fault("[[trunk]]", twice);
    assert!(said.starts_with("phone[2].name: \"1001\" is already the name of phone[1].name"), "{said}");
    let second = "\n[[number]]\nlabel = \"sales\"\nphone_number_id = \"208911223344556\"\ndisplay_number = \"493055500020\"\n\
                  access_token = { credential = \"sales-token\" }\nring = [\"phone:1001\"]\n";
    let with = |dial: &str| format!("{EXAMPLE}{second}{dial}");
    assert!(parse(&with("dial = { prefix = \"7\", phones = [\"1001\"] }")).0.is_ok());
    assert!(
        parse(&with("dial = { prefix = \"80\", phones = [\"1001\"] }")).0.is_ok(),
        "no country code begins with 0"
    );
    for prefix in ["8", "81", ""] {
        let faults = parse(&with(&format!("dial = {{ prefix = \"{prefix}\", phones = [\"1001\"] }}")))
            .0
            .expect_err("clash");
        assert_eq!(faults.faults.len(), 1, "{prefix:?}");
        assert!(faults.faults[0].problem.starts_with("phone 1001 cannot tell this prefix"), "{faults}");
    }
    let same_label = with("").replace("label = \"sales\"", "label = \"support\"");
    assert!(
        parse(&same_label).0.expect_err("label").to_string().contains("already the label of number[1].label")
    );
}

#[test]
fn sockets_keep_out_of_each_others_way() {
    let (_, said) = only_fault("listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1:9780\"");
    assert!(said.starts_with("webhook.listen: 127.0.0.1:9780 is already taken by admin.listen"), "{said}");
    let (_, said) = only_fault("ports = \"40000-40999\"", "ports = \"5000-5999\"");
    assert!(
        said.starts_with("media.outside.ports: the ports 5000-5999 hold the SIP port, 0.0.0.0:5060"),
        "{said}"
    );
    let apart = edited(&[
        ("bind = \"0.0.0.0\"", "bind = \"203.0.113.10\""),
        ("bind = \"0.0.0.0\"", "bind = \"192.168.1.10\""),
        ("ports = \"41000-42999\"", "ports = \"40000-40999\""),
    ]);
    assert!(parse(&apart).0.is_ok(), "the same ports on two addresses do not meet");
}

#[test]
fn the_report_reads_like_a_letter() {
    let text = edited(&[
        ("trunk_no_answer = \"2s\"", "trunk_no_answer = \"2\""),
        ("[log]", "[log]\nlevle = \"info\""),
    ]);
    let report = parse(&text).0.expect_err("two").to_string();
    let line = line_of("trunk_no_answer").expect("there");
    let log = line_of("[log]").expect("there") + 1;
    let expected = format!(
        "/etc/cordboard/gateway.toml: 2 things to mend\n\n\
         error: line {line}: sip.trunk_no_answer\n    \"2\" is not a time with its unit: ms, s, m, h or d\n    \
         -> trunk_no_answer = \"2s\"\n\n\
         error: line {log}: log.levle\n    there is no such key\n    -> did you mean level?"
    );
    assert_eq!(report, expected);
}

#[test]
fn the_store_is_found_without_the_secrets() {
    // `cordboard calls` runs in the administrator's shell, where systemd's credentials are not.
    struct Shell;
    impl Surroundings for Shell {
        fn read_file(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::PermissionDenied.into())
        }
        fn permissions(&self, _: &Path) -> Option<u32> {
            None
        }
        fn variable(&self, _: &str) -> Option<String> {
            None
        }
    }
    let path = Path::new("/etc/cordboard/gateway.toml");
    let records = Records::parse(EXAMPLE, path, &Shell).expect("no secret is needed");
    assert_eq!(records.store.path, Path::new("/var/lib/cordboard/cordboard.db"));
    assert_eq!(records.numbers, [("support".into(), "108911223344556".into())]);
    let broken =
        edited(&[("synchronous = \"full\"", "synchronous = 1"), ("label = \"support\"", "label = 1")]);
    let faults = Records::parse(&broken, path, &Shell).expect_err("these are needed").faults;
    assert_eq!(
        faults.iter().map(|it| it.key.as_str()).collect::<Vec<_>>(),
        ["store.synchronous", "number[1].label"]
    );
}

#[test]
fn a_trunk_has_servers_a_login_a_registration_and_limits_and_each_mistake_is_named() {
    let config = parse(&everything_written()).0.expect("good");
    let trunk = &config.trunks[0];
    let servers: Vec<_> = trunk.servers.iter().map(|it| (it.priority, it.weight)).collect();
    assert_eq!(servers, [(10, 100), (20, 100)]);
    assert_eq!(trunk.login.as_ref().map(|it| it.password.expose().as_str()), Some("pa55"));
    assert_eq!(trunk.register.as_ref().map(|it| it.user.as_str()), Some("acme"));
    assert_eq!((trunk.max_calls, trunk.max_calls_per_second), (Some(30), Some(10)));
    let at = "[[trunk]]\n";
    let (_, said) = only_fault(at, "[[trunk]]\nregister = { expires = \"10m\" }\n");
    assert!(said.starts_with("trunk[1].register.user: must be there"), "{said}");
    let (_, said) = only_fault(at, "[[trunk]]\nregister = { user = \"a\", expires = \"5s\" }\n");
    assert!(said.starts_with("trunk[1].register.expires: \"5s\" is outside"), "{said}");
    let (_, said) = only_fault(at, "[[trunk]]\nmax_calls = 0\n");
    assert!(said.starts_with("trunk[1].max_calls: no call would ever pass"), "{said}");
    let (_, said) = only_fault(at, "[[trunk]]\nservers = [{ address = \"192.168.1.20:5060\" }]\n");
    assert!(said.starts_with("trunk[1].servers: 192.168.1.20:5060 stands twice"), "{said}");
    let (_, said) =
        only_fault(at, "[[trunk]]\nservers = [{ address = \"192.168.1.21:5060\", weigth = 1 }]\n");
    assert!(said.contains("trunk[1].servers[1].weigth") && said.contains("did you mean weight?"), "{said}");
}

#[test]
fn a_trunk_says_how_it_writes_numbers_and_callers_and_each_mistake_is_named() {
    let config = parse(&everything_written()).0.expect("good");
    let numbers = &config.trunks[0].numbers;
    assert_eq!((numbers.country.as_deref(), numbers.rules.len()), (Some("49"), 2));
    assert_eq!(numbers.inward(NumberOf::Called, "7200"), "200");
    let rule = "[trunk.numbers]\nrules = [{ way = \"out\", of = \"called\", ";
    let at = "[trunk.numbers]\n";
    for (more, fault) in [
        ("write = \"\" }]", "prefix: or match must be there"),
        ("prefix = \"0\", match = \"0\", write = \"\" }]", "prefix: cannot stand beside match"),
        ("match = \"^0(\", write = \"\" }]", "match: \"^0(\" is no regular expression"),
        ("match = \"^0\", write = \"$1\" }]", "write: names a group \"1\" that match does not have"),
        ("prefix = \"0 \", write = \"\" }]", "prefix: \"0 \" is not a text in quotes of up to 64"),
    ] {
        let (_, said) = only_fault(at, &format!("{rule}{more}\n"));
        assert!(said.starts_with(&format!("trunk[1].numbers.rules[1].{fault}")), "{said}");
    }
    let (_, said) = only_fault("form = \"as_is\"", "form = \"national\"");
    assert!(said.starts_with("trunk[1].numbers.form: cannot be \"national\" without a country"), "{said}");
    let text = edited(&[
        ("form = \"as_is\"", "form = \"e164\"\ncountry = \"49\""),
        ("dial = { prefix = \"8\"", "dial = { prefix = \"0\""),
    ]);
    let warnings = parse(&text).0.expect("works for phones").warnings;
    let said: Vec<&str> = warnings.iter().map(|it| it.problem.as_str()).collect();
    assert!(said.len() == 1 && said[0].contains("its callers would reach a stranger"), "{said:?}");
    let (_, said) = only_fault("from = \"caller\"", "from = \"account\"");
    assert!(said.starts_with("trunk[1].caller.from: cannot be \"account\""), "{said}");
    let (_, said) = only_fault("payload = \"X-WA-Payload\"", "payload = \"x-wa-call-id\"");
    assert!(said.starts_with("trunk[1].headers.payload: is already the name"), "{said}");
    let (_, said) = only_fault("payload = \"X-WA-Payload\"", "payload = \"Via\"");
    assert!(said.starts_with("trunk[1].headers.payload: \"Via\" is not the name of a header"), "{said}");
}

#[test]
fn the_systemd_unit_hands_over_every_credential_of_the_example() {
    let unit = include_str!("../../systemd/cordboard.service");
    let named = EXAMPLE.lines().filter(|line| !line.starts_with("# "));
    let named =
        named.flat_map(|line| line.split("credential = \"").skip(1)).filter_map(|it| it.split_once('"'));
    let missing: Vec<&str> = named
        .map(|(name, _)| name)
        .filter(|name| !unit.contains(&format!("\nLoadCredential={name}:")))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "add LoadCredential= lines to systemd/cordboard.service");
    assert!(unit.contains("\nLoadCredential=app-secret:"));
}

#[test]
fn an_api_that_nobody_could_use_or_that_shares_a_port_is_a_mistake() {
    let (line, said) = only_fault("#listen = \"127.0.0.1:9781\"", "listen = \"127.0.0.1:9781\"");
    assert_eq!(line, line_of("#listen = \"127.0.0.1:9781\""));
    assert!(
        said.starts_with("api.listen: nobody could use the API") && said.contains("cordboard token"),
        "{said}"
    );
    let text = everything_written().replace("\"127.0.0.1:9781\"", "\"127.0.0.1:9780\"");
    let faults = parse(&text).0.expect_err("a fault").faults;
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert!(faults[0].problem.contains("already taken by admin.listen"), "{}", faults[0].problem);
    let text =
        everything_written().replace("\"https://crm.example.com/cordboard\"", "\"http://crm.example.com/\"");
    let faults = parse(&text).0.expect_err("a fault").faults;
    assert!(
        faults[0].key == "api.hook[1].url" && faults[0].problem.contains("who calls whom"),
        "{faults:#?}"
    );
}
