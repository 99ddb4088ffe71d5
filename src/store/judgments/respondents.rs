//! The respondents of a data set, wherever somebody points at it.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::store::folder::StudyFolder;
use crate::store::table::Batches;

/// A respondent's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Respondent {
    /// `…/respondent=LABEL`
    pub folder: PathBuf,
    /// The label.
    pub label: String,
    /// What was asked.
    pub task: Task,
}

/// The respondents in a study's output folder, in a data set, or in the folder of one respondent, in the order of their labels.
///
/// # Errors
/// [`Error::Missing`] where there is none, [`Error::Io`]
pub fn respondents(path: &Path) -> Result<Vec<Respondent>> {
    let study = StudyFolder::new(path);
    let tasks = [Task::Anchored, Task::OddOneOut].map(|task| study.judgments(task));
    let mut found = Vec::new();
    if let Some(label) = label_of(path) {
        found.push(respondent(path.to_owned(), label)?);
    } else {
        for data_set in std::iter::once(path.to_owned()).chain(tasks).filter(|folder| folder.is_dir()) {
            for entry in fs_err::read_dir(data_set)? {
                let folder = entry?.path();
                if let Some(label) = label_of(&folder).filter(|_| folder.is_dir()) {
                    found.push(respondent(folder, label)?);
                }
            }
        }
    }
    if found.is_empty() {
        return Err(Error::Missing {
            what: "judgments",
            path: path.into(),
            hint: "name a study's output folder, its `judgments` folder, or one `respondent=LABEL` in there".into(),
        });
    }
    found.sort_by(|a, b| (&a.label, &a.folder).cmp(&(&b.label, &b.folder)));
    Ok(found)
}

fn label_of(folder: &Path) -> Option<String> {
    folder.file_name()?.to_str()?.strip_prefix("respondent=").map(str::to_owned)
}

fn respondent(folder: PathBuf, label: String) -> Result<Respondent> {
    // A damaged file does not tell; the data set's own name does, where it is that of a study.
    let columns =
        super::parquet_files(&folder)?.iter().find_map(|path| Some(Batches::open(path, None).ok()?.columns()));
    let of_name = || {
        let data_set = folder.parent().and_then(Path::file_name);
        if data_set.is_some_and(|name| name == "oddoneout") { Task::OddOneOut } else { Task::Anchored }
    };
    let task = columns.and_then(|columns| Task::of_columns(&columns)).unwrap_or_else(of_name);
    Ok(Respondent { folder, label, task })
}
