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
    let outcomes = match scenario {
        Scenario::Sink { setup } => return sink::run(&setup).await.map(|()| true),
        Scenario::BareQuinnSend { setup } => return limits::quinn::send(&setup).await.map(|()| true),
        Scenario::BareQuinnReceive { setup } => return limits::quinn::receive(&setup).await.map(|()| true),
        Scenario::All => all(&common).await?,
        one => vec![play(&common, one).await?],
    };
    write(&common, &outcomes)?;
    Ok(outcomes.iter().all(Outcome::holds))
}

/// Every scenario with its usual settings. One that fails does not keep the others from being played.
async fn all(common: &Common) -> anyhow::Result<Vec<Outcome>> {
    let (mut outcomes, mut failed) = (Vec::new(), Vec::new());
    for words in ["accept", "fanout --followers 10,100", "stalled", "catchup", "failover"] {
        let name = words.split(' ').next().unwrap_or(words);
        let usual = Arguments::try_parse_from(["loadtest"].into_iter().chain(words.split(' ')))?;
        match Box::pin(play(common, usual.scenario)).await {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => failed.push(format!("{name}: {error:#}")),
        }
    }
    write(common, &outcomes)?;
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("; "));
    Ok(outcomes)
}

async fn play(common: &Common, scenario: Scenario) -> anyhow::Result<Outcome> {
    let setting = Setting::of(common)?;
    let outcome = match scenario {
        Scenario::Fanout(options) => scenarios::fanout::run(&setting, &options).await?,
        Scenario::Accept(options) => scenarios::accept::run(&setting, &options).await?,
        Scenario::Stalled(options) => scenarios::stalled::run(&setting, &options).await?,
        Scenario::Catchup(options) => scenarios::catchup::run(&setting, &options).await?,
        Scenario::Failover(options) => scenarios::failover::run(&setting, &options).await?,
        Scenario::All | Scenario::Sink { .. } | Scenario::BareQuinnSend { .. } | Scenario::BareQuinnReceive { .. } => {
            anyhow::bail!("this is not one scenario")
        }
    };
    report::print(&outcome);
    Ok(outcome)
}

/// One outcome as itself, several as an array.
fn write(common: &Common, outcomes: &[Outcome]) -> anyhow::Result<()> {
    if let Some(file) = &common.json {
        let json = match outcomes {
            [one] => serde_json::to_vec_pretty(one)?,
            several => serde_json::to_vec_pretty(several)?,
        };
        std::fs::write(file, json).with_context(|| file.display().to_string())?;
    }
    if let Some(file) = &common.html {
        std::fs::write(file, report::page(outcomes)).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
