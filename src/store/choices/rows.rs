//! The rows of a table of answers, one at a time, whatever kind of file it is.

use std::path::{Path, PathBuf};

use crate::concepts::csv_error;
use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::store::table::{Batches, Table};

/// A table of answers whose columns were found to be there.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) task: Task,
    /// Column of the target, where it is not the choice.
    pub(super) soft_column: Option<String>,
    /// Whether there is a column `weight`.
    pub(super) has_weights: bool,
    /// Number of rows, where the file tells it.
    pub(super) n_rows: Option<u64>,
}

/// One row as it stands in the file.
pub(super) struct Cells<'a> {
    /// Its number in the file.
    pub(super) row: usize,
    /// The three concepts.
    pub(super) names: [&'a str; 3],
    /// The answer.
    pub(super) chosen: Option<&'a str>,
    /// The target, where a soft column is asked for.
    pub(super) soft: Option<f64>,
    /// The weight, where there is such a column.
    pub(super) weight: Option<f64>,
}

impl Source {
    pub(super) fn open(path: &Path, soft_column: Option<&str>) -> Result<Self> {
        let (columns, n_rows) = if is_parquet(path) {
            let batches = Batches::open(path, None)?;
            (batches.columns(), Some(batches.n_rows()))
        } else {
            (header(&mut csv(path)?, path)?, None)
        };
        Ok(Self {
            path: path.into(),
            task: super::task_of(path, &columns, soft_column)?,
            soft_column: soft_column.map(str::to_owned),
            has_weights: columns.iter().any(|c| c == WEIGHT),
            n_rows,
        })
    }

    /// Hands over one row after the other.
    pub(super) fn each(&self, take: impl FnMut(Cells<'_>) -> Result<()>) -> Result<()> {
        if is_parquet(&self.path) { self.each_of_parquet(take) } else { self.each_of_csv(take) }
    }

    /// The column of the target and of the weight.
    fn numbers(&self) -> [Option<&str>; 2] {
        [self.soft_column.as_deref(), self.has_weights.then_some(WEIGHT)]
    }

    fn each_of_parquet(&self, mut take: impl FnMut(Cells<'_>) -> Result<()>) -> Result<()> {
        let [one, two, three] = self.task.concepts();
        let wanted: Vec<&str> =
            [one, two, three, self.task.answer()].into_iter().chain(self.numbers().into_iter().flatten()).collect();
        for table in Batches::open(&self.path, Some(&wanted))? {
            let table: Table = table?;
            let names = [table.names(one)?, table.names(two)?, table.names(three)?];
            let chosen = table.text(self.task.answer())?;
            let number = |name: Option<&str>| name.map(|name| table.numbers(name)).transpose();
            let [soft, weight] = self.numbers();
            let (soft, weight) = (number(soft)?, number(weight)?);
            for row in 0..table.len() {
                take(Cells {
                    row: table.first_row + row + 1,
                    names: [&names[0][row], &names[1][row], &names[2][row]],
                    chosen: chosen[row].as_deref(),
                    soft: soft.as_ref().and_then(|values| values[row]),
                    weight: weight.as_ref().and_then(|values| values[row]),
                })?;
            }
        }
        Ok(())
    }

    fn each_of_csv(&self, mut take: impl FnMut(Cells<'_>) -> Result<()>) -> Result<()> {
        let mut reader = csv(&self.path)?;
        let header = header(&mut reader, &self.path)?;
        let place = |name: &str| header.iter().position(|h| h == name).expect("the columns were found to be there");
        let (places, chosen_at) = (self.task.concepts().map(place), place(self.task.answer()));
        let numbers_at = self.numbers().map(|name| name.map(place));
        let mut record = csv::StringRecord::new();
        let mut row = 1; // the header
        while reader.read_record(&mut record).map_err(|e| csv_error(&self.path, &e))? {
            row += 1;
            let number = |at: Option<usize>| match at.map(|at| (at, &record[at])) {
                None | Some((_, "")) => Ok(None),
                Some((at, cell)) => cell.parse::<f64>().map(Some).map_err(|_| Error::Cell {
                    path: self.path.clone(),
                    row,
                    column: header[at].clone(),
                    found: cell.into(),
                    expected: "a number".into(),
                }),
            };
            take(Cells {
                row,
                names: places.map(|at| &record[at]),
                chosen: Some(&record[chosen_at]).filter(|chosen| !chosen.is_empty()),
                soft: number(numbers_at[0])?,
                weight: number(numbers_at[1])?,
            })?;
        }
        Ok(())
    }
}

const WEIGHT: &str = "weight";

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "parquet")
}

fn csv(path: &Path) -> Result<csv::Reader<fs_err::File>> {
    Ok(csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(fs_err::File::open(path)?))
}

fn header(reader: &mut csv::Reader<fs_err::File>, path: &Path) -> Result<Vec<String>> {
    Ok(reader.headers().map_err(|e| csv_error(path, &e))?.iter().map(str::to_owned).collect())
}
