//! What a room costs beside the MLS that it cannot do without.
//!
//! `cargo bench -p room` prints each figure twice: criterion's own, and a table in which the room and bare OpenMLS handle
//! the same commits in turn, so that their ratio holds on a machine whose speed drifts. `ROOM_LEAVES=10,100` chooses the
//! sizes of the groups; bringing 10,000 clients together takes minutes.
#![allow(clippy::unwrap_used, reason = "benchmarks")]

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use openmls::component::ComponentData;
use openmls::group::PublicGroup;
use openmls::messages::group_info::{GroupInfo, VerifiableGroupInfo};
use openmls::prelude::tls_codec::{DeserializeBytes as _, Serialize as _};
use openmls::prelude::{MlsMessageIn, OpenMlsProvider as _, ProcessedMessageContent, StagedCommit, Verifiable as _};
use openmls_rust_crypto::OpenMlsRustCrypto;
use room::{Command, NoKeys, Row, RowId};
use support::store::Nowhere;
use support::{Grown, Hosted, Made, public_group, submit_command, update_command};

/// Commits of each kind that are measured in one group, as long as the group stays about as large.
fn commits_of(kind: &str, leaves: usize) -> usize {
    match kind {
        "update" if leaves <= 100 => 200,
        _ => 12,
    }
}
/// Messages that are prepared.
const MESSAGES: usize = 4_096;

fn main() {
    let leaves = std::env::var("ROOM_LEAVES").unwrap_or_else(|_| "10,100,1000,10000".to_owned());
    let leaves: Vec<usize> = leaves.split(',').map(|n| n.trim().parse().unwrap()).collect();
    let mut criterion = Criterion::default().configure_from_args();
    println!("| leaves | commit | bare OpenMLS | room | ratio | delta | all rows |");
    println!("|---|---|---|---|---|---|---|");
    let mut grown: Vec<Grown> = Vec::new();
    for leaves in leaves {
        let mut group = Grown::new(leaves);
        for kind in ["update", "add"] {
            commits(&mut group, kind);
        }
        restore(&group);
        grown.push(group);
    }
    for group in &mut grown {
        messages(&mut criterion, group);
    }
    criterion.final_summary();
}

/// What OpenMLS alone does with a commit: process it, verify the GroupInfo, encode the change, merge it, and where clients
/// were added encode the tree for them.
fn bare(crypto: &OpenMlsRustCrypto, group: &mut PublicGroup, made: &Made) {
    let message = MlsMessageIn::tls_deserialize_exact_bytes(&made.commit).unwrap();
    let processed = group.process_message(crypto.crypto(), message.try_into_protocol_message().unwrap());
    let staged: StagedCommit = match processed.unwrap().into_content() {
        ProcessedMessageContent::StagedCommitMessage(staged) => *staged,
        ProcessedMessageContent::UnresolvedAppDataCommit(unresolved) => {
            let updates: Vec<_> = unresolved.app_data_update_proposals().map(support::read).collect();
            let mut updater = group.app_data_dictionary_updater();
            let mut before = mimi::AppDataDictionary::default();
            for update in &updates {
                let value = updater.old_value(update.component.0).unwrap();
                before.0.insert(update.component, value.to_vec().into());
            }
            for (component, value) in policy::apply_components(&before, &updates).unwrap() {
                updater.set(ComponentData::from_parts(component.0, value.unwrap().to_vec().into()));
            }
            let changes = updater.changes();
            group
                .stage_app_data_commit(crypto.crypto(), *unresolved, changes)
                .unwrap()
        }
        _ => panic!("not a commit"),
    };
    let info = VerifiableGroupInfo::tls_deserialize_exact_bytes(&made.group_info).unwrap();
    let key = staged.update_path_leaf_node().unwrap().signature_key().clone();
    let key =
        openmls::prelude::OpenMlsSignaturePublicKey::from_signature_key(key, group.ciphersuite().signature_algorithm());
    let _: GroupInfo = info.verify(crypto.crypto(), &key).unwrap();
    black_box(rmp_serde::to_vec_named(&staged).unwrap());
    group.merge_commit(&Nowhere, staged).unwrap();
    if made.welcome.is_some() {
        black_box(group.export_ratchet_tree().tls_serialize_detached().unwrap());
    }
}

/// The same commits by bare OpenMLS and by the room, in turn.
fn commits(group: &mut Grown, kind: &str) {
    let founding = group.founding();
    let crypto = OpenMlsRustCrypto::default();
    let mut mls = public_group(&founding);
    let mut hosted = Hosted::found(founding);
    let mut pairs = Vec::new();
    let (mut delta, mut all) = (0, 0);
    for _ in 0..commits_of(kind, group.leaves) {
        let made = if kind == "add" { group.add() } else { group.update() };
        let command = update_command(made.request());
        let began = Instant::now();
        bare(&crypto, &mut mls, &made);
        let alone = began.elapsed();
        let began = Instant::now();
        let applied = black_box(hosted.accept(&command));
        let whole = began.elapsed();
        pairs.push((alone, whole));
        let rows = applied.rows.iter();
        (delta, all) = rows.fold((0, 0), |(delta, all), change| match (&change.id, &change.row) {
            (RowId::Delta(_), Some(row)) => (size(row), all + size(row)),
            (_, Some(row)) => (delta, all + size(row)),
            _ => (delta, all),
        });
        hosted.keep(applied);
    }
    let ratio = median(
        pairs
            .iter()
            .map(|(alone, whole)| whole.as_secs_f64() / alone.as_secs_f64()),
    );
    println!(
        "| {} | {kind} | {:.3} ms | {:.3} ms | {ratio:.2} | {delta} B | {all} B |",
        group.leaves,
        1e3 * median(pairs.iter().map(|(alone, _)| alone.as_secs_f64())),
        1e3 * median(pairs.iter().map(|(_, whole)| whole.as_secs_f64())),
    );
}

/// Opening a room from its rows beside making its group from tree and GroupInfo.
fn restore(group: &Grown) {
    let founding = group.founding();
    let hosted = Hosted::found(founding.clone());
    let runs = if group.leaves > 1_000 { 5 } else { 11 };
    let time = |act: &dyn Fn()| {
        let began = Instant::now();
        act();
        began.elapsed().as_secs_f64()
    };
    let pairs: Vec<(f64, f64)> = (0..runs)
        .map(|_| {
            (
                time(&|| drop(black_box(public_group(&founding)))),
                time(&|| drop(black_box(hosted.reopened()))),
            )
        })
        .collect();
    println!(
        "| {} | restore | {:.3} ms (from_external) | {:.3} ms | {:.3} | | |",
        group.leaves,
        1e3 * median(pairs.iter().map(|(alone, _)| *alone)),
        1e3 * median(pairs.iter().map(|(_, whole)| *whole)),
        median(pairs.iter().map(|(alone, whole)| whole / alone)),
    );
}

/// Deciding on an application message, and deciding and applying it.
fn messages(criterion: &mut Criterion, group: &mut Grown) {
    let founding = group.founding();
    let hosted = Hosted::found(founding);
    let commands: Vec<Command> = (0..MESSAGES).map(|_| submit_command(group.message(1_024))).collect();
    let mut benchmarks = criterion.benchmark_group(format!("message of 1 KiB, {} leaves", group.leaves));
    benchmarks.throughput(Throughput::Elements(1));
    let mut next = (0..MESSAGES).cycle();
    let now = room::Millis(1_800_000_100_000);
    benchmarks.bench_function("decide", |bencher| {
        bencher.iter(|| {
            let command = &commands[next.next().unwrap()];
            black_box(hosted.room.decide(command, now, &NoKeys).unwrap())
        });
    });
    benchmarks.bench_function("decide and apply", |bencher| {
        bencher.iter_custom(|times| {
            let mut spent = Duration::ZERO;
            let mut left = times;
            while left > 0 {
                let mut fresh = hosted.again();
                let some = usize::try_from(left).unwrap().min(MESSAGES);
                let began = Instant::now();
                for command in &commands[..some] {
                    black_box(fresh.accept(command));
                }
                spent += began.elapsed();
                left -= some as u64;
            }
            spent
        });
    });
    benchmarks.finish();
}

fn size(row: &Row) -> usize {
    match row {
        Row::Snapshot { state } => state.len(),
        Row::Delta { commit, staged } => commit.len() + staged.len(),
        Row::Dictionary { octets } => octets.len(),
        Row::GroupInfo { group_info } => group_info.len(),
        Row::Answer { answer, .. } => answer.len(),
        Row::Pending { proposals, queued, .. } => queued.len() + proposals.iter().map(bytes::Bytes::len).sum::<usize>(),
        _ => 0,
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
