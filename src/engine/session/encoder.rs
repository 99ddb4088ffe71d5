//! A session of a sentence encoder.

use std::path::Path;
use std::time::{Duration, Instant};

use ndarray::{Array2, ArrayD};
use ort::session::{Session, SessionInputValue};

use super::start::{Source, start};
use super::{SessionSettings, select, tensor};
use crate::engine::encoder::{EncoderSignature, TextBatch};
use crate::engine::graph_file::GraphPorts;
use crate::engine::provider::{Runtime, Shapes, runtime_error};
use crate::error::Result;

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
    /// [`Error::Missing`](crate::Error::Missing) and [`Error::Format`](crate::Error::Format) for its weights,
    /// [`Error::Runtime`](crate::Error::Runtime) in the runtime's words.
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
    /// [`Error::Runtime`](crate::Error::Runtime)
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
