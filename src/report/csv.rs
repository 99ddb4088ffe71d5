//! The numbers behind each figure as CSV: full precision, an empty cell for what is not there.

use serde::Serialize;

use super::data::Kind;

/// What kind of respondent it is.
pub(super) fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Model => "model",
        Kind::Simulated => "simulated",
    }
}

/// Nothing where a number is not finite.
pub(super) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

/// A header and rows of plain values.
pub(super) fn to_csv<R: Serialize>(header: &[&str], rows: impl IntoIterator<Item = R>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    writer.write_record(header).expect("memory takes every line");
    for row in rows {
        writer.serialize(row).expect("rows are plain values, as many as the header");
    }
    writer.into_inner().expect("memory takes every line")
}
