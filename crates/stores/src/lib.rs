//! Which store a configuration means: `fjall:DIRECTORY`, embedded, for one process; `fdb:CLUSTER_FILE`, FoundationDB, for
//! as many as there are (feature `fdb`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context;
use serde::{Deserialize, Deserializer, Serialize};
use store::Database;

/// A store's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Store {
    /// The embedded store in this directory, which is made if it is not there. One process at a time.
    Fjall(PathBuf),
    /// FoundationDB, found by this cluster file.
    Fdb(PathBuf),
}

impl Store {
    /// Whether several processes may work on it at a time.
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::Fdb(_))
    }

    /// The path in it, which a configuration takes to be relative to its file.
    pub const fn path(&mut self) -> &mut PathBuf {
        match self {
            Self::Fjall(path) | Self::Fdb(path) => path,
        }
    }
}

/// What the command line sets, over the configuration.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub struct Flags {
    /// The store, instead of the configuration's: fjall:DIRECTORY or fdb:CLUSTER_FILE
    #[arg(long, value_name = "STORE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
}

/// Opens a store.
///
/// # Errors
/// It cannot be opened, or this build does not know the engine.
pub async fn open_store(store: &Store) -> anyhow::Result<Database> {
    match store {
        Store::Fjall(directory) => {
            std::fs::create_dir_all(directory).with_context(|| format!("make {}", directory.display()))?;
            let path = directory.clone();
            let opened = tokio::task::spawn_blocking(move || Database::open_fjall(path, store::Options::default()));
            opened
                .await?
                .with_context(|| format!("open the store in {}", directory.display()))
        }
        Store::Fdb(cluster_file) => open_fdb(cluster_file).await,
    }
}

#[cfg(feature = "fdb")]
async fn open_fdb(cluster_file: &Path) -> anyhow::Result<Database> {
    let opened = store_fdb::FdbStore::open(cluster_file).await;
    opened.with_context(|| format!("store: `fdb:{}`", cluster_file.display()))
}

#[cfg(not(feature = "fdb"))]
async fn open_fdb(cluster_file: &Path) -> anyhow::Result<Database> {
    anyhow::bail!(
        "store: `fdb:{}` needs FoundationDB, which this build does not have: build with `--features fdb`",
        cluster_file.display()
    )
}

/// Neither of the two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownStore(String);

impl fmt::Display for UnknownStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "found `{}`, allowed are `fjall:DIRECTORY` and `fdb:CLUSTER_FILE`",
            self.0
        )
    }
}

impl std::error::Error for UnknownStore {}

impl FromStr for Store {
    type Err = UnknownStore;

    fn from_str(text: &str) -> Result<Self, UnknownStore> {
        match text.split_once(':') {
            Some(("fjall", path)) if !path.is_empty() => Ok(Self::Fjall(path.into())),
            Some(("fdb", path)) if !path.is_empty() => Ok(Self::Fdb(path.into())),
            _ => Err(UnknownStore(text.to_owned())),
        }
    }
}

impl<'de> Deserialize<'de> for Store {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_store_is_named_by_engine_and_path() {
        assert_eq!("fjall:data".parse(), Ok(Store::Fjall("data".into())));
        assert_eq!(
            "fdb:/etc/fdb.cluster".parse(),
            Ok(Store::Fdb("/etc/fdb.cluster".into()))
        );
        for bad in ["", "data", "fdb:", "sql:x"] {
            let error = bad.parse::<Store>().unwrap_err().to_string();
            assert!(error.contains("allowed are `fjall:DIRECTORY`"), "{error}");
        }
    }

    #[cfg(not(feature = "fdb"))]
    #[tokio::test]
    async fn a_build_without_an_engine_says_how_to_get_it() {
        let error = open_store(&Store::Fdb("/etc/fdb.cluster".into())).await.unwrap_err();
        assert!(error.to_string().contains("build with `--features fdb`"), "{error}");
    }
}
