//! Requests to be scored: JSONL or Parquet, read a little at a time.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::guard::{PARQUET, guarded};
use crate::multiple_choice::{FIELDS, Request};
use crate::store::table::Bounded;

/// Requests in the order of their file.
pub struct Requests {
    path: PathBuf,
    next_row: usize,
    source: Source,
    /// Fields that are there and not read.
    pub ignored: BTreeSet<String>,
}

enum Source {
    Lines { lines: BufReader<fs_err::File>, line: usize },
    Rows { batches: ParquetRecordBatchReader, batch: Option<RecordBatch>, row: usize },
}

/// Rows of a Parquet file that are in memory at once.
const BATCH_ROWS: usize = 1024;

/// Opens a file of requests: Parquet by its name, JSON lines otherwise.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a damaged Parquet file.
pub fn read(path: &Path) -> Result<Requests> {
    guarded(path, PARQUET, || open(path))
}

fn open(path: &Path) -> Result<Requests> {
    let file = fs_err::File::open(path)?;
    let mut ignored = BTreeSet::new();
    let source = if path.extension().is_some_and(|e| e == "parquet") {
        let damaged = |e: &dyn std::fmt::Display| not_parquet(path, e);
        let file = Bounded::new(file.into_parts().0)?;
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| damaged(&e))?;
        let columns = builder.schema().fields().iter().map(|field| field.name().clone());
        let (read, others): (Vec<_>, Vec<_>) = columns.enumerate().partition(|(_, c)| FIELDS.contains(&c.as_str()));
        ignored.extend(others.into_iter().map(|(_, column)| column));
        let mask = ProjectionMask::roots(builder.parquet_schema(), read.into_iter().map(|(index, _)| index));
        let builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        Source::Rows { batches: builder.build().map_err(|e| damaged(&e))?, batch: None, row: 0 }
    } else {
        Source::Lines { lines: BufReader::new(file), line: 0 }
    };
    Ok(Requests { path: path.into(), next_row: 0, source, ignored })
}

impl Iterator for Requests {
    type Item = Result<Request>;

    fn next(&mut self) -> Option<Self::Item> {
        let (place, fields) = match self.fields().transpose()? {
            Ok(found) => found,
            Err(error) => return Some(Err(error)),
        };
        let row = self.next_row;
        self.next_row += 1;
        Some(Request::from_fields(fields, row, &place))
    }
}

impl Requests {
    /// The next line or row with something in it, and which one it is.
    fn fields(&mut self) -> Result<Option<(String, Map<String, Value>)>> {
        match &mut self.source {
            Source::Lines { lines, line } => loop {
                let mut bytes = Vec::new();
                if lines.read_until(b'\n', &mut bytes)? == 0 {
                    return Ok(None);
                }
                *line += 1;
                let text = bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| *line == 1).unwrap_or(&bytes).trim_ascii();
                if text.is_empty() {
                    continue;
                }
                let place = format!("{}, line {line}", self.path.display());
                let fault = |found: String| Error::Request {
                    place: place.clone(),
                    what: "the line".into(),
                    found,
                    expected: "a JSON object".into(),
                };
                let fields: Map<String, Value> = match serde_json::from_slice(text) {
                    Ok(Value::Object(fields)) => fields,
                    Ok(_) => return Err(fault("another kind of JSON value".into())),
                    Err(error) => {
                        // The parser counts lines too, but sees one at a time.
                        let words = error.to_string();
                        let words = words.split(" at line ").next().unwrap_or_default();
                        return Err(fault(format!("not JSON ({words}, column {})", error.column())));
                    }
                };
                self.ignored.extend(fields.keys().filter(|key| !FIELDS.contains(&key.as_str())).cloned());
                return Ok(Some((place, fields)));
            },
            Source::Rows { batches, batch, row } => {
                while batch.as_ref().is_none_or(|batch| *row == batch.num_rows()) {
                    let next = guarded(&self.path, PARQUET, || {
                        batches.next().transpose().map_err(|e| not_parquet(&self.path, &e))
                    });
                    let Some(next) = next? else { return Ok(None) };
                    (*batch, *row) = (Some(next), 0);
                }
                let place = format!("{}, row {}", self.path.display(), self.next_row + 1);
                let mut fields = Map::new();
                for (field, column) in batch.iter().flat_map(|b| b.schema_ref().fields().iter().zip(b.columns())) {
                    let value = json(column, *row).ok_or_else(|| Error::Format {
                        path: self.path.clone(),
                        found: format!("column `{}` of type {}", field.name(), column.data_type()),
                        expected: "text, numbers, lists of text, or messages as a list of {role, content}".into(),
                    })?;
                    fields.insert(field.name().clone(), value);
                }
                *row += 1;
                Ok(Some((place, fields)))
            }
        }
    }
}

fn not_parquet(path: &Path, found: &dyn std::fmt::Display) -> Error {
    Error::Format { path: path.into(), found: found.to_string(), expected: "a whole Parquet file".into() }
}

/// A cell as JSON: text, numbers, lists and structs; `None` for another type.
fn json(array: &ArrayRef, row: usize) -> Option<Value> {
    use DataType::{
        Boolean, Dictionary, FixedSizeList, LargeList, LargeUtf8, List, ListView, Null, Struct, Utf8, Utf8View,
    };
    if array.is_null(row) {
        return Some(Value::Null);
    }
    let list =
        |cells: &ArrayRef| (0..cells.len()).map(|i| json(cells, i)).collect::<Option<Vec<_>>>().map(Value::Array);
    match array.data_type() {
        Null => Some(Value::Null),
        Utf8 => Some(array.as_string::<i32>().value(row).into()),
        LargeUtf8 => Some(array.as_string::<i64>().value(row).into()),
        Utf8View => Some(array.as_string_view().value(row).into()),
        Boolean => Some(array.as_boolean().value(row).into()),
        List(_) => list(&array.as_list::<i32>().value(row)),
        LargeList(_) => list(&array.as_list::<i64>().value(row)),
        FixedSizeList(_, _) => list(&array.as_fixed_size_list().value(row)),
        ListView(_) => list(&array.as_list_view::<i32>().value(row)),
        Struct(fields) => {
            let columns = fields.iter().zip(array.as_struct().columns());
            let field = |(field, column): (&std::sync::Arc<arrow::datatypes::Field>, &ArrayRef)| {
                Some((field.name().clone(), json(column, row)?))
            };
            columns.map(field).collect::<Option<Map<_, _>>>().map(Value::Object)
        }
        kind if kind.is_integer() => {
            let cell = cast(&array.slice(row, 1), &DataType::Int64).ok()?;
            Some(cell.as_primitive::<Int64Type>().iter().next()?.into())
        }
        kind if kind.is_floating() => {
            let cell = cast(&array.slice(row, 1), &DataType::Float64).ok()?;
            Some(cell.as_primitive::<Float64Type>().iter().next()?.into())
        }
        // Categories, as pandas and Polars write them.
        Dictionary(_, values) => json(&cast(&array.slice(row, 1), values).ok()?, 0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, Int64Array, LargeStringArray, ListArray, StringArray, StructArray};
    use arrow::buffer::{NullBuffer, OffsetBuffer};
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::multiple_choice::Prompt;
    use crate::store::table;

    fn read_text(text: &[u8]) -> Result<(Vec<Request>, BTreeSet<String>)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.jsonl");
        fs_err::write(&path, text).unwrap();
        let mut requests = read(&path)?;
        let all = requests.by_ref().collect::<Result<Vec<_>>>()?;
        Ok((all, requests.ignored))
    }

    #[test]
    fn lines() {
        let text = "\u{feff}{\"prompt\": \"Q\", \"choices\": [\"a\"], \"golds\": 1}\r\n\n{\"prompt\": \"R\", \"choices\": [\"é\"]}";
        let (requests, ignored) = read_text(text.as_bytes()).unwrap();
        assert_eq!(requests.iter().map(|r| r.id.as_str()).collect::<Vec<_>>(), ["0", "1"]);
        assert!(requests[1].place.ends_with("r.jsonl, line 3"));
        assert_eq!(ignored.into_iter().collect::<Vec<_>>(), ["golds"]);
        let error = |text: &[u8]| read_text(text).unwrap_err().to_string();
        let broken = error(b"{\"prompt\": \"Q\", \"choices\": [\"a\"]}\n{\"prompt\": \"Q\" \"choices\"}\n");
        assert!(
            broken.ends_with(
                "r.jsonl, line 2: the line is not JSON (expected `,` or `}`, column 16), expected a JSON object"
            ),
            "{broken}"
        );
        assert!(error(b"[\n").contains("line 1: the line is not JSON"));
        assert!(error(b"[]\n").contains("line 1: the line is another kind of JSON value"));
        assert!(error(b"{\"prompt\": \"\xe9\"}").contains("line 1: the line is not JSON"));
        assert!(error(b"{\"prompt\": \"Q\"}").contains("r.jsonl, line 1: `choices` is missing"));
    }

    #[test]
    fn rows_as_other_programs_write_them() {
        let texts = |values: &[&str]| -> ArrayRef { Arc::new(LargeStringArray::from(values.to_vec())) };
        let lists = |lengths: &[usize], values: ArrayRef, nulls: Option<Vec<bool>>| -> ArrayRef {
            let field = Arc::new(Field::new("item", values.data_type().clone(), true));
            Arc::new(ListArray::new(
                field,
                OffsetBuffer::from_lengths(lengths.to_vec()),
                values,
                nulls.map(NullBuffer::from),
            ))
        };
        let part = |name: &str| Arc::new(Field::new(name, DataType::LargeUtf8, true));
        let turns = StructArray::from(vec![
            (part("role"), texts(&["system", "user"])),
            (part("content"), texts(&["Be kind", "Q"])),
        ]);
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("id", Arc::new(Int64Array::from(vec![70, 71]))),
            ("prompt", Arc::new(StringArray::from(vec![Some("Q"), None]))),
            ("messages", lists(&[0, 2], Arc::new(turns), Some(vec![false, true]))),
            ("choices", lists(&[2, 1], texts(&["a", "b", "c"]), None)),
            ("gold", Arc::new(Float64Array::from(vec![Some(1.0), None]))),
            ("subject", texts(&["x", "y"])),
        ];
        let fields: Vec<Field> = columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), true)).collect();
        let batch = table::batch(Schema::new(fields), columns.into_iter().map(|c| c.1).collect());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.parquet");
        table::write(&path, &batch, &Default::default(), &[]).unwrap();
        let mut requests = read(&path).unwrap();
        let all: Vec<Request> = requests.by_ref().collect::<Result<_>>().unwrap();
        assert_eq!(requests.ignored.into_iter().collect::<Vec<_>>(), ["subject"]);
        assert_eq!(
            (all[0].id.as_str(), all[0].gold, &all[0].choices[..]),
            ("70", Some(1), &["a".into(), "b".into()][..])
        );
        assert_eq!(all[0].prompt, Prompt::Text("Q".into()));
        let turn = |role: &str, content: &str| (role.to_owned(), content.to_owned());
        assert_eq!(all[1].prompt, Prompt::Messages(vec![turn("system", "Be kind"), turn("user", "Q")]));
        assert!(all[1].place.ends_with("r.parquet, row 2 (id \"71\")"));

        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read(&path).err().unwrap().to_string().contains("a whole Parquet file"));
    }
}
