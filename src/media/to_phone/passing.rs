//! Opus of the user that goes to the phone as it is: a new header, no decoding (rule 12).

use std::time::Instant;

use super::{LONGEST_JUMP, ToPhone};
use crate::codec::{MAX_OPUS_SAMPLES, OpusDecoder};
use crate::media::format::Passing;
use crate::media::frames::Frames;
use crate::media::pacer::Spacing;
use crate::media::stream::Sound;
use crate::rtp::{PayloadType, RtpPacket};

impl ToPhone {
    /// How Opus packets go to the phone as they are; `None`: they are decoded.
    pub(super) fn passes(&self) -> Option<PayloadType> {
        let (line, _) = self.out.as_ref()?;
        let as_they_are = line.takes_opus(self.settings.bitrate) && self.passing == Passing::Allowed;
        (as_they_are && self.sending && !self.digits.is_active() && !self.announcer.is_playing())
            .then_some(line.format.payload_type)
    }

    /// Sends Opus on as it is, holes included: the phone repairs them from its own redundancy and sound.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        arrived: Instant,
        packet: &RtpPacket<'_>,
        missing: u16,
        payload_type: PayloadType,
        out: &mut Frames,
    ) {
        let Some(ticks) = OpusDecoder::ticks(packet.payload) else {
            self.figures.refused += 1;
            return;
        };
        if self.voice.spoke() {
            self.deaf = true;
        } else {
            let mut samples = [0; MAX_OPUS_SAMPLES];
            if let Ok(count) = self.decoder.decode(packet.payload, &mut samples) {
                self.voice.hear(&samples[..count], self.rate.hz() as usize);
            }
        }
        let stamp = packet.header.timestamp;
        match self.next.map(|next| stamp.since(next)) {
            Some(0) => {}
            Some(apart @ 1..=LONGEST_JUMP) => {
                self.drop_speech();
                self.stream.pass_over(apart.unsigned_abs());
                self.stream.lose(missing);
            }
            _ => self.catch_up(now),
        }
        self.next = Some(stamp.plus(ticks));
        self.figures.passed += 1;
        let marker = packet.header.marker;
        let sound = Sound { arrived, payload_type, marker, ticks, payload: packet.payload };
        self.stream.speak(now, Spacing::Arrived, &sound, out);
    }
}
