//! What nobody is waited for any more: whoever did not take it goes on behind it, and is told.
#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use fanout::Options;
use ledger::{Cursor, Offset, Shown};
use world::{SHARD, World, provider};

const B: (&str, Shown) = ("b", Shown::Message);
const C: (&str, Shown) = ("c", Shown::Message);

fn small_tail() -> Options {
    Options {
        tail_entries_max: 8,
        ..Options::default()
    }
}

async fn cursor(world: &World, name: &str) -> Cursor {
    world.ledger.cursors(SHARD).await.unwrap()[&provider(name)].clone()
}

/// Fifty entries for both, of which b takes none; all but the last few are in index rows.
async fn behind(options: Options) -> World {
    let mut world = World::new(options).await;
    world.papers.change("b", |b| b.down = true);
    for _ in 0..50 {
        world.append("one", &[B, C]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.settle_once().await;
    world
}

#[tokio::test(start_paused = true)]
async fn b_2_the_log_goes_when_the_cursor_that_says_so_is_durable_and_not_before() {
    for options in [small_tail(), Options::default()] {
        let mut world = behind(options).await;
        assert_eq!(world.trim().await, Offset(0), "b is due everything");
        assert_eq!(world.couriers.expire(Offset(30)).await.unwrap(), 1);
        assert_eq!(world.trim().await, Offset(0), "nobody knows yet");
        assert_eq!(world.couriers.expire(Offset(30)).await.unwrap(), 0, "once");
        // The process is killed before it is durable: nothing has happened.
        world.restart().await;
        assert!(!cursor(&world, "b").await.expired);
        assert_eq!(world.trim().await, Offset(0));
        assert_eq!(world.couriers.expire(Offset(30)).await.unwrap(), 1);
        world.settle_once().await;
        let b = cursor(&world, "b").await;
        assert_eq!((b.next, b.expired), (Offset(30), true));
        assert!(!cursor(&world, "c").await.expired);
        assert_eq!(world.trim().await, Offset(30));
    }
}

#[tokio::test(start_paused = true)]
async fn b_2_a_follower_that_comes_back_is_told_first_and_brought_what_is_left() {
    let mut world = behind(small_tail()).await;
    world.couriers.expire(Offset(30)).await.unwrap();
    world.settle_once().await;
    world.trim().await;
    // A restart in the middle forgets nothing.
    world.restart().await;
    world.papers.change("b", |b| b.down = false);
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), (30..50).collect::<Vec<_>>());
    world.papers.change("b", |b| {
        assert_eq!(b.told, [0], "before anything was brought");
    });
    let b = cursor(&world, "b").await;
    assert_eq!((b.next, b.expired), (Offset(50), false));
    world.restart().await;
    world.append("one", &[B]).await;
    world.settle().await;
    world.papers.change("b", |b| assert_eq!(b.told.len(), 1, "once"));
}

#[tokio::test(start_paused = true)]
async fn b_2_one_that_cannot_be_told_is_brought_what_is_left_and_told_when_it_can_be() {
    let mut world = behind(small_tail()).await;
    world.couriers.expire(Offset(50)).await.unwrap();
    world.papers.change("b", |b| {
        b.down = false;
        b.deaf = true;
    });
    for _ in 0..10 {
        world.append("one", &[B, C]).await;
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    assert_eq!(world.papers.offsets("b"), (50..60).collect::<Vec<_>>());
    assert!(cursor(&world, "b").await.expired, "until it was told");
    assert_eq!(world.couriers.behind(), 1);
    world.papers.change("b", |b| b.deaf = false);
    world.settle().await;
    assert!(!cursor(&world, "b").await.expired);
    world.papers.change("b", |b| assert_eq!(b.told.len(), 1));
}

#[tokio::test(start_paused = true)]
async fn b_2_whoever_is_due_nothing_of_it_loses_nothing() {
    let mut world = World::new(small_tail()).await;
    world.append("two", &[B]).await;
    world.settle().await;
    world.papers.change("b", |b| b.down = true);
    for _ in 0..50 {
        world.append("one", &[C]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.settle().await;
    // Nobody knows what a follower is due before its index was read, and b is not there to begin with.
    world.restart().await;
    assert_eq!(world.couriers.expire(Offset(40)).await.unwrap(), 0);
    world.papers.change("b", |b| b.down = false);
    world.append("two", &[B]).await;
    world.settle().await;
    let b = cursor(&world, "b").await;
    assert_eq!((b.next, b.expired), (Offset(52), false));
    world.papers.change("b", |b| assert_eq!(b.told, [0_usize; 0]));
}

#[tokio::test(start_paused = true)]
async fn what_expires_while_it_is_delivered_counts_once() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.stuck = [3].into());
    for _ in 0..6 {
        world.append("one", &[B]).await;
        world.append("two", &[B]).await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(world.couriers.expire(Offset(8)).await.unwrap(), 1);
    world.papers.change("b", |b| b.stuck.clear());
    world.settle().await;
    let b = cursor(&world, "b").await;
    assert_eq!((b.next, b.expired, b.above().count()), (Offset(12), false, 0));
}
