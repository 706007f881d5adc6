//! What a decision was made on, for the call's record.

use serde_json::json;

use super::facts::Facts;
use super::rules::Rules;

/// Permission and caps as they were at dialling: a JSON object. Places include those that are held, without the
/// attempt itself; `max` is null where a rule is off.
#[must_use]
pub fn picture(rules: &Rules, facts: &Facts) -> String {
    json!({
        "permission": facts.permission.as_str(),
        "until": facts.permission.until().map(|it| it.to_string()),
        "number": { "connected": facts.connected_number.len(), "max": rules.per_number.map(|it| it.max) },
        "pair": { "connected": facts.connected_pair.len(), "max": rules.per_pair.map(|it| it.max) },
        "in_flight": facts.in_flight.len(),
        "up": facts.up,
    })
    .to_string()
}
