//! What is measured: each scenario sets its processes up, plays its rounds and says what it found.

pub(crate) mod accept;
pub(crate) mod bench;
pub(crate) mod catchup;
pub(crate) mod clients;
pub(crate) mod commits;
pub(crate) mod edge;
pub(crate) mod failover;
pub(crate) mod fanout;
pub(crate) mod mix;
pub(crate) mod providers;
pub(crate) mod stalled;

use anyhow::ensure;

use crate::cli::Common;
use crate::measure::Watch;
use crate::report::{Outcome, Settings};
use crate::rounds::Rounds;
use crate::stage::{Ground, Programs, Wholes};

/// What `all` plays, in this order.
pub(crate) const ALL: [&str; 10] = [
    "fanout",
    "accept",
    "commits",
    "catchup",
    "stalled",
    "failover",
    "edge",
    "clients",
    "providers",
    "mix",
];

/// What a bare loop is called in a row.
pub(crate) const BARE_QUINN: &str = "bare quinn";
/// What a server that is not on this machine would be called.
pub(crate) const NATS: &str = "NATS JetStream, un-synced";
/// The same.
pub(crate) const NATS_SYNCED: &str = "NATS JetStream, sync always";

/// What all scenarios need to know.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) ground: Ground,
    pub(crate) rounds: Rounds,
    pub(crate) quick: bool,
    /// Providers that run already, instead of some that are started.
    pub(crate) against: Vec<String>,
    /// Files and sockets that this process may have open.
    open_files: u64,
}

impl Setting {
    /// As the command line says.
    ///
    /// # Errors
    /// Nave's programs are not where they should be.
    pub(crate) fn of(common: &Common) -> anyhow::Result<Self> {
        // Against a running deployment nothing is started.
        let needed: &[&str] = match common.against.is_empty() {
            true => &["nave", "nave-hub", "nave-edge"],
            false => &[],
        };
        let programs = Programs::find(common.programs.as_deref(), needed)?;
        let directory = common.directory()?;
        Ok(Self {
            ground: Ground { programs, directory },
            rounds: common.rounds(),
            quick: common.quick,
            against: common.against.clone(),
            open_files: daemon::descriptors::raise()?.now,
        })
    }

    /// A whole provider for each of `names`, started for the purpose, or as many that run already.
    ///
    /// # Errors
    /// Something does not start, or does not answer, or others are named than are needed.
    pub(crate) async fn wholes(&self, names: &[&str]) -> anyhow::Result<Wholes> {
        if self.against.is_empty() {
            return Wholes::start(&self.ground, names).await;
        }
        let (needed, named) = (names.len(), self.against.len());
        ensure!(
            named == needed,
            "--against names {named} providers, where {needed} are needed"
        );
        Wholes::running(&self.against).await
    }

    /// An outcome of which nothing is known yet but its settings.
    pub(crate) fn outcome(&self, scenario: &'static str, mut settings: Settings, watch: &Watch) -> Outcome {
        settings.insert("open_files", self.open_files.into());
        Outcome {
            scenario,
            settings,
            complete: true,
            faults: Vec::new(),
            valid: true,
            indicative: self.quick,
            rounds: 0,
            rounds_repeated: 0,
            rows: Vec::new(),
            machine: watch.machine(),
            processes: Vec::new(),
            plots: Vec::new(),
        }
    }
}
