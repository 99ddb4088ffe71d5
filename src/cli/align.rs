//! `alike align`: compare embeddings with a reference.

use std::path::{Path, PathBuf};

use alike::alignment::ceiling::{Ceiling, chances, described, matched_ceilings};
use alike::alignment::interval::IntervalMethod;
use alike::alignment::silhouette::category_silhouette;
use alike::alignment::{Measure, PermutationNull, permutation_nulls};
use alike::concepts::Concepts;
use alike::config::AlignSection;
use alike::embedding::Fitting;
use alike::error::Error;
use alike::linalg::check_finite;
use alike::reference::{Matching, Reference};
use alike::store::alignment::AlignmentRow;
use alike::store::choices::Choices;
use alike::store::embedding::Embedding;
use clap::Args;
use faer::{Mat, MatRef};

use crate::cli::intervals::Intervals;
use crate::cli::people::People;
use crate::cli::simulate::ReferenceArgs;
use crate::cli::{Common, Existing, is_done};

#[derive(Debug, Args)]
pub(crate) struct AlignArgs {
    /// The embedding: Parquet or CSV with `concept, d00, d01, …`, or .npy with --names
    #[arg(value_name = "EMBEDDING")]
    embedding: PathBuf,
    /// Names of the embedding's rows, one a line, for .npy
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Concept list, for categories and for senses of homographs; the embedding's names unless given
    #[arg(long, value_name = "FILE")]
    concepts: Option<PathBuf>,
    #[command(flatten)]
    reference: ReferenceArgs,
    /// Permutations of the concepts for the null; 0 for none
    #[arg(long, default_value_t = 1000, value_name = "N")]
    permutations: usize,
    /// Every measure, not only the usual four
    #[arg(long)]
    all: bool,
    /// A measure by its key, such as `rsa_cosine_kendall_tau_a`, instead of the usual four; may be repeated
    #[arg(long, value_name = "KEY", conflicts_with = "all")]
    measure: Vec<Measure>,
    /// 95 % intervals: `jackknife` or `subsample` over concepts, `refits` over triplets (of `alike embed --bootstrap`), `bootstrap` over
    /// concepts for RSA alone, or `none`
    #[arg(long, value_name = "METHOD", default_value_t = IntervalMethod::DEFAULT)]
    interval: IntervalMethod,
    /// Bring the reference to that many dimensions: fewer by PCA, more by zeros
    #[arg(long, value_name = "D")]
    reference_dims: Option<usize>,
    /// The embedding of a single person or group, read as the reference is, with its names; two or more of them give RSA measures
    /// their noise ceiling
    #[arg(long, value_name = "FILE")]
    subject: Vec<PathBuf>,
    /// People's own choices: triplets with `anchor, first, second, chosen` or `a, b, c, odd` (CSV, Parquet), or THINGS' text; the share
    /// of them that the embedding would make too is added to the table
    #[arg(long, value_name = "FILE")]
    choices: Option<PathBuf>,
    /// Names that a text file of choices counts, one a line
    #[arg(long, value_name = "FILE", requires = "choices")]
    choice_names: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Parquet file for the table; it is printed in any case
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    existing: Existing,
}

pub(crate) fn run(args: &AlignArgs, common: &Common) -> anyhow::Result<()> {
    let embedding = read_embedding(&args.embedding, args.names.as_deref())?;
    let concepts = match &args.concepts {
        Some(path) => Concepts::read_csv(path)?,
        None => Concepts::new(embedding.concepts())?,
    };
    let section = args.section()?;
    let people = People::beside(args.reference.read(&concepts)?, &section, &concepts)?;
    let (reference, measures) = (&people.reference, &section.measures);
    if !reference.treatment.is_empty() {
        tracing::info!("{}", reference.treatment);
    }
    let fingerprint =
        people.fingerprint(&section, args.seed).with("embedding", alike::model_folder::file_digest(&args.embedding)?);
    if let Some(out) = &args.out
        && is_done(out, &fingerprint, args.existing)?
    {
        tracing::info!("{} is there", out.display());
        return Ok(());
    }
    let rows = embedding.rows_of(&concepts, &reference.matched, &args.embedding)?;
    check_finite(rows.as_ref(), &args.embedding.display().to_string())?;
    let stem = args.embedding.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let intervals = Intervals::read(args.interval, &args.embedding, &concepts, reference, args.seed)?;
    let (human, permutations) = (reference.coordinates.as_ref(), args.permutations);
    let mut table = Vec::new();
    for &measure in measures {
        let measured = if permutations > 0 {
            let null = measure.permutation_null(human, rows.as_ref(), permutations, args.seed);
            null.map(|null| (null.value, Some(null.mean), Some(null.p)))
        } else {
            measure.value(human, rows.as_ref()).map(|value| (value, None, None))
        };
        let (value, null_mean, p) = match measured {
            // All are asked for together, and some are undefined for some data (a constant row has no cosine).
            Err(error) if args.all && !Measure::DEFAULTS.contains(&measure) => {
                tracing::warn!("{measure} is left out: {error}");
                continue;
            }
            other => other?,
        };
        let mut row = AlignmentRow {
            respondent: stem.clone(),
            reference: reference.name.clone(),
            measure: measure.key(),
            variant: variant(measure, reference),
            value,
            null_mean,
            p,
            n: rows.nrows(),
            ..AlignmentRow::default()
        };
        intervals.add_to(&mut row, measure, human, rows.as_ref());
        people.subjects.add_to(&mut row, measure, Some(rows.as_ref()))?;
        table.push(row);
    }
    if args.all {
        match silhouette_row(args, &stem, &concepts, reference, rows.as_ref()) {
            Ok(row) => table.extend(row),
            Err(error) => tracing::warn!("category_silhouette is left out: {error}"),
        }
    }
    if let Some(choices) = &people.choices {
        let whole = whole(&embedding, &concepts, &args.embedding)?;
        table.push(choices.row(&stem, whole.as_ref(), permutations, args.seed)?);
    }
    if let Some(out) = &args.out {
        alike::store::alignment::write(out, &table, &fingerprint)?;
    }
    if common.json {
        // Seventeen significant digits tell every f64 apart.
        let values: Vec<String> = table.iter().map(|r| format!("\"{}\": {:.16e}", r.measure, r.value)).collect();
        println!("{{{}}}", values.join(", "));
    } else {
        println!("{}", crate::cli::tables::alignment_table(&table));
    }
    Ok(())
}

impl AlignArgs {
    /// The flags as a study has them.
    fn section(&self) -> alike::Result<AlignSection> {
        let Matching { map, allow_missing } = self.reference.matching()?;
        let measures = match (self.all, self.measure.is_empty()) {
            (true, _) => Measure::ALL.to_vec(),
            (false, false) => self.measure.clone(),
            (false, true) => Measure::DEFAULTS.to_vec(),
        };
        Ok(AlignSection {
            reference: self.reference.reference.clone(),
            names: self.reference.reference_names.clone(),
            map,
            allow_missing,
            permutations: self.permutations,
            measures,
            intervals: self.interval,
            reference_dims: self.reference_dims,
            subjects: self.subject.clone(),
            choices: self.choices.clone(),
            choice_names: self.choice_names.clone(),
        })
    }
}

/// An embedding's rows for all concepts.
fn whole(embedding: &Embedding, concepts: &Concepts, path: &Path) -> alike::Result<Mat<f64>> {
    embedding.rows_of(concepts, &(0..concepts.len()).collect::<Vec<_>>(), path)
}

/// How well the concepts' categories are set apart in the embedding, beside the reference; nothing for concepts without categories.
fn silhouette_row(
    args: &AlignArgs,
    stem: &str,
    concepts: &Concepts,
    reference: &Reference,
    rows: MatRef<'_, f64>,
) -> alike::Result<Option<AlignmentRow>> {
    let Some((_, of_all)) = concepts.categories() else { return Ok(None) };
    let categories: Vec<usize> = reference.matched.iter().map(|&i| of_all[i]).collect();
    let null = category_silhouette(rows, &categories, args.permutations, args.seed)?;
    let of_reference = category_silhouette(reference.coordinates.as_ref(), &categories, 0, args.seed)?.value;
    Ok(Some(AlignmentRow {
        respondent: stem.to_owned(),
        reference: reference.name.clone(),
        measure: "category_silhouette".into(),
        variant: format!("Euclidean; of the embedding alone, the reference's own is {of_reference:.4}"),
        value: null.value,
        null_mean: (args.permutations > 0).then_some(null.mean),
        p: (args.permutations > 0).then_some(null.p),
        n: rows.nrows(),
        ..AlignmentRow::default()
    }))
}

/// What the key leaves open, of the measure and of the reference.
fn variant(measure: Measure, reference: &Reference) -> String {
    match reference.treatment.as_str() {
        "" => measure.variant(),
        treatment => format!("{}; {treatment}", measure.variant()),
    }
}

fn read_embedding(path: &Path, names: Option<&Path>) -> anyhow::Result<Embedding> {
    if path.extension().is_none_or(|e| e != "npy") {
        return Ok(alike::store::embedding::read(path)?);
    }
    let names = names.ok_or_else(|| Error::Setting {
        field: "names".into(),
        found: "not given".into(),
        expected: format!("a file that names the rows of {}, one a line", path.display()),
    })?;
    let coordinates = alike::store::npy::read(path)?;
    let names = alike::reference::read_names(names)?;
    if names.len() != coordinates.nrows() {
        anyhow::bail!(Error::ShapeMismatch {
            what: format!("names of the rows of {}", path.display()),
            found: names.len().to_string(),
            expected: coordinates.nrows().to_string(),
        });
    }
    Ok(Embedding::bare(names, coordinates))
}

/// What the alignment of one fit needs.
pub(crate) struct Fitted<'a> {
    pub(crate) label: &'a str,
    pub(crate) fit: &'a str,
    pub(crate) path: &'a Path,
    pub(crate) choices: &'a Choices,
    pub(crate) settings: Fitting,
}

/// All measures of one fit, beside its ceiling and chance under the same fit.
pub(crate) fn align_fit(
    fitted: &Fitted<'_>,
    people: &People,
    section: &AlignSection,
    seed: u64,
) -> anyhow::Result<Vec<AlignmentRow>> {
    let embedding = alike::store::embedding::read(fitted.path)?;
    let (concepts, reference) = (&fitted.choices.concepts, &people.reference);
    let rows = embedding.rows_of(concepts, &reference.matched, fitted.path)?;
    check_finite(rows.as_ref(), &fitted.path.display().to_string())?;
    let bounds = Bounds::new(fitted, &embedding, reference, seed)?;
    let human = reference.coordinates.as_ref();
    let intervals = Intervals::read(section.intervals, fitted.path, concepts, reference, seed)?;
    let nothing = nothing_left(rows.as_ref());
    let nulls = match nothing {
        true => vec![PermutationNull { value: 0.0, mean: 0.0, p: 1.0, draws: vec![] }; section.measures.len()],
        false => permutation_nulls(&section.measures, human, rows.as_ref(), section.permutations.max(1), seed)?,
    };
    let mut table = Vec::new();
    for (&measure, null) in section.measures.iter().zip(nulls) {
        let value = |subject: &Ceiling| match nothing_left(subject.coordinates.as_ref()) {
            true => Ok(0.0),
            false => measure.value(human, subject.coordinates.as_ref()),
        };
        let of = |subjects: &[Ceiling]| -> alike::Result<Option<Spread>> {
            let values: alike::Result<Vec<f64>> = subjects.iter().map(value).collect();
            values.map(|values| Spread::of(&values))
        };
        let (ceiling, chance) = (of(&bounds.ceiling)?, of(&bounds.chance)?);
        let mut row = AlignmentRow {
            respondent: fitted.label.to_owned(),
            fit: fitted.fit.to_owned(),
            reference: reference.name.clone(),
            measure: measure.key(),
            variant: variant(measure, reference),
            value: null.value,
            null_mean: Some(null.mean),
            p: Some(null.p),
            ceiling: ceiling.map(|of| of.mean),
            ceiling_lo: ceiling.map(|of| of.lo),
            ceiling_hi: ceiling.map(|of| of.hi),
            ceiling_match: ceiling.map(|_| described(&bounds.ceiling)),
            chance: chance.map(|of| of.mean),
            chance_lo: chance.map(|of| of.lo),
            chance_hi: chance.map(|of| of.hi),
            normalised: normalised(null.value, ceiling, chance),
            n: rows.nrows(),
            ..AlignmentRow::default()
        };
        if !nothing {
            intervals.add_to(&mut row, measure, human, rows.as_ref());
        }
        people.subjects.add_to(&mut row, measure, (!nothing).then_some(rows.as_ref()))?;
        table.push(row);
    }
    match &people.choices {
        Some(_) if nothing => {
            tracing::warn!("{} ({}): no dimension is left to decide people's choices by", fitted.label, fitted.fit);
        }
        Some(choices) => {
            let whole = whole(&embedding, concepts, fitted.path)?;
            let row = choices.row(fitted.label, whole.as_ref(), section.permutations.max(1), seed)?;
            table.push(AlignmentRow { fit: fitted.fit.to_owned(), ..row });
        }
        None => {}
    }
    Ok(table)
}

/// Whether no dimension of a sparse fit survived: there is nothing to align, and every measure is taken as zero.
fn nothing_left(rows: faer::MatRef<'_, f64>) -> bool {
    rows.norm_max() == 0.0
}

/// Some subjects' values of a measure.
#[derive(Clone, Copy)]
struct Spread {
    mean: f64,
    lo: f64,
    hi: f64,
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        let (lo, hi) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(lo, hi), v| (lo.min(*v), hi.max(*v)));
        (!values.is_empty()).then(|| Self { mean: alike::stats::mean(values), lo, hi })
    }
}

/// Where a value stands between chance (0) and ceiling (1), not clipped; `None` where the lowest of the ceiling's subjects is not
/// above the highest coin, for then there is nothing to stand between.
fn normalised(value: f64, ceiling: Option<Spread>, chance: Option<Spread>) -> Option<f64> {
    let (ceiling, chance) = ceiling.zip(chance).filter(|(ceiling, chance)| ceiling.lo > chance.hi)?;
    Some((value - chance.mean) / (ceiling.mean - chance.mean))
}

/// The simulated subjects that a fit stands between.
#[derive(Default)]
struct Bounds {
    /// As accurate as the fit, with the reference's geometry. There are none of a fit that does not predict held-out answers
    /// (a subject as accurate as that is a coin), or for which none were held out.
    ceiling: Vec<Ceiling>,
    /// Coins.
    chance: Vec<Ceiling>,
}

/// Standard errors by which a fit's held-out accuracy must exceed a coin's to count as predicting.
const PREDICTS_SE: f64 = 3.0;

impl Bounds {
    /// Sends both through the fit's own pipeline. None are found where the reference leaves concepts out.
    fn new(fitted: &Fitted<'_>, embedding: &Embedding, reference: &Reference, seed: u64) -> anyhow::Result<Self> {
        let (n_concepts, asked) = (fitted.choices.concepts.len(), &fitted.choices.answered);
        if reference.matched.len() < n_concepts {
            return Ok(Self::default());
        }
        let number = |name: &str| embedding.fit[name].as_f64();
        // The penalty of the fit itself: left to choose their own, a subject and above all a coin would be fitted differently.
        let penalty = number("l2").or_else(|| number("lambda")).unwrap_or_default();
        let settings = fitted.settings.with_penalty(penalty);
        // Another seed than the study's own simulated subjects, which would otherwise be compared with themselves.
        let seed = seed.wrapping_add(1);
        let (coin, variance) = settings.coin_accuracy(asked, number("n_heldout").unwrap_or_default().max(1.0));
        let predicts = |accuracy: &f64| accuracy - coin > PREDICTS_SE * variance.sqrt();
        let ceiling = number("heldout_accuracy")
            .filter(predicts)
            .map(|accuracy| matched_ceilings(reference.coordinates.as_ref(), asked, &settings, accuracy, seed))
            .transpose()?
            .unwrap_or_default();
        tracing::debug!("{} ({}): ceiling: {}", fitted.label, fitted.fit, described(&ceiling));
        Ok(Self { ceiling, chance: chances(n_concepts, asked, &settings, seed)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_chance_and_ceiling_where_they_are_apart() {
        let [coins, subjects, close] = [[0.1, 0.2, 0.3], [0.6, 0.7, 0.8], [0.25, 0.7, 0.8]].map(|v| Spread::of(&v));
        assert!((normalised(0.45, subjects, coins).unwrap() - 0.5).abs() < 1e-12);
        assert!((normalised(0.1, subjects, coins).unwrap() + 0.2).abs() < 1e-12);
        assert_eq!([normalised(0.45, close, coins), normalised(0.45, coins, subjects)], [None, None]);
        assert_eq!([normalised(0.45, None, coins), normalised(0.45, subjects, None)], [None, None]);
    }
}
