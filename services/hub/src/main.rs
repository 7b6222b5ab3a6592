//! `nave-hub`: a hub node as a process of its own.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use nave_hub::config::{Config, senders};
use nave_hub::serve;
use tier::process::Program;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A hub node: rooms, ordered, durable, fanned out.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    /// The configuration
    #[arg(long, env = "NAVE_CONFIG", value_name = "FILE")]
    config: PathBuf,
    #[command(flatten)]
    flags: stores::Flags,
    /// Print the public half of the hub's signature keys, which edges read (`hub_senders`), and exit
    #[arg(long)]
    print_senders: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let program = Program {
        name: "nave-hub",
        version: env!("CARGO_PKG_VERSION"),
    };
    program.main(async {
        let config = Config::load(&arguments.config, arguments.flags)?;
        if arguments.print_senders {
            print!("{}", senders(&config.keys()?));
            return Ok(());
        }
        Box::pin(serve(program, config)).await
    })
}
