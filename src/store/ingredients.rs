//! Answers about ingredients in Parquet: one row for each claim and variant, and one for each correlation with a benchmark.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::ingredients::benchmarks::{Correlated, Statistic};
use crate::ingredients::{Estimate, Expect, Found, Gain, Verdict};
use crate::store::manifest::Fingerprint;
use crate::store::results::{self, Column};
use crate::store::table::Table;

/// A claim, asked of one variant of the tables.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AnswerRow {
    /// Key of the claim.
    pub claim: String,
    /// What it says,
    pub says: String,
    /// and where.
    pub source: String,
    /// Name of the variant.
    pub variant: String,
    /// What the claim expects.
    pub expect: Expect,
    /// What the number is.
    pub what: String,
    /// The numbers.
    #[serde(flatten)]
    pub numbers: Numbers,
    /// p adjusted for the number of claims of the variant (Holm).
    pub p_holm: Option<f64>,
    /// Models without a cell that is needed, and its column.
    pub left_out: Vec<(String, String)>,
    /// What the data say of the claim.
    pub verdict: Option<Verdict>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// The command that asks this alone.
    pub command: String,
}

/// The numbers of an answer; nothing where a test has no such number.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Numbers {
    /// The effect, in the unit that `what` says.
    pub value: Option<f64>,
    /// Lower end of its 95 % interval.
    pub lo: Option<f64>,
    /// Upper end.
    pub hi: Option<f64>,
    /// Standard error.
    pub se: Option<f64>,
    /// Test statistic: t, z, F, H.
    pub statistic: Option<f64>,
    /// Degrees of freedom.
    pub df: Option<f64>,
    /// Those of the error, of F.
    pub df_error: Option<f64>,
    /// Two-sided p.
    pub p: Option<f64>,
    /// Rows it was made from.
    pub n: Option<usize>,
    /// R² of the smaller model,
    pub r2: Option<f64>,
    /// and of the larger.
    pub r2_larger: Option<f64>,
}

impl From<Estimate> for Numbers {
    fn from(e: Estimate) -> Self {
        Self {
            value: Some(e.value),
            lo: Some(e.lo),
            hi: Some(e.hi),
            se: e.se,
            statistic: Some(e.statistic),
            df: e.df,
            p: Some(e.p),
            n: Some(e.n),
            ..Self::default()
        }
    }
}

impl From<Found> for Numbers {
    fn from(found: Found) -> Self {
        match found {
            Found::Effect(estimate) => estimate.into(),
            Found::Difference(test) | Found::Gain(Gain { test, .. }) => {
                let gain = if let Found::Gain(gain) = found { Some(gain) } else { None };
                Self {
                    statistic: Some(test.statistic),
                    df: Some(test.df),
                    df_error: test.df_error,
                    p: Some(test.p),
                    n: Some(test.n),
                    r2: gain.map(|gain| gain.r2),
                    r2_larger: gain.map(|gain| gain.r2_larger),
                    ..Self::default()
                }
            }
        }
    }
}

/// A number's column, how to take it and where to put it.
type NumberColumn = (&'static str, fn(&Numbers) -> Option<f64>, fn(&mut Numbers) -> &mut Option<f64>);

impl Numbers {
    const COLUMNS: [NumberColumn; 10] = [
        ("value", |n| n.value, |n| &mut n.value),
        ("lo", |n| n.lo, |n| &mut n.lo),
        ("hi", |n| n.hi, |n| &mut n.hi),
        ("se", |n| n.se, |n| &mut n.se),
        ("statistic", |n| n.statistic, |n| &mut n.statistic),
        ("df", |n| n.df, |n| &mut n.df),
        ("df_error", |n| n.df_error, |n| &mut n.df_error),
        ("p", |n| n.p, |n| &mut n.p),
        ("r2", |n| n.r2, |n| &mut n.r2),
        ("r2_larger", |n| n.r2_larger, |n| &mut n.r2_larger),
    ];

    fn columns<'a>(rows: impl Iterator<Item = &'a Self> + Clone) -> impl Iterator<Item = (&'static str, Column)> {
        let n = Column::Counts(rows.clone().map(|row| row.n.and_then(|n| i64::try_from(n).ok())).collect());
        let numbers = Self::COLUMNS.into_iter();
        numbers.map(move |(name, of, _)| (name, Column::Numbers(rows.clone().map(of).collect()))).chain([("n", n)])
    }

    fn read(table: &Table) -> Result<Vec<Self>> {
        let mut rows = vec![Self::default(); table.len()];
        for (name, _, place) in Self::COLUMNS {
            for (row, value) in rows.iter_mut().zip(table.numbers(name)?) {
                *place(row) = value;
            }
        }
        for (row, n) in rows.iter_mut().zip(table.integers("n")?) {
            row.n = n.and_then(|n| usize::try_from(n).ok());
        }
        Ok(rows)
    }
}

/// Writes answers in their order.
///
/// # Errors
/// [`Error::Io`]
pub fn write(path: &Path, rows: &[AnswerRow], fingerprint: &Fingerprint) -> Result<()> {
    let text = |of: &dyn Fn(&AnswerRow) -> String| Column::Text(rows.iter().map(of).collect());
    let label = |of: &dyn Fn(&AnswerRow) -> Option<String>| Column::Labels(rows.iter().map(of).collect());
    let pair = |(model, column): &(String, String)| format!("{model}: {column}");
    let mut columns = vec![
        ("claim", text(&|row| row.claim.clone())),
        ("says", text(&|row| row.says.clone())),
        ("source", text(&|row| row.source.clone())),
        ("variant", text(&|row| row.variant.clone())),
        ("expect", text(&|row| row.expect.name().to_owned())),
        ("what", text(&|row| row.what.clone())),
    ];
    columns.extend(Numbers::columns(rows.iter().map(|row| &row.numbers)));
    columns.extend([
        ("p_holm", Column::Numbers(rows.iter().map(|row| row.p_holm).collect())),
        ("left_out", text(&|row| row.left_out.iter().map(pair).collect::<Vec<_>>().join("; "))),
        ("verdict", label(&|row| row.verdict.map(|verdict| verdict.text().to_owned()))),
        ("error", label(&|row| row.error.clone())),
        ("command", text(&|row| row.command.clone())),
    ]);
    results::write(path, &columns, fingerprint)
}

/// Reads answers back.
///
/// # Errors
/// [`Error::Format`] naming what is missing or unknown
pub fn read(path: &Path) -> Result<Vec<AnswerRow>> {
    let table = Table::read(path)?;
    let text =
        ["claim", "says", "source", "variant", "expect", "what", "left_out", "command"].map(|name| table.names(name));
    let [claims, says, sources, variants, expects, whats, left_out, commands] = text;
    let (claims, says, sources, variants) = (claims?, says?, sources?, variants?);
    let (expects, whats, left_out, commands) = (expects?, whats?, left_out?, commands?);
    let unknown = |what: &str, found: &str| Error::Format {
        path: path.into(),
        found: format!("{what} {found:?}"),
        expected: "one that this alike knows".into(),
    };
    let (verdicts, errors, p_holm) = (table.text("verdict")?, table.text("error")?, table.numbers("p_holm")?);
    let numbers = Numbers::read(&table)?;
    let pair = |text: &str| {
        let (model, column) = text.split_once(": ").unwrap_or((text, ""));
        (model.to_owned(), column.to_owned())
    };
    let row = |at: usize| {
        let verdict = verdicts[at].as_deref().map(|text| {
            Verdict::ALL.into_iter().find(|verdict| verdict.text() == text).ok_or_else(|| unknown("verdict", text))
        });
        let expect = Expect::ALL.into_iter().find(|expect| expect.name() == expects[at]);
        Ok(AnswerRow {
            claim: claims[at].clone(),
            says: says[at].clone(),
            source: sources[at].clone(),
            variant: variants[at].clone(),
            expect: expect.ok_or_else(|| unknown("expectation", &expects[at]))?,
            what: whats[at].clone(),
            numbers: numbers[at],
            p_holm: p_holm[at],
            left_out: left_out[at].split("; ").filter(|text| !text.is_empty()).map(pair).collect(),
            verdict: verdict.transpose()?,
            error: errors[at].clone(),
            command: commands[at].clone(),
        })
    };
    (0..table.len()).map(row).collect()
}

/// Writes correlations in their order.
///
/// # Errors
/// [`Error::Io`]
pub fn write_correlations(path: &Path, rows: &[Correlated], fingerprint: &Fingerprint) -> Result<()> {
    let numbers: Vec<Numbers> = rows
        .iter()
        .map(|row| Numbers { n: Some(row.n), ..row.estimate.map(Numbers::from).unwrap_or_default() })
        .collect();
    let mut columns = vec![
        ("statistic_name", Column::Text(rows.iter().map(|row| row.statistic.name().to_owned()).collect())),
        ("a", Column::Text(rows.iter().map(|row| row.a.clone()).collect())),
        ("b", Column::Text(rows.iter().map(|row| row.b.clone()).collect())),
        ("c", Column::Labels(rows.iter().map(|row| row.c.clone()).collect())),
        ("given", Column::Text(rows.iter().map(|row| row.given.join(", ")).collect())),
    ];
    columns.extend(Numbers::columns(numbers.iter()));
    columns.extend([
        ("steiger_p", Column::Numbers(rows.iter().map(|row| row.steiger_p).collect())),
        ("p_holm", Column::Numbers(rows.iter().map(|row| row.p_holm).collect())),
        ("error", Column::Labels(rows.iter().map(|row| row.error.clone()).collect())),
    ]);
    results::write(path, &columns, fingerprint)
}

/// Reads correlations back.
///
/// # Errors
/// [`Error::Format`] naming what is missing or unknown
pub fn read_correlations(path: &Path) -> Result<Vec<Correlated>> {
    let table = Table::read(path)?;
    let (names, a, b) = (table.names("statistic_name")?, table.names("a")?, table.names("b")?);
    let (c, given, errors) = (table.text("c")?, table.names("given")?, table.text("error")?);
    let (numbers, steiger_p, p_holm) = (Numbers::read(&table)?, table.numbers("steiger_p")?, table.numbers("p_holm")?);
    let row = |at: usize| -> Result<Correlated> {
        let (of, n) = (numbers[at], numbers[at].n.unwrap_or_default());
        let estimate = || {
            let (value, lo, hi, statistic, p) = (of.value?, of.lo?, of.hi?, of.statistic?, of.p?);
            Some(Estimate { value, lo, hi, se: of.se, statistic, df: of.df, p, n })
        };
        let found = Statistic::ALL.into_iter().find(|known| known.name() == names[at]);
        Ok(Correlated {
            statistic: found.ok_or_else(|| Error::Format {
                path: path.into(),
                found: format!("statistic {:?}", names[at]),
                expected: Statistic::ALL.map(Statistic::name).join(", "),
            })?,
            a: a[at].clone(),
            b: b[at].clone(),
            c: c[at].clone(),
            given: given[at].split(", ").filter(|name| !name.is_empty()).map(str::to_owned).collect(),
            estimate: estimate(),
            n,
            steiger_p: steiger_p[at],
            p_holm: p_holm[at],
            error: errors[at].clone(),
        })
    };
    (0..table.len()).map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ingredients::Omnibus;

    #[test]
    fn answers_survive_the_round_trip() {
        let test = Omnibus { statistic: 4.0, df: 2.0, df_error: Some(30.5), p: 0.03, n: 40 };
        let founds = [
            Found::Effect(Estimate::from_se(0.1, 0.05, Some(7.5), 12)),
            Found::Gain(Gain { r2: 0.5, r2_larger: 0.6, test }),
        ];
        let mut rows: Vec<AnswerRow> = founds
            .into_iter()
            .map(|found| AnswerRow {
                claim: "tuned".into(),
                says: "Tuning helps".into(),
                source: String::new(),
                variant: "as given".into(),
                expect: Expect::Positive,
                what: "a difference".into(),
                numbers: found.into(),
                p_holm: Some(0.04),
                left_out: vec![("mamba".into(), "heads".into()), ("t5".into(), "r2 of it".into())],
                verdict: Some(Verdict::SignOnly),
                error: None,
                command: "alike regress".into(),
            })
            .collect();
        rows[1].verdict = None;
        rows[1].error = Some("too few".into());
        rows[1].left_out.clear();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ingredients.parquet");
        write(&path, &rows, &Fingerprint::default()).unwrap();
        assert_eq!(read(&path).unwrap(), rows);
    }

    #[test]
    fn correlations_survive_the_round_trip() {
        let estimate = Estimate::from_se(0.3, 0.1, Some(20.0), 23);
        let row = |c: Option<&str>, estimate: Option<Estimate>| Correlated {
            statistic: Statistic::Difference,
            a: "r2".into(),
            b: "mmlu".into(),
            c: c.map(str::to_owned),
            given: vec!["size".into(), "year".into()],
            estimate,
            n: 23,
            steiger_p: Some(0.02),
            p_holm: None,
            error: estimate.is_none().then(|| "too few".into()),
        };
        let rows = [row(Some("bbh"), Some(estimate)), row(None, None)];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("benchmarks.parquet");
        write_correlations(&path, &rows, &Fingerprint::default()).unwrap();
        assert_eq!(read_correlations(&path).unwrap(), rows);
    }
}
