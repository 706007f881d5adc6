//! Bindings between two processes: a phone that registered with the last one is called by the next.

use std::fmt;
use std::time::Duration;

use crate::id::PhoneName;
use crate::time::{Now, Wall};

use super::super::flow::{Flow, Transport};
use super::super::message::SipUri;
use super::keepalive::Pulse;
use super::{Binding, Line, Registrar};

/// A binding as it is kept: with a wall clock's end, because the other clock ends with the machine's uptime.
#[derive(Clone, PartialEq, Eq)]
pub struct SavedBinding {
    /// Whose it is.
    pub phone: PhoneName,
    /// The Contact, as text.
    pub contact: String,
    /// Where its REGISTER came from, and on which socket of ours.
    pub flow: Flow,
    /// When it ends.
    pub expires: Wall,
    /// What the phone calls itself.
    pub user_agent: Option<String>,
    /// Call-ID of the REGISTER that made it.
    pub call_id: String,
    /// CSeq number of that REGISTER; a lower one with the same Call-ID is late.
    pub cseq: u32,
    /// The device, if it named itself (RFC 5626 §4.1).
    pub instance: Option<String>,
    /// Which of the device's flows (RFC 5626 §4.2).
    pub reg_id: Option<u32>,
    /// The proxies on the way, as Route names them (RFC 3327).
    pub path: Vec<String>,
    /// Preference in thousandths.
    pub q: u16,
    /// Two bytes that follow from the phone's password: they differ when it was changed, and are too few
    /// to guess it by.
    pub proof: u16,
}

/// Shows no Contact.
impl fmt::Debug for SavedBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SavedBinding")
            .field("phone", &self.phone)
            .field("flow", &self.flow)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

impl Registrar {
    /// A phone whose bindings have changed since they were last saved; each change is told once.
    pub fn take_unsaved(&mut self) -> Option<PhoneName> {
        self.unsaved.pop_first()
    }

    /// The live bindings of a phone, the stalest first; a connection ends with the process, and so does its binding.
    #[must_use]
    pub fn save(&self, now: Now, phone: &PhoneName, proof: u16) -> Vec<SavedBinding> {
        let mut alive = self.alive(now.mono, phone);
        alive.retain(|binding| binding.flow.transport == Transport::Udp);
        alive.sort_by_key(|binding| binding.refreshed);
        alive.into_iter().map(|binding| binding.save(now, phone, proof)).collect()
    }

    /// Takes up what the last process saved, in the order of saving; gives whether the binding still holds.
    ///
    /// A clock that was set back must not keep a phone registered for ever: no binding lives longer from now
    /// than one that is made now.
    pub fn restore(&mut self, now: Now, saved: SavedBinding) -> bool {
        let left = saved.expires.since(now.wall).min(self.limits.max);
        let Some(contact) = SipUri::parse(&saved.contact).filter(|_| left > Duration::ZERO) else {
            return false;
        };
        self.served += 1;
        let place = u32::try_from(self.served).unwrap_or(u32::MAX);
        let phone = saved.phone;
        self.bindings.entry(phone.clone()).or_default().push(Binding {
            contact,
            flow: saved.flow,
            expires: now.mono + left,
            user_agent: saved.user_agent,
            call_id: saved.call_id,
            cseq: saved.cseq,
            instance: saved.instance,
            reg_id: saved.reg_id,
            path: saved.path,
            id: self.served,
            // A NAT may have kept the way for a while already; all at once would be a flood.
            pulse: Pulse::starting(
                now.mono + Duration::from_millis(20).saturating_mul(place).min(self.limits.keep_alive.every),
            ),
            line: Line::Open,
            q: saved.q,
            refreshed: self.served,
        });
        self.reindex(&phone);
        true
    }
}

impl Binding {
    fn save(&self, now: Now, phone: &PhoneName, proof: u16) -> SavedBinding {
        SavedBinding {
            phone: phone.clone(),
            contact: self.contact.to_string(),
            flow: self.flow,
            expires: now.wall + self.expires.saturating_duration_since(now.mono),
            user_agent: self.user_agent.clone(),
            call_id: self.call_id.clone(),
            cseq: self.cseq,
            instance: self.instance.clone(),
            reg_id: self.reg_id,
            path: self.path.clone(),
            q: self.q,
            proof,
        }
    }
}
