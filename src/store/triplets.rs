//! Presentations in Parquet, and presentations from elsewhere.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::concepts::Concepts;
use crate::error::Result;
use crate::presentations::{self, Named, Presentation, Task};
use crate::store::manifest::Fingerprint;
use crate::store::table::{self, Table};

/// Writes presentations of one task in their order.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn write(
    path: &Path,
    task: Task,
    presentations: &[Presentation],
    concepts: &Concepts,
    fingerprint: &Fingerprint,
) -> Result<()> {
    let name = |place: usize| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(presentations.iter().map(|p| concepts.name(p.concepts()[place]))))
    };
    let field = |name, kind| Field::new(name, kind, false);
    let [one, two, three] = task.concepts();
    let schema = Schema::new(vec![
        field("triplet_id", DataType::Int64),
        field(one, DataType::Utf8),
        field(two, DataType::Utf8),
        field(three, DataType::Utf8),
        field("order", DataType::Int8),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(presentations.iter().map(|p| p.id(concepts.len())))),
        name(0),
        name(1),
        name(2),
        Arc::new(Int8Array::from_iter_values(presentations.iter().map(Presentation::order))),
    ];
    table::write(path, &table::batch(schema, columns), &fingerprint.metadata(), &task.concepts())
}

/// Reads presentations from CSV or Parquet: `anchor, first, second`, or `a, b, c` for odd-one-out triplets; of a `wanted`
/// task only.
///
/// # Errors
/// [`Error::Format`](crate::Error::Format) naming the columns found and needed.
pub fn read_named(path: &Path, wanted: Option<Task>) -> Result<Named> {
    if path.extension().is_none_or(|e| e != "parquet") {
        return presentations::read_csv(path, wanted);
    }
    let table = Table::read(path)?;
    let task = presentations::task_of(path, &table.columns(), wanted)?;
    let [one, two, three] = task.concepts();
    let [one, two, three] = [table.names(one)?, table.names(two)?, table.names(three)?];
    let rows = one.into_iter().zip(two).zip(three).map(|((one, two), three)| [one, two, three]).collect();
    Ok(Named { task, rows, ignored: presentations::not_read(table.columns(), task) })
}

/// Reads presentations over known concepts, sorted.
///
/// # Errors
/// As [`read_named`] and [`presentations::resolve`].
pub fn read(path: &Path, concepts: &Concepts, wanted: Option<Task>) -> Result<Vec<Presentation>> {
    presentations::resolve(&read_named(path, wanted)?, concepts, path)
}
