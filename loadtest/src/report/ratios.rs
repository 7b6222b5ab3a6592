//! The ratios of a scenario's rows to what stands beside them, as bars from 1 outwards: each step of the axis doubles.

use std::fmt::Write as _;

use super::plot::escaped;
use super::text::short;
use super::{Met, Row};

const WIDTH: f64 = 880.0;
const ROW: f64 = 20.0;
/// Where the bars begin.
const LEFT: f64 = 520.0;
/// Doublings to either side; what is farther is cut off there.
const DOUBLINGS: f64 = 8.0;

/// An SVG element; empty where no row has a ratio.
pub(super) fn svg(rows: &[Row]) -> String {
    let mut svg = String::new();
    let _ = draw(&mut svg, rows);
    svg
}

fn draw(svg: &mut String, rows: &[Row]) -> std::fmt::Result {
    let with: Vec<(&Row, f64)> = rows.iter().filter_map(|row| Some((row, row.ratio?))).collect();
    if with.is_empty() {
        return Ok(());
    }
    let high = ROW * (with.len() as f64 + 2.0);
    let half = (WIDTH - LEFT - 60.0) / 2.0;
    let middle = LEFT + half;
    writeln!(
        svg,
        r#"<svg viewBox="0 0 {WIDTH} {high}" role="img" xmlns="http://www.w3.org/2000/svg">"#
    )?;
    writeln!(
        svg,
        r#"<text class="title" x="8" y="15">Ratio to what stands beside</text>"#
    )?;
    let end = high - ROW;
    writeln!(
        svg,
        r#"<line class="grid" x1="{middle}" y1="{ROW}" x2="{middle}" y2="{end}"/><text class="x" x="{middle}" y="{high}" dy="-5">1</text>"#
    )?;
    for (number, (row, ratio)) in with.into_iter().enumerate() {
        let top = ROW * (number as f64 + 1.0);
        let to = middle + half * place(ratio);
        let (from, wide) = (middle.min(to), (to - middle).abs().max(1.0));
        let beside = row.name_beside.unwrap_or_default();
        let name = escaped(&format!("{} / {beside}", row.metric));
        let (text, bar) = (top + 14.0, top + 4.0);
        writeln!(svg, r#"<text x="8" y="{text}" font-size="11">{name}</text>"#)?;
        writeln!(
            svg,
            r#"<rect x="{from:.1}" y="{bar}" width="{wide:.1}" height="12" fill="{}"><title>{name}: {}</title></rect>"#,
            colour(row.met),
            short(ratio)
        )?;
        let at = WIDTH - 55.0;
        writeln!(svg, r#"<text x="{at}" y="{text}">{}</text>"#, short(ratio))?;
    }
    writeln!(svg, "</svg>")
}

/// From -1 to 1: on the right what is more than what stands beside.
fn place(ratio: f64) -> f64 {
    match ratio > 0.0 {
        true => (ratio.log2() / DOUBLINGS).clamp(-1.0, 1.0),
        false => -1.0,
    }
}

fn colour(met: Met) -> &'static str {
    match met {
        Met::Yes => "#2a9d4a",
        Met::No => "#c8402f",
        Met::NotMeasured | Met::NoGoal => "#7a869a",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_begin_at_one_and_end_at_the_edge() {
        assert_eq!(
            [1.0, 0.0, f64::INFINITY, 1e9, 1e-9].map(place),
            [0.0, -1.0, 1.0, 1.0, -1.0]
        );
        assert_eq!(place(2.0), -place(0.5));
    }

    #[test]
    fn without_a_ratio_there_is_nothing() {
        assert_eq!(svg(&[]), "");
    }
}
