//! What is promised to inviters, beyond honest requests: repeats, crashes, expiry, last resorts and sets under pseudonyms.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use common::counting::Reads;
use common::{Device, Last, World, client, inviter, provider, user};
use ledger::follower::{Profile, WhoMayAdd};
use mimi::key_material::{ClientStatus, KeyMaterialRequest, KeyMaterialResponse, KeyMaterialUserCode};
use mimi::mls::Credential;
use mimi::{Decode as _, Encode as _, UserUri};
use nave_follower::limits::CLAIM_REPEAT_MS;
use nave_follower::{Fault, Follower, Pseudonymous};

use KeyMaterialUserCode::{NoCompatibleMaterial, NoConsent, Success};

const DAY: u64 = 24 * 60 * 60;

/// bob's phone, with these KeyPackages waiting.
async fn bob(world: &World, key_packages: &[Bytes], device: &str) {
    let (user, client) = (user("bob"), client("bob", device));
    world.follower.upload(&user, &client, key_packages).await.unwrap();
}

fn given(response: &KeyMaterialResponse) -> Vec<Bytes> {
    let packages = response.key_packages();
    packages.map(|package| package.octets().clone()).collect()
}

#[tokio::test]
async fn f_1_f_10_a_request_without_suites_or_for_anothers_user_is_refused_and_gives_nothing() {
    let world = World::new();
    let phone = Device::new(&client("bob", "phone"));
    bob(&world, &[phone.key_package(Last::No, DAY)], "phone").await;
    let alice = inviter("alice");

    let mut none = alice.request(&user("bob"), Credential::BASIC);
    none.acceptable_ciphersuites.clear();
    alice.sign(&mut none);
    let answer = world.follower.claim(&provider("a"), &none.encode().into()).await;
    assert!(matches!(answer, Err(Fault::Malformed(_))));

    let elsewhere: UserUri = "mimi://c.example/u/bob".parse().unwrap();
    let answer = world.follower.claim(&provider("a"), &alice.asks_for(&elsewhere)).await;
    assert!(matches!(answer, Err(Fault::Forbidden(_))));

    let response = world.claim(&alice.asks_for(&user("bob"))).await;
    assert_eq!((response.user_status, response.user), (Success, (&user("bob")).into()));
}

#[tokio::test]
async fn f_3_what_was_claimed_before_a_crash_is_given_to_nobody_after_it() {
    let world = World::new();
    let phone = Device::new(&client("bob", "phone"));
    bob(&world, &[phone.key_package(Last::No, DAY)], "phone").await;
    let request = inviter("alice").asks_for(&user("bob"));
    let lost = world.claim(&request).await;

    // Nobody heard the answer; the follower comes back over the same store.
    let again = World::over(world.database.clone());
    let other = again.claim(&inviter("carol").asks_for(&user("bob"))).await;
    assert_eq!(other.user_status, NoCompatibleMaterial);
    assert_eq!(again.claim(&request).await, lost);
}

#[tokio::test]
async fn f_3_what_has_expired_is_never_given_nor_repeated() {
    let world = World::new();
    let phone = Device::new(&client("bob", "phone"));
    let packages = [phone.key_package(Last::No, 60), phone.key_package(Last::Component, 90)];
    bob(&world, &packages, "phone").await;
    let request = inviter("alice").asks_for(&user("bob"));
    assert_eq!(given(&world.claim(&request).await), packages[..1]);
    world.wait(61_000);
    assert_eq!(given(&world.claim(&request).await), packages[1..]);
    world.wait(30_000);
    assert_eq!(world.claim(&request).await.user_status, NoCompatibleMaterial);
}

#[tokio::test]
async fn f_6_the_key_is_tried_with_the_scheme_of_each_suite_that_it_may_be_of() {
    let world = World::new();
    let phone = Device::new(&client("bob", "phone"));
    bob(&world, &[phone.key_package(Last::No, DAY)], "phone").await;
    let alice = inviter("alice");
    // P-256, X448 and what nobody knows come first; the key is of Ed25519.
    let mut request = alice.request(&user("bob"), Credential::BASIC);
    request.acceptable_ciphersuites = vec![2, 4, 0x0a0a, 1];
    alice.sign(&mut request);
    assert_eq!(world.claim(&request.encode().into()).await.user_status, Success);

    let mut foreign = inviter("eve").request(&user("bob"), Credential::BASIC);
    foreign.requesting_user = (&"mimi://a.example/u/alice".parse::<UserUri>().unwrap()).into();
    inviter("eve").sign(&mut foreign);
    assert_eq!(world.claim(&foreign.encode().into()).await.user_status, NoConsent);
}

#[tokio::test]
async fn f_8_a_key_package_of_last_resort_is_given_last_and_once() {
    let world = World::new();
    let phone = Device::new(&client("bob", "phone"));
    let [ordinary, extension, component] =
        [Last::No, Last::Extension, Last::Component].map(|last| phone.key_package(last, DAY));
    bob(
        &world,
        &[extension.clone(), component.clone(), ordinary.clone()],
        "phone",
    )
    .await;

    let mut seen = Vec::new();
    for name in ["alice", "carol", "dave"] {
        seen.extend(given(&world.claim(&inviter(name).asks_for(&user("bob"))).await));
    }
    assert_eq!(seen[0], ordinary);
    assert!(seen[1..].contains(&extension) && seen[1..].contains(&component));
    let exhausted = world.claim(&inviter("eve").asks_for(&user("bob"))).await;
    assert_eq!(exhausted.user_status, NoCompatibleMaterial);
    assert_eq!(exhausted.clients[0].status, ClientStatus::Exhausted);
    // Nor does another upload bring it back.
    bob(&world, &[extension, component, ordinary], "phone").await;
    let exhausted = world.claim(&inviter("eve").asks_for(&user("bob"))).await;
    assert_eq!(exhausted.user_status, NoCompatibleMaterial);
}

#[tokio::test]
async fn f_9_an_answer_is_repeated_for_ten_minutes_and_to_the_same_provider() {
    let world = World::new();
    let phone = Device::new(&client("bob", "phone"));
    let packages: Vec<_> = (0..3).map(|_| phone.key_package(Last::No, DAY)).collect();
    bob(&world, &packages, "phone").await;
    // The room's hub and the user's provider are both a.example but for this user.
    let carol = Device::new(&"mimi://c.example/d/carol/phone".parse().unwrap());
    let request = carol.asks_for(&user("bob"));
    let first = world.claim(&request).await;
    let by_c = world.follower.claim(&provider("c"), &request).await.unwrap();
    assert_ne!(KeyMaterialResponse::decode_exact(&by_c).unwrap(), first);
    world.wait(CLAIM_REPEAT_MS - 60_000);
    assert_eq!(world.claim(&request).await, first);
    world.wait(61_000);
    let later = world.claim(&request).await;
    assert_eq!(later.user_status, Success);
    assert_ne!(later, first);
}

#[tokio::test]
async fn f_5_who_is_not_there_costs_the_reads_of_who_does_not_consent() {
    let reads = Reads::default();
    let world = World::over(reads.database());
    let phone = Device::new(&client("bob", "phone"));
    bob(&world, &[phone.key_package(Last::No, DAY)], "phone").await;
    let asks = Profile {
        who_may_add: WhoMayAdd::WithConsent,
        ..Profile::default()
    };
    world.follower.set_profile(&user("bob"), &asks).await.unwrap();
    let mut costs = Vec::new();
    for target in ["bob", "nobody"] {
        reads.take();
        let response = world.claim(&inviter("alice").asks_for(&user(target))).await;
        assert_eq!((response.user_status, response.clients), (NoConsent, vec![]));
        costs.push(reads.take());
    }
    assert_eq!(costs[0], costs[1]);
}

/// A set of two clients of bob, under one pseudonym.
fn set(pseudonym: u64) -> Vec<Pseudonymous> {
    let member = |(number, device)| Pseudonymous {
        client: client("bob", device),
        key_package: Device::pseudonymous(pseudonym, number).key_package(Last::No, DAY),
    };
    [(1, "phone"), (2, "laptop")].map(member).to_vec()
}

fn asks_for_pseudonyms(name: &str) -> Bytes {
    let request: KeyMaterialRequest = inviter(name).request(&user("bob"), Credential::PSEUDONYMOUS);
    request.encode().into()
}

#[tokio::test]
async fn mm_3_a_set_is_given_whole_and_once_and_names_no_client() {
    let world = World::new();
    let sets = [set(7), set(8)];
    let waiting = world.follower.upload_sets(&user("bob"), &sets.concat()).await;
    assert_eq!(waiting.unwrap(), 4);
    let mut seen = Vec::new();
    for name in ["alice", "carol"] {
        let response = world.claim(&asks_for_pseudonyms(name)).await;
        assert_eq!((response.user_status, response.user.user()), (Success, Ok(user("bob"))));
        let named = response.clients.iter().map(|of| of.client.client().unwrap().user());
        assert!(named.into_iter().all(|named| named != user("bob")));
        seen.push(given(&response));
    }
    seen.sort();
    let mut whole: Vec<Vec<Bytes>> = sets.iter().map(|set| packages(set)).collect();
    whole.sort();
    assert_eq!(seen, whole);
    let response = world.claim(&asks_for_pseudonyms("dave")).await;
    assert_eq!((response.user_status, response.clients), (NoCompatibleMaterial, vec![]));
    // Who asks for ordinary ones is not given these.
    let response = world.claim(&inviter("dave").asks_for(&user("bob"))).await;
    assert!(given(&response).is_empty());
}

fn packages(set: &[Pseudonymous]) -> Vec<Bytes> {
    set.iter().map(|member| member.key_package.clone()).collect()
}

#[tokio::test]
async fn mm_3_f_9_a_sets_answer_is_repeated() {
    let world = World::new();
    world.follower.upload_sets(&user("bob"), &set(7)).await.unwrap();
    let request = asks_for_pseudonyms("alice");
    let first = world.claim(&request).await;
    assert_eq!(first.clients.len(), 2);
    assert_eq!(world.claim(&request).await, first);
}

#[tokio::test]
async fn mm_3_what_is_no_set_of_the_user_is_not_stored() {
    let world = World::new();
    let refused = async |set: &[Pseudonymous]| world.follower.upload_sets(&user("bob"), set).await.is_err();
    let good = set(7);
    let mut foreign = good.clone();
    foreign[1].client = client("eve", "phone");
    let mut twice = good.clone();
    twice[1].client = good[0].client.clone();
    let mut real = good.clone();
    real[1].key_package = Device::new(&client("bob", "laptop")).key_package(Last::No, DAY);
    let mut other_key = good.clone();
    let borrowed = Device::pseudonymous(7, 2).request(&user("bob"), 1).requester_credential;
    other_key[1].key_package = Device::with(|_| borrowed).key_package(Last::No, DAY);
    for set in [foreign, twice, real, other_key] {
        assert!(refused(&set).await);
    }
    assert_eq!(world.claim(&asks_for_pseudonyms("alice")).await.user_status, NoConsent);

    world.follower.upload_sets(&user("bob"), &good).await.unwrap();
    // A pseudonym has one set, ever, and one user.
    assert!(refused(&set(7)).await);
    let eves = Pseudonymous {
        client: client("eve", "phone"),
        key_package: Device::pseudonymous(7, 3).key_package(Last::No, DAY),
    };
    let stolen = world.follower.upload_sets(&user("eve"), &[eves]).await;
    assert!(matches!(stolen, Err(Fault::Forbidden(_))));
}

#[tokio::test]
async fn mm_3_pseudonyms_are_served_only_where_they_are_switched_on() {
    let world = World::new();
    let off = Follower::new(provider("b"), world.database.clone(), Follower::system_clock());
    let uploaded = off.upload_sets(&user("bob"), &set(7)).await;
    assert!(matches!(uploaded, Err(Fault::Forbidden(_))));
    world.follower.upload_sets(&user("bob"), &set(7)).await.unwrap();
    let answer = off.claim(&provider("a"), &asks_for_pseudonyms("alice")).await.unwrap();
    assert!(given(&KeyMaterialResponse::decode_exact(&answer).unwrap()).is_empty());
}

/// A request for the set under a pseudonym, by somebody who goes by one, too.
fn asks_for_pseudonym(pseudonym: u64) -> Bytes {
    let request = Device::pseudonymous(90, 91).request(&pseudonym_uri(pseudonym), Credential::PSEUDONYMOUS);
    request.encode().into()
}

fn pseudonym_uri(number: u64) -> UserUri {
    user(&format!("00000000-0000-4000-8000-{number:012x}"))
}

#[tokio::test]
async fn mm_3_who_knows_a_pseudonym_gets_the_set_under_it_once_and_no_name() {
    let world = World::new();
    let sets = [set(7), set(8)];
    world.follower.upload_sets(&user("bob"), &sets.concat()).await.unwrap();
    // Bob wants to be asked: whoever knows the pseudonym has been told it.
    let cautious = Profile {
        who_may_add: WhoMayAdd::WithConsent,
        ..Profile::default()
    };
    world.follower.set_profile(&user("bob"), &cautious).await.unwrap();
    let response = world.claim(&asks_for_pseudonym(8)).await;
    assert_eq!(
        (response.user_status, response.user.user()),
        (Success, Ok(pseudonym_uri(8)))
    );
    assert_eq!(given(&response), packages(&sets[1]));
    assert!(!response.encode().windows(3).any(|window| window == b"bob"));

    let again = Device::pseudonymous(92, 93).request(&pseudonym_uri(8), Credential::PSEUDONYMOUS);
    assert!(given(&world.claim(&again.encode().into()).await).is_empty());
    let unknown = world.claim(&asks_for_pseudonym(9)).await;
    assert_eq!((unknown.user_status, unknown.clients), (NoConsent, vec![]));
}

#[tokio::test]
async fn mm_3_a_pseudonym_is_one_users_for_good_and_the_same_upload_changes_nothing() {
    let World { follower, .. } = &World::new();
    let (bob, eve) = (user("bob"), user("eve"));
    let is = async |of: &UserUri, number| follower.is_pseudonym(of, &pseudonym_uri(number)).await.unwrap();
    for _ in 0..2 {
        follower.register_pseudonym(&bob, &pseudonym_uri(1)).await.unwrap();
    }
    assert!(is(&bob, 1).await && !is(&eve, 1).await && !is(&bob, 2).await);
    let stolen = follower.register_pseudonym(&eve, &pseudonym_uri(1)).await;
    assert!(matches!(stolen, Err(Fault::Forbidden(_))));
    for (name, elsewhere) in [("bobby", false), ("00000000-0000-4000-8000-000000000003", true)] {
        let domain = if elsewhere { "c" } else { "b" };
        let name: UserUri = format!("mimi://{domain}.example/u/{name}").parse().unwrap();
        assert!(follower.register_pseudonym(&bob, &name).await.is_err(), "{name}");
    }

    // A user may be called so.
    let named = client("00000000-0000-4000-8000-000000000004", "phone");
    let package = Device::new(&named).key_package(Last::No, DAY);
    follower.upload(&named.user(), &named, &[package]).await.unwrap();
    assert!(follower.register_pseudonym(&eve, &pseudonym_uri(4)).await.is_err());
    assert!(follower.upload_sets(&bob, &set(4)).await.is_err());

    let uploaded = set(7);
    for _ in 0..2 {
        assert_eq!(follower.upload_sets(&bob, &uploaded).await.unwrap(), 2);
    }
    assert!(is(&bob, 7).await);
    // Not under one that stands in a room already.
    assert!(follower.upload_sets(&bob, &set(1)).await.is_err());
}
