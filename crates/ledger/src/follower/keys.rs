//! Keys of the table `P`. Text and octets of varying length end in a zero octet that cannot be part of them, so no key is
//! the beginning of another's prefix.

use mimi::{ClientUri, Provider, RoomUri, UserUri};
use room::Digest;
use route::ShardId;
use store::KeyRange;

use super::{Book, InboxPosition, Term};
use crate::LedgerId;

/// A key under construction.
pub(super) struct Key(Vec<u8>);

impl Key {
    fn table(table: u8) -> Self {
        let mut key = Vec::with_capacity(96);
        key.extend_from_slice(&[b'P', table]);
        Self(key)
    }

    fn text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self
    }

    fn octets(mut self, octets: &[u8]) -> Self {
        self.0.extend_from_slice(octets);
        self
    }

    pub(super) fn into_octets(self) -> Vec<u8> {
        self.0
    }

    pub(super) fn prefix(&self) -> KeyRange {
        KeyRange::prefix(&self.0)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The last text of a key, which begins at `from`.
pub(super) fn last_text(key: &[u8], from: usize) -> Option<&str> {
    let text = key.get(from..)?.strip_suffix(&[0])?;
    std::str::from_utf8(text).ok()
}

pub(super) fn clients(user: &UserUri) -> Key {
    Key::table(b'c').text(user.as_str())
}

pub(super) fn client(client: &ClientUri) -> Vec<u8> {
    clients(&client.user()).text(client.as_str()).into_octets()
}

pub(super) fn key_packages(client: &ClientUri) -> Key {
    Key::table(b'k').text(client.as_str())
}

pub(super) fn key_package(client: &ClientUri, reference: &[u8]) -> Vec<u8> {
    key_packages(client).octets(reference).into_octets()
}

pub(super) fn last_resorts(client: &ClientUri) -> Key {
    Key::table(b'l').text(client.as_str())
}

pub(super) fn last_resort(client: &ClientUri, reference: &[u8]) -> Vec<u8> {
    last_resorts(client).octets(reference).into_octets()
}

pub(super) fn sets(user: &UserUri) -> Key {
    Key::table(b's').text(user.as_str())
}

pub(super) fn set(user: &UserUri, pseudonym: &UserUri) -> Key {
    sets(user).text(pseudonym.as_str())
}

pub(super) fn set_member(user: &UserUri, pseudonym: &UserUri, number: u32) -> Vec<u8> {
    set(user, pseudonym).octets(&number.to_be_bytes()).into_octets()
}

pub(super) fn pseudonym(pseudonym: &UserUri) -> Vec<u8> {
    Key::table(b'y').text(pseudonym.as_str()).into_octets()
}

pub(super) fn pseudonyms(user: &UserUri) -> Vec<u8> {
    Key::table(b'n').text(user.as_str()).into_octets()
}

pub(super) fn owner(reference: &[u8]) -> Vec<u8> {
    Key::table(b'o').octets(reference).into_octets()
}

pub(super) fn claim(digest: &Digest) -> Vec<u8> {
    Key::table(b'a').octets(&digest.0).into_octets()
}

pub(super) fn heads() -> Key {
    Key::table(b'h')
}

/// Those of rooms of one hub, without what ends a text.
pub(super) fn heads_of(hub: &Provider) -> Key {
    heads().octets(format!("mimi://{}/", hub.as_str()).as_bytes())
}

pub(super) fn head(room: &RoomUri) -> Vec<u8> {
    heads().text(room.as_str()).into_octets()
}

pub(super) fn signed_head(room: &RoomUri) -> Vec<u8> {
    Key::table(b'e').text(room.as_str()).into_octets()
}

pub(super) fn inbox(room: &RoomUri) -> Key {
    Key::table(b'i').text(room.as_str())
}

pub(super) fn entry(room: &RoomUri, position: InboxPosition) -> Key {
    inbox(room).octets(&position.0.to_be_bytes())
}

pub(super) fn entry_part(room: &RoomUri, position: InboxPosition, part: u32) -> Vec<u8> {
    entry(room, position).octets(&part.to_be_bytes()).into_octets()
}

pub(super) fn known(room: &RoomUri, digest: &Digest) -> Vec<u8> {
    Key::table(b'd').text(room.as_str()).octets(&digest.0).into_octets()
}

pub(super) fn subscriptions(client: &ClientUri) -> Key {
    Key::table(b'f').text(client.as_str())
}

pub(super) fn subscription(client: &ClientUri, room: &RoomUri) -> Vec<u8> {
    subscriptions(client).text(room.as_str()).into_octets()
}

/// The same by room: who follows it.
pub(super) fn followers(room: &RoomUri) -> Key {
    Key::table(b'w').text(room.as_str())
}

pub(super) fn follower(room: &RoomUri, client: &str) -> Vec<u8> {
    followers(room).text(client).into_octets()
}

pub(super) fn all_subscriptions() -> Key {
    Key::table(b'f')
}

/// The client and the room of a subscription's key.
pub(super) fn subscribed(key: &[u8]) -> Option<(&str, &str)> {
    let text = std::str::from_utf8(key.get(2..)?).ok()?;
    text.strip_suffix('\0')?.split_once('\0')
}

/// There since each subscription has a row by room, too.
pub(super) fn is_indexed() -> Vec<u8> {
    Key::table(b'v').into_octets()
}

pub(super) fn position(hub: &Provider, ledger: &LedgerId, shard: ShardId) -> Vec<u8> {
    Key::table(b'x')
        .text(hub.as_str())
        .octets(&ledger.0)
        .octets(&shard.0.to_be_bytes())
        .into_octets()
}

pub(super) fn consents(book: Book, user: &UserUri) -> Key {
    Key::table(b'b').text(user.as_str()).octets(&[book as u8])
}

pub(super) fn consents_of_provider(book: Book, user: &UserUri, provider: &Provider) -> Key {
    let authority = format!("mimi://{}/", provider.as_str());
    consents(book, user).octets(authority.as_bytes())
}

pub(super) fn consents_between(book: Book, user: &UserUri, other: &UserUri) -> Key {
    consents(book, user).text(other.as_str())
}

/// Any room is the empty one, and so the first.
pub(super) fn consent(book: Book, user: &UserUri, other: &UserUri, room: Option<&RoomUri>) -> Vec<u8> {
    let room = room.map_or("", RoomUri::as_str);
    consents_between(book, user, other).text(room).into_octets()
}

pub(super) fn granted(user: &UserUri, other: &UserUri, room: Option<&RoomUri>) -> Key {
    let room = room.map_or("", RoomUri::as_str);
    Key::table(b'g').text(user.as_str()).text(other.as_str()).text(room)
}

pub(super) fn granted_part(user: &UserUri, other: &UserUri, room: Option<&RoomUri>, part: u32) -> Vec<u8> {
    granted(user, other, room).octets(&part.to_be_bytes()).into_octets()
}

pub(super) fn turns(user: &UserUri, other: &UserUri) -> Vec<u8> {
    Key::table(b't').text(user.as_str()).text(other.as_str()).into_octets()
}

pub(super) fn profile(user: &UserUri) -> Vec<u8> {
    Key::table(b'u').text(user.as_str()).into_octets()
}

pub(super) fn listed(term: &Term) -> Key {
    Key::table(b'q').octets(term.octets())
}

pub(super) fn listed_user(term: &Term, user: &UserUri) -> Vec<u8> {
    listed(term).text(user.as_str()).into_octets()
}

/// Before a versionstamp and the number of a part.
pub(super) fn rings() -> Key {
    Key::table(b'r')
}

/// The versionstamp of the last ring: what is watched.
pub(super) fn rung() -> Vec<u8> {
    Key::table(b'm').into_octets()
}
