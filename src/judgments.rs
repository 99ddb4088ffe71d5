//! One answered presentation, and what many of them say about the quality of a respondent's answers.

mod compared;
mod transitivity;

use std::collections::HashMap;

pub use compared::{ChoiceCounts, ChoiceTally, SameChoice};
pub use transitivity::{AnchoredChoice, Transitivity, TransitivityTally};

use crate::presentations::{Presentation, Task};

/// One answered presentation. What a respondent cannot have is `None`; what each option has, in the order shown, is a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgment {
    /// What was asked.
    pub presentation: Presentation,
    /// Which repetition of the same presentation.
    pub repeat: i16,
    /// The option that was chosen, or named the odd one; `None` if the answer does not say.
    pub chosen: Option<usize>,
    /// How the choice was made: `argmax`, `sample`, `generate` or `simulated`.
    pub decision: &'static str,
    /// What decided: a score kind, `cosine`, `generate` or `simulated`.
    pub score_kind: &'static str,
    /// The numbers that decided.
    pub scores: Option<Vec<f32>>,
    /// Probability of each option under the decision.
    pub p: Option<Vec<f32>>,
    /// What a language model adds.
    pub model: Option<ModelScores>,
}

/// The part of a judgment that only a language model has, log-probabilities in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelScores {
    /// Scores of the options; `None` where the model answered freely.
    pub options: Option<OptionScores>,
    /// What the model answered, left free.
    pub answer: Option<Answer>,
    /// What the model would most probably have said first.
    pub top_token: String,
    /// Its id.
    pub top_token_id: i32,
    /// Its log-probability.
    pub top_log_prob: f32,
    /// Unicode characters of each option.
    pub n_chars: Vec<i16>,
    /// UTF-8 bytes of each option.
    pub n_bytes: Vec<i16>,
    /// Tokens of the prompt.
    pub n_prompt_tokens: i32,
}

/// A free answer and how it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The text, trimmed.
    pub response: String,
    /// `parsed`, or `unparsed` with the reason.
    pub parse: &'static str,
}

/// How probable the options are, in nats.
#[derive(Debug, Clone, PartialEq)]
pub struct OptionScores {
    /// Log-probability of each option after the prompt.
    pub log_prob: Vec<f32>,
    /// Whether the closing token is included.
    pub closed: bool,
    /// Log-probability of each option after the neutral prompt.
    pub prior: Vec<f32>,
    /// Of two options, softmax over `log_prob`: probability of the first.
    pub p_first: Option<f32>,
    /// Of two options, probability of the first under step-by-step renormalisation.
    pub p_first_greedy: Option<f32>,
    /// Probability that the answer is one of the options.
    pub choice_mass: f32,
    /// Tokens of each option as written.
    pub n_tokens: Vec<i16>,
}

/// As many orders as three concepts can be shown in.
const MAX_ORDERS: usize = 6;

/// How choices depend on the order in which options are shown, counted judgment by judgment: those under one anchor together.
///
/// Memory grows with the judgments under one anchor; of odd-one-out triplets, which have none, with all of them.
#[derive(Debug, Clone)]
pub struct OrderTally {
    task: Task,
    /// Number of judgments.
    pub n: usize,
    /// Those with a choice.
    pub n_chosen: usize,
    /// Those that chose the option at each place.
    pub n_at: Vec<usize>,
    /// Pairs of orders of the anchors before this one.
    settled: Pairs,
    anchor: i64,
    /// By triplet and repeat, for each order that was answered: the rank, by id, of the option chosen.
    choices: HashMap<(i64, i16), [Option<u8>; MAX_ORDERS]>,
}

/// Pairs of orders in which the same triplet was answered.
#[derive(Debug, Clone, Copy, Default)]
struct Pairs {
    n: usize,
    n_same: usize,
}

impl OrderTally {
    /// Nothing counted yet.
    pub fn new(task: Task) -> Self {
        let n_at = vec![0; task.options().len()];
        Self { task, n: 0, n_chosen: 0, n_at, settled: Pairs::default(), anchor: 0, choices: HashMap::new() }
    }

    /// Counts one judgment: the concept shown first, which of [`Task::orders`] was shown, and at which place the option chosen
    /// stood.
    pub fn add(&mut self, first: i64, triplet_id: i64, order: i8, repeat: i16, chosen: Option<usize>) {
        if self.task == Task::Anchored && self.anchor != first {
            self.settled = self.pairs();
            self.choices.clear();
            self.anchor = first;
        }
        self.n += 1;
        let Some(place) = chosen else { return };
        self.n_chosen += 1;
        self.n_at[place] += 1;
        let order = usize::try_from(order).expect("orders are counted from 0");
        let rank = self.task.orders()[order][place];
        let rank = u8::try_from(rank).expect("there are two or three options");
        self.choices.entry((triplet_id, repeat)).or_default()[order] = Some(rank);
    }

    /// Share of choices that took the option at each place, the same for all without position bias; `None` without choices.
    pub fn place_shares(&self) -> Option<Vec<f64>> {
        let share = |n: &usize| *n as f64 / self.n_chosen as f64;
        (self.n_chosen > 0).then(|| self.n_at.iter().map(share).collect())
    }

    /// Of pairs of orders in which the same triplet was answered, how many there are and the share with the same choice.
    ///
    /// An anchored triplet asked in both orders is one pair, an odd-one-out triplet in three rotations is three.
    pub fn consistency(&self) -> (usize, Option<f64>) {
        let Pairs { n, n_same } = self.pairs();
        (n, (n > 0).then(|| n_same as f64 / n as f64))
    }

    fn pairs(&self) -> Pairs {
        let Pairs { mut n, mut n_same } = self.settled;
        for answered in self.choices.values() {
            for (order, choice) in answered.iter().enumerate().filter_map(|(order, c)| Some((order, (*c)?))) {
                for other in answered[..order].iter().flatten() {
                    n += 1;
                    n_same += usize::from(choice == *other);
                }
            }
        }
        Pairs { n, n_same }
    }
}

/// What a set of judgments says about how they were given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Quality {
    /// Number of judgments.
    pub n: usize,
    /// Those without a choice.
    pub n_unparsed: usize,
    /// Share of choices that took the option at each place: the same for all without position bias.
    pub place_shares: Option<Vec<f64>>,
    /// Median probability that the free answer is one of the options.
    pub median_choice_mass: Option<f64>,
    /// Share of choices where the model's most probable first token begins a permitted option.
    pub top_token_permitted: Option<f64>,
    /// Mean distance of the highest probability from that of a coin, as a share of the most it can be: 0 undecided, 1
    /// certain. Of two options, |2p − 1|.
    pub mean_decisiveness: Option<f64>,
    /// Of triplets asked in several orders, the share of pairs of orders with the same choice.
    pub swap_consistency: Option<f64>,
    /// Number of such pairs.
    pub n_swapped: usize,
    /// Of anchored triplets, whether the choices under one anchor can be put in an order.
    pub transitivity: Transitivity,
}

impl Quality {
    /// Share of choices that took the option at a place.
    pub fn share_at(&self, place: usize) -> Option<f64> {
        self.place_shares.as_ref()?.get(place).copied()
    }

    /// Number of judgments with a choice.
    pub fn n_chosen(&self) -> usize {
        self.n - self.n_unparsed
    }
}

/// What makes up [`Quality`], judgment by judgment: those under one anchor together.
#[derive(Debug, Clone)]
pub struct QualityTally {
    n_concepts: usize,
    orders: OrderTally,
    masses: Vec<f64>,
    permitted: Mean,
    decisiveness: Mean,
    transitivity: TransitivityTally,
}

/// A mean of what is counted one by one.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    n: usize,
    sum: f64,
}

impl Mean {
    fn add(&mut self, value: f64) {
        self.n += 1;
        self.sum += value;
    }

    fn value(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum / self.n as f64)
    }
}

impl QualityTally {
    /// Nothing counted yet, of judgments over `n_concepts` concepts.
    pub fn new(task: Task, n_concepts: usize) -> Self {
        let (permitted, decisiveness) = (Mean::default(), Mean::default());
        let (orders, transitivity) = (OrderTally::new(task), TransitivityTally::default());
        Self { n_concepts, orders, masses: Vec::new(), permitted, decisiveness, transitivity }
    }

    /// Counts one judgment. `name` gives the name of a concept, to tell whether the model's top token begins an option.
    pub fn add<'a>(&mut self, judgment: &Judgment, name: impl Fn(u32) -> &'a str) {
        let Judgment { presentation, repeat, chosen, .. } = *judgment;
        let first = i64::from(presentation.concepts()[0]);
        self.orders.add(first, presentation.id(self.n_concepts), presentation.order(), repeat, chosen);
        if let Some(model) = &judgment.model {
            self.masses.extend(model.options.as_ref().map(|options| f64::from(options.choice_mass)));
            let top = model.top_token.trim();
            let begins = |id: &u32| name(*id).starts_with(top);
            let permitted = !top.is_empty() && presentation.options().iter().any(begins);
            self.permitted.add(f64::from(u8::from(permitted)));
        }
        if let Some(p) = &judgment.p {
            self.decisiveness.add(decisiveness(p));
        }
        if let Some(choice) = anchored_choice(judgment) {
            self.transitivity.add(choice);
        }
    }

    /// What they say.
    pub fn finish(self) -> Quality {
        let (n_swapped, swap_consistency) = self.orders.consistency();
        Quality {
            n: self.orders.n,
            n_unparsed: self.orders.n - self.orders.n_chosen,
            place_shares: self.orders.place_shares(),
            median_choice_mass: crate::stats::quantile(&self.masses, 0.5).ok(),
            top_token_permitted: self.permitted.value(),
            mean_decisiveness: self.decisiveness.value(),
            swap_consistency,
            n_swapped,
            transitivity: self.transitivity.finish(),
        }
    }
}

/// What an anchored judgment chose and what it left; of odd-one-out answers there is no such thing.
fn anchored_choice(judgment: &Judgment) -> Option<AnchoredChoice> {
    let Presentation::Anchored(triplet) = judgment.presentation else { return None };
    let (chosen, left) = match judgment.chosen? {
        0 => (triplet.first, triplet.second),
        _ => (triplet.second, triplet.first),
    };
    Some(AnchoredChoice { anchor: triplet.anchor, chosen, left })
}

/// See [`Quality::mean_decisiveness`].
fn decisiveness(p: &[f32]) -> f64 {
    let (highest, coin) = (p.iter().copied().fold(0.0, f32::max), 1.0 / p.len() as f64);
    (f64::from(highest) - coin) / (1.0 - coin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_effects_by_hand() {
        let mut tally = OrderTally::new(Task::Anchored);
        assert_eq!((tally.place_shares(), tally.consistency()), (None, (0, None)));
        // Triplet 1: the smaller id in both orders. 2: the first shown in both. 3: one answer missing. 4: asked once.
        for (triplet, order, chosen) in [
            (1, 0, Some(0)),
            (1, 1, Some(1)),
            (2, 0, Some(0)),
            (2, 1, Some(0)),
            (3, 0, Some(0)),
            (3, 1, None),
            (4, 1, Some(1)),
        ] {
            tally.add(0, triplet, order, 0, chosen);
        }
        assert_eq!((tally.n, tally.n_chosen, &tally.n_at[..]), (7, 6, &[4, 2][..]));
        assert_eq!(tally.consistency(), (2, Some(0.5)));
        // Repeats are pairs of their own.
        tally.add(0, 1, 0, 1, Some(1));
        tally.add(0, 1, 1, 1, Some(0));
        assert_eq!(tally.consistency(), (3, Some(2.0 / 3.0)));
        // What is under another anchor is added to what was counted, which is not kept.
        tally.add(1, 9, 0, 0, Some(0));
        assert_eq!((tally.choices.len(), tally.consistency()), (1, (3, Some(2.0 / 3.0))));
        tally.add(1, 9, 1, 0, Some(0));
        assert_eq!(tally.consistency(), (4, Some(0.5)));
    }

    #[test]
    fn order_effects_of_three() {
        let mut tally = OrderTally::new(Task::OddOneOut);
        // Rotations 0 1 2, 1 2 0 and 2 0 1. Triplet 1: always the largest id. 2: always the first place.
        for (triplet, order, place) in [(1, 0, 2), (1, 3, 1), (1, 4, 0), (2, 0, 0), (2, 3, 0), (2, 4, 0)] {
            tally.add(i64::from(order), triplet, order, 0, Some(place));
        }
        assert_eq!(tally.place_shares().unwrap(), [4.0 / 6.0, 1.0 / 6.0, 1.0 / 6.0]);
        assert_eq!(tally.consistency(), (6, Some(0.5)));
        assert!((decisiveness(&[0.5, 0.25, 0.25]) - 0.25).abs() < 1e-12);
        assert!((decisiveness(&[0.125, 0.875]) - 0.75).abs() < 1e-12);
    }
}
