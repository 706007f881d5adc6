//! SUBSCRIBE, and who watches what (RFC 6665 §4.2): every watcher proves who it is, each time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::PhoneName;
use crate::time::Now;

use super::super::dialog::{Dialog, Order};
use super::super::flow::Flow;
use super::super::message::uri::parse_number;
use super::super::message::{Name, Response};
use super::super::subscription::message_summary::Messages;
use super::super::subscription::{Package, Subscription};
use super::incoming::{Incoming, dialled};
use super::settings::WatchedBy;
use super::{Timer, UserAgent};

/// Which subscription; its number never comes again in one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WatchId(u64);

/// Every subscription, and what there is to tell.
#[derive(Debug, Default)]
pub(super) struct Watching {
    pub(super) subscriptions: BTreeMap<WatchId, Subscription>,
    /// By Call-ID and our tag.
    dialogs: BTreeMap<(String, String), WatchId>,
    watched: BTreeMap<(Package, PhoneName), BTreeSet<WatchId>>,
    /// What has changed since it was last looked at.
    changed: BTreeSet<(Package, PhoneName)>,
    /// What waits in each mailbox.
    messages: BTreeMap<String, Messages>,
    last: u64,
}

impl Watching {
    /// The calls of a phone, or its being there, are not as they were.
    pub(super) fn note_phone(&mut self, phone: &PhoneName) {
        for package in [Package::Dialog, Package::Presence] {
            self.note(package, phone);
        }
    }

    fn note(&mut self, package: Package, phone: &PhoneName) {
        let key = (package, phone.clone());
        if self.watched.contains_key(&key) {
            self.changed.insert(key);
        }
    }

    pub(super) fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    fn of_dialog(&self, incoming: &Incoming) -> Option<WatchId> {
        let tag = incoming.head.to.tag()?.to_owned();
        let id = *self.dialogs.get(&(incoming.head.call_id.clone(), tag))?;
        let remote = incoming.head.from.tag().unwrap_or("");
        (self.subscriptions.get(&id)?.dialog.remote_tag == remote).then_some(id)
    }

    fn begin(&mut self, subscription: Subscription) -> WatchId {
        self.last += 1;
        let id = WatchId(self.last);
        let (package, resource) = (subscription.package, subscription.resource.clone());
        self.watched.entry((package, resource)).or_default().insert(id);
        let key = (subscription.dialog.call_id.clone(), subscription.dialog.local_tag.clone());
        self.dialogs.insert(key, id);
        self.subscriptions.insert(id, subscription);
        id
    }

    fn end(&mut self, id: WatchId) -> Option<Subscription> {
        let it = self.subscriptions.remove(&id)?;
        self.dialogs.remove(&(it.dialog.call_id.clone(), it.dialog.local_tag.clone()));
        let key = (it.package, it.resource.clone());
        if let Some(watchers) = self.watched.get_mut(&key) {
            watchers.remove(&id);
            if watchers.is_empty() {
                self.watched.remove(&key);
            }
        }
        Some(it)
    }

    /// Of a watcher that has as many subscriptions as it may, the oldest.
    fn one_too_many(&self, watcher: &PhoneName, most: usize) -> Option<WatchId> {
        let own = || self.subscriptions.iter().filter(|(_, it)| it.watcher == *watcher);
        if own().count() < most { None } else { own().next().map(|(id, _)| *id) }
    }
}

/// Why a SUBSCRIBE is refused, and the header that says more.
type Objection = (u16, &'static str, Vec<(Name, String)>);

/// What a SUBSCRIBE asks for.
struct Wish {
    package: Package,
    event: String,
    life: Duration,
}

impl UserAgent {
    /// A SUBSCRIBE that begins something.
    pub(super) fn handle_subscribe(&mut self, now: Now, incoming: &Incoming) {
        let claimed = incoming.head.from.user_text();
        let Some(watcher) = self.authenticate(now, incoming, &claimed) else { return };
        let wish = self.read_subscribe(incoming);
        let resource = wish.as_ref().map_or(watcher.clone(), |wish| self.resource(wish, &watcher, incoming));
        let wish = wish.and_then(|wish| {
            // The same for a phone that does not exist: the answer tells nothing of it.
            let allowed = self.may_watch(&watcher, wish.package, &resource);
            allowed.then_some(wish).ok_or_else(|| (403, "May Not Watch", Vec::new()))
        });
        let wish = match wish {
            Ok(wish) => wish,
            Err((status, phrase, headers)) => {
                return self.answer_stateless(incoming, status, phrase, headers);
            }
        };
        let Some(key) = self.begin(incoming) else { return };
        if let Some(oldest) = self.watching.one_too_many(&watcher, self.settings.watching.per_phone) {
            self.end_watch(now, oldest);
        }
        let local_tag = self.random.hex(8);
        let direct = Self::is_direct(incoming);
        let dialog =
            Dialog::from_invite(&incoming.request, &incoming.head, &local_tag, incoming.flow, direct);
        let response = self.granted(incoming, &local_tag, &dialog, wish.life);
        self.respond(now, &key, &response);
        let about = (wish.package, wish.event);
        let subscription = Subscription::new(now.mono, (watcher, resource), about, dialog, wish.life);
        let id = self.watching.begin(subscription);
        self.tick_watch(now, id);
    }

    /// A SUBSCRIBE within a subscription: a refresh, or its end. `false`: it belongs to none.
    pub(super) fn refresh_watch(&mut self, now: Now, incoming: &Incoming) -> bool {
        let Some(id) = self.watching.of_dialog(incoming) else { return false };
        let claimed = incoming.head.from.user_text();
        let Some(watcher) = self.authenticate(now, incoming, &claimed) else { return true };
        let wish = self.read_subscribe(incoming);
        let Some(it) = self.watching.subscriptions.get_mut(&id) else { return true };
        if it.watcher != watcher {
            self.answer_stateless(incoming, 403, "May Not Watch", Vec::new());
            return true;
        }
        if it.dialog.take_number(incoming.head.cseq.number) == Order::Old {
            self.answer_stateless(incoming, 500, "Out of Order", Vec::new());
            return true;
        }
        let wish = match wish {
            Ok(wish) if wish.package == it.package => wish,
            Ok(_) => {
                self.answer_stateless(incoming, 489, "Bad Event", Vec::new());
                return true;
            }
            Err((status, phrase, headers)) => {
                self.answer_stateless(incoming, status, phrase, headers);
                return true;
            }
        };
        // It has proven who it is: a phone whose NAT has moved it is told where it is now.
        it.dialog.refresh_target(&incoming.request.headers, incoming.flow);
        it.refresh(now.mono, wish.life);
        let dialog = it.dialog.clone();
        let Some(key) = self.begin(incoming) else { return true };
        let response = self.granted(incoming, &dialog.local_tag, &dialog, wish.life);
        self.respond(now, &key, &response);
        self.tick_watch(now, id);
        true
    }

    fn granted(&self, incoming: &Incoming, tag: &str, dialog: &Dialog, life: Duration) -> Response {
        let mut response = incoming.answer(200, "OK", tag);
        response.headers.push(Name::Expires, life.as_secs().to_string());
        response.headers.push(Name::Contact, self.contact(incoming.flow, &dialog.remote_target));
        response.headers.push(Name::Server, self.settings.product.clone());
        response
    }

    fn read_subscribe(&self, incoming: &Incoming) -> Result<Wish, Objection> {
        let headers = &incoming.request.headers;
        let known = headers.get(&Name::Event).and_then(Package::read);
        let Some((package, event)) = known else {
            return Err((489, "Bad Event", vec![(Name::AllowEvents, allowed_events())]));
        };
        let accepted = headers.words(&Name::Accept);
        let takes = |word: &String| {
            let kind = super::super::message::media_type_of(word);
            kind == package.media_type() || kind == "*/*" || kind == "application/*"
        };
        if !accepted.is_empty() && !accepted.iter().any(takes) {
            let accept = vec![(Name::Accept, package.media_type().to_owned())];
            return Err((406, "Not Acceptable", accept));
        }
        let limits = &self.settings.watching;
        let asked = headers.get(&Name::Expires).map(str::trim);
        let asked = asked.and_then(parse_number::<u32>).map(|it| Duration::from_secs(it.into()));
        let life = asked.unwrap_or(limits.max);
        if !life.is_zero() && life < limits.min {
            let least = limits.min.as_secs().to_string();
            return Err((423, "Interval Too Brief", vec![(Name::MinExpires, least)]));
        }
        Ok(Wish { package, event, life: life.min(limits.max) })
    }

    /// Whose state is asked for. Many phones ask for their messages under the name of a mailbox, or of nobody.
    fn resource(&self, wish: &Wish, watcher: &PhoneName, incoming: &Incoming) -> PhoneName {
        let name = dialled(&incoming.request);
        let own_mailbox = || self.phone(watcher).is_some_and(|it| it.lamps.mailboxes.contains(&name));
        if wish.package == Package::Messages && (name.is_empty() || own_mailbox()) {
            return watcher.clone();
        }
        name.as_str().into()
    }

    fn may_watch(&self, watcher: &PhoneName, package: Package, resource: &PhoneName) -> bool {
        if watcher == resource {
            return true;
        }
        let Some(account) = self.phone(resource) else { return false };
        match (package, &account.lamps.watched_by) {
            (Package::Messages, _) | (_, WatchedBy::Nobody) => false,
            (_, WatchedBy::Phones) => true,
            (_, WatchedBy::Only(phones)) => phones.contains(watcher),
        }
    }

    /// Forgets a subscription without another word.
    pub(super) fn forget_watch(&mut self, id: WatchId) -> Option<Subscription> {
        self.schedule.set(&Timer::Watch(id), None);
        self.watching.end(id)
    }

    /// Looks at what has changed: who watches it is told when its time has come.
    pub(super) fn tell_watchers(&mut self, now: Now) {
        for key in std::mem::take(&mut self.watching.changed) {
            let watchers = self.watching.watched.get(&key).cloned().unwrap_or_default();
            for id in watchers {
                if let Some(it) = self.watching.subscriptions.get_mut(&id) {
                    it.touch();
                }
                self.tick_watch(now, id);
            }
        }
    }

    /// Messages came to a mailbox or were heard; the phones that have it show so.
    pub fn set_messages(&mut self, now: Now, mailbox: &str, messages: Messages) {
        if self.watching.messages.insert(mailbox.to_owned(), messages).unwrap_or_default() == messages {
            return;
        }
        let has = |it: &&super::PhoneAccount| it.lamps.mailboxes.iter().any(|own| own == mailbox);
        let phones: Vec<PhoneName> =
            self.settings.phones.iter().filter(has).map(|it| it.name.clone()).collect();
        for phone in phones {
            self.watching.note(Package::Messages, &phone);
            self.push_messages(now, &phone);
        }
        self.tell_watchers(now);
    }

    /// What waits in all mailboxes of a phone.
    pub(super) fn messages_of(&self, phone: &PhoneName) -> Messages {
        let mailboxes = self.phone(phone).map_or(&[][..], |it| it.lamps.mailboxes.as_slice());
        let each = mailboxes.iter().map(|name| self.watching.messages.get(name).copied().unwrap_or_default());
        each.fold(Messages::default(), Messages::and)
    }

    /// The connection of `flow` is gone: what its watchers are to be told waits for them.
    pub(super) fn lose_watchers(&mut self, flow: Flow) {
        for (id, it) in &mut self.watching.subscriptions {
            if it.dialog.flow == flow {
                it.lose_line();
                self.schedule.set(&Timer::Watch(*id), it.poll_timeout());
            }
        }
    }

    /// A phone that was on the flow `left` is now on `flow`: what it watches follows.
    pub(super) fn move_watchers(&mut self, phone: &PhoneName, left: Flow, flow: Flow) {
        for (id, it) in &mut self.watching.subscriptions {
            if it.watcher == *phone && it.dialog.flow == left {
                it.dialog.flow = flow;
                it.find_line();
                self.schedule.set(&Timer::Watch(*id), it.poll_timeout());
            }
        }
    }
}

/// What may stand in Event, for Allow-Events.
pub(super) fn allowed_events() -> String {
    Package::ALL.map(Package::as_str).join(", ")
}
