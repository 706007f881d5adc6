//! A phone that comes into a call by itself: it picks the call up while others ring, or fetches it where it is parked.
//!
//! Until media has taken its offer nothing changes for anybody else: it may take its INVITE back, somebody else may
//! answer first, and whoever rings rings on.

use crate::call::cause::{CodeRefusal, HangupCause};
use crate::call::common::{Common, LegState};
use crate::call::input::{Fork, Input};
use crate::call::output::Output;
use crate::id::Endpoint;

/// Who comes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joiner {
    /// The phone.
    pub endpoint: Endpoint,
    /// Its offer, unless it leaves that to us.
    pub offer: Option<String>,
    /// The Call-ID of its INVITE, for the record.
    pub sip_call_id: String,
}

/// What one call knows of phones that come in.
#[derive(Debug, Default)]
pub(super) struct Joining {
    coming: Option<Coming>,
    /// Who is in by our offer and still owes its answer.
    owes_answer: Option<Fork>,
}

#[derive(Debug)]
struct Coming {
    fork: Fork,
    joiner: Joiner,
}

/// What a phone that comes in means for the call.
#[derive(Debug)]
pub(super) enum Joined {
    /// Nothing yet, and the input is done with.
    Nothing,
    /// It is the phone from now on; our description for it.
    Takes(Fork, String),
    /// It does not come.
    StaysAway,
    /// The input is for somebody else.
    Other(Input),
    /// It does not come, and the input is for somebody else.
    StaysAwayFor(Input),
}

impl Joining {
    /// Whether a phone may come in now.
    pub(super) const fn is_idle(&self) -> bool {
        self.coming.is_none()
    }

    /// Lets media make a description for a phone whose INVITE waits.
    pub(super) fn begin(&mut self, common: &mut Common, fork: Fork, joiner: Joiner) {
        common.push(match &joiner.offer {
            Some(offer) => Output::AnswerNextPhone(offer.clone()),
            None => Output::OfferNextPhone,
        });
        self.coming = Some(Coming { fork, joiner });
    }

    pub(super) fn handle(&mut self, common: &mut Common, input: Input) -> Joined {
        match input {
            Input::PhoneReanswered(fork, sdp) if self.owes_answer == Some(fork) => {
                self.owes_answer = None;
                common.push(Output::TakeNextPhone(sdp));
                Joined::Nothing
            }
            input if self.coming.is_none() => Joined::Other(input),
            Input::NextPhoneAnswered(sdp) => {
                common.push(Output::SwitchToNextPhone);
                self.come(common, sdp)
            }
            Input::NextPhoneOffered(sdp) => {
                self.owes_answer = self.coming.as_ref().map(|it| it.fork);
                self.come(common, sdp)
            }
            Input::NextPhoneRefused => {
                self.turn_away(common, HangupCause::PhoneMediaRefused);
                Joined::StaysAway
            }
            Input::PhoneCancelled(fork) if self.coming.as_ref().is_some_and(|it| it.fork == fork) => {
                self.coming = None;
                common.set_leg(fork, LegState::Gone);
                common.push(Output::DropNextPhone);
                Joined::StaysAway
            }
            // Somebody who rang was faster.
            Input::PhoneAnswered { fork, sdp, dialog }
                if common.legs.get(usize::from(fork.0)) == Some(&LegState::Ringing) =>
            {
                let input = Input::PhoneAnswered { fork, sdp, dialog };
                self.turn_away(common, HangupCause::Code(CodeRefusal::NothingRings));
                common.push(Output::DropNextPhone);
                Joined::StaysAwayFor(input)
            }
            other => Joined::Other(other),
        }
    }

    fn come(&mut self, common: &mut Common, sdp: String) -> Joined {
        let Some(Coming { fork, joiner }) = self.coming.take() else { return Joined::Nothing };
        common.leg = Some(fork);
        common.record.endpoint = Some(joiner.endpoint);
        common.record.sip_call_id = Some(joiner.sip_call_id);
        Joined::Takes(fork, sdp)
    }

    fn turn_away(&mut self, common: &mut Common, cause: HangupCause) {
        let Some(Coming { fork, .. }) = self.coming.take() else { return };
        common.set_leg(fork, LegState::Gone);
        common.push(Output::RefusePhone(fork, cause.verdict(), None));
    }
}
