//! A notice: a phone that dialled is told something aloud and then let go. Why its call is refused, as early media
//! before the final answer; or that what it dialled a code for is done, as a short call.
//!
//! It is no call: no record, no WhatsApp side. Whatever goes wrong, the phone gets its answer at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// For media to open its ports.
const OPENING: Duration = Duration::from_secs(1);
/// For what is left in the phone's buffer, and for a media thread that is late.
const REST: Duration = Duration::from_millis(1500);

/// How a notice reaches the phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeKind {
    /// Before a refusal: 183, then the status.
    Refusal,
    /// In an answered call, which is hung up on.
    Confirmation,
}

/// What happened to a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeInput {
    /// Ports are open; our description.
    MediaOpened(String),
    /// They are not.
    MediaFailed,
    /// The sound has come to its end.
    Played,
    /// The phone has given up, hung up or vanished.
    PhoneGone,
}

/// What a notice asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeOutput {
    /// Tell the phone early how it hears us.
    Ring(String),
    /// Answer the phone.
    Accept(String),
    /// Play the sound.
    Play,
    /// Give the final answer.
    Refuse,
    /// Hang up.
    HangUp,
    /// Close the ports; the notice is over.
    Close,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Opening,
    Playing,
    Over,
}

/// One notice; media is being opened when it is made.
#[derive(Debug)]
pub struct Notice {
    kind: NoticeKind,
    length: Duration,
    stage: Stage,
    deadline: Instant,
    outputs: VecDeque<NoticeOutput>,
}

impl Notice {
    /// A notice whose sound lasts for `length`.
    #[must_use]
    pub fn new(now: Instant, kind: NoticeKind, length: Duration) -> Self {
        Self { kind, length, stage: Stage::Opening, deadline: now + OPENING, outputs: VecDeque::new() }
    }

    /// Tells it what happened.
    pub fn handle_input(&mut self, now: Instant, input: NoticeInput) {
        match (self.stage, input) {
            (Stage::Opening, NoticeInput::MediaOpened(sdp)) => {
                self.stage = Stage::Playing;
                self.deadline = now + self.length + REST;
                self.outputs.push_back(match self.kind {
                    NoticeKind::Refusal => NoticeOutput::Ring(sdp),
                    NoticeKind::Confirmation => NoticeOutput::Accept(sdp),
                });
                self.outputs.push_back(NoticeOutput::Play);
            }
            (Stage::Opening | Stage::Playing, NoticeInput::MediaFailed | NoticeInput::Played) => self.end(),
            (Stage::Opening | Stage::Playing, NoticeInput::PhoneGone) => {
                self.stage = Stage::Over;
                self.outputs.push_back(NoticeOutput::Close);
            }
            _ => {}
        }
    }

    /// Tells it that time passed; early or extra calls do nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.stage != Stage::Over && now >= self.deadline {
            self.end();
        }
    }

    /// When time has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        (self.stage != Stage::Over).then_some(self.deadline)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<NoticeOutput> {
        self.outputs.pop_front()
    }

    fn end(&mut self) {
        // A call that was never answered can only be refused.
        let answered = self.stage == Stage::Playing && self.kind == NoticeKind::Confirmation;
        self.outputs.push_back(if answered { NoticeOutput::HangUp } else { NoticeOutput::Refuse });
        self.outputs.push_back(NoticeOutput::Close);
        self.stage = Stage::Over;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NoticeOutput::{Accept, Close, HangUp, Play, Refuse, Ring};

    const SECOND: Duration = Duration::from_secs(1);

    fn does(notice: &mut Notice) -> Vec<NoticeOutput> {
        std::iter::from_fn(|| notice.poll_output()).collect()
    }

    fn playing(kind: NoticeKind) -> (Notice, Instant) {
        let now = Instant::now();
        let mut notice = Notice::new(now, kind, SECOND * 3);
        notice.handle_input(now, NoticeInput::MediaOpened("sdp".into()));
        let first = match kind {
            NoticeKind::Refusal => Ring("sdp".into()),
            NoticeKind::Confirmation => Accept("sdp".into()),
        };
        assert_eq!(does(&mut notice), [first, Play]);
        (notice, now)
    }

    #[test]
    fn a_refusal_is_heard_before_its_status_comes_and_a_confirmation_before_the_bye() {
        for (kind, last) in [(NoticeKind::Refusal, Refuse), (NoticeKind::Confirmation, HangUp)] {
            let (mut notice, now) = playing(kind);
            notice.handle_input(now, NoticeInput::Played);
            assert_eq!((does(&mut notice), notice.poll_timeout()), (vec![last, Close], None));
            notice.handle_input(now, NoticeInput::Played);
            notice.handle_input(now, NoticeInput::PhoneGone);
            notice.handle_timeout(now + SECOND * 9);
            assert_eq!(does(&mut notice), []);
        }
    }

    #[test]
    fn a_phone_that_gives_up_meanwhile_gets_no_second_answer() {
        for kind in [NoticeKind::Refusal, NoticeKind::Confirmation] {
            let (mut notice, now) = playing(kind);
            notice.handle_input(now, NoticeInput::PhoneGone);
            notice.handle_input(now, NoticeInput::Played);
            assert_eq!(does(&mut notice), [Close]);
            let mut early = Notice::new(now, kind, SECOND);
            early.handle_input(now, NoticeInput::PhoneGone);
            early.handle_input(now, NoticeInput::MediaOpened("late".into()));
            assert_eq!(does(&mut early), [Close]);
        }
    }

    #[test]
    fn without_media_or_with_media_that_never_tells_the_phone_gets_its_answer_all_the_same() {
        for kind in [NoticeKind::Refusal, NoticeKind::Confirmation] {
            let now = Instant::now();
            let mut notice = Notice::new(now, kind, SECOND);
            notice.handle_input(now, NoticeInput::MediaFailed);
            assert_eq!(does(&mut notice), [Refuse, Close]);
            let mut silent = Notice::new(now, kind, SECOND);
            silent.handle_timeout(now + OPENING - Duration::from_nanos(1));
            assert_eq!(does(&mut silent), []);
            silent.handle_timeout(now + OPENING);
            assert_eq!(does(&mut silent), [Refuse, Close]);
        }
        let (mut notice, now) = playing(NoticeKind::Refusal);
        assert_eq!(notice.poll_timeout(), Some(now + SECOND * 3 + REST));
        notice.handle_timeout(now + SECOND * 3 + REST);
        assert_eq!(does(&mut notice), [Refuse, Close]);
    }
}
