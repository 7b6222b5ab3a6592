//! The load test itself, very short: whatever figures it finds, what it promises about them holds.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const LOADTEST: &str = env!("CARGO_BIN_EXE_loadtest");

/// Builds the programs that are driven, in the profile of this test and beside it. What they are made of has the features
/// that it has for the tests of the workspace, so that nothing is compiled twice.
fn build() {
    let programs = Path::new(LOADTEST).parent().unwrap();
    let profile = match programs.file_name().unwrap().to_str().unwrap() {
        "debug" => "dev",
        named => named,
    };
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "--profile", profile, "--target-dir"])
        .arg(programs.parent().unwrap())
        .args([
            "--workspace",
            "--test",
            "fanout",
            "--bin",
            "nave",
            "--bin",
            "nave-hub",
            "--bin",
            "nave-edge",
        ])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success(), "the programs cannot be built");
}

/// A nats-server that is on no machine.
const NOWHERE: (&str, &str) = ("NATS_SERVER", "/nowhere/nats-server");

fn outcome(arguments: &[&str]) -> (Value, String) {
    outcome_with(arguments, Some(NOWHERE))
}

fn outcome_with(arguments: &[&str], variable: Option<(&str, &str)>) -> (Value, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name);
    let output = Command::new(LOADTEST)
        .args(arguments)
        .envs(variable)
        .arg("--json")
        .arg(file("json"))
        .arg("--html")
        .arg(file("html"))
        .arg("--data-dir")
        .arg(directory.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let json = std::fs::read(file("json")).unwrap_or_else(|error| panic!("{error}: {said}"));
    let html = std::fs::read_to_string(file("html")).unwrap();
    (serde_json::from_slice(&json).unwrap(), html)
}

#[test]
fn a_short_run_is_complete_and_says_what_it_measured_beside_what() {
    build();
    let (fanout, page) = outcome(&[
        "fanout",
        "--quick",
        "--followers=2",
        "--rooms=3",
        "--messages=200",
        "--rate=200",
        "--seconds=1",
    ]);
    assert_eq!(fanout["scenario"], "fanout");
    assert_eq!(fanout["complete"], true, "{:#}", fanout["faults"]);
    assert_eq!(fanout["indicative"], true);
    assert_eq!(fanout["settings"]["followers"], serde_json::json!([2]));
    let rows = fanout["rows"].as_array().unwrap();
    for row in rows {
        for key in ["metric", "nave", "beside", "name_beside", "ratio", "goal", "met"] {
            assert!(row.get(key).is_some(), "{key} is not in {row}");
        }
        assert!(row["metric"].is_string() && row["nave"].is_number(), "{row}");
    }
    let named = |name: &str| rows.iter().filter(|row| row["name_beside"] == name).collect::<Vec<_>>();
    assert!(named("bare quinn").iter().all(|row| row["ratio"].is_number()));
    let nats = named("NATS JetStream, un-synced");
    let nats: Vec<_> = nats.iter().filter(|row| row["goal"].is_string()).collect();
    assert!(!nats.is_empty() && nats.iter().all(|row| row["met"] == "not measured"));
    let said = &fanout["settings"]["nats_server"]["un-synced"];
    assert!(
        said.as_str().is_some_and(|said| said.starts_with("not measured: ")),
        "{said}"
    );
    assert!(page.contains("<svg") && page.contains("Complete") && !page.contains("<script"));

    let few = ["--quick", "--rooms=2"];
    let stalled = ["stalled", "--well=2", "--stalled=2", "--messages=200"];
    let catchup = ["catchup", "--returning=1", "--backlog=300", "--rate=100", "--seconds=1"];
    let failover = ["failover", "--followers=2", "--rate=50", "--seconds=3"];
    for arguments in [&stalled[..], &catchup, &failover] {
        let (outcome, _) = outcome(&[arguments, &few].concat());
        assert_eq!(outcome["scenario"], arguments[0]);
        assert_eq!(outcome["complete"], true, "{:#}", outcome["faults"]);
    }
    let (commits, _) = outcome(&["commits", "--quick", "--leaves=3", "--commits=3"]);
    assert_eq!(commits["complete"], true, "{:#}", commits["faults"]);
    let rows = commits["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["name_beside"] == "bare OpenMLS"));

    let edge = ["edge", "--connections=2", "--messages=100", "--rate=100", "--fresh=5"];
    let clients = [
        "clients",
        "--connections=3",
        "--streams=4",
        "--sample=2",
        "--messages=3",
        "--seconds=0.1",
    ];
    let providers = ["providers", "--clients=2", "--messages=40", "--rate=20"];
    let mix = [
        "mix",
        "--staying=2",
        "--going=1",
        "--largest=5",
        "--rate=50",
        "--seconds=3",
    ];
    for arguments in [&edge[..], &clients, &providers, &mix] {
        let rooms = matches!(arguments[0], "edge" | "mix").then_some("--rooms=4");
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--quick"]).chain(rooms).collect();
        let (outcome, _) = outcome(&arguments);
        assert_eq!(outcome["scenario"], arguments[0]);
        assert_eq!(outcome["complete"], true, "{:#}", outcome["faults"]);
        let rows = outcome["rows"].as_array().unwrap();
        let synapse = |row: &&Value| row["name_beside"] == "two Synapses";
        assert!(rows.iter().filter(synapse).all(|row| row["met"] == "not measured"));
    }
}

#[test]
fn what_cannot_be_played_against_a_running_deployment_says_why() {
    for (scenario, why) in [
        ("fanout", "start it without --against"),
        ("all", "name `providers` or `clients`"),
    ] {
        let output = Command::new(LOADTEST)
            .args([scenario, "--against", "a/nave.toml"])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{said}");
    }
}

#[test]
fn a_nats_server_that_is_on_the_machine_stands_beside() {
    let found =
        Command::new("nats-server").arg("--version").output().is_ok() || std::env::var_os("NATS_SERVER").is_some();
    if !found {
        eprintln!("not tested: there is no nats-server on this machine");
        return;
    }
    build();
    let few = ["--quick", "--rooms=2"];
    let fanout = ["fanout", "--followers=2", "--messages=200", "--rate=200", "--seconds=1"];
    let accept = ["accept", "--in-flight=1000", "--messages=1000"];
    let catchup = ["catchup", "--returning=1", "--backlog=300", "--rate=100", "--seconds=1"];
    for (arguments, least) in [(&fanout[..], 4), (&accept, 1), (&catchup, 1)] {
        let (outcome, _) = outcome_with(&[arguments, &few].concat(), None);
        assert_eq!(outcome["complete"], true, "{:#}", outcome["faults"]);
        let rows = outcome["rows"].as_array().unwrap();
        let beside = |row: &&Value| row["name_beside"] == "NATS JetStream, un-synced" && row["ratio"].is_number();
        let settings = &outcome["settings"]["nats_server"];
        assert!(rows.iter().filter(beside).count() >= least, "{rows:#?} {settings:#}");
        // Not every release can sync always; one that can is measured so.
        let synced = settings["sync always"].as_str().unwrap_or("not measured: not asked");
        let said = synced.starts_with("not measured: ");
        let named = |row: &&Value| row["name_beside"] == "NATS JetStream, sync always";
        assert!(
            rows.iter().filter(named).all(|row| row["ratio"].is_number() != said),
            "{rows:#?}"
        );
    }
}
