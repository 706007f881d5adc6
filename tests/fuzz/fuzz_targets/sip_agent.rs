//! Any datagrams at a user agent with a phone and a trunk.
#![no_main]

use cordboard::io::signalling::now;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordboard::sip::fuzz::agent(now(), bytes));
