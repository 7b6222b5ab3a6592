//! What a commit costs in rooms of many clients. A room's founder gives itself a new leaf key again and again, and each
//! commit waits for the answer to the one before. Beside it, bare OpenMLS processes and merges the same commits.

use std::time::Instant;

use anyhow::{Context, ensure};
use bytes::Bytes;
use clap::Args;
use client::mls::{Answered, Member, ORDINARY, RoomProfile};
use hdrhistogram::Histogram;
use mimi::{Provider, RoomUri};
use prost::Message as _;
use proto::hub::CreateRoom;
use proto::hub::room_request::Body;
use serde_json::json;

use super::Setting;
use super::bench::milliseconds;
use crate::drive::Pace;
use crate::generator::{Generator, Hub, Post};
use crate::limits::openmls::Bare;
use crate::measure::{Watch, calibrate};
use crate::progress::Step;
use crate::report::{Goal, Line, Outcome, Plot, Sample, Settings};
use crate::stage::{HUB, Shape, Stage};
use crate::volley::Volley;

/// Clients that one commit adds, all of one user.
const ADDED: usize = 500;

/// Clients of a room beyond which there are fewer commits in a round, because each takes longer.
const PLENTY: usize = 1_000;
/// Commits of such a round, at least.
const COMMITS_MIN: usize = 10;

const BARE: &str = "bare OpenMLS";
const ACCEPTED: &str = "asked to accepted, p50";

/// What is measured.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Clients in the room; several numbers are measured one after the other
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "10,100,1000,10000")]
    leaves: Vec<usize>,
    /// Commits of a round; in rooms of more than 1,000 clients as many fewer, but 10 at least
    #[arg(long, value_name = "N", default_value_t = 200)]
    commits: usize,
}

impl Options {
    /// Commits of a round in a room of so many clients.
    fn commits_of(&self, leaves: usize) -> usize {
        let fewer = self.commits * PLENTY / leaves.max(PLENTY);
        fewer.max(self.commits.min(COMMITS_MIN))
    }
}

/// Measures.
///
/// # Errors
/// A process fails.
pub(crate) async fn run(setting: &Setting, options: &Options) -> anyhow::Result<Outcome> {
    ensure!(
        options.commits > 0 && !options.leaves.iter().any(|count| *count < 2),
        "no commits, or nobody beside the founder"
    );
    let mut options = options.clone();
    if setting.quick {
        options.commits = options.commits.min(20);
        options.leaves.iter_mut().for_each(|count| *count = (*count).min(1_000));
        options.leaves.dedup();
    }
    let settings = Settings::from([
        ("leaves", json!(options.leaves)),
        (
            "commits",
            json!(
                options
                    .leaves
                    .iter()
                    .map(|leaves| options.commits_of(*leaves))
                    .collect::<Vec<_>>()
            ),
        ),
        ("followers", json!(1)),
    ]);
    let watch = Watch::start();
    let mut outcome = setting.outcome("commits", settings, &watch);
    let stage = Stage::build(&setting.ground, &Shape::sinks(&[1])).await?;
    let hub = Hub::new(&stage.clients);
    let (mut ours, mut bare) = (Line::new("Nave"), Line::new(BARE));
    for leaves in options.leaves.iter().copied() {
        let mut room = Grown::gather(&stage, &hub, leaves).await?;
        let commits = options.commits_of(leaves);
        let played = setting
            .rounds
            .play(calibrate, async |number| room.round(number, commits).await)
            .await?;
        outcome.fault(std::mem::take(&mut room.faults));
        outcome.take(&played);
        let row = outcome.rows.iter().rev().find(|row| row.metric.starts_with(ACCEPTED));
        if let Some(row) = row {
            ours.points.push((leaves as f64, row.nave));
            bare.points.extend(row.beside.map(|beside| (leaves as f64, beside)));
        }
    }
    let mut plot = Plot::new("A commit by clients in the room", "clients", "milliseconds, p50");
    plot.lines = vec![ours, bare];
    outcome.plots.push(plot);
    outcome.processes = stage.processes();
    outcome.machine = watch.machine();
    Ok(outcome)
}

/// A room of many clients, of which only the founder acts.
struct Grown<'a> {
    stage: &'a Stage,
    hub: &'a Hub,
    leaves: usize,
    room: RoomUri,
    founder: Member,
    bare: Bare,
    faults: Vec<String>,
}

impl<'a> Grown<'a> {
    async fn gather(stage: &'a Stage, hub: &'a Hub, leaves: usize) -> anyhow::Result<Self> {
        let follower = stage.followers.first().context("nobody follows")?;
        let room: RoomUri = format!("mimi://{HUB}/r/of-{leaves}").parse()?;
        let mut founder = Member::new(format!("mimi://{HUB}/d/founder/phone").parse()?)?;
        let founding = founder.create_room(&room, &stage.hub_sender, &RoomProfile::default())?;
        let bare = Bare::found(&founding)?;
        let create = CreateRoom {
            group_info: founding.group_info,
            ratchet_tree: founding.ratchet_tree,
        };
        hub.ask(room.as_str(), HUB, Body::Create(create.encode_to_vec().into()))
            .await?;
        let mut grown = Self {
            stage,
            hub,
            leaves,
            room,
            founder,
            bare,
            faults: Vec::new(),
        };
        let step = Step::begin(format!("a room of {leaves} clients"), leaves);
        let mut added = 1;
        while added < leaves {
            let count = (leaves - added).min(ADDED);
            let request = tokio::task::block_in_place(|| grown.addition(follower, added, count))?;
            grown.commit(&request).await?;
            grown.bare.take(&request)?;
            added += count;
            step.set(added as u64);
        }
        step.end();
        Ok(grown)
    }

    /// A commit that adds so many clients of a new user.
    fn addition(&mut self, follower: &Provider, number: usize, count: usize) -> anyhow::Result<Bytes> {
        let user = format!("listener-{number}");
        let uri = format!("mimi://{follower}/u/{user}").parse()?;
        let packages = (0..count).map(|client| {
            let client = Member::new(format!("mimi://{follower}/d/{user}/{client}").parse()?)?;
            client.key_packages(1)?.pop().context("a client without KeyPackage")
        });
        let packages = packages.collect::<anyhow::Result<Vec<_>>>()?;
        Ok(self.founder.add_user(&self.room, &uri, ORDINARY, &packages)?)
    }

    async fn commit(&mut self, request: &Bytes) -> anyhow::Result<()> {
        let answer = self
            .hub
            .ask(self.room.as_str(), HUB, Body::Update(request.clone()))
            .await?;
        let answered = self.founder.on_answer(&self.room, &answer)?;
        ensure!(matches!(answered, Answered::Accepted(_)), "{}: {answered:?}", self.room);
        Ok(())
    }

    async fn round(&mut self, number: usize, commits: usize) -> anyhow::Result<Vec<Sample>> {
        let leaves = self.leaves;
        // The first commit fills what the additions left blank, and does not count.
        let first = self.founder.self_update(&self.room)?;
        self.commit(&first).await?;
        self.bare.take(&first)?;
        let step = Step::begin(format!("round {}, {leaves} clients", number + 1), commits);
        let (mut ours, mut bare) = (Histogram::<u64>::new(3)?, Histogram::<u64>::new(3)?);
        let mut bare_seconds = 0.0;
        let before = self.stage.hub_usage()?.cpu;
        for _ in 0..commits {
            let request = tokio::task::block_in_place(|| self.founder.self_update(&self.room))?;
            let began = Instant::now();
            self.commit(&request).await?;
            ours.record(u64::try_from(began.elapsed().as_micros())?)?;
            let took = self.bare.take(&request)?;
            bare.record(u64::try_from(took.as_micros())?)?;
            bare_seconds += took.as_secs_f64();
            step.tick();
        }
        let cpu = self.stage.hub_usage()?.cpu.saturating_sub(before).as_secs_f64();
        step.end();
        self.shown().await?;
        let of = |metric: &str| format!("{metric}, {leaves} clients");
        let each = |seconds: f64| 1e3 * seconds / commits as f64;
        Ok(vec![
            Sample::new(of(ACCEPTED), "ms", milliseconds(&ours, 0.5)).beside(BARE, milliseconds(&bare, 0.5)),
            Sample::new(of("asked to accepted, p99"), "ms", milliseconds(&ours, 0.99))
                .beside(BARE, milliseconds(&bare, 0.99)),
            Sample::new(of("CPU of the hub per commit"), "ms", each(cpu))
                .beside(BARE, each(bare_seconds))
                .goal(Goal::RatioAtMost(1.25)),
        ])
    }

    /// Says something at the end, which cannot be shown unless every commit before it was.
    async fn shown(&mut self) -> anyhow::Result<()> {
        let body = self.founder.send(&self.room, b"that was all")?;
        let rooms = std::slice::from_ref(&self.room);
        let generator = Generator::new(self.hub, HUB, rooms);
        // What other rooms, measured before, were shown at their end is no part of this one.
        let posts = vec![Post { room: 0, body }];
        let volley = Volley::fire(self.stage, &generator, rooms, posts, Pace::InFlight(1), || {}).await?;
        let others = |fault: &String| !fault.ends_with("is nobody's room");
        self.faults.extend(volley.faults.into_iter().filter(others));
        Ok(())
    }
}
