//! MLS structures, written field by field after RFC 9420: an independent statement of their layout.

use bytes::Bytes;
use mimi::mls::{
    Credential, GroupInfo, IdentityLinkTbe, KeyPackage, LeafNode, Message, Proposal, PseudonymousCredential,
    RatchetTree, Welcome,
};
use mimi::{Decode, Encode, IdentifierUri};
use proptest::prelude::*;

use super::octets;

type Octets = BoxedStrategy<Vec<u8>>;

fn concat(parts: Vec<Octets>) -> Octets {
    parts.prop_map(|parts| parts.concat()).boxed()
}

fn plain(value: impl Encode) -> Octets {
    Just(value.encode()).boxed()
}

fn number<T: Arbitrary<Strategy: 'static> + Encode>() -> Octets {
    any::<T>().prop_map(|value| value.encode()).boxed()
}

fn opaque() -> Octets {
    octets().prop_map(|octets| octets.encode()).boxed()
}

fn list(element: Octets) -> Octets {
    prop::collection::vec(element, 0..3)
        .prop_map(|elements| Bytes::from(elements.concat()).encode())
        .boxed()
}

fn optional(value: Octets) -> Octets {
    prop_oneof![plain(0u8), concat(vec![plain(1u8), value])].boxed()
}

fn extensions() -> Octets {
    list(concat(vec![number::<u16>(), opaque()]))
}

fn hpke_ciphertext() -> Octets {
    concat(vec![opaque(), opaque()])
}

fn leaf_node() -> Octets {
    let source = prop_oneof![
        concat(vec![plain(1u8), number::<u64>(), number::<u64>()]),
        plain(2u8),
        concat(vec![plain(3u8), opaque()]),
    ]
    .boxed();
    let capability = || list(number::<u16>());
    concat(vec![
        opaque(),
        opaque(),
        number::<u16>(),
        opaque(),
        capability(),
        capability(),
        capability(),
        capability(),
        capability(),
        source,
        extensions(),
        opaque(),
    ])
}

fn key_package() -> Octets {
    concat(vec![
        plain(1u16),
        (1u16..9).prop_map(|suite| suite.encode()).boxed(),
        opaque(),
        leaf_node(),
        extensions(),
        opaque(),
    ])
}

fn pre_shared_key_id() -> Octets {
    let id = prop_oneof![
        concat(vec![plain(1u8), opaque()]),
        concat(vec![plain(2u8), number::<u8>(), opaque(), number::<u64>()]),
        concat(vec![plain(3u8), number::<u16>(), opaque()]),
    ]
    .boxed();
    concat(vec![id, opaque()])
}

fn proposal() -> Octets {
    prop_oneof![
        concat(vec![plain(1u16), key_package()]),
        concat(vec![plain(2u16), leaf_node()]),
        concat(vec![plain(3u16), number::<u32>()]),
        concat(vec![plain(4u16), pre_shared_key_id()]),
        concat(vec![
            plain(5u16),
            opaque(),
            number::<u16>(),
            number::<u16>(),
            extensions()
        ]),
        concat(vec![plain(6u16), opaque()]),
        concat(vec![plain(7u16), extensions()]),
        concat(vec![plain(8u16), number::<u16>(), plain(1u8), opaque()]),
        concat(vec![plain(8u16), number::<u16>(), plain(2u8)]),
        concat(vec![plain(9u16), number::<u16>(), opaque()]),
        plain(10u16),
    ]
    .boxed()
}

fn commit() -> Octets {
    let element = prop_oneof![concat(vec![plain(1u8), proposal()]), concat(vec![plain(2u8), opaque()])].boxed();
    let path_node = concat(vec![opaque(), list(hpke_ciphertext())]);
    concat(vec![
        list(element),
        optional(concat(vec![leaf_node(), list(path_node)])),
    ])
}

fn public_message(content_type: u8, content: Octets, confirmation: Octets) -> Octets {
    let sender = (any::<u32>(), 1u8..5).prop_flat_map(move |(index, sender_type)| {
        let mut sender = sender_type.encode();
        if sender_type <= 2 {
            sender.extend(index.encode());
        }
        let membership = if sender_type == 1 { opaque() } else { plain([0u8; 0]) };
        concat(vec![
            plain(1u16),
            plain(1u16),
            opaque(),
            number::<u64>(),
            Just(sender).boxed(),
            opaque(),
            plain(content_type),
            content.clone(),
            opaque(),
            confirmation.clone(),
            membership,
        ])
    });
    sender.boxed()
}

pub(crate) fn public_proposal_octets() -> Octets {
    public_message(2, proposal(), plain([0u8; 0]))
}

pub(crate) fn public_commit_octets() -> Octets {
    public_message(3, commit(), opaque())
}

fn private_message(content_type: u8) -> Octets {
    concat(vec![
        plain(1u16),
        plain(2u16),
        opaque(),
        number::<u64>(),
        plain(content_type),
        opaque(),
        opaque(),
        opaque(),
    ])
}

fn semi_private_message(content_type: u8) -> Octets {
    concat(vec![
        plain(1u16),
        plain(0xfafe_u16),
        opaque(),
        number::<u64>(),
        plain(content_type),
        opaque(),
        opaque(),
        list(concat(vec![opaque(), hpke_ciphertext()])),
        opaque(),
        opaque(),
        opaque(),
    ])
}

fn welcome_octets() -> Octets {
    concat(vec![
        number::<u16>(),
        list(concat(vec![opaque(), hpke_ciphertext()])),
        opaque(),
    ])
}

fn group_info_octets() -> Octets {
    concat(vec![
        plain(1u16),
        number::<u16>(),
        opaque(),
        number::<u64>(),
        opaque(),
        opaque(),
        extensions(),
        extensions(),
        opaque(),
        number::<u32>(),
        opaque(),
    ])
}

fn tree_octets() -> Octets {
    let node = prop_oneof![
        concat(vec![plain(1u8), leaf_node()]),
        concat(vec![plain(2u8), opaque(), opaque(), list(number::<u32>())]),
    ]
    .boxed();
    list(optional(node))
}

/// What the octets decode to; they must.
fn decoded<T: Decode + Encode + Clone + std::fmt::Debug + 'static>(octets: Octets) -> BoxedStrategy<T> {
    octets
        .prop_map(|octets| {
            let value = T::decode_exact(&octets).unwrap();
            assert_eq!(value.encode(), octets, "encodes to the octets it was decoded from");
            value
        })
        .boxed()
}

pub(crate) fn leaf_nodes() -> BoxedStrategy<LeafNode> {
    decoded(leaf_node())
}

pub(crate) fn key_packages() -> BoxedStrategy<KeyPackage> {
    decoded(key_package())
}

pub(crate) fn proposals() -> BoxedStrategy<Proposal> {
    decoded(proposal())
}

pub(crate) fn welcomes() -> BoxedStrategy<Welcome> {
    decoded(welcome_octets())
}

pub(crate) fn group_infos() -> BoxedStrategy<GroupInfo> {
    decoded(group_info_octets())
}

pub(crate) fn trees() -> BoxedStrategy<RatchetTree> {
    decoded(tree_octets())
}

pub(crate) fn credentials() -> BoxedStrategy<Credential> {
    let any_type = (any::<u16>(), octets()).prop_map(|(credential_type, content)| Credential {
        credential_type,
        content,
    });
    let pseudonymous = pseudonymous_credentials().prop_map(|fields| fields.credential());
    prop_oneof![any_type, pseudonymous].boxed()
}

pub(crate) fn pseudonymous_credentials() -> BoxedStrategy<PseudonymousCredential> {
    let uuid = || "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}";
    (uuid(), uuid(), octets(), octets())
        .prop_map(|(user, client, key, link)| PseudonymousCredential {
            client_pseudonym: IdentifierUri(format!("mimi://a.example/d/{user}/{client}").into()),
            user_pseudonym: IdentifierUri(format!("mimi://a.example/u/{user}").into()),
            signature_public_key: key,
            identity_link_ciphertext: link,
        })
        .boxed()
}

pub(crate) fn identity_links() -> BoxedStrategy<IdentityLinkTbe> {
    (octets(), credentials(), octets())
        .prop_map(|(signature, client_credential, key)| IdentityLinkTbe {
            pseudonymous_credential_signature: signature,
            client_credential,
            client_signature_key: key,
        })
        .boxed()
}

pub(crate) fn proposal_messages() -> BoxedStrategy<Message> {
    decoded(prop_oneof![public_proposal_octets(), private_message(2), semi_private_message(2)].boxed())
}

pub(crate) fn commit_messages() -> BoxedStrategy<Message> {
    decoded(prop_oneof![public_commit_octets(), private_message(3), semi_private_message(3)].boxed())
}

pub(crate) fn application_messages() -> BoxedStrategy<Message> {
    decoded(private_message(1))
}

pub(crate) fn welcome_messages() -> BoxedStrategy<Message> {
    welcomes().prop_map(Message::from_welcome).boxed()
}

pub(crate) fn messages() -> BoxedStrategy<Message> {
    prop_oneof![
        proposal_messages(),
        commit_messages(),
        application_messages(),
        welcome_messages(),
        group_infos().prop_map(Message::from_group_info),
        key_packages().prop_map(Message::from_key_package),
        decoded(public_message(1, opaque(), plain([0u8; 0]))),
    ]
    .boxed()
}
