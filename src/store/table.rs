//! Parquet in and out: one way to write a table whole or not at all, one way to read a column by name.

mod bounded;
mod draft;
mod writer;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchReader};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use crate::error::{Error, Result};
use crate::guard::{PARQUET, guarded};
use crate::store::checksum;
use crate::store::manifest::KEY_VERSION;

pub(crate) use bounded::Bounded;
pub use draft::{sweep, write_atomically};
pub use writer::write;
pub(crate) use writer::{Layout, TableWriter};

/// Rows that are in memory at once where a file is read in parts.
const BATCH_ROWS: usize = 1 << 14;

/// A table that was read, with its file for error messages.
#[derive(Debug, Clone)]
pub struct Table {
    /// The file.
    pub path: PathBuf,
    /// Key-value metadata.
    pub metadata: BTreeMap<String, String>,
    /// Rows of the file before the table's first.
    pub(crate) first_row: usize,
    batch: RecordBatch,
}

/// A Parquet file as a succession of tables, so that memory does not grow with the file.
pub(crate) struct Batches {
    path: PathBuf,
    metadata: BTreeMap<String, String>,
    reader: ParquetRecordBatchReader,
    n_rows: u64,
    n_read: usize,
}

impl Batches {
    /// Opens a file, for all of its columns or for some, and holds it against its checksum if it has one.
    ///
    /// # Errors
    /// [`Error::Format`] for a truncated or damaged file.
    pub(crate) fn open(path: &Path, columns: Option<&[&str]>) -> Result<Self> {
        guarded(path, PARQUET, || Self::open_unguarded(path, columns))
    }

    fn open_unguarded(path: &Path, columns: Option<&[&str]>) -> Result<Self> {
        let mut file = fs_err::File::open(path)?.into_parts().0;
        let turned = || {
            let found = "bytes that do not match the checksum among them".into();
            Error::Format { path: path.into(), found, expected: "the file as it was written".into() }
        };
        let whole = checksum::holds(&mut file)?;
        if whole == Some(false) {
            return Err(turned());
        }
        let mut builder =
            ParquetRecordBatchReaderBuilder::try_new(Bounded::new(file)?).map_err(|e| damaged(path, &e))?;
        let entries = builder.metadata().file_metadata().key_value_metadata().cloned().unwrap_or_default();
        let n_rows = builder.metadata().file_metadata().num_rows().unsigned_abs();
        let metadata: BTreeMap<String, String> =
            entries.into_iter().filter_map(|entry| Some((entry.key, entry.value?))).collect();
        // Where the damage is to the checksum's own name.
        if whole.is_none() && metadata.get(KEY_VERSION).is_some_and(|version| version != "1") {
            return Err(turned());
        }
        if let Some(columns) = columns {
            let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
            builder = builder.with_projection(mask);
        }
        let reader = builder.with_batch_size(BATCH_ROWS).build().map_err(|e| damaged(path, &e))?;
        Ok(Self { path: path.into(), metadata, reader, n_rows, n_read: 0 })
    }

    /// Key-value metadata.
    pub(crate) fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Whether the file says what its bytes hash to; those that alike wrote before it had checksums do not.
    pub(crate) fn has_checksum(&self) -> bool {
        self.metadata.contains_key(checksum::KEY)
    }

    /// Rows in the file.
    pub(crate) fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// The columns with their types.
    pub(crate) fn schema(&self) -> Arc<Schema> {
        self.reader.schema()
    }

    /// Names of the columns.
    pub(crate) fn columns(&self) -> Vec<String> {
        self.reader.schema().fields().iter().map(|f| f.name().clone()).collect()
    }
}

impl Iterator for Batches {
    type Item = Result<Table>;

    fn next(&mut self) -> Option<Result<Table>> {
        let batch =
            guarded(&self.path, PARQUET, || self.reader.next().transpose().map_err(|e| damaged(&self.path, &e)));
        let batch = match batch.transpose()? {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let first_row = self.n_read;
        self.n_read += batch.num_rows();
        Some(Ok(Table { path: self.path.clone(), metadata: self.metadata.clone(), first_row, batch }))
    }
}

fn damaged(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::Format { path: path.into(), found: error.to_string(), expected: "a whole Parquet file".into() }
}

/// The key-value metadata of a file that was found whole: by its checksum or, where it has none, by reading all of it.
///
/// # Errors
/// [`Error::Format`] for a truncated or damaged file.
pub fn checked_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    let batches = Batches::open(path, None)?;
    if batches.has_checksum() {
        return Ok(batches.metadata);
    }
    Ok(Table::read(path)?.metadata)
}

/// Rows of a file.
///
/// # Errors
/// [`Error::Format`] for a truncated or damaged file.
pub fn n_rows(path: &Path) -> Result<u64> {
    Ok(Batches::open(path, None)?.n_rows())
}

impl Table {
    /// Reads a whole Parquet file.
    ///
    /// # Errors
    /// [`Error::Format`] for a truncated or damaged file.
    pub fn read(path: &Path) -> Result<Self> {
        let batches = Batches::open(path, None)?;
        let (schema, metadata) = (batches.reader.schema(), batches.metadata.clone());
        let parts: Vec<RecordBatch> = batches.map(|table| Ok(table?.batch)).collect::<Result<_>>()?;
        let batch = concat_batches(&schema, &parts).map_err(|e| damaged(path, &e))?;
        Ok(Self { path: path.into(), metadata, batch, first_row: 0 })
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Names of the columns.
    pub fn columns(&self) -> Vec<String> {
        self.batch.schema().fields().iter().map(|f| f.name().clone()).collect()
    }

    /// Whether a column holds text.
    pub fn is_text(&self, name: &str) -> bool {
        self.batch.column_by_name(name).is_some_and(|array| *array.data_type() == DataType::Utf8)
    }

    /// A column of text; null where it is null.
    ///
    /// # Errors
    /// [`Error::Format`] when it is missing or of another kind.
    pub fn text(&self, name: &str) -> Result<Vec<Option<String>>> {
        let array = self.column(name, &DataType::Utf8)?;
        Ok(array.as_string::<i32>().iter().map(|v| v.map(str::to_owned)).collect())
    }

    /// A column of text without nulls.
    ///
    /// # Errors
    /// As [`Table::text`], and for a null.
    pub fn names(&self, name: &str) -> Result<Vec<String>> {
        self.whole(name, self.text(name)?)
    }

    /// A column of integers.
    ///
    /// # Errors
    /// As [`Table::text`].
    pub fn integers(&self, name: &str) -> Result<Vec<Option<i64>>> {
        Ok(self.column(name, &DataType::Int64)?.as_primitive::<Int64Type>().iter().collect())
    }

    /// A column of numbers.
    ///
    /// # Errors
    /// As [`Table::text`].
    pub fn numbers(&self, name: &str) -> Result<Vec<Option<f64>>> {
        Ok(self.column(name, &DataType::Float64)?.as_primitive::<Float64Type>().iter().collect())
    }

    /// A column of truth values.
    ///
    /// # Errors
    /// As [`Table::text`].
    pub fn booleans(&self, name: &str) -> Result<Vec<Option<bool>>> {
        Ok(self.column(name, &DataType::Boolean)?.as_boolean().iter().collect())
    }

    /// Takes a column whose nulls are faults.
    pub(crate) fn whole<T>(&self, name: &str, values: Vec<Option<T>>) -> Result<Vec<T>> {
        let row_of = |row: usize| Error::Cell {
            path: self.path.clone(),
            row: self.first_row + row + 1,
            column: name.into(),
            found: "nothing".into(),
            expected: "a value".into(),
        };
        values.into_iter().enumerate().map(|(row, value)| value.ok_or_else(|| row_of(row))).collect()
    }

    /// The same rows without the last columns, as an earlier version would have written them.
    #[cfg(test)]
    pub(crate) fn without(&self, n_last: usize) -> RecordBatch {
        let kept: Vec<usize> = (0..self.batch.num_columns() - n_last).collect();
        self.batch.project(&kept).expect("columns that are there")
    }

    /// The rows themselves.
    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// A column as a kind.
    ///
    /// # Errors
    /// [`Error::Format`] when it is missing or of another kind.
    pub(crate) fn column(&self, name: &str, kind: &DataType) -> Result<ArrayRef> {
        let fault = |found: String, expected: String| Error::Format { path: self.path.clone(), found, expected };
        let Some(array) = self.batch.column_by_name(name) else {
            return Err(fault(format!("the columns {}", self.columns().join(", ")), format!("a column `{name}`")));
        };
        cast(array, kind).map_err(|_| {
            fault(format!("column `{name}` of type {}", array.data_type()), format!("values that are {kind}"))
        })
    }
}

/// A record batch from columns in the order of a schema.
pub(crate) fn batch(schema: Schema, columns: Vec<ArrayRef>) -> RecordBatch {
    RecordBatch::try_new(Arc::new(schema), columns).expect("columns are built to their schema")
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float32Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn round_trip_damage_and_missing_columns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.parquet");
        let schema =
            Schema::new(vec![Field::new("name", DataType::Utf8, false), Field::new("x", DataType::Float32, true)]);
        let columns: Vec<ArrayRef> =
            vec![Arc::new(StringArray::from(vec!["a", "b"])), Arc::new(Float32Array::from(vec![Some(1.5), None]))];
        let mut metadata = crate::store::manifest::Fingerprint::default().metadata();
        metadata.insert("alike.x".to_owned(), "y".to_owned());
        write(&path, &batch(schema, columns), &metadata, &["name"]).unwrap();

        let table = Table::read(&path).unwrap();
        assert_eq!(table.metadata.get("alike.x").unwrap(), "y");
        assert_eq!(table.names("name").unwrap(), ["a", "b"]);
        assert_eq!(table.numbers("x").unwrap(), [Some(1.5), None]);
        assert!(table.text("z").unwrap_err().to_string().contains("expected a column `z`"));
        let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "no draft is left");

        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = Table::read(&path).unwrap_err().to_string();
        assert!(error.contains("t.parquet") && error.contains("a whole Parquet file"), "{error}");
        // Whatever bit is turned, nothing is read: not even where Parquet's own reader would find nothing wrong.
        for bit in 0..8 * bytes.len() {
            let mut turned = bytes.clone();
            turned[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &turned).unwrap();
            assert!(Table::read(&path).is_err(), "bit {bit} of {}", 8 * bytes.len());
        }
        std::fs::write(&path, &bytes).unwrap();
        assert!(Table::read(&path).is_ok());
    }
}
