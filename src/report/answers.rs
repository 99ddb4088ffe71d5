//! Answers about ingredients as text, for captions and tables.

use super::numbers::{NOTHING, count, decimals, p_value};
use crate::store::ingredients::{AnswerRow, Numbers};

/// The number that answers: an effect, two shares of variance, or a test statistic.
pub(super) fn estimate(found: &Numbers) -> String {
    match (found.value, found.r2.zip(found.r2_larger), found.statistic) {
        (Some(value), ..) => decimals(Some(value), 3),
        (None, Some((r2, larger)), _) => {
            format!("R² {}, then {}", decimals(Some(r2), 2), decimals(Some(larger), 2))
        }
        (None, None, Some(statistic)) => {
            let letter = if found.df_error.is_some() { "F" } else { "H" };
            format!("{letter} = {}", decimals(Some(statistic), 2))
        }
        (None, None, None) => NOTHING.into(),
    }
}

/// Both ends of its 95 % interval.
pub(super) fn interval(found: &Numbers) -> Option<String> {
    let (lo, hi) = found.lo.zip(found.hi).filter(|(lo, hi)| lo.is_finite() && hi.is_finite())?;
    Some(format!("{} to {}", decimals(Some(lo), 3), decimals(Some(hi), 3)))
}

/// The number with its interval in brackets, where it has one.
pub(super) fn with_interval(found: &Numbers) -> String {
    let interval = interval(found).map(|interval| format!(" ({interval})"));
    estimate(found) + &interval.unwrap_or_default()
}

/// How many models it is made from.
pub(super) fn n(found: &Numbers) -> String {
    found.n.map_or_else(|| NOTHING.into(), count)
}

/// p, alone and adjusted.
pub(super) fn tests(row: &AnswerRow) -> String {
    format!("p {}, Holm {}", p_value(row.numbers.p), p_value(row.p_holm))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_answer_has_its_number() {
        let effect = Numbers { value: Some(-0.05), lo: Some(-0.0812), hi: Some(-0.02), ..Numbers::default() };
        assert_eq!(with_interval(&effect), "−0.050 (−0.081 to −0.020)");
        let test = Numbers { statistic: Some(8.883), n: Some(75), ..Numbers::default() };
        assert_eq!((with_interval(&test).as_str(), n(&test).as_str()), ("H = 8.88", "75"));
        let gain = Numbers { r2: Some(0.56), r2_larger: Some(0.74), df_error: Some(30.0), ..test };
        assert_eq!(estimate(&gain), "R² 0.56, then 0.74");
        assert_eq!(with_interval(&Numbers::default()), NOTHING);
    }
}
