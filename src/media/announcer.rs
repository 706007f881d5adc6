//! Plays clips into a stream, a frame at a time: announcements over hold audio, every edge soft.

use super::clip::{Clip, Repeat};

/// Thousandths of a second over which a clip that is broken off fades, under what follows it.
const FADE_MILLIS: u32 = 8;

/// A clip and how far it has come.
#[derive(Clone, Debug)]
struct Track {
    clip: Clip,
    /// Samples of the narrow rate, so that a change of the rate in the middle keeps the place.
    at: usize,
    /// Rounds left after this one; `None`: without end.
    rounds: Option<u16>,
}

/// What is heard instead of the other side.
#[derive(Clone, Debug, Default)]
pub struct Announcer {
    /// Ordered, wins over what is played on hold.
    announcement: Option<Track>,
    hold: Option<Track>,
    /// The rest of a clip that was broken off.
    fading: Option<Track>,
    /// An announcement has come to its end and nobody was told.
    ended: bool,
}

impl Announcer {
    /// Plays `clip` instead of whatever is playing; a clip without samples has ended already.
    pub fn play(&mut self, clip: Clip, repeat: Repeat) {
        self.break_off();
        self.ended = clip.is_empty();
        let rounds = match repeat {
            Repeat::Once => Some(0),
            Repeat::Times(times) => Some(times.saturating_sub(1)),
            Repeat::Forever => None,
        };
        self.announcement = (!clip.is_empty()).then_some(Track { clip, at: 0, rounds });
    }

    /// Breaks an announcement off; hold audio below it goes on.
    pub fn stop(&mut self) {
        if self.announcement.is_some() {
            self.break_off();
            self.announcement = None;
        }
    }

    /// Plays `clip` for as long as the hold lasts; without effect if one is playing.
    pub fn hold(&mut self, clip: Clip) {
        if self.hold.is_none() && !clip.is_empty() {
            self.hold = Some(Track { clip, at: 0, rounds: None });
        }
    }

    /// The hold is over.
    pub fn resume(&mut self) {
        if self.hold.is_some() {
            if self.announcement.is_none() {
                self.break_off();
            }
            self.hold = None;
        }
    }

    fn break_off(&mut self) {
        let playing = self.announcement.as_ref().or(self.hold.as_ref());
        if let Some(track) = playing.filter(|it| it.at > 0) {
            self.fading = Some(track.clone());
        }
    }

    /// True while something is to be heard instead of the other side.
    #[must_use]
    pub const fn is_playing(&self) -> bool {
        self.announcement.is_some() || self.hold.is_some()
    }

    /// True once for every announcement that came to its end by itself.
    pub const fn take_ended(&mut self) -> bool {
        std::mem::replace(&mut self.ended, false)
    }

    /// Fills `samples` with what is playing and tells how many there were; the rest is left as it is.
    pub fn fill(&mut self, samples: &mut [i16], rate: u32) -> usize {
        let mut filled = 0;
        if let Some(track) = &mut self.announcement {
            filled = track.fill(samples, rate);
            if filled < samples.len() {
                self.announcement = None;
                self.ended = true;
            }
        }
        if let Some(track) = self.hold.as_mut().filter(|_| filled < samples.len()) {
            filled += track.fill(&mut samples[filled..], rate);
        }
        self.blend(&mut samples[..filled], rate);
        filled
    }

    /// Lays the end of a clip that was broken off under the first samples that follow it.
    pub fn blend(&mut self, samples: &mut [i16], rate: u32) {
        let Some(mut track) = self.fading.take() else { return };
        let length = ((rate * FADE_MILLIS / 1000) as usize).min(samples.len());
        let mut tail = [0; 16_000 * FADE_MILLIS as usize / 1000];
        let tail = &mut tail[..length];
        track.fill(tail, rate);
        for (at, (sample, old)) in samples.iter_mut().zip(tail).enumerate() {
            let left = i32::from(*old) * (length - at).cast_signed() as i32 / length.cast_signed() as i32;
            *sample = (i32::from(*sample) + left).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
        }
    }
}

impl Track {
    /// The next samples; fewer than were asked for only when it has ended.
    fn fill(&mut self, samples: &mut [i16], rate: u32) -> usize {
        let scale = (rate / 8000) as usize;
        let source = self.clip.samples(rate);
        let mut filled = 0;
        while filled < samples.len() {
            let from = (self.at * scale).min(source.len());
            let count = (source.len() - from).min(samples.len() - filled);
            samples[filled..filled + count].copy_from_slice(&source[from..from + count]);
            filled += count;
            self.at += count / scale;
            if from + count >= source.len() {
                match &mut self.rounds {
                    None => {}
                    Some(0) => break,
                    Some(rounds) => *rounds -= 1,
                }
                self.at = 0;
            }
        }
        filled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 ms that count up, at both rates.
    fn counting(from: i16) -> Clip {
        Clip::new((0..800).map(|it| from + it).collect(), (0..1600).map(|it| from + it / 2).collect())
    }

    fn frame(announcer: &mut Announcer, rate: u32) -> (usize, Vec<i16>) {
        let mut samples = vec![-1; rate as usize / 50];
        let filled = announcer.fill(&mut samples, rate);
        (filled, samples)
    }

    #[test]
    fn a_clip_is_played_once_and_its_end_is_told_once() {
        for rate in [8000, 16_000] {
            let mut announcer = Announcer::default();
            announcer.play(counting(0), Repeat::Once);
            let mut heard: Vec<i16> = Vec::new();
            while announcer.is_playing() {
                let (filled, samples) = frame(&mut announcer, rate);
                heard.extend(&samples[..filled]);
            }
            assert_eq!(heard, counting(0).samples(rate));
            assert!(announcer.take_ended() && !announcer.take_ended());
            assert_eq!(frame(&mut announcer, rate).0, 0);
        }
    }

    #[test]
    fn a_repeated_clip_goes_on_without_a_seam_as_often_as_was_asked() {
        let mut announcer = Announcer::default();
        announcer.play(Clip::new((0..100).collect(), vec![0; 200]), Repeat::Times(3));
        let (_, first) = frame(&mut announcer, 8000);
        assert_eq!(first, (0..160).map(|it| it % 100).collect::<Vec<i16>>());
        let (filled, second) = frame(&mut announcer, 8000);
        assert_eq!((filled, second[139], second[140]), (140, 99, -1));
        assert!(announcer.take_ended());
        announcer.play(counting(0), Repeat::Forever);
        assert!((0..500).all(|_| frame(&mut announcer, 8000).0 == 160) && !announcer.take_ended());
    }

    #[test]
    fn an_announcement_wins_over_hold_audio_which_then_goes_on() {
        let mut announcer = Announcer::default();
        announcer.hold(counting(10_000));
        assert_eq!(frame(&mut announcer, 8000).1[0], 10_000);
        announcer.play(Clip::new(vec![500; 200], vec![500; 400]), Repeat::Once);
        assert!(frame(&mut announcer, 8000).1[100..].iter().all(|it| *it == 500));
        let (filled, samples) = frame(&mut announcer, 8000);
        assert_eq!((filled, samples[39], samples[40]), (160, 500, 10_160), "the music goes on where it was");
        announcer.resume();
        assert!(!announcer.is_playing());
    }

    #[test]
    fn what_is_broken_off_fades_under_what_follows() {
        let mut announcer = Announcer::default();
        announcer.play(Clip::new(vec![8000; 800], vec![8000; 1600]), Repeat::Forever);
        frame(&mut announcer, 8000);
        announcer.stop();
        let mut speech = [100; 160];
        announcer.blend(&mut speech, 8000);
        assert_eq!((speech[0], speech[64]), (8100, 100));
        assert!(speech[..65].windows(2).all(|it| it[0] > it[1] && it[0] - it[1] < 140));
        announcer.blend(&mut speech, 8000);
        assert_eq!(speech[1], speech[1].max(100), "once only");
        assert!(!announcer.take_ended(), "stopped is not ended");
    }

    #[test]
    fn another_rate_in_the_middle_keeps_the_place() {
        let mut announcer = Announcer::default();
        announcer.play(counting(0), Repeat::Once);
        frame(&mut announcer, 8000);
        assert_eq!(frame(&mut announcer, 16_000).1[..3], [160, 160, 161]);
    }
}
