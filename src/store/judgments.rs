//! Judgments in Parquet: `judgments/respondent=LABEL/part-SSSSS-NNNNN.parquet`, those of odd-one-out triplets under
//! `oddoneout/`.

mod columns;
mod compact;
mod pieces;
mod respondents;
mod validate;
mod write;

use std::path::{Path, PathBuf};

use crate::concepts::Concepts;
use crate::error::{Error, Result};
use crate::judgments::{Answer, Judgment, ModelScores, OptionScores, OrderTally};
use crate::presentations::{Presentation, Task};
use crate::store::table::Table;

pub use columns::{Column, columns};
pub use compact::{Compacted, compact};
pub use pieces::{Held, Piece, part_number, parts_in_all, pieces};
pub use respondents::{Respondent, respondents};
pub use validate::{Validation, in_words, validate};
pub use write::write_part;

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
pub fn read(folder: &Path, task: Task, label: &str, concepts: &Concepts) -> Result<Vec<Judgment>> {
    let mut all = Vec::new();
    for path in parts(folder, label)? {
        all.extend(read_part(&Table::read(&path)?, task, concepts)?);
    }
    Ok(all)
}

fn read_part(table: &Table, task: Task, concepts: &Concepts) -> Result<Vec<Judgment>> {
    let ids = |column: &&str| -> Result<Vec<u32>> {
        let lookup = |(row, name): (usize, String)| {
            concepts.id(&name).ok_or_else(|| Error::Cell {
                path: table.path.clone(),
                row: row + 1,
                column: (*column).into(),
                found: format!("{name:?}"),
                expected: "a concept of the study".into(),
            })
        };
        table.names(column)?.into_iter().enumerate().map(lookup).collect()
    };
    let concepts_of: Vec<Vec<u32>> = task.concepts().iter().map(ids).collect::<Result<_>>()?;
    let presentation =
        |row: usize| Presentation::new(task, [concepts_of[0][row], concepts_of[1][row], concepts_of[2][row]]);
    let chosen = chosen_places(table, task)?;
    let repeats = table.whole("repeat", table.integers("repeat")?)?;
    let (decisions, kinds) = (table.names("decision")?, table.names("score_kind")?);
    let closed = table.whole("closed", table.booleans("closed")?)?;
    let floats = |name: &str| -> Result<Vec<Option<f32>>> {
        #[allow(clippy::cast_possible_truncation, reason = "the column is f32")]
        Ok(table.numbers(name)?.into_iter().map(|v| v.map(|v| v as f32)).collect())
    };
    let of_options = |stem: &str| -> Result<Vec<Vec<Option<f32>>>> {
        task.options().iter().map(|option| floats(&format!("{stem}_{option}"))).collect()
    };
    let counts = |stem: &str| -> Result<Vec<Vec<Option<i64>>>> {
        task.options().iter().map(|option| table.integers(&format!("{stem}_{option}"))).collect()
    };
    let (scores, log_probs, priors) = (of_options("score")?, of_options("log_prob")?, of_options("prior")?);
    let (p, p_first, p_greedy) = match task {
        Task::Anchored => (vec![floats("p_decision")?], floats("p_first")?, floats("p_first_greedy")?),
        Task::OddOneOut => (of_options("p")?, Vec::new(), Vec::new()),
    };
    let (masses, top_log_probs) = (floats("choice_mass")?, floats("top_log_prob")?);
    let (top_tokens, top_ids) = (table.text("top_token")?, table.integers("top_token_id")?);
    let (tokens, chars, bytes) = (counts("n_tokens")?, counts("n_chars")?, counts("n_bytes")?);
    let prompts = table.integers("n_prompt_tokens")?;
    let (responses, parses) = (table.text("response")?, table.text("parse")?);

    let each = |values: &[Vec<Option<f32>>], row: usize| values.iter().map(|v| v[row]).collect::<Option<Vec<f32>>>();
    let probabilities = |row: usize| {
        let mut p = each(&p, row)?;
        if task == Task::Anchored {
            p.push(1.0 - p[0]);
        }
        Some(p)
    };
    let small = |values: &[Vec<Option<i64>>], row: usize| {
        let get = |value: Option<i64>| value.and_then(|v| i16::try_from(v).ok()).unwrap_or_default();
        values.iter().map(|v| get(v[row])).collect::<Vec<i16>>()
    };
    let of_row = |values: &[Option<f32>], row: usize| values.get(row).copied().flatten();
    let judgment = |row: usize| Judgment {
        presentation: presentation(row),
        repeat: i16::try_from(repeats[row]).unwrap_or(i16::MAX),
        chosen: chosen[row],
        decision: known(&decisions[row], &["argmax", "sample", "generate", "simulated"]),
        score_kind: known(&kinds[row], &SCORE_KINDS),
        scores: each(&scores, row),
        p: probabilities(row),
        model: top_tokens[row].clone().map(|top_token| ModelScores {
            options: each(&log_probs, row).map(|log_prob| OptionScores {
                closed: closed[row],
                prior: each(&priors, row).unwrap_or_else(|| vec![f32::NAN; log_prob.len()]),
                p_first: of_row(&p_first, row),
                p_first_greedy: of_row(&p_greedy, row),
                choice_mass: masses[row].unwrap_or(f32::NAN),
                n_tokens: small(&tokens, row),
                log_prob,
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

/// The place of each row's answer among the options shown.
fn chosen_places(table: &Table, task: Task) -> Result<Vec<Option<usize>>> {
    let answers = table.text(task.answer())?;
    let shown: Vec<Vec<String>> = task.options().iter().map(|option| table.names(option)).collect::<Result<_>>()?;
    let place = |(row, answer): (usize, Option<String>)| {
        let Some(answer) = answer else { return Ok(None) };
        shown.iter().position(|names| names[row] == answer).map(Some).ok_or_else(|| Error::Cell {
            path: table.path.clone(),
            row: row + 1,
            column: task.answer().into(),
            found: format!("{answer:?}"),
            expected: "one of the options".into(),
        })
    };
    answers.into_iter().enumerate().map(place).collect()
}

const SCORE_KINDS: [&str; 8] =
    ["sequence", "per-token", "per-byte", "pmi", "greedy-mask", "cosine", "generate", "simulated"];

const PARSES: [&str; 5] = [
    "parsed",
    "unparsed: no option named",
    "unparsed: both options named",
    "unparsed: several options named",
    "unparsed: empty",
];

/// How the choices of a respondent depend on order, part by part, so that memory does not grow with whole rows.
///
/// # Errors
/// [`Error::Missing`], [`Error::Format`].
pub fn order_tally(files: &[PathBuf], task: Task) -> Result<OrderTally> {
    let mut tally = OrderTally::new(task);
    for path in files {
        let table = Table::read(path)?;
        let whole = |name: &str| table.whole(name, table.integers(name)?);
        let (ids, orders, repeats) = (whole("triplet_id")?, whole("order")?, whole("repeat")?);
        for (row, chosen) in chosen_places(&table, task)?.into_iter().enumerate() {
            let order =
                i8::try_from(orders[row]).ok().filter(|o| usize::try_from(*o).is_ok_and(|o| o < task.orders().len()));
            let order = order.ok_or_else(|| Error::Cell {
                path: path.clone(),
                row: row + 1,
                column: "order".into(),
                found: orders[row].to_string(),
                expected: format!("0 to {}", task.orders().len() - 1),
            })?;
            tally.add(ids[row], order, i16::try_from(repeats[row]).unwrap_or(i16::MAX), chosen);
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
    use crate::store::manifest::Fingerprint;

    fn concepts() -> Concepts {
        Concepts::from_names(["bear", "cat", "dog", "fox"]).unwrap()
    }

    /// Written and read back: what was written, what was read, the table.
    fn round_trip(task: Task, judgments: Vec<Judgment>) -> (tempfile::TempDir, Table) {
        let folder = tempfile::tempdir().unwrap();
        let path = part_path(folder.path(), "me", 0, 0);
        let (fingerprint, held) = (Fingerprint::default().with("seed", 1), Held { parts: 0..1, of: 1 });
        write_part(&path, task, &judgments, &concepts(), "me", &fingerprint, &held).unwrap();
        assert_eq!(read(folder.path(), task, "me", &concepts()).unwrap(), judgments);
        let table = Table::read(&path).unwrap();
        assert_eq!(table.columns(), columns(task).into_iter().map(|c| c.name).collect::<Vec<_>>());
        assert_eq!(table.metadata["alike.schema_version"], "2");
        (folder, table)
    }

    /// A judgment of each kind: scored, answered freely, simulated.
    fn judgments(task: Task) -> Vec<Judgment> {
        let n = task.options().len();
        let of_options = |values: [f32; 3]| values[..n].to_vec();
        let options = OptionScores {
            log_prob: of_options([-1.5, -2.5, -3.5]),
            closed: true,
            prior: of_options([-3.0, -4.0, -5.0]),
            p_first: (task == Task::Anchored).then_some(0.73),
            p_first_greedy: None,
            choice_mass: 0.3,
            n_tokens: [1, 2, 3][..n].to_vec(),
        };
        let model = ModelScores {
            options: Some(options),
            answer: None,
            top_token: "bear".into(),
            top_token_id: 17,
            top_log_prob: -1.0,
            n_chars: [3, 3, 4][..n].to_vec(),
            n_bytes: [3, 4, 5][..n].to_vec(),
            n_prompt_tokens: 50,
        };
        let p = match task {
            Task::Anchored => vec![0.75, 0.25],
            Task::OddOneOut => vec![0.5, 0.25, 0.25],
        };
        let judgment = |concepts, model: Option<ModelScores>| Judgment {
            presentation: Presentation::new(task, concepts),
            repeat: 0,
            chosen: model.as_ref().map(|_| n - 1),
            decision: if model.is_some() { "argmax" } else { "simulated" },
            score_kind: if model.is_some() { "sequence" } else { "simulated" },
            scores: model.as_ref().and_then(|m| m.options.as_ref()).map(|o| o.log_prob.clone()),
            p: Some(p.clone()),
            model,
        };
        let parse = if n == 2 { "unparsed: both options named" } else { "unparsed: several options named" };
        let answer = Answer { response: "A dog, or a fox".into(), parse };
        let free = Judgment {
            chosen: None,
            decision: "generate",
            score_kind: "generate",
            p: None,
            repeat: 2,
            ..judgment([1, 2, 3], Some(ModelScores { options: None, answer: Some(answer), ..model.clone() }))
        };
        vec![judgment([0, 1, 2], Some(model)), free, judgment([1, 3, 0], None)]
    }

    #[test]
    fn judgments_survive_the_round_trip() {
        let (folder, table) = round_trip(Task::Anchored, judgments(Task::Anchored));
        assert_eq!(table.text("chosen").unwrap(), [Some("dog".into()), None, None]);
        assert_eq!(table.booleans("chose_first").unwrap(), [Some(false), None, None]);
        assert_eq!(table.numbers("p_decision").unwrap(), [Some(0.75), None, Some(0.75)]);
        assert_eq!(table.numbers("log_prob_first").unwrap(), [Some(-1.5), None, None]);
        assert_eq!(table.text("response").unwrap()[1].as_deref(), Some("A dog, or a fox"));
        let tally = order_tally(&parts(folder.path(), "me").unwrap(), Task::Anchored).unwrap();
        assert_eq!((tally.n, tally.n_chosen, tally.place_shares().unwrap()), (3, 1, vec![0.0, 1.0]));
    }

    #[test]
    fn odd_one_out_judgments_survive_the_round_trip() {
        let (folder, table) = round_trip(Task::OddOneOut, judgments(Task::OddOneOut));
        assert_eq!(table.text("odd").unwrap(), [Some("dog".into()), None, None]);
        assert_eq!(table.numbers("p_b").unwrap(), [Some(0.25), None, Some(0.25)]);
        assert_eq!(table.numbers("prior_c").unwrap(), [Some(-5.0), None, None]);
        assert_eq!(table.integers("order").unwrap(), [Some(0), Some(0), Some(3)]);
        assert_eq!(table.integers("triplet_id").unwrap(), [Some(0), Some(3), Some(1)]);
        assert_eq!(table.text("parse").unwrap()[1].as_deref(), Some("unparsed: several options named"));
        let tally = order_tally(&parts(folder.path(), "me").unwrap(), Task::OddOneOut).unwrap();
        assert_eq!(tally.place_shares().unwrap(), [0.0, 0.0, 1.0]);
        let wrong = order_tally(&parts(folder.path(), "me").unwrap(), Task::Anchored).unwrap_err().to_string();
        assert!(wrong.contains("a column `chosen`"), "{wrong}");
    }

    #[test]
    fn labels_are_folder_names() {
        assert!(check_label("SmolLM2-135M_fp32.chat+pmi").is_ok());
        for bad in ["", "a/b", "..", "a b", "ü", "2024", "1e5", "2024-01-01", "True", "nan"] {
            assert!(check_label(bad).is_err(), "{bad:?}");
        }
    }
}
