//! What a graph takes and gives, read off its inputs and outputs.

use std::path::Path;

use crate::engine::graph_file::{Element, GraphPorts, Port};
use crate::error::{Error, Result};
use crate::prompts::plan::Strategy;

/// How a graph takes the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PastInput {
    /// `past_tokens` names slots of a pool, which the graph gathers itself.
    Slots,
    /// Keys and values of every row, gathered by the host.
    Rows,
    /// `past_states` names the slots of a pool of states, which the graph gathers itself.
    States,
}

/// How a graph is told what a token sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaskInput {
    /// It is not: rows are chains.
    None,
    /// `[batch, past + seq]`, 1 for tokens that are not padding: rows are chains.
    Padding,
    /// `[batch, seq, past + seq]`: rows may branch.
    Seen,
}

/// What a graph gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scores {
    /// Log-probabilities of wanted tokens.
    LogProbs,
    /// Logits of all positions.
    Logits,
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
}

/// What the pool holds: a tensor `[slots, width]` for each of its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// The graph's inputs, in order.
    pub past: Vec<String>,
    /// Its outputs, in the same order.
    pub present: Vec<String>,
    /// f32 values of one slot of each.
    pub widths: Vec<usize>,
}

impl Pool {
    /// Keys and values of every layer, a token in a slot.
    fn of_tokens(shape: CacheShape) -> Self {
        let names = |side: &str| -> Vec<String> {
            let of_layer = |layer| ["key", "value"].map(|half| format!("{side}.{layer}.{half}"));
            (0..shape.n_layers).flat_map(of_layer).collect()
        };
        let widths = vec![shape.per_token(); 2 * shape.n_layers];
        Self { past: names("past_key_values"), present: names("present"), widths }
    }

    /// Bytes of one slot.
    pub fn slot_bytes(&self) -> usize {
        self.widths.iter().sum::<usize>() * size_of::<f32>()
    }
}

/// A graph that the engine can run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// Whether it has an encoder, which reads `input_ids`; the decoder then reads `decoder_input_ids`.
    pub encoder: bool,
    /// How it takes the past; `None` when it takes none.
    pub past: Option<PastInput>,
    /// How it is told what a token sees.
    pub mask: MaskInput,
    /// Whether there is a `position_ids` input.
    pub position_ids: bool,
    /// Name of the input that says how many positions, counted from the end, pass through the head; 0 is all.
    pub logits_to_keep: Option<&'static str>,
    /// What it gives back.
    pub scores: Scores,
    /// Shape of its keys and values, where it takes some.
    pub cache: Option<CacheShape>,
    /// What the pool holds, where it takes a past.
    pub pool: Option<Pool>,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Whether it holds `GroupQueryAttention` nodes.
    pub grouped_query_op: bool,
    /// Whether it counts places, as sliding windows and ALiBi do: the number of keys then says something.
    pub counts_places: bool,
}

/// What the model's config states, for graphs whose shapes are all symbolic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stated {
    /// Shape of the cache.
    pub cache: Option<CacheShape>,
    /// Size of the vocabulary.
    pub vocab_size: Option<usize>,
}

impl Signature {
    /// Recognises a graph by its ports and operators.
    ///
    /// # Errors
    /// [`Error::Signature`] naming the first input or output that is missing, unknown or of another type.
    pub fn read(path: &Path, graph: &GraphPorts, stated: Stated) -> Result<Self> {
        let reader = Reader::new(path, graph);
        let has = |name: &str| graph.inputs.iter().any(|p| p.name == name);
        reader.input("input_ids", Element::I64, 2)?;
        let encoder = has("decoder_input_ids");
        if encoder {
            reader.input("decoder_input_ids", Element::I64, 2)?;
        }
        let position_ids = has("position_ids");
        if position_ids {
            reader.input("position_ids", Element::I64, 2)?;
        }
        let mask = match graph.inputs.iter().find(|p| p.name == "attention_mask").map(|p| p.element) {
            None => MaskInput::None,
            Some(Element::Bool) => reader.input("attention_mask", Element::Bool, 3).map(|_| MaskInput::Seen)?,
            Some(_) => reader.input("attention_mask", Element::I64, 2).map(|_| MaskInput::Padding)?,
        };
        if mask == MaskInput::Seen && !position_ids {
            return Err(reader.wrong("input", "position_ids", "missing", "int64 of rank 2, because rows may branch"));
        }
        let scores = if has("scored") || has("wanted") {
            reader.input("scored", Element::I64, 2)?;
            reader.input("wanted", Element::I64, 2)?;
            reader.output("log_probs", Element::F32, 1)?;
            reader.output("top_ids", Element::I64, 1)?;
            reader.output("top_log_probs", Element::F32, 1)?;
            Scores::LogProbs
        } else {
            Scores::Logits
        };
        let logits = reader.output("logits", Element::F32, if scores == Scores::LogProbs { 2 } else { 3 })?;
        let vocab_size = logits.shape.last().copied().and_then(|d| usize::try_from(d).ok()).or(stated.vocab_size);
        let vocab_size = vocab_size
            .ok_or_else(|| reader.wrong("output", "logits", &logits.described(), "a fixed vocabulary size"))?;

        if encoder && (scores, mask) != (Scores::LogProbs, MaskInput::Seen) {
            let expected = "the scoring layout, with `scored`, `wanted` and a bool `attention_mask` for the decoder";
            return Err(reader.wrong("input", "decoder_input_ids", "of an encoder–decoder", expected));
        }
        let (past, cache) = if has("past_states") {
            reader.input("past_states", Element::I64, 1)?;
            (Some(PastInput::States), None)
        } else if has("past_tokens") {
            reader.input("past_tokens", Element::I64, 2)?;
            let cache = reader.cache(2, 3, None)?;
            let missing = || reader.wrong("input", "past_key_values.0.key", "missing", "a pool of keys and values");
            (Some(PastInput::Slots), Some(cache.ok_or_else(missing)?))
        } else {
            let cache = reader.cache(4, 4, stated.cache)?;
            (cache.map(|_| PastInput::Rows), cache)
        };
        let logits_to_keep = ["num_logits_to_keep", "logits_to_keep"].into_iter().find(|name| has(name));
        if let Some(name) = logits_to_keep {
            reader.input(name, Element::I64, 0)?;
        }
        let pool = match past {
            Some(PastInput::States) => Some(reader.states()?),
            _ => cache.map(Pool::of_tokens),
        };
        const KNOWN: [&str; 8] = [
            "input_ids",
            "decoder_input_ids",
            "attention_mask",
            "position_ids",
            "past_tokens",
            "past_states",
            "scored",
            "wanted",
        ];
        let of_pool = |name: &str| pool.as_ref().is_some_and(|pool| pool.past.iter().any(|past| past == name));
        let known = |name: &str| KNOWN.contains(&name) || of_pool(name) || logits_to_keep == Some(name);
        reader.refuse_others(known)?;
        let grouped_query_op = graph.operators.contains("GroupQueryAttention");
        let counts_places = ["Range", "CumSum"].iter().any(|operator| graph.operators.contains(*operator));
        Ok(Self {
            encoder,
            past,
            mask,
            position_ids,
            logits_to_keep,
            scores,
            cache,
            pool,
            vocab_size,
            grouped_query_op,
            counts_places,
        })
    }

    /// How prefixes are shared.
    pub fn strategy(&self) -> Strategy {
        match (self.past, self.mask) {
            (None, _) if self.encoder => Strategy::EncoderOnce,
            (None, _) => Strategy::None,
            (Some(PastInput::States), _) => Strategy::State,
            (Some(_), _) if self.grouped_query_op => Strategy::Step,
            (Some(_), MaskInput::Seen) => Strategy::Tree,
            (Some(_), _) => Strategy::SharedPast,
        }
    }

    /// Why, in one sentence.
    pub fn reason(&self) -> &'static str {
        match self.strategy() {
            Strategy::Tree => {
                "the graph takes a mask for every new token, so a row holds a question with all its options"
            }
            Strategy::SharedPast => {
                "the graph takes `past_key_values` with standard attention, so rows continue shared prefixes"
            }
            Strategy::Step => {
                "`GroupQueryAttention` takes several tokens only in a single row, so rows continue shared prefixes token by token (`python -m export optimize` replaces it)"
            }
            Strategy::State => "the graph takes the state of a prefix, so rows continue the states of shared prefixes",
            Strategy::EncoderOnce => {
                "the encoder reads whole prompts, so each is read once, and the decoder branches into all options"
            }
            Strategy::None => "the graph takes no `past_key_values`: every prompt is computed whole",
        }
    }
}

/// Looks ports up and complains about them.
pub(super) struct Reader<'a> {
    path: &'a Path,
    inputs: &'a [Port],
    outputs: &'a [Port],
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a Path, graph: &'a GraphPorts) -> Self {
        Self { path, inputs: &graph.inputs, outputs: &graph.outputs }
    }

    /// Refuses an input that is not known.
    pub(super) fn refuse_others(&self, known: impl Fn(&str) -> bool) -> Result<()> {
        let expected = "no such input: the engine would not know what to feed";
        match self.inputs.iter().find(|port| !known(&port.name)) {
            Some(port) => Err(self.wrong("input", &port.name, &port.described(), expected)),
            None => Ok(()),
        }
    }

    fn wrong(&self, side: &'static str, name: &str, found: &str, expected: &str) -> Error {
        let (path, name) = (self.path.into(), name.to_owned());
        Error::Signature { path, side, name, found: found.into(), expected: expected.into() }
    }

    fn port(&self, side: &'static str, name: &str, element: Element, rank: usize) -> Result<&Port> {
        let ports = if side == "input" { self.inputs } else { self.outputs };
        let kind = match element {
            Element::I64 => "int64",
            Element::F32 => "float32",
            Element::Bool => "bool",
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

    pub(super) fn input(&self, name: &str, element: Element, rank: usize) -> Result<&Port> {
        self.port("input", name, element, rank)
    }

    pub(super) fn output(&self, name: &str, element: Element, rank: usize) -> Result<&Port> {
        self.port("output", name, element, rank)
    }

    /// The pool of states by its inputs, `[slots, width]` each.
    fn states(&self) -> Result<Pool> {
        let mut pool = Pool { past: Vec::new(), present: Vec::new(), widths: Vec::new() };
        for port in self.inputs.iter().filter(|port| port.name.starts_with("past_state.")) {
            self.input(&port.name, Element::F32, 2)?;
            let width = usize::try_from(port.shape[1]).ok();
            let expected = "float32 [slots, width] with a fixed width";
            let width = width.ok_or_else(|| self.wrong("input", &port.name, &port.described(), expected))?;
            let present = port.name.replacen("past_", "present_", 1);
            self.output(&present, Element::F32, 2)?;
            pool.past.push(port.name.clone());
            pool.present.push(present);
            pool.widths.push(width);
        }
        if pool.past.is_empty() {
            return Err(self.wrong("input", "past_state.0", "missing", "a pool of states"));
        }
        Ok(pool)
    }

    /// The cache by its inputs, of rank 4 `[rows, heads, past, head_dim]` or of rank 2 `[slots, heads · head_dim]`.
    fn cache(&self, rank: usize, present_rank: usize, fallback: Option<CacheShape>) -> Result<Option<CacheShape>> {
        let n_layers =
            self.inputs.iter().filter(|p| p.name.starts_with("past_key_values.") && p.name.ends_with(".key")).count();
        let mut shape = None;
        for layer in 0..n_layers {
            for half in ["key", "value"] {
                let port = self.input(&format!("past_key_values.{layer}.{half}"), Element::F32, rank)?;
                self.output(&format!("present.{layer}.{half}"), Element::F32, present_rank)?;
                let fixed = |at: usize, known: Option<usize>| usize::try_from(port.shape[at]).ok().or(known);
                let of_layer = match rank {
                    2 => fixed(1, None).map(|width| (1, width)),
                    _ => fixed(1, fallback.map(|f| f.n_heads)).zip(fixed(3, fallback.map(|f| f.head_dim))),
                };
                match (of_layer, shape) {
                    (Some(now), None) => shape = Some(now),
                    (Some(now), Some(before)) if now == before => {}
                    _ => {
                        let dims =
                            if rank == 2 { "[slots, heads · head_dim]" } else { "[rows, heads, past, head_dim]" };
                        let expected = format!("float32 {dims} with fixed heads and head_dim, the same in every layer");
                        return Err(self.wrong("input", &port.name, &port.described(), &expected));
                    }
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

    fn standard() -> GraphPorts {
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
        GraphPorts { inputs, outputs, ..GraphPorts::default() }
    }

    fn read(graph: &GraphPorts) -> Result<Signature> {
        Signature::read(Path::new("m.onnx"), graph, Stated::default())
    }

    #[test]
    fn the_common_layout_is_recognised() {
        let mut graph = standard();
        let signature = read(&graph).unwrap();
        assert_eq!((signature.past, signature.mask), (Some(PastInput::Rows), MaskInput::Padding));
        assert_eq!(signature.cache, Some(CacheShape { n_layers: 2, n_heads: 3, head_dim: 8 }));
        assert_eq!((signature.vocab_size, signature.strategy()), (50, Strategy::SharedPast));
        assert_eq!(signature.pool.unwrap().slot_bytes(), 2 * 2 * 24 * 4);
        graph.operators.insert("GroupQueryAttention".into());
        assert_eq!(read(&graph).unwrap().strategy(), Strategy::Step);
        graph.inputs.truncate(3);
        assert_eq!(read(&graph).unwrap().strategy(), Strategy::None);
    }

    #[test]
    fn states_and_encoders_are_recognised() {
        let results = || {
            let ids = port("top_ids", Element::I64, &[-1]);
            let log_probs = ["log_probs", "top_log_probs"].map(|name| port(name, Element::F32, &[-1]));
            let logits = port("logits", Element::F32, &[-1, 50]);
            [vec![logits, ids], log_probs.to_vec()].concat()
        };
        let ints = |names: &[&str]| names.iter().map(|name| port(name, Element::I64, &[-1, -1])).collect::<Vec<_>>();
        let mut inputs = ints(&["input_ids", "scored", "wanted"]);
        let mut outputs = results();
        inputs.push(port("past_states", Element::I64, &[-1]));
        for (name, width) in [("0.conv", 12), ("0.ssm", 32)] {
            inputs.push(port(&format!("past_state.{name}"), Element::F32, &[-1, width]));
            outputs.push(port(&format!("present_state.{name}"), Element::F32, &[-1, width]));
        }
        let mut graph = GraphPorts { inputs, outputs, ..GraphPorts::default() };
        let signature = read(&graph).unwrap();
        assert_eq!((signature.strategy(), signature.cache), (Strategy::State, None));
        let pool = signature.pool.unwrap();
        assert_eq!((pool.slot_bytes(), &*pool.present[1]), (4 * 44, "present_state.0.ssm"));
        graph.inputs.last_mut().unwrap().shape[1] = -1;
        assert!(read(&graph).unwrap_err().to_string().contains("a fixed width"));

        let mut inputs = ints(&["input_ids", "decoder_input_ids", "position_ids", "scored", "wanted"]);
        inputs.push(port("attention_mask", Element::Bool, &[-1, -1, -1]));
        let graph = GraphPorts { inputs, outputs: results(), ..GraphPorts::default() };
        let signature = read(&graph).unwrap();
        assert_eq!((signature.strategy(), signature.pool), (Strategy::EncoderOnce, None));
    }

    #[test]
    fn wrong_ports_are_named() {
        let message = |change: fn(&mut Vec<Port>)| {
            let mut graph = standard();
            change(&mut graph.inputs);
            read(&graph).unwrap_err().to_string()
        };
        assert!(
            message(|inputs| inputs[0].name = "tokens".into()).contains("`input_ids` is missing (there are tokens")
        );
        let narrow = message(|inputs| {
            inputs[2].element = Element::Other;
            inputs[2].type_name = "int32".into();
        });
        assert!(narrow.contains("`position_ids` is int32 [?, ?], expected int64 of rank 2"));
        let extra = message(|inputs| inputs.push(port("use_cache_branch", Element::Other, &[1])));
        assert!(extra.contains("use_cache_branch"));
        let decoder = message(|inputs| inputs.push(port("decoder_input_ids", Element::I64, &[-1, -1])));
        assert!(decoder.contains("`decoder_input_ids` is of an encoder–decoder, expected the scoring layout"));
        assert!(message(|inputs| inputs[5].shape[1] = 4).contains("the same in every layer"));
    }
}
