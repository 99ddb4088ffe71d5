//! The kernels that a study's time goes into beside the model: small, fixed work whose cost is followed from change to
//! change.
//!
//!     cargo bench --bench kernels                     # wall times by criterion; `-- gradient`: those whose name holds it
//!     KERNELS=target/release/deps/kernels-…           # as `cargo bench --bench kernels --no-run` names it
//!     $KERNELS --list                                 # the names
//!     $KERNELS --kernel plan --times 3                # one of them so many times on one thread: `benches/guard.py` counts its instructions
//!     $KERNELS --cpu                                  # what of the processor the code chooses its instructions by
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

mod made_up;

use std::hint::black_box;
use std::path::Path;
use std::time::Duration;

use alike::alignment::{Measure, permutation_nulls};
use alike::concepts::Concepts;
use alike::embedding::objective::Objective;
use alike::embedding::odd_one_out::answers_by_dot_products;
use alike::embedding::sparse::{self, Lambda, Optimiser, SparseLoss, SparseSettings, spose_objective};
use alike::embedding::{Comparison, FitSettings, Loss, OddOneOutAnswer, fit};
use alike::model_folder::ModelFolder;
use alike::presentations::{self, Task};
use alike::prompts::plan::{Budget, Plan, Resources, Reuse, Strategy};
use alike::prompts::template::{Frame, Style, Wording};
use alike::prompts::tokens::{Close, PromptTokenizer, Question};
use alike::respondents::{ResponseModel, SimulatedSubject};
use alike::scoring::ChoiceScores;
use alike::seed::Streams;
use alike::stats::standard_normal;
use alike::store::judgments::{self, Held};
use alike::store::manifest::Fingerprint;
use criterion::Criterion;
use faer::Mat;
use rand::RngExt;

/// What is done again and again; what it works on is made before.
type Work = Box<dyn FnMut()>;

type Prepare = fn() -> Work;

const KERNELS: [(&str, Prepare); 19] = [
    ("sample", sample),
    ("tokenise", tokenise),
    ("plan", plan),
    ("score", score),
    ("gradient-crowd-kernel", || gradient(Loss::CrowdKernel { mu: 0.05 })),
    ("gradient-ste", || gradient(Loss::Ste)),
    ("gradient-t-ste", || gradient(Loss::TSte { alpha: 29.0 })),
    ("gradient-soe", || gradient(Loss::Soe { margin: 0.1 })),
    ("gradient-gnmds", || gradient(Loss::Gnmds { margin: 1.0 })),
    ("gradient-logistic-distance", || gradient(Loss::LogisticDistance)),
    ("gradient-spose", gradient_spose),
    ("fit-crowd-kernel", || fit_triplets(&FitSettings { max_evaluations: 40, ..FitSettings::paper(10, 1) })),
    ("fit-logistic-distance", || {
        fit_triplets(&FitSettings { max_evaluations: 40, ..FitSettings::robust(10, 1).with_l2(1e-3) })
    }),
    ("fit-spose", fit_spose),
    ("align-procrustes", || align("procrustes_r2")),
    ("align-cka", || align("cka_linear_debiased")),
    ("align-rsa-pearson", || align("rsa_euclidean_pearson")),
    ("align-rsa-spearman", || align("rsa_euclidean_spearman")),
    ("write-parquet", write_parquet),
];

const N_CONCEPTS: usize = 128;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--list"] => KERNELS.iter().for_each(|(name, _)| println!("{name}")),
        ["--cpu"] => println!("{}", cpu_features().join(" ")),
        ["--kernel", name, "--times", times] => repeat(name, times.parse().unwrap()),
        _ => timed(),
    }
}

/// All work on this thread: others would spin while they wait, as often as chance has it.
fn repeat(name: &str, times: usize) {
    rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global().unwrap();
    let (_, make) = KERNELS.iter().find(|(known, _)| *known == name).expect("one of --list");
    let mut work = make();
    work(); // the first call allocates
    counted(&mut work, times);
}

/// What `benches/guard.py` counts: it knows the function by its name.
#[inline(never)]
fn counted(work: &mut Work, times: usize) {
    (0..times).for_each(|_| work());
}

fn timed() {
    let mut criterion = Criterion::default()
        .without_plots()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    for (name, make) in KERNELS {
        criterion.bench_function(name, |bencher| {
            let mut work = make();
            bencher.iter(&mut work);
        });
    }
    criterion.final_summary();
}

fn cpu_features() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let known: [(&str, bool); 0] = [];
    known.into_iter().filter_map(|(name, there)| there.then_some(name)).collect()
}

// --- before the model ------------------------------------------------------------------------------------------------

fn things() -> Concepts {
    Concepts::read_csv(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data/concepts/things128.csv")).unwrap()
}

fn sample() -> Work {
    Box::new(|| {
        black_box(presentations::random(Task::Anchored, N_CONCEPTS, 35_000, false, 1).unwrap());
    })
}

/// The tokenizer of the tests' tiny model, and the paper's prompts about some triplets of the 128 concepts.
struct Asked {
    tokenizer: PromptTokenizer,
    texts: Vec<(String, [String; 2])>,
}

impl Asked {
    fn new(n_triplets: usize) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/tiny-llama-scoring");
        let folder = ModelFolder::open(&folder).unwrap();
        let wording = Wording::new("paper", None).unwrap();
        let frame = Frame::new(Style::Chat, &wording, folder.chat_template.as_ref()).unwrap();
        let concepts = things();
        let text = |presentation: &presentations::Presentation| {
            let [anchor, first, second] = presentation.concepts().map(|id| concepts.name(id));
            (wording.ask(anchor, first, second), [first.to_owned(), second.to_owned()])
        };
        let asked = presentations::random(Task::Anchored, concepts.len(), n_triplets, false, 1).unwrap();
        let texts = asked.iter().map(text).collect();
        Self { tokenizer: PromptTokenizer::new(&folder.tokenizer, frame, folder.eos).unwrap(), texts }
    }

    fn questions(&self) -> Vec<Question> {
        let question = |(text, [first, second]): &(String, [String; 2])| {
            self.tokenizer.question(text, &[first.as_str(), second.as_str()], Close::Auto).unwrap()
        };
        self.texts.iter().map(question).collect()
    }
}

fn tokenise() -> Work {
    let asked = Asked::new(500);
    Box::new(move || {
        black_box(asked.questions());
    })
}

fn plan() -> Work {
    let questions = Asked::new(2_000).questions();
    let budget = Budget::new(2_048, Resources::CPU, 46_080);
    Box::new(move || {
        black_box(Plan::new(&questions, Reuse::Trie, Strategy::Tree, budget));
    })
}

// --- after the model -------------------------------------------------------------------------------------------------

fn score() -> Work {
    let questions = Asked::new(500).questions();
    let mut rng = Streams::new(1, "bench log-probabilities").rng(0);
    let mut steps = |option: &Vec<u32>| option.iter().map(|_| -8.0 * rng.random::<f32>()).collect::<Vec<f32>>();
    let steps: Vec<Vec<Vec<f32>>> =
        questions.iter().map(|question| question.options.iter().map(&mut steps).collect()).collect();
    Box::new(move || {
        for (question, steps) in questions.iter().zip(&steps) {
            let steps: Vec<&[f32]> = steps.iter().map(Vec::as_slice).collect();
            black_box(ChoiceScores::new(question, &steps));
        }
    })
}

fn write_parquet() -> Work {
    let concepts = things();
    let asked = presentations::random(Task::Anchored, N_CONCEPTS, 8_192, false, 1).unwrap();
    let asked: Vec<_> = asked.into_iter().map(|presentation| (presentation, 0)).collect();
    let rows = made_up::judgments(&asked, 0, N_CONCEPTS);
    let folder = tempfile::tempdir().unwrap();
    let path = judgments::part_path(folder.path(), "synthetic", 0, 0);
    let (fingerprint, held) = (Fingerprint::default().with("seed", 1), Held { parts: 0..1, of: 1 });
    Box::new(move || {
        let _ = &folder; // it lives as long as the work does
        judgments::write_part(&path, Task::Anchored, &rows, &concepts, "synthetic", &fingerprint, &held).unwrap();
    })
}

// --- embedding -------------------------------------------------------------------------------------------------------

fn cloud(n_dims: usize, key: u64) -> Mat<f64> {
    let mut rng = Streams::new(2, "bench cloud").rng(key);
    Mat::from_fn(N_CONCEPTS, n_dims, |_, _| standard_normal(&mut rng))
}

/// Random triplets, answered with some noise.
fn answers(n_triplets: usize) -> Vec<Comparison> {
    let reference = cloud(10, 0);
    let subject = SimulatedSubject::new(reference.as_ref(), ResponseModel::Logistic { tau: 1.0 }, 1).unwrap();
    let answer = |t: alike::triplets::Triplet| {
        let (triplet, anchor, first, second) = (t.id(N_CONCEPTS), t.anchor, t.first, t.second);
        let chose_first = subject.answer(anchor, first, second, triplet.cast_unsigned()).chose_first;
        Comparison { triplet, anchor, first, second, p_first: f64::from(chose_first), weight: 1.0 }
    };
    alike::triplets::random(N_CONCEPTS, n_triplets, false, 1).unwrap().into_iter().map(answer).collect()
}

/// The same for odd-one-out triplets.
fn odd_answers(n_triplets: usize) -> Vec<OddOneOutAnswer> {
    let w = cloud(10, 0);
    let w = Mat::from_fn(N_CONCEPTS, 10, |i, k| w[(i, k)].max(0.0));
    let asked = alike::odd_one_out::random(N_CONCEPTS, n_triplets, false, 1).unwrap();
    answers_by_dot_products(w.as_ref(), &asked, 1)
}

/// One evaluation at the paper's size.
fn gradient(loss: Loss) -> Work {
    let n_dims = 30;
    let mut objective = Objective::new(loss, 1e-3, N_CONCEPTS, n_dims, &answers(28_000)).unwrap();
    let x: Vec<f64> = alike::linalg::to_rows(cloud(n_dims, 1).as_ref()).concat();
    let mut gradient = vec![0.0; x.len()];
    Box::new(move || {
        black_box(objective.evaluate(&x, &mut gradient));
    })
}

/// The same for SPoSE; putting equal answers together is part of it.
fn gradient_spose() -> Work {
    let (answers, w) = (odd_answers(28_000), cloud(30, 1));
    let w = Mat::from_fn(N_CONCEPTS, 30, |i, k| w[(i, k)].max(0.0));
    Box::new(move || {
        black_box(spose_objective(w.as_ref(), &answers, 0.01).unwrap());
    })
}

fn fit_triplets(settings: &FitSettings) -> Work {
    let (answers, settings) = (answers(5_000), settings.clone());
    Box::new(move || {
        black_box(fit(N_CONCEPTS, &answers, &settings).unwrap());
    })
}

fn fit_spose() -> Work {
    let answers = odd_answers(5_000);
    let optimiser = Optimiser::QuasiNewton { max_evaluations: 40 };
    let loss = SparseLoss::Spose { lambda: Lambda::Fixed(0.01), optimiser };
    let settings = SparseSettings { loss, ..SparseSettings::spose(10, 1) };
    Box::new(move || {
        black_box(sparse::fit(N_CONCEPTS, &answers, &settings).unwrap());
    })
}

// --- alignment -------------------------------------------------------------------------------------------------------

/// A measure with 20 permutations, 42 dimensions against 30.
fn align(measure: &str) -> Work {
    let measure: Measure = measure.parse().unwrap();
    let (reference, embedding) = (cloud(42, 2), cloud(30, 3));
    Box::new(move || {
        black_box(permutation_nulls(&[measure], reference.as_ref(), embedding.as_ref(), 20, 1).unwrap());
    })
}
