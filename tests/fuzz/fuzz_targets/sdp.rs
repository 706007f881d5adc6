//! Any text as a session description of Meta, of a phone's offer and of a phone's answer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordboard::sdp::fuzz::description(bytes));
