//! `alike simulate`: a subject who answers from a reference, or by coin.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alike::concepts::Concepts;
use alike::config::{BUILT_IN_REFERENCE, JudgeSection, Response, Simulated};
use alike::engine::provider::ExecutionProvider;
use alike::error::Error;
use alike::judgments::Judgment;
use alike::presentations::{self, Presentation};
use alike::reference::{Matching, Reference};
use alike::respondents::noise::agreement_between_lapses;
use alike::respondents::simulated::{ResponseModel, SimulatedSubject};
use alike::store::manifest::Fingerprint;
use clap::{Args, ValueEnum};

use crate::cli::parts::Target;
use crate::cli::{Common, Existing, parse_pairs};

#[derive(Debug, Args)]
pub(crate) struct SimulateArgs {
    #[command(flatten)]
    pub(crate) reference: ReferenceArgs,
    /// Concept list (CSV with a `concept` column)
    #[arg(long, value_name = "FILE")]
    concepts: PathBuf,
    /// Triplets: CSV or Parquet with `anchor, first, second`, or odd-one-out triplets with `a, b, c`
    #[arg(long, value_name = "FILE")]
    triplets: PathBuf,
    /// How the subject answers
    #[arg(long, value_enum, default_value_t = ResponseFlag::NoiseFree)]
    response: ResponseFlag,
    /// For `logistic` and `softmax`: expected share of answers that agree with the noise-free ones, lapses among them, above a
    /// coin's (1/2, of odd-one-out triplets 1/3) and below 1
    #[arg(long, value_name = "SHARE")]
    agreement: Option<f64>,
    /// For `softmax` without an agreement: what dot products are divided by; 1 unless given
    #[arg(long, value_name = "T")]
    temperature: Option<f64>,
    /// Share of answers by coin, in between
    #[arg(long, value_name = "SHARE")]
    lapses: Option<f64>,
    /// Output: judgments go to DIR/respondent=LABEL/
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Name of the respondent
    #[arg(long, default_value = "simulated")]
    label: String,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    existing: Existing,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ResponseFlag {
    /// The nearer option, or the odd one beside the nearest pair, always
    NoiseFree,
    /// The same more often, the more it is nearer: p ∝ exp(−d / τ), of odd-one-out triplets exp(−β d²)
    Logistic,
    /// The pair with the larger dot product more often: p ∝ exp(x·y / T), SPoSE's model
    Softmax,
    /// Any option, by coin
    CoinFlip,
}

/// The reference and how concepts find their rows in it.
#[derive(Debug, Args)]
pub(crate) struct ReferenceArgs {
    /// Reference coordinates: Parquet or CSV (`concept, d00, …`), .npy, SPoSE's text, or `category` for the concepts' own
    #[arg(long, value_name = "FILE", default_value = BUILT_IN_REFERENCE)]
    pub(crate) reference: String,
    /// Names of the reference's rows, one a line, for .npy and text files
    #[arg(long, value_name = "FILE")]
    pub(crate) reference_names: Option<PathBuf>,
    /// The row that is meant by a concept; may be repeated
    #[arg(long, value_name = "CONCEPT=ROW")]
    pub(crate) map: Vec<String>,
    /// Leave out concepts without a row
    #[arg(long)]
    pub(crate) allow_missing: bool,
}

impl ReferenceArgs {
    pub(crate) fn read(&self, concepts: &Concepts) -> alike::Result<Reference> {
        read_reference(&self.reference, self.reference_names.as_deref(), concepts, &self.matching()?)
    }

    pub(crate) fn matching(&self) -> alike::Result<Matching> {
        Ok(Matching { map: parse_pairs(&self.map)?, allow_missing: self.allow_missing })
    }
}

/// The built-in reference or a file's.
pub(crate) fn read_reference(
    reference: &str,
    names: Option<&Path>,
    concepts: &Concepts,
    matching: &Matching,
) -> alike::Result<Reference> {
    if reference == BUILT_IN_REFERENCE {
        return Reference::categories(concepts);
    }
    let path = Path::new(reference);
    if !path.is_file() {
        return Err(Error::Missing {
            what: "the reference",
            path: path.into(),
            hint: "give a file of coordinates, or `category` for the concepts' own categories".into(),
        });
    }
    let reference = Reference::read(path, names, concepts, matching)?;
    if reference.matched.len() < concepts.len() {
        tracing::warn!(
            "{}: {} of {} concepts have a row; the others are left out of the comparison",
            path.display(),
            reference.matched.len(),
            concepts.len()
        );
    }
    Ok(reference)
}

pub(crate) fn run(args: &SimulateArgs, common: &Common) -> anyhow::Result<()> {
    let concepts = Concepts::read_csv(&args.concepts)?;
    let reference = args.reference.read(&concepts)?;
    let named = alike::store::triplets::read_named(&args.triplets, None)?;
    let asked = presentations::resolve(&named, &concepts, &args.triplets)?;
    let response = match args.response {
        ResponseFlag::NoiseFree => Response::NoiseFree,
        ResponseFlag::Logistic => Response::Logistic,
        ResponseFlag::Softmax => Response::Softmax,
        ResponseFlag::CoinFlip => Response::CoinFlip,
    };
    let SimulateArgs { agreement, temperature, lapses, .. } = *args;
    let subject = Simulated { label: args.label.clone(), response, agreement, temperature, lapses };
    subject.check(named.task)?;
    let target = Target {
        folder: &args.out,
        label: &subject.label,
        concepts: &concepts,
        task: named.task,
        presentations: &asked,
        part_rows: JudgeSection::default().part_rows_on(ExecutionProvider::Cpu),
        repeats: 1,
        existing: args.existing,
    };
    let (made, kept) = simulate(&subject, &reference, args.seed, target)?;
    if common.json {
        println!("{}", serde_json::json!({ "respondent": subject.label, "made": made, "kept": kept }));
    }
    Ok(())
}

/// Lets a simulated subject answer what it has not answered yet.
pub(crate) fn simulate(
    subject: &Simulated,
    reference: &Reference,
    seed: u64,
    target: Target<'_>,
) -> anyhow::Result<(usize, usize)> {
    let Target { concepts, task, presentations: asked, part_rows, .. } = target;
    if subject.response != Response::CoinFlip && reference.matched.len() < concepts.len() {
        anyhow::bail!(Error::Setting {
            field: "reference".into(),
            found: format!("{} with {} of {} concepts", reference.name, reference.matched.len(), concepts.len()),
            expected: "a row for every concept: a simulated subject answers about all of them".into(),
        });
    }
    let coordinates = reference.coordinates.as_ref();
    let between = |agreement| agreement_between_lapses(agreement, subject.lapses(), task);
    let response = match (subject.response, subject.agreement) {
        (Response::NoiseFree, _) => ResponseModel::NoiseFree,
        (Response::CoinFlip, _) => ResponseModel::CoinFlip,
        (Response::Logistic, agreement) => {
            ResponseModel::with_agreement(coordinates, task, asked, between(agreement.unwrap_or_default())?)?
        }
        (Response::Softmax, Some(agreement)) => {
            ResponseModel::softmax_with_agreement(coordinates, asked, between(agreement)?)?
        }
        (Response::Softmax, None) => ResponseModel::Softmax { temperature: subject.temperature.unwrap_or(1.0) },
    };
    let answerer = match response {
        ResponseModel::CoinFlip => SimulatedSubject::coin_flip(seed),
        _ => SimulatedSubject::new(coordinates, response, seed)?.with_lapses(subject.lapses())?,
    };
    let answerer = answerer.named(&subject.label, seed);
    let details = BTreeMap::from([
        ("response".to_owned(), serde_json::to_string(&response).expect("a response model is JSON")),
        ("reference".to_owned(), reference.digest.clone()),
    ]);
    let fingerprint = Fingerprint::default()
        .with("kind", "simulated subject")
        .with("label", &subject.label)
        .with_all("", &details)
        .with("concepts", concepts.digest())
        .with("triplets", presentations::digest(asked))
        .with("seed", seed)
        .with("part_rows", part_rows)
        .with_task(task);
    // Those without lapses are what they were before there were any.
    let fingerprint = match subject.lapses {
        Some(lapses) => fingerprint.with("lapses", lapses),
        None => fingerprint,
    };

    let judgment = |presentation: &Presentation| {
        let (p, chosen) = answerer.choose(presentation, presentation.key(concepts.len(), 0));
        #[allow(clippy::cast_possible_truncation, reason = "stored as f32")]
        Judgment {
            presentation: *presentation,
            repeat: 0,
            chosen: Some(chosen),
            decision: "simulated",
            score_kind: "simulated",
            scores: None,
            p: Some(p.into_iter().map(|p| p as f32).collect()),
            model: None,
        }
    };
    let parts = target.open(fingerprint)?;
    for &part in parts.missing() {
        let judgments: Vec<Judgment> = parts.presentations(part).iter().map(judgment).collect();
        parts.write(part, &judgments)?;
    }
    let (made, kept) = parts.finish()?;
    if made > 0 {
        let noise = response.noise().map(|(name, value)| format!(" ({name} = {value:.4})")).unwrap_or_default();
        tracing::info!("{}: {made} simulated judgments{noise}", subject.label);
    } else {
        tracing::info!("{}: all {kept} judgments were there", subject.label);
    }
    Ok((made, kept))
}
