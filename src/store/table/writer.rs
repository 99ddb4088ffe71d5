//! Parquet out: how a column is laid down follows from its type, and columns are encoded beside one another.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{
    ArrowColumnChunk, ArrowColumnWriter, ArrowLeafColumn, ArrowRowGroupWriterFactory, ArrowWriterOptions,
    compute_leaves,
};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;
use rayon::prelude::*;

use super::draft::{Draft, sweep};
use crate::error::Result;
use crate::store::checksum::{self, Hashing};

/// Rows in a row group: DuckDB's own size, over which it parallelises (scans by row-group size are in benches/README.md).
const ROW_GROUP_ROWS: usize = 122_880;

/// The default of zstd itself.
const ZSTD_LEVEL: i32 = 3;

/// What is known of a table's columns beside their types.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Layout<'a> {
    /// The columns that rows are sorted by, the slowest first.
    pub(crate) sorted_by: &'a [&'a str],
    /// Columns of numbers that repeat, which a dictionary makes small.
    pub(crate) repeating: &'a [&'a str],
}

/// Writes a table so that it is whole or not there: beside its place, synced, renamed, and the folder synced.
///
/// # Errors
/// [`crate::Error::Io`]; nothing is left behind.
pub fn write(path: &Path, batch: &RecordBatch, metadata: &BTreeMap<String, String>, sorted_by: &[&str]) -> Result<()> {
    sweep(path);
    let mut writer = TableWriter::create(path, &batch.schema(), metadata, Layout { sorted_by, repeating: &[] })?;
    writer.write(batch)?;
    writer.finish()
}

/// A table that is written batch by batch, to be whole or not there: it takes its place when it is finished.
pub(crate) struct TableWriter {
    writer: SerializedFileWriter<Hashing<fs_err::File>>,
    factory: ArrowRowGroupWriterFactory,
    schema: Arc<Schema>,
    /// A row group that is being filled.
    columns: Vec<ArrowColumnWriter>,
    n_rows: usize,
    n_groups: usize,
    draft: Draft,
}

impl TableWriter {
    pub(crate) fn create(
        path: &Path,
        schema: &Arc<Schema>,
        metadata: &BTreeMap<String, String>,
        layout: Layout<'_>,
    ) -> Result<Self> {
        let draft = Draft::create(path)?;
        let file = Hashing::new(draft.file.try_clone()?);
        // Readers get every type from the file's own schema: the Arrow one beside it would be half the footer of a small part.
        let options = ArrowWriterOptions::new()
            .with_properties(properties(schema, metadata, layout))
            .with_skip_arrow_metadata(true);
        let opened = ArrowWriter::try_new_with_options(file, schema.clone(), options)
            .and_then(ArrowWriter::into_serialized_writer);
        let (writer, factory) = opened.map_err(|e| draft.named(io(e)))?;
        Ok(Self { writer, factory, schema: schema.clone(), columns: Vec::new(), n_rows: 0, n_groups: 0, draft })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut from = 0;
        while from < batch.num_rows() {
            let n = (batch.num_rows() - from).min(ROW_GROUP_ROWS - self.n_rows);
            self.append(&batch.slice(from, n)).map_err(|e| self.draft.named(io(e)))?;
            from += n;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<()> {
        self.close_group().map_err(|e| self.draft.named(io(e)))?;
        let Self { mut writer, mut draft, .. } = self;
        // Taking the file out of the writer would lose the kind of an error: that the disk is full.
        writer.finish().map_err(|e| draft.named(io(e)))?;
        let hash = writer.inner().hash();
        checksum::stamp(&mut draft.file, &hash).map_err(|e| draft.named(e))?;
        draft.finish()
    }

    /// Adds rows that the row group has room for.
    fn append(&mut self, batch: &RecordBatch) -> std::result::Result<(), ParquetError> {
        if self.columns.is_empty() {
            self.columns = self.factory.create_column_writers(self.n_groups)?;
        }
        let mut leaves: Vec<ArrowLeafColumn> = Vec::with_capacity(self.columns.len());
        for (field, array) in self.schema.fields().iter().zip(batch.columns()) {
            leaves.extend(compute_leaves(field, array)?);
        }
        self.columns.par_iter_mut().zip(&leaves).try_for_each(|(column, leaf)| column.write(leaf))?;
        self.n_rows += batch.num_rows();
        if self.n_rows == ROW_GROUP_ROWS { self.close_group() } else { Ok(()) }
    }

    fn close_group(&mut self) -> std::result::Result<(), ParquetError> {
        let columns = std::mem::take(&mut self.columns);
        if columns.is_empty() {
            return Ok(());
        }
        let chunks: Vec<ArrowColumnChunk> =
            columns.into_par_iter().map(ArrowColumnWriter::close).collect::<std::result::Result<_, _>>()?;
        let mut group = self.writer.next_row_group()?;
        for chunk in chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.n_groups += 1;
        self.n_rows = 0;
        Ok(())
    }
}

fn properties(schema: &Schema, metadata: &BTreeMap<String, String>, layout: Layout<'_>) -> WriterProperties {
    let stated = metadata.iter().filter(|(key, _)| *key != checksum::KEY);
    let entries = stated.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let checksum = KeyValue::new(checksum::KEY.to_owned(), checksum::PLACEHOLDER.to_owned());
    let sorting = |name: &&str| {
        let index = schema.index_of(name).expect("tables are sorted by columns they have");
        SortingColumn { column_idx: i32::try_from(index).expect("few columns"), descending: false, nulls_first: false }
    };
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("a zstd level");
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_created_by(concat!("alike version ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_key_value_metadata(Some(entries.chain([checksum]).collect()))
        .set_sorting_columns((!layout.sorted_by.is_empty()).then(|| layout.sorted_by.iter().map(sorting).collect()))
        .set_statistics_enabled(EnabledStatistics::Chunk);
    for field in schema.fields() {
        properties = laid_down(properties, field, layout);
    }
    properties.build()
}

/// How a column is laid down. Text and small numbers repeat and have a dictionary, which is the default; the bytes of
/// floating-point numbers compress sorted by their place in the number; long numbers and those of the concepts that rows are
/// sorted by are ids, which rise. Statistics are there to pass over rows: by page where rows are sorted, and not at all for
/// floating-point numbers.
fn laid_down(properties: WriterPropertiesBuilder, field: &Field, layout: Layout<'_>) -> WriterPropertiesBuilder {
    let name = field.name().as_str();
    let (kind, path) = match field.data_type() {
        DataType::List(item) => (item.data_type(), vec![name.to_owned(), "list".to_owned(), item.name().clone()]),
        other => (other, vec![name.to_owned()]),
    };
    let path = ColumnPath::new(path);
    let in_full = |properties: WriterPropertiesBuilder, encoding| {
        properties.set_column_dictionary_enabled(path.clone(), false).set_column_encoding(path.clone(), encoding)
    };
    match kind {
        DataType::Float32 | DataType::Float64 => {
            let properties = properties.set_column_statistics_enabled(path.clone(), EnabledStatistics::None);
            if layout.repeating.contains(&name) { properties } else { in_full(properties, Encoding::BYTE_STREAM_SPLIT) }
        }
        DataType::Int64 => in_full(properties, Encoding::DELTA_BINARY_PACKED),
        _ if layout.sorted_by.iter().any(|sorted| name.strip_suffix("_id") == Some(*sorted)) => {
            in_full(properties, Encoding::DELTA_BINARY_PACKED)
        }
        _ if layout.sorted_by.contains(&name) => {
            properties.set_column_statistics_enabled(path, EnabledStatistics::Page)
        }
        _ => properties,
    }
}

/// The file system's own error where there is one: a full disk is told from others.
fn io(error: ParquetError) -> std::io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(error) => *error,
            Err(other) => std::io::Error::other(other),
        },
        other => std::io::Error::other(other),
    }
}
