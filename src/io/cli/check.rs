//! `cordboard check FILE`: says everything that is wrong with a configuration, or what it sets up.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Exit, complain, say};
use crate::config::{self, Config, Records};
use crate::id::{Endpoint, PhoneName, TrunkName};
use crate::io::recording::is_writable;
use crate::io::sounds::Sounds;

/// Reads a configuration file and names every mistake, its line, and what to write instead.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

pub(super) fn check(args: &CheckArgs) -> Exit {
    let Some(config) = load(&args.file) else { return Exit::Usage };
    if let Some(problem) = recording_fault(&config) {
        complain(format_args!("{}: one thing to mend\n\nerror: {problem}", args.file.display()));
        return Exit::Usage;
    }
    if let Err(fault) = Sounds::load(&config.sounds, &config.recording.consent) {
        complain(format_args!("{}: one thing to mend\n\nerror: {fault}", args.file.display()));
        return Exit::Usage;
    }
    say(summary(&args.file, &config));
    Exit::Done
}

/// Why nothing could be recorded, where something is to be.
fn recording_fault(config: &Config) -> Option<String> {
    let directory = &config.recording.directory;
    let failure = config.recording.enabled.then(|| is_writable(directory).err())??;
    let shown = directory.display();
    Some(format!(
        "recording.directory\n    {shown} cannot be written: {failure}\n    \
         -> install -d -m 700 -o cordboard {shown}, and run this check as the user of the gateway"
    ))
}

/// Reads a configuration for any command; warnings and faults go to stderr.
#[must_use]
pub fn load(file: &Path) -> Option<Config> {
    match Config::read(file) {
        Ok(config) => {
            for warning in &config.warnings {
                complain(format_args!("warning: {warning}\n"));
            }
            Some(config)
        }
        Err(faults) => {
            complain(faults);
            None
        }
    }
}

/// Reads what a command on the store needs; faults go to stderr.
#[must_use]
pub fn load_records(file: &Path) -> Option<Records> {
    Records::read(file).map_err(complain).ok()
}

/// What a good configuration sets up, for a last look: no secret and no full number.
fn summary(file: &Path, config: &Config) -> String {
    let mut out = format!("{}: good", file.display());
    let tls = if config.webhook.tls.is_some() { "https" } else { "http, behind a proxy" };
    let rows = [
        ("webhook", format!("{}{} ({tls})", config.webhook.listen, config.webhook.path)),
        ("graph", format!("{}/{}", config.graph.base, config.graph.version)),
        ("sip", sip(config)),
        ("media", media(config)),
        ("admin", format!("http://{}/metrics", config.admin.listen)),
        ("store", config.store.path.display().to_string()),
        ("records", recording(config)),
        ("phones", config.phones.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" ")),
        ("trunks", config.trunks.iter().map(|it| it.name.as_str()).collect::<Vec<_>>().join(" ")),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        let _ = write!(out, "\n  {name:<8} {value}");
    }
    for number in &config.numbers {
        let ring = ring_plan(&number.ring);
        let _ = write!(out, "\n  number   {} {}: rings {ring}", number.label, number.display_number);
        let _ = match &number.dial {
            Some(dial) => write!(out, "; dial {}+number from {}", dial.prefix, sources(dial)),
            None => write!(out, "; nobody can dial out"),
        };
    }
    out
}

/// Where phones and trunks reach us.
fn sip(config: &Config) -> String {
    let at = |it: &config::ListenAt| format!("{}, advertised as {}", it.listen, it.advertised);
    let udp = config.sip.udp.iter().map(|it| format!("udp {}", at(it)));
    let streams =
        config.sip.streams.iter().map(|(transport, it)| format!("{} {}", transport.as_str(), at(it)));
    udp.chain(streams).collect::<Vec<_>>().join("; ")
}

/// Whose calls are recorded, and how.
fn recording(config: &Config) -> String {
    let config::RecordingConfig { enabled, directory, format, .. } = &config.recording;
    if !enabled {
        return String::new();
    }
    let recorded = config.numbers.iter().filter(|it| it.record).map(|it| it.label.as_str());
    let recorded: Vec<&str> = recorded.collect();
    let kind = match format {
        config::RecordingFormat::Opus => "Ogg/Opus",
        config::RecordingFormat::Wav => "WAV",
    };
    format!("calls of {} as {kind} in {}", recorded.join(", "), directory.display())
}

/// `1001 + 1002 for 12s, then 200 at pbx for 12s, at last 299 at pbx`.
fn ring_plan(plan: &config::RingPlanConfig) -> String {
    let step = |step: &config::RingStepConfig| {
        let (between, each) = match step.order {
            config::RingOrder::Together => (" + ", ""),
            config::RingOrder::OneByOne => (", ", " each"),
        };
        let who = step.targets.iter().map(target).collect::<Vec<_>>().join(between);
        step.ring.map_or_else(|| who.clone(), |ring| format!("{who} for {}s{each}", ring.as_secs_f32()))
    };
    let mut steps: Vec<String> = plan.steps.iter().map(step).collect();
    steps.extend(plan.overflow.iter().map(|it| match it {
        config::LastTarget::Ring(it) => format!("at last {}", target(it)),
        config::LastTarget::Voicemail => "at last voicemail".to_owned(),
        config::LastTarget::Announcement => "at last the announcement".to_owned(),
    }));
    if steps.is_empty() { "nobody (rejected)".to_owned() } else { steps.join(", then ") }
}

fn target(endpoint: &Endpoint) -> String {
    match endpoint {
        Endpoint::Phone(name) => name.to_string(),
        Endpoint::Trunk(name, number) => format!("{number} at {name}"),
    }
}

fn sources(dial: &config::DialConfig) -> String {
    let phones = dial.phones.iter().map(PhoneName::as_str);
    phones.chain(dial.trunks.iter().map(TrunkName::as_str)).collect::<Vec<_>>().join(", ")
}

/// Ports, and how many calls they are enough for.
fn media(config: &Config) -> String {
    let (outside, inside) = (&config.media.outside.ports, &config.media.inside.ports);
    let calls = outside.len().min(inside.len() / 2);
    format!(
        "outside udp {}-{}, inside udp {}-{}: ports for {calls} calls at once",
        outside.start(),
        outside.end(),
        inside.start(),
        inside.end()
    )
}
