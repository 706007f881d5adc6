//! Another phone takes the place of the one that talks; the WhatsApp side notices nothing but another voice.

use super::Bridge;
use crate::media::Report;
use crate::media::rtp_leg::RtpLeg;
use crate::random::Random;
use crate::time::Now;

/// Who may become the phone.
#[derive(Debug)]
pub(super) struct Succession {
    random: Random,
    next: Option<RtpLeg>,
}

impl Succession {
    pub(super) const fn new(random: Random) -> Self {
        Self { random, next: None }
    }
}

impl Bridge {
    fn successor(&mut self) -> RtpLeg {
        self.phone.successor(self.succession.random.next_u64() >> 2, self.rule)
    }

    pub(super) fn offer_to_next(&mut self) {
        let mut next = self.successor();
        let offers = next.offers(&self.ways);
        self.succession.next = Some(next);
        let sdp = offers.first().map(|(_, sdp)| sdp.clone()).unwrap_or_default();
        self.reports.push_back(Report::NextOffered { sdp, offers });
    }

    pub(super) fn take_next(&mut self, now: Now, answer: &str) {
        // What is refused is dropped with its leg: the next attempt makes its own.
        let Some(mut next) = self.succession.next.take() else { return };
        next.set_rule(self.rule);
        match next.apply(now.mono, answer) {
            Ok(()) => self.switch(now, next),
            Err(refusal) => self.reports.push_back(Report::NextRefused(refusal)),
        }
    }

    pub(super) fn answer_next(&mut self, now: Now, offer: &str) {
        let mut next = self.successor();
        match next.answer(now.mono, offer) {
            Ok(sdp) => {
                self.switch(now, next);
                self.reports.push_back(Report::NextAnswered { sdp });
            }
            Err(refusal) => self.reports.push_back(Report::NextRefused(refusal)),
        }
    }

    pub(super) fn prepare_next(&mut self, now: Now, offer: &str) {
        // What another was offered is over: only a leg that has agreed may be switched to.
        self.succession.next = None;
        let mut next = self.successor();
        match next.answer(now.mono, offer) {
            Ok(sdp) => {
                self.succession.next = Some(next);
                self.reports.push_back(Report::NextAnswered { sdp });
            }
            Err(refusal) => self.reports.push_back(Report::NextRefused(refusal)),
        }
    }

    pub(super) fn switch_to_next(&mut self, now: Now) {
        if let Some(next) = self.succession.next.take() {
            self.switch(now, next);
        }
    }

    /// A leg that has agreed on nothing stands in for the phone: what the old one still sends is foreign.
    pub(super) fn leave_phone(&mut self) {
        self.phone = self.successor();
        self.vigil.begin_anew();
        self.to_meta.set_open(false);
    }

    pub(super) fn drop_next(&mut self) {
        self.succession.next = None;
    }

    fn switch(&mut self, now: Now, mut next: RtpLeg) {
        next.succeed(&self.phone);
        self.phone = next;
        self.vigil.begin_anew();
        self.take_agreement(now);
    }
}
