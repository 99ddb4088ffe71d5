//! Models as points over a quantity, with a least-squares line and the band of its mean.

use std::fmt::Write as _;

use super::asked::dot;
use super::axes::{Axes, extent, names, roomy};
use super::dots::Mark;
use crate::ingredients::line::Line;
use crate::report::figure::Panel;
use crate::report::numbers::{count, decimals, significant};
use crate::report::scale::Scale;
use crate::report::svg::{escape, px, shorten};

/// Where the largest is more than this many times the smallest, equal distances are equal ratios.
const WIDE: f64 = 30.0;

/// A model in a scatter plot.
pub(super) struct Point<'a> {
    pub(super) name: &'a str,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) mark: Mark,
}

/// What a panel shows.
pub(super) struct Scatter<'a> {
    pub(super) id: String,
    pub(super) title: String,
    /// The lines below the heading.
    pub(super) results: Vec<String>,
    pub(super) x_title: String,
    pub(super) y_title: String,
    pub(super) y_domain: [f64; 2],
    /// Whether the horizontal axis may be logarithmic, where the points ask for it.
    pub(super) may_be_log: bool,
    pub(super) points: Vec<Point<'a>>,
    /// Whether points that stand out have their names beside them.
    pub(super) named: bool,
}

/// A point with what the line has at its place.
pub(super) struct Fitted<'a> {
    pub(super) name: &'a str,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) line: Option<[f64; 3]>,
}

impl<'a> Scatter<'a> {
    /// Whether the horizontal axis is logarithmic.
    pub(super) fn is_log(&self) -> bool {
        let range = extent(self.points.iter().map(|point| point.x));
        self.may_be_log && range.is_some_and(|[lo, hi]| lo > 0.0 && hi > WIDE * lo)
    }

    /// x as the line takes it.
    fn scaled(&self, x: f64) -> f64 {
        if self.is_log() { x.log10() } else { x }
    }

    fn line(&self) -> Option<Line> {
        let x: Vec<f64> = self.points.iter().map(|point| self.scaled(point.x)).collect();
        let y: Vec<f64> = self.points.iter().map(|point| point.y).collect();
        Line::through(&x, &y).ok()
    }

    /// The points with the line at their places.
    pub(super) fn fitted(&self) -> Vec<Fitted<'a>> {
        let line = self.line();
        let fitted = |point: &Point<'a>| Fitted {
            name: point.name,
            x: point.x,
            y: point.y,
            line: line.map(|line| line.at(self.scaled(point.x))),
        };
        self.points.iter().map(fitted).collect()
    }

    /// The panel; nothing without points.
    pub(super) fn panel(&self) -> Option<Panel> {
        const WIDTH: f64 = 330.0;
        const PLOT: f64 = 230.0;
        let top = 30.0 + 16.0 * self.results.len() as f64;
        let height = top + PLOT + 46.0;
        let range = extent(self.points.iter().map(|point| point.x))?;
        let log = self.is_log();
        let axes = Axes {
            x: Scale { domain: roomy(range, log), range: [50.0, WIDTH - 6.0], log },
            y: Scale { domain: self.y_domain, range: [top + PLOT, top], log: false },
            x_title: if log { format!("{}, log scale", self.x_title) } else { self.x_title.clone() },
            y_title: self.y_title.clone(),
        };
        let at = |x: f64, y: f64| (axes.x.at(x), axes.y.at(y));
        let mut body = format!("<text class=\"head\" y=\"14\">{}</text>", escape(&shorten(&self.title, 46)));
        for (line, result) in self.results.iter().enumerate() {
            let y = px(32.0 + 16.0 * line as f64);
            let _ = write!(body, "<text class=\"dim num\" y=\"{y}\">{}</text>", escape(&shorten(result, 58)));
        }
        body.push_str(&axes.frame());
        if let Some(line) = self.line() {
            body.push_str(&self.band(&axes, range, &line));
        }
        for point in &self.points {
            let (x, y) = at(point.x, point.y);
            let numbers = format!("{}, {}", significant(Some(point.x)), decimals(Some(point.y), 3));
            body.push_str(&dot(x, y, point.mark, &format!("{}: {numbers}", point.name)));
        }
        if self.named {
            let dots: Vec<[f64; 2]> = self.points.iter().map(|point| at(point.x, point.y).into()).collect();
            let outstanding = self.outstanding().into_iter();
            let placed = outstanding.map(|point| (at(point.x, point.y).into(), point.name));
            body.push_str(&names(placed, &dots, axes.x.range));
        }
        let description = format!(
            "{}: {} against {}, {} models.",
            self.results.join(", "),
            self.y_title,
            self.x_title,
            count(self.points.len())
        );
        let title = self.title.clone();
        Some(Panel { id: self.id.clone(), width: WIDTH, height, role: "img", title, description, body })
    }

    /// The line over the range of the points, and its band, cut where the panel ends.
    fn band(&self, axes: &Axes, [lo, hi]: [f64; 2], line: &Line) -> String {
        const STEPS: u32 = 32;
        let [lo, hi] = [self.scaled(lo), self.scaled(hi)];
        let place = |step: u32, which: usize| {
            let x = lo + (hi - lo) * f64::from(step) / f64::from(STEPS);
            let value = if self.is_log() { 10_f64.powf(x) } else { x };
            format!("{} {}", px(axes.x.at(value)), px(axes.y.at(line.at(x)[which])))
        };
        let path = |which: usize, steps: &mut dyn Iterator<Item = u32>| {
            steps.map(|step| place(step, which)).collect::<Vec<_>>().join("L")
        };
        let (lower, upper) = (path(1, &mut (0..=STEPS)), path(2, &mut (0..=STEPS).rev()));
        let mut body = format!("<path class=\"around\" d=\"M{lower}L{upper}Z\"/>");
        let _ = write!(body, "<path class=\"line\" d=\"M{}L{}\"/>", place(0, 0), place(STEPS, 0));
        body
    }

    /// The highest and the lowest model, and those furthest above and below the line.
    fn outstanding(&self) -> Vec<&Point<'a>> {
        let line = self.line();
        let above = |point: &Point| line.map_or(0.0, |line| point.y - line.at(self.scaled(point.x))[0]);
        let by = |key: &dyn Fn(&Point) -> f64| {
            let first = self.points.iter().max_by(|a, b| key(a).total_cmp(&key(b)));
            let last = self.points.iter().min_by(|a, b| key(a).total_cmp(&key(b)));
            [first, last]
        };
        let mut chosen: Vec<&Point> = vec![];
        for point in by(&|point| point.y).into_iter().chain(by(&above)).flatten() {
            if !chosen.iter().any(|other| std::ptr::eq(*other, point)) {
                chosen.push(point);
            }
        }
        chosen
    }
}
