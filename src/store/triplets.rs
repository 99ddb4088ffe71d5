//! Triplets in Parquet, and triplets from elsewhere.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int8Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::concepts::Concepts;
use crate::error::Result;
use crate::store::manifest::Fingerprint;
use crate::store::table::{self, Table};
use crate::triplets::{self, NamedTriplet, Triplet};

/// Writes triplets in their order.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn write(path: &Path, triplets: &[Triplet], concepts: &Concepts, fingerprint: &Fingerprint) -> Result<()> {
    let text = |id: fn(&Triplet) -> u32| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(triplets.iter().map(|t| concepts.name(id(t)))))
    };
    let field = |name, kind| Field::new(name, kind, false);
    let schema = Schema::new(vec![
        field("triplet_id", DataType::Int64),
        field("anchor", DataType::Utf8),
        field("first", DataType::Utf8),
        field("second", DataType::Utf8),
        field("order", DataType::Int8),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(triplets.iter().map(|t| t.id(concepts.len())))),
        text(|t| t.anchor),
        text(|t| t.first),
        text(|t| t.second),
        Arc::new(Int8Array::from_iter_values(triplets.iter().map(Triplet::order))),
    ];
    table::write(path, &table::batch(schema, columns), &fingerprint.metadata(), &["anchor", "first", "second"])
}

/// Reads `anchor, first, second` from CSV or Parquet, with the names of the columns it ignored.
///
/// # Errors
/// [`Error::Format`](crate::Error::Format) naming a missing column.
pub fn read_named(path: &Path) -> Result<(Vec<NamedTriplet>, Vec<String>)> {
    if path.extension().is_none_or(|e| e != "parquet") {
        return triplets::read_csv(path);
    }
    let table = Table::read(path)?;
    let [anchors, firsts, seconds] = [table.names("anchor")?, table.names("first")?, table.names("second")?];
    let rows = anchors.into_iter().zip(firsts).zip(seconds).map(|((a, f), s)| [a, f, s]).collect();
    let mut ignored = table.columns();
    ignored.retain(|name| !["anchor", "first", "second"].contains(&name.as_str()));
    Ok((rows, ignored))
}

/// Reads triplets over known concepts, sorted.
///
/// # Errors
/// As [`read_named`] and [`triplets::resolve`].
pub fn read(path: &Path, concepts: &Concepts) -> Result<Vec<Triplet>> {
    triplets::resolve(&read_named(path)?.0, concepts, path)
}
