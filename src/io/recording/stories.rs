//! Both sides click at the same moments, behind networks and clocks of all kinds; the channels must agree.

use std::time::Duration;

use super::timeline::TimeLine;
use crate::codec::{
    ARCHIVE_RATE, AudioCodec, EncoderSettings, FRAME_SAMPLES, G711, MAX_OPUS_PACKET, OpusEncoder, SampleRate,
};
use crate::media::Side;
use crate::media::tap::Heard;
use crate::random::Random;
use crate::rtp::{RtpTime, SeqNo, Ssrc};

/// A second between two clicks, and the first one after half of it.
const CLICKS: f64 = 1.0;
/// A click is 5 ms of 1 kHz.
const CLICK: f64 = 0.005;
/// What counts as a click when it is heard again.
const LOUD: i16 = 6000;

/// How one side's packets come to be late or missing.
#[derive(Clone, Copy, Default)]
struct Net {
    /// Always so much, in seconds.
    delay: f64,
    /// Up to so much more, evenly.
    jitter: f64,
    /// This share never comes, but for what stands beside a click.
    loss: f64,
    /// The sender's clock is fast by so many parts in a million.
    drift: f64,
    /// Sound between the clicks.
    talks: bool,
    /// No pause between sound and click, so that there is nowhere to mend errors unheard.
    steady: bool,
}

struct Sender {
    side: Side,
    net: Net,
    opus: Option<OpusEncoder>,
    frame: u64,
    random: Random,
}

impl Sender {
    fn new(side: Side, net: Net, codec: AudioCodec, seed: u64) -> Self {
        let opus = (codec == AudioCodec::Opus)
            .then(|| OpusEncoder::new(SampleRate::Narrow, &EncoderSettings::default()).unwrap());
        Self { side, net, opus, frame: 0, random: Random::from_number(seed) }
    }

    /// What is heard at a moment of the true time.
    fn sound(&self, at: f64) -> f64 {
        let since = (at + CLICKS / 2.0) % CLICKS;
        let tone = |hertz: f64, level: f64| (at * hertz * std::f64::consts::TAU).sin() * level;
        if since < CLICK {
            tone(1000.0, 20_000.0)
        } else if self.net.talks && (self.net.steady || (0.05..0.95).contains(&since)) {
            tone(300.0, 1500.0)
        } else {
            0.0
        }
    }

    /// When the next packet is complete.
    fn sends(&self) -> f64 {
        ((self.frame + 1) * FRAME_SAMPLES as u64) as f64 / (8000.0 * (1.0 + self.net.drift / 1e6))
    }

    /// The next packet with its moment of arrival; `None` if it is lost.
    fn next(&mut self) -> (f64, Option<(Vec<u8>, u16, u32)>) {
        let rate = 8000.0 * (1.0 + self.net.drift / 1e6);
        let first = self.frame * FRAME_SAMPLES as u64;
        let samples: [i16; FRAME_SAMPLES] =
            std::array::from_fn(|at| self.sound((first + at as u64) as f64 / rate) as i16);
        let sent = self.sends();
        let mut chance = || f64::from(self.random.next_u32()) / f64::from(u32::MAX);
        let arrives = sent + self.net.delay + self.net.jitter * chance();
        // Concealment smears a click beside a loss: that tells nothing of where it stands.
        let next_click = (sent + CLICKS / 2.0) % CLICKS;
        let beside = !(0.05..CLICKS - 0.1).contains(&next_click);
        let lost = chance() < self.net.loss && !beside;
        let (payload, ticks) = match &mut self.opus {
            Some(encoder) => {
                let mut packet = [0; MAX_OPUS_PACKET];
                let length = encoder.encode(&samples, &mut packet).unwrap();
                (packet[..length].to_vec(), 960)
            }
            None => {
                let mut codes = vec![0; FRAME_SAMPLES];
                G711::ALaw.encode(&samples, &mut codes);
                (codes, FRAME_SAMPLES as u64)
            }
        };
        // Both counters wrap on the way.
        let stamp = ((self.frame * ticks + 0xffff_8000) & 0xffff_ffff) as u32;
        let seq = ((self.frame + 65_000) & 0xffff) as u16;
        self.frame += 1;
        (arrives, (!lost).then_some((payload, seq, stamp)))
    }

    const fn codec(&self) -> AudioCodec {
        if self.opus.is_some() { AudioCodec::Opus } else { AudioCodec::Pcma }
    }
}

/// The recording of `seconds`, both channels.
fn record(senders: [Sender; 2], seconds: u64) -> [Vec<i16>; 2] {
    let mut line = TimeLine::new();
    let mut waiting = std::collections::BTreeMap::new();
    let mut senders = senders;
    let mut channels = [Vec::new(), Vec::new()];
    let keep = |channels: &mut [Vec<i16>; 2], frame: super::timeline::Frame| {
        for both in frame.chunks_exact(2) {
            channels[0].push(both[0]);
            channels[1].push(both[1]);
        }
    };
    for moment in 0..seconds * 50 {
        let now = Duration::from_millis(moment * 20);
        for (index, sender) in senders.iter_mut().enumerate() {
            // Clocks run apart: what is sent until now was made by the sender's own count.
            while sender.sends() <= now.as_secs_f64() {
                let number = sender.frame;
                let (arrives, packet) = sender.next();
                if let Some(packet) = packet {
                    let at = Duration::from_secs_f64(arrives);
                    waiting.insert((at, index, number), (sender.side, sender.codec(), packet));
                }
            }
        }
        while let Some(entry) = waiting.first_entry().filter(|it| it.key().0 <= now) {
            let (at, index, _) = *entry.key();
            let (side, codec, (payload, seq, stamp)) = entry.remove();
            line.hear(&Heard {
                side,
                codec,
                at,
                ssrc: Ssrc(index as u32),
                seq: SeqNo(seq),
                timestamp: RtpTime(stamp),
                payload: &payload,
            });
        }
        while let Some(frame) = line.next(now) {
            keep(&mut channels, frame);
        }
    }
    channels
}

/// Where clicks begin, in seconds.
fn clicks(channel: &[i16]) -> Vec<f64> {
    let mut found: Vec<f64> = Vec::new();
    for (at, sample) in channel.iter().enumerate() {
        let at = at as f64 / f64::from(ARCHIVE_RATE);
        if sample.unsigned_abs() > LOUD.unsigned_abs() && found.last().is_none_or(|last| at - last > 0.3) {
            found.push(at);
        }
    }
    found
}

/// Compares the channels click by click; returns how many clicks both have and the largest difference.
fn compare(channels: &[Vec<i16>; 2]) -> (usize, f64) {
    let (left, right) = (clicks(&channels[0]), clicks(&channels[1]));
    let mut pairs = 0;
    let mut worst: f64 = 0.0;
    for at in &left {
        let nearest = right.iter().map(|it| (it - at).abs()).min_by(f64::total_cmp);
        if let Some(apart) = nearest.filter(|it| *it < 0.3) {
            pairs += 1;
            worst = worst.max(apart);
        }
    }
    (pairs, worst)
}

const LAW: AudioCodec = AudioCodec::Pcma;

#[test]
fn clicks_of_both_sides_stand_at_the_same_moment() {
    let quiet = Net { delay: 0.002, ..Net::default() };
    let user = Sender::new(Side::Meta, quiet, AudioCodec::Opus, 1);
    let phone = Sender::new(Side::Phone, quiet, LAW, 2);
    let channels = record([user, phone], 30);
    let (pairs, apart) = compare(&channels);
    assert!(pairs >= 27, "{pairs} clicks");
    // What is left is the 6.5 ms that the sender's own encoder takes.
    assert!(apart < 0.009, "{apart} s apart");
}

#[test]
fn loss_jitter_and_reordering_move_no_channel() {
    for seed in 0..5 {
        let bad = Net { delay: 0.03, jitter: 0.08, loss: 0.05, drift: 200.0, talks: true, steady: false };
        let user = Sender::new(Side::Meta, bad, AudioCodec::Opus, seed);
        let phone = Sender::new(Side::Phone, Net { delay: 0.03, ..Net::default() }, LAW, seed);
        let (pairs, apart) = compare(&record([user, phone], 60));
        assert!(pairs >= 50, "seed {seed}: {pairs} clicks");
        assert!(apart < 0.02, "seed {seed}: {apart} s apart");
    }
}

#[test]
fn two_hours_of_clocks_that_part_leave_both_channels_in_step() {
    let net = |drift| Net { delay: 0.01, jitter: 0.02, loss: 0.01, drift, talks: true, steady: true };
    let user = Sender::new(Side::Meta, net(200.0), LAW, 3);
    let phone = Sender::new(Side::Phone, net(-200.0), LAW, 4);
    let channels = record([user, phone], 7200);
    let (pairs, apart) = compare(&channels);
    assert!(pairs >= 7000, "{pairs} clicks");
    assert!(apart < 0.02, "{apart} s apart");
    // Neither side has moved against the true time: the clocks alone would be 1.4 s off, each its way.
    for channel in &channels {
        let last = clicks(channel).pop().unwrap();
        let off = (last + CLICKS / 2.0).rem_euclid(CLICKS);
        assert!(off < 0.08 && last > 7190.0, "the last click is {off} s late");
    }
}
