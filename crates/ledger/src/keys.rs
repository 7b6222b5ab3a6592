//! The keyspace: every key the ledger writes, in one table. Keys of one shard lie together, and in key order within a
//! table is the order in which they are read. Integers are big-endian, so that octets sort as numbers do.
//!
//! | key | value |
//! |---|---|
//! | `L` `i` | the ledger's incarnation |
//! | `L` `s` | shard count and hash key |
//! | `S` shard `t` | tail: term, opening, batch, next offset |
//! | `S` shard `s` | tail start: entries below it are indexed for every follower that is behind them |
//! | `S` shard `w` | trimmed: entries below it are gone |
//! | `S` shard `l` offset | one entry of the log |
//! | `S` shard `e` set part | a recipient set, by the hash of its content |
//! | `S` shard `f` follower | an interned follower: its provider |
//! | `S` shard `n` provider | the same the other way round: its number |
//! | `S` shard `c` chunk part | cursors of 512 interned followers |
//! | `S` shard `i` follower last | up to 512 offsets due to a follower, by the last of them |
//! | `S` shard `d` follower offset | an entry that the follower refuses for good |
//! | `S` shard `p` provider | nothing is brought to this provider |
//! | `S` shard `a` room seq | the offsets of up to 512 entries of a room that one batch appended, by the seq of the last |
//! | `S` shard `r` room row | one row of a room |
//! | `S` shard `b` room row generation chunk | octets of a row too large for one value |
//! | `S` shard `m` room seq generation chunk | octets of an entry too large for one value |
//!
//! | `M` membership | the room that has these participants to itself |
//! | `C` room child | a room depends on this one |
//! | `D` room | the room, or those that depend on it, have to look at their parents |
//! | `A` `n` | how many cases the abuse inbox holds |
//! | `A` `c` case | one case: its marks, and whether it is closed |
//! | `A` `p` case part | octets of a case, sealed |
//! | `A` `m` mark | something was reported |
//! | `K` begin | the franking key of the interval that begins then, sealed |
//!
//! A case is 16 octets, the time first; a mark and a membership 32; a begin `u64`. Shard, follower, cursor chunk, chunk and part are `u32`; offset and seq `u64`; a set 16 octets; a generation is the
//! term in which it was written and a number that only grows in it, both `u64`. A room and a provider are text with a
//! zero octet behind. A row is a tag and what its id holds:
//!
//! | tag | row | what follows |
//! |---|---|---|
//! | 01 | head | |
//! | 02 | snapshot | epoch (`u64`) |
//! | 03 | delta | epoch (`u64`) |
//! | 04 | dictionary | digest (32 octets) |
//! | 05 | pending | number (`u32`) |
//! | 06 | blocked | user, escaped |
//! | 07 | leaving | user, escaped |
//! | 08 | frozen | |
//! | 09 | group info | |
//! | 0a | route | KeyPackageRef, escaped |
//! | 0b | answer | digest (32 octets) |
//! | 0c | follower | provider, escaped |
//! | 0d | grant | user, escaped |
//! | 0e | orphan | user, escaped |
//! | 0f | over | |
//!
//! Escaped: 00 becomes 00 FF, and 00 is behind. Users and providers hold no 00, and the KeyPackageRefs of a room have one
//! length, so no row's key is the beginning of another's, and all blobs of a row, or those before a generation, are one
//! range that can be cleared without reading.
//!
//! The tables `B` and `F` (beats and fences) are the crate `shard`'s, `P` is the follower's.

use bytes::Bytes;
use mimi::{Provider, RoomUri, UserUri};
use room::{Digest, Epoch, Millis, RowId, Seq};
use route::ShardId;
use store::KeyRange;

use crate::abuse::CaseId;
use crate::cursor::FollowerId;
use crate::{Membership, Offset, SetId};

pub(crate) const LEDGER: &[u8] = b"Li";
pub(crate) const SHARDS: &[u8] = b"Ls";
pub(crate) const ABUSE_COUNT: &[u8] = b"An";

/// All cases of the abuse inbox.
pub(crate) fn abuse_cases() -> KeyRange {
    prefixed(b"Ac".to_vec())
}

pub(crate) fn abuse_case(case: CaseId) -> Vec<u8> {
    [&b"Ac"[..], case.octets()].concat()
}

pub(crate) fn abuse_parts(case: CaseId) -> KeyRange {
    prefixed([&b"Ap"[..], case.octets()].concat())
}

pub(crate) fn abuse_mark(mark: &Digest) -> Vec<u8> {
    [&b"Am"[..], &mark.0].concat()
}

/// All franking keys.
pub(crate) fn intervals() -> KeyRange {
    prefixed(b"K".to_vec())
}

pub(crate) fn interval(begin: Millis) -> Vec<u8> {
    [&b"K"[..], &begin.0.to_be_bytes()].concat()
}

pub(crate) fn membership(membership: &Membership) -> Vec<u8> {
    [&b"M"[..], &membership.0.0].concat()
}

/// All rooms that depend on one.
pub(crate) fn children(parent: &RoomUri) -> KeyRange {
    prefixed(room_with(b'C', parent))
}

pub(crate) fn child(parent: &RoomUri, child: &RoomUri) -> Vec<u8> {
    let mut key = room_with(b'C', parent);
    push_text(&mut key, child.as_str());
    key
}

/// All rooms that something is due of.
pub(crate) fn all_due() -> KeyRange {
    prefixed(b"D".to_vec())
}

pub(crate) fn due(room: &RoomUri) -> Vec<u8> {
    room_with(b'D', room)
}

fn room_with(letter: u8, room: &RoomUri) -> Vec<u8> {
    let mut key = vec![letter];
    push_text(&mut key, room.as_str());
    key
}

/// The room that a key ends with; `prefix` is the length of what stands before it.
pub(crate) fn last_room(key: &[u8], prefix: usize) -> Option<RoomUri> {
    let text = key.get(prefix..)?.strip_suffix(&[0])?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The version of some blob. Later ones of a row are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation {
    pub(crate) term: u64,
    pub(crate) number: u64,
}

impl Generation {
    fn octets(self) -> [u8; 16] {
        let mut octets = [0; 16];
        octets[..8].copy_from_slice(&self.term.to_be_bytes());
        octets[8..].copy_from_slice(&self.number.to_be_bytes());
        octets
    }
}

fn prefixed(prefix: Vec<u8>) -> KeyRange {
    KeyRange::prefix(&prefix)
}

/// From one key to the end of another range.
fn between(begin: Vec<u8>, end: Bytes) -> KeyRange {
    KeyRange {
        begin: begin.into(),
        end,
    }
}

fn table(shard: ShardId, table: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(64);
    key.push(b'S');
    key.extend_from_slice(&shard.0.to_be_bytes());
    key.push(table);
    key
}

/// `text` holds no zero octet: identifiers are printable ASCII.
fn push_text(key: &mut Vec<u8>, text: &str) {
    key.extend_from_slice(text.as_bytes());
    key.push(0);
}

fn push_octets(key: &mut Vec<u8>, octets: &[u8]) {
    for octet in octets {
        key.push(*octet);
        if *octet == 0 {
            key.push(0xff);
        }
    }
    key.push(0);
}

pub(crate) fn tail(shard: ShardId) -> Vec<u8> {
    table(shard, b't')
}

pub(crate) fn tail_start(shard: ShardId) -> Vec<u8> {
    table(shard, b's')
}

pub(crate) fn trimmed(shard: ShardId) -> Vec<u8> {
    table(shard, b'w')
}

pub(crate) fn log(shard: ShardId, offset: Offset) -> Vec<u8> {
    let mut key = table(shard, b'l');
    key.extend_from_slice(&offset.0.to_be_bytes());
    key
}

/// The log from `from` on.
pub(crate) fn log_from(shard: ShardId, from: Offset) -> KeyRange {
    between(log(shard, from), prefixed(table(shard, b'l')).end)
}

/// The log from `from` on, and below `until`.
pub(crate) fn log_between(shard: ShardId, from: Offset, until: Offset) -> KeyRange {
    between(log(shard, from), log(shard, until).into())
}

pub(crate) fn set(shard: ShardId, set: SetId) -> KeyRange {
    let mut key = table(shard, b'e');
    key.extend_from_slice(&set.0);
    prefixed(key)
}

pub(crate) fn followers(shard: ShardId) -> KeyRange {
    prefixed(table(shard, b'f'))
}

pub(crate) fn follower(shard: ShardId, follower: FollowerId) -> Vec<u8> {
    let mut key = table(shard, b'f');
    key.extend_from_slice(&follower.0.to_be_bytes());
    key
}

pub(crate) fn follower_name(shard: ShardId, provider: &Provider) -> Vec<u8> {
    let mut key = table(shard, b'n');
    push_text(&mut key, provider.as_str());
    key
}

pub(crate) fn cursors(shard: ShardId) -> KeyRange {
    prefixed(table(shard, b'c'))
}

pub(crate) fn cursor_chunk(shard: ShardId, chunk: u32) -> KeyRange {
    let mut key = table(shard, b'c');
    key.extend_from_slice(&chunk.to_be_bytes());
    prefixed(key)
}

pub(crate) fn index(shard: ShardId, follower: FollowerId, last: Offset) -> Vec<u8> {
    let mut key = table(shard, b'i');
    key.extend_from_slice(&follower.0.to_be_bytes());
    key.extend_from_slice(&last.0.to_be_bytes());
    key
}

/// The index blocks of a follower that hold an offset from `from` on.
pub(crate) fn index_from(shard: ShardId, follower: FollowerId, from: Offset) -> KeyRange {
    let mut all = table(shard, b'i');
    all.extend_from_slice(&follower.0.to_be_bytes());
    between(index(shard, follower, from), prefixed(all).end)
}

/// An entry that was set aside for a follower.
pub(crate) fn set_aside(shard: ShardId, follower: FollowerId, offset: Offset) -> Vec<u8> {
    let mut key = table(shard, b'd');
    key.extend_from_slice(&follower.0.to_be_bytes());
    key.extend_from_slice(&offset.0.to_be_bytes());
    key
}

/// All entries that were set aside for a follower.
pub(crate) fn all_set_aside(shard: ShardId, follower: FollowerId) -> KeyRange {
    let mut key = table(shard, b'd');
    key.extend_from_slice(&follower.0.to_be_bytes());
    prefixed(key)
}

/// The entries below `until` that were set aside for a follower.
pub(crate) fn set_aside_below(shard: ShardId, follower: FollowerId, until: Offset) -> KeyRange {
    between(
        set_aside(shard, follower, Offset(0)),
        set_aside(shard, follower, until).into(),
    )
}

/// The entries from `from` on that were set aside for a follower.
pub(crate) fn set_aside_from(shard: ShardId, follower: FollowerId, from: Offset) -> KeyRange {
    between(set_aside(shard, follower, from), all_set_aside(shard, follower).end)
}

/// All entries that were set aside in a shard.
pub(crate) fn set_aside_in(shard: ShardId) -> KeyRange {
    prefixed(table(shard, b'd'))
}

/// All providers to which nothing is brought.
pub(crate) fn all_paused(shard: ShardId) -> KeyRange {
    prefixed(table(shard, b'p'))
}

pub(crate) fn paused(shard: ShardId, provider: &Provider) -> Vec<u8> {
    let mut key = table(shard, b'p');
    push_text(&mut key, provider.as_str());
    key
}

/// The provider that a key ends with; `prefix` is the length of what stands before it.
pub(crate) fn last_provider(key: &[u8], prefix: usize) -> Option<Provider> {
    let text = key.get(prefix..)?.strip_suffix(&[0])?;
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Where the entries of a room lie that one batch appended, of which this is the last.
pub(crate) fn room_index(shard: ShardId, room: &RoomUri, last: Seq) -> Vec<u8> {
    let mut key = room_in(shard, b'a', room);
    key.extend_from_slice(&last.0.to_be_bytes());
    key
}

/// The same for all entries of a room from `seq` on.
pub(crate) fn room_index_from(shard: ShardId, room: &RoomUri, seq: Seq) -> KeyRange {
    let end = prefixed(room_in(shard, b'a', room)).end;
    between(room_index(shard, room, seq), end)
}

/// The same for entries of a room that are all below `seq`.
pub(crate) fn room_index_below(shard: ShardId, room: &RoomUri, seq: Seq) -> KeyRange {
    between(room_index(shard, room, Seq(0)), room_index(shard, room, seq).into())
}

/// The index blocks of a follower that hold nothing from `until` on.
pub(crate) fn index_below(shard: ShardId, follower: FollowerId, until: Offset) -> KeyRange {
    between(index(shard, follower, Offset(0)), index(shard, follower, until).into())
}

fn room_in(shard: ShardId, letter: u8, room: &RoomUri) -> Vec<u8> {
    let mut key = table(shard, letter);
    push_text(&mut key, room.as_str());
    key
}

/// All rows of a room.
pub(crate) fn rows(shard: ShardId, room: &RoomUri) -> KeyRange {
    prefixed(room_in(shard, b'r', room))
}

pub(crate) fn row(shard: ShardId, room: &RoomUri, id: &RowId) -> Vec<u8> {
    let mut key = room_in(shard, b'r', room);
    push_row(&mut key, id);
    key
}

/// All blobs of all rows of a room.
pub(crate) fn room_blobs(shard: ShardId, room: &RoomUri) -> KeyRange {
    prefixed(room_in(shard, b'b', room))
}

/// The blobs of one row of a room that were written before `generation`.
pub(crate) fn row_blobs_before(shard: ShardId, room: &RoomUri, id: &RowId, generation: Generation) -> KeyRange {
    let mut begin = room_in(shard, b'b', room);
    push_row(&mut begin, id);
    let mut end = begin.clone();
    end.extend_from_slice(&generation.octets());
    between(begin, end.into())
}

pub(crate) fn row_blob(shard: ShardId, room: &RoomUri, id: &RowId, generation: Generation) -> KeyRange {
    let mut key = room_in(shard, b'b', room);
    push_row(&mut key, id);
    key.extend_from_slice(&generation.octets());
    prefixed(key)
}

pub(crate) fn entry_blob(shard: ShardId, room: &RoomUri, seq: Seq, generation: Generation) -> KeyRange {
    let mut key = room_in(shard, b'm', room);
    key.extend_from_slice(&seq.0.to_be_bytes());
    key.extend_from_slice(&generation.octets());
    prefixed(key)
}

/// The blobs of a room's entries from `seq` on.
pub(crate) fn entry_blobs_from(shard: ShardId, room: &RoomUri, seq: Seq) -> KeyRange {
    let all = room_in(shard, b'm', room);
    let mut begin = all.clone();
    begin.extend_from_slice(&seq.0.to_be_bytes());
    between(begin, prefixed(all).end)
}

/// The key of the `n`-th chunk of a blob, or part of a value, whose keys are `range`.
pub(crate) fn part(range: &KeyRange, n: u32) -> Vec<u8> {
    let mut key = range.begin.to_vec();
    key.extend_from_slice(&n.to_be_bytes());
    key
}

/// The generation that the key of a blob's chunk belongs to, and that generation's whole range.
pub(crate) fn blob_generation(key: &[u8]) -> Option<(Generation, KeyRange)> {
    let whole = key.get(..key.len().checked_sub(4)?)?;
    let at = whole.len().checked_sub(16)?;
    let (term, number) = whole.get(at..)?.split_first_chunk::<8>()?;
    let generation = Generation {
        term: u64::from_be_bytes(*term),
        number: u64::from_be_bytes(number.try_into().ok()?),
    };
    Some((generation, prefixed(whole.to_vec())))
}

/// The last `u64` of a key, for tables whose keys end with one.
pub(crate) fn last_u64(key: &[u8]) -> Option<u64> {
    key.last_chunk().map(|octets| u64::from_be_bytes(*octets))
}

/// The `u32` right behind a table's letter.
pub(crate) fn first_u32(key: &[u8]) -> Option<u32> {
    key.get(6..)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
}

mod tag {
    pub(super) const HEAD: u8 = 1;
    pub(super) const SNAPSHOT: u8 = 2;
    pub(super) const DELTA: u8 = 3;
    pub(super) const DICTIONARY: u8 = 4;
    pub(super) const PENDING: u8 = 5;
    pub(super) const BLOCKED: u8 = 6;
    pub(super) const LEAVING: u8 = 7;
    pub(super) const FROZEN: u8 = 8;
    pub(super) const GROUP_INFO: u8 = 9;
    pub(super) const ROUTE: u8 = 10;
    pub(super) const ANSWER: u8 = 11;
    pub(super) const FOLLOWER: u8 = 12;
    pub(super) const GRANT: u8 = 13;
    pub(super) const ORPHAN: u8 = 14;
    pub(super) const OVER: u8 = 15;
}

fn push_row(key: &mut Vec<u8>, id: &RowId) {
    match id {
        RowId::Head => key.push(tag::HEAD),
        RowId::Snapshot(epoch) => push_tagged(key, tag::SNAPSHOT, &epoch.0.to_be_bytes()),
        RowId::Delta(epoch) => push_tagged(key, tag::DELTA, &epoch.0.to_be_bytes()),
        RowId::Dictionary(digest) => push_tagged(key, tag::DICTIONARY, &digest.0),
        RowId::Pending(n) => push_tagged(key, tag::PENDING, &n.to_be_bytes()),
        RowId::Blocked(user) => push_escaped(key, tag::BLOCKED, user.as_str().as_bytes()),
        RowId::Leaving(user) => push_escaped(key, tag::LEAVING, user.as_str().as_bytes()),
        RowId::Frozen => key.push(tag::FROZEN),
        RowId::GroupInfo => key.push(tag::GROUP_INFO),
        RowId::Route(key_package) => push_escaped(key, tag::ROUTE, key_package),
        RowId::Answer(digest) => push_tagged(key, tag::ANSWER, &digest.0),
        RowId::Follower(provider) => push_escaped(key, tag::FOLLOWER, provider.as_str().as_bytes()),
        RowId::Grant(user) => push_escaped(key, tag::GRANT, user.as_str().as_bytes()),
        RowId::Orphan(user) => push_escaped(key, tag::ORPHAN, user.as_str().as_bytes()),
        RowId::Over => key.push(tag::OVER),
    }
}

fn push_tagged(key: &mut Vec<u8>, tag: u8, fixed: &[u8]) {
    key.push(tag);
    key.extend_from_slice(fixed);
}

fn push_escaped(key: &mut Vec<u8>, tag: u8, octets: &[u8]) {
    key.push(tag);
    push_octets(key, octets);
}

/// The row's id at the end of a row's key; `prefix` is the length of what [`rows`] begins with.
pub(crate) fn parse_row(key: &[u8], prefix: usize) -> Option<RowId> {
    let (tag, rest) = key.get(prefix..)?.split_first()?;
    let epoch = || rest.try_into().ok().map(|octets| Epoch(u64::from_be_bytes(octets)));
    let digest = || rest.try_into().ok().map(Digest);
    let user = || UserUri::from_octets(&unescaped(rest)?).ok();
    let empty = |id| rest.is_empty().then_some(id);
    match *tag {
        tag::HEAD => empty(RowId::Head),
        tag::SNAPSHOT => epoch().map(RowId::Snapshot),
        tag::DELTA => epoch().map(RowId::Delta),
        tag::DICTIONARY => digest().map(RowId::Dictionary),
        tag::PENDING => rest
            .try_into()
            .ok()
            .map(|octets| RowId::Pending(u32::from_be_bytes(octets))),
        tag::BLOCKED => user().map(RowId::Blocked),
        tag::LEAVING => user().map(RowId::Leaving),
        tag::FROZEN => empty(RowId::Frozen),
        tag::GROUP_INFO => empty(RowId::GroupInfo),
        tag::ROUTE => Some(RowId::Route(unescaped(rest)?.into())),
        tag::ANSWER => digest().map(RowId::Answer),
        tag::FOLLOWER => {
            let octets = unescaped(rest)?;
            std::str::from_utf8(&octets).ok()?.parse().ok().map(RowId::Follower)
        }
        tag::GRANT => user().map(RowId::Grant),
        tag::ORPHAN => user().map(RowId::Orphan),
        tag::OVER => empty(RowId::Over),
        _ => None,
    }
}

/// Undoes [`push_octets`], to the end of the key.
fn unescaped(octets: &[u8]) -> Option<Vec<u8>> {
    let (end, mut rest) = octets.split_last()?;
    if *end != 0 {
        return None;
    }
    let mut plain = Vec::with_capacity(rest.len());
    while let Some((octet, behind)) = rest.split_first() {
        plain.push(*octet);
        rest = match (*octet, behind.split_first()) {
            (0, Some((0xff, behind))) => behind,
            (0, _) => return None,
            _ => behind,
        };
    }
    Some(plain)
}
