//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use mimi::{Provider, RoomUri};

/// What an operator asks and tells the hubs of a provider.
///
/// Exit status: 0, done; 1, some of it was not done, as was printed; 2, the command line or the configuration is wrong; 3,
/// some hub node could not be asked, so that what was printed or done is incomplete.
#[derive(Debug, Parser)]
#[command(name = "navectl", version, about, long_about)]
pub struct Arguments {
    /// The configuration: `hubs` and `cluster`, as `nave init` writes ctl.toml
    #[arg(
        long,
        env = "NAVECTL_CONFIG",
        value_name = "FILE",
        global = true,
        default_value = "ctl.toml"
    )]
    pub config: PathBuf,
    /// A hub node, instead of those in the configuration; once for each. Others are learned from them
    #[arg(long = "hub", value_name = "HOST:PORT", global = true)]
    pub hubs: Vec<String>,
    /// Print one JSON object and nothing else on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Providers whose users are in rooms of this hub, and what is brought to them
    #[command(subcommand)]
    Follower(FollowerCommand),
}

/// What to do about followers.
#[derive(Debug, Subcommand)]
pub enum FollowerCommand {
    /// All of them: who is behind, why, and what they refused
    List,
    /// One of them: the shards in which it is behind, and the entries that it refused
    Show {
        /// Its domain
        domain: Provider,
    },
    /// Bring entries once more that it refused: one, or all
    Retry {
        /// Its domain
        domain: Provider,
        /// Which.
        #[command(flatten)]
        which: Which,
    },
    /// Give entries up that it refused: one, or all
    Skip {
        /// Its domain
        domain: Provider,
        /// Which.
        #[command(flatten)]
        which: Which,
    },
    /// Bring it nothing until `resume`. What is due to it stays in the log
    Pause {
        /// Its domain
        domain: Provider,
    },
    /// Bring it again what is due to it
    Resume {
        /// Its domain
        domain: Provider,
    },
}

/// One entry, or all.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The room of the one entry
    #[arg(long, value_name = "URI", requires = "seq")]
    room: Option<RoomUri>,
    /// Its number in the room
    #[arg(long, value_name = "N", requires = "room")]
    seq: Option<u64>,
}

impl Which {
    /// The one; `None`: all.
    pub(crate) fn one(self) -> Option<(RoomUri, u64)> {
        self.room.zip(self.seq)
    }
}
