//! What the demo shows a person while it runs: each step, a bar for the burst, a summary. Silent when the caller wants
//! JSON; colour only on a terminal.

use std::fmt;
use std::io::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use owo_colors::OwoColorize;

use super::report::{Report, Step};

/// Where the demo shows itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct View {
    shown: bool,
}

impl View {
    /// Shows everything on standard output.
    pub(super) fn terminal() -> Self {
        Self { shown: true }
    }

    /// Shows nothing.
    pub(super) fn silent() -> Self {
        Self { shown: false }
    }

    fn line(self, text: std::fmt::Arguments<'_>) {
        if self.shown {
            let mut out = anstream::stdout().lock();
            // A reader who went away is no reason to stop.
            writeln!(out, "{text}").and_then(|()| out.flush()).ok();
        }
    }

    pub(super) fn opening(self, providers: &[String]) {
        let names = providers.join(", ");
        self.line(format_args!(
            "{} {}",
            "Nave demo".bold(),
            format_args!("with the providers {names}").dimmed()
        ));
    }

    /// A step has ended; `note` says in a few words what it showed.
    pub(super) fn step(self, step: &Step, note: &str) {
        let mark = if step.ok {
            "ok  ".green().to_string()
        } else {
            "FAIL".red().bold().to_string()
        };
        let ms = format!("{:>6} ms", step.ms);
        self.line(format_args!(
            "  {mark} {:<16} {}  {note}",
            step.name.bold(),
            ms.dimmed()
        ));
        if let Some(error) = &step.error {
            self.line(format_args!("       {}", error.red()));
        }
    }

    /// A bar for `total` decryptions; hidden where standard error is no terminal.
    pub(super) fn burst(self, total: u64) -> ProgressBar {
        if !self.shown {
            return ProgressBar::hidden();
        }
        let template = "       {bar:32.cyan/blue} {pos}/{len} decrypted, {rate}/s";
        let rate = |state: &ProgressState, text: &mut dyn fmt::Write| {
            // A bar that cannot be written is no reason to stop.
            let _ = write!(text, "{:.0}", state.per_sec());
        };
        let style = ProgressStyle::with_template(template)
            .expect("the template is well formed")
            .with_key("rate", rate);
        let bar = ProgressBar::new(total).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(100));
        bar
    }

    pub(super) fn summary(self, report: &Report) {
        if let Some(first) = report.clients.first() {
            self.tables(report, &first.room);
        }
        let verdict = if report.ok {
            "every check held".green().to_string()
        } else {
            "a check did not hold".red().bold().to_string()
        };
        self.line(format_args!("\n{verdict}"));
    }

    fn tables(self, report: &Report, room: &str) {
        self.line(format_args!("\n{} {room}", "Room".bold()));
        self.line(format_args!(
            "  {} sent, {} decrypted ({} of them late), {} lost, {} duplicated, {} out of order",
            report.sent, report.delivered, report.late, report.lost, report.duplicates, report.order_violations
        ));
        self.line(format_args!(
            "  {:.1} kB of content; submit to decrypted p50 {:.1} ms, p99 {:.1} ms",
            report.bytes as f64 / 1_000.0,
            report.p50_ms,
            report.p99_ms
        ));
        self.line(format_args!("{}", "Clients".bold()));
        for client in &report.clients {
            self.line(format_args!(
                "  {:<34} epoch {:>3}, sent {:>5}, decrypted {:>5}",
                client.client, client.epoch, client.sent, client.decrypted
            ));
        }
        let agreement = if report.epoch_agreement {
            "the same everywhere"
        } else {
            "NOT the same everywhere"
        };
        self.line(format_args!("  epoch authenticator: {agreement}"));
    }
}
