//! The study file: one TOML says what is asked of whom and what is done with the answers.

mod align;
mod embed;
mod faults;
mod judge;
mod regress;
mod respondents;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::embedding::Fitting;
use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::prompts::template::{Example, Wording};
use crate::respondents::encoder::{check_temperature, check_template};
use crate::scoring::Decision;
use crate::store::folder::StudyFolder;

pub use align::{AlignSection, BUILT_IN_REFERENCE};
pub use embed::{EmbedSection, FitName, LossName, SparseName};
pub(crate) use faults::{nearest, toml_error};
pub use judge::JudgeSection;
pub use regress::{BenchmarkSection, Claim, RegressFile, RegressSection};
pub use respondents::{Model, Response, Simulated};

/// A study, every default filled in. Paths in the file are relative to the file; `out` is relative to where alike runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Name, seed, place.
    pub study: General,
    /// What is judged.
    pub concepts: ConceptSource,
    /// Which triplets are asked.
    pub triplets: TripletSource,
    /// How they are put.
    #[serde(default)]
    pub prompt: Prompt,
    /// Language models and encoders that answer.
    #[serde(default)]
    pub models: Vec<Model>,
    /// Simulated subjects that answer.
    #[serde(default)]
    pub simulated: Vec<Simulated>,
    /// How answers become choices.
    #[serde(default)]
    pub judge: JudgeSection,
    /// How choices become coordinates.
    #[serde(default)]
    pub embed: EmbedSection,
    /// What coordinates are compared with.
    #[serde(default)]
    pub align: AlignSection,
    /// What is asked of the models' ingredients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regress: Option<RegressSection>,
    /// What the page is called.
    #[serde(default)]
    pub report: ReportSection,
}

/// `[study]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct General {
    /// Name of the study.
    pub name: String,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// Output folder; `out/NAME` unless set.
    #[serde(default)]
    pub out: PathBuf,
}

impl General {
    /// Where the output goes.
    fn folder(&self) -> PathBuf {
        match self.out.as_os_str().is_empty() {
            true => Path::new("out").join(&self.name),
            false => self.out.clone(),
        }
    }
}

/// `[concepts]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConceptSource {
    /// CSV with `concept` and, optionally, `category`, `definition`, `things_id`.
    pub path: PathBuf,
}

/// How triplets are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Design {
    /// `n` different ones, at random.
    #[default]
    Random,
    /// All.
    Exhaustive,
    /// Those of a file.
    File,
}

/// `[triplets]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TripletSource {
    /// What is asked of three concepts.
    #[serde(default)]
    pub task: Task,
    /// How they are chosen.
    #[serde(default)]
    pub design: Design,
    /// How many, for the random design.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// The file, for the file design.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Ask both option orders; of odd-one-out triplets three, so that each concept stands in each place once.
    #[serde(default)]
    pub counterbalance: bool,
}

/// `[prompt]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Prompt {
    /// `paper`, `instruction-first`, or a text with `{anchor}`, `{first}` and `{second}`; for odd-one-out triplets with `{a}`,
    /// `{b}` and `{c}`.
    pub wording: String,
    /// System text.
    pub system: String,
    /// Answered questions that come before every question.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub few_shot: Vec<Example>,
}

impl Prompt {
    /// What is asked, checked.
    ///
    /// # Errors
    /// As [`Wording::of`] and [`Wording::after`].
    pub fn wording(&self, task: Task) -> Result<Wording> {
        Wording::of(task, &self.wording, Some(&self.system))?.after(self.few_shot.clone())
    }
}

impl Default for Prompt {
    fn default() -> Self {
        Self { wording: "paper".into(), system: crate::prompts::template::PAPER_SYSTEM.into(), few_shot: Vec::new() }
    }
}

/// `[report]`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSection {
    /// Title of the page; the study's name unless set.
    pub title: String,
}

fn read_text(path: &Path) -> Result<String> {
    if !path.is_file() {
        return Err(Error::Missing {
            what: "the study file",
            path: path.into(),
            hint: "give a TOML file such as data/studies/demo.toml".into(),
        });
    }
    String::from_utf8(fs_err::read(path)?).map_err(|e| Error::Format {
        path: path.into(),
        found: format!("a byte that is not UTF-8 at position {}", e.utf8_error().valid_up_to()),
        expected: "a TOML file in UTF-8".into(),
    })
}

impl Study {
    /// Reads and checks a study file, fills in defaults, and makes its paths relative to where alike runs.
    ///
    /// # Errors
    /// [`Error::UnknownKey`] with the nearest known key, [`Error::Format`] with the line, [`Error::Setting`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        let mut study: Self = toml::from_str(&text).map_err(|e| toml_error(path, &text, &e, "a study"))?;
        study.fill_in(path.parent().unwrap_or(Path::new("")));
        study.check()?;
        Ok(study)
    }

    fn fill_in(&mut self, folder: &Path) {
        let resolve = |path: &mut PathBuf| *path = crate::tidy(&folder.join(&*path));
        self.study.out = self.study.folder();
        resolve(&mut self.concepts.path);
        self.triplets.path.iter_mut().for_each(resolve);
        for model in &mut self.models {
            resolve(&mut model.path);
            if model.label.is_empty() {
                model.label = model.path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            }
        }
        if let Some(regress) = &mut self.regress {
            regress.fill_in(folder, &self.study.out);
        }
        let align = &mut self.align;
        let files = [&mut align.names, &mut align.choices, &mut align.choice_names].into_iter().flatten();
        files.chain(&mut align.subjects).for_each(resolve);
        if self.align.reference != BUILT_IN_REFERENCE {
            self.align.reference = crate::tidy(&folder.join(&self.align.reference)).to_string_lossy().into_owned();
        }
        if self.report.title.is_empty() {
            self.report.title = self.study.name.clone();
        }
    }

    /// Checks what the types cannot say.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::Setting { field: field.into(), found, expected: expected.into() })
        };
        crate::store::judgments::check_label(&self.study.name).or_else(|_| {
            wrong("study.name", format!("{:?}", self.study.name), "letters, digits, `.`, `_`, `-` or `+`")
        })?;
        let labels: Vec<&String> =
            self.models.iter().map(|m| &m.label).chain(self.simulated.iter().map(|s| &s.label)).collect();
        if labels.is_empty() {
            return wrong("models", "an empty list, as is `simulated`".into(), "at least one respondent");
        }
        for (index, label) in labels.iter().enumerate() {
            crate::store::judgments::check_label(label)?;
            if labels[..index].contains(label) {
                return wrong("label", format!("{label:?} twice"), "a unique label for every respondent");
            }
        }
        match (self.triplets.design, self.triplets.n, &self.triplets.path) {
            (Design::Random, Some(_), None) | (Design::Exhaustive, None, None) | (Design::File, None, Some(_)) => {}
            (design, ..) => {
                let found = format!("design = {design:?} with other keys than it reads").to_lowercase();
                return wrong("triplets", found, "`n` for random, `path` for file, neither for exhaustive");
            }
        }
        self.simulated.iter().try_for_each(|subject| subject.check(self.triplets.task))?;
        if self.models.is_empty() {
            self.judge.check()?;
        }
        for model in &self.models {
            let judge = self.judge_of(model);
            judge.check()?;
            model.template.as_deref().map_or(Ok(()), check_template)?;
            model.cosine_temperature.map_or(Ok(()), check_temperature)?;
            if let (Decision::Generate, Some(column)) = (judge.decision, &self.embed.soft_column) {
                let found = format!("{column:?}, and {} answers freely", model.label);
                return wrong("embed.soft_column", found, "absent: free answers have no probabilities");
            }
        }
        if let (Task::OddOneOut, Some(column)) = (self.triplets.task, &self.embed.soft_column) {
            let found = format!("{column:?} with task odd-one-out");
            let expected = "absent: answers are converted to anchored judgments by the concept that was named";
            return wrong("embed.soft_column", found, expected);
        }
        if let (Task::Anchored, Some(name)) = (self.triplets.task, self.embed.sparse()) {
            let found = format!("{} with task anchored", name.name());
            return wrong("embed.loss", found, "losses on distances, or [triplets] task = \"odd-one-out\"");
        }
        let wrong_memory = |model: &&Model| model.gpu.memory_gib.is_some_and(|gib| gib.is_nan() || gib <= 0.0);
        if let Some(model) = self.models.iter().find(wrong_memory) {
            let found = format!("{:?} for {}", model.gpu.memory_gib, model.label);
            return wrong("models.gpu.memory_gib", found, "more than 0");
        }
        if let Some(model) = self.models.iter().find(|m| m.batch_tokens == Some(0)) {
            return wrong("models.batch_tokens", format!("0 for {}", model.label), "1 or more");
        }
        if let (Some(names), None) = (&self.align.choice_names, &self.align.choices) {
            return wrong("align.choice_names", names.display().to_string(), "absent without `choices`");
        }
        self.regress.as_ref().map_or(Ok(()), RegressSection::check)?;
        self.embed.check()?;
        self.wording().map(|_| ())
    }

    /// Where the study's output lies.
    pub fn folder(&self) -> StudyFolder {
        StudyFolder::new(&self.study.out)
    }

    /// The wording of the study.
    ///
    /// # Errors
    /// As [`Prompt::wording`].
    pub fn wording(&self) -> Result<Wording> {
        self.prompt.wording(self.triplets.task)
    }

    /// The settings of the fit with one of the losses.
    pub fn fit_settings(&self, loss: FitName) -> Fitting {
        self.embed.fitting(loss, self.study.seed)
    }

    /// The study with every default, as TOML.
    pub fn resolved(&self) -> String {
        toml::to_string_pretty(self).expect("a study is TOML")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
[study]
name = "small"
[concepts]
path = "../concepts/small.csv"
[triplets]
n = 100
[[models]]
path = "../../models/tiny"
[[simulated]]
label = "coin"
response = "coin-flip"
"#;

    fn read(text: &str) -> Result<Study> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("study.toml");
        fs_err::write(&path, text).unwrap();
        Study::read(&path)
    }

    #[test]
    fn defaults_are_filled_in_and_survive_their_own_file() {
        let study = read(SMALL).unwrap();
        assert_eq!(study.study.out, Path::new("out/small"));
        assert_eq!(study.models[0].label, "tiny");
        assert_eq!(study.embed.dims, 30);
        assert!(study.concepts.path.ends_with("concepts/small.csv"));
        let again: Study = toml::from_str(&study.resolved()).unwrap();
        assert_eq!(again, study);
    }

    #[test]
    fn unknown_keys_name_the_nearest() {
        let error = read(&SMALL.replace("n = 100", "n = 100\ncounterbalanced = true")).unwrap_err();
        assert!(error.to_string().contains("unknown key `counterbalanced` on line 8"), "{error}");
        assert_eq!(error.hint().unwrap(), "did you mean `counterbalance`?");
        assert!(read(&format!("{SMALL}\n[embde]\ndims = 3\n")).unwrap_err().hint().unwrap().contains("embed"));
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        let error = |from: &str, to: &str| read(&SMALL.replace(from, to)).unwrap_err().to_string();
        assert!(error("n = 100", "").contains("`triplets`"));
        assert!(error("n = 100", "n = -1").contains("line 7"));
        assert!(error("label = \"coin\"", "label = \"tiny\"").contains("twice"));
        assert!(error("coin-flip\"", "logistic\"").contains("simulated.agreement"));
        assert!(error("coin-flip\"", "coin\"").contains("unknown variant"));
        assert!(error("[triplets]", "[judge]\ntemperature = 0.0\n[triplets]").contains("judge.temperature"));
        assert!(error("[triplets]", "[prompt]\nwording = \"hm\"\n[triplets]").contains("{anchor}"));
        assert!(error("n = 100", "n = 100\ntask = \"odd\"").contains("`anchored` or `odd-one-out`"));
    }

    #[test]
    fn simulated_subjects_read_the_keys_of_their_response() {
        let with = |keys: &str| read(&SMALL.replace("response = \"coin-flip\"", keys));
        let error = |keys: &str| with(keys).unwrap_err().to_string();
        for fine in [
            "response = \"softmax\"",
            "response = \"softmax\"\ntemperature = 0.5\nlapses = 0.1",
            "response = \"softmax\"\nagreement = 0.8",
            "response = \"noise-free\"\nlapses = 0.1",
            "response = \"logistic\"\nagreement = 0.8\nlapses = 0.1",
        ] {
            assert!(with(fine).is_ok(), "{fine}");
        }
        assert!(error("response = \"softmax\"\nagreement = 0.8\ntemperature = 1.0").contains("simulated.temperature"));
        assert!(error("response = \"softmax\"\ntemperature = 0.0").contains("above 0"));
        assert!(error("response = \"noise-free\"\nagreement = 0.8").contains("simulated.agreement"));
        assert!(error("response = \"coin-flip\"\nlapses = 0.1").contains("simulated.lapses"));
        assert!(error("response = \"noise-free\"\nlapses = 1.0").contains("simulated.lapses"));
        assert!(error("response = \"logistic\"\nagreement = 0.96\nlapses = 0.1").contains("below 0.95"));
    }

    #[test]
    fn odd_one_out_studies() {
        let small = SMALL.replace("n = 100", "n = 100\ntask = \"odd-one-out\"");
        let study = read(&small).unwrap();
        assert_eq!(study.triplets.task, Task::OddOneOut);
        assert!(study.wording().unwrap().question.contains("{a}, {b} or {c}"));
        let with = |more: &str| read(&small.replace("[[models]]", &format!("{more}\n[[models]]")));
        let error = |more: &str| with(more).unwrap_err().to_string();
        assert!(with("[prompt]\nfew_shot = [{ a = \"x\", b = \"y\", c = \"z\", answer = \"y\" }]").is_ok());
        let anchored = "few_shot = [{ anchor = \"x\", first = \"y\", second = \"z\", answer = \"y\" }]";
        assert!(
            error(&format!("[prompt]\n{anchored}")).contains("expected a, b, c and answer: the task is odd-one-out")
        );
        let mixed = error("[prompt]\nfew_shot = [{ a = \"x\", first = \"y\", c = \"z\", answer = \"y\" }]");
        assert!(mixed.contains("`{ a, b, c, answer }`"), "{mixed}");
        assert!(error("[embed]\nsoft_column = \"p_a\"").contains("embed.soft_column"));
        let noisy = |agreement: &str| {
            let coin = "response = \"coin-flip\"";
            read(&small.replace(coin, &format!("response = \"logistic\"\nagreement = {agreement}")))
        };
        assert!(noisy("0.4").is_ok());
        assert!(noisy("0.7\nlapses = 0.3").is_ok());
        assert!(noisy("0.9\nlapses = 0.3").unwrap_err().to_string().contains("below 0.8"));
        assert!(noisy("0.3").unwrap_err().to_string().contains("above 1/3 and below 1"));
    }
}
