//! Who fills a hold: the PBX with its own music, or we when nothing comes (rule 16).

use std::time::{Duration, Instant};

use super::clip::Clip;

/// For so long the PBX may take to begin its music.
const PATIENCE: Duration = Duration::from_millis(500);
/// What comes so soon after the hold was speech under way.
const LEFTOVERS: Duration = Duration::from_millis(250);
/// A PBX whose music has come keeps the hold, unless it falls silent for so long.
const SILENCE_OF_A_PBX: Duration = Duration::from_secs(5);

/// A hold, or none.
#[derive(Debug, Default)]
pub struct Hold {
    /// What we play; `None`: the user hears comfort noise.
    audio: Option<Clip>,
    since: Option<Instant>,
    /// When ours begins; `None` while it plays.
    due: Option<Instant>,
}

/// What becomes of our hold audio.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldAudio {
    /// Nothing changes.
    AsBefore,
    /// It ends now.
    Ends,
}

impl Hold {
    /// No hold; `audio` is for those to come.
    #[must_use]
    pub const fn new(audio: Option<Clip>) -> Self {
        Self { audio, since: None, due: None }
    }

    /// The phone has put the call on hold, or has not.
    pub fn set(&mut self, now: Instant, held: bool) -> HoldAudio {
        match (self.since, held) {
            (None, true) => {
                self.since = Some(now);
                self.due = Some(now + PATIENCE);
                HoldAudio::AsBefore
            }
            (Some(_), false) => {
                self.since = None;
                self.due = None;
                HoldAudio::Ends
            }
            _ => HoldAudio::AsBefore,
        }
    }

    /// Sound has come from the phone's side: the music of the PBX, which wins.
    pub fn heard(&mut self, now: Instant) -> HoldAudio {
        let Some(since) = self.since else { return HoldAudio::AsBefore };
        let leftover = now.saturating_duration_since(since) < LEFTOVERS;
        self.due = Some(now + if leftover { PATIENCE } else { SILENCE_OF_A_PBX });
        HoldAudio::Ends
    }

    /// When [`Self::take_due`] has something.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.audio.is_some())
    }

    /// Our audio, when its time has come.
    pub fn take_due(&mut self, now: Instant) -> Option<Clip> {
        self.due().filter(|due| *due <= now)?;
        self.due = None;
        self.audio.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held() -> (Hold, Instant) {
        let now = Instant::now();
        let mut hold = Hold::new(Some(Clip::new(vec![1; 80], vec![1; 160])));
        assert_eq!((hold.due(), hold.heard(now)), (None, HoldAudio::AsBefore));
        assert_eq!(hold.set(now, true), HoldAudio::AsBefore);
        (hold, now)
    }

    #[test]
    fn rule_16_ours_begins_after_half_a_second_of_nothing_and_ends_with_the_hold() {
        let (mut hold, now) = held();
        assert_eq!(hold.due(), Some(now + PATIENCE));
        assert_eq!(hold.take_due(now + PATIENCE - Duration::from_nanos(1)), None);
        assert!(hold.take_due(now + PATIENCE).is_some());
        assert_eq!((hold.due(), hold.take_due(now + PATIENCE * 9)), (None, None), "once");
        assert_eq!(hold.set(now, true), HoldAudio::AsBefore, "a refresh changes nothing");
        assert_eq!(hold.set(now, false), HoldAudio::Ends);
        assert_eq!(hold.due(), None);
    }

    #[test]
    fn rule_16_speech_under_way_only_puts_ours_off_and_music_of_the_pbx_keeps_it_away() {
        let (mut hold, now) = held();
        let leftover = now + Duration::from_millis(200);
        hold.heard(leftover);
        assert_eq!(hold.due(), Some(leftover + PATIENCE));
        let music = now + Duration::from_millis(600);
        assert_eq!(hold.heard(music), HoldAudio::Ends, "also when ours has begun");
        assert_eq!(hold.due(), Some(music + SILENCE_OF_A_PBX));
    }

    #[test]
    fn without_hold_audio_nothing_is_due() {
        let now = Instant::now();
        let mut hold = Hold::default();
        hold.set(now, true);
        assert_eq!((hold.due(), hold.take_due(now + PATIENCE)), (None, None));
    }
}
