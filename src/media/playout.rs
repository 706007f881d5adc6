//! How a pipe keeps time: it measures the path while it relays, and plays from a buffer once it must (rule 13).
//!
//! `auto` goes over to playout when the path is poor and never back: a path that was poor will be so again, the
//! buffer of a calm path is two frames deep, and every way back is a splice that can be heard.

use std::time::{Duration, Instant};

use super::concealer::Concealer;
use super::jitter::{Jitter, Timing};
use super::jitter_buffer::Carries;
use super::player::{Decode, Player, PlayerFigures, PlayerSettings};
use super::summary::PlayoutSummary;
use crate::codec::{AudioCodec, OpusDecoder, SampleRate, SpeechDecoder};
use crate::rtp::RtpPacket;

/// Frames that are overdue leave at this distance, so that what waits in the socket can be read between them.
pub const PACE: Duration = Duration::from_millis(5);
/// The least delay: redundancy for a frame of Opus comes with the next one, 20 ms later, and frames are whole.
const OPUS_FLOOR: Duration = Duration::from_millis(45);
const FLOOR: Duration = Duration::from_millis(30);

/// What a pipe has to do with a packet of speech.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Pass it on now.
    Relay,
    /// Nothing: it is in the buffer.
    Buffered,
    /// Nothing, and from now on the buffer is asked for every frame.
    BufferedFirst,
}

/// The timing of one pipe.
#[derive(Debug)]
pub struct Playout {
    timing: Timing,
    settings: PlayerSettings,
    /// What is known of the path while nothing is buffered.
    jitter: Jitter,
    player: Option<Box<Player>>,
}

impl Playout {
    /// Of a pipe from the user: Opus decoded to `rate`.
    #[must_use]
    pub fn of_user(rate: SampleRate) -> Self {
        // libopus conceals in steps of 10 ms.
        Self::new(PlayerSettings {
            rate: rate.hz(),
            clock: 48_000,
            grain: rate.samples(10),
            floor: OPUS_FLOOR,
        })
    }

    /// Of a pipe from a phone.
    #[must_use]
    pub fn of_phone(codec: AudioCodec) -> Self {
        Self::new(PlayerSettings {
            rate: codec.rate().hz(),
            clock: codec.clock(),
            grain: codec.rate().samples(1),
            floor: if codec == AudioCodec::Opus { OPUS_FLOOR } else { FLOOR },
        })
    }

    fn new(settings: PlayerSettings) -> Self {
        Self { timing: Timing::default(), settings, jitter: Jitter::new(settings.clock), player: None }
    }

    /// Who keeps time from now on; what plays already goes on playing.
    pub const fn set_timing(&mut self, timing: Timing) {
        self.timing = timing;
    }

    /// The same timing for a stream of another rate.
    pub fn restart(&mut self, other: Self) {
        let timing = self.timing;
        let played = self.player.is_some();
        *self = other;
        self.timing = timing;
        if played {
            self.player = Some(Box::new(Player::new(self.settings, self.jitter.clone())));
        }
    }

    /// Takes a packet of speech.
    pub fn hear(&mut self, arrived: Instant, packet: &RtpPacket<'_>, carries: Carries) -> Way {
        if let Some(player) = &mut self.player {
            player.insert(arrived, packet, carries);
            return Way::Buffered;
        }
        let header = &packet.header;
        if self.timing != Timing::Playout {
            self.jitter.note(arrived, header.ssrc, header.seq, header.timestamp);
            if self.timing == Timing::Relay || !self.jitter.is_poor() {
                return Way::Relay;
            }
        }
        let mut player = Box::new(Player::new(self.settings, self.jitter.clone()));
        player.insert(arrived, packet, carries);
        if self.timing == Timing::Auto {
            // Speech is under way: it goes on at once, and slower until there is delay enough.
            player.follow_on();
        }
        self.player = Some(player);
        Way::BufferedFirst
    }

    /// The player, once there is one.
    pub fn player(&mut self) -> Option<&mut Player> {
        self.player.as_deref_mut()
    }

    /// True once a buffer stands in the way.
    #[must_use]
    pub const fn is_playing(&self) -> bool {
        self.player.is_some()
    }

    /// Forgets what is buffered, not what is known of the path.
    pub fn reset(&mut self) {
        if let Some(player) = &mut self.player {
            player.reset();
        }
    }

    /// What the player did so far.
    #[must_use]
    pub fn figures(&self) -> PlayerFigures {
        self.player.as_ref().map_or_else(PlayerFigures::default, |player| *player.figures())
    }

    /// How the path is, and how the buffer does if there is one.
    #[must_use]
    pub fn summary(&self) -> PlayoutSummary {
        let jitter = self.player.as_ref().map_or(&self.jitter, |it| it.jitter());
        let jitter_p95 = jitter.percentile(95);
        let Some(player) = &self.player else { return PlayoutSummary { jitter_p95, ..Default::default() } };
        PlayoutSummary {
            jitter_p95,
            depth: player.depth(),
            target: Some(player.target()),
            deepest: Some(player.figures().deepest),
            shortened: player.figures().shortened,
            lengthened: player.figures().lengthened,
        }
    }
}

/// The user's speech: Opus at the phone's rate.
#[derive(Debug)]
pub struct UserVoice<'a> {
    /// The pipe's decoder.
    pub decoder: &'a mut OpusDecoder,
    /// Samples of 20 ms.
    pub frame: usize,
}

impl Decode for UserVoice<'_> {
    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Option<usize> {
        self.decoder.decode(payload, out).ok()
    }

    fn restore(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        OpusDecoder::has_redundancy(next) && self.decoder.recover(next, out).is_ok()
    }

    fn invent(&mut self, out: &mut [i16]) {
        for part in out.chunks_mut(self.frame) {
            if self.decoder.conceal(part).is_err() {
                part.fill(0);
            }
        }
    }
}

/// A phone's speech.
#[derive(Debug)]
pub struct PhoneVoice<'a> {
    /// The pipe's decoder.
    pub decoder: &'a mut SpeechDecoder,
    /// What stands in for lost speech.
    pub concealer: &'a mut Concealer,
}

impl Decode for PhoneVoice<'_> {
    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Option<usize> {
        let count = self.decoder.decode(payload, out).ok()?;
        self.concealer.heard(out.get_mut(..count)?);
        Some(count)
    }

    fn restore(&mut self, next: &[u8], out: &mut [i16]) -> bool {
        let SpeechDecoder::Opus(decoder) = &mut self.decoder else { return false };
        let restored = OpusDecoder::has_redundancy(next) && decoder.recover(next, out).is_ok();
        if restored {
            self.concealer.heard(out);
        }
        restored
    }

    fn invent(&mut self, out: &mut [i16]) {
        self.concealer.invent(out);
    }
}

/// What an Opus packet is good for.
#[must_use]
pub fn carries(payload: &[u8]) -> Carries {
    if OpusDecoder::has_redundancy(payload) { Carries::FrameBefore } else { Carries::Itself }
}
