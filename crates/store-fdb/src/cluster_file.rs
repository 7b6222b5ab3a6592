//! The file that says where a cluster is. The client reads it itself, but says little when it cannot.

use std::path::Path;

use crate::open::OpenError;

/// Largest cluster file, in octets: a hundred coordinators fit many times.
const FILE_OCTETS_MAX: u64 = 64 * 1_024;

/// Reads the file and gives its coordinators, for people to read. Refuses what the client could not use.
pub(crate) fn coordinators(path: &Path) -> Result<String, OpenError> {
    let unreadable = |source| OpenError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let octets = std::fs::metadata(path).map_err(unreadable)?.len();
    if octets > FILE_OCTETS_MAX {
        return Err(malformed(path));
    }
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    parse(&text).ok_or_else(|| malformed(path))
}

fn malformed(path: &Path) -> OpenError {
    OpenError::Malformed { path: path.to_owned() }
}

/// The coordinators of `description:id@address,address…`, around which there may be blanks and comments.
fn parse(text: &str) -> Option<String> {
    let line: String = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim())
        .collect();
    let (name, addresses) = line.split_once('@')?;
    let (description, id) = name.split_once(':')?;
    let named = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let with_port = |address: &str| {
        let address = address.strip_suffix(":tls").unwrap_or(address);
        address
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    (named(description) && named(id) && addresses.split(',').all(with_port)).then(|| addresses.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coordinators_are_read_between_blanks_and_comments() {
        let text = "# DO NOT EDIT\n  nave:k3y@10.0.0.1:4500,[::1]:4501:tls,fdb.example:4500  # three\n\n";
        assert_eq!(
            parse(text).as_deref(),
            Some("10.0.0.1:4500,[::1]:4501:tls,fdb.example:4500")
        );
    }

    #[test]
    fn what_names_no_cluster_is_refused() {
        for text in [
            "",
            "# only a comment",
            "nave@127.0.0.1:4500",
            "nave:key@",
            "nave:key@127.0.0.1",
            "nave:key@127.0.0.1:port",
            "nave:key@127.0.0.1:4500,",
            "na ve:key@127.0.0.1:4500",
            ":key@127.0.0.1:4500",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
