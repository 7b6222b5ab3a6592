//! Figures of turns, as rows of a table.

use std::time::Duration;

use super::crowd::Round;

/// What hub and bare loop took for the same.
pub struct Turn {
    pub round: Round,
    pub bare: Duration,
}

/// Prints the head of a table in Markdown.
pub fn head(store: &str, bare: &str) {
    println!("\n{store}: entries of 1 KiB messages, medians of turns\n");
    println!(
        "| in flight | rooms | entries/s | p50 | p99 | entries per transaction | entries per sync | octets per entry \
         | {bare}, entries/s | ratio | lowest, highest |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
}

/// Prints what came out of some turns, as a row of it.
pub fn row(in_flight: usize, rooms: usize, turns: &[Turn]) {
    let entries = |turn: &Turn| turn.round.entries as f64;
    let hub = sorted(turns.iter().map(|turn| entries(turn) / turn.round.took.as_secs_f64()));
    let (bare, ratios) = (rates_beside(turns), ratios(turns));
    let latencies = sorted(
        turns
            .iter()
            .flat_map(|turn| &turn.round.latencies)
            .map(Duration::as_secs_f64),
    );
    let all: f64 = turns.iter().map(entries).sum();
    let sum = |of: fn(&Round) -> u64| turns.iter().map(|turn| of(&turn.round)).sum::<u64>() as f64;
    let syncs = match sum(|round| round.written.groups) {
        0.0 => "-".to_owned(),
        syncs => format!("{:.1}", all / syncs),
    };
    println!(
        "| {in_flight} | {rooms} | {:.0} | {:.2} ms | {:.2} ms | {:.1} | {syncs} | {:.0} | {:.0} | {:.2} | {:.2}, {:.2} |",
        at(&hub, 50),
        1e3 * at(&latencies, 50),
        1e3 * at(&latencies, 99),
        all / sum(|round| round.written.transactions),
        sum(|round| round.written.octets) / all,
        at(&bare, 50),
        at(&ratios, 50),
        at(&ratios, 0),
        at(&ratios, 100),
    );
}

/// Prints what the hub reaches of something else that was measured in the same turns.
pub fn beside(name: &str, turns: &[Turn]) {
    let (bare, ratios) = (rates_beside(turns), ratios(turns));
    println!(
        "\n{name}: {:.0} entries/s, of which the hub has {:.2} ({:.2} to {:.2})",
        at(&bare, 50),
        at(&ratios, 50),
        at(&ratios, 0),
        at(&ratios, 100),
    );
}

/// Entries per second of what stands beside the hub.
fn rates_beside(turns: &[Turn]) -> Vec<f64> {
    sorted(
        turns
            .iter()
            .map(|turn| turn.round.entries as f64 / turn.bare.as_secs_f64()),
    )
}

/// What the hub reaches of it.
fn ratios(turns: &[Turn]) -> Vec<f64> {
    sorted(
        turns
            .iter()
            .map(|turn| turn.bare.as_secs_f64() / turn.round.took.as_secs_f64()),
    )
}

fn sorted(figures: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// A percentile of sorted figures.
fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}
