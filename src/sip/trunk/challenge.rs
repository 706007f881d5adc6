//! Digest as the one who is asked (RFC 7616, RFC 8760): reading challenges and answering them.

use std::collections::BTreeMap;

use crate::masked::Secret;

use super::super::digest::{DigestAlgorithm, fields_of};
use super::super::message::uri::quote;
use super::super::message::{Headers, Name, Response};

/// What a trunk knows us by.
#[derive(Clone, Debug)]
pub struct Login {
    /// The user name.
    pub user: String,
    /// The password itself: the realm is the trunk's to choose, so no hash can be kept.
    pub password: Secret<String>,
}

/// How far a request has come with proving who we are; what follows decides whether it is tried again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tried {
    /// It carried no credentials.
    #[default]
    Nothing,
    /// It carried credentials for a nonce of before.
    Remembered,
    /// It answered the challenge it met.
    Answered,
    /// It answered a second one, because the first nonce was stale already.
    Renewed,
}

/// One challenge that we can answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sip) struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: DigestAlgorithm,
    /// The word is sent as well: a trunk of RFC 2069 that named none may choke on it.
    algorithm_named: bool,
    qop: bool,
    stale: bool,
    by: Asker,
}

/// Who asks, and so in which header the answer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Asker {
    Server,
    Proxy,
}

impl Challenge {
    /// Reads a challenge; `None` for another scheme, an algorithm or a protection that is not known here.
    fn parse(value: &str, by: Asker) -> Option<Self> {
        let (mut fields, _) = fields_of(value)?;
        let named = fields.get("algorithm").map(|it| it.to_ascii_uppercase());
        let algorithm = match named.as_deref() {
            None | Some("MD5") => DigestAlgorithm::Md5,
            Some("SHA-256") => DigestAlgorithm::Sha256,
            Some("SHA-512-256") => DigestAlgorithm::Sha512_256,
            Some(_) => return None,
        };
        let qop = match fields.get("qop") {
            None => false,
            Some(list) if list.split(',').any(|it| it.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
        };
        Some(Self {
            realm: fields.remove("realm")?,
            nonce: fields.remove("nonce")?,
            opaque: fields.remove("opaque"),
            algorithm,
            algorithm_named: named.is_some(),
            qop,
            stale: fields.get("stale").is_some_and(|it| it.eq_ignore_ascii_case("true")),
            by,
        })
    }

    /// The challenges of a 401 or 407 that have to be answered: of each realm the strongest that is known.
    ///
    /// RFC 8760 §2.4 leaves the choice to local policy.
    pub(in crate::sip) fn all_of(response: &Response) -> Vec<Self> {
        let mut chosen: BTreeMap<(Asker, String), Self> = BTreeMap::new();
        for (name, by) in [(Name::WwwAuthenticate, Asker::Server), (Name::ProxyAuthenticate, Asker::Proxy)] {
            for challenge in response.headers.all(&name).filter_map(|value| Self::parse(value, by)) {
                let key = (by, challenge.realm.clone());
                let weaker = chosen.get(&key).is_some_and(|known| known.algorithm >= challenge.algorithm);
                if !weaker {
                    chosen.insert(key, challenge);
                }
            }
        }
        chosen.into_values().collect()
    }
}

/// What comes of a request that was challenged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sip) enum Next {
    /// Send it again with the answer.
    Again(Tried),
    /// The password is wrong, or there is no challenge that we could answer.
    Refused,
}

/// The challenges a server of a trunk has made, with how often each nonce was used.
#[derive(Clone, Debug, Default)]
pub(in crate::sip) struct Remembered(Vec<(Challenge, u32)>);

impl Remembered {
    /// Takes the challenges of a 401 or 407 to a request that had come so far.
    pub(in crate::sip) fn take(&mut self, response: &Response, tried: Tried) -> Next {
        let challenges = Challenge::all_of(response);
        let stale = challenges.iter().any(|challenge| challenge.stale);
        let next = match tried {
            _ if challenges.is_empty() => None,
            // Many servers forget to say `stale` of a nonce of long ago.
            Tried::Nothing | Tried::Remembered => Some(Tried::Answered),
            Tried::Answered if stale => Some(Tried::Renewed),
            Tried::Answered | Tried::Renewed => None,
        };
        let Some(next) = next else {
            self.0.clear();
            return Next::Refused;
        };
        for challenge in challenges {
            self.0.retain(|(known, _)| (known.by, &known.realm) != (challenge.by, &challenge.realm));
            self.0.push((challenge, 0));
        }
        Next::Again(next)
    }

    /// Puts credentials on a request for everything that is remembered; tells whether there was anything.
    ///
    /// `cnonce` must be new for each request: it is what makes the response ours.
    pub(in crate::sip) fn authorize(
        &mut self,
        login: &Login,
        cnonce: &str,
        (method, uri): (&str, &str),
        headers: &mut Headers,
    ) -> bool {
        headers.remove(&Name::Authorization);
        headers.remove(&Name::ProxyAuthorization);
        for (challenge, count) in &mut self.0 {
            *count = count.saturating_add(1);
            let name = match challenge.by {
                Asker::Server => Name::Authorization,
                Asker::Proxy => Name::ProxyAuthorization,
            };
            headers.push(name, answer(challenge, login, cnonce, *count, (method, uri)));
        }
        // A nonce without qop is good once (RFC 2617 §3.2.1 leaves more to the server's taste).
        self.0.retain(|(challenge, _)| challenge.qop);
        headers.get(&Name::Authorization).or(headers.get(&Name::ProxyAuthorization)).is_some()
    }
}

/// The value of Authorization or Proxy-Authorization (RFC 7616 §3.4).
fn answer(
    challenge: &Challenge,
    login: &Login,
    cnonce: &str,
    nc: u32,
    (method, uri): (&str, &str),
) -> String {
    let Challenge { realm, nonce, algorithm, .. } = challenge;
    let ha1 = algorithm.ha1(&login.user, realm, login.password.expose());
    let ha2 = algorithm.hash(&format!("{method}:{uri}"));
    let response = if challenge.qop {
        algorithm.hash(&format!("{ha1}:{nonce}:{nc:08x}:{cnonce}:auth:{ha2}"))
    } else {
        algorithm.hash(&format!("{ha1}:{nonce}:{ha2}"))
    };
    let mut value = format!(
        "Digest username={}, realm={}, nonce={}, uri=\"{uri}\", response=\"{response}\"",
        quote(&login.user),
        quote(realm),
        quote(nonce)
    );
    if challenge.algorithm_named {
        value.push_str(", algorithm=");
        value.push_str(algorithm.as_str());
    }
    if challenge.qop {
        value.push_str(&format!(", qop=auth, nc={nc:08x}, cnonce=\"{cnonce}\""));
    }
    if let Some(opaque) = &challenge.opaque {
        value.push_str(&format!(", opaque={}", quote(opaque)));
    }
    value
}

#[cfg(test)]
mod tests {
    use super::super::super::digest::Credentials;
    use super::*;

    fn login() -> Login {
        Login { user: "Mufasa".to_owned(), password: Secret::new("Circle of Life".to_owned()) }
    }

    fn challenged(lines: &[(&str, &str)]) -> Response {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.push(Name::parse(name), *value);
        }
        Response { status: 401, phrase: String::new(), headers, body: Vec::new() }
    }

    fn authorized(remembered: &mut Remembered, cnonce: &str) -> Headers {
        let mut headers = Headers::new();
        remembered.authorize(&login(), cnonce, ("GET", "/dir/index.html"), &mut headers);
        headers
    }

    #[test]
    fn both_examples_of_rfc_7616_section_3_9_1_are_answered_as_printed() {
        for (algorithm, response) in [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let challenge = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            let mut remembered = Remembered::default();
            let next =
                remembered.take(&challenged(&[("WWW-Authenticate", challenge.as_str())]), Tried::Nothing);
            assert_eq!(next, Next::Again(Tried::Answered));
            let headers = authorized(&mut remembered, "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ");
            let value = headers.get(&Name::Authorization).expect("answered");
            assert!(value.contains(&format!("response=\"{response}\"")), "{value}");
            assert!(value.contains("nc=00000001") && value.contains("opaque=\"FQhe/qaU925"), "{value}");
            let ha1 = |it: DigestAlgorithm| it.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
            let known = [DigestAlgorithm::Md5, DigestAlgorithm::Sha256];
            let judged = Credentials::parse(value).expect("reads back");
            assert!(known.iter().any(|it| judged.matches(*it, &ha1(*it), "GET")));
        }
    }

    #[test]
    fn of_several_challenges_the_strongest_known_is_answered_once_per_realm_and_asker() {
        let mut remembered = Remembered::default();
        let response = challenged(&[
            ("WWW-Authenticate", "Digest realm=\"a\", nonce=\"1\", algorithm=SHA-512-256, qop=\"auth\""),
            ("WWW-Authenticate", "Digest realm=\"a\", nonce=\"2\", algorithm=MD5, qop=\"auth\""),
            ("WWW-Authenticate", "Digest realm=\"a\", nonce=\"3\", algorithm=SHA-256, qop=\"auth\""),
            ("WWW-Authenticate", "Digest realm=\"a\", nonce=\"4\", algorithm=AKAv1-MD5, qop=\"auth\""),
            ("WWW-Authenticate", "Digest realm=\"a\", nonce=\"5\", qop=\"auth-int\""),
            ("WWW-Authenticate", "Basic realm=\"a\""),
            ("Proxy-Authenticate", "Digest realm=\"b\", nonce=\"6\""),
        ]);
        assert_eq!(remembered.take(&response, Tried::Nothing), Next::Again(Tried::Answered));
        let headers = authorized(&mut remembered, "c");
        let server: Vec<&str> = headers.all(&Name::Authorization).collect();
        assert_eq!(server.len(), 1);
        assert!(server[0].contains("algorithm=SHA-512-256") && server[0].contains("nonce=\"1\""));
        let proxy = headers.get(&Name::ProxyAuthorization).expect("the proxy is answered too");
        assert!(!proxy.contains("qop") && !proxy.contains("algorithm"), "{proxy}");
        // The nonce without qop is spent, the other one counts on.
        let headers = authorized(&mut remembered, "d");
        assert!(headers.get(&Name::Authorization).is_some_and(|it| it.contains("nc=00000002")));
        assert_eq!(headers.get(&Name::ProxyAuthorization), None);
    }

    #[test]
    fn a_wrong_password_is_refused_at_the_second_challenge_and_a_stale_nonce_at_the_third() {
        let challenge = |nonce: &str, stale: &str| {
            challenged(&[("WWW-Authenticate", &format!("Digest realm=\"a\", nonce=\"{nonce}\"{stale}"))])
        };
        let mut remembered = Remembered::default();
        assert_eq!(remembered.take(&challenge("1", ""), Tried::Remembered), Next::Again(Tried::Answered));
        assert_eq!(remembered.take(&challenge("2", ""), Tried::Answered), Next::Refused);
        let stale = challenge("3", ", stale=TRUE");
        assert_eq!(remembered.take(&stale, Tried::Answered), Next::Again(Tried::Renewed));
        assert_eq!(remembered.take(&stale, Tried::Renewed), Next::Refused);
        assert_eq!(remembered.take(&challenged(&[]), Tried::Nothing), Next::Refused);
    }
}
