//! B-1: a follower that lost something gets it back, and two followers can compare what they were shown.

use std::io::Write as _;

use ledger::follower::{InboxEntry, InboxPosition, Inboxes};
use mimi::{Encode as _, RoomUri};
use nave::config::Config;
use nave::heads::{HubKey, compare, export};
use nave_hub::config::hub_keys;
use store::KeyRange;
use stores::{Store, open_store};

use crate::world::{A, B, C, World};

fn config(world: &World, place: usize) -> Config {
    Config::load(&world.stage.configs()[place]).unwrap()
}

/// What the inbox of a stopped provider holds; with `forget`, it holds nothing afterwards.
async fn inbox(world: &World, place: usize, room: &RoomUri, forget: bool) -> Vec<(InboxPosition, InboxEntry)> {
    let database = open_store(&Store::Fjall(config(world, place).data)).await.unwrap();
    let mut transaction = database.begin();
    let inboxes = Inboxes(&mut transaction);
    let entries = inboxes.entries(room, InboxPosition::FIRST, 8 << 20).await.unwrap();
    if forget {
        for table in [b"Ph", b"Pi", b"Pd"] {
            transaction.clear_range(KeyRange::prefix(table));
        }
        transaction.commit().await.unwrap();
    }
    database.close().await;
    entries
}

#[tokio::test(flavor = "multi_thread")]
async fn b_1_a_follower_that_lost_its_inbox_is_told_all_of_it_before_the_next_entry() {
    let mut world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    for text in ["one", "two", "three"] {
        alice.says(text, &bob).await.unwrap();
        bob.says(text, &cathy).await.unwrap();
    }
    // What Bob has acknowledged nobody sends again.
    world.stage.stop(B).await;
    let room = world.room.clone();
    let before = inbox(&world, B, &room, true).await;
    assert!(before.len() > 6);
    world.start_again(B).await;
    cathy.session.send(&room, b"afterwards").await.unwrap();
    bob.reads(b"afterwards").await.unwrap();
    world.stage.stop(B).await;
    let after = inbox(&world, B, &room, false).await;
    assert!(after.len() > before.len());
    for ((position, found), (expected_position, expected)) in after.iter().zip(&before) {
        assert_eq!(position, expected_position);
        assert_eq!((found.seq, &found.message), (expected.seq, &expected.message));
    }
    world.start_again(B).await;
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn b_1_what_two_providers_export_of_a_rooms_history_is_signed_and_does_not_contradict() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    alice.says("hello", &bob).await.unwrap();
    alice.says("and you", &cathy).await.unwrap();
    let hub = config(&world, A);
    let sender = hub_keys(&hub.domain, &hub.hub_key).unwrap().external_sender(1).unwrap();
    let key: HubKey = format!("{}={}", hub.domain, hex::encode(sender.encode()))
        .parse()
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for place in [B, C] {
        let mut exported = Vec::new();
        export(&config(&world, place), 2, &mut exported).await.unwrap();
        let path = directory.path().join(format!("{place}.jsonl"));
        std::fs::File::create(&path).unwrap().write_all(&exported).unwrap();
        files.push((path, String::from_utf8(exported).unwrap()));
    }
    let [(one, theirs), (other, others)] = &files[..] else {
        panic!("two providers");
    };
    assert_eq!(theirs.lines().count(), 1, "{theirs}");
    assert!(theirs.contains(world.room.as_str()));
    assert_eq!(theirs, others, "both follow the room up to the same entry");
    assert_eq!(compare(one, other, &[key]).unwrap(), []);
    drop((alice, bob, cathy));
    world.end().await;
}
