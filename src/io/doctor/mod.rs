//! Why calls do not come, or do not go: everything that can be looked at from here, in one walk.
//!
//! | file | looks at |
//! | --- | --- |
//! | `meta` | the token, the number and its limit, calling settings, subscriptions, the clock |
//! | `webhook` | the callback URL as Meta reaches it, its certificate, its signature |
//! | `office` | the running gateway, its phones and trunks, or who holds its ports |
//! | `machine` | folders, names, addresses, port ranges |
//!
//! What is asked is read only, but for one signed webhook without content. Nothing is written at Meta.

mod machine;
mod meta;
mod office;
mod webhook;

use serde::Serialize;

use super::graph::GraphClient;
use crate::config::{Config, Fault};

pub(super) use meta::settings as settings_of_number;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// As it should be.
    Good,
    /// It could not be looked at.
    Unknown,
    /// Calls work; something is worth a look.
    Warning,
    /// Some or all calls fail.
    Fault,
}

impl Severity {
    /// The word of the report.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Fault => "FAULT",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was looked at: a word that stays, for machines.
    pub check: &'static str,
    /// Where: a key of the file, a number's label, an address.
    pub place: String,
    /// What was found.
    pub found: String,
    /// What to do about it; `None` where nothing is to be done.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(
        severity: Severity,
        check: &'static str,
        place: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        // Nothing of a text from outside may move the cursor of a terminal.
        let found = found.into().chars().filter(|it| !it.is_control()).collect();
        Self { severity, check, place: place.into(), found, remedy: None }
    }

    fn good(check: &'static str, place: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Severity::Good, check, place, found)
    }

    fn unknown(check: &'static str, place: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Severity::Unknown, check, place, found)
    }

    fn warning(check: &'static str, place: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Severity::Warning, check, place, found)
    }

    fn fault(check: &'static str, place: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(Severity::Fault, check, place, found)
    }

    fn mend(self, remedy: impl Into<String>) -> Self {
        Self { remedy: Some(remedy.into()), ..self }
    }
}

/// A fault of the file, as `cordboard check` names it.
#[must_use]
pub fn of_file(fault: &Fault, severity: Severity) -> Finding {
    let line = fault.line.map(|it| format!(" (line {it})")).unwrap_or_default();
    Finding::new(severity, "file", format!("{}{line}", fault.key), fault.problem.clone())
        .mend(fault.remedy.clone())
}

/// Looks at everything; the worst comes first.
pub async fn examine(config: &Config, graph: &GraphClient) -> Vec<Finding> {
    let mut all: Vec<Finding> = config.warnings.iter().map(|it| of_file(it, Severity::Warning)).collect();
    all.extend(machine::examine(config).await);
    all.extend(office::examine(config).await);
    let told = meta::examine(config, graph).await;
    all.extend(told.findings);
    all.extend(webhook::examine(config, &told.callbacks).await);
    // The order of the walk stays among equals.
    all.sort_by_key(|it| std::cmp::Reverse(it.severity));
    all
}

/// What of the findings decides.
#[must_use]
pub fn worst(findings: &[Finding]) -> Severity {
    findings.iter().map(|it| it.severity).max().unwrap_or(Severity::Good)
}
