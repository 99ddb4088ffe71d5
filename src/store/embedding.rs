//! Embeddings in Parquet: `concept, category, d00 … dNN` and a list column.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array, Float32Builder, ListBuilder, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use faer::{Mat, MatRef};

use crate::concepts::{Concept, Concepts};
use crate::embedding::Record;
use crate::error::{Error, Result};
use crate::store::manifest::Fingerprint;
use crate::store::table::{self, Table};

const KEY_FIT: &str = "alike.fit";

/// Coordinates of named concepts.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// Names, in the order of the rows.
    pub names: Vec<String>,
    /// Category of each, where the file tells it.
    pub categories: Vec<Option<String>>,
    /// `[n_concepts, n_dims]`
    pub coordinates: Mat<f64>,
    /// How they were fitted, as JSON; null for an embedding from elsewhere.
    pub fit: serde_json::Value,
}

impl Embedding {
    /// The concepts, as far as the file tells about them.
    pub fn concepts(&self) -> Vec<Concept> {
        let concept = |(name, category): (&String, &Option<String>)| Concept {
            name: name.clone(),
            category: category.clone(),
            definition: None,
            things_id: None,
        };
        self.names.iter().zip(&self.categories).map(concept).collect()
    }

    /// Names and coordinates alone.
    pub fn bare(names: Vec<String>, coordinates: Mat<f64>) -> Self {
        Self { categories: vec![None; names.len()], names, coordinates, fit: serde_json::Value::Null }
    }

    /// The rows of some of the concepts, given by their places in the list, in that order; `path` is the file, for errors.
    ///
    /// # Errors
    /// [`Error::Format`] for a concept with several rows, [`Error::Unmatched`] for those without one
    pub fn rows_of(&self, concepts: &Concepts, matched: &[usize], path: &Path) -> Result<Mat<f64>> {
        let place: HashMap<&str, usize> =
            self.names.iter().enumerate().map(|(row, name)| (name.as_str(), row)).collect();
        if place.len() < self.names.len() {
            let twice = self.names.iter().enumerate().find(|(row, name)| place[name.as_str()] != *row);
            return Err(Error::Format {
                path: path.into(),
                found: format!("{:?} more than once", twice.map_or("", |(_, name)| name)),
                expected: "a row for each concept".into(),
            });
        }
        let names: Vec<&str> = concepts.iter().map(|c| c.name.as_str()).collect();
        let rows: Vec<usize> = matched.iter().filter_map(|i| place.get(names[*i]).copied()).collect();
        if rows.len() < matched.len() {
            let missing = matched.iter().map(|i| names[*i]).filter(|name| !place.contains_key(name));
            return Err(Error::Unmatched { path: path.into(), names: missing.map(|n| format!("{n:?}")).collect() });
        }
        Ok(Mat::from_fn(rows.len(), self.coordinates.ncols(), |i, j| self.coordinates[(rows[i], j)]))
    }
}

/// Writes coordinates, a row for each of `concepts`; with the record of the fit, if there was one, in the file's metadata.
///
/// # Errors
/// [`Error::Io`].
pub fn write<'a>(
    path: &Path,
    concepts: impl IntoIterator<Item = &'a Concept>,
    coordinates: MatRef<'_, f64>,
    record: Option<&Record>,
    fingerprint: &Fingerprint,
) -> Result<()> {
    let concepts: Vec<&Concept> = concepts.into_iter().collect();
    let (n, dims) = coordinates.shape();
    #[allow(clippy::cast_possible_truncation, reason = "stored as f32")]
    let at = |row: usize, dim: usize| coordinates[(row, dim)] as f32;
    let item = Arc::new(Field::new("item", DataType::Float32, false));
    let mut fields = vec![Field::new("concept", DataType::Utf8, false), Field::new("category", DataType::Utf8, true)];
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(concepts.iter().map(|c| &c.name))),
        Arc::new(concepts.iter().map(|c| c.category.as_deref()).collect::<StringArray>()),
    ];
    for dim in 0..dims {
        fields.push(Field::new(format!("d{dim:02}"), DataType::Float32, false));
        columns.push(Arc::new(Float32Array::from_iter_values((0..n).map(|row| at(row, dim)))));
    }
    fields.push(Field::new("embedding", DataType::List(item.clone()), false));
    let mut lists = ListBuilder::new(Float32Builder::new()).with_field(item);
    for row in 0..n {
        lists.values().append_values(&(0..dims).map(|dim| at(row, dim)).collect::<Vec<_>>(), &vec![true; dims]);
        lists.append(true);
    }
    columns.push(Arc::new(lists.finish()));
    let mut metadata = fingerprint.metadata();
    if let Some(record) = record {
        metadata.insert(KEY_FIT.into(), serde_json::to_string(record).expect("a record is JSON"));
    }
    table::write(path, &table::batch(Schema::new(fields), columns), &metadata, &["concept"])
}

/// Reads an embedding from Parquet or CSV: a column `concept`, and `d00, d01, …` or, in a CSV, every other numeric column.
///
/// # Errors
/// Names the file, row and column of what is missing or not a number.
pub fn read(path: &Path) -> Result<Embedding> {
    if path.extension().is_none_or(|e| e != "parquet") {
        return read_csv(path);
    }
    let table = Table::read(path)?;
    let names = table.names("concept")?;
    let mut columns = Vec::new();
    for name in table.columns().iter().filter(|c| is_dimension(c)) {
        columns.push(table.whole(name, table.numbers(name)?)?);
    }
    if columns.is_empty() {
        return Err(no_dimensions(path));
    }
    let has_categories = table.columns().iter().any(|c| c == "category");
    let categories = if has_categories { table.text("category")? } else { vec![None; names.len()] };
    let fit = table.metadata.get(KEY_FIT).and_then(|json| serde_json::from_str(json).ok());
    Ok(Embedding {
        coordinates: Mat::from_fn(names.len(), columns.len(), |row, dim| columns[dim][row]),
        names,
        categories,
        fit: fit.unwrap_or(serde_json::Value::Null),
    })
}

fn is_dimension(column: &str) -> bool {
    column.strip_prefix('d').is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

fn no_dimensions(path: &Path) -> Error {
    Error::Format {
        path: path.into(),
        found: "no dimensions".into(),
        expected: "columns `concept`, `d00`, `d01`, ...".into(),
    }
}

fn read_csv(path: &Path) -> Result<Embedding> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(fs_err::File::open(path)?);
    let header = reader.headers().map_err(|e| crate::concepts::csv_error(path, &e))?.clone();
    let concept = header.iter().position(|h| h == "concept").ok_or_else(|| no_dimensions(path))?;
    let dims: Vec<usize> = (0..header.len()).filter(|i| is_dimension(&header[*i])).collect();
    if dims.is_empty() {
        return Err(no_dimensions(path));
    }
    let (mut names, mut rows) = (Vec::new(), Vec::new());
    for (row, record) in reader.records().enumerate() {
        let record = record.map_err(|e| crate::concepts::csv_error(path, &e))?;
        names.push(record[concept].to_owned());
        for &dim in &dims {
            rows.push(record[dim].parse::<f64>().map_err(|_| Error::Cell {
                path: path.into(),
                row: row + 2,
                column: header[dim].into(),
                found: format!("{:?}", &record[dim]),
                expected: "a number".into(),
            })?);
        }
    }
    let coordinates = Mat::from_fn(names.len(), dims.len(), |row, dim| rows[row * dims.len() + dim]);
    Ok(Embedding::bare(names, coordinates))
}
