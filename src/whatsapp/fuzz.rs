//! Body of the fuzz target for webhooks; the same code replays its seeds in the tests.

use super::print::print;
use super::webhook::{parse, verify};
use crate::time::Wall;

/// Reads any body as a webhook and any text as its signature.
///
/// # Panics
/// If an event is lost or changed on its way through the inbox, which keeps it printed.
pub fn webhook(bytes: &[u8]) {
    let _ = verify(b"secret", bytes, &String::from_utf8_lossy(bytes));
    let received = Wall(1_790_000_000_000);
    let Ok(batch) = parse(bytes, received) else { return };
    for event in batch.events.iter().filter(|event| event.key().is_some()) {
        let again = parse(print(event).as_bytes(), received).expect("a printed event can be read");
        assert_eq!(again.events, std::slice::from_ref(event), "reading after printing is the identity");
    }
}
