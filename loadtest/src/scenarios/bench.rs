//! What several scenarios set up alike: a hub with groups of followers, rooms in which all of them are, and volleys.

use hdrhistogram::Histogram;

use super::Setting;
use crate::crowd::Crowd;
use crate::drive::Pace;
use crate::generator::{Generator, Hub, Post};
use crate::progress::Step;
use crate::report::{Outcome, ProcessUse};
use crate::stage::{Shape, Stage};
use crate::volley::Volley;

/// The most messages that are under way at a time, so that no queue of the hub overflows.
pub(crate) const IN_FLIGHT: usize = 1_024;

/// A hub, its followers, and who speaks.
pub(crate) struct Bench {
    pub(crate) stage: Stage,
    pub(crate) crowd: Crowd,
    pub(crate) generator: Generator,
    /// Octets of application data in a message.
    size: usize,
    faults: Vec<String>,
}

impl Bench {
    /// Starts the processes, founds `rooms` rooms, and has the sinks check what came until then.
    ///
    /// # Errors
    /// Something does not start, or the hub refuses.
    pub(crate) async fn set_up(setting: &Setting, shape: &Shape, rooms: usize, size: usize) -> anyhow::Result<Self> {
        let stage = Stage::build(&setting.ground, shape).await?;
        let hub = Hub::new(&stage.clients);
        let followers = stage.followers.len();
        // Each follower is invited, the room founded, its founder taken out.
        let step = Step::begin(
            format!("{rooms} rooms of {followers} followers"),
            rooms * (followers + 2),
        );
        let crowd = Crowd::gather(&hub, &stage.hub_sender, &stage.followers, rooms, || step.tick()).await?;
        step.end();
        let collected = stage.collect().await?;
        Ok(Self {
            generator: Generator::new(&hub, crowd.source.as_str(), &crowd.rooms),
            faults: collected.into_iter().flat_map(|follower| follower.faults).collect(),
            stage,
            crowd,
            size,
        })
    }

    /// So many messages over all rooms, encrypted.
    ///
    /// # Errors
    /// MLS fails.
    pub(crate) fn write(&mut self, messages: usize) -> anyhow::Result<Vec<Post>> {
        let rooms = self.crowd.rooms.len();
        tokio::task::block_in_place(|| self.crowd.write(rooms, messages, self.size))
    }

    /// A volley of so many messages that `sinks` are to be shown.
    ///
    /// # Errors
    /// The hub refuses, or a follower is shown nothing any more.
    pub(crate) async fn volley(
        &mut self,
        name: String,
        messages: usize,
        pace: Pace,
        sinks: &[usize],
    ) -> anyhow::Result<Volley> {
        let posts = self.write(messages)?;
        let step = Step::begin(name, messages);
        let (stage, rooms) = (&self.stage, &self.crowd.rooms);
        let volley = Volley::fire_at(stage, sinks, &self.generator, rooms, posts, pace, || step.tick()).await?;
        step.end();
        self.fault(volley.faults.iter().cloned());
        Ok(volley)
    }

    /// Notes what is not as it must be.
    pub(crate) fn fault(&mut self, faults: impl IntoIterator<Item = String>) {
        self.faults.extend(faults);
    }

    /// Tells `outcome` what was not as it must be, and gives what the processes used.
    pub(crate) fn end(self, outcome: &mut Outcome) -> Vec<ProcessUse> {
        outcome.fault(self.faults);
        self.stage.processes()
    }
}

/// A quantile of microseconds, in milliseconds.
pub(crate) fn milliseconds(of: &Histogram<u64>, quantile: f64) -> f64 {
    of.value_at_quantile(quantile) as f64 / 1e3
}
