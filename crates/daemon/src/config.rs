//! Configuration is complete and checked before anything starts: built-in defaults, then the file, then `NAVE_…`
//! variables, then flags, each over the one before.

use std::fmt;
use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Env, Format, Serialized, Toml};
use figment::{Figment, Source};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Environment variables start with this; `__` separates a section from its key: `NAVE_LIMITS__BODY_BYTES_MAX`.
pub const ENV_PREFIX: &str = "NAVE_";

/// Variables that belong to the command line (`--config`) and are no keys.
const ENV_FLAGS: &[&str] = &["config"];

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which file.
        file: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Something in it is not allowed.
    #[error("{}", Problems(.0))]
    Invalid(Vec<Problem>),
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, the environment variables or the flags.
    pub origin: String,
    /// The key, dotted from the root; empty when the whole is meant.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key.as_str() {
            "" => write!(f, "{}: {}", self.origin, self.what),
            key => write!(f, "{}: {key}: {}", self.origin, self.what),
        }
    }
}

struct Problems<'a>(&'a [Problem]);

impl fmt::Display for Problems<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// For programs whose command line sets nothing that a configuration has.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct NoFlags {}

/// Loads a configuration. `T` holds the defaults (`#[serde(default)]`) and says `deny_unknown_fields`; `flags` serialises
/// to the keys that the command line sets, skipping those it leaves alone.
///
/// # Errors
/// [`ConfigError`], naming the file, the key and what is allowed there.
pub fn load<T: DeserializeOwned>(file: Option<&Path>, flags: impl Serialize) -> Result<T, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        let readable = std::fs::File::open(path).and_then(|mut file| {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut file, &mut text).map(drop)
        });
        readable.map_err(|source| ConfigError::Read {
            file: path.to_owned(),
            source,
        })?;
        figment = figment.merge(Toml::file_exact(path));
    }
    let figment = figment
        .merge(Env::prefixed(ENV_PREFIX).split("__").ignore(ENV_FLAGS))
        .merge(Serialized::defaults(flags));
    figment.extract().map_err(|error| {
        let whole = file.map_or_else(|| "configuration".to_owned(), |file| file.display().to_string());
        let problems = error.into_iter().map(|error| problem(&figment, &whole, error));
        ConfigError::Invalid(problems.collect())
    })
}

fn problem(figment: &Figment, whole: &str, error: figment::Error) -> Problem {
    let mut path = error.path.clone();
    let what = match &error.kind {
        Kind::UnknownField(name, allowed) => {
            if path.last() != Some(name) {
                path.push(name.clone());
            }
            format!("there is no such key, allowed are {}", list(allowed))
        }
        Kind::MissingField(name) => {
            path.push(name.to_string());
            "is required and missing".to_owned()
        }
        Kind::UnknownVariant(value, allowed) => format!("`{value}` is not allowed, allowed are {}", list(allowed)),
        Kind::InvalidType(actual, expected) => format!("found {actual}, allowed is {expected}"),
        Kind::InvalidValue(actual, expected) => format!("found {actual}, allowed is {expected}"),
        kind => kind.to_string(),
    };
    let key = path.join(".");
    let origin = figment
        .find_metadata(&key)
        .or(error.metadata.as_ref())
        .map(|metadata| match &metadata.source {
            Some(Source::File(file)) => file.display().to_string(),
            Some(Source::Code(_)) | None if metadata.name.contains("environment") => "environment".to_owned(),
            Some(Source::Code(_)) => "flags".to_owned(),
            _ => metadata.name.to_string(),
        });
    Problem {
        origin: origin.unwrap_or_else(|| whole.to_owned()),
        key,
        what,
    }
}

fn list(allowed: &[&str]) -> String {
    let quoted: Vec<String> = allowed.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use serde::Deserialize;
    use std::net::SocketAddr;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Example {
        domain: String,
        #[serde(default)]
        limits: Limits,
        #[serde(default)]
        peers: Vec<Peer>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Limits {
        body_bytes_max: u32,
        format: Shape,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Shape {
        Json,
        Human,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "read by serde only")]
    struct Peer {
        address: SocketAddr,
    }

    impl Default for Limits {
        fn default() -> Self {
            Self {
                body_bytes_max: 8,
                format: Shape::Json,
            }
        }
    }

    #[derive(Default, Serialize)]
    struct Flags {
        #[serde(skip_serializing_if = "Option::is_none")]
        domain: Option<&'static str>,
    }

    fn load_text(text: &str) -> Result<Example, String> {
        load_with(text, Flags::default())
    }

    fn load_with(text: &str, flags: Flags) -> Result<Example, String> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("nave.toml");
        std::fs::write(&file, text).unwrap();
        load(Some(&file), flags).map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), ""))
    }

    #[test]
    fn what_the_file_leaves_out_has_its_default() {
        let config = load_text("domain = 'a.example'\n[limits]\nformat = 'human'").unwrap();
        assert_eq!((config.domain.as_str(), config.limits.body_bytes_max), ("a.example", 8));
        assert_eq!(config.limits.format, Shape::Human);
        assert!(config.peers.is_empty());
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let flags = Flags {
            domain: Some("b.example"),
        };
        assert_eq!(load_with("domain = 'a.example'", flags).unwrap().domain, "b.example");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_the_allowed_ones() {
        let error = load_text("domain = 'a.example'\n[limits]\nbody_max = 3").unwrap_err();
        assert_eq!(
            error,
            "/nave.toml: limits.body_max: there is no such key, allowed are `body_bytes_max`, `format`"
        );
    }

    #[test]
    fn a_missing_key_is_named_with_its_file() {
        assert_eq!(
            load_text("").unwrap_err(),
            "/nave.toml: domain: is required and missing"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_named_with_what_is_allowed() {
        let error = load_text("domain = 'a.example'\nlimits.body_bytes_max = 'much'").unwrap_err();
        assert_eq!(
            error,
            "/nave.toml: limits.body_bytes_max: found string \"much\", allowed is u32"
        );
        let error = load_text("domain = 'a.example'\nlimits.format = 'xml'").unwrap_err();
        assert_eq!(
            error,
            "/nave.toml: limits.format: `xml` is not allowed, allowed are `json`, `human`"
        );
        let error = load_text("domain = 'a.example'\n[[peers]]\naddress = 'nowhere'").unwrap_err();
        assert!(error.starts_with("/nave.toml: peers.0.address: "), "{error}");
    }

    #[test]
    fn a_file_that_is_not_toml_is_named() {
        let error = load_text("domain = = 1").unwrap_err();
        assert!(error.starts_with("/nave.toml: "), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = load::<Example>(Some(Path::new("/nowhere/nave.toml")), Flags::default()).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/nave.toml");
    }
}
