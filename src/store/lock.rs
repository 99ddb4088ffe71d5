//! Which parts of a folder a process writes, so that no other does.

use std::fs::File;
use std::ops::Range;
use std::path::Path;

use crate::error::{Error, Result};

/// Parts of a folder that this process alone writes. The system lets go of them with the process, however that ends.
///
/// Part n is byte n of the file `.lock`: two processes are kept apart exactly where they would write the same parts, into however
/// many shards each of them thinks the work is cut.
#[derive(Debug)]
pub struct PartLock {
    _file: File,
}

impl PartLock {
    /// Locks parts of a folder, which is created.
    ///
    /// # Errors
    /// [`Error::Locked`] where another process writes one of them, [`Error::Io`]
    pub fn new(folder: &Path, parts: Range<usize>) -> Result<Self> {
        fs_err::create_dir_all(folder)?;
        let mut options = fs_err::OpenOptions::new();
        let file =
            options.create(true).truncate(false).read(true).write(true).open(folder.join(".lock"))?.into_parts().0;
        match try_lock(&file, parts) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return Err(Error::Locked { path: folder.into() });
            }
            // Writing a part twice does no harm: it has the same bytes, and takes its place whole.
            Err(error) => {
                tracing::warn!(
                    "{}: no locks here ({error}): take care that no two processes make the same parts, which would be work for nothing",
                    folder.display()
                );
            }
        }
        Ok(Self { _file: file })
    }
}

impl PartLock {
    /// Whether a process writes any parts of a folder.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn is_held(folder: &Path) -> Result<bool> {
        let path = folder.join(".lock");
        if !path.is_file() {
            return Ok(false);
        }
        let file = fs_err::OpenOptions::new().read(true).write(true).open(path)?.into_parts().0;
        let taken = try_lock(&file, ALL).err().is_some_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        Ok(taken)
    }
}

/// More parts than there are.
pub(crate) const ALL: Range<usize> = 0..1 << 40;

/// Locks belong to the open file, not to the process: two folders opened twice in one process are kept apart as well.
#[cfg(target_os = "linux")]
fn try_lock(file: &File, parts: Range<usize>) -> std::io::Result<()> {
    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;
    // A length of 0 would mean "to the end".
    if parts.is_empty() {
        return Ok(());
    }
    let offset = |n: usize| libc::off_t::try_from(n).expect("fewer than 2^63 parts");
    let short = |n: i32| libc::c_short::try_from(n).expect("the system's own constants");
    let range = libc::flock {
        l_type: short(libc::F_WRLCK),
        l_whence: short(libc::SEEK_SET),
        l_start: offset(parts.start),
        l_len: offset(parts.len()),
        l_pid: 0,
    };
    match fcntl(file, FcntlArg::F_OFD_SETLK(&range)) {
        Ok(_) => Ok(()),
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => Err(std::io::ErrorKind::WouldBlock.into()),
        Err(error) => Err(error.into()),
    }
}

/// Without locks of ranges the whole folder is locked.
#[cfg(not(target_os = "linux"))]
fn try_lock(file: &File, _: Range<usize>) -> std::io::Result<()> {
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => std::io::ErrorKind::WouldBlock.into(),
        std::fs::TryLockError::Error(error) => error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn who_writes_the_same_parts_is_kept_out() {
        let folder = tempfile::tempdir().unwrap();
        let lock = |parts| PartLock::new(folder.path(), parts);
        let first = lock(0..4).unwrap();
        let _second = lock(4..8).unwrap();
        for taken in [0..8, 3..4, 7..9] {
            assert!(matches!(lock(taken), Err(Error::Locked { .. })));
        }
        assert!(lock(8..9).is_ok() && lock(5..5).is_ok());
        assert!(PartLock::is_held(folder.path()).unwrap());
        drop(first);
        assert!(lock(0..4).is_ok());
    }
}
