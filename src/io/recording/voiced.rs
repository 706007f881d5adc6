//! When the user speaks, and when no more: by the level of what is recorded.

use std::time::Duration;

use super::Kept;
use super::timeline::Frame;
use crate::codec::{ARCHIVE_FRAME, level_dbov};

/// Speech on a telephone is 20 to 30 dB below full scale, the noise of a room below 50.
const SPEECH: f32 = -45.0;
/// Of a frame.
const FRAME: Duration = Duration::from_millis(20);
/// Clicks and single words of noise are no speech: so many frames in a row are.
const RUN: u32 = 3;

/// What was heard of the user so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Voice {
    heard: Duration,
    silent: Duration,
    run: u32,
}

impl Voice {
    /// Listens to the user in a frame; true when the user has said everything.
    pub(super) fn hear(&mut self, frame: &Frame, kept: Kept) -> bool {
        let Kept::User { silence } = kept else { return false };
        let mut user = [0; ARCHIVE_FRAME];
        for (sample, both) in user.iter_mut().zip(frame.chunks_exact(2)) {
            *sample = both[0];
        }
        self.run = if level_dbov(&user) > SPEECH { self.run + 1 } else { 0 };
        if self.run >= RUN {
            self.heard += if self.run == RUN { FRAME * RUN } else { FRAME };
            self.silent = Duration::ZERO;
        } else {
            self.silent += FRAME;
        }
        self.silent >= silence
    }

    /// For how long the user was heard.
    pub(super) const fn heard(&self) -> Duration {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Kept = Kept::User { silence: Duration::from_secs(2) };

    fn frame(level: i16) -> Frame {
        let mut frame = [0; 2 * ARCHIVE_FRAME];
        for both in frame.chunks_exact_mut(2) {
            both[0] = level;
            both[1] = 7;
        }
        frame
    }

    #[test]
    fn a_message_ends_when_the_user_is_silent_for_as_long_as_is_said_and_not_a_frame_before() {
        let mut voice = Voice::default();
        let mut ends =
            |level, frames: u32| (0..frames).filter(|_| voice.hear(&frame(level), MESSAGE)).count();
        assert_eq!(ends(3000, 50), 0);
        assert_eq!((ends(30, 99), ends(30, 1)), (0, 1));
        assert_eq!(voice.heard(), Duration::from_secs(1));
    }

    #[test]
    fn a_click_is_no_speech_and_a_pause_between_words_no_end() {
        let mut voice = Voice::default();
        for _ in 0..40 {
            assert!(!voice.hear(&frame(20_000), MESSAGE));
            assert!(!voice.hear(&frame(0), MESSAGE));
        }
        assert_eq!(voice.heard(), Duration::ZERO);
        for _ in 0..10 {
            assert!((0..10).all(|_| !voice.hear(&frame(3000), MESSAGE)));
            assert!((0..60).all(|_| !voice.hear(&frame(0), MESSAGE)));
        }
        assert_eq!(voice.heard(), Duration::from_secs(2));
    }

    #[test]
    fn what_the_phone_sends_is_nothing_to_a_message_and_a_call_never_ends_by_silence() {
        let mut loud_phone = frame(0);
        loud_phone.chunks_exact_mut(2).for_each(|both| both[1] = 20_000);
        let mut voice = Voice::default();
        assert!((0..99).all(|_| !voice.hear(&loud_phone, MESSAGE)) && voice.hear(&loud_phone, MESSAGE));
        assert_eq!(voice.heard(), Duration::ZERO);
        assert!((0..1000).all(|_| !voice.hear(&frame(0), Kept::BothSides)));
    }
}
