//! `nave demo`: three providers, one room, and clients that check what they are shown. The providers are started in this
//! process, or run already; either way the clients reach them through their public ports only.

mod cast;
mod party;
mod play;
mod report;
mod tally;
mod view;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;
use mimi::Provider;

use crate::config::Config;
use crate::init::{CONFIG, Plan, add_peer};
use crate::provider::Running;
use cast::Cast;
use play::Play;
use report::{Report, Step};
use tally::Outcome;
use view::View;

/// What `nave demo` was told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Messages of the burst.
    pub messages: u32,
    /// One JSON object on standard output instead of the show.
    pub json: bool,
    /// Where the providers of this process keep everything; none: a directory that is removed afterwards.
    pub data_dir: Option<PathBuf>,
    /// Configurations of running providers; empty: start three here.
    pub against: Vec<PathBuf>,
}

/// Plays the demo; true when every check held.
///
/// # Errors
/// The providers cannot be started, or the clients not be made.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    let view = if options.json { View::silent() } else { View::terminal() };
    let began = Instant::now();
    let report = if options.against.is_empty() {
        let temporary;
        let directory = match &options.data_dir {
            Some(directory) => directory.as_path(),
            None => {
                temporary = tempfile::tempdir().context("make a temporary directory")?;
                temporary.path()
            }
        };
        let configs = prepare(directory)?;
        let mut running = Vec::new();
        for config in &configs {
            running.push(Box::pin(Running::start(Config::load(config)?)).await?);
        }
        let report = play(view, &configs, options.messages, began).await;
        for provider in running {
            provider.stop().await;
        }
        report
    } else {
        play(view, &options.against, options.messages, began).await
    };
    view.summary(&report);
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(report.ok)
}

async fn play(view: View, configs: &[PathBuf], messages: u32, began: Instant) -> Report {
    let cast = Cast::of(configs)
        .await
        .and_then(|(cast, providers)| Ok((cast.room()?, cast, providers)));
    match cast {
        Ok((room, cast, providers)) => {
            view.opening(&providers.iter().map(Provider::to_string).collect::<Vec<_>>());
            Play::new(view, room, messages).run(cast, began).await
        }
        Err(error) => {
            let error = Some(format!("{error:#}"));
            let step = Step {
                name: play::STEPS[0],
                ok: false,
                ms: 0,
                error,
            };
            view.step(&step, "");
            Report::of(vec![step], Outcome::default(), false, Vec::new())
        }
    }
}

/// Makes the directories of three providers that know each other, on free loopback ports. What a run before made is used
/// again as it is.
fn prepare(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let names = ["a", "b", "c"];
    let made: Vec<PathBuf> = names.iter().map(|name| directory.join(name).join(CONFIG)).collect();
    if made.iter().all(|config| config.exists()) {
        return Ok(made);
    }
    let mut plans = Vec::new();
    for name in names {
        let domain: Provider = format!("{name}.example").parse()?;
        let home = directory.join(name);
        let [listen, api, admin] = free_ports()?;
        let user = match name {
            "a" => "alice",
            "b" => "bob",
            _ => "cathy",
        };
        let plan = Plan {
            directory: home,
            domain,
            listen,
            api,
            admin,
            ca: None,
            user: user.to_owned(),
        };
        plans.push((plan.carry_out()?, plan));
    }
    for (config, plan) in &plans {
        for (_, other) in plans.iter().filter(|(_, other)| other.domain != plan.domain) {
            let roots = std::path::absolute(other.directory.join(daemon::certificates::CA_CERTIFICATE))?;
            add_peer(config, &other.domain, other.listen, &roots)?;
        }
    }
    Ok(plans.into_iter().map(|(config, _)| config).collect())
}

/// Three ports that were free a moment ago; the first for TCP and UDP alike.
fn free_ports() -> anyhow::Result<[SocketAddr; 3]> {
    for _ in 0..64 {
        let held: Result<Vec<TcpListener>, _> = (0..3).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect();
        let addresses: Result<Vec<SocketAddr>, _> = held?.iter().map(TcpListener::local_addr).collect();
        let addresses = addresses?;
        if std::net::UdpSocket::bind(addresses[0]).is_ok() {
            return Ok([addresses[0], addresses[1], addresses[2]]);
        }
    }
    anyhow::bail!("no free ports on the loopback interface")
}
