//! S-9 to S-11: providers that stop, answers that are lost, commits at once.

use std::time::Instant;

use client::mls::Answered;
use nave::demo::acts::{agree, race};
use nave::demo::party::PATIENCE;

use crate::world::{A, B, World};

#[tokio::test(flavor = "multi_thread")]
async fn s_9_a_follower_that_was_away_catches_up_in_order_and_without_duplicates() {
    let mut world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    world.stage.stop(B).await;
    let before = bob.messages().len();
    let mut said = Vec::new();
    for n in 0..5 {
        for party in [&alice, &cathy] {
            let content = format!("{n} of {}", party.name);
            party.session.send(&world.room, content.as_bytes()).await.unwrap();
            said.push(content);
        }
        // The hub goes on without it, through epochs.
        let (one, other) = if n % 2 == 0 { (&alice, &cathy) } else { (&cathy, &alice) };
        one.session.self_update(&world.room).await.unwrap();
        other.reaches(one.epoch()).await.unwrap();
    }
    assert_eq!(bob.messages().len(), before);
    world.start_again(B).await;
    bob.reads(said.last().unwrap().as_bytes()).await.unwrap();
    bob.reaches(alice.epoch()).await.unwrap();
    assert_eq!(bob.messages().split_off(before), said);
    agree(&[alice, bob, cathy]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_10_a_commit_whose_answer_was_lost_is_answered_the_same_and_makes_no_second_epoch() {
    let mut world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    let room = world.room.clone();
    let epoch = bob.epoch() + 1;
    let body = bob.session.member(|member| member.self_update(&room)).unwrap();
    let (api, client, sent) = (bob.api.clone(), bob.client.clone(), body.clone());
    let to = room.clone();
    let asked = tokio::spawn(async move { api.update(&client, &to, sent).await });
    // Durable, for it was fanned out; nobody waits for the answer any more, and the hub stops.
    cathy.reaches(epoch).await.unwrap();
    asked.abort();
    world.stage.stop(A).await;
    world.start_again(A).await;

    let mut answers = Vec::new();
    let began = Instant::now();
    while answers.len() < 2 {
        match bob.api.update(&bob.client, &room, body.clone()).await {
            Ok(answer) => answers.push(answer),
            Err(error) => assert!(error.is_retryable() && began.elapsed() < PATIENCE, "{error}"),
        }
    }
    assert_eq!(answers[0], answers[1]);
    let answered = bob.session.member(|member| member.on_answer(&room, &answers[0]));
    assert!(matches!(answered.unwrap(), Answered::Accepted(_)));
    // Whatever else the hub had made of the repeats, everybody has seen with this message.
    bob.session.send(&room, b"once").await.unwrap();
    for party in [&alice, &bob, &cathy] {
        party.reads(b"once").await.unwrap();
        assert_eq!(party.epoch(), epoch, "{}", party.client);
    }
    agree(&[alice, bob, cathy]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_11_of_two_commits_at_once_one_succeeds_and_the_other_is_told_the_epoch() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    for (one, other, witness) in [(&alice, &bob, &cathy), (&bob, &cathy, &alice), (&cathy, &alice, &bob)] {
        // From different providers, hence through different edges.
        race(one, other, witness).await.unwrap();
    }
    agree(&[alice, bob, cathy]).await.unwrap();
    world.end().await;
}
