//! `cordboard bench`: how many calls this machine carries.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Exit, complain, say};
use crate::io::bench::far_ends::PhoneSpeech;
use crate::io::bench::ramp::{self, Limits, Step};
use crate::io::bench::report::BenchReport;
use crate::io::bench::{Rig, cpu_of, far_ends, raise_file_limit, resident};
use crate::io::chart;

/// Tells how many calls this machine carries: the media engine with real sockets and made-up callers on loopback.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Media threads to load; by default half of the processors, the callers need the rest.
    #[arg(long)]
    threads: Option<usize>,
    /// About how long it may take, in seconds.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(10..=3600))]
    seconds: u64,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
    /// Draws processor time against calls, and the delays, into an SVG file.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Makes this process the callers of another one.
    #[arg(long, hide = true)]
    far_ends: bool,
}

/// How long calls talk before they are measured, so that the last one's handshake is over …
const SETTLING: Duration = Duration::from_millis(1500);
/// … and how long they are measured.
const MEASURING: Duration = Duration::from_secs(3);

pub(super) fn bench(args: &BenchArgs) -> Exit {
    if args.far_ends {
        raise_file_limit();
        far_ends::run(PhoneSpeech::Pcmu);
        return Exit::Done;
    }
    let report = match climb(args) {
        Ok(report) => report,
        Err(error) => {
            complain(format_args!("the bench cannot go on: {error}"));
            return Exit::Unavailable;
        }
    };
    if args.json {
        say(report.to_json());
    } else {
        say(report.to_text().trim_end());
    }
    if let Some(path) = &args.svg
        && let Err(error) = fs::write(path, chart::to_svg(&report.charts()))
    {
        complain(format_args!("{}: {error}", path.display()));
        return Exit::Unavailable;
    }
    Exit::Done
}

fn climb(args: &BenchArgs) -> std::io::Result<BenchReport> {
    raise_file_limit();
    let end = Instant::now() + Duration::from_secs(args.seconds);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.threads.unwrap_or(processors / 2).max(1);
    let limits = Limits::default();
    let mut rig = Rig::start(threads, &["bench", "--far-ends"])?;
    // The first call pays for what all share: threads, tables, the certificate.
    rig.add_call()?;
    rig.run(Duration::from_millis(500));
    let memory_before = resident();
    let mut steps: Vec<Step> = Vec::new();
    while let Some(calls) = ramp::next(&steps, &limits, threads as u64) {
        let room = end.saturating_duration_since(Instant::now());
        if !steps.is_empty() && room < SETTLING + MEASURING + Duration::from_secs(2) {
            break;
        }
        if !args.json {
            complain(format_args!("{calls} calls ..."));
        }
        steps.push(measure(&mut rig, calls, threads)?);
    }
    let (summaries, failed) = rig.finish()?;
    let lost = summaries.iter().map(|it| it.to_phone.lost + it.to_meta.lost).sum();
    let (threads, processors) = (threads as u64, processors as u64);
    Ok(BenchReport { steps, limits, threads, processors, memory_before, lost, failed })
}

/// Fills up to so many calls and lets them talk.
fn measure(rig: &mut Rig, calls: u64, threads: usize) -> std::io::Result<Step> {
    while rig.calls() < calls {
        rig.add_call()?;
    }
    rig.run(SETTLING);
    let (before, cpu, start) = (rig.figures(), cpu_of("media-"), Instant::now());
    rig.run(MEASURING);
    let (after, cpu, wall) = (rig.figures(), cpu_of("media-").saturating_sub(cpu), start.elapsed());
    let load = cpu.as_secs_f64() / wall.as_secs_f64() / threads as f64;
    let frames = calls as f64 * wall.as_secs_f64() * 50.0;
    let sent = (after.to_phone.since(&before.to_phone).count() + after.to_meta.since(&before.to_meta).count())
        as f64;
    Ok(Step {
        calls,
        load,
        call_cpu: Duration::from_secs_f64(cpu.as_secs_f64() / frames),
        missing: (1.0 - sent / (2.0 * frames)).max(0.0),
        to_phone: after.to_phone.since(&before.to_phone),
        to_meta: after.to_meta.since(&before.to_meta),
        memory: resident(),
    })
}
