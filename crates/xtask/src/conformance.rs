//! What the drafts require, and which test shows it. A test belongs to the ids that its function's name begins with, so
//! the proof can be read off any run of the tests: an id has a test that passes, or a reason that is written down, or it
//! is missing. Judges what the tests said and nothing else: whether a test shows what its name says is for its reader.

mod outcomes;
mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use anyhow::{Context, ensure};

pub use outcomes::{Outcome, Outcomes};

/// The requirements, one to a row, below the root.
pub const REQUIREMENTS: &str = "docs/requirements.md";
/// The reasons that stand for tests, below the root.
pub const DEVIATIONS: &str = "docs/deviations.md";
/// What comes of it, below the root.
pub const REPORT: &str = "docs/conformance.md";

/// Name of a requirement, as `H-16`: an area and a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    area: String,
    number: String,
}

impl Id {
    /// Reads `H-16`.
    pub fn parse(text: &str) -> Option<Self> {
        let (area, number) = text.split_once('-')?;
        let upper = !area.is_empty() && area.bytes().all(|b| b.is_ascii_uppercase());
        let digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
        (upper && digits).then(|| Self {
            area: area.to_owned(),
            number: number.to_owned(),
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.area, self.number)
    }
}

/// One promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Its name.
    pub id: Id,
    /// The section of the draft, as the row writes it.
    pub place: String,
}

/// A heading of the requirements and the rows below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Area {
    /// The heading.
    pub title: String,
    /// The rows.
    pub requirements: Vec<Requirement>,
}

/// What is promised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Promises {
    /// In the order in which they are written.
    pub areas: Vec<Area>,
    /// Why something is not as the drafts have it.
    pub reasons: BTreeMap<Id, String>,
}

/// The cells of a table's row that begins with an id.
fn row(line: &str) -> Option<(Id, Vec<&str>)> {
    let mut cells = line.strip_prefix('|')?.strip_suffix('|')?.split('|').map(str::trim);
    let id = Id::parse(cells.next()?)?;
    Some((id, cells.collect()))
}

impl Promises {
    /// Reads the two documents.
    pub fn parse(requirements: &str, deviations: &str) -> anyhow::Result<Self> {
        let mut promises = Self::default();
        let mut known = BTreeSet::new();
        for line in requirements.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                promises.areas.push(Area {
                    title: title.to_owned(),
                    requirements: Vec::new(),
                });
            } else if let Some((id, cells)) = row(line) {
                let [place, text] = cells[..] else {
                    anyhow::bail!("{REQUIREMENTS}: the row of {id} has not three cells");
                };
                ensure!(!text.is_empty(), "{REQUIREMENTS}: {id} says nothing");
                ensure!(known.insert(id.clone()), "{REQUIREMENTS}: {id} stands there twice");
                let area = promises.areas.last_mut();
                let area = area.with_context(|| format!("{REQUIREMENTS}: {id} has no heading"))?;
                area.requirements.push(Requirement {
                    id,
                    place: place.to_owned(),
                });
            }
        }
        ensure!(!known.is_empty(), "{REQUIREMENTS} has no requirements");
        for (id, cells) in deviations.lines().filter_map(row) {
            let [reason] = cells[..] else {
                anyhow::bail!("{DEVIATIONS}: the row of {id} has not two cells");
            };
            ensure!(!reason.is_empty(), "{DEVIATIONS}: {id} has no reason");
            ensure!(known.contains(&id), "{DEVIATIONS}: {id} is no requirement");
            let reason = reason.to_owned();
            ensure!(
                promises.reasons.insert(id.clone(), reason).is_none(),
                "{DEVIATIONS}: {id} stands there twice"
            );
        }
        Ok(promises)
    }

    /// Reads the two documents of the checkout.
    pub fn read(root: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| std::fs::read_to_string(root.join(name)).with_context(|| format!("read {name}"));
        Self::parse(&read(REQUIREMENTS)?, &read(DEVIATIONS)?)
    }

    fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.areas.iter().flat_map(|area| &area.requirements)
    }

    /// The ids that a test's function is of: those that its name begins with, `h_16_h_24_…`.
    pub fn ids(&self, function: &str) -> Vec<Id> {
        let areas: BTreeSet<&str> = self.requirements().map(|each| each.id.area.as_str()).collect();
        let mut words = function.split('_');
        let mut ids = Vec::new();
        while let (Some(area), Some(number)) = (words.next(), words.next()) {
            match Id::parse(&format!("{}-{number}", area.to_ascii_uppercase())) {
                Some(id) if areas.contains(id.area.as_str()) => ids.push(id),
                _ => break,
            }
        }
        ids
    }
}

/// How it stands with one requirement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// A test shows it, and none of its tests fails.
    Pass,
    /// No test shows it, and the reason is written down.
    Reason,
    /// A test of it fails.
    Fail,
    /// Neither a test that passes nor a reason.
    Missing,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Reason => "reason",
            Self::Fail => "FAIL",
            Self::Missing => "MISSING",
        })
    }
}

/// The requirements beside what the tests said.
#[derive(Debug)]
pub struct Conformance<'a> {
    promises: &'a Promises,
    outcomes: &'a Outcomes,
    tests: BTreeMap<Id, BTreeMap<&'a str, Outcome>>,
}

impl<'a> Conformance<'a> {
    /// Gives each requirement its tests.
    pub fn of(promises: &'a Promises, outcomes: &'a Outcomes) -> Self {
        let mut tests: BTreeMap<Id, BTreeMap<&str, Outcome>> = BTreeMap::new();
        for (function, outcome) in outcomes.functions() {
            for id in promises.ids(function) {
                tests.entry(id).or_default().insert(function, outcome);
            }
        }
        Self {
            promises,
            outcomes,
            tests,
        }
    }

    fn status(&self, id: &Id) -> Status {
        let outcomes = self.tests.get(id).into_iter().flat_map(BTreeMap::values);
        match outcomes.max() {
            Some(Outcome::Failed) => Status::Fail,
            Some(Outcome::Passed) => Status::Pass,
            _ if self.promises.reasons.contains_key(id) => Status::Reason,
            _ => Status::Missing,
        }
    }

    /// Each breach as a sentence: a requirement that nothing shows, a test that fails or names no requirement.
    pub fn breaches(&self) -> Vec<String> {
        let mut breaches = self.outcomes.breaches().to_vec();
        for each in self.promises.requirements() {
            if self.status(&each.id) == Status::Missing {
                breaches.push(format!(
                    "{} ({}) has neither a test that passes nor a reason in {DEVIATIONS}",
                    each.id, each.place
                ));
            }
        }
        let known: BTreeSet<&Id> = self.promises.requirements().map(|each| &each.id).collect();
        for (id, tests) in self.tests.iter().filter(|(id, _)| !known.contains(id)) {
            let names: Vec<&str> = tests.keys().copied().collect();
            breaches.push(format!("{} names {id}, which is no requirement", names.join(", ")));
        }
        breaches
    }
}
