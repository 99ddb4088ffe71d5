//! Small tables of results, in CSV or Parquet by the name of the file.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::{Error, Result};
use crate::store::manifest::Fingerprint;
use crate::store::table;

/// A column of results.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Words.
    Text(Vec<String>),
    /// Words; nothing where there are none.
    Labels(Vec<Option<String>>),
    /// Counts.
    Integers(Vec<i64>),
    /// Counts; nothing where there is none.
    Counts(Vec<Option<i64>>),
    /// Values; nothing where there is none.
    Numbers(Vec<Option<f64>>),
}

/// Refuses a file that could not be written in the end: of another format, or there already without `force`.
///
/// # Errors
/// [`Error::Setting`], [`Error::Exists`]
pub fn check(path: &Path, force: bool) -> Result<()> {
    if !path.extension().is_some_and(|e| e == "csv" || e == "parquet") {
        let (found, expected) = (path.display().to_string(), "a file that ends in .csv or .parquet".to_owned());
        return Err(Error::Setting { field: "out".into(), found, expected });
    }
    match path.exists() && !force {
        true => Err(Error::Exists { path: path.into() }),
        false => Ok(()),
    }
}

/// Writes columns of equal length.
///
/// # Errors
/// [`Error::Io`]
/// # Panics
/// when columns differ in length
pub fn write(path: &Path, columns: &[(&str, Column)], fingerprint: &Fingerprint) -> Result<()> {
    if path.extension().is_some_and(|e| e == "csv") {
        return table::write_atomically(path, |file| write_csv(file, columns));
    }
    let field = |(name, column): &(&str, Column)| match column {
        Column::Text(_) => Field::new(*name, DataType::Utf8, false),
        Column::Labels(_) => Field::new(*name, DataType::Utf8, true),
        Column::Integers(_) => Field::new(*name, DataType::Int64, false),
        Column::Counts(_) => Field::new(*name, DataType::Int64, true),
        Column::Numbers(_) => Field::new(*name, DataType::Float64, true),
    };
    let array = |(_, column): &(&str, Column)| -> ArrayRef {
        match column {
            Column::Text(values) => Arc::new(StringArray::from_iter_values(values)),
            Column::Labels(values) => Arc::new(StringArray::from_iter(values)),
            Column::Integers(values) => Arc::new(Int64Array::from(values.clone())),
            Column::Counts(values) => Arc::new(Int64Array::from(values.clone())),
            Column::Numbers(values) => Arc::new(Float64Array::from(values.clone())),
        }
    };
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    table::write(path, &table::batch(schema, columns.iter().map(array).collect()), &fingerprint.metadata(), &[])
}

fn write_csv(file: &mut fs_err::File, columns: &[(&str, Column)]) -> std::io::Result<()> {
    let mut writer = csv::Writer::from_writer(file);
    writer.write_record(columns.iter().map(|(name, _)| name))?;
    let n_rows = columns.first().map_or(0, |(_, column)| column.len());
    for row in 0..n_rows {
        writer.write_record(columns.iter().map(|(_, column)| column.cell(row)))?;
    }
    writer.flush()
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Text(values) => values.len(),
            Self::Labels(values) => values.len(),
            Self::Integers(values) => values.len(),
            Self::Counts(values) => values.len(),
            Self::Numbers(values) => values.len(),
        }
    }

    fn cell(&self, row: usize) -> String {
        match self {
            Self::Text(values) => values[row].clone(),
            Self::Labels(values) => values[row].clone().unwrap_or_default(),
            Self::Integers(values) => values[row].to_string(),
            Self::Counts(values) => values[row].map(|value| value.to_string()).unwrap_or_default(),
            Self::Numbers(values) => values[row].map(|value| value.to_string()).unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::table::Table;

    #[test]
    fn both_formats_hold_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let columns = [
            ("name", Column::Text(vec!["a,b".into(), "c".into()])),
            ("n", Column::Integers(vec![1, 2])),
            ("x", Column::Numbers(vec![Some(0.1), None])),
        ];
        let (csv, parquet) = (folder.path().join("t.csv"), folder.path().join("t.parquet"));
        for path in [&csv, &parquet] {
            check(path, false).unwrap();
            write(path, &columns, &Fingerprint::default()).unwrap();
            assert!(matches!(check(path, false), Err(Error::Exists { .. })));
            assert!(check(path, true).is_ok());
        }
        assert_eq!(fs_err::read_to_string(csv).unwrap(), "name,n,x\n\"a,b\",1,0.1\nc,2,\n");
        let table = Table::read(&parquet).unwrap();
        assert_eq!(table.names("name").unwrap(), ["a,b", "c"]);
        assert_eq!(table.numbers("x").unwrap(), [Some(0.1), None]);
        assert!(check(&folder.path().join("t.txt"), false).unwrap_err().to_string().contains(".csv or .parquet"));
    }
}
