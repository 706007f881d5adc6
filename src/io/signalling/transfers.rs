//! Transfers: what a phone names in REFER, by the dial plan, to an endpoint that may be rung (rules 24 and 25).

use super::switchboard::Switchboard;
use crate::call::{Input, Sound, TransferTarget};
use crate::dialplan::{Dialled, Feature, Wish};
use crate::id::{CallId, Endpoint, LegId, TrunkName};
use crate::media::{Order, Repeat, Side};
use crate::sip::Referral;
use crate::time::Now;

impl Switchboard {
    pub(super) fn referred(&mut self, now: Now, leg: LegId, referral: &Referral) {
        let Some((id, fork)) = self.by_leg.get(&leg).copied() else {
            return self.parts.agent.answer_referral(now, leg, referral.id, Err(481));
        };
        let target = self.transfer_target(now, id, referral);
        match &target {
            TransferTarget::Ring(target) => tracing::info!(call = %id, %target, "a phone transfers the call"),
            TransferTarget::Park(order) => {
                tracing::info!(call = %id, place = order.place.0, "a phone parks the call");
            }
            TransferTarget::Refused(status) => {
                tracing::info!(call = %id, status, "a transfer was refused");
            }
        }
        self.feed(now, id, Input::PhoneReferred { fork, id: referral.id, target });
    }

    fn transfer_target(&mut self, now: Now, id: CallId, referral: &Referral) -> TransferTarget {
        let asker = self.calls.get(&id).and_then(|live| live.call.record().endpoint.clone());
        let Some(asker) = asker else { return TransferTarget::Refused(481) };
        if let Endpoint::Trunk(trunk, _) = &asker
            && !self.parts.transfer_rules.may_refer(trunk)
        {
            return TransferTarget::Refused(403);
        }
        let dialled = self.parts.dialplan.resolve(&asker, &referral.dialled);
        if matches!(dialled, Dialled::Desk(_)) && self.toll_cap(now, &asker, &dialled).is_some() {
            return TransferTarget::Refused(403);
        }
        match dialled {
            Dialled::Desk(target) => match &target {
                // Meta forbids the public telephone network on any leg; only the administrator's word says
                // that a trunk does not lead there.
                Endpoint::Trunk(trunk, _) if !self.parts.transfer_rules.is_voip_only(trunk) => {
                    TransferTarget::Refused(403)
                }
                _ => TransferTarget::Ring(target),
            },
            // A user cannot be handed to another user: two WhatsApp legs are two calls.
            Dialled::User(..) | Dialled::NotAllowed | Dialled::Emergency(_) => TransferTarget::Refused(403),
            Dialled::Feature(Wish { feature: Feature::Park, argument }) => {
                match self.parking_order(argument.as_deref()) {
                    Ok(order) => TransferTarget::Park(order),
                    Err(cause) => TransferTarget::Refused(cause.verdict().sip),
                }
            }
            Dialled::Unknown | Dialled::UnknownCode | Dialled::Feature(_) => TransferTarget::Refused(404),
        }
    }

    /// Lets one side hear a sound over and over until it is stopped.
    pub(super) fn play(&self, id: CallId, towards: Side, sound: Sound) {
        let sounds = &self.parts.sounds;
        let clip = match sound {
            Sound::Ringback => &sounds.ringback,
            Sound::Hold => &sounds.hold,
        };
        let Some(clip) = clip.clone() else { return };
        let play = Order::Play { towards, clip, repeat: Repeat::Forever };
        self.parts.media.order(id, play);
    }
}

/// What trunks may do in a transfer.
#[derive(Clone, Debug, Default)]
pub struct TransferRules {
    /// Whose REFER is followed.
    pub may_refer: Vec<TrunkName>,
    /// Behind which nothing reaches the public telephone network.
    pub voip_only: Vec<TrunkName>,
}

impl TransferRules {
    fn may_refer(&self, trunk: &TrunkName) -> bool {
        self.may_refer.contains(trunk)
    }

    fn is_voip_only(&self, trunk: &TrunkName) -> bool {
        self.voip_only.contains(trunk)
    }
}
