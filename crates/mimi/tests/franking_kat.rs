//! The octets of franking, by the vectors of `vectors/franking-kat.json`.
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use mimi::franking::{self, FrankAad, FrankingIntegrityTbs, ServerFrankingContext};
use mimi::mls::label::sign_content;
use mimi::submit::Frank;
use mimi::{Decode, Encode, IdentifierUri};
use serde_json::Value;

fn octets(vector: &Value, name: &str) -> Vec<u8> {
    hex::decode(vector[name].as_str().unwrap()).unwrap()
}

fn uri(vector: &Value, name: &str) -> IdentifierUri {
    IdentifierUri(Bytes::copy_from_slice(vector[name].as_str().unwrap().as_bytes()))
}

#[test]
fn k_3_k_5_the_tag_and_the_structures_of_franking_have_the_octets_of_the_vectors() {
    let file: Value = serde_json::from_str(include_str!("vectors/franking-kat.json")).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert_eq!(vectors.len(), 3);
    for vector in vectors {
        let tag: [u8; 32] = octets(vector, "franking_tag").try_into().unwrap();
        let salt = octets(vector, "salt").try_into().unwrap();
        assert_eq!(franking::tag(&salt, &octets(vector, "application_data")), tag);
        let authenticated_data = octets(vector, "safe_aad_authenticated_data");
        let item = FrankAad { franking_tag: tag };
        assert_eq!(item.authenticated_data(), authenticated_data);
        assert_eq!(FrankAad::of(&authenticated_data), Some(item));

        let context = ServerFrankingContext {
            sender_uri: uri(vector, "sender_uri"),
            room_uri: uri(vector, "room_uri"),
            accepted_timestamp: vector["accepted_timestamp"].as_u64().unwrap(),
        };
        assert_eq!(context.encode(), octets(vector, "server_franking_context"));
        let frank = Frank::decode_exact(&octets(vector, "frank_struct")).unwrap();
        assert_eq!(frank.server_frank.to_vec(), octets(vector, "server_frank"));
        let tbs = FrankingIntegrityTbs {
            server_frank: frank.server_frank,
            franking_signature_ciphersuite: frank.franking_signature_ciphersuite,
            context,
        };
        assert_eq!(tbs.encode(), octets(vector, "franking_integrity_tbs"));
        let content = sign_content(FrankingIntegrityTbs::LABEL, &tbs.encode());
        assert_eq!(content, octets(vector, "sign_content"));
    }
}

#[test]
fn authenticated_data_without_a_tag_is_that_of_an_unfranked_message() {
    for data in [
        "",
        "00",
        "03000801",
        "2300201fa9a69f1d2fe6f37984190c093ecb8a10d647093db735fb7ba926bfdccff4c2",
    ] {
        assert_eq!(FrankAad::of(&hex::decode(data).unwrap()), None, "{data}");
    }
}
