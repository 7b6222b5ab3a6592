//! Carrying out what was decided. Nothing here can fail or refuse.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use mimi::mls::Message;
use mimi::notify::{FanoutContent, FanoutMessage};
use mimi::submit::{SubmitMessageResponse, SubmitOutcome};
use mimi::update::UpdateRoomResponse;
use mimi::{AppDataOperation, ComponentId, Decode as _, Encode as _, ParticipantListUpdate, Provider, UserUri};
use policy::Change;

use crate::answers::Kept;
use crate::command::next_accepted;
use crate::decide::proposals::bundle;
use crate::decision::{Append, Appended, CommitAppend, GrantAppend, KeyMaterialAppend, MessageAppend, ProposalsAppend};
use crate::own::Proposed;
use crate::room::{Route, SNAPSHOT_EPOCHS, changes};
use crate::row::AnswerKind;
use crate::{
    Answer, Applied, Digest, Entry, EntryKind, Epoch, Keys, Millis, Recipient, Recipients, Room, Row, RowId, Seq, Shown,
};

pub(crate) type Rows = BTreeMap<RowId, Option<Row>>;

impl Room {
    /// Carries out what [`Self::decide`] last decided.
    pub fn apply(&mut self, append: Append, keys: &dyn Keys) -> Applied {
        let Append { now, what } = append;
        let mut rows = Rows::new();
        let mut entries = Vec::new();
        let answer = match what {
            Appended::Commit(commit) => self.apply_commit(*commit, now, keys, &mut entries, &mut rows),
            Appended::Proposals(proposals) => self.apply_proposals(proposals, now, &mut entries, &mut rows),
            Appended::Message(message) => self.apply_message(message, now, keys, &mut entries, &mut rows),
            Appended::KeyMaterial(material) => self.apply_key_material(material, now, &mut rows),
            Appended::Grant(grant) => self.apply_grant(grant, &mut rows),
        };
        if !entries.is_empty() {
            rows.insert(RowId::Head, Some(self.head_row()));
        }
        Applied {
            entries,
            rows: changes(rows),
            answer,
        }
    }

    /// The next entry. Its recipients are the followers, each shown what `shown` says.
    fn entry(
        &mut self,
        now: Millis,
        kind: EntryKind,
        content: FanoutContent,
        shown: impl Fn(&Provider) -> Shown,
    ) -> Entry {
        let accepted = next_accepted(self.head.accepted, now);
        let seq = Seq(self.head.seq.0 + 1);
        let message: Bytes = FanoutMessage {
            timestamp: accepted.0,
            content,
        }
        .encode()
        .into();
        let recipients = self.followers.iter().map(|(provider, since)| Recipient {
            provider: provider.clone(),
            shown: shown(provider),
            first: *since == seq,
        });
        let recipients = Recipients(recipients.collect());
        self.head.chain = self.head.chain.then(seq, &Digest::of(&message));
        self.head.seq = seq;
        self.head.accepted = accepted;
        Entry {
            room: self.id.clone(),
            seq,
            kind,
            accepted,
            epoch: self.head.epoch,
            message,
            chain: self.head.chain,
            recipients,
        }
    }

    fn answer_update(&mut self, request: Digest, accepted: Millis, rows: &mut Rows) -> Answer {
        let body: Bytes = UpdateRoomResponse::success(accepted.0).encode().into();
        let kept = Kept {
            kind: AnswerKind::Update,
            accepted,
            body: body.clone(),
        };
        self.answers.keep(request, kept, rows);
        Answer::Update(body)
    }

    fn apply_message(
        &mut self,
        append: MessageAppend,
        now: Millis,
        keys: &dyn Keys,
        entries: &mut Vec<Entry>,
        rows: &mut Rows,
    ) -> Answer {
        // What is franked is what is answered and fanned out; all three keep the one frank.
        let accepted = next_accepted(self.head.accepted, now);
        let frank = append.frank.and_then(|wanted| self.frank(wanted, accepted, keys));
        let content = FanoutContent::Application {
            message: append.message,
            frank: frank.clone(),
        };
        // Whose removal was accepted is not shown what others say.
        let listening = (!self.blocked.is_empty()).then(|| self.listening());
        let entry = self.entry(now, EntryKind::Message, content, |provider| match &listening {
            Some(listening) if !listening.contains(provider) => Shown::Digest,
            _ => Shown::Message,
        });
        let response: SubmitMessageResponse = SubmitOutcome::Accepted {
            accepted_timestamp: entry.accepted.0,
            frank,
        }
        .into();
        let body: Bytes = response.encode().into();
        let kept = Kept {
            kind: AnswerKind::Submit,
            accepted: entry.accepted,
            body: body.clone(),
        };
        self.answers.keep(append.request, kept, rows);
        entries.push(entry);
        Answer::Submit(body)
    }

    /// Providers of those whose removal was not accepted yet.
    fn listening(&self) -> BTreeSet<Provider> {
        let users = self.committed.active_users();
        users
            .filter(|user| !self.blocked.contains(*user))
            .map(|user| user.provider().clone())
            .collect()
    }

    fn apply_proposals(
        &mut self,
        append: ProposalsAppend,
        now: Millis,
        entries: &mut Vec<Entry>,
        rows: &mut Rows,
    ) -> Answer {
        self.mark_departures(&append.proposed.change, rows);
        let (before, actor) = (self.effective.clone(), append.proposed.change.actor.user());
        let accepted = self.announce(append.proposed, now, entries, rows);
        self.end_with(actor.as_ref(), &before, rows);
        self.answer_update(append.request, accepted, rows)
    }

    /// Proposals as an entry of their own; they are pending from then on.
    pub(crate) fn announce(
        &mut self,
        proposed: Proposed,
        now: Millis,
        entries: &mut Vec<Entry>,
        rows: &mut Rows,
    ) -> Millis {
        let content = FanoutContent::Proposals {
            proposals: proposed.messages.clone(),
        };
        let entry = self.entry(now, EntryKind::Proposals, content, |_| Shown::Message);
        let accepted = entry.accepted;
        entries.push(entry);
        self.pend(proposed, accepted, rows);
        accepted
    }

    /// Caches proposals until they are committed.
    fn pend(&mut self, proposed: Proposed, accepted: Millis, rows: &mut Rows) {
        let octets = |message: &Message| message.octets().clone();
        let row = Row::Pending {
            from: proposed.from.clone(),
            accepted,
            proposals: proposed.messages.iter().map(octets).collect(),
            queued: proposed.kept.clone(),
        };
        let number = u32::try_from(self.pending.len()).expect("pending proposals are bounded");
        rows.insert(RowId::Pending(number), Some(row));
        self.effective = proposed.effective;
        let bundle = bundle(
            proposed.from,
            accepted,
            proposed.messages,
            &proposed.queued,
            proposed.kept,
            proposed.change,
        );
        self.pending.push(bundle);
        self.group.keep(proposed.queued);
    }

    /// Remembers who is on the way out by what was just accepted.
    fn mark_departures(&mut self, change: &Change, rows: &mut Rows) {
        let actor = change.actor.user();
        for user in departing(change, &self.committed) {
            if actor.as_ref() == Some(&user) {
                rows.insert(RowId::Leaving(user.clone()), Some(Row::Leaving));
                self.leaving.insert(user);
            } else {
                rows.insert(RowId::Blocked(user.clone()), Some(Row::Blocked));
                self.blocked.insert(user);
            }
        }
    }

    fn apply_commit(
        &mut self,
        append: CommitAppend,
        now: Millis,
        keys: &dyn Keys,
        entries: &mut Vec<Entry>,
        rows: &mut Rows,
    ) -> Answer {
        let epoch = Epoch(self.head.epoch.0 + 1);
        for number in 0..self.pending.len() {
            let number = u32::try_from(number).expect("pending proposals are bounded");
            rows.insert(RowId::Pending(number), None);
        }
        self.pending.clear();
        self.merge(
            &append.commit,
            append.staged,
            append.delta,
            append.dictionary,
            epoch,
            rows,
        );
        self.head.epoch = epoch;
        self.group_info = append.group_info;
        rows.insert(RowId::GroupInfo, Some(self.group_info_row()));
        self.committed = append.after;
        self.effective = self.committed.clone();
        self.unmark_departures(append.joiner.as_ref(), rows);
        for user in self.grants_over() {
            self.grants.remove(&user);
            rows.insert(RowId::Grant(user), None);
        }
        if let Some(successor) = append.successor {
            rows.insert(
                RowId::Frozen,
                Some(Row::Frozen {
                    successor: successor.clone(),
                }),
            );
            self.frozen = Some(successor);
        }

        // Whoever the commit takes out is shown it, and nothing after it.
        let seq = Seq(self.head.seq.0 + 1);
        let providers: BTreeSet<Provider> = self.committed.providers().into_iter().cloned().collect();
        for provider in &providers {
            if !self.followers.contains_key(provider) {
                self.followers.insert(provider.clone(), seq);
                rows.insert(RowId::Follower(provider.clone()), Some(Row::Follower { since: seq }));
            }
        }
        // An external commit voids what was pending: what the hub proposes anew comes with it (§5.5).
        let mut own = self.own_proposals(keys);
        let stapled = own.take_if(|_| append.joiner.is_some());
        let content = FanoutContent::Commit {
            commit: append.commit,
            external_proposals: stapled.iter().flat_map(|own| own.messages.clone()).collect(),
        };
        let entry = self.entry(now, EntryKind::Commit, content, |_| Shown::Message);
        let accepted = entry.accepted;
        entries.push(entry);
        if let Some(stapled) = stapled {
            self.pend(stapled, accepted, rows);
        }
        self.followers.retain(|provider, _| {
            let stays = providers.contains(provider);
            if !stays {
                rows.insert(RowId::Follower(provider.clone()), None);
            }
            stays
        });

        if let Some(welcome) = append.welcome {
            let to: BTreeSet<&Provider> = append.welcomed.iter().map(|(_, provider)| provider).collect();
            let content = FanoutContent::Welcome {
                message: Message::from_welcome(welcome),
                ratchet_tree: self.group.ratchet_tree(),
            };
            let entry = self.entry(now, EntryKind::Welcome, content, |provider| {
                if to.contains(provider) {
                    Shown::Message
                } else {
                    Shown::Digest
                }
            });
            entries.push(entry);
        }
        // After the Welcome, so that whoever comes in by it hears of them.
        if let Some(own) = own {
            self.announce(own, now, entries, rows);
        }
        for (reference, _) in &append.welcomed {
            if self.routes.remove(reference).is_some() {
                rows.insert(RowId::Route(reference.clone()), None);
            }
        }
        self.answer_update(append.request, accepted, rows)
    }

    /// Brings the group to `epoch`: the change itself is kept, or a snapshot in the place of all changes so far.
    fn merge(
        &mut self,
        commit: &Message,
        staged: openmls::prelude::StagedCommit,
        delta: Bytes,
        dictionary: crate::group::codec::KeptDictionary,
        epoch: Epoch,
        rows: &mut Rows,
    ) {
        if epoch.0 - self.snapshot.0 >= SNAPSHOT_EPOCHS {
            rows.insert(RowId::Snapshot(self.snapshot), None);
            for former in self.snapshot.0 + 1..epoch.0 {
                rows.insert(RowId::Delta(Epoch(former)), None);
            }
            let snapshot = self.group.merge_into_snapshot(staged);
            self.put_snapshot(snapshot, rows);
            return;
        }
        self.group.merge(staged);
        let row = Row::Delta {
            commit: commit.octets().clone(),
            staged: delta,
        };
        rows.insert(RowId::Delta(epoch), Some(row));
        if self.dictionaries.insert(dictionary.digest) {
            let octets = dictionary.octets;
            rows.insert(RowId::Dictionary(dictionary.digest), Some(Row::Dictionary { octets }));
        }
    }

    /// Forgets who is gone, and who came back by itself.
    fn unmark_departures(&mut self, joiner: Option<&UserUri>, rows: &mut Rows) {
        let committed = &self.committed;
        self.blocked.retain(|user| {
            let stays = committed.participates(user);
            if !stays {
                rows.insert(RowId::Blocked(user.clone()), None);
            }
            stays
        });
        self.orphans.retain(|user| {
            let stays = committed.participates(user);
            if !stays {
                rows.insert(RowId::Orphan(user.clone()), None);
            }
            stays
        });
        self.leaving.retain(|user| {
            let stays = committed.participates(user) && joiner != Some(user);
            if !stays {
                rows.insert(RowId::Leaving(user.clone()), None);
            }
            stays
        });
    }

    fn apply_key_material(&mut self, append: KeyMaterialAppend, now: Millis, rows: &mut Rows) -> Answer {
        self.routes.retain(|reference, route| {
            let stays = route.expires > now;
            if !stays {
                rows.insert(RowId::Route(reference.clone()), None);
            }
            stays
        });
        for (reference, provider, expires) in append.routes {
            let row = Row::Route {
                provider: provider.clone(),
                expires,
            };
            rows.insert(RowId::Route(reference.clone()), Some(row));
            self.routes.insert(reference, Route { provider, expires });
        }
        Answer::KeyMaterial(append.response)
    }

    fn apply_grant(&mut self, append: GrantAppend, rows: &mut Rows) -> Answer {
        let GrantAppend { user, grant, answer } = append;
        let row = Row::Grant {
            code: grant.code,
            key: grant.key.clone(),
        };
        rows.insert(RowId::Grant(user.clone()), Some(row));
        self.grants.insert(user, grant);
        Answer::GroupInfo(answer)
    }
}

/// Users whom a change takes off the list or bans.
fn departing(change: &Change, view: &policy::RoomView) -> Vec<UserUri> {
    let mut users = Vec::new();
    for update in &change.components {
        let (ComponentId::PARTICIPANT_LIST, AppDataOperation::Update(octets)) = (update.component, &update.operation)
        else {
            continue;
        };
        let Ok(update) = ParticipantListUpdate::decode_exact(octets) else {
            continue;
        };
        let banned = update
            .changed
            .iter()
            .filter(|change| view.is_ban(change.role))
            .map(|change| change.user_index);
        for index in update.removed.iter().copied().chain(banned) {
            let participant = usize::try_from(index)
                .ok()
                .and_then(|index| view.participants().participants.get(index));
            users.extend(participant.and_then(|participant| participant.user.user().ok()));
        }
    }
    users
}
