//! Requests as they come: what every one is checked for, and answers that need no memory (RFC 3261 §8.2).

use crate::id::LegId;
use crate::time::Now;

use super::super::flow::{Flow, Transport};
use super::super::message::{
    Fault, FaultKind, Head, Headers, Method, Name, NameAddr, Request, Response, SipUri, Via, media_type_of,
};
use super::super::transaction::{Server, ServerKey, merge_key};
use super::leg::Stage;
use super::{ALLOW, Answering, SUPPORTED, Timer, UserAgent};

/// Seconds over which those are spread who were refused for want of room.
const RETRY_WITHIN: u32 = 10;

/// A request with where it came from.
#[derive(Clone, Debug)]
pub(super) struct Incoming {
    pub(super) request: Request,
    pub(super) head: Head,
    pub(super) flow: Flow,
}

/// Why a request that can be read is refused.
struct Objection {
    status: u16,
    phrase: &'static str,
    headers: Vec<(Name, String)>,
}

impl Objection {
    #[expect(clippy::unnecessary_wraps, reason = "every caller returns it as it is")]
    const fn new(status: u16, phrase: &'static str, headers: Vec<(Name, String)>) -> Option<Self> {
        Some(Self { status, phrase, headers })
    }
}

impl Incoming {
    /// Where answers go.
    pub(super) fn answer_to(&self) -> Flow {
        self.flow.answering(&self.head.via)
    }

    /// An answer with the headers every answer has (RFC 3261 §8.2.6.2); `tag` goes to To if it has none.
    pub(super) fn answer(&self, status: u16, phrase: &str, tag: &str) -> Response {
        answer(&self.request, self.flow, status, phrase, (status != 100).then_some(tag))
    }
}

fn answer(request: &Request, flow: Flow, status: u16, phrase: &str, tag: Option<&str>) -> Response {
    let mut headers = Headers::new();
    for (at, via) in request.headers.list(&Name::Via).into_iter().enumerate() {
        match (at, Via::parse(via)) {
            (0, Some(mut top)) => {
                top.note_source(flow.remote);
                headers.push(Name::Via, top.to_string());
            }
            _ => headers.push(Name::Via, via),
        }
    }
    for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
        if let Some(value) = request.headers.get(&name) {
            let untagged = name == Name::To && NameAddr::parse(value).is_some_and(|to| to.tag().is_none());
            match tag.filter(|_| untagged) {
                Some(tag) => {
                    // Some phones end the header with an empty parameter; two marks in a row could not be read.
                    let value = value.trim_end_matches([';', ' ', '\t']);
                    headers.push(name, format!("{value};tag={tag}"));
                }
                None => headers.push(name, value),
            }
        }
    }
    if matches!(request.method, Method::Invite | Method::Subscribe) && (101..300).contains(&status) {
        for route in request.headers.all(&Name::RecordRoute) {
            headers.push(Name::RecordRoute, route);
        }
    }
    Response { status, phrase: phrase.to_owned(), headers, body: Vec::new() }
}

impl UserAgent {
    /// Refuses what could not be read, if it was a request that says where an answer goes.
    pub(super) fn handle_fault(&mut self, flow: Flow, fault: Fault, size: usize) {
        *self.figures.faults.entry(fault.kind).or_default() += 1;
        tracing::debug!(remote = %flow.remote, fault = fault.kind.as_str(), "unusable datagram");
        let Some(request) = fault.request else { return };
        if request.method == Method::Ack || request.headers.get(&Name::Via).is_none() {
            return;
        }
        let (status, phrase) = match fault.kind {
            FaultKind::Version => (505, "Version Not Supported"),
            _ => (400, fault_phrase(fault.kind)),
        };
        let response = answer(&request, flow, status, phrase, None);
        let to = Via::parse(request.headers.list(&Name::Via).first().copied().unwrap_or(""))
            .map_or(flow, |via| flow.answering(&via));
        self.send_unless_larger(to, &response, size);
    }

    /// Sends an answer to somebody unknown, in the short form, and only if it is no larger than the question: the
    /// source of a datagram may be forged, and somebody else would get the answer.
    fn send_unless_larger(&mut self, to: Flow, response: &Response, size: usize) {
        let bytes = response.to_short_bytes();
        if bytes.len() > size && !to.transport.is_reliable() {
            self.figures.muted += 1;
        } else {
            self.transmit(to, bytes);
        }
    }

    /// Answers without remembering: a repetition is judged anew and gets the same tag (RFC 3261 §8.2.7).
    pub(super) fn answer_stateless(
        &mut self,
        incoming: &Incoming,
        status: u16,
        phrase: &str,
        headers: Vec<(Name, String)>,
    ) {
        let key = ServerKey::of(&incoming.request, &incoming.head, &incoming.request.method);
        let tag = hex::encode(self.nonces.derive(&format!("{key:?}")));
        let mut response = incoming.answer(status, phrase, &tag);
        for (name, value) in headers {
            response.headers.push(name, value);
        }
        let to = incoming.answer_to();
        self.transmit(to, response.to_wire(to.transport));
    }

    /// Starts a transaction for the request; `false`: there are too many, 503 is sent.
    pub(super) fn begin(&mut self, incoming: &Incoming) -> Option<ServerKey> {
        // What belongs to a call is served where new calls are not: an overload must be able to end.
        let within = incoming.head.to.tag().is_some();
        let most = self.settings.max_transactions.saturating_mul(if within { 2 } else { 1 });
        if self.answering.len() >= most {
            self.refuse_overload(incoming);
            return None;
        }
        let method = &incoming.request.method;
        let key = ServerKey::of(&incoming.request, &incoming.head, method);
        let merge = merge_key(&incoming.request, &incoming.head);
        if let Some(merge) = &merge {
            self.merges.insert(merge.clone(), key.clone());
        }
        let server = Server::new(self.settings.timers, incoming.flow.transport, method);
        let answering = Answering { server, to: incoming.answer_to(), leg: None, merge };
        self.answering.insert(key.clone(), answering);
        Some(key)
    }

    pub(super) fn refuse_overload(&mut self, incoming: &Incoming) {
        self.figures.overloads += 1;
        // Those who were refused together should not come back together.
        let seconds = 1 + self.random.below(RETRY_WITHIN);
        let headers = vec![(Name::RetryAfter, seconds.to_string())];
        self.answer_stateless(incoming, 503, "Service Unavailable", headers);
    }

    /// Sends an answer within its transaction.
    pub(super) fn respond(&mut self, now: Now, key: &ServerKey, response: &Response) -> Vec<u8> {
        let to = self.answering.get(key).map_or(Transport::Udp, |answering| answering.to.transport);
        let bytes = response.to_wire(to);
        if let Some(answering) = self.answering.get_mut(key) {
            answering.server.answered(now.mono, response.status, bytes.clone());
            let (to, timeout) = (answering.to, answering.server.poll_timeout());
            self.schedule.set(&Timer::Server(key.clone()), timeout);
            self.transmit(to, bytes.clone());
        }
        bytes
    }

    pub(super) fn handle_request(&mut self, now: Now, incoming: Incoming) {
        let (request, head) = (&incoming.request, &incoming.head);
        match request.method {
            Method::Ack => return self.handle_ack(now, &incoming),
            Method::Cancel => return self.handle_cancel(now, &incoming),
            _ => {}
        }
        let key = ServerKey::of(request, head, &request.method);
        if let Some(answering) = self.answering.get(&key) {
            self.figures.repeated += 1;
            let (to, bytes) = (answering.to, answering.server.repeated().map(<[u8]>::to_vec));
            if let Some(bytes) = bytes {
                self.transmit(to, bytes);
            }
            return;
        }
        let proves = matches!(request.method, Method::Register | Method::Invite | Method::Subscribe);
        if head.to.tag().is_none() && !proves {
            // The answer tells nothing of the name, but who asks for many of them is looking for some.
            let name = dialled(request);
            self.note_name(now, &incoming, &name);
        }
        if let Some(Objection { status, phrase, headers }) = self.objection(&incoming) {
            return self.answer_stateless(&incoming, status, phrase, headers);
        }
        if head.to.tag().is_some() {
            return self.handle_in_dialog(now, incoming);
        }
        if self.defence.is_overloaded(now.mono) {
            return self.refuse_overload(&incoming);
        }
        if merge_key(request, head).is_some_and(|merge| self.merges.contains_key(&merge)) {
            return self.answer_stateless(&incoming, 482, "Loop Detected", Vec::new());
        }
        match request.method {
            Method::Options => self.answer_options(&incoming),
            Method::Register => self.handle_register(now, &incoming),
            Method::Invite => self.handle_invite(now, incoming),
            Method::Subscribe => self.handle_subscribe(now, &incoming),
            // A call that nobody is in: REFER out of the blue would let anybody make us call.
            Method::Refer => self.answer_stateless(&incoming, 403, "Only Inside A Call", Vec::new()),
            _ => self.answer_stateless(&incoming, 481, "Call/Transaction Does Not Exist", Vec::new()),
        }
    }

    /// What is wrong with a request that can be read (RFC 3261 §8.2.1 to §8.2.3).
    fn objection(&self, incoming: &Incoming) -> Option<Objection> {
        let (request, headers) = (&incoming.request, &incoming.request.headers);
        let allow = || vec![(Name::Allow, ALLOW.to_owned())];
        match request.method {
            Method::Other(_) => return Objection::new(501, "Not Implemented", allow()),
            Method::Known(_) | Method::Notify => return Objection::new(405, "Method Not Allowed", allow()),
            _ => {}
        }
        let scheme = request.uri.split_once(':').map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
        if !matches!(scheme.as_str(), "sip" | "sips" | "tel") {
            return Objection::new(416, "Unsupported URI Scheme", Vec::new());
        }
        let spent = headers.get(&Name::MaxForwards).is_some_and(|hops| hops.bytes().all(|b| b == b'0'));
        // An OPTIONS that ends here is how a trace route works (RFC 3261 §11); a call would loop.
        if spent && request.method != Method::Options {
            return Objection::new(483, "Too Many Hops", Vec::new());
        }
        let mut ours: Vec<&str> = SUPPORTED.split(", ").collect();
        if request.method == Method::Register {
            ours.extend(["path", "outbound"]);
        }
        let mut required = headers.words(&Name::Require);
        required.retain(|tag| !ours.contains(&tag.as_str()));
        // A BYE ends the call whatever it asks for besides.
        if !required.is_empty() && request.method != Method::Bye {
            return Objection::new(420, "Bad Extension", vec![(Name::Unsupported, required.join(", "))]);
        }
        if matches!(request.method, Method::Invite | Method::Update) {
            if let Some(least) = self.settings.too_brief(request) {
                return Objection::new(422, "Session Interval Too Small", vec![(Name::MinSe, least)]);
            }
            return objection_to_body(request);
        }
        None
    }

    /// Says what we understand (RFC 3261 §11.2).
    pub(super) fn answer_options(&mut self, incoming: &Incoming) {
        let headers = vec![
            (Name::Allow, ALLOW.to_owned()),
            (Name::Accept, "application/sdp".to_owned()),
            (Name::Supported, SUPPORTED.to_owned()),
            (Name::AllowEvents, super::watching::allowed_events()),
            (Name::Server, self.settings.product.clone()),
        ];
        self.answer_stateless(incoming, 200, "OK", headers);
    }

    /// Our Contact within a call that is up.
    pub(super) fn contact_in(&self, leg: LegId) -> String {
        match self.legs.get(&leg).map(|leg| &leg.stage) {
            Some(Stage::Up(up)) => self.contact(up.dialog.next_hop(), &up.dialog.remote_target),
            _ => format!("<sip:{}>", self.settings.advertised),
        }
    }

    /// Our Contact for a peer on `flow` that is addressed by `uri`: who is called by `sips:` calls back the same way
    /// (RFC 5630 §5.1.1). Where we listen on no such transport the peer is asked for UDP.
    pub(super) fn contact(&self, flow: Flow, uri: &str) -> String {
        let own = self.settings.advertised_on(flow);
        let Some(word) = self.settings.listener_of(flow).and_then(|it| it.transport.in_uri()) else {
            return format!("<sip:{own}>");
        };
        let secure = flow.transport.is_secure()
            && uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("sips:"));
        match (secure, flow.transport) {
            (true, Transport::Tls) => format!("<sips:{own}>"),
            (true, _) => format!("<sips:{own};transport={word}>"),
            (false, _) => format!("<sip:{own};transport={word}>"),
        }
    }
}

fn objection_to_body(request: &Request) -> Option<Objection> {
    let headers = &request.headers;
    let encoded = headers.words(&Name::ContentEncoding).iter().any(|word| word != "identity");
    if encoded {
        let identity = vec![(Name::Other("Accept-Encoding".to_owned()), "identity".to_owned())];
        return Objection::new(415, "Unsupported Media Type", identity);
    }
    let kind = media_type_of(headers.get(&Name::ContentType).unwrap_or(""));
    let readable = kind == "application/sdp" || kind.starts_with("multipart/");
    let unnamed = headers.get(&Name::ContentType).is_none() && request.body.starts_with(b"v=0");
    if !request.body.is_empty() && !readable && !unnamed {
        return Objection::new(
            415,
            "Unsupported Media Type",
            vec![(Name::Accept, "application/sdp".to_owned())],
        );
    }
    let accepted = headers.words(&Name::Accept);
    let takes_sdp =
        |word: &String| matches!(media_type_of(word).as_str(), "application/sdp" | "application/*" | "*/*");
    if !accepted.is_empty() && !accepted.iter().any(takes_sdp) {
        return Objection::new(406, "Not Acceptable", Vec::new());
    }
    None
}

const fn fault_phrase(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::RequestUri => "Bad Request-URI",
        FaultKind::HeaderLine => "Bad Header Field",
        FaultKind::NoEmptyLine => "Missing Empty Line",
        FaultKind::ContentLength => "Bad Content-Length",
        FaultKind::MissingHeader => "Missing Header Field",
        FaultKind::DuplicateHeader => "Duplicate Header Field",
        FaultKind::Via => "Bad Via",
        FaultKind::Address => "Bad From or To",
        FaultKind::CallId => "Bad Call-ID",
        FaultKind::CSeq => "Bad CSeq",
        FaultKind::MethodMismatch => "CSeq Method Mismatch",
        FaultKind::MaxForwards => "Bad Max-Forwards",
        FaultKind::NotSip | FaultKind::Version | FaultKind::StartLine => "Bad Request",
    }
}

/// The user part of a Request-URI: what was dialled.
pub(super) fn dialled(request: &Request) -> String {
    SipUri::parse(&request.uri)
        .map_or_else(|| super::super::message::uri::user_of(&request.uri), |uri| uri.user_text())
}
