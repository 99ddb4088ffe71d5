//! Tables of models and of their scores, from CSV or Parquet.

use std::collections::BTreeMap;
use std::path::Path;

use crate::concepts::csv_error;
use crate::error::{Error, Result};
use crate::ingredients::{Cells, Table};
use crate::store::manifest::Fingerprint;
use crate::store::results::{self, Column};
use crate::store::{alignment, table};

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

/// The scores of respondents in an `alignment.parquet` by one fit: a column for each measure, called by its key, but `response` for the
/// one named.
///
/// # Errors
/// [`Error::Setting`] when there is no such fit or measure, naming those there are; [`Error::Format`] when a respondent has
/// several values (from several references)
pub fn scores(path: &Path, fit: &str, measure: &str, response: &str) -> Result<Table> {
    let rows = alignment::read(path)?;
    let of_fit = || rows.iter().filter(|row| row.fit == fit);
    if !of_fit().any(|row| row.measure == measure) {
        let mut there: Vec<String> = rows.iter().map(|row| format!("{} of {}", row.measure, row.fit)).collect();
        there.sort();
        there.dedup();
        let expected = if there.is_empty() { "a file with alignments".into() } else { there.join(", ") };
        return Err(Error::Setting { field: "measure".into(), found: format!("{measure} of {fit}"), expected });
    }
    let mut measures: Vec<&str> = vec![measure];
    let mut names: Vec<&str> = vec![];
    for row in of_fit() {
        if !measures.contains(&row.measure.as_str()) {
            measures.push(&row.measure);
        }
        if !names.contains(&row.respondent.as_str()) {
            names.push(&row.respondent);
        }
    }
    names.sort_unstable();
    let mut columns = vec![];
    for of in measures {
        let mut values: BTreeMap<&str, f64> = BTreeMap::new();
        for row in of_fit().filter(|row| row.measure == of) {
            if values.insert(&row.respondent, row.value).is_some() {
                return Err(Error::Format {
                    path: path.into(),
                    found: format!("several values of {of} for {} and {fit}", row.respondent),
                    expected: "one reference".into(),
                });
            }
        }
        let cells = names.iter().map(|name| values.get(name).copied().filter(|value| value.is_finite())).collect();
        columns.push((if of == measure { response } else { of }.to_owned(), Cells::Numbers(cells)));
    }
    Table::new(names.into_iter().map(str::to_owned).collect(), columns)
}

/// Writes a table of models as Parquet or CSV, by the name of the file.
///
/// # Errors
/// [`Error::Io`]
pub fn write(path: &Path, models: &Table, fingerprint: &Fingerprint) -> Result<()> {
    let mut columns = vec![(KEY, Column::Text(models.rows().to_vec()))];
    for name in models.columns() {
        let column = match models.column(name)? {
            Cells::Numbers(cells) => Column::Numbers(cells.clone()),
            Cells::Levels(cells) => Column::Labels(cells.clone()),
        };
        columns.push((name, column));
    }
    results::write(path, &columns, fingerprint)
}

/// Reads back what [`write()`] wrote as Parquet.
///
/// # Errors
/// [`Error::Format`] without a column `model`
pub fn read_parquet(path: &Path) -> Result<Table> {
    let table = table::Table::read(path)?;
    let mut columns = vec![];
    for name in table.columns().into_iter().filter(|name| name != KEY) {
        let cells = match table.is_text(&name) {
            true => Cells::Levels(table.text(&name)?),
            false => Cells::Numbers(table.numbers(&name)?),
        };
        columns.push((name, cells));
    }
    Table::new(table.names(KEY)?, columns)
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

    #[test]
    fn a_table_survives_parquet() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("models.parquet");
        let table = read_text("model,layers,tuned\na,12,yes\nb,,\n").unwrap();
        write(&path, &table, &Fingerprint::default()).unwrap();
        assert_eq!(read_parquet(&path).unwrap(), table);
    }

    #[test]
    fn all_measures_of_a_fit_stand_beside_the_one_named() {
        let row = |respondent: &str, measure: &str, value: f64| alignment::AlignmentRow {
            respondent: respondent.into(),
            fit: "ste".into(),
            measure: measure.into(),
            value,
            ..alignment::AlignmentRow::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alignment.parquet");
        let rows = [row("b", "cka", 0.4), row("b", "r2", 0.3), row("a", "r2", 0.1)];
        alignment::write(&path, &rows, &Fingerprint::default()).unwrap();
        let table = scores(&path, "ste", "r2", "score").unwrap();
        assert_eq!(table.rows(), ["a", "b"]);
        assert_eq!(table.columns().collect::<Vec<_>>(), ["score", "cka"]);
        assert_eq!(table.numbers("cka").unwrap(), [None, Some(0.4)]);
        assert!(scores(&path, "ste", "rsa", "score").unwrap_err().to_string().contains("cka of ste, r2 of ste"));
        alignment::write(&path, &[row("a", "r2", 0.1), row("a", "r2", 0.2)], &Fingerprint::default()).unwrap();
        assert!(scores(&path, "ste", "r2", "score").unwrap_err().to_string().contains("one reference"));
    }
}
