//! What every cell is asked.

use std::path::Path;

use alike::bench::BenchSettings;
use alike::concepts::Concepts;
use alike::presentations::{self, Presentation, Task};
use alike::triplets::{self, Triplet};

use crate::cli::bench::BenchArgs;

/// The concepts that alike ships: those of the paper.
const CONCEPTS: &str = include_str!("../../../data/concepts/things128.csv");

/// Concepts, and presentations of them.
pub(crate) struct Questions {
    pub(crate) concepts: Concepts,
    pub(crate) presentations: Vec<Triplet>,
}

impl Questions {
    pub(crate) fn new(args: &BenchArgs) -> anyhow::Result<Self> {
        let listed = args.concepts.as_deref().map(Concepts::read_csv).transpose()?;
        let shipped = || Concepts::from_csv(CONCEPTS.as_bytes(), Path::new("things128.csv"));
        let Some(file) = &args.triplets else {
            let concepts = listed.map_or_else(shipped, Ok)?;
            let presentations = triplets::random(concepts.len(), args.n, false, args.seed)?;
            return Ok(Self { concepts, presentations });
        };
        let named = alike::store::triplets::read_named(file, Some(Task::Anchored))?;
        let concepts = match listed {
            Some(concepts) => concepts,
            None => {
                let mut names: Vec<&String> = named.rows.iter().flatten().collect();
                names.sort();
                names.dedup();
                Concepts::from_names(names)?
            }
        };
        let anchored = |presentation: Presentation| match presentation {
            Presentation::Anchored(triplet) => triplet,
            Presentation::OddOneOut(_) => unreachable!("anchored triplets were asked for"),
        };
        let presentations = presentations::resolve(&named, &concepts, file)?.into_iter().map(anchored).collect();
        Ok(Self { concepts, presentations })
    }

    /// What goes into the record.
    pub(crate) fn settings(&self, args: &BenchArgs) -> BenchSettings {
        let shown: Vec<Presentation> = self.presentations.iter().copied().map(Presentation::Anchored).collect();
        BenchSettings {
            n: shown.len(),
            n_concepts: self.concepts.len(),
            concepts: self.concepts.digest(),
            presentations: presentations::digest(&shown),
            seed: args.seed,
            warm_up: args.warm_up.min(shown.len()),
            repeats: args.repeats.into(),
            part_rows: args.part_rows.map(|n| n as usize),
            style: args.style,
            tf32: args.tf32,
        }
    }
}
