//! The command line.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};

use crate::beside;
use crate::rounds::Rounds;
use crate::scenarios::{accept, catchup, clients, commits, edge, failover, fanout, mix, providers, stalled};

/// Measures Nave under load, beside what this machine can do without it. Nothing counts of a run that lost anything.
#[derive(Debug, Parser)]
#[command(version, about)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
    #[command(flatten)]
    pub(crate) common: Common,
}

/// What all scenarios take.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// Write the outcome as JSON
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Write the outcome as one page of HTML, which needs no network
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// One short round: an impression, marked as such
    #[arg(long, global = true)]
    pub(crate) quick: bool,
    /// Rounds that count; up to three times as many are played where the machine's speed moves
    #[arg(long, global = true, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Providers that run already, instead of some that are started: of each the configuration that `nave init` made, which
    /// names its user's token, and before it, if that is not where it listens, the address of its provider API. For
    /// `providers` (two, the hub first) and `clients` (one)
    #[arg(long, global = true, value_name = "[ADDRESS@]DIR/nave.toml", value_delimiter = ',')]
    pub(crate) against: Vec<String>,
    /// Where Nave's programs are [default: beside this one]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,
    /// Where the processes keep everything; its disk is measured, too [default: beside this program]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
}

impl Common {
    /// Where everything is kept, on the disk that is measured: a temporary directory may be in memory, where a sync costs
    /// nothing.
    ///
    /// # Errors
    /// There is none, and none can be made.
    pub(crate) fn directory(&self) -> anyhow::Result<PathBuf> {
        let beside = || -> Option<PathBuf> { Some(std::env::current_exe().ok()?.parent()?.to_owned()) };
        let directory = self.data_dir.clone().or_else(beside).context("name a --data-dir")?;
        std::fs::create_dir_all(&directory).with_context(|| format!("make {}", directory.display()))?;
        Ok(directory)
    }

    /// The rounds to be played.
    pub(crate) fn rounds(&self) -> Rounds {
        match self.quick {
            true => Rounds { wanted: 1, max: 3 },
            false => Rounds {
                wanted: self.rounds,
                max: 3 * self.rounds,
            },
        }
    }
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// One hub, followers as sinks: saturated, and at a given rate
    Fanout(fanout::Options),
    /// One hub: what it accepts, with so much asked at a time of so many rooms
    Accept(accept::Options),
    /// One hub: commits in rooms of many clients
    Commits(commits::Options),
    /// One hub: followers that return to a backlog while live traffic goes on
    Catchup(catchup::Options),
    /// One hub: killed under load and started again
    Failover(failover::Options),
    /// One hub: followers that stand still or never answer, beside others that are well
    Stalled(stalled::Options),
    /// The outer tier: another provider's messages over HTTPS and mutual TLS
    Edge(edge::Options),
    /// A whole provider: very many event streams of its clients, on which nothing happens
    Clients(clients::Options),
    /// Two whole providers: messages from clients of each to clients of the other
    Providers(providers::Options),
    /// One hub: many rooms of very different sizes, all sorts of requests, followers that come and go
    Mix(mix::Options),
    /// Each of the above in turn: the JSON is an array of them
    All,
    /// A sink (started by this program itself)
    #[command(hide = true)]
    Sink { setup: PathBuf },
    /// A bare echo (started by this program itself)
    #[command(hide = true)]
    BareEcho { setup: PathBuf },
    /// Two Synapses alone, where they are on the machine
    #[command(hide = true)]
    Synapses(beside::synapse::Options),
    /// The followers of a nats-server (started by this program itself)
    #[command(hide = true)]
    NatsFollow { setup: PathBuf },
    /// The sender of bare quinn (started by this program itself)
    #[command(hide = true)]
    BareQuinnSend { setup: PathBuf },
    /// The receivers of bare quinn (started by this program itself)
    #[command(hide = true)]
    BareQuinnReceive { setup: PathBuf },
}

impl Scenario {
    /// Why it cannot be played against a running deployment; nothing where it can.
    pub(crate) fn needs_its_own(&self) -> Option<&'static str> {
        match self {
            Self::Clients(_) | Self::Providers(_) => None,
            Self::Edge(_) => Some(
                "`edge` compares what one edge's process works with a bare echo on the same machine, as a provider that \
                 it has the certificate of: start it without --against",
            ),
            Self::All => Some("name `providers` or `clients`: the other scenarios start processes of their own"),
            _ => Some(
                "this scenario reads the CPU time of a hub, fills its rooms past any edge, and stops, kills or deafens \
                 processes, which it does only to its own: start it without --against, or play `providers` or `clients`",
            ),
        }
    }
}
