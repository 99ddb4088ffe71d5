//! Where a function of one number is zero.

/// The point between `a` and `b` at which `f` changes its sign, to within `tolerance`.
///
/// False position with the Illinois rule: the end that stays gets half of its value, so that both ends close in.
///
/// # Source
/// Dowell & Jarratt (1971), BIT 11
///
/// # Panics
/// when `f` has the same sign at both ends
pub(super) fn root(mut f: impl FnMut(f64) -> f64, mut a: f64, mut b: f64, tolerance: f64) -> f64 {
    let (mut at_a, mut at_b) = (f(a), f(b));
    assert!(at_a * at_b <= 0.0, "f({a}) = {at_a} and f({b}) = {at_b} have the same sign");
    for _ in 0..MAX_STEPS {
        if at_b == 0.0 || (b - a).abs() <= tolerance {
            break;
        }
        let next = (a * at_b - b * at_a) / (at_b - at_a);
        // A value that rounding puts on an end would stop the closing in.
        let next = if next == a || next == b || !next.is_finite() { 0.5 * (a + b) } else { next };
        let at_next = f(next);
        if at_next * at_b <= 0.0 {
            (a, at_a) = (b, at_b);
        } else {
            at_a *= 0.5;
        }
        let close = (next - b).abs() <= 0.1 * tolerance;
        (b, at_b) = (next, at_next);
        if close {
            break;
        }
    }
    b
}

const MAX_STEPS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_are_found_from_either_side() {
        let mut n = 0;
        let f = |x: f64| {
            n += 1;
            x * x - 2.0
        };
        assert!((root(f, 0.0, 100.0, 1e-12) - 2f64.sqrt()).abs() < 1e-12);
        assert!(n < 40, "{n}");
        assert!((root(|x| 1.0 - x.exp(), 3.0, -5.0, 1e-12)).abs() < 1e-12);
        assert!(root(|x| x, 0.0, 1.0, 1e-12) < 1e-12);
    }
}
