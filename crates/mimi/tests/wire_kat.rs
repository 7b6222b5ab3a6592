//! Every vector of `vectors/wire-kat.json` decodes to the value it is named after, and encodes back.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use mimi::abuse::AbuseReport;
use mimi::app_data::AppDataOperation;
use mimi::consent::{ConsentEntry, ConsentOperation};
use mimi::identifier::{IdentifierQueryCode, IdentifierRequest, IdentifierResponse, QueryElement, Search};
use mimi::key_material::{KeyMaterialResponse, KeyMaterialUserCode};
use mimi::mls::{Extensions, Proposal, ProposalKind, ProposalView};
use mimi::role::RoleChangeTargets;
use mimi::submit::{SubmitMessageResponse, SubmitOutcome};
use mimi::update::{
    GroupInfoOption, PartialGroupInfo, RatchetTreeOption, RatchetTreePresence, UpdateOutcome, UpdateRoomResponse,
};
use mimi::{
    AppDataDictionary, AppDataUpdate, BaseRoomPolicy, ComponentId, Decode, Encode, IdentifierUri, Participant,
    ParticipantList, ParticipantListUpdate, Role, RoleChange,
};

struct Vectors(BTreeMap<String, String>);

impl Vectors {
    fn load() -> Self {
        let file: serde_json::Value = serde_json::from_str(include_str!("vectors/wire-kat.json")).unwrap();
        Self(serde_json::from_value(file["vectors"].clone()).unwrap())
    }

    fn take(&mut self, name: &str) -> Vec<u8> {
        hex::decode(self.0.remove(name).unwrap_or_else(|| panic!("no vector {name}"))).unwrap()
    }

    fn check<T: Encode + Decode + Debug + PartialEq>(&mut self, name: &str, value: &T) {
        let octets = self.take(name);
        assert_eq!(hex::encode(value.encode()), hex::encode(&octets), "{name} encodes");
        assert_eq!(&T::decode_exact(&octets).unwrap(), value, "{name} decodes");
        assert_eq!(
            &T::decode_shared(&octets.into()).unwrap(),
            value,
            "{name} decodes in place"
        );
    }
}

fn uri(text: &'static str) -> IdentifierUri {
    IdentifierUri(Bytes::from_static(text.as_bytes()))
}

fn alice() -> IdentifierUri {
    uri("mimi://a.example/u/alice")
}

fn bob() -> IdentifierUri {
    uri("mimi://b.example/u/bob")
}

fn cathy() -> IdentifierUri {
    uri("mimi://c.example/u/cathy")
}

fn participant(user: IdentifierUri, role: u32) -> Participant {
    Participant { user, role }
}

fn cathy_joins() -> ParticipantListUpdate {
    ParticipantListUpdate {
        changed: vec![RoleChange { user_index: 1, role: 3 }],
        removed: vec![],
        added: vec![participant(cathy(), 2)],
    }
}

fn response(outcome: UpdateOutcome, error_description: &str) -> UpdateRoomResponse {
    UpdateRoomResponse {
        outcome,
        error_description: error_description.into(),
    }
}

#[test]
fn w_1_w_2_w_3_w_5_every_vector_decodes_and_encodes_back() {
    let mut vectors = Vectors::load();
    assert_eq!(vectors.0.len(), 27);
    participants_and_roles(&mut vectors);
    hub_answers(&mut vectors);
    provider_to_provider(&mut vectors);
    group_info(&mut vectors);
    assert_eq!(vectors.0, BTreeMap::new(), "vectors that nothing checked");
}

fn participants_and_roles(vectors: &mut Vectors) {
    vectors.check("IdentifierUri", &alice());
    vectors.check(
        "ParticipantListData[alice=4,bob=2]",
        &ParticipantList {
            participants: vec![participant(alice(), 4), participant(bob(), 2)],
        },
    );
    vectors.check(
        "ParticipantListUpdate{changed=[(1,3)],removed=[],added=[cathy=2]}",
        &cathy_joins(),
    );
    vectors.check(
        "ParticipantListUpdate{changed=[],removed=[1],added=[]}",
        &ParticipantListUpdate {
            removed: vec![1],
            ..ParticipantListUpdate::default()
        },
    );
    let update = AppDataUpdate {
        component: ComponentId::PARTICIPANT_LIST,
        operation: AppDataOperation::Update(cathy_joins().encode().into()),
    };
    vectors.check("AppDataUpdate{0x0022,update}", &update);

    let octets = vectors.take("Proposal{app_data_update=8}");
    let proposal = Proposal::decode_exact(&octets).unwrap();
    assert_eq!(proposal.kind(), ProposalKind::AppDataUpdate);
    assert_eq!(proposal.view(), ProposalView::AppDataUpdate(update));
    assert_eq!(proposal.encode(), octets);

    let targets = |from, target| RoleChangeTargets {
        from,
        targets: vec![target],
    };
    vectors.check(
        "Role{2,\"user\",caps=[0x0100,0x0101],min0,max none,min_active0,max_active none,[(0,[2]),(2,[0])]}",
        &Role {
            index: 2,
            name: Bytes::from_static(b"user"),
            capabilities: vec![0x0100, 0x0101],
            authorized_role_changes: vec![targets(0, 2), targets(2, 0)],
            ..Role::default()
        },
    );
    vectors.check(
        "Role{1,\"banned\",max_active=0}",
        &Role {
            index: 1,
            name: Bytes::from_static(b"banned"),
            maximum_active_participants: Some(0),
            ..Role::default()
        },
    );
    vectors.check(
        "BaseRoomPolicy{fixed=0,parent_dep=0,parent=[],multi=1,max_clients=none,max_users=500,pseud=0,persist=1,disc=0,\
         comps=[0x25,0x26]}",
        &BaseRoomPolicy {
            multi_device: true,
            max_users: Some(500),
            persistent_room: true,
            policy_component_ids: vec![ComponentId::ROLES_LIST, ComponentId::PREAUTH_LIST],
            ..BaseRoomPolicy::default()
        },
    );
}

fn hub_answers(vectors: &mut Vectors) {
    vectors.check(
        "UpdateRoomResponse.success(errorDescription=\"\",1700000000000)",
        &UpdateRoomResponse::success(1_700_000_000_000),
    );
    vectors.check(
        "UpdateRoomResponse.wrongEpoch(\"stale\",7)",
        &response(UpdateOutcome::WrongEpoch { current_epoch: 7 }, "stale"),
    );
    vectors.check(
        "UpdateRoomResponse.notAllowed(\"\")",
        &response(UpdateOutcome::NotAllowed, ""),
    );
    vectors.check(
        "UpdateRoomResponse.invalidProposal(\"\",[32x11])",
        &response(
            UpdateOutcome::InvalidProposal {
                invalid_proposals: vec![Bytes::from_static(&[0x11; 32])],
            },
            "",
        ),
    );
    vectors.check(
        "SubmitMessageResponse.accepted(ts,no frank)",
        &SubmitMessageResponse::from(SubmitOutcome::Accepted {
            accepted_timestamp: 1_700_000_000_000,
            frank: None,
        }),
    );
    vectors.check(
        "SubmitMessageResponse.notAllowed",
        &SubmitMessageResponse::from(SubmitOutcome::NotAllowed),
    );
    vectors.check(
        "SubmitMessageResponse.epochTooOld(9)",
        &SubmitMessageResponse::from(SubmitOutcome::EpochTooOld { current_epoch: 9 }),
    );
    vectors.check(
        "AbuseReport{no messages}",
        &AbuseReport {
            reporting_user: bob(),
            alleged_abuser: alice(),
            reason_code: 0,
            note: Bytes::from_static(b"spam"),
            messages: vec![],
            extensions: AppDataDictionary::default(),
        },
    );
}

fn provider_to_provider(vectors: &mut Vectors) {
    let entry = |operation, room| ConsentEntry {
        operation,
        requester: bob(),
        target: cathy(),
        room,
        extensions: AppDataDictionary::default(),
    };
    vectors.check(
        "ConsentEntry.request(bob requests cathy, room)",
        &entry(ConsentOperation::Request, Some(uri("mimi://a.example/r/clubhouse"))),
    );
    vectors.check(
        "ConsentEntry.grant(no KPs, any room)",
        &entry(ConsentOperation::Grant(vec![]), None),
    );
    let query = |search, value: &'static str| IdentifierRequest {
        elements: vec![QueryElement {
            search,
            value: Bytes::from_static(value.as_bytes()),
        }],
        extensions: AppDataDictionary::default(),
    };
    vectors.check(
        "IdentifierRequest[handle]",
        &query(Search::Handle, "im:alice.smith@a.example"),
    );
    vectors.check(
        "IdentifierRequest[oidc given_name=Alice]",
        &query(Search::OidcStdClaim(Bytes::from_static(b"given_name")), "Alice"),
    );
    vectors.check(
        "IdentifierResponse.notFound",
        &IdentifierResponse {
            code: IdentifierQueryCode::NotFound,
            uris: vec![],
            profiles: vec![],
            extensions: AppDataDictionary::default(),
        },
    );
    vectors.check(
        "KeyMaterialResponse.noConsent",
        &KeyMaterialResponse::refusal(KeyMaterialUserCode::NoConsent, cathy()),
    );
}

fn group_info(vectors: &mut Vectors) {
    vectors.check(
        "RatchetTreeOption.distributionService",
        &RatchetTreeOption::DistributionService,
    );
    vectors.check("RatchetTreeOption.outOfBand(ietf-00)", &RatchetTreeOption::OutOfBand);
    let partial = PartialGroupInfo {
        ratchet_tree_presence: RatchetTreePresence::NoRatchetTree,
        group_info_extensions: Extensions::none(),
        signature: Bytes::from_static(&[0x22; 64]),
    };
    vectors.check("PartialGroupInfo{no_ratchet_tree,[],sig 64x22}", &partial);
    vectors.check("GroupInfoOption.partial", &GroupInfoOption::Partial(partial));
}
