//! `sim`: plays seeds of the simulated cluster, and says which of them break a promise.

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use sim::Sabotage;
use sim::campaign::{self, Campaign};

/// Plays a cluster of hubs, followers and clients under faults, each run from a seed, and checks every promise.
#[derive(Parser)]
struct Arguments {
    /// How many seeds, from the first one
    #[arg(long, default_value_t = campaign::SEEDS)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    first: u64,
    /// Play this seed alone
    #[arg(long, conflicts_with_all = ["seeds", "first", "json"])]
    seed: Option<u64>,
    /// Write the trace of that seed here
    #[arg(long, value_name = "FILE", requires = "seed")]
    trace: Option<PathBuf>,
    /// Show what the code under test logs, as RUST_LOG would
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Write what came of it as JSON: seeds, failed, marks, missing
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Seeds beside each other [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Break the cluster on purpose
    #[arg(long, value_name = "HOW", default_value = "none")]
    sabotage: Sabotage,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(filter) = &arguments.log {
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .init();
    }
    match arguments.seed {
        Some(seed) => one(&arguments, seed),
        None => many(&arguments),
    }
}

fn one(arguments: &Arguments, seed: u64) -> anyhow::Result<ExitCode> {
    let (trace, code) = match campaign::play(seed, arguments.sabotage) {
        Ok(trace) => {
            println!("seed {seed}: every promise is kept");
            (trace, ExitCode::SUCCESS)
        }
        Err(failed) => {
            println!("{failed}");
            (failed.trace, ExitCode::FAILURE)
        }
    };
    if let Some(path) = &arguments.trace {
        std::fs::write(path, trace.join("\n"))?;
    }
    Ok(code)
}

fn many(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let threads = arguments
        .threads
        .unwrap_or_else(|| thread::available_parallelism().map_or(1, Into::into));
    let campaign = Campaign {
        seeds: (arguments.first..arguments.first + arguments.seeds).collect(),
        threads,
        sabotage: arguments.sabotage,
    };
    let all = arguments.seeds;
    let report = campaign.play(|done, failed| {
        if let Some(failed) = failed {
            println!("{failed}\n");
        }
        if done.is_multiple_of(100) || done == all {
            eprintln!("{done} of {all} seeds");
        }
    });
    for (mark, count) in &report.marks {
        println!("{count:>8}  {mark}");
    }
    for mark in &report.missing {
        println!("   never  {mark}");
    }
    println!("{} seeds, {} broke a promise", report.seeds, report.failed.len());
    if let Some(path) = &arguments.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(if report.failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
