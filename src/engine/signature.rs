//! What a graph takes and gives, read off its inputs and outputs.

use std::path::Path;

use crate::engine::Strategy;
use crate::error::{Error, Result};

/// Element types that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// 64-bit integer.
    I64,
    /// 32-bit float.
    F32,
    /// Any other type.
    Other,
}

/// A named input or output; -1 stands for a dimension that is free.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name.
    pub name: String,
    /// Its element type.
    pub element: Element,
    /// The type as the runtime prints it, for messages.
    pub type_name: String,
    /// Its shape.
    pub shape: Vec<i64>,
}

/// Which of the known conventions a graph follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// alike's own: cache rows chosen by index, log-probabilities of wanted tokens as output.
    Scoring,
    /// The common one (optimum, transformers): masks and positions in, logits of all positions out.
    Standard {
        /// Whether there is an `attention_mask` input.
        attention_mask: bool,
        /// Whether there is a `position_ids` input.
        position_ids: bool,
    },
}

/// The shape of the key-value cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheShape {
    /// Layers.
    pub n_layers: usize,
    /// Key-value heads.
    pub n_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl CacheShape {
    /// f32 values of one layer's keys (or values) for one token.
    pub fn per_token(&self) -> usize {
        self.n_heads * self.head_dim
    }

    /// Bytes of the whole cache for one token.
    pub fn bytes_per_token(&self) -> usize {
        2 * self.n_layers * self.per_token() * size_of::<f32>()
    }
}

/// A graph that the engine can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Its convention.
    pub layout: Layout,
    /// Its cache; `None` when it takes none.
    pub cache: Option<CacheShape>,
    /// Size of the vocabulary.
    pub vocab_size: usize,
}

impl Signature {
    /// Recognises a graph by its ports; `fallback` is the cache shape that the model's config states, for graphs whose
    /// shapes are all symbolic.
    ///
    /// # Errors
    /// [`Error::Signature`] naming the first input or output that is missing, unknown or of another type.
    pub fn read(
        path: &Path,
        inputs: &[Port],
        outputs: &[Port],
        fallback: Option<CacheShape>,
        vocab_fallback: Option<usize>,
    ) -> Result<Self> {
        let reader = Reader { path, inputs, outputs };
        reader.input("input_ids", Element::I64, 2)?;
        let scoring = inputs.iter().any(|p| p.name == "wanted" || p.name == "past_rows" || p.name == "scored");
        let layout = if scoring {
            reader.input("past_rows", Element::I64, 1)?;
            reader.input("scored", Element::I64, 2)?;
            reader.input("wanted", Element::I64, 2)?;
            reader.output("log_probs", Element::F32, 1)?;
            reader.output("top_ids", Element::I64, 1)?;
            reader.output("top_log_probs", Element::F32, 1)?;
            Layout::Scoring
        } else {
            let has = |name: &str| inputs.iter().any(|p| p.name == name);
            let (attention_mask, position_ids) = (has("attention_mask"), has("position_ids"));
            if attention_mask {
                reader.input("attention_mask", Element::I64, 2)?;
            }
            if position_ids {
                reader.input("position_ids", Element::I64, 2)?;
            }
            Layout::Standard { attention_mask, position_ids }
        };
        let logits = reader.output("logits", Element::F32, if scoring { 2 } else { 3 })?;
        let vocab_size = logits.shape.last().copied().and_then(|d| usize::try_from(d).ok()).or(vocab_fallback);
        let vocab_size = vocab_size
            .ok_or_else(|| reader.wrong("output", "logits", &logits.described(), "a fixed vocabulary size"))?;

        let cache = reader.cache(fallback)?;
        if scoring && cache.is_none() {
            return Err(reader.wrong("input", "past_key_values.0.key", "missing", "a key-value cache"));
        }
        let known = |name: &str| {
            matches!(name, "input_ids" | "attention_mask" | "position_ids" | "past_rows" | "scored" | "wanted")
                || name.starts_with("past_key_values.")
        };
        if let Some(port) = inputs.iter().find(|p| !known(&p.name)) {
            return Err(reader.wrong(
                "input",
                &port.name,
                &port.described(),
                "no such input: the engine would not know what to feed",
            ));
        }
        Ok(Self { layout, cache, vocab_size })
    }

    /// How prefixes are shared.
    pub fn strategy(&self) -> Strategy {
        if self.cache.is_some() { Strategy::SharedPast } else { Strategy::None }
    }

    /// Why, in one sentence.
    pub fn reason(&self) -> &'static str {
        match (self.layout, self.cache) {
            (Layout::Scoring, _) => "the graph gathers cache rows by `past_rows` and scores chosen positions itself",
            (Layout::Standard { .. }, Some(_)) => {
                "the graph takes `past_key_values` with standard attention; cache rows are repeated on the host, and logits of all positions come back"
            }
            (Layout::Standard { .. }, None) => "the graph takes no `past_key_values`: every prompt is computed whole",
        }
    }
}

impl Port {
    fn described(&self) -> String {
        let dims: Vec<String> = self.shape.iter().map(|d| if *d < 0 { "?".into() } else { d.to_string() }).collect();
        format!("{} [{}]", self.type_name, dims.join(", "))
    }
}

struct Reader<'a> {
    path: &'a Path,
    inputs: &'a [Port],
    outputs: &'a [Port],
}

impl Reader<'_> {
    fn wrong(&self, side: &'static str, name: &str, found: &str, expected: &str) -> Error {
        let (path, name) = (self.path.into(), name.to_owned());
        Error::Signature { path, side, name, found: found.into(), expected: expected.into() }
    }

    fn port(&self, side: &'static str, name: &str, element: Element, rank: usize) -> Result<&Port> {
        let ports = if side == "input" { self.inputs } else { self.outputs };
        let kind = match element {
            Element::I64 => "int64",
            Element::F32 => "float32",
            Element::Other => "any type",
        };
        let expected = format!("{kind} of rank {rank}");
        let Some(port) = ports.iter().find(|p| p.name == name) else {
            let there: Vec<&str> =
                ports.iter().map(|p| p.name.as_str()).filter(|n| !n.contains(".1")).take(12).collect();
            return Err(self.wrong(side, name, &format!("missing (there are {}, ...)", there.join(", ")), &expected));
        };
        if port.element != element || port.shape.len() != rank {
            return Err(self.wrong(side, name, &port.described(), &expected));
        }
        Ok(port)
    }

    fn input(&self, name: &str, element: Element, rank: usize) -> Result<&Port> {
        self.port("input", name, element, rank)
    }

    fn output(&self, name: &str, element: Element, rank: usize) -> Result<&Port> {
        self.port("output", name, element, rank)
    }

    fn cache(&self, fallback: Option<CacheShape>) -> Result<Option<CacheShape>> {
        let n_layers =
            self.inputs.iter().filter(|p| p.name.starts_with("past_key_values.") && p.name.ends_with(".key")).count();
        if n_layers == 0 {
            return Ok(None);
        }
        let mut shape = None;
        for layer in 0..n_layers {
            for half in ["key", "value"] {
                let port = self.input(&format!("past_key_values.{layer}.{half}"), Element::F32, 4)?;
                self.output(&format!("present.{layer}.{half}"), Element::F32, 4)?;
                let fixed = |at: usize, known: Option<usize>| usize::try_from(port.shape[at]).ok().or(known);
                let of_layer = fixed(1, fallback.map(|f| f.n_heads)).zip(fixed(3, fallback.map(|f| f.head_dim)));
                let expected =
                    "float32 [rows, heads, past, head_dim] with fixed heads and head_dim, the same in every layer";
                match (of_layer, shape) {
                    (Some(now), None) => shape = Some(now),
                    (Some(now), Some(before)) if now == before => {}
                    _ => return Err(self.wrong("input", &port.name, &port.described(), expected)),
                }
            }
        }
        Ok(shape.map(|(n_heads, head_dim)| CacheShape { n_layers, n_heads, head_dim }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str, element: Element, shape: &[i64]) -> Port {
        let type_name = if element == Element::I64 { "int64" } else { "float32" }.into();
        Port { name: name.into(), element, type_name, shape: shape.to_vec() }
    }

    fn standard() -> (Vec<Port>, Vec<Port>) {
        let mut inputs = vec![
            port("input_ids", Element::I64, &[-1, -1]),
            port("attention_mask", Element::I64, &[-1, -1]),
            port("position_ids", Element::I64, &[-1, -1]),
        ];
        let mut outputs = vec![port("logits", Element::F32, &[-1, -1, 50])];
        for layer in 0..2 {
            for half in ["key", "value"] {
                inputs.push(port(&format!("past_key_values.{layer}.{half}"), Element::F32, &[-1, 3, -1, 8]));
                outputs.push(port(&format!("present.{layer}.{half}"), Element::F32, &[-1, 3, -1, 8]));
            }
        }
        (inputs, outputs)
    }

    #[test]
    fn the_common_layout_is_recognised() {
        let (inputs, outputs) = standard();
        let signature = Signature::read(Path::new("m.onnx"), &inputs, &outputs, None, None).unwrap();
        assert_eq!(signature.layout, Layout::Standard { attention_mask: true, position_ids: true });
        assert_eq!(signature.cache, Some(CacheShape { n_layers: 2, n_heads: 3, head_dim: 8 }));
        assert_eq!(signature.vocab_size, 50);
        assert_eq!(signature.cache.unwrap().bytes_per_token(), 2 * 2 * 24 * 4);
    }

    #[test]
    fn wrong_ports_are_named() {
        let (inputs, outputs) = standard();
        let read = |inputs: &[Port]| Signature::read(Path::new("m.onnx"), inputs, &outputs, None, None);
        let mut renamed = inputs.clone();
        renamed[0].name = "tokens".into();
        assert!(read(&renamed).unwrap_err().to_string().contains("`input_ids` is missing (there are tokens"));
        let mut narrow = inputs.clone();
        narrow[2].element = Element::Other;
        narrow[2].type_name = "int32".into();
        assert!(
            read(&narrow).unwrap_err().to_string().contains("`position_ids` is int32 [?, ?], expected int64 of rank 2")
        );
        let mut extra = inputs.clone();
        extra.push(port("use_cache_branch", Element::Other, &[1]));
        assert!(read(&extra).unwrap_err().to_string().contains("use_cache_branch"));
        let mut ragged = inputs;
        ragged[5].shape[1] = 4;
        assert!(read(&ragged).unwrap_err().to_string().contains("the same in every layer"));
    }
}
