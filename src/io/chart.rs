//! Line charts as SVG: enough for a bench's figures, without a library.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// How numbers become places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    /// From zero.
    #[default]
    Linear,
    /// By decades; only for numbers above zero.
    Logarithmic,
}

/// One axis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Axis {
    /// What it shows, with its unit.
    pub label: String,
    /// How.
    #[serde(default)]
    pub scale: Scale,
}

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// One picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// Across.
    pub x: Axis,
    /// Up.
    pub y: Axis,
    /// The lines.
    pub series: Vec<Series>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Left, right, top, bottom.
const MARGIN: (f64, f64, f64, f64) = (64.0, 16.0, 40.0, 48.0);
/// Told apart also by those who see few colours (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// The charts one below the other.
#[must_use]
pub fn to_svg(charts: &[Chart]) -> String {
    let height = HEIGHT * charts.len().max(1) as f64;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (at, chart) in charts.iter().enumerate() {
        let _ = writeln!(out, "<g transform=\"translate(0 {})\">", HEIGHT * at as f64);
        draw(&mut out, chart);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

/// One axis' numbers on their places.
struct Ruler {
    scale: Scale,
    low: f64,
    high: f64,
    /// Places of `low` and `high`.
    ends: (f64, f64),
}

impl Ruler {
    fn new(scale: Scale, values: impl Iterator<Item = f64> + Clone, ends: (f64, f64)) -> Self {
        let usable = values.filter(|it| it.is_finite() && (scale == Scale::Linear || *it > 0.0));
        let most = usable.clone().fold(f64::MIN, f64::max);
        let least = usable.fold(f64::MAX, f64::min);
        let (low, high) = match scale {
            Scale::Linear if most < least => (0.0, 1.0),
            Scale::Logarithmic if most < least => (1.0, 10.0),
            Scale::Linear => {
                let step = step(most.max(1e-9));
                (least.min(0.0), (most / step).ceil().max(1.0) * step)
            }
            Scale::Logarithmic => (10_f64.powf(least.log10().floor()), 10_f64.powf(most.log10().ceil())),
        };
        Self { scale, low, high: if high > low { high } else { low + 1.0 }, ends }
    }

    fn place(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Logarithmic => (value.max(self.low) / self.low).log10() / (self.high / self.low).log10(),
        };
        self.ends.0 + (self.ends.1 - self.ends.0) * part
    }

    fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = step(self.high);
                (0..=20).map(|at| f64::from(at) * step).filter(|it| *it <= self.high * 1.0001).collect()
            }
            Scale::Logarithmic => {
                let decades = (self.high / self.low).log10().round() as i32;
                (0..=decades).map(|at| self.low * 10_f64.powi(at)).collect()
            }
        }
    }
}

/// A round number that divides `most` into four to ten parts.
fn step(most: f64) -> f64 {
    let decade = 10_f64.powf(most.log10().floor());
    match most / decade {
        part if part <= 2.0 => decade / 4.0,
        part if part <= 5.0 => decade / 2.0,
        _ => decade,
    }
}

fn draw(out: &mut String, chart: &Chart) {
    let (left, right, top, bottom) = MARGIN;
    let points = || chart.series.iter().flat_map(|series| series.points.iter());
    let x = Ruler::new(chart.x.scale, points().map(|it| it.0), (left, WIDTH - right));
    let y = Ruler::new(chart.y.scale, points().map(|it| it.1), (HEIGHT - bottom, top));
    let _ = writeln!(out, "<text x=\"{left}\" y=\"20\" font-size=\"15\">{}</text>", escaped(&chart.title));
    for tick in x.ticks() {
        let at = x.place(tick);
        let (foot, text) = (HEIGHT - bottom, number(tick));
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {top}V{foot}\" stroke=\"#ddd\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
            foot + 16.0
        );
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        let (end, text) = (WIDTH - right, number(tick));
        let _ = writeln!(
            out,
            "<path d=\"M{left} {at:.1}H{end}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            left - 6.0,
            at + 4.0
        );
    }
    let middle = f64::midpoint(left, WIDTH - right);
    let _ = writeln!(
        out,
        "<text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
        HEIGHT - 12.0,
        escaped(&chart.x.label)
    );
    let middle = f64::midpoint(top, HEIGHT - bottom);
    let _ = writeln!(
        out,
        "<text transform=\"translate(16 {middle}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        escaped(&chart.y.label)
    );
    for (at, series) in chart.series.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let usable = series.points.iter().filter(|(across, up)| across.is_finite() && up.is_finite());
        let line: Vec<String> =
            usable.map(|(across, up)| format!("{:.1},{:.1}", x.place(*across), y.place(*up))).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
            line.join(" ")
        );
        let (at, name) = (top + 16.0 * (at as f64 + 1.0), escaped(&series.name));
        let _ = writeln!(out, "<text x=\"{}\" y=\"{at}\" fill=\"{colour}\">{name}</text>", left + 10.0);
    }
}

fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(scale: Scale, points: Vec<(f64, f64)>) -> Chart {
        let axis = |label: &str, scale| Axis { label: label.to_owned(), scale };
        let series = vec![Series { name: "a < b".to_owned(), points }];
        Chart {
            title: "CPU & calls".to_owned(),
            x: axis("calls", scale),
            y: axis("%", Scale::Linear),
            series,
        }
    }

    #[test]
    fn a_line_goes_through_its_points_between_round_numbers() {
        let svg = to_svg(&[chart(Scale::Linear, vec![(0.0, 0.0), (50.0, 40.0), (100.0, 80.0)])]);
        // 100 and 80 are at the right and upper edges, 50 and 40 half-way.
        assert!(svg.contains("points=\"64.0,312.0 344.0,176.0 624.0,40.0\""), "{svg}");
        assert!(
            svg.contains(">25</text>") && svg.contains(">100</text>") && svg.contains(">80</text>"),
            "{svg}"
        );
        assert!(svg.contains("CPU &amp; calls") && svg.contains("a &lt; b"), "{svg}");
    }

    #[test]
    fn a_logarithmic_axis_gives_every_decade_the_same_room() {
        let svg = to_svg(&[chart(Scale::Logarithmic, vec![(0.1, 1.0), (1.0, 2.0), (10.0, 4.0)])]);
        assert!(svg.contains("points=\"64.0,244.0 344.0,176.0 624.0,40.0\""), "{svg}");
    }

    #[test]
    fn nothing_and_nonsense_are_drawn_as_an_empty_picture() {
        for points in [vec![], vec![(f64::NAN, 1.0)], vec![(0.0, f64::INFINITY)], vec![(-1.0, 0.0)]] {
            let svg = to_svg(&[chart(Scale::Logarithmic, points)]);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
        assert!(to_svg(&[]).ends_with("</svg>\n"));
    }
}
