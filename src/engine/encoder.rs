//! Sentence encoders: what their graphs take and give, and the vectors they make of texts.

use std::path::Path;

use ndarray::{Array2, ArrayD, ArrayViewD, Axis};
use serde::{Deserialize, Serialize};

use crate::engine::graph_file::{Element, GraphPorts};
use crate::engine::signature::Reader;
use crate::error::{Error, Result};
use crate::prompts::tokens::TextTokens;

/// How the states of a text's tokens become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// Their mean, the tokens that the post-processor adds included.
    Mean,
    /// The first one.
    Cls,
    /// The graph pools by itself.
    Graph,
}

impl Pooling {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::Graph => "graph",
        }
    }
}

/// A graph that makes vectors of texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EncoderSignature {
    /// Whether there is an `attention_mask` input.
    pub attention_mask: bool,
    /// Whether there is a `token_type_ids` input.
    pub token_type_ids: bool,
    /// The output that is read.
    pub output: &'static str,
    /// Whether that has one vector for a text (`[batch, width]`), not one for a token (`[batch, seq, width]`).
    pub pooled: bool,
}

/// Outputs of a language model, by which a graph is none of these.
const OF_LANGUAGE_MODELS: [&str; 2] = ["logits", "log_probs"];

/// Outputs of encoders, what is pooled first: optimum's exports of sentence-transformers models give both.
const OF_ENCODERS: [(&str, bool); 3] =
    [("sentence_embedding", true), ("last_hidden_state", false), ("token_embeddings", false)];

impl EncoderSignature {
    /// Recognises an encoder by what its graph gives; `None` for a graph of another kind.
    ///
    /// # Errors
    /// [`Error::Signature`] for an encoder with an input or output that is missing, unknown or of another type.
    pub fn read(path: &Path, graph: &GraphPorts) -> Result<Option<Self>> {
        let gives = |name: &str| graph.outputs.iter().any(|port| port.name == name);
        let Some((output, pooled)) = OF_ENCODERS.into_iter().find(|(name, _)| gives(name)) else {
            return Ok(None);
        };
        if OF_LANGUAGE_MODELS.into_iter().any(gives) {
            return Ok(None);
        }
        let reader = Reader::new(path, graph);
        reader.output(output, Element::F32, if pooled { 2 } else { 3 })?;
        reader.input("input_ids", Element::I64, 2)?;
        let optional = |name: &str| -> Result<bool> {
            let there = graph.inputs.iter().any(|port| port.name == name);
            if there {
                reader.input(name, Element::I64, 2)?;
            }
            Ok(there)
        };
        let (attention_mask, token_type_ids) = (optional("attention_mask")?, optional("token_type_ids")?);
        reader.refuse_others(|name| ["input_ids", "attention_mask", "token_type_ids"].contains(&name))?;
        Ok(Some(Self { attention_mask, token_type_ids, output, pooled }))
    }
}

/// Texts of one length, each row `[seq]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextBatch {
    /// `[batch, seq]`
    pub ids: Array2<i64>,
    /// `[batch, seq]`, what the tokenizer says of each token's segment.
    pub type_ids: Array2<i64>,
}

/// The vectors of texts, each divided by its length.
///
/// Texts of equal length go through `run` together, at most `batch_tokens` at once, without padding; a text that is
/// there twice, once, so that equal texts have equal vectors to the last bit. `run` gives `[batch, seq, width]`, or
/// `[batch, width]` under [`Pooling::Graph`].
///
/// # Shapes
/// returns `[n_texts, width]`
/// # Errors
/// Those of `run`; [`Error::NotFinite`] for a vector without a direction; [`Error::ShapeMismatch`] for another output
/// than `run` should give.
pub fn embed(
    texts: &[TextTokens],
    pooling: Pooling,
    batch_tokens: usize,
    mut run: impl FnMut(&TextBatch) -> Result<ArrayD<f32>>,
) -> Result<Array2<f64>> {
    let mut distinct: Vec<&TextTokens> = texts.iter().collect();
    distinct.sort_by_key(|text| (text.ids.len(), *text));
    distinct.dedup();
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(distinct.len());
    for of_length in distinct.chunk_by(|a, b| a.ids.len() == b.ids.len()) {
        let n_rows = (batch_tokens / of_length[0].ids.len().max(1)).max(1);
        for rows in of_length.chunks(n_rows) {
            vectors.extend(pass(rows, pooling, &mut run)?);
        }
    }
    let width = vectors.first().map_or(0, Vec::len);
    let mut all = Array2::zeros((texts.len(), width));
    for (text, mut row) in texts.iter().zip(all.rows_mut()) {
        let at = distinct.binary_search_by_key(&(text.ids.len(), text), |text| (text.ids.len(), *text));
        row.iter_mut().zip(&vectors[at.expect("every text is among the distinct ones")]).for_each(|(to, v)| *to = *v);
    }
    Ok(all)
}

/// One pass, or its halves where memory is short.
fn pass(
    rows: &[&TextTokens],
    pooling: Pooling,
    run: &mut impl FnMut(&TextBatch) -> Result<ArrayD<f32>>,
) -> Result<Vec<Vec<f64>>> {
    let shape = (rows.len(), rows[0].ids.len());
    let table = |of: fn(&TextTokens) -> &[u32]| {
        let values = rows.iter().flat_map(|text| of(text)).map(|id| i64::from(*id)).collect();
        Array2::from_shape_vec(shape, values).expect("texts of a pass are equally long")
    };
    let batch = TextBatch { ids: table(|text| &text.ids), type_ids: table(|text| &text.type_ids) };
    let states = match run(&batch) {
        Err(Error::Runtime { out_of_memory: true, message, .. }) if rows.len() > 1 => {
            tracing::warn!(
                "out of memory with {} texts of {} tokens ({message}); trying half as many",
                shape.0,
                shape.1
            );
            let (one, other) = rows.split_at(rows.len() / 2);
            return Ok([pass(one, pooling, run)?, pass(other, pooling, run)?].concat());
        }
        states => states?,
    };
    let expected: &[usize] = if pooling == Pooling::Graph { &[shape.0] } else { &[shape.0, shape.1] };
    if states.ndim() != expected.len() + 1 || !states.shape().starts_with(expected) {
        return Err(Error::ShapeMismatch {
            what: "the encoder's output".into(),
            found: format!("{:?}", states.shape()),
            expected: format!("{expected:?} and the width"),
        });
    }
    states.axis_iter(Axis(0)).map(|of_text| unit(pooled(&of_text, pooling))).collect()
}

/// One vector out of `[seq, width]`, or `[width]` that the graph has pooled; summed in f64.
fn pooled(states: &ArrayViewD<'_, f32>, pooling: Pooling) -> Vec<f64> {
    let wide = |of_token: ArrayViewD<'_, f32>| of_token.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    match pooling {
        Pooling::Graph => wide(states.view()),
        Pooling::Cls => wide(states.index_axis(Axis(0), 0)),
        Pooling::Mean => {
            let mut tokens = states.axis_iter(Axis(0)).map(wide);
            let mut sum = tokens.next().unwrap_or_default();
            for of_token in tokens {
                sum.iter_mut().zip(of_token).for_each(|(sum, v)| *sum += v);
            }
            sum.iter_mut().for_each(|v| *v /= states.shape()[0] as f64);
            sum
        }
    }
}

fn unit(mut vector: Vec<f64>) -> Result<Vec<f64>> {
    let norm = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
    vector.iter_mut().for_each(|v| *v /= norm);
    match vector.iter().all(|v| v.is_finite()) {
        true => Ok(vector),
        false => Err(Error::NotFinite { what: format!("a text's vector, divided by its length {norm},") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph_file::Port;

    fn graph(inputs: &[&str], outputs: &[(&str, usize)]) -> GraphPorts {
        let port = |name: &str, element, rank| {
            let type_name = if element == Element::I64 { "int64" } else { "float32" }.into();
            Port { name: name.into(), element, type_name, shape: vec![-1; rank] }
        };
        GraphPorts {
            inputs: inputs.iter().map(|name| port(name, Element::I64, 2)).collect(),
            outputs: outputs.iter().map(|(name, rank)| port(name, Element::F32, *rank)).collect(),
            ..GraphPorts::default()
        }
    }

    #[test]
    fn encoders_are_recognised_by_what_they_give() {
        let read = |graph: &GraphPorts| EncoderSignature::read(Path::new("m.onnx"), graph);
        let bert = read(&graph(&["input_ids", "attention_mask", "token_type_ids"], &[("last_hidden_state", 3)]));
        let expected = |attention_mask, token_type_ids, output, pooled| {
            Some(EncoderSignature { attention_mask, token_type_ids, output, pooled })
        };
        assert_eq!(bert.unwrap(), expected(true, true, "last_hidden_state", false));
        let both = graph(&["input_ids"], &[("token_embeddings", 3), ("sentence_embedding", 2)]);
        assert_eq!(read(&both).unwrap(), expected(false, false, "sentence_embedding", true));
        // A language model that also gives its states is one.
        assert_eq!(read(&graph(&["input_ids"], &[("logits", 3), ("last_hidden_state", 3)])).unwrap(), None);
        assert_eq!(read(&graph(&["input_ids"], &[("scores", 2)])).unwrap(), None);
        let error = |graph: &GraphPorts| read(graph).unwrap_err().to_string();
        assert!(error(&graph(&["ids"], &[("last_hidden_state", 3)])).contains("`input_ids` is missing"));
        assert!(error(&graph(&["input_ids"], &[("last_hidden_state", 2)])).contains("expected float32 of rank 3"));
        let pixels = error(&graph(&["input_ids", "pixel_values"], &[("last_hidden_state", 3)]));
        assert!(pixels.contains("`pixel_values`") && pixels.contains("would not know what to feed"), "{pixels}");
    }

    fn text(ids: &[u32]) -> TextTokens {
        TextTokens { ids: ids.to_vec(), type_ids: vec![0; ids.len()] }
    }

    /// The state of a token: its id, and one.
    #[allow(clippy::cast_precision_loss)]
    fn states(batch: &TextBatch) -> ArrayD<f32> {
        let (n, len) = batch.ids.dim();
        ArrayD::from_shape_fn(vec![n, len, 2], |at| if at[2] == 0 { batch.ids[[at[0], at[1]]] as f32 } else { 1.0 })
    }

    #[test]
    fn vectors_by_hand_for_every_pooling() {
        let texts = [text(&[3, 5]), text(&[0]), text(&[3, 5]), text(&[8, 0])];
        let mut shapes = Vec::new();
        let mean = embed(&texts, Pooling::Mean, 64, |batch| {
            shapes.push(batch.ids.dim());
            Ok(states(batch))
        });
        let row = |x: f64, y: f64| [x / x.hypot(y), y / x.hypot(y)];
        assert_eq!(mean.unwrap(), ndarray::arr2(&[row(4.0, 1.0), [0.0, 1.0], row(4.0, 1.0), row(4.0, 1.0)]));
        assert_eq!(shapes, [(1, 1), (2, 2)], "one length after the other, what is there twice once");
        let cls = embed(&texts, Pooling::Cls, 1, |batch| Ok(states(batch))).unwrap();
        assert_eq!(cls, ndarray::arr2(&[row(3.0, 1.0), [0.0, 1.0], row(3.0, 1.0), row(8.0, 1.0)]));
        let by_graph = embed(&texts, Pooling::Graph, 64, |batch| Ok(states(batch).index_axis_move(Axis(1), 0)));
        assert_eq!(by_graph.unwrap(), cls);
    }

    #[test]
    fn what_has_no_direction_or_another_shape_is_refused() {
        let zero = embed(&[text(&[0])], Pooling::Mean, 64, |_| Ok(ArrayD::zeros(vec![1, 1, 4])));
        assert!(zero.unwrap_err().to_string().contains("divided by its length 0, holds NaN"));
        let flat = embed(&[text(&[1, 2])], Pooling::Mean, 64, |_| Ok(ArrayD::zeros(vec![1, 4])));
        assert!(flat.unwrap_err().to_string().contains("[1, 4], expected [1, 2] and the width"));
    }

    #[test]
    fn out_of_memory_halves_the_pass() {
        let texts: Vec<TextTokens> = (1..8).map(|i| text(&[i, i])).collect();
        let whole = embed(&texts, Pooling::Mean, 64, |batch| Ok(states(batch))).unwrap();
        let small = embed(&texts, Pooling::Mean, 64, |batch| match batch.ids.nrows() {
            1 | 2 => Ok(states(batch)),
            _ => Err(Error::Runtime { doing: "running".into(), message: "bad_alloc".into(), out_of_memory: true }),
        });
        assert_eq!(small.unwrap(), whole);
    }
}
