//! What alignment a fit can reach and what it reaches by chance: simulated subjects sent through the model's own
//! pipeline.
//!
//! An alignment depends on the fit as much as on the respondent: a subject with exactly the reference's geometry
//! recovers well below 1, a coin well above 0. So both are asked the model's own triplets and fitted with the model's
//! own settings.

use faer::{Mat, MatRef};
use rayon::prelude::*;
use serde::Serialize;

use crate::embedding::{Answered, Comparison, Fitting, OddOneOutAnswer, Record};
use crate::error::{Error, Result};
use crate::presentations::{Presentation, Task};
use crate::respondents::simulated::{ResponseModel, SimulatedSubject};

/// A simulated subject and the embedding of its answers.
#[derive(Debug, Clone, Serialize)]
pub struct Ceiling {
    /// How the subject answered.
    pub subject: ResponseModel,
    /// Its expected agreement with the noise-free answers to the triplets asked: 1 without noise, one half for a coin (a
    /// third where the odd one of three is named).
    pub agreement: f64,
    /// Held-out accuracy of the fit to its answers; none when nothing with a side was held out.
    pub heldout_accuracy: Option<f64>,
    /// The accuracy that it was to have; none for chance.
    pub target_accuracy: Option<f64>,
    /// Coordinates fitted to its answers, to be aligned with the reference; `[n_concepts, dims]`.
    #[serde(skip)]
    pub coordinates: Mat<f64>,
    /// How that fit went.
    pub record: Record,
    /// Subjects tried before this one was kept, itself included.
    pub n_subjects: usize,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Subjects that the search for the noise may try.
const MAX_SUBJECTS: usize = 10;

/// The search ends when the accuracy is within this share of its own standard error of the target.
const CLOSE_ENOUGH: f64 = 0.2;

/// Simulated subjects that stand for a ceiling, and coins for chance: enough to see how far luck moves them.
pub const N_SUBJECTS: u64 = 3;

/// [`matched_ceiling`] of [`N_SUBJECTS`] subjects, who differ in their seeds alone: `seed`, `seed` + 1, … Each has the noise
/// that makes its own accuracy the model's. They run in parallel.
///
/// # Errors
/// As [`matched_ceiling`].
pub fn matched_ceilings(
    reference: MatRef<'_, f64>,
    asked: &Answered,
    settings: impl Into<Fitting>,
    target_accuracy: f64,
    seed: u64,
) -> Result<Vec<Ceiling>> {
    let fitting = settings.into();
    let subject = |k| matched_ceiling(reference, asked, &fitting, target_accuracy, seed.wrapping_add(k));
    (0..N_SUBJECTS).into_par_iter().map(subject).collect()
}

/// [`chance`] of [`N_SUBJECTS`] coins.
///
/// # Errors
/// As [`chance`].
pub fn chances(n_concepts: usize, asked: &Answered, settings: impl Into<Fitting>, seed: u64) -> Result<Vec<Ceiling>> {
    let fitting = settings.into();
    let subject = |k| chance(n_concepts, asked, &fitting, seed.wrapping_add(k));
    (0..N_SUBJECTS).into_par_iter().map(subject).collect()
}

/// How the noise of some subjects was found and how close they came, in a line.
///
/// ```
/// assert_eq!(alike::alignment::ceiling::described(&[]), "nobody");
/// ```
pub fn described(ceilings: &[Ceiling]) -> String {
    let Some(first) = ceilings.first() else { return "nobody".to_owned() };
    let range = |of: &dyn Fn(&Ceiling) -> Option<f64>| {
        let values: Vec<f64> = ceilings.iter().filter_map(of).collect();
        let (low, high) = values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(*v), h.max(*v)));
        match values.is_empty() {
            true => "none".to_owned(),
            false => format!("{low:.4} to {high:.4}"),
        }
    };
    let n_fits: Vec<String> = ceilings.iter().map(|c| c.n_subjects.to_string()).collect();
    let mut line = match first.subject.noise() {
        None => format!("{} subjects without a noise to set", ceilings.len()),
        Some((name, _)) => format!(
            "{} subjects; {name} {} by false position on the agreement with the noise-free answers, {}, in {} fits",
            ceilings.len(),
            range(&|c| c.subject.noise().map(|(_, value)| value)),
            range(&|c| Some(c.agreement)),
            n_fits.join(", ")
        ),
    };
    line += &format!("; held-out accuracy {}", range(&|c| c.heldout_accuracy));
    if let Some(target) = first.target_accuracy {
        line += &format!(" for {target:.4}");
    }
    let mut notes: Vec<&str> = ceilings.iter().flat_map(|c| &c.notes).map(String::as_str).collect();
    notes.dedup();
    notes.iter().for_each(|note| line += &format!("; {note}"));
    line
}

/// The ceiling of a model: a subject with the reference's geometry, as noisy as makes its held-out accuracy the model's.
///
/// The subject is asked the triplets of `asked`, in the model's own task (their answers are not looked at; every answer it
/// gives is hard) and its answers are fitted with `settings`. It is logistic, or of odd-one-out triplets
/// [`ResponseModel::Similarity`]. Its noise is searched for by false position on the expected agreement with the
/// noise-free answers (the Illinois variant, from a coin's to the noise-free 1), until its accuracy is within a fifth
/// of a standard error of `target_accuracy` or ten subjects have been tried; the closest is returned. With a
/// cross-validated penalty the first noisy subject's choice is kept for those after it; the settings with the penalty of the
/// model's own fit ([`Fitting::with_penalty`]) are the stricter "same fit", and ten times faster.
///
/// A target that even the noise-free subject does not reach gives that subject, a target of a coin's accuracy (one half; a third of a fit by
/// dot products) or less a coin;
/// `notes` says so.
///
/// # Shapes
/// `reference`: `[n_concepts, n_dims]`
/// # Errors
/// [`Error::Setting`] when nothing is held out or the target is not a share, [`Error::TooFew`] when no triplet held out
/// has an order in the reference, and those of [`Fitting::fit`]
pub fn matched_ceiling(
    reference: MatRef<'_, f64>,
    asked: &Answered,
    settings: impl Into<Fitting>,
    target_accuracy: f64,
    seed: u64,
) -> Result<Ceiling> {
    let mut fitting = settings.into();
    let (coin_accuracy, _) = fitting.coin_accuracy(asked, 1.0);
    if !(0.0..=1.0).contains(&target_accuracy) {
        let (field, found) = ("target accuracy".to_owned(), target_accuracy.to_string());
        return Err(Error::Setting { field, found, expected: "0 to 1".to_owned() });
    }
    if target_accuracy <= coin_accuracy {
        let mut ceiling = chance(reference.nrows(), asked, &fitting, seed)?;
        require_heldout(&ceiling, &fitting)?;
        ceiling.target_accuracy = Some(target_accuracy);
        ceiling.notes.push(format!(
            "the target accuracy {target_accuracy:.4} is no better than chance: the subject tosses a coin"
        ));
        return Ok(ceiling);
    }
    let noise_free = SimulatedSubject::new(reference, ResponseModel::NoiseFree, seed)?;
    let mut best = embedded(&noise_free, ResponseModel::NoiseFree, 1.0, reference.nrows(), asked, &fitting)?;
    let mut best_miss = require_heldout(&best, &fitting)? - target_accuracy;
    best.target_accuracy = Some(target_accuracy);
    if best_miss <= 0.0 {
        best.notes.push(format!(
            "a noise-free subject with the reference's geometry reaches held-out accuracy {:.4}, the target is {target_accuracy:.4}",
            target_accuracy + best_miss
        ));
        return Ok(best);
    }

    let presentations = asked.presentations();
    // Ends of the interval: (agreement, accuracy − target). A coin's accuracy is known without a fit.
    let mut low = (coin_agreement(asked), coin_accuracy - target_accuracy);
    let mut high = (1.0, best_miss);
    let mut moved = None;
    let mut n_subjects = 1;
    while n_subjects < MAX_SUBJECTS && !close_enough(best_miss, target_accuracy, best.record.n_heldout()) {
        let agreement = low.0 - low.1 * (high.0 - low.0) / (high.1 - low.1);
        if !(agreement > low.0 && agreement < high.0) {
            break; // The interval is down to rounding.
        }
        let model = ResponseModel::with_agreement(reference, asked.task(), &presentations, agreement)?;
        let subject = SimulatedSubject::new(reference, model, seed)?;
        let tried = embedded(&subject, model, agreement, reference.nrows(), asked, &fitting)?;
        n_subjects += 1;
        fitting = tried.record.penalty().map_or(fitting.clone(), |penalty| fitting.with_penalty(penalty));
        let miss = require_heldout(&tried, &fitting)? - target_accuracy;
        // Illinois: an end that stays put twice counts half, so that the interval shrinks from both sides.
        if miss < 0.0 {
            low = (agreement, miss);
            if moved.replace(End::Low) == Some(End::Low) {
                high.1 /= 2.0;
            }
        } else {
            high = (agreement, miss);
            if moved.replace(End::High) == Some(End::High) {
                low.1 /= 2.0;
            }
        }
        if miss.abs() < best_miss.abs() {
            best = Ceiling { target_accuracy: Some(target_accuracy), ..tried };
            best_miss = miss;
        }
    }
    best.n_subjects = n_subjects;
    Ok(best)
}

/// The fit of a subject who tosses a coin, on the same triplets with the same settings: what an alignment is worth by
/// chance.
///
/// Under a cross-validated penalty a coin's answers choose the largest one; the penalty of the model's own fit
/// ([`Fitting::with_penalty`]) keeps the two comparable.
///
/// # Errors
/// those of [`Fitting::fit`]
pub fn chance(n_concepts: usize, asked: &Answered, settings: impl Into<Fitting>, seed: u64) -> Result<Ceiling> {
    let subject = SimulatedSubject::coin_flip(seed);
    embedded(&subject, ResponseModel::CoinFlip, coin_agreement(asked), n_concepts, asked, &settings.into())
}

/// The share of answers in which a coin agrees with anybody.
fn coin_agreement(asked: &Answered) -> f64 {
    1.0 / asked.task().options().len() as f64
}

/// A subject's own answers to what was asked, which keep their ids, order and weights.
///
/// The key of an answer is made of the triplet id, the option order, and how often the same presentation came before,
/// so that repeats are answered anew and the order of different presentations does not matter.
pub fn simulate(subject: &SimulatedSubject, asked: &Answered) -> Answered {
    let mut n_seen = std::collections::HashMap::<(i64, Presentation), u64>::new();
    let mut chosen = |triplet: i64, shown: Presentation| {
        let repeat = n_seen.entry((triplet, shown)).or_insert(0);
        #[allow(clippy::cast_possible_truncation, reason = "only the lowest bits count")]
        let key = shown.key_of(triplet, *repeat as u16);
        *repeat += 1;
        subject.choose(&shown, key).1
    };
    match asked {
        Answered::Anchored(comparisons) => {
            let answer = |c: &Comparison| {
                let shown = Presentation::new(Task::Anchored, [c.anchor, c.first, c.second]);
                let p_first = if chosen(c.triplet, shown) == 0 { 1.0 } else { 0.0 };
                Comparison { p_first, ..*c }
            };
            Answered::Anchored(comparisons.iter().map(answer).collect())
        }
        Answered::OddOneOut(answers) => {
            let answer = |answer: &OddOneOutAnswer| {
                let odd = chosen(answer.triplet, Presentation::OddOneOut(answer.shown));
                OddOneOutAnswer { odd, ..*answer }
            };
            Answered::OddOneOut(answers.iter().map(answer).collect())
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Low,
    High,
}

fn embedded(
    subject: &SimulatedSubject,
    model: ResponseModel,
    agreement: f64,
    n_concepts: usize,
    asked: &Answered,
    fitting: &Fitting,
) -> Result<Ceiling> {
    crate::embedding::check_comparisons(n_concepts, &asked.comparisons())?;
    let (coordinates, record) = fitting.fit(n_concepts, &simulate(subject, asked))?;
    Ok(Ceiling {
        subject: model,
        agreement,
        heldout_accuracy: record.heldout_accuracy(),
        target_accuracy: None,
        coordinates,
        record,
        n_subjects: 1,
        notes: vec![],
    })
}

/// What a subject is matched on.
fn require_heldout(ceiling: &Ceiling, fitting: &Fitting) -> Result<f64> {
    ceiling.heldout_accuracy.ok_or_else(|| Error::Setting {
        field: "holdout".to_owned(),
        found: fitting.holdout().to_string(),
        expected: "enough to hold comparisons out: a ceiling is matched on held-out accuracy".to_owned(),
    })
}

fn close_enough(miss: f64, target: f64, n_heldout: usize) -> bool {
    miss.abs() <= CLOSE_ENOUGH * (target * (1.0 - target) / n_heldout as f64).sqrt()
}
