//! Whatever is shared, cut or batched, every question gets the numbers it would get alone.

use alike::engine::scripted::ScriptedModel;
use alike::engine::{Evaluation, evaluate};
use alike::prompts::plan::{Budget, Plan, Reuse, Strategy as Rows};
use alike::prompts::tokens::Question;
use alike::scoring::ChoiceScores;
use proptest::collection::vec;
use proptest::prelude::*;

/// Few tokens, so that prompts and options share beginnings, contain each other and repeat.
fn question() -> impl Strategy<Value = Question> {
    let option = || vec(0_u32..3, 1..4);
    (vec(0_u32..3, 1..9), option(), option()).prop_map(|(prompt, first, second)| Question {
        prompt,
        source_len: 0,
        options: vec![first, second],
        closed: false,
    })
}

fn answers(questions: &[Question], reuse: Reuse, rows: Rows, budget: Budget) -> (Plan, Evaluation) {
    let plan = Plan::new(questions, reuse, rows, budget);
    let evaluation = evaluate(&mut ScriptedModel::of(5, rows), &plan, |_| {}).unwrap();
    (plan, evaluation)
}

fn scores(question: &Question, number: usize, plan: &Plan, evaluation: &Evaluation) -> ChoiceScores {
    let steps = [0, 1].map(|option: usize| &evaluation.log_probs[plan.slots[number][option].clone()]);
    ChoiceScores::new(question, &steps)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_question_among_many_is_answered_as_alone(
        // Enough questions for levels of the trie to pay, and not enough.
        questions in vec(question(), 1..120), batch_tokens in 1_usize..64, cache_tokens in 1_usize..400,
    ) {
        let budget = Budget { batch_tokens, cache_tokens, pass_tokens: 30 };
        let (_, whole) = answers(&questions, Reuse::Off, Rows::None, budget);
        for rows in [Rows::Tree, Rows::SharedPast, Rows::Step, Rows::State, Rows::EncoderOnce] {
            for reuse in [Reuse::Trie, Reuse::Question] {
                let (plan, together) = answers(&questions, reuse, rows, budget);
                prop_assert_eq!(&together, &whole);
                // Passes of a single token have their row twice.
                prop_assert!(plan.size.distinct_tokens <= plan.size.computed_tokens);
                prop_assert!(plan.size.computed_tokens <= plan.size.logical_tokens + plan.size.passes);
                let question = &questions[questions.len() / 2];
                let (alone_plan, alone) = answers(std::slice::from_ref(question), reuse, rows, budget);
                let number = questions.len() / 2;
                let (one, other) = (scores(question, number, &plan, &together), scores(question, 0, &alone_plan, &alone));
                prop_assert_eq!(one, other);
                prop_assert_eq!(together.tops[number], alone.tops[0]);
            }
        }
    }

    #[test]
    fn swapping_options_swaps_scores(question in question()) {
        let swapped = Question { options: question.options.iter().rev().cloned().collect(), ..question.clone() };
        let budget = Budget { batch_tokens: 16, cache_tokens: 100, pass_tokens: 30 };
        let both = [question, swapped];
        let (plan, evaluation) = answers(&both, Reuse::Trie, Rows::Tree, budget);
        let [one, other] = [0, 1].map(|number| scores(&both[number], number, &plan, &evaluation));
        prop_assert_eq!(one.log_prob, [other.log_prob[1], other.log_prob[0]]);
        prop_assert!((one.p[0] + other.p[0] - 1.0).abs() < 1e-12);
        prop_assert!((one.choice_mass - other.choice_mass).abs() < 1e-12);
    }
}
