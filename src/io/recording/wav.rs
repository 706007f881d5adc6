//! A recording as WAV: 16 bits, two channels, a header that is right after every second.

use super::timeline::Frame;
use crate::codec::ARCHIVE_RATE;

/// Bytes before the samples.
pub(super) const HEADER: u64 = 44;
/// RIFF counts to 4 GiB (18 hours and a half); a recording ends before.
const MOST: u64 = u32::MAX as u64 - 1024 * 1024;
/// Frames that are written at once: a second.
const BATCH: u32 = 50;

/// Samples that wait to be written.
#[derive(Debug, Default)]
pub(super) struct Wav {
    samples: Vec<u8>,
    frames: u32,
}

impl Wav {
    /// Adds a frame; true if a second is complete.
    pub(super) fn push(&mut self, frame: &Frame) -> bool {
        self.samples.extend(frame.iter().flat_map(|sample| sample.to_le_bytes()));
        self.frames = (self.frames + 1) % BATCH;
        self.frames == 0
    }

    /// What is to be written.
    pub(super) const fn samples(&mut self) -> &mut Vec<u8> {
        &mut self.samples
    }
}

/// Whether a file of so many bytes can grow no more.
pub(super) const fn is_full(bytes: u64) -> bool {
    bytes >= MOST
}

/// The header of a file of so many bytes, itself included.
pub(super) fn header(bytes: u64) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: ARCHIVE_RATE,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut header = spec.into_header_for_infinite_file();
    let count = |from: u64| u32::try_from(bytes.saturating_sub(from)).unwrap_or(u32::MAX).to_le_bytes();
    header[4..8].copy_from_slice(&count(8));
    let length = header.len();
    header[length - 4..].copy_from_slice(&count(HEADER));
    header
}
