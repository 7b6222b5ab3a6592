//! `nave-follower`: a follower as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nave_follower::config::Config;
use nave_follower::serve;
use tier::process::Program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A follower: what hubs bring a provider, and what its users' clients take from it.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The configuration
    #[arg(long, env = "NAVE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    flags: stores::Flags,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let program = Program {
        name: "nave-follower",
        version: env!("CARGO_PKG_VERSION"),
    };
    program.main(async { serve(program, Config::load(&arguments.config, arguments.flags)?).await })
}
