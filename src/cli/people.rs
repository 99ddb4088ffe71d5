//! What embeddings are compared with: the reference, single people behind it, and choices that people made.

use alike::concepts::Concepts;
use alike::config::AlignSection;
use alike::reference::{Matching, Reference};
use alike::store::manifest::Fingerprint;

use crate::cli::human_choices::HumanChoices;
use crate::cli::subjects::Subjects;

/// Raised whenever the same embeddings would give other numbers.
const ALIGN_VERSION: u32 = 4;

/// All that stands on the human side of an alignment.
pub(crate) struct People {
    /// In the dimensions asked for.
    pub(crate) reference: Reference,
    pub(crate) subjects: Subjects,
    pub(crate) choices: Option<HumanChoices>,
}

impl People {
    /// Reads what stands beside a reference, so that a file that will not do is an error before any long work.
    pub(crate) fn beside(reference: Reference, section: &AlignSection, concepts: &Concepts) -> alike::Result<Self> {
        let matching = Matching { map: section.map.clone(), allow_missing: section.allow_missing };
        let (names, measures) = (section.names.as_deref(), &section.measures);
        let subjects = Subjects::read(&section.subjects, names, concepts, &matching, &reference, measures)?;
        let read = |path| HumanChoices::read(path, section.choice_names.as_deref(), concepts, &matching);
        let choices = section.choices.as_deref().map(read).transpose()?;
        let reference = match section.reference_dims {
            Some(dims) => reference.in_dimensions(dims)?,
            None => reference,
        };
        Ok(Self { reference, subjects, choices })
    }

    /// What alignments depend on beside the embeddings. Those without subjects or choices are what they were before there were any.
    pub(crate) fn fingerprint(&self, section: &AlignSection, seed: u64) -> Fingerprint {
        let optional = [
            ("subjects", Some(&self.subjects.digest).filter(|digest| !digest.is_empty())),
            ("choices", self.choices.as_ref().map(|choices| &choices.digest)),
        ];
        let fingerprint = Fingerprint::default()
            .with("reference", &self.reference.digest)
            .with("treatment", &self.reference.treatment)
            .with("measures", section.measures.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
            .with("interval", section.intervals)
            .with("permutations", section.permutations)
            .with("seed", seed)
            .with("align_version", ALIGN_VERSION);
        let given = optional.into_iter().filter_map(|(name, digest)| digest.map(|digest| (name, digest)));
        given.fold(fingerprint, |fingerprint, (name, digest)| fingerprint.with(name, digest))
    }
}
