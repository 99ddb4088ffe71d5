//! Bootstrap refits in Parquet: a row for each concept of each draw, beside the embedding they belong to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use faer::Mat;

use crate::concepts::Concepts;
use crate::embedding::bootstrap::Refit;
use crate::error::{Error, Result};
use crate::store::manifest::Fingerprint;
use crate::store::table::{self, Layout, Table, TableWriter};

/// Where the refits of an embedding lie: `X.bootstrap.parquet` beside `X.parquet`.
pub fn path_beside(embedding: &Path) -> PathBuf {
    embedding.with_extension("bootstrap.parquet")
}

/// Refits being written, draw by draw; they take their place when they are finished.
///
/// Columns: `draw` (int32, from 0), `concept`, `converged` (of the draw's fit), `d00 … dNN` (float32, null for a concept
/// that the draw has no comparison of). Rows are sorted by draw, then concept. Coordinates are centred and not rotated onto
/// the embedding.
pub struct RefitsWriter {
    writer: TableWriter,
    schema: Schema,
    names: ArrayRef,
}

impl RefitsWriter {
    /// Opens the file, so that a place that cannot be written is known before the fits.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn create(path: &Path, concepts: &Concepts, dims: usize, fingerprint: &Fingerprint) -> Result<Self> {
        let mut fields = vec![
            Field::new("draw", DataType::Int32, false),
            Field::new("concept", DataType::Utf8, false),
            Field::new("converged", DataType::Boolean, false),
        ];
        fields.extend((0..dims).map(|dim| Field::new(format!("d{dim:02}"), DataType::Float32, true)));
        let schema = Schema::new(fields);
        table::sweep(path);
        let writer = TableWriter::create(
            path,
            &Arc::new(schema.clone()),
            &fingerprint.metadata(),
            Layout { sorted_by: &["draw", "concept"], repeating: &[] },
        )?;
        let names = Arc::new(StringArray::from_iter_values(concepts.iter().map(|c| &c.name)));
        Ok(Self { writer, schema, names })
    }

    /// Adds the next draw.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn add(&mut self, refit: &Refit) -> Result<()> {
        let (n, dims) = refit.coordinates.shape();
        let draw = i32::try_from(refit.record.draw).expect("draws are counted from 0");
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int32Array::from_iter_values(std::iter::repeat_n(draw, n))),
            self.names.clone(),
            Arc::new(BooleanArray::from(vec![refit.record.stop.converged(); n])),
        ];
        for dim in 0..dims {
            #[allow(clippy::cast_possible_truncation, reason = "stored as f32")]
            let value = |row: usize| refit.judged[row].then(|| refit.coordinates[(row, dim)] as f32);
            columns.push(Arc::new((0..n).map(value).collect::<Float32Array>()));
        }
        self.writer.write(&table::batch(self.schema.clone(), columns))
    }

    /// Puts the file in its place.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn finish(self) -> Result<()> {
        self.writer.finish()
    }
}

/// Reads refits back: names, and the coordinates of each draw; `[n_concepts, dims]` with NaN where nothing was drawn.
///
/// # Errors
/// [`Error::Format`] for another kind of table, or draws of different lengths
pub fn read(path: &Path) -> Result<(Vec<String>, Vec<Mat<f64>>)> {
    let table = Table::read(path)?;
    let draws = table.whole("draw", table.integers("draw")?)?;
    let names = table.names("concept")?;
    let n = draws.iter().take_while(|draw| **draw == 0).count();
    if n == 0
        || !draws.iter().enumerate().all(|(row, draw)| usize::try_from(*draw) == Ok(row / n))
        || draws.len() % n != 0
    {
        return Err(Error::Format {
            path: path.into(),
            found: "draws of different lengths".into(),
            expected: "a row for each concept of each draw, in the order of the draws".into(),
        });
    }
    let is_dimension = |name: &&String| name.len() > 2 && name.starts_with('d') && name[1..].parse::<usize>().is_ok();
    let dims: Vec<Vec<Option<f64>>> =
        table.columns().iter().filter(is_dimension).map(|name| table.numbers(name)).collect::<Result<_>>()?;
    let of_draw = |draw: usize| Mat::from_fn(n, dims.len(), |i, k| dims[k][draw * n + i].unwrap_or(f64::NAN));
    Ok((names[..n].to_vec(), (0..draws.len() / n).map(of_draw).collect()))
}
