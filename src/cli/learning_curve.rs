//! `alike learning-curve`: accuracy and alignment against the number of triplets.

use std::path::PathBuf;

use alike::alignment::{Measure, RdmCorrelation, RdmDistance};
use alike::embedding::dimension::sample_size_bound;
use alike::embedding::fitting::Summary;
use alike::embedding::learning_curve::{CurveFit, default_sizes, learning_curve, n_available};
use alike::reference::Reference;
use alike::stats::mean;
use alike::store::manifest::Fingerprint;
use alike::store::results::{self, Column};
use clap::Args;
use comfy_table::Table;
use faer::Mat;
use serde::Serialize;

use crate::cli::Common;
use crate::cli::fit_args::{FitArgs, OptionalReference};
use crate::cli::tables::table;

#[derive(Debug, Args)]
pub(crate) struct LearningCurveArgs {
    /// Judgments: a `respondent=LABEL` folder, or a CSV or Parquet file with `anchor, first, second, chosen` or `a, b, c, odd`
    #[arg(value_name = "JUDGMENTS")]
    judgments: PathBuf,
    #[command(flatten)]
    fit: FitArgs,
    /// Dimensions; of `spose` and `vice` those to begin with
    #[arg(long, default_value_t = 30, value_name = "D")]
    dims: usize,
    /// Unordered triplets to train on, after commas; all there are and five halvings unless given
    #[arg(long, value_delimiter = ',', value_name = "N")]
    sizes: Vec<usize>,
    /// Random orders of the triplets; within each the smaller sizes lie inside the larger ones
    #[arg(long, default_value_t = 3, value_name = "R")]
    repeats: usize,
    #[command(flatten)]
    reference: OptionalReference,
    /// A row for each fit: a .csv or .parquet file. The page of a study shows `OUT/learning_curves/LABEL.parquet`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace output that is there
    #[arg(long)]
    force: bool,
}

/// The measures that are compared along the curve: the paper's, and two without a chance offset.
const MEASURES: [Measure; 3] = [
    Measure::ProcrustesR2,
    Measure::CkaLinearDebiased,
    Measure::Rsa { distance: RdmDistance::Euclidean, correlation: RdmCorrelation::Spearman },
];

/// One fit in numbers.
#[derive(Debug, Serialize)]
struct Row {
    n_triplets: usize,
    repeat: usize,
    #[serde(flatten)]
    fit: Summary,
    procrustes_r2: Option<f64>,
    cka_linear_debiased: Option<f64>,
    rsa_euclidean_spearman: Option<f64>,
}

pub(crate) fn run(args: &LearningCurveArgs, common: &Common) -> anyhow::Result<()> {
    args.out.as_deref().map_or(Ok(()), |out| results::check(out, args.force))?;
    let fittings = args.fit.fittings(args.dims)?;
    let choices = args.fit.choices(&args.judgments)?;
    let reference = args.reference.read(&choices.concepts)?;
    let available = n_available(&choices.answered, args.fit.holdout, args.fit.seed);
    let mut sizes = if args.sizes.is_empty() { default_sizes(available) } else { args.sizes.clone() };
    sizes.sort_unstable();
    sizes.dedup();
    let fits = learning_curve(choices.concepts.len(), &choices.answered, &fittings, &sizes, args.repeats)?;
    let rows: Vec<Row> = fits.iter().map(|fit| row(fit, reference.as_ref())).collect::<alike::Result<_>>()?;
    let n_unconverged = fits.iter().filter(|fit| !fit.record.converged()).count();
    if n_unconverged > 0 {
        tracing::warn!("{n_unconverged} of {} fits did not converge", fits.len());
    }
    if let Some(out) = &args.out {
        results::write(out, &columns(&rows), &Fingerprint::default().with("seed", args.fit.seed))?;
    }
    let bound = sample_size_bound(choices.concepts.len(), args.dims);
    if common.json {
        let summary = serde_json::json!({
            "n_available": available, "dims": args.dims, "bound": bound,
            "reference": reference.as_ref().map(|r| &r.name), "fits": rows,
        });
        println!("{summary}");
        return Ok(());
    }
    println!("{}", means(&rows, reference.is_some()));
    println!(
        "{}; means over random orders of the triplets (± standard deviation); n·d·log2 n = {bound}",
        meaning(&rows)
    );
    Ok(())
}

/// What accuracy is a share of.
fn meaning(rows: &[Row]) -> String {
    let heldout = |by_distances: bool| {
        rows.iter().find(|row| (row.fit.chance_accuracy == 0.5) == by_distances).map(|row| row.fit.n_heldout)
    };
    match (heldout(true), heldout(false)) {
        (Some(n), Some(m)) => format!(
            "accuracy on the same held-out triplets, but of different questions and not to be compared: by distances {n} anchored \
             comparisons, of which a coin gets half; by dot products {m} odd-one-out answers, of which it gets a third"
        ),
        (None, Some(m)) => format!("accuracy on the same {m} held-out odd-one-out answers"),
        (n, None) => format!("accuracy on the same {} held-out comparisons", n.unwrap_or(0)),
    }
}

fn row(fit: &CurveFit, reference: Option<&Reference>) -> alike::Result<Row> {
    let [procrustes_r2, cka_linear_debiased, rsa_euclidean_spearman] = match reference {
        None => [None; 3],
        Some(reference) => {
            let x = &fit.coordinates;
            let rows = Mat::from_fn(reference.matched.len(), x.ncols(), |i, k| x[(reference.matched[i], k)]);
            let value = |measure: Measure| measure.value(reference.coordinates.as_ref(), rows.as_ref()).map(Some);
            let [r2, cka, rsa] = MEASURES.map(value);
            [r2?, cka?, rsa?]
        }
    };
    Ok(Row {
        n_triplets: fit.n_triplets,
        repeat: fit.repeat,
        fit: fit.record.summary(),
        procrustes_r2,
        cka_linear_debiased,
        rsa_euclidean_spearman,
    })
}

fn columns(rows: &[Row]) -> Vec<(&'static str, Column)> {
    let count = |of: fn(&Row) -> usize| {
        Column::Integers(rows.iter().map(|row| i64::try_from(of(row)).expect("few triplets")).collect())
    };
    let number = |of: fn(&Row) -> Option<f64>| Column::Numbers(rows.iter().map(of).collect());
    vec![
        ("loss", Column::Text(rows.iter().map(|row| row.fit.loss.to_owned()).collect())),
        ("n_triplets", count(|row| row.n_triplets)),
        ("repeat", count(|row| row.repeat)),
        ("n_train", count(|row| row.fit.n_train)),
        ("n_heldout", count(|row| row.fit.n_heldout)),
        ("dims", count(|row| row.fit.dims)),
        ("penalty", number(|row| row.fit.penalty)),
        ("train_accuracy", number(|row| row.fit.train_accuracy)),
        ("heldout_accuracy", number(|row| row.fit.heldout_accuracy)),
        ("chance_accuracy", number(|row| Some(row.fit.chance_accuracy))),
        ("heldout_loss", number(|row| row.fit.heldout_loss)),
        ("participation_ratio", number(|row| Some(row.fit.participation_ratio))),
        ("procrustes_r2", number(|row| row.procrustes_r2)),
        ("cka_linear_debiased", number(|row| row.cka_linear_debiased)),
        ("rsa_euclidean_spearman", number(|row| row.rsa_euclidean_spearman)),
    ]
}

/// A line for each loss and size.
fn means(rows: &[Row], with_reference: bool) -> Table {
    let mut header =
        vec!["loss", "triplets", "fits", "held-out accuracy", "chance", "held-out loss", "dimensions", "effective"];
    if with_reference {
        header.extend(["Procrustes R²", "CKA, debiased", "RSA, Spearman"]);
    }
    let line = |group: &[Row]| {
        let spread = |of: fn(&Row) -> Option<f64>| spread(&group.iter().filter_map(of).collect::<Vec<f64>>());
        let mut cells = vec![
            group[0].fit.loss.to_owned(),
            group[0].n_triplets.to_string(),
            group.len().to_string(),
            spread(|row| row.fit.heldout_accuracy),
            format!("{:.3}", group[0].fit.chance_accuracy),
            spread(|row| row.fit.heldout_loss),
            format!("{:.1}", mean(&group.iter().map(|row| row.fit.dims as f64).collect::<Vec<_>>())),
            spread(|row| Some(row.fit.participation_ratio)),
        ];
        if with_reference {
            cells.extend([
                spread(|row| row.procrustes_r2),
                spread(|row| row.cka_linear_debiased),
                spread(|row| row.rsa_euclidean_spearman),
            ]);
        }
        cells
    };
    let groups = rows.chunk_by(|a, b| (a.fit.loss, a.n_triplets) == (b.fit.loss, b.n_triplets));
    table(&header, groups.map(line), 1)
}

fn spread(values: &[f64]) -> String {
    let mean = mean(values);
    match values.len() {
        0 => "–".to_owned(),
        1 => format!("{mean:.3}"),
        n => {
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1) as f64;
            format!("{mean:.3} ± {:.3}", variance.sqrt())
        }
    }
}
