//! The witness: a small file beside the engine that names a version known to be durable.
//!
//! The engine drops what it cannot read at the end of its journal, which is right after a crash in the middle of a write
//! and wrong when the octets were damaged later. The witness is written after every sync (not synced itself: it may lag,
//! never lead), so that a store which lost acknowledged commits is refused instead of opened.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::marker::checksum;
use crate::key::Version;

const MAGIC: &[u8; 8] = b"NAVEWIT1";
const SLOT_OCTETS: usize = 24;
/// Each slot has a page of its own, so that a torn write spoils one of them at most.
const SLOT_OFFSETS: [u64; 2] = [0, 4_096];

#[derive(Debug)]
pub(crate) struct Witness {
    file: File,
    next: usize,
}

impl Witness {
    /// Writes a new witness of version 0, durably.
    pub(crate) fn create(path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        for offset in SLOT_OFFSETS {
            file.write_all_at(&slot(Version(0)), offset)?;
        }
        file.sync_all()
    }

    /// Opens the witness and says which version it has seen; `None` if the file is damaged.
    pub(crate) fn open(path: &Path) -> io::Result<Option<(Self, Version)>> {
        let mut file = OpenOptions::new().read(true).write(true).open(path)?;
        let mut octets = Vec::new();
        let all = SLOT_OFFSETS[1] + SLOT_OCTETS as u64;
        (&mut file).take(all).read_to_end(&mut octets)?;
        let slots = SLOT_OFFSETS.map(|offset| read_slot(&octets, usize::try_from(offset).unwrap_or(usize::MAX)));
        let Some(version) = slots.iter().flatten().max().copied() else {
            return Ok(None);
        };
        // The older slot, or the spoilt one, is overwritten first.
        let next = usize::from(slots[0] == Some(version));
        Ok(Some((Self { file, next }, version)))
    }

    /// Notes that `version` is durable.
    pub(crate) fn note(&mut self, version: Version) -> io::Result<()> {
        self.file.write_all_at(&slot(version), SLOT_OFFSETS[self.next])?;
        self.next = 1 - self.next;
        Ok(())
    }
}

fn slot(version: Version) -> [u8; SLOT_OCTETS] {
    let mut octets = [0; SLOT_OCTETS];
    octets[..8].copy_from_slice(MAGIC);
    octets[8..16].copy_from_slice(&version.0.to_be_bytes());
    let sum = checksum(&octets[..16]);
    octets[16..].copy_from_slice(&sum);
    octets
}

fn read_slot(octets: &[u8], offset: usize) -> Option<Version> {
    let read = octets.get(offset..)?.get(..SLOT_OCTETS)?;
    let version = Version(u64::from_be_bytes(read[8..16].try_into().ok()?));
    (read == slot(version)).then_some(version)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_latest_version_is_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("witness");
        Witness::create(&path).unwrap();
        for expected in 0..5 {
            let (mut witness, version) = Witness::open(&path).unwrap().unwrap();
            assert_eq!(version, Version(expected));
            witness.note(Version(expected + 1)).unwrap();
        }
    }

    #[test]
    fn a_torn_slot_leaves_the_version_before() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("witness");
        Witness::create(&path).unwrap();
        let (mut witness, _) = Witness::open(&path).unwrap().unwrap();
        witness.note(Version(1)).unwrap();
        witness.note(Version(2)).unwrap();
        let torn = SLOT_OFFSETS[1 - witness.next];
        witness.file.write_all_at(b"torn", torn + 9).unwrap();
        assert_eq!(Witness::open(&path).unwrap().unwrap().1, Version(1));
        witness
            .file
            .write_all_at(b"torn", SLOT_OFFSETS[witness.next] + 9)
            .unwrap();
        assert!(Witness::open(&path).unwrap().is_none());
    }
}
