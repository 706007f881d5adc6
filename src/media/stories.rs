//! Stories of a bridge: speech, splices, gates, keys, holds, in virtual time.

use std::time::Duration;

use super::world::*;
use super::*;
use crate::codec::level_dbov;
use crate::rtp::{Event, PayloadType, RtpTime, SeqNo, Ssrc, TelephoneEvent, read_rtcp, write_report};

pub(super) const KEYS: PayloadType = PayloadType(126);

#[test]
fn speech_reaches_the_user_with_its_level_and_no_more_delay_than_the_encoder_has() {
    let mut world = World::up(1);
    world.phone.speaking = true;
    world.run(millis(40));
    let (heard_from, said_from) = (world.user_heard.len(), world.phone.sample);
    world.run(millis(5000));
    let said: Vec<i16> = (said_from..said_from + 32_000).map(speech).collect();
    let heard = decode_opus(&world.user_heard[heard_from..]);
    let (delay, like) = likeness(&said, &heard, 800);
    let (least, best) = likeness(&said, &libopus_alone(&said, 5), 800);
    assert!(delay <= least + 2, "{delay} samples, libopus alone takes {least}");
    assert!(like > best - 0.03, "{like}, libopus alone {best}");
    let level = level_dbov(&heard[8000..30_000]) - level_dbov(&said[8000..30_000]);
    assert!(level.abs() < 2.5, "{level} dB");
    assert_unbroken(&world.user_heard, millis(20), millis(20));
    let figures = world.bridge.summary().to_meta;
    assert_eq!((figures.lost, figures.late, figures.skipped, figures.refused), (0, 0, 0, 0));
    assert!(figures.comfort <= 3, "{} frames before the first word", figures.comfort);
    assert!(world.told(&Report::FirstAudio { towards: Side::Meta }).is_some());
}

#[test]
fn speech_reaches_the_phone_with_its_level_and_the_senders_timing() {
    let mut world = World::up(2);
    world.user_voice.speaking = true;
    world.run(millis(5000));
    let said: Vec<i16> = (world.user_voice.sample - 40_000..world.user_voice.sample).map(speech).collect();
    let heard = decode_g711(&world.phone_heard);
    let (delay, like) = likeness(&said[..24_000], &heard, 800);
    let (least, best) = likeness(&said[..24_000], &libopus_alone(&said, 10), 800);
    assert!(delay <= least + 2, "{delay} samples, libopus alone takes {least}");
    assert!(like > best - 0.03, "{like}, libopus alone {best}");
    for pair in world.phone_heard.windows(2) {
        assert_eq!(pair[1].header.timestamp.since(pair[0].header.timestamp), 160);
        assert_eq!(pair[1].header.seq, pair[0].header.seq.next());
        assert_eq!(pair[1].at - pair[0].at, millis(20));
    }
    assert_eq!(world.phone_heard[0].payload.len(), 160);
    assert!(world.told(&Report::FirstAudio { towards: Side::Phone }).is_some());
}

#[test]
fn rule_4_nothing_leaves_towards_meta_while_the_gate_is_shut_and_early_media_reaches_the_phone() {
    let mut world = World::new(3);
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(4000));
    assert!(world.told(&Report::DtlsUp).is_some());
    assert!(world.user_heard.is_empty() && world.user_rtcp.is_empty());
    assert!(world.phone_heard.len() > 100);
    world.order(Order::Close);
    assert!(world.user_rtcp.is_empty(), "no BYE from a side that never spoke");
}

#[test]
fn rule_7_before_the_answer_the_user_hears_comfort_and_not_the_agent() {
    let mut world = World::new(4);
    world.phone.speaking = true;
    world.order(Order::SetStage(Stage::Comfort));
    world.run(millis(3000));
    let up = world.told(&Report::DtlsUp).unwrap();
    assert_eq!(world.user_heard[0].at, up, "comfort begins with the keys");
    assert!(level_dbov(&decode_opus(&world.user_heard)) < -50.0);
    assert_unbroken(&world.user_heard, millis(0), millis(1));
    let heard = world.user_heard.len();
    world.order(Order::SetStage(Stage::Open));
    world.run(millis(25));
    assert!(world.user_heard[heard..].iter().any(|it| it.header.marker), "the agent is there within 25 ms");
    world.run(millis(1000));
    assert!(level_dbov(&decode_opus(&world.user_heard[heard..])) > -30.0);
    assert_unbroken(&world.user_heard, millis(20), millis(20));
}

#[test]
fn rule_7_two_hundred_milliseconds_of_voice_are_the_user_speaking_and_a_click_is_not() {
    let mut world = World::new(5);
    world.run(millis(300));
    world.user_voice.speaking = true;
    world.run(millis(100));
    world.user_voice.speaking = false;
    world.run(millis(1000));
    assert_eq!(world.told(&Report::UserSpoke), None);
    world.user_voice.speaking = true;
    world.run(millis(1500));
    assert!(world.told(&Report::UserSpoke).is_some());
    assert_eq!(world.reports.iter().filter(|(_, it)| *it == Report::UserSpoke).count(), 1);
}

#[test]
fn rule_7_a_ringback_tone_in_early_media_is_not_the_user_speaking() {
    fn tone(hertz: f32, at: usize) -> f32 {
        (at as f32 / 8000.0 * hertz * std::f32::consts::TAU).sin() * 6000.0
    }
    let ringback: fn(usize) -> i16 = |at| if at % 40_000 < 8000 { tone(425.0, at) as i16 } else { 0 };
    // The gateway comes late to it, and until the decoder has caught up two tones are many.
    let two_tones: fn(usize) -> i16 = |at| (tone(440.0, at) + tone(480.0, at)) as i16;
    for sound in [ringback, two_tones] {
        let mut world = World::new(5);
        (world.user_voice.speaking, world.user_voice.sound) = (true, sound);
        world.run(millis(11_000));
        assert_eq!(world.told(&Report::UserSpoke), None);
        world.user_voice.sound = speech;
        world.run(millis(600));
        assert!(world.told(&Report::UserSpoke).is_some());
    }
}

#[test]
fn rule_11_the_line_is_unbroken_over_loss_reordering_duplicates_silence_and_restarts() {
    for seed in 0..12 {
        let mut world = World::up(seed);
        world.phone_path = Path { loss_percent: 8, duplicate_percent: 5, jitter_ms: 30 };
        world.phone.speaking = true;
        world.run(millis(2000));
        world.phone.speaking = false;
        world.run(millis(700 + seed * 13));
        world.phone.speaking = true;
        world.run(millis(1000));
        world.phone.header.ssrc = Ssrc(99);
        world.phone.header.seq = SeqNo(7);
        world.phone.header.timestamp = RtpTime(12_345);
        world.run(millis(1000));
        world.phone.header.timestamp = world.phone.header.timestamp.plus(1_000_000);
        world.run(millis(1000));
        assert_unbroken(&world.user_heard, millis(31), millis(75));
        let figures = world.bridge.summary().to_meta;
        assert!(figures.lost > 5 && figures.duplicates > 2 && figures.concealed > 5, "{figures:?}");
        let level = level_dbov(&decode_opus(&world.user_heard)[40_000..]);
        assert!(level > -30.0, "the agent is heard after all of it, seed {seed}: {level}");
    }
}

#[test]
fn rule_11_a_phone_whose_clock_stands_still_while_muted_is_heard_again_at_once() {
    for muted in [300, 1500, 5000, 20_000] {
        let mut world = World::up(6);
        world.phone.speaking = true;
        world.run(millis(1000));
        world.phone.speaking = false;
        world.run(millis(muted));
        let (heard, again) = (world.user_heard.len(), world.elapsed());
        world.phone.speaking = true;
        world.run(millis(1000));
        assert_unbroken(&world.user_heard, millis(30), millis(60));
        let resumed = world.user_heard[heard..].iter().find(|it| it.header.marker);
        assert!(resumed.is_some_and(|it| it.at < again + millis(120)), "muted {muted} ms");
    }
}

#[test]
fn rule_11_a_pause_of_the_phone_is_filled_so_early_that_a_thread_woken_late_makes_no_gap() {
    let mut world = World::up(16);
    world.phone.speaking = true;
    world.run(millis(1000));
    world.phone.speaking = false;
    world.run(millis(1000));
    let gaps = world.user_heard.windows(2).map(|pair| pair[1].at - pair[0].at);
    assert!(gaps.max().is_some_and(|longest| longest <= millis(51)), "10 ms are left of the 60");
}

#[test]
fn rule_11_a_key_pressed_while_the_line_is_ahead_of_the_clock_makes_no_gap() {
    for phase in 0..20 {
        let mut world = World::up(17);
        world.phone.speaking = true;
        world.run(millis(500));
        world.phone.speaking = false;
        world.run(millis(200 + phase));
        world.phone.speaking = true;
        world.run(millis(205));
        world.phone.speaking = false;
        press(&mut world, '5', 5, 0, false);
        world.phone.speaking = true;
        world.run(millis(200));
        let gaps = world.user_heard.windows(2).map(|pair| pair[1].at - pair[0].at);
        let longest = gaps.max().unwrap_or_default();
        assert!(longest <= millis(51), "phase {phase}: {longest:?}");
    }
}

#[test]
fn rule_11_speech_that_resumes_after_comfort_is_within_half_a_slot_of_its_time() {
    for phase in 0..20 {
        let mut world = World::up(18);
        world.run(millis(400));
        world.phone.next += millis(phase);
        world.phone.speaking = true;
        world.run(millis(400));
        assert_unbroken(&world.user_heard, millis(10), millis(60));
    }
}

#[test]
fn rule_11_a_burst_after_a_stall_is_dropped_where_comfort_has_filled_its_slots() {
    let mut world = World::up(7);
    world.phone.speaking = true;
    world.run(millis(1000));
    // Half a second is held back somewhere and arrives at once.
    world.phone_path.jitter_ms = 1;
    let stalled: Vec<_> = (0..25).collect();
    world.phone.speaking = false;
    world.run(millis(500));
    for _ in stalled {
        world.phone_sends(&[0x55; 160], 160);
    }
    world.phone.speaking = true;
    world.run(millis(1000));
    assert_unbroken(&world.user_heard, millis(30), millis(60));
    let figures = world.bridge.summary().to_meta;
    assert!((20..=25).contains(&figures.late), "{}", figures.late);
}

#[test]
fn rule_11_a_sender_whose_clock_is_wrong_is_kept_within_a_frame_of_ours() {
    for (ptime_error, skipped) in [(-1_i64, true), (1, false)] {
        let mut world = World::up(8);
        world.run(millis(100));
        // 20 ms of speech every 19 or 21 ms: far beyond any real clock.
        for n in 0..600_u64 {
            let codes = [0x90_u8.wrapping_add(n as u8); 160];
            world.phone_sends(&codes, 160);
            world.run(millis(20_u64.saturating_add_signed(ptime_error)));
        }
        assert_unbroken(&world.user_heard, millis(31), millis(125));
        let figures = world.bridge.summary().to_meta;
        assert_eq!(figures.skipped > 10, skipped, "{figures:?}");
        assert_eq!(figures.concealed > 3, !skipped, "{figures:?}");
    }
}

#[test]
fn phones_with_other_packet_lengths_become_an_even_line_of_twenty_milliseconds() {
    for ptime in [10, 30, 40, 60] {
        let mut world = World::up(9);
        world.ptime = ptime;
        world.phone.speaking = true;
        world.run(millis(120));
        let (heard_from, said_from) = (world.user_heard.len(), world.phone.sample);
        world.run(millis(3000));
        assert_unbroken(&world.user_heard, millis(30), millis(60));
        let figures = world.bridge.summary().to_meta;
        assert!(figures.concealed + figures.late + figures.skipped <= 4, "{ptime}: {figures:?}");
        let said: Vec<i16> = (said_from..said_from + 16_000).map(speech).collect();
        let (_, like) = likeness(&said, &decode_opus(&world.user_heard[heard_from..]), 1200);
        let (_, best) = likeness(&said, &libopus_alone(&said, 5), 800);
        assert!(like > best - 0.06, "{ptime}: {like}, libopus alone {best}");
        let bunched = world.user_heard[heard_from..].windows(2).filter(|it| it[1].at == it[0].at).count();
        assert!(bunched <= 2, "{ptime}: {bunched}");
    }
}

#[test]
fn lost_opus_frames_are_restored_or_concealed_and_the_phone_hears_no_hole() {
    let mut world = World::up(10);
    world.user_path = Path { loss_percent: 6, duplicate_percent: 3, jitter_ms: 12 };
    world.user_voice.speaking = true;
    world.run(millis(8000));
    let figures = world.bridge.summary().to_phone;
    assert!(figures.recovered > 5, "{figures:?}");
    assert!(figures.recovered + figures.concealed >= figures.lost * 8 / 10, "{figures:?}");
    for pair in world.phone_heard.windows(2) {
        assert_eq!(pair[1].header.seq, pair[0].header.seq.next());
        let step = pair[1].header.timestamp.since(pair[0].header.timestamp);
        assert!(step == 160 || (step > 0 && pair[1].header.marker), "{step}");
    }
}

#[test]
fn a_user_whose_stream_starts_anew_goes_on_in_the_same_line_to_the_phone() {
    let mut world = World::up(11);
    world.user_voice.speaking = true;
    world.run(millis(1000));
    world.user_voice.header.seq = SeqNo(world.user_voice.header.seq.0.wrapping_add(9000));
    world.user_voice.header.timestamp = world.user_voice.header.timestamp.plus(3_000_000_000);
    world.run(millis(1000));
    let heard = &world.phone_heard;
    assert!(heard.windows(2).all(|it| it[0].header.ssrc == it[1].header.ssrc));
    let (first, last) = (&heard[0], heard.last().unwrap());
    let media = i64::from(last.header.timestamp.since(first.header.timestamp)) / 8;
    let elapsed = (last.at - first.at).as_millis() as i64;
    assert!((media - elapsed).abs() <= 21, "{media} {elapsed}");
}

pub(super) fn press(world: &mut World, key: char, steps: u16, loss_percent: u32, by_user: bool) {
    let event = Event::from_digit(key).unwrap();
    let voice = if by_user { &mut world.user_voice } else { &mut world.phone };
    let (speech_type, speaking) = (voice.header.payload_type, voice.speaking);
    voice.speaking = false;
    voice.header.payload_type = if by_user { KEYS } else { PayloadType(101) };
    voice.header.marker = true;
    let ticks = if by_user { 960 } else { 160 };
    let path = if by_user { &mut world.user_path } else { &mut world.phone_path };
    path.loss_percent = loss_percent;
    for step in 1..=steps + 2 {
        let end = step >= steps;
        let report = TelephoneEvent { event, end, volume: 10, duration: step.min(steps) * 160 };
        if by_user {
            world.user_sends(&report.to_bytes(), 0);
        } else {
            world.phone_sends(&report.to_bytes(), 0);
        }
        world.run(millis(20));
    }
    let path = if by_user { &mut world.user_path } else { &mut world.phone_path };
    path.loss_percent = 0;
    let voice = if by_user { &mut world.user_voice } else { &mut world.phone };
    voice.header.payload_type = speech_type;
    voice.header.timestamp = voice.header.timestamp.plus(u32::from(steps + 2) * ticks);
    voice.speaking = speaking;
    world.run(millis(200));
}

/// The keys in a stream: each by its start, with all its reports.
pub(super) fn keys(heard: &[Heard], payload_type: PayloadType) -> Vec<(char, RtpTime, Vec<TelephoneEvent>)> {
    let mut keys: Vec<(char, RtpTime, Vec<TelephoneEvent>)> = Vec::new();
    for it in heard.iter().filter(|it| it.header.payload_type == payload_type) {
        let report = TelephoneEvent::parse(&it.payload).unwrap();
        match keys.last_mut().filter(|key| key.1 == it.header.timestamp) {
            Some(key) => key.2.push(report),
            None => {
                assert!(it.header.marker);
                keys.push((report.event.digit(), it.header.timestamp, vec![report]));
            }
        }
    }
    keys
}

#[test]
fn rule_18_the_users_keys_reach_the_phone_once_with_eight_kilohertz_durations() {
    let mut world = World::up(12);
    world.user_voice.speaking = true;
    world.run(millis(500));
    for key in "19#".chars() {
        press(&mut world, key, 5, 30, true);
    }
    let keys = keys(&world.phone_heard, PayloadType(101));
    assert_eq!(keys.iter().map(|it| it.0).collect::<String>(), "19#");
    for (_, _, reports) in &keys {
        assert_eq!(reports.iter().filter(|it| it.end).count(), 3);
        assert!(reports.windows(2).all(|it| it[1].duration >= it[0].duration));
        assert!((320..=2080).contains(&reports.last().unwrap().duration));
    }
    assert_eq!(world.bridge.summary().to_phone.digits, 3);
}

#[test]
fn rule_18_the_phones_keys_reach_the_user_on_the_audio_clock_with_eight_kilohertz_durations() {
    let mut world = World::up(13);
    world.phone.speaking = true;
    world.run(millis(500));
    for key in "0*5".chars() {
        press(&mut world, key, 5, 30, false);
    }
    world.run(millis(500));
    let keys = keys(&world.user_heard, KEYS);
    assert_eq!(keys.iter().map(|it| it.0).collect::<String>(), "0*5");
    let first = world.user_heard[0].header.timestamp;
    for (_, start, reports) in &keys {
        assert_eq!(start.since(first) % 960, 0, "a slot of the line");
        assert_eq!(reports[0].duration, 160);
        assert_eq!(reports.iter().filter(|it| it.end).count(), 3);
    }
    assert_unbroken(&world.user_heard, millis(31), millis(75));
}

#[test]
fn rule_18_a_key_that_came_by_info_is_said_to_the_user_and_only_through_the_open_gate() {
    let mut world = World::new(19);
    let press = || Order::Digit { digit: '7', duration: millis(160) };
    world.order(press());
    world.order(Order::SetStage(Stage::Comfort));
    world.run(millis(2000));
    world.order(press());
    world.run(millis(200));
    assert!(keys(&world.user_heard, KEYS).is_empty());
    world.order(Order::SetStage(Stage::Open));
    world.order(press());
    world.run(millis(500));
    let keys = keys(&world.user_heard, KEYS);
    assert_eq!((keys.len(), keys[0].0, keys[0].2.last().unwrap().duration), (1, '7', 1280));
    assert_unbroken(&world.user_heard, millis(31), millis(75));
}

#[test]
fn rule_16_on_hold_the_user_hears_comfort_the_phone_nothing_and_the_dead_call_timer_rests() {
    let mut world = World::up(14);
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(500));
    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp("inactive", 20)) });
    let heard = world.phone_heard.len();
    world.user_voice.speaking = false;
    world.phone.speaking = false;
    world.run(Duration::from_secs(40));
    assert_eq!(world.phone_heard.len(), heard);
    assert_eq!(world.told(&Report::Stalled), None);
    assert_unbroken(&world.user_heard, millis(30), millis(60));
    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp("sendrecv", 20)) });
    let resumed = world.user_heard.len();
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(1000));
    assert!(level_dbov(&decode_opus(&world.user_heard[resumed..])) > -30.0);
    assert!(world.phone_heard.len() > heard + 40);
    assert_unbroken(&world.user_heard, millis(30), millis(60));
}

#[test]
fn rule_16_music_of_the_pbx_passes_while_it_only_sends() {
    let mut world = World::up(15);
    world.order(Order::AnswerPhoneReoffer { sdp: Some(phone_sdp("sendonly", 20)) });
    let answered = world.reports.iter().find_map(|(_, it)| match it {
        Report::PhoneReofferAnswered { sdp } => Some(sdp.clone()),
        _ => None,
    });
    assert!(answered.unwrap().contains("a=recvonly"));
    let from = world.user_heard.len();
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(1000));
    assert!(level_dbov(&decode_opus(&world.user_heard[from..])) > -30.0);
    assert!(world.phone_heard.is_empty());
}

#[test]
fn rule_20_a_call_without_media_from_either_side_is_reported_once() {
    let mut world = World::up(16);
    world.user_voice.speaking = true;
    world.run(millis(1000));
    world.user_voice.speaking = false;
    world.run(millis(29_900));
    assert_eq!(world.told(&Report::Stalled), None);
    world.run(millis(200));
    assert!(world.told(&Report::Stalled).is_some());
    world.run(Duration::from_secs(40));
    assert_eq!(world.reports.iter().filter(|(_, it)| *it == Report::Stalled).count(), 1);
    assert_unbroken(&world.user_heard, millis(20), millis(60));
}

#[test]
fn rule_14_a_stranger_is_not_heard_and_gets_nothing() {
    let mut world = World::up(17);
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(1000));
    let stranger = "203.0.113.66:9999".parse().unwrap();
    let mut packet = world.phone.header.to_bytes().to_vec();
    packet.extend([0x55; 160]);
    for _ in 0..50 {
        world.post(BridgePort::Rtp, stranger, &packet, Path::default());
        world.run(millis(20));
    }
    // World asserts that everything for the phone goes to the phone.
    assert_eq!(world.bridge.summary().to_meta.refused, 50);
}

#[test]
fn reports_go_both_ways_and_what_they_say_is_in_the_summary() {
    let mut world = World::up(18);
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(Duration::from_secs(12));
    let ours = world.user_heard[0].header.ssrc;
    assert!((2..=6).contains(&world.user_rtcp.len()) && (2..=6).contains(&world.phone_rtcp.len()));
    let facts = read_rtcp(&world.user_rtcp[1], Ssrc(77)).unwrap();
    assert_eq!((facts.reports[0].ssrc, facts.reports[0].block.unwrap().fraction_lost), (ours, 0));
    let sent = facts.reports[0].sender.unwrap();
    let block = crate::rtp::ReportBlock {
        ssrc: ours,
        fraction_lost: 64,
        total_lost: 40,
        jitter: 480,
        last_sr: sent.middle(),
        ..Default::default()
    };
    let report = write_report(Ssrc(77), None, Some(block), "user");
    let (_, sealed) = world.user.protect_rtcp(&report).unwrap();
    let sealed = sealed.to_vec();
    world.post(BridgePort::WebRtc, USERS.parse().unwrap(), &sealed, Path::default());
    world.run(millis(10));
    let figures = world.bridge.summary().to_meta;
    assert_eq!((figures.reported_lost, figures.reported_jitter), (Some(40), Some(millis(10))));
    assert!(figures.round_trip.is_some());
    assert!(world.user_rtcp.iter().all(|it| read_rtcp(it, ours).unwrap().byes.is_empty()));
    world.order(Order::Close);
    let last = read_rtcp(world.user_rtcp.last().unwrap(), ours).unwrap();
    assert_eq!(last.byes, [ours], "rule 4: BYE only at the end");
    assert!(matches!(world.reports.last().unwrap().1, Report::Closed(_)));
    assert_eq!(world.bridge.poll_timeout(), None);
}

fn shuffled(bytes: &[u8], random: &mut crate::random::Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..random.below(6) {
        let at = random.below(bytes.len() as u32) as usize;
        bytes[at] = random.next_u32() as u8;
    }
    let length = random.below(bytes.len() as u32 + 1) as usize;
    if random.below(3) == 0 {
        bytes.truncate(length);
    }
    bytes
}

#[test]
fn garbage_from_either_side_never_panics_and_never_breaks_the_line() {
    for seed in 0..6 {
        let mut world = World::up(seed);
        let mut random = crate::random::Random::from_number(seed);
        world.phone.speaking = true;
        world.user_voice.speaking = true;
        world.run(millis(200));
        for _ in 0..600 {
            let payload_type = [0, 101, 13, 96, 72][random.below(5) as usize];
            let mut packet = world.phone.header.to_bytes().to_vec();
            packet[1] = payload_type;
            packet.extend((0..random.below(400)).map(|at| at as u8));
            let packet = shuffled(&packet, &mut random);
            world.post(BridgePort::Rtp, PHONE.parse().unwrap(), &packet, Path::default());
            let rtcp = shuffled(&write_report(Ssrc(55), None, None, "phone"), &mut random);
            world.post(BridgePort::Rtcp, PHONE.parse().unwrap(), &rtcp, Path::default());
            let noise = shuffled(&[0x16; 90], &mut random);
            world.post(BridgePort::WebRtc, USERS.parse().unwrap(), &noise, Path::default());
            let length = random.below(60) as usize;
            let opus: Vec<u8> = (0..length).map(|_| random.next_u32() as u8).collect();
            if random.below(4) == 0 {
                world.user_voice.header.payload_type = KEYS;
            }
            world.user_sends(&opus, random.below(4000));
            world.user_voice.header.payload_type = PayloadType(111);
            world.run(millis(random.below(30).into()));
        }
        assert_unbroken(&world.user_heard, millis(31), millis(125));
    }
}

#[test]
fn s7_of_100_000_packets_from_foreign_sources_none_is_relayed_and_none_moves_the_address() {
    let mut world = World::up(18);
    world.phone.speaking = true;
    world.user_voice.speaking = true;
    world.run(millis(1000));
    for slot in 0..200_u32 {
        // The next packets that the phone would send, in its name, from where it is not.
        let mut packet = world.phone.header.to_bytes().to_vec();
        packet.extend([0x55; 160]);
        for at in 0..500_u32 {
            let [_, _, high, low] = (slot * 500 + at).to_be_bytes();
            let source = std::net::SocketAddr::from((
                [203, 0, 113, (at % 250) as u8],
                u16::from_be_bytes([high | 64, low]),
            ));
            world.post(BridgePort::Rtp, source, &packet, Path::default());
        }
        world.run(millis(20));
    }
    // World asserts that everything for the phone goes to the phone.
    assert_eq!(world.bridge.summary().to_meta.refused, 100_000);
    world.run(millis(200));
    assert_unbroken(&world.user_heard, millis(20), millis(20));
}
