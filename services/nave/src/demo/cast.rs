//! Who takes part: a local user of each of three providers, known by the providers' configurations alone.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use client::api::{Api, Target};
use mimi::{ClientUri, Provider, RoomUri, UserUri};

use crate::config::Config;

/// One user at its provider.
#[derive(Debug)]
pub struct CastMember {
    /// The provider, with the user's token.
    pub api: Api,
    user: UserUri,
}

impl CastMember {
    /// The URI of one of the user's clients. Each run has clients of its own: secrets do not outlive a run.
    pub fn client(&self, device: &str) -> anyhow::Result<ClientUri> {
        let name = self.user.as_str().rsplit('/').next().context("a user without a name")?;
        let run = std::process::id();
        Ok(format!("mimi://{}/d/{name}/{device}-{run}", self.user.provider()).parse()?)
    }
}

/// The users of the providers a (the hub), b and c.
#[derive(Debug)]
pub struct Cast {
    /// One of each provider.
    pub users: [CastMember; 3],
}

impl Cast {
    /// Asks each provider who the user of its configuration is.
    pub async fn of(configs: &[PathBuf]) -> anyhow::Result<(Self, Vec<Provider>)> {
        ensure!(
            configs.len() == 3,
            "the demo plays with three providers: name three configurations, not {}",
            configs.len()
        );
        let mut users = Vec::new();
        let mut providers = Vec::new();
        for path in configs {
            let config = Config::load(path)?;
            users.push(
                user(&config)
                    .await
                    .with_context(|| format!("the client of {}", path.display()))?,
            );
            providers.push(config.domain);
        }
        let users = users.try_into().ok().context("three providers have three users")?;
        Ok((Self { users }, providers))
    }

    /// A room of the first provider that no run before had.
    pub fn room(&self) -> anyhow::Result<RoomUri> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
        let hub = self.users[0].user.provider();
        Ok(format!("mimi://{hub}/r/clubhouse-{}", now.as_millis()).parse()?)
    }
}

async fn user(config: &Config) -> anyhow::Result<CastMember> {
    let client = config
        .client
        .as_ref()
        .context("`[client]` is missing: the demo needs a user's token")?;
    let token = std::fs::read_to_string(&client.token).with_context(|| format!("read {}", client.token.display()))?;
    let roots_pem = std::fs::read(&client.roots).with_context(|| format!("read {}", client.roots.display()))?;
    let target = Target {
        address: config.api,
        server_name: config.domain.to_string(),
        roots_pem,
    };
    let api = Api::new(&target, token.trim())?;
    let answer = api
        .who_am_i()
        .await
        .with_context(|| format!("ask {} who the token names", config.api))?;
    Ok(CastMember {
        api,
        user: answer.user.parse()?,
    })
}
