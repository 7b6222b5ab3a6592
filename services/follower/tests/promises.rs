//! What the follower promises to hubs, inviters and its own clients, with real MLS messages and the store in memory.

#![allow(clippy::unwrap_used, reason = "tests")]

mod brought;

use std::sync::Arc;

use brought::{
    Courier, LEDGER, SHARD, client, events, follower, hub_sender, inviter, message, messages, provider, response, room,
    user, welcome,
};
use bytes::Bytes;
use client::mls::{Member, RoomProfile};
use ledger::follower::InboxPosition;
use ledger::{Digest, Offset};
use mimi::key_material::{ClientStatus, KeyMaterialRequest, KeyMaterialUserCode};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::{Frank, SubmitMessageRequest};
use mimi::{Decode as _, Encode as _, UserUri};
use nave_follower::{Body, Fault, Item, Refused};
use proptest::prelude::*;

#[tokio::test]
async fn f_3_a_key_package_is_given_to_one_of_many_who_ask_at_once() {
    let follower = follower();
    let bob = Member::new(client("bob", "phone")).unwrap();
    follower
        .upload(&user("bob"), bob.client(), &bob.key_packages(1).unwrap())
        .await
        .unwrap();

    let asked = (0..64).map(|n| {
        let request = inviter(&format!("user{n}"))
            .key_material_request(&room(), &user("bob"))
            .unwrap();
        let follower = follower.clone();
        tokio::spawn(async move { follower.claim(&provider("a"), &request).await.unwrap() })
    });
    let mut given = 0;
    for answer in futures::future::join_all(asked).await {
        let answer = response(&answer.unwrap());
        match answer.clients[0].status {
            ClientStatus::Success(_) => given += 1,
            ClientStatus::Exhausted => assert_eq!(answer.user_status, KeyMaterialUserCode::NoCompatibleMaterial),
            ClientStatus::NothingCompatible(_) => panic!("it was compatible"),
        }
    }
    assert_eq!(given, 1);
}

#[tokio::test]
async fn f_9_the_same_claim_gets_the_same_answer_until_its_welcome_comes() {
    let follower = follower();
    let bob = Member::new(client("bob", "phone")).unwrap();
    follower
        .upload(&user("bob"), bob.client(), &bob.key_packages(2).unwrap())
        .await
        .unwrap();
    let mut alice = inviter("alice");
    let request = alice.key_material_request(&room(), &user("bob")).unwrap();

    let first = follower.claim(&provider("a"), &request).await.unwrap();
    assert_eq!(follower.claim(&provider("a"), &request).await.unwrap(), first);

    let packages = alice.open_key_material(&user("bob"), &first).unwrap();
    let commit = alice.add_user(&room(), &user("bob"), 2, &packages).unwrap();
    let item = Courier::new().message(&welcome(&commit));
    follower.deliver(&provider("a"), LEDGER, SHARD, &[item]).await.unwrap();
    assert_ne!(follower.claim(&provider("a"), &request).await.unwrap(), first);
}

#[tokio::test]
async fn f_6_a_claim_that_its_requester_did_not_sign_looks_like_one_without_consent() {
    let follower = follower();
    let bob = Member::new(client("bob", "phone")).unwrap();
    follower
        .upload(&user("bob"), bob.client(), &bob.key_packages(1).unwrap())
        .await
        .unwrap();
    let request = inviter("alice").key_material_request(&room(), &user("bob")).unwrap();

    let mut forged = KeyMaterialRequest::decode_exact(&request).unwrap();
    forged.requesting_user = (&"mimi://a.example/u/mallory".parse::<UserUri>().unwrap()).into();
    let unsigned = {
        let mut unsigned = KeyMaterialRequest::decode_exact(&request).unwrap();
        unsigned.signature = Bytes::from(vec![0; 64]);
        unsigned
    };
    for request in [forged, unsigned] {
        let answer = follower.claim(&provider("a"), &request.encode().into()).await.unwrap();
        assert_eq!(response(&answer).user_status, KeyMaterialUserCode::NoConsent);
        assert!(response(&answer).clients.is_empty());
    }
    // Nor may a provider bring another's request.
    let answer = follower.claim(&provider("c"), &request).await.unwrap();
    assert_eq!(response(&answer).user_status, KeyMaterialUserCode::NoConsent);
    // Nobody's attempt used the KeyPackage up.
    let answer = follower.claim(&provider("a"), &request).await.unwrap();
    assert_eq!(response(&answer).user_status, KeyMaterialUserCode::Success);
}

#[tokio::test]
async fn f_5_a_user_who_is_not_there_looks_like_one_without_consent() {
    let request = inviter("alice").key_material_request(&room(), &user("nobody")).unwrap();
    let answer = follower().claim(&provider("a"), &request).await.unwrap();
    assert_eq!(response(&answer).user_status, KeyMaterialUserCode::NoConsent);
}

#[tokio::test]
async fn f_4_some_clients_without_key_packages_make_partial_success() {
    let follower = follower();
    let (phone, laptop) = (client("bob", "phone"), client("bob", "laptop"));
    for (device, count) in [(&phone, 2), (&laptop, 1)] {
        let member = Member::new(device.clone()).unwrap();
        follower
            .upload(&user("bob"), device, &member.key_packages(count).unwrap())
            .await
            .unwrap();
    }
    let mut codes = Vec::new();
    for name in ["alice", "carol", "dave"] {
        let request = inviter(name).key_material_request(&room(), &user("bob")).unwrap();
        let answer = response(&follower.claim(&provider("a"), &request).await.unwrap());
        assert_eq!(answer.clients.len(), 2);
        codes.push(answer.user_status);
    }
    let expected = [
        KeyMaterialUserCode::Success,
        KeyMaterialUserCode::PartialSuccess,
        KeyMaterialUserCode::NoCompatibleMaterial,
    ];
    assert_eq!(codes, expected);
}

#[tokio::test]
async fn an_upload_of_anothers_or_a_broken_key_package_stores_nothing() {
    let follower = follower();
    let bob = Member::new(client("bob", "phone")).unwrap();
    let eve = Member::new(client("eve", "phone")).unwrap();
    let (mut good, foreign) = (bob.key_packages(1).unwrap(), eve.key_packages(1).unwrap());
    let mut broken = good[0].to_vec();
    let last = broken.len() - 1;
    broken[last] ^= 1;

    let mixed = [good[0].clone(), foreign[0].clone()];
    assert!(matches!(
        follower.upload(&user("bob"), bob.client(), &mixed).await,
        Err(Fault::Forbidden(_))
    ));
    let mixed = [good.remove(0), broken.into()];
    assert!(matches!(
        follower.upload(&user("bob"), bob.client(), &mixed).await,
        Err(Fault::Malformed(_))
    ));
    let other = follower.upload(&user("eve"), bob.client(), &[]).await;
    assert!(matches!(other, Err(Fault::Forbidden(_))));
    let request = inviter("alice").key_material_request(&room(), &user("bob")).unwrap();
    let answer = follower.claim(&provider("a"), &request).await.unwrap();
    assert_eq!(response(&answer).user_status, KeyMaterialUserCode::NoConsent);
}

#[tokio::test]
async fn ce_1_a_delivery_is_stored_once_in_order_for_every_client_that_follows() {
    let follower = follower();
    let mut alice = inviter("alice");
    let mut courier = Courier::new();
    let (phone, laptop) = (client("bob", "phone"), client("bob", "laptop"));
    for device in [&phone, &laptop] {
        follower.follow(device, &room()).await.unwrap();
    }
    let (mut on_phone, _) = follower.open(phone).await.unwrap();
    let (mut on_laptop, _) = follower.open(laptop).await.unwrap();

    let texts: Vec<Bytes> = (0..3).map(|n| message(&mut alice, &format!("{n}"))).collect();
    let mut items: Vec<Item> = texts.iter().map(|text| courier.message(text)).collect();
    items.insert(2, courier.item(Body::Digest(Digest::of(b"a Welcome for others"))));
    items.sort_by_key(|item| item.offset);
    for batch in [&items[..2], &items[..], &items[1..]] {
        let stored = follower.deliver(&provider("a"), LEDGER, SHARD, batch).await.unwrap();
        assert_eq!(stored.refused, vec![]);
    }
    let next = follower.position(&provider("a"), LEDGER, SHARD).await.unwrap();
    assert_eq!(next, Some(Offset(41)));
    for stream in [&mut on_phone, &mut on_laptop] {
        let seen = events(stream, 3).await;
        assert_eq!(messages(&seen), texts);
        assert_eq!(seen.iter().map(|event| event.position).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(stream.try_recv().is_err(), "a repeat was shown");
    }
}

#[tokio::test]
async fn f_40_f_41_what_came_by_notify_has_no_second_effect_by_link() {
    let follower = follower();
    let mut alice = inviter("alice");
    let mut courier = Courier::new();
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let (one, two) = (message(&mut alice, "one"), message(&mut alice, "two"));

    let body = Bytes::from([&one[..], &two[..]].concat());
    follower.notify(&provider("a"), &room(), &body).await.unwrap();
    follower.notify(&provider("a"), &room(), &body).await.unwrap();
    let items = [courier.message(&one), courier.message(&two)];
    follower.deliver(&provider("a"), LEDGER, SHARD, &items).await.unwrap();
    follower.notify(&provider("a"), &room(), &two).await.unwrap();

    let (mut stream, _) = follower.open(phone).await.unwrap();
    assert_eq!(messages(&events(&mut stream, 2).await), [one, two]);
    assert!(stream.try_recv().is_err());
}

#[tokio::test]
async fn f_42_a_hub_brings_only_rooms_of_its_own() {
    let follower = follower();
    let text = message(&mut inviter("alice"), "hello");
    let item = Courier::new().message(&text);
    let stored = follower
        .deliver(&provider("c"), LEDGER, SHARD, std::slice::from_ref(&item))
        .await
        .unwrap();
    let refused = Refused {
        offset: item.offset,
        status: 403,
        reason: "the room has another hub",
    };
    assert_eq!((stored.refused, stored.next), (vec![refused], Offset(11)));
    assert!(matches!(
        follower.notify(&provider("c"), &room(), &text).await,
        Err(Fault::Forbidden(_))
    ));
}

#[tokio::test]
async fn a_malformed_entry_is_refused_and_the_others_stored() {
    let follower = follower();
    let mut courier = Courier::new();
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let text = message(&mut inviter("alice"), "hello");
    let items = [courier.message(&Bytes::from_static(b"garbage")), courier.message(&text)];
    let stored = follower.deliver(&provider("a"), LEDGER, SHARD, &items).await.unwrap();
    assert_eq!(
        stored.refused.iter().map(|refused| refused.status).collect::<Vec<_>>(),
        [400]
    );
    let (mut stream, _) = follower.open(phone).await.unwrap();
    assert_eq!(messages(&events(&mut stream, 1).await), [text]);
}

#[tokio::test]
async fn ce_1_a_client_that_comes_back_begins_behind_what_it_acknowledged() {
    let follower = follower();
    let mut alice = inviter("alice");
    let mut courier = Courier::new();
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let texts: Vec<Bytes> = (0..4).map(|n| message(&mut alice, &format!("{n}"))).collect();
    let items: Vec<Item> = texts.iter().map(|text| courier.message(text)).collect();
    follower.deliver(&provider("a"), LEDGER, SHARD, &items).await.unwrap();

    let (mut stream, acks) = follower.open(phone.clone()).await.unwrap();
    events(&mut stream, 3).await;
    acks.acknowledge(&room(), InboxPosition(2)).await.unwrap();
    drop(stream);
    // An older acknowledgement, and one of what is not there, change nothing or go to the end at most.
    acks.acknowledge(&room(), InboxPosition(1)).await.unwrap();
    let (mut stream, _) = follower.open(phone.clone()).await.unwrap();
    assert_eq!(messages(&events(&mut stream, 2).await), texts[2..]);
    acks.acknowledge(&room(), InboxPosition(99)).await.unwrap();
    follower
        .notify(&provider("a"), &room(), &message(&mut alice, "5"))
        .await
        .unwrap();
    let (mut stream, _) = follower.open(phone).await.unwrap();
    assert_eq!(events(&mut stream, 1).await[0].position, 5);
}

#[tokio::test]
async fn f_7_f_44_a_welcome_is_shown_only_to_its_client_which_then_follows_the_room() {
    let follower = follower();
    let bob = Member::new(client("bob", "phone")).unwrap();
    let eve = client("eve", "phone");
    follower
        .upload(&user("bob"), bob.client(), &bob.key_packages(1).unwrap())
        .await
        .unwrap();
    follower.follow(&eve, &room()).await.unwrap();
    let (mut to_bob, _) = follower.open(bob.client().clone()).await.unwrap();
    let (mut to_eve, _) = follower.open(eve).await.unwrap();

    let mut alice = inviter("alice");
    let request = alice.key_material_request(&room(), &user("bob")).unwrap();
    let answer = follower.claim(&provider("a"), &request).await.unwrap();
    let packages = alice.open_key_material(&user("bob"), &answer).unwrap();
    let commit = alice.add_user(&room(), &user("bob"), 2, &packages).unwrap();
    alice.on_accepted(&room()).unwrap();
    let (invitation, text) = (welcome(&commit), message(&mut alice, "hello"));
    let mut courier = Courier::new();
    let items = [courier.message(&invitation), courier.message(&text)];
    follower.deliver(&provider("a"), LEDGER, SHARD, &items).await.unwrap();

    let seen = events(&mut to_bob, 2).await;
    assert_eq!(messages(&seen), [invitation, text.clone()]);
    assert_eq!(seen[0].key_package_refs.len(), 1);
    // To the others its place is told, so that they see no gap.
    assert_eq!(messages(&events(&mut to_eve, 2).await), [Bytes::new(), text]);
}

#[tokio::test]
async fn f_44_a_welcome_for_nobody_of_ours_is_taken_and_shown_to_nobody() {
    let follower = follower();
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let stranger = Member::new("mimi://c.example/d/carol/phone".parse().unwrap()).unwrap();
    let mut alice = inviter("alice");
    let packages = stranger.key_packages(1).unwrap();
    let commit = alice.add_user(&room(), &stranger.user(), 2, &packages).unwrap();
    follower
        .notify(&provider("a"), &room(), &welcome(&commit))
        .await
        .unwrap();
    let (mut stream, _) = follower.open(phone).await.unwrap();
    let seen = events(&mut stream, 1).await;
    assert!(seen[0].message.is_empty() && seen[0].key_package_refs.is_empty());
}

#[tokio::test]
async fn f_43_f_46_f_47_a_clients_own_message_comes_back_with_its_time_and_frank_and_no_more() {
    let follower = follower();
    let phone = client("bob", "phone");
    let mut bob = Member::new(phone.clone()).unwrap();
    bob.create_room(&room(), &hub_sender(), &RoomProfile::default())
        .unwrap();
    follower.follow(&phone, &room()).await.unwrap();
    let own = SubmitMessageRequest::decode_exact(&bob.send(&room(), b"hello").unwrap()).unwrap();
    let frank = Frank {
        server_frank: [1; 32],
        franking_signature_ciphersuite: 1,
        franking_integrity_signature: Bytes::from_static(b"signature"),
    };
    let content = FanoutContent::Application {
        message: own.app_message,
        frank: Some(frank),
    };
    let sent = FanoutMessage {
        timestamp: 1_700_000_000_123,
        content,
    };
    let octets = Bytes::from(sent.encode());
    follower.notify(&provider("a"), &room(), &octets).await.unwrap();
    // After a failover of the hub it comes again, over the link.
    let item = Courier::new().message(&octets);
    follower.deliver(&provider("a"), LEDGER, SHARD, &[item]).await.unwrap();

    let (mut stream, _) = follower.open(phone).await.unwrap();
    let seen = events(&mut stream, 1).await;
    assert_eq!(FanoutMessage::decode_exact(&seen[0].message), Ok(sent));
    assert!(stream.try_recv().is_err());
}

#[tokio::test]
async fn a_client_that_does_not_follow_any_more_is_shown_nothing() {
    let follower = follower();
    let mut alice = inviter("alice");
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let (mut stream, _) = follower.open(phone.clone()).await.unwrap();
    follower
        .notify(&provider("a"), &room(), &message(&mut alice, "one"))
        .await
        .unwrap();
    events(&mut stream, 1).await;
    follower.unfollow(&phone, &room()).await.unwrap();
    follower
        .notify(&provider("a"), &room(), &message(&mut alice, "two"))
        .await
        .unwrap();
    follower.follow(&phone, &room()).await.unwrap();
    let three = message(&mut alice, "three");
    follower.notify(&provider("a"), &room(), &three).await.unwrap();
    assert_eq!(messages(&events(&mut stream, 1).await), [three]);
}

#[tokio::test]
async fn an_entry_larger_than_a_value_of_the_store_comes_back_whole() {
    let follower = follower();
    let mut alice = inviter("alice");
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let large = message(&mut alice, &"x".repeat(300_000));
    let small = message(&mut alice, "small");
    for text in [&large, &small] {
        follower.notify(&provider("a"), &room(), text).await.unwrap();
    }
    let (mut stream, _) = follower.open(phone).await.unwrap();
    assert_eq!(messages(&events(&mut stream, 2).await), [large, small]);
}

#[tokio::test]
async fn more_octets_than_a_transaction_of_the_store_holds_are_stored_and_one_too_large_message_is_refused() {
    let follower = follower();
    let mut alice = inviter("alice");
    let mut courier = Courier::new();
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let sizes = [3_000_000, 3_000_000, 9_000_000, 1_000, 9_000_000, 10];
    let texts: Vec<Bytes> = sizes
        .iter()
        .map(|size| message(&mut alice, &"x".repeat(*size)))
        .collect();
    let mut items: Vec<Item> = texts.iter().map(|text| courier.message(text)).collect();
    items.push(courier.message(&Bytes::from(vec![0; (9 << 20) + 1])));
    let stored = follower.deliver(&provider("a"), LEDGER, SHARD, &items).await.unwrap();
    assert_eq!(stored.next, Offset(71));
    let refused: Vec<_> = stored
        .refused
        .iter()
        .map(|refused| (refused.offset, refused.status))
        .collect();
    assert_eq!(refused, [(Offset(70), 413)]);

    let again: Vec<u8> = texts[..3].concat();
    follower.notify(&provider("a"), &room(), &again.into()).await.unwrap();
    let (mut stream, _) = follower.open(phone).await.unwrap();
    assert_eq!(messages(&events(&mut stream, 6).await), texts);
    assert!(stream.try_recv().is_err(), "a repeat was shown");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_loses_nothing() {
    let follower = follower();
    let mut alice = inviter("alice");
    let phone = client("bob", "phone");
    follower.follow(&phone, &room()).await.unwrap();
    let (mut stream, _) = follower.open(phone).await.unwrap();
    let texts: Vec<Bytes> = (0..200).map(|n| message(&mut alice, &format!("{n}"))).collect();
    for text in &texts {
        follower.notify(&provider("a"), &room(), text).await.unwrap();
    }
    assert_eq!(messages(&events(&mut stream, 200).await), texts);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn bytes_from_outside_never_panic(octets in prop::collection::vec(any::<u8>(), 0..300)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let follower = follower();
            let body = Bytes::from(octets);
            let _ = follower.claim(&provider("a"), &body).await;
            let _ = follower.notify(&provider("a"), &room(), &body).await;
            let _ = follower.upload(&user("bob"), &client("bob", "phone"), std::slice::from_ref(&body)).await;
            let items = [Courier::new().message(&body)];
            follower.deliver(&provider("a"), LEDGER, SHARD, &items).await.unwrap();
        });
    }
}

#[test]
fn the_follower_can_be_shared_between_tasks() {
    fn shared<T: Send + Sync + 'static>(_: &T) {}
    shared(&Arc::new(follower()));
}
