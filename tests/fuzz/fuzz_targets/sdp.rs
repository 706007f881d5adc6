//! Any text as a session description of Meta, of a phone's offer and of a phone's answer.
#![no_main]

use cordboard::sdp::audio::{AudioCodec, LocalAudio, answer_offer, read_answer};
use cordboard::sdp::session::Session;
use cordboard::sdp::webrtc::read_webrtc;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let local = LocalAudio {
        session_id: 1,
        version: 1,
        rtp: ([10, 0, 0, 1], 30_000).into(),
        rtcp: ([10, 0, 0, 1], 30_001).into(),
        codecs: vec![AudioCodec::Pcmu, AudioCodec::Pcma],
        voip_metrics: true,
        codecs: AudioCodec::ALL.to_vec(),
        opus_bitrate: 20_000,
    };
    let _ = Session::parse(text);
    let _ = read_webrtc(text);
    let _ = read_answer(&local, text);
    if let Ok((answer, _)) = answer_offer(&local, text) {
        Session::parse(&answer).expect("our answer can be read");
    }
});
