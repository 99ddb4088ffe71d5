//! Scores in Parquet: one row for each choice of each request.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};

use crate::error::Result;
use crate::multiple_choice::{Accuracy, Rule, Scored};
use crate::store::judgments::Column;
use crate::store::lock::{self, PartLock};
use crate::store::manifest::Fingerprint;
use crate::store::table::{Batches, Layout, TableWriter, batch, sweep};

/// The columns of a scores file, in order.
pub fn columns() -> Vec<Column> {
    use DataType::{Boolean, Float32, Int32, Int64, Utf8};
    let column = |name: &str, data_type, nullable, meaning: &str| Column {
        name: name.into(),
        data_type,
        nullable,
        meaning: meaning.into(),
    };
    vec![
        column("request", Int64, false, "position of the request in its file, from 0"),
        column("id", Utf8, false, "name of the request; its position where the file gives none"),
        column("choice", Int32, false, "index of the choice in its request, from 0"),
        column("text", Utf8, false, "the choice as written"),
        column("is_gold", Boolean, true, "whether this is the right choice; null where the request names none"),
        column("log_prob", Float32, false, "log-probability (nats) of delimiter and choice after the prompt"),
        column("log_prob_empty", Float32, true, "same after the empty context (BOS alone) or the request's `context`"),
        column("closed", Boolean, false, "whether the two include the closing token"),
        column("n_tokens", Int32, false, "tokens scored, without the closing one"),
        column("n_chars", Int32, false, "Unicode characters of the choice without delimiter"),
        column("n_bytes", Int32, false, "UTF-8 bytes of the choice without delimiter"),
        column("p", Float32, false, "softmax over log_prob of the request's choices"),
        column("greedy", Boolean, false, "whether each scored token is the most probable one at its place"),
        column("chosen_acc", Boolean, false, "whether log_prob is the highest; of equal ones the first"),
        column("chosen_acc_norm", Boolean, false, "same of log_prob / n_chars"),
        column("chosen_acc_bytes", Boolean, false, "same of log_prob / n_bytes"),
        column("chosen_acc_token", Boolean, false, "same of log_prob / n_tokens"),
        column("chosen_acc_mutual_info", Boolean, true, "same of log_prob - log_prob_empty; null without that"),
        column(
            "choice_mass",
            Float32,
            false,
            "probability that an answer begins with one of the choices (is one, if closed)",
        ),
        column("n_choices", Int32, false, "choices of the request"),
        column("n_prompt_tokens", Int32, false, "tokens before the scored ones"),
        column(
            "n_moved_tokens",
            Int32,
            false,
            "tokens the prompt alone has beyond those: its end merges, or is scored, with the choices",
        ),
        column("top_token", Utf8, false, "most probable first token of an answer"),
        column("top_token_id", Int32, false, "its id"),
        column("top_log_prob", Float32, false, "its log-probability (nats)"),
        column("model", Utf8, false, "label of the model"),
    ]
}

/// A request and one of its choices.
type Row<'a> = (&'a Scored, usize);

fn choice_text<'a>((one, choice): &Row<'a>) -> &'a str {
    &one.request.choices[*choice]
}

/// A file of scores while it is made: parts in a folder beside it, each whole or not there, until all of them are put together. Nobody
/// else makes the same file for as long as it lives.
pub struct ScoreParts {
    out: PathBuf,
    label: String,
    fingerprint: Fingerprint,
    _lock: PartLock,
}

impl ScoreParts {
    /// Takes a file's place, and the folder of its parts, which is made.
    ///
    /// # Errors
    /// [`Error::Locked`](crate::Error::Locked) while another process makes the same file, [`Error::Io`](crate::Error::Io)
    pub fn open(out: &Path, label: &str, fingerprint: &Fingerprint) -> Result<Self> {
        let _lock = PartLock::new(&folder(out), lock::ALL)?;
        Ok(Self { out: out.into(), label: label.into(), fingerprint: fingerprint.clone(), _lock })
    }

    /// Where a part is.
    pub fn path(&self, part: usize) -> PathBuf {
        folder(&self.out).join(format!("part-{part:05}.parquet"))
    }

    /// Writes the choices of some requests as one part.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io); nothing half-written is left.
    pub fn write(&self, part: usize, scored: &[Scored]) -> Result<()> {
        let rows = rows(scored, &self.label);
        let mut writer = self.writer(&self.path(part))?;
        writer.write(&rows)?;
        writer.finish()
    }

    /// Puts the first parts together, and removes them; the same parts give the same bytes.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io), [`Error::Format`](crate::Error::Format) for a part that is not as it was written
    pub fn put_together(self, n_parts: usize) -> Result<()> {
        let mut writer = self.writer(&self.out)?;
        for part in 0..n_parts {
            for table in Batches::open(&self.path(part), None)? {
                writer.write(table?.batch())?;
            }
        }
        writer.finish()?;
        self.remove()
    }

    /// Removes all parts.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io)
    pub fn remove(self) -> Result<()> {
        Ok(fs_err::remove_dir_all(folder(&self.out))?)
    }

    fn writer(&self, path: &Path) -> Result<TableWriter> {
        sweep(path);
        let layout = Layout { sorted_by: &["request", "choice"], repeating: &[] };
        TableWriter::create(path, &Arc::new(schema()), &self.fingerprint.metadata(), layout)
    }
}

/// Where the parts of a file are while it is made: beside it.
fn folder(out: &Path) -> PathBuf {
    let mut name = out.as_os_str().to_owned();
    name.push(".parts");
    name.into()
}

fn schema() -> Schema {
    Schema::new(columns().into_iter().map(|c| Field::new(c.name, c.data_type, c.nullable)).collect::<Vec<Field>>())
}

/// How many choices a file of scores has, and how often each rule is right.
///
/// # Errors
/// [`Error::Format`](crate::Error::Format) for a file that is not one of scores, or damaged
pub fn read_accuracy(path: &Path) -> Result<(usize, Accuracy)> {
    let chosen = Rule::ALL.map(|rule| format!("chosen_{}", rule.name()));
    let names: Vec<&str> = std::iter::once("is_gold").chain(chosen.iter().map(String::as_str)).collect();
    let (mut n_choices, mut accuracy) = (0, Accuracy::default());
    for table in Batches::open(path, Some(&names))? {
        let table = table?;
        let gold = table.booleans("is_gold")?;
        let columns: Vec<Vec<Option<bool>>> = chosen.iter().map(|name| table.booleans(name)).collect::<Result<_>>()?;
        n_choices += gold.len();
        for row in (0..gold.len()).filter(|row| gold[*row] == Some(true)) {
            accuracy.add(std::array::from_fn(|rule| columns[rule][row]));
        }
    }
    Ok((n_choices, accuracy))
}

/// A row for each choice.
fn rows(scored: &[Scored], label: &str) -> RecordBatch {
    let rows: Vec<Row<'_>> =
        scored.iter().flat_map(|one| (0..one.choices.len()).map(move |choice| (one, choice))).collect();
    let text = |value: &dyn Fn(&Row<'_>) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(value(row))).collect::<StringArray>())
    };
    let int = |value: &dyn Fn(&Row<'_>) -> usize| -> ArrayRef {
        let stored = |n: usize| i32::try_from(n).unwrap_or(i32::MAX);
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| stored(value(row)))))
    };
    #[allow(clippy::cast_possible_truncation, reason = "stored as f32")]
    let float = |value: &dyn Fn(&Row<'_>) -> Option<f64>| -> ArrayRef {
        Arc::new(rows.iter().map(|row| value(row).map(|v| v as f32)).collect::<Float32Array>())
    };
    let truth = |value: &dyn Fn(&Row<'_>) -> Option<bool>| -> ArrayRef {
        Arc::new(rows.iter().map(value).collect::<BooleanArray>())
    };

    let requests = rows.iter().map(|(one, _)| i64::try_from(one.request.row).expect("fewer than 2^63 requests"));
    let mut values: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(requests)),
        text(&|(one, _)| one.request.id.clone()),
        int(&|(_, choice)| *choice),
        text(&|row| choice_text(row).to_owned()),
        truth(&|(one, choice)| one.request.gold.map(|gold| gold == *choice)),
        float(&|(one, choice)| Some(one.choices[*choice].log_prob)),
        float(&|(one, choice)| one.choices[*choice].log_prob_empty),
        truth(&|(one, _)| Some(one.closed)),
        int(&|(one, choice)| one.choices[*choice].n_tokens),
        int(&|row| choice_text(row).chars().count()),
        int(&|row| choice_text(row).len()),
        float(&|(one, choice)| Some(one.p[*choice])),
        truth(&|(one, choice)| Some(one.choices[*choice].greedy)),
    ];
    let chosen = |rule: usize| truth(&|(one, choice)| one.chosen[rule].map(|chosen| chosen == *choice));
    values.extend((0..Rule::ALL.len()).map(chosen));
    values.extend([
        float(&|(one, _)| Some(one.choice_mass)),
        int(&|(one, _)| one.choices.len()),
        int(&|(one, _)| one.n_prompt_tokens),
        int(&|(one, _)| one.n_moved_tokens),
        text(&|(one, _)| one.top_text.clone()),
        int(&|(one, _)| one.top.token as usize),
        float(&|(one, _)| Some(f64::from(one.top.log_prob))),
        text(&|_| label.to_owned()),
    ]);
    batch(schema(), values)
}
