//! The directory document of a provider (mimi-protocol §5.1): where it takes which request. Unknown keys are ignored,
//! and an endpoint whose template is of no use counts as absent.

use std::collections::BTreeMap;

use bytes::Bytes;
use mimi::mls::CipherSuite;
use serde::de::{Deserialize, Deserializer};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::template::{Template, TemplateError};

/// The key by which a provider offers a link: `host:port`, UDP.
const LINK_KEY: &str = "naveLink";

/// The key by which a provider says where its oblivious gateway is (RFC 9458), as an https URI.
const GATEWAY_KEY: &str = "ohttpGateway";

/// The key of an object from cipher suites, as decimal numbers, to the hub's ExternalSender, in hexadecimal digits.
const HUB_SENDERS_KEY: &str = "hubSenders";

/// Cipher suites of which a directory may name the hub's key: as many as MLS has.
const HUB_SENDERS_MAX: usize = 16;

/// Octets of an ExternalSender: the largest key and credential that any suite has, many times.
const HUB_SENDER_BYTES_MAX: usize = 8 << 10;

/// A kind of request that a provider may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Endpoint {
    /// §5.2
    KeyMaterial,
    /// §5.3
    Update,
    /// §5.4
    SubmitMessage,
    /// §5.5
    Notify,
    /// §5.6
    GroupInfo,
    /// §5.7
    RequestConsent,
    /// §5.7
    UpdateConsent,
    /// §5.8
    IdentifierQuery,
    /// §5.9
    ReportAbuse,
    /// §5.10
    ProxyDownload,
    /// Catch-up: entries of a room behind a seq. No draft's.
    RoomEvents,
    /// Catch-up: where rooms stand. No draft's.
    RoomHeads,
    /// A hub says that entries are gone which were due. No draft's.
    EntriesExpired,
}

impl Endpoint {
    /// All there are.
    pub const ALL: [Self; 13] = [
        Self::KeyMaterial,
        Self::Update,
        Self::SubmitMessage,
        Self::Notify,
        Self::GroupInfo,
        Self::RequestConsent,
        Self::UpdateConsent,
        Self::IdentifierQuery,
        Self::ReportAbuse,
        Self::ProxyDownload,
        Self::RoomEvents,
        Self::RoomHeads,
        Self::EntriesExpired,
    ];

    /// Its key in the document, and its name on a link.
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyMaterial => "keyMaterial",
            Self::Update => "update",
            Self::SubmitMessage => "submitMessage",
            Self::Notify => "notify",
            Self::GroupInfo => "groupInfo",
            Self::RequestConsent => "requestConsent",
            Self::UpdateConsent => "updateConsent",
            Self::IdentifierQuery => "identifierQuery",
            Self::ReportAbuse => "reportAbuse",
            Self::ProxyDownload => "proxyDownload",
            Self::RoomEvents => "x-roomEvents",
            Self::RoomHeads => "x-roomHeads",
            Self::EntriesExpired => "x-entriesExpired",
        }
    }

    /// The endpoint of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|endpoint| endpoint.name() == name)
    }

    /// What the variable of a published template is called.
    const fn variable(self) -> &'static str {
        match self {
            Self::KeyMaterial => "targetUser",
            Self::Update
            | Self::SubmitMessage
            | Self::Notify
            | Self::GroupInfo
            | Self::ReportAbuse
            | Self::RoomEvents => "roomId",
            Self::RequestConsent => "targetDomain",
            Self::UpdateConsent => "requesterDomain",
            Self::IdentifierQuery | Self::RoomHeads | Self::EntriesExpired => "domain",
            Self::ProxyDownload => "downloadUrl",
        }
    }
}

/// Where a provider takes which request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Directory {
    /// The endpoints that it has.
    pub endpoints: BTreeMap<Endpoint, Template>,
    /// `host:port` of its link, if it has one.
    pub link: Option<String>,
    /// URI of its oblivious gateway, if it has one.
    pub gateway: Option<String>,
    /// For each cipher suite in which it hosts rooms, the ExternalSender (RFC 9420 §12.1.8.1) of its hub, as it stands
    /// there: nobody has checked it.
    pub hub_senders: BTreeMap<CipherSuite, Bytes>,
}

impl Directory {
    /// The document of a provider that serves `endpoints` at `authority` (host, and port unless it is 443), each at
    /// `/v1/NAME/{variable}`.
    pub fn publish(
        authority: &str,
        endpoints: impl IntoIterator<Item = Endpoint>,
        link: Option<String>,
    ) -> Result<Self, TemplateError> {
        let template = |endpoint: Endpoint| {
            let (name, variable) = (endpoint.name(), endpoint.variable());
            let template = format!("https://{authority}/v1/{name}/{{{variable}}}").parse()?;
            Ok((endpoint, template))
        };
        let endpoints = endpoints.into_iter().map(template).collect::<Result<_, _>>()?;
        Ok(Self {
            endpoints,
            link,
            ..Self::default()
        })
    }

    /// The same, with an oblivious gateway at the well-known place of `authority` (RFC 9540).
    #[must_use]
    pub fn with_gateway(mut self, authority: &str) -> Self {
        self.gateway = Some(format!("https://{authority}{}", crate::WELL_KNOWN_GATEWAY));
        self
    }

    /// The same, with the hub's keys.
    #[must_use]
    pub fn with_hub_senders(mut self, senders: impl IntoIterator<Item = (CipherSuite, Bytes)>) -> Self {
        self.hub_senders = senders.into_iter().collect();
        self
    }

    /// Endpoint and identifier that a request for `path_and_query` is about, if it is one of these.
    pub fn route(&self, path_and_query: &str) -> Option<(Endpoint, String)> {
        let found = |(endpoint, template): (&Endpoint, &Template)| {
            let target = match endpoint {
                // Not an identifier, and not to be mended as one.
                Endpoint::ProxyDownload => template.value(path_and_query),
                _ => template.target(path_and_query),
            };
            Some((*endpoint, target?))
        };
        self.endpoints.iter().find_map(found)
    }
}

impl Serialize for Directory {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (endpoint, template) in &self.endpoints {
            map.serialize_entry(endpoint.name(), &template.to_string())?;
        }
        if let Some(link) = &self.link {
            map.serialize_entry(LINK_KEY, link)?;
        }
        if let Some(gateway) = &self.gateway {
            map.serialize_entry(GATEWAY_KEY, gateway)?;
        }
        if !self.hub_senders.is_empty() {
            let senders = self.hub_senders.iter();
            let senders: BTreeMap<String, String> = senders
                .map(|(suite, sender)| (suite.to_string(), hex::encode(sender)))
                .collect();
            map.serialize_entry(HUB_SENDERS_KEY, &senders)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Directory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let template = |endpoint: Endpoint| {
            let template = document.get(endpoint.name())?.as_str()?.parse().ok()?;
            Some((endpoint, template))
        };
        let text = |key: &str| {
            let text = document.get(key).and_then(Value::as_str);
            text.filter(|text| text.len() <= 512).map(str::to_owned)
        };
        let senders = document.get(HUB_SENDERS_KEY).and_then(Value::as_object);
        Ok(Self {
            endpoints: Endpoint::ALL.into_iter().filter_map(template).collect(),
            link: text(LINK_KEY),
            gateway: text(GATEWAY_KEY),
            hub_senders: senders
                .into_iter()
                .flatten()
                .filter_map(|(suite, sender)| hub_sender(suite, sender))
                .take(HUB_SENDERS_MAX)
                .collect(),
        })
    }
}

fn hub_sender(suite: &str, sender: &Value) -> Option<(CipherSuite, Bytes)> {
    let digits = sender
        .as_str()
        .filter(|digits| digits.len() <= 2 * HUB_SENDER_BYTES_MAX)?;
    Some((suite.parse().ok()?, hex::decode(digits).ok()?.into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn e_3_a_published_directory_lists_what_works_and_nothing_else() {
        let served = [Endpoint::Update, Endpoint::Notify];
        let directory = Directory::publish("mimi.a.example:8443", served, Some("a.example:4433".into())).unwrap();
        let document: Value = serde_json::from_str(&serde_json::to_string(&directory).unwrap()).unwrap();
        let expected = serde_json::json!({
            "update": "https://mimi.a.example:8443/v1/update/{roomId}",
            "notify": "https://mimi.a.example:8443/v1/notify/{roomId}",
            "naveLink": "a.example:4433",
        });
        assert_eq!(document, expected);
        assert_eq!(serde_json::from_value::<Directory>(document).unwrap(), directory);
    }

    #[test]
    fn gateway_and_hub_keys_are_published_and_read_within_bounds() {
        let directory = Directory::publish("a.example:7443", [Endpoint::Update], None)
            .unwrap()
            .with_gateway("a.example:7443")
            .with_hub_senders([(1, Bytes::from_static(b"\x01one")), (3, Bytes::from_static(b"three"))]);
        let mut document = serde_json::to_value(&directory).unwrap();
        assert_eq!(
            document["ohttpGateway"],
            "https://a.example:7443/.well-known/ohttp-gateway"
        );
        assert_eq!(
            document["hubSenders"],
            serde_json::json!({"1": "016f6e65", "3": "7468726565"})
        );
        assert_eq!(
            serde_json::from_value::<Directory>(document.clone()).unwrap(),
            directory
        );

        document["hubSenders"] = serde_json::json!({
            "1": "016f6e65", "2": "no hexadecimal", "x": "00", "70000": "00", "4": 7, "5": "00".repeat(9_000),
        });
        let read: Directory = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(read.hub_senders.into_keys().collect::<Vec<_>>(), [1]);
        let many: BTreeMap<String, String> = (0..100).map(|suite| (suite.to_string(), String::new())).collect();
        document["hubSenders"] = serde_json::to_value(many).unwrap();
        let read: Directory = serde_json::from_value(document.clone()).unwrap();
        assert_eq!(read.hub_senders.len(), HUB_SENDERS_MAX);
        document["hubSenders"] = serde_json::json!([1, 2]);
        assert!(
            serde_json::from_value::<Directory>(document)
                .unwrap()
                .hub_senders
                .is_empty()
        );
    }

    #[test]
    fn e_3_unknown_keys_and_useless_templates_are_passed_over() {
        let document = r#"{
            "keyMaterial": "https://mimi.example.com/v1/keyMaterial/{targetUser}",
            "update": "https://mimi.example.com/v1/update{roomId}",
            "notify": "gopher://mimi.example.com/{roomId}",
            "groupInfo": 7,
            "x-roomEvents": {"deep": ["down"]},
            "x-other": "https://mimi.example.com/v1/other/{x}",
            "naveLink": null
        }"#;
        let directory: Directory = serde_json::from_str(document).unwrap();
        let endpoints: Vec<_> = directory.endpoints.keys().copied().collect();
        assert_eq!(endpoints, [Endpoint::KeyMaterial, Endpoint::Update]);
        assert_eq!(directory.link, None);
    }

    #[test]
    fn e_3_a_request_is_routed_by_what_was_published() {
        let directory = Directory::publish("a.example", Endpoint::ALL, None).unwrap();
        for endpoint in Endpoint::ALL {
            let uri = directory.endpoints[&endpoint].expand("mimi://a.example/r/x");
            let path = uri.strip_prefix("https://a.example").unwrap();
            assert_eq!(
                directory.route(path),
                Some((endpoint, "mimi://a.example/r/x".to_owned()))
            );
            assert_eq!(Endpoint::named(endpoint.name()), Some(endpoint));
        }
        assert_eq!(directory.route("/v1/other/mimi%3A%2F%2Fa.example%2Fr%2Fx"), None);
        assert_eq!(Endpoint::named("other"), None);
    }
}
