//! How fast respondents were asked, and where the time went.

use std::fmt::Write as _;

use super::dots::{Axis, Dot, MANY, PLOT, TOP, WIDTH, dot_panel, row_height};
use crate::report::csv::{finite, to_csv};
use crate::report::data::{ReportData, Respondent, Run, Stage, in_rank_order};
use crate::report::figure::{Figure, LegendItem, Panel, Part};
use crate::report::numbers::{NOTHING, count, significant};
use crate::report::scale::Scale;
use crate::report::svg::{escape, px, shorten};

impl Stage {
    /// All, in the order in which they come.
    const ALL: [Self; 6] = [Self::Files, Self::Load, Self::SelfTest, Self::Model, Self::Beside, Self::Fit];

    /// Its colour.
    fn class(self) -> &'static str {
        match self {
            Self::Files => "k6",
            Self::Load => "k4",
            Self::SelfTest => "k3",
            Self::Model => "k5",
            Self::Beside => "k1",
            Self::Fit => "k2",
        }
    }

    /// What the legend says.
    fn words(self) -> &'static str {
        match self {
            Self::Files => "files: hashing, reading, checking what is there",
            Self::Load => "loading the graph",
            Self::SelfTest => "self-test",
            Self::Model => "model, while judging",
            Self::Beside => "judging beside the model",
            Self::Fit => "fitting embeddings",
        }
    }

    /// Its column.
    fn key(self) -> &'static str {
        match self {
            Self::Files => "files_seconds",
            Self::Load => "load_seconds",
            Self::SelfTest => "self_test_seconds",
            Self::Model => "model_seconds",
            Self::Beside => "beside_model_seconds",
            Self::Fit => "fit_seconds",
        }
    }
}

impl Run {
    fn seconds_of(&self, stage: Stage) -> Option<f64> {
        self.seconds.iter().find(|(timed, _)| *timed == stage).map(|(_, seconds)| *seconds)
    }

    fn total(&self) -> f64 {
        self.seconds.iter().map(|(_, seconds)| seconds).sum()
    }
}

/// Speed of judging and shares of time, of those whose run was recorded.
pub(in crate::report) fn figure(data: &ReportData) -> Option<Figure> {
    let runs: Vec<(&Respondent, &Run)> =
        in_rank_order(data).into_iter().filter_map(|one| Some((one, one.run.as_ref()?))).collect();
    if runs.is_empty() {
        return None;
    }
    let stages: Vec<Stage> =
        Stage::ALL.into_iter().filter(|stage| runs.iter().any(|(_, run)| run.seconds_of(*stage).is_some())).collect();
    let swatch = |stage: &Stage| LegendItem {
        mark: format!("<rect class=\"{}\" x=\"-8\" y=\"-6\" width=\"16\" height=\"12\" rx=\"2\"/>", stage.class()),
        text: stage.words().into(),
    };
    Some(Figure {
        name: "throughput",
        part: Part::Effort,
        title: "How fast models were asked, and where the time went".into(),
        caption: "Of the run that answered last; judgments that were there already take no part. Triplets per second of judging, without \
                  loading and self-test. While the model reads one part, the next is tokenised and planned and the \
                  one before is scored and written, so that judging beside the model is only what the model waits for. Speeds hold \
                  for the machine they were taken on."
            .into(),
        csv: csv(&runs),
        legend: stages.iter().map(swatch).collect(),
        panels: vec![speed_panel(&runs), time_panel(&runs)],
        columns: 2,
        ..Figure::default()
    })
}

fn speed_panel(runs: &[(&Respondent, &Run)]) -> Panel {
    let rates =
        runs.iter().filter_map(|(_, run)| run.triplets_per_second).filter(|rate| rate.is_finite() && *rate > 0.0);
    let (lowest, highest) = rates.fold((10.0_f64, 10.0_f64), |(lo, hi), rate| (lo.min(rate), hi.max(rate)));
    let power = |exponent: f64| 10_f64.powf(exponent);
    let axis = Axis {
        title: "triplets per second (log scale)".into(),
        domain: [power((lowest.log10() - 1e-9).floor()), power((highest.log10() + 1e-9).ceil())],
        log: true,
        line: None,
        format: significant,
        tick: None,
    };
    let tokens = |n: Option<usize>| n.map_or(NOTHING.into(), count);
    let dots = runs.iter().map(|(one, run)| Dot {
        label: &one.label,
        kind: one.kind,
        value: run.triplets_per_second,
        details: format!(
            "{} triplets per second, {} judgments, {} tokens computed, {} with one request for each option",
            significant(run.triplets_per_second),
            count(run.n_made),
            tokens(run.tokens_computed),
            tokens(run.tokens_logical)
        ),
        ..Dot::default()
    });
    dot_panel("throughput-speed".into(), "Speed of judging".into(), &dots.collect::<Vec<_>>(), &axis)
}

/// A bar for each respondent: the shares of its time, and how much it is.
fn time_panel(runs: &[(&Respondent, &Run)]) -> Panel {
    let row = row_height(runs.len());
    let top = if runs.len() > MANY { TOP + 20.0 } else { TOP };
    let bottom = top + row * runs.len() as f64;
    let scale = Scale { domain: [0.0, 1.0], range: PLOT, log: false };
    let mut body = String::from("<text class=\"head\" y=\"14\">Where the time went</text>");
    for tick in [0.0, 0.5, 1.0] {
        let x = px(scale.at(tick));
        let _ = write!(body, "<path class=\"grid\" d=\"M{x} {}V{}\"/>", px(top - 4.0), px(bottom + 4.0));
        let _ = write!(
            body,
            "<text class=\"dim mid num\" x=\"{x}\" y=\"{}\">{:.0}\u{202f}%</text>",
            px(bottom + 19.0),
            tick * 100.0
        );
    }
    let middle = px(f64::midpoint(PLOT[0], PLOT[1]));
    let _ = write!(
        body,
        "<text class=\"dim mid\" x=\"{middle}\" y=\"{}\">share of the seconds on the right</text>",
        px(bottom + 38.0)
    );
    let _ = write!(body, "<g class=\"{}\">", if runs.len() > MANY { "dense" } else { "rows" });
    for (index, (one, run)) in runs.iter().enumerate() {
        body.push_str(&time_row(one, run, &scale, top + row * (index as f64 + 0.5), row));
    }
    body.push_str("</g>");
    let each = runs.iter().take(5).map(|(one, run)| format!("{}: {}", shorten(&one.label, 60), spent(run)));
    Panel {
        id: "throughput-time".into(),
        width: WIDTH,
        height: bottom + 46.0,
        role: "img",
        title: "Where the time went".into(),
        description: each.collect::<Vec<_>>().join(". "),
        body,
    }
}

fn time_row(one: &Respondent, run: &Run, scale: &Scale, y: f64, height: f64) -> String {
    let (top, text_y, label_x) = (px(y - height / 2.0), px(y + 4.0), px(scale.range[0] - 12.0));
    let mut row = format!(
        "<g class=\"row\"><title>{}: {}</title><rect class=\"hit\" y=\"{top}\" width=\"{}\" height=\"{}\"/>\
         <text class=\"end\" x=\"{label_x}\" y=\"{text_y}\">{}</text>",
        escape(&one.label),
        escape(&spent(run)),
        px(WIDTH),
        px(height),
        escape(&shorten(&one.label, 22))
    );
    let (half, total, mut before) = ((height * 0.3).min(8.0), run.total(), 0.0);
    for (stage, seconds) in run.seconds.iter().filter(|_| total > 0.0) {
        let [left, right] = [before, before + seconds].map(|at| scale.at(at / total));
        before += seconds;
        let _ = write!(
            row,
            "<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            stage.class(),
            px(left),
            px(y - half),
            px(right - left),
            px(2.0 * half)
        );
    }
    let _ = write!(
        row,
        "<text class=\"end num\" x=\"{}\" y=\"{text_y}\">{}\u{202f}s</text></g>",
        px(WIDTH),
        significant(Some(total))
    );
    row
}

/// The seconds of each stage in words.
fn spent(run: &Run) -> String {
    let stage = |(stage, seconds): &(Stage, f64)| format!("{} {}\u{202f}s", stage.words(), significant(Some(*seconds)));
    run.seconds.iter().map(stage).collect::<Vec<_>>().join(", ")
}

/// In the order drawn.
fn csv(runs: &[(&Respondent, &Run)]) -> Vec<u8> {
    let header = ["respondent", "n_made", "triplets_per_second", "tokens_computed", "tokens_logical"];
    let header: Vec<&str> = header.into_iter().chain(Stage::ALL.map(Stage::key)).collect();
    let rows = runs.iter().map(|(one, run)| {
        let seconds = Stage::ALL.map(|stage| run.seconds_of(stage).and_then(finite));
        let speed = run.triplets_per_second.and_then(finite);
        (&one.label, run.n_made, speed, run.tokens_computed, run.tokens_logical, seconds)
    });
    to_csv(&header, rows)
}
