//! Presentations in Parquet, and presentations from elsewhere.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};

use crate::concepts::Concepts;
use crate::error::Result;
use crate::presentations::{self, Named, Presentation, Task};
use crate::store::judgments::{self, Column};
use crate::store::manifest::Fingerprint;
use crate::store::table::{self, Batches, Table};

/// The columns of a table of triplets: those that say the same of judgments.
pub fn columns(task: Task) -> Vec<Column> {
    let [one, two, three] = task.concepts();
    let mut columns = judgments::columns(task);
    columns.retain(|column| ["triplet_id", one, two, three, "order"].contains(&column.name.as_str()));
    columns
}

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
    let fields: Vec<Field> = columns(task).into_iter().map(|c| Field::new(c.name, c.data_type, c.nullable)).collect();
    let values: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(presentations.iter().map(|p| p.id(concepts.len())))),
        name(0),
        name(1),
        name(2),
        Arc::new(Int8Array::from_iter_values(presentations.iter().map(Presentation::order))),
    ];
    table::write(path, &table::batch(Schema::new(fields), values), &fingerprint.metadata(), &task.concepts())
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

/// Number of triplets in a table that [`write()`] wrote; one that is asked in several orders counts once. Eight bytes each in memory.
///
/// # Errors
/// [`Error::Format`](crate::Error::Format), [`Error::Cell`](crate::Error::Cell)
pub fn count(path: &Path) -> Result<usize> {
    let mut ids = Vec::new();
    for table in Batches::open(path, Some(&["triplet_id"]))? {
        let table = table?;
        ids.extend(table.whole("triplet_id", table.integers("triplet_id")?)?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids.len())
}
