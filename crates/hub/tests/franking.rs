//! Franking and reports of abuse with the hub's real keys, a real room and real clients.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use client::mls::{CIPHERSUITES, Franked, Member, Message, ORDINARY, Received, RoomProfile};
use hub::frank::{FrankingError, FrankingOptions};
use hub::keys::HubKeys;
use hub::report::Verdict;
use ledger::{Ledger, LedgerId};
use mimi::abuse::{AbuseReport, AbusiveMessage};
use mimi::codec::{Decode as _, Encode as _, Reader, Writer};
use mimi::content::NestedPart;
use mimi::franking::FrankAad;
use mimi::mls::Message as MlsMessage;
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::{Frank, SubmitMessageRequest, SubmitMessageResponse, SubmitOutcome};
use mimi::{IdentifierUri, Provider, RoomUri};
use room::command::ReportGrant;
use room::{Answer, Command, Decision, Entry, Founding, Keys, Millis, NoKeys, Refusal, Reply, Room, Row, RowId};
use route::Shards;
use store::Database;

const NOW: Millis = Millis(1_764_000_000_000);
const DAY: u64 = 24 * 60 * 60 * 1_000;

fn id() -> RoomUri {
    "mimi://a.example/r/clubhouse".parse().unwrap()
}

fn provider(domain: &str) -> Provider {
    domain.parse().unwrap()
}

fn member(path: &str) -> Member {
    Member::new(format!("mimi://{path}").parse().unwrap()).unwrap()
}

async fn ledger() -> Ledger {
    let founding = ledger::Founding {
        id: LedgerId([1; 16]),
        shards: Shards::new(1, [0; 16]).unwrap(),
    };
    Ledger::open(Database::memory(), founding).await.unwrap()
}

/// Keys of a.example that have read the franking keys.
async fn keys(ledger: &Ledger) -> HubKeys {
    let keys = HubKeys::generate(provider("a.example")).unwrap();
    keys.refresh_franking(ledger, NOW, &FrankingOptions::default())
        .await
        .unwrap();
    keys
}

fn founding(alice: &mut Member, keys: &HubKeys, profile: &RoomProfile) -> Founding {
    let sender = keys.external_sender(profile.suite.into()).unwrap().encode();
    let founding = alice.create_room(&id(), &sender, profile).unwrap();
    Founding {
        from: provider("a.example"),
        group_info: founding.group_info,
        ratchet_tree: founding.ratchet_tree,
    }
}

/// A room, its hub's keys, and what it keeps.
struct House {
    room: Room,
    keys: HubKeys,
    rows: BTreeMap<RowId, Row>,
    log: Vec<Entry>,
    now: Millis,
}

impl House {
    /// Alice of a.example and Bob of b.example in a room.
    async fn new(profile: &RoomProfile) -> (Self, Member, Member) {
        let keys = keys(&ledger().await).await;
        let mut alice = member("a.example/d/alice/phone");
        let founding = founding(&mut alice, &keys, profile);
        let (room, applied) = Room::found(id(), founding, NOW, &keys).unwrap();
        let mut house = Self {
            room,
            keys,
            rows: BTreeMap::new(),
            log: Vec::new(),
            now: NOW,
        };
        house.keep(applied);
        let mut bob = member("b.example/d/bob/phone");
        let (user, packages) = if profile.minimal_metadata {
            let (invitation, pseudonym) = (alice.invitation(&id()).unwrap(), bob.new_pseudonym().unwrap());
            let package = bob.pseudonymous_key_package(&invitation, &pseudonym).unwrap();
            (pseudonym, vec![package])
        } else {
            (bob.user(), bob.key_packages_in(profile.suite, 1).unwrap())
        };
        let add = alice.add_user(&id(), &user, ORDINARY, &packages).unwrap();
        house.handshake(&mut alice, add);
        let joined = house.bring(&mut bob, 0);
        assert!(matches!(joined[..], [Received::NotForMe, Received::Joined { .. }]));
        (house, alice, bob)
    }

    fn keep(&mut self, applied: room::Applied) -> Answer {
        self.log.extend(applied.entries);
        for change in applied.rows {
            match change.row {
                Some(row) => self.rows.insert(change.id, row),
                None => self.rows.remove(&change.id),
            };
        }
        applied.answer
    }

    fn ask(&mut self, command: &Command) -> Result<Answer, Refusal> {
        self.now.0 += 1;
        match self.room.decide(command, self.now, &self.keys)? {
            Decision::Answer(answer) => Ok(answer),
            Decision::Append(append) => {
                let applied = self.room.apply(*append, &self.keys);
                Ok(self.keep(applied))
            }
        }
    }

    fn handshake(&mut self, member: &mut Member, body: Bytes) {
        let from = member.client().provider().clone();
        let answer = self.ask(&Command::Update { from, body }).unwrap();
        member.on_answer(&id(), answer.body().unwrap()).unwrap();
    }

    /// What a submitted message is answered: its time and its frank.
    fn submit(&mut self, from: &str, body: &Bytes) -> (u64, Option<Frank>) {
        let answer = self.ask(&submit(from, body)).unwrap();
        match SubmitMessageResponse::decode_exact(answer.body().unwrap())
            .unwrap()
            .outcome
        {
            SubmitOutcome::Accepted {
                accepted_timestamp,
                frank,
            } => (accepted_timestamp, frank),
            other => panic!("{other:?}"),
        }
    }

    /// The last entry, as it is fanned out.
    fn last(&self) -> (u64, Option<Frank>) {
        let fanout = FanoutMessage::decode_exact(&self.log.last().unwrap().message).unwrap();
        let FanoutContent::Application { frank, .. } = fanout.content else {
            panic!("not a message")
        };
        (fanout.timestamp, frank)
    }

    /// Brings a member the entries from one on.
    fn bring(&self, member: &mut Member, from: usize) -> Vec<Received> {
        let fanout = |entry: &Entry| FanoutMessage::decode_exact(&entry.message).unwrap();
        let entries = self.log[from..].iter();
        entries
            .map(|entry| member.receive(&id(), &fanout(entry)).unwrap())
            .collect()
    }

    /// What Alice says, as Bob receives it.
    fn said(&mut self, alice: &mut Member, bob: &mut Member, text: &str) -> Message {
        let content = alice.compose(&id(), NestedPart::text(text)).unwrap();
        let request = alice.send_content(&id(), &content).unwrap().request;
        self.submit("a.example", &request);
        let from = self.log.len() - 1;
        match self.bring(bob, from).pop() {
            Some(Received::Message(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    fn report(&mut self, from: &str, body: &Bytes) -> Result<ReportGrant, Refusal> {
        match self.ask(&report(from, body))? {
            Answer::Report(grant) => Ok(*grant),
            other => panic!("{other:?}"),
        }
    }

    fn judge(&self, grant: &ReportGrant) -> Vec<Verdict> {
        let accused = &grant.report.alleged_abuser;
        let judge = |message| self.keys.judge_report(&id(), accused, grant.framed, message);
        grant.report.messages.iter().map(judge).collect()
    }
}

fn submit(from: &str, body: &Bytes) -> Command {
    Command::Submit {
        from: provider(from),
        body: body.clone(),
    }
}

fn report(from: &str, body: &Bytes) -> Command {
    Command::ReportAbuse {
        from: provider(from),
        body: body.clone(),
    }
}

#[track_caller]
fn not_allowed<T: std::fmt::Debug>(result: Result<T, Refusal>, why: &str) {
    match result {
        Err(Refusal::NotAllowed(reason)) => assert!(reason.contains(why), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn k_1_k_2_k_3_k_5_messages_are_franked_in_rooms_of_each_suite_and_verify_at_their_receivers() {
    for suite in CIPHERSUITES {
        let profile = RoomProfile {
            suite,
            ..RoomProfile::default()
        };
        let (mut house, mut alice, mut bob) = House::new(&profile).await;
        for text in ["before a commit", "after it"] {
            let message = house.said(&mut alice, &mut bob, text);
            assert_eq!(message.franked, Franked::Verified, "{suite}");
            let (at, frank) = house.last();
            assert_eq!(message.accepted, at);
            assert_eq!(frank.unwrap().franking_signature_ciphersuite, u16::from(suite));
            let entry = &house.log.last().unwrap().message;
            let name = alice.user();
            let mut windows = entry.windows(name.as_str().len());
            assert!(
                !windows.any(|window| window == name.as_str().as_bytes()),
                "the sender is not told"
            );

            let commit = alice.self_update(&id()).unwrap();
            house.handshake(&mut alice, commit);
            house.bring(&mut bob, house.log.len() - 1);
        }
    }
}

#[tokio::test]
async fn h_35_k_3_a_message_sent_again_gets_the_same_frank_though_its_signature_is_random() {
    let profile = RoomProfile {
        suite: CIPHERSUITES[1],
        ..RoomProfile::default()
    };
    let (mut house, mut alice, _) = House::new(&profile).await;
    let content = alice.compose(&id(), NestedPart::text("hello")).unwrap();
    let request = alice.send_content(&id(), &content).unwrap().request;
    let first = house.submit("a.example", &request);
    assert!(first.1.is_some());
    assert_eq!(house.last(), first, "answered as it is fanned out");
    let entries = house.log.len();
    assert_eq!(house.submit("a.example", &request), first);
    house.room = Room::open(id(), house.rows.clone()).unwrap();
    assert_eq!(house.submit("a.example", &request), first);
    assert_eq!(house.log.len(), entries);
}

#[tokio::test]
async fn k_8_a_message_without_a_tag_is_accepted_and_not_franked() {
    let (mut house, mut alice, mut bob) = House::new(&RoomProfile::default()).await;
    let request = alice.send(&id(), b"untagged").unwrap();
    assert_eq!(house.submit("a.example", &request).1, None);
    assert_eq!(house.last().1, None);
    let received = house.bring(&mut bob, house.log.len() - 1);
    assert!(matches!(&received[..], [Received::Message(message)] if message.franked == Franked::Absent));
}

/// The request with a franking tag, which the sender did not put there.
fn tagged(request: &Bytes) -> Bytes {
    let request = SubmitMessageRequest::decode_exact(request).unwrap();
    let mut reader = Reader::new(request.app_message.octets());
    let mut writer = Writer::default();
    writer.raw(&reader.array::<4>().unwrap());
    writer.opaque(reader.opaque().unwrap());
    writer.raw(&reader.array::<9>().unwrap());
    reader.opaque().unwrap();
    writer.opaque(&FrankAad { franking_tag: [7; 32] }.authenticated_data());
    writer.opaque(reader.opaque().unwrap());
    writer.opaque(reader.opaque().unwrap());
    let request = SubmitMessageRequest {
        app_message: MlsMessage::decode_exact(&writer.into_octets()).unwrap(),
        ..request
    };
    request.encode().into()
}

#[tokio::test]
async fn k_1_a_tag_in_a_room_without_an_agent_is_not_franked() {
    let franked = RoomProfile::default();
    let unfranked = RoomProfile {
        franked: false,
        ..franked.clone()
    };
    for (profile, is_franked) in [(franked, true), (unfranked, false)] {
        let (mut house, mut alice, _) = House::new(&profile).await;
        let request = tagged(&alice.send(&id(), b"hello").unwrap());
        assert_eq!(house.submit("a.example", &request).1.is_some(), is_franked);
    }
}

#[tokio::test]
async fn k_1_k_7_a_room_is_founded_with_nobody_but_its_hub_as_franking_agent() {
    let ledger = ledger().await;
    let ours = keys(&ledger).await;
    let found = |of: &HubKeys, at: &dyn Keys| {
        let founding = founding(&mut member("a.example/d/alice/phone"), of, &RoomProfile::default());
        Room::found(id(), founding, NOW, at).map(drop)
    };
    assert_eq!(found(&ours, &ours), Ok(()));
    let former = HubKeys::generate(provider("a.example")).unwrap();
    not_allowed(found(&former, &ours), "key that is not this hub");
    let stranger = HubKeys::generate(provider("b.example")).unwrap();
    not_allowed(found(&stranger, &ours), "agent that is not this hub");
    not_allowed(found(&ours, &NoKeys), "does not frank");
}

#[tokio::test]
async fn k_4_nodes_of_a_hub_share_the_keys_of_each_interval_and_nobody_else_reads_them() {
    let ledger = ledger().await;
    let one = keys(&ledger).await;
    let other = HubKeys::from_octets(provider("a.example"), &one.to_octets()).unwrap();
    let options = FrankingOptions::default();
    other
        .refresh_franking(&ledger, Millis(NOW.0 + 1), &options)
        .await
        .unwrap();
    let context = |at| mimi::franking::ServerFrankingContext {
        sender_uri: IdentifierUri(Bytes::from_static(b"mimi://b.example/u/bob")),
        room_uri: (&id()).into(),
        accepted_timestamp: at,
    };
    let frank = |keys: &HubKeys, at| keys.frank(1, &[7; 32], &context(at)).map(|frank| frank.server_frank);
    // The interval after this one is there as well: a node that reads late has it in time.
    for at in [NOW.0, NOW.0 + 8 * DAY] {
        assert!(frank(&one, at).is_some());
        assert_eq!(frank(&one, at), frank(&other, at));
    }
    assert_eq!(frank(&one, NOW.0 + 365 * DAY), None, "a time whose key nobody made yet");
    let stranger = HubKeys::generate(provider("a.example")).unwrap();
    let refused = stranger.refresh_franking(&ledger, NOW, &options).await;
    assert!(matches!(refused, Err(FrankingError::Sealed)), "{refused:?}");
    assert_eq!(frank(&stranger, NOW.0), None);
}

#[tokio::test]
async fn r_2_r_3_each_message_of_a_report_is_judged_for_itself() {
    let (mut house, mut alice, mut bob) = House::new(&RoomProfile::default()).await;
    let message = house.said(&mut alice, &mut bob, "something bad");
    let body = bob.report(&id(), &[message], 0, "look").unwrap();
    let mut grant = house.report("b.example", &body).unwrap();
    assert!(grant.framed);
    assert_eq!(house.judge(&grant), [Verdict::Valid]);

    let good = grant.report.messages[0].clone();
    let with = |change: &dyn Fn(&mut AbusiveMessage)| {
        let mut message = good.clone();
        change(&mut message);
        message
    };
    let altered = |octets: &Bytes| {
        let mut octets = octets.to_vec();
        *octets.last_mut().unwrap() ^= 1;
        Bytes::from(octets)
    };
    grant.report.messages = vec![
        good.clone(),
        with(&|message| message.message_content = altered(&message.message_content)),
        with(&|message| message.accepted_timestamp += 1),
        with(&|message| message.frank.server_frank[31] ^= 1),
        with(&|message| {
            message.frank.franking_integrity_signature = altered(&message.frank.franking_integrity_signature);
        }),
        with(&|message| message.frank.franking_signature_ciphersuite = 3),
        with(&|message| message.frank.franking_signature_ciphersuite = 0x7777),
        with(&|message| message.message_content = Bytes::from_static(b"no content")),
        with(&|message| message.accepted_timestamp = 1),
    ];
    let verdicts = house.judge(&grant);
    let kinds: Vec<u8> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Valid => b'v',
            Verdict::Invalid(_) => b'i',
            Verdict::Unverifiable(_) => b'u',
        })
        .collect();
    assert_eq!(String::from_utf8(kinds).unwrap(), "viiiiiuuu", "{verdicts:?}");

    grant.report.messages.truncate(1);
    grant.report.alleged_abuser = (&bob.user()).into();
    assert_eq!(house.judge(&grant), [Verdict::Invalid("a message of another sender")]);
    let elsewhere = "mimi://a.example/r/other".parse().unwrap();
    let accused = (&alice.user()).into();
    let verdict = house.keys.judge_report(&elsewhere, &accused, true, &good);
    assert_eq!(verdict, Verdict::Invalid("a message of another room"));
}

#[tokio::test]
async fn r_2_content_is_found_framed_or_not() {
    for framed in [true, false] {
        let profile = RoomProfile {
            framed,
            ..RoomProfile::default()
        };
        let (mut house, mut alice, mut bob) = House::new(&profile).await;
        let message = house.said(&mut alice, &mut bob, "something bad");
        let body = bob.report(&id(), &[message], 0, "").unwrap();
        let mut grant = house.report("b.example", &body).unwrap();
        assert_eq!(grant.framed, framed);
        assert_eq!(house.judge(&grant), [Verdict::Valid]);
        // A message from before the room framed.
        grant.framed = true;
        assert_eq!(house.judge(&grant), [Verdict::Valid]);
    }
}

#[tokio::test]
async fn k_4_r_2_when_its_key_is_gone_nobody_can_prove_a_message_any_more() {
    let ledger = ledger().await;
    let (mut house, mut alice, mut bob) = House::new(&RoomProfile::default()).await;
    let options = FrankingOptions::default();
    house.keys.refresh_franking(&ledger, NOW, &options).await.unwrap();
    let message = house.said(&mut alice, &mut bob, "something bad");
    let body = bob.report(&id(), &[message], 0, "").unwrap();
    let grant = house.report("b.example", &body).unwrap();
    for (days, verdict) in [
        (1, Verdict::Valid),
        (30, Verdict::Valid),
        (90, Verdict::Valid),
        (98, Verdict::Unverifiable("the franking key of that time is gone")),
    ] {
        let now = Millis(NOW.0 + days * DAY);
        house.keys.refresh_franking(&ledger, now, &options).await.unwrap();
        assert_eq!(house.judge(&grant), [verdict], "after {days} days");
    }
    // The hub goes on franking meanwhile.
    house.now = Millis(NOW.0 + 98 * DAY);
    assert_eq!(house.said(&mut alice, &mut bob, "later").franked, Franked::Verified);
}

#[tokio::test]
async fn k_4_an_interval_is_an_hour_at_least() {
    let ledger = ledger().await;
    let keys = HubKeys::generate(provider("a.example")).unwrap();
    let options = FrankingOptions {
        rotation: Duration::ZERO,
        retention: Duration::ZERO,
    };
    for hour in 0..48 {
        let now = Millis(NOW.0 + hour * 60 * 60 * 1_000);
        keys.refresh_franking(&ledger, now, &options).await.unwrap();
    }
    let rows = ledger.database().begin();
    let rows = ledger::intervals::Intervals(&mut { rows }).all().await.unwrap();
    assert!(rows.len() <= 4, "{}", rows.len());
    for row in &rows {
        assert_eq!(row.end.0 - row.begin.0, 60 * 60 * 1_000);
    }
}

#[tokio::test]
async fn r_4_a_report_is_taken_from_participants_who_may_report_and_from_nobody_by_name() {
    let (mut house, mut alice, mut bob) = House::new(&RoomProfile::default()).await;
    let message = house.said(&mut alice, &mut bob, "something bad");
    let body = bob.report(&id(), &[message], 0, "look").unwrap();
    let good = AbuseReport::decode_exact(&body).unwrap();
    let by = |reporter: &str, note: &'static [u8]| -> Bytes {
        let report = AbuseReport {
            reporting_user: IdentifierUri(Bytes::copy_from_slice(reporter.as_bytes())),
            note: Bytes::from_static(note),
            ..good.clone()
        };
        report.encode().into()
    };
    house.report("b.example", &body).unwrap();
    house.report("b.example", &by("", b"")).unwrap();
    let refused = house.report("a.example", &body);
    assert!(matches!(refused, Err(Refusal::Forbidden(_))), "{refused:?}");
    not_allowed(
        house.report("b.example", &by("mimi://b.example/u/stranger", b"")),
        "reporting abuse",
    );
    not_allowed(
        house.report("c.example", &by("", b"")),
        "a provider without participants",
    );
    for malformed in [by("", b"\xff"), by("nobody", b""), Bytes::from_static(b"report")] {
        let refused = house.report("b.example", &malformed);
        assert!(matches!(refused, Err(Refusal::Malformed(_))), "{refused:?}");
    }
    let nobody = AbuseReport {
        alleged_abuser: IdentifierUri::default(),
        ..good
    };
    let refused = house.report("b.example", &nobody.encode().into());
    assert!(matches!(refused, Err(Refusal::Malformed(_))), "{refused:?}");
}

#[test]
fn r_1_whoever_may_not_report_is_not_told_why() {
    let command = report("b.example", &Bytes::new());
    let told: Vec<Reply> = ["not a participant", "reporting abuse"]
        .map(|why| Refusal::NotAllowed(why).reply(&id(), &command))
        .into();
    assert_eq!(told[0], told[1]);
    assert!(matches!(told[0], Reply::Status(403, _)));
}

#[tokio::test]
async fn mm_4_in_a_room_of_pseudonyms_the_hub_franks_and_judges_pseudonyms() {
    let profile = RoomProfile {
        minimal_metadata: true,
        ..RoomProfile::default()
    };
    let (mut house, mut alice, mut bob) = House::new(&profile).await;
    let message = house.said(&mut alice, &mut bob, "something bad");
    assert_eq!(message.franked, Franked::Verified);
    assert_eq!(message.sender.user(), alice.user_in(&id()));
    let body = bob.report(&id(), &[message], 0, "").unwrap();
    let grant = house.report("b.example", &body).unwrap();
    assert_eq!(grant.report.alleged_abuser.user(), Ok(alice.user_in(&id())));
    assert_eq!(house.judge(&grant), [Verdict::Valid]);
    // By her real name, nobody in the room said it.
    let mut unveiled = grant;
    unveiled.report.alleged_abuser = (&alice.user()).into();
    assert!(matches!(house.judge(&unveiled)[..], [Verdict::Invalid(_)]));
    let real = AbuseReport {
        reporting_user: (&bob.user()).into(),
        ..AbuseReport::decode_exact(&body).unwrap()
    };
    let refused = house.report("b.example", &real.encode().into());
    assert!(refused.is_err(), "a reporter whom the room does not know by this name");
    // Nor does the hub take a message in a real name.
    let content = alice.compose(&id(), NestedPart::text("x")).unwrap();
    let request = alice.send_content(&id(), &content).unwrap().request;
    let named = SubmitMessageRequest {
        sending_uri: (&alice.user()).into(),
        ..SubmitMessageRequest::decode_exact(&request).unwrap()
    };
    not_allowed(house.ask(&submit("a.example", &named.encode().into())), "participant");
}
