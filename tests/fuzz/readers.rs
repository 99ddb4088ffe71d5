//! What is fuzzed: everything that reads a file somebody else may have written.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use alike::answers;
use alike::concepts::Concepts;
use alike::config::{RegressFile, Study};

use alike::engine::encoder::EncoderSignature;
use alike::engine::graph_file::GraphPorts;
use alike::engine::signature::Signature;
use alike::ingredients::{Cells, Design, Formula, Table};
use alike::model_folder::ModelFolder;
use alike::presentations::{self, Task};
use alike::prompts::chat_template::ChatTemplate;
use alike::prompts::template::{Frame, Style, SystemText, Wording};
use alike::prompts::tokens::{Close, PromptTokenizer, TextTokenizer};
use alike::reference::{Matching, Reference};
use alike::store::{self, judgments};

/// A reader and what it is given to read.
pub(crate) struct Reader {
    pub(crate) name: &'static str,
    /// Name of the file in a folder of its own, by whose ending readers tell kinds apart.
    pub(crate) file: &'static str,
    /// Cases for each case of the slowest: what is cheap is tried more often.
    pub(crate) share: u64,
    /// Files of the project to begin with, or folders of them.
    seeds: &'static [&'static str],
    /// Endings of seeds in folders.
    endings: &'static [&'static str],
    /// Puts beside the file what the reader needs.
    pub(crate) prepare: fn(&Path),
    /// Whether it was read; a refusal is as good.
    pub(crate) read: fn(&Path) -> bool,
}

pub(crate) fn project(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

impl Reader {
    /// The files to begin with, smallest first.
    pub(crate) fn seeds(&self) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut pending: Vec<PathBuf> = self.seeds.iter().map(|name| project(name)).collect();
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).filter(|inner| {
                    inner.is_dir() || inner.extension().is_some_and(|e| self.endings.iter().any(|ending| e == *ending))
                }));
            } else {
                found.push(std::fs::read(path).unwrap());
            }
        }
        found.retain(|bytes| bytes.len() <= 64 << 10);
        found.sort_by_key(Vec::len);
        found.dedup();
        assert!(!found.is_empty(), "no seeds for {}", self.name);
        found
    }
}

const NOTHING: fn(&Path) = |_| {};

const fn reader(name: &'static str, file: &'static str, share: u64, read: fn(&Path) -> bool) -> Reader {
    Reader { name, file, share, seeds: &[], endings: &[], prepare: NOTHING, read }
}

const FIRST_VERSION: &str = "tests/it/golden/first_version";
const SEEDS: &str = "tests/fuzz/seeds";
const TINY: &str = "tests/it/golden/tiny-llama-scoring";
const ENCODER: &str = "tests/it/golden/tiny-encoder";

pub(crate) const READERS: &[Reader] = &[
    Reader {
        seeds: &["data/studies", "tests/fuzz/seeds"],
        endings: &["toml"],
        ..reader("study TOML", "study.toml", 8, |path| Study::read(path).is_ok())
    },
    Reader {
        seeds: &["data/studies/paper.toml"],
        endings: &["toml"],
        ..reader("regress TOML", "regress.toml", 4, |path| RegressFile::read(path).is_ok())
    },
    Reader {
        seeds: &["models/suite"],
        endings: &["toml"],
        prepare: |folder| {
            // What the families' files name, where they name it. A suite needs a file for every model of the table, so that is cut
            // down to one family.
            let copied = |name: &str| std::fs::read_to_string(project("models/suite").join(name)).unwrap();
            std::fs::create_dir_all(folder.join("../../data/paper")).unwrap();
            std::fs::write(folder.join("../architectures.toml"), copied("../architectures.toml")).unwrap();
            let (family, models) = (copied("gemma.toml"), copied("../../data/paper/models.csv"));
            let named =
                |line: &&str| line.split(',').nth(1).is_some_and(|label| family.contains(&format!("\"{label}\"")));
            let (header, rows) = models.split_once('\n').unwrap();
            let rows: Vec<&str> = std::iter::once(header).chain(rows.lines().filter(named)).collect();
            std::fs::write(folder.join("../../data/paper/models.csv"), rows.join("\n")).unwrap();
        },
        ..reader("suite TOML", "suite/family.toml", 2, |path| alike::suite::read(path.parent().unwrap()).is_ok())
    },
    Reader {
        seeds: &["data/concepts", FIRST_VERSION, SEEDS],
        endings: &["csv"],
        ..reader("concept CSV", "concepts.csv", 10, |path| Concepts::read_csv(path).is_ok())
    },
    Reader {
        seeds: &[SEEDS],
        endings: &["csv"],
        ..reader("triplet CSV", "triplets.csv", 15, |path| {
            presentations::read_csv(path, None)
                .and_then(|named| presentations::resolve(&named, &CONCEPTS, path))
                .is_ok()
        })
    },
    Reader {
        seeds: &[SEEDS],
        endings: &["csv"],
        ..reader("choices CSV", "choices.csv", 15, |path| {
            let plain = store::choices::read(path, None, None).is_ok();
            let soft = store::choices::read(path, Some(CONCEPTS.clone()), Some("p")).is_ok();
            plain || soft
        })
    },
    Reader {
        seeds: &[SEEDS],
        endings: &["txt"],
        ..reader("triplet numbers, SPoSE text", "triplets.txt", 15, |path| {
            let triplets = store::choices::read(path, Some(CONCEPTS.clone()), None).is_ok();
            let matrix = Reference::read(path, Some(path), &CONCEPTS, &Matching::default()).is_ok();
            triplets || matrix
        })
    },
    Reader {
        seeds: &[SEEDS, "data/paper"],
        endings: &["csv"],
        ..reader("table of models CSV", "models.csv", 6, |path| store::models::read(path).is_ok())
    },
    Reader {
        seeds: &[SEEDS],
        endings: &["csv"],
        ..reader("embedding CSV", "embedding.csv", 15, |path| {
            let embedding = store::embedding::read(path).is_ok();
            let reference = Reference::read(path, None, &CONCEPTS, &Matching::default()).is_ok();
            embedding || reference
        })
    },
    Reader { seeds: &[SEEDS], endings: &["jsonl"], ..reader("requests JSONL", "requests.jsonl", 15, requests) },
    Reader { seeds: &[SEEDS], endings: &["parquet"], ..reader("requests Parquet", "requests.parquet", 4, requests) },
    Reader {
        seeds: &[FIRST_VERSION, SEEDS],
        endings: &["parquet"],
        ..reader("judgments Parquet", "judgments/respondent=scored/part-00000-00000.parquet", 3, |path| {
            let respondent = path.parent().unwrap();
            let judgments = respondent.parent().unwrap();
            let read = [Task::Anchored, Task::OddOneOut].map(|task| {
                let rows = judgments::read(judgments, task, "scored", &CONCEPTS).is_ok();
                let valid = judgments::validate(judgments, task, "scored");
                rows || valid.is_ok_and(|found| found.faults.is_empty())
            });
            let choices = store::choices::read(respondent, None, Some("p_first")).is_ok();
            let tally = judgments::order_tally(&[path.to_owned()], Task::Anchored).is_ok();
            read[0] || read[1] || choices || tally
        })
    },
    Reader {
        seeds: &[FIRST_VERSION, SEEDS],
        endings: &["parquet"],
        ..reader("other Parquet tables", "table.parquet", 3, |path| {
            [
                store::table::checked_metadata(path).is_ok(),
                store::choices::read(path, None, None).is_ok(),
                store::triplets::read_named(path, None).is_ok(),
                store::embedding::read(path).is_ok(),
                store::refits::read(path).is_ok(),
                store::alignment::read(path).is_ok(),
                store::ingredients::read(path).is_ok(),
                store::models::read_parquet(path).is_ok(),
            ]
            .contains(&true)
        })
    },
    Reader {
        seeds: &["tests/it/golden"],
        endings: &["npy"],
        ..reader(".npy", "matrix.npy", 20, |path| store::npy::read(path).is_ok())
    },
    Reader {
        seeds: &["tests/it/golden/templates", "models/suite", SEEDS],
        endings: &["jinja"],
        ..reader("chat template", "chat_template.jinja", 4, |path| {
            let Ok(text) = std::fs::read_to_string(path) else { return false };
            let tokens = [("bos_token", "<s>"), ("eos_token", "</s>")].map(|(n, t)| (n.to_owned(), t.to_owned()));
            let Ok(template) = ChatTemplate::new(&text, path, tokens.into(), Default::default()) else { return false };
            let wording = Wording::new("paper", Some("Be kind")).expect("a wording of our own");
            let frame = Frame::new(Style::Chat, &wording, Some(&template)).is_ok();
            frame || template.render(&[("system", "a"), ("user", "b")], true).is_ok()
        })
    },
    Reader {
        seeds: &["tests/it/golden"],
        endings: &["json"],
        ..reader("tokenizer.json", "tokenizer.json", 2, |path| {
            let frame = Frame {
                before: "<s>a".into(),
                after: "</s>b".into(),
                lead: String::new(),
                delimiter: " ".into(),
                closing: String::new(),
                add_special_tokens: true,
                system: SystemText::Absent,
            };
            let prompts = PromptTokenizer::new(path, frame, Some(1)).is_ok_and(|tokenizer| {
                let question =
                    tokenizer.question("Is a bear more like a cat?", &["cat", "baseball glove"], Close::Auto);
                let _ = (tokenizer.check_vocabulary(100), tokenizer.text(3), tokenizer.decode(&[1, 2, 9_999_999]));
                question.is_ok()
            });
            let texts =
                TextTokenizer::new(path).is_ok_and(|tokenizer| tokenizer.text("ice cream, <s> Émile 42").is_ok());
            prompts || texts
        })
    },
    model_folder("alike.json", "alike.json"),
    model_folder("config.json", "config.json"),
    model_folder("tokenizer_config.json", "tokenizer_config.json"),
    model_folder("generation_config.json", "generation_config.json"),
    model_folder("genai_config.json", "genai_config.json"),
    Reader {
        seeds: &[ENCODER],
        endings: &["json"],
        prepare: |folder| copy(ENCODER, folder),
        ..reader("modules.json", "modules.json", 4, sentence)
    },
    Reader {
        seeds: &["tests/it/golden/tiny-encoder/1_Pooling"],
        endings: &["json"],
        prepare: |folder| copy(ENCODER, folder.parent().unwrap()),
        ..reader("1_Pooling/config.json", "1_Pooling/config.json", 4, |path| sentence(path.parent().unwrap()))
    },
    Reader {
        seeds: &["tests/it/golden"],
        endings: &["onnx"],
        ..reader("ONNX graph", "model.onnx", 10, |path| {
            let Ok(graph) = GraphPorts::read(path) else { return false };
            let inside = graph.weights(path).is_ok_and(|files| {
                files
                    .iter()
                    .all(|file| file.starts_with(path.parent().unwrap()) && !file.to_string_lossy().contains(".."))
            });
            let signature = Signature::read(path, &graph, Default::default()).is_ok();
            let encoder = EncoderSignature::read(path, &graph).is_ok();
            inside || signature || encoder
        })
    },
    Reader {
        seeds: &[SEEDS],
        endings: &["formula"],
        ..reader("formula", "formula", 20, |path| {
            let Ok(text) = std::fs::read_to_string(path) else { return false };
            text.trim_end().parse::<Formula>().is_ok_and(|formula| Design::new(&formula, &TABLE).is_ok())
        })
    },
    Reader {
        seeds: &[SEEDS],
        endings: &["answer"],
        ..reader("free answer", "answer", 20, |path| {
            let text = String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
            let (name, rest) = text.split_at(text.floor_char_boundary(text.len().min(9)));
            let parsed = answers::parse(rest, &["bear"], &["ball", "baseball glove"]).chosen().is_some();
            answers::parse(&text, &[name], &["baseball", name, "İ"]).chosen().is_some() || parsed
        })
    },
];

const fn model_folder(name: &'static str, file: &'static str) -> Reader {
    Reader {
        seeds: &[TINY, ENCODER],
        endings: &["json"],
        prepare: |folder| copy(TINY, folder),
        ..reader(name, file, 4, |path| {
            ModelFolder::open(path.parent().unwrap()).is_ok_and(|folder| {
                let encoder = folder.encoder().is_ok();
                encoder && !folder.precision.is_empty()
            })
        })
    }
}

fn sentence(path: &Path) -> bool {
    let folder = ModelFolder::open(path.parent().unwrap()).expect("the folder of the tiny encoder");
    let encoder = folder.encoder().expect("its graph").expect("an encoder");
    folder.sentence(&encoder).is_ok()
}

fn requests(path: &Path) -> bool {
    store::requests::read(path).is_ok_and(|mut requests| requests.all(|request| request.is_ok()))
}

/// Copies the small files of a folder of the project.
fn copy(from: &str, to: &Path) {
    std::fs::create_dir_all(to.join("1_Pooling")).unwrap();
    for entry in std::fs::read_dir(project(from)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && std::fs::metadata(&path).unwrap().len() < 1 << 20 {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

static CONCEPTS: LazyLock<Concepts> =
    LazyLock::new(|| Concepts::read_csv(&project(FIRST_VERSION).join("concepts.csv")).expect("a list of our own"));

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let number = |scale: f64| Cells::Numbers((0..12).map(|i| Some((f64::from(i) * scale).sin() + 1.5)).collect());
    let level = |n: usize| Cells::Levels((0..12).map(|i| (i != 7).then(|| format!("l{}", i % n))).collect());
    let columns = [("r2", number(1.0)), ("x", number(2.0)), ("y", number(0.7)), ("a", level(2)), ("family", level(4))];
    let rows = (0..12).map(|i| format!("m{i}")).collect();
    Table::new(rows, columns.map(|(name, cells)| (name.to_owned(), cells)).into()).expect("a table of our own")
});
