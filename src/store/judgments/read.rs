//! Judgments back from disk, some thousand at a time, so that memory does not grow with them.

use std::path::{Path, PathBuf};

use super::order::Order;
use super::{parts, pieces, respondent_path};
use crate::concepts::Concepts;
use crate::error::{Error, Result};
use crate::judgments::{Answer, Judgment, ModelScores, OptionScores, OrderTally};
use crate::presentations::{Presentation, Task};
use crate::store::table::{Batches, Table};

/// Hands over the judgments of a respondent one after the other, in their order.
///
/// # Errors
/// [`Error::Missing`], [`Error::Format`], also for rows that are not in order, and [`Error::Cell`] for a name that is not in `concepts`.
pub fn each(folder: &Path, task: Task, label: &str, concepts: &Concepts, mut take: impl FnMut(Judgment)) -> Result<()> {
    parts(folder, label)?; // there are some
    let mut order = Order::new(task);
    for piece in pieces(&respondent_path(folder, label))? {
        for table in Batches::open(&piece.path, None)? {
            let table = table?;
            order.check(&table)?;
            judgments(&table, task, concepts)?.into_iter().for_each(&mut take);
        }
    }
    Ok(())
}

/// All judgments of a respondent at once.
///
/// # Errors
/// Those of [`each`].
pub fn read(folder: &Path, task: Task, label: &str, concepts: &Concepts) -> Result<Vec<Judgment>> {
    let mut all = Vec::new();
    each(folder, task, label, concepts, |judgment| all.push(judgment))?;
    Ok(all)
}

/// The judgments of some rows.
fn judgments(table: &Table, task: Task, concepts: &Concepts) -> Result<Vec<Judgment>> {
    let ids = |column: &&str| -> Result<Vec<u32>> {
        let lookup = |(row, name): (usize, String)| {
            concepts.id(&name).ok_or_else(|| Error::Cell {
                path: table.path.clone(),
                row: table.first_row + row + 1,
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
pub(super) fn chosen_places(table: &Table, task: Task) -> Result<Vec<Option<usize>>> {
    let answers = table.text(task.answer())?;
    let shown: Vec<Vec<String>> = task.options().iter().map(|option| table.names(option)).collect::<Result<_>>()?;
    let place = |(row, answer): (usize, Option<String>)| {
        let Some(answer) = answer else { return Ok(None) };
        shown.iter().position(|names| names[row] == answer).map(Some).ok_or_else(|| Error::Cell {
            path: table.path.clone(),
            row: table.first_row + row + 1,
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

/// How the choices in a respondent's files, in their order, depend on the order in which options are shown. Memory grows with the
/// judgments under one anchor; of odd-one-out triplets, which have none, with all of them.
///
/// # Errors
/// [`Error::Format`], also for rows that are not in order; [`Error::Cell`]
pub fn order_tally(files: &[PathBuf], task: Task) -> Result<OrderTally> {
    let needed: Vec<String> =
        Order::columns(task).chain(["triplet_id", "order", task.answer()].map(str::to_owned)).collect();
    let needed: Vec<&str> = needed.iter().map(String::as_str).chain(task.options().iter().copied()).collect();
    let (mut tally, mut order) = (OrderTally::new(task), Order::new(task));
    for path in files {
        for table in Batches::open(path, Some(&needed))? {
            let table = table?;
            order.check(&table)?;
            tally_rows(&table, task, &mut tally)?;
        }
    }
    Ok(tally)
}

fn tally_rows(table: &Table, task: Task, tally: &mut OrderTally) -> Result<()> {
    let whole = |name: &str| table.whole(name, table.integers(name)?);
    let first = whole(&format!("{}_id", task.concepts()[0]))?;
    let (ids, orders, repeats) = (whole("triplet_id")?, whole("order")?, whole("repeat")?);
    for (row, chosen) in chosen_places(table, task)?.into_iter().enumerate() {
        let order =
            i8::try_from(orders[row]).ok().filter(|o| usize::try_from(*o).is_ok_and(|o| o < task.orders().len()));
        let order = order.ok_or_else(|| Error::Cell {
            path: table.path.clone(),
            row: table.first_row + row + 1,
            column: "order".into(),
            found: orders[row].to_string(),
            expected: format!("0 to {}", task.orders().len() - 1),
        })?;
        tally.add(first[row], ids[row], order, i16::try_from(repeats[row]).unwrap_or(i16::MAX), chosen);
    }
    Ok(())
}

fn known(text: &str, names: &[&'static str]) -> &'static str {
    names.iter().find(|name| **name == text).copied().unwrap_or("other")
}
