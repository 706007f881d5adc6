//! Two ICE agents between which datagrams are changed, lost, doubled, delayed and invented.
#![no_main]

use std::sync::{Arc, OnceLock};

use cordboard::media::dtls::Identity;

/// Making a certificate is slow; one does for all.
fn identity() -> &'static Arc<Identity> {
    static IDENTITY: OnceLock<Arc<Identity>> = OnceLock::new();
    IDENTITY.get_or_init(|| Arc::new(Identity::generate().expect("a certificate")))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    cordboard::media::fuzz::stun(std::time::Instant::now(), identity(), bytes);
});
