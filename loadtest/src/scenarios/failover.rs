//! A hub that is killed under load and started again on its store: for how long it accepts nothing, and that nothing which it
//! had accepted is lost, reordered or shown twice.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;
use serde_json::json;
use tokio::time::sleep;

use super::Setting;
use crate::crowd::Crowd;
use crate::generator::{Generator, Hub, Pace, Shot};
use crate::measure::{Watch, calibrate};
use crate::progress::Step;
use crate::report::{Outcome, Sample, Settings};
use crate::stage::Stage;
use crate::volley::Volley;

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Followers
    #[arg(long, value_name = "N", default_value_t = 3)]
    followers: usize,
    /// Rooms; every follower is in each
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
    /// Messages a second
    #[arg(long, value_name = "N", default_value_t = 500.0)]
    rate: f64,
    /// Seconds; the hub is killed after a third of them
    #[arg(long, value_name = "N", default_value_t = 9.0)]
    seconds: f64,
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    let mut options = options.clone();
    if setting.quick {
        options.seconds = options.seconds.min(6.0);
    }
    ensure!(options.followers > 0 && options.rooms > 0, "no followers, or no rooms");
    ensure!(options.rate > 0.0 && options.seconds > 0.0, "no rate, or no time");
    let settings = Settings::from([
        ("followers", json!(options.followers)),
        ("rooms", json!(options.rooms)),
        ("size", json!(options.size)),
        ("rate", json!(options.rate)),
        ("seconds", json!(options.seconds)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("failover", settings, &watch);
    let stage = Stage::build(&setting.ground, &[options.followers]).await?;
    let hub = Hub::new(&stage.clients).patient();
    let step = Step::begin(
        format!("{} rooms", options.rooms),
        options.rooms * (options.followers + 2),
    );
    let mut crowd = Crowd::gather(&hub, &stage.hub_sender, &stage.followers, options.rooms, || step.tick()).await?;
    step.end();
    let mut faults: Vec<String> = Vec::new();
    faults.extend(stage.collect().await?.into_iter().flat_map(|follower| follower.faults));
    let generator = Generator::new(&hub, crowd.source.as_str(), &crowd.rooms);
    let round = async |number: usize| {
        let messages = ((options.rate * options.seconds) as usize).clamp(1, 1_000_000);
        let posts = tokio::task::block_in_place(|| crowd.write(options.rooms, messages, options.size))?;
        let step = Step::begin(format!("round {}: killed and started again", number + 1), messages);
        let pace = Pace::PerSecond(options.rate);
        let crash = async {
            sleep(Duration::from_secs_f64(options.seconds / 3.0)).await;
            stage.crash_hub().await
        };
        let (restart, volley) = tokio::try_join!(
            crash,
            Volley::fire(&stage, &generator, &crowd.rooms, posts, pace, || step.tick())
        )?;
        step.end();
        faults.extend(volley.faults.iter().cloned());
        Ok(samples(&volley, restart))
    };
    let played = setting.rounds.play(calibrate, round).await?;
    outcome.fault(faults);
    outcome.take(&played);
    outcome.processes = stage.processes();
    outcome.machine = watch.machine();
    Ok(outcome)
}

fn samples(volley: &Volley, restart: Duration) -> Vec<Sample> {
    let quantile = |quantile| volley.accept_us.value_at_quantile(quantile) as f64 / 1e3;
    vec![
        Sample::new(
            "longest time without an acceptance",
            "s",
            silence(&volley.shots).as_secs_f64(),
        )
        .beside("killed until ready", restart.as_secs_f64()),
        Sample::new("due to accepted, p50", "ms", quantile(0.5)),
        Sample::new("due to accepted, p99", "ms", quantile(0.99)),
    ]
}

/// The longest time between two acceptances.
fn silence(shots: &[Shot]) -> Duration {
    let mut answered: Vec<u64> = shots.iter().map(|shot| shot.answered_ns).collect();
    answered.sort_unstable();
    let longest = answered.windows(2).map(|pair| pair[1] - pair[0]).max();
    Duration::from_nanos(longest.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_silence_is_found_whatever_the_order_of_the_answers() {
        let shot = |answered_ns: u64| Shot {
            room: 0,
            due_ns: 0,
            answered_ns,
            accepted_ms: answered_ns,
        };
        assert_eq!(
            silence(&[shot(10), shot(400), shot(20), shot(410)]),
            Duration::from_nanos(380)
        );
        assert_eq!(silence(&[shot(10)]), Duration::ZERO);
    }
}
