//! Tables of models and of their scores, from CSV or Parquet.

use std::collections::BTreeMap;
use std::path::Path;

use crate::concepts::csv_error;
use crate::error::{Error, Result};
use crate::ingredients::{Cells, Table};
use crate::store::alignment;

/// The column that names the rows.
const KEY: &str = "model";

/// Reads a CSV table with a column `model`. A column is of numbers when every cell that is not empty is one.
///
/// # Errors
/// [`Error::Format`] without the column, [`Error::Cell`] for a row without a name, a row of another length, or a cell that is
/// `inf` or `nan`; those of [`Table::new`]
pub fn read(path: &Path) -> Result<Table> {
    let file = fs_err::File::open(path)?;
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(file);
    let header: Vec<String> = reader.headers().map_err(|e| csv_error(path, &e))?.iter().map(str::to_owned).collect();
    let key = header.iter().position(|name| name == KEY).ok_or_else(|| Error::Format {
        path: path.into(),
        found: format!("the columns {}", header.join(", ")),
        expected: format!("a column `{KEY}`"),
    })?;
    let mut cells: Vec<Vec<Option<String>>> = vec![vec![]; header.len()];
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|e| csv_error(path, &e))?;
        for (column, cell) in cells.iter_mut().zip(record.iter()) {
            column.push((!cell.is_empty()).then(|| cell.to_owned()));
        }
        if cells[key][row].is_none() {
            return Err(fault(path, row, KEY, "nothing", "the name of a model"));
        }
    }
    let rows = cells[key].iter().flatten().cloned().collect();
    let mut columns = vec![];
    for (at, (name, cells)) in header.into_iter().zip(cells).enumerate() {
        if at != key {
            let cells = typed(path, &name, cells)?;
            columns.push((name, cells));
        }
    }
    Table::new(rows, columns)
}

fn typed(path: &Path, name: &str, cells: Vec<Option<String>>) -> Result<Cells> {
    let parsed: Vec<Option<Option<f64>>> =
        cells.iter().map(|cell| cell.as_ref().map(|text| text.parse::<f64>().ok())).collect();
    let are_numbers = parsed.iter().flatten().all(Option::is_some) && parsed.iter().any(Option::is_some);
    if !are_numbers {
        return Ok(Cells::Levels(cells));
    }
    let numbers: Vec<Option<f64>> = parsed.into_iter().map(Option::flatten).collect();
    match numbers.iter().position(|cell| cell.is_some_and(|number| !number.is_finite())) {
        Some(row) => {
            Err(fault(path, row, name, cells[row].as_deref().unwrap_or_default(), "a finite number or nothing"))
        }
        None => Ok(Cells::Numbers(numbers)),
    }
}

/// `row` counts from 0, without the header.
fn fault(path: &Path, row: usize, column: &str, found: &str, expected: &str) -> Error {
    Error::Cell {
        path: path.into(),
        row: row + 2,
        column: column.into(),
        found: found.into(),
        expected: expected.into(),
    }
}

/// The scores of respondents in an `alignment.parquet`, by one fit and one measure, in a column called `response`.
///
/// # Errors
/// [`Error::Setting`] when there is no such fit or measure, naming those there are; [`Error::Format`] when a respondent has
/// several values (from several references)
pub fn scores(path: &Path, fit: &str, measure: &str, response: &str) -> Result<Table> {
    let rows = alignment::read(path)?;
    let mut values: BTreeMap<String, f64> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.fit == fit && row.measure == measure) {
        if values.insert(row.respondent.clone(), row.value).is_some() {
            return Err(Error::Format {
                path: path.into(),
                found: format!("several values of {measure} for {} and {fit}", row.respondent),
                expected: "one reference".into(),
            });
        }
    }
    if values.is_empty() {
        let mut there: Vec<String> = rows.iter().map(|row| format!("{} of {}", row.measure, row.fit)).collect();
        there.sort();
        there.dedup();
        let expected = if there.is_empty() { "a file with alignments".into() } else { there.join(", ") };
        return Err(Error::Setting { field: "measure".into(), found: format!("{measure} of {fit}"), expected });
    }
    let (names, cells): (Vec<String>, Vec<Option<f64>>) = values.into_iter().map(|(name, v)| (name, Some(v))).unzip();
    Table::new(names, vec![(response.to_owned(), Cells::Numbers(cells))])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Result<Table> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.csv");
        fs_err::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn numbers_are_told_from_words() {
        let table = read_text("rank,model,layers,tuned,empty\n1,a,12,yes,\n2,b,,no,\n").unwrap();
        assert_eq!(table.rows(), ["a", "b"]);
        assert_eq!(table.numbers("layers").unwrap(), [Some(12.0), None]);
        assert_eq!(table.levels("tuned").unwrap()[1].as_deref(), Some("no"));
        assert!(table.levels("empty").unwrap().iter().all(Option::is_none));
    }

    #[test]
    fn what_is_wrong_with_a_table_is_named() {
        let error = |text: &str| read_text(text).unwrap_err().to_string();
        assert!(error("name,layers\na,1\n").contains("a column `model`"));
        assert!(error("model,layers\na,1\n,2\n").contains("row 3"));
        assert!(error("model,layers\na,1\nb,inf\n").contains("column `layers`"));
        assert!(error("model,layers\na,1\na,2\n").contains("\"a\" twice"));
        assert!(error("model,layers\na,1\nb,2,3\n").contains("models.csv"));
    }
}
