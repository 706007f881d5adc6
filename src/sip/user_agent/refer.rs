//! Transfer: REFER inside a call, the NOTIFYs that tell how it goes (RFC 3515), and Replaces (RFC 3891).

use std::fmt;

use crate::id::{Endpoint, LegId};
use crate::time::Now;

use super::super::dialog::DialogSnapshot;
use super::super::message::uri::{split_outside_quotes, unescape};
use super::super::message::{Headers, Method, Name, NameAddr};
use super::super::transaction::ServerKey;
use super::super::trunk::NumberOf;
use super::incoming::Incoming;
use super::leg::{Leg, Owner, Stage, Up};
use super::{Event, UserAgent};

/// More transfers of one call at a time than any phone asks for.
const MOST_REFERRALS: usize = 4;
/// How long a transfer may be told of, in seconds; what it names is not counted anywhere.
const EXPIRES: u32 = 180;

/// Which call is to be replaced (RFC 3891 §6.1), as the one whom the header reaches sees it.
#[derive(Clone, PartialEq, Eq)]
pub struct Replaces {
    /// Call-ID.
    pub call_id: String,
    /// The tag of whom it reaches.
    pub to_tag: String,
    /// The tag of the other side.
    pub from_tag: String,
    /// Only while it rings.
    pub early_only: bool,
}

impl Replaces {
    /// Reads the header's value.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = split_outside_quotes(text, b';')?.into_iter().map(str::trim);
        let call_id = parts.next().filter(|it| !it.is_empty() && !it.contains(char::is_whitespace))?;
        let (mut to_tag, mut from_tag, mut early_only) = (None, None, false);
        for part in parts {
            let (name, value) =
                part.split_once('=').map_or((part, ""), |(name, value)| (name.trim(), value.trim()));
            match name.to_ascii_lowercase().as_str() {
                "to-tag" => to_tag = Some(value.to_owned()),
                "from-tag" => from_tag = Some(value.to_owned()),
                "early-only" => early_only = true,
                _ => {}
            }
        }
        Some(Self { call_id: call_id.to_owned(), to_tag: to_tag?, from_tag: from_tag?, early_only })
    }
}

impl fmt::Display for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};to-tag={};from-tag={}", self.call_id, self.to_tag, self.from_tag)?;
        if self.early_only { f.write_str(";early-only") } else { Ok(()) }
    }
}

/// Shows no tags: who knows them can take the call over.
impl fmt::Debug for Replaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replaces").field("call_id", &self.call_id).finish_non_exhaustive()
    }
}

/// Which of a call's transfers; the number of its REFER.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReferralId(pub u32);

/// What a REFER asks for.
#[derive(Clone, PartialEq, Eq)]
pub struct Referral {
    /// To name it in the answers.
    pub id: ReferralId,
    /// The user part of Refer-To: what the phone would dial.
    pub dialled: String,
    /// The call that the new one takes the place of: an attended transfer.
    pub replaces: Option<Replaces>,
    /// Referred-By, as it stands.
    pub referred_by: Option<String>,
}

/// Shows no number.
impl fmt::Debug for Referral {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Referral")
            .field("id", &self.id)
            .field("replaces", &self.replaces)
            .finish_non_exhaustive()
    }
}

/// Whether more is told of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Telling {
    /// It goes on.
    More,
    /// This was its end.
    Last,
}

/// A REFER that was not answered yet, or is told of.
#[derive(Debug)]
pub(super) struct Told {
    id: ReferralId,
    /// Until it is answered.
    waits: Option<(Incoming, ServerKey)>,
    /// The phone wants to hear nothing (RFC 4488).
    quiet: bool,
    /// Not the first of the call: NOTIFY names it (RFC 3515 §2.4.6).
    named: bool,
}

/// Why a REFER cannot be used.
fn read(incoming: &Incoming) -> Result<Referral, (u16, &'static str)> {
    let headers = &incoming.request.headers;
    let values = headers.list(&Name::ReferTo);
    let [value] = values.as_slice() else { return Err((400, "Bad Refer-To")) };
    let target = NameAddr::parse(value).ok_or((400, "Bad Refer-To"))?;
    let Some(uri) = target.sip() else {
        // A telephone number is as good as an address here.
        let number = target.uri.strip_prefix("tel:").ok_or((416, "Unsupported URI Scheme"))?;
        let number = number.split(';').next().unwrap_or("").to_owned();
        return Ok(Referral {
            id: ReferralId(incoming.head.cseq.number),
            dialled: number,
            replaces: None,
            referred_by: referred_by(headers),
        });
    };
    if uri.params.get("method").is_some_and(|method| !method.eq_ignore_ascii_case("INVITE")) {
        return Err((501, "Only INVITE Is Referred"));
    }
    let replaces = match uri.headers.as_deref().and_then(replaces_in) {
        None => None,
        Some(text) => Some(Replaces::parse(&text).ok_or((400, "Bad Replaces"))?),
    };
    Ok(Referral {
        id: ReferralId(incoming.head.cseq.number),
        dialled: uri.user_text(),
        replaces,
        referred_by: referred_by(headers),
    })
}

fn referred_by(headers: &Headers) -> Option<String> {
    headers.get(&Name::ReferredBy).map(str::to_owned)
}

/// The Replaces among the headers of a URI, its escapes undone.
fn replaces_in(headers: &str) -> Option<String> {
    headers.split('&').find_map(|header| {
        let (name, value) = header.split_once('=')?;
        name.eq_ignore_ascii_case("Replaces").then(|| unescape(value))
    })
}

impl UserAgent {
    /// A REFER inside a call: passed on, answered by [`UserAgent::answer_referral`].
    pub(super) fn handle_refer(&mut self, now: Now, leg: LegId, incoming: Incoming) {
        let mut referral = match read(&incoming) {
            Ok(referral) => referral,
            Err((status, phrase)) => {
                return self.answer_for_good(now, &incoming, status, phrase, Vec::new());
            }
        };
        let Some(Leg { stage: Stage::Up(up), trunk, .. }) = self.legs.get(&leg) else { return };
        if let Some(at) = trunk {
            let numbering = &self.settings.trunks[*at].numbering;
            referral.dialled = numbering.inward(NumberOf::Called, &referral.dialled);
        }
        if up.referrals.len() >= MOST_REFERRALS {
            return self.answer_later(now, &incoming);
        }
        let Some(server) = self.begin(&incoming) else { return };
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        up.dialog.refresh_target(&incoming.request.headers, incoming.flow);
        let quiet = incoming.request.headers.words(&Name::ReferSub).iter().any(|word| word == "false");
        let named = up.referred;
        up.referred = true;
        up.referrals.push(Told { id: referral.id, waits: Some((incoming, server)), quiet, named });
        self.events.push_back(Event::Referred { leg, referral });
    }

    /// Takes a transfer on (202 and the first NOTIFY), or refuses it with a status; the call goes on as it was.
    pub fn answer_referral(&mut self, now: Now, leg: LegId, id: ReferralId, answer: Result<(), u16>) {
        let contact = self.contact_in(leg);
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let Some(told) = up.referrals.iter_mut().find(|it| it.id == id) else { return };
        let Some((incoming, server)) = told.waits.take() else { return };
        let quiet = told.quiet;
        match answer {
            Ok(()) => {
                let mut response = incoming.answer(202, "Accepted", "");
                response.headers.push(Name::Contact, contact);
                if quiet {
                    response.headers.push(Name::ReferSub, "false");
                }
                self.respond(now, &server, &response);
                self.tell_referral(now, leg, id, (100, "Trying"), Telling::More);
            }
            Err(status) => {
                up.referrals.retain(|it| it.id != id);
                let phrase = if status == 403 { "Transfer Not Allowed" } else { "Transfer Refused" };
                let response = incoming.answer(status.clamp(400, 699), phrase, "");
                self.respond(now, &server, &response);
            }
        }
    }

    /// Tells who asked for a transfer how it goes: the status line of the new call (RFC 3515 §2.4.5).
    pub fn tell_referral(
        &mut self,
        now: Now,
        leg: LegId,
        id: ReferralId,
        (status, phrase): (u16, &str),
        telling: Telling,
    ) {
        let (contact, product) = (self.contact_in(leg), self.settings.product.clone());
        let Some(Leg { stage: Stage::Up(up), .. }) = self.legs.get_mut(&leg) else { return };
        let Some(at) = up.referrals.iter().position(|it| it.id == id && it.waits.is_none()) else { return };
        let (quiet, named) = (up.referrals[at].quiet, up.referrals[at].named);
        if telling == Telling::Last {
            up.referrals.remove(at);
        }
        if quiet {
            return;
        }
        let mut notify = up.dialog.next_request(Method::Notify);
        let headers = &mut notify.headers;
        headers.push(Name::Contact, contact);
        headers.push(Name::Event, if named { format!("refer;id={}", id.0) } else { "refer".to_owned() });
        headers.push(
            Name::SubscriptionState,
            match telling {
                Telling::More => format!("active;expires={EXPIRES}"),
                Telling::Last => "terminated;reason=noresource".to_owned(),
            },
        );
        headers.push(Name::UserAgent, product);
        headers.push(Name::ContentType, "message/sipfrag;version=2.0");
        notify.body = format!("SIP/2.0 {status} {}\r\n", phrase.replace(['\r', '\n'], " ")).into_bytes();
        let to = up.dialog.next_hop();
        self.send_request(now, to, notify, Owner::Nobody);
    }

    /// The call that `replaces` names: tags are taken in either order, for phones differ in whom they mean.
    #[must_use]
    pub fn leg_named(&self, replaces: &Replaces) -> Option<LegId> {
        let find = |ours: &str, theirs: &str| {
            let leg = *self.dialogs.get(&(replaces.call_id.clone(), ours.to_owned()))?;
            let known = match &self.legs.get(&leg)?.stage {
                Stage::Up(up) => up.dialog.remote_tag == theirs,
                Stage::Called(called) => called.invite.head.from.tag().unwrap_or("") == theirs,
                Stage::Calling(calling) => calling.tags.iter().any(|tag| tag == theirs),
            };
            known.then_some(leg)
        };
        find(&replaces.to_tag, &replaces.from_tag).or_else(|| find(&replaces.from_tag, &replaces.to_tag))
    }

    /// Whether a leg is still there.
    #[must_use]
    pub fn has_leg(&self, leg: LegId) -> bool {
        self.legs.contains_key(&leg)
    }

    /// Who is at the other end of a leg; a trunk's number is not told.
    #[must_use]
    pub fn peer_of(&self, leg: LegId) -> Option<Endpoint> {
        let leg = self.legs.get(&leg)?;
        let trunk = leg.trunk.and_then(|at| self.settings.trunks.get(at));
        match (&leg.phone, trunk) {
            (Some(phone), _) => Some(Endpoint::Phone(phone.clone())),
            (None, Some(trunk)) => Some(Endpoint::Trunk(trunk.name.clone(), String::new())),
            (None, None) => None,
        }
    }

    /// What a restart needs of a leg that is up.
    #[must_use]
    pub fn dialog_of(&self, leg: LegId) -> Option<DialogSnapshot> {
        match &self.legs.get(&leg)?.stage {
            Stage::Up(up) => Some(up.dialog.snapshot()),
            _ => None,
        }
    }

    /// The call that a new INVITE takes the place of, or the status that refuses it (RFC 3891 §3).
    pub(super) fn replaced_by(&self, headers: &Headers) -> Result<Option<LegId>, (u16, &'static str)> {
        let mut values = headers.all(&Name::Replaces);
        let Some(value) = values.next() else { return Ok(None) };
        let replaces =
            Replaces::parse(value).filter(|_| values.next().is_none()).ok_or((400, "Bad Replaces"))?;
        let leg = self.leg_named(&replaces).ok_or((481, "Call/Transaction Does Not Exist"))?;
        match self.legs.get(&leg).map(|leg| &leg.stage) {
            Some(Stage::Up(_)) if replaces.early_only => Err((486, "Busy Here")),
            Some(Stage::Up(_) | Stage::Calling(_)) => Ok(Some(leg)),
            // An early dialog that we have not begun (RFC 3891 §3).
            Some(Stage::Called(_)) | None => Err((481, "Call/Transaction Does Not Exist")),
        }
    }
}

impl Up {
    /// REFERs that wait for an answer when the call ends.
    pub(super) fn take_referrals(&mut self) -> Vec<(Incoming, ServerKey)> {
        self.referrals.drain(..).filter_map(|told| told.waits).collect()
    }
}
