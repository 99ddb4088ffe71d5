//! What keys and columns are called on the page.

use crate::config::RegressSection;

/// The field's name for the key of a measure.
pub(super) fn measure_name(key: &str) -> String {
    const FAMILIES: [(&str, &str); 3] = [("procrustes_r2", "Procrustes R²"), ("cka", "CKA"), ("rsa", "RSA")];
    let own = FAMILIES.iter().find_map(|(family, name)| Some((name, key.strip_prefix(family)?)));
    match own {
        Some((name, "")) => (*name).to_owned(),
        Some((name, rest)) if rest.starts_with('_') => format!("{name}, {}", in_words(&rest[1..])),
        _ => in_words(key),
    }
}

/// Words of a key as they are written elsewhere: names of people and letters of the field.
fn in_words(key: &str) -> String {
    let key = key.replace("kendall_tau_a", "Kendall τ-a").replace("rho_a", "ρ-a");
    let word = |word: &str| match word {
        "rbf" => "RBF".to_owned(),
        "euclidean" => "Euclidean".to_owned(),
        "sqeuclidean" => "squared Euclidean".to_owned(),
        "spearman" => "Spearman".to_owned(),
        "pearson" => "Pearson".to_owned(),
        other => other.to_owned(),
    };
    key.split('_').map(word).collect::<Vec<_>>().join(" ")
}

/// What a column of a table of models holds, with its unit where that is known; other columns keep their names.
pub(super) fn column_title(name: &str) -> String {
    let known = match name {
        "r2" => "R²",
        "instruct" => "Instruction-tuned",
        "multimodal" => "Multimodal",
        "activation" => "Activation function",
        "attention_type" => "Kind of attention",
        "architecture" => "Architecture",
        "hidden_size" => "Width of the residual stream (dimensions)",
        "attention_dim" => "Width of attention (dimensions)",
        "intermediate_size" => "Width of the MLP (dimensions)",
        "attention_heads" => "Attention heads",
        "layers" => "Layers",
        "max_context" => "Longest context (tokens)",
        "params_b" => "Parameters (billions)",
        "train_tokens_t" => "Training tokens (trillions)",
        "bbh" => "BBH",
        "gpqa" => "GPQA",
        "ifeval" => "IFEval",
        "math_lvl5" => "MATH, level 5",
        "mmlu_5shot" => "MMLU, 5-shot",
        "mmlu_pro" => "MMLU-Pro",
        "musr" => "MuSR",
        other => return other.replace('_', " "),
    };
    known.to_owned()
}

/// What a term of a formula stands for: a level of a column, one standard deviation of one; others keep their names.
pub(super) fn term_title(term: &str) -> String {
    let inside = |open: &str, close: char| term.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    match (inside("z(", ')'), term.strip_suffix(']').and_then(|rest| rest.split_once('['))) {
        (Some(column), _) if column.chars().all(|c| c.is_alphanumeric() || c == '_') => {
            format!("{}, per standard deviation", column_title(column))
        }
        (None, Some((column, level))) if !level.contains('[') => format!("{}: {level}", column_title(column)),
        _ => term.to_owned(),
    }
}

/// What says how human-like the models are: the measure where it comes from an alignment, otherwise its column.
pub(super) fn response_title(asked: &RegressSection) -> String {
    match asked.scores.as_ref().is_some_and(|path| path.extension().is_some_and(|ending| ending == "parquet")) {
        true => measure_name(&asked.measure),
        false => column_title(&asked.response),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_names() {
        assert_eq!(measure_name("procrustes_r2"), "Procrustes R²");
        assert_eq!(measure_name("cka_linear_debiased"), "CKA, linear debiased");
        assert_eq!(measure_name("rsa_euclidean_spearman"), "RSA, Euclidean Spearman");
        assert_eq!(measure_name("rsa_correlation_kendall_tau_a"), "RSA, correlation Kendall τ-a");
        assert_eq!(measure_name("procrustes_r2_no_scaling"), "Procrustes R², no scaling");
        assert_eq!(measure_name("cka_rbf_debiased"), "CKA, RBF debiased");
        assert_eq!(measure_name("category_silhouette"), "category silhouette");
        assert_eq!(column_title("math_lvl5"), "MATH, level 5");
        assert_eq!(column_title("moral_code"), "moral code");
        assert_eq!(term_title("instruct[yes]"), "Instruction-tuned: yes");
        assert_eq!(term_title("z(layers)"), "Layers, per standard deviation");
        assert_eq!(
            ["z(log(layers))", "a[x]:b[y]", "layers"].map(term_title),
            ["z(log(layers))", "a[x]:b[y]", "layers"]
        );
    }

    #[test]
    fn scores_of_an_alignment_are_called_by_their_measure() {
        let mut asked = RegressSection { scores: Some("scores.csv".into()), ..RegressSection::default() };
        assert_eq!(response_title(&asked), "R²");
        asked.scores = Some("out/alignment.parquet".into());
        assert_eq!(response_title(&asked), "Procrustes R²");
    }
}
