//! Keys of SRTP in session descriptions (RFC 4568, RFC 7714 §14.2): the `a=crypto` line.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::session::Media;
use crate::masked::Secret;
use crate::random::Random;

/// Written with padding, read with and without: phones differ.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);
/// The longest life a key may have, as a power of two (RFC 3711 §9.2).
const LONGEST_LIFE: u32 = 48;

/// How packets are protected, by IANA's registry of SDES crypto suites.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CryptoSuite {
    /// `AEAD_AES_256_GCM`
    AeadAes256Gcm,
    /// `AEAD_AES_128_GCM`
    AeadAes128Gcm,
    /// `AES_CM_128_HMAC_SHA1_80`: every phone that encrypts knows it.
    AesCm128HmacSha1_80,
    /// `AES_CM_128_HMAC_SHA1_32`: the tag of RTP is cut to four bytes, that of RTCP is not.
    AesCm128HmacSha1_32,
}

impl CryptoSuite {
    /// Every suite in the order of our offers: what most phones know stands first, for some look no further.
    pub const ALL: [Self; 4] =
        [Self::AesCm128HmacSha1_80, Self::AeadAes256Gcm, Self::AeadAes128Gcm, Self::AesCm128HmacSha1_32];

    /// The word in the line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AeadAes256Gcm => "AEAD_AES_256_GCM",
            Self::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Self::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Self::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
        }
    }

    /// Bytes of master key and master salt.
    #[must_use]
    pub const fn key_and_salt(self) -> (usize, usize) {
        match self {
            Self::AeadAes256Gcm => (32, 12),
            Self::AeadAes128Gcm => (16, 12),
            Self::AesCm128HmacSha1_80 | Self::AesCm128HmacSha1_32 => (16, 14),
        }
    }

    /// Bytes of key and salt together.
    #[must_use]
    pub const fn key_length(self) -> usize {
        let (key, salt) = self.key_and_salt();
        key + salt
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(text))
    }
}

/// One `a=crypto` line: with what its writer encrypts what it sends.
#[derive(Clone, PartialEq, Eq)]
pub struct Crypto {
    /// Which line of an offer it is; the answer repeats the tag of the one it takes.
    pub tag: u32,
    /// How.
    pub suite: CryptoSuite,
    /// Master key and master salt, one after the other.
    pub key: Secret<Vec<u8>>,
}

/// Shows no key.
impl fmt::Debug for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Crypto({} {})", self.tag, self.suite.name())
    }
}

/// The value of the line.
impl fmt::Display for Crypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} inline:{}", self.tag, self.suite.name(), BASE64.encode(self.key.expose()))
    }
}

impl Crypto {
    /// A line with a key drawn by chance.
    #[must_use]
    pub fn fresh(tag: u32, suite: CryptoSuite, random: &mut Random) -> Self {
        let mut key = vec![0; suite.key_length()];
        random.fill(&mut key);
        Self { tag, suite, key: Secret::new(key) }
    }

    /// Reads the value of a line that we can do; [`None`] for another suite, a master key identifier (it would
    /// stand in every packet), or a session parameter that changes the packets (RFC 4568 §6.3): such a line counts
    /// as not there. A life time is the writer's to keep: it has to bring a new key in time.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = words.next().filter(|tag| tag.len() <= 9)?.parse().ok()?;
        let suite = CryptoSuite::parse(words.next()?)?;
        let inline = words.next()?;
        let harmless = |word: &str| {
            let name = word.split('=').next().unwrap_or("");
            // A window is a hint; with a minus the writer says that it may be passed over.
            name.eq_ignore_ascii_case("WSH") || name.starts_with('-')
        };
        if !words.all(harmless) {
            return None;
        }
        // Several keys need an identifier in every packet.
        let (method, key) = inline.split_once(':').filter(|_| !inline.contains(';'))?;
        let mut parts = key.split('|');
        let key = BASE64.decode(parts.next()?).ok()?;
        // What may follow: how many packets the key is good for, and an identifier, which has a colon.
        let lives = parts.all(is_life);
        let good = method.eq_ignore_ascii_case("inline") && lives && key.len() == suite.key_length();
        good.then(|| Self { tag, suite, key: Secret::new(key) })
    }
}

/// A life time: a number of packets, or a power of two (RFC 4568 §6.1).
fn is_life(text: &str) -> bool {
    let in_range = |range: std::ops::RangeInclusive<u64>, text: &str| {
        text.parse().is_ok_and(|number| range.contains(&number))
    };
    match text.split_once('^') {
        Some((base, power)) => base == "2" && in_range(0..=u64::from(LONGEST_LIFE), power),
        None => in_range(1..=1 << LONGEST_LIFE, text),
    }
}

/// The lines of a section that we can do, in its order.
#[must_use]
pub fn cryptos(media: &Media) -> Vec<Crypto> {
    let lines = media.attributes.iter().filter(|line| line.name.eq_ignore_ascii_case("crypto"));
    lines.filter_map(|line| Crypto::parse(line.value.as_deref()?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

    #[test]
    fn the_line_of_rfc_4568_section_9_1_is_read_and_printed() {
        let line = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 FEC_ORDER=FEC_SRTP");
        assert_eq!(Crypto::parse(&line), None, "it wants an identifier in its packets and an order of FEC");
        let plain = format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}");
        let crypto = Crypto::parse(&format!("{plain}|2^20 WSH=64 -X-OTHER=1")).expect("can be done");
        assert_eq!((crypto.tag, crypto.suite), (1, CryptoSuite::AesCm128HmacSha1_80));
        assert_eq!(crypto.key.expose().len(), 30);
        assert_eq!(crypto.to_string(), plain);
        assert_eq!(format!("{crypto:?}"), "Crypto(1 AES_CM_128_HMAC_SHA1_80)", "no key in a log");
    }

    #[test]
    fn padding_that_was_left_out_and_a_life_time_in_packets_are_read() {
        let mut random = Random::from_number(7);
        let crypto = Crypto::fresh(3, CryptoSuite::AeadAes256Gcm, &mut random);
        let line = crypto.to_string();
        assert!(line.ends_with('='), "{line}");
        assert_eq!(Crypto::parse(line.trim_end_matches('=')), Some(crypto.clone()));
        assert_eq!(Crypto::parse(&format!("{line}|1048576")), Some(crypto));
        assert_ne!(Crypto::fresh(1, CryptoSuite::AeadAes256Gcm, &mut random).to_string()[2..], line[2..]);
    }

    #[test]
    fn every_suite_prints_and_reads_back() {
        for (tag, suite) in (1..).zip(CryptoSuite::ALL) {
            let key = Secret::new((0..suite.key_length()).map(|it| u8::try_from(it).unwrap()).collect());
            let crypto = Crypto { tag, suite, key };
            assert_eq!(Crypto::parse(&crypto.to_string()), Some(crypto));
        }
    }

    #[test]
    fn what_we_cannot_do_counts_as_not_there() {
        for line in [
            format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AEAD_AES_128_GCM inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} UNENCRYPTED_SRTP"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY} KDR=1"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|1:1"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^49"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|0"),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{}", &KEY[1..]),
            format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4;inline:{KEY}|2^20|2:4"),
            format!("x AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("99999999999 AES_CM_128_HMAC_SHA1_80 inline:{KEY}"),
            format!("1 AES_CM_128_HMAC_SHA1_80 uri:{KEY}"),
            "1 AES_CM_128_HMAC_SHA1_80 inline:!!!".to_owned(),
            "1 AES_CM_128_HMAC_SHA1_80".to_owned(),
            String::new(),
        ] {
            assert_eq!(Crypto::parse(&line), None, "{line}");
        }
    }
}
