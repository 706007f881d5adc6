//! The answer of `GET /{PHONE_NUMBER_ID}/call_permissions` (reference §4).

use serde_json::Value;

use super::json;
use super::webhook::WebhookError;
use crate::time::Wall;

/// What kind of permission Meta reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LiveStatus {
    /// None, or the number cannot be called at all.
    NoPermission,
    /// Until a date.
    Temporary,
    /// Until revoked.
    Permanent,
}

/// Meta's own view of whether a user may be called right now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivePermission {
    /// The kind of permission.
    pub status: LiveStatus,
    /// When a temporary one ends.
    pub expires: Option<Wall>,
    /// Whether a call may start now: the verdict over all limits, which counts more than the status.
    pub can_start: bool,
    /// When an exhausted limit on starting calls frees up.
    pub start_limit_until: Option<Wall>,
}

impl LivePermission {
    /// Reads Graph's answer; an unknown status counts as no permission, an absent verdict follows the status.
    ///
    /// # Errors
    /// The body is not JSON, or holds no `permission`.
    pub fn parse(body: &[u8]) -> Result<Self, WebhookError> {
        let value: Value = serde_json::from_slice(body).map_err(|_| WebhookError::NotJson)?;
        // Some Graph answers come wrapped in `data`.
        let root = value.get("data").map_or(&value, |it| it.get(0).unwrap_or(it));
        let permission = root.get("permission").ok_or(WebhookError::NotEnvelope)?;
        let word = json::text(&permission["status"]).ok_or(WebhookError::NotEnvelope)?.to_ascii_lowercase();
        let status = match word.as_str() {
            "temporary" => LiveStatus::Temporary,
            "permanent" => LiveStatus::Permanent,
            _ => LiveStatus::NoPermission,
        };
        let expires = ["expiration_time", "expiration"].iter().find_map(|it| json::time(&permission[*it]));
        let start = json::items(&root["actions"]).iter().find(|it| it["action_name"] == "start_call");
        let can_start = start
            .and_then(|it| json::truth(&it["can_perform_action"]))
            .unwrap_or(status != LiveStatus::NoPermission);
        let start_limit_until = start.and_then(|it| {
            json::items(&it["limits"])
                .iter()
                .filter_map(|limit| json::time(&limit["limit_expiration_time"]))
                .max()
        });
        Ok(Self { status, expires, can_start, start_limit_until })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: &Value) -> LivePermission {
        LivePermission::parse(body.to_string().as_bytes()).expect("readable")
    }

    #[test]
    fn the_verdict_counts_more_than_the_status_and_names_when_the_limit_ends() {
        let live = parse(&json!({
            "messaging_product": "whatsapp",
            "permission": { "status": "temporary", "expiration_time": 1_792_000_000 },
            "actions": [
                { "action_name": "send_call_permission_request", "can_perform_action": true,
                  "limits": [{ "time_period": "PT24H", "limit_expiration_time": 1_799_000_000 }] },
                { "action_name": "start_call", "can_perform_action": false,
                  "limits": [{ "time_period": "PT24H", "max_allowed": 100, "current_usage": 100,
                               "limit_expiration_time": 1_791_990_000 }] } ] }));
        assert_eq!(
            live,
            LivePermission {
                status: LiveStatus::Temporary,
                expires: Some(Wall::from_secs(1_792_000_000)),
                can_start: false,
                start_limit_until: Some(Wall::from_secs(1_791_990_000)),
            }
        );
    }

    #[test]
    fn the_expiry_has_two_names_and_permanent_has_none() {
        let other = parse(&json!({ "permission": { "status": "temporary", "expiration": "1792000000" } }));
        assert_eq!((other.expires, other.can_start), (Some(Wall::from_secs(1_792_000_000)), true));
        let permanent = parse(&json!({ "permission": { "status": "permanent" }, "actions": [] }));
        assert_eq!(
            (permanent.status, permanent.expires, permanent.can_start),
            (LiveStatus::Permanent, None, true)
        );
    }

    #[test]
    fn an_unknown_status_permits_nothing_and_no_permission_at_all_is_an_error() {
        let odd = parse(&json!({ "permission": { "status": "perhaps" } }));
        assert_eq!((odd.status, odd.can_start), (LiveStatus::NoPermission, false));
        assert_eq!(LivePermission::parse(b"{}"), Err(WebhookError::NotEnvelope));
        assert_eq!(LivePermission::parse(b"<html>"), Err(WebhookError::NotJson));
    }
}
