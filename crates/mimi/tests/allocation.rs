//! What a sender declares is not what a decoder allocates. A test binary of its own, for it measures the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "tests")]

use bytes::Bytes;
use mimi::codec::{VECTOR_BYTES_MAX, Writer};
use mimi::key_material::KeyMaterialResponse;
use mimi::mls::{Message, RatchetTree};
use mimi::notify::FanoutMessage;
use mimi::update::{UpdateRequest, UpdateRoomResponse};
use mimi::{AppDataDictionary, Decode, DecodeError, IdentifierUri, ParticipantList, RoleData};

/// The largest length there is, with nothing behind it.
fn huge() -> Vec<u8> {
    let mut writer = Writer::default();
    writer.length(VECTOR_BYTES_MAX);
    writer.into_octets()
}

fn truncated<T: Decode + std::fmt::Debug + PartialEq>(front: &[u8]) {
    let octets = [front, &huge()].concat();
    assert_eq!(T::decode_exact(&octets), Err(DecodeError::Truncated));
    assert_eq!(T::decode_shared(&octets.into()), Err(DecodeError::Truncated));
}

/// The most address space that this process ever had, in kB.
fn peak_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn w_7_a_huge_declared_length_makes_no_room() {
    let before = peak_kb();
    truncated::<Bytes>(&[]);
    truncated::<Vec<u32>>(&[]);
    truncated::<IdentifierUri>(&[]);
    truncated::<String>(&[]);
    truncated::<AppDataDictionary>(&[]);
    truncated::<ParticipantList>(&[]);
    truncated::<RoleData>(&[]);
    truncated::<RatchetTree>(&[]);
    // PrivateMessage, PublicMessage and Welcome up to their first vector.
    truncated::<Message>(&[0, 1, 0, 2]);
    truncated::<UpdateRequest>(&[0, 1, 0, 1]);
    truncated::<Message>(&[0, 1, 0, 3, 0, 1]);
    truncated::<FanoutMessage>(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]);
    truncated::<UpdateRoomResponse>(&[3, 0]);
    truncated::<KeyMaterialResponse>(&[1, 0, 0]);
    // A new thread's allocator reserves some; one vector made room for would take 1 GiB.
    let grown = peak_kb() - before;
    assert!(grown < 512 * 1024, "grew by {grown} kB");
}
