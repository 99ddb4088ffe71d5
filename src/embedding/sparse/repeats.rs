//! How often respondents agree with themselves: what any prediction of odd-one-out answers can reach.

use serde::Serialize;

use super::terms::Term;

/// Agreement among the answers to triplets that were asked several times (in any order).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Repeats {
    /// Triplets with two or more answers.
    pub n_triplets: usize,
    /// Their answers.
    pub n_answers: usize,
    /// Mean over them of Σ n_q (n_q − 1) / (N (N − 1)), n_q the answers that name place q and N all of them: the chance that
    /// two answers agree. Unbiased for Σ p_q², which is at most max p_q: a lower bound of the best accuracy there is.
    pub agreement: f64,
    /// Mean over them of max n_q / N: the share of the most frequent answer. The expected value is at least max p_q, the
    /// more so the fewer answers: an upper bound of the best accuracy there is.
    pub majority: f64,
}

/// Agreement over the triplets of `sides` that have several answers; none when there are none. Each answer must weigh one.
pub(super) fn repeats(sides: &[&[Term]]) -> Option<Repeats> {
    let (mut n_triplets, mut n_answers, mut agreement, mut majority) = (0, 0.0, 0.0, 0.0);
    for answers in sides.iter().flat_map(|terms| terms.chunk_by(|a, b| a.ids == b.ids)) {
        let n: f64 = answers.iter().map(|term| term.weight).sum();
        if n >= 2.0 {
            n_triplets += 1;
            n_answers += n;
            agreement += answers.iter().map(|t| t.weight * (t.weight - 1.0)).sum::<f64>() / (n * (n - 1.0));
            majority += answers.iter().map(|t| t.weight).fold(0.0, f64::max) / n;
        }
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let n_answers = n_answers as usize;
    let mean = |sum: f64| sum / n_triplets as f64;
    (n_triplets > 0).then(|| Repeats { n_triplets, n_answers, agreement: mean(agreement), majority: mean(majority) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_of_three_agree() {
        let term = |ids, odd, weight| Term { ids, odd, weight };
        // Two alike of three: one pair in three agrees, and the majority is two thirds; four alike agree; one alone is no repeat.
        let one = [term([0, 1, 2], 0, 2.0), term([0, 1, 2], 2, 1.0), term([0, 1, 3], 1, 1.0)];
        let other = [term([1, 2, 3], 1, 4.0)];
        let found = repeats(&[&one, &other]);
        let (agreement, majority) = ((1.0 / 3.0 + 1.0) / 2.0, (2.0 / 3.0 + 1.0) / 2.0);
        assert_eq!(found, Some(Repeats { n_triplets: 2, n_answers: 7, agreement, majority }));
        assert_eq!(repeats(&[&one[2..]]), None);
    }
}
