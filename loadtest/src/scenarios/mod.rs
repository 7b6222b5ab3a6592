//! What is measured: each scenario sets its processes up, plays its rounds and says what it found.

pub(crate) mod accept;
pub(crate) mod bench;
pub(crate) mod catchup;
pub(crate) mod commits;
pub(crate) mod failover;
pub(crate) mod fanout;
pub(crate) mod stalled;

use crate::cli::Common;
use crate::measure::Watch;
use crate::report::{Outcome, Settings};
use crate::rounds::Rounds;
use crate::stage::{Ground, Programs};

/// What `all` plays, in this order.
pub(crate) const ALL: [&str; 6] = ["fanout", "accept", "commits", "catchup", "stalled", "failover"];

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
    /// Files and sockets that this process may have open.
    open_files: u64,
}

impl Setting {
    /// As the command line says.
    ///
    /// # Errors
    /// Nave's programs are not where they should be.
    pub(crate) fn of(common: &Common) -> anyhow::Result<Self> {
        let programs = Programs::find(common.programs.as_deref(), &["nave", "nave-hub"])?;
        let directory = common.directory()?;
        Ok(Self {
            ground: Ground { programs, directory },
            rounds: common.rounds(),
            quick: common.quick,
            open_files: daemon::descriptors::raise()?.now,
        })
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
