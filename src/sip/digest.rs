//! Digest access authentication (RFC 7616, RFC 8760; RFC 2617 for old phones): who asks is who they say.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use aws_lc_rs::{digest as hashes, hmac};
use md5::{Digest as _, Md5};
use subtle::ConstantTimeEq;

use crate::random::Random;
use crate::time::Wall;

use super::defence::Source;
use super::message::uri::{split_outside_quotes, unquote};

/// The hash of a phone's credentials and of its challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// For phones that know nothing else.
    Md5,
    /// RFC 8760.
    Sha256,
    /// RFC 8760: SHA-512 cut to 256 bits, by its own start values (FIPS 180-4 §5.3.6).
    Sha512_256,
}

impl DigestAlgorithm {
    /// The word in a challenge.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
            Self::Sha512_256 => "SHA-512-256",
        }
    }

    /// The hash of `text` in lower-case hexadecimal.
    #[must_use]
    pub fn hash(self, text: &str) -> String {
        self.hash_all(&[text])
    }

    /// The hash of texts one after another, which are nowhere joined.
    fn hash_all(self, texts: &[&str]) -> String {
        match self {
            Self::Md5 => {
                let mut hash = Md5::new();
                texts.iter().for_each(|text| hash.update(text.as_bytes()));
                hex::encode(hash.finalize())
            }
            Self::Sha256 => digest_all(&hashes::SHA256, texts),
            Self::Sha512_256 => digest_all(&hashes::SHA512_256, texts),
        }
    }

    /// A hash of the right length that follows from no password: stands in for a user that does not exist.
    #[must_use]
    pub fn nobody(self) -> String {
        self.hash("")
    }

    /// The stored form of a password: the hash of `user:realm:password` (RFC 7616 §3.4.2).
    #[must_use]
    pub fn ha1(self, user: &str, realm: &str, password: &str) -> String {
        self.hash_all(&[user, ":", realm, ":", password])
    }
}

fn digest_all(algorithm: &'static hashes::Algorithm, texts: &[&str]) -> String {
    let mut hash = hashes::Context::new(algorithm);
    texts.iter().for_each(|text| hash.update(text.as_bytes()));
    hex::encode(hash.finish())
}

/// Whether a header names a parameter more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Said {
    Once,
    Twice,
}

/// The parameters of a challenge or of credentials, by their names in lower case; of those that are named twice the
/// first. `None` for another scheme than Digest.
pub(super) fn fields_of(value: &str) -> Option<(BTreeMap<String, String>, Said)> {
    let (scheme, rest) = value.trim().split_once(|c: char| c.is_whitespace())?;
    if !scheme.eq_ignore_ascii_case("Digest") {
        return None;
    }
    let (mut fields, mut said) = (BTreeMap::new(), Said::Once);
    for piece in split_outside_quotes(rest, b',')? {
        let Some((name, value)) = piece.split_once('=') else { continue };
        match fields.entry(name.trim().to_ascii_lowercase()) {
            Entry::Vacant(free) => drop(free.insert(unquote(value.trim()))),
            Entry::Occupied(_) => said = Said::Twice,
        }
    }
    Some((fields, said))
}

/// The parameters of an `Authorization: Digest …` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// Who it claims to be.
    pub username: String,
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Option<String>,
    cnonce: Option<String>,
    nc: Option<String>,
    qop: Option<String>,
}

impl Credentials {
    /// Reads the header value; `None` for another scheme or if something necessary is missing or double.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let (mut fields, said) = fields_of(value)?;
        if said == Said::Twice {
            return None;
        }
        let mut take = |name: &str| fields.remove(name);
        Some(Self {
            username: take("username")?,
            realm: take("realm")?,
            nonce: take("nonce")?,
            uri: take("uri")?,
            response: take("response")?.to_ascii_lowercase(),
            algorithm: take("algorithm"),
            cnonce: take("cnonce"),
            nc: take("nc"),
            qop: take("qop"),
        })
    }

    /// The realm the sender thinks it talks to.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The digest-uri, as hashed.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Whether the response follows from `ha1`; compares in constant time.
    #[must_use]
    pub fn matches(&self, algorithm: DigestAlgorithm, ha1: &str, method: &str) -> bool {
        let named = self.algorithm.as_deref().unwrap_or("MD5");
        let ha2 = algorithm.hash(&format!("{method}:{}", self.uri));
        let expected = match (self.qop.as_deref(), &self.nc, &self.cnonce) {
            (Some(qop), Some(nc), Some(cnonce)) if qop.eq_ignore_ascii_case("auth") => {
                algorithm.hash(&format!("{ha1}:{}:{nc}:{cnonce}:{qop}:{ha2}", self.nonce))
            }
            (None, _, _) => algorithm.hash(&format!("{ha1}:{}:{ha2}", self.nonce)),
            _ => return false,
        };
        let same: bool = expected.as_bytes().ct_eq(self.response.as_bytes()).into();
        same && named.eq_ignore_ascii_case(algorithm.as_str())
    }

    /// The nonce count; without qop a nonce is good for one use, which counts as the last possible one.
    fn count(&self) -> Option<u32> {
        match (&self.qop, &self.nc) {
            (None, _) => Some(u32::MAX),
            (Some(_), Some(nc)) if nc.len() <= 8 => u32::from_str_radix(nc, 16).ok().filter(|nc| *nc > 0),
            _ => None,
        }
    }
}

/// What a nonce turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NonceVerdict {
    /// Ours, fresh, and its count was not used before; the count is spent now.
    Good,
    /// Ours, but too old or used up: the same credentials are welcome with a new nonce.
    Stale,
    /// Not made by this process, or not for this source.
    Foreign,
}

/// How many nonces' counts are remembered at once.
const REMEMBERED: usize = 10_000;
/// Bytes of the random part and of the signature.
const SALT: usize = 8;
const SIGNATURE: usize = 16;

/// Makes and judges nonces without remembering the unused ones: a nonce is a signed time stamp.
///
/// It is good only at the source it was sent to: who brings it back has received it, so what is said with it
/// was not said in another's name (rule 23).
#[derive(Debug)]
pub struct Nonces {
    key: hmac::Key,
    random: Random,
    life: Duration,
    /// Highest count seen, by issue time and nonce.
    used: BTreeMap<(Wall, String), u32>,
    /// Nonces issued up to here may have been forgotten after use.
    forgotten: Option<Wall>,
}

impl Nonces {
    /// `life` is how long a nonce may be used.
    #[must_use]
    pub fn new(mut random: Random, life: Duration) -> Self {
        let mut key = [0; 32];
        random.fill(&mut key);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        Self { key, random, life, used: BTreeMap::new(), forgotten: None }
    }

    /// A new nonce.
    pub fn issue(&mut self, now: Wall, to: Source) -> String {
        let mut body = now.millis().to_be_bytes().to_vec();
        let mut salt = [0; SALT];
        self.random.fill(&mut salt);
        body.extend_from_slice(&salt);
        let tag = self.sign(&body, to);
        body.extend(tag.as_ref().iter().take(SIGNATURE));
        hex::encode(body)
    }

    fn sign(&self, body: &[u8], to: Source) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(body);
        context.update(&to.octets());
        context.sign()
    }

    /// Whether the nonce of `credentials` was sent to that source, however long ago.
    #[must_use]
    pub fn is_ours(&self, credentials: &Credentials, from: Source) -> bool {
        self.issued(&credentials.nonce, from).is_some()
    }

    /// A value that only this process can make from `text`: the same text, the same value.
    #[must_use]
    pub fn derive(&self, text: &str) -> [u8; 8] {
        let tag = hmac::sign(&self.key, format!("derive:{text}").as_bytes());
        let mut out = [0; 8];
        out.iter_mut().zip(tag.as_ref()).for_each(|(out, b)| *out = *b);
        out
    }

    /// Judges the nonce of `credentials` without spending it.
    #[must_use]
    pub fn judge(&self, now: Wall, credentials: &Credentials, from: Source) -> NonceVerdict {
        let Some(issued) = self.issued(&credentials.nonce, from) else { return NonceVerdict::Foreign };
        let Some(count) = credentials.count() else { return NonceVerdict::Foreign };
        let fresh = issued <= now && now.since(issued) < self.life;
        let last = self.used.get(&(issued, credentials.nonce.clone())).copied();
        let forgotten = last.is_none() && self.forgotten.is_some_and(|until| issued <= until);
        if fresh && !forgotten && last.is_none_or(|last| count > last) {
            NonceVerdict::Good
        } else {
            NonceVerdict::Stale
        }
    }

    /// Remembers that the count of `credentials` was used; call it for good credentials only.
    pub fn spend(&mut self, now: Wall, credentials: &Credentials, from: Source) {
        let (Some(issued), Some(count)) = (self.issued(&credentials.nonce, from), credentials.count()) else {
            return;
        };
        self.used.insert((issued, credentials.nonce.clone()), count);
        while let Some(entry) = self.used.first_entry() {
            let issued = entry.key().0;
            if now.since(issued) >= self.life {
                entry.remove();
            } else if self.used.len() > REMEMBERED {
                self.used.pop_first();
                self.forgotten = Some(issued);
            } else {
                break;
            }
        }
    }

    /// When the nonce was issued, if this process issued it to that source.
    fn issued(&self, nonce: &str, to: Source) -> Option<Wall> {
        let raw = hex::decode(nonce).ok()?;
        let (body, tag) = raw.split_at_checked(8 + SALT)?;
        let expected = self.sign(body, to);
        let expected = expected.as_ref().get(..SIGNATURE)?;
        let same: bool = expected.ct_eq(tag).into();
        let stamp: [u8; 8] = body.get(..8)?.try_into().ok()?;
        // Upper-case spelling of our nonce would be a second key for the same nonce.
        let ours = same && !nonce.bytes().any(|b| b.is_ascii_uppercase());
        ours.then(|| Wall(i64::from_be_bytes(stamp)))
    }
}

/// The value of a WWW-Authenticate header.
#[must_use]
pub fn challenge(realm: &str, algorithm: DigestAlgorithm, nonce: &str, stale: bool) -> String {
    let stale = if stale { ", stale=true" } else { "" };
    let realm = super::message::uri::quote(realm);
    format!("Digest realm={realm}, nonce=\"{nonce}\", qop=\"auth\", algorithm={}{stale}", algorithm.as_str())
}

/// The Authorization value a phone would send; for tests and for the simulated phone.
#[must_use]
pub fn authorize(
    algorithm: DigestAlgorithm,
    user: &str,
    password: &str,
    (realm, nonce): (&str, &str),
    (method, uri): (&str, &str),
    nc: u32,
) -> String {
    let ha1 = algorithm.ha1(user, realm, password);
    let ha2 = algorithm.hash(&format!("{method}:{uri}"));
    let response = algorithm.hash(&format!("{ha1}:{nonce}:{nc:08x}:0a4f113b:auth:{ha2}"));
    format!(
        "Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", response=\"{response}\", \
         cnonce=\"0a4f113b\", nc={nc:08x}, qop=auth, algorithm={}",
        algorithm.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces() -> Nonces {
        Nonces::new(Random::from_number(1), Duration::from_secs(60))
    }

    fn here() -> Source {
        Source::of([192, 0, 2, 7].into())
    }

    fn credentials(nonce: &str, nc: u32) -> Credentials {
        let value =
            authorize(DigestAlgorithm::Md5, "1001", "s3cret", ("r", nonce), ("REGISTER", "sip:r"), nc);
        Credentials::parse(&value).expect("parses")
    }

    #[test]
    fn the_example_of_rfc_2617_section_3_5_verifies() {
        let value = "Digest username=\"Mufasa\", realm=\"testrealm@host.com\", \
            nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\", uri=\"/dir/index.html\", qop=auth, nc=00000001, \
            cnonce=\"0a4f113b\", response=\"6629fae49393a05397450978507c4ef1\", opaque=\"5ccc069c403ebaf9f0171e9517f40e41\"";
        let ha1 = DigestAlgorithm::Md5.ha1("Mufasa", "testrealm@host.com", "Circle Of Life");
        assert_eq!(ha1, "939e7578ed9e3c518a452acee763bce9");
        let credentials = Credentials::parse(value).unwrap();
        assert!(credentials.matches(DigestAlgorithm::Md5, &ha1, "GET"));
        assert!(!credentials.matches(DigestAlgorithm::Md5, &ha1, "PUT"));
    }

    #[test]
    fn both_examples_of_rfc_7616_section_3_9_1_verify() {
        for (algorithm, response) in [
            (DigestAlgorithm::Md5, "8ca523f5e9506fed4657c9700eebdbec"),
            (DigestAlgorithm::Sha256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ] {
            let value = format!(
                "Digest username=\"Mufasa\", realm=\"http-auth@example.org\", uri=\"/dir/index.html\", algorithm={}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", nc=00000001, \
                 cnonce=\"f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ\", qop=auth, response=\"{response}\", \
                 opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\"",
                algorithm.as_str()
            );
            let ha1 = algorithm.ha1("Mufasa", "http-auth@example.org", "Circle of Life");
            assert!(Credentials::parse(&value).unwrap().matches(algorithm, &ha1, "GET"), "{algorithm:?}");
        }
    }

    #[test]
    fn a_phone_without_qop_is_understood_and_its_nonce_is_good_once() {
        let mut nonces = nonces();
        let nonce = nonces.issue(Wall(0), here());
        let ha1 = DigestAlgorithm::Md5.ha1("1001", "r", "s3cret");
        let ha2 = DigestAlgorithm::Md5.hash("REGISTER:sip:r");
        let response = DigestAlgorithm::Md5.hash(&format!("{ha1}:{nonce}:{ha2}"));
        let value = format!(
            "Digest username=\"1001\",realm=\"r\",nonce=\"{nonce}\",uri=\"sip:r\",response=\"{response}\""
        );
        let credentials = Credentials::parse(&value).unwrap();
        assert!(credentials.matches(DigestAlgorithm::Md5, &ha1, "REGISTER"));
        assert_eq!(nonces.judge(Wall(1), &credentials, here()), NonceVerdict::Good);
        nonces.spend(Wall(1), &credentials, here());
        assert_eq!(nonces.judge(Wall(2), &credentials, here()), NonceVerdict::Stale);
    }

    #[test]
    fn a_nonce_lives_its_time_to_the_millisecond_and_each_count_works_once() {
        let mut nonces = nonces();
        let nonce = nonces.issue(Wall(1000), here());
        let first = credentials(&nonce, 1);
        assert_eq!(nonces.judge(Wall(60_999), &first, here()), NonceVerdict::Good);
        assert_eq!(nonces.judge(Wall(61_000), &first, here()), NonceVerdict::Stale);
        nonces.spend(Wall(2000), &first, here());
        assert_eq!(nonces.judge(Wall(2001), &first, here()), NonceVerdict::Stale);
        assert_eq!(nonces.judge(Wall(2001), &credentials(&nonce, 2), here()), NonceVerdict::Good);
        assert_eq!(nonces.judge(Wall(2001), &credentials(&nonce, 0), here()), NonceVerdict::Foreign);
    }

    #[test]
    fn a_nonce_is_good_only_where_it_was_sent() {
        let mut nonces = nonces();
        let there = Source::of([192, 0, 2, 8].into());
        let first = credentials(&nonces.issue(Wall(0), here()), 1);
        assert_eq!(nonces.judge(Wall(0), &first, there), NonceVerdict::Foreign);
        assert!(nonces.is_ours(&first, here()) && !nonces.is_ours(&first, there));
        assert_eq!(nonces.judge(Wall(0), &first, here()), NonceVerdict::Good);
    }

    #[test]
    fn sha_512_256_is_the_function_of_fips_180_4() {
        // The value of the empty text, as printed by Python's hashlib (OpenSSL).
        let empty = "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a";
        assert_eq!(DigestAlgorithm::Sha512_256.hash(""), empty);
    }

    #[test]
    fn a_nonce_of_another_process_or_with_a_changed_stamp_is_foreign() {
        let mut ours = nonces();
        let mut other = Nonces::new(Random::from_number(2), Duration::from_secs(60));
        let foreign = credentials(&other.issue(Wall(0), here()), 1);
        assert_eq!(ours.judge(Wall(0), &foreign, here()), NonceVerdict::Foreign);
        let nonce = ours.issue(Wall(0), here());
        for bad in [nonce.replacen('0', "1", 1), nonce.to_uppercase(), nonce[2..].to_owned(), String::new()] {
            assert_eq!(ours.judge(Wall(0), &credentials(&bad, 1), here()), NonceVerdict::Foreign, "{bad}");
        }
    }

    #[test]
    fn a_flood_of_good_nonces_forgets_the_oldest_and_never_takes_a_forgotten_one_again() {
        let mut nonces = nonces();
        let first = credentials(&nonces.issue(Wall(0), here()), 1);
        nonces.spend(Wall(0), &first, here());
        for at in 1..=i64::try_from(REMEMBERED).unwrap() {
            let next = credentials(&nonces.issue(Wall(at), here()), 1);
            nonces.spend(Wall(at), &next, here());
        }
        assert_eq!(nonces.used.len(), REMEMBERED);
        assert_eq!(nonces.judge(Wall(10_001), &first, here()), NonceVerdict::Stale);
    }

    #[test]
    fn a_header_of_another_scheme_or_with_a_doubled_field_is_none() {
        assert_eq!(Credentials::parse("NoOneKnowsThisScheme opaque-data=here"), None);
        let twice = "Digest username=\"a\",username=\"b\",realm=\"r\",nonce=\"n\",uri=\"u\",response=\"x\"";
        assert_eq!(Credentials::parse(twice), None);
        assert_eq!(Credentials::parse(""), None);
    }
}
