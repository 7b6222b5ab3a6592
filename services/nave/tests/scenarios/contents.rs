//! S-4 and S-14: what is said, what it proves, and what it only refers to.

use bytes::Bytes;
use client::api::ApiError;
use client::mls::{Franked, Message, ORDINARY, RoomProfile};
use client::session::SessionError;
use mimi::content::ExternalPart;
use nave::demo::acts::{ASSET, abuse_report, agree, share_asset, verdict_on};
use proto::hub::AbuseVerdict;

use crate::world::{C, World};

#[tokio::test(flavor = "multi_thread")]
async fn s_4_a_message_is_franked_for_all_and_a_report_proves_it_and_nothing_else() {
    let world = World::new().await;
    let [alice, bob, cathy] = world.trio().await;
    let laptop = world.second(C).await;
    for party in [&alice, &bob, &cathy] {
        party.reaches(laptop.epoch()).await.unwrap();
    }
    let said = cathy.says("first", &bob).await.unwrap();
    let id = said.content.said().unwrap().id;
    for party in [&alice, &laptop, &cathy] {
        let message = party.hears(id).await.unwrap();
        assert_eq!(
            (&message.sender, message.accepted, &message.data, message.franked),
            (&cathy.client, said.accepted, &said.data, Franked::Verified)
        );
    }

    // As it was said; and with another time.
    abuse_report(&cathy, &bob, &alice).await.unwrap();

    // With other words, hence another tag.
    let said = cathy.says("a word of mine", &bob).await.unwrap();
    let mut data = said.data.to_vec();
    let at = data.windows(4).position(|window| window == b"word").unwrap();
    data[at] = b'f';
    let reworded = Message {
        data: Bytes::from(data),
        ..said
    };
    let verdict = verdict_on(&bob, &world.room, reworded, &alice).await.unwrap();
    assert_eq!(verdict, AbuseVerdict::Invalid);

    // As if somebody else had said it.
    let said = cathy.says("not alice's", &bob).await.unwrap();
    let imputed = Message {
        sender: alice.client.clone(),
        ..said
    };
    let verdict = verdict_on(&bob, &world.room, imputed, &alice).await.unwrap();
    assert_eq!(verdict, AbuseVerdict::Invalid);

    // As if it had been said elsewhere.
    let elsewhere = alice.another_room("elsewhere").unwrap();
    let profile = RoomProfile::default();
    alice.session.create_room(&elsewhere, &profile).await.unwrap();
    alice.session.add_user(&elsewhere, &bob.user(), ORDINARY).await.unwrap();
    let said = cathy.says("not elsewhere", &bob).await.unwrap();
    let verdict = verdict_on(&bob, &elsewhere, said, &alice).await.unwrap();
    assert_eq!(verdict, AbuseVerdict::Invalid);
    agree(&[alice, bob, cathy, laptop]).await.unwrap();
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_14_an_asset_is_fetched_by_proxy_and_obliviously_and_a_foreign_host_is_not_asked() {
    let world = World::new().await;
    let [_alice, bob, cathy] = world.trio().await;
    let part = share_asset(&cathy, &bob, ASSET).await.unwrap();
    let (room, sender) = (&world.room, &cathy.user());
    assert_eq!(bob.session.download(room, sender, &part).await.unwrap(), ASSET);
    let oblivious = bob.session.download_obliviously(room, sender, &part).await.unwrap();
    assert_eq!(oblivious, ASSET);

    let foreign = ExternalPart {
        url: "https://d.example/v1/assets/x".to_owned(),
        ..part
    };
    let refused = [
        bob.session.download(room, sender, &foreign).await,
        bob.session.download_obliviously(room, sender, &foreign).await,
    ];
    for answer in refused {
        let refused = matches!(answer, Err(SessionError::Api(ApiError::Refused { status: 403, .. })));
        assert!(refused, "{answer:?}");
    }
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn as_1_nobody_but_the_hub_is_asked_for_an_asset_least_of_all_the_host_in_its_url() {
    let world = World::new().await;
    let [_alice, bob, cathy] = world.trio().await;
    let part = share_asset(&cathy, &bob, ASSET).await.unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let elsewhere = ExternalPart {
        url: format!(
            "https://localhost:{}/v1/assets/x",
            listener.local_addr().unwrap().port()
        ),
        ..part
    };
    let (room, sender) = (&world.room, &cathy.user());
    for answer in [
        bob.session.download(room, sender, &elsewhere).await,
        bob.session.download_obliviously(room, sender, &elsewhere).await,
    ] {
        let by_hub = matches!(answer, Err(SessionError::Api(ApiError::Refused { status: 403, .. })));
        assert!(by_hub, "{answer:?}");
    }
    let reached = listener.accept().map(|(_, from)| from);
    assert!(
        matches!(&reached, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        "{reached:?} came to the host in the URL"
    );
    world.end().await;
}
