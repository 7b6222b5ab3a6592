#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::Cursor;

use mimi::policy::{DownloadPrivacy, DownloadPrivacyType, ProviderUploadDomains};
use ohttp::hpke::{Aead, Kdf, Kem};
use ohttp::{KeyConfig, Server, SymmetricSuite};

use super::*;

fn sender() -> Provider {
    "b.example".parse().unwrap()
}

/// Assets of b.example are at two domains of its own, images are small, and programs are not taken.
fn assets() -> AssetPolicy {
    AssetPolicy {
        asset_upload_location: AssetUploadLocation::LocalProvider,
        upload_domains: vec![ProviderUploadDomains {
            provider: "b.example".into(),
            asset_upload_destinations: vec!["assets.b.example".into(), "b.example".into()],
        }],
        download_privacy: DownloadPrivacy {
            allowed_download_types: vec![DownloadPrivacyType::HubProxy],
            forbidden_download_types: Vec::new(),
            default_download_type: DownloadPrivacyType::HubProxy,
        },
        max_image: 100,
        max_audio: 200,
        max_video: 300,
        max_attachment: 400,
        forbidden_media_types: vec![media_type("application/wasm")],
        permitted_media_types: None,
    }
}

fn part(url: &str, content_type: &str, size: u64) -> ExternalPart {
    ExternalPart {
        url: url.to_owned(),
        content_type: content_type.to_owned(),
        size,
        ..ExternalPart::default()
    }
}

#[test]
fn as_6_an_asset_opens_to_what_was_sealed_and_to_nothing_else() {
    let Sealed { ciphertext, part } = seal(b"a picture", "image/png").unwrap();
    assert_eq!(open(&part, &ciphertext).unwrap(), "a picture");
    assert_ne!(
        seal(b"a picture", "image/png").unwrap().ciphertext,
        ciphertext,
        "a key of its own"
    );
    assert_eq!(part.size, 9);

    let mut forged = ciphertext.to_vec();
    forged[0] ^= 1;
    assert_eq!(open(&part, &forged), Err(AssetError::Forged));
    let unhashed = ExternalPart {
        hash_alg: 0,
        ..part.clone()
    };
    assert_eq!(open(&unhashed, &forged), Err(AssetError::Forged), "AEAD notices, too");
    let shorter = ExternalPart {
        size: 8,
        ..part.clone()
    };
    assert_eq!(open(&shorter, &ciphertext), Err(AssetError::Forged));
    let short_key = ExternalPart {
        key: Bytes::from_static(b"short"),
        ..part.clone()
    };
    assert_eq!(open(&short_key, &ciphertext), Err(AssetError::Forged));
    let unknown = ExternalPart { enc_alg: 77, ..part };
    assert_eq!(open(&unknown, &ciphertext), Err(AssetError::Algorithm));
}

#[test]
fn as_6_an_asset_is_fetched_only_from_where_the_senders_provider_has_its_assets() {
    let at = |url: &str| check(&part(url, "image/png", 10), &sender(), Some(&assets()));
    for good in [
        "https://assets.b.example/1",
        "https://ASSETS.b.example:8443/1?x=1",
        "https://b.example",
    ] {
        assert_eq!(at(good), Ok(26), "{good}");
    }
    for elsewhere in ["https://evil.example/assets.b.example", "https://x.assets.b.example/1"] {
        assert_eq!(at(elsewhere), Err(AssetError::Domain), "{elsewhere}");
    }
    for no_url in [
        "http://assets.b.example/1",
        "https://assets.b.example@evil.example/",
        "https://assets.b.example:x/",
        "https:///1",
        "",
    ] {
        assert_eq!(at(no_url), Err(AssetError::Url), "{no_url}");
    }
    let other: Provider = "c.example".parse().unwrap();
    let theirs = part("https://b.example/1", "image/png", 10);
    assert_eq!(check(&theirs, &other, Some(&assets())), Err(AssetError::Domain));
}

#[test]
fn as_6_an_asset_keeps_the_rooms_limits_on_size_and_media_type() {
    let as_is = |content_type: &str, size: u64| {
        check(
            &part("https://b.example/1", content_type, size),
            &sender(),
            Some(&assets()),
        )
    };
    for (content_type, max) in [
        ("image/png", 100),
        ("Audio/ogg;codecs=opus", 200),
        ("video/mp4", 300),
        ("text/plain", 400),
    ] {
        assert_eq!(as_is(content_type, max), Ok(max + 16));
        assert_eq!(
            as_is(content_type, 0),
            Ok(max + 16),
            "unknown size: not more than may be"
        );
        assert_eq!(as_is(content_type, max + 1), Err(AssetError::TooLarge));
    }
    assert_eq!(as_is("application/wasm; version=1", 1), Err(AssetError::MediaType));
    let permitting = AssetPolicy {
        permitted_media_types: Some(vec![media_type("image/png")]),
        ..assets()
    };
    assert_eq!(check_kind("image/png", 1, &permitting), Ok(17));
    assert_eq!(check_kind("image/gif", 1, &permitting), Err(AssetError::MediaType));
}

#[test]
fn as_6_an_oblivious_gateway_reads_the_request_and_its_answer_is_opened_once() {
    let suites = vec![SymmetricSuite::new(Kdf::HkdfSha256, Aead::Aes128Gcm)];
    let gateway = Server::new(KeyConfig::new(7, Kem::X25519Sha256, suites).unwrap()).unwrap();
    let keys = KeyConfig::encode_list(&[gateway.config()]).unwrap();

    let (request, awaited) = oblivious::request(&keys, "https://assets.b.example/1?x=2#top").unwrap();
    let (plain, answer) = gateway.decapsulate(&request).unwrap();
    let get = bhttp::Message::read_bhttp(&mut Cursor::new(&plain[..])).unwrap();
    let control = get.control();
    assert_eq!(control.method(), Some(&b"GET"[..]));
    assert_eq!(control.scheme(), Some(&b"https"[..]));
    assert_eq!(control.authority(), Some(&b"assets.b.example"[..]));
    assert_eq!(control.path(), Some(&b"/1?x=2"[..]));

    let mut response = bhttp::Message::response(bhttp::StatusCode::OK);
    response.write_content(b"ciphertext");
    let mut plain = Vec::new();
    response.write_bhttp(bhttp::Mode::KnownLength, &mut plain).unwrap();
    let response = answer.encapsulate(&plain).unwrap();
    let fetched = awaited.open(&response).unwrap();
    assert_eq!((fetched.status, &fetched.content[..]), (200, &b"ciphertext"[..]));

    let (_, another) = oblivious::request(&keys, "https://b.example").unwrap();
    assert_eq!(another.open(&response), Err(AssetError::Oblivious));
}

#[test]
fn as_6_bad_key_configurations_are_refused() {
    // The configuration of a gateway that offers no AEAD that is known here: export-only.
    let suites = vec![SymmetricSuite::new(Kdf::HkdfSha256, Aead::Aes128Gcm)];
    let configuration = KeyConfig::new(7, Kem::X25519Sha256, suites).unwrap();
    let mut keys = KeyConfig::encode_list(&[&configuration]).unwrap();
    let end = keys.len();
    keys[end - 2..].copy_from_slice(&[0xff, 0xff]);
    for keys in [&keys[..], b"", b"\0", &[0xff; 64]] {
        let refused = oblivious::request(keys, "https://b.example/1").unwrap_err();
        assert_eq!(refused, AssetError::Oblivious);
    }
}
