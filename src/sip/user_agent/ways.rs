//! The ways to phones: where requests to one go, and keeping them open through NATs.

use std::time::Instant;

use crate::id::PhoneName;
use crate::time::Now;

use super::super::alert::Alert;
use super::super::flow::Flow;
use super::super::message::{Headers, Method, Name, Request};
use super::super::registrar::Probe;
use super::super::registrar::keepalive::KeepAliveBy;
use super::incoming::Incoming;
use super::leg::Owner;
use super::{Event, Timer, UserAgent};

/// Where requests to a phone go.
pub(super) struct Place {
    pub(super) uri: String,
    pub(super) flow: Flow,
    /// The way there from `flow` on, for Route (RFC 3327 §5.1).
    pub(super) routes: Vec<String>,
}

impl UserAgent {
    /// The last binding of a phone has ended.
    pub(super) fn unregistered(&mut self, phone: PhoneName) {
        self.watching.note_phone(&phone);
        self.events.push_back(Event::Unregistered { phone });
    }

    /// Every place where a phone can be reached, the preferred first.
    pub(super) fn places_of(&self, now: Instant, phone: &PhoneName) -> Vec<Place> {
        let place = |binding: &super::Binding| Place {
            uri: binding.contact.as_request_uri().to_string(),
            flow: binding.flow,
            routes: binding.path.clone(),
        };
        self.registrar.alive(now, phone).into_iter().map(place).collect()
    }

    /// How a call is announced to a phone of that make.
    pub(super) fn alert_headers(&self, phone: &PhoneName, alert: &Alert) -> Vec<(Name, String)> {
        self.phone(phone).map_or_else(Vec::new, |it| it.alerts.headers(alert, &self.settings.domain))
    }

    /// Sends what keeps NATs from forgetting phones, and notices who does not answer any more.
    pub(super) fn keep_ways_open(&mut self, now: Now) {
        let (probes, gone) = self.registrar.take_pulses(now.mono);
        for phone in gone {
            self.figures.lost_ways += 1;
            tracing::debug!(%phone, "does not answer any more");
            self.unregistered(phone);
        }
        for probe in probes {
            self.figures.pulses += 1;
            match self.settings.keep_alive.by {
                KeepAliveBy::LineEnds => self.transmit(probe.flow, b"\r\n\r\n".to_vec()),
                KeepAliveBy::Options => self.ask_phone(now, probe),
            }
        }
    }

    fn ask_phone(&mut self, now: Now, Probe { phone, id, uri, flow }: Probe) {
        let mut headers = Headers::new();
        let (call_id, tag) = (self.random.hex(16), self.random.hex(8));
        headers.push(Name::MaxForwards, "70");
        headers.push(Name::From, format!("<sip:{}>;tag={tag}", self.settings.domain));
        headers.push(Name::To, format!("<{uri}>"));
        headers.push(Name::CallId, call_id);
        headers.push(Name::CSeq, "1 OPTIONS");
        headers.push(Name::Contact, self.contact(flow, &uri));
        headers.push(Name::UserAgent, self.settings.product.clone());
        let options = Request { method: Method::Options, uri, headers, body: Vec::new() };
        self.send_request(now, flow, options, Owner::Pulse(phone, id));
    }

    /// A phone answered, with whatever status: it is there.
    pub(super) fn hear_pulse(&mut self, now: Now, phone: PhoneName, id: u64) {
        if self.registrar.answered(now.mono, &phone, id) {
            self.watching.note_phone(&phone);
            self.events.push_back(Event::Registered { phone });
        }
        self.schedule.set(&Timer::Registrar, self.registrar.poll_timeout());
    }

    /// Whether the request came over proxies: its way back is the one that they have recorded.
    pub(super) fn is_direct(incoming: &Incoming) -> bool {
        incoming.head.vias == 1
    }
}
