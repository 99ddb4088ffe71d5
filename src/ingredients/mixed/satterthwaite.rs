//! Tests of fixed effects with Satterthwaite's degrees of freedom.

use faer::{Mat, Side};

use super::super::design::Design;
use super::super::tails::fisher;
use super::deviance::Problem;
use super::{Fit, derivatives, symmetric_jacobian};
use crate::error::{Error, Result};
use crate::stats::two_sided;

/// A fixed effect, tested against zero.
#[derive(Debug, Clone, PartialEq)]
pub struct CoefficientTest {
    /// Its name.
    pub name: String,
    /// β
    pub estimate: f64,
    /// Its standard error.
    pub standard_error: f64,
    /// Satterthwaite's degrees of freedom.
    pub df: f64,
    /// estimate / standard error
    pub t: f64,
    /// Two-sided, from Student's t.
    pub p: f64,
    /// Two-sided, from the normal distribution (Wald's z), which is too small with few groups.
    pub p_normal: f64,
}

/// All columns of one term, tested together: that a factor, or an interaction, has no effect.
#[derive(Debug, Clone, PartialEq)]
pub struct TermTest {
    /// The term.
    pub name: String,
    /// F
    pub f: f64,
    /// Columns of the term.
    pub df1: f64,
    /// Satterthwaite's degrees of freedom of the denominator.
    pub df2: f64,
    /// P(F or larger).
    pub p: f64,
}

/// How the covariance of β varies with the variance parameters φ = (θ, σ), and how well those are known.
#[derive(Debug, Clone)]
pub struct Satterthwaite {
    /// Covariance of β.
    cov_beta: Mat<f64>,
    /// Its derivative by each φ.
    slopes: Vec<Mat<f64>>,
    /// Covariance of φ.
    cov_phi: Mat<f64>,
}

impl Satterthwaite {
    /// What degrees of freedom at a fit need.
    ///
    /// The covariance of φ is twice the inverse of the deviance's Hessian, over its positive eigenvalues.
    ///
    /// # Errors
    /// [`Error::Setting`] for a fit that did not converge, [`Error::NotFinite`] when the Hessian has no eigenvalues
    /// # Source
    /// Kuznetsova, Brockhoff & Christensen (2017), lmerTest, Journal of Statistical Software 82,
    /// <https://doi.org/10.18637/jss.v082.i13>; Satterthwaite (1946), Biometrics Bulletin 2
    pub fn new(design: &Design, fit: &Fit) -> Result<Self> {
        if !fit.converged {
            return Err(Error::Setting {
                field: design.formula.to_string(),
                found: "a fit that did not converge".to_owned(),
                expected: "a fit at the minimum of its deviance, for degrees of freedom".to_owned(),
            });
        }
        let problem = Problem::new(design);
        let p = fit.beta.len();
        let mut phi = problem.scaled(&fit.theta);
        phi.push(fit.sigma);
        // σ in units of its own, so that the steps of the differences fit.
        let unit = fit.sigma;
        let gradient = |phi: &[f64]| {
            let (sigma, theta) = phi.split_last().expect("σ is the last");
            let mut gradient = vec![0.0; phi.len()];
            problem.at_sigma(theta, sigma * unit, &mut gradient, fit.method);
            gradient[theta.len()] *= unit;
            gradient
        };
        let covariance = |phi: &[f64]| {
            let (sigma, theta) = phi.split_last().expect("σ is the last");
            let cov = problem.solve(theta).unscaled_covariance();
            (0..p * p).map(|at| (sigma * unit).powi(2) * cov[(at / p, at % p)]).collect()
        };
        phi[fit.theta.len()] = 1.0;
        let hessian = symmetric_jacobian(gradient, &phi);
        let slopes = derivatives(covariance, &phi);
        let eigen = hessian
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| Error::NotFinite { what: format!("the Hessian of the deviance of {}", design.formula) })?;
        let (vectors, values) = (eigen.U(), eigen.S());
        let cov_phi = Mat::from_fn(phi.len(), phi.len(), |i, j| {
            let share = |k: usize| 2.0 * vectors[(i, k)] * vectors[(j, k)] / values[k];
            (0..phi.len()).filter(|&k| values[k] > POSITIVE).map(share).sum::<f64>()
        });
        let slopes = slopes.iter().map(|slope| Mat::from_fn(p, p, |i, j| slope[i * p + j])).collect();
        Ok(Self { cov_beta: fit.cov_beta.clone(), slopes, cov_phi })
    }

    /// Degrees of freedom of a combination lᵀβ: 2 v² / (gᵀ A g), where v = lᵀ cov(β) l is its variance, g the derivative of v by
    /// φ and A the covariance of φ. The total of rows less columns for ordinary least squares by REML.
    ///
    /// # Shapes
    /// `l`: p numbers
    pub fn df(&self, l: &[f64]) -> f64 {
        let g: Vec<f64> = self.slopes.iter().map(|slope| quadratic(slope, l)).collect();
        2.0 * quadratic(&self.cov_beta, l).powi(2) / quadratic(&self.cov_phi, &g)
    }
}

/// An eigenvalue of the Hessian that counts as positive; lmerTest's tolerance.
const POSITIVE: f64 = 1e-8;

fn quadratic(a: &Mat<f64>, x: &[f64]) -> f64 {
    (0..x.len()).map(|i| (0..x.len()).map(|j| x[i] * a[(i, j)] * x[j]).sum::<f64>()).sum()
}

/// Each fixed effect, tested.
///
/// # Errors
/// as for [`Satterthwaite::new`]
pub fn coefficient_tests(design: &Design, fit: &Fit) -> Result<Vec<CoefficientTest>> {
    let satterthwaite = Satterthwaite::new(design, fit)?;
    let p = fit.beta.len();
    let test = |k: usize| {
        let l: Vec<f64> = (0..p).map(|i| f64::from(u8::from(i == k))).collect();
        let (df, t) = (satterthwaite.df(&l), fit.beta[k] / fit.standard_errors[k]);
        CoefficientTest {
            name: fit.columns[k].clone(),
            estimate: fit.beta[k],
            standard_error: fit.standard_errors[k],
            df,
            t,
            p: two_sided(t, Some(df)),
            p_normal: two_sided(t, None),
        }
    };
    Ok((0..p).map(test).collect())
}

/// Each term of the formula, tested: that the coefficients of all its columns are zero.
///
/// The covariance of the coefficients is turned to its principal directions; F is the mean of their t², and its denominator
/// has 2E / (E − q) degrees of freedom, E = Σ ν / (ν − 2) over the q directions' own ν.
///
/// # Errors
/// as for [`Satterthwaite::new`]
/// # Source
/// Fai & Cornelius (1996), Journal of Statistical Computation and Simulation 54; lmerTest's `contestMD`
pub fn term_tests(design: &Design, fit: &Fit) -> Result<Vec<TermTest>> {
    let satterthwaite = Satterthwaite::new(design, fit)?;
    let p = fit.beta.len();
    let test = |at: usize| {
        let of: Vec<usize> = (0..p).filter(|&k| design.term_of[k] == Some(at)).collect();
        let cov = Mat::from_fn(of.len(), of.len(), |i, j| fit.cov_beta[(of[i], of[j])]);
        let name = design.formula.terms[at].to_string();
        let eigen = cov
            .self_adjoint_eigen(Side::Lower)
            .map_err(|_| Error::NotFinite { what: format!("the covariance of the coefficients of {name}") })?;
        let (mut f, mut df) = (0.0, vec![]);
        for m in 0..of.len() {
            let mut l = vec![0.0; p];
            of.iter().enumerate().for_each(|(i, &k)| l[k] = eigen.U()[(i, m)]);
            let along: f64 = l.iter().zip(&fit.beta).map(|(l, beta)| l * beta).sum();
            f += along * along / eigen.S()[m] / of.len() as f64;
            df.push(satterthwaite.df(&l));
        }
        let (df1, df2) = (of.len() as f64, denominator(&df));
        Ok(TermTest { name, f, df1, df2, p: fisher(f, df1, df2) })
    };
    (0..design.formula.terms.len()).map(test).collect()
}

fn denominator(df: &[f64]) -> f64 {
    let q = df.len() as f64;
    if df.iter().all(|one| (one - df[0]).abs() < 1e-8 * df[0]) {
        return df[0];
    }
    if df.iter().any(|one| *one <= 2.0) {
        return 2.0;
    }
    let e: f64 = df.iter().map(|df| df / (df - 2.0)).sum();
    2.0 * e / (e - q)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{design, made};
    use super::super::{Method, fit};
    use super::*;

    #[test]
    fn least_squares_has_the_rows_less_the_columns() {
        let design = design("y ~ x + h", &made(1.0));
        let fitted = fit(&design, Method::Reml).unwrap();
        for test in coefficient_tests(&design, &fitted).unwrap() {
            // Differences of fourth order with steps of 1e-3 leave about 1e-11.
            assert!((test.df - 53.0).abs() < 1e-7, "{test:?}");
        }
        let terms = term_tests(&design, &fitted).unwrap();
        assert_eq!((terms[1].name.as_str(), terms[1].df1), ("h", 5.0));
        // F from the sums of squares without and with the factor.
        let without = fit(&self::design("y ~ x", &made(1.0)), Method::Ml).unwrap();
        let rss = |fit: &Fit| fit.residuals.iter().map(|e| e * e).sum::<f64>();
        let f = (rss(&without) - rss(&fitted)) / 5.0 / (rss(&fitted) / 53.0);
        assert!((terms[1].f - f).abs() < 1e-9 * f && (terms[1].df2 - 53.0).abs() < 1e-7, "{terms:?} {f}");
    }
}
