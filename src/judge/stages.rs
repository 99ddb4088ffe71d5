//! Where the time of judging goes, stage by stage.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Seconds that each stage worked. Stages run beside one another, and several parts are tokenised at once, so that they can add
/// up to more than the clock.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct StageSeconds {
    /// Wording and tokens of questions.
    pub tokenise: f64,
    /// The trie, cut into passes.
    pub plan: f64,
    /// Passes: filling inputs, the runtime, reading outputs.
    pub model: f64,
    /// Log-probabilities into judgments.
    pub score: f64,
}

impl StageSeconds {
    /// What was added since an earlier reading.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            tokenise: self.tokenise - earlier.tokenise,
            plan: self.plan - earlier.plan,
            model: self.model - earlier.model,
            score: self.score - earlier.score,
        }
    }
}

/// Nanoseconds of each stage so far, added to from any thread.
#[derive(Debug, Default)]
pub(super) struct StageClock {
    pub(super) tokenise: Stage,
    pub(super) plan: Stage,
    pub(super) model: Stage,
    pub(super) score: Stage,
}

/// One stage's.
#[derive(Debug, Default)]
pub(super) struct Stage(AtomicU64);

impl Stage {
    /// Does some work of the stage.
    pub(super) fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        let nanoseconds = u64::try_from(started.elapsed().as_nanos()).expect("less than five centuries");
        self.0.fetch_add(nanoseconds, Ordering::Relaxed);
        done
    }

    fn seconds(&self) -> f64 {
        Duration::from_nanos(self.0.load(Ordering::Relaxed)).as_secs_f64()
    }
}

impl StageClock {
    pub(super) fn read(&self) -> StageSeconds {
        StageSeconds {
            tokenise: self.tokenise.seconds(),
            plan: self.plan.seconds(),
            model: self.model.seconds(),
            score: self.score.seconds(),
        }
    }
}
