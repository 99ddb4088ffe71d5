//! Starting a session, and the shapes that TensorRT is told before.

use std::path::Path;

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;

use super::SessionSettings;
use crate::engine::provider::{ExecutionProvider, Gpu, Runtime, Shapes, runtime_error};
use crate::engine::signature::{PastInput, Signature};
use crate::error::Result;

/// Where a graph comes from.
pub(in crate::engine) enum Source<'a> {
    File(&'a Path),
    Bytes(&'a [u8]),
}

/// Starts a session with a provider and so many threads, 0 leaving that to the runtime.
pub(in crate::engine) fn start(
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

/// The least, the usual and the most of every input's dimensions.
pub(super) fn shapes(signature: &Signature, settings: &SessionSettings) -> Shapes {
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
