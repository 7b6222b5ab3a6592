//! Consent: what is asked, granted and revoked, and what a claim makes of it, with real KeyPackages and the store in memory.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use client::mls::{Member, RoomProfile};
use ledger::follower::{Act, Book, Noted, Profile, WhoMayAdd};
use ledger::{Chain, Digest, LedgerId, Offset, Seq};
use mimi::consent::{ConsentEntry, ConsentOperation};
use mimi::key_material::{KeyMaterialResponse, KeyMaterialUserCode};
use mimi::mls::{Credential, ExternalSender, KeyPackage, Message};
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::update::{HandshakeBundle, UpdateRequest};
use mimi::{AppDataDictionary, ClientUri, Decode as _, Encode as _, IdentifierUri, Provider, RoomUri, UserUri};
use nave_follower::limits::{
    CONSENT_PAIR_MAX, CONSENT_PROVIDER_MAX, CONSENT_REQUEST_MS, CONSENT_ROOMS_MAX, CONSENT_TURNS_MAX, CONSENT_TURNS_MS,
};
use nave_follower::{Body, Fault, Follower, Item, Saying, Scope};
use proptest::prelude::*;
use route::ShardId;
use store::Database;

fn provider(name: &str) -> Provider {
    format!("{name}.example").parse().unwrap()
}

fn room(name: &str) -> RoomUri {
    format!("mimi://a.example/r/{name}").parse().unwrap()
}

/// A user of a.example, another provider.
fn theirs(name: &str) -> UserUri {
    format!("mimi://a.example/u/{name}").parse().unwrap()
}

/// A user of b.example, whose follower it is.
fn ours(name: &str) -> UserUri {
    format!("mimi://b.example/u/{name}").parse().unwrap()
}

fn device(name: &str, device: &str) -> ClientUri {
    format!("mimi://b.example/d/{name}/{device}").parse().unwrap()
}

fn any(other: &UserUri) -> Scope {
    Scope {
        other: other.clone(),
        room: None,
    }
}

fn only(other: &UserUri, name: &str) -> Scope {
    Scope {
        other: other.clone(),
        room: Some(room(name)),
    }
}

/// The follower of b.example, whose clock is ahead of the system's by what a test says.
struct World {
    follower: Follower,
    ahead: Arc<AtomicU64>,
}

impl World {
    fn new() -> Self {
        let (system, ahead) = (Follower::system_clock(), Arc::new(AtomicU64::new(0)));
        let later = ahead.clone();
        let clock = Arc::new(move || system() + later.load(Ordering::Relaxed));
        Self {
            follower: Follower::new(provider("b"), Database::memory(), clock),
            ahead,
        }
    }

    /// With bob, who has KeyPackages waiting.
    async fn with_bob() -> (Self, Member) {
        let world = Self::new();
        let bob = Member::new(device("bob", "phone")).unwrap();
        let packages = bob.key_packages(4).unwrap();
        world
            .follower
            .upload(&ours("bob"), bob.client(), &packages)
            .await
            .unwrap();
        (world, bob)
    }

    fn wait(&self, ms: u64) {
        self.ahead.fetch_add(ms, Ordering::Relaxed);
    }

    async fn asks_for_consent(&self, name: &str) {
        let profile = Profile {
            who_may_add: WhoMayAdd::WithConsent,
            ..Profile::default()
        };
        self.follower.set_profile(&ours(name), &profile).await.unwrap();
    }

    async fn say(&self, user: &str, scope: &Scope, saying: &Saying) -> Bytes {
        self.follower.say(&ours(user), scope, saying).await.unwrap()
    }

    /// An entry of a.example.
    async fn hear(&self, entry: &Bytes) {
        self.follower.receive_consent(&provider("a"), entry).await.unwrap();
    }

    async fn book(&self, user: &str, book: Book) -> Vec<Noted> {
        let (page, last) = self.follower.consents(&ours(user), book, None).await.unwrap();
        assert_eq!(last, None);
        page
    }

    /// How a claim of bob's KeyPackages for a room ends.
    async fn claim(&self, inviter: &str, name: &str) -> KeyMaterialUserCode {
        let (_, response) = self.claimed(inviter, name).await;
        let response = KeyMaterialResponse::decode_exact(&response).unwrap();
        let given = matches!(response.user_status, KeyMaterialUserCode::Success);
        assert!(given || response.clients.is_empty());
        response.user_status
    }

    async fn claimed(&self, inviter: &str, name: &str) -> (Member, Bytes) {
        let member = founder(inviter, name);
        let request = member.key_material_request(&room(name), &ours("bob")).unwrap();
        let response = self.follower.claim(&provider("a"), &request).await.unwrap();
        (member, response)
    }
}

/// A user of a.example with a room of its own.
fn founder(inviter: &str, name: &str) -> Member {
    let credential = Credential::basic(&b"mimi://a.example"[..]);
    let signature_key = Bytes::from_static(&[9; 32]);
    let hub = ExternalSender {
        signature_key,
        credential,
    };
    let mut member = Member::new(format!("mimi://a.example/d/{inviter}/phone").parse().unwrap()).unwrap();
    member
        .create_room(&room(name), &hub.encode(), &RoomProfile::default())
        .unwrap();
    member
}

/// The entry that a.example sends.
fn entry(operation: ConsentOperation, requester: &UserUri, target: &UserUri, name: Option<&str>) -> Bytes {
    let entry = ConsentEntry {
        operation,
        requester: requester.into(),
        target: target.into(),
        room: name.map(|name| IdentifierUri::from(&room(name))),
        extensions: AppDataDictionary::default(),
    };
    entry.encode().into()
}

fn request(requester: &str, name: Option<&str>) -> Bytes {
    entry(ConsentOperation::Request, &theirs(requester), &ours("bob"), name)
}

fn cancel(requester: &str, name: Option<&str>) -> Bytes {
    entry(ConsentOperation::Cancel, &theirs(requester), &ours("bob"), name)
}

/// alice of a.example grants to bob.
fn grant(name: Option<&str>, packages: &[Bytes]) -> Bytes {
    let packages = packages.iter().map(|octets| KeyPackage::decode_exact(octets).unwrap());
    let operation = ConsentOperation::Grant(packages.collect());
    entry(operation, &ours("bob"), &theirs("alice"), name)
}

fn revoke(name: Option<&str>) -> Bytes {
    entry(ConsentOperation::Revoke, &ours("bob"), &theirs("alice"), name)
}

use KeyMaterialUserCode::{NoConsent, NoConsentForThisRoom, Success};

#[tokio::test]
async fn by_default_everybody_may_add_but_whom_the_user_has_revoked() {
    let (world, _) = World::with_bob().await;
    let alice = theirs("alice");
    assert_eq!(world.claim("alice", "club").await, Success);
    world.say("bob", &any(&alice), &Saying::Revoke).await;
    assert_eq!(world.claim("alice", "club").await, NoConsent);
    assert_eq!(world.claim("carol", "club").await, Success);
    world
        .say("bob", &only(&alice, "club"), &Saying::Grant(Vec::new()))
        .await;
    assert_eq!(world.claim("alice", "club").await, Success);
    assert_eq!(world.claim("alice", "other").await, NoConsentForThisRoom);
}

#[tokio::test]
async fn f_5_a_user_who_asks_for_consent_looks_absent_to_whom_it_gave_none() {
    let (world, _) = World::with_bob().await;
    world.asks_for_consent("bob").await;
    let (_, refused) = world.claimed("alice", "club").await;
    let (_, absent) = World::new().claimed("alice", "club").await;
    assert_eq!(refused, absent, "octet for octet");
}

#[tokio::test]
async fn f_2_consent_for_one_room_is_consent_for_no_other() {
    let (world, _) = World::with_bob().await;
    world.asks_for_consent("bob").await;
    world
        .say("bob", &only(&theirs("alice"), "club"), &Saying::Grant(Vec::new()))
        .await;
    assert_eq!(world.claim("alice", "club").await, Success);
    assert_eq!(world.claim("alice", "other").await, NoConsentForThisRoom);
    assert_eq!(world.claim("carol", "club").await, NoConsent);
}

#[tokio::test]
async fn a_user_adds_its_own_clients_without_asking_itself() {
    let (world, _) = World::with_bob().await;
    world.asks_for_consent("bob").await;
    let laptop = Member::new(device("bob", "laptop")).unwrap();
    let request = laptop.key_material_request(&room("club"), &ours("bob")).unwrap();
    let response = world.follower.claim(&provider("b"), &request).await.unwrap();
    let response = KeyMaterialResponse::decode_exact(&response).unwrap();
    assert_eq!(response.user_status, Success);
}

#[tokio::test]
async fn c_5_a_newer_revoke_of_any_room_ends_every_older_grant_and_later_claims_see_it() {
    let (world, _) = World::with_bob().await;
    world.asks_for_consent("bob").await;
    let alice = theirs("alice");
    for scope in [any(&alice), only(&alice, "club"), only(&alice, "other")] {
        world.say("bob", &scope, &Saying::Grant(Vec::new())).await;
    }
    assert_eq!(world.claim("alice", "club").await, Success);
    world.say("bob", &any(&alice), &Saying::Revoke).await;
    for name in ["club", "other", "third"] {
        assert_eq!(world.claim("alice", name).await, NoConsent, "{name}");
    }
    world
        .say("bob", &only(&alice, "club"), &Saying::Grant(Vec::new()))
        .await;
    assert_eq!(world.claim("alice", "club").await, Success);
    world.say("bob", &only(&alice, "club"), &Saying::Revoke).await;
    assert_eq!(world.claim("alice", "club").await, NoConsent);
}

#[tokio::test]
async fn f_9_a_claim_repeated_after_a_revocation_is_refused() {
    let (world, _) = World::with_bob().await;
    let request = founder("alice", "club")
        .key_material_request(&room("club"), &ours("bob"))
        .unwrap();
    let claim = async || {
        let response = world.follower.claim(&provider("a"), &request).await.unwrap();
        KeyMaterialResponse::decode_exact(&response).unwrap().user_status
    };
    assert_eq!(claim().await, Success);
    world.say("bob", &any(&theirs("alice")), &Saying::Revoke).await;
    assert_eq!(claim().await, NoConsent);
}

#[tokio::test]
async fn c_6_key_packages_of_a_grant_are_given_to_nobody_else() {
    let world = World::new();
    let bob = Member::new(device("bob", "phone")).unwrap();
    let (mut packages, fresh) = (bob.key_packages(2).unwrap(), bob.key_packages(1).unwrap());
    let upload = async |packages: &[Bytes]| {
        world
            .follower
            .upload(&ours("bob"), bob.client(), packages)
            .await
            .unwrap()
    };
    upload(&packages).await;
    // One that waits, and one that was never uploaded.
    let granted = vec![packages.remove(0), fresh[0].clone()];
    let said = world
        .say("bob", &any(&theirs("alice")), &Saying::Grant(granted.clone()))
        .await;
    let ConsentOperation::Grant(in_entry) = ConsentEntry::decode_exact(&said).unwrap().operation else {
        panic!("not a grant");
    };
    assert_eq!(
        in_entry
            .iter()
            .map(|package| package.octets().clone())
            .collect::<Vec<_>>(),
        granted
    );
    // Uploaded again they do not come back.
    assert_eq!(upload(&granted).await, 1);

    // Another grant cannot give them, the same again is the same.
    let other = world
        .follower
        .say(&ours("bob"), &any(&theirs("carol")), &Saying::Grant(granted.clone()))
        .await;
    assert!(matches!(other, Err(Fault::Malformed(_))));
    assert!(
        world
            .book("bob", Book::Given)
            .await
            .iter()
            .all(|noted| noted.other != theirs("carol"))
    );
    assert_eq!(
        world.say("bob", &any(&theirs("alice")), &Saying::Grant(granted)).await,
        said
    );
    assert_eq!(world.claim("alice", "club").await, Success);
    let (_, exhausted) = world.claimed("carol", "club").await;
    let exhausted = KeyMaterialResponse::decode_exact(&exhausted).unwrap();
    assert_eq!(exhausted.user_status, KeyMaterialUserCode::NoCompatibleMaterial);
}

#[tokio::test]
async fn s_8_the_welcome_to_a_granted_key_package_finds_its_client() {
    let world = World::new();
    let bob = Member::new(device("bob", "phone")).unwrap();
    let packages = bob.key_packages(1).unwrap();
    world
        .say("bob", &any(&theirs("alice")), &Saying::Grant(packages.clone()))
        .await;
    let mut alice = founder("alice", "club");
    let commit = alice.add_user(&room("club"), &ours("bob"), 2, &packages).unwrap();
    let HandshakeBundle::Commit {
        welcome, ratchet_tree, ..
    } = UpdateRequest::decode_exact(&commit).unwrap().bundle
    else {
        panic!("not a commit");
    };
    let message = Message::from_welcome(welcome.unwrap());
    let content = FanoutContent::Welcome { message, ratchet_tree };
    let octets = Bytes::from(FanoutMessage { timestamp: 1, content }.encode());
    let (mut events, _) = world.follower.open(bob.client().clone()).await.unwrap();
    let item = Item {
        offset: Offset(1),
        room: room("club"),
        seq: Seq(1),
        previous: Seq(0),
        chain: Chain::default().then(Seq(1), &Digest::of(&octets)),
        body: Body::Message(octets.clone()),
    };
    world
        .follower
        .deliver(&provider("a"), LedgerId([7; 16]), ShardId(3), &[item])
        .await
        .unwrap();
    let event = events.recv().await.unwrap().unwrap();
    assert_eq!((event.message, event.key_package_refs.len()), (octets, 1));
}

#[tokio::test]
async fn a_grant_with_a_key_package_of_another_or_a_broken_one_says_nothing() {
    let (world, bob) = World::with_bob().await;
    let eve = Member::new(device("eve", "phone")).unwrap();
    let mut broken = bob.key_packages(1).unwrap()[0].to_vec();
    *broken.last_mut().unwrap() ^= 1;
    let good = bob.key_packages(1).unwrap().remove(0);
    for bad in [eve.key_packages(1).unwrap().remove(0), broken.into(), good.clone()] {
        // The last one is given twice in one grant.
        let saying = Saying::Grant(vec![good.clone(), bad]);
        let said = world.follower.say(&ours("bob"), &any(&theirs("alice")), &saying).await;
        assert!(
            matches!(said, Err(Fault::Malformed(_) | Fault::Forbidden(_))),
            "{said:?}"
        );
    }
    assert!(world.book("bob", Book::Given).await.is_empty());
    let saying = Saying::Grant(vec![good]);
    assert!(
        world
            .follower
            .say(&ours("bob"), &any(&theirs("alice")), &saying)
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn c_3_a_request_stands_until_it_is_cancelled_in_its_very_scope_or_answered() {
    let (world, _) = World::with_bob().await;
    let asked = async || {
        let asked = world.book("bob", Book::Asked).await;
        asked.iter().map(|noted| noted.room.clone()).collect::<Vec<_>>()
    };
    for scope in [None, Some("club"), Some("other")] {
        world.hear(&request("alice", scope)).await;
    }
    let (club, other) = (Some(room("club")), Some(room("other")));
    assert_eq!(asked().await, [None, club.clone(), other.clone()]);
    // Cancelled by another, for another room, and at last as it was asked.
    world.hear(&cancel("carol", None)).await;
    world.hear(&cancel("alice", Some("third"))).await;
    assert_eq!(asked().await.len(), 3);
    world.hear(&cancel("alice", None)).await;
    assert_eq!(asked().await, [club, other.clone()]);
    world
        .say("bob", &only(&theirs("alice"), "club"), &Saying::Grant(Vec::new()))
        .await;
    assert_eq!(asked().await, [other]);
    world.say("bob", &any(&theirs("alice")), &Saying::Revoke).await;
    assert_eq!(asked().await, []);
}

#[tokio::test]
async fn c_4_c_7_nobody_learns_whether_a_user_is_there_or_refuses() {
    let (world, _) = World::with_bob().await;
    let nobody = entry(ConsentOperation::Request, &theirs("alice"), &ours("nobody"), None);
    world.hear(&nobody).await;
    assert!(world.book("nobody", Book::Asked).await.is_empty(), "kept for nobody");
    world.say("bob", &any(&theirs("alice")), &Saying::Revoke).await;
    world.hear(&request("alice", None)).await;
    world.hear(&request("alice", Some("club"))).await;
    assert!(world.book("bob", Book::Asked).await.is_empty(), "asked again at once");
    world.wait(CONSENT_REQUEST_MS + 1);
    world.hear(&request("alice", None)).await;
    assert_eq!(world.book("bob", Book::Asked).await.len(), 1);
}

#[tokio::test]
async fn c_8_requests_expire_after_90_days_and_repeats_do_not_prolong_them() {
    assert_eq!(CONSENT_REQUEST_MS, 90 * 86_400_000);
    let (world, _) = World::with_bob().await;
    world.hear(&request("alice", None)).await;
    let first = world.book("bob", Book::Asked).await;
    world.wait(CONSENT_REQUEST_MS / 2);
    world.hear(&request("alice", None)).await;
    assert_eq!(world.book("bob", Book::Asked).await, first, "a repeat has no effect");
    world.wait(CONSENT_REQUEST_MS / 2 + 1_000);
    assert!(world.book("bob", Book::Asked).await.is_empty());
    world.hear(&request("alice", None)).await;
    assert_eq!(world.book("bob", Book::Asked).await.len(), 1, "asked anew");
}

#[tokio::test]
async fn c_8_who_floods_a_book_loses_only_what_is_its_own() {
    let (world, _) = World::with_bob().await;
    let carol = entry(
        ConsentOperation::Request,
        &"mimi://c.example/u/carol".parse().unwrap(),
        &ours("bob"),
        None,
    );
    world.follower.receive_consent(&provider("c"), &carol).await.unwrap();
    for n in 0..2 * CONSENT_PAIR_MAX {
        world.wait(1);
        world.hear(&request("alice", Some(&format!("room{n}")))).await;
    }
    let asked = world.book("bob", Book::Asked).await;
    let newest = room(&format!("room{}", 2 * CONSENT_PAIR_MAX - 1));
    assert_eq!(asked.len(), CONSENT_PAIR_MAX + 1);
    assert!(asked.iter().any(|noted| noted.room.as_ref() == Some(&newest)));
    for n in 0..2 * CONSENT_PROVIDER_MAX {
        world.hear(&request(&format!("sock{n}"), None)).await;
    }
    let page = async |after: Option<Scope>| {
        let page = world.follower.consents(&ours("bob"), Book::Asked, after.as_ref()).await;
        page.unwrap()
    };
    let (mut asked, last) = page(None).await;
    let (rest, end) = page(last).await;
    assert_eq!(end, None);
    asked.extend(rest);
    assert_eq!(asked.len(), CONSENT_PROVIDER_MAX + 1);
    assert!(asked.iter().any(|noted| noted.other.provider() == &provider("c")));
}

#[tokio::test]
async fn c_8_one_user_changes_anothers_books_so_often_a_day() {
    let (world, _) = World::with_bob().await;
    for _ in 0..CONSENT_TURNS_MAX / 2 {
        world.hear(&request("alice", None)).await;
        world.hear(&cancel("alice", None)).await;
    }
    world.hear(&request("alice", None)).await;
    assert!(world.book("bob", Book::Asked).await.is_empty());
    world.wait(CONSENT_TURNS_MS + 1_000);
    world.hear(&request("alice", None)).await;
    assert_eq!(world.book("bob", Book::Asked).await.len(), 1);
}

#[tokio::test]
async fn a_received_grant_is_shown_and_its_key_packages_taken_once() {
    let (world, _) = World::with_bob().await;
    let alice = Member::new("mimi://a.example/d/alice/phone".parse().unwrap()).unwrap();
    let packages = alice.key_packages(2).unwrap();
    world.say("bob", &any(&theirs("alice")), &Saying::Request).await;
    assert_eq!(world.book("bob", Book::Sent).await.len(), 1);
    let granted = grant(None, &packages);
    world.hear(&granted).await;
    let received = world.book("bob", Book::Received).await;
    assert_eq!((received[0].act, received[0].key_packages), (Act::Grant, 2));
    assert!(world.book("bob", Book::Sent).await.is_empty(), "it is answered");

    let take = async || {
        let (user, scope) = (ours("bob"), any(&theirs("alice")));
        world.follower.take_granted(&user, &scope).await.unwrap()
    };
    assert_eq!(take().await, packages);
    world.hear(&granted).await;
    assert_eq!(take().await, Vec::<Bytes>::new(), "a repeat brings nothing back");
    assert_eq!(world.book("bob", Book::Received).await[0].key_packages, 0);

    world.hear(&grant(Some("club"), &alice.key_packages(1).unwrap())).await;
    world.hear(&revoke(None)).await;
    let received = world.book("bob", Book::Received).await;
    assert_eq!((received.len(), received[0].act), (1, Act::Revoke));
    let club = only(&theirs("alice"), "club");
    assert!(
        world
            .follower
            .take_granted(&ours("bob"), &club)
            .await
            .unwrap()
            .is_empty()
    );
}

#[tokio::test]
async fn c_2_a_grant_with_anothers_key_package_or_in_anothers_name_is_refused() {
    let (world, bob) = World::with_bob().await;
    let foreign = grant(None, &bob.key_packages(1).unwrap());
    let heard = world.follower.receive_consent(&provider("a"), &foreign).await;
    assert!(matches!(heard, Err(Fault::Malformed(_))));
    let not_ours = entry(ConsentOperation::Request, &theirs("alice"), &theirs("carol"), None);
    for (source, entry) in [("c", request("alice", None)), ("c", grant(None, &[])), ("a", not_ours)] {
        let heard = world.follower.receive_consent(&provider(source), &entry).await;
        assert!(matches!(heard, Err(Fault::Forbidden(_))), "{source}");
    }
    assert!(world.book("bob", Book::Received).await.is_empty());
}

#[tokio::test]
async fn c_3_a_user_takes_back_only_what_it_asked() {
    let (world, _) = World::with_bob().await;
    let alice = theirs("alice");
    let say = async |scope: &Scope, saying: &Saying| world.follower.say(&ours("bob"), scope, saying).await;
    assert!(matches!(
        say(&any(&alice), &Saying::Cancel).await,
        Err(Fault::Absent(_))
    ));
    say(&any(&alice), &Saying::Request).await.unwrap();
    assert!(matches!(
        say(&only(&alice, "club"), &Saying::Cancel).await,
        Err(Fault::Absent(_))
    ));
    let cancelled = say(&any(&alice), &Saying::Cancel).await.unwrap();
    assert_eq!(
        say(&any(&alice), &Saying::Cancel).await.unwrap(),
        cancelled,
        "said again"
    );
    assert_eq!(world.book("bob", Book::Sent).await[0].act, Act::Cancel);
}

#[tokio::test]
async fn what_a_user_says_is_bounded_but_a_revocation_of_any_room() {
    let (world, _) = World::with_bob().await;
    let alice = theirs("alice");
    let say = async |scope: &Scope, saying: &Saying| world.follower.say(&ours("bob"), scope, saying).await;
    for n in 0..CONSENT_ROOMS_MAX {
        let scope = only(&alice, &format!("room{n}"));
        say(&scope, &Saying::Grant(Vec::new())).await.unwrap();
    }
    let one_more = only(&alice, "one-more");
    assert!(matches!(say(&one_more, &Saying::Revoke).await, Err(Fault::TooMuch(_))));
    say(&any(&alice), &Saying::Revoke).await.unwrap();
    assert_eq!(world.book("bob", Book::Given).await.len(), 1);
    for n in 0..CONSENT_PAIR_MAX {
        say(&only(&alice, &format!("room{n}")), &Saying::Request).await.unwrap();
    }
    assert!(matches!(say(&one_more, &Saying::Request).await, Err(Fault::TooMuch(_))));
    for (user, scope) in [(ours("bob"), any(&ours("bob"))), (theirs("alice"), any(&ours("bob")))] {
        assert!(world.follower.say(&user, &scope, &Saying::Request).await.is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn entries_from_outside_never_panic(octets in prop::collection::vec(prop::num::u8::ANY, 0..300), cut in 0..200_usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::new();
            let mut near = request("alice", Some("club")).to_vec();
            near.truncate(cut);
            near.extend_from_slice(&octets[..octets.len() / 16]);
            for body in [Bytes::from(octets), Bytes::from(near)] {
                let _ = world.follower.receive_consent(&provider("a"), &body).await;
            }
        });
    }
}
