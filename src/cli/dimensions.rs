//! `alike dimensions`: how many dimensions a reference needs, the answers ask for, and the number of triplets allows.

use std::path::PathBuf;

use alike::config::FitName;
use alike::embedding::dimension::{PredictionBound, dims_for_variance, participation_ratio, sample_size_bound};
use alike::embedding::dimension_choice::{DimsChoice, choose_dims};
use alike::embedding::{Fitting, Record};
use alike::error::Error;
use alike::reference::Reference;
use alike::store::manifest::Fingerprint;
use alike::store::results::{self, Column};
use clap::Args;
use serde::Serialize;

use crate::cli::Common;
use crate::cli::fit_args::{FitArgs, OptionalReference};
use crate::cli::tables::table;

#[derive(Debug, Args)]
pub(crate) struct DimensionsArgs {
    /// Judgments: a `respondent=LABEL` folder, or a CSV or Parquet file with `anchor, first, second, chosen` or `a, b, c, odd`
    #[arg(value_name = "JUDGMENTS", required_unless_present = "reference")]
    judgments: Option<PathBuf>,
    #[command(flatten)]
    fit: FitArgs,
    /// Numbers of dimensions to compare, after commas; of `spose` and `vice` those to begin with
    #[arg(long, value_delimiter = ',', default_value = "1,2,3,5,8,12,20,30", value_name = "D")]
    dims: Vec<usize>,
    /// Parts that the training triplets are cut into
    #[arg(long, default_value_t = 5, value_name = "N")]
    folds: usize,
    #[command(flatten)]
    reference: OptionalReference,
    /// Share of the reference's variance that its principal components are to hold
    #[arg(long, default_value_t = 0.95, value_name = "SHARE")]
    variance: f64,
    /// A row for each number of dimensions: a .csv or .parquet file
    #[arg(long, value_name = "FILE", requires = "judgments")]
    out: Option<PathBuf>,
    /// Replace output that is there
    #[arg(long)]
    force: bool,
}

/// What PCA says of a reference.
#[derive(Debug, Serialize)]
struct OfReference {
    name: String,
    n_concepts: usize,
    n_dims: usize,
    variance: f64,
    /// The fewest principal components that hold so much.
    components: usize,
    participation_ratio: f64,
}

/// What the answers say.
#[derive(Debug, Serialize)]
struct OfAnswers {
    loss: &'static str,
    n_concepts: usize,
    n_train: usize,
    #[serde(flatten)]
    choice: DimsChoice,
    bounds: Vec<Bounds>,
}

/// What theory says of one number of dimensions.
#[derive(Debug, Clone, Copy, Serialize)]
struct Bounds {
    /// n · d · log2 n.
    n_d_log2_n: u64,
    /// [`PredictionBound::of_rank`] after the training triplets; none of a fit by dot products, of which it does not speak.
    excess_of_rank: Option<f64>,
    /// Triplets that take it to one half.
    needed_of_rank: Option<u64>,
}

pub(crate) fn run(args: &DimensionsArgs, common: &Common) -> anyhow::Result<()> {
    args.out.as_deref().map_or(Ok(()), |out| results::check(out, args.force))?;
    let choices = args.judgments.as_deref().map(|judgments| args.fit.choices(judgments)).transpose()?;
    let concepts = match &choices {
        Some(choices) => choices.concepts.clone(),
        None => args.fit.concepts()?.ok_or_else(|| Error::Setting {
            field: "concepts".into(),
            found: "not given".into(),
            expected: "a concept list, where there are no judgments to name the concepts".into(),
        })?,
    };
    let of_reference = args.reference.read(&concepts)?.map(|reference| of_reference(&reference, args.variance));
    let of_reference = of_reference.transpose()?;
    let mut of_answers = vec![];
    if let Some(choices) = &choices {
        let mut dims = args.dims.clone();
        dims.sort_unstable();
        dims.dedup();
        let fittings = dims.iter().map(|&dims| args.fit.fittings(dims)).collect::<alike::Result<Vec<_>>>()?;
        for (which, loss) in args.fit.loss.iter().enumerate() {
            let candidates: Vec<Fitting> = fittings.iter().map(|of_losses| of_losses[which].clone()).collect();
            let choice = choose_dims(concepts.len(), &choices.answered, &candidates, args.folds)?;
            let n_train = choice.record.summary().n_train;
            let by_distances = matches!(loss, FitName::Distances(_));
            let bounds = |dims| bounds(concepts.len(), dims, n_train, by_distances);
            let bounds = choice.scores.iter().map(|score| bounds(score.dims)).collect();
            of_answers.push(OfAnswers { loss: loss.name(), n_concepts: concepts.len(), n_train, choice, bounds });
        }
    }
    if let Some(out) = &args.out {
        results::write(out, &columns(&of_answers), &Fingerprint::default().with("seed", args.fit.seed))?;
    }
    if common.json {
        println!("{}", serde_json::json!({ "reference": of_reference, "answers": of_answers }));
        return Ok(());
    }
    if let Some(of) = &of_reference {
        println!(
            "{}: {} of {} principal components hold {:.0} % of the variance of {} concepts; {:.1} effective dimensions",
            of.name,
            of.components,
            of.n_dims,
            100.0 * of.variance,
            of.n_concepts,
            of.participation_ratio
        );
    }
    of_answers.iter().for_each(print);
    Ok(())
}

fn of_reference(reference: &Reference, variance: f64) -> alike::Result<OfReference> {
    let x = reference.coordinates.as_ref();
    Ok(OfReference {
        name: reference.name.clone(),
        n_concepts: x.nrows(),
        n_dims: x.ncols(),
        variance,
        components: dims_for_variance(x, variance)?,
        participation_ratio: participation_ratio(x),
    })
}

fn bounds(n_concepts: usize, dims: usize, n_train: usize, by_distances: bool) -> Bounds {
    let bound = by_distances.then(|| PredictionBound::of_rank(n_concepts, dims));
    Bounds {
        n_d_log2_n: sample_size_bound(n_concepts, dims),
        excess_of_rank: bound.map(|bound| bound.excess(n_train as u64)),
        needed_of_rank: bound.map(|bound| bound.triplets_for(0.5)),
    }
}

fn print(of: &OfAnswers) {
    let DimsChoice { scores, best, one_standard_error, record } = &of.choice;
    let line = |(score, bounds): (&alike::embedding::dimension_choice::DimsScore, &Bounds)| {
        let mark = match (score.dims == *one_standard_error, score.dims == *best) {
            (true, true) => " ← chosen, best",
            (true, false) => " ← chosen",
            (false, true) => " ← best",
            (false, false) => "",
        };
        vec![
            format!("{}{mark}", score.dims),
            score.dims_left.to_string(),
            format!("{:.4}", score.accuracy),
            format!("{:.4}", score.standard_error),
            score.penalty.map_or("–".to_owned(), |penalty| format!("{penalty:.3e}")),
            format!("{:.1}", score.participation_ratio),
            bounds.n_d_log2_n.to_string(),
            bounds.excess_of_rank.map_or("–".to_owned(), |excess| format!("{excess:.2}")),
        ]
    };
    let header =
        ["dimensions", "left", "accuracy", "standard error", "penalty", "effective", "n·d·log2 n", "prediction bound"];
    println!("{}", table(&header, scores.iter().zip(&of.bounds).map(line), 1));
    let chosen = record.summary();
    let heldout = chosen.heldout_accuracy.map_or("none".to_owned(), |accuracy| format!("{:.1} %", 100.0 * accuracy));
    let n_folds = scores.first().map_or(0, |score| score.folds.len());
    match record {
        Record::Distances(_) => {
            println!(
                "{}: {one_standard_error} dimensions, the fewest within one standard error of the best ({best}); accuracy by \
                 {n_folds} folds inside {} training comparisons; untouched held-out accuracy in {one_standard_error}: {heldout}",
                of.loss, of.n_train,
            );
            print_theory(of);
        }
        Record::DotProducts(_) => println!(
            "{}: {one_standard_error} dimensions to begin with, of which {} survive, the fewest within one standard error of the \
             best ({best}); accuracy (chance 33.3 %) by {n_folds} folds inside {} odd-one-out answers; untouched held-out \
             accuracy: {heldout}. The prediction bound is one for distances.",
            of.loss, chosen.dims, of.n_train,
        ),
    }
}

/// What the bounds can and cannot tell.
fn print_theory(of: &OfAnswers) {
    let (n, m) = (of.n_concepts, of.n_train);
    let any = PredictionBound::any_rank(n);
    let excess = any.excess(m as u64);
    println!(
        "n·d·log2 n is an order of magnitude, its constant taken as 1. The prediction bound (Jain, Jamieson & Nowak 2016; margin γ, \
         trace ≤ √d·n·γ, δ = 0.05) limits how much worse the fit may predict than the best embedding of its kind: above 0.5 it is \
         vacuous."
    );
    let vacuous = of.bounds.iter().filter(|bounds| bounds.excess_of_rank.is_some_and(|excess| excess > 0.5)).count();
    match (excess > 0.5, vacuous == of.bounds.len()) {
        (true, true) => println!(
            "With {m} comparisons of {n} concepts it tells nothing, in any number of dimensions: for 0.5 it takes {} comparisons \
             whatever the rank (trace ≤ n·γ: {excess:.2} now). Measure instead: `alike learning-curve`.",
            any.triplets_for(0.5)
        ),
        _ => println!(
            "With {m} comparisons of {n} concepts it tells something in {} of {} rows, and {excess:.2} whatever the rank (trace ≤ n·γ).",
            of.bounds.len() - vacuous,
            of.bounds.len()
        ),
    }
}

fn columns(of: &[OfAnswers]) -> Vec<(&'static str, Column)> {
    let rows = || of.iter().flat_map(|of| of.choice.scores.iter().zip(&of.bounds).map(move |row| (of, row.0, row.1)));
    let count = |value: usize| i64::try_from(value).expect("few dimensions");
    let flag = |value: bool| i64::from(value);
    vec![
        ("loss", Column::Text(rows().map(|(of, ..)| of.loss.to_owned()).collect())),
        ("dims", Column::Integers(rows().map(|(_, score, _)| count(score.dims)).collect())),
        ("accuracy", Column::Numbers(rows().map(|(_, score, _)| Some(score.accuracy)).collect())),
        ("standard_error", Column::Numbers(rows().map(|(_, score, _)| Some(score.standard_error)).collect())),
        ("dims_left", Column::Integers(rows().map(|(_, score, _)| count(score.dims_left)).collect())),
        ("penalty", Column::Numbers(rows().map(|(_, score, _)| score.penalty).collect())),
        ("participation_ratio", Column::Numbers(rows().map(|(_, score, _)| Some(score.participation_ratio)).collect())),
        ("best", Column::Integers(rows().map(|(of, score, _)| flag(score.dims == of.choice.best)).collect())),
        (
            "one_standard_error",
            Column::Integers(rows().map(|(of, score, _)| flag(score.dims == of.choice.one_standard_error)).collect()),
        ),
        ("n_d_log2_n", Column::Integers(rows().map(|(.., bounds)| bounds.n_d_log2_n.cast_signed()).collect())),
        ("prediction_bound", Column::Numbers(rows().map(|(.., bounds)| bounds.excess_of_rank).collect())),
    ]
}
