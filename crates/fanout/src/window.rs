//! One delivery as it is put together.

use std::sync::Arc;

use mimi::Provider;

use crate::{Due, Entry, Options};

/// Collects one delivery within its bounds.
pub(crate) struct Window<'a> {
    options: &'a Options,
    bytes_max: usize,
    bytes: usize,
    pub(crate) items: Vec<Due>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(options: &'a Options) -> Self {
        Self::of(options, options.window_bytes_max)
    }

    /// One of fewer octets.
    pub(crate) fn of(options: &'a Options, bytes_max: usize) -> Self {
        Self {
            options,
            bytes_max,
            bytes: 0,
            items: Vec::new(),
        }
    }

    /// Adds an entry, unless it does not fit. The first always fits.
    pub(crate) fn push(&mut self, entry: Arc<Entry>, to: &Provider) -> bool {
        let bytes = self.bytes + entry.message.len();
        let full = self.items.len() >= self.options.window_entries_max || bytes > self.bytes_max;
        if full && !self.items.is_empty() {
            return false;
        }
        if let Some(due) = Due::to(entry, to) {
            self.bytes = bytes;
            self.items.push(due);
        }
        true
    }
}
