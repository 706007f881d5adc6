//! `cordboard doctor`: says what keeps calls from coming and going, where it is, and what to do about it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{Exit, Form, complain, gateway};
use crate::config::Config;
use crate::io::app::graph_settings;
use crate::io::doctor::{self, Finding, Severity};
use crate::io::graph::GraphClient;

/// Looks at everything that calls need: the file, this machine, the running gateway and its phones, DNS, Meta's
/// settings and subscriptions, the way of webhooks. Ends with 1 if something keeps calls from working.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The configuration of the gateway.
    #[arg(long, value_name = "FILE", default_value = "/etc/cordboard/gateway.toml")]
    config: PathBuf,
    /// Also what is as it should be.
    #[arg(long)]
    all: bool,
    /// One JSON document, with everything.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'f> {
    verdict: Severity,
    findings: &'f [Finding],
}

pub(super) fn doctor(args: &DoctorArgs) -> Exit {
    let findings = match Config::read(&args.config) {
        // Nothing else can be looked at without the file.
        Err(faults) => {
            let faults = faults.faults.iter().map(|it| doctor::of_file(it, Severity::Fault));
            faults.collect::<Vec<_>>()
        }
        Ok(config) => {
            let graph = match GraphClient::new(graph_settings(&config)) {
                Ok(graph) => graph,
                Err(error) => {
                    complain(error);
                    return Exit::Internal;
                }
            };
            match gateway::runtime() {
                Ok(runtime) => runtime.block_on(doctor::examine(&config, &graph)),
                Err(exit) => return exit,
            }
        }
    };
    let verdict = doctor::worst(&findings);
    let report = Report { verdict, findings: &findings };
    Form::of(args.json).print(&report, || told(&findings, args.all));
    if verdict == Severity::Fault { Exit::Different } else { Exit::Done }
}

fn told(findings: &[Finding], all: bool) -> String {
    let mut out = String::new();
    for Finding { severity, check, place, found, remedy } in findings {
        if *severity == Severity::Good && !all {
            continue;
        }
        let _ = writeln!(out, "{:<8} {check}: {place}: {found}", severity.as_str());
        for line in remedy.iter().flat_map(|it| it.lines()) {
            let _ = writeln!(out, "         -> {line}");
        }
    }
    let count = |wanted| findings.iter().filter(|it| it.severity == wanted).count();
    let (faults, warnings) = (count(Severity::Fault), count(Severity::Warning));
    let (unknown, good) = (count(Severity::Unknown), count(Severity::Good));
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let _ = write!(
        out,
        "{faults} fault{}, {warnings} warning{}, {unknown} could not be looked at, {good} as they should be",
        plural(faults),
        plural(warnings)
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_good_is_counted_and_told_on_demand() {
        let finding = |severity, remedy: Option<&str>| Finding {
            severity,
            check: "tier",
            place: "support".to_owned(),
            found: "may write to 250 users a day".to_owned(),
            remedy: remedy.map(str::to_owned),
        };
        let findings = [finding(Severity::Fault, Some("verify the business")), finding(Severity::Good, None)];
        assert_eq!(
            told(&findings, false),
            "FAULT    tier: support: may write to 250 users a day\n         -> verify the business\n\
             1 fault, 0 warnings, 0 could not be looked at, 1 as they should be"
        );
        assert!(told(&findings, true).contains("good     tier: support"));
    }
}
