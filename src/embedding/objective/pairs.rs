//! Only the pairs that a term asks about, for sets in which few of all pairs are judged.

use std::ops::Range;

use super::terms::Terms;

/// The judged pairs (anchor, option), anchor by anchor, and for each concept the pairs whose option it is.
#[derive(Debug)]
pub(super) struct Pairs {
    /// The pairs of anchor a are `starts[a]..starts[a + 1]`.
    pub(super) starts: Vec<usize>,
    /// The option of each pair; ascending for each anchor.
    options: Vec<u32>,
    /// The pairs with option o are `asked_starts[o]..asked_starts[o + 1]` of the next two.
    asked_starts: Vec<usize>,
    /// Their anchors,
    asked_by: Vec<u32>,
    /// and their places among the pairs.
    asked_at: Vec<u32>,
}

impl Pairs {
    /// The pairs of terms whose options are concepts.
    pub(super) fn of(terms: &Terms) -> Self {
        let n = terms.n_concepts();
        let (mut starts, mut options) = (vec![0], vec![]);
        let mut last_seen = vec![usize::MAX; n];
        for anchor in 0..n {
            for term in terms.of(anchor) {
                for option in [terms.first[term], terms.second[term]] {
                    if last_seen[option as usize] != anchor {
                        last_seen[option as usize] = anchor;
                        options.push(option);
                    }
                }
            }
            options[starts[anchor]..].sort_unstable();
            starts.push(options.len());
        }
        let mut asked_starts = vec![0; n + 1];
        options.iter().for_each(|option| asked_starts[*option as usize + 1] += 1);
        (0..n).for_each(|o| asked_starts[o + 1] += asked_starts[o]);
        let mut next = asked_starts.clone();
        let (mut asked_by, mut asked_at) = (vec![0; options.len()], vec![0; options.len()]);
        for anchor in 0..n {
            for pair in starts[anchor]..starts[anchor + 1] {
                let place = &mut next[options[pair] as usize];
                asked_by[*place] = u32::try_from(anchor).expect("concept ids are u32");
                asked_at[*place] = u32::try_from(pair).expect("2^32 pairs take more memory than there is");
                *place += 1;
            }
        }
        Self { starts, options, asked_starts, asked_by, asked_at }
    }

    /// Number of pairs.
    pub(super) fn len(&self) -> usize {
        self.options.len()
    }

    /// Writes the place of each option in its anchor's list over the option.
    pub(super) fn number(self, terms: &mut Terms) -> Self {
        let mut slot_of = vec![0; terms.n_concepts()];
        for anchor in 0..terms.n_concepts() {
            let options = &self.options[self.starts[anchor]..self.starts[anchor + 1]];
            (0..).zip(options).for_each(|(slot, option)| slot_of[*option as usize] = slot);
            for term in terms.of(anchor) {
                terms.first[term] = slot_of[terms.first[term] as usize];
                terms.second[term] = slot_of[terms.second[term] as usize];
            }
        }
        self
    }

    /// Takes [`Pairs::number`] back.
    pub(super) fn name(&self, terms: &mut Terms) {
        for anchor in 0..terms.n_concepts() {
            let options = &self.options[self.starts[anchor]..self.starts[anchor + 1]];
            for term in terms.of(anchor) {
                terms.first[term] = options[terms.first[term] as usize];
                terms.second[term] = options[terms.second[term] as usize];
            }
        }
    }

    /// Squared distances of the pairs of a block of anchors, summed from differences.
    #[inline(always)]
    pub(super) fn dist2(&self, points: &Rows, block: Range<usize>, into: &mut [f64]) {
        let mut into = into.iter_mut();
        for anchor in block {
            let x = points.row(anchor);
            let options = &self.options[self.starts[anchor]..self.starts[anchor + 1]];
            for (option, dist2) in options.iter().zip(into.by_ref()) {
                let mut lanes = [0.0; LANES];
                for (x, y) in x.chunks_exact(LANES).zip(points.row(*option as usize).chunks_exact(LANES)) {
                    for lane in 0..LANES {
                        let difference = x[lane] - y[lane];
                        lanes[lane] += difference * difference;
                    }
                }
                *dist2 = lanes.iter().sum();
            }
        }
    }

    /// Σ c (x_i − x_j) over the pairs of each concept i of a block, as anchor and as option.
    ///
    /// # Shapes
    /// `coefficients`: one for each pair; returns `[block, dims]`, column by column
    #[inline(always)]
    pub(super) fn pull(&self, points: &Rows, coefficients: &[f64], block: Range<usize>) -> Vec<f64> {
        let mut pulls = vec![0.0; block.len() * points.n_dims];
        let mut pull = vec![0.0; points.width];
        for (place, concept) in block.clone().enumerate() {
            pull.fill(0.0);
            let x = points.row(concept);
            let mut add = |coefficient: f64, other: u32| {
                let y = points.row(other as usize);
                for ((sums, x), y) in pull.chunks_exact_mut(LANES).zip(x.chunks_exact(LANES)).zip(y.chunks_exact(LANES))
                {
                    for lane in 0..LANES {
                        sums[lane] += coefficient * (x[lane] - y[lane]);
                    }
                }
            };
            let own = self.starts[concept]..self.starts[concept + 1];
            coefficients[own.clone()].iter().zip(&self.options[own]).for_each(|(c, option)| add(*c, *option));
            let asked = self.asked_starts[concept]..self.asked_starts[concept + 1];
            for (at, anchor) in self.asked_at[asked.clone()].iter().zip(&self.asked_by[asked]) {
                add(coefficients[*at as usize], *anchor);
            }
            (0..points.n_dims).for_each(|k| pulls[k * block.len() + place] = pull[k]);
        }
        pulls
    }
}

/// Numbers that are added at once.
const LANES: usize = 8;

/// Coordinates row by row, filled up with zeros to whole lanes.
pub(super) struct Rows {
    values: Vec<f64>,
    width: usize,
    n_dims: usize,
}

impl Rows {
    /// The rows of coordinates given column by column.
    pub(super) fn new(x: &[f64], n: usize) -> Self {
        let n_dims = x.len() / n;
        let width = n_dims.next_multiple_of(LANES);
        let mut values = vec![0.0; n * width];
        for (k, column) in x.chunks_exact(n).enumerate() {
            column.iter().enumerate().for_each(|(i, value)| values[i * width + k] = *value);
        }
        Self { values, width, n_dims }
    }

    #[inline(always)]
    fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width..(i + 1) * self.width]
    }
}
