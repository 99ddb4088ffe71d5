//! Alignments in Parquet: one row for each respondent, fit, reference and measure.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::Result;
use crate::store::manifest::Fingerprint;
use crate::store::table::{self, Table};

/// How human-like one embedding is by one measure.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlignmentRow {
    /// Label of the respondent.
    pub respondent: String,
    /// Which fit of its judgments.
    pub fit: String,
    /// Name of the reference.
    pub reference: String,
    /// Key of the measure, such as `procrustes_r2`.
    pub measure: String,
    /// What the key leaves open.
    pub variant: String,
    /// The value.
    pub value: f64,
    /// Lower end of the interval.
    pub lo: Option<f64>,
    /// Upper end of the interval.
    pub hi: Option<f64>,
    /// How the interval was made.
    pub interval: Option<String>,
    /// Mean over permutations of the concepts.
    pub null_mean: Option<f64>,
    /// Share of permutations at least as aligned: (1 + count) / (1 + n).
    pub p: Option<f64>,
    /// Mean value of simulated subjects with the reference's geometry that are as accurate as this respondent under the same
    /// fit.
    pub ceiling: Option<f64>,
    /// Mean value of coin-flip subjects under the same fit.
    pub chance: Option<f64>,
    /// (value − chance) / (ceiling − chance), not clipped; none where the lowest subject behind the ceiling is not above the highest
    /// behind chance.
    pub normalised: Option<f64>,
    /// Number of concepts compared.
    pub n: usize,
    /// The lowest of the subjects behind `ceiling`.
    pub ceiling_lo: Option<f64>,
    /// The highest of them.
    pub ceiling_hi: Option<f64>,
    /// How their noise was found and how close their held-out accuracy came to the respondent's.
    pub ceiling_match: Option<String>,
    /// The lowest of the coins behind `chance`.
    pub chance_lo: Option<f64>,
    /// The highest of them.
    pub chance_hi: Option<f64>,
    /// The value less its bias as an estimate of the population's, where the interval's method estimates one.
    pub corrected: Option<f64>,
    /// Mean value over several subjects instead of the reference: what the noise ceiling bounds.
    pub subject_mean: Option<f64>,
    /// Lower bound of the subjects' noise ceiling, where the measure has one.
    pub noise_ceiling_lo: Option<f64>,
    /// Its upper bound.
    pub noise_ceiling_hi: Option<f64>,
}

/// Writes the rows in their order.
///
/// # Errors
/// [`Error::Io`](crate::Error::Io).
pub fn write(path: &Path, rows: &[AlignmentRow], fingerprint: &Fingerprint) -> Result<()> {
    let field = Field::new;
    let schema = Schema::new(vec![
        field("respondent", DataType::Utf8, false),
        field("fit", DataType::Utf8, false),
        field("reference", DataType::Utf8, false),
        field("measure", DataType::Utf8, false),
        field("variant", DataType::Utf8, false),
        field("value", DataType::Float64, false),
        field("lo", DataType::Float64, true),
        field("hi", DataType::Float64, true),
        field("interval", DataType::Utf8, true),
        field("null_mean", DataType::Float64, true),
        field("p", DataType::Float64, true),
        field("ceiling", DataType::Float64, true),
        field("chance", DataType::Float64, true),
        field("normalised", DataType::Float64, true),
        field("n", DataType::Int32, false),
        field("ceiling_lo", DataType::Float64, true),
        field("ceiling_hi", DataType::Float64, true),
        field("ceiling_match", DataType::Utf8, true),
        field("chance_lo", DataType::Float64, true),
        field("chance_hi", DataType::Float64, true),
        field("corrected", DataType::Float64, true),
        field("subject_mean", DataType::Float64, true),
        field("noise_ceiling_lo", DataType::Float64, true),
        field("noise_ceiling_hi", DataType::Float64, true),
    ]);
    let text = |value: fn(&AlignmentRow) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
    };
    let number = |value: fn(&AlignmentRow) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<Float64Array>())
    };
    let columns: Vec<ArrayRef> = vec![
        text(|r| &r.respondent),
        text(|r| &r.fit),
        text(|r| &r.reference),
        text(|r| &r.measure),
        text(|r| &r.variant),
        number(|r| Some(r.value)),
        number(|r| r.lo),
        number(|r| r.hi),
        Arc::new(rows.iter().map(|r| r.interval.as_deref()).collect::<StringArray>()),
        number(|r| r.null_mean),
        number(|r| r.p),
        number(|r| r.ceiling),
        number(|r| r.chance),
        number(|r| r.normalised),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| i32::try_from(r.n).expect("few concepts")))),
        number(|r| r.ceiling_lo),
        number(|r| r.ceiling_hi),
        Arc::new(rows.iter().map(|r| r.ceiling_match.as_deref()).collect::<StringArray>()),
        number(|r| r.chance_lo),
        number(|r| r.chance_hi),
        number(|r| r.corrected),
        number(|r| r.subject_mean),
        number(|r| r.noise_ceiling_lo),
        number(|r| r.noise_ceiling_hi),
    ];
    table::write(path, &table::batch(schema, columns), &fingerprint.metadata(), &[])
}

/// Reads the rows back.
///
/// # Errors
/// [`Error::Format`](crate::Error::Format) naming what is missing.
pub fn read(path: &Path) -> Result<Vec<AlignmentRow>> {
    let table = Table::read(path)?;
    let names = ["respondent", "fit", "reference", "measure", "variant"].map(|name| table.names(name));
    let [respondents, fits, references, measures, variants] = names;
    let (respondents, fits, references) = (respondents?, fits?, references?);
    let (measures, variants, intervals) = (measures?, variants?, table.text("interval")?);
    let values = table.whole("value", table.numbers("value")?)?;
    let numbers = ["lo", "hi", "null_mean", "p", "ceiling", "chance", "normalised"].map(|name| table.numbers(name));
    let [lo, hi, null_mean, p, ceiling, chance, normalised] = numbers;
    let (lo, hi, null_mean, p) = (lo?, hi?, null_mean?, p?);
    let (ceiling, chance, normalised) = (ceiling?, chance?, normalised?);
    let n = table.whole("n", table.integers("n")?)?;
    // Columns that files of the first alike do not have.
    let has = |name: &str| table.columns().iter().any(|column| column == name);
    let later = |name: &str| if has(name) { table.numbers(name) } else { Ok(vec![None; table.len()]) };
    let [ceiling_lo, ceiling_hi, chance_lo, chance_hi, corrected] =
        ["ceiling_lo", "ceiling_hi", "chance_lo", "chance_hi", "corrected"].map(later);
    let (ceiling_lo, ceiling_hi, chance_lo, chance_hi) = (ceiling_lo?, ceiling_hi?, chance_lo?, chance_hi?);
    let corrected = corrected?;
    let [subject_mean, noise_ceiling_lo, noise_ceiling_hi] =
        ["subject_mean", "noise_ceiling_lo", "noise_ceiling_hi"].map(later);
    let (subject_mean, noise_ceiling_lo, noise_ceiling_hi) = (subject_mean?, noise_ceiling_lo?, noise_ceiling_hi?);
    let ceiling_match = if has("ceiling_match") { table.text("ceiling_match")? } else { vec![None; table.len()] };
    let row = |i: usize| AlignmentRow {
        respondent: respondents[i].clone(),
        fit: fits[i].clone(),
        reference: references[i].clone(),
        measure: measures[i].clone(),
        variant: variants[i].clone(),
        value: values[i],
        lo: lo[i],
        hi: hi[i],
        interval: intervals[i].clone(),
        null_mean: null_mean[i],
        p: p[i],
        ceiling: ceiling[i],
        chance: chance[i],
        normalised: normalised[i],
        n: usize::try_from(n[i]).unwrap_or_default(),
        ceiling_lo: ceiling_lo[i],
        ceiling_hi: ceiling_hi[i],
        ceiling_match: ceiling_match[i].clone(),
        chance_lo: chance_lo[i],
        chance_hi: chance_hi[i],
        corrected: corrected[i],
        subject_mean: subject_mean[i],
        noise_ceiling_lo: noise_ceiling_lo[i],
        noise_ceiling_hi: noise_ceiling_hi[i],
    };
    Ok((0..table.len()).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_survive_the_round_trip() {
        let row = AlignmentRow {
            respondent: "me".into(),
            measure: "procrustes_r2".into(),
            value: 0.25,
            p: Some(0.001),
            n: 128,
            ceiling_lo: Some(0.4),
            ceiling_match: Some("3 subjects".into()),
            corrected: Some(0.21),
            noise_ceiling_hi: Some(0.6),
            ..AlignmentRow::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alignment.parquet");
        write(&path, std::slice::from_ref(&row), &Fingerprint::default()).unwrap();
        assert_eq!(read(&path).unwrap(), [row]);
    }

    #[test]
    fn tables_of_earlier_versions_are_still_read() {
        let row = AlignmentRow { respondent: "me".into(), value: 0.25, n: 3, ..AlignmentRow::default() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("alignment.parquet");
        write(&path, std::slice::from_ref(&row), &Fingerprint::default()).unwrap();
        let whole = Table::read(&path).unwrap();
        // Before the noise ceilings, and of the first version.
        for n_later in [3, 9] {
            table::write(&path, &whole.without(n_later), &whole.metadata, &[]).unwrap();
            assert_eq!(read(&path).unwrap(), std::slice::from_ref(&row));
        }
    }
}
