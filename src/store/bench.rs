//! Benchmarks: everything as JSON, and a row for each cell and repeat as Parquet.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use serde_json::Value;

use crate::bench::{Agreement, BENCH_VERSION, Bench, Outcome, Repeat, Row, Summary};
use crate::error::{Error, Result};
use crate::store::judgments::Column;
use crate::store::manifest::Fingerprint;
use crate::store::table;

/// One line of the table: a repeat of a cell, or a cell that could not be measured.
struct Line<'a> {
    bench: &'a Bench,
    row: &'a Row,
    of: Option<Of<'a>>,
    reason: Option<&'a str>,
}

/// What a repeat has.
struct Of<'a> {
    number: usize,
    repeat: &'a Repeat,
    summary: &'a Summary,
    agreement: &'a Agreement,
}

/// How a column takes its value from a line.
enum Take {
    Text(fn(&Line<'_>) -> Option<String>),
    Truth(fn(&Line<'_>) -> Option<bool>),
    Count(fn(&Line<'_>) -> Option<u64>),
    Number(fn(&Line<'_>) -> Option<f64>),
}

/// Name, whether it may be null, what it holds, what it means.
type Described = (&'static str, bool, Take, &'static str);

fn described() -> Vec<Described> {
    use Take::{Count, Number, Text, Truth};
    vec![
        (
            "cell",
            false,
            Text(|l| Some(l.row.cell.to_string())),
            "name of the cell: model/precision/provider/threads/batch_tokens/reuse",
        ),
        (
            "model",
            false,
            Text(|l| Some(l.row.cell.model.clone())),
            "name of the model folder; empty where none has the precision",
        ),
        ("precision", false, Text(|l| Some(l.row.cell.precision.clone())), "precision that the folder states"),
        ("provider", false, Text(|l| Some(l.row.cell.provider.to_string())), "execution provider"),
        (
            "threads",
            false,
            Count(|l| Some(l.row.cell.threads as u64)),
            "threads of the model; 0 leaves it to the runtime, one a core",
        ),
        ("batch_tokens", false, Count(|l| Some(l.row.cell.batch_tokens as u64)), "new tokens in one pass, at most"),
        (
            "reuse",
            false,
            Text(|l| Some(l.row.cell.reuse.name().into())),
            "what is shared between prompts: trie, question or off",
        ),
        (
            "reason",
            true,
            Text(|l| l.reason.map(str::to_owned)),
            "why the cell could not be measured; null where it was",
        ),
        (
            "is_reference",
            false,
            Truth(|l| Some(l.bench.reference.as_ref() == Some(&l.row.cell.to_string()))),
            "whether it is the cell that the others' answers are held against",
        ),
        (
            "repeat",
            true,
            Count(|l| Some(l.of.as_ref()?.number as u64)),
            "number of the repeat, from 1; null of a cell without",
        ),
        (
            "place",
            true,
            Count(|l| Some(l.of.as_ref()?.repeat.place as u64)),
            "place of its process among all of the benchmark, from 0",
        ),
        ("load_before", true, Number(|l| l.of.as_ref()?.repeat.load_before), "load average over a minute before it"),
        (
            "load_after",
            true,
            Number(|l| l.of.as_ref()?.repeat.load_after),
            "load average over a minute after it, itself included",
        ),
        ("n", true, Count(|l| Some(timing(l)?.n as u64)), "presentations timed"),
        (
            "seconds",
            true,
            Number(|l| Some(timing(l)?.seconds)),
            "seconds from tokenising the first to the scores of the last",
        ),
        ("triplets_per_second", true, Number(|l| Some(timing(l)?.triplets_per_second())), "presentations a second"),
        (
            "tokens_logical",
            true,
            Count(|l| Some(timing(l)?.size.logical_tokens as u64)),
            "tokens, were every option a request of its own",
        ),
        (
            "tokens_distinct",
            true,
            Count(|l| Some(timing(l)?.size.distinct_tokens as u64)),
            "the fewest tokens that any plan computes",
        ),
        ("tokens_computed", true, Count(|l| Some(timing(l)?.size.computed_tokens as u64)), "tokens that were computed"),
        (
            "scored_positions",
            true,
            Count(|l| Some(timing(l)?.size.scored_positions as u64)),
            "positions that passed through the head",
        ),
        ("passes", true, Count(|l| Some(timing(l)?.pass_seconds.len() as u64)), "runs of the graph"),
        ("pass_p50_seconds", true, Number(|l| pass(l, 0.5)), "median seconds of a run of the graph, in this repeat"),
        ("pass_p90_seconds", true, Number(|l| pass(l, 0.9)), "nine runs in ten are faster"),
        ("pass_p99_seconds", true, Number(|l| pass(l, 0.99)), "ninety-nine runs in a hundred are faster"),
        ("session_seconds", true, Number(|l| Some(timing(l)?.session_seconds)), "seconds inside the runtime"),
        (
            "tokenise_seconds",
            true,
            Number(|l| Some(timing(l)?.stages.tokenise)),
            "seconds of work on wording and tokens, beside the model",
        ),
        (
            "plan_seconds",
            true,
            Number(|l| Some(timing(l)?.stages.plan)),
            "seconds of work on the trie and its passes, beside the model",
        ),
        (
            "model_seconds",
            true,
            Number(|l| Some(timing(l)?.stages.model)),
            "seconds of passes: inputs, runtime, outputs",
        ),
        (
            "score_seconds",
            true,
            Number(|l| Some(timing(l)?.stages.score)),
            "seconds of work on judgments, beside the model",
        ),
        ("cpu_seconds", true, Number(|l| timing(l)?.cpu_seconds), "processor time of all threads in the seconds timed"),
        ("load_seconds", true, Number(|l| Some(timing(l)?.load_seconds)), "seconds to open the graph and its weights"),
        (
            "neutral_seconds",
            true,
            Number(|l| Some(timing(l)?.neutral_seconds)),
            "seconds of the neutral prompts, which a study pays once; not timed with the rest",
        ),
        ("warm_up", true, Count(|l| Some(timing(l)?.warm_up as u64)), "presentations asked before the clock started"),
        ("warm_up_seconds", true, Number(|l| Some(timing(l)?.warm_up_seconds)), "seconds of these"),
        (
            "first_result_seconds",
            true,
            Number(|l| Some(timing(l)?.first_result_seconds)),
            "seconds from the process's start to its first answer",
        ),
        ("peak_rss_bytes", true, Count(|l| timing(l)?.peak_rss_bytes), "most memory of the process"),
        (
            "gpu_bytes",
            true,
            Count(|l| timing(l)?.gpu_bytes),
            "most memory in use on its GPU, whoever used it; null on the CPU",
        ),
        (
            "energy_joules",
            true,
            Number(|l| timing(l)?.energy_joules),
            "energy of the processors, or of the GPU, in the seconds timed, whoever used it",
        ),
        (
            "max_nats",
            true,
            Number(|l| Some(agreement(l)?.max_nats)),
            "of the cell: largest |difference of log p| of an option from the reference's, nats",
        ),
        ("mean_nats", true, Number(|l| Some(agreement(l)?.mean_nats)), "of the cell: mean of these"),
        (
            "kl_nats",
            true,
            Number(|l| Some(agreement(l)?.kl_nats)),
            "of the cell: mean divergence of p_first from the reference's, nats",
        ),
        (
            "flips",
            true,
            Count(|l| Some(agreement(l)?.flips as u64)),
            "of the cell: choices that are not the reference's",
        ),
        (
            "procrustes_r2",
            true,
            Number(|l| agreement(l)?.procrustes_r2),
            "of the cell: Procrustes R2 of the embeddings of both rows' choices; null where there is none",
        ),
        ("no_procrustes", true, Text(|l| agreement(l)?.no_procrustes.clone()), "why there is none"),
        (
            "repeat_max_nats",
            true,
            Number(|l| Some(l.of.as_ref()?.summary.repeat_max_nats)),
            "of the cell: largest |difference of log p| between its repeats, nats",
        ),
    ]
}

fn timing<'a>(line: &'a Line<'_>) -> Option<&'a crate::bench::Timing> {
    Some(&line.of.as_ref()?.repeat.timing)
}

fn agreement<'a>(line: &'a Line<'_>) -> Option<&'a Agreement> {
    Some(line.of.as_ref()?.agreement)
}

fn pass(line: &Line<'_>, share: f64) -> Option<f64> {
    crate::stats::quantile(&timing(line)?.pass_seconds, share).ok()
}

/// The columns of `bench.parquet`, in order.
pub fn columns() -> Vec<Column> {
    let column = |(name, nullable, take, meaning): Described| Column {
        name: name.into(),
        data_type: match take {
            Take::Text(_) => DataType::Utf8,
            Take::Truth(_) => DataType::Boolean,
            Take::Count(_) => DataType::Int64,
            Take::Number(_) => DataType::Float64,
        },
        nullable,
        meaning: meaning.into(),
    };
    described().into_iter().map(column).collect()
}

/// Writes a row for each cell and repeat, and one for each cell that could not be measured.
///
/// # Errors
/// [`Error::Io`]
pub fn write_table(path: &Path, bench: &Bench) -> Result<()> {
    let mut lines: Vec<Line<'_>> = Vec::new();
    for row in &bench.rows {
        match &row.outcome {
            Outcome::Unavailable { reason } => lines.push(Line { bench, row, of: None, reason: Some(reason) }),
            Outcome::Measured { repeats, summary, agreement, .. } => {
                let of = |(index, repeat)| Of { number: index + 1, repeat, summary, agreement };
                lines.extend(repeats.iter().enumerate().map(|one| Line {
                    bench,
                    row,
                    of: Some(of(one)),
                    reason: None,
                }));
            }
        }
    }
    let count = |n: u64| i64::try_from(n).expect("less than 2^63 of anything");
    let array = |(.., take, _): Described| -> ArrayRef {
        match take {
            Take::Text(value) => Arc::new(lines.iter().map(value).collect::<StringArray>()),
            Take::Truth(value) => Arc::new(lines.iter().map(value).collect::<BooleanArray>()),
            Take::Count(value) => Arc::new(lines.iter().map(|line| value(line).map(count)).collect::<Int64Array>()),
            Take::Number(value) => Arc::new(lines.iter().map(value).collect::<Float64Array>()),
        }
    };
    let fields: Vec<Field> = columns().into_iter().map(|c| Field::new(c.name, c.data_type, c.nullable)).collect();
    let values = described().into_iter().map(array).collect();
    let fingerprint = Fingerprint::default()
        .with("kind", "benchmark")
        .with("bench_version", BENCH_VERSION)
        .with("concepts", &bench.settings.concepts)
        .with("triplets", &bench.settings.presentations)
        .with("seed", bench.settings.seed)
        .with("runtime", &bench.machine.runtime);
    table::write(path, &table::batch(Schema::new(fields), values), &fingerprint.metadata(), &[])
}

/// Writes everything.
///
/// # Errors
/// [`Error::Io`]
pub fn write(path: &Path, bench: &Bench) -> Result<()> {
    table::write_atomically(path, |file| {
        serde_json::to_writer(&mut *file, bench)?;
        file.write_all(b"\n")
    })
}

/// Larger files than this are refused unread.
const MAX_BYTES: u64 = 1 << 30;

/// Reads what [`write()`] wrote.
///
/// # Errors
/// [`Error::Format`] for a file of another version, of another program, or damaged.
pub fn read(path: &Path) -> Result<Bench> {
    let wrong = |found: String, expected: &str| Error::Format { path: path.into(), found, expected: expected.into() };
    let bytes = fs_err::metadata(path)?.len();
    if bytes > MAX_BYTES {
        return Err(wrong(format!("{bytes} bytes"), "a benchmark of less than a gigabyte"));
    }
    let value: Value =
        serde_json::from_slice(&fs_err::read(path)?).map_err(|e| wrong(e.to_string(), "a benchmark in JSON"))?;
    match value["bench_version"].as_u64() {
        Some(version) if version == u64::from(BENCH_VERSION) => {}
        Some(version) => {
            return Err(wrong(
                format!("`bench_version` {version}"),
                &format!("{BENCH_VERSION}, the version of this program's `alike bench`: measure again with it"),
            ));
        }
        None => return Err(wrong("no `bench_version`".into(), "what `alike bench` wrote as bench.json")),
    }
    let bench: Bench = serde_json::from_value(value).map_err(|e| wrong(e.to_string(), "what `alike bench` wrote"))?;
    let empty = |row: &&Row| matches!(&row.outcome, Outcome::Measured { repeats, .. } if repeats.is_empty());
    match bench.rows.iter().find(empty) {
        Some(row) => Err(wrong(format!("no repeats of {}", row.cell), "at least one of each measured cell")),
        None => Ok(bench),
    }
}
