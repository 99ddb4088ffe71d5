//! Judgments as a small language model makes them, without one.

use alike::judgments::{Judgment, ModelScores, OptionScores};
use alike::presentations::Presentation;
use alike::seed::Streams;
use alike::stats::standard_normal;
use rand::RngExt;

const TOKENS: [&str; 16] = ["The", "B", "P", "M", "G", "L", "Qu", "App", "F", "D", "Hum", "Co", "O", "K", "Ben", "Air"];

/// The name of a concept, different for each; as long as names of things are.
pub(crate) fn name(id: usize) -> String {
    let syllables = ["ba", "con", "der", "fi", "gol", "hap", "im", "jun", "ket", "lam", "mor", "nes"];
    let mut text = String::new();
    let mut rest = id;
    while text.is_empty() || rest > 0 {
        text += syllables[rest % 12];
        rest /= 12;
    }
    text
}

/// Answers to some presentations, each with the number of its repeat: the same ones for the same part, wherever it was cut.
pub(crate) fn judgments(asked: &[(Presentation, i16)], part: u64, n_concepts: usize) -> Vec<Judgment> {
    let first = 8 * asked[0].0.id(n_concepts) as u64 + asked[0].1 as u64;
    let mut rng = Streams::new(part, "made up").rng(first);
    let judgment = |(presentation, repeat): &(Presentation, i16)| {
        let options: Vec<usize> = presentation.options().iter().map(|id| *id as usize).collect();
        let log_prob: Vec<f32> = options.iter().map(|_| -6.0 + 2.5 * standard_normal(&mut rng) as f32).collect();
        let p = |difference: f32| 1.0 / (1.0 + (-difference).exp());
        let p_first = p(log_prob[0] - log_prob[1]);
        let greedy = p(log_prob[0] - log_prob[1] + 0.3 * standard_normal(&mut rng) as f32);
        let token = if rng.random::<f64>() < 0.9 { 0 } else { rng.random_range(1..TOKENS.len()) };
        let of_options = |of: fn(usize) -> i16| options.iter().map(|id| of(*id)).collect::<Vec<i16>>();
        let n_tokens = of_options(|id| 1 + (id % 7 / 2) as i16);
        let n_chars = of_options(|id| name(id).len() as i16);
        let n_prompt_tokens = 44 + i32::from(n_tokens.iter().sum::<i16>());
        let scores = OptionScores {
            closed: false,
            prior: options.iter().map(|id| -20.0 + (*id as f32 * 0.37).sin() * 5.0).collect(),
            p_first: Some(p_first),
            p_first_greedy: Some(greedy),
            choice_mass: log_prob.iter().map(|l| l.exp()).sum::<f32>().min(1.0),
            n_tokens,
            log_prob: log_prob.clone(),
        };
        Judgment {
            presentation: *presentation,
            repeat: *repeat,
            chosen: Some(usize::from(p_first < 0.5)),
            decision: "argmax",
            score_kind: "sequence",
            scores: Some(log_prob),
            p: Some(vec![p_first, 1.0 - p_first]),
            model: Some(ModelScores {
                options: Some(scores),
                answer: None,
                top_token: TOKENS[token].into(),
                top_token_id: 504 + token as i32,
                top_log_prob: -1.5 - 0.3 * standard_normal(&mut rng).abs() as f32,
                n_bytes: n_chars.clone(),
                n_chars,
                n_prompt_tokens,
            }),
        }
    };
    asked.iter().map(judgment).collect()
}
