//! Judgments as lm-evaluation-harness logs its samples: a line of JSON for each.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Exported;
use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::prompts::template::Wording;
use crate::store::judgments::{Piece, Respondent, pieces};
use crate::store::manifest::KEY_INPUTS;
use crate::store::table::{Batches, Table};

/// Writes the judgments of a respondent as the harness's `samples_TASK_DATE.jsonl` has them: a request for each option, with its log-probability.
///
/// The prompt is the question as the model was asked it, without the words around it that its chat template adds. `resps` holds, as text like
/// the harness's, the log-probability and whether the option is what the model would have written: `False` where its most probable first
/// token does not begin the option, `True` where it is all of the option, and `None` where judgments do not tell. Of a free answer there is
/// one request, and `resps` holds the answer. There is no right answer, so `target` is null and `metrics` is empty; `chosen` is beside them.
///
/// # Errors
/// [`Error::Format`] for files without a question (of a respondent that is no language model) or with columns missing; [`Error::Io`]
///
/// # Source
/// `evaluator.py` and `loggers/evaluation_tracker.py` of <https://github.com/EleutherAI/lm-evaluation-harness>
pub fn write(respondent: &Respondent, out: &mut impl Write) -> Result<Exported> {
    let mut exported = Exported::default();
    for Piece { path, .. } in pieces(&respondent.folder)? {
        let batches = Batches::open(&path, None)?;
        let inputs: BTreeMap<String, Value> =
            batches.metadata().get(KEY_INPUTS).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let question =
            inputs.get("question").and_then(Value::as_str).map(str::to_owned).ok_or_else(|| Error::Format {
                path: path.clone(),
                found: format!("no `question` under `{KEY_INPUTS}`"),
                expected: "the judgments of a language model".into(),
            })?;
        let question = Wording::of(respondent.task, &question, None)?;
        for table in batches {
            for sample in samples(&table?, respondent.task, &question, exported.n + exported.n_unanswered)? {
                match sample {
                    Some(sample) => {
                        serde_json::to_writer(&mut *out, &sample).map_err(std::io::Error::from)?;
                        out.write_all(b"\n")?;
                        exported.n += 1;
                    }
                    None => exported.n_unanswered += 1,
                }
            }
        }
    }
    Ok(exported)
}

/// The samples of some rows; nothing for a row that has neither log-probabilities nor an answer.
fn samples(table: &Table, task: Task, question: &Wording, first: usize) -> Result<Vec<Option<Value>>> {
    let of_options =
        |stem: &str| task.options().iter().map(move |option| format!("{stem}_{option}")).collect::<Vec<_>>();
    let concepts: Vec<Vec<String>> = task.concepts().iter().map(|name| table.names(name)).collect::<Result<_>>()?;
    let log_probs: Vec<_> = of_options("log_prob").iter().map(|name| table.numbers(name)).collect::<Result<_>>()?;
    let n_tokens: Vec<_> = of_options("n_tokens").iter().map(|name| table.integers(name)).collect::<Result<_>>()?;
    let (top_tokens, closed) = (table.text("top_token")?, table.booleans("closed")?);
    let (chosen, responses) = (table.text(task.answer())?, table.text("response")?);
    let (ids, orders, repeats) = (table.integers("triplet_id")?, table.integers("order")?, table.integers("repeat")?);
    let sample = |row: usize| {
        let names: Vec<&str> = concepts.iter().map(|names| names[row].as_str()).collect();
        let prompt = question.ask(names[0], names[1], names[2]);
        let options = &names[names.len() - task.options().len()..];
        let scores: Option<Vec<f64>> = log_probs.iter().map(|of| of[row]).collect();
        let (arguments, responses): (Vec<Value>, Vec<Value>) = match (scores, &responses[row]) {
            (Some(scores), _) => {
                let greedy = |option: usize| {
                    let ends = n_tokens[option][row] == Some(1) && closed[row] == Some(false);
                    is_greedy(options[option], top_tokens[row].as_deref(), ends)
                };
                let request = |(option, score): (usize, f64)| {
                    (json!({ "arg_0": prompt, "arg_1": options[option] }), json!([number(score), greedy(option)]))
                };
                scores.into_iter().enumerate().map(request).unzip()
            }
            (None, Some(response)) => (vec![json!({ "arg_0": prompt, "arg_1": {} })], vec![json!(response)]),
            (None, None) => return None,
        };
        let mut doc = json!({ "triplet_id": ids[row], "order": orders[row], "repeat": repeats[row] });
        for (place, name) in task.concepts().iter().zip(&names) {
            doc[*place] = json!(name);
        }
        let requests = arguments.into_iter().enumerate().map(|(k, request)| (format!("gen_args_{k}"), request));
        Some(json!({
            "doc_id": first + row,
            "target": null,
            "arguments": requests.collect::<serde_json::Map<_, _>>(),
            "resps": responses.iter().map(|response| json!([response])).collect::<Vec<_>>(),
            "filtered_resps": responses,
            "filter": "none",
            "metrics": [],
            "doc_hash": hash(&serde_json::to_string_pretty(&doc).expect("plain values")),
            "prompt_hash": hash(&prompt),
            "target_hash": hash("None"),
            "doc": doc,
            "chosen": chosen[row],
        }))
    };
    Ok((0..table.len()).map(sample).collect())
}

/// A number of 32 bits as it was stored.
#[allow(clippy::cast_possible_truncation, reason = "the column is f32")]
fn number(value: f64) -> String {
    (value as f32).to_string()
}

/// Whether the most probable answer is this option, as far as its first token tells, in Python's words.
fn is_greedy(option: &str, top_token: Option<&str>, token_is_all: bool) -> &'static str {
    match top_token.map(str::trim_start) {
        Some(token) if !option.starts_with(token) => "False",
        Some(token) if token_is_all && option == token.trim_end() => "True",
        _ => "None",
    }
}

fn hash(text: &str) -> String {
    crate::hex(&Sha256::digest(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_token_tells_what_it_can() {
        assert_eq!(is_greedy("bear", Some(" The"), true), "False");
        assert_eq!(is_greedy("bear", Some(" bear"), true), "True");
        assert_eq!(is_greedy("bear", Some(" be"), false), "None");
        assert_eq!(is_greedy("bear", Some(" bear"), false), "None", "more may follow");
        assert_eq!(is_greedy("bear", None, true), "None");
    }
}
