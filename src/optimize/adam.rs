//! Adam: stochastic gradient descent with a step size of its own for every parameter.

use serde::{Deserialize, Serialize};

/// Rates of Adam.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Rates {
    /// Step size: about how far a parameter moves in one step at most.
    pub learning_rate: f64,
    /// Share of the old mean gradient that is kept.
    pub beta1: f64,
    /// Share of the old mean squared gradient that is kept.
    pub beta2: f64,
    /// Keeps the quotient finite where the gradient has been zero.
    pub epsilon: f64,
}

impl Rates {
    /// The source's constants with a step size.
    pub fn new(learning_rate: f64) -> Self {
        Self { learning_rate, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
    }
}

/// Running means of the gradient and of its square, for a fixed number of parameters.
///
/// # Source
/// Kingma & Ba (2015), Adam: a method for stochastic optimization, algorithm 1
#[derive(Debug, Clone)]
pub struct Adam {
    rates: Rates,
    mean: Vec<f64>,
    square: Vec<f64>,
    n_steps: i32,
}

impl Adam {
    /// Before the first step of `n` parameters.
    pub fn new(rates: Rates, n: usize) -> Self {
        Self { rates, mean: vec![0.0; n], square: vec![0.0; n], n_steps: 0 }
    }

    /// Goes on with another step size; what was learnt about the gradient stays.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.rates.learning_rate = learning_rate;
    }

    /// One step against the gradient.
    ///
    /// # Panics
    /// when the number of parameters is another than in [`Adam::new`]
    pub fn step(&mut self, x: &mut [f64], gradient: &[f64]) {
        assert!(x.len() == self.mean.len() && gradient.len() == self.mean.len(), "as many parameters as in new()");
        let Rates { learning_rate, beta1, beta2, epsilon } = self.rates;
        self.n_steps = self.n_steps.saturating_add(1);
        // The corrections for means that began at zero, moved from the means to the step.
        let rate = learning_rate / (1.0 - beta1.powi(self.n_steps));
        let root = (1.0 - beta2.powi(self.n_steps)).sqrt().recip();
        for ((x, g), (mean, square)) in x.iter_mut().zip(gradient).zip(self.mean.iter_mut().zip(self.square.iter_mut()))
        {
            *mean = beta1 * *mean + (1.0 - beta1) * g;
            *square = beta2 * *square + (1.0 - beta2) * g * g;
            *x -= rate * *mean / (square.sqrt() * root + epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_is_the_learning_rate_and_the_second_is_as_by_hand() {
        let mut adam = Adam::new(Rates { epsilon: 0.0, ..Rates::new(0.1) }, 2);
        let mut x = [1.0, -1.0];
        adam.step(&mut x, &[4.0, -0.01]);
        assert!((x[0] - 0.9).abs() < 1e-12 && (x[1] + 0.9).abs() < 1e-12, "{x:?}");
        // Means 0.9·0.4 + 0.1·1 and 0.999·0.016 + 0.001·1, corrected by 1 − 0.81 and 1 − 0.998001.
        adam.step(&mut x, &[1.0, 0.0]);
        let expected = 0.9 - 0.1 * (0.46 / 0.19) / (0.016_984 / 0.001_999_f64).sqrt();
        assert!((x[0] - expected).abs() < 1e-12, "{} {expected}", x[0]);
    }

    #[test]
    fn goes_down_a_noisy_bowl() {
        let mut adam = Adam::new(Rates::new(0.05), 1);
        let mut x = [5.0];
        for step in 0..2_000 {
            let noise = if step % 2 == 0 { 1.0 } else { -1.0 };
            let gradient = [2.0 * (x[0] - 2.0) + noise];
            adam.step(&mut x, &gradient);
        }
        assert!((x[0] - 2.0).abs() < 0.05, "{x:?}");
    }
}
