//! Signed heads as files: a provider's export, one JSON object a line, and the comparison of two. A head proves what a hub
//! said, so two that contradict each other prove that it showed different histories.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write};
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use client::api::{Api, Target};
use mimi::catch_up::RoomHead;
use mimi::mls::ExternalSender;
use mimi::{Decode as _, IdentifierUri, Provider};
use serde::{Deserialize, Serialize};

use crate::config::Config;

/// Octets of the longest line: a URI and a signature, many times.
const LINE_BYTES_MAX: usize = 16 << 10;

/// Heads in one file.
const HEADS_MAX: usize = 10_000_000;

/// A head as a line of a file. Octets are hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    room: String,
    ledger: String,
    seq: u64,
    chain: String,
    epoch: u64,
    cipher_suite: u16,
    signature: String,
}

impl From<&RoomHead> for Line {
    fn from(head: &RoomHead) -> Self {
        Self {
            room: String::from_utf8_lossy(head.room.octets()).into_owned(),
            ledger: hex::encode(head.ledger),
            seq: head.seq,
            chain: hex::encode(head.chain),
            epoch: head.epoch,
            cipher_suite: head.cipher_suite,
            signature: hex::encode(&head.signature),
        }
    }
}

impl TryFrom<&Line> for RoomHead {
    type Error = anyhow::Error;

    fn try_from(line: &Line) -> anyhow::Result<Self> {
        let mut head = Self {
            room: IdentifierUri(Bytes::copy_from_slice(line.room.as_bytes())),
            ledger: [0; 16],
            seq: line.seq,
            chain: [0; 32],
            epoch: line.epoch,
            cipher_suite: line.cipher_suite,
            signature: hex::decode(&line.signature).context("signature")?.into(),
        };
        hex::decode_to_slice(&line.ledger, &mut head.ledger).context("ledger")?;
        hex::decode_to_slice(&line.chain, &mut head.chain).context("chain")?;
        Ok(head)
    }
}

/// A hub's key, as its directory document says it: `DOMAIN=HEX`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubKey {
    provider: Provider,
    sender: ExternalSender,
}

impl FromStr for HubKey {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (domain, digits) = text.split_once('=').context("not DOMAIN=HEX")?;
        let provider: Provider = domain.parse().context("not a domain")?;
        let octets = hex::decode(digits).context("not hexadecimal digits")?;
        let sender = ExternalSender::decode_exact(&octets).context("not an ExternalSender")?;
        ensure!(
            sender.credential.provider().as_ref() == Some(&provider),
            "the credential is not of {provider}"
        );
        Ok(Self { provider, sender })
    }
}

/// Two heads of one room and seq whose chains differ: their hub signed two histories.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Contradiction {
    room: String,
    seq: u64,
    /// Whether both are of one ledger. A hub that lost its ledger, and says so to everybody, may number anew in another.
    same_ledger: bool,
    one: Line,
    other: Line,
}

/// Prints what hubs sign of the rooms that the provider of `config` follows, one object a line; on standard error, the rooms
/// of which there is nothing.
///
/// # Errors
/// The provider cannot be reached, or the client's user is no moderator.
pub async fn export(config: &Config, step: u32, out: &mut impl Write) -> anyhow::Result<()> {
    let api = api(config)?;
    let mut after = String::new();
    loop {
        let page = api.export_heads(&after, step).await?;
        for octets in &page.heads {
            let head = RoomHead::decode_exact(octets).context("the provider's answer is not a head")?;
            writeln!(out, "{}", serde_json::to_string(&Line::from(&head))?)?;
        }
        for room in &page.without {
            eprintln!("nave: no signed head of {room}");
        }
        if !page.more || page.last.is_empty() {
            return Ok(out.flush()?);
        }
        after = page.last;
    }
}

fn api(config: &Config) -> anyhow::Result<Api> {
    let client = config.client.as_ref();
    let client = client.context("`[client]` is missing: a moderator's token is needed")?;
    let token = std::fs::read_to_string(&client.token).with_context(|| format!("read {}", client.token.display()))?;
    let roots_pem = std::fs::read(&client.roots).with_context(|| format!("read {}", client.roots.display()))?;
    let target = Target {
        address: config.api,
        server_name: config.domain.to_string(),
        roots_pem,
    };
    Ok(Api::new(&target, token.trim())?)
}

/// Every room and seq of which the two files together hold two heads with different chains, each of which its hub signed.
///
/// # Errors
/// A file cannot be read, a line is no head, its hub's key is not among `hubs`, or its signature does not hold.
pub fn compare(one: &Path, other: &Path, hubs: &[HubKey]) -> anyhow::Result<Vec<Contradiction>> {
    let mut known: BTreeMap<(String, u64), Vec<Line>> = BTreeMap::new();
    let mut found = Vec::new();
    for file in [one, other] {
        for line in read(file, hubs)? {
            let lines = known.entry((line.room.clone(), line.seq)).or_default();
            // A third history contradicts the first one as much as the second did.
            if lines.iter().any(|known| known.chain == line.chain) {
                continue;
            }
            if let Some(first) = lines.first() {
                found.push(Contradiction {
                    room: line.room.clone(),
                    seq: line.seq,
                    same_ledger: first.ledger == line.ledger,
                    one: first.clone(),
                    other: line.clone(),
                });
            }
            lines.push(line);
        }
    }
    Ok(found)
}

/// The heads of a file, all of them signed.
fn read(path: &Path, hubs: &[HubKey]) -> anyhow::Result<Vec<Line>> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("open {shown}"))?;
    let mut heads = Vec::new();
    let mut reader = BufReader::new(file);
    for number in 1_usize.. {
        let mut octets = Vec::new();
        let bounded = &mut std::io::Read::take(&mut reader, LINE_BYTES_MAX as u64);
        let read = bounded.read_until(b'\n', &mut octets);
        if read.with_context(|| format!("read {shown}"))? == 0 {
            break;
        }
        ensure!(
            octets.len() < LINE_BYTES_MAX || octets.ends_with(b"\n"),
            "{shown}, line {number}: longer than {LINE_BYTES_MAX} octets"
        );
        if octets.trim_ascii().is_empty() {
            continue;
        }
        ensure!(heads.len() < HEADS_MAX, "{shown}: more than {HEADS_MAX} heads");
        let line = judged(&octets, hubs).with_context(|| format!("{shown}, line {number}"))?;
        heads.push(line);
    }
    Ok(heads)
}

/// The head of a line, if its hub signed it.
fn judged(octets: &[u8], hubs: &[HubKey]) -> anyhow::Result<Line> {
    let line: Line = serde_json::from_slice(octets).context("not a head")?;
    let head = RoomHead::try_from(&line)?;
    let room = head.room.room().context("room")?;
    let keys = hubs.iter().filter(|key| key.provider == *room.provider());
    let mut keys = keys.peekable();
    if keys.peek().is_none() {
        bail!("no key of {} was given", room.provider());
    }
    ensure!(
        keys.any(|key| peer::heads::verifies(&head, &key.sender)),
        "{} did not sign this",
        room.provider()
    );
    // As it was signed: digits have one spelling.
    Ok(Line::from(&head))
}
