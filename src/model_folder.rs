//! A model on disk: the graph, its tokenizer, its chat template and what its config says.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::engine::graph_file::GraphPorts;
use crate::engine::signature::{CacheShape, Stated};
use crate::error::{Error, Result};
use crate::generation::settings::ModelGeneration;
use crate::prompts::chat_template::{ChatTemplate, TemplateOptions};
use crate::prompts::template::Style;
use crate::prompts::tokens::TokenId;

/// What a model folder says about its model. Nothing in it is executed.
#[derive(Debug)]
pub struct ModelFolder {
    /// The folder.
    pub path: PathBuf,
    /// The ONNX graph.
    pub graph: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// The style that `alike.json` states.
    pub style: Option<Style>,
    /// The chat template, where there is one.
    pub chat_template: Option<ChatTemplate>,
    /// Text of the chat template, for the fingerprint.
    pub chat_template_text: Option<String>,
    /// The end-of-sequence token.
    pub eos: Option<TokenId>,
    /// The token that the decoder of an encoder–decoder begins with.
    pub decoder_start: Option<TokenId>,
    /// How the model answers when it is left free.
    pub generation: ModelGeneration,
    /// Special tokens that `tokenizer_config.json` names, as (`bos_token`, its text).
    pub special_tokens: Vec<(String, String)>,
    /// Precision of the export; "unknown" for a folder without `alike.json`.
    pub precision: String,
    /// What the config states of the graph's shapes.
    pub stated: Stated,
    /// Arithmetic by the config's dimensions.
    pub flops: Option<Flops>,
    /// Longest sequence by the config.
    pub context_tokens: Option<usize>,
    /// sha256 that `alike.json` states for each file.
    checksums: BTreeMap<String, String>,
}

/// Floating-point operations of a dense decoder's matrix products; attention itself is below one in a hundred here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Flops {
    /// Of one token through all layers.
    pub per_token: f64,
    /// Of one position through the head.
    pub per_scored: f64,
}

/// Larger JSON files than this are refused unread; real ones are below 40 MB.
const MAX_JSON_BYTES: u64 = 200 << 20;

impl ModelFolder {
    /// Reads a folder with `model.onnx` (or `onnx/model.onnx`, or what `genai_config.json` names) and `tokenizer.json`; or
    /// the folder of a graph that is named itself, such as `DIR/onnx/model_q4.onnx`.
    ///
    /// # Errors
    /// [`Error::Missing`] and [`Error::Format`] naming the file; [`Error::Template`] for a template that does not compile.
    pub fn open(path: &Path) -> Result<Self> {
        let (root, graph) = if path.is_file() {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let inner = folder.ends_with("onnx") && !folder.join("tokenizer.json").is_file();
            (if inner { folder.parent().unwrap_or(folder) } else { folder }, Some(path.to_owned()))
        } else {
            (path, None)
        };
        Self::open_root(root, graph)
    }

    fn open_root(path: &Path, graph: Option<PathBuf>) -> Result<Self> {
        let missing = |what: &'static str, path: PathBuf, hint: &str| Error::Missing { what, path, hint: hint.into() };
        if !path.is_dir() {
            return Err(missing("the model folder", path.into(), HINT));
        }
        let genai = read_json(&path.join("genai_config.json"))?.unwrap_or(Value::Null);
        let decoder = &genai["model"]["decoder"];
        let usual = ["model.onnx", "onnx/model.onnx", decoder["filename"].as_str().unwrap_or("model.onnx")];
        let usual = || usual.map(|name| path.join(name)).into_iter().find(|p| p.is_file());
        let graph = match graph.or_else(usual) {
            Some(graph) => graph,
            None => return Err(missing("the model graph", path.join("model.onnx"), &hint_of_graphs(path)?)),
        };
        let tokenizer = path.join("tokenizer.json");
        if !tokenizer.is_file() {
            return Err(missing("the tokenizer", tokenizer, HINT));
        }

        let tokenizer_config = read_json(&path.join("tokenizer_config.json"))?.unwrap_or(Value::Null);
        let generation = read_json(&path.join("generation_config.json"))?.unwrap_or(Value::Null);
        let config = read_json(&path.join("config.json"))?.unwrap_or(Value::Null);
        let alike = read_json(&path.join("alike.json"))?.unwrap_or(Value::Null);

        let special_tokens: Vec<(String, String)> = ["bos_token", "eos_token", "unk_token", "pad_token"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), token_text(&tokenizer_config[name])?)))
            .collect();
        let template_file = path.join("chat_template.jinja");
        let (template_path, chat_template_text) = if template_file.is_file() {
            let text = fs_err::read_to_string(&template_file)?;
            (template_file, Some(text))
        } else {
            (path.join("tokenizer_config.json"), template_text(&tokenizer_config["chat_template"]))
        };
        let options = template_options(&path.join("alike.json"), &alike, chat_template_text.is_some())?;
        let chat_template = chat_template_text
            .as_deref()
            .map(|text| ChatTemplate::new(text, &template_path, special_tokens.clone(), options))
            .transpose()?;

        let eos = [&generation["eos_token_id"], &config["eos_token_id"]].into_iter().find_map(first_id);
        let starts = [&generation["decoder_start_token_id"], &config["decoder_start_token_id"]];
        let decoder_start = starts.into_iter().find_map(first_id).filter(|_| config["is_encoder_decoder"] == true);
        let style = alike["style"].as_str().map(str::parse).transpose()?;
        let number = |name: &str| config[name].as_u64().and_then(|n| usize::try_from(n).ok());
        let n_heads = number("num_key_value_heads").or(number("num_attention_heads"));
        let head_dim = number("head_dim")
            .or_else(|| Some(number("hidden_size")? / number("num_attention_heads").filter(|heads| *heads > 0)?));
        let cache = number("num_hidden_layers").zip(n_heads).zip(head_dim);
        let cache = cache.map(|((n_layers, n_heads), head_dim)| CacheShape { n_layers, n_heads, head_dim });
        let of_genai = |name: &str| decoder[name].as_u64().and_then(|n| usize::try_from(n).ok());
        let of_genai = of_genai("num_hidden_layers").zip(of_genai("num_key_value_heads")).zip(of_genai("head_size"));
        let of_genai = of_genai.map(|((n_layers, n_heads), head_dim)| CacheShape { n_layers, n_heads, head_dim });
        let checksums = alike["files"].as_object().into_iter().flatten();
        Ok(Self {
            style,
            chat_template,
            chat_template_text,
            eos,
            decoder_start,
            generation: ModelGeneration::read(&generation),
            special_tokens,
            precision: alike["precision"].as_str().unwrap_or("unknown").to_owned(),
            stated: Stated { cache: cache.or(of_genai), vocab_size: number("vocab_size") },
            flops: cache.and_then(|cache| flops(&config, cache)),
            context_tokens: number("max_position_embeddings"),
            checksums: checksums.filter_map(|(name, sha)| Some((name.clone(), sha.as_str()?.to_owned()))).collect(),
            path: path.into(),
            graph,
            tokenizer,
        })
    }

    /// The style to use: the one asked for, or the folder's, or chat where there is a template, else base.
    /// The second value is false when nobody stated it.
    pub fn style(&self, asked: Option<Style>) -> (Style, bool) {
        match asked.or(self.style) {
            Some(style) => (style, true),
            None if self.chat_template.is_some() => (Style::Chat, false),
            None => (Style::Base, false),
        }
    }

    /// sha256 of the graph with its external data, of the tokenizer, and of the template text.
    ///
    /// # Errors
    /// [`Error::Format`] when `alike.json` states another checksum: the file is damaged or was replaced.
    pub fn digests(&self) -> Result<BTreeMap<String, String>> {
        let mut files = vec![self.graph.clone()];
        files.extend(GraphPorts::read(&self.graph)?.weights(&self.graph)?);
        files.push(self.tokenizer.clone());
        let mut digests = BTreeMap::new();
        for file in files {
            let digest = file_digest(&file)?;
            let name = file.strip_prefix(&self.path).unwrap_or(&file).to_string_lossy().into_owned();
            if let Some(stated) = self.checksums.get(&name)
                && *stated != digest
            {
                return Err(Error::Format {
                    path: file,
                    found: format!("sha256 {digest}"),
                    expected: format!("{stated} as alike.json states: the file is damaged or was replaced"),
                });
            }
            digests.insert(name, digest);
        }
        if let Some(text) = &self.chat_template_text {
            digests.insert("chat_template".into(), crate::hex(&Sha256::digest(text.as_bytes())));
        }
        Ok(digests)
    }
}

const HINT: &str = "give the folder that holds model.onnx and tokenizer.json; `make setup` builds the demo's";

/// What to do in a folder without a graph by one of the usual names.
fn hint_of_graphs(path: &Path) -> Result<String> {
    if path.join("encoder_model.onnx").is_file() {
        let hint =
            "an encoder–decoder in several files is not understood; export it from its checkpoint: `make export`";
        return Ok(hint.to_owned());
    }
    let mut graphs = Vec::new();
    for folder in [path.to_owned(), path.join("onnx")].iter().filter(|folder| folder.is_dir()) {
        for entry in fs_err::read_dir(folder)? {
            graphs.push(entry?.path());
        }
    }
    graphs.retain(|file| file.extension().is_some_and(|ending| ending == "onnx"));
    graphs.sort();
    let graphs: Vec<String> = graphs.iter().map(|file| file.display().to_string()).collect();
    Ok(if graphs.is_empty() { HINT.to_owned() } else { format!("name one of its graphs: {}", graphs.join(", ")) })
}

/// sha256 of a file, as hexadecimal text.
///
/// # Errors
/// [`Error::Io`].
pub fn file_digest(path: &Path) -> Result<String> {
    let mut file = fs_err::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(crate::hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

/// Two operations for each weight: query and output, key and value, the MLP (gated unless its activation is a plain one).
fn flops(config: &Value, cache: CacheShape) -> Option<Flops> {
    let number = |name: &str| config[name].as_f64();
    let hidden = number("hidden_size")?;
    let attention = number("num_attention_heads")? * cache.head_dim as f64;
    let plain = config["hidden_act"].as_str().is_some_and(|act| act.starts_with("gelu") || act == "relu");
    let mlp = if plain { 2.0 } else { 3.0 } * number("intermediate_size")?;
    let of_layer = 2.0 * hidden * (2.0 * attention + 2.0 * cache.per_token() as f64 + mlp);
    Some(Flops { per_token: cache.n_layers as f64 * of_layer, per_scored: 2.0 * hidden * number("vocab_size")? })
}

fn read_json(path: &Path) -> Result<Option<Value>> {
    if !path.is_file() {
        return Ok(None);
    }
    let fault = |found: String| Error::Format { path: path.into(), found, expected: "a JSON object".into() };
    let bytes = fs_err::metadata(path)?.len();
    if bytes > MAX_JSON_BYTES {
        return Err(fault(format!("{bytes} bytes")));
    }
    let value: Value = serde_json::from_slice(&fs_err::read(path)?).map_err(|e| fault(e.to_string()))?;
    if value.is_object() { Ok(Some(value)) } else { Err(fault("another kind of value".into())) }
}

/// A token is written as text or as an object with `content`.
fn token_text(value: &Value) -> Option<String> {
    value.as_str().or_else(|| value["content"].as_str()).map(str::to_owned)
}

/// A template is a text, or a list of named ones of which `default` counts.
fn template_text(value: &Value) -> Option<String> {
    if let Some(text) = value.as_str() {
        return Some(text.to_owned());
    }
    let default = value.as_array()?.iter().find(|t| t["name"] == "default")?;
    default["template"].as_str().map(str::to_owned)
}

/// What `alike.json` sets of the variables that a chat template reads: `"template_options": {"enable_thinking": false}`.
fn template_options(path: &Path, alike: &Value, has_template: bool) -> Result<TemplateOptions> {
    let stated = &alike["template_options"];
    if stated.is_null() {
        return Ok(TemplateOptions::new());
    }
    let fault = |found: String, expected: &str| Error::Format { path: path.into(), found, expected: expected.into() };
    let options = stated.as_object().ok_or_else(|| fault(format!("`template_options` {stated}"), "an object"))?;
    if !has_template {
        return Err(fault("`template_options`".into(), "none, as the folder has no chat template"));
    }
    Ok(options.clone().into_iter().collect())
}

fn first_id(value: &Value) -> Option<TokenId> {
    let id = value.as_u64().or_else(|| value.as_array()?.first()?.as_u64())?;
    TokenId::try_from(id).ok()
}
