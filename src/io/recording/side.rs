//! One side of a call, from packets to an unbroken line of samples that stands still against our clock.
//!
//! Packets are put in order, repeated ones left out, losses restored, and each piece is laid where its
//! sender's clock says. Where two clocks part, a few samples at a time are squeezed in or out, which nobody
//! hears; where a side says nothing there is silence.

use std::collections::BTreeMap;

use super::clock::{Clock, Place};
use super::wide::Widener;
use crate::codec::{ARCHIVE_RATE, AudioCodec, MAX_OPUS_SAMPLES, SampleRate, SpeechDecoder, level_dbov};
use crate::media::concealer::Concealer;
use crate::media::tap::{Heard, MAX_PAYLOAD};
use crate::rtp::SeqNo;

/// 120 ms, the longest packet of Opus; of other codecs nobody sends more.
const LONGEST: usize = MAX_OPUS_SAMPLES;
/// Losses up to 60 ms are restored; longer ones are silence, as they were for the listener.
const RESTORED: i64 = 960;
/// An error of place below 1 ms is left alone.
const LEFT_ALONE: i64 = 16;
/// Samples of a piece for each one that is squeezed in or out: no more than 1.25 %.
const PER_SQUEEZE: i64 = 80;
/// A piece below this is a pause, where a larger error is mended at once.
const PAUSE_DBOV: f32 = -50.0;
/// Packets that wait to be laid; more than 2 s of them is a flood.
const MOST_WAITING: usize = 250;

#[derive(Debug)]
struct Waiting {
    codec: AudioCodec,
    seq: SeqNo,
    payload: Vec<u8>,
}

/// What became of a side's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SideFigures {
    /// Packets that came when their time was written already, too many at once, or twice.
    pub(super) late: u64,
    /// Samples restored after a loss.
    pub(super) restored: u64,
    /// Packets that could not be decoded.
    pub(super) broken: u64,
}

/// One side of a call.
#[derive(Debug)]
pub(super) struct SideLine {
    clock: Clock,
    waiting: BTreeMap<Place, Waiting>,
    /// What the sender will say next, and the packet before it.
    next: Option<(Place, SeqNo)>,
    decoder: Option<(AudioCodec, SpeechDecoder)>,
    widener: Widener,
    concealer: Concealer,
    /// Laid and not yet taken; ends at `head`.
    laid: Vec<i16>,
    head: i64,
    /// The piece in work.
    piece: Vec<i16>,
    figures: SideFigures,
}

impl SideLine {
    pub(super) fn new() -> Self {
        Self {
            clock: Clock::default(),
            waiting: BTreeMap::new(),
            next: None,
            decoder: None,
            widener: Widener::default(),
            concealer: Concealer::new(1, SampleRate::Wide),
            laid: Vec::with_capacity(ARCHIVE_RATE as usize),
            head: 0,
            piece: Vec::with_capacity(2 * LONGEST),
            figures: SideFigures::default(),
        }
    }

    pub(super) const fn figures(&self) -> SideFigures {
        self.figures
    }

    /// Takes a packet, in any order.
    pub(super) fn hear(&mut self, heard: &Heard<'_>) {
        debug_assert!(heard.payload.len() <= MAX_PAYLOAD);
        let place = self.clock.place(heard);
        let said = self.next.is_some_and(|(next, _)| place < next);
        if said || self.waiting.len() >= MOST_WAITING || self.waiting.contains_key(&place) {
            self.figures.late += 1;
            return;
        }
        let waiting = Waiting { codec: heard.codec, seq: heard.seq, payload: heard.payload.to_vec() };
        self.waiting.insert(place, waiting);
    }

    /// Appends the line up to sample `until` to `out`; what was taken before is not taken again.
    pub(super) fn take(&mut self, until: i64, out: &mut Vec<i16>) {
        while self.head < until {
            let first = self.waiting.first_key_value();
            // What will be restored before a packet has a place, too.
            let due = first.map(|(place, it)| (self.due(*place), self.restorable(*place, it)));
            let Some((due, lost)) = due.filter(|(due, lost)| due - lost < until) else {
                self.silence(until - self.head);
                break;
            };
            if let Some((place, waiting)) = self.waiting.pop_first() {
                self.lay(place, due, lost, &waiting);
            }
        }
        let kept = usize::try_from(self.head - until).unwrap_or(0);
        let taken = self.laid.len().saturating_sub(kept);
        out.extend(self.laid.drain(..taken));
    }

    fn due(&self, place: Place) -> i64 {
        place.sample + self.clock.offset(place.epoch)
    }

    fn silence(&mut self, samples: i64) {
        let samples = usize::try_from(samples).unwrap_or(0);
        self.laid.resize(self.laid.len() + samples, 0);
        self.head += (samples as u64).cast_signed();
    }

    /// Samples that lie between the packet before and this one, if they were lost and can be restored.
    fn restorable(&self, place: Place, waiting: &Waiting) -> i64 {
        let before = self.next.filter(|(next, _)| next.epoch == place.epoch);
        let missing = before.map_or(0, |(next, seq)| {
            // Without a missing sequence number the sender was silent on purpose.
            if waiting.seq.since(seq) > 1 { place.sample - next.sample } else { 0 }
        });
        if (1..=RESTORED).contains(&missing) { missing } else { 0 }
    }

    fn lay(&mut self, place: Place, due: i64, lost: i64, waiting: &Waiting) {
        let before = self.next.filter(|(next, _)| next.epoch == place.epoch);
        let missing = before.map_or(i64::MAX, |(next, _)| place.sample - next.sample);
        if missing < 0 {
            self.figures.late += 1;
            return;
        }
        if lost > 0 {
            self.restore(lost.unsigned_abs() as usize, waiting);
        } else if missing != 0 {
            // A pause, or a loss too long to restore: what follows is laid by the clock alone.
            self.silence(due - self.head);
        }
        self.piece.clear();
        let samples = self.decode(waiting);
        if samples == 0 {
            self.figures.broken += 1;
            return;
        }
        self.next =
            Some((Place { sample: place.sample + (samples as u64).cast_signed(), ..place }, waiting.seq));
        self.lay_piece(due - self.head);
    }

    /// Lays the piece, off by `error` samples, as near to its place as can be done unheard.
    fn lay_piece(&mut self, error: i64) {
        let length = (self.piece.len() as u64).cast_signed();
        let mut squeeze = 0;
        if error.abs() > LEFT_ALONE {
            if level_dbov(&self.piece) >= PAUSE_DBOV {
                squeeze = error.clamp(-length / PER_SQUEEZE, length / PER_SQUEEZE);
            } else if error > 0 {
                self.silence(error);
            } else {
                let kept = usize::try_from(length + error).unwrap_or(0);
                self.piece.truncate(kept);
            }
        }
        if squeeze == 0 {
            self.laid.extend_from_slice(&self.piece);
            self.head += (self.piece.len() as u64).cast_signed();
        } else {
            let length = usize::try_from(length + squeeze).unwrap_or(0);
            squeeze_into(&self.piece, length, &mut self.laid);
            self.head += (length as u64).cast_signed();
        }
    }

    /// Decodes a packet into the piece and tells the samples of it.
    fn decode(&mut self, waiting: &Waiting) -> usize {
        let Some(decoder) = decoder_of(&mut self.decoder, waiting.codec) else { return 0 };
        let mut samples = [0; LONGEST];
        let count = decoder.decode(&waiting.payload, &mut samples).unwrap_or(0);
        match waiting.codec.rate() {
            SampleRate::Narrow => self.widener.widen(&samples[..count], &mut self.piece),
            SampleRate::Wide => self.piece.extend_from_slice(&samples[..count]),
        }
        // Opus has a concealer of its own.
        if waiting.codec != AudioCodec::Opus {
            self.concealer.heard(&mut self.piece);
        }
        self.piece.len()
    }

    /// Lays what was lost before `next`: its last 20 ms from the redundancy of `next` if there is any, the
    /// rest invented.
    fn restore(&mut self, samples: usize, next: &Waiting) {
        self.piece.clear();
        self.piece.resize(samples, 0);
        if let Some(SpeechDecoder::Opus(decoder)) = decoder_of(&mut self.decoder, next.codec) {
            let mut left = samples;
            for frame in self.piece.chunks_exact_mut(SampleRate::Wide.frame()) {
                left -= frame.len();
                let _ =
                    if left == 0 { decoder.recover(&next.payload, frame) } else { decoder.conceal(frame) };
            }
        } else {
            self.concealer.invent(&mut self.piece);
        }
        self.figures.restored += samples as u64;
        self.laid.extend_from_slice(&self.piece);
        self.head += (samples as u64).cast_signed();
    }
}

/// The decoder for `codec`, made when its first packet needs it.
fn decoder_of(
    place: &mut Option<(AudioCodec, SpeechDecoder)>,
    codec: AudioCodec,
) -> Option<&mut SpeechDecoder> {
    if place.as_ref().is_none_or(|(of, _)| *of != codec) {
        *place = SpeechDecoder::new(codec).ok().map(|decoder| (codec, decoder));
    }
    place.as_mut().map(|(_, decoder)| decoder)
}

/// Appends `piece` made as long as `length`, by straight lines between its samples.
fn squeeze_into(piece: &[i16], length: usize, out: &mut Vec<i16>) {
    let step = piece.len() as f32 / length.max(1) as f32;
    out.extend((0..length).map(|at| {
        let from = at as f32 * step;
        let (index, share) = (from as usize, from.fract());
        let here = f32::from(piece[index.min(piece.len() - 1)]);
        let there = f32::from(piece[(index + 1).min(piece.len() - 1)]);
        (there - here).mul_add(share, here).round() as i16
    }));
}
