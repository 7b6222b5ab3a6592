//! `nave`: `demo`, `init`, `serve`, `heads`, `compare-heads`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use mimi::Provider;
use nave::config::Config;
use nave::init::Plan;
use nave::{demo, heads, provider};

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
    /// Signed heads of the rooms that a provider follows
    #[command(subcommand)]
    Heads(Heads),
    /// Find out whether hubs showed two providers different histories: two files of `nave heads export`
    CompareHeads(CompareHeads),
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
    /// Where operators connect with navectl [default: three ports after that of --listen]
    #[arg(long, value_name = "ADDR")]
    operator: Option<SocketAddr>,
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

#[derive(Subcommand)]
enum Heads {
    /// Ask the hubs of all rooms that a running provider follows, and print what they sign: one JSON object a line
    Export(ExportHeads),
}

#[derive(Args)]
struct ExportHeads {
    /// The provider's configuration, with the token of a moderator in `[client]`
    #[arg(long, env = "NAVE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// After the last entry whose number is a multiple of N: providers that ask at different times get heads to compare
    #[arg(long, value_name = "N", default_value_t = 0)]
    step: u32,
}

/// Exit status: 0, nothing contradicts; 1, a hub signed two histories, printed one contradiction a line; 2, the input cannot
/// be judged
#[derive(Args)]
struct CompareHeads {
    /// What one provider exported
    one: PathBuf,
    /// What another did
    other: PathBuf,
    /// A hub's key: what its directory document has in hubSenders for cipher suite 1; once for each hub
    #[arg(long = "hub", value_name = "DOMAIN=HEX", required = true)]
    hubs: Vec<heads::HubKey>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Command::CompareHeads(compare) = arguments.command {
        return compare_heads(&compare);
    }
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
            Command::Heads(Heads::Export(export)) => {
                let mut out = std::io::stdout().lock();
                runtime.block_on(heads::export(&Config::load(&export.config)?, export.step, &mut out))?;
                Ok(true)
            }
            Command::CompareHeads(_) => unreachable!("it needs no runtime"),
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

/// See [`CompareHeads`].
fn compare_heads(compare: &CompareHeads) -> ExitCode {
    let compared = heads::compare(&compare.one, &compare.other, &compare.hubs);
    let printed = compared.and_then(|contradictions| {
        for contradiction in &contradictions {
            println!("{}", serde_json::to_string(contradiction)?);
        }
        Ok(contradictions.len())
    });
    match printed {
        Ok(0) => ExitCode::SUCCESS,
        Ok(found) => {
            eprintln!("nave: {found} contradictions");
            ExitCode::from(1)
        }
        Err(error) => {
            eprintln!("nave: {error:#}");
            ExitCode::from(2)
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
    let after = || init.listen.port().checked_add(3).filter(|_| init.listen.port() != 0);
    let after = after().map(|port| SocketAddr::new(init.listen.ip(), port));
    let plan = Plan::new(init.directory, init.domain, init.listen, init.api, init.admin)?;
    let config = Plan {
        operator: init.operator.or(after),
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
