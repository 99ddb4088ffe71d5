//! The parametric bootstrap: what the estimates do when the fitted model is the truth.

use rayon::prelude::*;

use super::super::design::Design;
use super::deviance::Problem;
use super::likelihood_ratio::{LikelihoodRatio, likelihood_ratio};
use super::profile::Interval;
use super::{Fit, fit_from, off_the_edge};
use crate::error::Result;
use crate::seed::Streams;
use crate::stats::{permutation_p, quantile, standard_normal};

/// Estimates from responses that the fitted model drew.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// The fit's own parameters.
    pub estimates: Vec<(String, f64)>,
    /// The same of each refit that converged; NaN for the correlation of an effect that did not vary.
    pub refits: Vec<Vec<f64>>,
    /// Refits that did not converge, which are left out.
    pub n_failed: usize,
}

/// Draws responses from the fitted model, random effects anew each time, and fits each as the first was.
///
/// y* = Xβ + Zb* + ε*. The draws depend on `seed` and on their own number alone, never on the threads.
///
/// # Errors
/// as for [`fit`](super::fit)
pub fn bootstrap(design: &Design, fit: &Fit, n_draws: usize, seed: u64) -> Result<Bootstrap> {
    let streams = Streams::new(seed, "parametric bootstrap");
    let refit = |draw: usize| refit(design, fit, drawn(design, fit, &streams, draw));
    let fits: Vec<Fit> = (0..n_draws).into_par_iter().map(refit).collect::<Result<_>>()?;
    let numbers = |fit: &Fit| fit.parameters().into_iter().map(|(_, value)| value).collect::<Vec<f64>>();
    let refits: Vec<Vec<f64>> = fits.iter().filter(|fit| fit.converged).map(numbers).collect();
    Ok(Bootstrap { estimates: fit.parameters(), n_failed: n_draws - refits.len(), refits })
}

impl Bootstrap {
    /// Percentile intervals of all parameters.
    ///
    /// # Errors
    /// [`Error::TooFew`](crate::Error::TooFew) without refits
    pub fn intervals(&self, level: f64) -> Result<Vec<Interval>> {
        let tail = 0.5 * (1.0 - level);
        let of = |(k, (name, estimate)): (usize, &(String, f64))| {
            let values: Vec<f64> = self.refits.iter().map(|refit| refit[k]).filter(|value| !value.is_nan()).collect();
            let (low, high) = (quantile(&values, tail)?, quantile(&values, 1.0 - tail)?);
            Ok(Interval { name: name.clone(), estimate: *estimate, low, high })
        };
        self.estimates.iter().enumerate().map(of).collect()
    }
}

/// p of a likelihood ratio by drawing from the simpler model and fitting both, which holds with few groups and on the edge,
/// where chi squared does not: (1 + draws with a ratio as large) / (1 + draws).
///
/// # Errors
/// as for [`likelihood_ratio`]
pub fn likelihood_ratio_p(
    small: (&Design, &Fit),
    large: (&Design, &Fit),
    n_draws: usize,
    seed: u64,
) -> Result<(LikelihoodRatio, f64)> {
    let observed = likelihood_ratio(small, large)?;
    let streams = Streams::new(seed, "likelihood ratio");
    let ratio = |draw: usize| -> Result<f64> {
        let y = drawn(small.0, small.1, &streams, draw);
        let fits = (refit(small.0, small.1, y.clone())?, refit(large.0, large.1, y)?);
        Ok((fits.0.deviance() - fits.1.deviance()).max(0.0))
    };
    let null: Vec<f64> = (0..n_draws).into_par_iter().map(ratio).collect::<Result<_>>()?;
    Ok((observed, permutation_p(observed.chi2, &null)))
}

fn drawn(design: &Design, fit: &Fit, streams: &Streams, draw: usize) -> Vec<f64> {
    let mut rng = streams.rng(draw as u64);
    let mut y: Vec<f64> =
        (0..fit.n).map(|i| fit.beta.iter().enumerate().map(|(k, beta)| design.x[(i, k)] * beta).sum()).collect();
    let mut first = 0;
    for effects in &design.random {
        let k = effects.z.ncols();
        for level in 0..effects.levels.len() {
            let u: Vec<f64> = (0..k).map(|_| fit.sigma * standard_normal(&mut rng)).collect();
            let b: Vec<f64> =
                (0..k).map(|i| (0..=i).map(|j| fit.theta[first + i * (i + 1) / 2 + j] * u[j]).sum()).collect();
            for at in (0..fit.n).filter(|&at| effects.level_of[at] == level) {
                y[at] += (0..k).map(|i| effects.z[(at, i)] * b[i]).sum::<f64>();
            }
        }
        first += k * (k + 1) / 2;
    }
    y.iter_mut().for_each(|y| *y += fit.sigma * standard_normal(&mut rng));
    y
}

fn refit(design: &Design, fit: &Fit, y: Vec<f64>) -> Result<Fit> {
    let design = Design { y, ..design.clone() };
    let problem = Problem::new(&design);
    let near = off_the_edge(&problem, &problem.scaled(&fit.theta));
    let starts = [near, problem.identity(1.0)];
    fit_from(&design, &problem, fit.method, &starts)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::slopes_design;
    use super::super::{Method, fit};
    use super::*;

    #[test]
    fn draws_do_not_depend_on_threads_and_come_from_the_model() {
        let design = slopes_design();
        let fitted = fit(&design, Method::Reml).unwrap();
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| bootstrap(&design, &fitted, 60, 5)).unwrap()
        };
        let (one, three) = (on(1), on(3));
        let bits = |boot: &Bootstrap| boot.refits.iter().flatten().map(|x| x.to_bits()).collect::<Vec<u64>>();
        assert_eq!(bits(&one), bits(&three));
        assert_eq!(one.n_failed, 0);
        let slopes: Vec<f64> = one.refits.iter().map(|refit| refit[1]).collect();
        let mean = crate::stats::mean(&slopes);
        let sd = (slopes.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 59.0).sqrt();
        // 60 draws know an sd to 9 %: three times that.
        assert!((sd / fitted.standard_errors[1] - 1.0).abs() < 0.27, "{sd} {}", fitted.standard_errors[1]);
        assert!((mean - fitted.beta[1]).abs() < 3.0 * sd / 60f64.sqrt());
        let intervals = one.intervals(0.9).unwrap();
        assert_eq!(intervals.last().unwrap().name, "sigma");
        assert!(intervals.iter().all(|interval| interval.low < interval.high));
    }
}
