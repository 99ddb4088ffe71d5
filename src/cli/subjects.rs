//! Single people, or groups, behind a reference: how alike anything could be to all of them.

use std::path::{Path, PathBuf};

use alike::alignment::Measure;
use alike::alignment::noise_ceiling::{NoiseCeiling, of_embeddings};
use alike::concepts::{Concept, Concepts};
use alike::error::Error;
use alike::linalg::check_finite;
use alike::reference::{Matching, Reference};
use alike::stats::mean;
use alike::store::alignment::AlignmentRow;
use faer::{Mat, MatRef};

/// Subjects' embeddings of the concepts that are compared, and the noise ceilings of the measures asked for.
#[derive(Default)]
pub(crate) struct Subjects {
    /// What was read, for fingerprints; empty without subjects.
    pub(crate) digest: String,
    embeddings: Vec<Mat<f64>>,
    ceilings: Vec<(Measure, NoiseCeiling)>,
}

impl Subjects {
    /// Reads the subjects' files as the reference's is read, for the concepts that the reference has. They keep their own
    /// dimensions, whatever the reference was brought to.
    pub(crate) fn read(
        files: &[PathBuf],
        names: Option<&Path>,
        concepts: &Concepts,
        matching: &Matching,
        reference: &Reference,
        measures: &[Measure],
    ) -> alike::Result<Self> {
        match files {
            [] => return Ok(Self::default()),
            [_] => {
                let (field, found) = ("subjects".into(), "1".into());
                let expected = "2 or more: a noise ceiling is how alike subjects are to each other".into();
                return Err(Error::Setting { field, found, expected });
            }
            _ => {}
        }
        let (mut digests, mut embeddings) = (Vec::new(), Vec::new());
        for path in files {
            if !path.is_file() {
                let hint = "give a file of coordinates, as for the reference".into();
                return Err(Error::Missing { what: "the embedding of a subject", path: path.clone(), hint });
            }
            let subject = Reference::read(path, names, concepts, matching)?;
            embeddings.push(compared(path, &subject, concepts, reference)?);
            digests.push(subject.digest);
        }
        let (mut ceilings, mut n_undefined) = (Vec::new(), 0);
        for &measure in measures {
            match of_embeddings(measure, &embeddings) {
                Ok(ceiling) => ceilings.extend(ceiling.map(|ceiling| (measure, ceiling))),
                Err(error) => {
                    tracing::warn!("{measure} has no noise ceiling: {error}");
                    n_undefined += 1;
                }
            }
        }
        if ceilings.is_empty() && n_undefined == 0 {
            return Err(Error::Setting {
                field: "subjects".into(),
                found: format!("{} of them, and the measures {}", files.len(), listed(measures)),
                expected: "an RSA measure, not a whitened one: no other has a noise ceiling".into(),
            });
        }
        Ok(Self { digest: digests.join(" "), embeddings, ceilings })
    }

    /// Adds what the subjects say of an embedding to a row whose measure has a noise ceiling; of one without any dimension
    /// left, of which every measure is taken as zero, `own` is nothing.
    pub(crate) fn add_to(
        &self,
        row: &mut AlignmentRow,
        measure: Measure,
        own: Option<MatRef<'_, f64>>,
    ) -> alike::Result<()> {
        let Some((_, ceiling)) = self.ceilings.iter().find(|(of, _)| *of == measure) else { return Ok(()) };
        let value = |subject: &Mat<f64>| own.map_or(Ok(0.0), |own| measure.value(subject.as_ref(), own));
        let values: Vec<f64> = self.embeddings.iter().map(value).collect::<alike::Result<_>>()?;
        row.subject_mean = Some(mean(&values));
        (row.noise_ceiling_lo, row.noise_ceiling_hi) = (Some(ceiling.lower), Some(ceiling.upper));
        Ok(())
    }
}

/// A subject's rows for the concepts that the reference has.
fn compared(path: &Path, subject: &Reference, concepts: &Concepts, reference: &Reference) -> alike::Result<Mat<f64>> {
    let row = |concept: &usize| subject.matched.iter().position(|matched| matched == concept);
    let named: Vec<&Concept> = concepts.iter().collect();
    let without = reference.matched.iter().filter(|concept| row(concept).is_none());
    let missing: Vec<String> =
        without.map(|&concept| format!("{:?}, which the reference has", named[concept].name)).collect();
    if !missing.is_empty() {
        return Err(Error::Unmatched { path: path.into(), names: missing });
    }
    let rows: Vec<usize> = reference.matched.iter().filter_map(row).collect();
    let x = Mat::from_fn(rows.len(), subject.coordinates.ncols(), |i, k| subject.coordinates[(rows[i], k)]);
    check_finite(x.as_ref(), &path.display().to_string())?;
    Ok(x)
}

fn listed(measures: &[Measure]) -> String {
    measures.iter().map(|measure| measure.key()).collect::<Vec<_>>().join(", ")
}
