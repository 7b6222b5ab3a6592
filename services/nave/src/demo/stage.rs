//! Three providers of this process that know each other, each with its own store and certificates, on free loopback ports.

use std::path::{Path, PathBuf};

use anyhow::ensure;
use mimi::Provider;

use crate::config::Config;
use crate::init::{CONFIG, Plan, add_peer};
use crate::ports;
use crate::provider::Running;

/// The providers a.example (the hub of the rooms), b.example and c.example.
#[derive(Debug)]
pub struct Stage {
    configs: Vec<PathBuf>,
    running: Vec<Option<Running>>,
}

impl Stage {
    /// Makes the providers in a directory, or takes what a run before made there, and starts them.
    ///
    /// # Errors
    /// The directory cannot be written, or a port or a store is taken.
    pub async fn set(directory: &Path) -> anyhow::Result<Self> {
        let configs = prepare(directory)?;
        let running = configs.iter().map(|_| None).collect();
        let mut stage = Self { configs, running };
        for place in 0..stage.configs.len() {
            stage.start(place).await?;
        }
        Ok(stage)
    }

    /// The providers' configurations, a's first.
    pub fn configs(&self) -> &[PathBuf] {
        &self.configs
    }

    /// Starts the provider at this place.
    ///
    /// # Errors
    /// It runs already, or a port or its store is taken.
    pub async fn start(&mut self, place: usize) -> anyhow::Result<()> {
        let running = &mut self.running[place];
        ensure!(running.is_none(), "provider {place} runs already");
        let config = Config::load(&self.configs[place])?;
        *running = Some(Box::pin(Running::start(config)).await?);
        Ok(())
    }

    /// Stops the provider at this place; its ports do not answer any more, and its store is closed.
    pub async fn stop(&mut self, place: usize) {
        if let Some(running) = self.running[place].take() {
            running.stop().await;
        }
    }

    /// Stops all of them.
    pub async fn strike(mut self) {
        for place in 0..self.running.len() {
            self.stop(place).await;
        }
    }
}

/// Makes the directories of three providers that know each other, on free loopback ports. What a run before made is used
/// again as it is.
fn prepare(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let names = ["a", "b", "c"];
    let made: Vec<PathBuf> = names.iter().map(|name| directory.join(name).join(CONFIG)).collect();
    if made.iter().all(|config| config.exists()) {
        return Ok(made);
    }
    let mut plans = Vec::new();
    for name in names {
        let domain: Provider = format!("{name}.example").parse()?;
        let home = directory.join(name);
        let [listen, api, admin, operator] = ports::free()?;
        let user = match name {
            "a" => "alice",
            "b" => "bob",
            _ => "cathy",
        };
        let plan = Plan {
            directory: home,
            domain,
            listen,
            api,
            admin,
            operator: Some(operator),
            ca: None,
            user: user.to_owned(),
            minimal_metadata: true,
        };
        plans.push((plan.carry_out()?, plan));
    }
    for (config, plan) in &plans {
        for (_, other) in plans.iter().filter(|(_, other)| other.domain != plan.domain) {
            let roots = std::path::absolute(other.directory.join(daemon::certificates::CA_CERTIFICATE))?;
            add_peer(config, &other.domain, other.listen, &roots)?;
        }
    }
    Ok(plans.into_iter().map(|(config, _)| config).collect())
}
