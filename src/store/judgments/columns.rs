//! The columns of judgments, with their types and meanings.

use arrow::datatypes::DataType;

use crate::presentations::Task;

/// A column: name, type, whether it may be null, and what it means.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Arrow type.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Meaning.
    pub meaning: String,
}

/// The columns of a task's judgments, in order.
pub fn columns(task: Task) -> Vec<Column> {
    use DataType::{Boolean, Float32, Int8, Int16, Int32, Int64, Utf8};
    let mut columns = Vec::new();
    let mut column = |name: &str, data_type: DataType, nullable: bool, meaning: &str| {
        columns.push(Column { name: name.into(), data_type, nullable, meaning: meaning.into() });
    };
    // Those that each option has, by what it is called and where it is shown.
    let places = ["first", "second", "third"];
    let options = || task.options().iter().zip(places).map(|(option, place)| (*option, place));
    let anchored = task == Task::Anchored;
    let set = if anchored { "(anchor, {i < j})" } else { "{i < j < k}" };
    column("triplet_id", Int64, false, &format!("rank of {set} among all triplets; every order shares it"));
    if anchored {
        column("anchor", Utf8, false, "the thing compared with");
    }
    for (option, place) in options() {
        column(option, Utf8, false, &format!("option shown {place}"));
    }
    for concept in task.concepts() {
        let meaning = format!("position of `{concept}` among the concepts in UTF-8 byte order");
        column(&format!("{concept}_id"), Int32, false, &meaning);
    }
    let orders = if anchored {
        "0 when the first option has the smaller id, else 1"
    } else {
        "which order of i < j < k is shown: 0 ijk, 1 ikj, 2 jik, 3 jki, 4 kij, 5 kji"
    };
    column("order", Int8, false, orders);
    column("repeat", Int16, false, "repetition of the same presentation, from 0");
    if anchored {
        column("chosen", Utf8, true, "the option chosen; null if the answer names neither");
        column("chose_first", Boolean, true, "whether that is the first option");
    } else {
        column("odd", Utf8, true, "the concept named the odd one; null if the answer does not name one");
    }
    column("decision", Utf8, false, "argmax, sample, generate or simulated");
    let kinds =
        "what decided: sequence, per-token, per-byte, pmi, greedy-mask, cosine (of an encoder), generate or simulated";
    column("score_kind", Utf8, false, kinds);
    for (option, place) in options() {
        column(&format!("score_{option}"), Float32, true, &format!("the deciding score of the {place} option"));
    }
    if anchored {
        column("p_decision", Float32, true, "probability of the first option under the decision");
    } else {
        for (option, place) in options() {
            let meaning = format!("probability under the decision that the {place} is named the odd one");
            column(&format!("p_{option}"), Float32, true, &meaning);
        }
    }
    for (option, place) in options() {
        let meaning = format!(
            "log-probability (nats) of the {place} option after the prompt: as written, or with surface_forms of any form of it"
        );
        column(&format!("log_prob_{option}"), Float32, true, &meaning);
    }
    column("closed", Boolean, false, "whether log-probabilities include the closing token");
    for (option, _) in options() {
        let meaning = format!("same as log_prob_{option}, after the neutral prompt");
        column(&format!("prior_{option}"), Float32, true, &meaning);
    }
    if anchored {
        let meaning = "softmax over log_prob_first and log_prob_second: probability of the first";
        column("p_first", Float32, true, meaning);
        let meaning = "probability of the first when each step is renormalised over permitted tokens; null where one option ends inside the other";
        column("p_first_greedy", Float32, true, meaning);
    }
    column("choice_mass", Float32, true, "probability that the answer is one of the options");
    column("top_token", Utf8, true, "most probable first token of the answer");
    column("top_token_id", Int32, true, "its id");
    column("top_log_prob", Float32, true, "its log-probability (nats)");
    let lengths = [
        ("n_tokens", "tokens, as written, without the closing one,"),
        ("n_chars", "Unicode characters"),
        ("n_bytes", "UTF-8 bytes"),
    ];
    for (name, what) in lengths {
        for (option, place) in options() {
            column(&format!("{name}_{option}"), Int16, true, &format!("{what} of the {place} option"));
        }
    }
    column("n_prompt_tokens", Int32, true, "tokens of the prompt");
    let response = "free answer without special tokens, trimmed; null unless the decision is generate";
    column("response", Utf8, true, response);
    let several = if anchored { "both options named" } else { "several options named" };
    let parse = format!(
        "parsed, or unparsed with the reason (no option named, {several}, empty); null unless there is an answer"
    );
    column("parse", Utf8, true, &parse);
    column("model", Utf8, false, "label of the respondent, as in the folder's name");
    columns
}
