//! `loadtest`: Nave's own processes under load, beside what the machine can do without Nave. See `docs/loadtest.md`.

mod beside;
mod cli;
mod crowd;
mod drive;
mod generator;
mod https;
mod limits;
mod measure;
mod parties;
mod progress;
mod report;
mod rounds;
mod scenarios;
mod sink;
mod stage;
mod streams;
mod town;
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
    daemon::descriptors::raise().context("raise how many files may be open")?;
    if !common.against.is_empty()
        && let Some(why) = scenario.needs_its_own()
    {
        anyhow::bail!("--against: {why}");
    }
    match scenario {
        Scenario::Sink { setup } => sink::run(&setup).await.map(|()| true),
        Scenario::BareEcho { setup } => limits::echo::serve(&setup).await.map(|()| true),
        Scenario::BareQuinnSend { setup } => limits::quinn::send(&setup).await.map(|()| true),
        Scenario::BareQuinnReceive { setup } => limits::quinn::receive(&setup).await.map(|()| true),
        Scenario::NatsFollow { setup } => beside::nats::follow(&setup).await.map(|()| true),
        Scenario::Synapses(options) => beside::synapse::alone(&common, &options).await,
        Scenario::All => all(&common).await,
        scenario => {
            let outcome = measure(&scenario, &Setting::of(&common)?).await?;
            report::print(&outcome);
            write(&common, &outcome, std::slice::from_ref(&outcome))?;
            Ok(outcome.holds())
        }
    }
}

async fn measure(scenario: &Scenario, setting: &Setting) -> anyhow::Result<Outcome> {
    let before = measure::usage(std::process::id());
    let mut outcome = play(scenario, setting).await?;
    outcome.since(before);
    Ok(outcome)
}

async fn play(scenario: &Scenario, setting: &Setting) -> anyhow::Result<Outcome> {
    match scenario {
        Scenario::Fanout(options) => scenarios::fanout::run(setting, options).await,
        Scenario::Accept(options) => scenarios::accept::run(setting, options).await,
        Scenario::Commits(options) => scenarios::commits::run(setting, options).await,
        Scenario::Catchup(options) => scenarios::catchup::run(setting, options).await,
        Scenario::Failover(options) => scenarios::failover::run(setting, options).await,
        Scenario::Stalled(options) => scenarios::stalled::run(setting, options).await,
        Scenario::Edge(options) => scenarios::edge::run(setting, options).await,
        Scenario::Clients(options) => scenarios::clients::run(setting, options).await,
        Scenario::Providers(options) => scenarios::providers::run(setting, options).await,
        Scenario::Mix(options) => scenarios::mix::run(setting, options).await,
        other => anyhow::bail!("{other:?} is no scenario by itself"),
    }
}

/// Each scenario in turn, with the settings that it has by itself. What one of them found is written before the next begins,
/// and none of them keeps the others from being played.
async fn all(common: &Common) -> anyhow::Result<bool> {
    let setting = Setting::of(common)?;
    let (mut outcomes, mut holds) = (Vec::new(), true);
    for name in scenarios::ALL {
        let scenario = Arguments::try_parse_from(["loadtest", name])?.scenario;
        match Box::pin(measure(&scenario, &setting)).await {
            Ok(outcome) => {
                report::print(&outcome);
                holds &= outcome.holds();
                outcomes.push(outcome);
                write(common, &outcomes, &outcomes)?;
            }
            Err(error) => {
                eprintln!("loadtest: {name}: {error:#}");
                holds = false;
            }
        }
    }
    Ok(holds)
}

fn write(common: &Common, json: &impl serde::Serialize, outcomes: &[Outcome]) -> anyhow::Result<()> {
    if let Some(file) = &common.json {
        std::fs::write(file, serde_json::to_vec_pretty(json)?).with_context(|| file.display().to_string())?;
    }
    if let Some(file) = &common.html {
        std::fs::write(file, report::page(outcomes)).with_context(|| file.display().to_string())?;
    }
    Ok(())
}
