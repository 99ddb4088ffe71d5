//! How often two respondents choose the same.

use super::Judgment;
use crate::stats::wilson_95_of;

/// Which options one respondent chose, presentation by presentation.
///
/// Sixteen bytes a presentation, so that many respondents can be held at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChoiceCounts(Vec<(i64, [u16; 3])>);

/// Two respondents' choices beside each other.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct SameChoice {
    /// Presentations, the same options in the same order, that both answered with a choice.
    pub n: usize,
    /// Probability that a choice of one and a choice of the other to the same presentation are the same, averaged over
    /// presentations; `None` where there are none.
    pub share: Option<f64>,
}

impl SameChoice {
    /// Wilson's 95 % interval of the share, presentations taken as independent.
    pub fn interval(&self) -> Option<(f64, f64)> {
        Some(wilson_95_of(self.share?, self.n as f64))
    }
}

/// What makes up [`ChoiceCounts`], judgment by judgment: repeats of one presentation together.
#[derive(Debug, Clone)]
pub struct ChoiceTally {
    n_concepts: usize,
    counts: Vec<(i64, [u16; 3])>,
}

impl ChoiceTally {
    /// Nothing counted yet, of judgments over `n_concepts` concepts.
    pub fn new(n_concepts: usize) -> Self {
        Self { n_concepts, counts: Vec::new() }
    }

    /// Counts one judgment; an answer without a choice is left out.
    pub fn add(&mut self, judgment: &Judgment) {
        let Some(option) = judgment.chosen else { return };
        // Six orders at most share a triplet's id.
        let key = judgment.presentation.id(self.n_concepts) * 6 + i64::from(judgment.presentation.order());
        if self.counts.last().is_none_or(|(last, _)| *last != key) {
            self.counts.push((key, [0; 3]));
        }
        if let Some((_, counts)) = self.counts.last_mut() {
            counts[option] = counts[option].saturating_add(1);
        }
    }

    /// The counts.
    pub fn finish(mut self) -> ChoiceCounts {
        self.counts.sort_unstable();
        self.counts.shrink_to_fit();
        ChoiceCounts(self.counts)
    }
}

impl ChoiceCounts {
    /// Compares choices about the same presentations, every repeat of one with every repeat of the other.
    pub fn same(&self, other: &Self) -> SameChoice {
        let mut theirs = other.0.iter().peekable();
        let (mut n, mut sum) = (0, 0.0);
        for (key, ours) in &self.0 {
            while theirs.next_if(|(their_key, _)| their_key < key).is_some() {}
            let Some((_, counts)) = theirs.next_if(|(their_key, _)| their_key == key) else { continue };
            let total = |counts: &[u16; 3]| counts.iter().map(|n| f64::from(*n)).sum::<f64>();
            let same: f64 = ours.iter().zip(counts).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            n += 1;
            sum += same / (total(ours) * total(counts));
        }
        SameChoice { n, share: (n > 0).then(|| sum / n as f64) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::presentations::{Presentation, Task};

    fn judgment([anchor, first, second]: [u32; 3], repeat: i16, chosen: Option<usize>) -> Judgment {
        let presentation = Presentation::new(Task::Anchored, [anchor, first, second]);
        let (decision, score_kind) = ("sample", "sequence");
        Judgment { presentation, repeat, chosen, decision, score_kind, scores: None, p: None, model: None }
    }

    #[test]
    fn same_choices_by_hand() {
        let one = [
            judgment([0, 1, 2], 0, Some(0)),
            judgment([0, 2, 1], 0, Some(0)),
            judgment([1, 0, 2], 0, Some(1)),
            judgment([2, 0, 1], 0, None),
            judgment([3, 0, 1], 0, Some(0)),
        ];
        let other = [
            judgment([3, 0, 1], 0, Some(0)),
            judgment([3, 0, 1], 1, Some(1)),
            judgment([3, 0, 1], 2, Some(1)),
            judgment([3, 0, 1], 3, None),
            judgment([0, 1, 2], 0, Some(0)),
            judgment([0, 2, 1], 0, Some(1)),
            judgment([2, 0, 1], 0, Some(1)),
        ];
        let [one, other] = [&one[..], &other].map(|judgments| {
            let mut tally = ChoiceTally::new(4);
            judgments.iter().for_each(|judgment| tally.add(judgment));
            tally.finish()
        });
        // Anchor 0 in two orders: same and not the same. Anchor 2 is answered by one alone. Anchor 3: one repeat in three.
        let same = one.same(&other);
        assert_eq!(same.n, 3);
        assert!((same.share.unwrap() - (1.0 + 0.0 + 1.0 / 3.0) / 3.0).abs() < 1e-12);
        assert_eq!(same, other.same(&one));
        assert_eq!(one.same(&one), SameChoice { n: 4, share: Some(1.0) });
        assert_eq!(one.same(&ChoiceCounts::default()), SameChoice::default());
    }
}
