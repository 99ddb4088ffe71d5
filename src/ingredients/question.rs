//! What can be asked of a table of models, each with one number for an answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::comparison::{kruskal_wallis, paired, welch, welch_anova};
use super::correlation::{dependent_difference, partial, spearman};
use super::mixed::satterthwaite::coefficient_tests;
use super::mixed::{self, Method};
use super::tails::fisher;
use super::{Design, Estimate, Omnibus, Table};
use crate::error::{Error, Result};
use crate::stats::mean;

/// A question about the response, the column that says how human-like the models are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "test", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Question {
    /// Mean of the models with a level less mean of the others (Welch).
    Groups {
        /// A column of levels.
        column: String,
        /// One of them.
        level: String,
    },
    /// Whether any level differs from the others: Welch's analysis of variance, or of ranks (Kruskal–Wallis). Levels of
    /// fewer than two models are left out.
    Levels {
        /// A column of levels.
        column: String,
        /// By ranks.
        #[serde(default)]
        ranks: bool,
    },
    /// Mean of a model less the model it was made from, over the models that name one.
    Pairs {
        /// The column that names the model it was made from.
        base: String,
    },
    /// Mean step from one stage to another, over the chains that have both.
    Step {
        /// The column that names the chain of a model,
        chain: String,
        /// and its stage.
        stage: String,
        /// From this stage
        from: String,
        /// to this.
        to: String,
    },
    /// Correlation with a quantity.
    Correlation {
        /// Its column.
        with: String,
        /// Of the ranks.
        #[serde(default)]
        ranks: bool,
        /// Quantities held fixed.
        #[serde(default)]
        given: Vec<String>,
    },
    /// A coefficient of the mixed model, the others held fixed.
    Coefficient {
        /// Its name, such as `instruct[yes]` or `z(layers)`.
        term: String,
        /// Another model than that of the section.
        #[serde(default)]
        formula: Option<String>,
    },
    /// What other terms add to the variance that some explain, by least squares over the models that have all of them.
    Added {
        /// The first terms, as in a formula.
        to: String,
        /// The others.
        by: String,
    },
    /// Of two correlations with one quantity, the first less the second, over the models that have all three.
    Correlations {
        /// The quantity; the response unless named.
        #[serde(default)]
        of: Option<String>,
        /// One other, or the response,
        a: String,
        /// and another.
        b: String,
    },
}

/// What came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The number; what it is, the question says.
    #[serde(flatten)]
    pub found: Found,
    /// Rows that could not be used because a cell that is needed is empty, with its column.
    pub left_out: Vec<(String, String)>,
}

/// An effect, or a test without one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Found {
    /// With its interval.
    Effect(Estimate),
    /// That anything differs.
    Difference(Omnibus),
    /// That anything is gained.
    Gain(Gain),
}

/// Explained variance of two nested models.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// R² of the smaller model,
    pub r2: f64,
    /// and of the larger.
    pub r2_larger: f64,
    /// That the larger one's other coefficients are zero.
    #[serde(flatten)]
    pub test: Omnibus,
}

impl Question {
    /// Asks it; `formula` is the model of [`Question::Coefficient`] unless it has its own.
    ///
    /// # Errors
    /// [`Error::Setting`] for a column that is not there or of the wrong kind; those of the test
    pub fn ask(&self, table: &Table, response: &str, formula: Option<&str>) -> Result<Answer> {
        match self {
            Self::Groups { column, level } => {
                let rows = Rows::of(table, response, &[], &[column])?;
                let (mut those, mut others) = (vec![], vec![]);
                for (y, levels) in rows.response.iter().zip(&rows.levels[0]) {
                    if levels == level { those.push(*y) } else { others.push(*y) }
                }
                rows.answer(Found::Effect(welch(&those, &others)?))
            }
            Self::Levels { column, ranks } => {
                let mut rows = Rows::of(table, response, &[], &[column])?;
                let mut groups: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
                for (y, level) in rows.response.iter().zip(&rows.levels[0]) {
                    groups.entry(level).or_default().push(*y);
                }
                let alone: Vec<&str> = groups.iter().filter(|(_, g)| g.len() < 2).map(|(level, _)| *level).collect();
                for (name, level) in rows.names.iter().zip(&rows.levels[0]) {
                    if alone.contains(&level.as_str()) {
                        rows.left_out.push((name.clone(), format!("{column}: the only one of {level}")));
                    }
                }
                let groups: Vec<Vec<f64>> = groups.into_values().filter(|group| group.len() > 1).collect();
                let found = if *ranks { kruskal_wallis(&groups)? } else { welch_anova(&groups)? };
                rows.answer(Found::Difference(found))
            }
            Self::Pairs { base } => {
                let scores = scores(table, response)?;
                let (mut differences, mut left_out) = (vec![], vec![]);
                for (name, base) in table.rows().iter().zip(table.levels(base)?) {
                    let Some(base) = base else { continue };
                    match (scores.get(name.as_str()), scores.get(base.as_str())) {
                        (Some(tuned), Some(base)) => differences.push(tuned - base),
                        _ => left_out.push((name.clone(), format!("{response} of it or of {base}"))),
                    }
                }
                Ok(Answer { found: Found::Effect(paired(&differences)?), left_out })
            }
            Self::Step { chain, stage, from, to } => {
                let rows = Rows::of(table, response, &[], &[chain, stage])?;
                let mut chains: BTreeMap<&str, [Vec<f64>; 2]> = BTreeMap::new();
                for (y, (chain, stage)) in rows.response.iter().zip(rows.levels[0].iter().zip(&rows.levels[1])) {
                    for (end, at) in [from, to].into_iter().zip(0..) {
                        if stage == end {
                            chains.entry(chain).or_default()[at].push(*y);
                        }
                    }
                }
                let both = chains.values().filter(|ends| ends.iter().all(|end| !end.is_empty()));
                let steps: Vec<f64> = both.map(|[from, to]| mean(to) - mean(from)).collect();
                // Rows without a chain are no part of the question.
                Ok(Answer { found: Found::Effect(paired(&steps)?), left_out: vec![] })
            }
            Self::Correlation { with, ranks, given } => {
                let names: Vec<&str> = [with].into_iter().chain(given).map(String::as_str).collect();
                let rows = Rows::of(table, response, &names, &[])?;
                let held: Vec<&[f64]> = rows.numbers[1..].iter().map(Vec::as_slice).collect();
                let (x, y) = (&rows.numbers[0], &rows.response);
                let found = match (ranks, held.is_empty()) {
                    (false, _) => partial(x, y, &held)?,
                    (true, true) => spearman(x, y)?,
                    (true, false) => return Err(ranks_held_fixed()),
                };
                rows.answer(Found::Effect(found))
            }
            Self::Coefficient { term, formula: own } => coefficient(table, term, own.as_deref().or(formula)),
            Self::Added { to, by } => added(table, response, to, by),
            Self::Correlations { of, a, b } => {
                let of = of.as_deref().unwrap_or(response);
                let rows = Rows::of(table, of, &[a, b], &[])?;
                let found = dependent_difference(&rows.response, &rows.numbers[0], &rows.numbers[1])?;
                rows.answer(Found::Effect(found.difference))
            }
        }
    }

    /// What its number is.
    pub fn unit(&self) -> String {
        match self {
            Self::Groups { column, level } => format!("mean of {column} = {level} less mean of the others"),
            Self::Levels { column, ranks: false } => format!("F that {column} does not matter (Welch)"),
            Self::Levels { column, ranks: true } => format!("H that {column} does not matter (Kruskal–Wallis)"),
            Self::Pairs { base } => format!("mean of a model less its {base}"),
            Self::Step { from, to, .. } => format!("mean step from {from} to {to}"),
            Self::Correlation { with, ranks, given } => {
                let given = if given.is_empty() { String::new() } else { format!(", given {}", given.join(", ")) };
                format!("{} with {with}{given}", if *ranks { "Spearman correlation" } else { "correlation" })
            }
            Self::Coefficient { term, .. } => format!("coefficient of {term} in the mixed model"),
            Self::Added { to, by } => format!("R² of {to}, and with {by} too"),
            Self::Correlations { of, a, b } => {
                let of = of.as_ref().map(|of| format!(" of {of}")).unwrap_or_default();
                format!("correlation{of} with {a} less that with {b}")
            }
        }
    }
}

fn coefficient(table: &Table, term: &str, formula: Option<&str>) -> Result<Answer> {
    let formula = formula.ok_or_else(|| Error::Setting {
        field: "formula".into(),
        found: "nothing".into(),
        expected: "a model such as r2 ~ instruct + (1 | family)".into(),
    })?;
    let design = Design::new(&formula.parse()?, table)?;
    let fit = mixed::fit(&design, Method::Reml)?;
    let tests = coefficient_tests(&design, &fit)?;
    let test = tests.iter().find(|test| test.name == term).ok_or_else(|| Error::Setting {
        field: "term".into(),
        found: format!("{term:?}"),
        expected: format!("one of {}", fit.columns.join(", ")),
    })?;
    let estimate = Estimate::from_se(test.estimate, test.standard_error, Some(test.df), fit.n);
    Ok(Answer { found: Found::Effect(estimate), left_out: left_out(&design) })
}

fn added(table: &Table, response: &str, to: &str, by: &str) -> Result<Answer> {
    let larger = Design::new(&format!("{response} ~ {to} + {by}").parse()?, table)?;
    let rows: Vec<usize> = (0..table.len()).filter(|&row| larger.rows.contains(&table.rows()[row])).collect();
    let smaller = Design::new(&format!("{response} ~ {to}").parse()?, &table.at(&rows))?;
    if !(larger.random.is_empty() && smaller.random.is_empty()) {
        return Err(Error::Setting {
            field: "added".into(),
            found: format!("{to} + {by}"),
            expected: "terms without random effects".into(),
        });
    }
    let rss =
        |design: &Design| -> Result<f64> { Ok(mixed::fit(design, Method::Ml)?.residuals.iter().map(|e| e * e).sum()) };
    let (centre, n) = (mean(&larger.y), larger.y.len());
    let total: f64 = larger.y.iter().map(|y| (y - centre).powi(2)).sum();
    let (few, many) = (rss(&smaller)?, rss(&larger)?);
    let df = (larger.x.ncols() - smaller.x.ncols()) as f64;
    let df_error = (n - larger.x.ncols()) as f64;
    let statistic = (few - many).max(0.0) / df / (many / df_error);
    let test = Omnibus { statistic, df, df_error: Some(df_error), p: fisher(statistic, df, df_error), n };
    let gain = Gain { r2: 1.0 - few / total, r2_larger: 1.0 - many / total, test };
    Ok(Answer { found: Found::Gain(gain), left_out: left_out(&larger) })
}

/// The rows that a design dropped, with the columns that are empty there.
pub fn left_out(design: &Design) -> Vec<(String, String)> {
    design.dropped.iter().map(|dropped| (dropped.row.clone(), dropped.empty.join(", "))).collect()
}

fn ranks_held_fixed() -> Error {
    Error::Setting {
        field: "ranks".into(),
        found: "true beside `given`".into(),
        expected: "one of them: partial correlations are of values".into(),
    }
}

/// The response of the rows that have one.
fn scores<'a>(table: &'a Table, response: &str) -> Result<BTreeMap<&'a str, f64>> {
    let cells = table.numbers(response)?.iter();
    Ok(table.rows().iter().zip(cells).filter_map(|(name, cell)| Some((name.as_str(), (*cell)?))).collect())
}

/// The rows in which no cell that is needed is empty.
struct Rows {
    names: Vec<String>,
    response: Vec<f64>,
    numbers: Vec<Vec<f64>>,
    levels: Vec<Vec<String>>,
    left_out: Vec<(String, String)>,
}

impl Rows {
    fn of(table: &Table, response: &str, numbers: &[&str], levels: &[&String]) -> Result<Self> {
        let y = table.numbers(response)?;
        let columns: Vec<&[Option<f64>]> = numbers.iter().map(|name| table.numbers(name)).collect::<Result<_>>()?;
        let factors: Vec<&[Option<String>]> = levels.iter().map(|name| table.levels(name)).collect::<Result<_>>()?;
        let (mut whole, mut left_out) = (vec![], vec![]);
        for (row, name) in table.rows().iter().enumerate() {
            let number = columns.iter().zip(numbers).find(|(cells, _)| cells[row].is_none()).map(|(_, name)| *name);
            let level =
                factors.iter().zip(levels).find(|(cells, _)| cells[row].is_none()).map(|(_, name)| name.as_str());
            let empty = y[row].is_none().then_some(response).or(number).or(level);
            match empty {
                None => whole.push(row),
                Some(column) => left_out.push((name.clone(), column.to_owned())),
            }
        }
        let at = |cells: &[Option<f64>]| whole.iter().filter_map(|&row| cells[row]).collect();
        Ok(Self {
            names: whole.iter().map(|&row| table.rows()[row].clone()).collect(),
            response: at(y),
            numbers: columns.into_iter().map(at).collect(),
            levels: factors
                .into_iter()
                .map(|cells| whole.iter().filter_map(|&row| cells[row].clone()).collect())
                .collect(),
            left_out,
        })
    }

    fn answer(self, found: Found) -> Result<Answer> {
        Ok(Answer { found, left_out: self.left_out })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ingredients::Cells;

    fn table() -> Table {
        let text = |cells: &[&str]| {
            Cells::Levels(cells.iter().map(|cell| (!cell.is_empty()).then(|| (*cell).to_owned())).collect())
        };
        let numbers =
            |cells: &[f64]| Cells::Numbers(cells.iter().map(|cell| cell.is_finite().then_some(*cell)).collect());
        let rows = ["a", "a-it", "b", "b-it", "c", "d"];
        Table::new(
            rows.map(str::to_owned).to_vec(),
            vec![
                ("r2".into(), numbers(&[0.1, 0.3, 0.2, 0.5, f64::NAN, 0.15])),
                ("tuned".into(), text(&["no", "yes", "no", "yes", "no", "no"])),
                ("base".into(), text(&["", "a", "", "b", "", "c"])),
                ("layers".into(), numbers(&[2.0, 2.0, 4.0, 4.0, 8.0, f64::NAN])),
                ("chain".into(), text(&["A", "A", "B", "B", "B", ""])),
                ("stage".into(), text(&["base", "sft", "base", "sft", "base", "base"])),
            ],
        )
        .unwrap()
    }

    fn effect(question: &Question) -> (Estimate, Vec<(String, String)>) {
        match question.ask(&table(), "r2", None).unwrap() {
            Answer { found: Found::Effect(estimate), left_out } => (estimate, left_out),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_question_uses_the_rows_that_it_can_and_names_the_others() {
        let (groups, left_out) = effect(&Question::Groups { column: "tuned".into(), level: "yes".into() });
        assert!((groups.value - 0.25).abs() < 1e-15 && groups.n == 5);
        assert_eq!(left_out, [("c".into(), "r2".into())]);
        let (pairs, left_out) = effect(&Question::Pairs { base: "base".into() });
        assert!((pairs.value - 0.25).abs() < 1e-15 && pairs.n == 2);
        assert_eq!(left_out, [("d".into(), "r2 of it or of c".into())]);
        let [chain, stage, from, to] = ["chain", "stage", "base", "sft"].map(str::to_owned);
        let (step, _) = effect(&Question::Step { chain, stage, from, to });
        assert!((step.value - 0.25).abs() < 1e-15 && step.n == 2);
        let correlation = Question::Correlation { with: "layers".into(), ranks: false, given: vec![] };
        let (correlation, left_out) = effect(&correlation);
        assert_eq!((correlation.n, left_out.len()), (4, 2));
    }

    #[test]
    fn what_cannot_be_asked_is_an_error() {
        let ask = |question: Question| question.ask(&table(), "r2", None).unwrap_err().to_string();
        assert!(ask(Question::Pairs { base: "layers".into() }).contains("layers"));
        assert!(ask(Question::Groups { column: "tuned".into(), level: "maybe".into() }).contains("values in a group"));
        let both = Question::Correlation { with: "layers".into(), ranks: true, given: vec!["layers".into()] };
        assert!(ask(both).contains("given"));
        assert!(toml::from_str::<Question>("test = 'pairs'\nbase = 'b'\nother = 1").is_err());
    }
}
