//! Keypad digits as RFC 4733 events, the way Meta sends them (reference §12.7): the audio's SSRC, sequence and
//! 48 kHz timestamps, but durations in 8 kHz units.

use std::collections::VecDeque;

/// 8 kHz units of one 20 ms packet.
const STEP: u16 = 160;

/// Packets of one event before its end: 100 ms.
const PACKETS: u16 = 5;

/// The end packet is sent three times (RFC 4733 §2.5.1.4).
const END_REPEATS: u16 = 3;

/// Audio frames between two digits: 100 ms.
const PAUSE: u16 = 5;

/// The event code of a key.
pub(super) fn event_of(digit: char) -> Option<u8> {
    match digit {
        '0'..='9' => u8::try_from(u32::from(digit) - 48).ok(),
        '*' => Some(10),
        '#' => Some(11),
        'A'..='D' => u8::try_from(u32::from(digit) - 65 + 12).ok(),
        _ => None,
    }
}

/// The key of an event code.
pub(super) fn digit_of(event: u8) -> Option<char> {
    "0123456789*#ABCD".chars().nth(usize::from(event))
}

/// What the keypad puts into one 20 ms slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EventPacket {
    /// The four bytes of RFC 4733 §2.3.
    pub(super) payload: [u8; 4],
    /// First packet of the event: marker set, and its timestamp holds for all that follow.
    pub(super) first: bool,
}

/// Digits waiting to be sent, one slot at a time.
#[derive(Debug, Default)]
pub(super) struct Keypad {
    waiting: VecDeque<u8>,
    current: Option<(u8, u16)>,
    pause: u16,
}

impl Keypad {
    /// Presses keys; returns false, and presses none, if one is no key.
    pub(super) fn press(&mut self, digits: &str) -> bool {
        let Some(events) = digits.chars().map(event_of).collect::<Option<Vec<u8>>>() else { return false };
        self.waiting.extend(events);
        true
    }

    /// The next slot: an event packet in place of audio, or `None` for audio.
    pub(super) fn next_slot(&mut self) -> Option<EventPacket> {
        if self.current.is_none() {
            if self.pause > 0 {
                self.pause -= 1;
                return None;
            }
            self.current = Some((self.waiting.pop_front()?, 0));
        }
        let (event, sent) = self.current?;
        let ended = sent >= PACKETS - 1;
        let duration = STEP * (sent + 1).min(PACKETS);
        let [high, low] = duration.to_be_bytes();
        let payload = [event, u8::from(ended) << 7 | 10, high, low];
        if sent + 1 == PACKETS - 1 + END_REPEATS {
            (self.current, self.pause) = (None, PAUSE);
        } else {
            self.current = Some((event, sent + 1));
        }
        Some(EventPacket { payload, first: sent == 0 })
    }
}

/// Collects the digits that the business sends.
#[derive(Debug, Default)]
pub(super) struct DigitReader {
    digits: String,
    last: Option<u32>,
}

impl DigitReader {
    /// One event packet; true if it began a new digit.
    pub(super) fn packet(&mut self, timestamp: u32, payload: &[u8]) -> bool {
        let Some(digit) = payload.first().filter(|_| payload.len() >= 4).and_then(|event| digit_of(*event))
        else {
            return false;
        };
        if self.last == Some(timestamp) || self.digits.len() >= 1024 {
            return false;
        }
        self.last = Some(timestamp);
        self.digits.push(digit);
        true
    }

    /// The digits so far.
    pub(super) fn digits(&self) -> &str {
        &self.digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_five_steps_of_160_with_the_end_sent_three_times_then_audio() {
        let mut keypad = Keypad::default();
        assert!(keypad.press("5"));
        let slots: Vec<_> = std::iter::from_fn(|| keypad.next_slot()).collect();
        let durations: Vec<u16> =
            slots.iter().map(|s| u16::from_be_bytes([s.payload[2], s.payload[3]])).collect();
        assert_eq!(durations, [160, 320, 480, 640, 800, 800, 800]);
        assert_eq!(slots.iter().filter(|s| s.payload[1] & 0x80 != 0).count(), 3);
        assert_eq!(slots.iter().filter(|s| s.first).count(), 1);
        assert!(slots.iter().all(|s| s.payload[0] == 5));
    }

    #[test]
    fn two_digits_have_a_pause_of_audio_between_them() {
        let mut keypad = Keypad::default();
        assert!(keypad.press("1#"));
        let slots: Vec<Option<u8>> = (0..19).map(|_| keypad.next_slot().map(|s| s.payload[0])).collect();
        assert_eq!(slots.iter().filter(|s| **s == Some(1)).count(), 7);
        assert_eq!(slots[7..12], [None; 5]);
        assert_eq!(slots[12..19], [Some(11); 7]);
    }

    #[test]
    fn what_is_no_key_presses_nothing() {
        let mut keypad = Keypad::default();
        assert!(!keypad.press("12x") && keypad.next_slot().is_none());
    }

    #[test]
    fn repeats_of_one_event_are_one_digit() {
        let mut reader = DigitReader::default();
        assert!(reader.packet(1000, &[1, 10, 0, 160]));
        assert!(!reader.packet(1000, &[1, 0x8a, 3, 32]));
        assert!(reader.packet(9000, &[1, 10, 0, 160]));
        assert!(!reader.packet(9500, &[99, 10, 0, 160]) && !reader.packet(9600, &[1]));
        assert_eq!(reader.digits(), "11");
    }
}
