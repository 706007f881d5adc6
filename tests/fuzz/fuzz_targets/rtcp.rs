//! Any datagram as compound RTCP.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordboard::rtp::fuzz::rtcp(bytes));
