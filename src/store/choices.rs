//! Answered triplets from any source, as an embedding needs them.

use std::path::{Path, PathBuf};

use crate::concepts::{Concepts, csv_error};
use crate::embedding::{Answered, Comparison, OddOneOutAnswer};
use crate::error::{Error, Result};
use crate::odd_one_out::OddOneOut;
use crate::presentations::{self, Presentation, Task};
use crate::store::judgments::parquet_files;
use crate::store::table::Table;

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

/// Columns of one file.
struct Columns {
    path: PathBuf,
    task: Task,
    names: [Vec<String>; 3],
    chosen: Vec<Option<String>>,
    /// Name and values.
    soft: Option<(String, Vec<Option<f64>>)>,
    weight: Option<Vec<Option<f64>>>,
}

/// Reads `anchor, first, second, chosen`, or `a, b, c, odd` for odd-one-out triplets (and optionally `weight`) from a CSV
/// file, a Parquet file, or a folder of Parquet files. With `soft_column`, that column (probability of the first option) is
/// the target instead of the choice. Without `concepts` they are the names in the files.
///
/// # Errors
/// Names the file, row and column of what is missing or wrong; [`Error::Setting`] for a soft column of odd-one-out answers.
pub fn read(path: &Path, concepts: Option<Concepts>, soft_column: Option<&str>) -> Result<Choices> {
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
    let tables: Vec<Columns> = files.iter().map(|file| columns(file, soft_column)).collect::<Result<_>>()?;
    let task = tables[0].task;
    if let Some(other) = tables.iter().find(|table| table.task != task) {
        return Err(Error::Format {
            path: other.path.clone(),
            found: format!("{} answers", other.task.name()),
            expected: format!("{} ones, as in {}", task.name(), tables[0].path.display()),
        });
    }
    let concepts = match concepts {
        Some(concepts) => concepts,
        None => {
            let mut names: Vec<&String> = tables.iter().flat_map(|t| t.names.iter().flatten()).collect();
            names.sort();
            names.dedup();
            Concepts::from_names(names)?
        }
    };
    let rows: Vec<Row> = tables.iter().map(|table| rows(table, &concepts)).collect::<Result<Vec<_>>>()?.concat();
    let n_rows: usize = tables.iter().map(|table| table.chosen.len()).sum();
    let n_unanswered = n_rows - rows.len();
    let answered = match task {
        Task::Anchored => Answered::Anchored(rows.iter().map(|row| row.comparison(&concepts)).collect()),
        Task::OddOneOut => Answered::OddOneOut(rows.iter().map(|row| row.odd_one_out(&concepts)).collect()),
    };
    Ok(Choices { concepts, answered, n_unanswered })
}

/// One row with an answer.
#[derive(Debug, Clone, Copy)]
struct Row {
    shown: Presentation,
    /// The place of the answer among the options.
    chosen: usize,
    soft: Option<f64>,
    weight: f64,
}

impl Row {
    fn comparison(&self, concepts: &Concepts) -> Comparison {
        let [anchor, first, second] = self.shown.concepts();
        let p_first = self.soft.unwrap_or(if self.chosen == 0 { 1.0 } else { 0.0 });
        Comparison { triplet: self.shown.id(concepts.len()), anchor, first, second, p_first, weight: self.weight }
    }

    fn odd_one_out(&self, concepts: &Concepts) -> OddOneOutAnswer {
        let [a, b, c] = self.shown.concepts();
        let shown = OddOneOut { a, b, c };
        OddOneOutAnswer { triplet: shown.id(concepts.len()), shown, odd: self.chosen, weight: self.weight }
    }
}

/// The rows of a file that have an answer.
fn rows(table: &Columns, concepts: &Concepts) -> Result<Vec<Row>> {
    let mut rows = Vec::with_capacity(table.chosen.len());
    let columns = table.task.concepts();
    for row in 0..table.chosen.len() {
        let fault = |column: &str, found: String, expected: &str| Error::Cell {
            path: table.path.clone(),
            row: row + 1,
            column: column.into(),
            found,
            expected: expected.into(),
        };
        let mut ids = [0; 3];
        for ((id, names), column) in ids.iter_mut().zip(&table.names).zip(columns) {
            let name = &names[row];
            *id = concepts.id(name).ok_or_else(|| fault(column, format!("{name:?}"), "a concept of the study"))?;
        }
        let [one, two, three] = ids;
        if one == two || one == three || two == three {
            return Err(fault(columns[2], concepts.name(three).into(), "three different concepts"));
        }
        let Some(chosen) = &table.chosen[row] else { continue };
        let shown = Presentation::new(table.task, ids);
        let place = concepts.id(chosen).and_then(|id| shown.options().iter().position(|option| *option == id));
        let expected = match table.task {
            Task::Anchored => "the first or the second option",
            Task::OddOneOut => "one of the three concepts",
        };
        let chosen = place.ok_or_else(|| fault(table.task.answer(), format!("{chosen:?}"), expected))?;
        let soft = match &table.soft {
            None => None,
            Some((name, values)) => {
                let value = values[row].ok_or_else(|| fault(name, "nothing".into(), "a probability"))?;
                if !(0.0..=1.0).contains(&value) {
                    return Err(fault(name, value.to_string(), "a probability, 0 to 1"));
                }
                Some(value)
            }
        };
        let weight = table.weight.as_ref().map_or(Some(1.0), |w| w[row]).filter(|w| w.is_finite() && *w >= 0.0);
        let weight =
            weight.ok_or_else(|| fault("weight", "nothing or a negative number".into(), "a weight, 0 or more"))?;
        rows.push(Row { shown, chosen, soft, weight });
    }
    Ok(rows)
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

fn columns(path: &Path, soft_column: Option<&str>) -> Result<Columns> {
    if path.extension().is_some_and(|e| e == "parquet") {
        let table = Table::read(path)?;
        let task = task_of(path, &table.columns(), soft_column)?;
        let [one, two, three] = task.concepts();
        let has = |name: &str| table.columns().iter().any(|c| c == name);
        return Ok(Columns {
            task,
            names: [table.names(one)?, table.names(two)?, table.names(three)?],
            chosen: table.text(task.answer())?,
            soft: soft_column.map(|name| Ok::<_, Error>((name.to_owned(), table.numbers(name)?))).transpose()?,
            weight: has("weight").then(|| table.numbers("weight")).transpose()?,
            path: path.into(),
        });
    }
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(fs_err::File::open(path)?);
    let header: Vec<String> = reader.headers().map_err(|e| csv_error(path, &e))?.iter().map(str::to_owned).collect();
    let task = task_of(path, &header, soft_column)?;
    let at = |name: &str| header.iter().position(|h| h == name);
    let place = |name: &str| at(name).expect("the task has its columns");
    let [one, two, three] = task.concepts();
    let (places, chosen_at) = ([place(one), place(two), place(three)], place(task.answer()));
    let (soft_at, weight_at) = (soft_column.map(place), at("weight"));
    let mut columns = Columns {
        path: path.into(),
        task,
        names: Default::default(),
        chosen: Vec::new(),
        soft: soft_column.map(|name| (name.to_owned(), Vec::new())),
        weight: weight_at.map(|_| Vec::new()),
    };
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|e| csv_error(path, &e))?;
        let number = |at: usize| -> Result<Option<f64>> {
            let cell = &record[at];
            if cell.is_empty() {
                return Ok(None);
            }
            cell.parse().map(Some).map_err(|_| Error::Cell {
                path: path.into(),
                row: row + 2,
                column: header[at].clone(),
                found: cell.into(),
                expected: "a number".into(),
            })
        };
        for (names, at) in columns.names.iter_mut().zip(places) {
            names.push(record[at].to_owned());
        }
        columns.chosen.push(Some(record[chosen_at].to_owned()).filter(|c| !c.is_empty()));
        if let Some(((_, values), at)) = columns.soft.as_mut().zip(soft_at) {
            values.push(number(at)?);
        }
        if let Some((values, at)) = columns.weight.as_mut().zip(weight_at) {
            values.push(number(at)?);
        }
    }
    Ok(columns)
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
