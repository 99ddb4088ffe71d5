//! Exponential and logarithm without branches or calls, so that loops over them are compiled to vector instructions.
//!
//! `S` is what a loop is compiled for: the last digits may differ between processors, never between threads of one.

use faer::traits::pulp::Simd;

/// a b + c, rounded once where the processor can: without the instruction, that is a slow call.
#[inline(always)]
fn multiply_add<S: Simd>(a: f64, b: f64, c: f64) -> f64 {
    if S::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
}

/// ln 2 in two parts: the product of the first with an exponent is exact.
const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];

/// Added to a number below 2^51 in magnitude, rounds it to an integer and leaves that in the lowest bits.
const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52

/// 1/k! from the highest k down: the error for |r| ≤ ln 2 / 2 is 4e-18.
const INVERSE_FACTORIALS: [f64; 14] = {
    let (mut coefficients, mut factorial, mut k) = ([1.0; 14], 1.0, 1);
    while k < 14 {
        factorial *= k as f64;
        coefficients[13 - k] = 1.0 / factorial;
        k += 1;
    }
    coefficients
};

/// e^x for x of 0 or less, within 2 units in the last place; e^−700 for anything below −700.
///
/// x = k ln 2 + r with |r| ≤ ln 2 / 2, e^x = 2^k e^r.
#[inline(always)]
pub(super) fn exp_of_negative<S: Simd>(x: f64) -> f64 {
    let x = if x < -700.0 { -700.0 } else { x };
    let shifted = x * std::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let r = (x - k * LN_2[0]) - k * LN_2[1];
    let mut power = INVERSE_FACTORIALS[0];
    for coefficient in &INVERSE_FACTORIALS[1..] {
        power = multiply_add::<S>(power, r, *coefficient);
    }
    // The integer in the lowest bits becomes the exponent of 2^k, which x ≥ −700 keeps in range.
    power * f64::from_bits(shifted.to_bits().wrapping_add(1023) << 52)
}

/// Coefficients of (ln(1 + f) − 2s) / s with s = f / (2 + f), in powers of s² from the highest down.
///
/// Source: FreeBSD's e_log.c (Sun Microsystems, 1993), which bounds the error by 2^−58.45.
const LOG_SERIES: [f64; 7] = [
    1.479_819_860_511_658_6e-1,
    1.531_383_769_920_937_3e-1,
    1.818_357_216_161_805e-1,
    2.222_219_843_214_978_4e-1,
    2.857_142_874_366_239e-1,
    3.999_999_999_940_942e-1,
    6.666_666_666_666_735e-1,
];

/// ln x for finite normal x above 0, within 1 unit in the last place.
///
/// x = 2^k (1 + f) with 1 + f between √½ and √2.
#[inline(always)]
pub(super) fn ln<S: Simd>(x: f64) -> f64 {
    const HALF_ROOT_BITS: u64 = 0x3fe6_a09e_667f_3bcd; // √½
    let above = x.to_bits().wrapping_sub(HALF_ROOT_BITS);
    // The exponent is brought above zero first: vectors have no shift that keeps a sign.
    let exponent = (above.wrapping_add(1024 << 52)) >> 52;
    let k = f64::from_bits(ROUND.to_bits().wrapping_add(exponent)) - (ROUND + 1024.0);
    let f = f64::from_bits((above & 0x000f_ffff_ffff_ffff).wrapping_add(HALF_ROOT_BITS)) - 1.0;
    let s = f / (2.0 + f);
    let s2 = s * s;
    let mut series = LOG_SERIES[0];
    for coefficient in &LOG_SERIES[1..] {
        series = multiply_add::<S>(series, s2, *coefficient);
    }
    let half_square = 0.5 * f * f;
    s * (half_square + series * s2) + k * LN_2[1] - half_square + f + k * LN_2[0]
}

/// Σ ln x for finite normal x above 0, at most 8,000 of them: mantissas are multiplied, exponents added up, and one logarithm
/// is taken. The error is about that of adding up as many logarithms.
#[inline(always)]
pub(super) fn sum_of_ln<S: Simd>(xs: &[f64]) -> f64 {
    const MANTISSA: u64 = 0x000f_ffff_ffff_ffff;
    // A loop for each, and at the end ones, whose exponent is 1023 too, so that both are compiled to vector instructions.
    let chunks = xs.chunks_exact(8);
    let mut last = [1.0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    let (mut products, mut exponents) = ([1.0; 8], [0_u64; 8]);
    for chunk in chunks.clone().chain([&last[..]]) {
        for (product, x) in products.iter_mut().zip(chunk) {
            *product *= f64::from_bits(x.to_bits() & MANTISSA | 1.0_f64.to_bits()); // at most 2^1,001 together
        }
    }
    for chunk in chunks.chain([&last[..]]) {
        for (exponent, x) in exponents.iter_mut().zip(chunk) {
            *exponent = exponent.wrapping_add(x.to_bits() >> 52); // a check for overflow would keep it from vectors
        }
    }
    let exponent = exponents.iter().sum::<u64>() as f64 - 1023.0 * (xs.len() / 8 * 8 + 8) as f64;
    let mut sum = 0.0;
    for product in products {
        sum += ln::<S>(product);
    }
    sum + exponent * LN_2[1] + exponent * LN_2[0]
}

/// ln(1 + x) for finite x of 0 or more, also where 1 + x rounds to 1.
#[inline(always)]
pub(super) fn ln_1p<S: Simd>(x: f64) -> f64 {
    let sum = 1.0 + x;
    ln::<S>(sum) + (x - (sum - 1.0)) / sum
}

#[cfg(test)]
mod tests {
    use faer::traits::pulp::Scalar;

    use super::*;

    #[test]
    fn they_are_the_library_functions_to_the_last_digits() {
        let off = |found: f64, expected: f64| (found / expected - 1.0).abs();
        for k in 0..400_000 {
            let x = -f64::from(k) * 1.7e-3; // down to −680
            assert!(off(exp_of_negative::<Scalar>(x), x.exp()) < 5e-16, "exp {x}");
            for x in [1e-12 * (1.0 + f64::from(k)), 1.0 + f64::from(k - 200_000) * 1e-6, f64::from(k).exp2().min(1e300)]
            {
                let error = (ln::<Scalar>(x) - x.ln()).abs();
                assert!(error <= 2.5e-16 * x.ln().abs(), "ln {x}: {} and {}", ln::<Scalar>(x), x.ln());
            }
            let x = f64::from(k) * 3e-7;
            assert!((ln_1p::<Scalar>(x) - x.ln_1p()).abs() <= 5e-16 * x.ln_1p(), "ln_1p {x}");
        }
        let (mut xs, mut sum) = (vec![], 0.0);
        for k in 0..1_003 {
            let x = f64::from(k - 500).exp2() * (1.0 + f64::from(k) / 1_003.0);
            (xs, sum) = ([xs, vec![x]].concat(), sum + x.ln());
            assert!((sum_of_ln::<Scalar>(&xs) - sum).abs() < 1e-15 * f64::from(k + 1) * sum.abs().max(700.0), "{k}");
        }
        assert_eq!((exp_of_negative::<Scalar>(0.0), ln::<Scalar>(1.0), ln_1p::<Scalar>(1e-20)), (1.0, 0.0, 1e-20));
        assert!(exp_of_negative::<Scalar>(f64::NEG_INFINITY) < 1e-300 && exp_of_negative::<Scalar>(f64::NAN).is_nan());
    }
}
