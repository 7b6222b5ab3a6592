//! How the system gives a process memory. A service takes it in small parts, all the time; where those lie in huge pages,
//! each new page of 2 MiB is cleared while somebody waits.

/// Has the system use no transparent huge pages for this process and its children (PR_SET_THP_DISABLE). Does nothing on
/// systems other than Linux.
///
/// # Errors
/// The system refuses.
pub fn without_huge_pages() -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_thp_disable(true)?;
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    #[test]
    fn huge_pages_are_off_once_they_were_switched_off() {
        super::without_huge_pages().unwrap();
        assert!(nix::sys::prctl::get_thp_disable().unwrap());
    }
}
