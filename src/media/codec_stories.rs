//! Stories of a bridge with every codec of the phone: sound, delay, continuity, switches, packet lengths.

use super::world::*;
use super::*;
use crate::codec::{
    AudioCodec, EncoderSettings, OpusDecoder, SampleRate, SpeechDecoder, SpeechEncoder, level_dbov,
};
use crate::random::Random;
use crate::rtp::{Event, PayloadType, RtpTime, SeqNo, TelephoneEvent};

/// Delay and likeness of speech that went through libopus and nothing else.
fn best(said: &[i16], expected_loss: u8, codec: AudioCodec) -> (usize, f32) {
    let alone = libopus_alone_at(said, expected_loss, codec.rate());
    likeness(said, &alone, codec.rate().samples(100))
}

/// The same through the phone's codec in packets of `ptime` and libopus behind it.
fn best_of_both(said: &[i16], codec: AudioCodec, ptime: usize) -> (usize, f32) {
    let mut encoder = SpeechEncoder::new(codec, &EncoderSettings::default()).unwrap();
    let (mut decoder, mut payload, mut samples) = (SpeechDecoder::new(codec).unwrap(), [0; 500], [0; 2000]);
    let mut heard = Vec::new();
    for frame in said.chunks_exact(codec.rate().samples(ptime)) {
        let length = encoder.encode(frame, &mut payload).unwrap();
        let count = decoder.decode(&payload[..length], &mut samples).unwrap();
        heard.extend(&samples[..count]);
    }
    let alone = libopus_alone_at(&heard, 5, codec.rate());
    likeness(said, &alone, codec.rate().samples(100))
}

#[test]
fn each_codec_of_the_phone_reaches_the_user_with_level_and_no_delay_but_the_codecs_own() {
    for codec in AudioCodec::ALL {
        let mut world = World::up_with(1, codec, 20);
        world.phone.speaking = true;
        world.run(millis(40));
        let (heard_from, said_from) = (world.user_heard.len(), world.phone.sample);
        world.run(millis(5000));
        let rate = codec.rate();
        let end = said_from + rate.samples(4000);
        let said: Vec<i16> = (said_from..end).map(|at| speech_at(at, rate)).collect();
        let heard = decode_opus_at(&world.user_heard[heard_from..], rate);
        let (delay, like) = likeness(&said, &heard, rate.samples(100));
        let (least, best) = best(&said, 5, codec);
        // G.722's filters take 22 samples.
        assert!(delay <= least + 2 + if codec == AudioCodec::G722 { 22 } else { 0 }, "{codec:?}: {delay}");
        assert!(like > best - 0.04, "{codec:?}: {like}, libopus alone {best}");
        let (half, most) = (rate.samples(1000), rate.samples(3800));
        let level = level_dbov(&heard[half..most]) - level_dbov(&said[half..most]);
        assert!(level.abs() < 2.5, "{codec:?}: {level} dB");
        assert_unbroken(&world.user_heard, millis(20), millis(20));
        let figures = world.bridge.summary().to_meta;
        assert_eq!((figures.lost, figures.late, figures.skipped, figures.refused), (0, 0, 0, 0));
        assert_eq!(figures.passed > 200, codec == AudioCodec::Opus, "{codec:?}: {figures:?}");
    }
}

#[test]
fn opus_of_a_phone_without_telephone_events_is_passed_on_and_not_searched_for_keys() {
    let mut world = World::up_without_events(1);
    world.phone.speaking = true;
    world.run(millis(4000));
    let figures = world.bridge.summary().to_meta;
    assert!(figures.passed > 180, "{figures:?}");
}

#[test]
fn the_user_reaches_each_codec_of_the_phone_with_level_and_the_senders_timing() {
    for codec in AudioCodec::ALL {
        let mut world = World::up_with(2, codec, 20);
        world.user_voice.speaking = true;
        world.run(millis(5000));
        let rate = codec.rate();
        let said_from = world.user_voice.sample - rate.samples(5000);
        let said: Vec<i16> =
            (said_from..said_from + rate.samples(4000)).map(|at| speech_at(at, rate)).collect();
        let heard = decode_phone(&world.phone_heard, codec);
        let (delay, like) = likeness(&said, &heard, rate.samples(100));
        let (least, best) = best(&said, 10, codec);
        assert!(delay <= least + 2 + if codec == AudioCodec::G722 { 22 } else { 0 }, "{codec:?}: {delay}");
        assert!(like > best - 0.04, "{codec:?}: {like}, libopus alone {best}");
        for pair in world.phone_heard.windows(2) {
            assert_eq!(pair[1].header.timestamp.since(pair[0].header.timestamp) as u32, codec.clock() / 50);
            assert_eq!(pair[1].header.seq, pair[0].header.seq.next());
            assert_eq!(pair[1].at - pair[0].at, millis(20));
        }
        assert!(world.told(&Report::UserSpoke).is_some(), "{codec:?}: rule 7 holds undecoded too");
        let figures = world.bridge.summary().to_phone;
        assert_eq!(figures.passed > 200, codec == AudioCodec::Opus, "{codec:?}: {figures:?}");
        let codecs = world.bridge.summary().codecs;
        assert!(codecs.contains(&format!("{}/{} 20 ms", codec.name(), codec.clock())), "{codecs}");
    }
}

#[test]
fn wide_band_speech_keeps_what_lies_above_four_kilohertz() {
    for codec in [AudioCodec::G722, AudioCodec::Opus] {
        let mut world = World::up_with(3, codec, 20);
        // A hiss between 5 and 7 kHz.
        let tone = |at: usize| {
            let t = at as f32 / 16_000.0;
            let voices = [5100.0_f32, 5700.0, 6300.0].map(|hz| (t * hz * std::f32::consts::TAU).sin());
            (voices.iter().sum::<f32>() * 2500.0) as i16
        };
        for n in 0..100 {
            let frame: Vec<i16> = (n * 320..n * 320 + 320).map(tone).collect();
            let mut payload = [0; 400];
            let length = world.phone_encoder.encode(&frame, &mut payload).unwrap();
            world.phone_sends(&payload[..length], codec.ticks(320));
            world.run(millis(20));
        }
        let heard = decode_opus_at(&world.user_heard, SampleRate::Wide);
        assert!(level_dbov(&heard[heard.len() - 16_000..]) > -40.0, "{codec:?}");
    }
}

#[test]
fn rule_11_phones_of_any_packet_length_and_codec_become_an_even_line() {
    for codec in [AudioCodec::Pcma, AudioCodec::G722, AudioCodec::Opus] {
        for ptime in [10, 20, 30, 40, 60] {
            if codec == AudioCodec::Opus && ptime == 30 {
                continue;
            }
            let mut world = World::up_with(9, codec, ptime);
            world.phone.speaking = true;
            world.run(millis(1300));
            let (heard_from, said_from) = (world.user_heard.len(), world.phone.sample);
            world.run(millis(3000));
            assert_unbroken(&world.user_heard, millis(30), millis(60));
            let figures = world.bridge.summary().to_meta;
            assert!(
                figures.concealed + figures.late + figures.skipped <= 4,
                "{codec:?} {ptime}: {figures:?}"
            );
            let rate = codec.rate();
            let said: Vec<i16> =
                (said_from..said_from + rate.samples(2000)).map(|at| speech_at(at, rate)).collect();
            let heard = decode_opus_at(&world.user_heard[heard_from..], rate);
            let (_, like) = likeness(&said, &heard, rate.samples(150));
            let (_, best) = best_of_both(&said, codec, ptime);
            assert!(like > best - 0.08, "{codec:?} {ptime}: {like}, libopus alone {best}");
            let bunched = world.user_heard[heard_from..].windows(2).filter(|it| it[1].at == it[0].at).count();
            assert!(bunched <= 2, "{codec:?} {ptime}: {bunched}");
        }
    }
}

#[test]
fn the_phone_gets_the_packet_length_that_it_asked_for_and_never_a_burst() {
    for codec in AudioCodec::ALL {
        for ptime in [10, 20, 30, 40, 60] {
            let mut world = World::up_with(4, codec, ptime);
            world.user_voice.speaking = true;
            world.run(millis(4000));
            let length = if codec == AudioCodec::Opus && ptime == 30 { 20 } else { ptime as u64 };
            let heard = &world.phone_heard;
            assert!(heard.len() as u64 >= 3800 / length, "{codec:?} {ptime}: {}", heard.len());
            for pair in heard.windows(2) {
                let step = pair[1].header.timestamp.since(pair[0].header.timestamp) as u64;
                assert_eq!(step, u64::from(codec.clock()) / 1000 * length, "{codec:?} {ptime}");
                let apart = pair[1].at - pair[0].at;
                assert!(apart >= millis(length / 2), "{codec:?} {ptime}: {apart:?}");
            }
            let level = level_dbov(&decode_phone(heard, codec));
            assert!((-27.0..-10.0).contains(&level), "{codec:?} {ptime}: {level}");
        }
    }
}

#[test]
fn rule_13_of_a_burst_of_the_user_the_newest_leave_apart_and_none_waits_long() {
    for codec in AudioCodec::ALL {
        let mut world = World::up_with(5, codec, 20);
        world.user_voice.speaking = true;
        world.run(millis(1000));
        let frame = vec![0; codec.rate().frame()];
        let mut packet = [0; 400];
        world.user_voice.speaking = false;
        world.run(millis(200));
        let (from, burst) = (world.phone_heard.len(), world.elapsed());
        for _ in 0..10 {
            let length = world.encoder.encode(&frame, &mut packet).unwrap();
            world.user_sends(&packet[..length], 960);
        }
        world.run(millis(18));
        let heard = &world.phone_heard[from..];
        assert_eq!(heard.len(), 10, "{codec:?}");
        for pair in heard[6..].windows(2) {
            assert!(pair[1].at - pair[0].at >= millis(5), "{codec:?} at {:?}", pair[1].at);
        }
        assert!(heard[9].at <= burst + millis(17), "{codec:?}: {:?}", heard[9].at);
        for pair in world.phone_heard.windows(2) {
            assert_eq!(pair[1].header.seq, pair[0].header.seq.next());
        }
        assert_eq!(world.bridge.summary().to_phone.lost, 0);
    }
}

#[test]
fn rule_11_any_change_of_codec_keeps_sequence_and_elapsed_time_towards_the_user() {
    for seed in 0..16 {
        let mut world = World::up(seed);
        let mut random = Random::from_number(seed);
        world.phone.speaking = true;
        world.user_voice.speaking = true;
        for _ in 0..8 {
            world.run(millis(u64::from(200 + random.below(900))));
            world.phone_path.loss_percent = random.below(4) * 3;
            world.phone_path.jitter_ms = random.below(2) * 15;
            world.phone.speaking = random.below(5) > 0;
            world.change_codec(AudioCodec::ALL[random.below(4) as usize]);
        }
        world.phone.speaking = true;
        world.phone_path = Path::default();
        world.run(millis(1500));
        assert_unbroken(&world.user_heard, millis(31), millis(75));
        let heard = decode_opus(&world.user_heard);
        let level = level_dbov(&heard[heard.len() - 8000..]);
        assert!(level > -27.0, "seed {seed}: the agent is heard after all of it: {level}");
        let phone = &world.phone_heard;
        let sources: Vec<_> = phone.chunk_by(|a, b| a.header.ssrc == b.header.ssrc).collect();
        for piece in sources {
            assert!(piece.windows(2).all(|it| it[1].header.seq == it[0].header.seq.next()), "seed {seed}");
        }
    }
}

#[test]
fn another_rtp_clock_means_another_source_towards_the_phone_and_the_same_clock_does_not() {
    let mut world = World::up(14);
    world.user_voice.speaking = true;
    let mut sources = Vec::new();
    for codec in [AudioCodec::Pcmu, AudioCodec::G722, AudioCodec::Opus, AudioCodec::Pcma] {
        if codec != world.codec {
            world.change_codec(codec);
        }
        world.run(millis(500));
        let heard = world.phone_heard.last().unwrap();
        assert_eq!(heard.header.payload_type, payload_type(codec));
        sources.push(heard.header.ssrc);
    }
    assert_eq!(sources[0], sources[1], "8000 Hz both (RFC 3551 section 4.5.2)");
    assert!(sources[1] != sources[2] && sources[2] != sources[3], "RFC 7160 section 4.1");
}

/// The steepest step between neighbouring samples of the middle of `heard`, against that of `said`.
fn clicks(heard: &[i16], said: &[i16]) -> f32 {
    let steepest = |samples: &[i16]| {
        samples.windows(2).map(|it| (i32::from(it[1]) - i32::from(it[0])).abs()).max().unwrap_or(0) as f32
    };
    steepest(heard) / steepest(said)
}

#[test]
fn rule_12_stereo_and_other_lengths_are_coded_anew_and_the_line_goes_on_without_a_click() {
    let mut world = World::up_with(6, AudioCodec::Opus, 20);
    world.phone.speaking = true;
    world.run(millis(2000));
    let passed = world.bridge.summary().to_meta.passed;
    assert!(passed > 50, "{passed}");
    world.ptime = 40;
    world.run(millis(2000));
    assert!(world.bridge.summary().to_meta.passed <= passed + 3, "40 ms do not pass");
    world.ptime = 20;
    world.run(millis(2000));
    assert!(world.bridge.summary().to_meta.passed > passed + 50, "20 ms pass again");
    assert_unbroken(&world.user_heard, millis(30), millis(60));
    let heard = decode_opus_at(&world.user_heard, SampleRate::Wide);
    let said: Vec<i16> = (0..world.phone.sample).map(|at| speech_at(at, SampleRate::Wide)).collect();
    assert!(clicks(&heard, &said) < 1.6, "{}", clicks(&heard, &said));
}

#[test]
fn rule_12_a_phone_that_sends_more_than_it_was_asked_for_is_coded_anew() {
    let mut world = World::up_with(7, AudioCodec::Opus, 20);
    let loud = EncoderSettings { bitrate: 60_000, ..Default::default() };
    world.phone_encoder = SpeechEncoder::new(AudioCodec::Opus, &loud).unwrap();
    world.phone.speaking = true;
    world.run(millis(5000));
    let bytes: usize = world.user_heard[150..].iter().map(|it| it.payload.len()).sum();
    let bitrate = bytes * 400 / (world.user_heard.len() - 150);
    assert!(bitrate < 25_000, "{bitrate} bits a second");
    assert_unbroken(&world.user_heard, millis(30), millis(60));
}

#[test]
fn after_pass_through_a_silence_fades_from_what_was_said_into_noise_by_the_encoder() {
    let mut world = World::up_with(8, AudioCodec::Opus, 20);
    world.phone.speaking = true;
    // Into the middle of a syllable.
    world.run(millis(2420));
    assert!(world.bridge.summary().to_meta.passed > 50);
    let from = world.user_heard.len();
    world.phone.speaking = false;
    world.run(millis(1000));
    assert_unbroken(&world.user_heard, millis(20), millis(60));
    let heard = decode_opus_at(&world.user_heard, SampleRate::Wide);
    let frame = |at: usize| level_dbov(&heard[at * 320..at * 320 + 320]);
    let levels: Vec<f32> = (from - 2..from + 8).map(frame).collect();
    // Speech, its fading repetition, then the room; each step down is gentle enough to be no click.
    assert!(levels[2] > levels[0] - 12.0, "what is invented first continues the speech: {levels:?}");
    assert!(levels.last().is_some_and(|it| *it < -50.0), "{levels:?}");
    let said: Vec<i16> = (0..world.phone.sample).map(|at| speech_at(at, SampleRate::Wide)).collect();
    assert!(clicks(&heard, &said) < 1.6, "{}", clicks(&heard, &said));
    assert!(world.user_heard[from..].iter().all(|it| it.payload.len() > 3), "rule 12: real encoder output");
}

#[test]
fn lost_opus_of_the_phone_leaves_holes_that_the_users_own_redundancy_fills() {
    let mut world = World::up_with(9, AudioCodec::Opus, 20);
    let careful = EncoderSettings { expected_loss: 20, ..Default::default() };
    world.phone_encoder = SpeechEncoder::new(AudioCodec::Opus, &careful).unwrap();
    world.phone_path = Path { loss_percent: 6, duplicate_percent: 3, jitter_ms: 12 };
    world.phone.speaking = true;
    world.run(millis(8000));
    assert_unbroken(&world.user_heard, millis(31), millis(75));
    let figures = world.bridge.summary().to_meta;
    assert!(figures.passed > 200 && figures.lost > 10, "{figures:?}");
    let holes = world.user_heard.windows(2).filter(|it| {
        it[1].header.timestamp.since(it[0].header.timestamp) == 1920
            && OpusDecoder::has_redundancy(&it[1].payload)
    });
    let count = holes.count();
    assert!(count > 5, "{count} {figures:?}");
}

#[test]
fn lost_opus_of_the_user_stays_lost_to_an_opus_phone_which_has_the_redundancy() {
    let mut world = World::up_with(10, AudioCodec::Opus, 20);
    world.user_path.loss_percent = 6;
    world.user_voice.speaking = true;
    world.run(millis(6000));
    // What comes last is not held back for one before it.
    world.user_path.loss_percent = 0;
    world.run(millis(100));
    let heard = &world.phone_heard;
    let mut holes = 0;
    for pair in heard.windows(2) {
        let (seq, time) = (
            i32::from(pair[1].header.seq.since(pair[0].header.seq)),
            pair[1].header.timestamp.since(pair[0].header.timestamp),
        );
        assert_eq!(time, seq * 960);
        holes += seq - 1;
    }
    assert_eq!(holes as u64, world.bridge.summary().to_phone.lost);
    assert!(holes > 5);
}

#[test]
fn who_needs_every_sample_gets_decoding_in_the_middle_of_a_call() {
    let mut world = World::up_with(11, AudioCodec::Opus, 20);
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(2000));
    world.bridge.set_passing(format::Passing::Forbidden);
    world.run(millis(100));
    let before = world.bridge.summary();
    world.run(millis(2000));
    let after = world.bridge.summary();
    assert_eq!(
        (after.to_meta.passed, after.to_phone.passed),
        (before.to_meta.passed, before.to_phone.passed)
    );
    assert_unbroken(&world.user_heard, millis(30), millis(60));
    assert!(level_dbov(&decode_opus(&world.user_heard)[20_000..]) > -27.0);
    assert!(level_dbov(&decode_phone(&world.phone_heard, AudioCodec::Opus)[40_000..]) > -27.0);
    assert!(world.phone_heard.windows(2).all(|it| it[1].header.seq == it[0].header.seq.next()));
}

#[test]
fn rule_18_keys_beside_opus_have_48_kilohertz_durations_both_ways_and_reach_meta_in_eighths() {
    let mut world = World::up_with(12, AudioCodec::Opus, 20);
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(1500));
    let event = Event::from_digit('5').unwrap();
    let start = (world.phone.header.timestamp, world.user_voice.header.timestamp);
    (world.phone.speaking, world.user_voice.speaking) = (false, false);
    for step in 1..=7_u16 {
        let duration = step.min(5);
        let report =
            |ticks: u16| TelephoneEvent { event, end: step >= 5, volume: 10, duration: duration * ticks };
        world.phone.header.payload_type = PayloadType(110);
        world.user_voice.header.payload_type = PayloadType(126);
        world.phone_sends(&report(960).to_bytes(), 0);
        world.user_sends(&report(160).to_bytes(), 0);
        world.run(millis(20));
    }
    world.phone.header.payload_type = PayloadType(111);
    world.user_voice.header.payload_type = PayloadType(111);
    world.phone.header.timestamp = start.0.plus(7 * 960);
    world.user_voice.header.timestamp = start.1.plus(7 * 960);
    (world.phone.speaking, world.user_voice.speaking) = (true, true);
    world.run(millis(1500));
    let last = |heard: &[Heard], number: u8| {
        let reports = heard.iter().filter(|it| it.header.payload_type == PayloadType(number));
        let all: Vec<_> = reports.map(|it| TelephoneEvent::parse(&it.payload).unwrap()).collect();
        assert_eq!(all.iter().filter(|it| it.end).count(), 3);
        all.last().unwrap().duration
    };
    assert_eq!(last(&world.user_heard, 126), 800, "100 ms at 8 kHz towards Meta");
    assert_eq!(last(&world.phone_heard, 110), 4800, "100 ms at 48 kHz towards the phone");
    assert_unbroken(&world.user_heard, millis(31), millis(75));
}

#[test]
fn a_sender_of_opus_that_starts_anew_or_runs_wrong_is_kept_in_the_line() {
    let mut world = World::up_with(13, AudioCodec::Opus, 20);
    world.phone.speaking = true;
    world.run(millis(2000));
    world.phone.header.seq = SeqNo(7);
    world.phone.header.timestamp = RtpTime(12_345);
    world.run(millis(1000));
    world.phone.header.timestamp = world.phone.header.timestamp.plus(1_000_000);
    world.run(millis(1000));
    assert_unbroken(&world.user_heard, millis(31), millis(75));
    let level = level_dbov(&decode_opus(&world.user_heard)[24_000..]);
    assert!(level > -27.0, "{level}");
}

#[test]
fn rule_11_a_phone_that_goes_over_to_another_codec_of_its_answer_is_understood_and_answered_in_that_one() {
    let answer = codec_sdp(AudioCodec::Pcmu, "sendrecv", 20)
        .replace("RTP/AVP 0 101", "RTP/AVP 0 9 101")
        .replace("a=rtpmap:101", "a=rtpmap:9 G722/8000\r\na=rtpmap:101");
    let mut world = World::opened(71, None, &answer).answered();
    (world.phone.speaking, world.user_voice.speaking) = (true, true);
    world.run(millis(2000));
    for codec in [AudioCodec::G722, AudioCodec::Pcmu] {
        world.change_voice(codec);
        world.run(millis(1000));
        let (from, to, said) = (world.user_heard.len(), world.phone_heard.len(), world.phone.sample);
        world.run(millis(3000));
        assert!(world.phone_heard[to..].iter().all(|it| it.header.payload_type == payload_type(codec)));
        let rate = codec.rate();
        let said: Vec<i16> = (said..said + rate.samples(2500)).map(|at| speech_at(at, rate)).collect();
        let heard = decode_opus_at(&world.user_heard[from..], rate);
        let (_, like) = likeness(&said, &heard, rate.samples(200));
        assert!(like > 0.8, "{codec:?}: {like}");
        let refused = world.bridge.summary().to_meta.refused;
        assert_eq!(refused, 0, "{codec:?}");
    }
    assert_unbroken(&world.user_heard, millis(40), millis(60));
}
