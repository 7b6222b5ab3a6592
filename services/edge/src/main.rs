//! `nave-edge`: the outer tier as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nave_edge::{Config, serve};
use tier::process::Program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The outer tier of a provider: answers other providers and its own clients, and keeps nothing.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The configuration
    #[arg(long, env = "NAVE_CONFIG", value_name = "FILE")]
    config: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let program = Program {
        name: "nave-edge",
        version: env!("CARGO_PKG_VERSION"),
    };
    program.main(async { Box::pin(serve(program, Config::load(&arguments.config)?)).await })
}
