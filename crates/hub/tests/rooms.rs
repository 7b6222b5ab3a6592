//! What the hub promises about rooms while nothing goes wrong but a restart.

#![allow(clippy::unwrap_used, reason = "tests")]

mod world;

use std::sync::Arc;

use client::mls::{Answered, RoomProfile};
use hub::{Arbiters, Hub, Options, Outcome, Parts, SystemClock};
use ledger::{Founding, Ledger, LedgerId};
use room::{Answer, Refusal};
use route::Shards;
use shard::{Incarnation, Node, NodeOptions};
use store::{Database, KeyRange};
use world::{World, accepted, body, member, provider, room, run, submit, update};

#[test]
fn a_restarted_hub_goes_on_where_the_killed_one_was() {
    run(async {
        let mut world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, mut bob) = world.invited(&id).await;
        for n in 0..5 {
            let message = alice.send(&id, format!("before {n}").as_bytes()).unwrap();
            assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
        }
        let before = world.stored(&id).await;
        world.restart().await;
        assert_eq!(world.stored(&id).await.canonical(), before.canonical());

        let message = bob.send(&id, b"after").unwrap();
        assert!(accepted(&body(world.hub.call(id.clone(), submit("b", &message)).await)));
        let commit = alice.self_update(&id).unwrap();
        let answer = body(world.hub.call(id.clone(), update("a", &commit)).await);
        assert!(matches!(alice.on_answer(&id, &answer).unwrap(), Answered::Accepted(_)));
        let after = world.stored(&id).await;
        assert_eq!(after.head().seq.0, before.head().seq.0 + 2);
        assert_eq!(after.head().epoch.0, before.head().epoch.0 + 1);

        world.bring("b", &id, &mut bob).await;
        assert_eq!(bob.epoch_authenticator(&id), alice.epoch_authenticator(&id));
        assert_eq!(
            world.papers.messages("b").len() as u64,
            world.head().await,
            "everything accepted has arrived"
        );
    });
}

#[test]
fn h_24_h_35_the_same_request_gets_the_same_answer_before_and_after_a_restart_and_is_one_entry() {
    run(async {
        let mut world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        let message = alice.send(&id, b"once").unwrap();
        let first = body(world.hub.call(id.clone(), submit("a", &message)).await);
        let commit = alice.self_update(&id).unwrap();
        let committed = body(world.hub.call(id.clone(), update("a", &commit)).await);
        let head = world.head().await;
        for _ in 0..2 {
            assert_eq!(body(world.hub.call(id.clone(), submit("a", &message)).await), first);
            assert_eq!(body(world.hub.call(id.clone(), update("a", &commit)).await), committed);
            world.restart().await;
        }
        assert_eq!(world.head().await, head);
    });
}

#[test]
fn h_16_s_11_of_two_commits_in_one_epoch_one_wins_and_the_other_is_told_the_epoch() {
    run(async {
        let world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, mut bob) = world.invited(&id).await;
        let (hers, his) = (alice.self_update(&id).unwrap(), bob.self_update(&id).unwrap());
        let (hers, his) = tokio::join!(
            world.hub.call(id.clone(), update("a", &hers)),
            world.hub.call(id.clone(), update("b", &his))
        );
        let current = world.stored(&id).await.head().epoch;
        assert!(matches!(
            alice.on_answer(&id, &body(hers)).unwrap(),
            Answered::Accepted(_)
        ));
        assert_eq!(his, Outcome::Refused(Refusal::WrongEpoch { current }));
    });
}

#[test]
fn a_room_that_does_not_exist_is_unknown_and_one_that_does_is_not_founded_again() {
    run(async {
        let world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        let message = alice.send(&id, b"hello").unwrap();
        assert_eq!(
            world.hub.call(room("two"), submit("a", &message)).await,
            Outcome::UnknownRoom
        );
        let mut other = member("a.example/d/other/phone");
        let again = world.found_request(&mut other, &id);
        assert_eq!(world.hub.call(id.clone(), again).await, Outcome::RoomExists);
    });
}

#[test]
fn a_founder_who_heard_no_answer_gets_it_when_asking_again() {
    run(async {
        let mut world = World::new(Options::default()).await;
        let (id, mut alice) = (room("one"), member("a.example/d/alice/phone"));
        let request = world.found_request(&mut alice, &id);
        for _ in 0..2 {
            let founded = world.hub.call(id.clone(), request.clone()).await;
            assert_eq!(founded, Outcome::Answer(Answer::Founded));
            world.restart().await;
        }
        let message = alice.send(&id, b"hello").unwrap();
        body(world.hub.call(id.clone(), submit("a", &message)).await);
        let commit = alice.self_update(&id).unwrap();
        body(world.hub.call(id.clone(), update("a", &commit)).await);
        assert_eq!(world.hub.call(id.clone(), request).await, Outcome::RoomExists);
    });
}

#[test]
fn rooms_beyond_the_bound_are_dropped_and_loaded_again() {
    run(async {
        let world = World::new(Options {
            rooms_max: 2,
            ..Options::default()
        })
        .await;
        let mut founders = Vec::new();
        for n in 0..6 {
            let (id, mut founder) = (room(&n.to_string()), member("a.example/d/alice/phone"));
            world.found(&mut founder, &id).await;
            founders.push((id, founder));
        }
        for round in 0..3 {
            for (id, founder) in &mut founders {
                let message = founder.send(id, format!("{round}").as_bytes()).unwrap();
                assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
            }
        }
        for (id, _) in &founders {
            assert_eq!(world.stored(id).await.head().seq.0, 3);
        }
    });
}

#[test]
fn a_room_is_opened_from_its_own_rows_however_long_the_log_is_and_however_many_others_there_are() {
    run(async {
        let mut world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        for n in 0..20 {
            let mut other = member("a.example/d/alice/phone");
            world.found(&mut other, &room(&format!("other-{n}"))).await;
            let message = alice.send(&id, &[n]).unwrap();
            assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
        }
        world.restart().await;
        // What a hub looks for when it starts is over.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        world.faults.keep_reads();
        let message = alice.send(&id, b"the first after it was opened").unwrap();
        assert!(accepted(&body(world.hub.call(id.clone(), submit("a", &message)).await)));
        let reads = world.faults.reads();

        let text = [id.as_str().as_bytes(), &[0]].concat();
        let of_shard = |table: u8, rest: &[u8]| KeyRange::prefix(&[&b"S\0\0\0\0"[..], &[table], rest].concat());
        // Its rows, what is too large for one of them, and what an entry beyond its last one may have left.
        let its_rows = [b'r', b'b', b'm'].map(|table| of_shard(table, &text));
        // What every transaction of a shard reads, and where the recipients' cursors are.
        let writing = [KeyRange::prefix(b"F"), of_shard(b't', b"")];
        let lies_in = |read: &KeyRange, place: &KeyRange| place.begin <= read.begin && read.end <= place.end;
        for read in &reads {
            let mut places = its_rows.iter().chain(&writing);
            assert!(places.any(|place| lies_in(read, place)), "{read:?}");
        }
        let of_rows = reads.iter().filter(|read| lies_in(read, &its_rows[0])).count();
        assert!(
            (1..=2).contains(&of_rows),
            "a page or two, not a read for each row: {of_rows}"
        );
    });
}

#[test]
fn a_drained_hub_has_released_everything_and_sends_callers_elsewhere() {
    run(async {
        let mut world = World::new(Options::default()).await;
        let id = room("one");
        let (mut alice, _bob) = world.invited(&id).await;
        let messages: Vec<_> = (0..20).map(|n| alice.send(&id, &[n]).unwrap()).collect();
        let calls = messages
            .iter()
            .map(|message| world.hub.call(id.clone(), submit("a", message)));
        let (outcomes, ()) = tokio::join!(futures::future::join_all(calls), world.hub.drain());
        let before = world.head().await;
        let through = outcomes
            .into_iter()
            .filter(|outcome| matches!(outcome, Outcome::Answer(_)))
            .count();
        assert_eq!(before - 2, through as u64, "what was not answered is not in the log");
        let late = world.hub.call(id.clone(), submit("a", &messages[0])).await;
        assert!(matches!(late, Outcome::Elsewhere { .. }), "{late:?}");
        world.restart().await;
        for message in &messages {
            assert!(accepted(&body(world.hub.call(id.clone(), submit("a", message)).await)));
        }
        assert_eq!(world.head().await, 22);
    });
}

#[test]
fn shards_run_on_arbiters_of_their_own() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let founding = Founding {
            id: LedgerId([1; 16]),
            shards: Shards::new(4, [0; 16]).unwrap(),
        };
        let ledger = Ledger::open(Database::memory(), founding).await.unwrap();
        let node = NodeOptions::sole(Incarnation([1; 16]));
        let arbiters = Arc::new(Arbiters::start(2).unwrap());
        let keys = Arc::new(hub::keys::HubKeys::generate(provider("a")).unwrap());
        let hub = Hub::start(Parts {
            node: Node::start(ledger.database().clone(), node).await.unwrap(),
            ledger,
            transport: Arc::new(world::Papers::default()),
            clock: Arc::new(SystemClock),
            keys: keys.clone(),
            spawner: arbiters.clone(),
            couriers: tokio::runtime::Handle::current().into(),
            runtime: tokio::runtime::Handle::current(),
            seed: 1,
            options: Options::default(),
        });
        let hub = hub.await.unwrap();
        let sender = mimi::codec::Encode::encode(&keys.external_sender(1).unwrap());
        let mut alice = member("a.example/d/alice/phone");
        for n in 0..8 {
            let id = room(&n.to_string());
            let founding = alice
                .create_room(&id, &sender, &client::mls::RoomProfile::default())
                .unwrap();
            let founding = room::Founding {
                from: provider("a"),
                group_info: founding.group_info,
                ratchet_tree: founding.ratchet_tree,
            };
            let founded = hub.call(id.clone(), hub::Request::Found(founding)).await;
            assert_eq!(founded, Outcome::Answer(Answer::Founded));
            let message = alice.send(&id, b"hello").unwrap();
            assert!(accepted(&body(hub.call(id, submit("a", &message)).await)));
        }
        hub.drain().await;
        drop(hub);
        // Ends the threads; a shard that lives on would hang here.
        tokio::task::spawn_blocking(move || drop(arbiters)).await.unwrap();
    });
}

#[test]
fn mm_3_a_room_of_pseudonyms_is_founded_only_where_they_are_switched_on() {
    run(async {
        let on = Options {
            minimal_metadata: true,
            ..Options::default()
        };
        for (options, founded) in [(Options::default(), false), (on, true)] {
            let world = World::new(options).await;
            let mut alice = member("a.example/d/alice/phone");
            let profile = RoomProfile {
                minimal_metadata: true,
                ..RoomProfile::default()
            };
            let request = world.found_request_with(&mut alice, &room("veiled"), &profile);
            match world.hub.call(room("veiled"), request).await {
                Outcome::Answer(Answer::Founded) => assert!(founded),
                Outcome::Refused(Refusal::NotAllowed(why)) => {
                    assert!(!founded && why.contains("switched off"), "{why}");
                }
                other => panic!("{other:?}"),
            }
            // A room of names is founded either way.
            world
                .found(&mut member("a.example/d/alice/phone"), &room("named"))
                .await;
        }
    });
}
