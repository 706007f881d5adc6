//! Encrypted sound: who is offered what, and what media learns of who answers.

use std::collections::BTreeSet;

use super::switchboard::Switchboard;
use crate::id::{CallId, LegId};
use crate::media::{OpenSpec, Order, PhoneSide, RelayOrder, RelayReport, Report};
use crate::sdp::protection::Protection;
use crate::sip::{SrtpSetting, SrtpUse};

/// The ways in which phones and trunks of these settings may have to be offered a call, the commonest first.
#[must_use]
pub fn ways(settings: impl Iterator<Item = SrtpSetting>, browsers: Browsers) -> Vec<Protection> {
    let of = |setting: SrtpSetting| {
        // Who may register from a browser is known by the socket only.
        let asked = move |way: &&Protection| {
            browsers == Browsers::MayCome || setting.wanted != SrtpUse::Auto || **way != Protection::Dtls
        };
        setting.ways().iter().filter(asked).copied()
    };
    let ways: BTreeSet<Protection> = settings.flat_map(of).collect();
    if ways.is_empty() { vec![Protection::Clear] } else { ways.into_iter().collect() }
}

/// Whether there is a socket for browsers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Browsers {
    /// `ws` or `wss`.
    MayCome,
    /// Neither.
    Cannot,
}

impl Switchboard {
    /// A call from a phone is held to that phone's rule; one to phones is offered in every way.
    pub(super) fn protect(&self, id: CallId, spec: &mut OpenSpec) {
        spec.ways.clone_from(&self.parts.ways);
        let Some(leg) = self.leg(id, crate::call::Fork(0)) else { return };
        spec.rule = self.parts.agent.rule_of(leg);
        if let (PhoneSide::Offer, Some(way)) = (&spec.phone, self.parts.agent.offer_of(leg)) {
            spec.ways = vec![way];
        }
    }

    /// Media goes by the rule of who answers.
    pub(super) fn tell_rule(&self, id: CallId, leg: LegId) {
        let rule = self.parts.agent.rule_of(leg);
        if self.desks.contains_key(&id) {
            self.parts.media.order_relay(id, RelayOrder::SetRule(rule));
        } else {
            self.parts.media.order(id, Order::SetPhoneRule(rule));
        }
    }

    pub(super) fn keep_offers(&mut self, id: CallId, report: &Report) {
        let (Report::Opened { offers, .. }
        | Report::NextOffered { offers, .. }
        | Report::Relay(RelayReport::Opened { offers, .. } | RelayReport::NextOffered { offers, .. })) =
            report
        else {
            return;
        };
        if let Some(live) = self.calls.get_mut(&id) {
            live.offers.clone_from(offers);
        } else if let Some(desk) = self.desks.get_mut(&id) {
            desk.offers.clone_from(offers);
        }
    }

    /// Our offer for a leg that is up and comes from another call: protected as its setting and its way want it.
    pub(super) fn offer_for(&self, id: CallId, leg: LegId, otherwise: String) -> String {
        let offers = match (self.calls.get(&id), self.desks.get(&id)) {
            (Some(live), _) => &live.offers,
            (None, Some(desk)) => &desk.offers,
            (None, None) => return otherwise,
        };
        let way = self.parts.agent.offer_of(leg);
        offers.iter().find(|(it, _)| Some(*it) == way).map_or(otherwise, |(_, sdp)| sdp.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::ReadableKeys;

    #[test]
    fn what_nobody_can_be_offered_is_not_made() {
        let setting = |wanted| SrtpSetting { wanted, readable: ReadableKeys::Never };
        let of = |wanted: &[SrtpUse], browsers| ways(wanted.iter().copied().map(setting), browsers);
        assert_eq!(of(&[SrtpUse::Auto], Browsers::Cannot), [Protection::Clear]);
        assert_eq!(of(&[SrtpUse::Auto], Browsers::MayCome), [Protection::Clear, Protection::Dtls]);
        assert_eq!(of(&[SrtpUse::Dtls], Browsers::Cannot), [Protection::Dtls]);
        assert_eq!(
            of(&[SrtpUse::Required, SrtpUse::Optional], Browsers::Cannot),
            [Protection::Clear, Protection::BestEffort, Protection::Sdes]
        );
        assert_eq!(of(&[], Browsers::Cannot), [Protection::Clear]);
    }
}
