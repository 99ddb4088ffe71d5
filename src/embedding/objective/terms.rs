//! What an objective sums over: the answers to each unordered triplet in one term, grouped by anchor, in little memory.

use std::ops::Range;

use super::Comparison;

/// Terms sorted by anchor, then options.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    /// The terms of anchor a are `starts[a]..starts[a + 1]`.
    starts: Vec<usize>,
    /// The option that most answers chose: a concept at first, its slot in the layout's list for the anchor later.
    pub(super) first: Vec<u32>,
    /// The other option.
    pub(super) second: Vec<u32>,
    /// Share of the answers that chose `first`.
    pub(super) p_first: Numbers,
    /// Weight of the answers together.
    pub(super) weight: Numbers,
    /// Σ w.
    pub(super) total_weight: f64,
    /// For each concept, whether a term names it.
    pub(super) judged: Vec<bool>,
}

/// One answer, or all answers to a triplet, brought to an order of the options.
#[derive(Clone, Copy)]
struct Term {
    first: u32,
    second: u32,
    p_first: f64,
    weight: f64,
}

impl Term {
    fn swapped(self) -> Self {
        Self { first: self.second, second: self.first, p_first: 1.0 - self.p_first, ..self }
    }
}

impl Terms {
    /// The terms of comparisons with the weights that `weight` gives to their places; those of weight 0 are left out.
    ///
    /// Comparisons of one triplet (both orders, repeats) are merged, which leaves the loss unchanged because it is linear
    /// in p. Sorting makes the terms independent of the order of the input.
    pub(super) fn new(n_concepts: usize, comparisons: &[Comparison], weight: impl Fn(usize) -> f64) -> Self {
        // Only places are grouped: the answers themselves may take most of the memory there is.
        let with_weight = || comparisons.iter().enumerate().filter(|&(place, _)| weight(place) > 0.0);
        let mut ends = vec![0; n_concepts + 1];
        with_weight().for_each(|(_, c)| ends[c.anchor as usize + 1] += 1);
        (0..n_concepts).for_each(|a| ends[a + 1] += ends[a]);
        let mut places = vec![0_u32; ends[n_concepts]];
        for (place, c) in with_weight() {
            let end = &mut ends[c.anchor as usize];
            places[*end] = u32::try_from(place).expect("2^32 comparisons take more memory than there is");
            *end += 1;
        }

        let mut terms = Self {
            starts: vec![0],
            first: vec![],
            second: vec![],
            p_first: Numbers::default(),
            weight: Numbers::default(),
            total_weight: 0.0,
            judged: vec![false; n_concepts],
        };
        let mut of_anchor = vec![];
        for anchor in 0..n_concepts {
            // Each end has moved to where the next anchor begins.
            let group = if anchor == 0 { 0 } else { ends[anchor - 1] }..ends[anchor];
            of_anchor.clear();
            of_anchor.extend(places[group].iter().map(|&place| {
                let c = &comparisons[place as usize];
                let weight = weight(place as usize);
                let term = Term { first: c.first, second: c.second, p_first: c.p_first, weight };
                if term.first < term.second { term } else { term.swapped() }
            }));
            terms.judged[anchor] |= !of_anchor.is_empty();
            terms.push(&mut of_anchor);
        }
        terms
    }

    /// Adds the terms of the next anchor.
    fn push(&mut self, answers: &mut [Term]) {
        let options = |t: &Term| (u64::from(t.first) << 32) | u64::from(t.second);
        // Numbers of 0 or more are in the order of their bits, which compare faster.
        answers.sort_unstable_by_key(|t| (options(t), t.p_first.to_bits(), t.weight.to_bits()));
        for same in answers.chunk_by(|a, b| options(a) == options(b)) {
            let mut term = same[0];
            if same.len() > 1 {
                term.weight = same.iter().map(|t| t.weight).sum();
                term.p_first = same.iter().map(|t| t.weight * t.p_first).sum::<f64>() / term.weight;
            }
            // The option that was chosen first: hard answers then share one p, which is stored once.
            let term = if term.p_first < 0.5 { term.swapped() } else { term };
            self.first.push(term.first);
            self.second.push(term.second);
            self.p_first.push(term.p_first);
            self.weight.push(term.weight);
            self.total_weight += term.weight;
            self.judged[term.first as usize] = true;
            self.judged[term.second as usize] = true;
        }
        self.starts.push(self.first.len());
    }

    pub(super) fn len(&self) -> usize {
        self.first.len()
    }

    pub(super) fn n_concepts(&self) -> usize {
        self.judged.len()
    }

    /// The terms of an anchor.
    pub(super) fn of(&self, anchor: usize) -> Range<usize> {
        self.starts[anchor]..self.starts[anchor + 1]
    }
}

/// A list of numbers in the least memory that holds them exactly.
#[derive(Debug, Clone)]
pub(super) enum Numbers {
    /// All the same.
    Same(f64, usize),
    /// In single precision.
    Single(Vec<f32>),
    /// In double precision.
    Double(Vec<f64>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::Same(1.0, 0)
    }
}

impl Numbers {
    fn push(&mut self, number: f64) {
        #[allow(clippy::cast_possible_truncation, reason = "used only where nothing is lost")]
        let single = |number: f64| Some(number as f32).filter(|single| f64::from(*single) == number);
        match self {
            Self::Same(_, 0) => *self = Self::Same(number, 1),
            Self::Same(value, n) if *value == number => *n += 1,
            Self::Single(numbers) => match single(number) {
                Some(single) => numbers.push(single),
                None => {
                    let wider = numbers.iter().map(|value| f64::from(*value)).chain([number]);
                    *self = Self::Double(wider.collect());
                }
            },
            Self::Double(numbers) => numbers.push(number),
            &mut Self::Same(value, n) => {
                *self = match (single(value), single(number)) {
                    (Some(value), Some(number)) => Self::Single([vec![value; n], vec![number]].concat()),
                    _ => Self::Double([vec![value; n], vec![number]].concat()),
                };
            }
        }
    }

    /// Copies a range of them.
    #[inline(always)]
    pub(super) fn copy(&self, range: Range<usize>, into: &mut [f64]) {
        match self {
            Self::Same(value, _) => into.fill(*value),
            Self::Single(numbers) => into.iter_mut().zip(&numbers[range]).for_each(|(to, from)| *to = f64::from(*from)),
            Self::Double(numbers) => into.copy_from_slice(&numbers[range]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_exactly_in_little_memory() {
        for (given, kind) in [
            (vec![0.1, 0.1, 0.1], "Same"),
            (vec![1.0, 1.0, 0.25], "Single"),
            (vec![1.0, 0.25, 1.0 / 3.0], "Double"),
            (vec![0.1, 0.1, 1.0], "Double"),
        ] {
            let mut numbers = Numbers::default();
            given.iter().for_each(|number| numbers.push(*number));
            let mut back = vec![0.0; given.len()];
            numbers.copy(0..given.len(), &mut back);
            assert_eq!(back, given);
            assert!(format!("{numbers:?}").starts_with(kind), "{numbers:?}");
        }
    }

    #[test]
    fn answers_to_one_triplet_become_one_term() {
        let answer =
            |anchor, first, second, p_first| Comparison { triplet: 0, anchor, first, second, p_first, weight: 1.0 };
        let answers = [answer(2, 0, 1, 0.0), answer(1, 0, 2, 1.0), answer(2, 1, 0, 1.0), answer(2, 0, 1, 1.0)];
        let terms = Terms::new(4, &answers, |_| 1.0);
        assert_eq!((terms.of(0), terms.of(1), terms.of(2), terms.of(3)), (0..0, 0..1, 1..2, 2..2));
        assert_eq!((&terms.first[..], &terms.second[..]), (&[0, 1][..], &[2, 0][..]));
        let (mut p, mut weights) = ([0.0; 2], [0.0; 2]);
        terms.p_first.copy(0..2, &mut p);
        terms.weight.copy(0..2, &mut weights);
        assert!(p[0] == 1.0 && (p[1] - 2.0 / 3.0).abs() < 1e-15, "{p:?}"); // 1 − 1/3 rounds
        assert_eq!((weights, terms.total_weight), ([1.0, 3.0], 4.0));
        assert_eq!(terms.judged, [true, true, true, false]);
        let without_the_last = Terms::new(4, &answers, |place| if place == 3 { 0.0 } else { 2.0 });
        assert_eq!(without_the_last.total_weight, 6.0);
    }
}
