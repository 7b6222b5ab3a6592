//! Tree hash (RFC 9420 §7.8) of a ratchet tree on the wire: whether a tree that somebody sent is the tree of the group.

use mimi::codec::{Decode as _, DecodeError, Encode as _, Reader, Writer};
use mimi::mls::label::{UnknownSuite, hash};
use mimi::mls::{CipherSuite, LeafNode, RatchetTree};

/// The tree hash, or `None` when the nodes do not stand as a tree's do.
pub(crate) fn tree_hash(suite: CipherSuite, tree: &RatchetTree) -> Result<Option<Vec<u8>>, UnknownSuite> {
    let Ok(nodes) = nodes(tree.body()) else { return Ok(None) };
    let leaves = nodes.len().div_ceil(2);
    if leaves == 0 || nodes.len() % 2 == 0 {
        return Ok(None);
    }
    let width = leaves.next_power_of_two();
    let node = |index: usize| nodes.get(index).copied().flatten();
    let mut level = Vec::with_capacity(width);
    for leaf in 0..width {
        let content = match node(2 * leaf) {
            Some(Node::Leaf(octets)) => Some(octets),
            Some(Node::Parent(_)) => return Ok(None),
            None => None,
        };
        let mut input = Writer::default();
        1u8.write(&mut input);
        u32::try_from(leaf).unwrap_or(u32::MAX).write(&mut input);
        write_optional(&mut input, content);
        level.push(hash(suite, &input.into_octets())?);
    }
    let mut span = 1;
    while level.len() > 1 {
        // The parents of this level stand between the nodes that they join.
        let mut parents = Vec::with_capacity(level.len() / 2);
        for (position, pair) in level.chunks_exact(2).enumerate() {
            let content = match node((2 * position + 1) * 2 * span - 1) {
                Some(Node::Parent(octets)) => Some(octets),
                Some(Node::Leaf(_)) => return Ok(None),
                None => None,
            };
            let mut input = Writer::default();
            2u8.write(&mut input);
            write_optional(&mut input, content);
            input.opaque(&pair[0]);
            input.opaque(&pair[1]);
            parents.push(hash(suite, &input.into_octets())?);
        }
        level = parents;
        span *= 2;
    }
    Ok(level.pop().map(Vec::from))
}

#[derive(Clone, Copy)]
enum Node<'a> {
    Leaf(&'a [u8]),
    Parent(&'a [u8]),
}

fn nodes(body: &[u8]) -> Result<Vec<Option<Node<'_>>>, DecodeError> {
    let mut reader = Reader::new(body);
    let mut nodes = Vec::new();
    while !reader.is_empty() {
        if !reader.flag()? {
            nodes.push(None);
            continue;
        }
        let [kind] = reader.array()?;
        let mark = reader.mark();
        if kind == 1 {
            LeafNode::decode(&mut reader)?;
            nodes.push(Some(Node::Leaf(reader.since(mark))));
        } else {
            for _ in ["encryption_key", "parent_hash", "unmerged_leaves"] {
                reader.opaque()?;
            }
            nodes.push(Some(Node::Parent(reader.since(mark))));
        }
    }
    Ok(nodes)
}

fn write_optional(writer: &mut Writer, octets: Option<&[u8]>) {
    octets.is_some().write(writer);
    writer.raw(octets.unwrap_or_default());
}
