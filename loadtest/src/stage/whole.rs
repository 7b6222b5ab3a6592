//! Whole providers, each a process of `nave serve` with a store of its own, that know each other; or those of a running
//! deployment. They are used through the ports that their own clients have.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use client::api::{Api, Target};
use mimi::{ClientUri, Provider, UserUri};
use serde::Deserialize;
use tempfile::TempDir;

use super::{Ground, Process, files, free};
use crate::measure::{self, Usage};
use crate::report::ProcessUse;

/// What a provider of ours is told: bounds on what one user may do, put where they stop nobody here.
const BOUNDS: &str = "[edge.limits]\nevent_streams_max = 1_000_000\nconnections_max = 100_000\nstreams_max = 100_000\n\
                      [edge.rates]\nuser = { per_second = 1_000_000, burst = 1_000_000 }\n\
                      submit_message = { per_second = 1_000_000, burst = 1_000_000 }\n";

/// See the module.
pub(crate) struct Wholes {
    /// In the order in which they were named.
    pub(crate) providers: Vec<Whole>,
    /// Removed when the processes have ended: fields are dropped in their order.
    _directory: Option<TempDir>,
}

/// One of them, with a user who has a token.
pub(crate) struct Whole {
    /// Where it is a process of ours.
    process: Option<Process>,
    /// Its domain.
    pub(crate) domain: Provider,
    /// Whose clients are played.
    pub(crate) user: UserUri,
    target: Target,
    token: String,
}

/// What is read of a configuration that `nave init` made.
#[derive(Debug, Deserialize)]
struct Config {
    domain: String,
    api: SocketAddr,
    client: ClientFiles,
}

#[derive(Debug, Deserialize)]
struct ClientFiles {
    token: PathBuf,
    roots: PathBuf,
}

impl Wholes {
    /// Starts a provider `NAME.example` for each of `names`.
    ///
    /// # Errors
    /// Something does not start.
    pub(crate) async fn start(ground: &Ground, names: &[&str]) -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("nave-load-")
            .tempdir_in(&ground.directory)?;
        let made = names.iter().map(|name| Made::init(ground, directory.path(), name));
        let made = made.collect::<anyhow::Result<Vec<_>>>()?;
        let mut providers = Vec::new();
        for one in &made {
            let others = made.iter().filter(|other| other.domain != one.domain);
            one.configure(directory.path(), others)?;
            let program = ground.programs.path("nave");
            let process = Process::start(&one.domain, &program, &["serve"], &one.config, one.admin).await?;
            providers.push(Whole::at(&one.config, None, Some(process)).await?);
        }
        Ok(Self {
            providers,
            _directory: Some(directory),
        })
    }

    /// Those that run already: each is named by the configuration that `nave init` made for it, of which the domain, the
    /// token and its root are read, and before an `@` by the address of its provider API, where that is another.
    ///
    /// # Errors
    /// A configuration cannot be read, or a provider does not answer.
    pub(crate) async fn running(named: &[String]) -> anyhow::Result<Self> {
        let mut providers = Vec::new();
        for one in named {
            let (address, config) = match one.split_once('@') {
                Some((address, config)) => {
                    let mut resolved = tokio::net::lookup_host(address).await;
                    let first = resolved.as_mut().ok().and_then(Iterator::next);
                    (Some(first.with_context(|| format!("{address} is no address"))?), config)
                }
                None => (None, one.as_str()),
            };
            let whole = Whole::at(Path::new(config), address, None).await;
            providers.push(whole.with_context(|| format!("the provider of {config}"))?);
        }
        Ok(Self {
            providers,
            _directory: None,
        })
    }

    /// What each process of ours used since it began.
    pub(crate) fn processes(&self) -> Vec<ProcessUse> {
        let ours = self.providers.iter().filter_map(|one| {
            let process = one.process.as_ref()?;
            ProcessUse::of(format!("nave serve, {}", process.name()), process.id())
        });
        ours.chain(ProcessUse::generator()).collect()
    }
}

impl Whole {
    async fn at(config: &Path, address: Option<SocketAddr>, process: Option<Process>) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(config).with_context(|| format!("read {}", config.display()))?;
        let read: Config = toml::from_str(&text).with_context(|| format!("{}", config.display()))?;
        let beside = |file: &Path| config.parent().unwrap_or_else(|| Path::new(".")).join(file);
        let (token, roots) = (beside(&read.client.token), beside(&read.client.roots));
        let token = std::fs::read_to_string(&token).with_context(|| format!("read {}", token.display()))?;
        let target = Target {
            address: address.unwrap_or(read.api),
            server_name: read.domain.clone(),
            roots_pem: std::fs::read(&roots).with_context(|| format!("read {}", roots.display()))?,
        };
        let token = token.trim().to_owned();
        let known = Api::new(&target, &token)?.who_am_i().await;
        let known = known.with_context(|| format!("ask {} whom the token names", target.address))?;
        Ok(Self {
            process,
            domain: read.domain.parse()?,
            user: known.user.parse()?,
            target,
            token,
        })
    }

    /// The provider API, over a connection of its own, for its user.
    ///
    /// # Errors
    /// The root or the token cannot be used.
    pub(crate) fn api(&self) -> anyhow::Result<Api> {
        Ok(Api::new(&self.target, &self.token)?)
    }

    /// The URI of a client of its user that no run before had: secrets do not outlive a run.
    ///
    /// # Errors
    /// The name cannot stand in a URI.
    pub(crate) fn client(&self, device: &str) -> anyhow::Result<ClientUri> {
        let name = self.user.as_str().rsplit('/').next().context("a user without a name")?;
        let uri = format!("mimi://{}/d/{name}/{device}-{}", self.domain, run());
        Ok(uri.parse()?)
    }

    /// What it has used; nothing where it is no process of ours.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn usage(&self) -> anyhow::Result<Option<Usage>> {
        let Some(process) = &self.process else {
            return Ok(None);
        };
        let usage = measure::usage(process.id());
        usage.context("this system does not tell what a process used").map(Some)
    }
}

/// Apart from what other runs name.
pub(crate) fn run() -> u64 {
    static BEGAN: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    *BEGAN.get_or_init(|| measure::now_ns() / 1_000_000)
}

/// What `nave init` made.
struct Made {
    domain: String,
    config: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Made {
    fn init(ground: &Ground, root: &Path, name: &str) -> anyhow::Result<Self> {
        let (home, ca, domain) = (root.join(name), root.join("ca"), format!("{name}.example"));
        let [listen, api, admin, operator] = [free()?, free()?, free()?, free()?];
        let addresses = [listen, api, admin, operator].map(|address| address.to_string());
        let [at_listen, at_api, at_admin, at_operator] = &addresses;
        let arguments = [
            "init",
            files::text(&home)?,
            "--domain",
            &domain,
            "--listen",
            at_listen,
            "--api",
            at_api,
            "--admin",
            at_admin,
            "--operator",
            at_operator,
            "--ca",
            files::text(&ca)?,
            "--user",
            name,
        ];
        ground.programs.run("nave", &arguments)?;
        Ok(Self {
            config: home.join("nave.toml"),
            domain,
            listen,
            admin,
        })
    }

    /// Adds to its configuration who the others are, and bounds for a load.
    fn configure<'a>(&self, root: &Path, others: impl Iterator<Item = &'a Self>) -> anyhow::Result<()> {
        let mut text = std::fs::read_to_string(&self.config)?;
        let quiet = text.replace("log_filter = \"info\"", "log_filter = \"warn\"");
        ensure!(
            quiet != text,
            "`nave init` writes another configuration than this program knows"
        );
        text = quiet + BOUNDS;
        let roots = root.join("ca/ca.pem");
        for Self { domain, listen, .. } in others {
            text += &format!(
                "[[peers]]\ndomain = '{domain}'\naddress = '{listen}'\nroots = '{}'\n",
                files::text(&roots)?
            );
        }
        Ok(std::fs::write(&self.config, text)?)
    }
}
