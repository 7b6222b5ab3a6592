//! What an operator does with `navectl` about a follower that is behind, or refused something, on running providers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser as _;
use ledger::follower::Inboxes;
use ledger::{Batch, Ledger, LogEntry, Offset, ReadLimit, SetAside, ShardLog};
use nave::config::Config;
use nave::demo::acts::settle;
use nave_ctl::{Arguments, Failure, Verdict, run};
use nave_hub::{Incarnation, NodeOptions};
use serde_json::Value;
use shard::Node;
use store::{Database, KeyRange};
use stores::{Store, open_store};

use crate::world::{A, B, World};

async fn opened(world: &World, place: usize) -> Database {
    let config = Config::load(&world.stage.configs()[place]).unwrap();
    open_store(&Store::Fjall(config.data)).await.unwrap()
}

/// The last message in the inbox of b, which is stopped, and holds nothing afterwards.
async fn lost(world: &World) -> bytes::Bytes {
    let database = opened(world, B).await;
    let mut transaction = database.begin();
    let (inboxes, first) = (Inboxes(&mut transaction), ledger::follower::InboxPosition::FIRST);
    let mut entries = inboxes.entries(&world.room, first, 8 << 20).await.unwrap();
    for table in [b"Ph", b"Pi", b"Pd"] {
        transaction.clear_range(KeyRange::prefix(table));
    }
    transaction.commit().await.unwrap();
    database.close().await;
    entries.pop().unwrap().1.message
}

/// All messages in the inbox of b, which is stopped.
async fn kept(world: &World) -> Vec<bytes::Bytes> {
    let database = opened(world, B).await;
    let mut transaction = database.begin();
    let (inboxes, first) = (Inboxes(&mut transaction), ledger::follower::InboxPosition::FIRST);
    let entries = inboxes.entries(&world.room, first, 8 << 20).await.unwrap();
    drop(transaction);
    database.close().await;
    entries.into_iter().map(|(_, entry)| entry.message).collect()
}

/// As if b had refused the entry with these octets: a, which is stopped, remembers it as set aside.
async fn set_aside(world: &World, message: &[u8]) -> LogEntry {
    let database = opened(world, A).await;
    let ledger: Ledger = nave_hub::open_ledger(database.clone(), None, 16).await.unwrap();
    let shard = ledger.shards().of(world.room.as_str());
    let all = ReadLimit {
        entries: 1_000,
        bytes: usize::MAX,
    };
    let entries = ledger.read_log(shard, Offset(0), all).await.unwrap();
    let entry = entries.into_iter().find(|entry| entry.message == message).unwrap();
    let node = NodeOptions::sole(Incarnation([7; 16]));
    let node = Node::start(database.clone(), node).await.unwrap();
    let tenure = node.acquire(shard).await.unwrap();
    let mut log = ShardLog::open(&ledger, &tenure).await.unwrap();
    let mut batch = Batch::default();
    batch.set_aside.push(SetAside {
        follower: "b.example".parse().unwrap(),
        offset: entry.offset,
        room: entry.room.clone(),
        seq: entry.seq,
        status: 413,
        reason: "too large for us".to_owned(),
        tries: 5,
    });
    log.append(&tenure, batch).await.unwrap();
    tenure.resign().await.unwrap();
    drop((log, tenure, node));
    database.close().await;
    entry
}

fn ctl_config(world: &World) -> PathBuf {
    world.stage.configs()[A].with_file_name("ctl.toml")
}

/// What `navectl` prints, and how it ends.
async fn navectl(world: &World, words: &[&str]) -> Result<(String, Verdict), Failure> {
    let config = ctl_config(world);
    let all = ["navectl", "--config", config.to_str().unwrap()];
    let arguments = Arguments::parse_from(all.iter().chain(words));
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let verdict = run(arguments, &mut out, &mut notes).await?;
    assert_eq!(String::from_utf8(notes).unwrap(), "");
    Ok((String::from_utf8(out).unwrap(), verdict))
}

async fn json(world: &World, words: &[&str]) -> Value {
    let words: Vec<&str> = ["--json"].iter().chain(words).copied().collect();
    serde_json::from_str(&navectl(world, &words).await.unwrap().0).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_follower_gets_nothing_and_then_everything_while_others_go_on() {
    let mut world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    let (said, verdict) = navectl(&world, &["follower", "pause", "b.example"]).await.unwrap();
    assert_eq!(verdict, Verdict::Done);
    assert!(said.contains("b.example is paused in 16 of 16 shards"), "{said}");
    let before = bob.messages().len();
    alice.session.send(&world.room, b"unheard").await.unwrap();
    cathy.reads(b"unheard").await.unwrap();
    // A restart changes nothing about it.
    world.stage.stop(A).await;
    world.start_again(A).await;
    alice.session.send(&world.room, b"unheard, too").await.unwrap();
    cathy.reads(b"unheard, too").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(bob.messages().len(), before);
    let b = &json(&world, &["follower", "show", "b.example"]).await["follower"];
    assert_eq!(
        (&b["state"], &b["shardsBehind"], &b["lag"]),
        (&"paused".into(), &1.into(), &2.into())
    );
    let (table, _) = navectl(&world, &["follower", "list"]).await.unwrap();
    let line = table.lines().find(|line| line.starts_with("b.example")).unwrap();
    assert!(line.contains("paused"), "{table}");
    assert!(table.contains("c.example") && table.contains("up to date"), "{table}");

    let (_, verdict) = navectl(&world, &["follower", "resume", "b.example"]).await.unwrap();
    assert_eq!(verdict, Verdict::Done);
    bob.reads(b"unheard, too").await.unwrap();
    assert_eq!(bob.messages()[before..], [&b"unheard"[..], b"unheard, too"]);
    settle(&[&alice, &bob, &cathy]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_was_set_aside_is_brought_once_more_as_it_was_or_given_up() {
    let mut world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    alice.says("once more", &bob).await.unwrap();
    settle(&[&alice, &bob, &cathy]).await.unwrap();
    world.stage.stop(A).await;
    world.stage.stop(B).await;
    let message = lost(&world).await;
    let entry = set_aside(&world, &message).await;
    world.start_again(B).await;
    world.start_again(A).await;

    let shown = json(&world, &["follower", "show", "b.example"]).await;
    let [aside] = &shown["setAside"].as_array().unwrap()[..] else {
        panic!("{shown}")
    };
    assert_eq!((&aside["seq"], &aside["status"]), (&entry.seq.0.into(), &413.into()));
    assert_eq!(aside["reason"], "too large for us");
    let seq = entry.seq.0.to_string();
    let one = [
        "follower",
        "retry",
        "b.example",
        "--room",
        world.room.as_str(),
        "--seq",
        &seq,
    ];
    let (table, verdict) = navectl(&world, &one).await.unwrap();
    assert!(verdict == Verdict::Done && table.contains("brought"), "{table}");
    let again = navectl(&world, &one).await.unwrap_err();
    assert!(
        matches!(&again, Failure::NotFound(why) if why.contains("is not set aside")),
        "{again}"
    );
    let (said, _) = navectl(&world, &["follower", "skip", "b.example"]).await.unwrap();
    assert_eq!(said, "nothing is set aside\n");

    world.stage.stop(A).await;
    world.stage.stop(B).await;
    let kept = kept(&world).await;
    assert!(kept.iter().eq([&message]), "the same octets, and nothing else");
    set_aside(&world, &message).await;
    world.start_again(B).await;
    world.start_again(A).await;
    let skipped = json(&world, &["follower", "skip", "b.example"]).await;
    assert_eq!(skipped[0]["outcome"], "skipped");
    let shown = json(&world, &["follower", "show", "b.example"]).await;
    assert_eq!(shown["setAside"], Value::Array(Vec::new()));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_an_operator_is_turned_away_and_told_why() {
    let world = World::new().await;
    let config = ctl_config(&world);
    let text = std::fs::read_to_string(&config).unwrap();
    let stranger = navectl(&world, &["follower", "show", "nobody.example"])
        .await
        .unwrap_err();
    assert!(
        matches!(&stranger, Failure::NotFound(why) if why.contains("no follower")),
        "{stranger}"
    );

    // A hub's own certificate is none for operators.
    std::fs::write(
        &config,
        text.replace("ctl.pem", "hub.pem").replace("ctl.key", "hub.key"),
    )
    .unwrap();
    let failure = navectl(&world, &["follower", "list"]).await.unwrap_err();
    assert!(matches!(failure, Failure::Config(_)), "{failure}");
    assert!(failure.to_string().contains("`ctl.nave.internal`"), "{failure}");

    // Nor is one of another authority, whatever it says.
    let other = world.stage.configs()[B].with_file_name("cluster");
    std::fs::write(
        &config,
        text.replace("\"cluster/ctl", &format!("\"{}/ctl", other.display())),
    )
    .unwrap();
    let failure = navectl(&world, &["follower", "list"]).await.unwrap_err();
    assert!(
        matches!(&failure, Failure::Unreachable(why) if why.contains("its log says")),
        "{failure}"
    );
    world.end().await;
}
