//! A formula and a table become the matrices of a model: y = Xβ + Zb + ε.

use std::collections::BTreeMap;

use faer::linalg::solvers::SolveLstsq;
use faer::{Mat, MatRef};

use super::formula::{Formula, Function, Random, Term, Variable};
use super::table::{Cells, Table};
use crate::error::{Error, Result};
use crate::linalg::{from_rows, row, to_rows};
use crate::stats::mean;

/// A row of the table that is not in the model, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Name of the row.
    pub row: String,
    /// Columns of the formula that are empty there.
    pub empty: Vec<String>,
}

/// Effects that differ between the groups: row i has Σ_k `z_ik` `b_gk`, where g is its group.
#[derive(Debug, Clone)]
pub struct RandomEffects {
    /// Name of the grouping, such as `family`.
    pub group: String,
    /// Names of the effects, such as `(Intercept)`.
    pub columns: Vec<String>,
    /// Values of the effects' columns; `[n, n_columns]`.
    pub z: Mat<f64>,
    /// Names of the groups, sorted.
    pub levels: Vec<String>,
    /// The group of each row, as a place in `levels`.
    pub level_of: Vec<usize>,
}

/// The matrices of a model and the names of all that is in them.
#[derive(Debug, Clone)]
pub struct Design {
    /// The model.
    pub formula: Formula,
    /// Names of the rows used.
    pub rows: Vec<String>,
    /// Rows left out because a cell is empty.
    pub dropped: Vec<Dropped>,
    /// The response; n values.
    pub y: Vec<f64>,
    /// The fixed effects; `[n, p]`, of full column rank.
    pub x: Mat<f64>,
    /// Names of the columns of `x`, such as `(Intercept)`, `z(layers)`, `gated_mlp[yes]`.
    pub columns: Vec<String>,
    /// The term of each column of `x`, as a place in the formula's terms; nothing for the intercept.
    pub term_of: Vec<Option<usize>>,
    /// The random effects, one entry for each of the formula's.
    pub random: Vec<RandomEffects>,
}

/// What the column of ones is called.
pub const INTERCEPT: &str = "(Intercept)";

/// A column is a combination of others when what is left of it is less than this share of it. R's `lm` takes the same.
const ALIASED: f64 = 1e-7;

impl Design {
    /// The design of a formula on a table.
    ///
    /// Rows with an empty cell in a column of the formula are left out and named. `z()` and the levels of factors are over
    /// the rows used. A column of words is a factor with treatment coding: its first level in sorted order (for `C(x)` the
    /// lowest number) is the reference, and each other one has a column of zeros and ones; where the term without that
    /// factor is not in the model, as after `0 +`, all levels have one, which is R's rule.
    ///
    /// # Shapes
    /// `y`: n rows used; `x`: `[n, p]`; each random effect's `z`: `[n, k]`
    /// # Errors
    /// [`Error::Setting`] for a column that is not in the table, of the wrong kind, the same in all rows, or a combination
    /// of other columns (all of them are named); for a logarithm of what is not positive; for fewer than two groups, or as
    /// many random effects as rows. [`Error::NotFinite`] names row and column. [`Error::TooFew`] when there are no more rows
    /// than parameters
    /// # Source
    /// Chambers & Hastie (1992), Statistical Models in S, chapter 2 (coding of factors)
    pub fn new(formula: &Formula, table: &Table) -> Result<Self> {
        let columns = formula.columns();
        let cells: Vec<&Cells> = columns.iter().map(|column| table.column(column)).collect::<Result<_>>()?;
        let (mut used, mut dropped) = (vec![], vec![]);
        for at in 0..table.len() {
            let empty = columns.iter().zip(&cells).filter(|(_, cells)| cells.is_missing(at));
            let empty: Vec<String> = empty.map(|(&column, _)| column.to_owned()).collect();
            if empty.is_empty() {
                used.push(at);
            } else {
                dropped.push(Dropped { row: table.rows()[at].clone(), empty });
            }
        }
        let table = table.at(&used);
        let n = table.len();
        if n < 2 {
            return Err(Error::TooFew { what: format!("rows with {}", columns.join(", ")), found: n, needed: 2 });
        }
        let y = match values(&formula.response, &table)? {
            Values::Numbers(y) => y,
            Values::Levels { .. } => return Err(wrong(&formula.response, "a factor", "numbers, to be explained")),
        };
        if y.iter().all(|value| *value == y[0]) {
            return Err(wrong(&formula.response, "the same in all rows", "something to explain"));
        }

        let fixed = coded(formula.intercept, &formula.terms, &table)?;
        if fixed.is_empty() {
            return Err(wrong(formula, "without fixed effects", "an intercept or a column"));
        }
        let p = fixed.len();
        let x = Mat::from_fn(n, p, |i, k| fixed[k].values[i]);
        let (names, term_of): (Vec<String>, _) = fixed.into_iter().map(|column| (column.name, column.term)).unzip();
        let random: Vec<RandomEffects> =
            formula.random.iter().map(|random| random_effects(random, &table)).collect::<Result<_>>()?;
        let n_covariances: usize = random.iter().map(|effects| effects.z.ncols() * (effects.z.ncols() + 1) / 2).sum();
        if n <= p + n_covariances {
            let what = format!("rows for {} parameters of {formula}", p + n_covariances + 1);
            return Err(Error::TooFew { what, found: n, needed: p + n_covariances + 1 });
        }
        full_rank(x.as_ref(), &names)?;
        Ok(Self {
            formula: formula.clone(),
            rows: table.rows().to_vec(),
            dropped,
            y,
            x,
            columns: names,
            term_of,
            random,
        })
    }

    /// The design without some of its rows. Values of z() and the coding stay as they are.
    ///
    /// # Errors
    /// as for [`Design::new`]: what is left may no longer tell the columns apart
    pub fn without(&self, rows: &[usize]) -> Result<Self> {
        let kept: Vec<usize> = (0..self.y.len()).filter(|at| !rows.contains(at)).collect();
        let take = |x: &Mat<f64>| Mat::from_fn(kept.len(), x.ncols(), |i, k| x[(kept[i], k)]);
        let random: Vec<RandomEffects> = self
            .random
            .iter()
            .map(|effects| {
                let mut there: Vec<usize> = kept.iter().map(|&at| effects.level_of[at]).collect();
                there.sort_unstable();
                there.dedup();
                let place: BTreeMap<usize, usize> = there.iter().enumerate().map(|(new, &old)| (old, new)).collect();
                RandomEffects {
                    z: take(&effects.z),
                    levels: there.iter().map(|&level| effects.levels[level].clone()).collect(),
                    level_of: kept.iter().map(|&at| place[&effects.level_of[at]]).collect(),
                    ..effects.clone()
                }
            })
            .collect();
        let design = Self {
            y: kept.iter().map(|&at| self.y[at]).collect(),
            rows: kept.iter().map(|&at| self.rows[at].clone()).collect(),
            x: take(&self.x),
            random,
            ..self.clone()
        };
        full_rank(design.x.as_ref(), &design.columns)?;
        design.random.iter().try_for_each(|effects| check_groups(effects, kept.len()))?;
        Ok(design)
    }
}

fn wrong(field: &impl ToString, found: &str, expected: &str) -> Error {
    Error::Setting { field: field.to_string(), found: found.to_owned(), expected: expected.to_owned() }
}

/// A variable over the rows used.
enum Values {
    Numbers(Vec<f64>),
    /// Names of the levels, the reference first, and the level of each row.
    Levels {
        names: Vec<String>,
        of: Vec<usize>,
    },
}

fn values(variable: &Variable, table: &Table) -> Result<Values> {
    let complete = "rows with an empty cell were left out";
    match table.column(&variable.column)? {
        Cells::Levels(cells) => {
            if let Some(function) = variable.functions.iter().find(|function| **function != Function::Factor) {
                return Err(wrong(variable, "a function of words", &format!("numbers, for {function:?}")));
            }
            levels(cells.iter().map(|cell| cell.clone().expect(complete)).collect(), Ord::cmp, variable)
        }
        Cells::Numbers(cells) => {
            let mut numbers: Vec<f64> = cells.iter().map(|cell| cell.expect(complete)).collect();
            if let Some(at) = numbers.iter().position(|value| !value.is_finite()) {
                let what = format!("column {:?} of {}", variable.column, table.rows()[at]);
                return Err(Error::NotFinite { what });
            }
            if variable.functions == [Function::Factor] {
                let order = |a: &String, b: &String| {
                    let number = |text: &String| text.parse::<f64>().expect("a number that was written out");
                    number(a).total_cmp(&number(b))
                };
                return levels(numbers.iter().map(f64::to_string).collect(), order, variable);
            }
            for function in variable.functions.iter().rev() {
                apply(*function, &mut numbers, variable, table.rows())?;
            }
            Ok(Values::Numbers(numbers))
        }
    }
}

fn levels(
    cells: Vec<String>,
    order: impl Fn(&String, &String) -> std::cmp::Ordering,
    variable: &Variable,
) -> Result<Values> {
    let mut names = cells.clone();
    names.sort_by(order);
    names.dedup();
    if names.len() < 2 {
        return Err(wrong(variable, &format!("{:?} in all rows used", names[0]), "at least two levels"));
    }
    let of = cells.iter().map(|cell| names.iter().position(|name| name == cell).expect("each cell is a level"));
    Ok(Values::Levels { of: of.collect(), names })
}

fn apply(function: Function, numbers: &mut [f64], variable: &Variable, rows: &[String]) -> Result<()> {
    let logarithm = match function {
        Function::Log => f64::ln,
        Function::Log2 => f64::log2,
        Function::Log10 => f64::log10,
        Function::Z => {
            let n = numbers.len() as f64;
            let centre = mean(numbers);
            let sd = (numbers.iter().map(|x| (x - centre).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
            if sd <= f64::EPSILON * n.sqrt() * centre.abs() {
                return Err(wrong(variable, "the same in all rows used", "numbers that differ"));
            }
            numbers.iter_mut().for_each(|x| *x = (*x - centre) / sd);
            return Ok(());
        }
        Function::Factor => unreachable!("the parser lets C() stand alone only, and levels are made before"),
    };
    if let Some(at) = numbers.iter().position(|x| *x <= 0.0) {
        let found = format!("a logarithm of {} in {}", numbers[at], rows[at]);
        return Err(wrong(variable, &found, "positive numbers"));
    }
    numbers.iter_mut().for_each(|x| *x = logarithm(*x));
    Ok(())
}

struct Column {
    name: String,
    values: Vec<f64>,
    term: Option<usize>,
}

/// The columns of some terms.
fn coded(intercept: bool, terms: &[Term], table: &Table) -> Result<Vec<Column>> {
    let ones = |name: &str, term| Column { name: name.to_owned(), values: vec![1.0; table.len()], term };
    let mut columns: Vec<Column> = intercept.then(|| ones(INTERCEPT, None)).into_iter().collect();
    for (at, term) in terms.iter().enumerate() {
        let mut product = vec![ones("", Some(at))];
        for variable in &term.0 {
            let others: Vec<Variable> = term.0.iter().filter(|other| *other != variable).cloned().collect();
            let margin = if others.is_empty() { intercept } else { terms.contains(&Term(others)) };
            let factor = match values(variable, table)? {
                Values::Numbers(values) => vec![(variable.to_string(), values)],
                Values::Levels { names, of } => {
                    let indicator = |level| of.iter().map(|&of| f64::from(u8::from(of == level))).collect();
                    let first = usize::from(margin);
                    (first..names.len())
                        .map(|level| (format!("{variable}[{}]", names[level]), indicator(level)))
                        .collect()
                }
            };
            product = factor
                .iter()
                .flat_map(|(name, values)| product.iter().map(move |column| column.times(name, values)))
                .collect();
        }
        columns.extend(product);
    }
    Ok(columns)
}

impl Column {
    fn times(&self, name: &str, values: &[f64]) -> Self {
        Self {
            name: if self.name.is_empty() { name.to_owned() } else { format!("{}:{name}", self.name) },
            values: self.values.iter().zip(values).map(|(a, b)| a * b).collect(),
            term: self.term,
        }
    }
}

fn random_effects(random: &Random, table: &Table) -> Result<RandomEffects> {
    let columns = coded(random.intercept, &random.terms, table)?;
    let labels = |group: &String| -> Result<Vec<String>> {
        let complete = "rows with an empty cell were left out";
        Ok(match table.column(group)? {
            Cells::Levels(cells) => cells.iter().map(|cell| cell.clone().expect(complete)).collect(),
            Cells::Numbers(cells) => cells.iter().map(|cell| cell.expect(complete).to_string()).collect(),
        })
    };
    let parts: Vec<Vec<String>> = random.groups.iter().map(labels).collect::<Result<_>>()?;
    let labels: Vec<String> =
        (0..table.len()).map(|i| parts.iter().map(|part| part[i].as_str()).collect::<Vec<_>>().join(":")).collect();
    let mut levels = labels.clone();
    levels.sort();
    levels.dedup();
    let effects = RandomEffects {
        group: random.groups.join(":"),
        z: Mat::from_fn(table.len(), columns.len(), |i, k| columns[k].values[i]),
        level_of: labels
            .iter()
            .map(|label| levels.binary_search(label).expect("each label is among the sorted ones"))
            .collect(),
        columns: columns.into_iter().map(|column| column.name).collect(),
        levels,
    };
    check_groups(&effects, table.len())?;
    full_rank(effects.z.as_ref(), &effects.columns)?;
    Ok(effects)
}

/// Fewer than two groups have no variance, and as many effects as rows leave none for the residuals.
fn check_groups(effects: &RandomEffects, n: usize) -> Result<()> {
    let (group, n_groups, n_columns) = (&effects.group, effects.levels.len(), effects.z.ncols());
    if n_groups < 2 {
        return Err(wrong(group, &format!("{:?} in all rows used", effects.levels[0]), "at least two groups"));
    }
    if n_groups * n_columns >= n {
        let found = format!("{n_groups} groups with {n_columns} random effects each, for {n} rows");
        return Err(wrong(group, &found, "fewer random effects than rows"));
    }
    Ok(())
}

/// Refuses columns that are combinations of the columns before them, and says of which.
fn full_rank(x: MatRef<'_, f64>, names: &[String]) -> Result<()> {
    let mut aliased = vec![];
    let mut kept: Vec<usize> = vec![];
    let norm = |column: &[f64]| column.iter().map(|value| value * value).sum::<f64>().sqrt();
    for k in 0..x.ncols() {
        let column = row(x.transpose(), k);
        let size = norm(&column);
        if size == 0.0 {
            aliased.push(format!("{} is zero in all rows", names[k]));
            continue;
        }
        let (coefficients, left) = least_squares(x, &kept, &column)?;
        if kept.len() < x.nrows() && norm(&left) > ALIASED * size {
            kept.push(k);
            continue;
        }
        let share = |(&j, c): (&usize, &f64)| {
            let part = c.abs() * norm(&row(x.transpose(), j));
            (part > ALIASED * size).then(|| names[j].clone())
        };
        let of: Vec<String> = kept.iter().zip(&coefficients).filter_map(share).collect();
        aliased.push(match of.as_slice() {
            [one] if one == INTERCEPT => format!("{} is the same in all rows", names[k]),
            _ => format!("{} is a combination of {}", names[k], of.join(", ")),
        });
    }
    if aliased.is_empty() {
        return Ok(());
    }
    Err(wrong(&"design", &aliased.join("; "), "columns of which none follows from the others"))
}

/// Whether a column is a combination of those of a matrix.
pub(super) fn is_combination(column: &[f64], of: MatRef<'_, f64>) -> Result<bool> {
    let (_, left) = least_squares(of, &(0..of.ncols()).collect::<Vec<_>>(), column)?;
    let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
    Ok(square(&left) <= ALIASED * ALIASED * square(column))
}

/// Coefficients of some columns for a vector, by QR, and what they leave of it.
fn least_squares(x: MatRef<'_, f64>, columns: &[usize], y: &[f64]) -> Result<(Vec<f64>, Vec<f64>)> {
    if columns.is_empty() || columns.len() > x.nrows() {
        return Ok((vec![0.0; columns.len()], y.to_vec()));
    }
    let rows: Vec<Vec<f64>> = to_rows(x).iter().map(|row| columns.iter().map(|&k| row[k]).collect()).collect();
    let a = from_rows(&rows)?;
    let y_matrix = Mat::from_fn(y.len(), 1, |i, _| y[i]);
    let solution = a.qr().solve_lstsq(&y_matrix);
    let coefficients: Vec<f64> = (0..columns.len()).map(|k| solution[(k, 0)]).collect();
    let left = |i: usize| y[i] - coefficients.iter().enumerate().map(|(k, c)| a[(i, k)] * c).sum::<f64>();
    let left = (0..y.len()).map(left).collect();
    Ok((coefficients, left))
}
