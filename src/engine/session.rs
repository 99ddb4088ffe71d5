//! The ONNX session: one pass of the plan is one run of the graph.

use std::borrow::Cow;
use std::path::Path;

use ndarray::{Array1, Array2, ArrayView1, ArrayView3, Ix3};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Outlet, Tensor, TensorElementType};

use crate::engine::kv_cache::{KvCache, Present};
use crate::engine::provider::{ExecutionProvider, Runtime, runtime_error};
use crate::engine::signature::{CacheShape, Element, Layout, Port, Signature};
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
    /// Cache shape the model's config states, for graphs that leave it open.
    pub cache: Option<CacheShape>,
    /// Vocabulary size the model's config states.
    pub vocab_size: Option<usize>,
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

        let (inputs, outputs) = (ports(session.inputs()), ports(session.outputs()));
        let signature = Signature::read(graph, &inputs, &outputs, settings.cache, settings.vocab_size)?;
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
            cache: signature.cache.map(KvCache::new).transpose()?,
            present_names: names("present"),
            past_names: names("past_key_values"),
            session,
            signature,
            info,
        })
    }

    /// What the graph takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run_scoring(&mut self, index: usize, pass: &Pass) -> Result<PassOutput> {
        let cache = self.cache.as_ref().expect("a scoring graph has a cache");
        let (past, rows) = cache.indexed(pass);
        let scored = pairs(pass.scored.iter().copied());
        let wanted = pairs(pass.wanted.iter().map(|w| (w.scored, w.token as usize)));
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = vec![
            ("input_ids".into(), tensor(input_ids(pass))?.into()),
            ("past_rows".into(), tensor(Array1::from(rows))?.into()),
            ("scored".into(), tensor(scored)?.into()),
            ("wanted".into(), tensor(wanted)?.into()),
        ];
        inputs.extend(self.past_names.iter().zip(past).map(|(name, value)| (name.as_str().into(), value.into())));
        let options = select(&["log_probs", "top_ids", "top_log_probs"], &self.present_names, pass.keep)?;
        let mut outputs = self.session.run_with_options(inputs, &options).map_err(|e| run_error(&e, pass))?;

        let log_probs = floats(&outputs["log_probs"])?.to_vec();
        let ids = outputs["top_ids"].try_extract_tensor::<i64>().map_err(|e| runtime_error("reading top_ids", &e))?.1;
        let top =
            |(id, log_prob): (&i64, &f32)| Top { token: u32::try_from(*id).unwrap_or(u32::MAX), log_prob: *log_prob };
        let tops = ids.iter().zip(floats(&outputs["top_log_probs"])?).map(top).collect();
        let present = if pass.keep { take_present(&mut outputs, &self.present_names)? } else { Vec::new() };
        drop(outputs);
        self.after(index, pass, present);
        Ok(PassOutput { log_probs, tops })
    }

    fn run_standard(
        &mut self,
        index: usize,
        pass: &Pass,
        attention_mask: bool,
        position_ids: bool,
    ) -> Result<PassOutput> {
        let (n_rows, total) = (pass.n_rows(), pass.past_len + pass.new_len);
        let past = self.cache.as_ref().map(|cache| cache.repeated(pass)).transpose()?.unwrap_or_default();
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
            vec![("input_ids".into(), tensor(input_ids(pass))?.into())];
        if attention_mask {
            inputs.push(("attention_mask".into(), tensor(Array2::<i64>::ones((n_rows, total)))?.into()));
        }
        if position_ids {
            let position = |(_, at): (usize, usize)| i64::try_from(pass.past_len + at).expect("contexts are short");
            inputs
                .push(("position_ids".into(), tensor(Array2::from_shape_fn((n_rows, pass.new_len), position))?.into()));
        }
        inputs.extend(self.past_names.iter().zip(&past).map(|(name, value)| (name.as_str().into(), value.into())));
        let options = select(&["logits"], &self.present_names, pass.keep)?;
        let mut outputs = self.session.run_with_options(inputs, &options).map_err(|e| run_error(&e, pass))?;

        let logits = outputs["logits"].try_extract_array::<f32>().map_err(|e| runtime_error("reading logits", &e))?;
        let logits: ArrayView3<'_, f32> = logits.into_dimensionality::<Ix3>().map_err(|e| Error::ShapeMismatch {
            what: "logits".into(),
            found: e.to_string(),
            expected: format!("[{n_rows}, {}, {}]", pass.new_len, self.signature.vocab_size),
        })?;
        let rows: Vec<ArrayView1<'_, f32>> =
            pass.scored.iter().map(|&(row, at)| logits.slice_move(ndarray::s![row, at, ..])).collect();
        let log_sums: Vec<f64> = rows.iter().map(|row| log_sum_exp(row)).collect();
        let log_prob = |scored: usize, token: usize| to_f32(f64::from(rows[scored][token]) - log_sums[scored]);
        let log_probs = pass.wanted.iter().map(|w| log_prob(w.scored, w.token as usize)).collect();
        let tops = (0..rows.len())
            .map(|scored| {
                let best = argmax(&rows[scored]);
                Top { token: u32::try_from(best).unwrap_or(u32::MAX), log_prob: log_prob(scored, best) }
            })
            .collect();
        let present = if pass.keep { take_present(&mut outputs, &self.present_names)? } else { Vec::new() };
        drop(outputs);
        self.after(index, pass, present);
        Ok(PassOutput { log_probs, tops })
    }

    fn after(&mut self, index: usize, pass: &Pass, present: Present) {
        if let Some(cache) = &mut self.cache {
            if let Some(parent) = pass.parent.filter(|_| pass.release) {
                cache.release(parent);
            }
            if pass.keep {
                cache.keep(index, present);
            }
        }
    }
}

impl LanguageModel for OnnxModel {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn run(&mut self, index: usize, pass: &Pass) -> Result<PassOutput> {
        match self.signature.layout {
            Layout::Scoring => self.run_scoring(index, pass),
            Layout::Standard { attention_mask, position_ids } => {
                self.run_standard(index, pass, attention_mask, position_ids)
            }
        }
    }

    fn reset(&mut self) {
        if let Some(cache) = &mut self.cache {
            cache.clear();
        }
    }
}

fn ports(outlets: &[Outlet]) -> Vec<Port> {
    let port = |outlet: &Outlet| Port {
        name: outlet.name().to_owned(),
        element: match outlet.dtype().tensor_type() {
            Some(TensorElementType::Int64) => Element::I64,
            Some(TensorElementType::Float32) => Element::F32,
            _ => Element::Other,
        },
        type_name: match outlet.dtype().tensor_type() {
            Some(element) => element.to_string(),
            None => "not a tensor".into(),
        },
        shape: outlet.dtype().tensor_shape().map(|shape| shape.to_vec()).unwrap_or_default(),
    };
    outlets.iter().map(port).collect()
}

fn input_ids(pass: &Pass) -> Array2<i64> {
    let ids = pass.tokens.iter().map(|id| i64::from(*id)).collect();
    Array2::from_shape_vec((pass.n_rows(), pass.new_len), ids).expect("a pass holds rows of equal length")
}

fn pairs(values: impl ExactSizeIterator<Item = (usize, usize)>) -> Array2<i64> {
    let int = |v: usize| i64::try_from(v).expect("indices and token ids are small");
    let n = values.len();
    Array2::from_shape_vec((n, 2), values.flat_map(|(a, b)| [int(a), int(b)]).collect()).expect("two values a pair")
}

fn tensor<D: ndarray::Dimension + 'static>(array: ndarray::Array<i64, D>) -> Result<Tensor<i64>> {
    Tensor::from_array(array).map_err(|e| runtime_error("making an input", &e))
}

fn select(results: &[&str], present: &[String], keep: bool) -> Result<RunOptions<ort::session::HasSelectedOutputs>> {
    let mut outputs = results.iter().fold(OutputSelector::no_default(), |selector, name| selector.with(*name));
    if keep {
        outputs = present.iter().fold(outputs, |selector, name| selector.with(name.as_str()));
    }
    let options = RunOptions::new().map_err(|e| runtime_error("setting run options", &e))?;
    Ok(options.with_outputs(outputs))
}

fn take_present(outputs: &mut SessionOutputs<'_>, names: &[String]) -> Result<Present> {
    let take = |name: &String| {
        let value = outputs.remove(name).expect("the output was selected");
        value.downcast::<ort::value::TensorValueType<f32>>().map_err(|e| runtime_error("keeping the cache", &e))
    };
    names.iter().map(take).collect()
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
