//! Answers and the fits asked for, as commands that compare fits take them.

use std::path::PathBuf;

use alike::concepts::Concepts;
use alike::config::{EmbedSection, FitName};
use alike::embedding::Fitting;
use alike::reference::{Matching, Reference};
use alike::store::choices::{self, Choices};
use clap::Args;

use crate::cli::parse_pairs;
use crate::cli::simulate::read_reference;

/// How answers are fitted.
#[derive(Debug, Args)]
pub(crate) struct FitArgs {
    /// Concept list; the names in the judgments unless given
    #[arg(long, value_name = "FILE")]
    concepts: Option<PathBuf>,
    /// Losses, after commas: `crowd-kernel` as in the paper, or, with a cross-validated penalty, `logistic-distance`, `ste`,
    /// `t-ste`, `soe`, `gnmds`; of odd-one-out answers also `spose` and `vice`
    #[arg(long, default_value = "logistic-distance", value_parser = parse_loss, value_delimiter = ',', value_name = "NAME")]
    pub(crate) loss: Vec<FitName>,
    /// Degrees of freedom of `t-ste`; dimensions − 1 unless given
    #[arg(long, value_name = "ALPHA")]
    alpha: Option<f64>,
    /// Margin of `soe` (0.1 unless given) or `gnmds` (1 unless given)
    #[arg(long, value_name = "MARGIN")]
    margin: Option<f64>,
    /// Penalty λ of `spose`, in the unit of the published software; chosen by cross-validation unless given
    #[arg(long, value_name = "LAMBDA")]
    lambda: Option<f64>,
    /// Share of unordered triplets held out
    #[arg(long, default_value_t = 0.2, value_name = "SHARE")]
    pub(crate) holdout: f64,
    /// Random starts
    #[arg(long, default_value_t = 1, value_name = "N")]
    restarts: usize,
    /// Column with the probability of the first option, as target instead of the choice
    #[arg(long, value_name = "COLUMN")]
    soft_column: Option<String>,
    /// Seed of everything random
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

fn parse_loss(text: &str) -> Result<FitName, String> {
    text.parse().map_err(|e: alike::Error| e.to_string())
}

impl FitArgs {
    /// The fits as a study would have them.
    fn section(&self, dims: usize) -> alike::Result<EmbedSection> {
        let section = EmbedSection {
            loss: self.loss.clone(),
            alpha: self.alpha,
            margin: self.margin,
            lambda: self.lambda,
            l2: None,
            dims,
            holdout: self.holdout,
            restarts: self.restarts,
            soft_column: self.soft_column.clone(),
            bootstrap: 0,
        };
        section.check()?;
        Ok(section)
    }

    /// The fit with each loss.
    pub(crate) fn fittings(&self, dims: usize) -> alike::Result<Vec<Fitting>> {
        let section = self.section(dims)?;
        Ok(self.loss.iter().map(|&loss| section.fitting(loss, self.seed)).collect())
    }

    pub(crate) fn concepts(&self) -> alike::Result<Option<Concepts>> {
        self.concepts.as_deref().map(Concepts::read_csv).transpose()
    }

    pub(crate) fn choices(&self, judgments: &std::path::Path) -> alike::Result<Choices> {
        let choices = choices::read(judgments, self.concepts()?, self.soft_column.as_deref())?;
        if choices.n_unanswered > 0 {
            tracing::warn!("{} judgments are without a choice and are left out", choices.n_unanswered);
        }
        Ok(choices)
    }
}

/// A reference, where one is wanted.
#[derive(Debug, Args)]
pub(crate) struct OptionalReference {
    /// Reference coordinates to compare with: Parquet or CSV (`concept, d00, …`), .npy, SPoSE's text, or `category`
    #[arg(long, value_name = "FILE")]
    reference: Option<String>,
    /// Names of the reference's rows, one a line, for .npy and text files
    #[arg(long, value_name = "FILE", requires = "reference")]
    reference_names: Option<PathBuf>,
    /// The row that is meant by a concept; may be repeated
    #[arg(long, value_name = "CONCEPT=ROW", requires = "reference")]
    map: Vec<String>,
    /// Leave out concepts without a row
    #[arg(long, requires = "reference")]
    allow_missing: bool,
}

impl OptionalReference {
    pub(crate) fn read(&self, concepts: &Concepts) -> alike::Result<Option<Reference>> {
        let matching = Matching { map: parse_pairs(&self.map)?, allow_missing: self.allow_missing };
        let read = |name: &String| read_reference(name, self.reference_names.as_deref(), concepts, &matching);
        self.reference.as_ref().map(read).transpose()
    }
}
