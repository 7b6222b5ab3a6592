//! B-2: our own follower takes nothing for longer than entries are kept.

use std::sync::atomic::Ordering;
use std::time::Duration;

use nave_follower::Events;
use nave_hub::Options;
use proto::follower::Event;
use proto::hub::room_request::Body;

use super::{World, client, room};

const REGARDLESS: Duration = Duration::from_millis(300);

/// Nobody is waited for after [`REGARDLESS`]; what that leaves goes after `retention`.
fn keeping(retention: Duration) -> Options {
    let mut options = Options {
        retention: Some(retention),
        regardless: Some(REGARDLESS),
        trim_every: Duration::from_millis(20),
        ..Options::default()
    };
    options.fanout.backoff_min = Duration::from_millis(10);
    options.fanout.backoff_max = Duration::from_millis(50);
    options
}

async fn next(events: &mut Events) -> Event {
    let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await;
    event.unwrap().unwrap().unwrap()
}

/// What a client of ours sees of twelve messages; the follower is cut off from the hub for the middle six, and longer than
/// it is waited for. It is told of nothing new before `seen` events have arrived.
async fn seen(options: Options, seen: usize) -> Vec<Event> {
    let world = World::with(options).await;
    let mut alice = world.founded().await;
    let tablet = client("mimi://a.example/d/alice/tablet");
    world.follower.follow(&tablet, &room()).await.unwrap();
    let (mut events, _acks) = world.follower.open(tablet).await.unwrap();
    let mut shown = Vec::new();
    for n in 0..12_u8 {
        if n == 3 {
            world.cut_off.store(true, Ordering::SeqCst);
        }
        if n == 9 {
            tokio::time::sleep(3 * REGARDLESS).await;
            world.cut_off.store(false, Ordering::SeqCst);
            while shown.len() < seen {
                shown.push(next(&mut events).await);
            }
        }
        let said = alice.send(&room(), &[n]).unwrap();
        world.answer("a.example", Body::Submit(said)).await;
        if n < 3 {
            shown.push(next(&mut events).await);
        }
    }
    while shown.last().is_none_or(|event| event.seq < 12) {
        shown.push(next(&mut events).await);
    }
    shown
}

#[tokio::test(flavor = "multi_thread")]
async fn b_2_what_is_gone_our_own_clients_are_told_before_the_next_entry_and_once() {
    let shown = seen(keeping(REGARDLESS / 2), 4).await;
    let seqs: Vec<(u64, bool)> = shown.iter().map(|event| (event.seq, event.rejoin)).collect();
    let expected = [1, 2, 3, 0, 10, 11, 12].map(|seq| (seq, seq == 0));
    assert_eq!(seqs, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn b_2_what_is_not_gone_yet_is_brought_though_nobody_is_waited_for() {
    let shown = seen(keeping(Duration::from_secs(3_600)), 9).await;
    let seqs: Vec<u64> = shown.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, (1..=12).collect::<Vec<_>>());
    assert!(shown.iter().all(|event| !event.rejoin));
}
