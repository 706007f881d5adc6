//! What Meta holds of a business number, where that differs from the file, and an end to it. The command line and the
//! API do the same.

use serde_json::Value;

use super::graph::{GraphClient, SettingsError};
use crate::config::NumberConfig;
use crate::time::Wall;
use crate::whatsapp::settings::{Drift, Wanted};

/// Why settings could not be compared or written.
#[derive(Debug, thiserror::Error)]
pub enum SettingsTrouble {
    /// The hours of the file do not fit Meta's form; nothing was sent.
    #[error("hours: {0}")]
    Hours(String),
    /// Meta could not be asked, or refused.
    #[error(transparent)]
    Meta(#[from] SettingsError),
    /// Meta took the settings and has others still.
    #[error("Meta took the settings and still has others: {0}")]
    Kept(String),
}

/// What Meta has under `calling`, in its own words.
///
/// # Errors
/// Meta could not be asked.
pub async fn show(graph: &GraphClient, number: &NumberConfig) -> Result<Value, SettingsTrouble> {
    Ok(graph.settings(&number.phone_number_id, &number.access_token).await?)
}

/// Where Meta differs from the file.
///
/// # Errors
/// [`SettingsTrouble`].
pub async fn diff(
    graph: &GraphClient,
    number: &NumberConfig,
    now: Wall,
) -> Result<Vec<Drift>, SettingsTrouble> {
    let wanted = wanted(number, now)?;
    Ok(wanted.drift(&show(graph, number).await?))
}

/// Writes what differs to Meta, one group of settings a request, and reads it back; gives what differed.
///
/// # Errors
/// [`SettingsTrouble`]; earlier groups may have been written.
pub async fn apply(
    graph: &GraphClient,
    number: &NumberConfig,
    now: Wall,
) -> Result<Vec<Drift>, SettingsTrouble> {
    let wanted = wanted(number, now)?;
    let drift = wanted.drift(&show(graph, number).await?);
    for body in wanted.bodies(&drift) {
        graph.change_settings(&number.phone_number_id, &number.access_token, &body).await?;
    }
    if drift.is_empty() {
        return Ok(drift);
    }
    // What Meta says it holds now is the proof.
    let left = wanted.drift(&show(graph, number).await?);
    if left.is_empty() {
        return Ok(drift);
    }
    let paths: Vec<&str> = left.iter().map(|it| it.path).collect();
    Err(SettingsTrouble::Kept(paths.join(", ")))
}

/// What the file wants Meta to hold of a number.
fn wanted(number: &NumberConfig, now: Wall) -> Result<Wanted, SettingsTrouble> {
    let settings = &number.settings;
    let hours = match &number.hours {
        _ if !settings.hours => None,
        None => Some(None),
        Some(hours) => {
            let form = hours.hours.for_meta(now).map_err(|it| SettingsTrouble::Hours(it.to_string()))?;
            Some(Some(form))
        }
    };
    Ok(Wanted {
        calls: settings.calls,
        icon: settings.call_icon,
        countries: settings.countries.clone(),
        callback_permission: settings.callback_permission,
        hours,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::api::number_of_tests;
    use crate::io::graph::tests::{Does, Graph};

    const NOW: Wall = Wall(1_791_900_000_000);
    const ON: Does = Does::Answer(200, "", r#"{"calling":{"status":"ENABLED"}}"#);
    const OFF: Does = Does::Answer(200, "", r#"{"calling":{"status":"DISABLED"}}"#);
    const DONE: Does = Does::Answer(200, "", r#"{"success":true}"#);

    /// Applies `calls = true` at a Graph that answers so; gives the methods that it saw, too.
    async fn applied(
        script: impl IntoIterator<Item = Does>,
    ) -> (Result<Vec<Drift>, SettingsTrouble>, Vec<String>) {
        let mut graph = Graph::that(script).await;
        let outcome = apply(&graph.client(), &number_of_tests(), NOW).await;
        let method = |line: &str| line.split(' ').next().unwrap_or_default().to_owned();
        (outcome, graph.all().iter().map(|it| method(&it.line)).collect())
    }

    #[tokio::test]
    async fn b13_what_is_written_is_read_back_and_only_what_meta_holds_then_is_the_proof() {
        let (outcome, seen) = applied([OFF, DONE, ON]).await;
        assert_eq!(outcome.expect("written").iter().map(|it| it.path).collect::<Vec<_>>(), ["status"]);
        assert_eq!(seen, ["GET", "POST", "GET"]);
        // Meta says yes and holds what it held.
        let (outcome, seen) = applied([OFF, DONE, OFF]).await;
        assert!(matches!(&outcome, Err(SettingsTrouble::Kept(paths)) if paths == "status"), "{outcome:?}");
        assert_eq!(seen, ["GET", "POST", "GET"]);
    }

    #[tokio::test]
    async fn b13_nothing_is_written_where_nothing_differs_and_nothing_more_after_a_refusal() {
        let (outcome, seen) = applied([ON]).await;
        assert_eq!((outcome.expect("asked"), seen), (Vec::new(), vec!["GET".to_owned()]));
        let refused = Does::Answer(400, "", r#"{"error":{"code":138015,"message":"limit"}}"#);
        let (outcome, seen) = applied([OFF, refused]).await;
        let said = outcome.expect_err("refused").to_string();
        assert!(said.contains("138015"), "{said}");
        assert_eq!(seen, ["GET", "POST"]);
    }
}
