//! What Meta's settings keep from working, told once at the start: a setting that somebody else has changed is not
//! looked for later, when calls do not come.

use std::sync::Arc;
use std::time::Duration;

use super::doctor::{self, Severity};
use super::graph::GraphClient;
use super::number_settings;
use crate::config::NumberConfig;

/// Asks Meta for the settings of each number and writes into the log what is wrong with them.
pub(super) async fn tell(graph: Arc<GraphClient>, numbers: Vec<NumberConfig>, window: Duration) {
    for number in &numbers {
        let calling = match number_settings::show(&graph, number).await {
            Ok(calling) => calling,
            Err(error) => {
                tracing::warn!(number = %number.label, %error, "Meta's settings could not be read: see `cordboard doctor`");
                continue;
            }
        };
        for finding in doctor::settings_of_number(number, window, &calling) {
            let (found, remedy) = (finding.found, finding.remedy.unwrap_or_default());
            let (number, check) = (&number.label, finding.check);
            match finding.severity {
                Severity::Fault => tracing::error!(%number, check, remedy, "{found}"),
                Severity::Warning => tracing::warn!(%number, check, remedy, "{found}"),
                Severity::Unknown | Severity::Good => {}
            }
        }
    }
}
