//! B-2: whoever takes nothing for longer than entries are kept loses them, is told, and goes on.

use std::time::Duration;

use nave::demo::acts::agree;

use crate::world::{A, B, World};

/// What nobody is waited for goes within so much of three seconds.
const LATER: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread")]
async fn b_2_a_follower_away_for_longer_than_entries_are_kept_has_its_clients_join_again() {
    let mut world = World::new().await;
    let kept = "acknowledged_s = 86_400\nregardless_s = 2_592_000\n";
    world.configure(A, kept, "acknowledged_s = 1\nregardless_s = 3\n").await;
    let [alice, bob, cathy] = world.trio().await;
    alice.says("before", &bob).await.unwrap();
    let tablet = world.second(B).await;
    for party in [&alice, &bob, &cathy] {
        party.reaches(tablet.epoch()).await.unwrap();
    }
    world.stage.stop(B).await;
    let (before, seen) = (bob.epoch(), bob.messages());
    for (one, other) in [(&alice, &cathy), (&cathy, &alice)] {
        one.says("while Bob is away", other).await.unwrap();
        one.session.self_update(&world.room).await.unwrap();
        other.reaches(one.epoch()).await.unwrap();
    }
    tokio::time::sleep(LATER).await;
    world.start_again(B).await;

    // Each of Bob's clients takes its place again, by a commit of its own.
    let all = [&alice, &bob, &cathy, &tablet];
    for party in all {
        party.reaches(before + 4).await.unwrap();
    }
    alice.says("welcome back", &bob).await.unwrap();
    bob.says("thanks", &tablet).await.unwrap();
    tablet.says("so do I", &cathy).await.unwrap();
    assert_eq!(bob.messages()[..seen.len()], seen);
    assert!(bob.messages().len() <= seen.len() + 3, "what is gone is gone");
    for party in all {
        let clients = party.session.member(|member| member.members(&party.room)).unwrap();
        assert_eq!(clients.len(), 4, "nobody is there twice");
    }
    agree(&[alice, bob, cathy, tablet]).await.unwrap();
    world.end().await;
}
