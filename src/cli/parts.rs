//! A respondent's judgments on disk, part by part: what is there is kept, what is missing is made.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::error::Error;
use alike::judgments::Judgment;
use alike::presentations::{Presentation, Task};
use alike::store::judgments::{self as store, Held, Piece};
use alike::store::lock::PartLock;
use alike::store::manifest::Fingerprint;

use crate::cli::shard::Shard;
use crate::cli::stop::{self, Orderly};
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
    /// The share of the parts that this process makes.
    pub(crate) shard: Shard,
    pub(crate) existing: Existing,
}

/// The parts of a respondent: consecutive presentations, so that shared prefixes stay together. Holds its own against a second
/// writer for as long as it lives.
pub(crate) struct Parts<'a> {
    target: Target<'a>,
    fingerprint: Fingerprint,
    own: Range<usize>,
    missing: Vec<usize>,
    _lock: PartLock,
    _orderly: Orderly,
}

impl<'a> Target<'a> {
    /// Presentations in one part.
    fn part_presentations(&self) -> usize {
        (self.part_rows / usize::from(self.repeats)).max(1)
    }

    pub(crate) fn n_parts(&self) -> usize {
        self.presentations.len().div_ceil(self.part_presentations())
    }

    /// Locks this process's parts and finds those that are still to be made.
    pub(crate) fn open(self, fingerprint: Fingerprint) -> alike::Result<Parts<'a>> {
        store::check_label(self.label)?;
        if self.presentations.is_empty() {
            return Err(Error::TooFew { what: "triplets to ask".into(), found: 0, needed: 1 });
        }
        let own = self.shard.parts(self.n_parts());
        if own.is_empty() {
            let (label, shard, n_parts) = (self.label, self.shard, self.n_parts());
            tracing::info!("{label}: nothing for shard {shard}, there are {n_parts} parts");
        }
        let folder = store::respondent_path(self.folder, self.label);
        let lock = PartLock::new(&folder, own.clone())?;
        remove_drafts(&folder, &own)?;
        let replaced = self.existing.force && self.shard.is_whole();
        let mut there = store::pieces(&folder)?;
        if replaced {
            for piece in there.extract_if(.., |piece| piece.is_compacted()) {
                fs_err::remove_file(piece.path)?;
            }
        }
        let mut missing = own.clone().collect::<BTreeSet<usize>>();
        for piece in there.iter().filter(|piece| piece.holds_any(&own)) {
            if is_done(&piece.path, &fingerprint, self.existing)? {
                missing.retain(|part| !piece.parts.contains(part));
            }
        }
        let missing = missing.into_iter().collect();
        // Parts beyond this run's belong to another one, and of a compacted file no part can be replaced.
        let in_the_way =
            |piece: &&Piece| piece.parts.end > self.n_parts() || (self.existing.force && piece.is_compacted());
        match there.iter().find(in_the_way) {
            Some(piece) if !replaced => Err(Error::Exists { path: piece.path.clone() }),
            _ => Ok(Parts { target: self, fingerprint, own, missing, _lock: lock, _orderly: Orderly::new() }),
        }
    }
}

impl<'a> Parts<'a> {
    /// Numbers of the parts that are still to be made; there are no more once somebody asks for a stop.
    pub(crate) fn missing(&self) -> impl Iterator<Item = usize> + Send {
        self.missing.iter().copied().take_while(|_| !stop::requested())
    }

    /// How many parts this process has, and how many it is still to make.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.own.len(), self.missing.len())
    }

    /// Whether all parts are there.
    pub(crate) fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// What is asked in all of this process's parts.
    pub(crate) fn own_presentations(&self) -> &'a [Presentation] {
        let (n, all) = (self.target.part_presentations(), self.target.presentations);
        &all[(self.own.start * n).min(all.len())..(self.own.end * n).min(all.len())]
    }

    /// How many presentations are still to be answered.
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
        let held = Held { parts: part..part + 1, of: self.target.n_parts() };
        store::write_part(&self.path(part), task, judgments, concepts, label, &self.fingerprint, &held)
    }

    /// Removes what an earlier run with more parts left; returns how many judgments were made and how many kept.
    ///
    /// # Errors
    /// [`Error::Stopped`] where parts are missing because somebody asked for a stop
    pub(crate) fn finish(self) -> alike::Result<(usize, usize)> {
        let there = self.there()?;
        let done = self.own.clone().filter(|part| there.iter().any(|piece| piece.parts.contains(part))).count();
        if stop::requested() && done < self.own.len() {
            return Err(Error::Stopped { what: self.target.label.to_owned(), done, of: self.own.len() });
        }
        for piece in there.iter().filter(|piece| piece.parts.end > self.target.n_parts()) {
            tracing::warn!("removing {}, which is not part of this run", piece.path.display());
            fs_err::remove_file(&piece.path)?;
        }
        let (made, repeats) = (self.to_do(), usize::from(self.target.repeats));
        Ok((made * repeats, (self.own_presentations().len() - made) * repeats))
    }

    /// The files of this process's parts.
    pub(crate) fn files(&self) -> alike::Result<Vec<PathBuf>> {
        Ok(self.there()?.into_iter().filter(|piece| piece.holds_any(&self.own)).map(|piece| piece.path).collect())
    }

    fn there(&self) -> alike::Result<Vec<Piece>> {
        store::pieces(&store::respondent_path(self.target.folder, self.target.label))
    }

    fn path(&self, part: usize) -> PathBuf {
        store::part_path(self.target.folder, self.target.label, 0, part)
    }
}

/// Removes half-written parts of a process that was killed; the lock says that nobody is writing them.
fn remove_drafts(folder: &Path, own: &Range<usize>) -> alike::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let draft = path.extension().is_some_and(|e| e == "tmp");
        if draft && store::part_number(&path).is_some_and(|part| own.contains(&part)) {
            fs_err::remove_file(path)?;
        }
    }
    Ok(())
}
