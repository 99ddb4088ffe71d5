//! Answers on disk in records of one width, cut so that any part of the training side fits in memory: the first pass of a
//! shuffle in two.

use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use rand::RngExt;
use rand::rngs::ChaCha12Rng;

use crate::embedding::odd_one_out::Answer;
use crate::embedding::{Comparison, OddOneOutAnswer, holds_out};
use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::seed::Streams;

/// One answer as the loops take it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spooled {
    /// Anchor, first and second; or the two that are left and the odd one.
    pub(super) ids: [u32; 3],
    /// Target of an anchored answer: 1 = the first option; 1 of odd-one-out answers.
    pub(super) p_first: f64,
    pub(super) weight: f64,
}

/// What is asked of a spool before its first answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// The task of all answers.
    pub task: Task,
    /// Concepts that ids are below.
    pub n_concepts: usize,
    /// Answers to come, or more: they decide the number of parts.
    pub n_answers: u64,
    /// Whether every answer is a choice of weight 1: 12 bytes each; 28 otherwise.
    pub plain: bool,
    /// Share of unordered triplets held out, the same triplets as [`crate::embedding::split_holdout`] holds out.
    pub holdout: f64,
    /// Training triplets apart from the others, one in so many, for the choice of a penalty; none for a fixed one.
    pub folds: Option<usize>,
    /// Decides the held-out triplets, the fold and the parts.
    pub seed: u64,
    /// Memory that the answers of one part may take, in bytes.
    pub part_bytes: u64,
}

impl Layout {
    /// Memory of one part unless told otherwise: 2 million answers.
    pub const PART_BYTES: u64 = 64 << 20;

    fn n_parts(&self, n_answers: u64) -> usize {
        let per_part = (self.part_bytes / size_of::<Spooled>() as u64).max(1);
        usize::try_from(n_answers.div_ceil(per_part).clamp(1, MOST_PARTS)).expect("at most 256")
    }

    fn width(&self) -> usize {
        if self.plain { 12 } else { 28 }
    }
}

/// All parts are open while answers come, and systems allow a process about a thousand files: from 500 million answers on,
/// parts of the usual size grow instead.
const MOST_PARTS: u64 = 256;

/// One file of answers.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    /// Answers in it.
    pub(super) n: u64,
    /// Their weight.
    weight: f64,
}

/// Answers on disk, in a folder that goes when the spool does.
#[derive(Debug)]
pub struct Spool {
    pub(super) layout: Layout,
    /// Training answers, each in a part that was drawn for it; without the fold.
    pub(super) train: Vec<Part>,
    /// Training answers that a penalty is chosen by.
    pub(super) fold: Vec<Part>,
    pub(super) heldout: Part,
    /// For each concept, whether a training answer with a weight names it.
    pub(super) judged: Vec<bool>,
    _folder: Folder, // last: dropped after everything that names its files
}

/// A spool that still takes answers.
pub struct SpoolWriter {
    spool: Spool,
    /// Of the training parts, the fold's parts, and the held-out part.
    files: Vec<BufWriter<fs_err::File>>,
    is_held_out: Box<dyn Fn(i64) -> bool + Sync>,
    fold: Option<(Streams, usize)>,
    part: ChaCha12Rng,
}

impl SpoolWriter {
    /// Begins a spool in a new folder beside a file, whose free disk space it takes.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn new(beside: &Path, layout: Layout) -> Result<Self> {
        let folder = Folder::new(&beside.with_extension(format!("spool-{}", std::process::id())))?;
        let n_fold = layout.folds.map_or(0, |folds| layout.n_parts(layout.n_answers.div_ceil(folds as u64)));
        let mut files = vec![];
        let mut part = |name: String| -> Result<Part> {
            let path = folder.0.join(name);
            files.push(BufWriter::with_capacity(1 << 16, fs_err::File::create(&path)?));
            Ok(Part { path, n: 0, weight: 0.0 })
        };
        let train = (0..layout.n_parts(layout.n_answers)).map(|k| part(format!("train-{k}")));
        let train = train.collect::<Result<Vec<_>>>()?;
        let fold = (0..n_fold).map(|k| part(format!("fold-{k}"))).collect::<Result<Vec<_>>>()?;
        let heldout = part("held-out".to_owned())?;
        let judged = vec![false; layout.n_concepts];
        Ok(Self {
            spool: Spool { layout, train, fold, heldout, judged, _folder: folder },
            files,
            is_held_out: Box::new(holds_out(layout.holdout, layout.seed)),
            fold: layout.folds.map(|folds| (Streams::new(layout.seed, "fold"), folds)),
            part: Streams::new(layout.seed, "spool").rng(0),
        })
    }

    /// Writes one answer to its part. Parts of training answers are drawn in the order of the answers.
    ///
    /// # Errors
    /// [`Error::ShapeMismatch`] for an answer to another task, an id outside the list or a concept named twice,
    /// [`Error::Setting`] for a target or weight that no loss is defined for, [`Error::Io`] when the disk is full
    pub fn push(&mut self, answer: &Answer) -> Result<()> {
        let (triplet, spooled) = self.spooled(answer)?;
        let (train, fold) = (self.spool.train.len(), self.spool.fold.len());
        let is_in_fold =
            |(streams, folds): &(Streams, usize)| streams.rng(triplet.cast_unsigned()).random_range(0..*folds) == 0;
        let (at, part) = if (self.is_held_out)(triplet) {
            (train + fold, &mut self.spool.heldout)
        } else if self.fold.as_ref().is_some_and(is_in_fold) {
            let k = self.part.random_range(0..fold);
            (train + k, &mut self.spool.fold[k])
        } else {
            let k = self.part.random_range(0..train);
            (k, &mut self.spool.train[k])
        };
        part.n += 1;
        part.weight += spooled.weight;
        if at < train + fold && spooled.weight > 0.0 {
            spooled.ids.iter().for_each(|&id| self.spool.judged[id as usize] = true);
        }
        let file = &mut self.files[at];
        for id in spooled.ids {
            file.write_all(&id.to_le_bytes())?;
        }
        if !self.spool.layout.plain {
            file.write_all(&spooled.p_first.to_le_bytes())?;
            file.write_all(&spooled.weight.to_le_bytes())?;
        }
        Ok(())
    }

    /// The spool with all answers on disk.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full
    pub fn finish(self) -> Result<Spool> {
        for mut file in self.files {
            file.flush()?;
        }
        Ok(self.spool)
    }

    fn spooled(&self, answer: &Answer) -> Result<(i64, Spooled)> {
        let Layout { task, n_concepts, plain, .. } = self.spool.layout;
        let other_task = |found: Task| Error::ShapeMismatch {
            what: "an answer for the spool".to_owned(),
            found: found.name().to_owned(),
            expected: task.name().to_owned(),
        };
        let (triplet, spooled) = match answer {
            Answer::Anchored(c) => {
                if task != Task::Anchored {
                    return Err(other_task(Task::Anchored));
                }
                super::super::check_comparisons(n_concepts, std::slice::from_ref(c))?;
                (c.triplet, chosen_first(c))
            }
            Answer::OddOneOut(a) => {
                if task != Task::OddOneOut {
                    return Err(other_task(Task::OddOneOut));
                }
                super::super::sparse::check_answers(n_concepts, std::slice::from_ref(a))?;
                (a.triplet, odd_last(a))
            }
        };
        if plain && (spooled.p_first, spooled.weight) != (1.0, 1.0) {
            return Err(Error::Setting {
                field: "answer".to_owned(),
                found: format!("of target {} and weight {}", spooled.p_first, spooled.weight),
                expected: "a choice of weight 1, as the spool was told".to_owned(),
            });
        }
        Ok((triplet, spooled))
    }
}

/// A comparison with the option in front that most of it is for.
fn chosen_first(c: &Comparison) -> Spooled {
    let Comparison { anchor, first, second, p_first, weight, .. } = *c;
    if p_first < 0.5 {
        Spooled { ids: [anchor, second, first], p_first: 1.0 - p_first, weight }
    } else {
        Spooled { ids: [anchor, first, second], p_first, weight }
    }
}

fn odd_last(a: &OddOneOutAnswer) -> Spooled {
    let concepts = a.shown.concepts();
    Spooled { ids: [1, 2, 0].map(|by| concepts[(a.odd + by) % 3]), p_first: 1.0, weight: a.weight }
}

/// Answers that are read at once where their order is nothing.
const BLOCK: usize = 1 << 16;

impl Spool {
    /// The training parts: all of them, or those without the fold.
    pub(super) fn training(&self, with_fold: bool) -> Vec<&Part> {
        let fold = if with_fold { &self.fold[..] } else { &[] };
        self.train.iter().chain(fold).collect()
    }

    /// Training answers.
    pub fn n_train(&self) -> u64 {
        n_answers(&self.training(true))
    }

    /// Answers held out.
    pub fn n_heldout(&self) -> u64 {
        self.heldout.n
    }

    /// Reads a whole part in place of what `into` holds.
    pub(super) fn read(&self, part: &Part, into: &mut Vec<Spooled>) -> Result<()> {
        into.clear();
        self.blocks(part, |block| into.extend_from_slice(block))
    }

    /// Hands over the answers of a part, block by block.
    pub(super) fn blocks(&self, part: &Part, mut take: impl FnMut(&[Spooled])) -> Result<()> {
        let width = self.layout.width();
        let mut file = BufReader::with_capacity(1 << 20, fs_err::File::open(&part.path)?);
        let (mut bytes, mut block) = (vec![0; width], Vec::with_capacity(BLOCK));
        for at in 0..part.n {
            file.read_exact(&mut bytes)?;
            block.push(decoded(&bytes));
            if block.len() == BLOCK || at + 1 == part.n {
                take(&block);
                block.clear();
            }
        }
        Ok(())
    }
}

/// Answers of some parts.
pub(super) fn n_answers(parts: &[&Part]) -> u64 {
    parts.iter().map(|part| part.n).sum()
}

/// Weight of the answers of some parts.
pub(super) fn weight(parts: &[&Part]) -> f64 {
    parts.iter().map(|part| part.weight).sum()
}

fn decoded(bytes: &[u8]) -> Spooled {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let number = |at: usize| f64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let (p_first, weight) = if bytes.len() == 12 { (1.0, 1.0) } else { (number(12), number(20)) };
    Spooled { ids: [word(0), word(4), word(8)], p_first, weight }
}

/// A folder that is removed when it goes out of scope, after an error too.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new(path: &Path) -> Result<Self> {
        fs_err::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
        fs_err::create_dir(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs_err::remove_dir_all(&self.0) {
            tracing::warn!("answers spooled to disk are left there: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::embedding::split_holdout;

    fn layout(n_answers: u64) -> Layout {
        Layout {
            task: Task::Anchored,
            n_concepts: 9,
            n_answers,
            plain: false,
            holdout: 0.2,
            folds: Some(5),
            seed: 3,
            part_bytes: 100 * size_of::<Spooled>() as u64,
        }
    }

    fn comparison(triplet: i64) -> Comparison {
        let p_first = if triplet % 3 == 0 { 0.25 } else { 1.0 };
        Comparison { triplet, anchor: 1, first: 4, second: 8, p_first, weight: 1.0 + (triplet % 2) as f64 }
    }

    #[test]
    fn every_answer_is_in_one_part_and_the_held_out_ones_are_those_of_every_fit() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("x.parquet");
        let asked: Vec<Comparison> = (0..1_000).map(comparison).collect();
        let mut writer = SpoolWriter::new(&out, layout(1_000)).unwrap();
        asked.iter().for_each(|c| writer.push(&Answer::Anchored(*c)).unwrap());
        let spool = writer.finish().unwrap();
        assert_eq!((spool.train.len(), spool.fold.len()), (10, 2));
        let mut read = vec![];
        spool.read(&spool.heldout, &mut read).unwrap();
        let (heldout, kept) = split_holdout(&asked, 0.2, 3);
        assert_eq!(read, heldout.iter().map(chosen_first).collect::<Vec<_>>());
        assert_eq!(spool.n_train(), kept.len() as u64);
        assert!(weight(&spool.training(true)) == kept.iter().map(|c| c.weight).sum::<f64>());
        let in_fold = spool.n_train() - n_answers(&spool.training(false));
        assert!((120..200).contains(&in_fold), "{in_fold} of 800, one in five");
        let swapped = read.iter().find(|s| s.p_first == 0.75).unwrap();
        assert_eq!(swapped.ids, [1, 8, 4]);
        drop(spool);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn wrong_answers_are_refused_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("x.parquet");
        let mut writer = SpoolWriter::new(&out, Layout { plain: true, ..layout(10) }).unwrap();
        let mut refused = |c: Comparison| writer.push(&Answer::Anchored(c)).unwrap_err().to_string();
        let fine = Comparison { weight: 1.0, p_first: 0.0, ..comparison(1) };
        assert!(refused(Comparison { second: 9, ..fine }).contains("below 9"));
        assert!(refused(Comparison { second: 4, ..fine }).contains("three different"));
        assert!(refused(Comparison { weight: 2.0, ..fine }).contains("weight 2"));
        writer.push(&Answer::Anchored(fine)).unwrap();
        drop(writer);
        assert_eq!(fs_err::read_dir(folder.path()).unwrap().count(), 0);
    }
}
