//! Files that are whole or not there: written beside their place, synced, renamed, and the folder synced.

use std::fs::TryLockError;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::error::Result;

/// Writes a file whole or not at all.
///
/// # Errors
/// [`crate::Error::Io`] with the path; the half-written file is removed.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut fs_err::File) -> std::io::Result<()>) -> Result<()> {
    sweep(path);
    let mut draft = Draft::create(path)?;
    fill(&mut draft.file).map_err(|e| draft.named(e))?;
    draft.finish()
}

/// A file beside the place it is for; removed unless it is finished.
pub(super) struct Draft {
    pub(super) file: fs_err::File,
    path: PathBuf,
    place: PathBuf,
}

impl Draft {
    pub(super) fn create(place: &Path) -> Result<Self> {
        let folder = folder_of(place);
        fs_err::create_dir_all(folder)?;
        loop {
            // Another machine that shares the folder can have a process of the same number.
            let name = format!("{}{}-{:08x}.tmp", stem(place), std::process::id(), unlike_any_other());
            let path = folder.join(name);
            let mut options = fs_err::OpenOptions::new();
            let file = options.read(true).write(true).create_new(true).open(&path)?;
            // Whoever sweeps takes what is not locked for left behind, and may have come in between.
            match file.file().try_lock() {
                Err(TryLockError::WouldBlock) => {}
                Ok(()) if !path.exists() => {}
                // A file system without locks: nobody sweeps there.
                Ok(()) | Err(TryLockError::Error(_)) => return Ok(Self { file, path, place: place.into() }),
            }
        }
    }

    /// The kind of error is kept, the path is added.
    pub(super) fn named(&self, error: std::io::Error) -> std::io::Error {
        std::io::Error::new(error.kind(), format!("cannot write {}: {error}", self.place.display()))
    }

    pub(super) fn finish(mut self) -> Result<()> {
        self.file.flush()?;
        self.file.sync_all()?;
        fs_err::rename(&self.path, &self.place)?;
        fs_err::File::open(folder_of(&self.place))?.sync_all()?;
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After it was finished there is nothing under this name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes drafts of a file, and of those whose names go on from its name after a dot, that processes left behind when they were
/// killed: those that nobody has locked. What cannot be looked at stays; it is in nobody's way.
pub fn sweep(place: &Path) {
    let stem = stem(place);
    for entry in std::fs::read_dir(folder_of(place)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(&stem) && name.ends_with(".tmp"))
            && let Ok(file) = std::fs::File::options().write(true).open(entry.path())
            && file.try_lock().is_ok()
        {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// What the names of a file's drafts begin with.
fn stem(place: &Path) -> String {
    format!(".{}.", place.file_name().map(|name| name.to_string_lossy()).unwrap_or_default())
}

/// A number that only names drafts: nothing that is kept depends on it.
fn unlike_any_other() -> u32 {
    let random = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), ());
    (random >> 32) as u32
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drafts_of_dead_processes_are_swept_and_those_of_living_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("state.json");
        let names = || {
            let names = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
            names.map(|name| name.into_string().unwrap()).collect::<std::collections::BTreeSet<_>>()
        };
        let living = Draft::create(&place).unwrap();
        let dead = [".state.json.77-0a.tmp", ".state.json.1-ffffffff.tmp"];
        let others = [".other.json.77-0a.tmp", "state.json.77-0a.tmp"];
        dead.iter().chain(&others).for_each(|name| std::fs::write(folder.path().join(name), "half").unwrap());
        write_atomically(&place, |file| file.write_all(b"whole")).unwrap();
        let left = names();
        assert_eq!(std::fs::read(&place).unwrap(), b"whole");
        assert!(dead.iter().all(|name| !left.contains(*name)) && others.iter().all(|name| left.contains(*name)));
        assert_eq!(left.len(), 2 + others.len(), "the file, and the draft of one that lives: {left:?}");
        living.finish().unwrap();
        assert_eq!(names().len(), 1 + others.len());
    }
}
