//! Consent (mimi-protocol §5.7): what users of ours ask, grant and revoke, and what others' providers say of theirs. To
//! other providers nothing here tells whether a user exists, has seen a request, or has refused it.

use bytes::Bytes;
use ledger::follower::{Act, Book, Consents, KeyPackages, Noted, Profiles, StoredKeyPackage, Turns};
use ledger::{Digest, Millis};
use mimi::app_data::AppDataDictionary;
use mimi::consent::{ConsentEntry, ConsentOperation};
use mimi::mls::KeyPackage;
use mimi::{ClientUri, Decode as _, Encode as _, IdentifierUri, Provider, RoomUri, UserUri};
use store::Transaction;

use crate::limits::{
    CONSENT_PAGE_MAX, CONSENT_PAIR_MAX, CONSENT_PROVIDER_MAX, CONSENT_REQUEST_MS, CONSENT_ROOMS_MAX, CONSENT_TURNS_MAX,
    CONSENT_TURNS_MS, CONSENT_USER_MAX,
};
use crate::upload::check;
use crate::{Fault, Follower};

/// Scopes of one pair of users that are read: more than any book has.
const PAIR_READ_MAX: usize = CONSENT_ROOMS_MAX + CONSENT_PAIR_MAX + 1;

/// Whom and what a consent is about, as seen by one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The other user.
    pub other: UserUri,
    /// The room; none: any.
    pub room: Option<RoomUri>,
}

/// What a user of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Saying {
    /// "May I add you?"
    Request,
    /// "I did not ask."
    Cancel,
    /// "You may add me", with KeyPackages that are given to nobody else.
    Grant(Vec<Bytes>),
    /// "You may not add me."
    Revoke,
}

/// What another provider says to a user of ours.
struct Received {
    user: UserUri,
    scope: Scope,
    act: Act,
    key_packages: Vec<KeyPackage>,
    digest: Digest,
}

impl Follower {
    /// What `user` says to another user. Returns the ConsentEntry to bring to the other's provider; saying the same again
    /// returns the same.
    ///
    /// # Errors
    /// The user is not ours, a KeyPackage is not valid, not the user's or given away already, there is no request to cancel,
    /// there are too many, or the store does not serve. Then nothing is said.
    pub async fn say(&self, user: &UserUri, scope: &Scope, saying: &Saying) -> Result<Bytes, Fault> {
        self.own_user(user)?;
        if *user == scope.other {
            return Err(Fault::Malformed("a user's consent to itself"));
        }
        let checked = match saying {
            Saying::Grant(key_packages) => self.check_granted(user, key_packages)?,
            Saying::Request | Saying::Cancel | Saying::Revoke => Vec::new(),
        };
        let entry = entry(user, scope, saying)?;
        let noted = Noted {
            other: scope.other.clone(),
            room: scope.room.clone(),
            act: act(&entry.operation),
            order: 0,
            at: Millis((self.clock)()),
            digest: Digest::of(&entry.encode()),
            key_packages: count(checked.len()),
        };
        let (noted, checked) = (&noted, &checked);
        self.database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                match noted.act {
                    Act::Request => ask(open, user, noted).await?,
                    Act::Cancel => take_back(open, user, noted).await?,
                    Act::Grant | Act::Revoke => decide(open, user, noted, checked).await?,
                }
                Ok::<_, Fault>((transaction, ()))
            })
            .await?;
        Ok(entry.encode().into())
    }

    /// What `source` says for its user to one of ours. Nothing tells whether it changed anything: an entry is passed over
    /// that is known already, that is to somebody who is not there (has uploaded no KeyPackage, set no profile and asked
    /// nothing), or who has revoked not long ago.
    ///
    /// # Errors
    /// The body is malformed, the user not ours or the other not `source`'s, or the store does not serve.
    pub async fn receive_consent(&self, source: &Provider, body: &Bytes) -> Result<(), Fault> {
        let received = &self.parse_received(source, body)?;
        let now = Millis((self.clock)());
        let outcome = self
            .database
            .run(|mut transaction| async move {
                let outcome = note_received(&mut transaction, received, now).await?;
                Ok::<_, Fault>((transaction, outcome))
            })
            .await?;
        self.metrics.consented(outcome);
        Ok(())
    }

    /// A page of one of the user's books, from behind `after`, and behind what there may be more. Requests that have expired
    /// are not in it.
    ///
    /// # Errors
    /// The user is not ours, or the store does not serve.
    pub async fn consents(
        &self,
        user: &UserUri,
        book: Book,
        after: Option<&Scope>,
    ) -> Result<(Vec<Noted>, Option<Scope>), Fault> {
        self.own_user(user)?;
        let now = Millis((self.clock)());
        let mut transaction = self.database.begin();
        let after = after.map(|after| (&after.other, after.room.as_ref()));
        let mut page = Consents(&mut transaction)
            .page(book, user, after, CONSENT_PAGE_MAX)
            .await?;
        let last = page.last().filter(|_| page.len() == CONSENT_PAGE_MAX);
        let last = last.map(|last| Scope {
            other: last.other.clone(),
            room: last.room.clone(),
        });
        page.retain(|noted| !is_expired(noted, now));
        Ok((page, last))
    }

    /// The KeyPackages that came with a grant to `user`, once; those that have expired meanwhile are left out. They were
    /// checked for whose they are, and not as MLS.
    ///
    /// # Errors
    /// The user is not ours, or the store does not serve.
    pub async fn take_granted(&self, user: &UserUri, scope: &Scope) -> Result<Vec<Bytes>, Fault> {
        self.own_user(user)?;
        let octets = self
            .database
            .run(|mut transaction| async move {
                let open = &mut transaction;
                let (other, room) = (&scope.other, scope.room.as_ref());
                let mut rows = Consents(open);
                let octets = rows.take_granted(user, other, room).await?;
                let pair = rows.between(Book::Received, user, other, PAIR_READ_MAX).await?;
                if let Some(noted) = pair.iter().find(|noted| noted.room.as_ref() == room) {
                    let noted = Noted {
                        key_packages: 0,
                        ..noted.clone()
                    };
                    rows.put(Book::Received, user, &noted);
                }
                Ok::<_, Fault>((transaction, octets))
            })
            .await?;
        if octets.is_empty() {
            return Ok(Vec::new());
        }
        let damaged = |_| Fault::Storage(ledger::follower::FollowerError::Damaged("not KeyPackages"));
        let key_packages = Vec::<KeyPackage>::decode_exact(&octets).map_err(damaged)?;
        let now = (self.clock)() / 1_000;
        let fresh = key_packages
            .iter()
            .filter(|package| package.not_after().is_some_and(|not_after| not_after > now));
        Ok(fresh.map(|package| package.octets().clone()).collect())
    }

    fn check_granted(
        &self,
        user: &UserUri,
        key_packages: &[Bytes],
    ) -> Result<Vec<(ClientUri, StoredKeyPackage)>, Fault> {
        if key_packages.len() > mimi::limits::GRANT_KEY_PACKAGES_MAX {
            return Err(Fault::TooMuch("KeyPackages in a grant"));
        }
        let now = (self.clock)() / 1_000;
        let checked = |octets| match check(octets)? {
            (client, _) if client.user() != *user => Err(Fault::Forbidden("a KeyPackage of another user")),
            (_, stored) if stored.not_after <= now => Err(Fault::Malformed("a KeyPackage that has expired")),
            checked => Ok(checked),
        };
        key_packages.iter().map(checked).collect()
    }

    fn parse_received(&self, source: &Provider, body: &Bytes) -> Result<Received, Fault> {
        let entry = ConsentEntry::decode_exact(body).map_err(|error| Fault::Malformed(error.reason()))?;
        let requester = entry.requester.user().map_err(|_| Fault::Malformed("requester"))?;
        let target = entry.target.user().map_err(|_| Fault::Malformed("target"))?;
        let room = entry.room.as_ref().map(IdentifierUri::room).transpose();
        let room = room.map_err(|_| Fault::Malformed("room"))?;
        let act = act(&entry.operation);
        let (user, other) = match act {
            Act::Request | Act::Cancel => (target, requester),
            Act::Grant | Act::Revoke => (requester, target),
        };
        self.own_user(&user)?;
        if other.provider() != source {
            return Err(Fault::Forbidden("not a user of the provider that says it"));
        }
        if user == other {
            return Err(Fault::Malformed("a user's consent to itself"));
        }
        let key_packages = match entry.operation {
            ConsentOperation::Grant(key_packages) => key_packages,
            _ => Vec::new(),
        };
        let is_others = |package: &KeyPackage| package.credential().client().is_ok_and(|client| client.user() == other);
        if !key_packages.iter().all(is_others) {
            return Err(Fault::Malformed("a KeyPackage that is not the target's"));
        }
        Ok(Received {
            user,
            scope: Scope { other, room },
            act,
            key_packages,
            digest: Digest::of(body),
        })
    }
}

fn act(operation: &ConsentOperation) -> Act {
    match operation {
        ConsentOperation::Cancel => Act::Cancel,
        ConsentOperation::Request => Act::Request,
        ConsentOperation::Grant(_) => Act::Grant,
        ConsentOperation::Revoke => Act::Revoke,
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn entry(user: &UserUri, scope: &Scope, saying: &Saying) -> Result<ConsentEntry, Fault> {
    let (requester, target) = match saying {
        Saying::Request | Saying::Cancel => (user, &scope.other),
        Saying::Grant(_) | Saying::Revoke => (&scope.other, user),
    };
    let operation = match saying {
        Saying::Request => ConsentOperation::Request,
        Saying::Cancel => ConsentOperation::Cancel,
        Saying::Revoke => ConsentOperation::Revoke,
        Saying::Grant(key_packages) => {
            let packages = key_packages.iter().map(|octets| KeyPackage::decode_exact(octets));
            let packages: Result<_, _> = packages.collect();
            ConsentOperation::Grant(packages.map_err(|error| Fault::Malformed(error.reason()))?)
        }
    };
    Ok(ConsentEntry {
        operation,
        requester: requester.into(),
        target: target.into(),
        room: scope.room.as_ref().map(IdentifierUri::from),
        extensions: AppDataDictionary::default(),
    })
}

/// A request that nobody answered in time. Grants and revocations stay.
fn is_expired(noted: &Noted, now: Millis) -> bool {
    noted.act == Act::Request && now.0.saturating_sub(noted.at.0) > CONSENT_REQUEST_MS
}

fn same_scope<'a>(pair: &'a [Noted], noted: &Noted) -> Option<&'a Noted> {
    pair.iter().find(|known| known.room == noted.room)
}

/// Writes `noted` as the newest of its pair.
fn put_newest(rows: &mut Consents<'_>, book: Book, user: &UserUri, pair: &[Noted], noted: &Noted) {
    let order = pair.iter().map(|known| known.order).max().unwrap_or(0) + 1;
    let newest = Noted { order, ..noted.clone() };
    rows.put(book, user, &newest);
}

/// There is a place for one more scope in a book that the user writes itself.
async fn has_place(rows: &Consents<'_>, book: Book, user: &UserUri) -> Result<(), Fault> {
    match rows.page(book, user, None, CONSENT_USER_MAX).await?.len() < CONSENT_USER_MAX {
        true => Ok(()),
        false => Err(Fault::TooMuch("consents of a user")),
    }
}

/// C-3, C-8: a request that stands already stays as it is.
async fn ask(open: &mut Transaction, user: &UserUri, noted: &Noted) -> Result<(), Fault> {
    let mut rows = Consents(open);
    let pair = rows.between(Book::Sent, user, &noted.other, PAIR_READ_MAX).await?;
    match same_scope(&pair, noted) {
        Some(known) if known.act == Act::Request && !is_expired(known, noted.at) => return Ok(()),
        Some(_) => {}
        None if pair.len() >= CONSENT_PAIR_MAX => return Err(Fault::TooMuch("requests to one user")),
        None => has_place(&rows, Book::Sent, user).await?,
    }
    put_newest(&mut rows, Book::Sent, user, &pair, noted);
    Ok(())
}

/// C-3: only what was asked is taken back. It stays in the book as taken back, so that it can be said again when the other
/// provider did not hear it.
async fn take_back(open: &mut Transaction, user: &UserUri, noted: &Noted) -> Result<(), Fault> {
    let mut rows = Consents(open);
    let pair = rows.between(Book::Sent, user, &noted.other, PAIR_READ_MAX).await?;
    match same_scope(&pair, noted) {
        None => return Err(Fault::Absent("no request of this scope")),
        Some(known) if known.act == Act::Cancel => return Ok(()),
        Some(_) => put_newest(&mut rows, Book::Sent, user, &pair, noted),
    }
    Ok(())
}

/// A grant or revocation by the user itself: what was asked of its scope is answered, and a grant's KeyPackages are given
/// away (C-6) but their Welcomes still find their clients.
async fn decide(
    open: &mut Transaction,
    user: &UserUri,
    noted: &Noted,
    key_packages: &[(ClientUri, StoredKeyPackage)],
) -> Result<(), Fault> {
    let mut rows = Consents(open);
    let pair = rows.between(Book::Given, user, &noted.other, PAIR_READ_MAX).await?;
    let rooms = pair.iter().filter(|known| known.room.is_some()).count();
    let known = same_scope(&pair, noted);
    match known {
        Some(_) => {}
        // What is said of any room can always be said.
        None if noted.room.is_some() && rooms >= CONSENT_ROOMS_MAX => {
            return Err(Fault::TooMuch("rooms of one user's consent"));
        }
        None if noted.act == Act::Grant => has_place(&rows, Book::Given, user).await?,
        None => {}
    }
    forget_ended(&mut rows, Book::Given, user, &pair, noted);
    put_newest(&mut rows, Book::Given, user, &pair, noted);
    let asked = rows.between(Book::Asked, user, &noted.other, PAIR_READ_MAX).await?;
    for answered in asked.iter().filter(|asked| answers(noted, asked)) {
        rows.clear(Book::Asked, user, &answered.other, answered.room.as_ref());
    }
    if known.is_some_and(|known| known.digest == noted.digest) {
        // Said again: these KeyPackages were given away by this very grant.
        return Ok(());
    }
    let mut packages = KeyPackages(open);
    for (client, stored) in key_packages {
        let known = packages.owner(&stored.reference).await?.is_some();
        if known && !packages.is_available(client, &stored.reference).await? {
            return Err(Fault::Malformed("a KeyPackage that was given away"));
        }
        packages.put(client, stored);
        packages.take(client, &stored.reference);
    }
    Ok(())
}

/// C-5: a revocation of any room ends the grants before it.
fn forget_ended(rows: &mut Consents<'_>, book: Book, user: &UserUri, pair: &[Noted], noted: &Noted) {
    if noted.act != Act::Revoke || noted.room.is_some() {
        return;
    }
    for ended in pair.iter().filter(|known| known.act == Act::Grant) {
        rows.clear(book, user, &ended.other, ended.room.as_ref());
    }
}

/// A word about any room answers requests for every room.
fn answers(noted: &Noted, asked: &Noted) -> bool {
    noted.room.is_none() || noted.room == asked.room
}

/// Notes what came from another provider; says what became of it, to nobody but the metrics.
async fn note_received(open: &mut Transaction, received: &Received, now: Millis) -> Result<&'static str, Fault> {
    let Received { user, scope, .. } = received;
    let noted = Noted {
        other: scope.other.clone(),
        room: scope.room.clone(),
        act: received.act,
        order: 0,
        at: now,
        digest: received.digest,
        key_packages: count(received.key_packages.len()),
    };
    // Who is there, and who is not, costs the same reads.
    let has_clients = !KeyPackages(open).clients(user).await?.is_empty();
    let has_profile = Profiles(open).profile(user).await?.is_some();
    let mut rows = Consents(open);
    let book = match noted.act {
        Act::Request | Act::Cancel => Book::Asked,
        Act::Grant | Act::Revoke => Book::Received,
    };
    let pair = rows.between(book, user, &scope.other, PAIR_READ_MAX).await?;
    let given = rows.between(Book::Given, user, &scope.other, PAIR_READ_MAX).await?;
    let sent = rows.between(Book::Sent, user, &scope.other, PAIR_READ_MAX).await?;
    let of_provider = rows.of_provider(book, user, scope.other.provider(), CONSENT_PROVIDER_MAX);
    let of_provider = of_provider.await?;
    let turns = rows.turns(user, &scope.other).await?;

    if !has_clients && !has_profile && sent.is_empty() {
        return Ok("dropped");
    }
    let known = same_scope(&pair, &noted);
    if known.is_some_and(|known| known.digest == noted.digest && !is_expired(known, now)) {
        return Ok("nothing");
    }
    if noted.act == Act::Cancel && known.is_none() {
        return Ok("nothing");
    }
    let Some(turns) = next(turns, now) else {
        return Ok("dropped");
    };
    rows.put_turns(user, &scope.other, turns);
    match noted.act {
        Act::Cancel => rows.clear(Book::Asked, user, &scope.other, scope.room.as_ref()),
        Act::Request if is_denied(&given, &noted, now) => return Ok("dropped"),
        Act::Request => {
            make_place(&mut rows, book, user, &pair, &of_provider, &noted);
            put_newest(&mut rows, book, user, &pair, &noted);
        }
        Act::Grant | Act::Revoke => {
            make_place(&mut rows, book, user, &pair, &of_provider, &noted);
            forget_ended(&mut rows, book, user, &pair, &noted);
            put_newest(&mut rows, book, user, &pair, &noted);
            let octets = match received.key_packages.is_empty() {
                true => Bytes::new(),
                false => Bytes::from(received.key_packages.encode()),
            };
            rows.put_granted(user, &scope.other, scope.room.as_ref(), &octets);
            for asked in sent.iter().filter(|asked| answers(&noted, asked)) {
                rows.clear(Book::Sent, user, &asked.other, asked.room.as_ref());
            }
        }
    }
    Ok("noted")
}

/// One more turn, if there is one left.
fn next(turns: Turns, now: Millis) -> Option<Turns> {
    if now.0.saturating_sub(turns.since.0) > CONSENT_TURNS_MS {
        return Some(Turns { since: now, count: 1 });
    }
    let count = turns.count + 1;
    (count <= CONSENT_TURNS_MAX).then_some(Turns { count, ..turns })
}

/// The user has said no not long ago, and is not asked again (C-7: nor does the other learn of it).
fn is_denied(given: &[Noted], request: &Noted, now: Millis) -> bool {
    let named = given.iter().find(|noted| noted.room == request.room);
    let any = given.iter().find(|noted| noted.room.is_none());
    let said = named.or(any);
    said.is_some_and(|said| said.act == Act::Revoke && now.0.saturating_sub(said.at.0) <= CONSENT_REQUEST_MS)
}

/// A new scope takes the place of the pair's oldest, or of the provider's: who floods a book loses what is its own.
fn make_place(
    rows: &mut Consents<'_>,
    book: Book,
    user: &UserUri,
    pair: &[Noted],
    of_provider: &[Noted],
    noted: &Noted,
) {
    if same_scope(pair, noted).is_some() {
        return;
    }
    let full = match () {
        () if pair.len() >= CONSENT_PAIR_MAX => pair,
        () if of_provider.len() >= CONSENT_PROVIDER_MAX => of_provider,
        () => return,
    };
    if let Some(oldest) = full.iter().min_by_key(|known| (known.at, known.order)) {
        rows.clear(book, user, &oldest.other, oldest.room.as_ref());
    }
}
