//! A model whose runs are timed one by one.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use crate::engine::{LanguageModel, ModelInfo, PassOutput};
use crate::error::Result;
use crate::prompts::pass::Pass;

/// Another model; the time of each run, the runtime's with that of filling inputs and reading outputs, goes where its owner can
/// look while the model is lent.
pub struct Timed<'a> {
    model: &'a mut dyn LanguageModel,
    passes: &'a RefCell<Vec<Duration>>,
}

impl<'a> Timed<'a> {
    /// Times a model from here on; each run adds one to `passes`.
    pub fn new(model: &'a mut dyn LanguageModel, passes: &'a RefCell<Vec<Duration>>) -> Self {
        Self { model, passes }
    }
}

impl LanguageModel for Timed<'_> {
    fn info(&self) -> &ModelInfo {
        self.model.info()
    }

    fn begin(&mut self, n_slots: usize) -> Result<()> {
        self.model.begin(n_slots)
    }

    fn run(&mut self, pass: &Pass) -> Result<PassOutput> {
        let started = Instant::now();
        let output = self.model.run(pass)?;
        self.passes.borrow_mut().push(started.elapsed());
        Ok(output)
    }

    fn running(&self) -> Duration {
        self.model.running()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::evaluate;
    use crate::engine::scripted::ScriptedModel;
    use crate::prompts::plan::{Budget, Plan, Reuse, Strategy};
    use crate::prompts::tokens::Question;

    #[test]
    fn every_pass_is_timed_and_nothing_else_changes() {
        let question =
            |i| Question { prompt: vec![1, i], source_len: 0, options: vec![vec![3, i], vec![4]], closed: false };
        let questions: Vec<Question> = (0..20).map(question).collect();
        let budget = Budget { batch_tokens: 16, cache_tokens: 640, pass_tokens: 3 };
        let plan = Plan::new(&questions, Reuse::Off, Strategy::Tree, budget);
        let mut scripted = ScriptedModel::new(32);
        let plain = evaluate(&mut scripted, &plan, |_| {}).unwrap();
        let passes = RefCell::default();
        let mut timed = Timed::new(&mut scripted, &passes);
        assert_eq!(evaluate(&mut timed, &plan, |_| {}).unwrap(), plain);
        assert_eq!(passes.borrow().len(), plan.size.passes);
    }
}
