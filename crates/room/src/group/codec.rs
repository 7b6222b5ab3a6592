//! How a group is kept: a snapshot of everything, or the change that one commit made. What is decoded here was verified
//! when it was accepted and is not verified again, so it takes no cryptography and no clock.
//!
//! Both are MessagePack with field names, because the layout of OpenMLS' types moves between its releases. The
//! app_data_dictionary, which may be most of a group and seldom changes, is cut out and named by its digest.

use std::cell::RefCell;
use std::iter::successors;

use bytes::Bytes;
use mimi::codec::{Encode as _, Reader, Writer};
use openmls::extensions::AppDataDictionary;
use openmls::group::QueuedProposal;
use openmls::prelude::StagedCommit;
use openmls_traits::public_storage::PublicStorageProvider;
use openmls_traits::storage::{CURRENT_VERSION, traits};
use rmp_serde::config::BytesMode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tls_codec::{DeserializeBytes as _, Serialize as _};

use crate::Digest;

/// First octet of snapshots, deltas and queued proposals.
const VERSION: u8 = 1;

/// Octets of a packed dictionary by which it is found.
const BEGIN: usize = 32;

/// Octets that are not what this module wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not what a group was written as")]
pub(crate) struct CodecError;

/// A dictionary as it is kept: its TLS encoding and the digest of that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptDictionary {
    pub(crate) digest: Digest,
    pub(crate) octets: Bytes,
}

impl KeptDictionary {
    pub(crate) fn of(dictionary: &AppDataDictionary) -> Result<Self, CodecError> {
        let octets: Bytes = dictionary.tls_serialize_detached().map_err(|_| CodecError)?.into();
        Ok(Self {
            digest: Digest::of(&octets),
            octets,
        })
    }
}

/// Octet strings are written as such, which takes a fraction of the time and half the octets that sequences of numbers do.
fn pack(value: &impl Serialize) -> Result<Vec<u8>, CodecError> {
    let mut octets = Vec::with_capacity(1024);
    let mut serializer = rmp_serde::Serializer::new(&mut octets)
        .with_struct_map()
        .with_bytes(BytesMode::ForceIterables);
    value.serialize(&mut serializer).map_err(|_| CodecError)?;
    Ok(octets)
}

fn unpack<T: DeserializeOwned>(octets: &[u8]) -> Result<T, CodecError> {
    rmp_serde::from_slice(octets).map_err(|_| CodecError)
}

/// Writes `packed` without the dictionary that stands in it somewhere.
fn write_cut(writer: &mut Writer, packed: &[u8], dictionary: &AppDataDictionary) -> Result<KeptDictionary, CodecError> {
    let kept = KeptDictionary::of(dictionary)?;
    let inner = pack(dictionary)?;
    // Making ready for a long search string takes longer than finding it by how it begins.
    let (begin, _) = inner.split_at_checked(BEGIN).unwrap_or((&inner, &[]));
    let finder = memchr::memmem::Finder::new(begin);
    let next = |from: usize| finder.find(&packed[from..]).map(|after| from + after);
    let start = successors(next(0), |start| next(start + 1))
        .find(|start| packed[*start..].starts_with(&inner))
        .ok_or(CodecError)?;
    writer.opaque(&packed[..start]);
    kept.digest.0.write(writer);
    writer.opaque(&packed[start + inner.len()..]);
    Ok(kept)
}

/// Reads what [`write_cut`] wrote, the dictionary back in its place.
fn read_cut(
    reader: &mut Reader<'_>,
    dictionary: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Result<(Vec<u8>, Digest), CodecError> {
    let before = reader.opaque().map_err(|_| CodecError)?;
    let digest = Digest(reader.array().map_err(|_| CodecError)?);
    let after = reader.opaque().map_err(|_| CodecError)?;
    let octets = dictionary(&digest)
        .filter(|octets| Digest::of(octets) == digest)
        .ok_or(CodecError)?;
    let inner = AppDataDictionary::tls_deserialize_exact_bytes(&octets).map_err(|_| CodecError)?;
    Ok(([before, &pack(&inner)?, after].concat(), digest))
}

fn versioned(octets: &[u8]) -> Result<Reader<'_>, CodecError> {
    let mut reader = Reader::new(octets);
    match reader.array() {
        Ok([VERSION]) => Ok(reader),
        _ => Err(CodecError),
    }
}

/// Encodes the change that a commit makes; its new dictionary is kept apart.
pub(crate) fn encode_delta(staged: &StagedCommit) -> Result<(Bytes, KeptDictionary), CodecError> {
    let dictionary = staged
        .group_context()
        .extensions()
        .app_data_dictionary()
        .ok_or(CodecError)?;
    let mut writer = Writer::default();
    VERSION.write(&mut writer);
    let kept = write_cut(&mut writer, &pack(staged)?, dictionary.dictionary())?;
    Ok((writer.into_octets().into(), kept))
}

/// Decodes [`encode_delta`], and the digest of the dictionary that it needed.
pub(crate) fn decode_delta(
    octets: &[u8],
    dictionary: &dyn Fn(&Digest) -> Option<Bytes>,
) -> Result<(StagedCommit, Digest), CodecError> {
    let mut reader = versioned(octets)?;
    let (packed, digest) = read_cut(&mut reader, dictionary)?;
    reader.finish().map_err(|_| CodecError)?;
    Ok((unpack(&packed)?, digest))
}

/// Encodes the proposals of a bundle as the group keeps them.
pub(crate) fn encode_queued(queued: &[QueuedProposal]) -> Result<Bytes, CodecError> {
    let mut octets = vec![VERSION];
    octets.extend(pack(&queued)?);
    Ok(octets.into())
}

/// Decodes [`encode_queued`].
pub(crate) fn decode_queued(octets: &[u8]) -> Result<Vec<QueuedProposal>, CodecError> {
    match octets.split_first() {
        Some((&VERSION, packed)) => unpack(packed),
        _ => Err(CodecError),
    }
}

#[derive(Debug, Default)]
struct Entities {
    tree: Vec<u8>,
    context: Vec<u8>,
    interim_transcript_hash: Vec<u8>,
    confirmation_tag: Vec<u8>,
}

/// What OpenMLS takes for a store: holds a group's four entities on their way to or from a snapshot, or drops them.
#[derive(Debug, Default)]
pub(crate) struct Shelf {
    /// `None`: whatever is written goes nowhere.
    entities: Option<RefCell<Entities>>,
}

impl Shelf {
    /// Keeps nothing.
    pub(crate) fn nowhere() -> Self {
        Self::default()
    }

    /// Keeps what is written to it.
    pub(crate) fn empty() -> Self {
        Self {
            entities: Some(RefCell::default()),
        }
    }

    /// Encodes what was written to it; the dictionary, which is that of the group, is kept apart.
    pub(crate) fn encode(self, dictionary: &AppDataDictionary) -> Result<(Bytes, KeptDictionary), CodecError> {
        let entities = self.entities.ok_or(CodecError)?.into_inner();
        let mut writer = Writer::default();
        VERSION.write(&mut writer);
        writer.opaque(&entities.tree);
        let kept = write_cut(&mut writer, &entities.context, dictionary)?;
        writer.opaque(&entities.interim_transcript_hash);
        writer.opaque(&entities.confirmation_tag);
        Ok((writer.into_octets().into(), kept))
    }

    /// Decodes [`Self::encode`], and the digest of the dictionary that it needed.
    pub(crate) fn decode(
        octets: &[u8],
        dictionary: &dyn Fn(&Digest) -> Option<Bytes>,
    ) -> Result<(Self, Digest), CodecError> {
        let mut reader = versioned(octets)?;
        let tree = reader.opaque().map_err(|_| CodecError)?.to_vec();
        let (context, digest) = read_cut(&mut reader, dictionary)?;
        let entities = Entities {
            tree,
            context,
            interim_transcript_hash: reader.opaque().map_err(|_| CodecError)?.to_vec(),
            confirmation_tag: reader.opaque().map_err(|_| CodecError)?.to_vec(),
        };
        reader.finish().map_err(|_| CodecError)?;
        let entities = Some(RefCell::new(entities));
        Ok((Self { entities }, digest))
    }

    fn write(&self, place: fn(&mut Entities) -> &mut Vec<u8>, value: &impl Serialize) -> Result<(), CodecError> {
        if let Some(entities) = &self.entities {
            *place(&mut entities.borrow_mut()) = pack(value)?;
        }
        Ok(())
    }

    fn read<T: DeserializeOwned>(&self, place: fn(&mut Entities) -> &mut Vec<u8>) -> Result<Option<T>, CodecError> {
        match &self.entities {
            Some(entities) => unpack(place(&mut entities.borrow_mut())).map(Some),
            None => Ok(None),
        }
    }
}

/// Proposals are kept by the room, and groups are never deleted through here.
impl PublicStorageProvider<CURRENT_VERSION> for Shelf {
    type PublicError = CodecError;

    fn write_tree<G: traits::GroupId<CURRENT_VERSION>, T: traits::TreeSync<CURRENT_VERSION>>(
        &self,
        _: &G,
        tree: &T,
    ) -> Result<(), CodecError> {
        self.write(|entities| &mut entities.tree, tree)
    }

    fn write_interim_transcript_hash<
        G: traits::GroupId<CURRENT_VERSION>,
        H: traits::InterimTranscriptHash<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        hash: &H,
    ) -> Result<(), CodecError> {
        self.write(|entities| &mut entities.interim_transcript_hash, hash)
    }

    fn write_context<G: traits::GroupId<CURRENT_VERSION>, C: traits::GroupContext<CURRENT_VERSION>>(
        &self,
        _: &G,
        context: &C,
    ) -> Result<(), CodecError> {
        self.write(|entities| &mut entities.context, context)
    }

    fn write_confirmation_tag<G: traits::GroupId<CURRENT_VERSION>, T: traits::ConfirmationTag<CURRENT_VERSION>>(
        &self,
        _: &G,
        tag: &T,
    ) -> Result<(), CodecError> {
        self.write(|entities| &mut entities.confirmation_tag, tag)
    }

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
        _: &R,
        _: &P,
    ) -> Result<(), CodecError> {
        Ok(())
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        P: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Vec<(R, P)>, CodecError> {
        Ok(Vec::new())
    }

    fn tree<G: traits::GroupId<CURRENT_VERSION>, T: traits::TreeSync<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, CodecError> {
        self.read(|entities| &mut entities.tree)
    }

    fn group_context<G: traits::GroupId<CURRENT_VERSION>, C: traits::GroupContext<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<C>, CodecError> {
        self.read(|entities| &mut entities.context)
    }

    fn interim_transcript_hash<
        G: traits::GroupId<CURRENT_VERSION>,
        H: traits::InterimTranscriptHash<CURRENT_VERSION>,
    >(
        &self,
        _: &G,
    ) -> Result<Option<H>, CodecError> {
        self.read(|entities| &mut entities.interim_transcript_hash)
    }

    fn confirmation_tag<G: traits::GroupId<CURRENT_VERSION>, T: traits::ConfirmationTag<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<Option<T>, CodecError> {
        self.read(|entities| &mut entities.confirmation_tag)
    }

    fn delete_tree<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), CodecError> {
        Ok(())
    }

    fn delete_confirmation_tag<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), CodecError> {
        Ok(())
    }

    fn delete_context<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), CodecError> {
        Ok(())
    }

    fn delete_interim_transcript_hash<G: traits::GroupId<CURRENT_VERSION>>(&self, _: &G) -> Result<(), CodecError> {
        Ok(())
    }

    fn remove_proposal<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
        _: &R,
    ) -> Result<(), CodecError> {
        Ok(())
    }

    fn clear_proposal_queue<G: traits::GroupId<CURRENT_VERSION>, R: traits::ProposalRef<CURRENT_VERSION>>(
        &self,
        _: &G,
    ) -> Result<(), CodecError> {
        Ok(())
    }
}
