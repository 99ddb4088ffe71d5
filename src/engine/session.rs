//! The ONNX session: one pass of the plan is one run of the graph.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::{Array, Array2, Array3, ArrayView1, ArrayView3, Dimension, Ix3, ShapeError};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};
use rayon::prelude::*;

use crate::engine::graph_file::GraphPorts;
use crate::engine::kv_cache::KvCache;
use crate::engine::provider::{ExecutionProvider, Runtime, runtime_error};
use crate::engine::signature::{MaskInput, PastInput, Scores, Signature, Stated};
use crate::engine::{LanguageModel, ModelInfo, PassOutput, Top};
use crate::error::{Error, Result};
use crate::prompts::plan::Pass;

/// How a session is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    /// Where it runs.
    pub provider: ExecutionProvider,
    /// Threads of one operator; 0 leaves it to the runtime (one a core).
    pub threads: usize,
    /// What the model's config states of the graph's shapes.
    pub stated: Stated,
    /// Context the model's config states, in tokens.
    pub context_tokens: Option<usize>,
    /// Precision the export states.
    pub precision: String,
}

/// A language model in an ONNX graph.
#[derive(Debug)]
pub struct OnnxModel {
    session: Session,
    signature: Signature,
    info: ModelInfo,
    cache: Option<KvCache>,
    present_names: Vec<String>,
    past_names: Vec<String>,
    running: Duration,
}

impl OnnxModel {
    /// Opens a graph and reads its signature.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Runtime`] in the runtime's words, [`Error::Signature`].
    pub fn open(graph: &Path, runtime: &Runtime, settings: &SessionSettings) -> Result<Self> {
        if !graph.is_file() {
            return Err(Error::Missing {
                what: "the model graph",
                path: graph.into(),
                hint: "give the folder that holds model.onnx; `make setup` builds the demo's".into(),
            });
        }
        // Before the weights are read, which takes time.
        let signature = Signature::read(graph, &GraphPorts::read(graph)?, settings.stated)?;
        let doing = format!("opening {}", graph.display());
        let fail = |e: &ort::Error| runtime_error(&doing, e);
        let mut builder = Session::builder(&runtime.environment).map_err(|e| fail(&e))?;
        builder = builder.with_execution_providers(settings.provider.dispatch()).map_err(|e| fail(&e.into()))?;
        builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(|e| fail(&e.into()))?;
        // Shapes change from pass to pass, so a memory plan for one shape only costs.
        builder = builder.with_memory_pattern(false).map_err(|e| fail(&e.into()))?;
        if settings.threads > 0 {
            builder = builder.with_intra_threads(settings.threads).map_err(|e| fail(&e.into()))?;
        }
        let session = builder.commit_from_file(graph).map_err(|e| fail(&e))?;

        let info = ModelInfo {
            vocab_size: signature.vocab_size,
            context_tokens: settings.context_tokens,
            kv_bytes_per_token: signature.cache.map_or(0, |c| c.bytes_per_token()),
            strategy: signature.strategy(),
            provider: settings.provider.to_string(),
            precision: settings.precision.clone(),
            runtime: runtime.version(),
        };
        let n_layers = signature.cache.map_or(0, |c| c.n_layers);
        let names = |side: &str| -> Vec<String> {
            (0..n_layers).flat_map(|layer| ["key", "value"].map(|half| format!("{side}.{layer}.{half}"))).collect()
        };
        Ok(Self {
            cache: signature.cache.map(KvCache::new),
            present_names: names("present"),
            past_names: names("past_key_values"),
            running: Duration::ZERO,
            session,
            signature,
            info,
        })
    }

    /// What the graph takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }
}

impl LanguageModel for OnnxModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn begin(&mut self, cache_tokens: usize) {
        if let Some(cache) = &mut self.cache {
            cache.resize(cache_tokens);
        }
    }

    fn run(&mut self, pass: &Pass) -> Result<PassOutput> {
        let (n_rows, total_len) = (pass.n_rows(), pass.past_len + pass.new_len);
        let by_token = |values: Vec<i64>| Array2::from_shape_vec((n_rows, pass.new_len), values);
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
            vec![("input_ids".into(), tensor(by_token(pass.tokens.iter().map(|id| i64::from(*id)).collect()))?.into())];
        match self.signature.mask {
            MaskInput::None => {}
            MaskInput::Padding => {
                inputs.push(("attention_mask".into(), tensor(Ok(Array2::<i64>::ones((n_rows, total_len))))?.into()));
            }
            MaskInput::Seen => {
                let mask = Array3::from_shape_vec((n_rows, pass.new_len, total_len), pass.mask());
                inputs.push(("attention_mask".into(), tensor(mask)?.into()));
            }
        }
        if self.signature.position_ids {
            let positions = pass.positions().into_iter().map(int).collect();
            inputs.push(("position_ids".into(), tensor(by_token(positions))?.into()));
        }
        match (&self.cache, self.signature.past) {
            (Some(cache), Some(PastInput::Slots)) => {
                let slots = pass.past.iter().map(|slot| int(*slot)).collect();
                let slots = Array2::from_shape_vec((n_rows, pass.past_len), slots);
                inputs.push(("past_tokens".into(), tensor(slots)?.into()));
                let views = self.past_names.iter().zip(cache.views()?);
                inputs.extend(views.map(|(name, view)| (name.as_str().into(), view.into())));
            }
            (Some(cache), _) => {
                let rows = self.past_names.iter().zip(cache.gathered(pass)?);
                inputs.extend(rows.map(|(name, tensor)| (name.as_str().into(), tensor.into())));
            }
            (None, _) => {}
        }
        // The head's product has a row for each scored position: never a single one, which another kernel would round otherwise.
        let mut scored = pass.scored.clone();
        if scored.len() == 1 {
            scored.extend_from_within(..);
        }
        let mut results = match self.signature.scores {
            Scores::LogProbs => {
                inputs.push(("scored".into(), tensor(Ok(pairs(scored.iter().copied())))?.into()));
                let wanted = pairs(pass.wanted.iter().map(|w| (w.scored, w.token as usize)));
                inputs.push(("wanted".into(), tensor(Ok(wanted))?.into()));
                vec!["log_probs", "top_ids", "top_log_probs"]
            }
            Scores::Logits => vec!["logits"],
        };
        if pass.logits && self.signature.scores == Scores::LogProbs {
            results.push("logits");
        }
        let options = select(&results, &self.present_names, pass.keep.is_some())?;
        let started = Instant::now();
        let outputs = self.session.run_with_options(inputs, &options).map_err(|e| run_error(&e, pass))?;
        self.running += started.elapsed();

        let output = match self.signature.scores {
            Scores::LogProbs => read_log_probs(&outputs, pass, self.signature.vocab_size)?,
            Scores::Logits => read_logits(&outputs, pass, self.signature.vocab_size)?,
        };
        if let (Some(cache), Some(first_slot)) = (&mut self.cache, pass.keep) {
            for (half, name) in self.present_names.iter().enumerate() {
                let values = floats(&outputs[name.as_str()])?;
                match self.signature.past {
                    Some(PastInput::Slots) => cache.store(half, first_slot, values),
                    _ => cache.store_last(half, first_slot, pass, values),
                }
            }
        }
        Ok(output)
    }

    fn running(&self) -> Duration {
        self.running
    }
}

fn read_log_probs(outputs: &SessionOutputs<'_>, pass: &Pass, vocab_size: usize) -> Result<PassOutput> {
    let log_probs = floats(&outputs["log_probs"])?.to_vec();
    let ids = outputs["top_ids"].try_extract_tensor::<i64>().map_err(|e| runtime_error("reading top_ids", &e))?.1;
    let top = |(id, log_prob): (&i64, &f32)| Top { token: u32::try_from(*id).unwrap_or(u32::MAX), log_prob: *log_prob };
    let tops = ids.iter().zip(floats(&outputs["top_log_probs"])?).map(top).take(pass.scored.len()).collect();
    let logits = if pass.logits {
        let n_logits = pass.scored.len() * vocab_size;
        let logits = floats(&outputs["logits"])?;
        let short = || Error::ShapeMismatch {
            what: "logits".into(),
            found: format!("{} values", logits.len()),
            expected: format!("[{}, {vocab_size}]", pass.scored.len()),
        };
        logits.get(..n_logits).ok_or_else(short)?.to_vec()
    } else {
        Vec::new()
    };
    Ok(PassOutput { log_probs, tops, logits })
}

fn read_logits(outputs: &SessionOutputs<'_>, pass: &Pass, vocab_size: usize) -> Result<PassOutput> {
    let logits = outputs["logits"].try_extract_array::<f32>().map_err(|e| runtime_error("reading logits", &e))?;
    let logits: ArrayView3<'_, f32> = logits.into_dimensionality::<Ix3>().map_err(|e| Error::ShapeMismatch {
        what: "logits".into(),
        found: e.to_string(),
        expected: format!("[{}, {}, {vocab_size}]", pass.n_rows(), pass.new_len),
    })?;
    let rows: Vec<ArrayView1<'_, f32>> =
        pass.scored.iter().map(|&(row, at)| logits.slice_move(ndarray::s![row, at, ..])).collect();
    let log_sums: Vec<f64> = rows.par_iter().map(log_sum_exp).collect();
    let log_prob = |scored: usize, token: usize| to_f32(f64::from(rows[scored][token]) - log_sums[scored]);
    let log_probs = pass.wanted.iter().map(|w| log_prob(w.scored, w.token as usize)).collect();
    let tops = (0..rows.len())
        .map(|scored| {
            let best = argmax(&rows[scored]);
            Top { token: u32::try_from(best).unwrap_or(u32::MAX), log_prob: log_prob(scored, best) }
        })
        .collect();
    let logits = if pass.logits { rows.iter().flatten().copied().collect() } else { Vec::new() };
    Ok(PassOutput { log_probs, tops, logits })
}

fn pairs(values: impl ExactSizeIterator<Item = (usize, usize)>) -> Array2<i64> {
    let n = values.len();
    Array2::from_shape_vec((n, 2), values.flat_map(|(a, b)| [int(a), int(b)]).collect()).expect("two values a pair")
}

fn int(value: usize) -> i64 {
    i64::try_from(value).expect("indices and token ids are small")
}

fn tensor<T, D>(array: std::result::Result<Array<T, D>, ShapeError>) -> Result<Tensor<T>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
    D: Dimension + 'static,
{
    Tensor::from_array(array.expect("a pass holds rows of equal length"))
        .map_err(|e| runtime_error("making an input", &e))
}

fn select(results: &[&str], present: &[String], keep: bool) -> Result<RunOptions<ort::session::HasSelectedOutputs>> {
    let mut outputs = results.iter().fold(OutputSelector::no_default(), |selector, name| selector.with(*name));
    if keep {
        outputs = present.iter().fold(outputs, |selector, name| selector.with(name.as_str()));
    }
    let options = RunOptions::new().map_err(|e| runtime_error("setting run options", &e))?;
    Ok(options.with_outputs(outputs))
}

fn floats(value: &DynValue) -> Result<&[f32]> {
    Ok(value.try_extract_tensor::<f32>().map_err(|e| runtime_error("reading log-probabilities", &e))?.1)
}

/// ln Σ exp(x), in f64.
fn log_sum_exp(logits: &ArrayView1<'_, f32>) -> f64 {
    let highest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    highest + logits.iter().map(|l| (f64::from(*l) - highest).exp()).sum::<f64>().ln()
}

/// Position of the largest value, the first of equals.
fn argmax(values: &ArrayView1<'_, f32>) -> usize {
    let mut best = 0;
    for (index, value) in values.iter().enumerate() {
        if *value > values[best] {
            best = index;
        }
    }
    best
}

#[allow(clippy::cast_possible_truncation, reason = "stored as f32")]
fn to_f32(value: f64) -> f32 {
    value as f32
}

fn run_error(error: &ort::Error, pass: &Pass) -> Error {
    let doing = format!("running {} rows of {} tokens after {}", pass.n_rows(), pass.new_len, pass.past_len);
    runtime_error(&doing, error)
}
