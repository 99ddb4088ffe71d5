//! The odd-one-out task: a study from TOML to the page, each stage alone, resumed, and what is wrong named.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::engine::{LanguageModel, evaluate};
use alike::odd_one_out::OddOneOut;
use alike::presentations::Task;
use alike::prompts::plan::{Budget, Plan, Reuse};
use alike::prompts::template::Wording;
use alike::prompts::tokens::Close;
use alike::store::judgments::{columns, parts};
use alike::store::table::Table;

use crate::models::open;
use crate::study::small_study;
use crate::support::{fail, path, succeed, tiny};

struct Bench {
    folder: tempfile::TempDir,
    study: String,
    out: PathBuf,
}

/// The small study about odd-one-out triplets: 60 of 120, three orders of each.
fn bench(model: &Path, judge: &str) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let (study, out) = small_study(folder.path(), model);
    let text = std::fs::read_to_string(&study).unwrap();
    let text = text.replace("n = 200", "task = \"odd-one-out\"\nn = 60");
    std::fs::write(&study, text.replace("part_rows = 150\n", &format!("part_rows = 70\n{judge}"))).unwrap();
    Bench { folder, study: study.to_str().unwrap().to_owned(), out }
}

impl Bench {
    fn run(&self) -> String {
        succeed(&["run", &self.study, "--out", self.out.to_str().unwrap()])
    }

    fn judge(&self, more: &[&str]) -> serde_json::Value {
        let arguments = [&["judge", &self.study, "--out", self.out.to_str().unwrap(), "--json"], more].concat();
        serde_json::from_str(&succeed(&arguments)).unwrap()
    }

    fn edit(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(&self.study).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&self.study, text.replace(from, to)).unwrap();
    }

    fn files(&self, label: &str) -> Vec<PathBuf> {
        parts(&self.out.join("oddoneout"), label).unwrap()
    }

    /// The values of a column over all parts of a respondent.
    fn column<T>(&self, label: &str, read: impl Fn(&Table) -> alike::Result<Vec<T>>) -> Vec<T> {
        self.files(label).iter().flat_map(|path| read(&Table::read(path).unwrap()).unwrap()).collect()
    }

    fn bytes(&self, label: &str) -> Vec<Vec<u8>> {
        self.files(label).iter().map(|path| std::fs::read(path).unwrap()).collect()
    }

    /// A column of numbers of each of the three places.
    fn places(&self, label: &str, stem: &str) -> [Vec<Option<f64>>; 3] {
        ["a", "b", "c"].map(|place| self.column(label, |t| t.numbers(&format!("{stem}_{place}"))))
    }
}

#[test]
fn the_whole_line() {
    let bench = bench(&tiny("scoring"), "");
    let table = bench.run();
    assert!(table.contains("human-like") && table.contains("logistic-distance"), "{table}");
    assert!(!bench.out.join("judgments").exists(), "the two tasks are never mixed");
    let page = std::fs::read_to_string(bench.out.join("report.html")).unwrap();
    assert!(page.contains("· 60 odd-one-out triplets") && page.contains("Third place"));
    assert!(page.contains("odd-one-out answers were taken as two anchored judgments each"));

    // What is in the files: ids, orders, and probabilities that are the softmax of the deciding scores.
    for label in ["tiny", "human-like", "coin"] {
        let tables: Vec<Table> = bench.files(label).iter().map(|path| Table::read(path).unwrap()).collect();
        assert_eq!(tables.iter().map(Table::len).collect::<Vec<_>>(), [70, 70, 40]);
        assert_eq!(tables[0].columns(), columns(Task::OddOneOut).into_iter().map(|c| c.name).collect::<Vec<_>>());
        assert!(tables[0].metadata["alike.inputs"].contains("\"task\":\"odd-one-out\""));
        let ids = ["a_id", "b_id", "c_id"].map(|id| bench.column(label, |t| t.integers(id)));
        let (triplets, orders) =
            (bench.column(label, |t| t.integers("triplet_id")), bench.column(label, |t| t.integers("order")));
        let (odd, names) = (bench.column(label, |t| t.names("odd")), ["a", "b", "c"]);
        let names = names.map(|place| bench.column(label, |t| t.names(place)));
        let p = bench.places(label, "p");
        let mut rows = Vec::new();
        for row in 0..180 {
            let [a, b, c] = [0, 1, 2].map(|place| ids[place][row].unwrap() as u32);
            let shown = OddOneOut { a, b, c };
            assert_eq!((Some(shown.id(10)), Some(i64::from(shown.order()))), (triplets[row], orders[row]));
            let place = names.iter().position(|names| names[row] == odd[row]).unwrap();
            let p = [0, 1, 2].map(|place| p[place][row].unwrap());
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-6);
            if label == "tiny" {
                assert!(p.iter().all(|other| *other <= p[place]), "argmax names the most probable");
            }
            rows.push(shown);
        }
        assert!(rows.is_sorted());
        let mut distinct = triplets.clone();
        distinct.dedup();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 60);
    }
    let (scores, p) = (bench.places("tiny", "score"), bench.places("tiny", "p"));
    let log_probs = bench.places("tiny", "log_prob");
    assert_eq!(scores, log_probs, "score = sequence");
    for row in 0..180 {
        let scores = [0, 1, 2].map(|place| scores[place][row].unwrap());
        for place in 0..3 {
            let expected = 1.0 / scores.iter().map(|score| (score - scores[place]).exp()).sum::<f64>();
            assert!((p[place][row].unwrap() - expected).abs() < 1e-6);
        }
    }
    let masses = bench.column("tiny", |t| t.numbers("choice_mass"));
    for row in 0..180 {
        let sum: f64 = (0..3).map(|place| log_probs[place][row].unwrap().exp()).sum();
        assert!((masses[row].unwrap() / sum - 1.0).abs() < 1e-5, "no option begins another unclosed");
    }
    assert!(bench.places("tiny", "prior").iter().flatten().all(Option::is_some));
    assert!(bench.places("coin", "p").iter().flatten().all(|p| (p.unwrap() - 1.0 / 3.0).abs() < 1e-7));

    // The simulated subject's geometry is found, the coin's is not.
    let rows = alike::store::alignment::read(&bench.out.join("alignment.parquet")).unwrap();
    let r2 = |label: &str| {
        let row =
            rows.iter().find(|r| r.respondent == label && r.fit == "logistic-distance" && r.measure == "procrustes_r2");
        row.unwrap().value
    };
    assert!(r2("human-like") > r2("coin") + 0.2, "{} and {}", r2("human-like"), r2("coin"));
}

#[test]
fn a_lost_part_comes_back_the_same() {
    let bench = bench(&tiny("scoring"), "decision = \"sample\"\ntemperature = 4.0\nrepeats = 2\n");
    let summary = bench.judge(&[]);
    assert_eq!((summary["made"].as_u64(), summary["task"].as_str()), (Some(360), Some("odd-one-out")));
    assert_eq!(summary["both_orders"].as_u64(), Some(360), "three pairs of each triplet and repeat");
    let shares: Vec<f64> = summary["place_shares"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
    assert!(shares.len() == 3 && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
    assert!(summary["first_share"].is_null());
    assert!(summary["self_test"]["max_nats"].as_f64().unwrap() < 1e-4, "{}", summary["self_test"]);
    let before = bench.bytes("tiny");
    std::fs::remove_file(&bench.files("tiny")[1]).unwrap();
    let resumed = bench.judge(&["--resume"]);
    assert_eq!(resumed["kept"].as_u64(), Some(290));
    assert_eq!(bench.bytes("tiny"), before);
    // Parts of another size, one thread and no reuse give the same answers.
    let odd = bench.column("tiny", |t| t.names("odd"));
    for flags in [&["--part-rows", "1000"][..], &["--threads", "1", "--batch-tokens", "64"], &["--reuse", "off"]] {
        bench.judge(&[&["--force"], flags].concat());
        assert_eq!(bench.column("tiny", |t| t.names("odd")), odd, "{flags:?}");
    }
    // Drawn with the probabilities that are written: expected and found counts of the first place.
    let p = bench.places("tiny", "p")[0].iter().map(|p| p.unwrap()).collect::<Vec<_>>();
    let named = bench.column("tiny", |t| t.names("a")).iter().zip(&odd).filter(|(a, odd)| a == odd).count() as f64;
    let (mean, variance) = (p.iter().sum::<f64>(), p.iter().map(|p| p * (1.0 - p)).sum::<f64>());
    assert!((named - mean).abs() < 4.0 * variance.sqrt(), "{named} and {mean}");

    let plan: serde_json::Value = serde_json::from_str(&succeed(&[
        "judge",
        &bench.study,
        "--out",
        bench.out.to_str().unwrap(),
        "--dry-run",
        "--json",
    ]))
    .unwrap();
    assert_eq!(plan["triplets"].as_u64(), Some(180));
}

/// Three options after one prompt get the numbers that each gets alone, with and without the closing token.
#[test]
fn each_option_is_scored_as_if_alone() {
    for close in ["never", "always"] {
        let bench = bench(&tiny("scoring"), &format!("close = \"{close}\"\nself_test = 0\n"));
        bench.judge(&[]);
        let mut opened = open(&tiny("scoring"), 1);
        let wording = Wording::of(Task::OddOneOut, "paper", None).unwrap();
        let names = ["a", "b", "c"].map(|place| bench.column("tiny", |t| t.names(place)));
        let log_probs = bench.places("tiny", "log_prob");
        let closing = if close == "always" { Close::Always } else { Close::Never };
        let budget = Budget { batch_tokens: 512, cache_tokens: 4096, pass_tokens: 30 };
        for row in (0..180).step_by(17) {
            let [a, b, c] = [0, 1, 2].map(|place| names[place][row].as_str());
            for (place, name) in [a, b, c].into_iter().enumerate() {
                let alone = opened.tokenizer.question(&wording.ask(a, b, c), &[name], closing).unwrap();
                let plan = Plan::new(&[alone], Reuse::Off, opened.model.info().strategy, budget);
                let evaluation = evaluate(&mut opened.model, &plan, |_| {}).unwrap();
                let expected: f64 = evaluation.log_probs.iter().map(|l| f64::from(*l)).sum();
                assert!((log_probs[place][row].unwrap() - expected).abs() < 1e-4, "{name} of {a}, {b}, {c}");
            }
        }
    }
}

/// "baseball" begins "baseball glove": unclosed they are one event, and step by step there is no choice between them.
#[test]
fn an_option_that_begins_another_is_not_counted_twice() {
    let bench = bench(&tiny("scoring"), "close = \"never\"\nscore = \"greedy-mask\"\n");
    bench.judge(&[]);
    let names = ["a", "b", "c"].map(|place| bench.column("tiny", |t| t.names(place)));
    let (log_probs, scores) = (bench.places("tiny", "log_prob"), bench.places("tiny", "score"));
    let (masses, odd) = (bench.column("tiny", |t| t.numbers("choice_mass")), bench.column("tiny", |t| t.text("odd")));
    let (mut n_inside, mut n_apart) = (0, 0);
    for row in 0..180 {
        let place = |name: &str| (0..3).find(|place| names[*place][row] == name);
        let sum: f64 = (0..3).map(|place| log_probs[place][row].unwrap().exp()).sum();
        match (place("baseball"), place("baseball glove")) {
            (Some(_), Some(glove)) => {
                n_inside += 1;
                let mass = sum - log_probs[glove][row].unwrap().exp();
                assert!((masses[row].unwrap() / mass - 1.0).abs() < 1e-5);
                assert!(odd[row].is_none() && scores[0][row].is_none());
            }
            _ => {
                n_apart += 1;
                assert!((masses[row].unwrap() / sum - 1.0).abs() < 1e-5);
                let total: f64 = (0..3).map(|place| scores[place][row].unwrap().exp()).sum();
                assert!((total - 1.0).abs() < 1e-6, "permitted answers share all probability");
            }
        }
    }
    assert!(n_inside > 0 && n_apart > 100, "{n_inside} and {n_apart}");
}

#[test]
fn free_answers_name_one_of_three() {
    let bench =
        bench(&tiny("scoring"), "decision = \"generate\"\ndo_sample = true\nmax_new_tokens = 6\nself_test = 0\n");
    bench.judge(&[]);
    let (odd, parses) = (bench.column("tiny", |t| t.text("odd")), bench.column("tiny", |t| t.names("parse")));
    assert!(odd.iter().zip(&parses).all(|(odd, parse)| odd.is_some() == (parse == "parsed")));
    assert!(bench.column("tiny", |t| t.text("response")).iter().all(Option::is_some));
    assert!(bench.places("tiny", "log_prob").iter().flatten().all(Option::is_none));
    assert!(bench.places("tiny", "p").iter().flatten().all(Option::is_none));
    let responses = bench.column("tiny", |t| t.text("response"));
    bench.judge(&["--force", "--part-rows", "1000"]);
    assert_eq!(bench.column("tiny", |t| t.text("response")), responses);
}

/// A real model, asked in its own words, names concepts: the line holds with answers that are left out.
#[test]
fn a_real_model_goes_through() {
    let judge = "decision = \"generate\"\nmax_new_tokens = 6\nself_test = 0\n";
    let bench = bench(&path("models/smollm2-135m-instruct"), judge);
    bench.edit("n = 60", "n = 20");
    bench.edit("counterbalance = true", "counterbalance = false");
    bench.edit("dims = 3", "dims = 3\nloss = [\"crowd-kernel\"]");
    let examples = "[prompt]\nfew_shot = [{ a = \"owl\", b = \"saw\", c = \"hawk\", answer = \"saw\" },\
                    { a = \"soup\", b = \"stew\", c = \"boot\", answer = \"boot\" }]\n[judge]";
    bench.edit("[judge]", examples);
    bench.run();
    let parsed = bench.column("tiny", |t| t.text("odd")).iter().flatten().count();
    let responses = bench.column("tiny", |t| t.text("response"));
    assert!(parsed >= 5, "{parsed} of 20 answers name one concept: {responses:?}");
    assert!(std::fs::read_to_string(bench.out.join("report.html")).unwrap().contains("<svg"));
}

#[test]
fn forms_of_three_options_add_up() {
    let plain = bench(&tiny("scoring"), "close = \"always\"\n");
    let formed = bench(&tiny("scoring"), "surface_forms = true\nscore = \"pmi\"\n");
    plain.judge(&[]);
    formed.judge(&[]);
    for stem in ["log_prob", "prior"] {
        for (plain, formed) in plain.places("tiny", stem).iter().zip(formed.places("tiny", stem)) {
            assert!(plain.iter().zip(&formed).all(|(a, b)| b.unwrap() > a.unwrap()), "{stem}");
        }
    }
    let (scores, priors) = (formed.places("tiny", "score"), formed.places("tiny", "prior"));
    let (log_probs, masses) = (formed.places("tiny", "log_prob"), formed.column("tiny", |t| t.numbers("choice_mass")));
    for row in 0..180 {
        let sum: f64 = (0..3).map(|place| log_probs[place][row].unwrap().exp()).sum();
        assert!((masses[row].unwrap() / sum - 1.0).abs() < 1e-5);
        for place in 0..3 {
            let pmi = log_probs[place][row].unwrap() - priors[place][row].unwrap();
            assert!((scores[place][row].unwrap() - pmi).abs() < 1e-4);
        }
    }
}

#[test]
fn stages_one_by_one_with_files_from_elsewhere() {
    let bench = bench(&tiny("scoring"), "");
    let at = |name: &str| bench.folder.path().join(name).to_str().unwrap().to_owned();
    let (concepts, sampled, model) = (at("concepts.csv"), at("sampled.parquet"), tiny("scoring"));
    let sample = ["sample", "--concepts", &concepts, "--task", "odd-one-out", "--n", "100", "--out", &sampled];
    let words = succeed(&sample);
    assert!(
        words.contains("100 of 120 odd-one-out triplets of 10 concepts") && words.contains("not independent"),
        "{words}"
    );
    let simulated = at("simulated");
    let simulate = ["simulate", "--concepts", &concepts, "--triplets", &sampled, "--out", &simulated];
    succeed(&[&simulate[..], &["--response", "logistic", "--agreement", "0.8"]].concat());
    let embedding = at("embedding.parquet");
    let folder = format!("{simulated}/respondent=simulated");
    let record: serde_json::Value = serde_json::from_str(&succeed(&[
        "embed",
        &folder,
        "--dims",
        "3",
        "--out",
        &embedding,
        "--concepts",
        &concepts,
        "--json",
    ]))
    .unwrap();
    assert_eq!(record["n_train"].as_u64().unwrap() + record["n_heldout"].as_u64().unwrap(), 200);
    assert!(record["n_heldout"].as_u64().unwrap().is_multiple_of(2), "both judgments of an answer lie on one side");
    succeed(&["align", &embedding, "--concepts", &concepts, "--json"]);

    // The same judgments as anybody's CSV give the same coordinates.
    let table = Table::read(&parts(Path::new(&simulated), "simulated").unwrap()[0]).unwrap();
    let columns = ["a", "b", "c", "odd"].map(|name| table.names(name).unwrap());
    let row = |row: usize| columns.iter().map(|column| column[row].as_str()).collect::<Vec<_>>().join(",");
    let lines: Vec<String> = (0..table.len()).map(row).collect();
    std::fs::write(at("answers.csv"), format!("a,b,c,odd\n{}\n", lines.join("\n"))).unwrap();
    let again = at("again.parquet");
    succeed(&["embed", &at("answers.csv"), "--dims", "3", "--out", &again, "--concepts", &concepts]);
    assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&embedding).unwrap());

    // So do its numbers in a file of triplets, the odd one last.
    let listed = Concepts::read_csv(Path::new(&concepts)).unwrap();
    let place = |name: &str| listed.as_listed().iter().position(|id| Some(*id) == listed.id(name)).unwrap();
    let numbers = |row: usize| {
        let odd = &columns[3][row];
        let left: Vec<&String> = columns[..3].iter().map(|column| &column[row]).filter(|name| *name != odd).collect();
        format!("{} {} {}", place(left[0]), place(left[1]), place(odd))
    };
    let lines: Vec<String> = (0..table.len()).map(numbers).collect();
    std::fs::write(at("answers.txt"), lines.join("\n")).unwrap();
    let (from_text, refits) = (at("from_text.parquet"), at("from_text.bootstrap.parquet"));
    let embed = ["embed", &at("answers.txt"), "--dims", "3", "--out", &from_text, "--concepts", &concepts];
    let embed = |more: &[&str]| succeed(&[&embed[..], more].concat());
    embed(&["--bootstrap", "3"]);
    let read = |path: &str| alike::store::embedding::read(Path::new(path)).unwrap().coordinates;
    assert_eq!(read(&from_text), read(&embedding));

    // Refits lie beside the embedding, are kept with it, and are made again when more are asked for.
    let (names, draws) = alike::store::refits::read(Path::new(&refits)).unwrap();
    assert_eq!((names.len(), draws.len(), draws[0].shape()), (listed.len(), 3, (listed.len(), 3)));
    assert!(draws.iter().all(|x| *x != draws[0] || std::ptr::eq(x, &draws[0])), "draws differ");
    let bytes = std::fs::read(&refits).unwrap();
    embed(&["--bootstrap", "3", "--resume"]);
    assert_eq!(std::fs::read(&refits).unwrap(), bytes);
    embed(&["--bootstrap", "4", "--resume"]);
    assert_eq!(alike::store::refits::read(Path::new(&refits)).unwrap().1[..3], draws);

    // A CSV of triplets is asked in the orders it shows, and answers to both tasks are never one data set.
    std::fs::write(at("asked.csv"), "c,a,b,who\nbear,cat,hammer,x\nbread,bear,cat,x\n").unwrap();
    let out = at("judged");
    let judge = |triplets: &str, more: &[&'static str]| {
        let model = model.to_str().unwrap();
        let asked = at(triplets);
        let flags = ["judge", "--model", model, "--triplets", &asked, "--out", &out, "--label", "tiny"];
        [&flags[..], more].concat().into_iter().map(str::to_owned).collect::<Vec<String>>()
    };
    let arguments = judge("asked.csv", &[]);
    succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let table = Table::read(&parts(Path::new(&out), "tiny").unwrap()[0]).unwrap();
    let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
    assert_eq!(table.names("a").unwrap(), ["bear", "cat"]);
    assert_eq!(
        (table.names("b").unwrap(), table.names("c").unwrap()),
        (names(["cat", "hammer"]), names(["bread", "bear"]))
    );
    std::fs::write(at("anchored.csv"), "anchor,first,second\nbear,cat,hammer\nbread,bear,cat\n").unwrap();
    let arguments = judge("anchored.csv", &["--resume"]);
    let refusal = fail(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(refusal.contains("was made with another"), "{refusal}");
}

#[test]
fn what_is_wrong_is_named() {
    let bench = bench(&tiny("scoring"), "");
    let fails = || fail(&["run", &bench.study, "--out", bench.out.to_str().unwrap()]);
    let says = |words: String, expected: &[&str]| {
        for part in expected {
            assert!(words.contains(part), "{part:?} is not in\n{words}");
        }
    };
    bench.edit("task = \"odd-one-out\"", "task = \"odd-one\"");
    says(fails(), &["unknown variant `odd-one`", "`anchored` or `odd-one-out`", "on line"]);
    bench.edit("task = \"odd-one\"", "task = \"odd-one-out\"");
    bench.edit("n = 60", "n = 121");
    says(fails(), &["`triplets.n` is 121, expected 1 to 120"]);
    bench.edit("n = 121", "design = \"file\"\npath = \"mine.csv\"");
    let mine = |text: &str| std::fs::write(bench.folder.path().join("mine.csv"), text).unwrap();
    mine("a,b,c\nbear,cat,hammer\nbear,cat,bear\n");
    says(fails(), &["mine.csv, row 3, column `c`", "bear, cat, bear", "three different concepts"]);
    mine("a,b,c\nbear,cat,unicorn\n");
    says(fails(), &["mine.csv, row 2, column `c`", "\"unicorn\"", "a name of the concept list"]);
    mine("anchor,first,second\nbear,cat,hammer\n");
    says(fails(), &["the columns anchor, first, second", "columns named `a`, `b` and `c`"]);
    mine("a,b,c\nbear,cat,hammer\n");
    bench.edit("[judge]", "[prompt]\nwording = \"Which of {a} and {b}?\"\n[judge]");
    says(fails(), &["prompt.wording", "{c} in it once"]);
    assert_eq!(
        crate::support::alike(&["sample", "--task", "triads"]).output().unwrap().status.code(),
        Some(2),
        "an unknown task is wrong usage"
    );
}
