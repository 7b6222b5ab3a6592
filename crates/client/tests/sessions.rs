//! Sessions against a provider over loopback TLS.

#![allow(clippy::unwrap_used, reason = "tests")]

mod provider;
mod relay;

use client::api::{Api, ApiError, Target};
use client::mls::{CIPHERSUITES, Franked, Message, ORDINARY, Received, RoomProfile};
use client::session::{Happening, Options, Session, SessionError};
use mimi::MessageId;
use mimi::content::NestedPart;
use provider::Fake;
use relay::{member, room};
use tokio::sync::mpsc::Receiver;

fn api(fake: &Fake) -> Api {
    Api::new(&fake.target, "secret").unwrap()
}

fn session(fake: &Fake, path: &str) -> (Session, Receiver<Happening>) {
    Session::start(api(fake), member(path), Options::default())
}

/// Reads until something is as wished.
async fn until(happenings: &mut Receiver<Happening>, wish: impl Fn(&Received) -> bool) -> Vec<Happening> {
    let mut read = Vec::new();
    loop {
        let happening = happenings.recv().await.unwrap();
        let found = wish(&happening.received);
        read.push(happening);
        if found {
            return read;
        }
    }
}

fn says(text: &'static str) -> impl Fn(&Received) -> bool {
    move |received| matches!(received, Received::Message(Message { data, .. }) if data == text)
}

/// Alice and Bob, in a room.
async fn pair(fake: &Fake) -> [(Session, Receiver<Happening>); 2] {
    let (alice, mut from_alice) = session(fake, "a.example/d/alice/phone");
    let (bob, mut from_bob) = session(fake, "b.example/d/bob/phone");
    assert_eq!(bob.upload_key_packages(2).await.unwrap(), 2);
    alice.create_room(&room(), &RoomProfile::default()).await.unwrap();
    let user = bob.member(|bob| bob.user());
    alice.add_user(&room(), &user, ORDINARY).await.unwrap();
    until(&mut from_alice, |received| *received == Received::NotForMe).await;
    until(&mut from_bob, |received| *received == Received::Joined { epoch: 1 }).await;
    [(alice, from_alice), (bob, from_bob)]
}

#[tokio::test]
async fn only_the_named_certificate_and_a_good_token_will_do() {
    let fake = Fake::start().await;
    assert_eq!(api(&fake).who_am_i().await.unwrap().user, "mimi://a.example/u/alice");
    let denied = Api::new(&fake.target, "guess").unwrap().who_am_i().await.unwrap_err();
    assert!(matches!(denied, ApiError::Denied(_)), "{denied}");

    let other = Fake::start().await;
    let stranger = Target {
        roots_pem: other.target.roots_pem.clone(),
        ..fake.target.clone()
    };
    let error = Api::new(&stranger, "secret").unwrap().who_am_i().await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable(_)), "{error}");
    let misnamed = Target {
        server_name: "b.example".to_owned(),
        ..fake.target.clone()
    };
    let error = Api::new(&misnamed, "secret").unwrap().who_am_i().await.unwrap_err();
    assert!(matches!(error, ApiError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn ce_1_what_one_sends_both_receive_in_one_order() {
    let fake = Fake::start().await;
    let [(alice, mut from_alice), (bob, mut from_bob)] = pair(&fake).await;
    for n in 0..10 {
        fake.overload(2);
        alice.send(&room(), format!("a{n}").as_bytes()).await.unwrap();
        bob.send(&room(), format!("b{n}").as_bytes()).await.unwrap();
    }
    alice.send(&room(), b"end").await.unwrap();
    let texts = |read: Vec<Happening>| -> Vec<(u64, bytes::Bytes)> {
        read.into_iter()
            .filter_map(|happening| match happening.received {
                Received::Message(message) => Some((happening.accepted, message.data)),
                _ => None,
            })
            .collect()
    };
    let at_alice = texts(until(&mut from_alice, says("end")).await);
    let at_bob = texts(until(&mut from_bob, says("end")).await);
    assert_eq!(at_alice.len(), 21);
    assert_eq!(at_alice, at_bob);
    assert!(at_alice.is_sorted());
}

#[tokio::test]
async fn ce_1_nothing_is_lost_or_repeated_when_the_stream_breaks() {
    let fake = Fake::start().await;
    let [(alice, _from_alice), (bob, mut from_bob)] = pair(&fake).await;
    let client = "mimi://b.example/d/bob/phone";
    for n in 0..5 {
        alice.send(&room(), b"before").await.unwrap();
        fake.cut();
        alice.send(&room(), b"after").await.unwrap();
        let read = until(&mut from_bob, says("after")).await;
        let positions: Vec<u64> = read.iter().map(|happening| happening.position).collect();
        assert_eq!(positions, [2 * n + 2, 2 * n + 3]);
    }
    fake.all_acknowledged(client).await;
    assert!(fake.opened(client) > 1);
    assert_eq!(bob.gaps(), 0);
}

#[tokio::test]
async fn f_21_of_simultaneous_commits_all_succeed_one_after_the_other() {
    let fake = Fake::start().await;
    let [(alice, mut from_alice), (bob, mut from_bob)] = pair(&fake).await;
    let reading = [
        tokio::spawn(async move { until(&mut from_alice, says("end")).await }),
        tokio::spawn(async move { until(&mut from_bob, says("end")).await }),
    ];
    let many = async |session: &Session| {
        for _ in 0..10 {
            session.self_update(&room()).await.unwrap();
        }
    };
    futures::join!(many(&alice), many(&bob));
    alice.send(&room(), b"end").await.unwrap();
    for read in reading {
        let read = read.await.unwrap();
        let out_of_step = read.iter().find(|each| matches!(each.received, Received::OutOfStep(_)));
        assert_eq!(out_of_step, None);
    }
    assert_eq!(alice.member(|alice| alice.epoch(&room())), Some(21));
    assert_eq!(
        alice.member(|alice| alice.epoch_authenticator(&room())),
        bob.member(|bob| bob.epoch_authenticator(&room()))
    );
}

#[tokio::test]
async fn ce_6_a_second_client_joins_and_both_leave_with_their_user() {
    let fake = Fake::start().await;
    let [(alice, mut from_alice), (bob, mut from_bob)] = pair(&fake).await;
    let (tablet, mut from_tablet) = session(&fake, "b.example/d/bob/tablet");
    tablet.join(&room(), None).await.unwrap();
    assert_eq!(tablet.member(|tablet| tablet.epoch(&room())), Some(2));
    tablet.send(&room(), b"from the tablet").await.unwrap();
    until(&mut from_alice, says("from the tablet")).await;

    bob.leave(&room()).await.unwrap();
    // Alice commits without being told to.
    until(&mut from_bob, |received| *received == Received::Removed).await;
    until(&mut from_tablet, |received| *received == Received::Removed).await;
    until(&mut from_alice, |received| {
        matches!(received, Received::EpochChanged { epoch: 3, .. } | Received::Duplicate)
    })
    .await;
    alice.send(&room(), b"alone").await.unwrap();
    assert_eq!(alice.member(|alice| alice.members(&room()).unwrap().len()), 1);
    let error = bob.send(&room(), b"too late").await.unwrap_err();
    assert!(matches!(error, SessionError::Member(_)), "{error}");
}

#[tokio::test]
async fn a_stranger_is_not_let_in_and_leaves_nothing_behind() {
    let fake = Fake::start().await;
    let _pair = pair(&fake).await;
    let (cathy, _from_cathy) = session(&fake, "c.example/d/cathy/phone");
    let before = fake.log().len();
    let error = cathy.join(&room(), None).await.unwrap_err();
    assert_eq!(error.to_string(), "not a participant: mimi://c.example/u/cathy");
    assert_eq!(fake.log().len(), before);
    assert_eq!(cathy.member(|cathy| cathy.epoch(&room())), None);
}

#[tokio::test]
async fn ce_5_a_message_whose_answer_was_lost_is_shown_once() {
    let fake = Fake::start().await;
    let [(alice, mut from_alice), (_bob, mut from_bob)] = pair(&fake).await;
    // This relay, unlike a hub, takes the repeat for another message.
    fake.lose(1);
    alice.send(&room(), b"once").await.unwrap();
    alice.send(&room(), b"end").await.unwrap();
    for happenings in [&mut from_alice, &mut from_bob] {
        let read = until(happenings, says("end")).await;
        assert_eq!(read.iter().filter(|each| says("once")(&each.received)).count(), 1);
        assert_eq!(
            read.iter().filter(|each| each.received == Received::Duplicate).count(),
            1
        );
    }
}

/// Says of a happening what came of a message content.
fn content_of(happening: &Happening) -> (&Message, MessageId) {
    let Received::Message(message) = &happening.received else {
        panic!("{happening:?}");
    };
    (message, message.content.said().unwrap().id)
}

#[tokio::test]
async fn f_46_f_47_what_is_said_has_one_id_and_one_time_at_everybody_and_is_franked() {
    let fake = Fake::start().await;
    let [(alice, mut from_alice), (_bob, mut from_bob)] = pair(&fake).await;
    let sent = alice.say(&room(), NestedPart::text("hello")).await.unwrap();
    for happenings in [&mut from_alice, &mut from_bob] {
        let read = until(happenings, |received| matches!(received, Received::Message(_))).await;
        let last = read.last().unwrap();
        let (message, id) = content_of(last);
        assert_eq!(id, sent.id);
        assert_eq!((message.accepted, last.accepted), (sent.accepted, sent.accepted));
        assert_eq!(message.franked, Franked::Verified);
    }
}

#[tokio::test]
async fn m_5_a_room_of_another_cipher_suite_is_founded_and_joined() {
    let fake = Fake::start().await;
    let (alice, mut from_alice) = session(&fake, "a.example/d/alice/phone");
    let profile = RoomProfile {
        suite: CIPHERSUITES[1],
        open: true,
        ..RoomProfile::default()
    };
    alice.create_room(&room(), &profile).await.unwrap();
    let (bob, mut from_bob) = session(&fake, "b.example/d/bob/phone");
    bob.join(&room(), Some(ORDINARY)).await.unwrap();
    until(&mut from_alice, |received| {
        *received == Received::EpochChanged { epoch: 1, mine: false }
    })
    .await;
    assert_eq!(bob.member(|bob| bob.suite(&room())), Some(CIPHERSUITES[1]));
    alice.say(&room(), NestedPart::text("hello")).await.unwrap();
    let read = until(&mut from_bob, |received| matches!(received, Received::Message(_))).await;
    assert_eq!(content_of(read.last().unwrap()).0.franked, Franked::Verified);
}
