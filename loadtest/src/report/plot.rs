//! Plots as SVG, drawn here: a few lines over two axes need no library.

use std::fmt::Write as _;

use hdrhistogram::Histogram;

use super::text::short;

const WIDTH: f64 = 700.0;
const HEIGHT: f64 = 320.0;
/// Left, top, right, bottom.
const MARGINS: [f64; 4] = [70.0, 30.0, 210.0, 45.0];
/// Lines on an axis, about.
const MARKS: usize = 5;
/// Of the lines, one after the other: told apart by whoever sees few colours, too.
const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
/// Percentiles that a line over percentiles has points at.
const PERCENTILES: [f64; 7] = [50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// Lines over two axes that begin at zero; over percentiles, where lines are powers of ten apart, the upright one is in these.
#[derive(Debug, Clone)]
pub(crate) struct Plot {
    title: String,
    x: String,
    y: String,
    /// The points of lines stand at equal distances, and are named by their x.
    named: bool,
    pub(crate) lines: Vec<Line>,
}

/// One line: points from left to right.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

impl Line {
    /// Without points.
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            points: Vec::new(),
        }
    }

    /// Percentiles of microseconds, in milliseconds.
    pub(crate) fn percentiles(name: impl Into<String>, of: &Histogram<u64>) -> Self {
        let point = |percentile: f64| (percentile, of.value_at_quantile(percentile / 100.0) as f64 / 1e3);
        Self {
            name: name.into(),
            points: PERCENTILES.map(point).to_vec(),
        }
    }
}

impl Plot {
    /// Without lines.
    pub(crate) fn new(title: &str, x: &str, y: &str) -> Self {
        Self {
            title: title.to_owned(),
            x: x.to_owned(),
            y: y.to_owned(),
            named: false,
            lines: Vec::new(),
        }
    }

    /// The same over percentiles, each as far from the next as any other.
    pub(crate) fn over_percentiles(mut self) -> Self {
        self.named = true;
        self
    }

    /// As an SVG element.
    pub(super) fn svg(&self) -> String {
        let mut svg = String::new();
        let _ = self.draw(&mut svg);
        svg
    }

    fn draw(&self, svg: &mut String) -> std::fmt::Result {
        let [left, top, right, bottom] = MARGINS;
        let (wide, high) = (WIDTH - left - right, HEIGHT - top - bottom);
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
        let x_axis = Axis::even(most(|point| point.0));
        let y_axis = match self.named {
            true => Axis::decades(points().map(|point| point.1)),
            false => Axis::even(most(|point| point.1)),
        };
        let across = |x: f64| match self.named {
            true => {
                let place = PERCENTILES.iter().position(|percentile| *percentile == x).unwrap_or(0);
                left + wide * place as f64 / (PERCENTILES.len() - 1) as f64
            }
            false => left + wide * x_axis.place(x),
        };
        let down = |y: f64| top + high * (1.0 - y_axis.place(y));

        writeln!(
            svg,
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" xmlns="http://www.w3.org/2000/svg">"#
        )?;
        writeln!(
            svg,
            r#"<text class="title" x="{left}" y="18">{}</text>"#,
            escaped(&self.title)
        )?;
        for y in y_axis.marks() {
            let (at, to) = (down(y), left + wide);
            writeln!(
                svg,
                r#"<line class="grid" x1="{left}" y1="{at:.1}" x2="{to}" y2="{at:.1}"/>"#
            )?;
            let (x, y_text, figure) = (left - 6.0, at + 4.0, short(y));
            writeln!(svg, r#"<text class="y" x="{x}" y="{y_text:.1}">{figure}</text>"#)?;
        }
        let named = PERCENTILES.iter().map(|at| (*at, format!("p{at}")));
        let marked: Vec<(f64, String)> = match self.named {
            true => named.collect(),
            false => x_axis.marks().into_iter().map(|x| (x, short(x))).collect(),
        };
        for (x, name) in marked {
            let (at, y) = (across(x), top + high + 16.0);
            writeln!(svg, r#"<text class="x" x="{at:.1}" y="{y}">{name}</text>"#)?;
        }
        let (middle, end) = (left + wide / 2.0, HEIGHT - 8.0);
        writeln!(
            svg,
            r#"<text class="x" x="{middle}" y="{end}">{}</text>"#,
            escaped(&self.x)
        )?;
        let half = top + high / 2.0;
        writeln!(
            svg,
            r#"<text class="x" transform="translate(14 {half}) rotate(-90)">{}</text>"#,
            escaped(&self.y)
        )?;
        for (number, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[number % COLOURS.len()];
            let path: String = line
                .points
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1} ", across(*x), down(*y)))
                .collect();
            writeln!(
                svg,
                r#"<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>"#
            )?;
            for (x, y) in &line.points {
                let (at, to, told) = (across(*x), down(*y), short(*y));
                writeln!(
                    svg,
                    r#"<circle cx="{at:.1}" cy="{to:.1}" r="3" fill="{colour}"><title>{}: {told}</title></circle>"#,
                    escaped(&line.name)
                )?;
            }
            let (x, y) = (left + wide + 14.0, top + 16.0 * number as f64 + 8.0);
            writeln!(
                svg,
                r#"<rect x="{x}" y="{}" width="10" height="10" fill="{colour}"/>"#,
                y - 9.0
            )?;
            writeln!(svg, r#"<text x="{}" y="{y}">{}</text>"#, x + 16.0, escaped(&line.name))?;
        }
        writeln!(svg, "</svg>")
    }
}

/// What an axis shows, from one end to the other.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Axis {
    /// From zero.
    Even { step: f64, most: f64 },
    /// From one power of ten to another.
    Decades { first: i32, last: i32 },
}

impl Axis {
    fn even(most: f64) -> Self {
        let step = step(most);
        let most = (most / step).ceil().max(1.0) * step;
        Self::Even { step, most }
    }

    fn decades(values: impl Iterator<Item = f64>) -> Self {
        let (mut first, mut last) = (i32::MAX, i32::MIN);
        for log in values.map(f64::log10).filter(|log| log.is_finite()) {
            // Few enough to be an i32: the figure is an f64.
            first = first.min(log.floor() as i32);
            last = last.max(log.ceil() as i32);
        }
        // Nothing to show, or all of it one power of ten.
        if first > last {
            (first, last) = (0, 0);
        }
        Self::Decades {
            first,
            last: last.max(first + 1),
        }
    }

    /// Where a figure is, between 0 and 1.
    fn place(self, figure: f64) -> f64 {
        match self {
            Self::Even { most, .. } => figure / most,
            Self::Decades { first, last } => {
                let (first, last) = (f64::from(first), f64::from(last));
                ((figure.log10().max(first) - first) / (last - first)).min(1.0)
            }
        }
    }

    fn marks(self) -> Vec<f64> {
        match self {
            Self::Even { step, most } => marks(step, most).collect(),
            Self::Decades { first, last } => (first..=last).take(4 * MARKS).map(|log| 10_f64.powi(log)).collect(),
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that there are about [`MARKS`] of them up to `most`.
fn step(most: f64) -> f64 {
    let least = most / MARKS as f64;
    if least <= 0.0 || !least.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|times| times * power);
    steps
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * power)
}

fn marks(step: f64, most: f64) -> impl Iterator<Item = f64> {
    // About as many as MARKS says; bounded whatever the figures are.
    (0..4 * MARKS)
        .map(move |number| number as f64 * step)
        .take_while(move |mark| *mark <= most * 1.001)
}

/// Text that can stand in HTML and SVG.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_are_marked_at_round_figures_up_to_the_greatest() {
        assert_eq!(
            [0.0, 1.0, 7.0, 42.0, 12_345.0].map(step),
            [1.0, 0.2, 2.0, 10.0, 5_000.0]
        );
        assert_eq!(marks(2.0, 8.0).collect::<Vec<_>>(), [0.0, 2.0, 4.0, 6.0, 8.0]);
    }

    #[test]
    fn an_axis_of_powers_of_ten_holds_every_figure() {
        let axis = Axis::decades([0.0, 0.3, 17_400.0].into_iter());
        assert_eq!(axis, Axis::Decades { first: -1, last: 5 });
        assert_eq!(axis.marks(), [0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0, 100_000.0]);
        assert_eq!(
            [0.0, 0.1, 100.0, 100_000.0].map(|figure| axis.place(figure)),
            [0.0, 0.0, 0.5, 1.0]
        );
        let one = Axis::decades([10.0].into_iter());
        assert_eq!(one.place(10.0), 0.0);
        assert_eq!(Axis::decades([].into_iter()), Axis::Decades { first: 0, last: 1 });
    }

    #[test]
    fn a_plot_has_its_lines_with_their_names_and_nothing_breaks_out_of_it() {
        let mut plot = Plot::new("a < b", "x", "y");
        let mut line = Line::new("\"Nave\" & others");
        line.points = vec![(1.0, 5.0), (10.0, 50.0)];
        plot.lines.push(line);
        let svg = plot.svg();
        assert_eq!(
            (svg.matches("<circle").count(), svg.matches("<polyline").count()),
            (2, 1)
        );
        assert!(svg.contains("a &lt; b") && svg.contains("&quot;Nave&quot; &amp; others"));
    }

    #[test]
    fn a_plot_without_points_is_drawn_all_the_same() {
        assert!(Plot::new("nothing", "x", "y").svg().ends_with("</svg>\n"));
    }
}
