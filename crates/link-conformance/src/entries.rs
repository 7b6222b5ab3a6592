//! Entries as a hub would bring them: FanoutMessages that decode, with seq and chain.

use bytes::Bytes;
use proto::link::{Item, item};
use sha2::{Digest, Sha256};

/// A room of the hub, as one follower is shown it.
pub(crate) struct Room {
    pub(crate) uri: String,
    seq: u64,
    chain: [u8; 32],
}

impl Room {
    pub(crate) fn new(hub: &str) -> Self {
        Self {
            uri: format!("mimi://{hub}/r/conformance-{}", hex::encode(rand::random::<[u8; 8]>())),
            seq: 0,
            chain: [0; 32],
        }
    }

    /// The next entry, whose FanoutMessage has about `size` octets.
    pub(crate) fn message(&mut self, offset: u64, size: usize) -> Item {
        let message = fanout_message(&self.uri, self.seq + 1, size);
        let digest = Sha256::digest(&message).into();
        self.item(offset, digest, item::Body::Message(message))
    }

    /// The next entry, which is not for the follower.
    pub(crate) fn digest(&mut self, offset: u64) -> Item {
        let digest: [u8; 32] = rand::random();
        self.item(offset, digest, item::Body::Digest(digest.to_vec().into()))
    }

    fn item(&mut self, offset: u64, digest: [u8; 32], body: item::Body) -> Item {
        let previous_seq = self.seq;
        self.seq += 1;
        self.chain = chain(&self.chain, self.seq, &digest);
        Item {
            offset,
            room: self.uri.clone(),
            seq: self.seq,
            previous_seq,
            chain: self.chain.to_vec().into(),
            recipient_set: vec![2; 16].into(),
            epoch: 1,
            body: Some(body),
        }
    }
}

/// SHA-256(chain before || seq || digest), seq as eight octets big-endian.
pub(crate) fn chain(before: &[u8; 32], seq: u64, digest: &[u8; 32]) -> [u8; 32] {
    let hash = Sha256::new().chain_update(before).chain_update(seq.to_be_bytes());
    hash.chain_update(digest).finalize().into()
}

/// FanoutMessage (mimi-protocol §5.5): a PrivateMessage (RFC 9420 §6.3) that nobody can open, without a frank.
fn fanout_message(room: &str, seq: u64, size: usize) -> Bytes {
    let mut octets = 1_700_000_000_000_u64.to_be_bytes().to_vec();
    octets.extend([0, 1, 0, 2]);
    vector(&mut octets, room.as_bytes());
    octets.extend(1_u64.to_be_bytes());
    octets.push(1);
    vector(&mut octets, &[]);
    vector(&mut octets, &[3; 28]);
    let mut ciphertext = vec![5; size.max(16)];
    ciphertext[..8].copy_from_slice(&seq.to_be_bytes());
    vector(&mut octets, &ciphertext);
    octets.push(0);
    octets.into()
}

/// `opaque x<V>` (RFC 9420 §2.1.2).
fn vector(octets: &mut Vec<u8>, content: &[u8]) {
    let length = u32::try_from(content.len()).expect("entries are far below 1 GiB");
    match length {
        0..64 => octets.push(length.to_be_bytes()[3]),
        64..16_384 => octets.extend(&(length | 0x4000).to_be_bytes()[2..]),
        _ => octets.extend((length | 0x8000_0000).to_be_bytes()),
    }
    octets.extend(content);
}
