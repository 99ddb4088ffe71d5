//! Numbers as the page shows them: sensible digits, a real minus sign, and – for what is not there.

/// What stands for a number that is missing or not finite.
pub(super) const NOTHING: &str = "–";

fn finite(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite())
}

/// A fixed number of decimals.
pub(super) fn decimals(value: Option<f64>, digits: usize) -> String {
    let Some(value) = finite(value) else { return NOTHING.into() };
    let text = format!("{:.digits$}", value.abs());
    let is_zero = text.bytes().all(|b| b == b'0' || b == b'.');
    if value < 0.0 && !is_zero { format!("−{text}") } else { text }
}

/// A mean with the lowest and highest of what it is a mean of, where these are known.
pub(super) fn with_range(mean: Option<f64>, lo: Option<f64>, hi: Option<f64>) -> String {
    let range =
        finite(lo).zip(finite(hi)).map(|(lo, hi)| format!(" ({}…{})", decimals(Some(lo), 2), decimals(Some(hi), 2)));
    decimals(mean, 3) + &range.unwrap_or_default()
}

/// Two ends of a range in one format.
pub(super) fn range((lo, hi): (f64, f64), format: fn(Option<f64>) -> String) -> String {
    format!("{} to {}", format(Some(lo)), format(Some(hi)))
}

/// A share of one as a percentage with one decimal.
pub(super) fn percent(share: Option<f64>) -> String {
    let Some(share) = finite(share) else { return NOTHING.into() };
    format!("{}\u{202f}%", decimals(Some(share * 100.0), 1))
}

/// A p-value: three decimals, and never 0.
pub(super) fn p_value(p: Option<f64>) -> String {
    match finite(p) {
        Some(p) if p < 0.0005 => "< 0.001".into(),
        p => decimals(p, 3),
    }
}

/// Three significant digits without trailing zeros; powers of ten below a thousandth.
pub(super) fn significant(value: Option<f64>) -> String {
    let Some(value) = finite(value) else { return NOTHING.into() };
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if size >= 99.95 {
        return if value < 0.0 {
            format!("−{}", grouped(&format!("{size:.0}")))
        } else {
            grouped(&format!("{size:.0}"))
        };
    }
    if size < 1e-3 {
        let text = format!("{value:.1e}");
        let (mantissa, exponent) = text.split_once('e').expect("`e` formatting writes an e");
        let mantissa = mantissa.trim_end_matches(".0").replace('-', "−");
        let exponent: String = exponent.chars().map(superscript).collect();
        return if mantissa == "1" { format!("10{exponent}") } else { format!("{mantissa} × 10{exponent}") };
    }
    let digits = [10.0, 1.0, 0.1, 0.01].iter().position(|bound| size >= *bound).map_or(5, |position| position + 1);
    let text = decimals(Some(value), digits);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A count with commas between thousands.
pub(super) fn count(n: usize) -> String {
    grouped(&n.to_string())
}

/// The least and the greatest of some counts, or the one that all are.
pub(super) fn counts(all: impl Iterator<Item = usize> + Clone) -> String {
    let (least, most) = (all.clone().min().unwrap_or_default(), all.max().unwrap_or_default());
    if least == most { count(most) } else { format!("{} to {}", count(least), count(most)) }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn superscript(digit: char) -> char {
    match digit {
        '-' => '⁻',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '0' => '⁰',
        '4'..='9' => char::from_u32(0x2070 + u32::from(digit) - u32::from('0')).expect("the block has these digits"),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_not_finite_is_a_dash() {
        for value in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            for text in [decimals(value, 3), percent(value), p_value(value), significant(value)] {
                assert_eq!(text, NOTHING);
            }
        }
    }

    #[test]
    fn digits_suit_the_size() {
        assert_eq!(decimals(Some(0.12345), 3), "0.123");
        assert_eq!(decimals(Some(-0.0001), 3), "0.000");
        assert_eq!(decimals(Some(-0.5), 2), "−0.50");
        assert_eq!(percent(Some(0.713)), "71.3\u{202f}%");
        assert_eq!(p_value(Some(0.0001)), "< 0.001");
        assert_eq!(p_value(Some(0.001)), "0.001");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(count(12), "12");
        assert_eq!([counts([3, 1200, 1].into_iter()), counts([7, 7].into_iter())], ["1 to 1,200", "7"]);
        let numbers = [(1234.4, "1,234"), (99.96, "100"), (12.34, "12.3"), (1.0, "1"), (0.1, "0.1"), (0.001, "0.001")];
        for (value, text) in numbers.into_iter().chain([(0.012_34, "0.0123"), (1e-5, "10⁻⁵"), (3.2e-7, "3.2 × 10⁻⁷")])
        {
            assert_eq!(significant(Some(value)), text);
        }
        assert_eq!(significant(Some(0.0)), "0");
    }
}
