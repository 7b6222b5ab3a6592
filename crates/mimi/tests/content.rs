//! Every example of the content draft and of the status draft decodes, encodes back, has the id printed with it, and is
//! what the composer makes of its meaning.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use mimi::content::{
    Disposition, Expiration, ExternalPart, Key, MessageDerivedValues, MessageId, MessageStatusReport, MimiContent,
    NestedPart, Part, PartSemantics, PerMessageStatus, Salt, Status, Timestamp, Value, html_mention, markdown_mention,
    reply_chain_loops,
};
use mimi::uri::{RoomUri, UserUri};
use mimi::{Decode, Encode};

fn vector(name: &str) -> Vec<u8> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/mimi-content");
    fs::read(directory.join(name)).unwrap()
}

fn ids() -> BTreeMap<String, String> {
    serde_json::from_slice(&vector("message-ids.json")).unwrap()
}

fn id(name: &str) -> MessageId {
    let octets = hex::decode(&ids()[name]).unwrap();
    MessageId::from_octets(octets.try_into().unwrap()).unwrap()
}

fn example(name: &str) -> MimiContent {
    MimiContent::decode_exact(&vector(&format!("{name}.cbor"))).unwrap()
}

fn user(name: &str) -> UserUri {
    format!("mimi://example.com/u/{name}").parse().unwrap()
}

fn room() -> RoomUri {
    "mimi://example.com/r/engineering_team".parse().unwrap()
}

fn salt(hex: &str) -> Salt {
    Salt(hex::decode(hex).unwrap().try_into().unwrap())
}

fn octets(hex: &str) -> Bytes {
    hex::decode(hex).unwrap().into()
}

fn from_alice(salt_hex: &str, body: NestedPart) -> MimiContent {
    MimiContent::new(salt(salt_hex), &user("alice-smith"), &room(), body)
}

fn from_bob(salt_hex: &str, body: NestedPart) -> MimiContent {
    MimiContent::new(salt(salt_hex), &user("bob-jones"), &room(), body)
}

fn from_cathy(salt_hex: &str, body: NestedPart) -> MimiContent {
    MimiContent::new(salt(salt_hex), &user("cathy-washington"), &room(), body)
}

/// The composer's message is the example, octet by octet.
fn is(name: &str, composed: &MimiContent) {
    let expected = vector(&format!("{name}.cbor"));
    assert_eq!(hex::encode(composed.seal().unwrap()), hex::encode(expected), "{name}");
}

#[test]
fn ce_4_every_example_decodes_encodes_back_and_has_its_message_id() {
    let ids = ids();
    assert_eq!(ids.len(), 14);
    for (name, expected) in ids {
        let received = vector(&format!("{name}.cbor"));
        let content = MimiContent::decode_exact(&received).unwrap();
        assert_eq!(hex::encode(content.encode()), hex::encode(&received), "{name}");
        let sender: UserUri = content.extensions.sender_uri().unwrap().parse().unwrap();
        let room: RoomUri = content.extensions.room_uri().unwrap().parse().unwrap();
        let id = MessageId::of(&sender, &room, &received, &content.salt);
        assert_eq!(id.to_string(), expected, "{name}");
        assert_eq!(content.message_id(&sender, &room), id, "{name}");
    }
}

#[test]
fn text_replies_and_mentions_are_composed() {
    let text = "Hi everyone, we just shipped release 2.0. __Good  work__!";
    is(
        "original",
        &from_alice("5eed9406c2545547ab6f09f20a18b003", NestedPart::markdown(text)),
    );

    let reply = NestedPart::markdown("Right on! _Congratulations_ 'all!");
    let reply = from_bob("11a458c73b8dd2cf404db4b378b8fe4d", reply);
    is("reply", &reply.replying_to(id("original")));

    let mention = markdown_mention("Alice Smith", &user("alice-smith"));
    let text = NestedPart::markdown(format!("Kudos to {mention} for making the release happen!"));
    let mention = from_cathy("04f290e215d0f82d1750bfa8b7dc089d", text);
    is("mention", &mention.replying_to(id("original")));

    let mention = html_mention("Alice Smith", &user("alice-smith"));
    let text = NestedPart::html(format!("<p>Kudos to {mention} for making the release happen!</p>"));
    let mention = from_cathy("15d9705fd5bf5e02b0af47c85f8b98fe", text);
    is("mention-html", &mention.replying_to(id("original")));
}

#[test]
fn reactions_edits_and_deletions_are_composed() {
    let reaction = from_cathy("d37bc0e6a8b4f04e9e6382375f587bf6", NestedPart::reaction("❤"));
    let reaction = reaction.replying_to(id("original"));
    is("reaction", &reaction);
    is(
        "unlike",
        &reaction.delete(id("reaction"), salt("c5ba86dc9fd272e58ca52ec805b79199")),
    );

    let reply = example("reply");
    let better = NestedPart::markdown("Right on! _Congratulations_ y'all!");
    let edit = reply.edit(id("reply"), salt("b8c2e6d8800ecf45df39be6c45f4c042"), better);
    is("edit", &edit);
    let deletion = salt("0a590d73b2c7761c39168be5ebf7f2e6");
    is("delete", &reply.delete(id("reply"), deletion));
    // An edited message is deleted by the id of its first version.
    let deleted = edit.delete(id("edit"), deletion);
    assert_eq!(deleted.replaces, Some(id("reply")));
    is("delete", &deleted);
}

#[test]
fn expiring_messages_attachments_and_conferences_are_composed() {
    let text = "__*VPN GOING DOWN*__ I'm rebooting the VPN in ten minutes unless anyone objects.";
    let expiring = from_alice("33be993eb39f418f9295afc2ae160d2d", NestedPart::markdown(text));
    is("expiring", &expiring.expiring(Expiration::At(1_644_390_004)));

    let video = NestedPart::attachment(ExternalPart {
        content_type: "video/mp4".into(),
        url: "https://example.com/storage/8ksB4bSrrRE.mp4".into(),
        size: 708_234_961,
        enc_alg: ExternalPart::AES_128_GCM,
        key: octets("21399320958a6f4c745dde670d95e0d8"),
        nonce: octets("c86cf2c33f21527d1dd76f5b"),
        hash_alg: ExternalPart::SHA_256,
        content_hash: octets("9ab17a8cf0890baaae7ee016c7312fcc080ba46498389458ee44f0276e783163"),
        description: "2 hours of key signing video".into(),
        filename: "bigfile.mp4".into(),
        ..ExternalPart::default()
    });
    is(
        "attachment",
        &from_bob("18fac6371e4e53f1aeaf8a013155c166", video.in_language("en")),
    );

    let conference = NestedPart::conference("https://example.com/join/12345", "Join the Foo 118 conference");
    is(
        "conferencing",
        &from_alice("678ac6cd54de049c3e9665cd212470fa", conference).about("Foo 118"),
    );
}

#[test]
fn multiparts_are_composed() {
    let welcome = [
        NestedPart::markdown("# Welcome!"),
        NestedPart::single(
            "application/vnd.examplevendor-fancy-im-message",
            octets("dc861ebaa718fd7c3ca159f71a2001"),
        ),
    ];
    let either = NestedPart::multi(PartSemantics::ChooseOne, welcome);
    is("multipart-1", &from_alice("261c953e178af653fe3d42641b91d814", either));

    let reactions = ["❤", "🥳", "🤞"].map(NestedPart::reaction);
    let reactions = NestedPart::multi(PartSemantics::ProcessAll, reactions).disposed(Disposition::REACTION);
    is(
        "multipart-2",
        &from_alice("8528dc2d92e4f1944d62042907ab94d0", reactions),
    );

    let page = |language: &str, title: &str, alt: &str, image: usize| {
        let cid = mimi::content::content_id(image);
        let html = format!("<html><body><h1>{title}!</h1>\n<img src=\"{cid}\" alt=\"{alt}\"/>\n</body></html>");
        NestedPart::html(html).in_language(language)
    };
    let version = |image_index, content_type: &str, image: &str| {
        let pages = [
            page("en", "Welcome", "Welcome image", image_index),
            page("fr", "Bienvenue", "Image bienvenue", image_index),
        ];
        let image = NestedPart::single(content_type, octets(image)).disposed(Disposition::INLINE);
        let parts = [NestedPart::multi(PartSemantics::ChooseOne, pages), image];
        NestedPart::multi(PartSemantics::ProcessAll, parts)
    };
    let versions = [
        version(5, "image/gif", "dc861ebaa718fd7c3ca159f71a2001a7"),
        version(10, "image/png", "fa444237451a05a72bb0f67037cc1669"),
    ];
    let nested = NestedPart::multi(PartSemantics::ChooseOne, versions);
    is("multipart-3", &from_alice("b8362793168d18c049b882d4642a2274", nested));
}

#[test]
fn a_content_id_names_a_part_by_its_index_and_never_a_multipart() {
    let content = example("multipart-3");
    assert_eq!(content.body.parts().count(), 11);
    for (index, expected) in [(5, "image/gif"), (10, "image/png")] {
        let part = content.referenced(&format!("cid:{index}@local.invalid")).unwrap();
        assert!(matches!(&part.part, Part::Single(single) if single.content_type == expected));
    }
    for nothing in [
        "cid:0@local.invalid",
        "cid:7@local.invalid",
        "cid:11@local.invalid",
        "cid:05@local.invalid",
        "cid:+5@local.invalid",
        "cid:5@example.com",
        "5@local.invalid",
    ] {
        assert_eq!(content.referenced(nothing), None, "{nothing}");
    }
}

#[test]
fn derived_values_are_the_example() {
    let received = vector("implied-original.cbor");
    // Not the id of the original, which its annotated form names: the encoded form was made with another one.
    let stale = octets("01b0084467273cc43d6f0ebeac13eb84229c4fffe8f6c3594c905f47779e5a79");
    let values = MessageDerivedValues {
        message_id: MessageId::from_octets(stale[..].try_into().unwrap()).unwrap(),
        hub_accepted_timestamp: Timestamp::Millis(1_644_387_225_019),
        mls_group_id: octets("eeee0d12a7b5b5b78115ad1a1ddb13811c83fd7387c43e66799a594beeda26bf"),
        sender_leaf_index: 4,
        sender_client_url: "mimi://example.com/d/3b52249d-68f9-45ce-8bf5-c799f3cad7ec/0003".into(),
        sender_user_url: "mimi://example.com/u/alice-smith".into(),
        room_url: "mimi://example.com/r/engineering_team".into(),
    };
    assert_eq!(hex::encode(values.encode()), hex::encode(&received));
    assert_eq!(MessageDerivedValues::decode_exact(&received).unwrap(), values);
}

#[test]
fn a_status_report_is_the_example() {
    let received = vector("message-status-status.cbor");
    let statuses = [
        ("original", Status::READ),
        ("reply", Status::READ),
        ("mention", Status::UNREAD),
        ("expiring", Status::EXPIRED),
    ];
    let report: MessageStatusReport = statuses
        .map(|(name, status)| PerMessageStatus {
            message_id: id(name),
            status,
        })
        .into_iter()
        .collect();
    assert_eq!(hex::encode(report.encode()), hex::encode(&received));
    assert_eq!(MessageStatusReport::decode_exact(&received).unwrap(), report);
    let delivered = MessageStatusReport::of(Status::DELIVERED, [id("original"), id("reply")]);
    assert_eq!(
        MessageStatusReport::decode_exact(&delivered.encode()).unwrap(),
        delivered
    );
}

#[test]
fn ce_4_within_a_millisecond_the_lowest_message_id_sorts_first() {
    let at = |millis, name| {
        let mut values = MessageDerivedValues::decode_exact(&vector("implied-original.cbor")).unwrap();
        values.hub_accepted_timestamp = Timestamp::Millis(millis);
        values.message_id = id(name);
        values
    };
    let mut messages = [
        at(2, "reply"),
        at(2, "conferencing"),
        at(1, "original"),
        at(2, "attachment"),
    ];
    messages.sort_by_key(MessageDerivedValues::order);
    let sorted = messages.map(|message| message.message_id);
    assert_eq!(sorted, ["original", "conferencing", "reply", "attachment"].map(id));
}

#[test]
fn an_extended_time_has_milliseconds() {
    let time = |elements: &[(i64, i64)]| {
        let elements = elements
            .iter()
            .map(|(key, value)| (Key::from(*key), Value::from(*value)));
        Timestamp::Extended(elements.collect()).millis()
    };
    assert_eq!(time(&[(1, 1_644_387_225)]), Some(1_644_387_225_000));
    assert_eq!(time(&[(1, 1_644_387_225), (-3, 19)]), Some(1_644_387_225_019));
    assert_eq!(time(&[(1, 1_644_387_225), (-9, 19_999_999)]), Some(1_644_387_225_019));
    assert_eq!(time(&[(1, 1), (-3, 1_000)]), None, "more than a second");
    assert_eq!(time(&[(1, -1)]), None, "before the epoch");
    assert_eq!(time(&[(-3, 19)]), None, "no base");
}

#[test]
fn ce_4_lengths_in_a_message_id_count_octets() {
    use sha2::{Digest, Sha256};
    let (sender, room) = ("im:zoë@example.com", "im:équipe@example.com");
    assert_ne!(sender.len(), sender.chars().count());
    let (message, salt) = (b"message", Salt([7; 16]));
    let input = [
        &[0, 19][..],
        sender.as_bytes(),
        &[0, 22],
        room.as_bytes(),
        message,
        &salt.0,
    ]
    .concat();
    let expected = [&[1][..], &Sha256::digest(input)[..31]].concat();
    let id = MessageId::of_uris(sender.as_bytes(), room.as_bytes(), message, &salt).unwrap();
    assert_eq!(hex::encode(id.octets()), hex::encode(expected));
    assert_eq!(
        MessageId::of_uris(&[b'x'; 65_536], room.as_bytes(), message, &salt),
        None
    );
    assert!(MessageId::of_uris(&[b'x'; 65_535], room.as_bytes(), message, &salt).is_some());
}

#[test]
fn a_salt_is_derived_from_the_exported_secret_and_a_nonce() {
    // RFC 4231, test case 2, cut to 16 octets.
    let salt = Salt::derive(b"Jefe", b"what do ya want for nothing?");
    assert_eq!(hex::encode(salt.0), "5bdcc146bf60754e6a042426089575c7");
}

#[test]
fn a_name_cannot_break_out_of_its_mention() {
    let user = user("alice-smith");
    assert_eq!(
        markdown_mention("a](http://evil) <b>\n", &user),
        r"[@a\](http://evil) \<b\> ](mimi://example.com/u/alice-smith)"
    );
    assert_eq!(
        html_mention("\"><script>", &user),
        "<a href=\"mimi://example.com/u/alice-smith\">@&#34;&#62;&#60;script&#62;</a>"
    );
}

#[test]
fn an_expiration_beyond_a_year_is_not_plausible() {
    let accepted_ms = 1_644_387_225_019;
    let accepted_s = 1_644_387_225;
    let two_years = 2 * 366 * 24 * 60 * 60;
    for plausible in [
        Expiration::At(accepted_s + 600),
        Expiration::At(accepted_s - 600),
        Expiration::AfterReading(5),
    ] {
        assert!(plausible.is_plausible(accepted_ms), "{plausible:?}");
    }
    for absurd in [
        Expiration::At(accepted_s + two_years),
        Expiration::At(accepted_s - two_years),
        Expiration::At(0),
        Expiration::AfterReading(two_years),
    ] {
        assert!(!absurd.is_plausible(accepted_ms), "{absurd:?}");
    }
}

#[test]
fn a_reply_that_would_close_a_loop_is_noticed() {
    let chain = BTreeMap::from([(id("edit"), id("reply")), (id("reply"), id("original"))]);
    let looked_up = |message: &MessageId| chain.get(message).copied();
    assert!(!reply_chain_loops(id("mention"), id("edit"), looked_up));
    assert!(reply_chain_loops(id("original"), id("edit"), looked_up));
    assert!(reply_chain_loops(id("edit"), id("edit"), looked_up));
    let ring = BTreeMap::from([(id("edit"), id("reply")), (id("reply"), id("edit"))]);
    assert!(reply_chain_loops(id("mention"), id("edit"), |message| ring
        .get(message)
        .copied()));
}

#[test]
fn an_unknown_disposition_is_rendered() {
    assert_eq!(Disposition(9).effective(), Disposition::RENDER);
    assert_eq!(Disposition::PREVIEW.effective(), Disposition::PREVIEW);
}
