//! Progress of long stages: a bar on a terminal, a plain line every half minute elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::Common;

/// Progress of one stage.
pub(crate) struct Progress {
    bar: ProgressBar,
    what: String,
    total: u64,
    plain: bool,
    started: Instant,
    reported: Instant,
}

const EVERY: Duration = Duration::from_secs(30);

impl Progress {
    /// Progress over `total` units.
    pub(crate) fn new(what: &str, total: usize, unit: &str, common: &Common) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = if terminal && !common.quiet { ProgressBar::new(total as u64) } else { ProgressBar::hidden() };
        let template = format!("{{msg:28}} {{wide_bar}} {{pos}}/{{len}} {unit}  {{per_sec}}  {{eta}} left");
        bar.set_style(ProgressStyle::with_template(&template).expect("the template is ours"));
        bar.set_message(what.to_owned());
        let now = Instant::now();
        Self {
            bar,
            what: what.to_owned(),
            total: total as u64,
            plain: !terminal && !common.quiet,
            started: now,
            reported: now,
        }
    }

    /// So many more are done.
    pub(crate) fn advance(&mut self, n: usize) {
        self.bar.inc(n as u64);
        if self.plain && self.reported.elapsed() >= EVERY {
            self.reported = Instant::now();
            let (done, seconds) = (self.bar.position(), self.started.elapsed().as_secs_f64());
            let rate = done as f64 / seconds;
            let left = (self.total - done.min(self.total)) as f64 / rate;
            eprintln!("{}: {done} of {}, {rate:.1}/s, {left:.0} s left", self.what, self.total);
        }
    }

    /// These were done before this run: they count, without weighing on the rate.
    pub(crate) fn skip(&mut self, n: usize) {
        self.bar.inc(n as u64);
        self.bar.reset_eta();
    }

    /// Ends the bar, leaving the terminal clean for the stage's last line.
    pub(crate) fn finish(self) {
        self.bar.finish_and_clear();
    }
}
