//! Intervals of alignments, as their table states them.

use std::path::Path;

use alike::alignment::Measure;
use alike::alignment::interval::IntervalMethod;
use alike::concepts::Concepts;
use alike::error::Error;
use alike::reference::Reference;
use alike::store::alignment::AlignmentRow;
use alike::store::embedding::Embedding;
use alike::store::refits;
use faer::{Mat, MatRef};

/// How the intervals of an embedding's measures are made.
pub(crate) struct Intervals {
    method: IntervalMethod,
    /// The embedding's refits, where intervals are made of them; rows as the reference's.
    refits: Vec<Mat<f64>>,
    seed: u64,
}

impl Intervals {
    /// Reads the refits beside the embedding, if the method needs them; those that leave a concept out are not used.
    pub(crate) fn read(
        method: IntervalMethod,
        embedding: &Path,
        concepts: &Concepts,
        reference: &Reference,
        seed: u64,
    ) -> alike::Result<Self> {
        if method != IntervalMethod::Refits {
            return Ok(Self { method, refits: vec![], seed });
        }
        let path = refits::path_beside(embedding);
        if !path.is_file() {
            let hint = "`alike embed --bootstrap 200` (or `[embed] bootstrap`) writes them beside the embedding".into();
            return Err(Error::Missing { what: "bootstrap refits of the embedding", path, hint });
        }
        let (names, draws) = refits::read(&path)?;
        let n_draws = draws.len();
        let of_draw = |draw| Embedding::bare(names.clone(), draw).rows_of(concepts, &reference.matched, &path);
        let mut refits: Vec<Mat<f64>> = draws.into_iter().map(of_draw).collect::<Result<_, _>>()?;
        refits.retain(|draw| draw.is_all_finite());
        if refits.len() < n_draws {
            tracing::warn!(
                "{}: {} of {n_draws} draws name every concept; the others are not used",
                path.display(),
                refits.len()
            );
        }
        Ok(Self { method, refits, seed })
    }

    /// Adds the interval to a row; where the method is not valid for the measure the row stays without, and a warning says why.
    pub(crate) fn add_to(
        &self,
        row: &mut AlignmentRow,
        measure: Measure,
        human: MatRef<'_, f64>,
        own: MatRef<'_, f64>,
    ) {
        match self.method.of(measure, human, own, &self.refits, self.seed) {
            Err(error) => tracing::warn!("{measure} has no interval: {error}"),
            Ok(None) => (),
            Ok(Some(interval)) => {
                (row.lo, row.hi, row.corrected) = (Some(interval.lo), Some(interval.hi), interval.corrected);
                row.interval = Some(self.method.described().into());
            }
        }
    }
}
