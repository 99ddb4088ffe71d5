//! What was measured while a respondent answered.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::report::data::{Run, Stage};

/// The record of a run, with the seconds that the records beside embeddings tell; `None` of a respondent without a record.
pub(super) fn run(record: &Value, embeddings: &[PathBuf]) -> Option<Run> {
    let number = |name: &str| record[name].as_f64();
    let count = |name: &str| record[name].as_u64().and_then(|n| usize::try_from(n).ok());
    let n_made = count("made")?;
    let (load, self_test) = (number("load_seconds"), number("self_test_seconds"));
    let (judge, model) = (number("judge_seconds"), number("session_seconds"));
    // What is not one of the stages that were timed.
    let timed = load.unwrap_or(0.0) + self_test.unwrap_or(0.0) + judge.unwrap_or(0.0);
    let files = number("seconds").map(|all| (all - timed).max(0.0));
    let beside = judge.map(|judge| (judge - model.unwrap_or(0.0)).max(0.0));
    let fit = embeddings.iter().map(|path| fit_seconds(path)).sum::<Option<f64>>();
    let stages = [
        (Stage::Files, files),
        (Stage::Load, load),
        (Stage::SelfTest, self_test),
        (Stage::Model, model),
        (Stage::Beside, beside),
        (Stage::Fit, fit),
    ];
    Some(Run {
        n_made,
        triplets_per_second: number("triplets_per_second"),
        tokens_computed: count("tokens_computed"),
        tokens_logical: count("tokens_logical"),
        seconds: stages.into_iter().filter_map(|(stage, seconds)| Some((stage, seconds?))).collect(),
    })
}

/// The record of several shards together: sums, and the rate of one process. One record stays as it is.
pub(super) fn together(records: impl Iterator<Item = Value>) -> Value {
    const SUMMED: [&str; 10] = [
        "made",
        "kept",
        "seconds",
        "load_seconds",
        "self_test_seconds",
        "judge_seconds",
        "session_seconds",
        "tokens_computed",
        "tokens_logical",
        "tokens_distinct",
    ];
    let sum = |all: Value, one: Value| {
        if all.is_null() {
            return one;
        }
        let mut all = all;
        for name in SUMMED {
            all[name] = match (all[name].as_u64(), one[name].as_u64()) {
                (Some(a), Some(b)) => (a + b).into(),
                _ => all[name].as_f64().zip(one[name].as_f64()).map(|(a, b)| a + b).into(),
            };
        }
        let (made, repeats) = (all["made"].as_f64(), all["repeats"].as_f64().unwrap_or(1.0));
        let rate = made.zip(all["judge_seconds"].as_f64()).map(|(made, seconds)| made / repeats / seconds);
        all["triplets_per_second"] = rate.into();
        all
    };
    records.fold(Value::Null, sum)
}

/// Seconds of one fit, from the record beside it.
fn fit_seconds(embedding: &Path) -> Option<f64> {
    let record = fs_err::read(embedding.with_extension("json")).ok()?;
    serde_json::from_slice::<Value>(&record).ok()?["seconds"].as_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stages_add_up_to_the_run() {
        let record = json!({
            "made": 8, "seconds": 10.0, "load_seconds": 1.5, "self_test_seconds": 0.5, "judge_seconds": 6.0,
            "session_seconds": 5.75, "triplets_per_second": 2.0, "tokens_computed": 40,
        });
        let run = run(&record, &[]).unwrap();
        let seconds = [
            (Stage::Files, 2.0),
            (Stage::Load, 1.5),
            (Stage::SelfTest, 0.5),
            (Stage::Model, 5.75),
            (Stage::Beside, 0.25),
            (Stage::Fit, 0.0),
        ];
        assert_eq!(run.seconds, seconds);
        assert_eq!((run.tokens_computed, run.tokens_logical), (Some(40), None));
    }

    #[test]
    fn shards_add_up() {
        let shard =
            |made: u64, seconds: f64| json!({ "made": made, "judge_seconds": seconds, "repeats": 2, "style": "chat" });
        let all = together([shard(8, 2.0), shard(4, 4.0)].into_iter());
        assert_eq!((&all["made"], &all["judge_seconds"], &all["style"]), (&json!(12), &json!(6.0), &json!("chat")));
        assert_eq!((&all["triplets_per_second"], &all["kept"]), (&json!(1.0), &Value::Null));
        assert_eq!(together([shard(8, 2.0)].into_iter()), shard(8, 2.0));
        assert_eq!(together([].into_iter()), Value::Null);
    }

    #[test]
    fn without_a_record_nothing_is_said() {
        assert_eq!(run(&Value::Null, &[]), None);
        let unknown = run(&json!({ "made": 1 }), &["nowhere.parquet".into()]).unwrap();
        assert_eq!(unknown.seconds, []);
    }
}
