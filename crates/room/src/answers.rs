//! First answers, kept for whoever asks the same again.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::row::AnswerKind;
use crate::{Digest, Millis, Row, RowId};

/// How long a first answer is kept at most.
pub const ANSWERS_MILLIS: u64 = 24 * 60 * 60 * 1_000;

/// First answers to UpdateRequests kept at most.
pub const UPDATE_ANSWERS: usize = 256;

/// First answers to SubmitMessageRequests kept at most.
pub const SUBMIT_ANSWERS: usize = 4_096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) kind: AnswerKind,
    pub(crate) accepted: Millis,
    pub(crate) body: Bytes,
}

/// The answers of one room. Those too old or too many go when another is kept.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    kept: BTreeMap<Digest, Kept>,
    order: BTreeMap<(AnswerKind, Millis), Digest>,
    /// How many of them answer UpdateRequests.
    updates: usize,
}

impl Answers {
    pub(crate) fn first(&self, request: &Digest) -> Option<&Kept> {
        self.kept.get(request)
    }

    pub(crate) fn restore(&mut self, request: Digest, kept: Kept) {
        self.updates += usize::from(kept.kind == AnswerKind::Update);
        self.order.insert((kept.kind, kept.accepted), request);
        self.kept.insert(request, kept);
    }

    /// Keeps a first answer; `rows` gets it, and what goes for it.
    pub(crate) fn keep(&mut self, request: Digest, kept: Kept, rows: &mut BTreeMap<RowId, Option<Row>>) {
        let row = Row::Answer {
            kind: kept.kind,
            accepted: kept.accepted,
            answer: kept.body.clone(),
        };
        rows.insert(RowId::Answer(request), Some(row));
        let (kind, now) = (kept.kind, kept.accepted);
        self.restore(request, kept);
        let most = match kind {
            AnswerKind::Update => UPDATE_ANSWERS,
            AnswerKind::Submit => SUBMIT_ANSWERS,
        };
        let all = (kind, Millis(0))..=(kind, Millis(u64::MAX));
        while let Some((&order, &oldest)) = self.order.range(all.clone()).next() {
            if self.number(kind) <= most && now.0.saturating_sub(order.1.0) < ANSWERS_MILLIS {
                break;
            }
            self.order.remove(&order);
            self.kept.remove(&oldest);
            self.updates -= usize::from(kind == AnswerKind::Update);
            rows.insert(RowId::Answer(oldest), None);
        }
    }

    fn number(&self, kind: AnswerKind) -> usize {
        match kind {
            AnswerKind::Update => self.updates,
            AnswerKind::Submit => self.kept.len() - self.updates,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Digest, &Kept)> {
        self.kept.iter()
    }
}
