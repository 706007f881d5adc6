//! Sound that is played into calls: decoded once, kept at both rates, shared by everybody who plays it.

use std::fmt;
use std::sync::Arc;

use super::tone::Tone;

/// A few seconds or minutes of sound; a copy costs two counters.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Clip {
    /// Mono at 8 kHz and at 16 kHz, of the same length in time.
    narrow: Arc<[i16]>,
    wide: Arc<[i16]>,
}

impl Clip {
    /// From the same sound at 8 kHz and at 16 kHz; what one has more than the other is left out.
    #[must_use]
    pub fn new(mut narrow: Vec<i16>, mut wide: Vec<i16>) -> Self {
        narrow.truncate(wide.len() / 2);
        wide.truncate(narrow.len() * 2);
        Self { narrow: narrow.into(), wide: wide.into() }
    }

    /// One round of a tone.
    #[must_use]
    pub fn of(tone: &Tone) -> Self {
        Self::new(tone.render(8000), tone.render(16_000))
    }

    /// This clip, then that one.
    #[must_use]
    pub fn then(&self, next: &Self) -> Self {
        let joined = |one: &[i16], two: &[i16]| [one, two].concat().into();
        Self { narrow: joined(&self.narrow, &next.narrow), wide: joined(&self.wide, &next.wide) }
    }

    /// The samples at `rate`, which is 16,000 or counts as 8000.
    #[must_use]
    pub fn samples(&self, rate: u32) -> &[i16] {
        if rate == 16_000 { &self.wide } else { &self.narrow }
    }

    /// How long it lasts.
    #[must_use]
    pub fn length(&self) -> std::time::Duration {
        std::time::Duration::from_micros(self.narrow.len() as u64 * 125)
    }

    /// True if there is nothing to play.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.narrow.is_empty()
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clip({:?})", self.length())
    }
}

/// How often a clip is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Once.
    Once,
    /// So many times; 0 counts as once.
    Times(u16),
    /// Until it is stopped.
    Forever,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::tone::Signal;

    #[test]
    fn a_clip_has_the_same_length_at_both_rates_and_says_no_more_of_itself() {
        let clip = Clip::new(vec![1; 1000], vec![2; 1990]);
        assert_eq!((clip.samples(8000).len(), clip.samples(16_000).len()), (995, 1990));
        assert_eq!(format!("{clip:?}"), "Clip(124.375ms)");
        let tone = Clip::of(&Tone::of(Signal::Ringback, "DE"));
        assert_eq!(tone.length(), std::time::Duration::from_secs(5));
        let both = clip.then(&tone);
        assert_eq!(both.length(), clip.length() + tone.length());
        assert_eq!(both.samples(16_000)[..1990], [2; 1990]);
        assert!(!tone.is_empty() && Clip::new(Vec::new(), vec![1]).is_empty());
    }
}
