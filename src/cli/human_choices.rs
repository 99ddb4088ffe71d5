//! People's own choices as a reference: how many of them an embedding would make too.

use std::path::Path;

use alike::alignment::agreement::{Choice, Consistency, choice_agreement};
use alike::concepts::{Concept, Concepts};
use alike::embedding::Answered;
use alike::error::Error;
use alike::model_folder::file_digest;
use alike::presentations::Task;
use alike::reference::{Matching, match_rows, read_names};
use alike::stats::wilson_95;
use alike::store::alignment::AlignmentRow;
use alike::store::choices;
use faer::MatRef;

/// Triplets that people answered, those about concepts of the study.
pub(crate) struct HumanChoices {
    /// What was read, for fingerprints.
    pub(crate) digest: String,
    /// The file's name.
    name: String,
    /// What was asked, and how many answers the file has.
    task: Task,
    n_in_file: usize,
    choices: Vec<Choice>,
    consistency: Option<Consistency>,
}

impl HumanChoices {
    /// Reads a file; `names` are what the numbers of a text file count. Triplets about other concepts are left out, as most are in a
    /// file of a larger study.
    pub(crate) fn read(
        path: &Path,
        names: Option<&Path>,
        concepts: &Concepts,
        matching: &Matching,
    ) -> alike::Result<Self> {
        if !path.is_file() {
            let hint =
                "give a CSV or Parquet file with `anchor, first, second, chosen` or `a, b, c, odd`, or THINGS' text";
            return Err(Error::Missing { what: "people's choices", path: path.into(), hint: hint.into() });
        }
        let digests: Vec<String> =
            [Some(path), names].into_iter().flatten().map(file_digest).collect::<Result<_, _>>()?;
        let named = names.map(read_names).transpose()?.map(|names| {
            let bare = |name| Concept { name, category: None, definition: None, things_id: None };
            Concepts::new(names.into_iter().map(bare).collect())
        });
        let people = choices::read(path, named.transpose()?, None)?;
        let names: Vec<String> = people.concepts.iter().map(|concept| concept.name.clone()).collect();
        // A concept that nobody was asked about is no fault of a file of choices.
        let matching = Matching { allow_missing: true, ..matching.clone() };
        let rows = match_rows(path, &names, concepts, &matching)?;
        let mut place = vec![None; names.len()];
        rows.iter().enumerate().for_each(|(concept, row)| row.iter().for_each(|&row| place[row] = Some(concept)));
        let answered = within(&people.answered, &place);
        let choices = choices_of(&answered, &place);
        if choices.is_empty() {
            let what = format!("triplets in {} that are about concepts of the study alone", path.display());
            return Err(Error::TooFew { what, found: 0, needed: 1 });
        }
        Ok(Self {
            digest: digests.join(" "),
            name: path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default(),
            task: answered.task(),
            n_in_file: answers(&people.answered),
            choices,
            consistency: Consistency::of(&answered),
        })
    }

    /// The row of an embedding, `[n_concepts, n_dims]`.
    pub(crate) fn row(
        &self,
        respondent: &str,
        embedding: MatRef<'_, f64>,
        permutations: usize,
        seed: u64,
    ) -> alike::Result<AlignmentRow> {
        let (agreement, null) = choice_agreement(embedding, &self.choices, permutations, seed)?;
        let (lo, hi) = wilson_95(agreement.n_same, agreement.n);
        let repeats = match self.consistency {
            Some(c) => {
                format!("{} answers to {} triplets repeat: people foresee each other", c.n_answers, c.n_triplets)
            }
            None => "no triplet was answered twice".into(),
        };
        Ok(AlignmentRow {
            respondent: respondent.to_owned(),
            reference: self.name.clone(),
            measure: "choice_agreement".into(),
            variant: format!("{} of {} {} choices", agreement.n, self.n_in_file, self.task.name()),
            value: null.value,
            lo: Some(lo),
            hi: Some(hi),
            interval: Some("Wilson, choices taken as independent".into()),
            null_mean: (permutations > 0).then_some(null.mean),
            p: (permutations > 0).then_some(null.p),
            ceiling_lo: self.consistency.map(|c| c.lower),
            ceiling_hi: self.consistency.map(|c| c.upper),
            ceiling_match: Some(repeats),
            n: embedding.nrows(),
            ..AlignmentRow::default()
        })
    }
}

fn answers(answered: &Answered) -> usize {
    match answered {
        Answered::Anchored(answers) => answers.len(),
        Answered::OddOneOut(answers) => answers.len(),
    }
}

/// The answers about concepts that have a place in the study.
fn within(answered: &Answered, place: &[Option<usize>]) -> Answered {
    let known = |ids: [u32; 3]| ids.iter().all(|id| place[*id as usize].is_some());
    match answered {
        Answered::Anchored(answers) => {
            Answered::Anchored(answers.iter().filter(|c| known([c.anchor, c.first, c.second])).copied().collect())
        }
        Answered::OddOneOut(answers) => {
            Answered::OddOneOut(answers.iter().filter(|c| known([c.shown.a, c.shown.b, c.shown.c])).copied().collect())
        }
    }
}

fn choices_of(answered: &Answered, place: &[Option<usize>]) -> Vec<Choice> {
    let at = |id: u32| place[id as usize].expect("others were left out");
    match answered {
        Answered::Anchored(answers) => answers
            .iter()
            .map(|c| {
                let pairs = vec![[at(c.anchor), at(c.first)], [at(c.anchor), at(c.second)]];
                (pairs, usize::from(c.p_first <= 0.5))
            })
            .collect(),
        Answered::OddOneOut(answers) => answers
            .iter()
            .map(|c| {
                let [a, b, d] = [c.shown.a, c.shown.b, c.shown.c].map(at);
                // Who names the odd one takes the pair of the others.
                (vec![[b, d], [a, d], [a, b]], c.odd)
            })
            .collect(),
    }
}
