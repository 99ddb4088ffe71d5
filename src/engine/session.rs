//! The ONNX session: one pass of the plan is one run of the graph.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::{Array, Array1, Array2, Array3, ArrayD, ArrayView1, ArrayView3, Dimension, Ix3, arr0, s};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{IoBinding, OutputSelector, RunOptions, Session, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, PrimitiveTensorElementType, Tensor};
use rayon::prelude::*;

use crate::engine::encoder::{EncoderSignature, TextBatch};
use crate::engine::graph_file::GraphPorts;
use crate::engine::kv_cache::{DevicePool, KvCache};
use crate::engine::provider::{ExecutionProvider, Gpu, Runtime, Shapes, runtime_error};
use crate::engine::signature::{MaskInput, PastInput, Pool, Scores, Signature, Stated};
use crate::engine::{LanguageModel, ModelInfo, PassOutput, Top};
use crate::error::{Error, Result};
use crate::prompts::pass::Pass;

/// How a session is opened.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    /// Where it runs.
    pub provider: ExecutionProvider,
    /// How a GPU is used, where it runs on one.
    pub gpu: Gpu,
    /// New tokens in one pass, at most: shapes that TensorRT prepares for.
    pub batch_tokens: usize,
    /// Threads of one operator; 0 leaves it to the runtime (one a core).
    pub threads: usize,
    /// What the model's config states of the graph's shapes.
    pub stated: Stated,
    /// Context the model's config states, in tokens.
    pub context_tokens: Option<usize>,
    /// Precision the export states.
    pub precision: String,
    /// What the number of keys of a row is made a multiple of, where the graph takes a mask: 1 or more;
    /// [`ExecutionProvider::key_multiple`] unless there is a reason. What is added is masked.
    pub key_multiple: usize,
}

/// A language model in an ONNX graph.
#[derive(Debug)]
pub struct OnnxModel {
    session: Session,
    provider: ExecutionProvider,
    key_multiple: usize,
    signature: Signature,
    info: ModelInfo,
    cache: Cache,
    running: Duration,
}

/// Where the pool is, if there is one.
#[derive(Debug)]
enum Cache {
    None,
    Host(KvCache),
    Device(DevicePool),
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
        let ports = GraphPorts::read(graph)?;
        ports.weights(graph)?;
        let signature = Signature::read(graph, &ports, settings.stated)?;
        let session = start(&Source::File(graph), runtime, settings.place(), &shapes(&signature, settings))?;

        let info = ModelInfo {
            vocab_size: signature.vocab_size,
            context_tokens: settings.context_tokens,
            slot_bytes: signature.pool.as_ref().map_or(0, Pool::slot_bytes),
            strategy: signature.strategy(),
            resources: settings.provider.resources(),
            provider: settings.provider.to_string(),
            precision: settings.precision.clone(),
            runtime: runtime.version(),
        };
        let on_gpu = settings.provider != ExecutionProvider::Cpu;
        let cache = match (&signature.pool, signature.past) {
            (None, _) => Cache::None,
            (Some(pool), Some(PastInput::Slots | PastInput::States)) if on_gpu => {
                Cache::Device(DevicePool::new(pool.widths.clone(), settings.gpu.device))
            }
            (Some(pool), _) => Cache::Host(KvCache::new(pool.widths.clone())),
        };
        Ok(Self {
            cache,
            provider: settings.provider,
            key_multiple: settings.key_multiple,
            running: Duration::ZERO,
            session,
            signature,
            info,
        })
    }

    /// Keys in front of each row that nothing sees, so that there are as many as the provider likes; none where the graph
    /// would take them for something.
    fn unseen(&self, pass: &Pass) -> usize {
        let Signature { past, mask, counts_places, .. } = &self.signature;
        if *past != Some(PastInput::Slots) || *mask != MaskInput::Seen || *counts_places {
            return 0;
        }
        let total_len = pass.past_len + pass.new_len;
        match total_len.next_multiple_of(self.key_multiple) - total_len {
            // TensorRT takes no empty tensor.
            0 if pass.past_len == 0 && self.provider == ExecutionProvider::TensorRt => self.key_multiple,
            unseen => unseen,
        }
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

    fn begin(&mut self, cache_tokens: usize) -> Result<()> {
        match &mut self.cache {
            Cache::None => {}
            Cache::Host(cache) => cache.resize(cache_tokens),
            Cache::Device(pool) => pool.resize(&self.session, cache_tokens)?,
        }
        Ok(())
    }

    fn run(&mut self, pass: &Pass) -> Result<PassOutput> {
        let signature = &self.signature;
        let unseen = self.unseen(pass);
        let (n_rows, past_len, source_len) = (pass.n_rows(), pass.past_len + unseen, pass.source_len);
        let total_len = past_len + pass.new_len;
        let by_token = |values: Vec<i64>| {
            Array2::from_shape_vec((n_rows, pass.new_len), values).expect("a pass holds rows of equal length")
        };
        let ids = by_token(pass.tokens.iter().map(|id| i64::from(*id)).collect());
        let mut inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        if signature.encoder {
            inputs.push(("input_ids".into(), tensor(ids.slice(s![.., ..source_len]).to_owned())?.into()));
            inputs.push(("decoder_input_ids".into(), tensor(ids.slice(s![.., source_len..]).to_owned())?.into()));
        } else {
            inputs.push(("input_ids".into(), tensor(ids)?.into()));
        }
        match signature.mask {
            MaskInput::None => {}
            MaskInput::Padding => {
                inputs.push(("attention_mask".into(), tensor(Array2::<i64>::ones((n_rows, total_len)))?.into()));
            }
            MaskInput::Seen => {
                let mut mask = Array3::from_elem((n_rows, pass.new_len, total_len), false);
                let seen = Array3::from_shape_vec((n_rows, pass.new_len, total_len - unseen), pass.mask());
                let seen = seen.expect("a pass holds rows of equal length");
                mask.slice_mut(s![.., .., unseen..]).assign(&seen);
                let of_decoder = mask.slice(s![.., source_len.., source_len..]).to_owned();
                inputs.push(("attention_mask".into(), tensor(of_decoder)?.into()));
            }
        }
        if signature.position_ids {
            let positions = by_token(pass.positions().into_iter().map(int).collect()) - int(source_len);
            inputs.push(("position_ids".into(), tensor(positions.slice(s![.., source_len..]).to_owned())?.into()));
        }
        if let Some(name) = signature.logits_to_keep {
            inputs.push((name.into(), tensor(arr0(0_i64))?.into()));
        }
        if let (Some(pool), Some(past)) = (&signature.pool, signature.past) {
            let slot = |index: usize| int(pass.past[index]);
            match past {
                PastInput::Rows => {}
                PastInput::States => {
                    inputs.push(("past_states".into(), tensor(Array1::from_shape_fn(n_rows, slot))?.into()));
                }
                PastInput::Slots => {
                    let slot = |(row, at): (usize, usize)| {
                        at.checked_sub(unseen).map_or(0, |at| slot(row * pass.past_len + at))
                    };
                    inputs
                        .push(("past_tokens".into(), tensor(Array2::from_shape_fn((n_rows, past_len), slot))?.into()));
                }
            }
            let values: Vec<SessionInputValue<'_>> = match (&self.cache, past, signature.cache) {
                (Cache::None, ..) => Vec::new(),
                (Cache::Host(cache), PastInput::Rows, Some(shape)) => {
                    cache.gathered(shape, pass)?.into_iter().map(SessionInputValue::from).collect()
                }
                (Cache::Host(cache), ..) => cache.inputs()?,
                (Cache::Device(pool), ..) => pool.tensors().iter().map(Into::into).collect(),
            };
            inputs.extend(pool.past.iter().zip(values).map(|(name, value)| (name.as_str().into(), value)));
        }
        let mut results = match self.signature.scores {
            Scores::LogProbs => {
                // The head's product has a row for each scored position: never a single one, which another kernel would
                // round otherwise, and never none, of which runtimes think differently.
                let of_decoder = |&(row, at): &(usize, usize)| (row, at - source_len);
                let scored = at_least(2, pass.scored.iter().map(of_decoder), (0, 0));
                let wanted = at_least(1, pass.wanted.iter().map(|w| (w.scored, w.token as usize)), (0, 0));
                inputs.push(("scored".into(), tensor(pairs(&scored))?.into()));
                inputs.push(("wanted".into(), tensor(pairs(&wanted))?.into()));
                vec!["log_probs", "top_ids", "top_log_probs"]
            }
            Scores::Logits => vec!["logits"],
        };
        if pass.logits && self.signature.scores == Scores::LogProbs {
            results.push("logits");
        }
        let present = signature.pool.as_ref().filter(|_| pass.keep.is_some()).map_or(&[][..], |pool| &pool.present);
        let started = Instant::now();
        let (options, binding);
        let outputs = match &self.cache {
            Cache::Device(pool) => {
                binding = bind(&self.session, inputs, &results, pool, present, pass)?;
                self.session.run_binding(&binding)
            }
            _ => {
                options = select(&results, present)?;
                self.session.run_with_options(inputs, &options)
            }
        };
        let outputs = outputs.map_err(|e| run_error(&e, pass))?;
        self.running += started.elapsed();

        let output = match self.signature.scores {
            Scores::LogProbs => read_log_probs(&outputs, pass, self.signature.vocab_size)?,
            Scores::Logits => read_logits(&outputs, pass, self.signature.vocab_size)?,
        };
        if let (Cache::Host(cache), Some(first_slot)) = (&mut self.cache, pass.keep) {
            for (half, name) in present.iter().enumerate() {
                let values = floats(&outputs[name.as_str()])?;
                match (self.signature.past, self.signature.cache) {
                    (Some(PastInput::Rows), Some(shape)) => cache.store_last(shape, half, first_slot, pass, values),
                    _ => cache.store(half, first_slot, values),
                }
            }
        }
        Ok(output)
    }

    fn running(&self) -> Duration {
        self.running
    }
}

/// Where a graph comes from.
pub(super) enum Source<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

impl SessionSettings {
    /// Provider, GPU and threads.
    fn place(&self) -> (ExecutionProvider, &Gpu, usize) {
        (self.provider, &self.gpu, self.threads)
    }
}

/// Starts a session with a provider and so many threads, 0 leaving that to the runtime.
pub(super) fn start(
    source: &Source<'_>,
    runtime: &Runtime,
    (provider, gpu, threads): (ExecutionProvider, &Gpu, usize),
    shapes: &Shapes,
) -> Result<Session> {
    let doing = match source {
        Source::File(graph) => format!("opening {}", graph.display()),
        Source::Bytes(_) => "opening a graph in memory".into(),
    };
    let fail = |e: &ort::Error| runtime_error(&doing, e);
    let mut builder = Session::builder(&runtime.environment).map_err(|e| fail(&e))?;
    builder = builder.with_execution_providers(provider.dispatch(gpu, shapes)).map_err(|e| fail(&e.into()))?;
    builder = builder.with_optimization_level(GraphOptimizationLevel::All).map_err(|e| fail(&e.into()))?;
    // Shapes change from pass to pass, so a memory plan for one shape only costs.
    builder = builder.with_memory_pattern(false).map_err(|e| fail(&e.into()))?;
    if threads > 0 {
        builder = builder.with_intra_threads(threads).map_err(|e| fail(&e.into()))?;
    }
    let session = match source {
        Source::File(graph) => builder.commit_from_file(graph),
        Source::Bytes(graph) => builder.commit_from_memory(graph),
    };
    session.map_err(|e| fail(&e))
}

/// A sentence encoder in an ONNX graph.
#[derive(Debug)]
pub struct OnnxEncoder {
    session: Session,
    signature: EncoderSignature,
    running: Duration,
}

impl OnnxEncoder {
    /// Opens a graph whose signature has been read.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Format`] for its weights, [`Error::Runtime`] in the runtime's words.
    pub fn open(
        graph: &Path,
        signature: EncoderSignature,
        runtime: &Runtime,
        settings: &SessionSettings,
    ) -> Result<Self> {
        GraphPorts::read(graph)?.weights(graph)?;
        let session = start(&Source::File(graph), runtime, settings.place(), &Shapes::default())?;
        Ok(Self { session, signature, running: Duration::ZERO })
    }

    /// Runs texts of one length.
    ///
    /// # Shapes
    /// returns `[batch, seq, width]`, or `[batch, width]` where the graph pools
    /// # Errors
    /// [`Error::Runtime`]
    pub fn run(&mut self, texts: &TextBatch) -> Result<ArrayD<f32>> {
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![("input_ids", tensor(texts.ids.clone())?.into())];
        if self.signature.attention_mask {
            inputs.push(("attention_mask", tensor(Array2::<i64>::ones(texts.ids.dim()))?.into()));
        }
        if self.signature.token_type_ids {
            inputs.push(("token_type_ids", tensor(texts.type_ids.clone())?.into()));
        }
        let options = select(&[self.signature.output], &[])?;
        let (n_texts, length) = texts.ids.dim();
        let doing = || format!("encoding {n_texts} texts of {length} tokens");
        let started = Instant::now();
        let outputs = self.session.run_with_options(inputs, &options).map_err(|e| runtime_error(&doing(), &e))?;
        self.running += started.elapsed();
        let states = outputs[self.signature.output].try_extract_array::<f32>();
        Ok(states.map_err(|e| runtime_error(&doing(), &e))?.into_owned())
    }

    /// Time spent in the runtime so far.
    pub fn running(&self) -> Duration {
        self.running
    }
}

fn read_log_probs(outputs: &SessionOutputs<'_>, pass: &Pass, vocab_size: usize) -> Result<PassOutput> {
    let log_probs = floats(&outputs["log_probs"])?[..pass.wanted.len()].to_vec();
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
        pass.scored.iter().map(|&(row, at)| logits.slice_move(s![row, at, ..])).collect();
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

fn at_least(n: usize, values: impl Iterator<Item = (usize, usize)>, filler: (usize, usize)) -> Vec<(usize, usize)> {
    let mut values: Vec<_> = values.collect();
    values.resize(values.len().max(n), filler);
    values
}

fn pairs(values: &[(usize, usize)]) -> Array2<i64> {
    Array2::from_shape_fn((values.len(), 2), |(row, column)| {
        int(if column == 0 { values[row].0 } else { values[row].1 })
    })
}

/// The least, the usual and the most of every input's dimensions.
fn shapes(signature: &Signature, settings: &SessionSettings) -> Shapes {
    let Some((PastInput::Slots, cache)) = signature.past.zip(signature.cache) else {
        return Shapes::default();
    };
    // The least: one row of one token. The usual: a question's end and its options behind forty tokens. The most: what
    // the budget allows, with rows as short and as long as they come.
    let most_past = settings.context_tokens.unwrap_or(MOST_PAST).min(MOST_PAST);
    let text = |rows: usize, new: usize, past: usize, slots: usize| {
        let width = cache.per_token();
        let pool = (0..cache.n_layers)
            .flat_map(|layer| ["key", "value"].map(|half| format!("past_key_values.{layer}.{half}:{slots}x{width}")));
        let total = past + new;
        let mut inputs = vec![
            format!("input_ids:{rows}x{new}"),
            format!("position_ids:{rows}x{new}"),
            format!("attention_mask:{rows}x{new}x{total}"),
            format!("past_tokens:{rows}x{past}"),
            format!("scored:{}x2", (2 * rows).max(2)),
            format!("wanted:{}x2", 2 * rows),
        ];
        inputs.extend(pool);
        inputs.join(",")
    };
    let rows = settings.batch_tokens.div_ceil(USUAL_NEW);
    Shapes {
        least: text(1, 1, 1, 1),
        usual: text(rows, USUAL_NEW, 40, 1024),
        most: text(settings.batch_tokens, settings.batch_tokens.min(MOST_PAST), most_past, 1 << 20),
    }
}

/// New tokens of a usual row, and the longest past of a TensorRT engine.
const USUAL_NEW: usize = 20;
const MOST_PAST: usize = 2048;

fn int(value: usize) -> i64 {
    i64::try_from(value).expect("indices and token ids are small")
}

fn tensor<T, D>(array: Array<T, D>) -> Result<Tensor<T>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
    D: Dimension + 'static,
{
    Tensor::from_array(array).map_err(|e| runtime_error("making an input", &e))
}

fn select(results: &[&str], present: &[String]) -> Result<RunOptions<ort::session::HasSelectedOutputs>> {
    let names = results.iter().copied().chain(present.iter().map(String::as_str));
    let outputs = names.fold(OutputSelector::no_default(), |selector, name| selector.with(name));
    let options = RunOptions::new().map_err(|e| runtime_error("setting run options", &e))?;
    Ok(options.with_outputs(outputs))
}

/// What a run on a GPU takes and gives: results come to the host, and what the pass keeps goes to its slots of the pool.
fn bind(
    session: &Session,
    inputs: Vec<(Cow<'_, str>, SessionInputValue<'_>)>,
    results: &[&str],
    pool: &DevicePool,
    present: &[String],
    pass: &Pass,
) -> Result<IoBinding> {
    let fail = |e: ort::Error| run_error(&e, pass);
    let mut binding = session.create_binding().map_err(fail)?;
    for (name, value) in &inputs {
        binding.bind_input(name.as_ref(), value).map_err(fail)?;
    }
    let host = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Device, MemoryType::CPUOutput).map_err(fail)?;
    for name in results {
        binding.bind_output_to_device(*name, &host).map_err(fail)?;
    }
    if let Some(first_slot) = pass.keep {
        for (half, name) in present.iter().enumerate() {
            binding.bind_output(name, pool.kept(half, first_slot, pass)?).map_err(fail)?;
        }
    }
    Ok(binding)
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
