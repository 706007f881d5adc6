//! Finished RTP packets on their way to a leg, in storage that is used again and again.

use std::time::Instant;

use crate::rtp::RtpHeader;

/// Packets made by a pipe, in order.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    ends: Vec<(usize, Option<Instant>)>,
}

impl Frames {
    /// Adds a packet; `arrived` is when the packet it was made from was received, if it was made from one.
    pub fn push(&mut self, header: &RtpHeader, payload: &[u8], arrived: Option<Instant>) {
        self.bytes.extend_from_slice(&header.to_bytes());
        self.bytes.extend_from_slice(payload);
        self.ends.push((self.bytes.len(), arrived));
    }

    /// Adds a packet that is finished.
    pub fn push_bytes(&mut self, packet: &[u8], arrived: Option<Instant>) {
        self.bytes.extend_from_slice(packet);
        self.ends.push((self.bytes.len(), arrived));
    }

    /// The packets, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<Instant>)> {
        let mut start = 0;
        self.ends.iter().map(move |(end, arrived)| {
            let packet = &self.bytes[start..*end];
            start = *end;
            (packet, *arrived)
        })
    }

    /// Forgets the packets and keeps the storage.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// True if there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}
