//! What is wrong is said before any hub is asked.

#![allow(clippy::unwrap_used, reason = "tests")]

use clap::{CommandFactory as _, Parser as _};
use nave_ctl::{Arguments, Config, Failure, run};

fn parsed(words: &[&str]) -> Result<Arguments, String> {
    let all = ["navectl"].iter().chain(words);
    Arguments::try_parse_from(all).map_err(|error| error.to_string())
}

#[test]
fn the_command_line_is_whole() {
    Arguments::command().debug_assert();
    let which = ["--room", "mimi://a.example/r/x", "--seq", "7"];
    for order in ["retry", "skip"] {
        let all = ["follower", order, "b.example"];
        parsed(&all).unwrap();
        parsed(&[&all[..], &which[..]].concat()).unwrap();
        for half in [&which[..2], &which[2..]] {
            let error = parsed(&[&all[..], half].concat()).unwrap_err();
            assert!(
                error.contains("required"),
                "a room without a number says nothing, nor the other way round: {error}"
            );
        }
    }
    let error = parsed(&["follower", "pause", "Not a domain"]).unwrap_err();
    assert!(error.contains("Not a domain"), "{error}");
}

#[test]
fn hubs_on_the_command_line_go_over_those_of_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ctl.toml");
    let cluster = "[cluster]\nchain = \"ctl.pem\"\nkey = \"ctl.key\"\nroots = \"ca.pem\"\n";
    std::fs::write(&file, format!("hubs = [\"one:7001\"]\n{cluster}")).unwrap();
    let load = |more: &[&str]| {
        let words = [&["--config", file.to_str().unwrap()], more, &["follower", "list"]].concat();
        Config::load(&parsed(&words).unwrap())
    };
    let config = load(&[]).unwrap();
    assert_eq!(config.hubs, ["one:7001"]);
    assert_eq!(config.cluster.chain, directory.path().join("ctl.pem"));
    let named = ["--hub", "two:7001", "--hub", "three:7001"];
    assert_eq!(load(&named).unwrap().hubs, ["two:7001", "three:7001"]);
    let error = load(&["--hub", "two"]).unwrap_err().to_string();
    assert!(error.contains("`two`") && error.contains("`host:port`"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_not_there_and_a_certificate_that_is_not_there_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("ctl.toml");
    let arguments = || parsed(&["--config", file.to_str().unwrap(), "follower", "list"]).unwrap();
    let failure = run(arguments(), &mut Vec::new(), &mut Vec::new()).await.unwrap_err();
    assert!(
        matches!(failure, Failure::Config(_)) && failure.to_string().contains("ctl.toml"),
        "{failure}"
    );
    let text = "hubs = [\"one:7001\"]\ncluster = { chain = \"no.pem\", key = \"no.key\", roots = \"no-ca.pem\" }\n";
    std::fs::write(&file, text).unwrap();
    let failure = run(arguments(), &mut Vec::new(), &mut Vec::new()).await.unwrap_err();
    assert!(failure.to_string().contains("no.pem"), "{failure}");
}
