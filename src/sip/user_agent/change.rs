//! What we change in a call that is up: re-INVITE and UPDATE of ours (RFC 3261 §14.1, RFC 3311, RFC 4028 §7.4).

use std::time::{Duration, Instant};

use crate::id::LegId;
use crate::time::Now;

use super::super::flow::Flow;
use super::super::message::{Head, Method, Name, Response, sdp_of};
use super::super::transaction::ClientKey;
use super::leg::{Leg, Owner, Stage, Up};
use super::session::{SessionTimer, granted, min_se};
use super::{ALLOW, Event, SUPPORTED, Sent, UserAgent};

/// So many 491 in a row mean that the peer never lets us.
const MOST_GLARES: u8 = 8;
/// How long a refresh waits for an exchange that is under way.
const LATER: Duration = Duration::from_secs(2);
/// How long a refresh waits after a refusal that names no time.
const AFTER_REFUSAL: Duration = Duration::from_secs(10);

/// Whose Call-ID it is; decides how long one waits after two offers met (RFC 3261 §14.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallIdOf {
    Us,
    Them,
}

/// Whether the peer takes UPDATE, by its Allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Updates {
    Taken,
    Unknown,
}

impl Updates {
    pub(super) fn of(headers: &super::super::message::Headers) -> Self {
        let listed = headers.words(&Name::Allow).iter().any(|word| word == "update");
        if listed { Self::Taken } else { Self::Unknown }
    }
}

/// Our own changes of one call.
#[derive(Debug, Default)]
pub(super) struct OurChange {
    /// An offer that waits for its turn.
    wanted: Option<String>,
    under_way: Option<UnderWay>,
    /// Two offers met: not before then.
    pub(super) not_before: Option<Instant>,
    glares: u8,
}

#[derive(Debug)]
struct UnderWay {
    key: ClientKey,
    /// The offer it carries.
    offer: Option<String>,
    purpose: Purpose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Somebody asked for it and waits for the answer.
    Asked,
    /// The session timer; nothing changes.
    Refresh,
}

impl OurChange {
    /// Whether a request of ours is under way that theirs must not cross (RFC 3261 §14.2, RFC 3311 §5.2).
    pub(super) fn crosses(&self, method: &Method) -> bool {
        self.under_way.as_ref().is_some_and(|ours| match method {
            Method::Invite => ours.key.method == Method::Invite || ours.offer.is_some(),
            _ => ours.offer.is_some(),
        })
    }

    /// The request that was `key` was challenged and sent again.
    pub(super) fn sent_again(&mut self, key: &ClientKey, again: &ClientKey) {
        if let Some(ours) = self.under_way.as_mut().filter(|ours| ours.key == *key) {
            ours.key = again.clone();
        }
    }

    const fn is_idle(&self) -> bool {
        self.under_way.is_none()
    }
}

impl UserAgent {
    /// Makes the peer a new offer within the call, as soon as no other exchange is under way.
    ///
    /// [`Event::Reanswered`] brings the answer, [`Event::ReofferRefused`] says that the old session stays.
    pub fn reoffer(&mut self, now: Now, leg: LegId, sdp: String) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        up.change.wanted = Some(sdp);
        up.change.glares = 0;
        self.advance_change(now, leg);
        self.rearm(leg);
    }

    /// Sends what waits, if nothing stands in the way.
    pub(super) fn advance_change(&mut self, now: Now, leg: LegId) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let refresh = up.session.is_some_and(|it| it.refresh_at.is_some_and(|at| at <= now.mono));
        let blocked = up.unacked.is_some()
            || up.reoffer.is_some()
            || !up.change.is_idle()
            || up.change.not_before.is_some_and(|at| at > now.mono);
        if blocked {
            if let (true, Some(session)) = (refresh, &mut up.session) {
                session.refresh_at = Some(now.mono + LATER);
            }
            return;
        }
        up.change.not_before = None;
        if let Some(offer) = up.change.wanted.take() {
            self.send_change(now, leg, Method::Invite, Some(offer), Purpose::Asked);
        } else if refresh {
            // An UPDATE without an offer touches nothing; a re-INVITE repeats what was said last.
            let said = up.said.clone();
            match (up.updates, said) {
                (Updates::Taken, _) | (_, None) => {
                    self.send_change(now, leg, Method::Update, None, Purpose::Refresh);
                }
                (_, said) => self.send_change(now, leg, Method::Invite, said, Purpose::Refresh),
            }
        }
    }

    fn send_change(&mut self, now: Now, leg: LegId, method: Method, offer: Option<String>, purpose: Purpose) {
        let (contact, product) = (self.contact_in(leg), self.settings.product.clone());
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let mut request = up.dialog.next_request(method);
        let headers = &mut request.headers;
        headers.push(Name::Contact, contact);
        headers.push(Name::Allow, ALLOW);
        headers.push(Name::Supported, SUPPORTED);
        if let Some(session) = &mut up.session {
            headers.push(Name::SessionExpires, session.in_request().to_string());
            session.refresh_at = None;
        }
        headers.push(Name::UserAgent, product);
        if let Some(sdp) = &offer {
            headers.push(Name::ContentType, "application/sdp");
            request.body = sdp.clone().into_bytes();
        }
        let to = up.dialog.next_hop();
        let key = self.send_request(now, to, request, Owner::Change { leg, ack: None });
        if let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) {
            up.change.under_way = Some(UnderWay { key, offer, purpose });
        }
    }

    /// An answer to a re-INVITE or UPDATE of ours.
    pub(super) fn hear_change(&mut self, now: Now, key: &ClientKey, response: &Response, head: &Head) {
        let Some(Sent { owner: Owner::Change { leg, ack }, .. }) = self.sent.get(key) else { return };
        let leg = *leg;
        if response.status < 200 {
            return;
        }
        if let Some((to, ack)) = ack.clone() {
            return self.transmit(to, ack);
        }
        if response.status < 300 && key.method == Method::Invite {
            self.ack_change(key, leg, response, head);
        }
        let ours = match self.legs.get_mut(&leg).map(|leg| &mut leg.stage) {
            Some(Stage::Up(up)) => up.change.under_way.take_if(|ours| ours.key == *key),
            _ => None,
        };
        let Some(ours) = ours else { return };
        match response.status {
            ..300 => self.change_taken(now, leg, ours, response),
            408 | 481 => return self.end_session(now, leg),
            status => self.change_refused(now, leg, ours, status, response),
        }
        self.advance_change(now, leg);
        self.rearm(leg);
    }

    /// The ACK of a 2xx; a call that is over meanwhile is acknowledged all the same.
    fn ack_change(&mut self, key: &ClientKey, leg: LegId, response: &Response, head: &Head) {
        let Some(sent) = self.sent.get(key) else { return };
        let (mut ack, to) = match self.legs.get_mut(&leg).map(|leg| &mut leg.stage) {
            Some(Stage::Up(up)) => {
                let flow = sent.flow;
                up.dialog.refresh_target(&response.headers, flow);
                (up.dialog.request(Method::Ack, head.cseq.number), up.dialog.next_hop())
            }
            _ => (super::super::transaction::client::ack_of(sent.client.request(), head), sent.flow),
        };
        ack.headers.remove(&Name::Via);
        // The ACK of a 2xx carries the credentials of its INVITE (RFC 3261 §13.2.2.4).
        for name in [Name::Authorization, Name::ProxyAuthorization] {
            for value in sent.client.request().headers.all(&name) {
                ack.headers.push(name.clone(), value);
            }
        }
        let branch = self.new_branch();
        self.dress(&mut ack, to, &branch);
        let bytes = ack.to_wire(to.transport);
        if let Some(Sent { owner: Owner::Change { ack, .. }, .. }) = self.sent.get_mut(key) {
            *ack = Some((to, bytes.clone()));
        }
        self.transmit(to, bytes);
    }

    fn change_taken(&mut self, now: Now, leg: LegId, ours: UnderWay, response: &Response) {
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        up.change.glares = 0;
        up.session = granted(now, response);
        let flow = up.dialog.flow;
        up.dialog.refresh_target(&response.headers, flow);
        let answer = sdp_of(&response.headers, &response.body);
        let Some(offer) = ours.offer else { return };
        up.said = Some(offer);
        match answer {
            // A refresh is answered with what was said before: nobody need hear of it.
            Some(sdp) if ours.purpose == Purpose::Asked || up.heard.as_ref() != Some(&sdp) => {
                up.heard = Some(sdp.clone());
                self.events.push_back(Event::Reanswered { leg, sdp });
            }
            None if ours.purpose == Purpose::Asked => {
                self.events.push_back(Event::ReofferRefused { leg, status: 488 });
            }
            _ => {}
        }
    }

    fn change_refused(&mut self, now: Now, leg: LegId, ours: UnderWay, status: u16, response: &Response) {
        let glare = self.glare_pause(leg);
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let method = ours.key.method.clone();
        match status {
            491 if up.change.glares < MOST_GLARES => {
                up.change.glares += 1;
                up.change.not_before = Some(now.mono + glare);
                return up.want_again(now, ours);
            }
            // Somebody on the way wants the session to live longer (RFC 4028 §7.4).
            422 if up.change.glares < MOST_GLARES => {
                up.change.glares += 1;
                if let Some(session) = &mut up.session {
                    session.interval = session.interval.max(min_se(&response.headers));
                }
                return up.want_again(now, ours);
            }
            405 | 501 if method == Method::Update && ours.purpose == Purpose::Refresh => {
                up.updates = Updates::Unknown;
                if up.said.is_some() {
                    return up.want_again(now, ours);
                }
            }
            _ => {}
        }
        match ours.purpose {
            Purpose::Asked => self.events.push_back(Event::ReofferRefused { leg, status }),
            Purpose::Refresh => {
                let named = response
                    .headers
                    .get(&Name::RetryAfter)
                    .and_then(|value| value.split([';', '(', ' ']).next()?.parse::<u32>().ok());
                let pause = named.map_or(AFTER_REFUSAL, |seconds| Duration::from_secs(seconds.max(1).into()));
                up.refresh_again(now.mono + pause);
            }
        }
    }

    /// How long to wait after two offers met: 2.1 to 4 s for the owner of the Call-ID, else up to 2 s.
    fn glare_pause(&mut self, leg: LegId) -> Duration {
        let ten_millis = match self.legs.get(&leg).map(|leg| &leg.stage) {
            Some(Stage::Up(up)) if up.call_id_of == CallIdOf::Us => 210 + self.random.below(191),
            _ => self.random.below(201),
        };
        Duration::from_millis(u64::from(ten_millis) * 10)
    }

    /// A re-INVITE or UPDATE of ours was never answered: the call is dead (RFC 3261 §14.1).
    pub(super) fn change_lost(&mut self, now: Now, leg: LegId, key: &ClientKey) {
        let ours = match self.legs.get(&leg).map(|leg| &leg.stage) {
            Some(Stage::Up(up)) => up.change.under_way.as_ref().is_some_and(|ours| ours.key == *key),
            _ => false,
        };
        if ours {
            self.end_session(now, leg);
        }
    }

    /// Sets the leg's timer anew.
    pub(super) fn rearm(&mut self, leg: LegId) {
        let timeout = self.legs.get(&leg).and_then(Leg::poll_timeout);
        self.schedule.set(&super::Timer::Leg(leg), timeout);
    }
}

impl Up {
    fn want_again(&mut self, now: Now, ours: UnderWay) {
        match ours.purpose {
            Purpose::Asked => {
                // An offer that was wanted meanwhile is the newer one.
                self.change.wanted = self.change.wanted.take().or(ours.offer);
            }
            Purpose::Refresh => self.refresh_again(self.change.not_before.unwrap_or(now.mono)),
        }
    }

    fn refresh_again(&mut self, at: Instant) {
        if let Some(session) = &mut self.session {
            session.refresh_at = Some(at);
        }
    }

    /// Notes that a request of theirs has refreshed the session.
    pub(super) fn refreshed(&mut self, session: Option<SessionTimer>) {
        self.session = session;
    }
}

/// An ACK as it was sent, for each repetition of the 2xx.
pub(super) type SentAck = Option<(Flow, Vec<u8>)>;
