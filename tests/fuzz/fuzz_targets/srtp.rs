//! A peer's packets, changed or invented, at the receiving end of each SRTP profile.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordboard::media::fuzz::srtp(bytes));
