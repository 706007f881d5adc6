//! What a bench found, in words, as JSON and as pictures.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::ramp::{Full, Limits, Step, carried};
use crate::io::chart::{Axis, Chart, Scale, Series};
use crate::media::Histogram;

/// The whole climb.
#[derive(Clone, Debug)]
pub struct BenchReport {
    /// The steps, in order.
    pub steps: Vec<Step>,
    /// What counted as full.
    pub limits: Limits,
    /// Media threads that were measured.
    pub threads: u64,
    /// Processors of this machine.
    pub processors: u64,
    /// Resident memory before the first call, in bytes.
    pub memory_before: u64,
    /// Packets that never reached the engine or were made good, over all calls.
    pub lost: u64,
    /// Calls whose media broke.
    pub failed: Vec<String>,
}

impl BenchReport {
    /// Calls that one media thread carries.
    #[must_use]
    pub fn calls_per_core(&self) -> u64 {
        carried(&self.steps, &self.limits) / self.threads.max(1)
    }

    /// The last step within the limits, or the first if none was.
    fn best(&self) -> Option<&Step> {
        self.steps.iter().rev().find(|step| step.full(&self.limits).is_none()).or(self.steps.first())
    }

    fn memory_per_call(&self) -> u64 {
        let last = self.steps.last();
        last.map_or(0, |step| step.memory.saturating_sub(self.memory_before) / step.calls.max(1))
    }

    fn end(&self) -> &'static str {
        match self.steps.last().and_then(|step| step.full(&self.limits)) {
            Some(Full::Load) => "the media threads had no time left",
            Some(Full::Delay) => "packets stayed too long in the gateway",
            Some(Full::Missing) => "packets were not sent in time",
            None => "time was up: the number is drawn out from the last step",
        }
    }

    /// For a person.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        let Some(best) = self.best() else { return "Nothing was measured.".to_owned() };
        let _ = writeln!(out, " calls   load   CPU per call    delay p50 / p99");
        for step in &self.steps {
            let (half, most) = (millis(step.delay(0.5)), millis(step.delay(0.99)));
            let full = if step.full(&self.limits).is_some() { "  full" } else { "" };
            let (calls, load) = (step.calls, step.load * 100.0);
            let micros = step.call_cpu.as_secs_f64() * 1e6;
            let _ = writeln!(
                out,
                "{calls:>6} {load:>5.0} % {micros:>7.0} us/20 ms {half:>7.2} / {most:.2} ms{full}"
            );
        }
        let (per_core, threads) = (self.calls_per_core(), self.threads);
        let all = per_core * self.processors;
        let _ =
            writeln!(out, "\nOne processor carries {per_core} calls (Opus to G.711, both sides talking).");
        let _ = writeln!(
            out,
            "This machine has {}: about {all} calls, if it does nothing else. Measured with {threads} media \
             thread{}; it ended because {}.",
            self.processors,
            if threads == 1 { "" } else { "s" },
            self.end()
        );
        let cost = best.call_cpu.as_secs_f64() * 1e6;
        let _ = writeln!(
            out,
            "With {} calls a call cost {cost:.0} us of processor time per 20 ms, half of its packets left {:.2} ms \
             after they came, 99 of 100 within {:.2} ms.",
            best.calls,
            millis(best.delay(0.5)),
            millis(best.delay(0.99))
        );
        let _ = writeln!(out, "A call took {} KiB of memory.", self.memory_per_call() / 1024);
        if self.processors <= threads {
            out.push_str("The far ends shared the processors with the gateway: the true number is higher.\n");
        }
        if self.lost > 0 {
            let _ = writeln!(out, "{} packets were lost on the way to the gateway.", self.lost);
        }
        for failure in self.failed.iter().take(5) {
            let _ = writeln!(out, "broken: {failure}");
        }
        out
    }

    /// For a program; durations in microseconds, memory in bytes.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let micros = |it: Duration| (it.as_secs_f64() * 1e7).round() / 10.0;
        let step = |step: &Step| {
            json!({
                "calls": step.calls, "load": step.load, "call_cpu_us": micros(step.call_cpu),
                "delay_p50_us": micros(step.delay(0.5)), "delay_p99_us": micros(step.delay(0.99)),
                "missing": step.missing, "memory": step.memory,
                "full": step.full(&self.limits).is_some(),
            })
        };
        json!({
            "calls_per_core": self.calls_per_core(),
            "calls": self.calls_per_core() * self.processors,
            "processors": self.processors,
            "threads": self.threads,
            "memory_per_call": self.memory_per_call(),
            "lost": self.lost,
            "failed": self.failed,
            "ended": self.end(),
            "steps": self.steps.iter().map(step).collect::<Vec<_>>(),
        })
    }

    /// CPU against calls, and the delays of the best step.
    #[must_use]
    pub fn charts(&self) -> Vec<Chart> {
        let threads = self.threads as f64;
        let cpu = self.steps.iter().map(|step| (step.calls as f64, 100.0 * threads * step.load));
        let limit = 100.0 * threads * self.limits.load;
        let last = self.steps.last().map_or(1.0, |step| step.calls as f64);
        let cpu = Chart {
            title: "Processor time against calls".to_owned(),
            x: Axis { label: "calls".to_owned(), scale: Scale::Linear },
            y: Axis { label: "% of a processor".to_owned(), scale: Scale::Linear },
            series: vec![
                Series {
                    name: "media threads".to_owned(),
                    points: std::iter::once((0.0, 0.0)).chain(cpu).collect(),
                },
                Series { name: "limit".to_owned(), points: vec![(0.0, limit), (last, limit)] },
            ],
        };
        let Some(best) = self.best() else { return vec![cpu] };
        let delays = Chart {
            title: format!("Delay in the gateway with {} calls", best.calls),
            x: Axis { label: "milliseconds".to_owned(), scale: Scale::Logarithmic },
            y: Axis { label: "% of packets below".to_owned(), scale: Scale::Linear },
            series: vec![
                Series { name: "towards the phone".to_owned(), points: cumulative(&best.to_phone) },
                Series { name: "towards WhatsApp".to_owned(), points: cumulative(&best.to_meta) },
            ],
        };
        vec![cpu, delays]
    }
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

/// Per cent of the delays below each bound in milliseconds.
fn cumulative(histogram: &Histogram) -> Vec<(f64, f64)> {
    let total = histogram.count().max(1) as f64;
    let mut below = 0;
    let bounds = Histogram::BOUNDS.iter().zip(histogram.counts());
    bounds
        .map(|(bound, count)| {
            below += count;
            (f64::from(*bound) / 1000.0, 100.0 * below as f64 / total)
        })
        .collect()
}
