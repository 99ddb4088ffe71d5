//! Judgments in Parquet: `judgments/respondent=LABEL/part-SSSSS-NNNNN.parquet`, those of odd-one-out triplets under
//! `oddoneout/`.

mod columns;
mod compact;
mod order;
mod pieces;
mod read;
mod respondents;
mod validate;
mod write;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

pub use columns::{Column, columns};
pub use compact::{Compacted, compact};
pub use pieces::{Held, Piece, part_number, parts_in_all, pieces};
pub use read::{each, order_tally, read};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::concepts::Concepts;
    use crate::judgments::{Answer, Judgment, ModelScores, OptionScores};
    use crate::presentations::{Presentation, Task};
    use crate::store::manifest::Fingerprint;
    use crate::store::table::Table;

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
        assert!(wrong.contains("a column `anchor_id`"), "{wrong}");
    }

    #[test]
    fn labels_are_folder_names() {
        assert!(check_label("SmolLM2-135M_fp32.chat+pmi").is_ok());
        for bad in ["", "a/b", "..", "a b", "ü", "2024", "1e5", "2024-01-01", "True", "nan"] {
            assert!(check_label(bad).is_err(), "{bad:?}");
        }
    }
}
