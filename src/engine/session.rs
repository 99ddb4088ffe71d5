//! The ONNX session: one pass of the plan is one run of the graph.

mod encoder;
mod inputs;
mod outputs;
mod start;

use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::{Array, Dimension};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, OutputSelector, RunOptions, Session};
use ort::value::{PrimitiveTensorElementType, Tensor};

use crate::engine::graph_file::GraphPorts;
use crate::engine::kv_cache::{DevicePool, KvCache};
use crate::engine::provider::{ExecutionProvider, Gpu, Runtime, runtime_error};
use crate::engine::signature::{MaskInput, PastInput, Pool, Scores, Signature, Stated};
use crate::engine::{LanguageModel, ModelInfo, PassOutput};
use crate::error::{Error, Result};
use crate::prompts::pass::Pass;
use inputs::{Input, inputs, results};
use outputs::{floats, read_log_probs, read_logits};
use start::shapes;

pub use encoder::OnnxEncoder;
pub(super) use start::{Source, start};

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

impl SessionSettings {
    /// Provider, GPU and threads.
    fn place(&self) -> (ExecutionProvider, &Gpu, usize) {
        (self.provider, &self.gpu, self.threads)
    }
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
        let inputs = inputs(signature, &self.cache, pass, self.unseen(pass))?;
        let results = results(signature, pass);
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
    inputs: Vec<Input<'_>>,
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

fn run_error(error: &ort::Error, pass: &Pass) -> Error {
    let doing = format!("running {} rows of {} tokens after {}", pass.n_rows(), pass.new_len, pass.past_len);
    runtime_error(&doing, error)
}
