//! `alike learning-curve`: accuracy and alignment against the number of triplets.

use std::path::PathBuf;

use alike::alignment::{Measure, RdmCorrelation, RdmDistance};
use alike::embedding::learning_curve::{CurveFit, default_sizes, learning_curve, n_available};
use alike::embedding::{FitSettings, dimension::sample_size_bound};
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
    /// Dimensions
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
    /// A row for each fit: a .csv or .parquet file
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
    loss: &'static str,
    n_triplets: usize,
    repeat: usize,
    n_comparisons: usize,
    l2: f64,
    train_accuracy: Option<f64>,
    heldout_accuracy: Option<f64>,
    heldout_loss: Option<f64>,
    participation_ratio: f64,
    procrustes_r2: Option<f64>,
    cka_linear_debiased: Option<f64>,
    rsa_euclidean_spearman: Option<f64>,
}

pub(crate) fn run(args: &LearningCurveArgs, common: &Common) -> anyhow::Result<()> {
    args.out.as_deref().map_or(Ok(()), |out| results::check(out, args.force))?;
    let section = args.fit.section(args.dims)?;
    let choices = args.fit.choices(&args.judgments)?;
    let reference = args.reference.read(&choices.concepts)?;
    let settings: Vec<FitSettings> = args.fit.loss.iter().map(|&loss| section.settings(loss, args.fit.seed)).collect();
    let comparisons = choices.answered.comparisons();
    let available = n_available(&comparisons, section.holdout, args.fit.seed);
    let mut sizes = if args.sizes.is_empty() { default_sizes(available) } else { args.sizes.clone() };
    sizes.sort_unstable();
    sizes.dedup();
    let fits = learning_curve(choices.concepts.len(), &comparisons, &settings, &sizes, args.repeats)?;
    let rows: Vec<Row> = fits.iter().map(|fit| row(fit, reference.as_ref())).collect::<alike::Result<_>>()?;
    let n_unconverged = fits.iter().filter(|fit| !fit.fit.record.converged).count();
    if n_unconverged > 0 {
        tracing::warn!("{n_unconverged} of {} fits did not converge", fits.len());
    }
    if let Some(out) = &args.out {
        results::write(out, &columns(&rows), &Fingerprint::default().with("seed", args.fit.seed))?;
    }
    let (n_heldout, bound) = (fits[0].fit.record.n_heldout, sample_size_bound(choices.concepts.len(), args.dims));
    if common.json {
        let summary = serde_json::json!({
            "n_heldout": n_heldout, "n_available": available, "dims": args.dims, "bound": bound,
            "reference": reference.as_ref().map(|r| &r.name), "fits": rows,
        });
        println!("{summary}");
        return Ok(());
    }
    println!("{}", means(&rows, reference.is_some()));
    println!(
        "accuracy on the same {n_heldout} held-out comparisons; means over random orders of the triplets (± standard deviation); \
         n·d·log2 n = {bound}"
    );
    Ok(())
}

fn row(fit: &CurveFit, reference: Option<&Reference>) -> alike::Result<Row> {
    let record = &fit.fit.record;
    let [procrustes_r2, cka_linear_debiased, rsa_euclidean_spearman] = match reference {
        None => [None; 3],
        Some(reference) => {
            let x = &fit.fit.coordinates;
            let rows = Mat::from_fn(reference.matched.len(), x.ncols(), |i, k| x[(reference.matched[i], k)]);
            let value = |measure: Measure| measure.value(reference.coordinates.as_ref(), rows.as_ref()).map(Some);
            let [r2, cka, rsa] = MEASURES.map(value);
            [r2?, cka?, rsa?]
        }
    };
    Ok(Row {
        loss: record.loss.key(),
        n_triplets: fit.n_triplets,
        repeat: fit.repeat,
        n_comparisons: record.n_train,
        l2: record.l2,
        train_accuracy: record.train_accuracy,
        heldout_accuracy: record.heldout_accuracy,
        heldout_loss: record.heldout_loss,
        participation_ratio: record.participation_ratio,
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
        ("loss", Column::Text(rows.iter().map(|row| row.loss.to_owned()).collect())),
        ("n_triplets", count(|row| row.n_triplets)),
        ("repeat", count(|row| row.repeat)),
        ("n_comparisons", count(|row| row.n_comparisons)),
        ("l2", number(|row| Some(row.l2))),
        ("train_accuracy", number(|row| row.train_accuracy)),
        ("heldout_accuracy", number(|row| row.heldout_accuracy)),
        ("heldout_loss", number(|row| row.heldout_loss)),
        ("participation_ratio", number(|row| Some(row.participation_ratio))),
        ("procrustes_r2", number(|row| row.procrustes_r2)),
        ("cka_linear_debiased", number(|row| row.cka_linear_debiased)),
        ("rsa_euclidean_spearman", number(|row| row.rsa_euclidean_spearman)),
    ]
}

/// A line for each loss and size.
fn means(rows: &[Row], with_reference: bool) -> Table {
    let mut header = vec!["loss", "triplets", "fits", "held-out accuracy", "held-out loss", "effective dimensions"];
    if with_reference {
        header.extend(["Procrustes R²", "CKA, debiased", "RSA, Spearman"]);
    }
    let line = |group: &[Row]| {
        let spread = |of: fn(&Row) -> Option<f64>| spread(&group.iter().filter_map(of).collect::<Vec<f64>>());
        let mut cells = vec![
            group[0].loss.to_owned(),
            group[0].n_triplets.to_string(),
            group.len().to_string(),
            spread(|row| row.heldout_accuracy),
            spread(|row| row.heldout_loss),
            spread(|row| Some(row.participation_ratio)),
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
    let groups = rows.chunk_by(|a, b| (a.loss, a.n_triplets) == (b.loss, b.n_triplets));
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
