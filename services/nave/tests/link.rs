//! A provider of ours as a follower: what docs/link.md promises, the conformance test finds, over the process' public port.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::Command;

use daemon::certificates::DevelopmentCa;
use link_conformance::{Hub, Process, run};
use nave::init::{Plan, add_peer};
use nave::ports;

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_of_ours_passes_the_links_conformance_test() {
    let root = tempfile::tempdir().unwrap();
    let [listen, api, admin] = ports::free().unwrap();
    let home = root.path().join("b");
    let plan = Plan::new(
        home.clone(),
        "b.example".parse().unwrap(),
        listen,
        Some(api),
        Some(admin),
    );
    let config = plan.unwrap().carry_out().unwrap();
    let hub_home = root.path().join("a");
    std::fs::create_dir(&hub_home).unwrap();
    let ca = DevelopmentCa::in_directory(&hub_home).unwrap();
    let (chain, key) = (hub_home.join("hub.pem"), hub_home.join("hub.key"));
    ca.issue(&["a.example"]).unwrap().write(&chain, &key).unwrap();
    let [nobody] = ports::free().unwrap();
    add_peer(&config, &"a.example".parse().unwrap(), nobody, &hub_home.join("ca.pem")).unwrap();

    let hub = Hub::from_files("a.example", "b.example", &chain, &key, &home.join("ca.pem")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nave"));
    command
        .args(["serve", "--config", config.to_str().unwrap()])
        .env("NAVE_TELEMETRY__LOG_FILTER", "error");
    let mut provider = Process::start(command, listen, false).unwrap();
    hub.reaches(listen).await.unwrap();
    let report = run(&hub, &mut provider).await;
    assert!(report.is_good(), "{report}");
}
