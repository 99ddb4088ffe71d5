//! People's own choices as a reference: how many of them an embedding would make too.

use std::path::Path;

use alike::alignment::agreement::{Choice, Consistency, choice_agreement};
use alike::concepts::{Concept, Concepts};
use alike::embedding::Answered;
use alike::error::Error;
use alike::reference::{Matching, match_rows, read_names};
use alike::stats::wilson_95;
use alike::store::alignment::AlignmentRow;
use alike::store::choices;
use faer::MatRef;

/// A file of triplets that people answered.
pub(crate) struct HumanChoices<'a> {
    pub(crate) path: &'a Path,
    /// What a text file's numbers count.
    pub(crate) names: Option<&'a Path>,
    pub(crate) matching: Matching,
}

impl HumanChoices<'_> {
    /// The row of an embedding, `[n_concepts, n_dims]`. Triplets about other concepts are left out, as most are in a file of a larger study.
    pub(crate) fn row(
        &self,
        respondent: &str,
        embedding: MatRef<'_, f64>,
        concepts: &Concepts,
        permutations: usize,
        seed: u64,
    ) -> alike::Result<AlignmentRow> {
        let named = self.names.map(read_names).transpose()?.map(|names| {
            let bare = |name| Concept { name, category: None, definition: None, things_id: None };
            Concepts::new(names.into_iter().map(bare).collect())
        });
        let people = choices::read(self.path, named.transpose()?, None)?;
        let names: Vec<String> = people.concepts.iter().map(|concept| concept.name.clone()).collect();
        // A concept that nobody was asked about is no fault of a file of choices.
        let matching = Matching { allow_missing: true, ..self.matching.clone() };
        let rows = match_rows(self.path, &names, concepts, &matching)?;
        let mut place = vec![None; names.len()];
        rows.iter().enumerate().for_each(|(concept, row)| row.iter().for_each(|&row| place[row] = Some(concept)));
        let answered = within(&people.answered, &place);
        let choices = choices_of(&answered, &place);
        if choices.is_empty() {
            let what = format!("triplets in {} that are about concepts of the study alone", self.path.display());
            return Err(Error::TooFew { what, found: 0, needed: 1 });
        }
        let (agreement, null) = choice_agreement(embedding, &choices, permutations, seed)?;
        let (lo, hi) = wilson_95(agreement.n_same, agreement.n);
        let consistency = Consistency::of(&answered);
        let repeats = match consistency {
            Some(c) => {
                format!("{} answers to {} triplets repeat: people foresee each other", c.n_answers, c.n_triplets)
            }
            None => "no triplet was answered twice".into(),
        };
        Ok(AlignmentRow {
            respondent: respondent.to_owned(),
            reference: self.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default(),
            measure: "choice_agreement".into(),
            variant: format!("{} of {} {} choices", agreement.n, answers(&people.answered), answered.task().name()),
            value: null.value,
            lo: Some(lo),
            hi: Some(hi),
            interval: Some("Wilson, choices taken as independent".into()),
            null_mean: (permutations > 0).then_some(null.mean),
            p: (permutations > 0).then_some(null.p),
            ceiling_lo: consistency.map(|c| c.lower),
            ceiling_hi: consistency.map(|c| c.upper),
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
