//! What a scenario found: rows of figures with what stands beside them, what the settings were, whether nothing was lost.

mod html;
mod plot;
mod ratios;
mod text;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::measure::{self, Machine, Usage};
use crate::rounds::Played;

pub(crate) use html::page;
pub(crate) use plot::{Line, Plot};
pub(crate) use text::print;

/// One figure of one round.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// What it is; the same in each round.
    pub(crate) metric: String,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// Nave's figure.
    pub(crate) nave: f64,
    /// The figure of what stands beside it.
    pub(crate) beside: Option<f64>,
    /// What stands beside it.
    pub(crate) name_beside: Option<&'static str>,
    /// What is to be reached.
    pub(crate) goal: Option<Goal>,
}

impl Sample {
    /// A figure by itself.
    pub(crate) fn new(metric: impl Into<String>, unit: &'static str, nave: f64) -> Self {
        Self {
            metric: metric.into(),
            unit,
            nave,
            beside: None,
            name_beside: None,
            goal: None,
        }
    }

    /// The same beside the figure of something else.
    pub(crate) fn beside(mut self, name: &'static str, figure: f64) -> Self {
        (self.name_beside, self.beside) = (Some(name), Some(figure));
        self
    }

    /// The same beside something that is not on this machine.
    pub(crate) fn beside_nothing(mut self, name: &'static str) -> Self {
        self.name_beside = Some(name);
        self
    }

    /// The same beside something that may not be on this machine.
    pub(crate) fn beside_if(self, name: &'static str, figure: Option<f64>) -> Self {
        match figure {
            Some(figure) => self.beside(name, figure),
            None => self.beside_nothing(name),
        }
    }

    /// The same with a goal.
    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }
}

/// What is to be reached.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// So many times what stands beside, at least.
    RatioAtLeast(f64),
    /// So many times what stands beside, at most.
    RatioAtMost(f64),
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RatioAtLeast(ratio) => write!(f, "ratio >= {ratio}"),
            Self::RatioAtMost(ratio) => write!(f, "ratio <= {ratio}"),
        }
    }
}

/// Whether a goal was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// It was.
    Yes,
    /// It was not.
    No,
    /// What it is compared with is not on this machine, or the run is not to be trusted.
    NotMeasured,
    /// There is none.
    NoGoal,
}

impl Serialize for Met {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Yes => serializer.serialize_bool(true),
            Self::No => serializer.serialize_bool(false),
            Self::NotMeasured => serializer.serialize_str("not measured"),
            Self::NoGoal => serializer.serialize_none(),
        }
    }
}

/// One figure over all rounds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) metric: String,
    pub(crate) unit: &'static str,
    /// Median of the rounds.
    pub(crate) nave: f64,
    /// Least and greatest of the rounds.
    pub(crate) spread: [f64; 2],
    /// Median of the rounds.
    pub(crate) beside: Option<f64>,
    pub(crate) name_beside: Option<&'static str>,
    /// Median of the rounds' own ratios.
    pub(crate) ratio: Option<f64>,
    /// Least and greatest ratio of the rounds.
    pub(crate) ratio_spread: Option<[f64; 2]>,
    pub(crate) goal: Option<String>,
    pub(crate) met: Met,
}

impl Row {
    /// The figures of one metric, one of each round and at least one.
    fn of(samples: &[&Sample], valid: bool) -> Self {
        let first = samples[0];
        let nave = Middle::of(samples.iter().map(|sample| sample.nave));
        let beside = Middle::of(samples.iter().filter_map(|sample| sample.beside));
        let ratios = samples.iter().filter_map(|sample| {
            let beside = sample.beside.filter(|beside| *beside != 0.0)?;
            Some(sample.nave / beside)
        });
        let ratio = Middle::of(ratios);
        let met = match (first.goal, ratio) {
            (None, _) => Met::NoGoal,
            (Some(_), None) => Met::NotMeasured,
            (Some(_), Some(_)) if !valid => Met::NotMeasured,
            (Some(Goal::RatioAtLeast(least)), Some(found)) if found.median >= least => Met::Yes,
            (Some(Goal::RatioAtMost(most)), Some(found)) if found.median <= most => Met::Yes,
            _ => Met::No,
        };
        Self {
            metric: first.metric.clone(),
            unit: first.unit,
            nave: nave.map_or(0.0, |nave| nave.median),
            spread: nave.map_or([0.0; 2], |nave| nave.spread),
            beside: beside.map(|beside| beside.median),
            name_beside: first.name_beside,
            ratio: ratio.map(|ratio| ratio.median),
            ratio_spread: ratio.map(|ratio| ratio.spread),
            goal: first.goal.map(|goal| goal.to_string()),
            met,
        }
    }
}

#[derive(Clone, Copy)]
struct Middle {
    median: f64,
    spread: [f64; 2],
}

impl Middle {
    fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_by(f64::total_cmp);
        let (first, last) = (*figures.first()?, *figures.last()?);
        Some(Self {
            median: figures[(figures.len() - 1) / 2],
            spread: [first, last],
        })
    }
}

/// What one process of ours used over the whole scenario.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ProcessUse {
    pub(crate) name: String,
    pub(crate) cpu_seconds: f64,
    pub(crate) rss_bytes: u64,
    pub(crate) rss_peak_bytes: u64,
}

/// What this process is called among those of a scenario.
const GENERATOR: &str = "generator";

impl ProcessUse {
    /// What this process used until now; [`Outcome::since`] takes off what was no part of the scenario.
    pub(crate) fn generator() -> Option<Self> {
        Self::of(GENERATOR.to_owned(), std::process::id())
    }

    /// What the process `id` used until now. `None`: it is gone, or the system does not tell.
    pub(crate) fn of(name: String, id: u32) -> Option<Self> {
        let usage = measure::usage(id)?;
        Some(Self {
            name,
            cpu_seconds: usage.cpu.as_secs_f64(),
            rss_bytes: usage.rss,
            rss_peak_bytes: usage.rss_peak,
        })
    }
}

/// Settings by name, as they are printed.
pub(crate) type Settings = BTreeMap<&'static str, serde_json::Value>;

/// What a scenario found.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) scenario: &'static str,
    pub(crate) settings: Settings,
    /// Everything that was accepted arrived everywhere: no gap, nothing twice, in order, with its chain.
    pub(crate) complete: bool,
    /// What was not as it must be.
    pub(crate) faults: Vec<String>,
    /// The machine was steady in as many rounds as were wanted.
    pub(crate) valid: bool,
    /// One short round: an impression, not a measurement.
    pub(crate) indicative: bool,
    pub(crate) rounds: usize,
    pub(crate) rounds_repeated: usize,
    pub(crate) rows: Vec<Row>,
    pub(crate) machine: Machine,
    pub(crate) processes: Vec<ProcessUse>,
    #[serde(skip)]
    pub(crate) plots: Vec<Plot>,
}

impl Outcome {
    /// Takes the rounds of one setting in. No figure of a run that lost something counts.
    pub(crate) fn take(&mut self, played: &Played) {
        self.valid &= played.valid;
        self.rounds += played.counted;
        self.rounds_repeated += played.repeated;
        let counts = played.valid && self.complete;
        let metrics = played.kept.first().map_or(0, Vec::len);
        for metric in 0..metrics {
            let samples: Vec<&Sample> = played.kept.iter().filter_map(|round| round.get(metric)).collect();
            self.rows.push(Row::of(&samples, counts));
        }
    }

    /// Notes what is not as it must be.
    pub(crate) fn fault(&mut self, faults: Vec<String>) {
        self.complete &= faults.is_empty();
        self.faults.extend(faults);
    }

    /// Takes off what this process had worked before the scenario began.
    pub(crate) fn since(&mut self, before: Option<Usage>) {
        let worked = before.map_or(0.0, |before| before.cpu.as_secs_f64());
        let ours = self.processes.iter_mut().filter(|process| process.name == GENERATOR);
        ours.for_each(|process| process.cpu_seconds -= worked);
    }

    /// Whether the run may be believed.
    pub(crate) fn holds(&self) -> bool {
        self.complete && self.valid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(goal: Goal, pairs: &[(f64, f64)], valid: bool) -> Row {
        let samples: Vec<Sample> = pairs
            .iter()
            .map(|(nave, beside)| Sample::new("m", "", *nave).beside("bare", *beside).goal(goal))
            .collect();
        Row::of(&samples.iter().collect::<Vec<_>>(), valid)
    }

    #[test]
    fn a_row_has_medians_and_spreads_and_the_median_of_its_own_ratios() {
        let row = row(
            Goal::RatioAtLeast(0.4),
            &[(10.0, 20.0), (30.0, 100.0), (20.0, 20.0)],
            true,
        );
        assert_eq!((row.nave, row.spread, row.beside), (20.0, [10.0, 30.0], Some(20.0)));
        assert_eq!(
            (row.ratio, row.ratio_spread, row.met),
            (Some(0.5), Some([0.3, 1.0]), Met::Yes)
        );
    }

    #[test]
    fn a_goal_is_missed_by_what_lies_on_its_other_side() {
        assert_eq!(row(Goal::RatioAtLeast(0.4), &[(3.0, 10.0)], true).met, Met::No);
        assert_eq!(row(Goal::RatioAtMost(0.4), &[(3.0, 10.0)], true).met, Met::Yes);
        assert_eq!(row(Goal::RatioAtMost(0.2), &[(3.0, 10.0)], true).met, Met::No);
    }

    #[test]
    fn a_goal_without_its_peer_or_of_an_invalid_run_is_not_measured() {
        let alone = Sample::new("m", "", 1.0)
            .beside_nothing("nats-server")
            .goal(Goal::RatioAtLeast(1.0));
        assert_eq!(Row::of(&[&alone], true).met, Met::NotMeasured);
        assert_eq!(
            row(Goal::RatioAtLeast(0.1), &[(3.0, 10.0)], false).met,
            Met::NotMeasured
        );
        let written = serde_json::to_string(&[Met::Yes, Met::No, Met::NotMeasured, Met::NoGoal]);
        assert_eq!(written.ok().as_deref(), Some(r#"[true,false,"not measured",null]"#));
    }
}
