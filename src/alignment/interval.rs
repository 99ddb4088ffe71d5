//! Intervals around a measure: over concepts that might have been others, and over triplets that might have been.
//!
//! A bootstrap over concepts is not valid here: a concept drawn twice lies at distance zero from itself on both sides, which raises
//! Procrustes R² and CKA above any sample of distinct concepts. Leaving concepts out does not duplicate any. `benches/coverage.rs`
//! measures how often each interval holds what it should.

use std::fmt;
use std::str::FromStr;

use faer::{Mat, MatRef};
use rand::RngExt;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::rsa::{compare, rdm, upper_triangle};
use super::{Measure, permutation};
use crate::error::{Error, Result};
use crate::seed::Streams;
use crate::stats::{mean, quantile, student_quantile};

/// How an interval is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IntervalMethod {
    /// No interval.
    None,
    /// [`jackknife`].
    Jackknife,
    /// [`subsample`].
    Subsample,
    /// [`of_refits`].
    Refits,
    /// [`bootstrap`], of RSA alone.
    Bootstrap,
}

impl IntervalMethod {
    /// Every method.
    pub const ALL: [Self; 5] = [Self::None, Self::Jackknife, Self::Subsample, Self::Refits, Self::Bootstrap];

    /// What is reported unless told otherwise.
    pub const DEFAULT: Self = Self::Jackknife;

    /// The name used in settings and columns.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Jackknife => "jackknife",
            Self::Subsample => "subsample",
            Self::Refits => "refits",
            Self::Bootstrap => "bootstrap",
        }
    }

    /// What an interval of this kind says, for tables.
    pub fn described(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Jackknife => "delete-one jackknife over concepts, 95 %",
            Self::Subsample => "half-samples of concepts, 95 %, bias-corrected",
            Self::Refits => "refits of resampled triplets, 95 %",
            Self::Bootstrap => "bootstrap over concepts, self-pairs left out, 95 %",
        }
    }

    /// The interval of a measure between x and y, and no interval where none is asked for.
    ///
    /// # Shapes
    /// `x`: `[n, d]`; `y`: `[n, k]`; `refits`: of y, `[n, k]` each, for [`IntervalMethod::Refits`]
    /// # Errors
    /// those of the method's own function
    pub fn of(
        self,
        measure: Measure,
        x: MatRef<'_, f64>,
        y: MatRef<'_, f64>,
        refits: &[Mat<f64>],
        seed: u64,
    ) -> Result<Option<Interval>> {
        Ok(Some(match self {
            Self::None => return Ok(None),
            Self::Jackknife => jackknife(measure, x, y)?,
            Self::Subsample => subsample(measure, x, y, N_DRAWS, seed)?,
            Self::Bootstrap => bootstrap(measure, x, y, N_DRAWS, seed)?,
            Self::Refits => {
                let values =
                    refits.par_iter().map(|refit| measure.value(x, refit.as_ref())).collect::<Result<Vec<_>>>()?;
                of_refits(measure.value(x, y)?, &values)?
            }
        }))
    }
}

impl fmt::Display for IntervalMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for IntervalMethod {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(|| Error::Setting {
            field: "interval".to_owned(),
            found: name.to_owned(),
            expected: Self::ALL.map(Self::name).join(", "),
        })
    }
}

/// A nominal 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub lo: f64,
    /// Upper end.
    pub hi: f64,
    /// The value less its estimated bias, where the method estimates one.
    pub corrected: Option<f64>,
    /// Standard error.
    pub se: f64,
}

/// Draws of [`subsample`] and [`bootstrap`] unless told otherwise: the ends of the interval move by a twentieth of its width between seeds.
pub const N_DRAWS: usize = 400;

const COVERAGE: f64 = 0.95;

/// Delete-one jackknife over concepts.
///
/// θ_(i) without concept i: corrected = nθ − (n − 1) mean θ_(i), se² = (n − 1)/n Σ(θ_(i) − mean)², and the interval is θ ± t se
/// with n − 1 degrees of freedom: it is about the value of n concepts drawn likewise. Shifted to `corrected` it is about the population's,
/// from which Procrustes R² and biased CKA of n concepts differ by a bias in 1/n. The
/// standard error is right for measures that change smoothly with the coordinates: not for neighbours.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::Setting`] for a measure that jumps, and those of [`Measure::value`], for one concept fewer
/// # Source
/// Quenouille (1956), Notes on bias in estimation; Tukey (1958), Bias and confidence in not quite large samples
pub fn jackknife(measure: Measure, x: MatRef<'_, f64>, y: MatRef<'_, f64>) -> Result<Interval> {
    if matches!(measure, Measure::NeighbourOverlap { .. }) {
        return Err(unfit(
            IntervalMethod::Jackknife,
            measure,
            "subsample, for a measure that jumps when a neighbour changes",
        ));
    }
    let n = x.nrows();
    let value = measure.value(x, y)?;
    let without = |left_out: usize| {
        let kept: Vec<usize> = (0..n).filter(|i| *i != left_out).collect();
        measure.value(rows(x, &kept).as_ref(), rows(y, &kept).as_ref())
    };
    let values: Vec<f64> = (0..n).into_par_iter().map(without).collect::<Result<_>>()?;
    let (centre, n) = (mean(&values), n as f64);
    let se = ((n - 1.0) / n * values.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>()).sqrt();
    let corrected = n * value - (n - 1.0) * centre;
    let t = student_quantile(0.5 + COVERAGE / 2.0, Some(n - 1.0));
    Ok(Interval { lo: value - t * se, hi: value + t * se, corrected: Some(corrected), se })
}

/// Delete-half subsampling of concepts.
///
/// θ_b of b = ⌊n/2⌋ concepts drawn without replacement. √(bn/(n − b)) (θ_b − θ) has the distribution of √n (θ − truth) in the limit, its
/// centre with it: a bias c/n of θ is c/b in θ_b, which for halves is twice as much, so that the interval θ − f q, f = √(b/(n − b)), with the
/// quantiles q of θ_b − θ corrects for it. It asks for no smoothness.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::Setting`] for fewer than 2 draws, and those of [`Measure::value`], for half the concepts
/// # Source
/// Politis & Romano (1994), Large sample confidence regions based on subsamples under minimal assumptions; the factor for b near n as in
/// Politis, Romano & Wolf (1999), Subsampling, section 10.3
pub fn subsample(
    measure: Measure,
    x: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    n_draws: usize,
    seed: u64,
) -> Result<Interval> {
    check_draws(n_draws)?;
    let n = x.nrows();
    let half = n / 2;
    let value = measure.value(x, y)?;
    let streams = Streams::new(seed, "subsample");
    let draw = |k: usize| {
        let kept = &permutation(&streams, k as u64, n)[..half];
        Ok(measure.value(rows(x, kept).as_ref(), rows(y, kept).as_ref())? - value)
    };
    let roots: Vec<f64> = (0..n_draws).into_par_iter().map(draw).collect::<Result<_>>()?;
    let factor = (half as f64 / (n - half) as f64).sqrt();
    let end = |q: f64| Ok::<_, Error>(value - factor * quantile(&roots, q)?);
    let tail = (1.0 - COVERAGE) / 2.0;
    let corrected = value - factor * mean(&roots);
    Ok(Interval { lo: end(1.0 - tail)?, hi: end(tail)?, corrected: Some(corrected), se: factor * spread(&roots) })
}

/// Refits of resampled triplets: how much the value would move had other triplets been asked about the same concepts.
///
/// value ± t sd(refits), with one degree of freedom fewer than refits. Not the refits' own quantiles: each refit sees a share of the triplets
/// twice and others never, so that it is noisier than the fit itself, and further from any reference.
///
/// # Errors
/// [`Error::TooFew`] for fewer than 2 refits
/// # Source
/// Efron & Tibshirani (1993), An introduction to the bootstrap, section 13.3 (the standard normal interval)
pub fn of_refits(value: f64, refits: &[f64]) -> Result<Interval> {
    if refits.len() < 2 {
        return Err(Error::TooFew { what: "refits for an interval".to_owned(), found: refits.len(), needed: 2 });
    }
    let se = spread(refits);
    let t = student_quantile(0.5 + COVERAGE / 2.0, Some(refits.len() as f64 - 1.0));
    Ok(Interval { lo: value - t * se, hi: value + t * se, corrected: None, se })
}

/// Bootstrap over concepts, for RSA alone: concepts are drawn with replacement, pairs of a concept with itself are left out, and the
/// interval goes from the 2.5 % to the 97.5 % quantile of the draws.
///
/// # Shapes
/// `x`: `[n, d]`; `y`: `[n, k]`
/// # Errors
/// [`Error::Setting`] for any other measure, for which duplicates are not left out, for a whitened correlation and for fewer than 2
/// draws; those of [`Measure::value`]
/// # Source
/// Nili et al. (2014), A toolbox for representational similarity analysis
pub fn bootstrap(
    measure: Measure,
    x: MatRef<'_, f64>,
    y: MatRef<'_, f64>,
    n_draws: usize,
    seed: u64,
) -> Result<Interval> {
    check_draws(n_draws)?;
    let n = x.nrows();
    let streams = Streams::new(seed, "concept bootstrap");
    let draws: Vec<Vec<usize>> = (0..n_draws)
        .map(|k| {
            let mut rng = streams.rng(k as u64);
            (0..n).map(|_| rng.random_range(0..n)).collect()
        })
        .collect();
    let values = resampled(measure, x, y, &draws)?;
    let tail = (1.0 - COVERAGE) / 2.0;
    let (lo, hi) = (quantile(&values, tail)?, quantile(&values, 1.0 - tail)?);
    Ok(Interval { lo, hi, corrected: None, se: spread(&values) })
}

/// RSA of given draws of concepts, pairs of a concept with itself left out.
///
/// # Errors
/// as for [`bootstrap`]
/// # Panics
/// when a draw names a concept that is not there
pub fn resampled(measure: Measure, x: MatRef<'_, f64>, y: MatRef<'_, f64>, draws: &[Vec<usize>]) -> Result<Vec<f64>> {
    let Measure::Rsa { distance, correlation } = measure else {
        return Err(unfit(
            IntervalMethod::Bootstrap,
            measure,
            "jackknife or subsample: a concept drawn twice raises every measure but RSA, whose self-pairs can be left out",
        ));
    };
    super::check_pair(x, y, 3)?;
    let [x, y] = [rdm(x, distance)?, rdm(y, distance)?];
    let value = |draw: &Vec<usize>| {
        let of = |rdm: &Mat<f64>| {
            let drawn = Mat::from_fn(draw.len(), draw.len(), |i, j| match draw[i] == draw[j] {
                true => f64::NAN,
                false => rdm[(draw[i], draw[j])],
            });
            let pairs = upper_triangle(drawn.as_ref());
            pairs.into_iter().filter(|distance| !distance.is_nan()).collect::<Vec<_>>()
        };
        compare(&of(&x), &of(&y), correlation)
    };
    draws.par_iter().map(value).collect()
}

fn unfit(method: IntervalMethod, measure: Measure, expected: &str) -> Error {
    let (field, found) = ("interval".to_owned(), format!("{method} for {measure}"));
    Error::Setting { field, found, expected: expected.to_owned() }
}

fn check_draws(n_draws: usize) -> Result<()> {
    if n_draws < 2 {
        let (field, found) = ("draws".to_owned(), n_draws.to_string());
        return Err(Error::Setting { field, found, expected: "2 or more".to_owned() });
    }
    Ok(())
}

/// Standard deviation, one degree of freedom given to the mean.
fn spread(values: &[f64]) -> f64 {
    let centre = mean(values);
    (values.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / (values.len() as f64 - 1.0)).sqrt()
}

fn rows(x: MatRef<'_, f64>, kept: &[usize]) -> Mat<f64> {
    Mat::from_fn(kept.len(), x.ncols(), |i, k| x[(kept[i], k)])
}
