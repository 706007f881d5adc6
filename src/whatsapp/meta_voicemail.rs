//! Meta's own voicemail, as the calling settings of a number have it (reference §5.3).

use std::time::Duration;

use serde_json::Value;

/// What of a user's calls it takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetaVoicemail {
    /// Those that are rejected (`REJECT`).
    pub takes_rejected: bool,
    /// Those that nobody accepted for so long since it rings (`TIMEOUT`, 0 to 30 s); `None`: none of them.
    pub takes_after: Option<Duration>,
}

impl MetaVoicemail {
    /// Reads it out of `calling`; what makes no sense is not switched on.
    #[must_use]
    pub fn read(calling: &Value) -> Self {
        let voicemail = &calling["voicemail"];
        let is = |value: &Value, word: &str| value.as_str().is_some_and(|it| it.eq_ignore_ascii_case(word));
        if !is(&voicemail["status"], "ENABLED") {
            return Self::default();
        }
        let triggers = voicemail["triggers"].as_array().cloned().unwrap_or_default();
        let has = |word| triggers.iter().any(|it| is(it, word));
        // Without a time the trigger is off.
        let seconds = voicemail["audio"]["default"]["timeout_seconds"].as_u64();
        Self {
            takes_rejected: has("REJECT"),
            takes_after: seconds.filter(|_| has("TIMEOUT")).map(Duration::from_secs),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_takes_calls_is_read_and_what_is_switched_off_takes_none() {
        let calling = |status, triggers: Value, audio: Value| json!({ "voicemail": { "status": status, "triggers": triggers, "audio": { "default": audio } } });
        let both = calling("ENABLED", json!(["REJECT", "TIMEOUT"]), json!({ "timeout_seconds": 20 }));
        let wanted = MetaVoicemail { takes_rejected: true, takes_after: Some(Duration::from_secs(20)) };
        assert_eq!(MetaVoicemail::read(&both), wanted);
        let timeless = calling("enabled", json!(["TIMEOUT"]), json!({}));
        assert_eq!(MetaVoicemail::read(&timeless), MetaVoicemail::default());
        let rejected = calling("ENABLED", json!(["REJECT"]), json!({ "timeout_seconds": 20 }));
        assert_eq!(MetaVoicemail::read(&rejected).takes_after, None, "the time belongs to another trigger");
        let off = calling("DISABLED", json!(["REJECT", "TIMEOUT"]), json!({ "timeout_seconds": 20 }));
        assert_eq!(MetaVoicemail::read(&off), MetaVoicemail::default());
        assert_eq!(MetaVoicemail::read(&json!({})), MetaVoicemail::default());
    }
}
