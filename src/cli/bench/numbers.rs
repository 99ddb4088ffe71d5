//! Numbers of a benchmark as they stand in its tables.

use alike::bench::Spread;

/// Where there is nothing.
pub(crate) fn dash() -> String {
    "–".to_owned()
}

/// Three significant digits, whole numbers from a hundred on.
pub(crate) fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Median, least and most, in another unit.
pub(crate) fn ranged(spread: Option<Spread>, unit: f64) -> String {
    spread.map_or_else(dash, |Spread { median, least, most }| {
        let [median, least, most] = [median, least, most].map(|value| digits(value * unit));
        if least == most { median } else { format!("{median} ({least} to {most})") }
    })
}

/// A difference: exactly nothing, or one digit and a power of ten.
pub(crate) fn nats(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_nothing_is_exactly_nothing() {
        assert_eq!([123.4, 24.84, 1.234, 0.0123].map(digits), ["123", "24.8", "1.23", "0.012"]);
        assert_eq!([0.0, 3.25e-6].map(nats), ["0", "3.2e-6"]);
        let spread = Spread { median: 2e9, least: 1.5e9, most: 2e9 };
        assert_eq!(ranged(Some(spread), 1e-6), "2000 (1500 to 2000)");
        assert_eq!((ranged(Some(Spread { least: 2e9, ..spread }), 1e-6), ranged(None, 1.0)), ("2000".into(), dash()));
    }
}
