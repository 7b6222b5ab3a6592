//! `loadtest`: Nave's own processes under load, beside what the machine can do without Nave. See `docs/loadtest.md`.

mod cli;
mod crowd;
mod generator;
mod limits;
mod measure;
mod progress;
mod report;
mod rounds;
mod scenarios;
mod sink;
mod stage;
mod volley;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser as _;

use cli::{Arguments, Common, Scenario};
use report::Outcome;
use scenarios::Setting;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let ended = runtime
        .map_err(anyhow::Error::from)
        .and_then(|runtime| runtime.block_on(Box::pin(run(arguments))));
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("loadtest: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything was complete and the machine steady.
async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let Arguments { scenario, common } = arguments;
    let outcome = match scenario {
        Scenario::Sink { setup } => return sink::run(&setup).await.map(|()| true),
        Scenario::BareQuinnSend { setup } => return limits::quinn::send(&setup).await.map(|()| true),
        Scenario::BareQuinnReceive { setup } => return limits::quinn::receive(&setup).await.map(|()| true),
        Scenario::Fanout(options) => scenarios::fanout::run(&Setting::of(&common)?, &options).await?,
        Scenario::Accept(options) => scenarios::accept::run(&Setting::of(&common)?, &options).await?,
        Scenario::Catchup(options) => scenarios::catchup::run(&Setting::of(&common)?, &options).await?,
        Scenario::Stalled(options) => scenarios::stalled::run(&Setting::of(&common)?, &options).await?,
    };
    report::print(&outcome);
    write(&common, &outcome)?;
    Ok(outcome.holds())
}

fn write(common: &Common, outcome: &Outcome) -> anyhow::Result<()> {
    if let Some(file) = &common.json {
        std::fs::write(file, serde_json::to_vec_pretty(outcome)?).with_context(|| file.display().to_string())?;
    }
    if let Some(file) = &common.html {
        std::fs::write(file, report::page(std::slice::from_ref(outcome)))
            .with_context(|| file.display().to_string())?;
    }
    Ok(())
}
