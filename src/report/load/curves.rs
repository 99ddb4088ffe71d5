//! What `alike learning-curve` wrote beside a study.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::{Error, Result};
use crate::report::data::{CurvePoint, Spread};
use crate::store::table::Table;

/// The points of one respondent, over the draws; none where no file is there.
pub(super) fn curve(path: &Path, label: &str) -> Result<Vec<CurvePoint>> {
    if !path.is_file() {
        return Ok(vec![]);
    }
    let table = Table::read(path)?;
    let losses = table.names("loss")?;
    let count = |name: &str| -> Result<Vec<usize>> {
        let values = table.whole(name, table.integers(name)?)?;
        let fault = |row: usize, found: i64| Error::Cell {
            path: path.into(),
            row: row + 1,
            column: name.into(),
            found: found.to_string(),
            expected: "a count".into(),
        };
        values.into_iter().enumerate().map(|(row, n)| usize::try_from(n).map_err(|_| fault(row, n))).collect()
    };
    let (sizes, heldout) = (count("n_triplets")?, count("n_heldout")?);
    let chance = table.whole("chance_accuracy", table.numbers("chance_accuracy")?)?;
    let (accuracy, r2) = (table.numbers("heldout_accuracy")?, table.numbers("procrustes_r2")?);

    let mut rows: BTreeMap<(&str, usize), Vec<usize>> = BTreeMap::new();
    for (row, (loss, size)) in losses.iter().zip(&sizes).enumerate() {
        rows.entry((loss, *size)).or_default().push(row);
    }
    let spread = |column: &[Option<f64>], rows: &[usize]| {
        Spread::of(&rows.iter().filter_map(|row| column[*row]).collect::<Vec<f64>>())
    };
    let point = |((loss, n_triplets), rows): (&(&str, usize), &Vec<usize>)| CurvePoint {
        respondent: label.to_owned(),
        loss: (*loss).to_owned(),
        n_triplets: *n_triplets,
        n_draws: rows.len(),
        n_heldout: heldout[rows[0]],
        chance: chance[rows[0]],
        accuracy: spread(&accuracy, rows),
        r2: spread(&r2, rows),
    };
    Ok(rows.iter().map(point).collect())
}
