//! The store as a fold in memory: records, places under the caps, webhooks seen.

use std::collections::{BTreeMap, BTreeSet};

use cordboard::call::{CallRecord, Input};
use cordboard::id::{CallId, WaCallId};
use cordboard::policy::{Attempt, Decision, Facts, InFlight, Permission, Rules, decide};
use cordboard::time::{Now, Wall};
use cordboard::user::UserId;
use cordboard::whatsapp::CallEvent;

struct Place {
    user: UserId,
    at: Wall,
    connected: Option<Wall>,
}

pub struct Ledger {
    pub rules: Rules,
    pub permission: Permission,
    pub open: BTreeMap<CallId, CallRecord>,
    pub closed: Vec<CallRecord>,
    places: BTreeMap<CallId, Place>,
    seen: BTreeSet<(WaCallId, &'static str)>,
}

impl Ledger {
    pub fn new() -> Self {
        Self {
            rules: Rules::default(),
            permission: Permission::Permanent,
            open: BTreeMap::new(),
            closed: Vec::new(),
            places: BTreeMap::new(),
            seen: BTreeSet::new(),
        }
    }

    /// Whether the webhook is new.
    pub fn receive(&mut self, event: &CallEvent) -> bool {
        self.seen.insert((event.call.clone(), event.kind.word()))
    }

    pub fn open_record(&mut self, record: CallRecord) -> Input {
        let before = self.open.insert(record.id, record);
        assert!(before.is_none(), "a record is opened once");
        Input::RecordOpened
    }

    pub fn close_record(&mut self, record: CallRecord) {
        assert!(self.open.remove(&record.id).is_some(), "a record is closed once: {record:?}");
        self.closed.push(record);
    }

    pub fn reserve(&mut self, attempt: &Attempt, now: Now) -> Input {
        let waiting = |id: &CallId| self.places.get(id).is_some_and(|it| it.connected.is_none());
        let others = || self.open.values().filter(|it| it.id != attempt.call);
        let up = others().filter(|it| !waiting(&it.id));
        let connected = |same: bool| {
            let mut times: Vec<Wall> = self
                .places
                .values()
                .filter(|it| !same || it.user == attempt.user)
                .filter_map(|it| it.connected)
                .collect();
            times.sort_unstable_by(|one, other| other.cmp(one));
            times
        };
        let facts = Facts {
            permission: self.permission,
            connected_number: connected(false),
            connected_pair: connected(true),
            initiation_at_cap: None,
            in_flight: self
                .places
                .iter()
                .filter(|(_, it)| it.connected.is_none())
                .map(|(id, it)| InFlight {
                    reserved: it.at,
                    same_user: it.user == attempt.user,
                    record_open: self.open.contains_key(id),
                })
                .collect(),
            up: u32::try_from(up.clone().count()).unwrap(),
            up_with_user: u32::try_from(up.filter(|it| it.user == attempt.user).count()).unwrap(),
            ..Facts::default()
        };
        match decide(&self.rules, &facts, attempt, now) {
            Decision::Allow(grant) => {
                let place = Place { user: attempt.user.clone(), at: now.wall, connected: None };
                self.places.insert(attempt.call, place);
                Input::Reserved(grant)
            }
            Decision::Deny(denial) => Input::Denied(denial),
        }
    }

    pub fn connected(&mut self, call: CallId, at: Wall) {
        self.places.get_mut(&call).expect("only a call with a place connects").connected = Some(at);
    }

    pub fn release(&mut self, call: CallId) {
        let place = self.places.remove(&call).expect("only a held place is given back");
        assert!(place.connected.is_none(), "a connected call keeps its place");
    }
}
