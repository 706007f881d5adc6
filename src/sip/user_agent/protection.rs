//! Each place that is called gets the offer that its setting and the way to it allow; what comes back keeps to it.

use crate::id::{LegId, PhoneName};
use crate::sdp::protection::{Protection, ProtectionRule};
use crate::time::Now;

use super::super::flow::{Flow, Transport};
use super::super::srtp::SrtpSetting;
use super::leg::Stage;
use super::outbound::Wish;
use super::{Invite, InviteRefusal, UserAgent};

impl UserAgent {
    /// [`UserAgent::invite`] with the offer in several ways: each place is sent the one that fits it.
    ///
    /// # Errors
    /// See [`InviteRefusal`]; nothing is sent then.
    pub fn invite_as(
        &mut self,
        now: Now,
        invite: Invite,
        offers: Vec<(Protection, String)>,
    ) -> Result<LegId, InviteRefusal> {
        let (target, wish) = Wish::of(invite, offers);
        self.invite_wish(now, target, wish)
    }

    /// What the far end of a leg may offer and answer.
    #[must_use]
    pub fn rule_of(&self, leg: LegId) -> ProtectionRule {
        let Some((setting, flow)) = self.way_of(leg) else { return ProtectionRule::default() };
        ProtectionRule { home: Some(flow.remote.ip().to_canonical()), ..setting.rule_over(flow.transport) }
    }

    /// How we would offer on a leg; `None` if we may not.
    #[must_use]
    pub fn offer_of(&self, leg: LegId) -> Option<Protection> {
        let (setting, flow) = self.way_of(leg)?;
        setting.offer_over(flow.transport)
    }

    fn way_of(&self, leg: LegId) -> Option<(SrtpSetting, Flow)> {
        let state = self.legs.get(&leg)?;
        let flow = match &state.stage {
            Stage::Calling(calling) => self.sent.get(calling.open.first()?)?.flow,
            Stage::Called(called) => called.invite.flow,
            Stage::Up(up) => up.dialog.flow,
        };
        Some((self.srtp_of(state.phone.as_ref(), state.trunk), flow))
    }

    /// The setting of a phone or trunk.
    pub(super) fn srtp_of(&self, phone: Option<&PhoneName>, trunk: Option<usize>) -> SrtpSetting {
        if let Some(trunk) = trunk.and_then(|at| self.settings.trunks.get(at)) {
            return trunk.srtp;
        }
        let at = phone.and_then(|name| self.accounts.get(name.as_str()));
        at.and_then(|at| self.settings.phones.get(*at)).map(|it| it.srtp).unwrap_or_default()
    }

    /// Whether an answer that came by `transport` is one that the leg's far end may give.
    pub(super) fn admits(&self, leg: LegId, transport: Transport, answer: &str) -> bool {
        let Some(state) = self.legs.get(&leg) else { return true };
        let admitted = self.srtp_of(state.phone.as_ref(), state.trunk).rule_over(transport).admits(answer);
        if !admitted {
            tracing::warn!(%leg, "a phone or trunk answered without the encryption that `srtp` demands");
        }
        admitted
    }
}

impl Wish {
    /// The session description for a place of `setting` that is reached by `transport`; `None`: none may go there.
    pub(super) fn offer_to(&self, setting: SrtpSetting, transport: Transport) -> Option<&str> {
        let way = setting.offer_over(transport)?;
        let found = self.offers.iter().find(|(it, _)| *it == way).map(|(_, sdp)| sdp.as_str());
        let only = self.offers.is_empty() || matches!(way, Protection::Clear | Protection::BestEffort);
        found.or_else(|| only.then_some(self.sdp.as_str()))
    }
}
