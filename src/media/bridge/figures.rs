//! What a bridge tells of itself: the summary of the call, the counters of the moment.

use std::time::Duration;

use super::{Bridge, OPUS};
use crate::media::Side;
use crate::media::summary::{DirectionSummary, Summary};

impl Bridge {
    /// The figures so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        let (mut to_phone, mut to_meta) = self.directions();
        let phone = self.phone.codec_name();
        to_phone.received = self.meta_reports.received(OPUS, self.to_phone.received(), &to_phone);
        to_meta.received = self.phone_reports.received(phone, self.to_meta.received(), &to_meta);
        self.phone_reports.fill(&mut to_phone, phone);
        self.meta_reports.fill(&mut to_meta, OPUS);
        to_phone.rate();
        to_meta.rate();
        let mut codecs = self.codecs.clone();
        if let Some(protection) = self.phone.protection() {
            codecs.push_str("; phone by ");
            codecs.push_str(protection);
        }
        Summary { codecs, to_phone, to_meta }
    }

    /// The counters so far, to the phone and to the user: cheap enough for every second.
    #[must_use]
    pub fn directions(&self) -> (DirectionSummary, DirectionSummary) {
        let (mut to_phone, mut to_meta) = (self.to_phone.figures(), self.to_meta.figures());
        to_phone.transit = self.transit_to_phone;
        to_meta.transit = self.transit_to_meta;
        to_meta.refused += self.foreign;
        (to_phone, to_meta)
    }

    /// The loss towards the user that the encoder prepares for, in per cent.
    #[must_use]
    pub const fn expected_loss(&self) -> u8 {
        self.to_meta.expected_loss()
    }

    /// Notes how long a packet was in the house, from the kernel's stamp to after the send.
    pub fn note_transit(&mut self, towards: Side, delay: Duration) {
        match towards {
            Side::Meta => self.transit_to_meta.add(delay),
            Side::Phone => self.transit_to_phone.add(delay),
        }
    }
}
