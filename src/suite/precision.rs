//! How weights are stored, and what that takes.

use serde::{Deserialize, Serialize};

use crate::suite::{Fault, Ingredients};

/// How the weights of an export are stored, the most exact first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    Fp32,
    /// 16 bits with the range of 32: what most of the suite was trained in.
    Bf16,
    /// 16 bits.
    Fp16,
    /// 8 bits, with a scale for every 32 weights.
    Int8,
    /// 4 bits, with a scale for every 32 weights.
    Int4,
}

impl Precision {
    /// All, the most exact first.
    pub const ALL: [Self; 5] = [Self::Fp32, Self::Bf16, Self::Fp16, Self::Int8, Self::Int4];

    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fp32 => "fp32",
            Self::Bf16 => "bf16",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
            Self::Int4 => "int4",
        }
    }

    fn bytes_per_weight(self) -> f64 {
        let scale = 4.0 / 32.0;
        match self {
            Self::Fp32 => 4.0,
            Self::Bf16 | Self::Fp16 => 2.0,
            Self::Int8 => 1.0 + scale,
            Self::Int4 => 0.5 + scale,
        }
    }

    /// Memory that a model takes.
    ///
    /// Weights and 15 % for what a pass works with, and 1 GB for keys and values: the engine's pool holds 0.4 GB at most, and
    /// a GPU's copy of it as much. Embedding and head of int8 and int4 exports stay in fp32. `export/suite.py` has the same rule.
    ///
    /// # Units
    /// GB of 10⁹ bytes
    pub fn needed_gb(self, model: &Ingredients) -> f64 {
        let in_fp32 = if self >= Self::Int8 { 2.0 * 4.0 * model.vocab_size * model.hidden_size / 1e9 } else { 0.0 };
        model.params_b * self.bytes_per_weight() * 1.15 + in_fp32 + 1.0
    }

    /// The most exact one in which a model fits, and that none of its faults speaks against.
    pub fn best(model: &Ingredients, faults: &[Fault], memory_gb: f64) -> Option<Self> {
        let sound = |precision: &Self| faults.iter().all(|fault| !fault.avoid.contains(precision));
        Self::ALL.into_iter().filter(sound).find(|precision| precision.needed_gb(model) <= memory_gb)
    }
}
