//! `link-conformance`: the link's conformance test as a program, for followers in whatever language.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Context as _;
use async_trait::async_trait;
use bytes::Bytes;
use clap::Parser;
use link_conformance::{Hub, Process, Subject, run};

/// Plays a hub against a follower and says where the follower is not as docs/link.md says.
#[derive(Parser)]
struct Options {
    /// Where the follower accepts links (UDP).
    #[arg(long)]
    address: SocketAddr,
    /// The follower's domain.
    #[arg(long)]
    follower: String,
    /// The hub's domain, which the follower knows.
    #[arg(long)]
    hub: String,
    /// The hub's certificate (PEM).
    #[arg(long)]
    chain: PathBuf,
    /// The key of the hub's certificate (PEM).
    #[arg(long)]
    key: PathBuf,
    /// What the follower's certificate must be signed under (PEM).
    #[arg(long)]
    roots: PathBuf,
    /// The command prints a line `entry ROOM SEQ HEX` for each FanoutMessage that it has stored, and all again when it
    /// starts.
    #[arg(long)]
    prints: bool,
    /// Starts the follower, which is then killed and started again. Without a command the follower runs already.
    #[arg(last = true)]
    command: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let hub = Hub::from_files(
        &options.hub,
        &options.follower,
        &options.chain,
        &options.key,
        &options.roots,
    )?;
    let mut subject: Box<dyn Subject> = match options.command.split_first() {
        None => Box::new(Remote(options.address)),
        Some((program, arguments)) => {
            let mut command = Command::new(program);
            command.args(arguments);
            Box::new(Process::start(command, options.address, options.prints)?)
        }
    };
    hub.reaches(options.address).await.context("before the first case")?;
    let report = run(&hub, &mut *subject).await;
    print!("{report}");
    Ok(ExitCode::from(u8::from(!report.is_good())))
}

/// A follower that is only an address.
struct Remote(SocketAddr);

#[async_trait]
impl Subject for Remote {
    fn address(&self) -> SocketAddr {
        self.0
    }

    async fn crash(&mut self) -> anyhow::Result<bool> {
        Ok(false)
    }

    async fn stored(&mut self, _: &str) -> Option<Vec<Bytes>> {
        None
    }
}
