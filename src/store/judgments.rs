//! Judgments in Parquet: `judgments/respondent=LABEL/part-SSSSS-NNNNN.parquet`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::concepts::Concepts;
use crate::error::{Error, Result};
use crate::judgments::{Answer, Judgment, ModelScores, OptionScores, OrderTally};
use crate::store::manifest::Fingerprint;
use crate::store::table::{self, Table};
use crate::triplets::Triplet;

/// A column: name, type, whether it may be null, and what it means.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name.
    pub name: &'static str,
    /// Arrow type.
    pub data_type: DataType,
    /// Whether it may be null.
    pub nullable: bool,
    /// Meaning.
    pub meaning: &'static str,
}

/// The columns of a judgments file, in order.
pub fn columns() -> Vec<Column> {
    use DataType::{Boolean, Float32, Int8, Int16, Int32, Int64, Utf8};
    let column = |name, data_type, nullable, meaning| Column { name, data_type, nullable, meaning };
    vec![
        column("triplet_id", Int64, false, "rank of (anchor, {i < j}) among all triplets; both option orders share it"),
        column("anchor", Utf8, false, "the thing compared with"),
        column("first", Utf8, false, "option shown first"),
        column("second", Utf8, false, "option shown second"),
        column("anchor_id", Int32, false, "position of the anchor among the concepts in UTF-8 byte order"),
        column("first_id", Int32, false, "same of the first option"),
        column("second_id", Int32, false, "same of the second option"),
        column("order", Int8, false, "0 when the first option has the smaller id, else 1"),
        column("repeat", Int16, false, "repetition of the same presentation, from 0"),
        column("chosen", Utf8, true, "the option chosen; null if the answer names neither"),
        column("chose_first", Boolean, true, "whether that is the first option"),
        column("decision", Utf8, false, "argmax, sample, generate or simulated"),
        column(
            "score_kind",
            Utf8,
            false,
            "what decided: sequence, per-token, per-byte, pmi, greedy-mask, cosine (of an encoder), generate or simulated",
        ),
        column("score_first", Float32, true, "the deciding score of the first option"),
        column("score_second", Float32, true, "the deciding score of the second option"),
        column("p_decision", Float32, true, "probability of the first option under the decision"),
        column(
            "log_prob_first",
            Float32,
            true,
            "log-probability (nats) of the first option after the prompt: as written, or with surface_forms of any form of it",
        ),
        column("log_prob_second", Float32, true, "same of the second option"),
        column("closed", Boolean, false, "whether the two include the closing token"),
        column("prior_first", Float32, true, "same as log_prob_first, after the neutral prompt"),
        column("prior_second", Float32, true, "same of the second option"),
        column("p_first", Float32, true, "softmax over log_prob_first and log_prob_second: probability of the first"),
        column(
            "p_first_greedy",
            Float32,
            true,
            "probability of the first when each step is renormalised over permitted tokens; null where one option ends inside the other",
        ),
        column("choice_mass", Float32, true, "probability that the answer is one of the options"),
        column("top_token", Utf8, true, "most probable first token of the answer"),
        column("top_token_id", Int32, true, "its id"),
        column("top_log_prob", Float32, true, "its log-probability (nats)"),
        column("n_tokens_first", Int16, true, "tokens of the first option as written, without the closing one"),
        column("n_tokens_second", Int16, true, "same of the second option"),
        column("n_chars_first", Int16, true, "Unicode characters of the first option"),
        column("n_chars_second", Int16, true, "same of the second option"),
        column("n_bytes_first", Int16, true, "UTF-8 bytes of the first option"),
        column("n_bytes_second", Int16, true, "same of the second option"),
        column("n_prompt_tokens", Int32, true, "tokens of the prompt"),
        column(
            "response",
            Utf8,
            true,
            "free answer without special tokens, trimmed; null unless the decision is generate",
        ),
        column(
            "parse",
            Utf8,
            true,
            "parsed, or unparsed with the reason (no option named, both options named, empty); null unless there is an answer",
        ),
        column("model", Utf8, false, "label of the respondent, as in the folder's name"),
    ]
}

/// Place of a part: `FOLDER/respondent=LABEL/part-SSSSS-NNNNN.parquet`.
pub fn part_path(folder: &Path, label: &str, shard: usize, part: usize) -> PathBuf {
    respondent_path(folder, label).join(format!("part-{shard:05}-{part:05}.parquet"))
}

/// Folder of a respondent.
pub fn respondent_path(folder: &Path, label: &str) -> PathBuf {
    folder.join(format!("respondent={label}"))
}

/// A label must be usable as a folder name and as a Hive partition value.
///
/// Readers guess the type of a partition from its values, so one that reads as a number, a date or a truth value would not
/// come back as text.
///
/// # Errors
/// [`Error::Setting`] for anything but letters, digits, `.`, `_`, `-` and `+`, and for what reads as another type.
pub fn check_label(label: &str) -> Result<()> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-+".contains(c);
    let like_a_date = |c: char| c.is_ascii_digit() || "._-+TZ".contains(c);
    let other_type = label.parse::<f64>().is_ok()
        || label.chars().all(like_a_date)
        || ["true", "false", "null", "none"].contains(&label.to_ascii_lowercase().as_str());
    if label.starts_with('.') || label.len() > 120 || !label.chars().all(fine) || other_type {
        return Err(Error::Setting {
            field: "label".into(),
            found: format!("{label:?}"),
            expected: "up to 120 letters, digits, `.`, `_`, `-` or `+` that do not read as a number, a date or a truth value: it names a folder".into(),
        });
    }
    Ok(())
}

/// Writes one part. `judgments` are in the order of (anchor, first, second, repeat).
///
/// # Errors
/// [`Error::Io`]; nothing half-written is left.
pub fn write_part(
    path: &Path,
    judgments: &[Judgment],
    concepts: &Concepts,
    label: &str,
    fingerprint: &Fingerprint,
) -> Result<()> {
    let fields: Vec<Field> = columns().into_iter().map(|c| Field::new(c.name, c.data_type, c.nullable)).collect();
    let text = |value: &dyn Fn(&Judgment) -> String| -> ArrayRef {
        Arc::new(judgments.iter().map(|j| Some(value(j))).collect::<StringArray>())
    };
    let optional_text = |value: &dyn Fn(&Judgment) -> Option<String>| -> ArrayRef {
        Arc::new(judgments.iter().map(value).collect::<StringArray>())
    };
    let id = |value: &dyn Fn(&Judgment) -> u32| -> ArrayRef {
        let ids = judgments.iter().map(|j| i32::try_from(value(j)).expect("fewer than 2^31 concepts"));
        Arc::new(Int32Array::from_iter_values(ids))
    };
    let float = |value: &dyn Fn(&Judgment) -> Option<f32>| -> ArrayRef {
        Arc::new(judgments.iter().map(value).collect::<Float32Array>())
    };
    let short = |value: &dyn Fn(&ModelScores) -> i16| -> ArrayRef {
        Arc::new(judgments.iter().map(|j| j.model.as_ref().map(value)).collect::<Int16Array>())
    };
    let int = |value: &dyn Fn(&ModelScores) -> i32| -> ArrayRef {
        Arc::new(judgments.iter().map(|j| j.model.as_ref().map(value)).collect::<Int32Array>())
    };
    let scores = |j: &Judgment| j.model.as_ref().and_then(|m| m.options.clone());
    let of_options = |value: &dyn Fn(&OptionScores) -> f32| float(&|j| scores(j).as_ref().map(value));
    let answer = |value: &dyn Fn(&Answer) -> String| {
        optional_text(&|j| j.model.as_ref().and_then(|m| m.answer.as_ref()).map(value))
    };
    let n_tokens = |option: usize| -> ArrayRef {
        Arc::new(judgments.iter().map(|j| scores(j).map(|o| o.n_tokens[option])).collect::<Int16Array>())
    };
    let name = |id: u32| concepts.name(id).to_owned();
    let chosen = |j: &Judgment| j.chose_first.map(|first| if first { j.triplet.first } else { j.triplet.second });
    let n = concepts.len();

    let values: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(judgments.iter().map(|j| j.triplet.id(n)))),
        text(&|j| name(j.triplet.anchor)),
        text(&|j| name(j.triplet.first)),
        text(&|j| name(j.triplet.second)),
        id(&|j| j.triplet.anchor),
        id(&|j| j.triplet.first),
        id(&|j| j.triplet.second),
        Arc::new(Int8Array::from_iter_values(judgments.iter().map(|j| j.triplet.order()))),
        Arc::new(Int16Array::from_iter_values(judgments.iter().map(|j| j.repeat))),
        optional_text(&|j| chosen(j).map(name)),
        Arc::new(judgments.iter().map(|j| j.chose_first).collect::<BooleanArray>()),
        text(&|j| j.decision.to_owned()),
        text(&|j| j.score_kind.to_owned()),
        float(&|j| j.scores.map(|s| s[0])),
        float(&|j| j.scores.map(|s| s[1])),
        float(&|j| j.p_decision),
        of_options(&|o| o.log_prob[0]),
        of_options(&|o| o.log_prob[1]),
        Arc::new(judgments.iter().map(|j| Some(scores(j).is_some_and(|o| o.closed))).collect::<BooleanArray>()),
        of_options(&|o| o.prior[0]),
        of_options(&|o| o.prior[1]),
        of_options(&|o| o.p_first),
        float(&|j| scores(j).and_then(|o| o.p_first_greedy)),
        of_options(&|o| o.choice_mass),
        optional_text(&|j| j.model.as_ref().map(|m| m.top_token.clone())),
        int(&|m| m.top_token_id),
        float(&|j| j.model.as_ref().map(|m| m.top_log_prob)),
        n_tokens(0),
        n_tokens(1),
        short(&|m| m.n_chars[0]),
        short(&|m| m.n_chars[1]),
        short(&|m| m.n_bytes[0]),
        short(&|m| m.n_bytes[1]),
        int(&|m| m.n_prompt_tokens),
        answer(&|a| a.response.clone()),
        answer(&|a| a.parse.to_owned()),
        text(&|_| label.to_owned()),
    ];
    let batch = table::batch(Schema::new(fields), values);
    table::write(path, &batch, &fingerprint.metadata(), &["anchor", "first", "second"])
}

/// Parts of one respondent, in order.
///
/// # Errors
/// [`Error::Missing`] when there is none.
pub fn parts(folder: &Path, label: &str) -> Result<Vec<PathBuf>> {
    let respondent = respondent_path(folder, label);
    let parts = if respondent.is_dir() { parquet_files(&respondent)? } else { Vec::new() };
    if parts.is_empty() {
        return Err(Error::Missing {
            what: "judgments",
            path: respondent,
            hint: "run `alike judge`, or `alike run` for the whole study".into(),
        });
    }
    Ok(parts)
}

/// Parquet files directly in a folder, in the order of their names.
pub(crate) fn parquet_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "parquet") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads all judgments of a respondent back.
///
/// # Errors
/// [`Error::Missing`], [`Error::Format`], and [`Error::Cell`] for a name that is not in `concepts`.
pub fn read(folder: &Path, label: &str, concepts: &Concepts) -> Result<Vec<Judgment>> {
    let mut all = Vec::new();
    for path in parts(folder, label)? {
        all.extend(read_part(&Table::read(&path)?, concepts)?);
    }
    Ok(all)
}

fn read_part(table: &Table, concepts: &Concepts) -> Result<Vec<Judgment>> {
    let ids = |column: &str| -> Result<Vec<u32>> {
        let lookup = |(row, name): (usize, String)| {
            concepts.id(&name).ok_or_else(|| Error::Cell {
                path: table.path.clone(),
                row: row + 1,
                column: column.into(),
                found: format!("{name:?}"),
                expected: "a concept of the study".into(),
            })
        };
        table.names(column)?.into_iter().enumerate().map(lookup).collect()
    };
    let (anchors, firsts, seconds) = (ids("anchor")?, ids("first")?, ids("second")?);
    let repeats = table.whole("repeat", table.integers("repeat")?)?;
    let chose_first = table.booleans("chose_first")?;
    let (decisions, kinds) = (table.names("decision")?, table.names("score_kind")?);
    let closed = table.whole("closed", table.booleans("closed")?)?;
    let floats = |name: &str| -> Result<Vec<Option<f32>>> {
        #[allow(clippy::cast_possible_truncation, reason = "the column is f32")]
        Ok(table.numbers(name)?.into_iter().map(|v| v.map(|v| v as f32)).collect())
    };
    let pair = |stem: &str| -> Result<[Vec<Option<f32>>; 2]> {
        Ok([floats(&format!("{stem}_first"))?, floats(&format!("{stem}_second"))?])
    };
    let counts = |stem: &str| -> Result<[Vec<Option<i64>>; 2]> {
        Ok([table.integers(&format!("{stem}_first"))?, table.integers(&format!("{stem}_second"))?])
    };
    let (scores, log_probs, priors) = (pair("score")?, pair("log_prob")?, pair("prior")?);
    let (p_decision, p_first, p_greedy) = (floats("p_decision")?, floats("p_first")?, floats("p_first_greedy")?);
    let (masses, top_log_probs) = (floats("choice_mass")?, floats("top_log_prob")?);
    let (top_tokens, top_ids) = (table.text("top_token")?, table.integers("top_token_id")?);
    let (tokens, chars, bytes) = (counts("n_tokens")?, counts("n_chars")?, counts("n_bytes")?);
    let prompts = table.integers("n_prompt_tokens")?;
    let (responses, parses) = (table.text("response")?, table.text("parse")?);

    let both = |values: &[Vec<Option<f32>>; 2], row: usize| Some([values[0][row]?, values[1][row]?]);
    let small = |values: &[Vec<Option<i64>>; 2], row: usize| {
        let get = |side: usize| values[side][row].and_then(|v| i16::try_from(v).ok()).unwrap_or_default();
        [get(0), get(1)]
    };
    let judgment = |row: usize| Judgment {
        triplet: Triplet { anchor: anchors[row], first: firsts[row], second: seconds[row] },
        repeat: i16::try_from(repeats[row]).unwrap_or(i16::MAX),
        chose_first: chose_first[row],
        decision: known(&decisions[row], &["argmax", "sample", "generate", "simulated"]),
        score_kind: known(&kinds[row], &SCORE_KINDS),
        scores: both(&scores, row),
        p_decision: p_decision[row],
        model: top_tokens[row].clone().map(|top_token| ModelScores {
            options: both(&log_probs, row).map(|log_prob| OptionScores {
                log_prob,
                closed: closed[row],
                prior: both(&priors, row).unwrap_or([f32::NAN; 2]),
                p_first: p_first[row].unwrap_or(f32::NAN),
                p_first_greedy: p_greedy[row],
                choice_mass: masses[row].unwrap_or(f32::NAN),
                n_tokens: small(&tokens, row),
            }),
            answer: responses[row].clone().map(|response| {
                let parse = parses[row].as_deref().unwrap_or_default();
                Answer { response, parse: known(parse, &PARSES) }
            }),
            top_token,
            top_token_id: top_ids[row].and_then(|v| i32::try_from(v).ok()).unwrap_or(-1),
            top_log_prob: top_log_probs[row].unwrap_or(f32::NAN),
            n_chars: small(&chars, row),
            n_bytes: small(&bytes, row),
            n_prompt_tokens: prompts[row].and_then(|v| i32::try_from(v).ok()).unwrap_or_default(),
        }),
    };
    Ok((0..table.len()).map(judgment).collect())
}

const SCORE_KINDS: [&str; 8] =
    ["sequence", "per-token", "per-byte", "pmi", "greedy-mask", "cosine", "generate", "simulated"];

const PARSES: [&str; 4] = ["parsed", "unparsed: no option named", "unparsed: both options named", "unparsed: empty"];

/// How the choices of a respondent depend on order, part by part, so that memory does not grow with whole rows.
///
/// # Errors
/// [`Error::Missing`], [`Error::Format`].
pub fn order_tally(folder: &Path, label: &str) -> Result<OrderTally> {
    let mut tally = OrderTally::default();
    for path in parts(folder, label)? {
        let table = Table::read(&path)?;
        let whole = |name: &str| table.whole(name, table.integers(name)?);
        let (ids, orders, repeats) = (whole("triplet_id")?, whole("order")?, whole("repeat")?);
        for (row, chose_first) in table.booleans("chose_first")?.into_iter().enumerate() {
            let order = i8::from(orders[row] != 0);
            tally.add(ids[row], order, i16::try_from(repeats[row]).unwrap_or(i16::MAX), chose_first);
        }
    }
    Ok(tally)
}

fn known(text: &str, names: &[&'static str]) -> &'static str {
    names.iter().find(|name| **name == text).copied().unwrap_or("other")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judgments_survive_the_round_trip() {
        let concepts = Concepts::from_names(["bear", "cat", "dog", "fox"]).unwrap();
        let options = OptionScores {
            log_prob: [-1.5, -2.5],
            closed: true,
            prior: [-3.0, -4.0],
            p_first: 0.73,
            p_first_greedy: None,
            choice_mass: 0.3,
            n_tokens: [1, 2],
        };
        let model = ModelScores {
            options: Some(options),
            answer: None,
            top_token: "bear".into(),
            top_token_id: 17,
            top_log_prob: -1.0,
            n_chars: [3, 3],
            n_bytes: [3, 4],
            n_prompt_tokens: 50,
        };
        let judgment = |anchor, first, second, model: Option<ModelScores>| Judgment {
            triplet: Triplet { anchor, first, second },
            repeat: 0,
            chose_first: model.as_ref().map(|_| true),
            decision: if model.is_some() { "argmax" } else { "simulated" },
            score_kind: if model.is_some() { "sequence" } else { "simulated" },
            scores: model.as_ref().and_then(|m| m.options.as_ref()).map(|o| o.log_prob),
            p_decision: Some(0.7),
            model,
        };
        let answer = Answer { response: "A dog, or a fox".into(), parse: "unparsed: both options named" };
        let free = Judgment {
            chose_first: None,
            decision: "generate",
            score_kind: "generate",
            p_decision: None,
            repeat: 2,
            ..judgment(1, 2, 3, Some(ModelScores { options: None, answer: Some(answer), ..model.clone() }))
        };
        let written = vec![judgment(0, 1, 2, Some(model)), free, judgment(1, 3, 0, None)];
        let folder = tempfile::tempdir().unwrap();
        let path = part_path(folder.path(), "me", 0, 0);
        write_part(&path, &written, &concepts, "me", &Fingerprint::default().with("seed", 1)).unwrap();
        assert_eq!(read(folder.path(), "me", &concepts).unwrap(), written);

        let table = Table::read(&path).unwrap();
        assert_eq!(table.columns(), columns().iter().map(|c| c.name.to_owned()).collect::<Vec<_>>());
        assert_eq!(table.metadata["alike.schema_version"], "1");
        assert_eq!(table.text("chosen").unwrap(), [Some("cat".into()), None, None]);
        assert_eq!(table.numbers("log_prob_first").unwrap(), [Some(-1.5), None, None]);
        assert_eq!(table.text("response").unwrap()[1].as_deref(), Some("A dog, or a fox"));
        let tally = order_tally(folder.path(), "me").unwrap();
        assert_eq!((tally.n, tally.n_chosen, tally.first_share()), (3, 1, Some(1.0)));
    }

    #[test]
    fn labels_are_folder_names() {
        assert!(check_label("SmolLM2-135M_fp32.chat+pmi").is_ok());
        for bad in ["", "a/b", "..", "a b", "ü", "2024", "1e5", "2024-01-01", "True", "nan"] {
            assert!(check_label(bad).is_err(), "{bad:?}");
        }
    }
}
