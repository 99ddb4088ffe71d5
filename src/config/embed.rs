//! `[embed]`: how choices become coordinates.

use serde::{Deserialize, Serialize};

use crate::embedding::sparse::SparseSettings;
use crate::embedding::{FitSettings, Fitting, Loss};
use crate::error::{Error, Result};

/// `[embed]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedSection {
    /// One fit for each loss: `crowd-kernel` as in the paper, the others with a penalty chosen by cross-validation; `spose` and
    /// `vice` of odd-one-out answers only.
    pub loss: Vec<FitName>,
    /// Degrees of freedom of `t-ste`; `dims` − 1 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
    /// Margin of `soe` and `gnmds`; 0.1 and 1 unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    /// Penalty of `spose`, in the unit of the published software; chosen by cross-validation unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lambda: Option<f64>,
    /// Penalty of losses on distances, (l2 / n_concepts) Σ ‖x‖² beside the mean loss; none with `crowd-kernel` and chosen by
    /// cross-validation with the others unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<f64>,
    /// Dimensions; of `spose` and `vice` those to begin with.
    pub dims: usize,
    /// Share of unordered triplets held out.
    pub holdout: f64,
    /// Random starts.
    pub restarts: usize,
    /// Column with the probability of the first option, as target instead of the choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soft_column: Option<String>,
    /// Refits of triplets drawn again with replacement, beside every embedding but those of `spose` and `vice`, whose
    /// reproducibility is told over `restarts`.
    pub bootstrap: u32,
}

impl Default for EmbedSection {
    fn default() -> Self {
        Self {
            loss: vec![LossName::CrowdKernel.into(), LossName::LogisticDistance.into()],
            alpha: None,
            margin: None,
            lambda: None,
            l2: None,
            dims: 30,
            holdout: 0.2,
            restarts: 1,
            soft_column: None,
            bootstrap: 0,
        }
    }
}

impl EmbedSection {
    /// The settings of the fit with one of the losses.
    ///
    /// t-STE has `dims` − 1 degrees of freedom, as van der Maaten & Weinberger (2012) advise, and at least one. The
    /// margins are those of the usual software; they decide nothing but the scale.
    pub fn settings(&self, loss: LossName, seed: u64) -> FitSettings {
        let cross_validated = |loss| FitSettings::cross_validated(loss, self.dims, seed);
        let preset = match loss {
            LossName::CrowdKernel => FitSettings::paper(self.dims, seed),
            LossName::Ste => cross_validated(Loss::Ste),
            LossName::TSte => {
                let advised = self.dims.saturating_sub(1).max(1) as f64;
                cross_validated(Loss::TSte { alpha: self.alpha.unwrap_or(advised) })
            }
            LossName::Soe => cross_validated(Loss::Soe { margin: self.margin.unwrap_or(0.1) }),
            LossName::Gnmds => cross_validated(Loss::Gnmds { margin: self.margin.unwrap_or(1.0) }),
            LossName::LogisticDistance => cross_validated(Loss::LogisticDistance),
        };
        let preset = self.l2.map_or(preset.clone(), |l2| preset.with_l2(l2));
        FitSettings { holdout: self.holdout, restarts: self.restarts, ..preset }
    }

    /// The fit with one of the losses.
    pub fn fitting(&self, name: FitName, seed: u64) -> Fitting {
        let settings = match name {
            FitName::Distances(loss) => return Fitting::Distances(self.settings(loss, seed)),
            FitName::DotProducts(SparseName::Spose) => SparseSettings::spose(self.dims, seed),
            FitName::DotProducts(SparseName::Vice) => SparseSettings::vice(self.dims, seed),
        };
        let settings = self.lambda.map_or(settings.clone(), |lambda| settings.with_lambda(lambda));
        Fitting::DotProducts(SparseSettings { holdout: self.holdout, restarts: self.restarts, ..settings })
    }

    /// A loss that takes odd-one-out answers only, if one is asked for.
    pub fn sparse(&self) -> Option<FitName> {
        self.loss.iter().copied().find(|name| matches!(name, FitName::DotProducts(_)))
    }

    /// Refuses what no fit can have, parameters of losses that are not asked for among it.
    ///
    /// # Errors
    /// [`Error::Setting`] naming the key.
    pub fn check(&self) -> Result<()> {
        let wrong = |field: &str, found: String, expected: &str| {
            Err(Error::Setting { field: field.into(), found, expected: expected.into() })
        };
        if self.loss.is_empty() {
            return wrong("embed.loss", "an empty list".into(), "at least one loss");
        }
        let parameters: [(_, _, &[&str], _); 3] = [
            ("alpha", self.alpha, &["t-ste"], "absent without loss t-ste"),
            ("margin", self.margin, &["soe", "gnmds"], "absent without loss soe or gnmds"),
            ("lambda", self.lambda, &["spose"], "absent without loss spose"),
        ];
        for (field, value, of, expected) in parameters {
            if let Some(value) = value
                && !self.loss.iter().any(|loss| of.contains(&loss.name()))
            {
                let asked: Vec<&str> = self.loss.iter().map(|loss| loss.name()).collect();
                return wrong(field, format!("{value} with loss {}", asked.join(", ")), expected);
            }
        }
        let of_distances = self.loss.iter().any(|loss| matches!(loss, FitName::Distances(_)));
        if let (Some(l2), false) = (self.l2, of_distances) {
            return wrong("l2", l2.to_string(), "absent without a loss on distances; `lambda` is the penalty of spose");
        }
        if self.bootstrap > 0 && !of_distances {
            let expected = "0 without a loss on distances: spose and vice tell their reproducibility over restarts";
            return wrong("bootstrap", self.bootstrap.to_string(), expected);
        }
        self.loss.iter().try_for_each(|&loss| self.fitting(loss, 0).check())
    }
}

/// Losses by name, of either kind of fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum FitName {
    /// On distances.
    Distances(LossName),
    /// On dot products, of odd-one-out answers.
    DotProducts(SparseName),
}

/// Losses on dot products by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SparseName {
    /// Sparse positive similarity embedding.
    Spose,
    /// Variational interpretable concept embeddings.
    Vice,
}

impl FitName {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Distances(loss) => loss.name(),
            Self::DotProducts(SparseName::Spose) => "spose",
            Self::DotProducts(SparseName::Vice) => "vice",
        }
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let sparse = [SparseName::Spose, SparseName::Vice].map(Self::DotProducts);
        LossName::ALL.into_iter().map(Self::Distances).chain(sparse)
    }
}

impl From<LossName> for FitName {
    fn from(loss: LossName) -> Self {
        Self::Distances(loss)
    }
}

impl From<FitName> for String {
    fn from(name: FitName) -> Self {
        name.name().to_owned()
    }
}

impl TryFrom<String> for FitName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl std::str::FromStr for FitName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::all().find(|name| name.name() == text).ok_or_else(|| Error::Setting {
            field: "loss".into(),
            found: text.into(),
            expected: Self::all().map(Self::name).collect::<Vec<_>>().join(", "),
        })
    }
}

/// Losses on distances by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LossName {
    /// Tamuz et al. 2011, μ = 0.05, no penalty: the paper's.
    CrowdKernel,
    /// Stochastic triplet embedding.
    Ste,
    /// The same with a Student-t kernel.
    TSte,
    /// Soft ordinal embedding.
    Soe,
    /// Generalised non-metric multidimensional scaling.
    Gnmds,
    /// Logistic in distance.
    LogisticDistance,
}

impl LossName {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::CrowdKernel, Self::Ste, Self::TSte, Self::Soe, Self::Gnmds, Self::LogisticDistance];

    /// Its name in files and flags, which is [`Loss::key`].
    pub fn name(self) -> &'static str {
        match self {
            Self::CrowdKernel => "crowd-kernel",
            Self::Ste => "ste",
            Self::TSte => "t-ste",
            Self::Soe => "soe",
            Self::Gnmds => "gnmds",
            Self::LogisticDistance => "logistic-distance",
        }
    }
}

impl std::str::FromStr for LossName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|loss| loss.name() == text).ok_or_else(|| Error::Setting {
            field: "loss".into(),
            found: text.into(),
            expected: Self::ALL.map(Self::name).join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_has_one_name_everywhere() {
        for loss in LossName::ALL {
            assert_eq!(loss.name().parse::<LossName>().unwrap(), loss);
            assert_eq!(serde_json::to_value(loss).unwrap(), loss.name());
            let settings = EmbedSection::default().settings(loss, 1);
            assert_eq!(settings.loss.key(), loss.name());
            assert_eq!(serde_json::to_value(&settings).unwrap()["loss"], loss.name());
        }
        for name in FitName::all() {
            assert_eq!(name.name().parse::<FitName>().unwrap(), name);
            assert_eq!(serde_json::to_value(name).unwrap(), name.name());
            let fitting = EmbedSection::default().fitting(name, 1);
            assert_eq!(serde_json::to_value(&fitting).unwrap()["loss"], name.name());
        }
        let error = serde_json::from_str::<FitName>("\"salmon\"").unwrap_err().to_string();
        assert!(error.contains("salmon") && error.contains("spose"), "{error}");
        let error = "salmon".parse::<LossName>().unwrap_err().to_string();
        assert!(error.contains("t-ste") && error.contains("gnmds"), "{error}");
    }

    #[test]
    fn parameters_go_to_their_losses_and_are_refused_elsewhere() {
        let with = |loss: &[LossName], alpha, margin| EmbedSection {
            loss: loss.iter().map(|loss| FitName::from(*loss)).collect(),
            alpha,
            margin,
            ..EmbedSection::default()
        };
        let of = |section: &EmbedSection, loss| section.settings(loss, 1).loss;
        let plain = EmbedSection::default();
        assert_eq!(of(&plain, LossName::TSte), Loss::TSte { alpha: 29.0 });
        assert_eq!(of(&EmbedSection { dims: 1, ..plain }, LossName::TSte), Loss::TSte { alpha: 1.0 });
        let both = with(&[LossName::TSte, LossName::Gnmds], Some(2.0), Some(3.0));
        assert!(both.check().is_ok());
        assert_eq!(of(&both, LossName::TSte), Loss::TSte { alpha: 2.0 });
        assert_eq!(of(&both, LossName::Gnmds), Loss::Gnmds { margin: 3.0 });
        let refused = |section: EmbedSection| section.check().unwrap_err().to_string();
        assert!(refused(with(&[LossName::Ste], Some(2.0), None)).contains("`alpha`"));
        assert!(refused(with(&[LossName::TSte, LossName::Ste], None, Some(1.0))).contains("`margin`"));
        assert!(refused(with(&[LossName::TSte], Some(0.0), None)).contains("more than 0"));
        assert!(refused(with(&[LossName::Soe], None, Some(-1.0))).contains("more than 0"));
        assert!(refused(with(&[], None, None)).contains("embed.loss"));
        let lambda = |loss, lambda| EmbedSection { loss: vec![loss], lambda: Some(lambda), ..EmbedSection::default() };
        let spose = FitName::DotProducts(SparseName::Spose);
        assert!(lambda(spose, 0.008).check().is_ok());
        assert!(refused(lambda(spose, -1.0)).contains("lambda"));
        let l2 = |loss, l2| EmbedSection { loss: vec![loss], l2: Some(l2), ..EmbedSection::default() };
        assert_eq!(l2(LossName::Ste.into(), 0.5).settings(LossName::Ste, 1).l2, crate::embedding::L2::Fixed(0.5));
        assert!(refused(l2(LossName::Ste.into(), -1.0)).contains("`l2`"));
        assert!(refused(l2(spose, 0.1)).contains("absent without a loss on distances"));
        for other in [LossName::Ste.into(), FitName::DotProducts(SparseName::Vice)] {
            assert!(refused(lambda(other, 0.1)).contains("absent without loss spose"));
        }
    }
}
