//! Misbehaviour on demand: `POST /sim/faults`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::delivery::{Dose, WebhookFaults};

/// An error that the Graph answers in place of doing what was asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ErrorFault {
    /// `connect`, `pre_accept`, `accept`, `reject`, `terminate`, `call_permissions`; absent: any.
    pub(super) action: Option<String>,
    /// Code of reference §7.2.
    pub(super) code: u32,
    /// HTTP status; absent: the code's own.
    pub(super) http: Option<u16>,
    /// How often; absent: until taken back.
    pub(super) times: Option<u32>,
}

/// A request that gets no answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DropFault {
    /// As in [`ErrorFault`].
    pub(super) action: Option<String>,
    /// Whether it is carried out all the same: the case in which a careless repeat does harm.
    #[serde(default)]
    pub(super) processed: bool,
    /// How often; absent: until taken back.
    pub(super) times: Option<u32>,
}

/// The Graph's half of the faults.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct GraphFaults {
    /// Latency of every Graph request, half before it is carried out and half after.
    pub(super) graph_delay_ms: u64,
    /// Errors.
    pub(super) graph_error: Option<ErrorFault>,
    /// Answers that never come.
    pub(super) graph_drop: Option<DropFault>,
    /// Whether the `connect` webhook of a business-initiated call comes before the HTTP reply; absent: one in four.
    pub(super) connect_webhook_first: Option<bool>,
}

/// Both halves.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Faults {
    /// Of the Graph.
    #[serde(flatten)]
    pub(super) graph: GraphFaults,
    /// Of the webhooks.
    #[serde(flatten)]
    pub(super) webhook: WebhookFaults,
}

fn strikes(action: Option<&str>, times: &mut Option<u32>, asked: &str) -> bool {
    if action.is_some_and(|action| action != asked) {
        return false;
    }
    match times {
        Some(0) => false,
        Some(left) => {
            *left -= 1;
            true
        }
        None => true,
    }
}

impl GraphFaults {
    /// The error that strikes this action now.
    pub(super) fn error(&mut self, action: &str) -> Option<(u32, Option<u16>)> {
        let fault = self.graph_error.as_mut()?;
        strikes(fault.action.as_deref(), &mut fault.times, action).then_some((fault.code, fault.http))
    }

    /// Whether this action gets no answer, and if so whether it is carried out.
    pub(super) fn drops(&mut self, action: &str) -> Option<bool> {
        let fault = self.graph_drop.as_mut()?;
        strikes(fault.action.as_deref(), &mut fault.times, action).then_some(fault.processed)
    }
}

impl Faults {
    /// Reads the body of `POST /sim/faults`; a name that is no fault is an error, not silence.
    pub(super) fn read(body: &Value) -> Result<Self, String> {
        let known = serde_json::to_value(Self::default()).map_err(|error| error.to_string())?;
        let unknown =
            body.as_object().and_then(|given| given.keys().find(|key| known.get(key.as_str()).is_none()));
        if let Some(unknown) = unknown {
            let names: Vec<&str> =
                known.as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            return Err(format!("{unknown} is no fault; the faults are {}", names.join(", ")));
        }
        let mut body = body.clone();
        // The short forms `true` and a number stand for "any action".
        if let Ok(dose) = Dose::deserialize(&body["graph_drop"]) {
            body["graph_drop"] = match dose {
                Dose::Always(false) | Dose::Times(0) => Value::Null,
                Dose::Always(true) => serde_json::json!({}),
                Dose::Times(times) => serde_json::json!({ "times": times }),
            };
        }
        serde_json::from_value(body).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_error_strikes_its_action_so_often_and_no_other() {
        let body = json!({ "graph_error": { "action": "accept", "code": 138_008, "times": 1 } });
        let mut faults = Faults::read(&body).expect("faults").graph;
        assert_eq!(faults.error("pre_accept"), None);
        assert_eq!(faults.error("accept"), Some((138_008, None)));
        assert_eq!(faults.error("accept"), None);
    }

    #[test]
    fn a_dose_is_a_switch_or_a_count() {
        let body = json!({ "webhook_duplicate": true, "webhook_drop": 2, "graph_drop": 1 });
        let mut faults = Faults::read(&body).expect("faults");
        assert!((0..5).all(|_| faults.webhook.webhook_duplicate.strike()));
        let drops: Vec<bool> = (0..3).map(|_| faults.webhook.webhook_drop.strike()).collect();
        assert_eq!(drops, [true, true, false]);
        assert!(!faults.webhook.webhook_reorder.strike());
        assert_eq!((faults.graph.drops("connect"), faults.graph.drops("connect")), (Some(false), None));
    }

    #[test]
    fn a_misspelt_fault_is_named() {
        let error = Faults::read(&json!({ "webhook_dupplicate": true })).expect_err("unknown");
        assert!(error.contains("webhook_dupplicate") && error.contains("webhook_duplicate,"), "{error}");
    }
}
