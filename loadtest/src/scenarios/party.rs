//! A hub, followers that are well, and followers in a sink of their own that come and go.

use std::time::{Duration, Instant};

use anyhow::ensure;
use tokio::time::sleep;

use super::Setting;
use crate::crowd::Crowd;
use crate::generator::{Generator, Hub, Pace, Post, Shot};
use crate::progress::Step;
use crate::stage::Stage;
use crate::volley::{self, Volley};

/// The sink of those that come and go; the first one has those that are well.
const OTHERS: usize = 1;

/// Between two looks at how far the others are.
const LOOK: Duration = Duration::from_millis(50);

/// Others that get nothing for so long are given up. Longer than a hub waits before it tries again.
const PATIENCE: Duration = Duration::from_secs(120);

/// How the others are away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Away {
    /// They read, and acknowledge nothing.
    Stalled,
    /// Their process is stopped: nothing that is sent to them is answered in any way.
    BlackHoled,
}

/// How the others caught up.
#[derive(Debug, Clone, Default)]
pub(super) struct CaughtUp {
    /// From their return until each of them had been shown all that it had missed.
    pub(super) after: Duration,
    /// Seconds since their return, and what they had been shown then, all together.
    pub(super) shown: Vec<(f64, f64)>,
}

/// See the module.
pub(super) struct Party {
    pub(super) stage: Stage,
    crowd: Crowd,
    generator: Generator,
    size: usize,
    /// What the others were not shown yet.
    owed: Vec<Shot>,
    pub(super) faults: Vec<String>,
}

impl Party {
    /// Sets a hub up with `well` followers and `others`, all of them in each of `rooms`.
    pub(super) async fn gather(
        setting: &Setting,
        well: usize,
        others: usize,
        rooms: usize,
        size: usize,
    ) -> anyhow::Result<Self> {
        ensure!(well > 0 && others > 0 && rooms > 0, "no followers, or no rooms");
        let stage = Stage::build(&setting.ground, &[well, others]).await?;
        let hub = Hub::new(&stage.clients);
        let all = well + others;
        let step = Step::begin(format!("{rooms} rooms of {all} followers"), rooms * (all + 2));
        let crowd = Crowd::gather(&hub, &stage.hub_sender, &stage.followers, rooms, || step.tick()).await?;
        step.end();
        let collected = stage.collect().await?;
        Ok(Self {
            generator: Generator::new(&hub, crowd.source.as_str(), &crowd.rooms),
            faults: collected.into_iter().flat_map(|follower| follower.faults).collect(),
            stage,
            crowd,
            size,
            owed: Vec::new(),
        })
    }

    /// Messages, encrypted, spread over the rooms.
    pub(super) fn write(&mut self, messages: usize) -> anyhow::Result<Vec<Post>> {
        let (rooms, size) = (self.crowd.rooms.len(), self.size);
        tokio::task::block_in_place(|| self.crowd.write(rooms, messages, size))
    }

    /// Has messages accepted and shown to whoever is not away; to the others they are owed.
    pub(super) async fn volley(&mut self, name: String, messages: usize, pace: Pace) -> anyhow::Result<Volley> {
        let posts = self.write(messages)?;
        let step = Step::begin(name, messages);
        let rooms = &self.crowd.rooms;
        let volley = Volley::fire(&self.stage, &self.generator, rooms, posts, pace, || step.tick()).await?;
        step.end();
        self.faults.extend(volley.faults.iter().cloned());
        self.owed.extend(&volley.shots);
        Ok(volley)
    }

    /// The others are away from now on.
    pub(super) async fn leave(&mut self, away: Away) -> anyhow::Result<()> {
        self.owed.clear();
        self.stage.expect_nothing_of(OTHERS, true);
        match away {
            Away::Stalled => self.stage.sink(OTHERS).stall(true).await,
            Away::BlackHoled => self.stage.sink(OTHERS).freeze(true),
        }
    }

    async fn come_back(&self, away: Away) -> anyhow::Result<()> {
        match away {
            Away::Stalled => self.stage.sink(OTHERS).stall(false).await,
            Away::BlackHoled => self.stage.sink(OTHERS).freeze(false),
        }
    }

    /// The others come back while `live` messages go on at `pace`. What they missed and what they get now is checked.
    pub(super) async fn catch_up(
        &mut self,
        name: String,
        away: Away,
        live: usize,
        pace: Pace,
    ) -> anyhow::Result<(CaughtUp, Volley)> {
        let posts = self.write(live)?;
        let missed = self.owed.len() as u64;
        self.come_back(away).await?;
        let step = Step::begin(name, live);
        let (caught_up, volley) = tokio::try_join!(
            self.others_reach(missed, missed + live as u64),
            Volley::fire(&self.stage, &self.generator, &self.crowd.rooms, posts, pace, || step
                .tick()),
        )?;
        step.end();
        self.faults.extend(volley.faults.iter().cloned());
        self.owed.extend(&volley.shots);
        let collected = self.stage.sink(OTHERS).collect().await?;
        let faults = volley::faults(&self.crowd.rooms, &self.owed, &collected);
        self.faults.extend(faults);
        self.owed.clear();
        self.stage.expect_nothing_of(OTHERS, false);
        Ok((caught_up, volley))
    }

    /// Waits until each of the others was shown `all`; says when each had been shown `missed`.
    async fn others_reach(&self, missed: u64, all: u64) -> anyhow::Result<CaughtUp> {
        let began = Instant::now();
        let mut caught_up = CaughtUp::default();
        let mut last = (began, 0);
        loop {
            let progress = self.stage.sink(OTHERS).progress().await?;
            let (now, shown) = (began.elapsed(), progress.iter().sum::<u64>());
            caught_up.shown.push((now.as_secs_f64(), shown as f64));
            let least = progress.iter().copied().min().unwrap_or(0);
            if least >= missed && caught_up.after.is_zero() {
                caught_up.after = now;
            }
            if least >= all {
                return Ok(caught_up);
            }
            if shown > last.1 {
                last = (Instant::now(), shown);
            }
            ensure!(
                last.0.elapsed() < PATIENCE,
                "those that came back were shown {progress:?} of {all} messages, and nothing more comes"
            );
            sleep(LOOK).await;
        }
    }
}
