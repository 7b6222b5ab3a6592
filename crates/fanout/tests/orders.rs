//! What an operator decides about followers, on a real ledger over the memory store and under a paused clock.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use fanout::{Options, Retried};
use ledger::{Offset, SetAside};
use room::Shown;
use tokio::sync::oneshot;
use tokio::time::Instant;
use world::{SHARD, World, provider};

const B: (&str, Shown) = ("b", Shown::Message);
const C: (&str, Shown) = ("c", Shown::Message);

/// A world in which b refuses the second of five entries, of two rooms, for good.
async fn refused() -> World {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.declines = [1].into());
    for room in ["one", "one", "two", "one", "two"] {
        world.append(room, &[B]).await;
    }
    world.settle().await;
    assert_eq!(aside(&world, "b").await.len(), 1);
    world
}

async fn aside(world: &World, name: &str) -> Vec<SetAside> {
    world.ledger.set_aside(SHARD, &provider(name)).await.unwrap()
}

/// What the receiver is told, when a report is durable or before.
async fn told<T>(world: &mut World, receiver: oneshot::Receiver<T>) -> T {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut receiver = receiver;
    if let Ok(told) = receiver.try_recv() {
        return told;
    }
    world.settle_once().await;
    receiver.await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_set_aside_is_known_after_a_restart_and_counts_towards_the_bound() {
    let options = Options {
        set_aside_max: 3,
        ..Options::default()
    };
    let mut world = World::new(options).await;
    world.papers.change("b", |b| b.refuses = (0..20).collect());
    for _ in 0..2 {
        world.append("one", &[B]).await;
    }
    world.settle().await;
    for _ in 0..3 {
        world.restart().await;
        world.append("one", &[B]).await;
        world.settle().await;
    }
    assert_eq!(world.couriers.standing(&provider("b")).unwrap().set_aside, 3);
    let offsets: Vec<u64> = aside(&world, "b").await.iter().map(|aside| aside.offset.0).collect();
    assert_eq!(
        offsets,
        [0, 1, 2],
        "as many as there may be, however often the shard opens"
    );
}

#[tokio::test(start_paused = true)]
async fn an_entry_brought_once_more_arrives_as_it_was_and_is_set_aside_no_more() {
    let mut world = refused().await;
    world.restart().await;
    world.papers.change("b", |b| b.declines.clear());
    let before = world.papers.offsets("b");
    let receiver = world.couriers.retry(&provider("b"), Offset(1));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(aside(&world, "b").await.len(), 1, "until that is durable");
    assert_eq!(told(&mut world, receiver).await, Retried::Brought);
    assert_eq!(aside(&world, "b").await, []);
    assert_eq!(world.papers.offsets("b")[before.len()..], [1]);
    let octets = world.papers.of()[&provider("b")].arrived.last().unwrap().1.clone();
    assert_eq!(&octets[..], b"one 2");

    let receiver = world.couriers.retry(&provider("b"), Offset(1));
    assert_eq!(told(&mut world, receiver).await, Retried::Unknown);
    world.restart().await;
    assert_eq!(world.couriers.standing(&provider("b")).unwrap().set_aside, 0);
}

#[tokio::test(start_paused = true)]
async fn an_entry_refused_once_more_stays_with_what_the_follower_says_now() {
    let mut world = refused().await;
    world.papers.change("b", |b| {
        b.declines.clear();
        b.refuses = [1].into();
    });
    let receiver = world.couriers.retry(&provider("b"), Offset(1));
    let refused = Retried::Refused {
        status: 400,
        reason: "no".into(),
    };
    assert_eq!(told(&mut world, receiver).await, refused);
    let [aside] = &aside(&world, "b").await[..] else {
        panic!("one row")
    };
    assert_eq!((aside.status, aside.reason.as_str(), aside.tries), (400, "no", 1));
    assert_eq!((aside.offset, aside.seq.0), (Offset(1), 2));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_is_away_is_said_to_be_and_the_entry_stays() {
    let mut world = refused().await;
    world.papers.change("b", |b| {
        b.declines.clear();
        b.down = true;
    });
    world.append("two", &[B]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let standing = world.couriers.standing(&provider("b")).unwrap();
    assert!(standing.failures > 1 && standing.is_resting && standing.failure == "down");
    assert_eq!((standing.oldest_due, standing.head), (Some(Offset(5)), Offset(6)));
    let begun = Instant::now();
    let receiver = world.couriers.retry(&provider("b"), Offset(1));
    assert_eq!(receiver.await, Ok(Retried::Unreached("down".to_owned())));
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "it does not wait for the backoff"
    );
    assert_eq!(aside(&world, "b").await.len(), 1);

    world.papers.change("b", |b| b.down = false);
    let receiver = world.couriers.retry(&provider("b"), Offset(1));
    assert_eq!(told(&mut world, receiver).await, Retried::Brought);
    world.settle().await;
    assert_eq!(world.papers.offsets("b").last(), Some(&5));
    let standing = world.couriers.standing(&provider("b")).unwrap();
    assert_eq!(
        (standing.failures, standing.failure.as_str(), standing.set_aside),
        (0, "", 0)
    );
}

#[tokio::test(start_paused = true)]
async fn entries_brought_once_more_and_what_is_due_take_turns() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.refuses = (0..4).collect());
    for _ in 0..4 {
        world.append("one", &[B]).await;
    }
    world.settle().await;
    world.papers.change("b", |b| {
        b.refuses.clear();
        b.down = true;
    });
    world.append("two", &[B]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.papers.change("b", |b| b.down = false);
    for offset in 0..4 {
        drop(world.couriers.retry(&provider("b"), Offset(offset)));
    }
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), [0, 4, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_was_trimmed_meanwhile_is_said_to_be() {
    let mut world = refused().await;
    world.append("one", &[B]).await;
    world.settle().await;
    // The row is still there, as where the trimmer has not come to this follower yet.
    let mut kept = aside(&world, "b").await;
    assert!(world.trim().await > Offset(1));
    world.put_aside(kept.remove(0)).await;
    let receiver = world.couriers.retry(&provider("b"), Offset(1));
    assert_eq!(told(&mut world, receiver).await, Retried::Trimmed);
    assert_eq!(aside(&world, "b").await, []);
}

#[tokio::test(start_paused = true)]
async fn what_is_trimmed_makes_room_for_further_entries() {
    let world = refused().await;
    world.couriers.trimmed(Offset(1));
    assert_eq!(world.couriers.standing(&provider("b")).unwrap().set_aside, 1);
    world.couriers.trimmed(Offset(2));
    assert_eq!(world.couriers.standing(&provider("b")).unwrap().set_aside, 0);
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_is_skipped_is_forgotten() {
    let mut world = refused().await;
    let offsets = [Offset(1), Offset(3)];
    let (skipped, receiver) = world.couriers.skip(&provider("b"), &offsets);
    assert_eq!(skipped, 1, "the other was taken long ago");
    told(&mut world, receiver).await;
    assert_eq!(aside(&world, "b").await, []);
    let (skipped, receiver) = world.couriers.skip(&provider("b"), &offsets);
    assert_eq!(skipped, 0);
    told(&mut world, receiver).await;
    let before = world.papers.offsets("b");
    world.restart().await;
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), before, "nothing is brought for that");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_brought_to_a_paused_follower_whatever_happens_and_everything_when_it_goes_on() {
    let options = Options {
        tail_entries_max: 8,
        ..Options::default()
    };
    let mut world = World::new(options).await;
    world.append("one", &[B, C]).await;
    world.settle().await;
    let receiver = world.couriers.pause(&provider("b"), true).unwrap();
    told(&mut world, receiver).await;
    for _ in 0..30 {
        world.append("one", &[B, C]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(tasks(), 0, "it costs no task");
    assert_eq!(world.papers.offsets("b"), [0]);
    assert_eq!(world.papers.offsets("c").len(), 31, "others go on");

    world.restart().await;
    world.append("one", &[B, C]).await;
    world.couriers.wake(&provider("b"));
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.papers.offsets("b"), [0]);
    let standing = world.couriers.standing(&provider("b")).unwrap();
    assert!(standing.is_paused && !standing.is_resting && standing.failures == 0);
    assert_eq!((standing.oldest_due, standing.head), (Some(Offset(1)), Offset(32)));
    assert_eq!(world.trim().await, Offset(1), "it holds the log as an absent one does");

    let receiver = world.couriers.pause(&provider("b"), false).unwrap();
    told(&mut world, receiver).await;
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), (0..32).collect::<Vec<_>>());
    world.restart().await;
    assert!(!world.couriers.standing(&provider("b")).unwrap().is_paused);
}

#[tokio::test(start_paused = true)]
async fn a_courier_that_waits_to_try_again_is_ended_by_a_pause() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.down = true);
    world.append("one", &[B]).await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    let attempts = world.papers.of()[&provider("b")].attempts;
    let receiver = world.couriers.pause(&provider("b"), true).unwrap();
    told(&mut world, receiver).await;
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.papers.of()[&provider("b")].attempts, attempts);
    world.papers.change("b", |b| b.down = false);
    let begun = Instant::now();
    let receiver = world.couriers.pause(&provider("b"), false).unwrap();
    told(&mut world, receiver).await;
    assert_eq!(world.papers.offsets("b"), [0]);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "and begins at once when it goes on"
    );
}

#[tokio::test(start_paused = true)]
async fn a_follower_may_be_paused_before_it_is_met_and_is_not_brought_what_was_set_aside() {
    let mut world = World::new(Options::default()).await;
    let receiver = world.couriers.pause(&provider("b"), true).unwrap();
    told(&mut world, receiver).await;
    world.append("one", &[B, C]).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(
        (world.papers.offsets("b").len(), world.papers.offsets("c").len()),
        (0, 1)
    );

    let mut world = refused().await;
    let receiver = world.couriers.pause(&provider("b"), true).unwrap();
    told(&mut world, receiver).await;
    let receiver = world.couriers.retry(&provider("b"), Offset(1));
    assert_eq!(told(&mut world, receiver).await, Retried::Paused);
    assert_eq!(aside(&world, "b").await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn followers_are_told_by_page_with_those_that_are_only_paused() {
    let mut world = World::new(Options::default()).await;
    for name in ["f", "b", "d"] {
        world.append("one", &[(name, Shown::Message)]).await;
    }
    for name in ["c", "d"] {
        let receiver = world.couriers.pause(&provider(name), true).unwrap();
        told(&mut world, receiver).await;
    }
    let page = |after: Option<&str>, max| {
        let after = after.map(provider);
        let found = world.couriers.standings(after.as_ref(), max);
        found
            .iter()
            .map(|standing| standing.follower.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(page(None, 3), ["b.example", "c.example", "d.example"]);
    assert_eq!(page(Some("d"), 3), ["f.example"]);
    assert_eq!(world.couriers.standing(&provider("e")), None);
}
