//! From logits to the next token.

use std::collections::BTreeSet;

use crate::generation::settings::GenerationSettings;
use crate::prompts::tokens::TokenId;

/// The tokens that may come next with their probabilities, by id: repetition penalty, temperature, the `top_k` most probable
/// (and those as probable as the last of them), then of those the most probable that reach `top_p` together.
///
/// `before`: every token of prompt and answer so far.
///
/// # Source
/// Hugging Face transformers 5, `generation/logits_process.py`, in the order of `GenerationMixin._get_logits_processor`
pub fn candidates(
    logits: &[f32],
    before: impl IntoIterator<Item = TokenId>,
    settings: &GenerationSettings,
) -> Vec<(TokenId, f64)> {
    let scores = penalised(logits, before, settings.repetition_penalty);
    let mut kept: Vec<usize> = (0..scores.len()).filter(|token| scores[*token] > f64::NEG_INFINITY).collect();
    // Of equally probable tokens the one with the higher id comes first, as transformers' rising sort has it.
    let falling = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(b.cmp(a));
    if settings.top_k > 0 && settings.top_k < kept.len() {
        let (_, last, _) = kept.select_nth_unstable_by(settings.top_k - 1, falling);
        let lowest = scores[*last];
        kept.retain(|token| scores[*token] >= lowest);
    }
    kept.sort_unstable_by(falling);
    let weigh = |token: &usize| ((scores[*token] - scores[kept[0]]) / settings.temperature).exp();
    let mut weights: Vec<f64> = kept.iter().map(weigh).collect();
    if settings.top_p < 1.0 {
        let total: f64 = weights.iter().sum();
        // A token stays as long as those above it fall short of top_p: the first one always does.
        let mut above = 0.0;
        let n_kept = weights.iter().take_while(|weight| {
            let stays = above < settings.top_p * total;
            above += **weight;
            stays
        });
        let n_kept = n_kept.count();
        kept.truncate(n_kept);
        weights.truncate(n_kept);
    }
    let total: f64 = weights.iter().sum();
    let id = |token: usize| TokenId::try_from(token).expect("a vocabulary has fewer than 2^32 tokens");
    let mut candidates: Vec<(TokenId, f64)> =
        kept.into_iter().zip(weights).map(|(token, weight)| (id(token), weight / total)).collect();
    candidates.sort_unstable_by_key(|(token, _)| *token);
    candidates
}

/// The next token: the most probable after the penalty, or one of the [`candidates`] by `draw`, uniform in [0, 1).
pub fn sampled(
    logits: &[f32],
    before: impl IntoIterator<Item = TokenId>,
    settings: &GenerationSettings,
    draw: f64,
) -> TokenId {
    if !settings.do_sample {
        let scores = penalised(logits, before, settings.repetition_penalty);
        let highest = |best: usize, token: usize| if scores[token] > scores[best] { token } else { best };
        let best = (1..scores.len()).fold(0, highest);
        return TokenId::try_from(best).expect("a vocabulary has fewer than 2^32 tokens");
    }
    let candidates = candidates(logits, before, settings);
    let mut below = 0.0;
    let chosen = candidates.iter().find(|(_, p)| {
        below += p;
        draw < below
    });
    // Rounding may leave the sum a little below one.
    chosen.or(candidates.last()).expect("the most probable token is always kept").0
}

fn penalised(logits: &[f32], before: impl IntoIterator<Item = TokenId>, penalty: f64) -> Vec<f64> {
    let mut scores: Vec<f64> = logits.iter().map(|logit| f64::from(*logit)).collect();
    if penalty != 1.0 {
        for token in before.into_iter().collect::<BTreeSet<TokenId>>() {
            if let Some(score) = scores.get_mut(token as usize) {
                *score = if *score < 0.0 { *score * penalty } else { *score / penalty };
            }
        }
    }
    scores
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(temperature: f64, top_k: usize, top_p: f64, repetition_penalty: f64) -> GenerationSettings {
        let (do_sample, max_new_tokens, stop) = (true, 20, Vec::new());
        GenerationSettings { do_sample, temperature, top_k, top_p, repetition_penalty, max_new_tokens, stop }
    }

    fn ids(candidates: &[(TokenId, f64)]) -> Vec<TokenId> {
        candidates.iter().map(|(token, _)| *token).collect()
    }

    #[test]
    fn by_hand() {
        let logits = [0.5_f32.ln(), 0.25_f32.ln(), 0.125_f32.ln(), 0.125_f32.ln()];
        let all = candidates(&logits, [], &settings(1.0, 0, 1.0, 1.0));
        for ((_, p), expected) in all.iter().zip([0.5, 0.25, 0.125, 0.125]) {
            assert!((p - expected).abs() < 1e-7, "logits are f32");
        }
        // The third and the fourth are equally probable, so both are third.
        assert_eq!(ids(&candidates(&logits, [], &settings(1.0, 3, 1.0, 1.0))), [0, 1, 2, 3]);
        assert_eq!(ids(&candidates(&logits, [], &settings(1.0, 2, 1.0, 1.0))), [0, 1]);
        // 0.5 falls short of 0.6, 0.75 does not; of the two that top_k leaves, the first alone has two thirds.
        assert_eq!(ids(&candidates(&logits, [], &settings(1.0, 0, 0.6, 1.0))), [0, 1]);
        assert_eq!(ids(&candidates(&logits, [], &settings(1.0, 2, 0.6, 1.0))), [0]);
        assert_eq!(ids(&candidates(&logits, [], &settings(1.0, 0, 1e-9, 1.0))), [0]);
        let cold = candidates(&logits, [], &settings(0.5, 2, 1.0, 1.0));
        assert!((cold[0].1 - 0.8).abs() < 1e-7, "4 to 1");
        // Negative logits are multiplied: 2 · ln ½ = ln ¼.
        let penalised = candidates(&logits, [0, 0, 9], &settings(1.0, 2, 1.0, 2.0));
        assert!((penalised[0].1 - 0.5).abs() < 1e-7);
    }

    #[test]
    fn draws_have_the_probabilities() {
        let logits = [1.0, f32::NEG_INFINITY, 0.0, 2.0];
        let settings = settings(0.7, 0, 1.0, 1.0);
        let expected = candidates(&logits, [], &settings);
        assert_eq!(ids(&expected), [0, 2, 3]);
        let mut counts = [0_u32; 4];
        for i in 0..10_000 {
            counts[sampled(&logits, [], &settings, (f64::from(i) + 0.5) / 1e4) as usize] += 1;
        }
        for (token, p) in expected {
            // Evenly spaced draws miss by one at each end.
            assert!((f64::from(counts[token as usize]) - 1e4 * p).abs() <= 2.0);
        }
        assert_eq!(sampled(&logits, [], &settings, 1.0 - f64::EPSILON), 3);
        let greedy = GenerationSettings { do_sample: false, repetition_penalty: 4.0, ..settings };
        assert_eq!(sampled(&logits, [3], &greedy, 0.0), 0);
    }
}
