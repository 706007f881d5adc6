//! Any datagram as a SIP message: reading, printing and reading again agree.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordboard::sip::fuzz::message(bytes));
