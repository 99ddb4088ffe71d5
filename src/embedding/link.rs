//! Links ℓ: what a difference of dissimilarities costs, each a type so that the loop over terms is compiled for each.

/// A running sum of w (p ℓ(z) + (1 − p) ℓ(−z)).
pub(super) trait LinkSum: Copy {
    /// Adds a term; returns p ℓ′(z) − (1 − p) ℓ′(−z).
    fn add(&mut self, z: f64, p_first: f64, weight: f64) -> f64;

    /// The sum of the terms so far.
    fn total(self) -> f64;
}

/// ℓ(z) = ln(1 + e^z), so that a term is softplus(z) − (1 − p) z.
#[derive(Clone, Copy)]
pub(super) struct Logistic {
    sum: f64,
    /// Σ w ln(1 + small) is kept as w ln Π(1 + small) over runs of equal weight: one logarithm in hundreds of triplets.
    product: f64,
    shared_weight: f64,
}

impl Logistic {
    pub(super) fn new() -> Self {
        Self { sum: 0.0, product: 1.0, shared_weight: 1.0 }
    }
}

impl LinkSum for Logistic {
    #[inline(always)]
    fn add(&mut self, z: f64, p_first: f64, weight: f64) -> f64 {
        let small = (-z.abs()).exp(); // in (0, 1]: neither branch below can overflow
        let p_second = if z > 0.0 { 1.0 } else { small } / (1.0 + small);
        let off = 1.0 - p_first;
        if weight != self.shared_weight || self.product > 1e300 {
            self.sum += self.shared_weight * self.product.ln();
            (self.product, self.shared_weight) = (1.0, weight);
        }
        self.product *= 1.0 + small;
        self.sum += weight * (z.max(0.0) - off * z);
        p_second - off
    }

    #[inline(always)]
    fn total(self) -> f64 {
        self.sum + self.shared_weight * self.product.ln()
    }
}

/// ℓ(z) = max(0, margin + z).
#[derive(Clone, Copy)]
pub(super) struct Hinge {
    margin: f64,
    sum: f64,
}

impl Hinge {
    pub(super) fn new(margin: f64) -> Self {
        Self { margin, sum: 0.0 }
    }
}

impl LinkSum for Hinge {
    #[inline(always)]
    fn add(&mut self, z: f64, p_first: f64, weight: f64) -> f64 {
        let (p_second, short, over) = (1.0 - p_first, self.margin + z, self.margin - z);
        self.sum += weight * (p_first * short.max(0.0) + p_second * over.max(0.0));
        let slope = |excess: f64| if excess > 0.0 { 1.0 } else { 0.0 };
        p_first * slope(short) - p_second * slope(over)
    }

    #[inline(always)]
    fn total(self) -> f64 {
        self.sum
    }
}

/// ℓ(z) = max(0, margin + z)².
#[derive(Clone, Copy)]
pub(super) struct SquaredHinge {
    margin: f64,
    sum: f64,
}

impl SquaredHinge {
    pub(super) fn new(margin: f64) -> Self {
        Self { margin, sum: 0.0 }
    }
}

impl LinkSum for SquaredHinge {
    #[inline(always)]
    fn add(&mut self, z: f64, p_first: f64, weight: f64) -> f64 {
        let (p_second, short, over) = (1.0 - p_first, (self.margin + z).max(0.0), (self.margin - z).max(0.0));
        self.sum += weight * (p_first * short * short + p_second * over * over);
        2.0 * (p_first * short - p_second * over)
    }

    #[inline(always)]
    fn total(self) -> f64 {
        self.sum
    }
}
