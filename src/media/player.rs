//! Playout: a stream from its jitter buffer as 20 ms of sound whenever somebody asks, at any rate.
//!
//! What is missing is restored or invented by the stream's decoder, what came too early or too late is
//! stretched until the delay is what the path needs.

use std::time::{Duration, Instant};

use super::jitter::Jitter;
use super::jitter_buffer::{Carries, Inserted, JitterBuffer, Popped};
use super::stretch::{Care, Stretch};
use crate::rtp::RtpPacket;

/// The delay may be so far above the target, in microseconds, before anything is done: most pitch periods fit.
const ABOVE: i64 = 8_000;
/// Up to here only pauses are shortened on an uneven path, and seldom. There the target moves by as much within
/// seconds, and speech that is stretched forth and back sounds worse than speech that comes 20 ms later.
const ABOVE_IN_SPEECH: i64 = 25_000;
/// It may be so far below, and still within the margin.
const BELOW: i64 = 8_000;
/// So much surplus is worked off quickly, ...
const FAR_ABOVE: i64 = 60_000;
/// ... and so much lack is made good quickly.
const FAR_BELOW: i64 = 30_000;
/// Frames between two changes that nobody shall hear.
const REST: u32 = 5;
/// Frames between two changes when nothing presses: 5 s.
const LONG_REST: u32 = 250;
/// Frames between two changes when too little is buffered.
const SHORT_REST: u32 = 2;
/// 200 ms at 16 kHz: no packet is longer.
const LONGEST_PACKET: usize = 3200;
/// The most delay that a conversation bears.
const MOST: Duration = Duration::from_millis(400);

/// What turns payloads into sound, and invents what is missing.
pub trait Decode {
    /// Decodes a packet; `None` if it cannot be used. Tells how many samples it had.
    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Option<usize>;
    /// Restores the 20 ms before `next` from its redundancy; false if it has none.
    fn restore(&mut self, next: &[u8], out: &mut [i16]) -> bool;
    /// Goes on with what was heard, fading; `out` is a whole number of [`PlayerSettings::grain`].
    fn invent(&mut self, out: &mut [i16]);
}

/// How a stream is played.
#[derive(Clone, Copy, Debug)]
pub struct PlayerSettings {
    /// Samples a second of the sound.
    pub rate: u32,
    /// Hertz of the time stamps.
    pub clock: u32,
    /// Samples that can be invented at once.
    pub grain: usize,
    /// The least delay, on a path without jitter.
    pub floor: Duration,
}

/// What most of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Played {
    /// What the sender said, stretched or not, restored or not.
    Speech,
    /// Something in its place.
    Invented,
}

/// What a player did, in frames unless said otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct PlayerFigures {
    /// Packets that came after their turn.
    pub late: u64,
    /// Packets that could not be decoded.
    pub refused: u64,
    /// Invented in place of lost ones, those included that were known to be lost only afterwards.
    pub concealed: u64,
    /// Restored from redundancy.
    pub recovered: u64,
    /// Invented while nothing was there to play.
    pub waited: u64,
    /// Left out after an outage.
    pub skipped: u64,
    /// Times a piece was taken out.
    pub shortened: u64,
    /// Times a piece was put in.
    pub lengthened: u64,
    /// The deepest that the buffer was.
    pub deepest: Duration,
}

/// The player; see the module's words.
#[derive(Clone, Debug)]
pub struct Player {
    settings: PlayerSettings,
    buffer: JitterBuffer,
    stretch: Stretch,
    /// Sound played already, as much of it as a change may need, then sound that waits.
    sound: Vec<i16>,
    /// Where the waiting sound begins.
    place: usize,
    since_change: u32,
    delay: Option<i64>,
    /// Samples invented for what was known to be lost.
    concealed: usize,
    figures: PlayerFigures,
}

impl Player {
    /// A player of a stream of which `jitter` knows what was measured so far.
    #[must_use]
    pub fn new(settings: PlayerSettings, jitter: Jitter) -> Self {
        Self {
            buffer: JitterBuffer::new(jitter, settings.floor, MOST),
            stretch: Stretch::new(settings.rate),
            sound: Vec::with_capacity(2 * LONGEST_PACKET),
            place: 0,
            since_change: REST,
            delay: None,
            concealed: 0,
            figures: PlayerFigures::default(),
            settings,
        }
    }

    /// Takes a packet of the stream.
    pub fn insert(&mut self, arrived: Instant, packet: &RtpPacket<'_>, carries: Carries) -> Inserted {
        let header = &packet.header;
        let done =
            self.buffer.insert(arrived, header.ssrc, header.seq, header.timestamp, carries, packet.payload);
        if done == Inserted::Late {
            self.figures.late += 1;
        }
        done
    }

    /// The first packet does not wait for the target: the speech before it was played already.
    pub const fn follow_on(&mut self) {
        self.buffer.follow_on();
    }

    /// Forgets what waits: what comes next is a new piece of sound.
    pub fn reset(&mut self) {
        self.buffer.reset();
        self.sound.clear();
        self.place = 0;
    }

    /// Puts sound before what the buffer holds: what a relay had not sent yet.
    pub fn prepend(&mut self, samples: &[i16]) {
        self.sound.extend_from_slice(samples);
    }

    /// The next 20 ms, to be heard from `now` on.
    pub fn play(&mut self, now: Instant, decode: &mut impl Decode, out: &mut [i16]) -> Played {
        let frame = out.len();
        let mut invented = self.fill(now, frame, decode);
        self.delay = self.buffer.delay(self.end(now));
        if let Some(delay) = self.delay {
            let depth = Duration::from_micros(u64::try_from(delay).unwrap_or(0));
            self.figures.deepest = self.figures.deepest.max(depth);
        }
        self.since_change = self.since_change.saturating_add(1);
        if invented == 0 {
            self.change(now, frame);
            invented += self.fill(now, frame, decode);
        }
        let end = (self.place + frame).min(self.sound.len());
        out.fill(0);
        out[..end - self.place].copy_from_slice(&self.sound[self.place..end]);
        self.stretch.heard(out);
        self.place = end;
        let done = self.place.saturating_sub(self.stretch.history());
        self.sound.copy_within(done.., 0);
        self.sound.truncate(self.sound.len() - done);
        self.place -= done;
        if 2 * invented > frame { Played::Invented } else { Played::Speech }
    }

    /// When the sound that waits will have been played.
    fn end(&self, now: Instant) -> Instant {
        now + self.span(self.pending())
    }

    const fn pending(&self) -> usize {
        self.sound.len() - self.place
    }

    fn span(&self, samples: usize) -> Duration {
        Duration::from_micros(samples as u64 * 1_000_000 / u64::from(self.settings.rate))
    }

    fn samples(&self, span: i64) -> usize {
        usize::try_from(span * i64::from(self.settings.rate) / 1_000_000).unwrap_or(0)
    }

    fn ticks(&self, samples: usize) -> i64 {
        (samples as u64).cast_signed() * i64::from(self.settings.clock) / i64::from(self.settings.rate)
    }

    /// Takes from the buffer until a frame can be played; tells how many samples had to be invented.
    fn fill(&mut self, now: Instant, frame: usize, decode: &mut impl Decode) -> usize {
        let mut invented = 0;
        while self.pending() < frame {
            let (at, missing) = (self.end(now), frame - self.pending());
            let start = self.sound.len();
            match self.buffer.pop(at) {
                Popped::Frame(payload) => {
                    self.sound.resize(start + LONGEST_PACKET, 0);
                    let count = decode.decode(payload, &mut self.sound[start..]);
                    self.sound.truncate(start + count.unwrap_or(0).min(LONGEST_PACKET));
                    if count.is_none() {
                        self.figures.refused += 1;
                    }
                    let ticks = self.ticks(self.sound.len() - start);
                    self.buffer.decoded(ticks);
                }
                Popped::Lost { ticks, next } => {
                    self.sound.resize(start + frame, 0);
                    let restored = next.is_some_and(|next| decode.restore(next, &mut self.sound[start..]));
                    if restored {
                        self.figures.recovered += 1;
                    } else {
                        let lost =
                            (ticks * i64::from(self.settings.rate) / i64::from(self.settings.clock)) as usize;
                        let count = (lost.div_ceil(self.settings.grain) * self.settings.grain).min(frame);
                        self.sound.truncate(start + count);
                        decode.invent(&mut self.sound[start..]);
                        self.concealed += count;
                        invented += count;
                    }
                    let ticks = self.ticks(self.sound.len() - start);
                    self.buffer.made_up(ticks);
                }
                Popped::Early(wait) => {
                    let wait = self.samples(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX)).min(missing);
                    invented += self.invent(wait, decode);
                }
                Popped::Empty => {
                    let count = self.invent(missing, decode);
                    invented += count;
                    let ticks = self.ticks(count);
                    self.buffer.held(ticks);
                }
            }
        }
        self.figures.skipped = self.buffer.skipped;
        let bridged = usize::try_from(self.buffer.bridged).unwrap_or(0);
        let concealed = self.concealed + bridged * self.settings.rate as usize / self.settings.clock as usize;
        self.figures.concealed = (concealed / frame) as u64;
        invented
    }

    fn invent(&mut self, wanted: usize, decode: &mut impl Decode) -> usize {
        let count = wanted.div_ceil(self.settings.grain).max(1) * self.settings.grain;
        let start = self.sound.len();
        self.sound.resize(start + count, 0);
        decode.invent(&mut self.sound[start..]);
        self.figures.waited += 1;
        count
    }

    /// Takes a piece out of the waiting sound or puts one in, if the delay asks for it.
    fn change(&mut self, now: Instant, frame: usize) {
        let Some(surplus) = self.buffer.surplus(self.end(now)) else { return };
        if surplus > ABOVE {
            if self.since_change <= REST && surplus <= FAR_ABOVE {
                return;
            }
            let (care, rest) = match surplus {
                ..=ABOVE_IN_SPEECH if self.buffer.is_uneven() => (Care::Pauses, LONG_REST),
                ..=FAR_ABOVE => (Care::Unheard, REST),
                _ => (Care::Quick, 0),
            };
            let queued = self.samples(i64::try_from(self.buffer.queued().as_micros()).unwrap_or(0));
            let spare = (self.pending() + queued).saturating_sub(frame);
            let most = self.samples(surplus).min(spare);
            if self.since_change > rest && self.stretch.shorten(&mut self.sound, self.place, most, care) > 0 {
                self.figures.shortened += 1;
                self.since_change = 0;
            }
        } else if surplus < -BELOW {
            let rest = if surplus < -FAR_BELOW { SHORT_REST } else { REST };
            let most = self.samples(-surplus);
            if self.since_change > rest
                && self.stretch.lengthen(&mut self.sound, self.place, most, Care::Unheard) > 0
            {
                self.figures.lengthened += 1;
                self.since_change = 0;
            }
        }
    }

    /// How much later than at the earliest sound is played now; `None` before the first.
    #[must_use]
    pub fn depth(&self) -> Option<Duration> {
        self.delay.map(|delay| Duration::from_micros(u64::try_from(delay).unwrap_or(0)))
    }

    /// How much later it should be.
    #[must_use]
    pub const fn target(&self) -> Duration {
        self.buffer.target()
    }

    /// How the stream arrives.
    #[must_use]
    pub const fn jitter(&self) -> &Jitter {
        self.buffer.jitter()
    }

    /// What was done so far.
    #[must_use]
    pub const fn figures(&self) -> &PlayerFigures {
        &self.figures
    }
}
