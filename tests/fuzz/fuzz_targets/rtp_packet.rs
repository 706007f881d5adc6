//! Any datagram as RTP and as a telephone event.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordboard::rtp::fuzz::packet(bytes));
