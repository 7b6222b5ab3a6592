//! `navectl` as a library: [`run`] asks every hub node, joins what they say, prints it, and says how it ended. It decides
//! nothing: a node answers for the shards that it serves, and is the only one to change them.

mod arguments;
mod config;
mod failure;
mod hubs;
mod report;
mod table;

use std::io::Write;

pub use arguments::{Arguments, Command, FollowerCommand};
pub use config::Config;
pub use failure::{Failure, Verdict};
use hubs::{Hubs, Order};
use report::{Changed, Report, Shown};

/// Does what the arguments say. What was found goes to `out`, as tables or as one JSON object; who could not be asked to
/// `notes`.
///
/// # Errors
/// Nothing could be asked at all, or the question was wrong; says whose fault it is, and what to do.
pub async fn run(
    arguments: Arguments,
    out: &mut (impl Write + ?Sized),
    notes: &mut (impl Write + ?Sized),
) -> Result<Verdict, Failure> {
    let config = Config::load(&arguments)?;
    let mut hubs = Hubs::find(config).await?;
    let Command::Follower(command) = arguments.command;
    let report = match command {
        FollowerCommand::List => Report::List(hubs.followers().await?),
        FollowerCommand::Show { domain } => {
            let follower = hubs.follower(&domain).await?;
            let shards = hubs.shards(&domain).await?;
            let set_aside = hubs.set_aside(&domain, None, Order::List).await?;
            Report::Show(Shown {
                follower,
                shards,
                set_aside,
            })
        }
        FollowerCommand::Retry { domain, which } => {
            Report::Entries(hubs.set_aside(&domain, which.one(), Order::Retry).await?)
        }
        FollowerCommand::Skip { domain, which } => {
            Report::Entries(hubs.set_aside(&domain, which.one(), Order::Skip).await?)
        }
        FollowerCommand::Pause { domain } => Report::Changed(Changed {
            paused: true,
            ..hubs.pause(&domain, true).await?
        }),
        FollowerCommand::Resume { domain } => Report::Changed(hubs.pause(&domain, false).await?),
    };
    for note in hubs.notes() {
        writeln!(notes, "navectl: {note}")?;
    }
    if arguments.json {
        serde_json::to_writer_pretty(&mut *out, &report).map_err(std::io::Error::from)?;
        writeln!(out)?;
    } else {
        report.print(out)?;
    }
    Ok(match (report.verdict(), hubs.notes().is_empty()) {
        (Verdict::Done, false) => Verdict::Incomplete,
        (verdict, _) => verdict,
    })
}
