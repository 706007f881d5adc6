//! Any datagram as RTCP, extended reports included: reading, writing and reading again agree.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cordboard::rtp::fuzz::rtcp(bytes));
