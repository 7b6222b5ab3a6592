//! Followers that are well beside some that are not: how much the others get while one reads and acknowledges nothing, or is
//! not there at all, beside the same hub with all of them well.

use clap::Args;
use serde_json::json;

use super::Setting;
use super::party::{Away, Party};
use crate::generator::Pace;
use crate::measure::{Watch, calibrate};
use crate::report::{Goal, Outcome, Sample, Settings};

/// The most messages that are under way at a time.
const IN_FLIGHT: usize = 1_024;

/// Messages that go on while those that were away come back, as a share of those that they missed.
const LIVE: usize = 10;

/// Octets that a follower that is away may cost.
const BYTES_EACH: f64 = (1 << 20) as f64;

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Followers that are well
    #[arg(long, value_name = "N", default_value_t = 9)]
    well: usize,
    /// Followers that are not
    #[arg(long, value_name = "N", default_value_t = 1)]
    away: usize,
    /// Rooms; every follower is in each
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
    /// Messages of each part of a round
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    messages: usize,
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    let mut options = options.clone();
    if setting.quick {
        options.messages = options.messages.min(4_000);
    }
    let settings = Settings::from([
        ("well", json!(options.well)),
        ("away", json!(options.away)),
        ("rooms", json!(options.rooms)),
        ("size", json!(options.size)),
        ("messages", json!(options.messages)),
        ("in_flight", json!(IN_FLIGHT)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("stalled", settings, &watch);
    let mut party = Party::gather(setting, options.well, options.away, options.rooms, options.size).await?;
    let round = async |number: usize| {
        let mut samples = Vec::new();
        for (away, what) in [(Away::Stalled, "stalled"), (Away::BlackHoled, "black-holed")] {
            samples.extend(part(&mut party, &options, number, away, what).await?);
        }
        Ok(samples)
    };
    let played = setting.rounds.play(calibrate, round).await?;
    outcome.fault(std::mem::take(&mut party.faults));
    outcome.take(&played);
    outcome.processes = party.stage.processes();
    outcome.machine = watch.machine();
    Ok(outcome)
}

async fn part(
    party: &mut Party,
    options: &Options,
    number: usize,
    away: Away,
    what: &str,
) -> anyhow::Result<Vec<Sample>> {
    let messages = options.messages;
    let (name, pace) = (
        |part: &str| format!("round {}, {what}: {part}", number + 1),
        Pace::InFlight(IN_FLIGHT),
    );
    party.volley(name("warm-up"), messages / 5, pace).await?;
    let before = party.stage.hub_usage()?;
    let whole = party.volley(name("all well"), messages, pace).await?;
    let between = party.stage.hub_usage()?;
    party.leave(away).await?;
    let without = party.volley(name("one part away"), messages, pace).await?;
    let after = party.stage.hub_usage()?;
    let (caught_up, _) = party.catch_up(name("back"), away, messages / LIVE, pace).await?;

    let of_all = whole.messages as f64 / whole.delivering.as_secs_f64();
    let of_rest = without.messages as f64 / without.delivering.as_secs_f64();
    let of = |metric: &str| format!("{what}, {} of {}: {metric}", options.away, options.well + options.away);
    // What the hub keeps in any case grows as well: what counts is by how much more than with all well.
    let grown = |from: u64, to: u64| to.saturating_sub(from) as f64;
    let more = (grown(between.rss, after.rss) - grown(before.rss, between.rss)).max(0.0);
    Ok(vec![
        Sample::new(of("messages shown to each of the others"), "1/s", of_rest)
            .beside("all well", of_all)
            .goal(Goal::RatioAtLeast(0.95)),
        Sample::new(of("resident, more than with all well"), "MiB", more / BYTES_EACH)
            .beside("1 MiB each", options.away as f64)
            .goal(Goal::RatioAtMost(1.0)),
        Sample::new(of("back until caught up"), "s", caught_up.after.as_secs_f64()),
    ])
}
