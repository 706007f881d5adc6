//! Silence towards the encoder: noticed before it is encoded, so that it costs as little as it is worth.

use crate::codec::level_dbov;

/// Below this a room is empty …
const QUIET_DBOV: f32 = -54.0;
/// … and above this somebody speaks, from the first frame on.
const LOUD_DBOV: f32 = -50.0;
/// So many quiet frames in a row are a silence: the end of a word stays whole.
const QUIET_FRAMES: u8 = 5;

/// How much work a frame is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// As the settings say.
    Speech,
    /// As little as possible.
    Silence,
}

/// Watches the frames on their way to the encoder.
#[derive(Clone, Copy, Debug, Default)]
pub struct SilenceWatch {
    quiet: u8,
}

impl SilenceWatch {
    /// Looks at a frame and tells its worth when that is not the worth of the frame before.
    pub fn look(&mut self, frame: &[i16]) -> Option<Worth> {
        let silent = self.is_silent();
        let level = level_dbov(frame);
        if level > LOUD_DBOV || (!silent && level > QUIET_DBOV) {
            self.quiet = 0;
        } else {
            self.quiet = (self.quiet + 1).min(QUIET_FRAMES);
        }
        (self.is_silent() != silent).then_some(if silent { Worth::Speech } else { Worth::Silence })
    }

    /// True if the last frame was worth little.
    #[must_use]
    pub const fn is_silent(&self) -> bool {
        self.quiet >= QUIET_FRAMES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_begins_after_a_tenth_of_a_second_and_ends_with_the_first_loud_frame() {
        let mut watch = SilenceWatch::default();
        let (speech, room, breath) = ([3000; 160], [20; 160], [80; 160]);
        assert_eq!(watch.look(&speech), None);
        for _ in 0..4 {
            assert_eq!(watch.look(&room), None);
        }
        assert_eq!(watch.look(&room), Some(Worth::Silence));
        assert_eq!(
            (watch.look(&room), watch.look(&breath)),
            (None, None),
            "between the limits nothing changes"
        );
        assert_eq!(watch.look(&speech), Some(Worth::Speech));
        assert_eq!(watch.look(&breath), None);
        assert!(!watch.is_silent());
    }
}
