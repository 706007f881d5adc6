//! What Prometheus reads: one [`table`] of metrics, a [`Registry`] for events, a [`Scrape`] for figures.
//!
//! Nothing here is called per packet: media threads keep plain counters that a scrape sums up.

pub mod label;
pub mod table;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric, LabelSetEncoder, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter as Count;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::histogram::Histogram as Buckets;

use self::label::{Labels, Space};
use self::table::{Counter, Distribution, Gauge, Histogram, Kind, Metric, TABLE, Total};
use crate::id::NumberLabel;

/// The content type of what [`Registry::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names and values of a series, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Series(Vec<(&'static str, String)>);

impl EncodeLabelSet for Series {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }
}

impl Series {
    fn of<L: Labels>(labels: &L) -> Self {
        Self(L::NAMES.iter().copied().zip(labels.values().into_iter().map(Cow::into_owned)).collect())
    }

    /// Every series of a metric that can be known beforehand; empty if one of its labels is open.
    fn known(metric: &Metric, numbers: &[NumberLabel]) -> Vec<Self> {
        let mut all = vec![Vec::new()];
        for (name, space) in metric.labels.iter().zip(metric.spaces) {
            let values: Vec<&str> = match space {
                Space::Closed(values) => values.to_vec(),
                Space::Numbers => numbers.iter().map(NumberLabel::as_str).collect(),
                Space::Other => return Vec::new(),
            };
            let longer = |series: Vec<(&'static str, String)>| {
                let extend = |value: &&str| {
                    let mut series = series.clone();
                    series.push((*name, (*value).to_owned()));
                    series
                };
                values.iter().map(extend).collect::<Vec<_>>()
            };
            all = all.into_iter().flat_map(longer).collect();
        }
        all.into_iter().map(Self).collect()
    }
}

/// Makes the histograms of one metric.
#[derive(Clone, Debug)]
struct Bounds(&'static [f64]);

impl MetricConstructor<Buckets> for Bounds {
    fn new_metric(&self) -> Buckets {
        Buckets::new(self.0.iter().copied())
    }
}

/// Counts what happens. Cheap to share; one for the process.
#[derive(Debug)]
pub struct Registry {
    counters: BTreeMap<&'static str, Family<Series, Count>>,
    histograms: BTreeMap<&'static str, Family<Series, Buckets, Bounds>>,
}

impl Registry {
    /// With every series at zero that is known beforehand, for these business numbers.
    #[must_use]
    pub fn new(numbers: &[NumberLabel]) -> Self {
        let mut registry = Self { counters: BTreeMap::new(), histograms: BTreeMap::new() };
        for metric in TABLE {
            let known = Series::known(metric, numbers);
            match metric.kind {
                Kind::Counter => {
                    let family = Family::<Series, Count>::default();
                    known.iter().for_each(|series| drop(family.get_or_create(series)));
                    registry.counters.insert(metric.name, family);
                }
                Kind::Histogram(bounds) => {
                    let family = Family::new_with_constructor(Bounds(bounds));
                    known.iter().for_each(|series| drop(family.get_or_create(series)));
                    registry.histograms.insert(metric.name, family);
                }
                Kind::Total | Kind::Gauge | Kind::Distribution => {}
            }
        }
        registry
    }

    /// One more.
    pub fn count<L: Labels>(&self, counter: &Counter<L>, labels: &L) {
        if let Some(family) = self.counters.get(counter.metric.name) {
            family.get_or_create(&Series::of(labels)).inc();
        }
    }

    /// A span.
    pub fn observe<L: Labels>(&self, histogram: &Histogram<L>, labels: &L, span: Duration) {
        self.measure(histogram, labels, span.as_secs_f64());
    }

    /// Anything else that has buckets: a score, a share.
    pub fn measure<L: Labels>(&self, histogram: &Histogram<L>, labels: &L, value: f64) {
        if let Some(family) = self.histograms.get(histogram.metric.name) {
            family.get_or_create(&Series::of(labels)).observe(value);
        }
    }

    /// What a scrape gets: the text format 0.0.4, metrics in the order of the table.
    ///
    /// `scrape` holds the figures that live elsewhere.
    #[must_use]
    pub fn render(&self, mut scrape: Scrape) -> String {
        let mut registry = prometheus_client::registry::Registry::default();
        for metric in TABLE {
            match metric.kind {
                Kind::Counter => {
                    if let Some(family) = self.counters.get(metric.name) {
                        registry.register(metric.name, metric.help, family.clone());
                    }
                }
                Kind::Histogram(_) => {
                    if let Some(family) = self.histograms.get(metric.name) {
                        registry.register(metric.name, metric.help, family.clone());
                    }
                }
                Kind::Total | Kind::Gauge | Kind::Distribution => {
                    if let Some(figures) = scrape.figures.remove(metric.name) {
                        registry.register(metric.name, metric.help, figures);
                    }
                }
            }
        }
        let mut out = String::new();
        text::encode_registry(&mut out, &registry).expect("a String takes every text");
        classic(&out)
    }
}

/// The text format 0.0.4 out of OpenMetrics: there, HELP and TYPE name a counter without `_total`.
///
/// promtool and older Prometheus servers read 0.0.4 only.
fn classic(open_metrics: &str) -> String {
    let is_counter =
        |name: &str| TABLE.iter().any(|it| it.name == name && matches!(it.kind, Kind::Counter | Kind::Total));
    let mut out = String::with_capacity(open_metrics.len() + 1024);
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)) => {
                let suffix = if is_counter(name) { "_total" } else { "" };
                out.extend(["# ", what, " ", name, suffix, " ", rest]);
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

/// Figures that live elsewhere, as one scrape finds them.
#[derive(Debug, Default)]
pub struct Scrape {
    figures: BTreeMap<&'static str, Figures>,
}

impl Scrape {
    /// Adds to a total; several workers' figures of one series are summed.
    pub fn total<L: Labels>(&mut self, total: &Total<L>, labels: &L, value: f64) {
        let Value::Number(sum) = self.series(&total.metric, labels, Value::Number(0.0)) else { return };
        *sum += value;
    }

    /// Sets a gauge.
    pub fn gauge<L: Labels>(&mut self, gauge: &Gauge<L>, labels: &L, value: f64) {
        *self.series(&gauge.metric, labels, Value::Number(0.0)) = Value::Number(value);
    }

    /// Adds a distribution: buckets as (upper bound in seconds, spans in this bucket alone), and the
    /// sum of all spans. Distributions of one series are summed; they must have the same bounds.
    pub fn distribution<L: Labels>(
        &mut self,
        distribution: &Distribution<L>,
        labels: &L,
        buckets: &[(f64, u64)],
        sum: Duration,
    ) {
        let empty = Value::Buckets { sum: 0.0, buckets: Vec::new() };
        let Value::Buckets { sum: whole, buckets: all } = self.series(&distribution.metric, labels, empty)
        else {
            return;
        };
        *whole += sum.as_secs_f64();
        if all.is_empty() {
            *all = buckets.to_vec();
            return;
        }
        for (mine, (bound, count)) in all.iter_mut().zip(buckets) {
            debug_assert!((mine.0 - bound).abs() < f64::EPSILON, "workers share their bounds");
            mine.1 += count;
        }
    }

    fn series<L: Labels>(&mut self, metric: &Metric, labels: &L, empty: Value) -> &mut Value {
        let figures = self
            .figures
            .entry(metric.name)
            .or_insert_with(|| Figures { kind: metric.kind, series: BTreeMap::new() });
        figures.series.entry(Series::of(labels)).or_insert(empty)
    }
}

/// The series of one metric.
#[derive(Debug)]
struct Figures {
    kind: Kind,
    series: BTreeMap<Series, Value>,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Buckets { sum: f64, buckets: Vec<(f64, u64)> },
}

impl Figures {
    fn encode_value(&self, encoder: &mut MetricEncoder<'_>, value: &Value) -> fmt::Result {
        match (value, self.kind) {
            (Value::Buckets { sum, buckets }, _) => encode_buckets(encoder, *sum, buckets),
            (Value::Number(number), Kind::Gauge) => encoder.encode_gauge(number),
            (Value::Number(number), _) => encoder.encode_counter::<Series, f64, f64>(number, None),
        }
    }
}

impl EncodeMetric for Figures {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (series, value) in &self.series {
            // An empty label set would print as `{}`.
            if series.0.is_empty() {
                self.encode_value(&mut encoder, value)?;
            } else {
                self.encode_value(&mut encoder.encode_family(series)?, value)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        match self.kind {
            Kind::Counter | Kind::Total => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram(_) | Kind::Distribution => MetricType::Histogram,
        }
    }
}

fn encode_buckets(encoder: &mut MetricEncoder<'_>, sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
    let mut all = buckets.to_vec();
    if all.last().is_none_or(|(bound, _)| bound.is_finite()) {
        all.push((f64::INFINITY, 0));
    }
    let count = all.iter().map(|(_, count)| count).sum();
    encoder.encode_histogram(sum, count, &all, None::<&HashMap<usize, Exemplar<Series, f64>>>)
}

#[cfg(test)]
mod tests;
