//! A scenario's outcome for people at a terminal.

use std::fmt::Write as _;

use super::{Met, Outcome, Row};

/// Prints an outcome on standard output.
pub(crate) fn print(outcome: &Outcome) {
    println!("{}", text(outcome));
}

fn text(outcome: &Outcome) -> String {
    let mut text = String::new();
    let _ = write_all(&mut text, outcome);
    text
}

fn write_all(text: &mut String, outcome: &Outcome) -> std::fmt::Result {
    writeln!(text, "\n## {}\n", outcome.scenario)?;
    for (name, value) in &outcome.settings {
        writeln!(text, "{name} = {value}")?;
    }
    let machine = &outcome.machine;
    write!(text, "\n{} cores", machine.cores)?;
    if let Some([one, five, fifteen]) = machine.load {
        write!(text, ", load {one:.2} {five:.2} {fifteen:.2}")?;
    }
    if let Some(steal) = machine.steal_percent {
        write!(text, ", steal {steal:.1} %")?;
    }
    writeln!(text, "\n{}\n", verdict(outcome))?;
    for fault in &outcome.faults {
        writeln!(text, "FAULT: {fault}")?;
    }
    writeln!(text, "| metric | nave | spread | beside | ratio | goal | met |")?;
    writeln!(text, "|---|---|---|---|---|---|---|")?;
    for row in &outcome.rows {
        let [metric, nave, spread, beside, ratio, goal, met] = cells(row);
        writeln!(
            text,
            "| {metric} | {nave} | {spread} | {beside} | {ratio} | {goal} | {met} |"
        )?;
    }
    writeln!(text, "\n| process | CPU | resident | at most |\n|---|---|---|---|")?;
    for process in &outcome.processes {
        let (now, peak) = (mebibytes(process.rss_bytes), mebibytes(process.rss_peak_bytes));
        writeln!(
            text,
            "| {} | {:.2} s | {now:.1} MiB | {peak:.1} MiB |",
            process.name, process.cpu_seconds
        )?;
    }
    Ok(())
}

/// Whether the figures may be believed, in a sentence.
pub(super) fn verdict(outcome: &Outcome) -> String {
    let complete = match outcome.complete {
        true => "Complete: no gap, nothing twice, in order, every chain whole",
        false => "NOT COMPLETE: no figure counts",
    };
    let valid = match outcome.valid {
        true => "",
        false => "; INVALID: the machine's speed moved too often",
    };
    let indicative = match outcome.indicative {
        true => "; indicative only: one short round",
        false => "",
    };
    format!(
        "{complete}{valid}{indicative}. Rounds: {} counted, {} repeated.",
        outcome.rounds, outcome.rounds_repeated
    )
}

/// The cells of a row: metric, nave, spread, beside, ratio, goal, met.
pub(super) fn cells(row: &Row) -> [String; 7] {
    let beside = match (row.beside, row.name_beside) {
        (Some(figure), Some(name)) => format!("{} ({name})", short(figure)),
        (None, Some(name)) => format!("not measured ({name})"),
        _ => String::new(),
    };
    let met = match row.met {
        Met::Yes => "yes",
        Met::No => "NO",
        Met::NotMeasured => "not measured",
        Met::NoGoal => "",
    };
    [
        row.metric.clone(),
        format!("{} {}", short(row.nave), row.unit).trim_end().to_owned(),
        format!("{} to {}", short(row.spread[0]), short(row.spread[1])),
        beside,
        row.ratio.map(short).unwrap_or_default(),
        row.goal.clone().unwrap_or_default(),
        met.to_owned(),
    ]
}

fn mebibytes(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// A figure with as many digits as it deserves.
pub(super) fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 1_000.0 => grouped(figure),
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{figure:.2}"),
        _ => format!("{figure:.5}"),
    }
}

fn grouped(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match figure < 0.0 {
        true => format!("-{grouped}"),
        false => grouped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_the_digits_they_deserve() {
        let all = [0.0, 0.001, 0.5, 12.34, 123.4, 1_234.5, 1_234_567.0].map(short);
        assert_eq!(all, ["0.00", "0.00100", "0.50", "12.3", "123", "1,234", "1,234,567"]);
    }
}
