use super::*;
use crate::engine::scripted::ScriptedModel;
use crate::generation::settings::GenerationChoices;
use crate::prompts::plan::Strategy;
use crate::seed::Streams;

const VOCAB: usize = 12;

fn prompts() -> Vec<PromptTokens> {
    let stem: Vec<TokenId> = (0..40).map(|i| i % 7).collect();
    (0..30).map(|i| [&stem[..], &[i % 5, i % 3], &stem[..(i % 4) as usize]].concat().into()).collect()
}

fn settings(do_sample: bool) -> GenerationSettings {
    let choices = GenerationChoices { do_sample: Some(do_sample), top_k: Some(5), ..GenerationChoices::default() };
    GenerationSettings::new(&choices, &GenerationChoices::default(), 6, vec![3, 1]).unwrap()
}

fn rows(n: usize, repeats: usize) -> Vec<Row> {
    let streams = Streams::new(5, "generate");
    let row = |i: usize| Row { prompt: i / repeats, rng: streams.rng(i as u64) };
    (0..n * repeats).map(row).collect()
}

fn written(rows: Vec<Row>, settings: &GenerationSettings, reuse: Reuse, budget: Budget) -> Vec<Written> {
    written_by(Strategy::Tree, rows, settings, reuse, budget)
}

fn written_by(
    strategy: Strategy,
    rows: Vec<Row>,
    settings: &GenerationSettings,
    reuse: Reuse,
    budget: Budget,
) -> Vec<Written> {
    let mut model = ScriptedModel::of(VOCAB, strategy);
    generate(&mut model, &prompts(), rows, settings, (reuse, budget), |_| {}).unwrap().0
}

const BUDGET: Budget = Budget { batch_tokens: 64, cache_tokens: 2000, pass_tokens: 30 };

/// One row at a time, every step from the first token on.
fn reference(row: Row, settings: &GenerationSettings) -> Written {
    written(vec![row], settings, Reuse::Off, BUDGET).remove(0)
}

#[test]
fn batches_caches_and_waves_change_nothing() {
    for do_sample in [false, true] {
        let settings = settings(do_sample);
        let expected: Vec<Written> = rows(30, 3).into_iter().map(|row| reference(row, &settings)).collect();
        let n_stopped = expected.iter().filter(|w| w.stopped).count();
        assert!(n_stopped > 10 && n_stopped < 80, "{n_stopped} of 90 stop before the limit: {expected:?}");
        assert!(expected.iter().all(|w| w.stopped || w.tokens.len() == 6));
        for (batch_tokens, cache_tokens) in [(64, 2000), (1, 2000), (7, 130), (64, 1)] {
            for reuse in [Reuse::Trie, Reuse::Question, Reuse::Off] {
                let budget = Budget { batch_tokens, cache_tokens, ..BUDGET };
                for strategy in [Strategy::Tree, Strategy::Step, Strategy::State, Strategy::EncoderOnce] {
                    let written = written_by(strategy, rows(30, 3), &settings, reuse, budget);
                    assert_eq!(written, expected, "{strategy} {budget:?} {reuse:?}");
                }
            }
        }
        let mut backwards = rows(30, 3);
        backwards.reverse();
        let mut again = written(backwards, &settings, Reuse::Trie, BUDGET);
        again.reverse();
        assert_eq!(again, expected, "the order of rows does not matter");
    }
}

#[test]
fn greedy_rows_repeat_themselves_and_drawn_ones_do_not() {
    let same = |do_sample: bool| {
        let all = written(rows(30, 2), &settings(do_sample), Reuse::Trie, BUDGET);
        all.chunks(2).filter(|pair| pair[0].tokens == pair[1].tokens).count()
    };
    assert_eq!(same(false), 30);
    assert!(same(true) < 20, "{} of 30", same(true));
}

#[test]
fn the_first_token_is_drawn_with_its_probability() {
    let settings = GenerationSettings { max_new_tokens: 1, stop: vec![], ..settings(true) };
    let streams = Streams::new(1, "generate");
    let n = 4000;
    let rows = (0..n).map(|i| Row { prompt: 0, rng: streams.rng(i) }).collect();
    let all = written(rows, &settings, Reuse::Trie, BUDGET);
    // The top token is kept by top_k, so its share is its log-probability among five of twelve.
    let top = all[0].top;
    let share = all.iter().filter(|w| w.tokens == [top.token]).count() as f64 / n as f64;
    let distinct: std::collections::BTreeSet<_> = all.iter().map(|w| w.tokens[0]).collect();
    assert!(distinct.len() == 5 && share >= f64::from(top.log_prob).exp() - 0.03, "{share} {top:?} {distinct:?}");
}

#[test]
fn logits_that_are_not_finite_stop_the_run() {
    struct Broken(ScriptedModel);
    impl LanguageModel for Broken {
        fn info(&self) -> &crate::engine::ModelInfo {
            self.0.info()
        }
        fn begin(&mut self, cache_tokens: usize) -> Result<()> {
            self.0.begin(cache_tokens)
        }
        fn run(&mut self, pass: &Pass) -> Result<PassOutput> {
            let mut output = self.0.run(pass)?;
            output.logits.iter_mut().step_by(VOCAB).for_each(|l| *l = f32::NAN);
            Ok(output)
        }
        fn running(&self) -> std::time::Duration {
            std::time::Duration::ZERO
        }
    }
    let mut model = Broken(ScriptedModel::new(VOCAB));
    let error = generate(&mut model, &prompts(), rows(3, 1), &settings(true), (Reuse::Trie, BUDGET), |_| {});
    assert!(matches!(error.unwrap_err(), Error::NotFiniteLogProb { .. }));
}
