//! Who calls, in the headers of an INVITE: for a phone as it shows it, for a trunk as that wants it.

use super::super::caller_id::{dialable, plain_display};
use super::super::message::Name;
use super::super::message::uri::quote;
use super::super::trunk::{CallerHeader, FromShows, NumberOf, TrunkPeer};
use super::outbound::Wish;
use super::settings::Settings;

/// From without its tag, and what else tells who calls and why.
pub(super) struct Identity {
    pub(super) from: String,
    pub(super) headers: Vec<(Name, String)>,
}

impl Settings {
    /// For a phone: the caller as the number to dial back, and which business number was called.
    pub(super) fn identity_for_phone(&self, wish: &Wish) -> Identity {
        let number = dialable(&wish.caller.number);
        let called = wish.facts.business_number.as_ref();
        let called = called.map(|number| format!("<sip:{}@{}>", dialable(number), self.domain));
        Identity {
            from: self.name_addr(&number, &wish.caller.display),
            headers: called.map(|called| (Name::PCalledPartyId, called)).into_iter().collect(),
        }
    }

    /// For a trunk whose addresses end in `host`.
    pub(super) fn identity_for_trunk(&self, peer: &TrunkPeer, host: &str, wish: &Wish) -> Identity {
        let shown = peer.presentation;
        let number = dialable(&peer.numbering.outward(NumberOf::Caller, &wish.caller.number));
        let caller = self.name_addr(&number, &wish.caller.display);
        let account = peer.account().filter(|_| shown.from == FromShows::Account);
        let from = match account {
            Some(account) => format!("<sip:{}@{host}>", dialable(account)),
            // RFC 3323 §4.1.1.3
            None if shown.privacy => "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned(),
            None => caller.clone(),
        };
        let mut headers = Vec::new();
        match shown.header {
            CallerHeader::Asserted => headers.push((Name::PAssertedIdentity, caller)),
            CallerHeader::Preferred => headers.push((Name::PPreferredIdentity, caller)),
            CallerHeader::Nothing => {}
        }
        if shown.privacy {
            headers.push((Name::Privacy, "id".to_owned()));
        }
        if let Some(digits) = wish.facts.business_number.as_ref().filter(|_| shown.diversion) {
            let number = dialable(&peer.numbering.outward(NumberOf::Caller, &format!("+{digits}")));
            let value = format!("<sip:{number}@{}>;reason=unconditional;counter=1", self.domain);
            headers.push((Name::Diversion, value));
        }
        headers.extend(peer.fact_headers.tell(&wish.facts));
        Identity { from, headers }
    }

    fn name_addr(&self, number: &str, display: &str) -> String {
        let display = plain_display(display);
        let display = if display.is_empty() { number } else { &display };
        format!("{} <sip:{number}@{}>", quote(display), self.domain)
    }
}
