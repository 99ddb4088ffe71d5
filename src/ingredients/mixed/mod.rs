//! The linear mixed model y = Xβ + Zb + ε, b ~ N(0, σ²ΛΛᵀ), ε ~ N(0, σ²I), by maximum likelihood or REML.

pub mod bootstrap;
pub mod collinearity;
mod deviance;
pub mod explained;
pub mod influence;
pub mod likelihood_ratio;
pub mod profile;
pub mod residuals;
pub mod satterthwaite;

use faer::Mat;

use self::deviance::{Problem, Solution};
use super::design::Design;
use crate::error::{Error, Result};
use crate::optimize::{Limits, minimize};
use crate::stats::mean;

/// What is maximised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The likelihood: variances are too small by about p / n, models with other fixed effects can be compared.
    Ml,
    /// The likelihood of what the fixed effects leave: variances are unbiased in balanced designs, and only models with the
    /// same fixed effects can be compared.
    Reml,
}

/// Estimated effects of the groups of one random term, and how they vary.
#[derive(Debug, Clone)]
pub struct Component {
    /// Name of the grouping.
    pub group: String,
    /// Names of the effects, such as `(Intercept)`.
    pub columns: Vec<String>,
    /// Standard deviation of each effect over groups, in units of the response per unit of the column.
    pub sds: Vec<f64>,
    /// Correlations of the effects; `[n_columns, n_columns]`, NaN where an effect does not vary.
    pub correlations: Mat<f64>,
    /// Names of the groups.
    pub levels: Vec<String>,
    /// Conditional means of the effects given the data (best linear unbiased predictions); `[n_levels, n_columns]`.
    pub effects: Mat<f64>,
}

/// A fitted model.
#[derive(Debug, Clone)]
pub struct Fit {
    /// What was maximised.
    pub method: Method,
    /// Names of the fixed effects, as the design has them.
    pub columns: Vec<String>,
    /// Fixed effects β.
    pub beta: Vec<f64>,
    /// Covariance of β, σ² (XᵀV⁻¹X)⁻¹ with V = I + ZΛΛᵀZᵀ at its estimate, as lme4 has it; `[p, p]`.
    pub cov_beta: Mat<f64>,
    /// Square roots of its diagonal.
    pub standard_errors: Vec<f64>,
    /// Lower triangles of Λ, row by row, one random term after the other.
    pub theta: Vec<f64>,
    /// Residual standard deviation.
    pub sigma: f64,
    /// Variance components and the groups' effects, one entry for each random term.
    pub components: Vec<Component>,
    /// Natural logarithm of the (restricted) likelihood with all constants but log |XᵀX| / 2, as lme4 and statsmodels have it.
    pub log_likelihood: f64,
    /// p + number of θ + 1.
    pub n_parameters: usize,
    /// Rows.
    pub n: usize,
    /// Xβ + Zb
    pub fitted: Vec<f64>,
    /// y − Xβ − Zb
    pub residuals: Vec<f64>,
    /// What of the variance components lies on the edge of what is possible, in words; empty where nothing does. Such a fit
    /// stands, but its random effects are simpler than the formula says, and tests that lean on their variances do too.
    pub singular: Vec<String>,
    /// Whether the gradient of the deviance is zero at the end.
    pub converged: bool,
    /// Evaluations of the deviance.
    pub n_evaluations: usize,
}

impl Fit {
    /// Every estimated number with its name: β, then `sd(effect | group)` and `cor(effect, effect | group)` of the random terms,
    /// then `sigma`.
    pub fn parameters(&self) -> Vec<(String, f64)> {
        let mut parameters: Vec<(String, f64)> =
            self.columns.iter().zip(&self.beta).map(|(name, beta)| (name.clone(), *beta)).collect();
        for component in &self.components {
            let (group, columns) = (&component.group, &component.columns);
            for (i, column) in columns.iter().enumerate() {
                parameters.push((format!("sd({column} | {group})"), component.sds[i]));
                for j in 0..i {
                    parameters
                        .push((format!("cor({}, {column} | {group})", columns[j]), component.correlations[(i, j)]));
                }
            }
        }
        parameters.push(("sigma".to_owned(), self.sigma));
        parameters
    }

    /// −2 log likelihood; of the restricted likelihood for REML.
    pub fn deviance(&self) -> f64 {
        -2.0 * self.log_likelihood
    }

    /// −2 log L + 2 k with k all parameters, variances among them. Fits by REML can be compared when their fixed effects are
    /// the same.
    pub fn aic(&self) -> f64 {
        self.deviance() + 2.0 * self.n_parameters as f64
    }

    /// −2 log L + k log n. As for [`Fit::aic`]; n is the number of rows also for REML, as lme4 has it.
    pub fn bic(&self) -> f64 {
        self.deviance() + self.n_parameters as f64 * (self.n as f64).ln()
    }
}

/// Fits the model of a design; without random effects it is ordinary least squares.
///
/// Profiled deviance, minimised over θ: log |ΛᵀZᵀZΛ + I| + n (1 + log(2π rss / n)), and for REML + log |XᵀV⁻¹X| with n − p for
/// n, where rss = min over β, u of ‖y − Xβ − ZΛu‖² + ‖u‖². σ² = rss / n, or rss / (n − p). The search is L-BFGS with the exact
/// gradient from several starts, ended by Newton steps; the deviance is even in each column of Λ, so that its edge, where a
/// variance is zero, is an ordinary stationary point. For ordinary least squares by REML the standard errors are the usual
/// ones.
///
/// # Errors
/// [`Error::Setting`] when the model explains the response exactly, which leaves no residuals to judge it by
/// # Source
/// Bates, Mächler, Bolker & Walker (2015), Fitting Linear Mixed-Effects Models Using lme4, Journal of Statistical Software 67,
/// <https://doi.org/10.18637/jss.v067.i01>, equations 30 to 42
pub fn fit(design: &Design, method: Method) -> Result<Fit> {
    let problem = Problem::new(design);
    let starts: Vec<Vec<f64>> = [1.0, 0.1, 10.0].iter().map(|size| problem.identity(*size)).collect();
    fit_from(design, &problem, method, &starts)
}

/// [`fit`] by some starts of θ, in the problem's own scale.
fn fit_from(design: &Design, problem: &Problem, method: Method, starts: &[Vec<f64>]) -> Result<Fit> {
    let centre = mean(&design.y);
    let total: f64 = design.y.iter().map(|y| (y - centre).powi(2)).sum();
    let exact = |solution: &Solution| {
        let exact = Error::Setting {
            field: design.formula.to_string(),
            found: format!("exact in all {} rows", design.y.len()),
            expected: "a model that leaves residuals".to_owned(),
        };
        if solution.rss <= EXACT * total { Err(exact) } else { Ok(()) }
    };
    exact(&problem.solve(&problem.identity(0.0)))?;
    let optimum = optimum(problem, method, starts);
    let solution = problem.solve(&optimum.theta);
    exact(&solution)?;
    Ok(described(design, problem, method, &optimum, &solution))
}

/// A share of the response's variation that is no residual.
const EXACT: f64 = 1e-14;

/// The lowest deviance found.
struct Optimum {
    theta: Vec<f64>,
    deviance: f64,
    converged: bool,
    n_evaluations: usize,
}

/// A standard deviation relative to σ, for a column of root mean square one, that counts as zero; lme4's tolerance.
const ZERO: f64 = 1e-4;
/// A gradient of the deviance that counts as zero, for each row: decreases that are left are then far below 1e-9.
const FLAT: f64 = 1e-7;

fn optimum(problem: &Problem, method: Method, starts: &[Vec<f64>]) -> Optimum {
    let limits = Limits { gradient_norm: 1e-9, relative_decrease: 1e-14, ..Limits::default() };
    let mut n_evaluations = 0;
    let mut gradient = vec![0.0; problem.n_theta()];
    let mut profiled = |theta: &[f64], gradient: &mut [f64]| {
        n_evaluations += 1;
        problem.profiled(theta, gradient, method)
    };
    let mut best: Option<(f64, Vec<f64>)> = None;
    for start in starts {
        let (theta, descent) = minimize(&mut profiled, start.clone(), &limits);
        if best.as_ref().is_none_or(|(lowest, _)| descent.objective < *lowest) {
            best = Some((descent.objective, theta));
        }
    }
    let (mut deviance, mut theta) = best.expect("there is at least one start");

    // To the last digits, which a search by values does not see.
    for _ in 0..MAX_NEWTON {
        profiled(&theta, &mut gradient);
        let size = norm(&gradient);
        let Some(step) = newton_step(problem, method, &theta, &gradient) else { break };
        let moved: Vec<f64> = theta.iter().zip(&step).map(|(theta, step)| theta - step).collect();
        let mut next = vec![0.0; theta.len()];
        let value = profiled(&moved, &mut next);
        if !(norm(&next) < size && value <= deviance + 1e-9 * deviance.abs().max(1.0)) {
            break;
        }
        (theta, deviance) = (moved, value);
    }
    // The edge itself, where it is as low.
    for block in &problem.blocks {
        for j in 0..block.n_effects {
            let mut edge = theta.clone();
            (j..block.n_effects).for_each(|i| edge[block.at(i, j)] = 0.0);
            let value = profiled(&edge, &mut gradient);
            if edge != theta && value <= deviance + 1e-10 * deviance.abs().max(1.0) {
                (theta, deviance) = (edge, value);
            }
        }
        for j in 0..block.n_effects {
            if theta[block.at(j, j)] < 0.0 {
                (j..block.n_effects).for_each(|i| theta[block.at(i, j)] *= -1.0);
            }
        }
    }
    deviance = profiled(&theta, &mut gradient);
    let n = problem.degrees_of_freedom(Method::Ml);
    Optimum { converged: norm(&gradient) <= FLAT * n, theta, deviance, n_evaluations }
}

const MAX_NEWTON: usize = 5;

/// θ from which a search can leave the edge, where the gradient is zero whether or not the edge is a minimum.
fn off_the_edge(problem: &Problem, theta: &[f64]) -> Vec<f64> {
    let mut theta = theta.to_vec();
    for block in &problem.blocks {
        for i in 0..block.n_effects {
            let entry = &mut theta[block.at(i, i)];
            *entry = entry.abs().max(0.1);
        }
    }
    theta
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// H⁻¹g, where the Hessian is positive definite.
fn newton_step(problem: &Problem, method: Method, theta: &[f64], gradient: &[f64]) -> Option<Vec<f64>> {
    if theta.is_empty() {
        return None;
    }
    let of = |theta: &[f64]| {
        let mut gradient = vec![0.0; theta.len()];
        problem.profiled(theta, &mut gradient, method);
        gradient
    };
    let hessian = symmetric_jacobian(of, theta);
    let llt = hessian.llt(faer::Side::Lower).ok()?;
    let right = Mat::from_fn(theta.len(), 1, |i, _| gradient[i]);
    let step = faer::linalg::solvers::Solve::solve(&llt, &right);
    Some((0..theta.len()).map(|i| step[(i, 0)]).collect())
}

/// Derivatives of a vector by each entry of x: entry k of the result is ∂f/∂`x_k`. Differences of fourth order, whose error is
/// (h⁴/30) times the fifth derivative; h is a thousandth of (|x| + 0.1), and the functions here vary over 0.1 and more.
fn derivatives(f: impl Fn(&[f64]) -> Vec<f64>, x: &[f64]) -> Vec<Vec<f64>> {
    let by = |k: usize| {
        let h = 1e-3 * (x[k].abs() + 0.1);
        let at = |steps: f64| {
            let mut moved = x.to_vec();
            moved[k] += steps * h;
            f(&moved)
        };
        let (a, b, c, d) = (at(-2.0), at(-1.0), at(1.0), at(2.0));
        (0..a.len()).map(|i| (a[i] - 8.0 * b[i] + 8.0 * c[i] - d[i]) / (12.0 * h)).collect()
    };
    (0..x.len()).map(by).collect()
}

/// The Hessian, from the gradient.
fn symmetric_jacobian(gradient: impl Fn(&[f64]) -> Vec<f64>, x: &[f64]) -> Mat<f64> {
    let rows = derivatives(gradient, x);
    Mat::from_fn(x.len(), x.len(), |i, j| 0.5 * (rows[i][j] + rows[j][i]))
}

/// Everything that follows from θ.
fn described(design: &Design, problem: &Problem, method: Method, optimum: &Optimum, solution: &Solution) -> Fit {
    let (n, p) = design.x.shape();
    let sigma2 = solution.rss / problem.degrees_of_freedom(method);
    let cov = solution.unscaled_covariance();
    let cov_beta = Mat::from_fn(p, p, |i, j| sigma2 * cov[(i, j)]);
    let mut fitted: Vec<f64> =
        (0..n).map(|i| solution.beta.iter().enumerate().map(|(k, beta)| design.x[(i, k)] * beta).sum()).collect();
    let (mut components, mut singular, mut theta) = (vec![], vec![], vec![]);
    let mut first = 0;
    for ((effects, block), scales) in design.random.iter().zip(&problem.blocks).zip(&problem.scales) {
        let k = block.n_effects;
        let lambda = Mat::from_fn(k, k, |i, j| if j <= i { optimum.theta[block.at(i, j)] / scales[i] } else { 0.0 });
        let b = Mat::from_fn(block.n_levels, k, |level, i| {
            (0..=i).map(|j| lambda[(i, j)] * solution.u[first + level * k + j]).sum::<f64>()
        });
        first += block.n_levels * k;
        for (at, fitted) in fitted.iter_mut().enumerate() {
            *fitted += (0..k).map(|i| effects.z[(at, i)] * b[(effects.level_of[at], i)]).sum::<f64>();
        }
        theta.extend((0..k).flat_map(|i| (0..=i).map(move |j| (i, j))).map(|(i, j)| lambda[(i, j)]));
        let component = Component {
            group: effects.group.clone(),
            columns: effects.columns.clone(),
            sds: (0..k).map(|i| sigma2.sqrt() * row_norm(&lambda, i)).collect(),
            correlations: correlations(&lambda),
            levels: effects.levels.clone(),
            effects: b,
        };
        singular.extend(on_the_edge(&component, scales, sigma2.sqrt()));
        components.push(component);
    }
    Fit {
        method,
        columns: design.columns.clone(),
        standard_errors: (0..p).map(|k| cov_beta[(k, k)].sqrt()).collect(),
        beta: solution.beta.clone(),
        cov_beta,
        n_parameters: p + theta.len() + 1,
        theta,
        sigma: sigma2.sqrt(),
        components,
        log_likelihood: -0.5 * optimum.deviance,
        n,
        residuals: design.y.iter().zip(&fitted).map(|(y, fitted)| y - fitted).collect(),
        fitted,
        singular,
        converged: optimum.converged,
        n_evaluations: optimum.n_evaluations,
    }
}

fn row_norm(lambda: &Mat<f64>, i: usize) -> f64 {
    (0..=i).map(|j| lambda[(i, j)].powi(2)).sum::<f64>().sqrt()
}

fn correlations(lambda: &Mat<f64>) -> Mat<f64> {
    Mat::from_fn(lambda.nrows(), lambda.nrows(), |a, b| {
        let inner: f64 = (0..lambda.ncols()).map(|j| lambda[(a, j)] * lambda[(b, j)]).sum();
        let size = row_norm(lambda, a) * row_norm(lambda, b);
        if size == 0.0 {
            f64::NAN
        } else if a == b {
            1.0
        } else {
            inner / size
        }
    })
}

/// What is singular about a component, in words.
fn on_the_edge(component: &Component, scales: &[f64], sigma: f64) -> Vec<String> {
    let group = &component.group;
    let mut said = vec![];
    for (i, name) in component.columns.iter().enumerate() {
        if component.sds[i] * scales[i] < ZERO * sigma {
            said.push(format!(
                "{name} does not differ between the groups of {group}: its variance is estimated as zero"
            ));
        }
        for j in 0..i {
            if component.correlations[(i, j)].abs() > 1.0 - ZERO {
                let other = &component.columns[j];
                said.push(format!(
                    "{other} and {name} of {group} correlate by {:+.0}: one follows from the other",
                    component.correlations[(i, j)]
                ));
            }
        }
    }
    if said.is_empty() && component.columns.len() > 2 {
        let eigenvalues = component.correlations.self_adjoint_eigenvalues(faer::Side::Lower).unwrap_or_default();
        if eigenvalues.first().is_some_and(|least| *least < ZERO * ZERO) {
            said.push(format!("the effects of {group} vary in fewer directions than there are effects"));
        }
    }
    said
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ingredients::{Cells, Table};
    use crate::seed::Streams;
    use crate::stats::standard_normal;

    /// 60 rows in 10 groups and 6 blocks that cross them, made from the model itself.
    pub(super) fn made(sd_group: f64) -> Table {
        let mut rng = Streams::new(3, "mixed model").rng(0);
        let mut draw = |n: usize| (0..n).map(|_| standard_normal(&mut rng)).collect::<Vec<f64>>();
        let (x, group, slope, block, noise) = (draw(60), draw(10), draw(10), draw(6), draw(60));
        let y = |i: usize| {
            let (g, h) = (i % 10, (i / 7) % 6);
            1.0 + 0.5 * x[i] + sd_group * (group[g] + 0.5 * slope[g] * x[i]) + 0.4 * block[h] + 0.5 * noise[i]
        };
        let name = |prefix: &str, of: &dyn Fn(usize) -> usize| {
            Cells::Levels((0..60).map(|i| Some(format!("{prefix}{}", of(i)))).collect())
        };
        Table::new(
            (0..60).map(|i| format!("row {i}")).collect(),
            vec![
                ("y".into(), Cells::Numbers((0..60).map(|i| Some(y(i))).collect())),
                ("x".into(), Cells::Numbers(x.iter().map(|x| Some(*x)).collect())),
                ("g".into(), name("g", &|i| i % 10)),
                ("h".into(), name("h", &|i| (i / 7) % 6)),
            ],
        )
        .unwrap()
    }

    pub(super) fn design(formula: &str, table: &Table) -> Design {
        Design::new(&formula.parse().unwrap(), table).unwrap()
    }

    pub(super) fn slopes_design() -> Design {
        design("y ~ x + (1 + x | g) + (1 | h)", &made(1.0))
    }

    #[test]
    fn a_variance_of_zero_is_found_and_said() {
        // Within each group the same four values, so that the groups' means are closer than chance.
        let y = [1.0, 2.0, 3.0, 4.5];
        let rows: Vec<String> = (0..20).map(|i| i.to_string()).collect();
        let table = Table::new(
            rows,
            vec![
                ("y".into(), Cells::Numbers((0..20).map(|i| Some(y[i % 4])).collect())),
                ("g".into(), Cells::Levels((0..20).map(|i| Some(format!("g{}", i / 4))).collect())),
            ],
        )
        .unwrap();
        for method in [Method::Ml, Method::Reml] {
            let fitted = fit(&design("y ~ 1 + (1 | g)", &table), method).unwrap();
            let plain = fit(&design("y ~ 1", &table), method).unwrap();
            assert_eq!((fitted.theta[0], fitted.components[0].sds[0]), (0.0, 0.0));
            assert!(fitted.converged && fitted.singular.len() == 1, "{:?}", fitted.singular);
            assert!((fitted.log_likelihood - plain.log_likelihood).abs() < 1e-10 && plain.singular.is_empty());
            assert!((fitted.standard_errors[0] - plain.standard_errors[0]).abs() < 1e-10);
        }
    }

    #[test]
    fn a_fit_does_not_depend_on_units_or_order() {
        let table = made(1.0);
        let text = "y ~ x + (1 + x | g) + (1 | h)";
        let here = fit(&design(text, &table), Method::Reml).unwrap();
        assert!(here.converged && here.singular.is_empty(), "{here:?}");

        let back: Vec<usize> = (0..60).rev().collect();
        let turned = fit(&design(text, &table.at(&back)), Method::Reml).unwrap();
        // y in thousandths from 7; x in units of 1e-4, which its slopes and their sd follow.
        let mut scaled = slopes_design();
        scaled.y.iter_mut().for_each(|y| *y = 7.0 + 1e3 * *y);
        (0..60).for_each(|i| {
            scaled.x[(i, 1)] *= 1e4;
            scaled.random[0].z[(i, 1)] *= 1e4;
        });
        let scaled = fit(&scaled, Method::Reml).unwrap();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-7 * (a.abs() + 1e-3), "{a} {b}");
        for (other, y, x, shift) in [(&turned, 1.0, 1.0, 0.0), (&scaled, 1e3, 1e4, 7.0)] {
            close(here.beta[0], (other.beta[0] - shift) / y);
            close(here.beta[1], other.beta[1] * x / y);
            close(here.standard_errors[1], other.standard_errors[1] * x / y);
            close(here.sigma, other.sigma / y);
            close(here.components[0].sds[0], other.components[0].sds[0] / y);
            close(here.components[0].sds[1], other.components[0].sds[1] * x / y);
            close(here.components[0].correlations[(1, 0)], other.components[0].correlations[(1, 0)]);
            close(here.components[1].sds[0], other.components[1].sds[0] / y);
            close(here.log_likelihood, other.log_likelihood + 58.0 * y.ln() + x.ln() * 1.0);
        }
    }

    #[test]
    fn a_response_without_residuals_is_refused() {
        let mut exact = slopes_design();
        exact.y = (0..60).map(|i| 2.0 + 3.0 * exact.x[(i, 1)]).collect();
        let error = fit(&exact, Method::Ml).unwrap_err().to_string();
        assert!(error.contains("y ~ x + (1 + x | g) + (1 | h)") && error.contains("exact in all 60 rows"), "{error}");
    }
}
