//! What the hub promises when the store is slow, unclear or another's.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::sync::atomic::Ordering;
use std::time::Duration;

use hub::{Options, Outcome};
use room::Refusal;
use world::{World, accepted, body, room, run, start, submit, update, waits};

#[test]
fn h_26_nothing_is_answered_or_sent_before_it_is_durable() {
    run(async {
        let world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        let sent = world.papers.messages("b").len();
        world.faults.hold_commits();
        let message = alice.send(&id, b"hello").unwrap();
        let mut call = Box::pin(world.hub.call(id.clone(), submit("a", &message)));
        assert!(waits(&mut call).await);
        assert_eq!(world.papers.messages("b").len(), sent);
        world.faults.release();
        assert!(accepted(&body(call.await)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(world.papers.messages("b").len(), sent + 1);
    });
}

#[test]
fn a_refusal_waits_for_a_read_of_the_fence() {
    run(async {
        let world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, mut bob) = world.invited(&id).await;
        let late = bob.self_update(&id).unwrap();
        let first = alice.self_update(&id).unwrap();
        body(world.hub.call(id.clone(), update("a", &first)).await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.faults.hold_fences();
        let mut call = Box::pin(world.hub.call(id.clone(), update("b", &late)));
        assert!(waits(&mut call).await);
        world.faults.release();
        assert!(matches!(call.await, Outcome::Refused(Refusal::WrongEpoch { .. })));
    });
}

#[test]
fn a_refusal_waits_for_the_batch_on_which_it_was_decided() {
    run(async {
        let world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, mut bob) = world.invited(&id).await;
        let (first, late) = (alice.self_update(&id).unwrap(), bob.self_update(&id).unwrap());
        world.faults.hold_commits();
        let mut won = Box::pin(world.hub.call(id.clone(), update("a", &first)));
        assert!(waits(&mut won).await);
        let mut lost = Box::pin(world.hub.call(id.clone(), update("b", &late)));
        assert!(waits(&mut lost).await, "the epoch it would reveal may never exist");
        world.faults.release();
        body(won.await);
        assert!(matches!(lost.await, Outcome::Refused(Refusal::WrongEpoch { .. })));
    });
}

#[test]
fn a_deposed_hub_answers_elsewhere_and_writes_nothing() {
    run(async {
        let world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, mut bob) = world.invited(&id).await;
        let known = alice.send(&id, b"known").unwrap();
        body(world.hub.call(id.clone(), submit("a", &known)).await);
        tokio::time::sleep(Duration::from_secs(1)).await;

        let successor = start(
            &world.ledger,
            &world.papers,
            &world.keys,
            &world.clock,
            &world.options,
            99,
        )
        .await
        .unwrap();
        let before = world.head().await;
        // A repeated answer rides no batch; a new message would.
        let repeated = world.hub.call(id.clone(), submit("a", &known)).await;
        assert!(matches!(repeated, Outcome::Elsewhere { .. }), "{repeated:?}");
        let message = bob.send(&id, b"hello").unwrap();
        let refused = world.hub.call(id.clone(), submit("b", &message)).await;
        assert!(matches!(refused, Outcome::Elsewhere { .. }), "{refused:?}");
        assert_eq!(world.head().await, before);
        assert!(accepted(&body(successor.call(id.clone(), submit("b", &message)).await)));
        assert_eq!(world.head().await, before + 1);
    });
}

#[test]
fn a_batch_caught_by_the_fence_is_answered_elsewhere_with_everything_behind_it() {
    run(async {
        let world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = world.head().await;
        world.faults.hold_commits_to(b'l');
        let messages: Vec<_> = (0..4).map(|n| alice.send(&id, &[n]).unwrap()).collect();
        let mut calls = Vec::new();
        for message in &messages {
            let mut call = Box::pin(world.hub.call(id.clone(), submit("a", message)));
            assert!(waits(&mut call).await);
            calls.push(call);
        }
        let successor = start(
            &world.ledger,
            &world.papers,
            &world.keys,
            &world.clock,
            &world.options,
            99,
        )
        .await
        .unwrap();
        world.faults.release();
        for call in calls {
            let outcome = call.await;
            assert!(matches!(outcome, Outcome::Elsewhere { .. }), "{outcome:?}");
        }
        assert_eq!(world.head().await, before);
        for message in &messages {
            assert!(accepted(&body(successor.call(id.clone(), submit("a", message)).await)));
        }
        assert_eq!(world.head().await, before + 4);
    });
}

#[test]
fn h_26_an_unknown_result_is_settled_whichever_way_it_went() {
    run(async {
        let mut world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        for n in 0..10 {
            let fault = if n % 2 == 0 {
                &world.faults.unknown
            } else {
                &world.faults.lost
            };
            fault.store(1 + n / 4, Ordering::Relaxed);
            let message = alice.send(&id, b"hello").unwrap();
            assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
            world.faults.unknown.store(0, Ordering::Relaxed);
            world.faults.lost.store(0, Ordering::Relaxed);
        }
        assert_eq!(world.stored(&id).await.head().seq.0, world.head().await);
        assert_eq!(world.head().await, 12);
        let before = world.stored(&id).await.canonical();
        world.restart().await;
        assert_eq!(world.stored(&id).await.canonical(), before);
    });
}

#[test]
fn more_than_fits_is_turned_away_before_it_is_decided() {
    run(async {
        let world = World::new(Options {
            gate_places: 3,
            ..Options::default()
        })
        .await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = world.head().await;
        world.faults.hold_commits();
        let messages: Vec<_> = (0..8).map(|n| alice.send(&id, &[n]).unwrap()).collect();
        let mut waiting = Vec::new();
        let mut turned_away = Vec::new();
        for message in &messages {
            let mut call = Box::pin(world.hub.call(id.clone(), submit("a", message)));
            match tokio::time::timeout(Duration::from_secs(1), &mut call).await {
                Ok(Outcome::Overloaded { retry_after }) => {
                    assert_eq!(retry_after, world.options.retry_after);
                    turned_away.push(message);
                }
                Ok(other) => panic!("{other:?}"),
                Err(_) => waiting.push(call),
            }
        }
        // One in flight, three in the places.
        assert_eq!((waiting.len(), turned_away.len()), (4, 4));
        world.faults.release();
        for call in waiting {
            assert!(accepted(&body(call.await)));
        }
        assert_eq!(world.head().await, before + 4);
        for message in turned_away {
            assert!(accepted(&body(world.hub.call(id.clone(), submit("a", message)).await)));
        }
        assert_eq!(world.head().await, before + 8);
    });
}

#[test]
fn s_10_h_26_a_killed_hub_has_accepted_what_it_answered_and_a_retry_settles_the_rest() {
    run(async {
        let mut world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, mut bob) = world.invited(&id).await;
        *world.papers.down.lock().unwrap() = true;
        let known = alice.send(&id, b"answered").unwrap();
        let first = body(world.hub.call(id.clone(), submit("a", &known)).await);
        world.faults.hold_commits();
        let open = alice.send(&id, b"not answered").unwrap();
        let mut call = Box::pin(world.hub.call(id.clone(), submit("a", &open)));
        assert!(waits(&mut call).await);
        drop(call);
        // The old life is gone before its commit happens.
        let opening = start(
            &world.ledger,
            &world.papers,
            &world.keys,
            &world.clock,
            &world.options,
            50,
        );
        world.faults.release();
        world.hub = opening.await.unwrap();
        *world.papers.down.lock().unwrap() = false;
        assert_eq!(body(world.hub.call(id.clone(), submit("a", &known)).await), first);
        assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &open)).await)));
        assert_eq!(world.stored(&id).await.head().seq.0, 4);
        world.bring("b", &id, &mut bob).await;
        assert_eq!(world.papers.messages("b").len(), 4);
    });
}

#[test]
fn when_the_store_fails_the_shard_is_opened_again_and_nothing_of_memory_survives() {
    run(async {
        let world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let before = world.stored(&id).await.canonical();
        // The batch fails, and so do the first attempts to open the log again.
        world.faults.failing.store(3, Ordering::Relaxed);
        let commit = alice.self_update(&id).unwrap();
        let failed = world.hub.call(id.clone(), update("a", &commit)).await;
        assert!(matches!(failed, Outcome::Unavailable { .. }), "{failed:?}");
        let meanwhile = world.hub.call(id.clone(), update("a", &commit)).await;
        assert!(matches!(meanwhile, Outcome::Unavailable { .. }), "{meanwhile:?}");
        assert_eq!(world.stored(&id).await.canonical(), before);
        tokio::time::sleep(Duration::from_secs(10)).await;
        body(world.hub.call(id.clone(), update("a", &commit)).await);
        assert_eq!(world.stored(&id).await.head().epoch.0, 2);
    });
}

#[test]
fn while_a_large_value_is_staged_only_its_room_waits() {
    run(async {
        let world = World::new(Options::default()).await;
        let (large, small) = (room("large"), room("small"));
        let (mut alice, mut bob) = world.invited(&large).await;
        let mut carol = world::member("a.example/d/carol/phone");
        world.found(&mut carol, &small).await;
        world.faults.hold_commits_to(b'm');
        let big = alice.send(&large, &vec![7; 200_000]).unwrap();
        let mut call = Box::pin(world.hub.call(large.clone(), submit("a", &big)));
        assert!(waits(&mut call).await);
        let behind = alice.send(&large, b"behind it").unwrap();
        let mut second = Box::pin(world.hub.call(large.clone(), submit("a", &behind)));
        assert!(waits(&mut second).await);
        let message = carol.send(&small, b"meanwhile").unwrap();
        assert!(accepted(&body(
            world.hub.call(small.clone(), submit("a", &message)).await
        )));
        world.faults.release();
        assert!(accepted(&body(call.await)));
        assert!(accepted(&body(second.await)));
        world.bring("b", &large, &mut bob).await;
        assert!(world.papers.messages("b").iter().any(|message| message.len() > 200_000));
    });
}
