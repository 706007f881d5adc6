//! A sound that Meta keeps, and how one can tell that it is the one that was meant.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// SHA-256 of a sound as Meta states it: base64 in webhooks (reference §9.10), hexadecimal where it tells the place.
/// Prints as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SoundDigest([u8; 32]);

impl SoundDigest {
    /// Reads either form; `None` where it is neither.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = if text.len() == 64 { hex::decode(text).ok() } else { STANDARD.decode(text).ok() };
        bytes.and_then(|it| it.try_into().ok()).map(Self)
    }

    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut own = [0; 32];
        own.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(own)
    }

    /// As webhooks have it.
    #[must_use]
    pub fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }
}

impl fmt::Display for SoundDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SoundDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A sound that Meta keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSound {
    /// Meta's id of it.
    pub id: String,
    /// What it must be, if Meta said so.
    pub digest: Option<SoundDigest>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the example of one block.
    #[test]
    fn a_digest_is_read_in_both_of_metas_forms() {
        let hexadecimal = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let own = SoundDigest::of(b"abc");
        assert_eq!(own.to_string(), hexadecimal);
        assert_eq!(SoundDigest::parse(hexadecimal), Some(own));
        assert_eq!(own.base64(), "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=");
        assert_eq!(SoundDigest::parse(&own.base64()), Some(own));
        assert_ne!(SoundDigest::of(b"abd"), own);
        for wrong in ["", "ungW", &hexadecimal[..63], &hexadecimal.replace('b', "x")] {
            assert_eq!(SoundDigest::parse(wrong), None, "{wrong}");
        }
    }
}
