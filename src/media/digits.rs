//! Keypad digits on their way through: heard once however many reports are lost, said anew (RFC 4733 §2.5).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::code_watch::{CodeWatch, Judged};
use crate::rtp::{Event, RtpTime, TelephoneEvent};

/// Without a report for this long, a key counts as released: twelve reports in a row are hardly ever lost.
const FORGOTTEN: Duration = Duration::from_millis(240);
/// Ticks of 8 kHz in one step of 20 ms.
const STEP: u16 = 160;
/// No key is said shorter than this (40 ms): some receivers ignore less.
const SHORTEST: u16 = 320;
/// The last report is sent three times (RFC 4733 §2.5.1.4).
const FAREWELLS: u8 = 3;
/// No tone is shorter than this (80 ms), and so many steps of pause follow it: twice what Q.24 asks of receivers.
const SHORTEST_TONE: u16 = 640;
const PAUSES: u8 = 4;
/// A tone goes on for so long (200 ms) without a report that says so: ten in a row are hardly ever lost.
const UNHEARD: u16 = 1600;
/// Power of a key that came without one, in dBm0 without its minus sign.
const PRESSED_VOLUME: u8 = 10;
/// Keys waiting to be said; more are dropped.
const WAITING: usize = 16;

/// One key as far as it has been heard.
#[derive(Clone, Copy, Debug)]
struct Key {
    event: Event,
    volume: u8,
    duration: u16,
    released: bool,
}

/// The reports heard from one side.
#[derive(Clone, Debug, Default)]
struct Ear {
    /// The event's time stamp and the moment of the last report.
    current: Option<(RtpTime, Event, u16, Instant)>,
    finished: Option<RtpTime>,
}

/// The event being said: its time stamp, how much was said, farewells sent.
#[derive(Clone, Copy, Debug)]
struct Mouth {
    start: RtpTime,
    said: u16,
    farewells: u8,
    last: u16,
}

/// What a new key was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Key,
    /// It completed a code and is gone with it.
    EndOfCode,
}

/// A report to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saying {
    /// Time stamp of the event's start.
    pub start: RtpTime,
    /// First report of this event.
    pub first: bool,
    /// The payload.
    pub report: TelephoneEvent,
}

/// A step of a key that is heard instead of reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sounding {
    /// It begins, with its volume in dBm0 without its minus sign.
    Press(Event, u8),
    /// It goes on.
    Hold,
    /// It is over; silence.
    Release,
}

/// Hears events on one leg and says them on the other, a report every 20 ms.
#[derive(Clone, Debug, Default)]
pub struct Digits {
    ear: Ear,
    keys: VecDeque<Key>,
    mouth: Option<Mouth>,
    heard: u64,
    dropped: u64,
    watch: CodeWatch,
    /// So many of the last keys wait to be known for no code.
    withheld: usize,
    code: Option<String>,
}

impl Digits {
    /// Takes note of a report.
    pub fn hear(&mut self, now: Instant, timestamp: RtpTime, report: TelephoneEvent) {
        if self
            .ear
            .finished
            .is_some_and(|finished| timestamp.since(finished) <= 0 && timestamp.since(finished) > -480_000)
        {
            return;
        }
        let continues = match self.ear.current {
            Some((start, ..)) if start == timestamp => true,
            // Some phones move the time stamp with every report; the growing duration gives them away.
            Some((_, event, duration, at)) => {
                event == report.event
                    && report.duration > duration
                    && now.saturating_duration_since(at) < FORGOTTEN
            }
            None => false,
        };
        if !continues {
            self.release();
            if self.begin(now, report) == Begun::EndOfCode {
                self.ear.finished = Some(timestamp);
                return;
            }
        } else if let Some(key) = self.keys.back_mut() {
            key.duration = key.duration.max(report.duration);
        }
        self.ear.current = Some((timestamp, report.event, report.duration, now));
        if report.end {
            self.release();
        }
    }

    fn begin(&mut self, now: Instant, report: TelephoneEvent) -> Begun {
        let TelephoneEvent { event, volume, duration, .. } = report;
        self.take(now, Key { event, volume, duration, released: false })
    }

    /// A key that came by signalling (SIP INFO), with its length in ticks of 8 kHz.
    pub fn press(&mut self, now: Instant, event: Event, duration: u16) {
        self.take(now, Key { event, volume: PRESSED_VOLUME, duration, released: true });
    }

    fn take(&mut self, now: Instant, key: Key) -> Begun {
        self.heard += 1;
        if self.keys.len() >= WAITING {
            self.dropped += 1;
            return Begun::Key;
        }
        self.let_go(now);
        self.keys.push_back(key);
        match self.watch.key(now, key.event.digit()) {
            Judged::Passed => self.withheld = 0,
            Judged::Withheld => self.withheld += 1,
            Judged::Code(code) => {
                self.keys.truncate(self.keys.len() - self.withheld - 1);
                self.withheld = 0;
                self.code = Some(code);
                return Begun::EndOfCode;
            }
        }
        Begun::Key
    }

    /// Takes these codes out of what is pressed from now on.
    pub fn look_for(&mut self, codes: Vec<String>) {
        self.watch.look_for(codes);
        self.withheld = 0;
    }

    /// Gives up keys that did not become a code in time.
    pub fn let_go(&mut self, now: Instant) {
        if self.watch.is_over(now) {
            self.watch.give_up();
            self.withheld = 0;
        }
    }

    /// A code that was pressed, once.
    pub const fn take_code(&mut self) -> Option<String> {
        self.code.take()
    }

    /// Speech or silence after the key: it was released, and its last reports were lost.
    pub fn release(&mut self) {
        if let Some((timestamp, ..)) = self.ear.current.take() {
            self.ear.finished = Some(timestamp);
            if let Some(key) = self.keys.back_mut() {
                key.released = true;
            }
        }
    }

    /// The sender started anew: its time stamps tell nothing about what was heard before.
    pub fn restart(&mut self) {
        self.release();
        self.ear.finished = None;
    }

    /// True while a key is being said or waits to be.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.keys.len() > self.withheld
    }

    /// The report for this 20 ms step, if there is one; `start` is the time stamp of a key that begins now.
    pub fn say(&mut self, now: Instant, start: RtpTime) -> Option<Saying> {
        if self.ear.current.is_some_and(|(.., at)| now.saturating_duration_since(at) >= FORGOTTEN) {
            self.release();
        }
        let key = *self.keys.front().filter(|_| self.is_active())?;
        let first = self.mouth.is_none();
        let mouth = self.mouth.get_or_insert(Mouth { start, said: 0, farewells: 0, last: 0 });
        // A key held for more than eight seconds is cut there: the field has 16 bits.
        let over = key.released || mouth.said > u16::MAX - 2 * STEP;
        if over && !first {
            if mouth.farewells == 0 {
                mouth.last = key.duration.max(mouth.said).max(SHORTEST);
            }
            mouth.farewells += 1;
        } else {
            // Never more than was heard: nobody could take it back when the key turns out to be over.
            mouth.said = (mouth.said + STEP).min(key.duration.max(mouth.said).max(STEP));
        }
        let end = mouth.farewells > 0;
        let saying = Saying {
            start: mouth.start,
            first,
            report: TelephoneEvent {
                event: key.event,
                end,
                volume: key.volume,
                duration: if end { mouth.last } else { mouth.said },
            },
        };
        if mouth.farewells == FAREWELLS {
            self.mouth = None;
            self.keys.pop_front();
        }
        Some(saying)
    }

    /// What of a key is to be heard in this 20 ms step, for a phone that takes no reports.
    pub fn sound(&mut self, now: Instant) -> Option<Sounding> {
        if self.ear.current.is_some_and(|(.., at)| now.saturating_duration_since(at) >= FORGOTTEN) {
            self.release();
        }
        if !self.is_active() {
            return None;
        }
        let key = self.keys.front_mut()?;
        let first = self.mouth.is_none();
        let mouth = self.mouth.get_or_insert(Mouth { start: RtpTime(0), said: 0, farewells: 0, last: 0 });
        key.released |= mouth.said >= key.duration.saturating_add(UNHEARD);
        let enough = key.released && mouth.said >= key.duration.max(SHORTEST_TONE);
        if !enough && mouth.said <= u16::MAX - 2 * STEP {
            mouth.said += STEP;
            return Some(if first { Sounding::Press(key.event, key.volume) } else { Sounding::Hold });
        }
        mouth.farewells += 1;
        if mouth.farewells == PAUSES {
            self.mouth = None;
            self.keys.pop_front();
        }
        Some(Sounding::Release)
    }

    /// A key that is over, for who tells it in another way; its length in ticks of 8 kHz.
    pub fn tell(&mut self, now: Instant) -> Option<(Event, u16)> {
        if self.ear.current.is_some_and(|(.., at)| now.saturating_duration_since(at) >= FORGOTTEN) {
            self.release();
        }
        let key = *self.keys.front().filter(|key| key.released && self.is_active())?;
        self.mouth = None;
        self.keys.pop_front();
        Some((key.event, key.duration.max(SHORTEST)))
    }

    /// Keys heard so far.
    #[must_use]
    pub const fn heard(&self) -> u64 {
        self.heard
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    const STEP_TIME: Duration = Duration::from_millis(20);

    /// Says `keys` with 100 ms each over a line that loses `loss` percent; gives what comes out.
    fn through(keys: &str, loss: u32, seed: u64) -> String {
        let mut random = Random::from_number(seed);
        let mut digits = Digits::default();
        let mut now = Instant::now();
        let mut out = String::new();
        let mut seen = Vec::new();
        let mut step = |digits: &mut Digits, now: Instant| {
            if let Some(saying) = digits.say(now, RtpTime(seen.len() as u32)) {
                if saying.first {
                    out.push(saying.report.event.digit());
                }
                seen.push(saying);
            }
        };
        for (at, key) in keys.chars().enumerate() {
            let timestamp = RtpTime(at as u32 * 2400);
            let event = Event::from_digit(key).unwrap();
            for report in 1..=8_u16 {
                let end = report > 5;
                let duration = report.min(5) * 160;
                if random.below(100) >= loss {
                    digits.hear(now, timestamp, TelephoneEvent { event, end, volume: 10, duration });
                }
                step(&mut digits, now);
                now += STEP_TIME;
            }
            for _ in 0..7 {
                step(&mut digits, now);
                now += STEP_TIME;
            }
        }
        for _ in 0..50 {
            step(&mut digits, now);
            now += STEP_TIME;
        }
        let ends = seen.iter().filter(|it| it.report.end).count();
        assert_eq!(ends, 3 * out.len(), "each key ends with three reports");
        out
    }

    #[test]
    fn rule_18_every_key_comes_out_once_with_thirty_percent_of_the_reports_lost() {
        assert_eq!(through("0123456789*#AABB", 0, 1), "0123456789*#AABB");
        for seed in 0..200 {
            assert_eq!(through("1223", 30, seed), "1223", "seed {seed}");
        }
    }

    #[test]
    fn repeated_and_late_reports_of_a_finished_key_say_nothing_new() {
        let now = Instant::now();
        let event = Event::from_digit('5').unwrap();
        let mut digits = Digits::default();
        for _ in 0..6 {
            let report = TelephoneEvent { event, end: true, volume: 10, duration: 800 };
            digits.hear(now, RtpTime(4000), report);
            digits.hear(now, RtpTime(4000), TelephoneEvent { end: false, ..report });
        }
        assert_eq!(digits.heard(), 1);
    }

    #[test]
    fn a_phone_that_moves_the_time_stamp_with_every_report_presses_one_key() {
        let mut now = Instant::now();
        let event = Event::from_digit('5').unwrap();
        let mut digits = Digits::default();
        for n in 1..=5_u16 {
            let report = TelephoneEvent { event, end: n == 5, volume: 10, duration: n * 160 };
            digits.hear(now, RtpTime(4000 + u32::from(n) * 160), report);
            now += STEP_TIME;
        }
        assert_eq!(digits.heard(), 1);
    }

    #[test]
    fn the_duration_is_never_shortened_and_the_start_never_moves() {
        let mut now = Instant::now();
        let event = Event::from_digit('9').unwrap();
        let mut digits = Digits::default();
        digits.hear(now, RtpTime(1), TelephoneEvent { event, end: true, volume: 7, duration: 1600 });
        let mut said = Vec::new();
        let mut at = 0;
        while let Some(saying) = digits.say(now, RtpTime(at)) {
            said.push((saying.start.0, saying.report.duration, saying.report.end));
            at += 960;
            now += STEP_TIME;
        }
        assert_eq!(said, [(0, 160, false), (0, 1600, true), (0, 1600, true), (0, 1600, true)]);
    }

    /// Presses `keys` on a phone whose codes are looked for; what the user hears, and the code.
    fn with_codes(keys: &str) -> (String, Option<String>) {
        let mut digits = Digits::default();
        digits.look_for(vec!["*68".to_owned()]);
        let (mut now, mut heard) = (Instant::now(), String::new());
        let mut step = |digits: &mut Digits, now: Instant| {
            heard.extend(digits.say(now, RtpTime(9)).filter(|it| it.first).map(|it| it.report.event.digit()));
        };
        for (at, key) in keys.chars().enumerate() {
            let event = Event::from_digit(key).unwrap();
            for report in 1..=8_u16 {
                let (end, duration) = (report > 5, report.min(5) * 160);
                let report = TelephoneEvent { event, end, volume: 10, duration };
                digits.hear(now, RtpTime(at as u32 * 2400), report);
                step(&mut digits, now);
                now += STEP_TIME;
            }
        }
        for _ in 0..200 {
            digits.let_go(now);
            step(&mut digits, now);
            now += STEP_TIME;
        }
        assert!(!digits.is_active());
        (heard, digits.take_code())
    }

    #[test]
    fn a_code_is_not_heard_by_the_user_and_keys_that_are_none_come_late_but_whole() {
        assert_eq!(with_codes("*68"), (String::new(), Some("*68".to_owned())));
        assert_eq!(with_codes("12*68"), ("12".to_owned(), Some("*68".to_owned())));
        assert_eq!(with_codes("*67"), ("*67".to_owned(), None));
        assert_eq!(with_codes("*6"), ("*6".to_owned(), None), "given up after a while");
        assert_eq!(with_codes("5"), ("5".to_owned(), None));
    }
}
