//! Many tests at once.

/// How p-values of several tests are adjusted, in the order given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// Holm (1979): the chance of any false finding, under any dependence.
    Holm,
    /// Benjamini & Hochberg (1995): the expected share of false findings among the findings.
    BenjaminiHochberg,
}

impl Adjustment {
    /// Adjusted p-values: each is the lowest level at which its test would still be a finding.
    ///
    /// With p sorted upwards, m of them: Holm max over j ≤ i of (m − j + 1) `p_j`; Benjamini–Hochberg min over j ≥ i of
    /// m `p_j` / j; at most 1.
    ///
    /// # Source
    /// Holm (1979), Scandinavian Journal of Statistics 6; Benjamini & Hochberg (1995), JRSS B 57
    ///
    /// ```
    /// use alike::ingredients::multiplicity::Adjustment;
    /// assert_eq!(Adjustment::Holm.adjusted(&[0.01, 0.04, 0.02]), [0.03, 0.04, 0.04]);
    /// ```
    pub fn adjusted(self, p: &[f64]) -> Vec<f64> {
        let mut order: Vec<usize> = (0..p.len()).collect();
        order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
        let m = p.len() as f64;
        let mut adjusted = vec![0.0; p.len()];
        match self {
            Self::Holm => {
                let mut highest: f64 = 0.0;
                for (j, &at) in order.iter().enumerate() {
                    highest = highest.max((m - j as f64) * p[at]);
                    adjusted[at] = highest.min(1.0);
                }
            }
            Self::BenjaminiHochberg => {
                let mut lowest: f64 = 1.0;
                for (j, &at) in order.iter().enumerate().rev() {
                    lowest = lowest.min(m * p[at] / (j as f64 + 1.0));
                    adjusted[at] = lowest;
                }
            }
        }
        adjusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusted_values_are_those_of_r() {
        // R: p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.5), "holm" and "BH")
        let p = [0.03, 0.01, 0.5, 0.02, 0.04];
        let close = |found: Vec<f64>, expected: [f64; 5]| {
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{found:?}");
        };
        close(Adjustment::Holm.adjusted(&p), [0.09, 0.05, 0.5, 0.08, 0.09]);
        close(Adjustment::BenjaminiHochberg.adjusted(&p), [0.05, 0.05, 0.5, 0.05, 0.05]);
        assert!(Adjustment::Holm.adjusted(&[]).is_empty());
        assert_eq!(Adjustment::Holm.adjusted(&[0.7, 0.8]), [1.0, 1.0]);
    }
}
