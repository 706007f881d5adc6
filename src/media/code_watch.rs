//! Feature codes among the keys of a call: a code is taken out, everything else goes on to the user.
//!
//! Keys that may still become a code are withheld until they are one, cannot be one any more, or nothing was pressed
//! for a while.

use std::time::{Duration, Instant};

/// Between two keys of a code.
const PAUSE: Duration = Duration::from_secs(3);

/// What a key turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    /// For the user, with all keys that were withheld.
    Passed,
    /// Perhaps part of a code.
    Withheld,
    /// The last key of this code.
    Code(String),
}

/// Watches the keys of one phone.
#[derive(Clone, Debug, Default)]
pub struct CodeWatch {
    codes: Vec<String>,
    typed: String,
    last: Option<Instant>,
}

impl CodeWatch {
    /// Looks for these codes from now on; for none, every key passes at once.
    pub fn look_for(&mut self, codes: Vec<String>) {
        self.codes = codes;
        self.typed.clear();
    }

    /// Takes a key that was pressed at `now`.
    pub fn key(&mut self, now: Instant, digit: char) -> Judged {
        if self.is_over(now) {
            self.typed.clear();
        }
        self.last = Some(now);
        self.typed.push(digit);
        if self.codes.contains(&self.typed) {
            return Judged::Code(std::mem::take(&mut self.typed));
        }
        if self.codes.iter().any(|code| code.starts_with(&self.typed)) {
            return Judged::Withheld;
        }
        self.typed.clear();
        Judged::Passed
    }

    /// True if what was typed will not become a code any more: too much time has passed.
    #[must_use]
    pub fn is_over(&self, now: Instant) -> bool {
        !self.typed.is_empty() && self.last.is_some_and(|at| now.saturating_duration_since(at) >= PAUSE)
    }

    /// Forgets what was typed.
    pub fn give_up(&mut self) {
        self.typed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(watch: &mut CodeWatch, now: Instant, keys: &str) -> Vec<Judged> {
        keys.chars().map(|key| watch.key(now, key)).collect()
    }

    #[test]
    fn a_code_is_found_and_what_only_begins_like_one_passes_when_it_differs() {
        use Judged::{Code, Passed, Withheld};
        let (mut watch, now) = (CodeWatch::default(), Instant::now());
        assert_eq!(judge(&mut watch, now, "*68"), [Passed, Passed, Passed], "nobody looks for codes");
        watch.look_for(vec!["*68".into(), "#1".into()]);
        assert_eq!(judge(&mut watch, now, "*68"), [Withheld, Withheld, Code("*68".into())]);
        assert_eq!(judge(&mut watch, now, "1*65"), [Passed, Withheld, Withheld, Passed]);
        assert_eq!(judge(&mut watch, now, "#1"), [Withheld, Code("#1".into())]);
    }

    #[test]
    fn keys_with_a_long_pause_between_them_are_no_code() {
        let (mut watch, now) = (CodeWatch::default(), Instant::now());
        watch.look_for(vec!["*68".into()]);
        assert_eq!(judge(&mut watch, now, "*6"), [Judged::Withheld, Judged::Withheld]);
        assert!(!watch.is_over(now + PAUSE - Duration::from_nanos(1)) && watch.is_over(now + PAUSE));
        assert_eq!(watch.key(now + PAUSE, '8'), Judged::Passed);
    }
}
