//! Stories of a bridge: keys as tones, clips, holds with audio, silence, in virtual time.

use std::time::Duration;

use super::detector::Detector;
use super::stories::{KEYS, keys, press};
use super::tone::{KeyTone, Signal, Tone};
use super::world::*;
use super::*;
use crate::codec::{G711, level_dbov};
use crate::rtp::{Event, PayloadType, TelephoneEvent};

/// A phone that does not know RFC 4733.
fn deaf_sdp() -> String {
    "v=0\r\no=- 1 1 IN IP4 10.0.0.7\r\ns=-\r\nc=IN IP4 10.0.0.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n\
     a=rtpmap:0 PCMU/8000\r\na=sendrecv\r\n"
        .to_owned()
}

fn deaf(seed: u64) -> World {
    World::opened(seed, None, &deaf_sdp()).answered()
}

/// The phone sends `on` ms of a key's tone and `off` ms of silence in its speech, 20 ms a packet.
fn dial(world: &mut World, key: char, on: usize, off: usize) {
    let mut samples = vec![0; (on + off).next_multiple_of(20) * 8];
    let mut tone = KeyTone::new(8000);
    tone.press(Event::from_digit(key).unwrap(), 10);
    tone.fill(&mut samples[..on * 8]);
    tone.release();
    tone.fill(&mut samples[on * 8..]);
    for packet in samples.chunks(160) {
        let mut codes = [0; 160];
        G711::MuLaw.encode(packet, &mut codes);
        world.phone_sends(&codes, 160);
        world.run(millis(20));
    }
}

/// Keys that can be heard, with their lengths in ms.
fn audible(samples: &[i16]) -> Vec<(char, u16)> {
    let mut detector = Detector::new(8000);
    let mut heard = Vec::new();
    for frame in samples.to_vec().chunks_mut(160) {
        detector.hear(frame, |_, report| {
            if report.end {
                heard.push((report.event.digit(), report.duration / 8));
            }
        });
    }
    heard
}

/// A second of an even tone.
fn hum() -> Clip {
    Clip::of(&Tone::read("300+450/0").unwrap())
}

fn said(keys: &[(char, crate::rtp::RtpTime, Vec<TelephoneEvent>)]) -> String {
    keys.iter().map(|it| it.0).collect()
}

#[test]
fn rule_18_tones_of_a_phone_that_cannot_report_keys_become_reports_and_are_not_heard() {
    for seed in 0..8 {
        let mut world = deaf(seed);
        world.run(millis(100 + seed * 3));
        for (key, on) in "0123456789*#ABCD".chars().zip([60, 100, 45, 250].into_iter().cycle()) {
            dial(&mut world, key, on, 75);
        }
        world.run(millis(500));
        let keys = keys(&world.user_heard, KEYS);
        assert_eq!(said(&keys), "0123456789*#ABCD", "seed {seed}");
        for ((key, _, reports), on) in keys.iter().zip([60, 100, 45, 250_u16].into_iter().cycle()) {
            assert_eq!(reports.iter().filter(|it| it.end).count(), 3);
            let duration = reports.last().unwrap().duration / 8;
            assert!(duration.abs_diff(on) <= 16, "{key}: {duration} ms of {on}");
            assert!((5..16).contains(&reports[0].volume), "{key}: -{} dBm0", reports[0].volume);
        }
        assert_eq!(audible(&decode_opus(&world.user_heard)), []);
        assert_unbroken(&world.user_heard, millis(31), millis(75));
        assert_eq!(world.bridge.summary().to_meta.digits, 16);
    }
}

#[test]
fn rule_18_speech_of_a_phone_that_cannot_report_keys_reaches_the_user_whole() {
    let mut world = deaf(1);
    world.phone.speaking = true;
    world.run(millis(5000));
    assert!(keys(&world.user_heard, KEYS).is_empty());
    let from = world.user_heard.len() - 200;
    assert!(level_dbov(&decode_opus(&world.user_heard[from..])) > -30.0);
}

#[test]
fn rule_18_the_users_keys_are_tones_for_a_phone_that_takes_no_reports() {
    for seed in 0..8 {
        let mut world = deaf(seed);
        world.user_voice.speaking = true;
        world.run(millis(500));
        for key in "190#".chars() {
            press(&mut world, key, 5, 30, true);
        }
        press(&mut world, 'D', 50, 30, true);
        world.run(millis(1000));
        let heard = decode_g711(&world.phone_heard);
        let keys = audible(&heard);
        assert_eq!(keys.iter().map(|it| it.0).collect::<String>(), "190#D", "seed {seed}");
        assert!(keys[..4].iter().all(|it| (70..330).contains(&it.1)), "{keys:?}");
        assert!((900..1150).contains(&keys[4].1), "{keys:?}");
        assert!(world.phone_heard.iter().all(|it| it.header.payload_type == PayloadType(0)));
        assert!(world.phone_heard.windows(2).all(|it| it[1].header.seq == it[0].header.seq.next()));
        assert!(level_dbov(&heard[heard.len() - 4000..]) > -30.0, "the user is heard again");
    }
}

#[test]
fn rule_18_a_tone_that_leaks_beside_its_reports_is_not_heard() {
    let mut world = World::up(3);
    // The first key tells that the phone reports keys.
    press(&mut world, '1', 5, 0, false);
    for key in "258".chars() {
        dial(&mut world, key, 20, 0);
        press(&mut world, key, 5, 0, false);
        dial(&mut world, key, 60, 100);
    }
    world.run(millis(500));
    assert_eq!(said(&keys(&world.user_heard, KEYS)), "1258");
    let heard = decode_opus(&world.user_heard);
    assert_eq!(audible(&heard), []);
    let loud = heard.chunks(160).filter(|it| level_dbov(it) > -35.0).count();
    assert!(loud <= 6, "{loud} frames with something of a tone");
}

#[test]
fn rule_18_keys_of_every_shape_come_out_once_with_a_third_of_their_reports_lost() {
    for (steps, by_user) in [(2, false), (2, true), (30, false), (30, true), (150, false), (150, true)] {
        for seed in 0..6 {
            let mut world = World::up(seed);
            let (speaker, listener) = (&mut world.phone, KEYS);
            speaker.speaking = !by_user;
            world.user_voice.speaking = by_user;
            world.run(millis(300));
            press(&mut world, '4', steps, 30, by_user);
            press(&mut world, '4', steps, 30, by_user);
            world.run(millis(600));
            let keys = if by_user {
                keys(&world.phone_heard, PayloadType(101))
            } else {
                keys(&world.user_heard, listener)
            };
            assert_eq!(said(&keys), "44", "{steps} steps, seed {seed}");
            for (_, _, reports) in &keys {
                assert_eq!(reports.iter().filter(|it| it.end).count(), 3);
                assert!(reports.windows(2).all(|it| it[1].duration >= it[0].duration));
                let duration = i32::from(reports.last().unwrap().duration);
                let pressed = (i32::from(steps) * 160).max(320);
                assert!((duration - pressed).abs() <= 960, "{duration} ticks of {pressed}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_clip_is_heard_by_the_user_in_the_place_of_the_phone_and_its_end_is_told() {
    let mut world = World::up(4);
    world.phone.speaking = true;
    world.run(millis(1000));
    let (from, at) = (world.user_heard.len(), world.elapsed());
    world.order(Order::Play { towards: Side::Meta, clip: hum(), repeat: Repeat::Times(2) });
    world.run(millis(3500));
    let ended = world.told(&Report::Played { towards: Side::Meta }).unwrap();
    assert!((millis(1940)..millis(2060)).contains(&(ended - at)), "{:?}", ended - at);
    let heard = decode_opus(&world.user_heard[from + 10..]);
    let clip = [hum().samples(8000), hum().samples(8000)].concat();
    let (_, like) = likeness(&clip[1600..9600], &heard, 3000);
    assert!(like > 0.9, "{like}");
    assert!(level_dbov(&decode_opus(&world.user_heard[from + 110..])) > -30.0, "then the phone again");
    assert_unbroken(&world.user_heard, millis(31), millis(75));
}

#[test]
fn a_clip_is_heard_by_the_phone_every_twenty_milliseconds_whatever_the_user_sends() {
    for speaking in [true, false] {
        let mut world = World::up(5);
        world.user_voice.speaking = speaking;
        world.run(millis(1007));
        let (from, at) = (world.phone_heard.len(), world.elapsed());
        world.order(Order::Play { towards: Side::Phone, clip: hum(), repeat: Repeat::Once });
        world.run(millis(990));
        let playing = &world.phone_heard[from..];
        assert_eq!(playing.len(), 50);
        assert!(playing.windows(2).all(|it| it[1].at - it[0].at == millis(20)
            && it[1].header.timestamp.since(it[0].header.timestamp) == 160));
        let (_, like) = likeness(&hum().samples(8000)[..7000], &decode_g711(playing), 10);
        assert!(like > 0.99, "{like}");
        world.user_voice.speaking = true;
        world.run(millis(1000));
        let ended = world.told(&Report::Played { towards: Side::Phone }).unwrap();
        assert!((millis(980)..millis(1030)).contains(&(ended - at)));
        let heard = &world.phone_heard;
        assert!(heard.windows(2).all(|it| it[1].header.seq == it[0].header.seq.next()));
        assert!(heard.windows(2).all(|it| it[1].header.timestamp.since(it[0].header.timestamp) >= 160));
        let media = i64::from(heard.last().unwrap().header.timestamp.since(heard[from].header.timestamp)) / 8;
        let elapsed = (heard.last().unwrap().at - heard[from].at).as_millis() as i64;
        assert!((media - elapsed).abs() <= 41, "{media} ms of sound in {elapsed} ms");
        assert!(level_dbov(&decode_g711(&heard[heard.len() - 40..])) > -30.0, "the user is heard again");
    }
}

#[test]
fn rule_11_nothing_that_is_played_stopped_held_or_resumed_breaks_the_line() {
    for seed in 0..12 {
        let mut world = World::opened(seed, Some(hum()), &phone_sdp("sendrecv", 20)).answered();
        let mut random = crate::random::Random::from_number(seed);
        world.user_voice.speaking = true;
        for _ in 0..60 {
            match random.below(8) {
                0 => world.order(Order::Play { towards: Side::Meta, clip: hum(), repeat: Repeat::Once }),
                1 => world.order(Order::Play { towards: Side::Phone, clip: hum(), repeat: Repeat::Forever }),
                2 => world.order(Order::StopPlaying { towards: Side::Meta }),
                3 => world.order(Order::StopPlaying { towards: Side::Phone }),
                4 => {
                    let word = ["sendonly", "inactive", "recvonly"][random.below(3) as usize];
                    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp(word, 20)) });
                }
                5 => press(&mut world, '5', 4, 0, false),
                6 => world.phone.speaking = !world.phone.speaking,
                _ => world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp("sendrecv", 20)) }),
            }
            world.run(millis(random.below(900).into()));
        }
        assert_unbroken(&world.user_heard, millis(31), millis(75));
        let heard = &world.phone_heard;
        assert!(heard.windows(2).all(|it| it[1].header.seq == it[0].header.seq.next()));
        for pair in heard.windows(2) {
            let step = pair[1].header.timestamp.since(pair[0].header.timestamp);
            let span = (pair[1].at - pair[0].at).as_millis() as i32 * 8;
            assert!(step >= 0 && (step - span).abs() <= 640, "{step} ticks in {span}, seed {seed}");
        }
    }
}

fn hold(world: &mut World, word: &str) {
    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp(word, 20)) });
}

/// The level of what the user heard in the last `span`.
fn level_of_last(world: &World, frames: usize) -> f32 {
    let from = world.user_heard.len() - frames;
    level_dbov(&decode_opus(&world.user_heard[from..])[800..])
}

#[test]
fn rule_16_our_hold_audio_begins_after_half_a_second_without_any_and_ends_at_once() {
    for word in ["sendonly", "inactive"] {
        let mut world = World::opened(6, Some(hum()), &phone_sdp("sendrecv", 20)).answered();
        world.phone.speaking = true;
        world.run(millis(1000));
        hold(&mut world, word);
        world.phone.speaking = false;
        world.run(millis(480));
        assert!(level_of_last(&world, 15) < -45.0, "{word}: comfort until then");
        world.run(millis(1000));
        assert!(level_of_last(&world, 40) > -30.0, "{word}: the hum");
        hold(&mut world, "sendrecv");
        world.run(millis(400));
        assert!(level_of_last(&world, 15) < -45.0, "{word}: nobody speaks yet");
        assert_unbroken(&world.user_heard, millis(31), millis(75));
    }
}

#[test]
fn rule_16_music_of_the_pbx_wins_over_ours_also_when_it_comes_late() {
    let mut world = World::opened(7, Some(hum()), &phone_sdp("sendrecv", 20)).answered();
    hold(&mut world, "sendonly");
    world.run(millis(1500));
    assert!(level_of_last(&world, 30) > -30.0);
    // The PBX sends silence: whatever it sends is what it wants to be heard.
    for _ in 0..100 {
        world.phone_sends(&[0xff; 160], 160);
        world.run(millis(20));
    }
    assert!(level_of_last(&world, 60) < -45.0);
    world.run(millis(1000));
    assert!(level_of_last(&world, 30) < -45.0, "a pause in its music is its own");
    world.run(millis(5000));
    assert!(level_of_last(&world, 30) > -30.0);
    assert_unbroken(&world.user_heard, millis(31), millis(75));
}

#[test]
fn a_phone_that_only_mutes_itself_gets_no_hold_audio() {
    let mut world = World::opened(8, Some(hum()), &phone_sdp("sendrecv", 20)).answered();
    hold(&mut world, "recvonly");
    world.run(millis(2000));
    assert!(level_of_last(&world, 60) < -45.0);
}

#[test]
fn comfort_noise_of_the_phone_sets_the_level_of_its_pauses() {
    for level in [45_u8, 65] {
        let mut world = World::up(9);
        world.phone.speaking = true;
        world.run(millis(1000));
        world.phone.speaking = false;
        let speech_type = std::mem::replace(&mut world.phone.header.payload_type, PayloadType(13));
        world.phone_sends(&[level], 160);
        world.phone.header.payload_type = speech_type;
        world.phone.header.timestamp = world.phone.header.timestamp.plus(8000 - 160);
        world.run(millis(1000));
        let heard = level_of_last(&world, 30);
        assert!((heard + f32::from(level)).abs() < 4.0, "{heard} for -{level}");
        world.phone.speaking = true;
        world.run(millis(500));
        assert!(level_of_last(&world, 20) > -30.0);
        assert_unbroken(&world.user_heard, millis(31), millis(75));
        assert_eq!(world.bridge.summary().to_meta.refused, 0);
    }
}

/// A re-INVITE of a phone that knows comfort noise.
fn offer_with_comfort() -> String {
    phone_sdp("sendrecv", 20).replace("RTP/AVP 0 101", "RTP/AVP 0 101 13")
}

#[test]
fn pauses_of_the_user_are_told_to_a_phone_that_knows_comfort_noise() {
    for knows in [true, false] {
        let mut world = World::up(10);
        let offer = if knows { offer_with_comfort() } else { phone_sdp("sendrecv", 20) };
        world.order(Order::AnswerPhoneReoffer { sdp: Some(offer) });
        let answer = world.reports.iter().rev().find_map(|(_, it)| match it {
            Report::PhoneReofferAnswered { sdp } => Some(sdp.clone()),
            _ => None,
        });
        assert_eq!(answer.unwrap().contains("a=rtpmap:13 CN/8000"), knows);
        world.user_voice.speaking = true;
        world.run(millis(1000));
        world.user_voice.speaking = false;
        let from = world.phone_heard.len();
        // What libopus sends with DTX: a table of contents and nothing else, every 400 ms.
        for _ in 0..5 {
            world.user_sends(&[0x08], 19_200);
            world.run(millis(400));
        }
        let paused = world.phone_heard[from..].to_vec();
        let noise: Vec<_> = paused.iter().filter(|it| it.header.payload_type == PayloadType(13)).collect();
        assert_eq!(noise.is_empty(), !knows, "{paused:?}");
        if knows {
            assert!(noise.len() <= 3 && noise.iter().all(|it| it.payload.len() == 1));
            assert_eq!(noise.len(), paused.len(), "and nothing else");
        }
        world.user_voice.speaking = true;
        world.run(millis(500));
        let resumed = &world.phone_heard[from + paused.len()];
        assert!(resumed.header.marker && resumed.header.payload_type == PayloadType(0));
        let last = paused.last().unwrap();
        let step = resumed.header.timestamp.since(last.header.timestamp);
        let span = (resumed.at - last.at).as_millis() as i32 * 8;
        assert!((step - span).abs() <= 480, "{step} ticks in {span}");
    }
}

#[test]
fn rule_12_silence_is_coded_small_and_the_first_word_after_it_is_whole() {
    let mut world = World::up(11);
    world.phone.speaking = true;
    world.run(millis(1000));
    world.phone.speaking = false;
    world.run(Duration::from_secs(3));
    let silent = &world.user_heard[world.user_heard.len() - 100..];
    let bytes: usize = silent.iter().map(|it| it.payload.len()).sum();
    assert!(bytes < 100 * 24, "{bytes} bytes in 2 s");
    assert!(silent.windows(2).any(|it| it[0].payload != it[1].payload), "no canned frames");
    assert!(silent.windows(2).all(|it| it[1].at - it[0].at == millis(20)));
    world.phone.speaking = true;
    let from = world.user_heard.len();
    world.run(millis(2000));
    let speech = &world.user_heard[from..];
    assert!(speech[10..].iter().map(|it| it.payload.len()).sum::<usize>() > (speech.len() - 10) * 35);
    assert_unbroken(&world.user_heard, millis(31), millis(75));
}

#[test]
fn ringback_of_a_country_reaches_a_dialling_phone_before_anybody_answers() {
    let mut world = World::new(12);
    world.run(millis(500));
    let clip = Clip::of(&Tone::of(Signal::Ringback, "GB"));
    world.order(Order::Play { towards: Side::Phone, clip, repeat: Repeat::Forever });
    world.run(millis(5990));
    let heard = decode_g711(&world.phone_heard);
    assert_eq!(heard.len() / 160, 300);
    let loud: Vec<bool> = heard.chunks(800).map(|it| level_dbov(it) > -30.0).collect();
    assert_eq!(loud[..10], [true, true, true, true, false, false, true, true, true, true]);
    assert!(loud[10..30].iter().all(|it| !it) && loud[30]);
    assert!(world.user_heard.is_empty());
}
