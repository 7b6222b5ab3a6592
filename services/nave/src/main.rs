//! `nave`: `demo`, `init`, `serve`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use mimi::Provider;
use nave::config::Config;
use nave::init::Plan;
use nave::{demo, provider};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A hub for messaging providers: end-to-end encrypted rooms whose users live at several of them.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Let clients of three providers live through a room's life, and check what they are shown
    Demo(Demo),
    /// Make the directory of a new provider: configuration, certificates, a user's token
    Init(Init),
    /// Run a provider until SIGTERM
    Serve(Serve),
}

#[derive(Args)]
struct Demo {
    /// Messages of the burst
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    messages: u32,
    /// Print one JSON object and nothing else on standard output
    #[arg(long)]
    json: bool,
    /// Where the providers keep everything [default: a directory that is removed afterwards]
    #[arg(long, value_name = "DIR", conflicts_with = "against")]
    data_dir: Option<PathBuf>,
    /// Configuration of a running provider; name three, the hub first [default: start three in this process]
    #[arg(long, value_name = "DIR/nave.toml")]
    against: Vec<PathBuf>,
}

#[derive(Args)]
struct Init {
    /// The directory to make
    directory: PathBuf,
    /// The provider's domain
    #[arg(long)]
    domain: Provider,
    /// Where other providers connect: HTTPS (TCP) and the link (UDP)
    #[arg(long, value_name = "ADDR")]
    listen: SocketAddr,
    /// Where own clients connect [default: the port after that of --listen]
    #[arg(long, value_name = "ADDR")]
    api: Option<SocketAddr>,
    /// Where health and metrics are served [default: two ports after that of --listen]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Directory of the development CA that issues the certificates [default: one of its own in DIRECTORY]
    #[arg(long, value_name = "DIR")]
    ca: Option<PathBuf>,
    /// The local user that gets a token
    #[arg(long, default_value = "alice")]
    user: String,
}

#[derive(Args)]
struct Serve {
    /// The configuration
    #[arg(long, env = "NAVE_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| match arguments.command {
            Command::Demo(demo) => runtime.block_on(play(demo)),
            Command::Init(init) => make(init),
            Command::Serve(serve) => runtime.block_on(async {
                Box::pin(provider::serve(Config::load(&serve.config)?)).await?;
                Ok(true)
            }),
        });
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nave: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play(demo: Demo) -> anyhow::Result<bool> {
    let Demo {
        messages,
        json,
        data_dir,
        against,
    } = demo;
    Box::pin(demo::run(demo::Options {
        messages,
        json,
        data_dir,
        against,
    }))
    .await
}

fn make(init: Init) -> anyhow::Result<bool> {
    let plan = Plan::new(init.directory, init.domain, init.listen, init.api, init.admin)?;
    let config = Plan {
        ca: init.ca,
        user: init.user,
        ..plan
    }
    .carry_out()?;
    println!("{}", config.display());
    eprintln!(
        "next: add a [[peers]] table for each other provider, then: nave serve --config {}",
        config.display()
    );
    Ok(true)
}
