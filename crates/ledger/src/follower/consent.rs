//! Consent: for each user four books, and in each the newest entry of every scope (another user, and a room or any). What an
//! entry is worth beside the others is not decided here.

use bytes::{Bytes, BytesMut};
use mimi::{Provider, RoomUri, UserUri};
use prost::Message;
use room::{Digest, Millis};
use store::{KeyRange, Transaction};

use super::{FollowerError, keys};
use crate::value::{self, VALUE_BYTES_MAX};

/// Parts of one scope's KeyPackages that are read; a body is far smaller.
const PARTS_MAX: usize = 256;

/// One of a user's books.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Book {
    /// Others asked the user.
    Asked = 0,
    /// The user granted or revoked.
    Given = 1,
    /// The user asked others.
    Sent = 2,
    /// Others granted to the user, or revoked.
    Received = 3,
}

/// What was done to a scope last, numbered as in ConsentOperation (mimi-protocol §5.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Act {
    /// A request was taken back.
    Cancel = 0,
    /// Consent was asked for.
    Request = 1,
    /// It was given.
    Grant = 2,
    /// It was denied, or taken back.
    Revoke = 3,
}

/// An entry of a book.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// The other user.
    pub other: UserUri,
    /// The room; none: any.
    pub room: Option<RoomUri>,
    /// What was done last.
    pub act: Act,
    /// Grows with each entry of the same book and pair of users.
    pub order: u64,
    /// When.
    pub at: Millis,
    /// Of the ConsentEntry.
    pub digest: Digest,
    /// KeyPackages that came with it.
    pub key_packages: u32,
}

/// How often another user has changed something in a user's books.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Turns {
    /// Since when is counted.
    pub since: Millis,
    /// Changes since.
    pub count: u32,
}

#[derive(Clone, PartialEq, Message)]
struct NotedRow {
    #[prost(uint32, tag = "1")]
    act: u32,
    #[prost(uint64, tag = "2")]
    order: u64,
    #[prost(uint64, tag = "3")]
    at: u64,
    #[prost(bytes = "bytes", tag = "4")]
    digest: Bytes,
    #[prost(uint32, tag = "5")]
    key_packages: u32,
}

#[derive(Clone, PartialEq, Message)]
struct TurnsRow {
    #[prost(uint64, tag = "1")]
    since: u64,
    #[prost(uint32, tag = "2")]
    count: u32,
}

/// The consent rows, in one transaction.
#[derive(Debug)]
pub struct Consents<'a>(pub &'a mut Transaction);

impl Consents<'_> {
    /// What a book says about one other user, up to `limit` scopes; any room comes first.
    pub async fn between(
        &self,
        book: Book,
        user: &UserUri,
        other: &UserUri,
        limit: usize,
    ) -> Result<Vec<Noted>, FollowerError> {
        let range = keys::consents_between(book, user, other).prefix();
        let rows = self.0.range(range, limit, false).await?;
        noted(keys::consents(book, user).len(), rows)
    }

    /// What a book says about users of one provider, up to `limit` scopes.
    pub async fn of_provider(
        &self,
        book: Book,
        user: &UserUri,
        provider: &Provider,
        limit: usize,
    ) -> Result<Vec<Noted>, FollowerError> {
        let range = keys::consents_of_provider(book, user, provider).prefix();
        let rows = self.0.range(range, limit, false).await?;
        noted(keys::consents(book, user).len(), rows)
    }

    /// A book, up to `limit` scopes, those after `after`. Adds no conflict.
    pub async fn page(
        &self,
        book: Book,
        user: &UserUri,
        after: Option<(&UserUri, Option<&RoomUri>)>,
        limit: usize,
    ) -> Result<Vec<Noted>, FollowerError> {
        let prefix = keys::consents(book, user);
        let mut range = prefix.prefix();
        if let Some((other, room)) = after {
            range.begin = [&keys::consent(book, user, other, room)[..], &[0]].concat().into();
        }
        let rows = self.0.snapshot_range(range, limit, false).await?;
        noted(prefix.len(), rows)
    }

    /// Writes an entry in place of the one of its scope.
    pub fn put(&mut self, book: Book, user: &UserUri, noted: &Noted) {
        let row = NotedRow {
            act: noted.act as u32,
            order: noted.order,
            at: noted.at.0,
            digest: Bytes::copy_from_slice(&noted.digest.0),
            key_packages: noted.key_packages,
        };
        let key = keys::consent(book, user, &noted.other, noted.room.as_ref());
        self.0.set(key, value::encode(&row));
    }

    /// Nothing is known of a scope any more.
    pub fn clear(&mut self, book: Book, user: &UserUri, other: &UserUri, room: Option<&RoomUri>) {
        self.0.clear(keys::consent(book, user, other, room));
        if book == Book::Received {
            self.0.clear_range(granted(user, other, room));
        }
    }

    /// Keeps what came with a grant to `user`, in place of what came for the same scope before.
    pub fn put_granted(&mut self, user: &UserUri, other: &UserUri, room: Option<&RoomUri>, octets: &Bytes) {
        self.0.clear_range(granted(user, other, room));
        for (part, start) in (0..).zip((0..octets.len()).step_by(VALUE_BYTES_MAX)) {
            let end = octets.len().min(start + VALUE_BYTES_MAX);
            let key = keys::granted_part(user, other, room, part);
            self.0.set(key, octets.slice(start..end));
        }
    }

    /// Takes it out: it is there once. Empty: there is nothing.
    pub async fn take_granted(
        &mut self,
        user: &UserUri,
        other: &UserUri,
        room: Option<&RoomUri>,
    ) -> Result<Bytes, FollowerError> {
        let range = granted(user, other, room);
        let parts = self.0.range(range.clone(), PARTS_MAX, false).await?;
        self.0.clear_range(range);
        let mut octets = BytesMut::new();
        for (_, part) in parts {
            octets.extend_from_slice(&part);
        }
        Ok(octets.freeze())
    }

    /// How often `other` has changed something in `user`'s books.
    pub async fn turns(&self, user: &UserUri, other: &UserUri) -> Result<Turns, FollowerError> {
        let Some(octets) = self.0.get(&keys::turns(user, other)).await? else {
            return Ok(Turns::default());
        };
        let row: TurnsRow = value::decode(&octets)?;
        Ok(Turns {
            since: Millis(row.since),
            count: row.count,
        })
    }

    /// Counts.
    pub fn put_turns(&mut self, user: &UserUri, other: &UserUri, turns: Turns) {
        let row = TurnsRow {
            since: turns.since.0,
            count: turns.count,
        };
        self.0.set(keys::turns(user, other), value::encode(&row));
    }
}

fn granted(user: &UserUri, other: &UserUri, room: Option<&RoomUri>) -> KeyRange {
    keys::granted(user, other, room).prefix()
}

fn noted(prefix: usize, rows: Vec<(Bytes, Bytes)>) -> Result<Vec<Noted>, FollowerError> {
    let noted = |(key, octets): (Bytes, Bytes)| {
        let row: NotedRow = value::decode(&octets)?;
        let (other, room) = scope(&key, prefix).ok_or(FollowerError::Damaged("not a scope of consent"))?;
        let act = match row.act {
            0 => Act::Cancel,
            1 => Act::Request,
            2 => Act::Grant,
            3 => Act::Revoke,
            _ => return Err(FollowerError::Damaged("not an act of consent")),
        };
        let digest = row.digest[..].try_into();
        Ok(Noted {
            other,
            room,
            act,
            order: row.order,
            at: Millis(row.at),
            digest: Digest(digest.map_err(|_| FollowerError::Damaged("not a digest"))?),
            key_packages: row.key_packages,
        })
    };
    rows.into_iter().map(noted).collect()
}

/// The other user and the room of a key, which begin at `from`.
fn scope(key: &[u8], from: usize) -> Option<(UserUri, Option<RoomUri>)> {
    let (other, room) = keys::last_text(key, from)?.split_once('\0')?;
    let room = match room {
        "" => None,
        room => Some(room.parse().ok()?),
    };
    Some((other.parse().ok()?, room))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use store::Database;

    use super::*;

    fn user(name: &str, provider: &str) -> UserUri {
        format!("mimi://{provider}.example/u/{name}").parse().unwrap()
    }

    fn entry(other: &UserUri, room: Option<&str>, order: u64) -> Noted {
        Noted {
            other: other.clone(),
            room: room.map(|room| room.parse().unwrap()),
            act: Act::Grant,
            order,
            at: Millis(7),
            digest: Digest::of(b"entry"),
            key_packages: 3,
        }
    }

    #[tokio::test]
    async fn books_pairs_and_scopes_are_kept_apart_and_come_back_as_written() {
        let database = Database::memory();
        let mut open = database.begin();
        let mut rows = Consents(&mut open);
        let (bob, bo) = (user("bob", "b"), user("bo", "b"));
        let (ann, anna, zoe) = (user("ann", "a"), user("anna", "a"), user("zoe", "a.z"));
        let room = Some("mimi://a.example/r/x");
        let written = [
            entry(&ann, None, 1),
            entry(&ann, room, 2),
            entry(&anna, None, 3),
            entry(&zoe, room, 4),
        ];
        for noted in &written {
            rows.put(Book::Given, &bob, noted);
        }
        rows.put(Book::Given, &bo, &written[0]);
        rows.put(Book::Asked, &bob, &written[0]);

        assert_eq!(rows.page(Book::Given, &bob, None, 9).await.unwrap().len(), 4);
        let after = Some((&ann, written[1].room.as_ref()));
        assert_eq!(rows.page(Book::Given, &bob, after, 1).await.unwrap(), written[2..3]);
        let between = rows.between(Book::Given, &bob, &ann, 9).await.unwrap();
        assert_eq!(between, written[..2]);
        let of_a = rows.of_provider(Book::Given, &bob, ann.provider(), 9).await.unwrap();
        assert_eq!(of_a, written[..3]);
        rows.clear(Book::Given, &bob, &ann, None);
        assert_eq!(rows.between(Book::Given, &bob, &ann, 9).await.unwrap(), written[1..2]);
        assert_eq!(rows.page(Book::Asked, &bob, None, 9).await.unwrap(), written[..1]);
    }

    #[tokio::test]
    async fn what_came_with_a_grant_is_taken_once_and_whole() {
        let database = Database::memory();
        let mut open = database.begin();
        let mut rows = Consents(&mut open);
        let (bob, ann) = (user("bob", "b"), user("ann", "a"));
        let room = "mimi://a.example/r/x".parse().unwrap();
        let large = Bytes::from(vec![9; 3 * VALUE_BYTES_MAX + 1]);
        rows.put_granted(&bob, &ann, None, &large);
        rows.put_granted(&bob, &ann, Some(&room), &Bytes::from_static(b"small"));
        rows.put_granted(&bob, &ann, Some(&room), &Bytes::from_static(b"smaller"));
        assert_eq!(rows.take_granted(&bob, &ann, None).await.unwrap(), large);
        assert_eq!(rows.take_granted(&bob, &ann, None).await.unwrap(), "");
        assert_eq!(rows.take_granted(&bob, &ann, Some(&room)).await.unwrap(), "smaller");
    }
}
