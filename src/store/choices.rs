//! Answered triplets from any source, as an embedding needs them: row by row, so that memory holds the answers and no
//! table of names.

mod rows;
mod triplet_text;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::concepts::Concepts;
use crate::embedding::{Answer, Answered, Comparison, OddOneOutAnswer};
use crate::error::{Error, Result};
use crate::odd_one_out::OddOneOut;
use crate::presentations::{self, Presentation, Task};
use crate::store::judgments::parquet_files;
use rows::{Cells, Source};

/// Answered triplets and the concepts they are about.
#[derive(Debug, Clone)]
pub struct Choices {
    /// The concepts.
    pub concepts: Concepts,
    /// The answers; those without a choice are left out.
    pub answered: Answered,
    /// Number of rows without a choice.
    pub n_unanswered: usize,
}

/// Files of answers whose columns and concepts were found, for one pass after another.
pub struct AnswerFiles {
    concepts: Concepts,
    kind: Kind,
}

enum Kind {
    /// Tables with a header, all to one task.
    Tables { task: Task, sources: Vec<Source> },
    /// THINGS' three numbers a line.
    Numbers(PathBuf),
}

/// Reads `anchor, first, second, chosen`, or `a, b, c, odd` for odd-one-out triplets (and optionally `weight`) from a CSV
/// file, a Parquet file, or a folder of Parquet files; or odd-one-out answers from a `.txt` file of three numbers a line,
/// the odd one last, which count the entries of `concepts` as they were listed, from 0. With `soft_column`, that column
/// (probability of the first option) is the target instead of the choice. Without `concepts` they are the names in the
/// files.
///
/// # Errors
/// Names the file, row and column of what is missing or wrong; [`Error::Setting`] for a soft column of odd-one-out answers
/// and for numbers without a list of concepts.
pub fn read(path: &Path, concepts: Option<Concepts>, soft_column: Option<&str>) -> Result<Choices> {
    AnswerFiles::open(path, concepts, soft_column)?.read()
}

impl AnswerFiles {
    /// Looks at what [`read`] would read; without `concepts` in a pass over the files.
    ///
    /// # Errors
    /// Those of [`read`] that show without reading answers
    pub fn open(path: &Path, concepts: Option<Concepts>, soft_column: Option<&str>) -> Result<Self> {
        if path.is_file() && path.extension().is_some_and(|e| e == "txt") {
            let concepts = triplet_text::concepts(concepts, soft_column)?;
            return Ok(Self { concepts, kind: Kind::Numbers(path.into()) });
        }
        let files = if path.is_dir() { parquet_files(path)? } else { vec![path.to_owned()] };
        if files.is_empty() {
            return Err(Error::Missing {
                what: "a file of judgments",
                path: path.into(),
                hint: "give a CSV or Parquet file with `anchor, first, second, chosen` or `a, b, c, odd`, or a \
                       `respondent=LABEL` folder"
                    .into(),
            });
        }
        let sources: Vec<Source> = files.iter().map(|file| Source::open(file, soft_column)).collect::<Result<_>>()?;
        let task = sources[0].task;
        if let Some(other) = sources.iter().find(|source| source.task != task) {
            return Err(Error::Format {
                path: other.path.clone(),
                found: format!("{} answers", other.task.name()),
                expected: format!("{} ones, as in {}", task.name(), sources[0].path.display()),
            });
        }
        let concepts = match concepts {
            Some(concepts) => concepts,
            None => Concepts::from_names(names(&sources)?)?,
        };
        Ok(Self { concepts, kind: Kind::Tables { task, sources } })
    }

    /// The concepts.
    pub fn concepts(&self) -> &Concepts {
        &self.concepts
    }

    /// What was asked.
    pub fn task(&self) -> Task {
        match &self.kind {
            Kind::Tables { task, .. } => *task,
            Kind::Numbers(_) => Task::OddOneOut,
        }
    }

    /// Whether every answer is a choice of weight 1.
    pub fn are_plain(&self) -> bool {
        match &self.kind {
            Kind::Tables { sources, .. } => sources.iter().all(|s| s.soft_column.is_none() && !s.has_weights),
            Kind::Numbers(_) => true,
        }
    }

    /// Number of rows, where the files tell it without being read: Parquet.
    pub fn n_rows_told(&self) -> Option<u64> {
        match &self.kind {
            Kind::Tables { sources, .. } => sources.iter().map(|source| source.n_rows).sum(),
            Kind::Numbers(_) => None,
        }
    }

    /// Number of rows, with or without an answer, by a pass over files that do not tell it.
    ///
    /// # Errors
    /// as for reading them
    pub fn n_rows(&self) -> Result<u64> {
        let mut n = 0;
        match &self.kind {
            Kind::Tables { sources, .. } => {
                for source in sources {
                    match source.n_rows {
                        Some(told) => n += told,
                        None => source.each(|_| {
                            n += 1;
                            Ok(())
                        })?,
                    }
                }
            }
            Kind::Numbers(path) => triplet_text::each(path, &self.concepts, |_| {
                n += 1;
                Ok(())
            })?,
        }
        Ok(n)
    }

    /// Hands over one answer after the other; returns the number of rows without one.
    ///
    /// # Errors
    /// Those of [`read`] and those of `take`
    pub fn each(&self, mut take: impl FnMut(Answer) -> Result<()>) -> Result<usize> {
        let mut n_unanswered = 0;
        match &self.kind {
            Kind::Tables { sources, .. } => {
                for source in sources {
                    source.each(|cells| match answer(source, &cells, &self.concepts)? {
                        None => {
                            n_unanswered += 1;
                            Ok(())
                        }
                        Some(answer) => take(answer),
                    })?;
                }
            }
            Kind::Numbers(path) => triplet_text::each(path, &self.concepts, |a| take(Answer::OddOneOut(a)))?,
        }
        Ok(n_unanswered)
    }

    /// All answers in memory.
    ///
    /// # Errors
    /// Those of [`read`]
    pub fn read(self) -> Result<Choices> {
        let mut answered = Answered::none(self.task());
        let n_unanswered = self.each(|answer| {
            answered.push(answer);
            Ok(())
        })?;
        Ok(Choices { concepts: self.concepts, answered, n_unanswered })
    }
}

/// The names of all concepts in the files.
fn names(sources: &[Source]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for source in sources {
        source.each(|cells| {
            for name in cells.names {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
            Ok(())
        })?;
    }
    Ok(names)
}

/// What a row says; nothing where it has no answer.
fn answer(source: &Source, cells: &Cells<'_>, concepts: &Concepts) -> Result<Option<Answer>> {
    let fault = |column: &str, found: String, expected: &str| Error::Cell {
        path: source.path.clone(),
        row: cells.row,
        column: column.into(),
        found,
        expected: expected.into(),
    };
    let columns = source.task.concepts();
    let mut ids = [0; 3];
    for ((id, name), column) in ids.iter_mut().zip(cells.names).zip(columns) {
        *id = concepts.id(name).ok_or_else(|| fault(column, format!("{name:?}"), "a concept of the study"))?;
    }
    let [one, two, three] = ids;
    if one == two || one == three || two == three {
        return Err(fault(columns[2], concepts.name(three).into(), "three different concepts"));
    }
    let Some(chosen) = cells.chosen else { return Ok(None) };
    let shown = Presentation::new(source.task, ids);
    let place = concepts.id(chosen).and_then(|id| shown.options().iter().position(|option| *option == id));
    let expected = match source.task {
        Task::Anchored => "the first or the second option",
        Task::OddOneOut => "one of the three concepts",
    };
    let chosen = place.ok_or_else(|| fault(source.task.answer(), format!("{chosen:?}"), expected))?;
    let soft = match &source.soft_column {
        None => None,
        Some(name) => {
            let value = cells.soft.ok_or_else(|| fault(name, "nothing".into(), "a probability"))?;
            if !(0.0..=1.0).contains(&value) {
                return Err(fault(name, value.to_string(), "a probability, 0 to 1"));
            }
            Some(value)
        }
    };
    let weight = if source.has_weights { cells.weight } else { Some(1.0) };
    let weight = weight.filter(|w| w.is_finite() && *w >= 0.0);
    let weight = weight.ok_or_else(|| fault("weight", "nothing or a negative number".into(), "a weight, 0 or more"))?;
    let triplet = shown.id(concepts.len());
    Ok(Some(match source.task {
        Task::Anchored => {
            let p_first = soft.unwrap_or(if chosen == 0 { 1.0 } else { 0.0 });
            Answer::Anchored(Comparison { triplet, anchor: one, first: two, second: three, p_first, weight })
        }
        Task::OddOneOut => {
            let shown = OddOneOut { a: one, b: two, c: three };
            Answer::OddOneOut(OddOneOutAnswer { triplet, shown, odd: chosen, weight })
        }
    }))
}

/// What a table with these columns holds, if it has all that are needed.
fn task_of(path: &Path, columns: &[String], soft_column: Option<&str>) -> Result<Task> {
    let task = presentations::task_of(path, columns, None)?;
    for name in [Some(task.answer()), soft_column].into_iter().flatten() {
        if !columns.iter().any(|c| c == name) {
            return Err(Error::Format {
                path: path.into(),
                found: format!("the columns {}", columns.join(", ")),
                expected: format!("a column `{name}`"),
            });
        }
    }
    match (task, soft_column) {
        (Task::OddOneOut, Some(name)) => Err(Error::Setting {
            field: "soft_column".into(),
            found: format!("{name:?} of odd-one-out answers"),
            expected: "absent: they are converted to anchored judgments by the concept that was named".into(),
        }),
        _ => Ok(task),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str, soft: Option<&str>) -> Result<Choices> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("answers.csv");
        fs_err::write(&path, text).unwrap();
        read(&path, None, soft)
    }

    #[test]
    fn any_csv_with_four_columns() {
        let choices =
            read_text("who,anchor,first,second,chosen,p\nme,cat,dog,bear,dog,0.9\nme,dog,cat,bear,,0.5\n", None)
                .unwrap();
        assert_eq!(choices.concepts.len(), 3);
        assert_eq!(choices.n_unanswered, 1);
        let c = choices.answered.comparisons()[0];
        assert_eq!((c.anchor, c.first, c.second, c.p_first, c.weight), (1, 2, 0, 1.0, 1.0));
        let soft = read_text("anchor,first,second,chosen,p\ncat,dog,bear,dog,0.9\n", Some("p")).unwrap();
        assert_eq!(soft.answered.comparisons()[0].p_first, 0.9);
    }

    #[test]
    fn wrong_answers_are_named() {
        let error = |text: &str| read_text(text, None).unwrap_err().to_string();
        assert!(error("anchor,first,second,chosen\ncat,dog,bear,cat\n").contains("column `chosen`: found \"cat\""));
        assert!(error("anchor,first,second\ncat,dog,bear\n").contains("a column `chosen`"));
        assert!(error("anchor,first,second,chosen\ncat,dog,dog,dog\nfox,cat,dog,cat\n").contains("three different"));
    }

    #[test]
    fn odd_one_out_answers_become_anchored_judgments() {
        let text = "who,a,b,c,odd,weight\nme,cat,dog,bear,dog,2\nme,dog,cat,fox,,1\n";
        let choices = read_text(text, None).unwrap();
        assert_eq!((choices.concepts.len(), choices.n_unanswered), (4, 1));
        // bear 0, cat 1, dog 2: without the dog, bear and cat are left.
        let pairs: Vec<_> =
            choices.answered.comparisons().iter().map(|c| (c.anchor, c.first, c.second, c.p_first, c.weight)).collect();
        assert_eq!(pairs, [(0, 1, 2, 1.0, 2.0), (1, 0, 2, 1.0, 2.0)]);
        assert!(choices.answered.comparisons().iter().all(|c| c.triplet == 0));
        let error = |text: &str, soft| read_text(text, soft).unwrap_err().to_string();
        assert!(error("a,b,c,odd\ncat,dog,bear,fox\n", None).contains("column `odd`: found \"fox\""));
        assert!(error("a,b,c,odd\ncat,dog,cat,dog\nfox,cat,dog,cat\n", None).contains("three different"));
        assert!(error("a,b,c,chosen\ncat,dog,bear,cat\n", None).contains("a column `odd`"));
        assert!(error("a,b,odd\ncat,dog,cat\n", None).contains("or `a`, `b` and `c`"));
        assert!(error("a,b,c,odd,p_a\ncat,dog,bear,cat,0.1\n", Some("p_a")).contains("`soft_column`"));
    }
}
