//! Benchmarks: what they have to do with alignment and with each other.

use serde::{Deserialize, Serialize};

use super::correlation::{dependent_difference, partial, pearson, spearman};
use super::multiplicity::Adjustment;
use super::{Estimate, Table};
use crate::error::{Error, Result};

/// What is computed of two or three columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    /// Pearson correlation of a and b.
    Pearson,
    /// Spearman correlation of a and b.
    Spearman,
    /// Pearson correlation of a and b, other quantities held fixed.
    Partial,
    /// Correlation of a and b less that of a and c, with Williams' test.
    Difference,
}

impl Statistic {
    /// All.
    pub const ALL: [Self; 4] = [Self::Pearson, Self::Spearman, Self::Partial, Self::Difference];

    /// Its key in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pearson => "pearson",
            Self::Spearman => "spearman",
            Self::Partial => "partial",
            Self::Difference => "difference",
        }
    }
}

/// One statistic of two or three columns of a table of models.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Correlated {
    /// Which.
    pub statistic: Statistic,
    /// Column a, a measure of alignment where there is one among the columns.
    pub a: String,
    /// Column b.
    pub b: String,
    /// Column c of a difference.
    pub c: Option<String>,
    /// What is held fixed.
    pub given: Vec<String>,
    /// The number; none where too few models have all cells, or a column does not vary among them.
    pub estimate: Option<Estimate>,
    /// Models that have all cells.
    pub n: usize,
    /// p by Steiger's z, of a difference.
    pub steiger_p: Option<f64>,
    /// p adjusted (Holm) over all tests of the same statistic and measure; none between two benchmarks.
    pub p_holm: Option<f64>,
    /// Why there is no number.
    pub error: Option<String>,
}

/// Every correlation among measures of alignment and benchmarks, those of measures with benchmarks also with quantities held fixed,
/// and for each measure every pair of benchmarks compared.
///
/// Each uses the models that have all its cells, so that n differs between them.
///
/// # Errors
/// [`Error::Setting`] for a column that is not there or holds words, or that is named twice
/// # Source
/// [`super::correlation`]
pub fn correlations(
    table: &Table,
    measures: &[String],
    benchmarks: &[String],
    given: &[String],
) -> Result<Vec<Correlated>> {
    let all: Vec<&String> = measures.iter().chain(benchmarks).collect();
    if let Some((_, name)) = all.iter().enumerate().find(|(at, name)| all[..*at].contains(name)) {
        return Err(Error::Setting {
            field: "regress.benchmarks".into(),
            found: format!("{name:?} twice"),
            expected: "each column once".into(),
        });
    }
    all.iter().copied().chain(given).try_for_each(|name| table.numbers(name).map(|_| ()))?;
    let mut found = vec![];
    for (at, a) in all.iter().enumerate() {
        for b in &all[at + 1..] {
            for statistic in [Statistic::Pearson, Statistic::Spearman] {
                found.push(correlated(table, statistic, [a, b, ""], &[])?);
            }
        }
    }
    for measure in measures {
        for (at, b) in benchmarks.iter().enumerate() {
            if !given.is_empty() {
                found.push(correlated(table, Statistic::Partial, [measure, b, ""], given)?);
            }
            for c in &benchmarks[at + 1..] {
                found.push(correlated(table, Statistic::Difference, [measure, b, c], &[])?);
            }
        }
    }
    for measure in measures {
        for statistic in Statistic::ALL {
            let family = |row: &Correlated| {
                row.statistic == statistic && row.a == *measure && benchmarks.contains(&row.b) && row.estimate.is_some()
            };
            let places: Vec<usize> = (0..found.len()).filter(|&at| family(&found[at])).collect();
            let p: Vec<f64> = places.iter().filter_map(|&at| found[at].estimate.map(|e| e.p)).collect();
            for (&at, p) in places.iter().zip(Adjustment::Holm.adjusted(&p)) {
                found[at].p_holm = Some(p);
            }
        }
    }
    Ok(found)
}

fn correlated(table: &Table, statistic: Statistic, [a, b, c]: [&str; 3], given: &[String]) -> Result<Correlated> {
    let named = [a, b, c].into_iter().filter(|name| !name.is_empty()).chain(given.iter().map(String::as_str));
    let columns: Vec<&[Option<f64>]> = named.map(|name| table.numbers(name)).collect::<Result<_>>()?;
    let whole: Vec<usize> = (0..table.len()).filter(|&row| columns.iter().all(|cells| cells[row].is_some())).collect();
    let values: Vec<Vec<f64>> =
        columns.iter().map(|cells| whole.iter().filter_map(|&row| cells[row]).collect()).collect();
    let fixed: Vec<&[f64]> = values.iter().skip(2).map(Vec::as_slice).collect();
    let mut steiger_p = None;
    let estimate = match statistic {
        Statistic::Pearson => pearson(&values[0], &values[1]),
        Statistic::Spearman => spearman(&values[0], &values[1]),
        Statistic::Partial => partial(&values[0], &values[1], &fixed),
        Statistic::Difference => dependent_difference(&values[0], &values[1], &values[2]).map(|found| {
            steiger_p = Some(found.steiger_p);
            found.difference
        }),
    };
    // Too few models for a test is a fact about the table, and no fault of the question.
    let (estimate, error) = match estimate {
        Ok(estimate) => (Some(estimate), None),
        Err(error @ Error::TooFew { .. }) => (None, Some(error.to_string())),
        Err(error) => return Err(error),
    };
    Ok(Correlated {
        statistic,
        a: a.to_owned(),
        b: b.to_owned(),
        c: (!c.is_empty()).then(|| c.to_owned()),
        given: given.to_vec(),
        estimate,
        n: whole.len(),
        steiger_p,
        p_holm: None,
        error,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ingredients::Cells;

    fn table() -> Table {
        let numbers =
            |cells: &[f64]| Cells::Numbers(cells.iter().map(|cell| cell.is_finite().then_some(*cell)).collect());
        let rows = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).to_vec();
        Table::new(
            rows,
            vec![
                ("r2".into(), numbers(&[0.1, 0.3, 0.2, 0.5, 0.4, 0.15])),
                ("mmlu".into(), numbers(&[0.2, 0.5, 0.3, 0.6, 0.7, 0.1])),
                ("bbh".into(), numbers(&[0.3, 0.1, f64::NAN, 0.4, 0.2, 0.5])),
                ("rare".into(), numbers(&[f64::NAN, 0.1, f64::NAN, 0.4, 0.2, f64::NAN])),
                ("size".into(), numbers(&[1.0, 7.0, 3.0, 70.0, 13.0, 2.0])),
            ],
        )
        .unwrap()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn every_pair_is_asked_and_tests_of_a_measure_are_adjusted_together() {
        let found =
            correlations(&table(), &names(&["r2"]), &names(&["mmlu", "bbh", "rare"]), &names(&["size"])).unwrap();
        let of = |statistic| found.iter().filter(move |row| row.statistic == statistic);
        assert_eq!(Statistic::ALL.map(|statistic| of(statistic).count()), [6, 6, 3, 3]);
        let pearson: Vec<_> = of(Statistic::Pearson).collect();
        let mmlu = pearson.iter().find(|row| row.a == "r2" && row.b == "mmlu").unwrap();
        let expected = super::pearson(&[0.1, 0.3, 0.2, 0.5, 0.4, 0.15], &[0.2, 0.5, 0.3, 0.6, 0.7, 0.1]).unwrap();
        assert_eq!((mmlu.estimate, mmlu.n), (Some(expected), 6));
        // Two tests of the measure have a number; the smaller p counts twice.
        assert!((mmlu.p_holm.unwrap() - 2.0 * expected.p).abs() < 1e-15);
        assert!(pearson.iter().find(|row| row.a == "mmlu").unwrap().p_holm.is_none());
        let rare = pearson.iter().find(|row| row.a == "r2" && row.b == "rare").unwrap();
        assert!(rare.estimate.is_none() && rare.n == 3 && rare.error.as_ref().unwrap().contains("needed"), "{rare:?}");
    }

    #[test]
    fn columns_that_are_not_there_or_stand_twice_are_refused() {
        let error = |a: &[&str], b: &[&str]| correlations(&table(), &names(a), &names(b), &[]).unwrap_err().to_string();
        assert!(error(&["r2"], &["gpqa"]).contains("gpqa"));
        assert!(error(&["r2"], &["mmlu", "mmlu"]).contains("twice"));
    }
}
