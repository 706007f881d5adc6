//! Who is who: digest for phones, and REGISTER.

use crate::id::PhoneName;
use crate::time::Now;

use super::super::defence::Source;
use super::super::digest::{Credentials, DigestAlgorithm, NonceVerdict, challenge};
use super::super::flow::Transport;
use super::super::message::{Name, Response};
use super::super::registrar::path::is_outbound;
use super::super::registrar::{Change, Refusal, SavedBinding};
use super::incoming::Incoming;
use super::{Event, PhoneAccount, Timer, UserAgent};

impl UserAgent {
    /// A phone whose bindings have changed, with all it has now; none means that it is gone.
    pub fn poll_unsaved(&mut self, now: Now) -> Option<(PhoneName, Vec<SavedBinding>)> {
        let phone = self.registrar.take_unsaved()?;
        let proof = self.phone(&phone).map_or(0, PhoneAccount::proof);
        let bindings = self.registrar.save(now, &phone, proof);
        Some((phone, bindings))
    }

    /// Takes up what [`UserAgent::poll_unsaved`] gave in the last process, in the same order; gives how many
    /// bindings still hold.
    ///
    /// A phone that is no longer configured, or whose password was changed, has to register again; so has one
    /// that registered at another socket, for what we send from this one would not pass its NAT.
    pub fn restore_bindings(&mut self, now: Now, saved: Vec<SavedBinding>) -> usize {
        let mut restored = 0;
        for binding in saved {
            let same_password =
                self.phone(&binding.phone).is_some_and(|account| account.proof() == binding.proof);
            let same_socket = binding.flow.transport == Transport::Udp
                && self.settings.sockets().any(|local| local == binding.flow.local);
            if same_password && same_socket {
                restored += usize::from(self.registrar.restore(now, binding));
            }
        }
        self.schedule.set(&Timer::Registrar, self.registrar.poll_timeout());
        restored
    }

    pub(super) fn phone(&self, phone: &PhoneName) -> Option<&PhoneAccount> {
        self.accounts.get(phone.as_str()).and_then(|at| self.settings.phones.get(*at))
    }

    /// Binds, refreshes, ends or lists where a phone is (RFC 3261 §10.3).
    pub(super) fn handle_register(&mut self, now: Now, incoming: &Incoming) {
        let Some(aor) = incoming.head.to.sip() else {
            return self.answer_stateless(incoming, 400, "Bad Address of Record", Vec::new());
        };
        let Some(phone) = self.authenticate(now, incoming, &aor.user_text()) else { return };
        let Some(key) = self.begin(incoming) else { return };
        let outcome =
            self.registrar.register(now.mono, &phone, incoming.flow, &incoming.request, &incoming.head);
        let (tag, mut came) = (self.random.hex(8), None);
        let response = match outcome {
            Ok(granted) => {
                for left in granted.left {
                    self.move_calls(&phone, left, incoming.flow);
                }
                match granted.change {
                    Change::None => {}
                    Change::Added => {
                        self.watching.note_phone(&phone);
                        came = Some(phone.clone());
                        self.events.push_back(Event::Registered { phone });
                    }
                    Change::Gone => self.unregistered(phone),
                }
                let mut response = incoming.answer(200, "OK", &tag);
                for contact in granted.contacts {
                    response.headers.push(Name::Contact, contact);
                }
                name_extensions(incoming, &mut response);
                response.headers.push(Name::Server, self.settings.product.clone());
                response
            }
            Err(Refusal::BadPath) => incoming.answer(400, "Bad Path", &tag),
            Err(Refusal::Malformed) => incoming.answer(400, "Bad Contact", &tag),
            Err(Refusal::OutOfOrder) => incoming.answer(500, "Out of Order", &tag),
            Err(Refusal::TooBrief(min)) => {
                let mut response = incoming.answer(423, "Interval Too Brief", &tag);
                response.headers.push(Name::MinExpires, min.as_secs().to_string());
                response
            }
        };
        self.respond(now, &key, &response);
        if let Some(phone) = came {
            self.push_messages(now, &phone);
        }
        self.schedule.set(&Timer::Registrar, self.registrar.poll_timeout());
    }

    /// The phone that sent the request, proven; otherwise a challenge is sent and it is `None`.
    ///
    /// Known and unknown names get the same answers after the same work: neither the words nor the algorithm
    /// nor the time tell them apart.
    pub(super) fn authenticate(&mut self, now: Now, incoming: &Incoming, claimed: &str) -> Option<PhoneName> {
        let draw = self.algorithm_for_nobody(claimed);
        let account = self.accounts.get(claimed).and_then(|at| self.settings.phones.get(*at));
        let algorithm = account.map_or(draw, |account| account.algorithm);
        let nobody = algorithm.nobody();
        let name = account.map(|account| account.name.clone());
        let ha1 = account.map_or(nobody.as_str(), |account| account.ha1.expose().as_str());
        let credentials = self.credentials(incoming);
        let source = Source::of(incoming.flow.remote.ip());
        let right = credentials.as_ref().is_some_and(|credentials| {
            credentials.matches(algorithm, ha1, incoming.request.method.as_str())
                && credentials.username == claimed
                && means_same(credentials.uri(), &incoming.request.uri)
        });
        let verdict = credentials.as_ref().map(|it| self.nonces.judge(now.wall, it, source));
        if !self.is_user_heard(now, incoming, claimed, name.as_ref()) {
            return None;
        }
        let stale = match (verdict, right) {
            (Some(NonceVerdict::Good), true) if name.is_some() => {
                credentials.iter().for_each(|it| self.nonces.spend(now.wall, it, source));
                self.note_proof(now, incoming, claimed);
                return name;
            }
            (Some(NonceVerdict::Stale), true) => true,
            // The nonce of another process, or of another address of the phone, says nothing of the password,
            // which is not looked at: the phone is told to try again at once.
            (Some(NonceVerdict::Foreign), _) => true,
            (Some(NonceVerdict::Good | NonceVerdict::Stale), _) => {
                self.note_failure(now, incoming, claimed);
                false
            }
            (None, _) => false,
        };
        self.note_name(now, incoming, claimed);
        let nonce = self.nonces.issue(now.wall, source);
        self.figures.challenges += 1;
        let value = challenge(&self.settings.realm, algorithm, &nonce, stale);
        self.answer_stateless(incoming, 401, "Unauthorized", vec![(Name::WwwAuthenticate, value)]);
        None
    }

    /// Whether a call that comes from where a trunk is proves to be the trunk's, if it has to; otherwise a challenge is
    /// sent. A trunk is never banned (rule 23): whoever forges its address would ban it.
    pub(super) fn trunk_proves(&mut self, now: Now, incoming: &Incoming, at: usize) -> bool {
        let Some(proof) = self.settings.trunks.get(at).and_then(|trunk| trunk.proof.as_ref()) else {
            return true;
        };
        let source = Source::of(incoming.flow.remote.ip());
        let algorithm = proof.algorithm;
        let shown = self.credentials(incoming).map(|it| {
            let right = it.matches(algorithm, proof.ha1.expose(), incoming.request.method.as_str())
                && it.username == proof.user
                && means_same(it.uri(), &incoming.request.uri);
            (it, right)
        });
        let judged = shown.as_ref().map(|(it, right)| (self.nonces.judge(now.wall, it, source), *right));
        let stale = match (judged, shown) {
            (Some((NonceVerdict::Good, true)), Some((credentials, _))) => {
                self.nonces.spend(now.wall, &credentials, source);
                return true;
            }
            (Some((NonceVerdict::Stale, true) | (NonceVerdict::Foreign, _)), _) => true,
            (Some(_), _) => {
                self.figures.bad_credentials += 1;
                false
            }
            (None, _) => false,
        };
        let nonce = self.nonces.issue(now.wall, source);
        self.figures.challenges += 1;
        let value = challenge(&self.settings.realm, algorithm, &nonce, stale);
        self.answer_stateless(incoming, 401, "Unauthorized", vec![(Name::WwwAuthenticate, value)]);
        false
    }

    /// The credentials for our realm, if there are some.
    pub(super) fn credentials(&self, incoming: &Incoming) -> Option<Credentials> {
        let headers = &incoming.request.headers;
        [Name::Authorization, Name::ProxyAuthorization]
            .iter()
            .flat_map(|name| headers.all(name).filter_map(Credentials::parse).collect::<Vec<_>>())
            .find(|credentials| credentials.realm() == self.settings.realm)
    }

    /// An algorithm for a name that does not exist: always the same for the name, spread like the real ones.
    fn algorithm_for_nobody(&self, claimed: &str) -> DigestAlgorithm {
        let phones: &[PhoneAccount] = &self.settings.phones;
        let draw = usize::from(u16::from_be_bytes({
            let [a, b, ..] = self.nonces.derive(claimed);
            [a, b]
        }));
        draw.checked_rem(phones.len())
            .and_then(|at| phones.get(at))
            .map_or(DigestAlgorithm::Md5, |phone| phone.algorithm)
    }
}

/// Tells a phone which of the extensions that it knows were used: the proxies on its way (RFC 3327 §5.3), and that each
/// of its flows is a binding (RFC 5626 §6).
fn name_extensions(incoming: &Incoming, response: &mut Response) {
    let headers = &incoming.request.headers;
    if headers.words(&Name::Supported).iter().any(|word| word == "path") {
        for hop in headers.list(&Name::Path) {
            response.headers.push(Name::Path, hop);
        }
    }
    let named = headers.list(&Name::Contact).iter().any(|it| it.contains("reg-id="));
    if named && is_outbound(&incoming.request, &incoming.head, incoming.flow) {
        response.headers.push(Name::Require, "outbound");
    }
    response.headers.push(Name::Supported, "path, outbound");
}

/// Whether a digest-uri was computed for this Request-URI.
///
/// Proxies and old phones change parameters and ports on the way; whom it is for must be the same, or a
/// captured response could be used to dial somebody else.
fn means_same(digest_uri: &str, request_uri: &str) -> bool {
    digest_uri == request_uri
        || super::super::message::uri::user_of(digest_uri) == super::super::message::uri::user_of(request_uri)
}
