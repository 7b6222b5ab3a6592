//! `nave demo`: three providers, one room, and clients that check what they are shown. The providers are started in this
//! process, or run already; either way the clients reach them through their public ports only.

pub mod acts;
pub mod cast;
pub mod party;
mod play;
mod report;
pub mod stage;
mod tally;
mod view;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use mimi::Provider;

use cast::Cast;
use play::Play;
use report::{Report, Step};
use stage::Stage;
use tally::Outcome;
use view::View;

/// What `nave demo` was told.
#[derive(Debug, Clone)]
pub struct Options {
    /// Messages of the burst.
    pub messages: u32,
    /// One JSON object on standard output instead of the show.
    pub json: bool,
    /// Where the providers of this process keep everything; none: a directory that is removed afterwards.
    pub data_dir: Option<PathBuf>,
    /// Configurations of running providers; empty: start three here.
    pub against: Vec<PathBuf>,
}

/// Plays the demo; true when every check held.
///
/// # Errors
/// The providers cannot be started, or the clients not be made.
pub async fn run(options: Options) -> anyhow::Result<bool> {
    let view = if options.json { View::silent() } else { View::terminal() };
    let began = Instant::now();
    let report = if options.against.is_empty() {
        let temporary;
        let directory = match &options.data_dir {
            Some(directory) => directory.as_path(),
            None => {
                temporary = tempfile::tempdir().context("make a temporary directory")?;
                temporary.path()
            }
        };
        let stage = Box::pin(Stage::set(directory)).await?;
        let report = play(view, stage.configs(), options.messages, began).await;
        stage.strike().await;
        report
    } else {
        play(view, &options.against, options.messages, began).await
    };
    view.summary(&report);
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(report.ok)
}

async fn play(view: View, configs: &[PathBuf], messages: u32, began: Instant) -> Report {
    let cast = Cast::of(configs)
        .await
        .and_then(|(cast, providers)| Ok((cast.room()?, cast, providers)));
    match cast {
        Ok((room, cast, providers)) => {
            view.opening(&providers.iter().map(Provider::to_string).collect::<Vec<_>>());
            Play::new(view, room, messages).run(cast, began).await
        }
        Err(error) => {
            let error = Some(format!("{error:#}"));
            let step = Step {
                name: play::STEPS[0],
                ok: false,
                ms: 0,
                error,
            };
            view.step(&step, "");
            Report::of(vec![step], Outcome::default(), false, Vec::new())
        }
    }
}
