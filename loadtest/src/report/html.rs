//! Outcomes as one page of HTML: tables and plots, no script, no network.

use std::fmt::Write as _;

use super::Outcome;
use super::plot::escaped;
use super::ratios;
use super::text::{cells, short, verdict};

const STYLE: &str = "
:root { color-scheme: light dark; --faint: #8884; }
body { font: 15px/1.45 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { text-align: left; padding: .25rem .7rem; border-bottom: 1px solid var(--faint); vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.yes { color: #009e73; } td.no, .bad { color: #d55e00; font-weight: 600; }
svg { max-width: 46rem; display: block; margin: 1.5rem 0; font-size: 11px; fill: currentColor; }
svg .title { font-size: 13px; font-weight: 600; }
svg .grid { stroke: var(--faint); }
svg .y { text-anchor: end; } svg .x { text-anchor: middle; }
";

/// The page of some outcomes.
pub(crate) fn page(outcomes: &[Outcome]) -> String {
    let mut page = String::new();
    let _ = write_page(&mut page, outcomes);
    page
}

fn write_page(page: &mut String, outcomes: &[Outcome]) -> std::fmt::Result {
    writeln!(page, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">")?;
    writeln!(page, "<meta name=\"viewport\" content=\"width=device-width\">")?;
    writeln!(page, "<title>Nave under load</title>\n<style>{STYLE}</style>")?;
    writeln!(page, "<h1>Nave under load</h1>")?;
    for outcome in outcomes {
        write_outcome(page, outcome)?;
    }
    writeln!(page, "</html>")
}

fn write_outcome(page: &mut String, outcome: &Outcome) -> std::fmt::Result {
    writeln!(page, "<h2>{}</h2>", escaped(outcome.scenario))?;
    let class = if outcome.holds() { "good" } else { "bad" };
    writeln!(page, "<p class=\"{class}\">{}</p>", escaped(&verdict(outcome)))?;
    for fault in &outcome.faults {
        writeln!(page, "<p class=\"bad\">{}</p>", escaped(fault))?;
    }
    writeln!(
        page,
        "<table>\n<tr><th>metric<th>Nave<th>spread<th>beside<th>ratio<th>goal<th>met"
    )?;
    for row in &outcome.rows {
        let [metric, nave, spread, beside, ratio, goal, met] = cells(row).map(|cell| escaped(&cell));
        let class = met.to_lowercase();
        writeln!(
            page,
            "<tr><td>{metric}<td class=\"number\">{nave}<td class=\"number\">{spread}<td>{beside}\
             <td class=\"number\">{ratio}<td>{goal}<td class=\"{class}\">{met}"
        )?;
    }
    writeln!(page, "</table>")?;
    page.push_str(&ratios::svg(&outcome.rows));
    for plot in &outcome.plots {
        page.push_str(&plot.svg());
    }
    writeln!(
        page,
        "<table>\n<tr><th>process<th>CPU, s<th>resident, MiB<th>at most, MiB"
    )?;
    for process in &outcome.processes {
        let mebibytes = |octets: u64| short(octets as f64 / f64::from(1 << 20));
        writeln!(
            page,
            "<tr><td>{}<td class=\"number\">{:.2}<td class=\"number\">{}<td class=\"number\">{}",
            escaped(&process.name),
            process.cpu_seconds,
            mebibytes(process.rss_bytes),
            mebibytes(process.rss_peak_bytes)
        )?;
    }
    writeln!(page, "</table>\n<table>\n<tr><th>setting<th>value")?;
    for (name, value) in &outcome.settings {
        writeln!(page, "<tr><td>{}<td>{}", escaped(name), escaped(&value.to_string()))?;
    }
    let machine = &outcome.machine;
    writeln!(page, "<tr><td>cores<td>{}", machine.cores)?;
    if let Some(load) = machine.load {
        writeln!(
            page,
            "<tr><td>load averages<td>{:.2} {:.2} {:.2}",
            load[0], load[1], load[2]
        )?;
    }
    if let Some(steal) = machine.steal_percent {
        writeln!(page, "<tr><td>steal, %<td>{steal:.1}")?;
    }
    writeln!(page, "</table>")
}
