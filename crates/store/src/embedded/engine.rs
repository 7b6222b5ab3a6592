//! What lies below the resolver: something that applies a group of rows atomically and shows one state of them.

use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::backend::{Bounds, Rows};
use crate::key::{KeyRange, Version};

/// The rows that a group changes: a value, or `None` for a key that is taken away.
pub(crate) type Changes = BTreeMap<Bytes, Option<Bytes>>;

/// Holds rows. There is one writer, which owns it; readers hold views.
pub(crate) trait Engine: fmt::Debug + Send {
    /// The version that the engine holds.
    fn version(&self) -> Version;

    /// What the engine holds now, unchanged by what is applied later.
    fn view(&self) -> Arc<dyn View>;

    /// Applies all changes or none. They are durable when this returns `Ok`; after an error it is open whether they are
    /// there, and the engine is not used again.
    fn apply(&mut self, version: Version, changes: &Changes) -> Result<(), EngineError>;
}

/// One state of an engine's rows.
pub(crate) trait View: fmt::Debug + Send + Sync {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>, EngineError>;

    /// Rows of a range that is not empty.
    fn range(&self, range: &KeyRange, bounds: Bounds) -> Result<Rows, EngineError>;
}

/// The engine failed, in its own words. Always fatal.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct EngineError(pub(crate) String);

/// Takes rows until a bound is met.
pub(crate) fn bounded<E>(rows: impl Iterator<Item = Result<(Bytes, Bytes), E>>, bounds: Bounds) -> Result<Rows, E> {
    let mut taken = Vec::new();
    let mut octets = 0_usize;
    for row in rows {
        if taken.len() >= bounds.rows || (octets >= bounds.octets && !taken.is_empty()) {
            return Ok(Rows {
                rows: taken,
                more: true,
            });
        }
        let (key, value) = row?;
        octets += key.len() + value.len();
        taken.push((key, value));
    }
    Ok(Rows {
        rows: taken,
        more: false,
    })
}
