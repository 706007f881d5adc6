//! NOTIFY: what watchers are told, and what phones are told unasked (RFC 6665 §4.2.2, RFC 3842 §3.1).

use crate::id::PhoneName;
use crate::time::Now;

use super::super::flow::{Flow, Transport};
use super::super::message::uri::escape_user;
use super::super::message::{Headers, Method, Name, Request, Response};
use super::super::subscription::dialog_info::{self, MOST_DIALOGS, WatchedDialog};
use super::super::subscription::presence::Reach;
use super::super::subscription::{Due, Outcome, Package, Scope, Subscription, message_summary, presence};
use super::lamps::Names;
use super::leg::Owner;
use super::settings::{MessagesBy, Resync};
use super::watching::WatchId;
use super::{LegFailure, Timer, UserAgent};

/// A longer list of calls is told by its changes only, where it must fit a datagram: all phones understand the whole
/// list, some nothing else.
const LARGEST_LIST: usize = 700;

impl UserAgent {
    /// Time has something to do with a subscription.
    pub(super) fn tick_watch(&mut self, now: Now, id: WatchId) {
        match self.watching.subscriptions.get_mut(&id).and_then(|it| it.take_due(now.mono)) {
            Some(Due::Tell(scope)) => self.notify_watcher(now, id, scope),
            Some(Due::End) => return self.end_watch(now, id),
            None => {}
        }
        let timeout = self.watching.subscriptions.get(&id).and_then(Subscription::poll_timeout);
        self.schedule.set(&Timer::Watch(id), timeout);
    }

    /// The watcher is told that its subscription is over.
    pub(super) fn end_watch(&mut self, now: Now, id: WatchId) {
        let Some(mut it) = self.forget_watch(id) else { return };
        let body = self.body_for(&mut it, Scope::Everything).unwrap_or_default();
        let state = "terminated;reason=timeout".to_owned();
        let (flow, notify) = self.notify_within(&mut it, state, body);
        self.send_request(now, flow, notify, Owner::Nobody);
    }

    fn notify_watcher(&mut self, now: Now, id: WatchId, scope: Scope) {
        let Some(mut it) = self.watching.subscriptions.remove(&id) else { return };
        match self.body_for(&mut it, scope) {
            Some(body) => {
                let state = format!("active;expires={}", it.seconds_left(now.mono));
                let (flow, notify) = self.notify_within(&mut it, state, body);
                self.watching.subscriptions.insert(id, it);
                self.figures.notifies += 1;
                self.send_request(now, flow, notify, Owner::Watch(id));
            }
            None => {
                it.told_nothing();
                self.watching.subscriptions.insert(id, it);
            }
        }
    }

    /// What the watcher is to read; `None` if it knows all of it.
    fn body_for(&self, it: &mut Subscription, scope: Scope) -> Option<String> {
        let domain = self.settings.domain.as_str();
        let about = (it.resource.as_str(), domain);
        match it.package {
            Package::Messages => {
                let account = format!("sip:{}@{domain}", escape_user(it.resource.as_str()));
                Some(message_summary::print(self.messages_of(&it.resource), &account))
            }
            Package::Presence => {
                let reach = if self.is_registered(&it.resource) { Reach::Open } else { Reach::Closed };
                let dialogs = self.dialogs_of(&it.resource, Names::Hidden);
                if scope == Scope::Changes && it.version > 0 && dialogs == it.told && it.reach == Some(reach)
                {
                    return None;
                }
                (it.reach, it.version) = (Some(reach), it.version.wrapping_add(1));
                let body = presence::print(about, reach, &dialogs);
                it.told = dialogs;
                Some(body)
            }
            Package::Dialog => {
                let dialogs = self.dialogs_of(&it.resource, self.names_for(&it.watcher, &it.resource));
                let changes = dialog_info::changes(&it.told, &dialogs);
                if scope == Scope::Changes && changes.is_empty() {
                    return None;
                }
                let all = dialog_info::everything(&it.told, &dialogs);
                let mut body = dialog_info::print(it.version, Scope::Everything, about, &all);
                let crowded = body.len() > LARGEST_LIST && it.dialog.flow.transport == Transport::Udp;
                if crowded && scope == Scope::Changes {
                    body = dialog_info::print(it.version, Scope::Changes, about, &changes);
                }
                it.version = it.version.wrapping_add(1);
                it.told = dialogs;
                Some(body)
            }
        }
    }

    /// The other devices of a phone may take its calls over, and phones that are trusted to.
    fn names_for(&self, watcher: &PhoneName, watched: &PhoneName) -> Names {
        let trusted = self.phone(watcher).is_some_and(|it| it.lamps.takes_over);
        if trusted || watcher == watched { Names::Told } else { Names::Hidden }
    }

    /// The calls of a phone as they are.
    fn dialogs_of(&self, phone: &PhoneName, names: Names) -> Vec<WatchedDialog> {
        let shown = self.phone(phone).is_some_and(|it| it.lamps.shows_peer);
        let theirs = self.legs.iter().filter(|(_, leg)| leg.phone.as_ref() == Some(phone));
        theirs.take(MOST_DIALOGS).map(|(id, leg)| leg.watched(*id, shown, names)).collect()
    }

    fn notify_within(&self, it: &mut Subscription, state: String, body: String) -> (Flow, Request) {
        let mut notify = it.dialog.next_request(Method::Notify);
        let flow = it.dialog.next_hop();
        let contact = self.contact(flow, &it.dialog.remote_target);
        self.fill_notify(&mut notify, contact, it.event.clone(), state);
        if !body.is_empty() {
            notify.headers.push(Name::ContentType, it.package.media_type());
            notify.body = body.into_bytes();
        }
        (flow, notify)
    }

    fn fill_notify(&self, notify: &mut Request, contact: String, event: String, state: String) {
        notify.headers.push(Name::Contact, contact);
        notify.headers.push(Name::Event, event);
        notify.headers.push(Name::SubscriptionState, state);
        notify.headers.push(Name::UserAgent, self.settings.product.clone());
    }

    /// A watcher answered a NOTIFY.
    pub(super) fn hear_watcher(&mut self, now: Now, id: WatchId, response: &Response) {
        if response.status < 200 {
            return;
        }
        let Some(it) = self.watching.subscriptions.get_mut(&id) else { return };
        if it.answered(now.mono, response.status) == Outcome::Gone {
            return self.drop_watcher(id);
        }
        let timeout = it.poll_timeout();
        self.schedule.set(&Timer::Watch(id), timeout);
    }

    /// A NOTIFY will never be answered. Whoever has lost its connection may come back; whoever is silent is gone.
    pub(super) fn watcher_lost(&mut self, id: WatchId, flow: Flow, failure: LegFailure) {
        if flow.transport.is_reliable() && failure == LegFailure::Unreachable {
            let Some(it) = self.watching.subscriptions.get_mut(&id).filter(|it| it.dialog.flow == flow)
            else {
                return;
            };
            it.lose_line();
            let timeout = it.poll_timeout();
            self.schedule.set(&Timer::Watch(id), timeout);
        } else {
            self.drop_watcher(id);
        }
    }

    fn drop_watcher(&mut self, id: WatchId) {
        if let Some(it) = self.forget_watch(id) {
            self.figures.lost_watchers += 1;
            tracing::debug!(watcher = %it.watcher, resource = %it.resource, "a watcher is gone");
        }
    }

    /// Tells a phone unasked what waits in its mailboxes, if it is one that wants that.
    pub(super) fn push_messages(&mut self, now: Now, phone: &PhoneName) {
        if self.phone(phone).is_none_or(|it| it.lamps.messages_by != MessagesBy::Unasked) {
            return;
        }
        let account = format!("sip:{}@{}", escape_user(phone.as_str()), self.settings.domain);
        let body = message_summary::print(self.messages_of(phone), &account);
        self.push_notify(now, phone, "message-summary", Some((Package::Messages.media_type(), &body)));
    }

    /// Asks a phone to look for a new configuration (`check-sync`), by a restart where the settings say so; says at how
    /// many places.
    pub fn ask_to_resync(&mut self, now: Now, phone: &PhoneName) -> usize {
        let event = match self.settings.resync {
            Resync::Fetch => "check-sync;reboot=false",
            Resync::Restart => "check-sync;reboot=true",
        };
        self.push_notify(now, phone, event, None)
    }

    /// A NOTIFY outside any dialog, to each place where the phone is registered.
    fn push_notify(
        &mut self,
        now: Now,
        phone: &PhoneName,
        event: &str,
        body: Option<(&'static str, &str)>,
    ) -> usize {
        let aor = format!("<sip:{}@{}>", escape_user(phone.as_str()), self.settings.domain);
        let places = self.places_of(now.mono, phone);
        let count = places.len();
        for place in places {
            let (call_id, tag) = (self.random.hex(16), self.random.hex(8));
            let mut headers = Headers::new();
            for route in place.routes {
                headers.push(Name::Route, route);
            }
            headers.push(Name::MaxForwards, "70");
            headers.push(Name::From, format!("{aor};tag={tag}"));
            headers.push(Name::To, aor.clone());
            headers.push(Name::CallId, call_id);
            headers.push(Name::CSeq, "1 NOTIFY");
            let mut notify = Request { method: Method::Notify, uri: place.uri, headers, body: Vec::new() };
            let contact = self.contact(place.flow, &notify.uri);
            let state = "terminated;reason=noresource".to_owned();
            self.fill_notify(&mut notify, contact, event.to_owned(), state);
            if let Some((kind, text)) = body {
                notify.headers.push(Name::ContentType, kind);
                notify.body = text.as_bytes().to_vec();
            }
            self.figures.notifies += 1;
            self.send_request(now, place.flow, notify, Owner::Nobody);
        }
        count
    }
}
