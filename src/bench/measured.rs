//! What one process measures of one cell.

use serde::{Deserialize, Serialize};

use crate::judge::StageSeconds;
use crate::judgments::Judgment;
use crate::prompts::plan::PlanSize;

/// What one process measured, with the answers it measured them on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Times, sizes and memory.
    pub timing: Timing,
    /// The answers to the presentations that were timed, in their order.
    pub answers: Answers,
}

/// Times, sizes and memory of one process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Presentations timed.
    pub n: usize,
    /// Seconds from tokenising the first presentation to the scores of the last.
    pub seconds: f64,
    /// Of these, seconds inside the runtime.
    pub session_seconds: f64,
    /// Seconds of work of each stage in that time; stages run beside one another.
    pub stages: StageSeconds,
    /// Seconds of each run of the graph, in order, with what it takes to fill its inputs and read its outputs.
    pub pass_seconds: Vec<f64>,
    /// Tokens and passes.
    pub size: PlanSize,
    /// Seconds from the process's start to its first answer: program, runtime, weights, tokenizer, neutral prompts and the first passes.
    pub first_result_seconds: f64,
    /// Seconds to open the graph and its weights.
    pub load_seconds: f64,
    /// Seconds for the neutral prompt with each concept, which a study pays once.
    pub neutral_seconds: f64,
    /// Presentations asked before the clock started.
    pub warm_up: usize,
    /// Seconds for these.
    pub warm_up_seconds: f64,
    /// Processor time of all threads while the presentations were timed.
    pub cpu_seconds: Option<f64>,
    /// Most memory that the process ever held.
    pub peak_rss_bytes: Option<u64>,
    /// Most memory in use on its GPU while the presentations were timed, whoever used it.
    pub gpu_bytes: Option<u64>,
    /// Energy of the machine's processors, or of the GPU, while the presentations were timed, whoever used it.
    pub energy_joules: Option<f64>,
}

impl Timing {
    /// Presentations a second.
    pub fn triplets_per_second(&self) -> f64 {
        self.n as f64 / self.seconds
    }
}

/// What was answered, presentation by presentation.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Answers {
    /// Log-probability of the first and of the second option in nats, as judgments hold them.
    pub log_probs: Vec<[f32; 2]>,
    /// Whether the first option was chosen.
    pub chose_first: Vec<bool>,
}

impl Answers {
    /// Number of answers.
    pub fn len(&self) -> usize {
        self.log_probs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.log_probs.is_empty()
    }

    /// Adds what scored, anchored judgments say.
    pub fn extend(&mut self, judgments: &[Judgment]) {
        for judgment in judgments {
            let options = judgment.model.as_ref().and_then(|model| model.options.as_ref());
            let log_prob = &options.expect("options decide where they are scored").log_prob;
            self.log_probs.push([log_prob[0], log_prob[1]]);
            self.chose_first.push(judgment.chosen == Some(0));
        }
    }

    /// The first few.
    #[must_use]
    pub fn first(&self, n: usize) -> Self {
        let n = n.min(self.len());
        Self { log_probs: self.log_probs[..n].to_vec(), chose_first: self.chose_first[..n].to_vec() }
    }

    /// Largest |Δ log p| of an option between two sets of answers to the same presentations, in nats.
    pub fn max_nats(&self, other: &Self) -> f64 {
        let deltas = self.log_probs.iter().flatten().zip(other.log_probs.iter().flatten());
        deltas.map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs()).fold(0.0, f64::max)
    }
}
