//! The configuration: where some hub nodes are, and the operator's certificate.

use serde::{Deserialize, Serialize};
use tier::ClusterFiles;
use tier::provider;

use crate::{Arguments, Failure};

/// What `navectl` needs to know.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `host:port` of some hub nodes.
    #[serde(deserialize_with = "provider::addresses")]
    pub hubs: Vec<String>,
    /// The operator's certificate, and the root of the hubs'.
    pub cluster: ClusterFiles,
}

#[derive(Serialize)]
struct Flags<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    hubs: &'a [String],
}

impl Config {
    /// Reads the file that the arguments name; its paths come back relative to the working directory.
    ///
    /// # Errors
    /// Says the file, the key and what is allowed.
    pub fn load(arguments: &Arguments) -> Result<Self, Failure> {
        let flags = Flags { hubs: &arguments.hubs };
        let loaded = daemon::config::load(Some(&arguments.config), flags);
        let mut config: Self = loaded.map_err(|error| Failure::Config(error.into()))?;
        provider::beside(&arguments.config, config.cluster.paths());
        Ok(config)
    }
}
