//! What a call costs: the real engine with real sockets against libopus alone, in one run.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod alone;
mod bare;
mod pass_through;
mod process;
mod rtpengine;
mod setups;

use std::time::{Duration, Instant};

use cordboard::codec::EncoderSettings;
use cordboard::io::bench::far_ends::PhoneSpeech;
use cordboard::io::bench::sound::Sound;
use cordboard::io::bench::{Rig, cpu_of, far_ends, raise_file_limit, resident};
use cordboard::media::{Histogram, Summary};

/// The argument that makes this program the far ends.
const PEERS: &str = "--far-ends";

/// The argument that measures Debian's rtpengine beside.
const BESIDE: &str = "--rtpengine";

/// The argument that measures set-ups; it makes the far ends say nothing.
const SETUPS: &str = "--setups";
const SILENT: &str = "--silent";

/// The argument for a path that loses packets, as every call begins: without it nothing was lost for long enough
/// and copies of the speech before rest.
const REDUNDANCY: &str = "--redundancy";

/// The argument that makes the phones speak Opus.
const PASS_THROUGH: &str = "--pass-through";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|it| it == PEERS) {
        let told = |name: &str| arguments.iter().any(|it| it == name);
        return far_ends::run(match () {
            () if told(SILENT) => PhoneSpeech::Nothing,
            () if told(PASS_THROUGH) => PhoneSpeech::Opus,
            () => PhoneSpeech::Pcmu,
        });
    }
    let number = |name: &str, default: usize| number(&arguments, name, default);
    if arguments.iter().any(|it| it == SETUPS) {
        return setups::run(number(SETUPS, 500).max(1));
    }
    let (calls, seconds) = (number("--calls", 20).max(1), number("--seconds", 10).max(1));

    if arguments.iter().any(|it| it == PASS_THROUGH) {
        let beside = arguments.iter().any(|it| it == BESIDE);
        return pass_through::run(&Sound::new(), calls, seconds, number("--workers", 0), beside);
    }

    let mut settings = EncoderSettings::default();
    if !arguments.iter().any(|it| it == REDUNDANCY) {
        settings.expected_loss = 0;
    }
    measure(&arguments, settings, calls, seconds);
}

/// Prints what `calls` calls of `seconds` cost, one stage after the other and together.
fn measure(arguments: &[String], settings: EncoderSettings, calls: usize, seconds: usize) {
    let (sound, workers) = (Sound::new(), number(arguments, "--workers", 0));
    println!("stages, microseconds per 20 ms frame");
    for (name, micros) in alone::stages(&sound, &settings) {
        println!("  {name:<26}{micros:>9.2}");
    }

    let before = Alone::measure(&sound, &settings, calls, seconds);
    raise_file_limit();
    let mut rig = Rig::start(workers, &[PEERS]).expect("the engine and the far ends start");
    rig.encode_as(settings);
    // The first call pays for what all share: threads, tables, the certificate.
    rig.add_call().expect("a call");
    rig.run(Duration::from_secs(1));
    let memory = resident();
    for _ in 1..calls {
        rig.add_call().expect("a call");
    }
    rig.run(Duration::from_secs(2));
    let figures = rig.figures();
    let (cpu, start) = (cpu_of("media-"), Instant::now());
    rig.run(Duration::from_secs(seconds as u64));
    let (cpu, wall) = (cpu_of("media-").saturating_sub(cpu), start.elapsed());
    let grown = resident().saturating_sub(memory);
    let packets = rig.figures().sent - figures.sent;
    let (summaries, failed) = rig.finish().expect("every call ends");
    assert!(failed.is_empty(), "{failed:?}");
    let after = Alone::measure(&sound, &settings, calls, seconds);

    println!(
        "\n{calls} calls, Opus <-> PCMU, {seconds} s, real sockets on loopback, redundancy {}",
        match settings {
            EncoderSettings { expected_loss: 0, .. } => "rests: nothing was lost",
            _ => "for what may be lost",
        }
    );
    let second = |cpu: Duration| cpu.as_secs_f64() / wall.as_secs_f64();
    println!("  engine                    {:>9.4} processor seconds a second", second(cpu));
    for (pace, before, after) in [
        ("one after the other", before.one_after_the_other, after.one_after_the_other),
        ("at the pace of the calls", before.at_the_pace, after.at_the_pace),
    ] {
        let libopus = (before + after) / 2;
        println!("  libopus alone, {pace}");
        println!(
            "    processor               {:>9.4} (before {:.4}, after {:.4})",
            second(libopus),
            second(before),
            second(after)
        );
        println!(
            "    engine / libopus        {:>9.3} (at most 1.3)",
            cpu.as_secs_f64() / libopus.as_secs_f64()
        );
    }
    if arguments.iter().any(|it| it == BESIDE) {
        let span = Duration::from_secs(seconds as u64);
        rtpengine::tell(rtpengine::Phones::Pcmu, calls, span, second(cpu));
    }
    println!("  per packet sent           {:>9.2} µs", cpu.as_secs_f64() * 1e6 / packets.max(1) as f64);
    if calls > 1 {
        println!("  memory per active call    {:>9} KiB (at most 300)", grown / 1024 / (calls as u64 - 1));
    }
    tell(&summaries);
}

/// The number after `name`.
fn number(arguments: &[String], name: &str, default: usize) -> usize {
    let at = arguments.iter().position(|it| it == name);
    at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
}

/// What libopus alone takes for the same frames.
struct Alone {
    one_after_the_other: Duration,
    at_the_pace: Duration,
}

impl Alone {
    fn measure(sound: &Sound, settings: &EncoderSettings, calls: usize, seconds: usize) -> Self {
        Self {
            one_after_the_other: alone::one_after_the_other(sound, settings, calls, seconds),
            at_the_pace: alone::at_the_pace_of_calls(sound, settings, calls, seconds),
        }
    }
}

fn tell(summaries: &[Summary]) {
    let (mut to_phone, mut to_meta) = (Histogram::default(), Histogram::default());
    let (mut lost, mut concealed, mut gap) = (0, 0, Duration::ZERO);
    for summary in summaries {
        to_phone.merge(&summary.to_phone.transit);
        to_meta.merge(&summary.to_meta.transit);
        lost += summary.to_phone.lost + summary.to_meta.lost;
        concealed += summary.to_meta.concealed + summary.to_phone.concealed;
        gap = gap.max(summary.to_meta.longest_gap);
    }
    for (name, histogram) in [("towards the phone", to_phone), ("towards WhatsApp", to_meta)] {
        let micros = |share| histogram.quantile(share).unwrap_or_default().as_micros();
        println!("  delay {name:<20}{:>9} µs p50, {} µs p99", micros(0.5), micros(0.99));
    }
    println!("  lost {lost}, concealed {concealed}, longest gap towards WhatsApp {} ms", gap.as_millis());
}
