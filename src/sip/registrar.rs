//! Which phone is reachable where (RFC 3261 §10.3): bindings of an address of record to flows.

mod index;
pub mod keepalive;
pub mod path;
mod saved;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::id::PhoneName;

use super::defence::Source;
use super::flow::Flow;
use super::message::uri::{parse_number, quote};
use super::message::{Head, Name, NameAddr, Request, SipUri};

use index::Index;
use keepalive::{KeepAlive, Pulse};

pub use keepalive::Probe;
pub use saved::SavedBinding;

/// How long a binding may live and how many a phone may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Shorter wishes (except 0) get 423.
    pub min: Duration,
    /// Longer wishes get this.
    pub max: Duration,
    /// For phones without a wish.
    pub default: Duration,
    /// Bindings per phone; one more takes the place of the one refreshed longest ago.
    pub per_phone: usize,
    /// How the ways to phones are kept open.
    pub keep_alive: KeepAlive,
}

/// One place where a phone can be reached.
#[derive(Clone, Debug)]
pub struct Binding {
    /// The Contact it gave; the Request-URI of calls to it.
    pub contact: SipUri,
    /// Where its REGISTER came from and where calls to it are sent.
    pub flow: Flow,
    /// When it ends.
    pub expires: Instant,
    /// What the phone calls itself.
    pub user_agent: Option<String>,
    /// The proxies between us and the phone, as Route names them (RFC 3327).
    pub path: Vec<String>,
    /// The number of the REGISTER that began it; a refresh keeps it.
    id: u64,
    /// Which of the device's flows, if each is a binding of its own (RFC 5626 §4.2).
    reg_id: Option<u32>,
    pulse: Pulse,
    call_id: String,
    cseq: u32,
    instance: Option<String>,
    line: Line,
    /// Preference in thousandths.
    q: u16,
    /// The number of the REGISTER that made or refreshed it: what is greater is fresher.
    refreshed: u64,
}

/// Whether the flow of a binding still carries anything (RFC 5626 §5.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Open,
    /// The connection is gone. The phone cannot be called; when it registers again, its calls move to the new flow.
    Closed,
}

/// Why a REGISTER is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// 400: the Contacts or Expires make no sense.
    Malformed,
    /// 423: with the shortest time allowed.
    TooBrief(Duration),
    /// 400: the proxies on the way are not named by usable addresses.
    BadPath,
    /// 500: an older request of the same phone came late (RFC 3261 §10.3 step 7).
    OutOfOrder,
}

/// What a REGISTER led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The Contact values of the answer: every binding with the seconds it has left.
    pub contacts: Vec<String>,
    /// What changed for whoever wants to call the phone.
    pub change: Change,
    /// The flows that the registering device has left: its calls go on where this REGISTER came from.
    pub left: Vec<Flow>,
}

/// How the set of bindings changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Not, or a binding was refreshed or one of several ended.
    None,
    /// There is a new binding.
    Added,
    /// The last binding is gone.
    Gone,
}

/// The bindings of all phones.
#[derive(Debug)]
pub struct Registrar {
    limits: Limits,
    bindings: BTreeMap<PhoneName, Vec<Binding>>,
    index: Index,
    /// REGISTER requests carried out so far.
    served: u64,
    /// Phones whose bindings are not as they were last saved.
    unsaved: BTreeSet<PhoneName>,
}

enum Wish {
    Query,
    RemoveAll,
    Set(Vec<(NameAddr, SipUri, Duration)>),
}

impl Registrar {
    /// No phone is registered.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let (bindings, index) = (BTreeMap::new(), Index::default());
        Self { limits, bindings, index, served: 0, unsaved: BTreeSet::new() }
    }

    /// Carries out an authenticated REGISTER of `phone`: wholly or not at all.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn register(
        &mut self,
        now: Instant,
        phone: &PhoneName,
        flow: Flow,
        request: &Request,
        head: &Head,
    ) -> Result<Granted, Refusal> {
        let outcome = self.carry_out(now, phone, flow, request, head);
        self.reindex(phone);
        outcome
    }

    fn carry_out(
        &mut self,
        now: Instant,
        phone: &PhoneName,
        flow: Flow,
        request: &Request,
        head: &Head,
    ) -> Result<Granted, Refusal> {
        let wish = self.read_wish(request)?;
        let path = path::read(&request.headers)?;
        let outbound = path::is_outbound(request, head, flow);
        let before = self.alive(now, phone).len();
        let late = |binding: &&Binding| binding.call_id == head.call_id && head.cseq.number <= binding.cseq;
        let known = self.bindings.entry(phone.clone()).or_default();
        known.retain(|binding| binding.expires > now);
        let (mut added, mut left_flows) = (false, Vec::new());
        self.served += 1;
        match wish {
            Wish::Query => {}
            Wish::RemoveAll => {
                if known.iter().any(|binding| late(&binding)) {
                    return Err(Refusal::OutOfOrder);
                }
                self.unsaved.insert(phone.clone());
                known.clear();
            }
            Wish::Set(contacts) => {
                let touched = |binding: &&Binding| {
                    contacts.iter().any(|(_, uri, _)| uri.key() == binding.contact.key())
                };
                if known.iter().filter(touched).any(|binding| late(&binding)) {
                    return Err(Refusal::OutOfOrder);
                }
                self.unsaved.insert(phone.clone());
                for (addr, contact, life) in contacts {
                    let reg_id = addr.params.get("reg-id").and_then(parse_number);
                    let mut binding = Binding {
                        contact,
                        flow,
                        expires: now + life,
                        user_agent: request.headers.get(&Name::UserAgent).map(shorten),
                        call_id: head.call_id.clone(),
                        cseq: head.cseq.number,
                        path: path.clone(),
                        id: self.served,
                        reg_id: reg_id.filter(|_| outbound),
                        pulse: Pulse::starting(now + self.limits.keep_alive.every),
                        instance: addr.params.unquoted("+sip.instance"),
                        line: Line::Open,
                        q: preference(addr.params.get("q")),
                        refreshed: self.served,
                    };
                    let (fresh, left) = displace(known, &mut binding);
                    left_flows.extend(left);
                    if !life.is_zero() {
                        make_room(known, self.limits.per_phone);
                        added |= fresh;
                        known.push(binding);
                    }
                }
            }
        }
        let open = || known.iter().filter(|binding| binding.line == Line::Open);
        let contacts = open().map(|binding| print_contact(binding, now)).collect();
        let left = open().count();
        if known.is_empty() {
            self.bindings.remove(phone);
        }
        let change = match (added, before, left) {
            (true, _, _) => Change::Added,
            (false, 1.., 0) => Change::Gone,
            _ => Change::None,
        };
        left_flows.retain(|it| *it != flow);
        Ok(Granted { contacts, change, left: left_flows })
    }

    fn read_wish(&self, request: &Request) -> Result<Wish, Refusal> {
        let values = request.headers.list(&Name::Contact);
        let header = match request.headers.get(&Name::Expires) {
            // A damaged Expires means the default (RFC 3261 §20.19 is read as liberally as §10.3 step 6).
            Some(text) => parse_seconds(text),
            None => None,
        };
        if values.is_empty() {
            return Ok(Wish::Query);
        }
        if values.contains(&"*") {
            let alone = values.len() == 1 && header == Some(0);
            return if alone { Ok(Wish::RemoveAll) } else { Err(Refusal::Malformed) };
        }
        let mut contacts = Vec::new();
        for value in values {
            let addr = NameAddr::parse(value).ok_or(Refusal::Malformed)?;
            let uri = addr.sip().ok_or(Refusal::Malformed)?;
            let own = addr.params.unquoted("expires").and_then(|text| parse_seconds(&text));
            let life = own.or(header).map_or(self.limits.default, Duration::from_secs);
            if !life.is_zero() && life < self.limits.min {
                return Err(Refusal::TooBrief(self.limits.min));
            }
            contacts.push((addr, uri.as_request_uri(), life.min(self.limits.max)));
        }
        Ok(Wish::Set(contacts))
    }

    /// The live bindings of a phone, the preferred and then the freshest first; of a device with several flows one
    /// (RFC 5626 §6).
    #[must_use]
    pub fn alive(&self, now: Instant, phone: &PhoneName) -> Vec<&Binding> {
        let all = self.bindings.get(phone).map_or(&[][..], Vec::as_slice);
        let alive = |binding: &&Binding| binding.expires > now && binding.line == Line::Open;
        let mut alive: Vec<&Binding> = all.iter().filter(alive).collect();
        alive.sort_by(|a, b| b.q.cmp(&a.q).then(b.refreshed.cmp(&a.refreshed)));
        let mut devices: Vec<&str> = Vec::new();
        alive.retain(|binding| match (&binding.instance, binding.reg_id) {
            (Some(device), Some(_)) if devices.contains(&device.as_str()) => false,
            (Some(device), Some(_)) => {
                devices.push(device);
                true
            }
            _ => true,
        });
        alive
    }

    /// Whether a flow belongs to a live binding of whoever calls itself `claimed`: its sender has proven who it is.
    ///
    /// A proxy's flow belongs to many, and perhaps to a trunk, too.
    #[must_use]
    pub fn knows(&self, now: Instant, flow: Flow, claimed: &str) -> bool {
        self.index.near(flow).any(|phone| {
            let is_it = |it: &Binding| it.path.is_empty() || phone.as_str() == claimed;
            self.open(phone).any(|it| it.flow == flow && it.expires > now && is_it(it))
        })
    }

    /// Whether a live binding of the phone is on that very flow.
    #[must_use]
    pub fn is_on(&self, now: Instant, phone: &PhoneName, flow: Flow) -> bool {
        let mut all = self.bindings.get(phone).into_iter().flatten();
        all.any(|binding| binding.flow == flow && binding.expires > now)
    }

    /// Whether a live binding is at that source.
    #[must_use]
    pub fn lives_at(&self, now: Instant, source: Source) -> bool {
        let is_there = |it: &Binding| it.expires > now && Source::of(it.flow.remote.ip()) == source;
        self.index.at(source).any(|phone| self.open(phone).any(is_there))
    }

    /// When the next binding ends, or its way is to be kept open.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.index.next()
    }

    /// Takes away what has ended; the phones that are gone with it.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<PhoneName> {
        let due = self.index.due(now);
        self.change_all(due, |bindings| bindings.retain(|binding| binding.expires > now))
    }

    /// The connection of `flow` is gone, and what is bound to it cannot be called; the phones that are gone with it.
    pub fn close(&mut self, flow: Flow) -> Vec<PhoneName> {
        let near = self.index.near(flow).cloned().collect();
        self.change_all(near, |bindings| {
            for binding in bindings.iter_mut().filter(|binding| binding.flow == flow) {
                binding.line = Line::Closed;
            }
        })
    }

    /// Changes the bindings of some phones; those that could be called before and cannot any more.
    fn change_all(
        &mut self,
        phones: Vec<PhoneName>,
        mut change: impl FnMut(&mut Vec<Binding>),
    ) -> Vec<PhoneName> {
        let mut gone = Vec::new();
        for phone in phones {
            let before = self.is_reachable(&phone);
            if let Some(bindings) = self.bindings.get_mut(&phone) {
                change(bindings);
                if bindings.is_empty() {
                    self.bindings.remove(&phone);
                }
            }
            self.reindex(&phone);
            if before && !self.is_reachable(&phone) {
                gone.push(phone);
            }
        }
        gone
    }

    /// After every change of a phone's bindings.
    fn reindex(&mut self, phone: &PhoneName) {
        let bindings = self.bindings.get(phone).map_or(&[][..], Vec::as_slice);
        self.index.put(phone, bindings, &self.limits.keep_alive);
    }

    /// Whether a phone has a binding that can be called.
    #[must_use]
    pub fn is_reachable(&self, phone: &PhoneName) -> bool {
        self.open(phone).next().is_some()
    }

    fn open(&self, phone: &PhoneName) -> impl Iterator<Item = &Binding> {
        self.bindings.get(phone).into_iter().flatten().filter(|it| it.line == Line::Open)
    }

    /// Every binding of a phone that can be called.
    pub fn iter(&self) -> impl Iterator<Item = (&PhoneName, &Binding)> {
        self.bindings
            .iter()
            .flat_map(|(phone, bindings)| bindings.iter().map(move |binding| (phone, binding)))
            .filter(|(_, binding)| binding.line == Line::Open)
    }
}

impl Binding {
    /// The device and its flow, if each flow is a binding of its own.
    fn device_flow(&self) -> Option<(&str, u32)> {
        self.instance.as_deref().zip(self.reg_id)
    }
}

/// Takes away what `new` stands for from now on; whether the phone had no such way before, and the flows it leaves.
fn displace(known: &mut Vec<Binding>, new: &mut Binding) -> (bool, Vec<Flow>) {
    let same_contact = |it: &Binding| match (it.device_flow(), new.device_flow()) {
        // A device may give the same Contact on each of its flows, and so may another one behind another NAT.
        (Some(one), Some(other)) => one == other,
        _ => it.contact.key() == new.contact.key(),
    };
    let fresh = !known.iter().any(|it| same_contact(it) && it.line == Line::Open);
    // A phone that lost its connection comes back from another port, so with another Contact; its REGISTERs keep
    // their Call-ID (RFC 3261 §10.2).
    let replaced = |it: &Binding| {
        let device = new.instance.is_some() && it.instance == new.instance;
        let same_instance = device && (it.reg_id.is_none() || new.reg_id.is_none());
        let returned = it.line == Line::Closed && it.call_id == new.call_id;
        same_contact(it) || same_instance || returned
    };
    let (gone, kept): (Vec<Binding>, Vec<Binding>) = known.drain(..).partition(|it| replaced(it));
    *known = kept;
    if let Some(same) = gone.iter().find(|it| it.flow == new.flow) {
        (new.id, new.pulse) = (same.id, same.pulse.heard(new.pulse.next));
    }
    (fresh, gone.iter().map(|it| it.flow).collect())
}

/// One binding more than a phone may have: the one that is worth least goes.
fn make_room(known: &mut Vec<Binding>, per_phone: usize) {
    if known.len() >= per_phone.max(1) {
        let worth = |it: &Binding| (it.line == Line::Open, it.refreshed);
        let least = known.iter().enumerate().min_by_key(|(_, binding)| worth(binding));
        if let Some(at) = least.map(|(at, _)| at) {
            known.remove(at);
        }
    }
}

/// Seconds; what does not fit 32 bits means the longest time (RFC 3261 §20.19).
fn parse_seconds(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| parse_number::<u32>(text).unwrap_or(u32::MAX).into())
}

/// `0.7` as 700; anything else as 1000.
fn preference(q: Option<&str>) -> u16 {
    let Some(rest) = q.and_then(|q| q.trim().strip_prefix("0")) else { return 1000 };
    let digits = rest.strip_prefix('.').unwrap_or("");
    let padded: String = digits.chars().chain("000".chars()).take(3).collect();
    parse_number(&padded).unwrap_or(1000)
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

fn print_contact(binding: &Binding, now: Instant) -> String {
    let left = binding.expires.saturating_duration_since(now).as_millis().div_ceil(1000);
    let flow = match (&binding.instance, binding.reg_id) {
        (Some(device), Some(number)) => format!(";+sip.instance={};reg-id={number}", quote(device)),
        _ => String::new(),
    };
    format!("<{}>{flow};expires={left}", binding.contact)
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, Parsed, parse};
    use super::keepalive::KeepAliveOf;
    use super::*;

    fn registrar() -> Registrar {
        let secs = Duration::from_secs;
        Registrar::new(Limits {
            min: secs(60),
            max: secs(3600),
            default: secs(300),
            per_phone: 2,
            keep_alive: KeepAlive { of: KeepAliveOf::Nobody, ..KeepAlive::default() },
        })
    }

    fn flow(port: u16) -> Flow {
        Flow::udp("192.0.2.1:5060".parse().unwrap(), ([192, 0, 2, 2], port).into())
    }

    fn register(
        registrar: &mut Registrar,
        now: Instant,
        port: u16,
        number: u32,
        lines: &str,
    ) -> Result<Granted, Refusal> {
        let text = format!(
            "REGISTER sip:r SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@r>;tag=1\r\nTo: <sip:a@r>\r\n\
             Call-ID: x{port}\r\nCSeq: {number} REGISTER\r\n{lines}\r\n"
        );
        let Ok(Parsed { message: Message::Request(request), head }) = parse(text.as_bytes()) else {
            panic!("{text}")
        };
        let flow = flow(port);
        registrar.register(now, &"a".into(), flow, &request, &head)
    }

    #[test]
    fn a_wish_is_bounded_and_the_answer_lists_what_is_left() {
        let (mut it, now) = (registrar(), Instant::now());
        let granted = register(&mut it, now, 1, 1, "Contact: <sip:a@h:1>;expires=7200\r\n").unwrap();
        assert_eq!(
            (granted.contacts, granted.change),
            (vec!["<sip:a@h:1>;expires=3600".to_owned()], Change::Added)
        );
        let granted = register(&mut it, now, 1, 2, "m: sip:a@h:1\r\nExpires: 60\r\n").unwrap();
        assert_eq!(
            (granted.contacts, granted.change),
            (vec!["<sip:a@h:1>;expires=60".to_owned()], Change::None)
        );
        assert_eq!(
            register(&mut it, now, 1, 3, "m: <sip:a@h:1>;expires=59\r\n"),
            Err(Refusal::TooBrief(Duration::from_secs(60)))
        );
        let later = now + Duration::from_millis(59_999);
        assert_eq!(register(&mut it, later, 1, 4, "").unwrap().contacts, ["<sip:a@h:1>;expires=1"]);
        assert_eq!(it.poll_timeout(), Some(now + Duration::from_secs(60)));
        assert_eq!(it.handle_timeout(now + Duration::from_secs(60)), [PhoneName::from("a")]);
        assert_eq!(it.iter().count(), 0);
    }

    #[test]
    fn a_star_ends_every_binding_but_only_alone_and_with_expires_zero() {
        let (mut it, now) = (registrar(), Instant::now());
        register(&mut it, now, 1, 1, "Contact: <sip:a@h:1>\r\n").unwrap();
        for bad in
            ["Contact: *\r\n", "Contact: *\r\nExpires: 1\r\n", "Contact: *, <sip:a@h>\r\nExpires: 0\r\n"]
        {
            assert_eq!(register(&mut it, now, 1, 2, bad), Err(Refusal::Malformed), "{bad}");
        }
        assert_eq!(register(&mut it, now, 1, 1, "Contact: *\r\nExpires: 0\r\n"), Err(Refusal::OutOfOrder));
        assert_eq!(
            register(&mut it, now, 1, 2, "Contact: *\r\nExpires: 0\r\n").unwrap().change,
            Change::Gone
        );
    }

    #[test]
    fn a_late_register_changes_nothing() {
        let (mut it, now) = (registrar(), Instant::now());
        register(&mut it, now, 1, 5, "Contact: <sip:a@h:1>\r\n").unwrap();
        assert_eq!(
            register(&mut it, now, 1, 5, "Contact: <sip:a@h:1>;expires=0\r\n"),
            Err(Refusal::OutOfOrder)
        );
        assert_eq!(it.alive(now, &"a".into()).len(), 1);
    }

    #[test]
    fn one_binding_too_many_takes_the_place_of_the_stalest() {
        let (mut it, now) = (registrar(), Instant::now());
        let at = |secs| now + Duration::from_secs(secs);
        register(&mut it, at(0), 1, 1, "Contact: <sip:a@h:1>\r\n").unwrap();
        register(&mut it, at(1), 2, 1, "Contact: <sip:a@h:2>;q=0.5\r\n").unwrap();
        register(&mut it, at(2), 1, 2, "Contact: <sip:a@h:1>\r\n").unwrap();
        register(&mut it, at(3), 3, 1, "Contact: <sip:a@h:3>;q=0.9\r\n").unwrap();
        let ports: Vec<_> = it.alive(at(3), &"a".into()).iter().map(|binding| binding.contact.port).collect();
        assert_eq!(ports, [Some(1), Some(3)]);
    }

    #[test]
    fn a_restarted_phone_of_the_same_instance_replaces_its_old_address() {
        let (mut it, now) = (registrar(), Instant::now());
        let line = |port: u16| format!("Contact: <sip:a@h:{port}>;+sip.instance=\"<urn:uuid:1>\"\r\n");
        register(&mut it, now, 1, 1, &line(1)).unwrap();
        assert_eq!(register(&mut it, now, 2, 1, &line(2)).unwrap().contacts, ["<sip:a@h:2>;expires=300"]);
    }

    #[test]
    fn the_binding_remembers_the_flow_of_the_request_not_the_contact() {
        let (mut it, now) = (registrar(), Instant::now());
        register(&mut it, now, 40_000, 1, "Contact: <sip:a@10.0.0.5:5060>\r\n").unwrap();
        assert_eq!(it.alive(now, &"a".into())[0].flow.remote.to_string(), "192.0.2.2:40000");
    }

    #[test]
    fn a_phone_whose_connection_is_gone_is_not_called_until_it_comes_back_on_another() {
        let (mut it, now) = (registrar(), Instant::now());
        register(&mut it, now, 1, 1, "Contact: <sip:a@h:1;transport=tcp>\r\n").unwrap();
        register(&mut it, now, 2, 1, "Contact: <sip:a@h:2;transport=tcp>\r\n").unwrap();
        assert_eq!(it.close(flow(1)), []);
        assert_eq!(it.alive(now, &"a".into()).len(), 1);
        assert_eq!(it.close(flow(2)), [PhoneName::from("a")]);
        assert_eq!(it.close(flow(2)), []);
        assert_eq!((it.alive(now, &"a".into()).len(), it.iter().count()), (0, 0));
        // The same Call-ID from another port is the same phone: its calls are found by the flow it has left.
        let text = "Contact: <sip:a@h:3;transport=tcp>\r\n";
        let request = |port: u16| {
            format!(
                "REGISTER sip:r SIP/2.0\r\nVia: SIP/2.0/TCP h;branch=z9hG4bK9\r\nFrom: <sip:a@r>;tag=1\r\n\
                 To: <sip:a@r>\r\nCall-ID: x{port}\r\nCSeq: 2 REGISTER\r\n{text}\r\n"
            )
        };
        let Ok(Parsed { message: Message::Request(message), head }) = parse(request(1).as_bytes()) else {
            panic!()
        };
        let granted = it.register(now, &"a".into(), flow(3), &message, &head).unwrap();
        assert_eq!((granted.change, granted.left), (Change::Added, vec![flow(1)]));
        assert_eq!(granted.contacts, ["<sip:a@h:3;transport=tcp>;expires=300"]);
        assert_eq!(it.handle_timeout(now + Duration::from_secs(300)), [PhoneName::from("a")]);
        assert_eq!(it.poll_timeout(), None);
    }
}
