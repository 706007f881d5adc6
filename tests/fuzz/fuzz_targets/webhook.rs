//! Any body as a webhook: what is understood survives the inbox.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordboard::whatsapp::fuzz::webhook(bytes));
