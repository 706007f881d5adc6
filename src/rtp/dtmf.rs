//! Telephone events: keypad digits inside RTP (RFC 4733 §2.3).

/// A keypad event code, 0 to 15: digits, star, pound, A to D.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Event(u8);

impl Event {
    /// From an event code; `None` for codes that are no key (flash, fax tones, …).
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        if code < 16 { Some(Self(code)) } else { None }
    }

    /// From a key: `0`-`9`, `*`, `#`, `A`-`D` in either case.
    #[must_use]
    pub fn from_digit(digit: char) -> Option<Self> {
        let upper = digit.to_ascii_uppercase();
        DIGITS.iter().position(|key| char::from(*key) == upper).and_then(|at| u8::try_from(at).ok()).map(Self)
    }

    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0
    }

    /// The key.
    #[must_use]
    pub fn digit(self) -> char {
        char::from(DIGITS[usize::from(self.0 & 15)])
    }
}

const DIGITS: &[u8; 16] = b"0123456789*#ABCD";

/// Why a payload is no telephone event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventError {
    /// Shorter than four bytes.
    Short,
    /// An event that is no key.
    NotAKey(u8),
}

/// The four bytes of an event report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Which key.
    pub event: Event,
    /// The last report of this event; sent three times.
    pub end: bool,
    /// Power level, 0 to 63, in dBm0 without its minus sign.
    pub volume: u8,
    /// How long the event has lasted so far, in ticks of the event's clock (8 kHz, also towards Meta).
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads a payload; further events in the same payload are ignored.
    ///
    /// # Errors
    /// [`EventError`] if it is short or no key.
    pub fn parse(payload: &[u8]) -> Result<Self, EventError> {
        let bytes = payload.first_chunk::<4>().ok_or(EventError::Short)?;
        Ok(Self {
            event: Event::from_code(bytes[0]).ok_or(EventError::NotAKey(bytes[0]))?,
            end: bytes[1] & 0x80 != 0,
            volume: bytes[1] & 0x3f,
            duration: u16::from_be_bytes([bytes[2], bytes[3]]),
        })
    }

    /// The same event with its duration in ticks of another clock; what does not fit becomes the longest.
    #[must_use]
    pub fn rescaled(self, from: u32, to: u32) -> Self {
        let duration = u64::from(self.duration) * u64::from(to) / u64::from(from.max(1));
        Self { duration: u16::try_from(duration).unwrap_or(u16::MAX), ..self }
    }

    /// The payload.
    #[must_use]
    pub fn to_bytes(self) -> [u8; 4] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event.0, (u8::from(self.end) << 7) | (self.volume & 0x3f), high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_back_as_it_was_written() {
        let event =
            TelephoneEvent { event: Event::from_digit('#').unwrap(), end: true, volume: 10, duration: 800 };
        assert_eq!(event.to_bytes(), [11, 0x8a, 0x03, 0x20]);
        assert_eq!(TelephoneEvent::parse(&event.to_bytes()), Ok(event));
    }

    #[test]
    fn rule_18_a_duration_goes_from_one_clock_to_another_and_never_wraps() {
        let event =
            TelephoneEvent { event: Event::from_digit('1').unwrap(), end: true, volume: 10, duration: 800 };
        assert_eq!(event.rescaled(8000, 48_000).duration, 4800);
        assert_eq!(event.rescaled(8000, 48_000).rescaled(48_000, 8000), event);
        assert_eq!(TelephoneEvent { duration: 20_000, ..event }.rescaled(8000, 48_000).duration, u16::MAX);
    }

    #[test]
    fn every_key_has_its_code() {
        for (code, key) in "0123456789*#ABCD".chars().enumerate() {
            let event = Event::from_digit(key).unwrap();
            assert_eq!(usize::from(event.code()), code);
            assert_eq!(event.digit(), key);
        }
        assert_eq!(Event::from_digit('d'), Event::from_code(15));
        assert_eq!(Event::from_digit('x'), None);
    }

    #[test]
    fn a_short_payload_and_a_hook_flash_are_no_keys() {
        assert_eq!(TelephoneEvent::parse(&[1, 0, 0]), Err(EventError::Short));
        assert_eq!(TelephoneEvent::parse(&[16, 0, 0, 0]), Err(EventError::NotAKey(16)));
    }
}
