//! Where everything of a study lies.

use std::path::{Path, PathBuf};

use crate::presentations::Task;

/// How names of states end, see [`StudyFolder::states`].
const STATE: &str = ".state.json";

/// A study's output folder.
#[derive(Debug, Clone)]
pub struct StudyFolder {
    root: PathBuf,
}

impl StudyFolder {
    /// The folder at a path; nothing is created.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The study with every default filled in.
    pub fn study(&self) -> PathBuf {
        self.root.join("study.toml")
    }

    /// The triplets asked.
    pub fn triplets(&self) -> PathBuf {
        self.root.join("triplets.parquet")
    }

    /// The reference's coordinates of the study's concepts.
    pub fn reference(&self) -> PathBuf {
        self.root.join("reference.parquet")
    }

    /// The data set of a task's judgments, partitioned by respondent.
    pub fn judgments(&self, task: Task) -> PathBuf {
        self.root.join(match task {
            Task::Anchored => "judgments",
            Task::OddOneOut => "oddoneout",
        })
    }

    /// What was measured while a respondent was asked, by one process or by one of several shards.
    pub fn run_record(&self, label: &str, shard: &str) -> PathBuf {
        self.root.join("runs").join(format!("{label}{shard}.json"))
    }

    /// The records that are there of a respondent: that of one process, or of shards, in the order of their names.
    pub fn run_records(&self, label: &str) -> Vec<PathBuf> {
        let whole = self.run_record(label, "");
        if whole.is_file() {
            return vec![whole];
        }
        let shard = format!("{label}.shard-");
        self.runs(|name| name.starts_with(&shard) && name.ends_with(".json") && !name.ends_with(STATE))
    }

    /// What processes that asked a respondent said last of themselves, by shard.
    pub fn states(&self, label: &str) -> Vec<PathBuf> {
        let (whole, shard) = (format!("{label}{STATE}"), format!("{label}.shard-"));
        self.runs(|name| name == whole || (name.starts_with(&shard) && name.ends_with(STATE)))
    }

    fn runs(&self, ours: impl Fn(&str) -> bool) -> Vec<PathBuf> {
        let there = std::fs::read_dir(self.root.join("runs")).into_iter().flatten().flatten().map(|entry| entry.path());
        let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).is_some_and(&ours);
        let mut found: Vec<PathBuf> = there.filter(name).collect();
        found.sort();
        found
    }

    /// Accuracy and alignment of one respondent's fits against the number of triplets, where `alike learning-curve` wrote it.
    pub fn learning_curve(&self, label: &str) -> PathBuf {
        self.root.join("learning_curves").join(format!("{label}.parquet"))
    }

    /// One fit of one respondent's judgments.
    pub fn embedding(&self, label: &str, fit: &str) -> PathBuf {
        self.root.join("embeddings").join(format!("{label}.{fit}.parquet"))
    }

    /// The alignments of all fits.
    pub fn alignment(&self) -> PathBuf {
        self.root.join("alignment.parquet")
    }

    /// What was asked of the models' ingredients, with every default filled in.
    pub fn regress(&self) -> PathBuf {
        self.root.join("regress.toml")
    }

    /// The models with their scores and properties.
    pub fn models(&self) -> PathBuf {
        self.root.join("models.parquet")
    }

    /// The mixed model of the scores.
    pub fn mixed_model(&self) -> PathBuf {
        self.root.join("mixed_model.json")
    }

    /// The answers to claims.
    pub fn ingredients(&self) -> PathBuf {
        self.root.join("ingredients.parquet")
    }

    /// Correlations of scores and benchmarks.
    pub fn benchmarks(&self) -> PathBuf {
        self.root.join("benchmarks.parquet")
    }

    /// What `alike bench` found, where it was told to write here.
    pub fn bench(&self) -> PathBuf {
        self.root.join("bench.json")
    }

    /// The page.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }
}
