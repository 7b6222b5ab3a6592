//! What goes on now, for whoever watches: bars with rates on a terminal, a line for each step elsewhere.

use std::io::IsTerminal as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// A step that is under way.
#[derive(Debug, Clone)]
pub(crate) struct Step(ProgressBar);

impl Step {
    /// Begins a step of `count` parts.
    pub(crate) fn begin(name: impl Into<String>, count: usize) -> Self {
        let name = name.into();
        if !std::io::stderr().is_terminal() {
            eprintln!("{name}");
        }
        let bar = ProgressBar::new(count as u64).with_message(name);
        let style = ProgressStyle::with_template("{msg:40} {bar:30} {pos:>8}/{len} {per_sec:>14} {elapsed:>5}");
        bar.set_style(style.expect("the template is well formed"));
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// One part is done.
    pub(crate) fn tick(&self) {
        self.0.inc(1);
    }

    /// So many parts are done.
    pub(crate) fn set(&self, done: u64) {
        self.0.set_position(done);
    }

    /// The step is over.
    pub(crate) fn end(self) {
        self.0.finish_and_clear();
    }
}
