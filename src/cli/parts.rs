//! A respondent's judgments on disk, part by part: what is there is kept, what is missing is made.

use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::error::Error;
use alike::judgments::Judgment;
use alike::presentations::{Presentation, Task};
use alike::store::judgments as store;
use alike::store::manifest::Fingerprint;

use crate::cli::{Existing, is_done};

/// What a respondent is asked and where its answers go.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    /// `DIR` of `DIR/respondent=LABEL/`
    pub(crate) folder: &'a Path,
    pub(crate) label: &'a str,
    pub(crate) concepts: &'a Concepts,
    pub(crate) task: Task,
    pub(crate) presentations: &'a [Presentation],
    /// Judgments in one part, all repeats of a presentation together.
    pub(crate) part_rows: usize,
    pub(crate) repeats: u16,
    pub(crate) existing: Existing,
}

/// The parts of a respondent: consecutive presentations, so that shared prefixes stay together. Holds the folder against a
/// second writer for as long as it lives.
pub(crate) struct Parts<'a> {
    target: Target<'a>,
    fingerprint: Fingerprint,
    missing: Vec<usize>,
    _lock: std::fs::File,
}

impl<'a> Target<'a> {
    /// Presentations in one part.
    fn part_presentations(&self) -> usize {
        (self.part_rows / usize::from(self.repeats)).max(1)
    }

    fn n_parts(&self) -> usize {
        self.presentations.len().div_ceil(self.part_presentations())
    }

    /// Locks the folder and finds the parts that are still to be made.
    pub(crate) fn open(self, fingerprint: Fingerprint) -> alike::Result<Parts<'a>> {
        store::check_label(self.label)?;
        if self.presentations.is_empty() {
            return Err(Error::TooFew { what: "triplets to ask".into(), found: 0, needed: 1 });
        }
        let folder = store::respondent_path(self.folder, self.label);
        let lock = lock(&folder)?;
        remove_drafts(&folder)?;
        let mut missing = Vec::new();
        for part in 0..self.n_parts() {
            if !is_done(&store::part_path(self.folder, self.label, 0, part), &fingerprint, self.existing)? {
                missing.push(part);
            }
        }
        let parts = Parts { target: self, fingerprint, missing, _lock: lock };
        // Parts beyond this run's belong to another one: only --force may replace that.
        match parts.others().into_iter().next() {
            Some(path) if !self.existing.force => Err(Error::Exists { path }),
            _ => Ok(parts),
        }
    }
}

impl<'a> Parts<'a> {
    /// Numbers of the parts that are still to be made.
    pub(crate) fn missing(&self) -> &[usize] {
        &self.missing
    }

    /// How many presentations that is.
    pub(crate) fn to_do(&self) -> usize {
        self.missing.iter().map(|part| self.presentations(*part).len()).sum()
    }

    /// What is asked in one part.
    pub(crate) fn presentations(&self, part: usize) -> &'a [Presentation] {
        let (start, n) = (part * self.target.part_presentations(), self.target.part_presentations());
        &self.target.presentations[start..self.target.presentations.len().min(start + n)]
    }

    /// Writes one part, whole or not at all.
    pub(crate) fn write(&self, part: usize, judgments: &[Judgment]) -> alike::Result<()> {
        let Target { concepts, task, label, .. } = self.target;
        store::write_part(&self.path(part), task, judgments, concepts, label, &self.fingerprint)
    }

    /// Removes what an earlier run with more parts left; returns how many judgments were made and how many kept.
    pub(crate) fn finish(self) -> alike::Result<(usize, usize)> {
        for path in self.others() {
            tracing::warn!("removing {}, which is not part of this run", path.display());
            fs_err::remove_file(path)?;
        }
        let (made, repeats) = (self.to_do(), usize::from(self.target.repeats));
        Ok((made * repeats, (self.target.presentations.len() - made) * repeats))
    }

    /// Parts in the folder that this run does not write.
    fn others(&self) -> Vec<PathBuf> {
        let expected: Vec<PathBuf> = (0..self.target.n_parts()).map(|part| self.path(part)).collect();
        let there = store::parts(self.target.folder, self.target.label).unwrap_or_default();
        there.into_iter().filter(|path| !expected.contains(path)).collect()
    }

    fn path(&self, part: usize) -> PathBuf {
        store::part_path(self.target.folder, self.target.label, 0, part)
    }
}

/// A lock that the system lets go of with the process, however that ends.
fn lock(folder: &Path) -> alike::Result<std::fs::File> {
    fs_err::create_dir_all(folder)?;
    let file = fs_err::File::create(folder.join(".lock"))?.into_parts().0;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(Error::Locked { path: folder.into() }),
        Err(std::fs::TryLockError::Error(error)) => Err(error.into()),
    }
}

/// Removes half-written files of a process that was killed; the lock says that nobody is writing them.
fn remove_drafts(folder: &Path) -> alike::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "tmp") {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}
