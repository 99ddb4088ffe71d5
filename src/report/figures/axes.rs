//! Panels over two axes: grid, ticks and titles, and labels that keep out of each other's way.

use std::fmt::Write as _;

use crate::report::numbers::decimals;
use crate::report::numbers::significant;
use crate::report::scale::{Scale, round_step};
use crate::report::svg::{columns, escape, px, shorten};

/// Two axes and what they show; the range of `y` runs upwards.
pub(super) struct Axes {
    pub(super) x: Scale,
    pub(super) y: Scale,
    pub(super) x_title: String,
    pub(super) y_title: String,
}

impl Axes {
    /// Grid, ticks and titles, with ticks where [`ticks`] has them.
    pub(super) fn frame(&self) -> String {
        let [left, right] = self.x.range;
        let [bottom, top] = self.y.range;
        let mut body = self.y_axis();
        for (value, text) in ticks(&self.x) {
            let x = px(self.x.at(value));
            let _ = write!(
                body,
                "<path class=\"grid\" d=\"M{x} {}V{}\"/><text class=\"dim mid num\" x=\"{x}\" y=\"{}\">{text}</text>",
                px(top),
                px(bottom),
                px(bottom + 17.0)
            );
        }
        let _ = write!(
            body,
            "<path class=\"axis\" d=\"M{} {}H{}\"/><text class=\"dim mid\" x=\"{}\" y=\"{}\">{}</text>",
            px(left),
            px(bottom),
            px(right),
            px(f64::midpoint(left, right)),
            px(bottom + 36.0),
            escape(&shorten(&self.x_title, 50))
        );
        body
    }

    /// The grid, ticks and title of the vertical axis alone.
    pub(super) fn y_axis(&self) -> String {
        let [left, right] = self.x.range;
        let mut body = String::new();
        for (value, text) in ticks(&self.y) {
            let y = self.y.at(value);
            let _ = write!(
                body,
                "<path class=\"grid\" d=\"M{} {}H{}\"/><text class=\"dim end num\" x=\"{}\" y=\"{}\">{text}</text>",
                px(left),
                px(y),
                px(right),
                px(left - 7.0),
                px(y + 4.0)
            );
        }
        let middle = f64::midpoint(self.y.range[0], self.y.range[1]);
        let _ = write!(
            body,
            "<text class=\"dim mid\" transform=\"translate(11 {}) rotate(-90)\">{}</text>",
            px(middle),
            escape(&shorten(&self.y_title, 40))
        );
        body
    }
}

/// Ticks with their labels; a log scale of few decades has 1, 2 and 5 of each where there is room.
pub(super) fn ticks(scale: &Scale) -> Vec<(f64, String)> {
    let [lo, hi] = scale.domain;
    if scale.log {
        let label = |v: f64| (v, significant(Some(v)));
        let (from, to) = (lo.log10().floor(), hi.log10().ceil());
        let powers = std::iter::successors(Some(from), |k| Some(k + 1.0)).take_while(|k| *k <= to);
        let all = powers.flat_map(|k| [1.0, 2.0, 5.0].map(|m| m * 10_f64.powf(k)));
        let within: Vec<_> = all.filter(|v| *v >= lo * (1.0 - 1e-9) && *v <= hi * (1.0 + 1e-9)).map(label).collect();
        let is_dense = (hi / lo).log10() >= 2.5 || !scale.has_room(&within);
        return if is_dense { scale.ticks().into_iter().map(label).collect() } else { within };
    }
    let values = scale.ticks();
    let whole = |digits: usize| {
        let power = 10_f64.powf(digits as f64);
        values.iter().all(|v| (v * power - (v * power).round()).abs() < 1e-6)
    };
    let digits = (0..4).find(|digits| whole(*digits)).unwrap_or(4);
    let text = |v: f64| if digits == 0 { significant(Some(v)) } else { decimals(Some(v), digits) };
    values.iter().map(|&v| (v, text(v))).collect()
}

/// The least and the greatest of finite values.
pub(super) fn extent(values: impl IntoIterator<Item = f64>) -> Option<[f64; 2]> {
    let finite = values.into_iter().filter(|v| v.is_finite());
    finite.fold(None, |range: Option<[f64; 2]>, v| Some(range.map_or([v, v], |[lo, hi]| [lo.min(v), hi.max(v)])))
}

/// A domain that holds values with a little room on both sides; ratios on a log scale.
pub(super) fn roomy([lo, hi]: [f64; 2], log: bool) -> [f64; 2] {
    if log {
        let room = (hi / lo).powf(0.05).max(1.05);
        return [lo / room, hi * room];
    }
    let room = ((hi - lo) * 0.05).max(f64::MIN_POSITIVE);
    if hi > lo { [lo - room, hi + room] } else { [lo - 0.5, hi + 0.5] }
}

/// A domain that ends at round values and begins at zero where nothing is below it.
pub(super) fn from_zero([lo, hi]: [f64; 2]) -> [f64; 2] {
    let step = round_step((hi.max(0.0) - lo.min(0.0)) / 5.0);
    let down = if lo < 0.0 { (lo / step + 1e-9).floor() * step } else { 0.0 };
    let up = (hi.max(0.0) / step - 1e-9).ceil() * step;
    if up > down { [down, up] } else { [down, down + 1.0] }
}

/// Moves places apart that are closer than `gap`, as little as need be, and keeps them between two ends where they fit.
pub(super) fn apart(places: &[f64], gap: f64, [lowest, highest]: [f64; 2]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|&a, &b| places[a].total_cmp(&places[b]));
    let mut moved = places.to_vec();
    let mut last = lowest - gap;
    for &i in &order {
        moved[i] = moved[i].max(last + gap);
        last = moved[i];
    }
    let mut next = highest + gap;
    for &i in order.iter().rev() {
        moved[i] = moved[i].min(next - gap);
        next = moved[i];
    }
    moved
}

/// Names beside points, or above or below them; one that would cover another name or a dot is not written.
pub(super) fn names<'a>(
    points: impl IntoIterator<Item = ([f64; 2], &'a str)>,
    dots: &[[f64; 2]],
    [left, right]: [f64; 2],
) -> String {
    const LONGEST: usize = 22;
    const AWAY: f64 = 7.0;
    const HALF: f64 = 6.5;
    const DOT: f64 = 4.0;
    let mut taken: Vec<[f64; 4]> = vec![];
    let mut body = String::new();
    for ([x, y], name) in points {
        let text = shorten(name, LONGEST);
        let width = 7.0 * columns(&text) as f64;
        let above = y - HALF - DOT - 1.0;
        let below = y + HALF + DOT + 1.0;
        // Where the text is anchored, and how much of its width lies before that.
        let places =
            [("", x + AWAY, y, 0.0), (" end", x - AWAY, y, 1.0), (" mid", x, above, 0.5), (" mid", x, below, 0.5)];
        let area = |(_, x, y, before): (&str, f64, f64, f64)| {
            [x - before * width, x + (1.0 - before) * width, y - HALF, y + HALF]
        };
        let is_free = |place: &(&str, f64, f64, f64)| {
            let [from, to, top, bottom] = area(*place);
            let covers = |t: &[f64; 4]| from < t[1] && to > t[0] && top < t[3] && bottom > t[2];
            // A dot that ends where a name begins would look like the one named.
            let dot = |[x, y]: &[f64; 2]| covers(&[x - AWAY, x + AWAY, y - DOT, y + DOT]);
            from >= left && to <= right && !taken.iter().any(covers) && !dots.iter().any(dot)
        };
        let Some(place) = places.into_iter().find(is_free) else { continue };
        taken.push(area(place));
        let (side, x, y, _) = place;
        let _ = write!(body, "<text class=\"on{side}\" x=\"{}\" y=\"{}\">{}</text>", px(x), px(y + 4.0), escape(&text));
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_the_digits_that_they_need() {
        let labels = |domain, log| -> Vec<String> {
            ticks(&Scale { domain, range: [0.0, 274.0], log }).into_iter().map(|(_, text)| text).collect()
        };
        assert_eq!(labels([0.0, 0.5], false), ["0.0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(labels([0.0, 6000.0], false), ["0", "2,000", "4,000", "6,000"]);
        assert_eq!(labels([400.0, 16_000.0], true), ["500", "1,000", "2,000", "5,000", "10,000"]);
        assert_eq!(labels([0.001, 100.0], true), ["0.001", "0.01", "0.1", "1", "10", "100"]);
    }

    #[test]
    fn domains_hold_their_values() {
        assert_eq!(extent([2.0, f64::NAN, -1.0]), Some([-1.0, 2.0]));
        assert_eq!(extent([f64::NAN]), None);
        assert_eq!(from_zero([0.1, 0.49]), [0.0, 0.5]);
        assert_eq!(from_zero([-0.03, 0.4]), [-0.1, 0.4]);
        assert_eq!(from_zero([0.0, 0.0]), [0.0, 1.0]);
        assert_eq!(roomy([3.0, 3.0], false), [2.5, 3.5]);
        let [lo, hi] = roomy([1.0, 100.0], true);
        assert!(lo > 0.5 && lo < 1.0 && hi > 100.0);
    }

    #[test]
    fn labels_move_apart_and_stay_inside() {
        let moved = apart(&[10.0, 11.0, 50.0, 99.0, 98.0], 10.0, [0.0, 100.0]);
        assert_eq!(moved, [10.0, 20.0, 50.0, 100.0, 90.0]);
        let name_at = |dots: &[[f64; 2]]| names([([50.0, 50.0], "one"), ([50.0, 50.0], "two")], dots, [0.0, 300.0]);
        assert!(
            name_at(&[]).contains("class=\"on\" x=\"57\" y=\"54\">one") && name_at(&[]).contains("on end\" x=\"43\"")
        );
        // Dots on both sides move a name above.
        let beside = [[60.0, 50.0], [40.0, 50.0]];
        assert!(name_at(&beside).contains("class=\"on mid\" x=\"50\" y=\"42.5\">one"), "{}", name_at(&beside));
        let everywhere: Vec<[f64; 2]> =
            (0..100).map(|i| [f64::from(i % 10) * 10.0, 20.0 + f64::from(i / 10) * 6.0]).collect();
        assert_eq!(name_at(&everywhere), "");
    }
}
