//! Explains why a file cannot be read.

use std::path::Path;

use crate::error::Access;

/// What denies this process access to a file: the file's mode, or that of a directory on its path.
#[cfg(unix)]
pub(super) fn denied(path: &Path) -> Option<Access> {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    let path = std::path::absolute(path).ok()?;
    let user = user()?;
    path.ancestors().find_map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some(Access {
            user,
            path: path.to_owned(),
            owner: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.mode() & 0o7777,
        })
    })
}

#[cfg(not(unix))]
pub(super) fn denied(_path: &Path) -> Option<Access> {
    None
}

/// The user that the system checks when a file is opened. The standard library has no function for
/// it; Linux has it in a file (`Uid`: real, effective, saved, file system).
#[cfg(unix)]
fn user() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().nth(3)?.parse().ok()
}
