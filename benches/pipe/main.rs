//! What a call costs: the real engine with real sockets against libopus alone, in one run.

#![expect(clippy::print_stdout, reason = "the figures are what this program is for")]

mod alone;
mod peers;
mod process;
mod sound;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cordboard::id::CallId;
use cordboard::io::media::{MediaEngine, MediaSettings, Realm};
use cordboard::media::{Histogram, MetaSide, OpenSpec, Order, PhoneSide, Report, Stage, Summary};
use cordboard::random::Random;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::sound::Sound;

/// The argument that makes this program the far ends.
const PEERS: &str = "--far-ends";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|it| it == PEERS) {
        return peers::run();
    }
    let number = |name: &str, default: usize| {
        let at = arguments.iter().position(|it| it == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (calls, seconds) = (number("--calls", 20).max(1), number("--seconds", 10).max(1));
    let sound = Sound::new();

    println!("stages, microseconds per 20 ms frame");
    for (name, micros) in alone::stages(&sound) {
        println!("  {name:<26}{micros:>9.2}");
    }

    let before = Alone::measure(&sound, calls, seconds);
    let mut bench = Bench::start(number("--workers", 0));
    // The first call pays for what all share: threads, tables, the certificate.
    bench.add_call();
    bench.run(Duration::from_secs(1));
    let memory = process::resident();
    for _ in 1..calls {
        bench.add_call();
    }
    bench.run(Duration::from_secs(2));
    let figures = bench.engine.figures();
    let (cpu, start) = (process::cpu_of("media-"), Instant::now());
    bench.run(Duration::from_secs(seconds as u64));
    let (cpu, wall) = (process::cpu_of("media-").saturating_sub(cpu), start.elapsed());
    let grown = process::resident().saturating_sub(memory);
    let packets = bench.engine.figures().sent - figures.sent;
    let summaries = bench.finish();
    let after = Alone::measure(&sound, calls, seconds);

    println!("\n{calls} calls, Opus <-> PCMU, {seconds} s, real sockets on loopback");
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
    println!("  per packet sent           {:>9.2} µs", cpu.as_secs_f64() * 1e6 / packets.max(1) as f64);
    if calls > 1 {
        println!("  memory per active call    {:>9} KiB (at most 300)", grown / 1024 / (calls as u64 - 1));
    }
    tell(&summaries);
}

/// What libopus alone takes for the same frames.
struct Alone {
    one_after_the_other: Duration,
    at_the_pace: Duration,
}

impl Alone {
    fn measure(sound: &Sound, calls: usize, seconds: usize) -> Self {
        Self {
            one_after_the_other: alone::one_after_the_other(sound, calls, seconds),
            at_the_pace: alone::at_the_pace_of_calls(sound, calls, seconds),
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

/// The engine here and the far ends in a child.
struct Bench {
    engine: MediaEngine,
    reports: UnboundedReceiver<(CallId, Report)>,
    child: Child,
    answers: BufReader<std::process::ChildStdout>,
    calls: u64,
    summaries: Vec<Summary>,
}

impl Bench {
    fn start(workers: usize) -> Self {
        let realm =
            Realm { bind: std::net::IpAddr::from([127, 0, 0, 1]), advertised: Vec::new(), ports: 0..=0 };
        let (sender, reports) = unbounded_channel();
        let settings = MediaSettings { workers, ..MediaSettings::new(realm.clone(), realm) };
        let engine = MediaEngine::start(settings, Random::from_number(1), sender).expect("the engine starts");
        let mut child = Command::new(std::env::current_exe().expect("this program has a path"))
            .arg(PEERS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the far ends start");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { engine, reports, child, answers, calls: 0, summaries: Vec::new() }
    }

    fn add_call(&mut self) {
        self.calls += 1;
        let call = CallId(self.calls);
        self.engine.open(call, OpenSpec::new(MetaSide::Offer, PhoneSide::Offer));
        let (meta, phone) = loop {
            match self.reports.blocking_recv() {
                Some((told, Report::Opened { meta_sdp, phone_sdp })) if told == call => {
                    break (meta_sdp, phone_sdp);
                }
                Some(_) => {}
                None => panic!("the engine is gone"),
            }
        };
        let input = self.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{} {}", hex::encode(meta), hex::encode(phone)).expect("the far ends listen");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the far ends answer");
        let (meta, phone) = line.trim().split_once(' ').expect("two answers");
        let text = |it: &str| String::from_utf8(hex::decode(it).expect("hexadecimal")).expect("text");
        for order in [
            Order::ApplyMetaAnswer { sdp: text(meta) },
            Order::ApplyPhoneAnswer { sdp: text(phone) },
            Order::StartDtls,
            Order::SetStage(Stage::Open),
        ] {
            self.engine.order(call, order);
        }
    }

    /// Lets the calls talk.
    fn run(&mut self, span: Duration) {
        std::thread::sleep(span);
        while let Ok((call, report)) = self.reports.try_recv() {
            assert!(!matches!(report, Report::LegFailed(_) | Report::Stalled), "call {call}: {report:?}");
        }
    }

    /// Closes all calls and gives their summaries.
    fn finish(mut self) -> Vec<Summary> {
        for call in 1..=self.calls {
            self.engine.order(CallId(call), Order::Close);
        }
        while self.summaries.len() < self.calls as usize {
            match self.reports.blocking_recv() {
                Some((_, Report::Closed(summary))) => self.summaries.push(*summary),
                Some(_) => {}
                None => break,
            }
        }
        drop(self.child.stdin.take());
        let _ = self.child.wait();
        self.engine.stop();
        self.summaries
    }
}
