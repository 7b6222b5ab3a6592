//! A provider whose tiers run by themselves, joined by mutual TLS alone, does what one in a single process does.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use daemon::Health;
use daemon::certificates::DevelopmentCa;
use nave::config::Config;
use nave::demo;
use nave::init::{Plan, add_peer};
use nave::ports;
use nave::provider::Running;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

fn init(root: &Path, name: &str) -> (PathBuf, SocketAddr) {
    let [listen, api, admin] = ports::free().unwrap();
    let domain = format!("{name}.example").parse().unwrap();
    let plan = Plan::new(root.join(name), domain, listen, Some(api), Some(admin)).unwrap();
    let plan = Plan {
        ca: Some(root.join("ca")),
        ..plan
    };
    (plan.carry_out().unwrap(), listen)
}

/// The tiers of the provider that `nave init` made in `directory`, each with a configuration and a store of its own.
struct Tiers {
    stop: [CancellationToken; 3],
    working: [JoinHandle<anyhow::Result<()>>; 3],
}

impl Tiers {
    async fn start(directory: &Path) -> Self {
        let all = Config::load(&directory.join("nave.toml")).unwrap();
        let text = std::fs::read_to_string(directory.join("nave.toml")).unwrap();
        let tables = |from: &str| text[text.find(from).unwrap()..].to_owned();
        let peers = tables("\n[[peers]]");
        let [hub, follower, admin] = ports::free().unwrap();

        let ca = DevelopmentCa::in_directory(&directory.join("cluster")).unwrap();
        let mut cluster = Vec::new();
        for tier in ["edge", "hub", "follower"] {
            let (chain, key) = (format!("cluster/{tier}.pem"), format!("cluster/{tier}.key"));
            let issued = ca.issue(&[&format!("{tier}.nave.internal")]).unwrap();
            issued.write(&directory.join(&chain), &directory.join(&key)).unwrap();
            cluster.push(format!(
                "[cluster]\nchain = '{chain}'\nkey = '{key}'\nroots = 'cluster/ca.pem'\n"
            ));
        }
        let tls = "[tls]\nchain = 'provider.pem'\nkey = 'provider.key'\n";
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let domain = &all.domain;
        let common = format!("domain = '{domain}'\nadmin = '{admin}'\n");
        let file = write(
            "follower.toml",
            format!(
                "{common}listen = '{follower}'\nstore = 'fjall:follower-data'\n{}",
                cluster[2]
            ),
        );
        let follower_config = nave_follower::config::Config::load(&file, Default::default()).unwrap();
        let file = write(
            "hub.toml",
            format!(
                "{common}listen = '{hub}'\nstore = 'fjall:hub-data'\nshards = 4\nfollowers = ['{follower}']\n\
                 hub_key = 'hub.key'\n{tls}{}{peers}",
                cluster[1]
            ),
        );
        let hub_config = nave_hub::config::Config::load(&file, Default::default()).unwrap();
        write("hub.senders", nave_hub::config::senders(&hub_config.keys().unwrap()));
        let user = &all.users[0];
        let file = write(
            "edge.toml",
            format!(
                "{common}listen = '{}'\napi = '{}'\nauthority = '{domain}:{}'\nhubs = ['{hub}']\n\
                 followers = ['{follower}']\nhub_senders = 'hub.senders'\n{tls}\
                 [api_tls]\nchain = 'api.pem'\nkey = 'api.key'\n{}\
                 [[users]]\nname = '{}'\ntoken_sha256 = '{}'\nmoderator = {}\n{peers}",
                all.listen,
                all.api,
                all.listen.port(),
                cluster[0],
                user.name,
                user.token_sha256,
                user.moderator
            ),
        );
        let edge_config = nave_edge::Config::load(&file).unwrap();

        let health = Health::default();
        let stop: [CancellationToken; 3] = std::array::from_fn(|_| CancellationToken::new());
        let [edge_stop, hub_stop, follower_stop] = stop.clone();
        let latches = ["edge", "hub", "follower"].map(|name| health.latch(name));
        let [edge_latch, hub_latch, follower_latch] = latches;
        let working = [
            tokio::spawn(async move { Box::pin(nave_edge::work(edge_config, edge_latch, edge_stop)).await }),
            tokio::spawn(async move { Box::pin(nave_hub::work(hub_config, hub_latch, hub_stop)).await }),
            tokio::spawn(
                async move { Box::pin(nave_follower::work(follower_config, follower_latch, follower_stop)).await },
            ),
        ];
        while !health.is_ready() {
            assert!(!working.iter().any(JoinHandle::is_finished), "a tier ended");
            tokio::task::yield_now().await;
        }
        Self { stop, working }
    }

    /// One after the other, from the outside in.
    async fn drain(self) {
        for (stop, working) in self.stop.into_iter().zip(self.working) {
            stop.cancel();
            working.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_tiers_run_apart_passes_the_demo_and_drains() {
    let root = tempfile::tempdir().unwrap();
    let names = ["a", "b", "c"];
    let made = names.map(|name| init(root.path(), name));
    for (name, (config, _)) in names.iter().zip(&made) {
        for (other, (_, address)) in names.iter().zip(&made).filter(|(other, _)| *other != name) {
            let roots = root.path().join("ca/ca.pem");
            add_peer(config, &format!("{other}.example").parse().unwrap(), *address, &roots).unwrap();
        }
    }
    let tiers = Tiers::start(made[0].0.parent().unwrap()).await;
    let b = Box::pin(Running::start(Config::load(&made[1].0).unwrap()))
        .await
        .unwrap();
    let c = Box::pin(Running::start(Config::load(&made[2].0).unwrap()))
        .await
        .unwrap();
    let options = demo::Options {
        messages: 100,
        json: true,
        data_dir: None,
        against: made.iter().map(|(config, _)| config.clone()).collect(),
    };
    assert!(Box::pin(demo::run(options)).await.unwrap());
    tiers.drain().await;
    b.stop().await;
    c.stop().await;
}

#[tokio::test]
async fn another_number_of_shards_than_the_store_has_stops_the_start() {
    let store = store::Database::memory();
    nave_hub::open_ledger(store.clone(), Some(4), 16).await.unwrap();
    nave_hub::open_ledger(store.clone(), None, 16).await.unwrap();
    let error = nave_hub::open_ledger(store, Some(8), 16).await.unwrap_err().to_string();
    assert!(
        error.contains("shards: the store was founded with 4") && error.contains("set `shards = 4`"),
        "{error}"
    );
}
