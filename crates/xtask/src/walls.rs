//! Which crate may not import which, as data. A wall forbids a direct, ordinary dependency; test dependencies may cross
//! it, because a test may look at what the code may not.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context;
use cargo_metadata::{DependencyKind, MetadataCommand};

/// Every member of the workspace, and what it never imports directly. `"*"` stands for every member not named after it
/// as an exception with a leading `!`.
pub const WALLS: &[(&str, &[&str])] = &[
    ("proto", &["*"]),
    ("mimi", &["*", "tokio", "futures", "async-trait", "openmls"]),
    ("policy", &["*", "!mimi", "tokio", "futures", "async-trait", "openmls"]),
    (
        "room",
        &[
            "*",
            "!mimi",
            "!policy",
            "tokio",
            "futures",
            "async-trait",
            "actix",
            "quinn",
            "tracing",
            "rand",
        ],
    ),
    ("route", &["*"]),
    ("store", &["*", "actix", "quinn"]),
    ("store-fdb", &["*", "!store", "actix", "quinn", "fjall"]),
    ("shard", &["*", "!store", "!route", "actix", "quinn"]),
    (
        "ledger",
        &["*", "!mimi", "!room", "!store", "!shard", "!route", "actix", "quinn"],
    ),
    ("link", &["*", "!proto", "!mimi", "actix"]),
    ("peer", &["*", "!proto", "!mimi", "!link", "actix"]),
    ("fanout", &["actix", "quinn", "room", "shard", "hub", "link", "peer"]),
    (
        "hub",
        &[
            "quinn",
            "link",
            "peer",
            "daemon",
            "client",
            "nave-edge",
            "nave-hub",
            "nave-follower",
            "nave",
        ],
    ),
    ("daemon", &["*", "actix"]),
    (
        "tier",
        &[
            "*", "!daemon", "!link", "!mimi", "!peer", "!proto", "actix", "quinn", "fjall",
        ],
    ),
    ("stores", &["*", "!store", "!store-fdb", "actix", "quinn", "fjall"]),
    ("client", &["*", "!mimi", "!policy", "!proto", "actix", "fjall"]),
    ("sim", &["nave", "nave-edge", "nave-hub", "nave-follower"]),
    ("hostile", &["*", "!link", "!mimi", "!peer", "!policy"]),
    ("link-conformance", &["*", "!proto", "actix"]),
    ("oracle", &["*"]),
    ("xtask", &["*"]),
    (
        "nave-edge",
        &["store", "ledger", "room", "shard", "hub", "fanout", "client", "actix"],
    ),
    ("nave-hub", &["client", "nave-edge", "nave-follower", "nave", "actix"]),
    (
        "nave-follower",
        &[
            "hub",
            "room",
            "shard",
            "fanout",
            "client",
            "nave-edge",
            "nave-hub",
            "nave",
            "actix",
        ],
    ),
    (
        "nave-ctl",
        &["*", "!daemon", "!mimi", "!proto", "!tier", "actix", "quinn", "fjall"],
    ),
    ("nave", &["hub", "room", "shard", "fanout", "actix"]),
    ("example-follower", &["*", "!proto", "actix"]),
    // It drives processes, and knows of them what others may know: not how they work. Beside them it measures bare OpenMLS.
    (
        "loadtest",
        &[
            "*", "!client", "!daemon", "!link", "!mimi", "!peer", "!policy", "!proto", "!tier", "actix", "fjall",
        ],
    ),
];

/// Dependencies that these alone may import. Who checks the link, who shows that its document is enough, and who compares the
/// link with bare QUIC, speak QUIC themselves.
const SOLE_USERS: &[(&str, &[&str])] = &[
    ("actix", &["hub"]),
    ("quinn", &["link", "link-conformance", "example-follower", "loadtest"]),
    ("fjall", &["store"]),
    ("foundationdb", &["store-fdb"]),
];

/// Members on which nothing depends.
const LAST: &[&str] = &[
    "example-follower",
    "hostile",
    "link-conformance",
    "loadtest",
    "sim",
    "xtask",
];

/// Each breach as a sentence: a wall crossed, a member without a wall, a dependency that others than its sole user have,
/// a member that something depends on though nothing may.
pub fn breaches(root: &Path) -> anyhow::Result<Vec<String>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .no_deps()
        .exec()
        .context("read the workspace's metadata")?;
    let imports: BTreeMap<String, BTreeSet<String>> = metadata
        .packages
        .iter()
        .map(|package| {
            let ordinary = package.dependencies.iter().filter(|d| d.kind == DependencyKind::Normal);
            (package.name.to_string(), ordinary.map(|d| d.name.clone()).collect())
        })
        .collect();
    Ok(check(WALLS, &imports))
}

/// [`breaches`] over given walls and imports.
pub fn check(walls: &[(&str, &[&str])], imports: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (member, imported) in imports {
        let Some((_, wall)) = walls.iter().find(|(name, _)| name == member) else {
            breaches.push(format!(
                "{member} has no wall: add it to WALLS in crates/xtask/src/walls.rs"
            ));
            continue;
        };
        for import in imported {
            let excepted = wall.iter().any(|entry| entry.strip_prefix('!') == Some(import));
            let closed = wall.contains(&import.as_str()) || wall.contains(&"*") && imports.contains_key(import);
            if closed && !excepted {
                breaches.push(format!("{member} imports {import}, which its wall forbids"));
            }
            let others = |(name, users): &&(&str, &[&str])| name == import && !users.contains(&member.as_str());
            if let Some((_, users)) = SOLE_USERS.iter().find(others) {
                breaches.push(format!(
                    "{member} imports {import}, which only {} may",
                    users.join(", ")
                ));
            }
            if LAST.contains(&import.as_str()) {
                breaches.push(format!("{member} imports {import}, on which nothing depends"));
            }
        }
    }
    for (member, _) in walls {
        if !imports.contains_key(*member) {
            breaches.push(format!("WALLS names {member}, which is not a member"));
        }
    }
    breaches
}
