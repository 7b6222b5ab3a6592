//! Franking (mimi-protocol §5.4.1.2): the hub's symmetric keys, one for each interval of time (CHOICE A-15). An interval's
//! key is random and lies in the ledger, sealed; a room's key is derived from it. When it is forgotten, nobody can prove
//! any more, not even the hub, what was sent in that interval: that is meant, and is the reason why the keys are derived
//! from nothing that stays.

use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use ledger::intervals::{Interval, Intervals};
use ledger::{Ledger, ReadError};
use mimi::franking::{FrankingIntegrityTbs, ServerFrankingContext, TAG_BYTES, is_server_frank, server_frank};
use mimi::mls::CipherSuite;
use mimi::submit::Frank;
use room::Millis;

use crate::keys::{HubKeys, Key, NoRandomness};
use crate::vault::derive;

/// How far accepted times and the edge of an interval may be apart between nodes whose clocks differ, in milliseconds.
const SKEW_MS: u64 = 10 * 60 * 1_000;

/// The shortest interval: keys are made ahead of need and read again several times in between.
const ROTATION_MIN: Duration = Duration::from_secs(60 * 60);

/// How long franking keys live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrankingOptions {
    /// Length of an interval; at least an hour.
    pub rotation: Duration,
    /// How long after its interval a key is kept: as long, reports can be verified.
    pub retention: Duration,
}

impl Default for FrankingOptions {
    fn default() -> Self {
        Self {
            rotation: Duration::from_secs(7 * 24 * 60 * 60),
            retention: Duration::from_secs(90 * 24 * 60 * 60),
        }
    }
}

/// Why the franking keys were not read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrankingError {
    /// The ledger's.
    #[error("the rows of the franking keys")]
    Ledger(#[from] ReadError),
    /// A key was sealed by another hub key.
    #[error("a franking key that does not open with this hub's key")]
    Sealed,
    /// See there.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl From<store::Error> for FrankingError {
    fn from(error: store::Error) -> Self {
        Self::Ledger(error.into())
    }
}

impl store::Retry for FrankingError {
    fn store_error(&self) -> Option<&store::Error> {
        match self {
            Self::Ledger(error) => error.store_error(),
            Self::Sealed | Self::NoRandomness(_) => None,
        }
    }
}

/// One interval's key. It begins at `begin`, and the next begins at `end` or later.
struct IntervalKey {
    begin: Millis,
    end: Millis,
    secret: [u8; 32],
}

impl IntervalKey {
    /// The key of one room.
    fn of_room(&self, context: &ServerFrankingContext) -> [u8; 32] {
        derive(&self.secret, &[b"nave franking ", context.room_uri.octets()])
    }
}

/// The keys of all intervals that are kept, by time.
#[derive(Default)]
pub(crate) struct KeyRing {
    keys: Vec<IntervalKey>,
}

/// What a frank turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// The hub's.
    Genuine,
    /// Not the hub's.
    Forged,
    /// There is no key of that time.
    NoKey,
}

impl KeyRing {
    pub(crate) fn frank(
        &self,
        suite: CipherSuite,
        signer: &Key,
        tag: &[u8; TAG_BYTES],
        context: &ServerFrankingContext,
    ) -> Option<Frank> {
        let at = Millis(context.accepted_timestamp);
        let key = self.keys.iter().find(|key| key.begin <= at && at < key.end)?;
        let mut frank = Frank {
            server_frank: server_frank(&key.of_room(context), tag, context),
            franking_signature_ciphersuite: suite,
            franking_integrity_signature: bytes::Bytes::new(),
        };
        let signed = FrankingIntegrityTbs::of(&frank, context.clone()).sign_content();
        frank.franking_integrity_signature = signer.sign(&signed);
        Some(frank)
    }

    /// Whether a server_frank was made with the key of its time, or of the neighbour when it is close to the edge.
    pub(crate) fn find(
        &self,
        tag: &[u8; TAG_BYTES],
        context: &ServerFrankingContext,
        frank: &[u8; TAG_BYTES],
    ) -> Found {
        let at = context.accepted_timestamp;
        let near =
            |key: &&IntervalKey| key.begin.0 <= at.saturating_add(SKEW_MS) && at < key.end.0.saturating_add(SKEW_MS);
        let mut found = Found::NoKey;
        for key in self.keys.iter().filter(near) {
            if is_server_frank(&key.of_room(context), tag, context, frank) {
                return Found::Genuine;
            }
            found = Found::Forged;
        }
        found
    }
}

impl HubKeys {
    /// Reads the franking keys, makes those that will be needed next and forgets those that were kept long enough. What
    /// another node made is adopted: a row of an interval is written once. Call it before rooms are served and several
    /// times in each interval.
    ///
    /// # Errors
    /// The ledger's, or there are no random octets. The keys that were read last go on being used.
    pub async fn refresh_franking(
        &self,
        ledger: &Ledger,
        now: Millis,
        options: &FrankingOptions,
    ) -> Result<(), FrankingError> {
        let rotation = millis(options.rotation.max(ROTATION_MIN));
        let retention = millis(options.retention);
        let ring = ledger
            .database()
            .run(|mut transaction| async move {
                let ring = self
                    .turn(&mut Intervals(&mut transaction), now, rotation, retention)
                    .await?;
                Ok::<_, FrankingError>((transaction, ring))
            })
            .await?;
        self.set_ring(ring);
        Ok(())
    }

    async fn turn(
        &self,
        rows: &mut Intervals<'_>,
        now: Millis,
        rotation: u64,
        retention: u64,
    ) -> Result<KeyRing, FrankingError> {
        let mut ring = KeyRing::default();
        for row in rows.all().await? {
            if row.end.0.saturating_add(retention) < now.0 {
                rows.clear(row.begin);
                continue;
            }
            let secret = self.vault.open(&place(row.begin, row.end), &row.sealed);
            ring.keys.push(IntervalKey {
                begin: row.begin,
                end: row.end,
                secret: secret
                    .and_then(|secret| secret.try_into().ok())
                    .ok_or(FrankingError::Sealed)?,
            });
        }
        // One interval ahead, so that every node has read a key long before it is used.
        let earliest = now.0.saturating_sub(SKEW_MS);
        let mut begin = ring.keys.last().map_or(earliest, |last| last.end.0.max(earliest));
        while begin <= now.0.saturating_add(rotation) {
            let (from, end) = (Millis(begin), Millis(begin.saturating_add(rotation)));
            let mut secret = [0; 32];
            SystemRandom::new().fill(&mut secret).map_err(|_| NoRandomness)?;
            let sealed = self.vault.seal(&place(from, end), &secret);
            rows.put(&Interval {
                begin: from,
                end,
                sealed,
            });
            ring.keys.push(IntervalKey {
                begin: from,
                end,
                secret,
            });
            begin = end.0;
        }
        Ok(ring)
    }
}

/// Names an interval to the vault.
fn place(begin: Millis, end: Millis) -> Vec<u8> {
    [&b"franking "[..], &begin.0.to_be_bytes(), &end.0.to_be_bytes()].concat()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use bytes::Bytes;
    use mimi::{Decode as _, IdentifierUri};
    use openmls_traits::types::SignatureScheme;
    use serde_json::Value;

    use super::*;

    fn octets(vector: &Value, name: &str) -> Vec<u8> {
        hex::decode(vector[name].as_str().unwrap()).unwrap()
    }

    fn key(begin: u64, end: u64, secret: u8) -> IntervalKey {
        IntervalKey {
            begin: Millis(begin),
            end: Millis(end),
            secret: [secret; 32],
        }
    }

    #[test]
    fn k_2_k_3_the_hub_signs_what_the_vectors_say() {
        let file = include_str!("../../mimi/tests/vectors/franking-kat.json");
        let file: Value = serde_json::from_str(file).unwrap();
        let vectors = file["vectors"].as_array().unwrap();
        assert_eq!(vectors.len(), 3);
        for vector in vectors {
            let seed = octets(vector, "franking_private_seed");
            let signer = Key::new(SignatureScheme::ED25519, seed, octets(vector, "franking_signature_key")).unwrap();
            let uri = |name: &str| IdentifierUri(Bytes::copy_from_slice(vector[name].as_str().unwrap().as_bytes()));
            let context = ServerFrankingContext {
                sender_uri: uri("sender_uri"),
                room_uri: uri("room_uri"),
                accepted_timestamp: vector["accepted_timestamp"].as_u64().unwrap(),
            };
            let frank = Frank::decode_exact(&octets(vector, "frank_struct")).unwrap();
            let signed = FrankingIntegrityTbs::of(&frank, context).sign_content();
            assert_eq!(signer.sign(&signed), frank.franking_integrity_signature);
            assert!(signer.verifies(&signed, &frank.franking_integrity_signature));
        }
    }

    #[test]
    fn k_4_the_time_chooses_the_key_and_close_to_an_edge_the_neighbours_are_tried() {
        let hour = 60 * 60 * 1_000;
        let ring = |secrets: [u8; 2]| KeyRing {
            keys: vec![key(0, hour, secrets[0]), key(hour, 2 * hour, secrets[1])],
        };
        let context = |at| ServerFrankingContext {
            sender_uri: IdentifierUri(Bytes::from_static(b"mimi://b.example/u/bob")),
            room_uri: IdentifierUri(Bytes::from_static(b"mimi://a.example/r/clubhouse")),
            accepted_timestamp: at,
        };
        let tag = [7; TAG_BYTES];
        let by = |secret, at| server_frank(&key(0, 0, secret).of_room(&context(at)), &tag, &context(at));
        let find = |at, frank| ring([1, 2]).find(&tag, &context(at), &frank);
        assert_eq!(find(hour - 1, by(1, hour - 1)), Found::Genuine);
        assert_eq!(find(hour, by(2, hour)), Found::Genuine);
        assert_eq!(
            find(hour, by(1, hour)),
            Found::Genuine,
            "a node whose interval ended later"
        );
        let later = hour + SKEW_MS;
        assert_eq!(find(later, by(1, later)), Found::Forged);
        assert_eq!(find(hour, by(3, hour)), Found::Forged);
        assert_eq!(find(3 * hour, by(2, 3 * hour)), Found::NoKey);
        let elsewhere = ServerFrankingContext {
            room_uri: IdentifierUri(Bytes::from_static(b"mimi://a.example/r/other")),
            ..context(1)
        };
        let key = key(0, 0, 1);
        assert_ne!(key.of_room(&elsewhere), key.of_room(&context(1)), "a key for each room");
    }
}
