//! How noisy a simulated subject must be, to agree as often as it should with its own geometry.

use faer::MatRef;

use super::closeness::{Closeness, of_pairs};
use crate::error::{Error, Result};
use crate::linalg::check_finite;
use crate::odd_one_out::OddOneOut;
use crate::presentations::{Presentation, Task};

/// The agreement that a subject must have while it looks, for `agreement` to come out with lapses in between:
/// agreement = (1 − λ) a + λ / options.
///
/// # Errors
/// [`Error::Setting`] for lapses outside 0..=1, and for an agreement that no subject with such lapses has
pub fn agreement_between_lapses(agreement: f64, lapses: f64, task: Task) -> Result<f64> {
    check_lapses(lapses)?;
    let coin = 1.0 / task.options().len() as f64;
    let most = 1.0 - lapses * (1.0 - coin);
    if agreement > coin && agreement < most {
        return Ok((agreement - lapses * coin) / (1.0 - lapses));
    }
    let coin = if task == Task::Anchored { "0.5" } else { "1/3" };
    let expected = match lapses > 0.0 {
        true => format!("above {coin} and below {most}: with lapses in {lapses} of the answers there is no more"),
        false => format!("above {coin} and below 1"),
    };
    Err(Error::Setting { field: "agreement".to_owned(), found: agreement.to_string(), expected })
}

/// Refuses shares of lapses that are none.
pub(super) fn check_lapses(lapses: f64) -> Result<()> {
    if (0.0..=1.0).contains(&lapses) {
        return Ok(());
    }
    Err(Error::Setting { field: "lapses".to_owned(), found: lapses.to_string(), expected: "0 to 1".to_owned() })
}

/// The noise at which a logistic subject is expected to agree with the noise-free order on a share of the triplets.
///
/// Solves mean of 1 / (1 + exp(−|d(anchor, first) − d(anchor, second)| / τ)) = `agreement` by bisection on log τ.
/// Triplets whose options are equally far have no order and are left out.
///
/// # Shapes
/// `reference`: `[n_concepts, n_dims]`; `triplets`: anchor, first, second
/// # Errors
/// [`Error::Setting`] for an agreement outside (0.5, 1), [`Error::TooFew`] when no triplet has an order,
/// [`Error::ShapeMismatch`] for an id outside the reference, [`Error::NotFinite`]
pub fn tau_for_agreement(reference: MatRef<'_, f64>, triplets: &[[u32; 3]], agreement: f64) -> Result<f64> {
    let asked: Vec<Presentation> = triplets.iter().map(|ids| Presentation::new(Task::Anchored, *ids)).collect();
    temperature_for_agreement(reference, Closeness::Distance, &asked, agreement)
}

/// The sensitivity β at which a subject with [`super::ResponseModel::Similarity`] is expected to name the noise-free odd one in a
/// share of odd-one-out triplets.
///
/// Solves mean of max over k of exp(−β d²(i, j)) / Σ exp(−β d²) = `agreement` by bisection on log β. Triplets without a
/// single nearest pair have no noise-free odd one and are left out.
///
/// # Shapes
/// `reference`: `[n_concepts, n_dims]`
/// # Errors
/// [`Error::Setting`] for an agreement outside (1/3, 1), [`Error::TooFew`] when no triplet has a nearest pair,
/// [`Error::ShapeMismatch`] for an id outside the reference, [`Error::NotFinite`]
pub fn beta_for_agreement(reference: MatRef<'_, f64>, triplets: &[OddOneOut], agreement: f64) -> Result<f64> {
    let asked: Vec<Presentation> = triplets.iter().map(|shown| Presentation::OddOneOut(*shown)).collect();
    Ok(1.0 / temperature_for_agreement(reference, Closeness::SquaredDistance, &asked, agreement)?)
}

/// The temperature at which the closest pair is expected to win in a share of what is asked, by bisection on its logarithm.
/// Where several pairs are closest there is nothing to agree with: such triplets are left out.
pub(super) fn temperature_for_agreement(
    reference: MatRef<'_, f64>,
    closeness: Closeness,
    asked: &[Presentation],
    agreement: f64,
) -> Result<f64> {
    let task = asked.first().map_or(Task::Anchored, Presentation::task);
    agreement_between_lapses(agreement, 0.0, task)?;
    check_ids(reference, asked)?;
    let close = closeness.within(reference);
    let leads = |shown: &Presentation| {
        let mut of = of_pairs(&close, &shown.pairs());
        of.sort_by(|a, b| b.total_cmp(a));
        let leads = [of[0] - of[1], of.get(2).map_or(f64::INFINITY, |third| of[0] - third)];
        (leads[0] > 0.0).then_some(leads)
    };
    let leads: Vec<[f64; 2]> = asked.iter().filter_map(leads).collect();
    if leads.is_empty() {
        let what = "triplets that the reference has a nearest pair for".to_owned();
        return Err(Error::TooFew { what, found: 0, needed: 1 });
    }
    let expected = |temperature: f64| {
        let p = |[one, other]: &[f64; 2]| 1.0 / (1.0 + (-one / temperature).exp() + (-other / temperature).exp());
        leads.iter().map(p).sum::<f64>() / leads.len() as f64
    };
    let largest = leads.iter().flatten().copied().filter(|lead| lead.is_finite()).fold(0.0, f64::max);
    // At e^±30 times the largest lead, agreement is a coin's and (but for the smallest leads) 1 to machine precision.
    let (mut low, mut high) = (largest.ln() - 30.0, largest.ln() + 30.0);
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        let end = if expected(middle.exp()) > agreement { &mut low } else { &mut high };
        *end = middle;
    }
    Ok(f64::midpoint(low, high).exp())
}

/// Refuses ids outside the reference, and coordinates that are not finite.
fn check_ids(reference: MatRef<'_, f64>, asked: &[Presentation]) -> Result<()> {
    check_finite(reference, "the reference of a simulated subject")?;
    let n = reference.nrows();
    let outside = |shown: &Presentation| shown.concepts().iter().any(|&id| id as usize >= n);
    match asked.iter().position(outside) {
        None => Ok(()),
        Some(row) => Err(Error::ShapeMismatch {
            what: format!("concept ids of triplet {row}"),
            found: format!("{:?}", asked[row].concepts()),
            expected: format!("below {n}, the rows of the reference"),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::respondents::closeness::line;
    use crate::respondents::{ResponseModel, SimulatedSubject};
    use crate::stats::sigmoid;

    #[test]
    fn tau_gives_the_agreement_asked_for() {
        // One lead of 2 and one of 1, and a tie that does not count.
        let triplets = [[0, 1, 2], [1, 0, 2], [0, 1, 3]];
        let tau = tau_for_agreement(line().as_ref(), &triplets, 0.88).unwrap();
        let agreement = f64::midpoint(sigmoid(2.0 / tau), sigmoid(1.0 / tau));
        assert!((agreement - 0.88).abs() < 1e-12, "{agreement}");
        assert!(matches!(tau_for_agreement(line().as_ref(), &triplets, 0.5), Err(Error::Setting { .. })));
        assert!(matches!(tau_for_agreement(line().as_ref(), &[[0, 1, 3]], 0.8), Err(Error::TooFew { .. })));
        assert!(matches!(tau_for_agreement(line().as_ref(), &[[0, 1, 4]], 0.8), Err(Error::ShapeMismatch { .. })));
    }

    #[test]
    fn beta_gives_the_agreement_asked_for() {
        let triplet = |a, b, c| OddOneOut { a, b, c };
        // Squared distances 1, 4, 9 and 1, 9, 16, and a tie that does not count.
        let triplets = [triplet(0, 1, 2), triplet(2, 3, 0), triplet(0, 1, 3)];
        let beta = beta_for_agreement(line().as_ref(), &triplets, 0.7).unwrap();
        let p = |one: f64, other: f64| 1.0 / (1.0 + (-beta * one).exp() + (-beta * other).exp());
        let agreement = f64::midpoint(p(3.0, 8.0), p(8.0, 15.0));
        assert!((agreement - 0.7).abs() < 1e-12, "{agreement}");
        let fails = |triplets: &[OddOneOut], agreement| beta_for_agreement(line().as_ref(), triplets, agreement);
        assert!(matches!(fails(&triplets, 1.0 / 3.0), Err(Error::Setting { .. })));
        assert!(matches!(fails(&triplets[2..], 0.8), Err(Error::TooFew { .. })));
        assert!(matches!(fails(&[triplet(0, 1, 4)], 0.8), Err(Error::ShapeMismatch { .. })));
    }

    #[test]
    fn lapses_and_noise_together_give_the_agreement_asked_for() {
        for (task, ids) in [(Task::Anchored, [0, 1, 2]), (Task::OddOneOut, [0, 1, 2])] {
            let asked = [Presentation::new(task, ids)];
            let between = agreement_between_lapses(0.8, 0.2, task).unwrap();
            let model = ResponseModel::with_agreement(line().as_ref(), task, &asked, between).unwrap();
            let subject = SimulatedSubject::new(line().as_ref(), model, 1).unwrap().with_lapses(0.2).unwrap();
            let closest = subject.choose(&asked[0], 0).0.into_iter().fold(0.0, f64::max);
            assert!((closest - 0.8).abs() < 1e-12, "{task:?}: {closest}");
        }
        let error = agreement_between_lapses(0.95, 0.2, Task::Anchored).unwrap_err().to_string();
        assert!(error.contains("below 0.9"), "{error}");
        assert!(agreement_between_lapses(0.34, 0.0, Task::OddOneOut).is_ok());
        assert!(agreement_between_lapses(0.34, 0.0, Task::Anchored).is_err());
    }
}
