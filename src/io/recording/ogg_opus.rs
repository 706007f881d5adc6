//! A recording as Ogg/Opus: headers, pages of a second, and an end to the sample (RFC 7845, RFC 3533).

use std::io;

use ogg::{PacketWriteEndInfo, PacketWriter};

use super::timeline::Frame;
use crate::codec::{
    ARCHIVE_FRAME, ARCHIVE_MAPPING, ARCHIVE_RATE, ARCHIVE_STREAMS, ArchiveChannels, ArchiveEncoder,
    CodecError, MAX_ARCHIVE_PACKET,
};

/// Granule positions count at this rate, whatever the encoder's (RFC 7845 §4).
const GRANULES: u64 = 48_000;
const PER_SAMPLE: u64 = GRANULES / ARCHIVE_RATE as u64;
/// Packets of a page: a second, so that a crash costs no more.
const PAGE: u32 = 50;

/// An Ogg stream that grows in memory, to be taken away page by page.
pub(super) struct OggOpus {
    pages: PacketWriter<'static, Vec<u8>>,
    encoder: ArchiveEncoder,
    serial: u32,
    /// Samples by which the decoder is ahead of the recording.
    pre_skip: u64,
    packets: u32,
    frames: u64,
}

impl std::fmt::Debug for OggOpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OggOpus").field("frames", &self.frames).finish_non_exhaustive()
    }
}

impl OggOpus {
    /// A stream whose headers are ready to be taken.
    pub(super) fn new(bitrate: u32, channels: ArchiveChannels, serial: u32) -> io::Result<Self> {
        let mut encoder = ArchiveEncoder::new(bitrate, channels).map_err(no_memory)?;
        let pre_skip = encoder.look_ahead() as u64;
        let mut pages = PacketWriter::new(Vec::with_capacity(16 * 1024));
        let head = head(channels, u16::try_from(pre_skip * PER_SAMPLE).unwrap_or(0));
        pages.write_packet(head, serial, PacketWriteEndInfo::EndPage, 0)?;
        pages.write_packet(tags(channels), serial, PacketWriteEndInfo::EndPage, 0)?;
        Ok(Self { pages, encoder, serial, pre_skip, packets: 0, frames: 0 })
    }

    /// Adds a frame; true if a page is complete.
    pub(super) fn push(&mut self, frame: &Frame) -> io::Result<bool> {
        let full = self.packets + 1 == PAGE;
        let end = if full { PacketWriteEndInfo::EndPage } else { PacketWriteEndInfo::NormalPacket };
        self.frames += 1;
        // What can be played once this packet is decoded: RFC 7845 §4 counts what will be skipped, too.
        let granule = self.frames * ARCHIVE_FRAME as u64 * PER_SAMPLE;
        self.packet(frame, end, granule)?;
        self.packets = if full { 0 } else { self.packets + 1 };
        Ok(full)
    }

    /// Ends the stream after what was pushed: one more frame brings out what the encoder holds back.
    pub(super) fn end(&mut self) -> io::Result<()> {
        let granule = (self.pre_skip + self.frames * ARCHIVE_FRAME as u64) * PER_SAMPLE;
        self.packet(&[0; 2 * ARCHIVE_FRAME], PacketWriteEndInfo::EndStream, granule)
    }

    fn packet(&mut self, frame: &Frame, end: PacketWriteEndInfo, granule: u64) -> io::Result<()> {
        let mut packet = [0; MAX_ARCHIVE_PACKET];
        let length = self.encoder.encode(frame, &mut packet).map_err(no_memory)?;
        self.pages.write_packet(packet[..length].to_vec(), self.serial, end, granule)
    }

    /// The pages that are complete.
    pub(super) fn pages(&mut self) -> &mut Vec<u8> {
        self.pages.inner_mut()
    }
}

fn no_memory(error: CodecError) -> io::Error {
    io::Error::other(format!("libopus refused: {error:?}"))
}

/// The identification header, one channel, or two of a stream each (RFC 7845 §5.1).
fn head(channels: ArchiveChannels, pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(match channels {
        ArchiveChannels::Two => 2,
        ArchiveChannels::Left => 1,
    });
    head.extend(pre_skip.to_le_bytes());
    head.extend(ARCHIVE_RATE.to_le_bytes());
    match channels {
        // No gain; channel mapping family 1, where two channels are left and right and no pair is coupled.
        ArchiveChannels::Two => {
            head.extend([0, 0, 1, ARCHIVE_STREAMS, 0]);
            head.extend(ARCHIVE_MAPPING);
        }
        // No gain; family 0, which every player knows.
        ArchiveChannels::Left => head.extend([0, 0, 0]),
    }
    head
}

/// The comment header (RFC 7845 §5.2).
fn tags(channels: ArchiveChannels) -> Vec<u8> {
    let comments = [match channels {
        ArchiveChannels::Two => "TITLE=left: WhatsApp user, right: phone",
        ArchiveChannels::Left => "TITLE=WhatsApp user",
    }];
    let vendor = concat!("Cordboard ", env!("CARGO_PKG_VERSION"));
    let mut tags = b"OpusTags".to_vec();
    let mut text = |text: &str| {
        tags.extend(u32::try_from(text.len()).unwrap_or(0).to_le_bytes());
        tags.extend(text.as_bytes());
    };
    text(vendor);
    tags.extend((comments.len() as u32).to_le_bytes());
    for comment in comments {
        tags.extend((comment.len() as u32).to_le_bytes());
        tags.extend(comment.as_bytes());
    }
    tags
}
