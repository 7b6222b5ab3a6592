//! An operator's orders reach every hub, whichever of them is named.

use std::time::{Duration, Instant};

use clap::Parser as _;
use nave_ctl::{Arguments, Verdict, run};
use serde_json::Value;

use crate::inside::Inside;
use crate::scenario::Cluster as _;
use crate::shards::Shards;
use crate::site::{HUBS, Site};

/// A takeover is over by then.
const DEADLINE: Duration = Duration::from_secs(60);
/// Before the hubs are asked again.
const AGAIN: Duration = Duration::from_millis(100);

/// What `navectl` prints, who could not be asked, and how it ends; told of one hub only.
async fn navectl(site: &Site, words: &[&str]) -> (Value, String, Verdict) {
    let config = site.ctl.to_str().unwrap();
    let all = ["navectl", "--json", "--config", config];
    let arguments = Arguments::parse_from(all.iter().chain(words));
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let verdict = run(arguments, &mut out, &mut notes).await.unwrap();
    let found = serde_json::from_slice(&out).unwrap();
    (found, String::from_utf8(notes).unwrap(), verdict)
}

/// The same, once every shard is served by a node that is asked.
async fn settled(site: &Site, words: &[&str]) -> Value {
    let began = Instant::now();
    loop {
        let (found, notes, verdict) = navectl(site, words).await;
        if verdict == Verdict::Done {
            assert_eq!(notes, "");
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "{notes}");
        tokio::time::sleep(AGAIN).await;
    }
}

pub(crate) async fn play(site: &Site, cluster: &mut Inside<'_>) {
    let shards = Shards::new(site);
    let map = shards.served_by(&[0, 1, 2]).await;
    let paused = settled(site, &["follower", "pause", "b.example"]).await;
    assert_eq!(
        (&paused["shards"], &paused["shardsTotal"]),
        (&map.shards.into(), &map.shards.into())
    );

    // The shards of a hub that dies are taken over as they are.
    cluster.kill(HUBS - 1).await;
    shards.served_by(&[0, 1]).await;
    let list = settled(site, &["follower", "list"]).await;
    let [b] = &list.as_array().unwrap()[..] else {
        panic!("{list}")
    };
    assert_eq!((&b["domain"], &b["state"]), (&"b.example".into(), &"paused".into()));
    assert_eq!(b["shardsPaused"], map.shards);
    let resumed = settled(site, &["follower", "resume", "b.example"]).await;
    assert_eq!(resumed["shards"], map.shards);

    // A node that is named and is not there makes the answer one that may lack something.
    let gone = site.hub_addresses[HUBS - 1].to_string();
    let here = site.hub_addresses[0].to_string();
    let words = ["--hub", &here, "--hub", &gone, "follower", "list"];
    let (_, notes, verdict) = navectl(site, &words).await;
    assert_eq!(verdict, Verdict::Incomplete);
    assert!(notes.contains(&gone) && notes.contains("cannot be reached"), "{notes}");
}
