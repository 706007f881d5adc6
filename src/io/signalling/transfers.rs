//! Transfers: what a phone names in REFER or Replaces, by the dial plan and the calls there are (rules 24 and 25).
//!
//! The toll-fraud rule stands in [`Switchboard::transfer_target`] and [`Switchboard::may_meet`]: no transfer joins
//! two trunks unless the configuration joins them, and nobody but a VoIP-only trunk meets a WhatsApp user.

use super::from_sip::Dial;
use super::switchboard::Switchboard;
use crate::call::{Fork, Input, Joined, Joiner, Reached, Sound, TakeOver, TransferTarget};
use crate::dialplan::{Dialled, Feature, Wish};
use crate::id::{CallId, Endpoint, LegId, PhoneName, TrunkName};
use crate::media::{Order, Repeat, Side};
use crate::sip::{DialogSnapshot, Reason, Referral, ReferralId, Refusal, Replaces, Telling};
use crate::time::Now;

/// A call and the name of a leg in it.
type Place = (CallId, Fork);

impl Switchboard {
    pub(super) fn referred(&mut self, now: Now, leg: LegId, referral: &Referral) {
        let Some((id, fork)) = self.by_leg.get(&leg).copied() else {
            return self.parts.agent.answer_referral(now, leg, referral.id, Err(481));
        };
        let (adopter, target) = match &referral.replaces {
            None => ((id, fork), self.transfer_target(now, (id, fork), &referral.dialled)),
            Some(replaces) => self.consulted((id, fork), leg, replaces),
        };
        match &target {
            TransferTarget::Ring(target) => tracing::info!(call = %id, %target, "a phone transfers the call"),
            TransferTarget::Park(order) => {
                tracing::info!(call = %id, place = order.place.0, "a phone parks the call");
            }
            TransferTarget::Join(joined) => {
                tracing::info!(call = %id, into = %adopter.0, target = %joined.with, "a phone joins its two calls");
            }
            TransferTarget::Refused(status) => {
                tracing::info!(call = %id, status, "a transfer was refused");
            }
        }
        // The REFER may have come in the call that is given up.
        if adopter != (id, fork) {
            self.referral_legs.insert((adopter.0, referral.id), leg);
        }
        self.feed(now, adopter.0, Input::PhoneReferred { fork: adopter.1, id: referral.id, target });
    }

    /// Where a blind transfer goes.
    fn transfer_target(&mut self, now: Now, place: Place, dialled: &str) -> TransferTarget {
        let Some(asker) = self.party(place) else { return TransferTarget::Refused(481) };
        if !self.may_refer(&asker) {
            return TransferTarget::Refused(403);
        }
        let dialled = self.parts.dialplan.resolve(&asker, dialled);
        if matches!(dialled, Dialled::Desk(_)) && self.toll_cap(now, &asker, &dialled).is_some() {
            return TransferTarget::Refused(403);
        }
        match dialled {
            Dialled::Desk(target) if self.may_meet(place, &target) => TransferTarget::Ring(target),
            // A user cannot be handed to another user: two WhatsApp legs are two calls.
            Dialled::Desk(_) | Dialled::User(..) | Dialled::NotAllowed | Dialled::Emergency(_) => {
                TransferTarget::Refused(403)
            }
            // Only calls with a user are parked.
            Dialled::Feature(Wish { feature: Feature::Park, argument })
                if self.calls.contains_key(&place.0) =>
            {
                match self.parking_order(argument.as_deref()) {
                    Ok(order) => TransferTarget::Park(order),
                    Err(cause) => TransferTarget::Refused(cause.verdict().sip),
                }
            }
            Dialled::Unknown | Dialled::UnknownCode | Dialled::Feature(_) => TransferTarget::Refused(404),
        }
    }

    /// An attended transfer: the two calls of one phone become one, without the phone. Gives the call that goes on.
    fn consulted(&self, place: Place, leg: LegId, replaces: &Replaces) -> (Place, TransferTarget) {
        let refused = |status| (place, TransferTarget::Refused(status));
        let agent = &self.parts.agent;
        let Some(named) = agent.leg_named(replaces) else {
            // 481 would end the phone's dialog with us (RFC 5057 §5.1).
            return refused(404);
        };
        let Some(other) = self.by_leg.get(&named).copied().filter(|other| other.0 != place.0) else {
            return refused(404);
        };
        let (Some(asker), Some(again)) = (agent.peer_of(leg), agent.peer_of(named)) else {
            return refused(404);
        };
        let party = self.party(place);
        if asker != again || !party.is_some_and(|party| self.may_refer(&party)) {
            return refused(403);
        }
        // The WhatsApp call goes on and takes the other one's phone; between desks the one that was asked does.
        let (goes_on, given_up) =
            if self.calls.contains_key(&other.0) { (other, place) } else { (place, other) };
        let Some(desk) = self.desks.get(&given_up.0) else {
            tracing::info!(call = %place.0, "two WhatsApp users are never joined: a transfer is refused");
            return refused(403);
        };
        let Some(seat) = desk.call.seat_of(given_up.1) else { return refused(404) };
        let across = desk.call.leg_at(seat.other());
        let (with, Some(leg)) = (desk.call.party(seat.other()).clone(), desk.legs.get(&across)) else {
            return refused(404);
        };
        if !self.may_meet(goes_on, &with) {
            return refused(403);
        }
        match desk.call.reached(across) {
            Some(Reached::Answered) if replaces.early_only => refused(486),
            Some(reached) => (goes_on, TransferTarget::Join(Joined { leg: *leg, with, reached })),
            None => refused(491),
        }
    }

    fn may_refer(&self, asker: &Endpoint) -> bool {
        match asker {
            Endpoint::Phone(_) => true,
            Endpoint::Trunk(trunk, _) => self.parts.transfer_rules.may_refer(trunk),
        }
    }

    /// Whether who is across from a leg may come to talk to `newcomer`.
    fn may_meet(&self, (id, fork): Place, newcomer: &Endpoint) -> bool {
        if self.calls.contains_key(&id) {
            // Meta forbids the public telephone network on any leg; only the administrator's word says that a
            // trunk does not lead there.
            return match newcomer {
                Endpoint::Trunk(trunk, _) => self.parts.transfer_rules.is_voip_only(trunk),
                Endpoint::Phone(_) => true,
            };
        }
        let across = self.desks.get(&id).and_then(|desk| {
            let seat = desk.call.seat_of(fork)?;
            Some(desk.call.party(seat.other()))
        });
        match (across, newcomer) {
            (Some(Endpoint::Trunk(one, _)), Endpoint::Trunk(two, _)) => self.parts.dialplan.joins(one, two),
            (Some(_), _) => true,
            (None, _) => false,
        }
    }

    /// Who is at a leg.
    fn party(&self, (id, fork): Place) -> Option<Endpoint> {
        if let Some(live) = self.calls.get(&id) {
            return live.call.record().endpoint.clone();
        }
        let desk = self.desks.get(&id)?;
        Some(desk.call.party(desk.call.seat_of(fork)?).clone())
    }

    /// INVITE with Replaces (RFC 3891): somebody wants the place of a leg.
    pub(super) fn took_over(&mut self, now: Now, dial: Dial, replaced: LegId) {
        let refused = self.take_over_refused(&dial, replaced);
        if let Some((status, phrase)) = refused {
            tracing::info!(from = %dial.endpoint, status, "an INVITE with Replaces was refused");
            return self.parts.agent.refuse(now, dial.leg, Refusal::status(status, phrase));
        }
        let Some((id, fork)) = self.by_leg.get(&replaced).copied() else { return };
        if self.calls.get(&id).is_some_and(|live| !live.call.is_bridged()) {
            return self.picked_up(now, id, dial);
        }
        let Some(offer) = dial.sdp else { return };
        tracing::info!(call = %id, by = %dial.endpoint, "a call is taken over");
        self.tell_rule(id, dial.leg);
        let newcomer = TakeOver { leg: dial.leg, endpoint: dial.endpoint, replaced: fork, offer };
        self.feed(now, id, Input::PhoneTookOver(newcomer));
    }

    /// The place of a phone that rings: that is a pick-up.
    fn picked_up(&mut self, now: Now, id: CallId, dial: Dial) {
        let Dial { leg, endpoint, sdp, sip_call_id, .. } = dial;
        let joiner = Joiner { endpoint, offer: sdp, sip_call_id };
        let Some(fork) = self.calls.get_mut(&id).and_then(|live| live.call.join(now, joiner)) else {
            let gone = Refusal::status(481, "Call/Transaction Does Not Exist");
            return self.parts.agent.refuse(now, leg, gone);
        };
        if let Some(live) = self.calls.get_mut(&id) {
            live.legs.insert(fork, leg);
        }
        self.by_leg.insert(leg, (id, fork));
        self.tell_rule(id, leg);
        self.touch(id);
    }

    fn take_over_refused(&self, dial: &Dial, replaced: LegId) -> Option<(u16, &'static str)> {
        let Some(place) = self.by_leg.get(&replaced).copied() else {
            return Some((481, "Call/Transaction Does Not Exist"));
        };
        let live = match (self.calls.get(&place.0), self.desks.get(&place.0)) {
            (Some(live), _) => live.call.is_live(),
            (None, Some(desk)) => desk.call.is_live(),
            (None, None) => false,
        };
        if !live {
            return Some((481, "Call/Transaction Does Not Exist"));
        }
        let peer = self.parts.agent.peer_of(replaced);
        let entitled = match &dial.endpoint {
            Endpoint::Trunk(trunk, _) => {
                matches!(&peer, Some(Endpoint::Trunk(same, _)) if same == trunk)
            }
            Endpoint::Phone(phone) => {
                matches!(&peer, Some(Endpoint::Phone(same)) if same == phone)
                    || self.parts.transfer_rules.may_take_over(phone)
            }
        };
        if !entitled || !self.may_meet(place, &dial.endpoint) {
            return Some((403, "Not Your Call"));
        }
        dial.sdp.is_none().then_some((488, "An Offer Is Needed"))
    }

    /// A leg comes to a call, from another one or as it has just come.
    pub(super) fn adopt(&mut self, now: Now, id: CallId, fork: Fork, leg: LegId) {
        let before = self.by_leg.insert(leg, (id, fork));
        if let Some(live) = self.calls.get_mut(&id) {
            live.legs.insert(fork, leg);
        } else if let Some(desk) = self.desks.get_mut(&id) {
            desk.legs.insert(fork, leg);
        }
        if let Some((old, old_fork)) = before {
            self.borrowed.insert(leg, (old, old_fork));
            self.feed(now, old, Input::LegLent(old_fork));
        }
    }

    /// The leg stays; gives its dialog, which a restart would need.
    pub(super) fn keep_leg(&mut self, now: Now, id: CallId, fork: Fork) -> Option<DialogSnapshot> {
        let leg = self.leg(id, fork)?;
        if let Some((old, old_fork)) = self.borrowed.remove(&leg) {
            if let Some(desk) = self.desks.get_mut(&old) {
                desk.legs.remove(&old_fork);
            }
            self.feed(now, old, Input::LegTaken(old_fork));
        }
        self.parts.agent.dialog_of(leg)
    }

    /// The leg goes back to its call, or is ended if that is over.
    pub(super) fn give_back(&mut self, now: Now, id: CallId, fork: Fork) {
        let Some(leg) = self.leg(id, fork) else { return };
        let Some((old, old_fork)) = self.borrowed.remove(&leg) else { return };
        if let Some(live) = self.calls.get_mut(&id) {
            live.legs.remove(&fork);
        } else if let Some(desk) = self.desks.get_mut(&id) {
            desk.legs.remove(&fork);
        }
        if !self.desks.get(&old).is_some_and(|desk| desk.call.is_live()) {
            self.by_leg.remove(&leg);
            let reason = Reason { protocol: "SIP", cause: 480, text: "Transfer failed".to_owned() };
            return self.parts.agent.hang_up(now, leg, Some(reason));
        }
        self.by_leg.insert(leg, (old, old_fork));
        self.feed(now, old, Input::LegReturned(old_fork));
        if !self.parts.agent.has_leg(leg) {
            self.feed(now, old, Input::PhoneHungUp(old_fork));
        }
    }

    pub(super) fn answer_referral(
        &mut self,
        now: Now,
        (id, fork): Place,
        referral: ReferralId,
        answer: Result<(), u16>,
    ) {
        if let Some(leg) = self.referring_leg(id, fork, referral) {
            self.parts.agent.answer_referral(now, leg, referral, answer);
        }
        if answer.is_err() {
            self.referral_legs.remove(&(id, referral));
        }
    }

    pub(super) fn tell_referral(
        &mut self,
        now: Now,
        (id, fork): Place,
        referral: ReferralId,
        status: (u16, &'static str),
        telling: Telling,
    ) {
        if let Some(leg) = self.referring_leg(id, fork, referral) {
            self.parts.agent.tell_referral(now, leg, referral, status, telling);
        }
        if telling == Telling::Last {
            self.referral_legs.remove(&(id, referral));
        }
    }

    fn referring_leg(&self, id: CallId, fork: Fork, referral: ReferralId) -> Option<LegId> {
        self.referral_legs.get(&(id, referral)).copied().or_else(|| self.leg(id, fork))
    }

    /// Lets one side hear a sound over and over until it is stopped.
    pub(super) fn play(&self, id: CallId, towards: Side, sound: Sound) {
        let Some(clip) = self.parts.sounds.clip(sound) else { return };
        let play = Order::Play { towards, clip, repeat: Repeat::Forever };
        self.parts.media.order(id, play);
    }
}

/// Who may do what in a transfer.
#[derive(Clone, Debug, Default)]
pub struct TransferRules {
    /// Whose REFER is followed.
    pub may_refer: Vec<TrunkName>,
    /// Behind which nothing reaches the public telephone network.
    pub voip_only: Vec<TrunkName>,
    /// Phones that may take over calls of others by INVITE with Replaces.
    pub may_take_over: Vec<PhoneName>,
}

impl TransferRules {
    fn may_refer(&self, trunk: &TrunkName) -> bool {
        self.may_refer.contains(trunk)
    }

    fn is_voip_only(&self, trunk: &TrunkName) -> bool {
        self.voip_only.contains(trunk)
    }

    fn may_take_over(&self, phone: &PhoneName) -> bool {
        self.may_take_over.contains(phone)
    }
}
