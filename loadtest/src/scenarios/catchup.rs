//! Followers return to a backlog while live traffic goes on: how fast they catch up, and what those that were there all the
//! time notice of it.

use clap::Args;
use serde_json::json;

use super::party::{Away, Party};
use super::{NATS, Setting};
use crate::generator::Pace;
use crate::measure::{Watch, calibrate};
use crate::report::{Goal, Line, Outcome, Plot, Sample, Settings};

/// The most messages that are under way at a time while the backlog is made.
const IN_FLIGHT: usize = 1_024;

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Followers that come back at once; several numbers are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,10")]
    late: Vec<usize>,
    /// Followers that are there all the time
    #[arg(long, value_name = "N", default_value_t = 9)]
    well: usize,
    /// Rooms; every follower is in each
    #[arg(long, value_name = "N", default_value_t = 16)]
    rooms: usize,
    /// Octets of application data in a message
    #[arg(long, value_name = "OCTETS", default_value_t = 1_024)]
    size: usize,
    /// Messages that each of those that come back has missed [default: 200,000, over all of them]
    #[arg(long, value_name = "N")]
    backlog: Option<usize>,
    /// Messages a second that go on
    #[arg(long, value_name = "N", default_value_t = 1_000.0)]
    rate: f64,
    /// Seconds for which they go on
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    seconds: f64,
}

impl Options {
    fn backlog(&self, late: usize, quick: bool) -> usize {
        let all = if quick { 10_000 } else { 200_000 };
        self.backlog.unwrap_or_else(|| all / late.max(1)).max(1)
    }

    fn live(&self) -> usize {
        ((self.rate * self.seconds) as usize).clamp(1, 1_000_000)
    }
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    let mut options = options.clone();
    if setting.quick {
        options.seconds = options.seconds.min(2.0);
    }
    let backlogs = options.late.iter().map(|late| options.backlog(*late, setting.quick));
    let settings = Settings::from([
        ("late", json!(options.late)),
        ("well", json!(options.well)),
        ("rooms", json!(options.rooms)),
        ("size", json!(options.size)),
        ("backlog", json!(backlogs.collect::<Vec<_>>())),
        ("rate", json!(options.rate)),
        ("seconds", json!(options.seconds)),
        ("in_flight", json!(IN_FLIGHT)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("catchup", settings, &watch);
    let mut plot = Plot::new(
        "Shown after their return",
        "seconds",
        "messages, all late followers together",
    );
    for late in options.late.clone() {
        let mut party = Party::gather(setting, options.well, late, options.rooms, options.size).await?;
        let mut line = Line::new(format!("{late} late"));
        let round = async |number: usize| {
            let backlog = options.backlog(late, setting.quick);
            round(&mut party, &options, (late, backlog), number, &mut line).await
        };
        let played = setting.rounds.play(calibrate, round).await?;
        outcome.fault(std::mem::take(&mut party.faults));
        outcome.take(&played);
        outcome.processes.extend(party.stage.processes());
        plot.lines.push(line);
    }
    outcome.plots.push(plot);
    outcome.machine = watch.machine();
    Ok(outcome)
}

async fn round(
    party: &mut Party,
    options: &Options,
    (late, backlog): (usize, usize),
    number: usize,
    line: &mut Line,
) -> anyhow::Result<Vec<Sample>> {
    let name = |part: &str| format!("round {}, {late} late: {part}", number + 1);
    let (live, pace) = (options.live(), Pace::PerSecond(options.rate));
    party.volley(name("warm-up"), live / 5, pace).await?;
    let calm = party.volley(name("all there"), live, pace).await?;
    party.leave(Away::BlackHoled).await?;
    party
        .volley(name("backlog"), backlog, Pace::InFlight(IN_FLIGHT))
        .await?;
    let (caught_up, busy) = party.catch_up(name("back"), Away::BlackHoled, live, pace).await?;
    line.points.clone_from(&caught_up.shown);

    let of = |metric: &str| format!("{late} of {} late: {metric}", late + options.well);
    let per_second = (backlog * late) as f64 / caught_up.after.as_secs_f64().max(0.001);
    let p99 = |volley: &crate::volley::Volley| volley.deliver_us.value_at_quantile(0.99) as f64 / 1e3;
    let goal = if late == 1 { 0.8 } else { 1.0 };
    Ok(vec![
        Sample::new(of("backlog shown"), "1/s", per_second)
            .beside_nothing(NATS)
            .goal(Goal::RatioAtLeast(goal)),
        Sample::new(of("back until caught up"), "s", caught_up.after.as_secs_f64()),
        Sample::new(of("the others: due to shown, p99"), "ms", p99(&busy))
            .beside("all there", p99(&calm))
            .goal(Goal::RatioAtMost(1.5)),
    ])
}
