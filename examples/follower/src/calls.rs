//! Calls (docs/link.md, "Call streams"). What a provider answers is MIMI's matter and not the link's; without KeyPackages,
//! though, nobody can be added to a room. So this one gives away what its users' clients left in a directory: files named
//! `NAME.response`, each with the user's URI, a line feed, and a KeyMaterialResponse (mimi-protocol §5.2) for one request.

use std::path::{Path, PathBuf};
use std::{fs, io};

use proto::link::{Answer, Call};

use crate::frame::CALL_BYTES_MAX;

/// Responses that are looked at for one request.
const RESPONSES_MAX: usize = 1_000;

/// The answer to one call.
pub(crate) fn answer(key_material: &Path, call: &Call) -> Answer {
    let found = match call.endpoint.as_str() {
        "keyMaterial" => take(key_material, &call.target),
        _ => Ok(None),
    };
    let (status, body) = match found {
        Ok(Some(body)) => (200, body),
        Ok(None) => (404, Vec::new()),
        Err(error) => {
            eprintln!("no key material: {error}");
            (503, Vec::new())
        }
    };
    Answer {
        status,
        retry_after_ms: if status == 503 { 1_000 } else { 0 },
        body: body.into(),
    }
}

/// The first response for `user`. A KeyPackage is given away once: the file is gone, durably, before it is.
fn take(directory: &Path, user: &str) -> io::Result<Option<Vec<u8>>> {
    let mut responses: Vec<PathBuf> = fs::read_dir(directory)?
        .take(RESPONSES_MAX)
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "response"))
        .collect();
    responses.sort();
    for response in responses {
        if fs::metadata(&response)?.len() > CALL_BYTES_MAX as u64 {
            continue;
        }
        let octets = fs::read(&response)?;
        let Some(line) = octets.iter().position(|octet| *octet == b'\n') else {
            continue;
        };
        if octets[..line] == *user.as_bytes() {
            fs::remove_file(&response)?;
            fs::File::open(directory)?.sync_all()?;
            return Ok(Some(octets[line + 1..].to_vec()));
        }
    }
    Ok(None)
}
