//! Ratchet tree as the `ratchet_tree` extension holds it (RFC 9420 §12.4.3.3): `optional<Node> ratchet_tree<V>`.

use bytes::Bytes;

use crate::codec::{Decode, DecodeError, Encode, Reader, Writer};
use crate::limits;
use crate::mls::LeafNodeView;

/// A node of the tree, in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeView<'a> {
    /// A leaf.
    Leaf(LeafNodeView<'a>),
    /// A parent.
    Parent {
        /// HPKEPublicKey.
        encryption_key: &'a [u8],
        /// The parent hash.
        parent_hash: &'a [u8],
    },
}

impl<'a> NodeView<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        match u8::decode(reader)? {
            1 => LeafNodeView::read(reader).map(Self::Leaf),
            2 => {
                let encryption_key = reader.opaque()?;
                let parent_hash = reader.opaque()?;
                if reader.opaque()?.len() % 4 != 0 {
                    return Err(DecodeError::Truncated);
                }
                Ok(Self::Parent {
                    encryption_key,
                    parent_hash,
                })
            }
            value => Err(DecodeError::Unknown {
                what: "node type",
                value: value.into(),
            }),
        }
    }

    fn read_optional(reader: &mut Reader<'a>) -> Result<Option<Self>, DecodeError> {
        reader.flag()?.then(|| Self::read(reader)).transpose()
    }
}

/// Ratchet tree, kept as its octets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RatchetTree {
    body: Bytes,
}

impl RatchetTree {
    /// The octets of the vector, without its length.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The nodes from the left, blank ones as none.
    pub fn nodes(&self) -> impl Iterator<Item = Option<NodeView<'_>>> {
        let mut reader = Reader::new(&self.body);
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            NodeView::read_optional(&mut reader).ok()
        })
    }

    /// The leaves that are not blank, with their leaf indices.
    pub fn leaves(&self) -> impl Iterator<Item = (u32, LeafNodeView<'_>)> {
        (0..)
            .zip(self.nodes().step_by(2))
            .filter_map(|(index, node)| match node {
                Some(NodeView::Leaf(leaf)) => Some((index, leaf)),
                Some(NodeView::Parent { .. }) | None => None,
            })
    }
}

impl Encode for RatchetTree {
    fn write(&self, writer: &mut Writer) {
        writer.opaque(&self.body);
    }
}

impl Decode for RatchetTree {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let body = reader.opaque()?;
        let mut walk = Reader::new(body);
        let mut count = 0;
        while !walk.is_empty() {
            NodeView::read_optional(&mut walk)?;
            count += 1;
            if count > limits::TREE_NODES_MAX {
                return Err(DecodeError::TooMuch {
                    what: "nodes of a ratchet tree",
                    max: limits::TREE_NODES_MAX,
                });
            }
        }
        Ok(Self {
            body: reader.keep(body),
        })
    }
}
