//! What couriers promise, on a real ledger over the memory store and under a paused clock.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::time::Duration;

use fanout::Options;
use ledger::{Cursor, Offset};
use room::Shown;
use tokio::time::Instant;
use world::{SHARD, World, provider};

const B: (&str, Shown) = ("b", Shown::Message);
const C: (&str, Shown) = ("c", Shown::Message);

fn small_tail() -> Options {
    Options {
        tail_entries_max: 8,
        window_entries_max: 3,
        ..Options::default()
    }
}

async fn cursor(world: &World, name: &str) -> Cursor {
    world
        .ledger
        .cursors(SHARD)
        .await
        .unwrap()
        .remove(&provider(name))
        .unwrap()
}

#[tokio::test(start_paused = true)]
async fn h_42_h_46_each_follower_gets_what_is_due_to_it_in_order_and_byte_for_byte() {
    let mut world = World::new(Options::default()).await;
    for n in 0..10 {
        let to = if n % 2 == 0 {
            vec![B, C]
        } else {
            vec![B, ("c", Shown::Digest)]
        };
        world.append("one", &to).await;
    }
    world.append("two", &[C]).await;
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), (0..10).collect::<Vec<_>>());
    assert_eq!(world.papers.offsets("c"), (0..11).collect::<Vec<_>>());
    let papers = world.papers.of();
    let third = &papers[&provider("c")].arrived[3];
    assert_eq!((&third.1[..], third.2, third.3), (&b"one 4"[..], Shown::Digest, 3));
}

#[tokio::test(start_paused = true)]
async fn h_45_s_9_a_dead_follower_holds_nobody_and_gets_everything_when_it_is_back() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.down = true);
    for _ in 0..20 {
        world.append("one", &[B, C]).await;
    }
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(world.papers.offsets("c").len(), 20);
    let attempts = world.papers.of()[&provider("b")].attempts;
    assert!(attempts < 40, "{attempts} attempts in an hour");
    world.papers.change("b", |b| b.down = false);
    let begun = Instant::now();
    assert!(world.papers.1.has(&provider("b")) && !world.papers.1.has(&provider("c")));
    world.couriers.wake(&provider("b"));
    while world.papers.offsets("b").len() < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "woken, it does not wait for its backoff"
    );
    assert_eq!(world.papers.offsets("b"), (0..20).collect::<Vec<_>>());
    assert!(!world.papers.1.has(&provider("b")), "nobody waits any more");
}

#[tokio::test(start_paused = true)]
async fn what_comes_right_behind_a_delivery_gathers_and_after_a_pause_it_goes_at_once() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.takes = Duration::from_millis(4));
    let attempts = |world: &World| world.papers.of()[&provider("b")].attempts;
    let millis = |n| tokio::time::sleep(Duration::from_millis(n));
    world.append("one", &[B]).await;
    millis(5).await;
    for _ in 0..3 {
        world.append("one", &[B]).await;
    }
    assert_eq!(attempts(&world), 1, "the delivery before took 4 ms, so 2 are waited");
    millis(7).await;
    assert_eq!((attempts(&world), world.papers.offsets("b").len()), (2, 4));
    millis(3).await;
    world.append("one", &[B]).await;
    millis(1).await;
    assert_eq!(attempts(&world), 3, "nothing was brought for a while");
}

#[tokio::test(start_paused = true)]
async fn h_45_retry_after_is_waited_for() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.busy = Some(Duration::from_secs(1_000)));
    world.append("one", &[B]).await;
    tokio::time::sleep(Duration::from_secs(998)).await;
    world.couriers.wake(&provider("b"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(
        world.papers.of()[&provider("b")].attempts,
        1,
        "it was heard from, and it asked for this"
    );
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(world.papers.of()[&provider("b")].attempts, 2);
}

#[tokio::test(start_paused = true)]
async fn s_9_a_parked_follower_is_one_task_however_much_it_is_due_and_a_wake_brings_it_at_once() {
    let mut world = World::new(small_tail()).await;
    world.papers.change("b", |b| b.down = true);
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let without = tasks();
    for _ in 0..50 {
        world.append("one", &[B]).await;
    }
    tokio::time::sleep(Duration::from_secs(3 * 3_600)).await;
    assert_eq!(tasks(), without + 1);
    let parked = world.papers.of()[&provider("b")].attempts;

    // Nothing but the timer runs: it is tried a few times an hour.
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert!(world.papers.of()[&provider("b")].attempts - parked < 60);
    world.papers.change("b", |b| b.down = false);
    let begun = Instant::now();
    world.couriers.wake(&provider("b"));
    while world.papers.offsets("b").len() < 50 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(tasks(), without, "who is due nothing has no task");
}

#[tokio::test(start_paused = true)]
async fn cursors_become_durable_within_the_interval_without_new_entries() {
    let mut world = World::new(Options::default()).await;
    world.append("one", &[B]).await;
    let begun = Instant::now();
    world.settle_once().await;
    assert_eq!(cursor(&world, "b").await.next, Offset(1));
    assert!(begun.elapsed() <= world.options.report_every);
}

#[tokio::test(start_paused = true)]
async fn cursors_go_along_with_entries_from_half_the_interval_on_and_not_before() {
    for (after, durable) in [(40, false), (60, true)] {
        let options = Options {
            report_every: Duration::from_millis(100),
            ..Options::default()
        };
        let mut world = World::new(options).await;
        world.append("one", &[B]).await;
        world.settle_once().await;
        assert_eq!(cursor(&world, "b").await.next, Offset(1));
        world.append("one", &[B]).await;
        tokio::time::sleep(Duration::from_millis(after)).await;
        world.append("one", &[B]).await;
        let next = if durable { Offset(2) } else { Offset(1) };
        assert_eq!(cursor(&world, "b").await.next, next, "{after} ms after the last report");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_a_courier_goes_on_at_the_durable_cursor() {
    let mut world = World::new(Options::default()).await;
    for _ in 0..5 {
        world.append("one", &[B]).await;
    }
    world.settle().await;
    world.papers.change("b", |b| b.down = true);
    for _ in 0..5 {
        world.append("one", &[B]).await;
    }
    world.papers.change("b", |b| b.down = false);
    world.restart().await;
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), (0..10).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_the_follower_says_it_has_is_not_sent_again() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.down = true);
    for _ in 0..10 {
        world.append("one", &[B]).await;
    }
    world.papers.change("b", |b| {
        b.down = false;
        b.position = Some(7);
    });
    world.restart().await;
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), [7, 8, 9]);
    assert_eq!(cursor(&world, "b").await.next, Offset(10));
}

#[tokio::test(start_paused = true)]
async fn a_follower_behind_the_memory_tail_is_served_from_its_index() {
    let mut world = World::new(small_tail()).await;
    world.papers.change("b", |b| b.down = true);
    for n in 0..100 {
        let to = if n % 3 == 0 { vec![B, C] } else { vec![C] };
        world.append("one", &to).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let due: Vec<u64> = (0..100).filter(|n| n % 3 == 0).collect();
    let position = world.ledger.position(SHARD).await.unwrap();
    assert!(position.tail_start >= Offset(80), "the tail moved on: {position:?}");
    let indexed = world
        .ledger
        .read_index(SHARD, &provider("b"), Offset(0), 256)
        .await
        .unwrap();
    assert!(
        due.iter()
            .filter(|n| **n < position.tail_start.0)
            .all(|n| indexed.contains(&Offset(*n)))
    );

    world.papers.change("b", |b| b.down = false);
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), due);
    assert_eq!(world.papers.offsets("c"), (0..100).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_follower_behind_the_memory_tail_is_served_from_its_index_after_a_restart_too() {
    let mut world = World::new(small_tail()).await;
    world.papers.change("b", |b| b.down = true);
    for _ in 0..50 {
        world.append("one", &[B, C]).await;
    }
    world.restart().await;
    for _ in 0..10 {
        world.append("one", &[B, C]).await;
    }
    world.papers.change("b", |b| b.down = false);
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), (0..60).collect::<Vec<_>>());
    assert_eq!(cursor(&world, "b").await.next, Offset(60));
}

#[tokio::test(start_paused = true)]
async fn the_log_may_go_up_to_what_somebody_is_due() {
    let mut world = World::new(small_tail()).await;
    world.papers.change("b", |b| b.down = true);
    for n in 0..100 {
        let to = if n >= 10 && n % 3 == 0 { vec![B, C] } else { vec![C] };
        world.append("one", &to).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.trim().await, Offset(12), "the first that b lacks");
    world.restart().await;
    assert_eq!(world.trim().await, Offset(12));
    world.papers.change("b", |b| b.down = false);
    world.settle().await;
    let due: Vec<u64> = (10..100).filter(|n| n % 3 == 0).collect();
    assert_eq!(world.papers.offsets("b"), due);
    world.append("one", &[B]).await;
    world.settle().await;
    assert!(world.trim().await >= Offset(100));
}

#[tokio::test(start_paused = true)]
async fn what_is_trimmed_is_not_due_to_a_cursor_that_was_not_written_in_time() {
    let mut world = World::new(small_tail()).await;
    world.papers.change("b", |b| b.down = true);
    for _ in 0..50 {
        world.append("one", &[B, C]).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.papers.change("b", |b| b.down = false);
    // Acknowledged in memory; what would say so durably is lost with the process.
    tokio::time::sleep(Duration::from_secs(600)).await;
    let below = world.trim().await;
    assert!(below > Offset(20), "{below:?}");
    let before = world.papers.offsets("b").len();
    world.restart().await;
    world.append("one", &[B, C]).await;
    world.settle().await;
    assert_eq!(world.papers.offsets("b")[before..], (below.0..51).collect::<Vec<_>>());
    assert_eq!(cursor(&world, "b").await.next, Offset(51));
}

#[tokio::test(start_paused = true)]
async fn an_entry_that_the_follower_has_passed_is_set_aside_at_once() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.refuses = [2].into());
    for _ in 0..5 {
        world.append("one", &[B]).await;
    }
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), [0, 1, 3, 4]);
    assert_eq!(cursor(&world, "b").await.next, Offset(5));
    let aside = world.ledger.set_aside(SHARD, &provider("b")).await.unwrap();
    let told: Vec<_> = aside
        .iter()
        .map(|aside| (aside.offset.0, aside.status, aside.tries))
        .collect();
    assert_eq!(told, [(2, 400, 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_entry_refused_again_and_again_is_set_aside_and_its_room_goes_on() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.declines = [1].into());
    for room in ["one", "one", "two", "one", "two"] {
        world.append(room, &[B]).await;
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.settle_once().await;
    assert_eq!(world.papers.offsets("b"), [0, 2, 4], "other rooms go on, its own waits");
    assert_eq!(world.ledger.set_aside(SHARD, &provider("b")).await.unwrap(), []);

    // The tries count from anew, and the entry is not forgotten.
    world.restart().await;
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), [0, 2, 4, 3]);
    assert_eq!(cursor(&world, "b").await.next, Offset(5));
    let aside = world.ledger.set_aside(SHARD, &provider("b")).await.unwrap();
    let [aside] = &aside[..] else { panic!("{aside:?}") };
    assert_eq!(
        (aside.offset, aside.seq.0, aside.tries),
        (Offset(1), 2, Options::default().refusals_max)
    );
    assert_eq!((aside.status, aside.reason.as_str()), (413, "too large"));
    assert!(aside.room.as_str().ends_with("one"));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_refuses_everything_fills_no_ledger() {
    let options = Options {
        set_aside_max: 3,
        ..Options::default()
    };
    let mut world = World::new(options).await;
    world.papers.change("b", |b| b.refuses = (0..20).collect());
    for _ in 0..20 {
        world.append("one", &[B]).await;
    }
    world.settle().await;
    assert_eq!(cursor(&world, "b").await.next, Offset(20));
    assert_eq!(world.ledger.set_aside(SHARD, &provider("b")).await.unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_room_does_not_hold_others_and_they_are_not_sent_again() {
    let mut world = World::new(Options::default()).await;
    world.papers.change("b", |b| b.stuck = [1].into());
    for room in ["one", "one", "two", "two", "one", "two"] {
        world.append(room, &[B]).await;
    }
    tokio::time::sleep(Duration::from_secs(60)).await;
    world.settle_once().await;
    assert_eq!(world.papers.offsets("b"), [0, 2, 3, 5]);
    let durable = cursor(&world, "b").await;
    assert_eq!(durable.next, Offset(1));
    assert!(durable.is_done(Offset(5)));

    world.restart().await;
    world.papers.change("b", |b| b.stuck.clear());
    world.settle().await;
    assert_eq!(world.papers.offsets("b"), [0, 2, 3, 5, 1, 4]);
    assert_eq!(cursor(&world, "b").await.next, Offset(6));
}
