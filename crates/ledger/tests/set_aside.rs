//! What was set aside, and who is paused, is there until an operator decides otherwise.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use ledger::{Batch, Offset, Seq, SetAside};
use mimi::Provider;
use support::{SHARD, World, change, entry, ready, room};

fn provider(name: &str) -> Provider {
    name.parse().unwrap()
}

fn aside(follower: &str, offset: u64) -> SetAside {
    SetAside {
        follower: provider(follower),
        offset: Offset(offset),
        room: room("one"),
        seq: Seq(offset + 1),
        status: 413,
        reason: "too large".to_owned(),
        tries: 5,
    }
}

async fn offsets(world: &World, follower: &str, from: u64, max: usize) -> Vec<u64> {
    let found = world
        .ledger
        .set_aside_from(SHARD, &provider(follower), Offset(from), max)
        .await
        .unwrap();
    found.iter().map(|aside| aside.offset.0).collect()
}

#[tokio::test(start_paused = true)]
async fn what_was_set_aside_is_found_by_page_and_by_shard_and_goes_when_it_is_settled() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut batch = Batch::default();
    for seq in 1..=9 {
        let to = &["b.example", "c.example"];
        let change = change(entry(&room("one"), seq, "message", to), Vec::new());
        batch.push(ready(&log.rooms(), change));
    }
    log.append(&tenure, batch).await.unwrap();
    let mut batch = Batch::default();
    batch.set_aside = vec![aside("b.example", 2), aside("b.example", 5), aside("b.example", 8)];
    batch.set_aside.push(aside("c.example", 5));
    // Known to nobody: there is nothing to settle.
    batch.settled = vec![(provider("d.example"), Offset(5))];
    assert!(!batch.is_empty());
    log.append(&tenure, batch).await.unwrap();

    assert_eq!(offsets(&world, "b.example", 0, 2).await, [2, 5]);
    assert_eq!(offsets(&world, "b.example", 6, 2).await, [8]);
    assert_eq!(offsets(&world, "d.example", 0, 2).await, [0_u64; 0]);
    let all = world.ledger.all_set_aside(SHARD, 2).await.unwrap();
    let of = |name: &str| all[&provider(name)].iter().map(|offset| offset.0).collect::<Vec<_>>();
    assert_eq!((of("b.example"), of("c.example")), (vec![2, 5], vec![5]));

    let mut batch = Batch::default();
    batch.settled = vec![(provider("b.example"), Offset(5))];
    assert!(!batch.is_empty());
    log.append(&tenure, batch).await.unwrap();
    assert_eq!(offsets(&world, "b.example", 0, 9).await, [2, 8]);
    assert_eq!(offsets(&world, "c.example", 0, 9).await, [5], "another's");
}

#[tokio::test(start_paused = true)]
async fn who_is_paused_stays_so_over_tenures_whether_it_was_met_or_not() {
    let world = World::new().await;
    let (tenure, mut log) = world.log().await;
    let mut batch = Batch::default();
    batch.pauses = vec![(provider("b.example"), true), (provider("c.example"), true)];
    assert!(!batch.is_empty());
    log.append(&tenure, batch).await.unwrap();
    assert_eq!(log.cursors().count(), 0, "nobody is met by being paused");

    let (tenure, mut log) = world.log().await;
    let paused = world.ledger.paused(SHARD).await.unwrap();
    assert_eq!(paused, [provider("b.example"), provider("c.example")].into());
    let mut batch = Batch::default();
    batch.pauses = vec![(provider("b.example"), false)];
    log.append(&tenure, batch).await.unwrap();
    assert_eq!(
        world.ledger.paused(SHARD).await.unwrap(),
        [provider("c.example")].into()
    );
}
