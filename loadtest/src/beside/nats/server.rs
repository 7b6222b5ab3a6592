//! A nats-server with JetStream on the disk that is measured, and mutual TLS as Nave has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use daemon::certificates::DevelopmentCa;
use serde_json::{Value, json};

use super::super::{Server, program};
use super::wire::{Caller, Client, SERVER};
use crate::measure::Usage;
use crate::report::ProcessUse;
use crate::stage::free;

/// Names its program where it is not the `nats-server` in PATH.
const VARIABLE: &str = "NATS_SERVER";

/// Who calls, in its certificate.
const CALLER: &str = "loadtest.example";

/// A server listens by then.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// For how long a consumer may leave a message unacknowledged: long enough that none comes twice on a slow machine.
const ACK_WAIT: Duration = Duration::from_secs(120);

/// Messages of a consumer that are under way at most. A server's own default is 1,000, and slower.
const ACKS_PENDING: usize = 16_384;

/// When a message is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// When the system writes it, at the latest after two minutes: what a server does by itself.
    Later,
    /// Before it is acknowledged, as Nave does.
    Always,
}

/// The program.
#[derive(Debug, Clone)]
pub(super) struct Program {
    file: PathBuf,
    /// As it says itself.
    pub(super) version: String,
}

impl Program {
    /// That of this machine.
    ///
    /// # Errors
    /// Says why there is none.
    pub(super) fn find() -> anyhow::Result<Self> {
        let file = program(VARIABLE, "nats-server")
            .with_context(|| format!("there is no nats-server in PATH, and {VARIABLE} names none"))?;
        let said = Command::new(&file).arg("--version").stdin(Stdio::null()).output();
        let said = said.with_context(|| format!("run {}", file.display()))?;
        let version = String::from_utf8_lossy(&said.stdout);
        let version = version.trim().trim_start_matches("nats-server: ").to_owned();
        Ok(Self { file, version })
    }

    /// Starts a server in a new directory `directory`, with certificates of `ca`, whose own is the file `roots`.
    ///
    /// # Errors
    /// This release cannot be configured so, or it does not start.
    pub(super) async fn start(
        &self,
        sync: Sync,
        directory: &Path,
        ca: &DevelopmentCa,
        roots: &Path,
    ) -> anyhow::Result<Nats> {
        fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
        let file = |name: &str| directory.join(name);
        for (name, of) in [("server", SERVER), ("caller", CALLER)] {
            let (chain, key) = (file(&format!("{name}.pem")), file(&format!("{name}.key")));
            ca.issue(&[of])?.write(&chain, &key)?;
        }
        let address = free()?;
        let config = configuration(sync, &address.to_string(), directory, roots)?;
        fs::write(file("nats.conf"), config)?;
        let checked = Command::new(&self.file)
            .arg("-c")
            .arg(file("nats.conf"))
            .arg("-t")
            .output()?;
        if !checked.status.success() {
            let said = String::from_utf8_lossy(&checked.stderr);
            // The file, line and column do not matter to anybody.
            let why = said.rsplit_once(": ").map_or(&*said, |(_, why)| why).trim();
            bail!("this nats-server ({}) cannot: {why}", self.version);
        }
        let mut command = Command::new(&self.file);
        command.arg("-c").arg(file("nats.conf"));
        let mut server = Server::start(&mut command, &file("nats.log"))?;
        let caller = Caller::new(address, &file("caller.pem"), &file("caller.key"), roots)?;
        let began = Instant::now();
        loop {
            let tried = caller.connect().await;
            let Err(error) = tried else { break };
            if server.has_ended() || began.elapsed() > DEADLINE {
                return Err(error.context(format!("nats-server does not start: {}", server.lines())));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Nats {
            server,
            caller,
            setup: Setup {
                address,
                chain: file("caller.pem"),
                key: file("caller.key"),
                roots: roots.to_owned(),
            },
            directory: directory.to_owned(),
        })
    }
}

fn configuration(sync: Sync, address: &str, directory: &Path, roots: &Path) -> anyhow::Result<String> {
    let path = |path: &Path| {
        let text = path.to_str().filter(|text| !text.contains(['"', '\\']));
        text.map(str::to_owned)
            .with_context(|| format!("{} cannot stand in a configuration", path.display()))
    };
    let sync = match sync {
        Sync::Later => "",
        Sync::Always => "sync_interval: always",
    };
    Ok(format!(
        "listen: \"{address}\"\nserver_name: \"beside\"\n\
         jetstream {{ store_dir: \"{}\", max_memory_store: 64MB, max_file_store: 64GB\n{sync}\n}}\n\
         tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: true }}\n",
        path(&directory.join("jetstream"))?,
        path(&directory.join("server.pem"))?,
        path(&directory.join("server.key"))?,
        path(roots)?,
    ))
}

/// How others reach a server.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(super) struct Setup {
    address: std::net::SocketAddr,
    chain: PathBuf,
    key: PathBuf,
    roots: PathBuf,
}

impl Setup {
    /// A caller of that server.
    pub(super) fn caller(&self) -> anyhow::Result<Caller> {
        Caller::new(self.address, &self.chain, &self.key, &self.roots)
    }
}

/// A server that runs.
pub(super) struct Nats {
    server: Server,
    pub(super) caller: Caller,
    pub(super) setup: Setup,
    pub(super) directory: PathBuf,
}

impl Nats {
    /// What it has used until now.
    pub(super) fn usage(&self) -> anyhow::Result<Usage> {
        self.server.usage()
    }

    /// The same over its whole life, for the report.
    pub(super) fn process(&self, name: &str) -> Option<ProcessUse> {
        let usage = self.usage().ok()?;
        Some(ProcessUse {
            name: name.to_owned(),
            cpu_seconds: usage.cpu.as_secs_f64(),
            rss_bytes: usage.rss,
            rss_peak_bytes: usage.rss_peak,
        })
    }

    /// Makes a stream with so many durable consumers, to each of which the server pushes everything, in order.
    pub(super) async fn lay(&self, api: &mut Client, stream: &str, consumers: usize) -> anyhow::Result<()> {
        let config = json!({
            "name": stream, "subjects": [format!("{stream}.>")], "retention": "limits", "storage": "file",
            "discard": "old", "num_replicas": 1, "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
        });
        api.request(&format!("$JS.API.STREAM.CREATE.{stream}"), &config).await?;
        for number in 0..consumers {
            let name = consumer(number);
            let config = json!({
                "stream_name": stream,
                "config": {
                    "durable_name": name, "deliver_subject": deliver(stream, number), "deliver_policy": "all",
                    // By watermark, as Nave's followers acknowledge.
                    "ack_policy": "all", "ack_wait": u64::try_from(ACK_WAIT.as_nanos())?, "max_ack_pending": ACKS_PENDING,
                    "max_deliver": -1, "replay_policy": "instant",
                },
            });
            let subject = format!("$JS.API.CONSUMER.DURABLE.CREATE.{stream}.{name}");
            api.request(&subject, &config).await?;
        }
        Ok(())
    }

    /// Removes a stream with its consumers.
    pub(super) async fn clear(&self, api: &mut Client, stream: &str) -> anyhow::Result<()> {
        let subject = format!("$JS.API.STREAM.DELETE.{stream}");
        api.request(&subject, &Value::Null).await.map(drop)
    }
}

fn consumer(number: usize) -> String {
    format!("f{number}")
}

/// Where a consumer's messages are pushed to.
pub(super) fn deliver(stream: &str, number: usize) -> String {
    format!("push.{stream}.{number}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_is_to_sync_always_is_told_so() {
        let of = |sync| configuration(sync, "127.0.0.1:1", Path::new("/d"), Path::new("/ca.pem")).unwrap_or_default();
        assert!(of(Sync::Always).contains("sync_interval: always"));
        assert!(of(Sync::Later).contains("verify: true") && !of(Sync::Later).contains("sync_interval"));
        assert!(configuration(Sync::Later, "", Path::new("/d\""), Path::new("/ca.pem")).is_err());
    }
}
