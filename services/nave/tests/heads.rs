//! `nave compare-heads`: what it says, and how it ends.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use ledger::{Chain, LedgerId, Seq};
use mimi::Encode as _;
use mimi::catch_up::RoomHead;
use nave::heads::Line;
use nave_hub::HubKeys;
use room::Epoch;

struct World {
    directory: tempfile::TempDir,
    keys: HubKeys,
}

impl World {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            keys: HubKeys::generate("a.example".parse().unwrap()).unwrap(),
        }
    }

    fn head(&self, name: &str, seq: u64, chain: u8, ledger: u8) -> RoomHead {
        let room = format!("mimi://a.example/r/{name}").parse().unwrap();
        let (ledger, chain) = (LedgerId([ledger; 16]), Chain([chain; 32]));
        self.keys.sign_head(&room, ledger, Seq(seq), chain, Epoch(1)).unwrap()
    }

    fn file(&self, name: &str, heads: &[RoomHead]) -> PathBuf {
        let lines = heads
            .iter()
            .map(|head| serde_json::to_string(&Line::from(head)).unwrap() + "\n");
        self.raw(name, &lines.collect::<String>())
    }

    fn raw(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn hub(&self) -> String {
        let sender = self.keys.external_sender(1).unwrap().encode();
        format!("a.example={}", hex::encode(sender))
    }

    /// The exit code, and what was printed.
    fn compare(&self, one: &Path, other: &Path, hub: &str) -> (i32, Vec<serde_json::Value>, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_nave"))
            .arg("compare-heads")
            .args([one, other])
            .args(["--hub", hub])
            .output()
            .unwrap();
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), lines.collect(), said)
    }
}

#[test]
fn b_1_two_heads_that_agree_or_do_not_meet_are_no_contradiction() {
    let world = World::new();
    let one = world.file("one", &[world.head("x", 7, 1, 9), world.head("y", 3, 2, 9)]);
    let other = world.file(
        "other",
        &[
            world.head("x", 7, 1, 9),
            world.head("x", 8, 5, 9),
            world.head("z", 3, 4, 9),
        ],
    );
    let (code, found, _) = world.compare(&one, &other, &world.hub());
    assert_eq!((code, found), (0, vec![]));
}

#[test]
fn b_1_two_chains_that_were_signed_for_one_entry_are_found_and_printed_with_their_signatures() {
    let world = World::new();
    let shown = [
        world.head("x", 7, 1, 9),
        world.head("x", 7, 2, 9),
        world.head("y", 3, 3, 9),
        world.head("y", 3, 4, 8),
    ];
    let one = world.file("one", &[shown[0].clone(), shown[2].clone()]);
    let other = world.file("other", &[shown[1].clone(), shown[3].clone()]);
    let (code, found, _) = world.compare(&one, &other, &world.hub());
    assert_eq!((code, found.len()), (1, 2));
    for (found, pair, same_ledger) in [(&found[0], &shown[..2], true), (&found[1], &shown[2..], false)] {
        assert_eq!(found["sameLedger"], same_ledger);
        for (side, head) in ["one", "other"].into_iter().zip(pair) {
            assert_eq!(found[side], serde_json::to_value(Line::from(head)).unwrap());
        }
    }
    // One provider may have been shown both.
    let both = world.file("both", &shown[..2]);
    let nothing = world.file("nothing", &[]);
    assert_eq!(world.compare(&both, &nothing, &world.hub()).0, 1);
}

#[test]
fn b_1_what_cannot_be_judged_is_neither_guilt_nor_innocence() {
    let world = World::new();
    let good = world.file("good", &[world.head("x", 7, 1, 9)]);
    let mut forged = world.head("x", 7, 1, 9);
    forged.chain = [2; 32];
    let line = serde_json::to_string(&Line::from(&world.head("x", 7, 1, 9))).unwrap();
    for (name, text, why) in [
        (
            "forged",
            serde_json::to_string(&Line::from(&forged)).unwrap(),
            "did not sign",
        ),
        ("cut", line[..40].to_owned(), "not a head"),
        ("long", " ".repeat(20_000) + &line, "longer than"),
        ("short", line.replace(&"01".repeat(32), "01"), "chain"),
        ("theirs", line.replace("a.example", "b.example"), "no key of b.example"),
        ("nowhere", line.replace("mimi://a.example/r/x", "x"), "room"),
    ] {
        let bad = world.raw(name, &text);
        for (one, other) in [(&good, &bad), (&bad, &good)] {
            let (code, found, said) = world.compare(one, other, &world.hub());
            assert_eq!((code, found), (2, vec![]), "{name}");
            assert!(said.contains(why), "{name}: {said}");
        }
    }
    let missing = world.directory.path().join("missing");
    assert_eq!(world.compare(&good, &missing, &world.hub()).0, 2);
    for hub in [
        "a.example",
        "a.example=zz",
        "a.example=00",
        &world.hub().replace("a.example=", "b.example="),
    ] {
        assert_eq!(world.compare(&good, &good, hub).0, 2, "{hub}");
    }
    // Another's key is none of a.example's.
    assert_eq!(world.compare(&good, &good, &World::new().hub()).0, 2);
}
