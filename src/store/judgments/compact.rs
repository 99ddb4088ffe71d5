//! Fewer, larger files of the same rows.

use std::path::{Path, PathBuf};

use super::pieces::{Held, KEY_PARTS, Piece};
use super::validate::validate;
use super::write::layout;
use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::store::lock::{self, PartLock};
use crate::store::manifest::{KEY_VERSION, SCHEMA_VERSION};
use crate::store::table::{Batches, TableWriter};

/// What became of a respondent's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compacted {
    /// Rows, as many as before.
    pub n_rows: u64,
    /// Files before.
    pub n_before: usize,
    /// Files after.
    pub n_after: usize,
}

/// Puts the parts of a respondent together into files of at least `rows` rows where there are so many; the same parts give the same
/// bytes.
///
/// What is there must be whole ([`validate`]). The new files are written beside the folder and take its place in one step, so that a
/// reader sees either all of the old ones or all of the new ones; without that step, on a file system that lacks it, `to` must name
/// another folder, which must not be there yet.
///
/// # Errors
/// [`Error::Incomplete`] with what is wrong, [`Error::Locked`] while somebody writes parts, [`Error::Exists`], [`Error::Io`]
pub fn compact(folder: &Path, to: Option<&Path>, task: Task, label: &str, rows: u64) -> Result<Compacted> {
    let _lock = PartLock::new(folder, lock::ALL)?;
    let found = validate(folder, task, label)?;
    if let Some(fault) = found.faults.first() {
        return Err(Error::Incomplete { path: folder.into(), fault: fault.clone(), more: found.faults.len() - 1 });
    }
    if let Some(to) = to.filter(|to| to.exists()) {
        return Err(Error::Exists { path: to.into() });
    }
    let staging = Staging::beside(to.unwrap_or(folder))?;
    let there = super::pieces::pieces(folder)?;
    let of = found.of.unwrap_or(found.n_parts);
    let mut n_after = 0;
    for group in groups(&there, rows)? {
        let parts = group[0].parts.start..group[group.len() - 1].parts.end;
        write(&staging.path.join(format!("compact-{n_after:05}.parquet")), &group, task, &Held { parts, of })?;
        n_after += 1;
    }
    // Records of runs stay with what they tell of.
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.extension().is_some_and(|e| e == "json")) {
            fs_err::copy(&path, staging.path.join(name))?;
        }
    }
    match to {
        Some(to) => fs_err::rename(&staging.path, to)?,
        None => staging.swap(folder)?,
    }
    Ok(Compacted { n_rows: found.n_rows, n_before: there.len(), n_after })
}

/// Consecutive files that are to become one: as few as have so many rows.
fn groups(there: &[Piece], rows: u64) -> Result<Vec<Vec<Piece>>> {
    let (mut groups, mut group, mut n) = (Vec::new(), Vec::new(), 0);
    for piece in there {
        n += Batches::open(&piece.path, Some(&[]))?.n_rows();
        group.push(piece.clone());
        if n >= rows {
            groups.push(std::mem::take(&mut group));
            n = 0;
        }
    }
    groups.extend((!group.is_empty()).then_some(group));
    Ok(groups)
}

/// The rows of several files as one.
fn write(path: &Path, group: &[Piece], task: Task, held: &Held) -> Result<()> {
    let mut writer = None;
    for piece in group {
        let batches = Batches::open(&piece.path, None)?;
        let writer = match &mut writer {
            Some(writer) => writer,
            None => {
                let mut metadata = batches.metadata().clone();
                metadata.insert(KEY_PARTS.to_owned(), held.to_string());
                metadata.insert(KEY_VERSION.to_owned(), SCHEMA_VERSION.to_owned());
                let schema = batches.schema();
                writer.insert(TableWriter::create(path, &schema, &metadata, layout(&task.concepts()))?)
            }
        };
        for table in batches {
            writer.write(table?.batch())?;
        }
    }
    writer.expect("a group has a file").finish()
}

/// A folder that is not there yet for anybody else; removed unless it takes its place.
struct Staging {
    path: PathBuf,
}

impl Staging {
    /// Beside a place; what a killed process left there is removed.
    fn beside(place: &Path) -> Result<Self> {
        let parent = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = place.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let path = parent.join(format!(".{name}.compact"));
        if path.exists() {
            fs_err::remove_dir_all(&path)?;
        }
        fs_err::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// Changes places with a folder; what was in it goes.
    fn swap(self, folder: &Path) -> Result<()> {
        sync(&self.path)?;
        exchange(&self.path, folder)?;
        sync(self.path.parent().unwrap_or(Path::new(".")))?;
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // After a change of places the old files lie here; after a rename nothing does.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

fn sync(folder: &Path) -> std::io::Result<()> {
    fs_err::File::open(if folder.as_os_str().is_empty() { Path::new(".") } else { folder })?.sync_all()
}

/// Lets two folders change places, in one step.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> Result<()> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).map_err(|error| no_exchange(other, &error))
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, other: &Path) -> Result<()> {
    Err(no_exchange(other, &"not known for this system"))
}

fn no_exchange(folder: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::Setting {
        field: "out".into(),
        found: format!("not given, and two folders cannot change places in one step at {} ({why})", folder.display()),
        expected: "another folder for the compacted files".into(),
    }
}
