//! Any body as a webhook, and any header as its signature.
#![no_main]

use cordboard::time::Wall;
use cordboard::whatsapp::webhook::{parse, verify};

libfuzzer_sys::fuzz_target!(|input: (&str, &[u8])| {
    let (header, body) = input;
    let _ = verify(b"secret", body, header);
    let _ = parse(body, Wall(0));
});
