//! What the folder of a sentence encoder says about its use, as sentence-transformers lays it out.

use std::path::{Component, Path, PathBuf};

use serde_json::Value;

use crate::engine::encoder::{EncoderSignature, Pooling};
use crate::error::{Error, Result};
use crate::model_folder::{ModelFolder, read_json, read_value};

/// How an encoder is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// How token states become one vector.
    pub pooling: Pooling,
    /// Whether texts are put into lower case before they are tokenised.
    pub lower_case: bool,
    /// Longest text, in tokens.
    pub max_tokens: Option<usize>,
    /// A text that sentence-transformers would put before every other unless told otherwise.
    pub default_prompt: Option<String>,
}

/// Modules that change nothing a cosine depends on, once tokens are pooled.
const KNOWN_MODULES: [&str; 3] = ["Transformer", "Pooling", "Normalize"];

impl ModelFolder {
    /// Recognises the folder of a sentence encoder by its graph; `None` for a language model's.
    ///
    /// # Errors
    /// As [`EncoderSignature::read`].
    pub fn encoder(&self) -> Result<Option<EncoderSignature>> {
        EncoderSignature::read(&self.graph, &crate::engine::graph_file::GraphPorts::read(&self.graph)?)
    }

    /// How its encoder is used: by `alike.json`, else by the files that sentence-transformers writes.
    ///
    /// # Errors
    /// [`Error::Missing`] when nothing says how tokens are pooled, [`Error::Format`] for a pooling or a module that is not
    /// understood.
    pub fn sentence(&self, encoder: &EncoderSignature) -> Result<Sentence> {
        let pooling_config = self.modules(encoder)?;
        let settings = read_json(&self.path.join("sentence_bert_config.json"))?.unwrap_or(Value::Null);
        let prompts = read_json(&self.path.join("config_sentence_transformers.json"))?.unwrap_or(Value::Null);
        let prompt = prompts["default_prompt_name"].as_str().and_then(|name| prompts["prompts"][name].as_str());
        let longest = settings["max_seq_length"].as_u64().and_then(|n| usize::try_from(n).ok());
        Ok(Sentence {
            pooling: match (encoder.pooled, &self.pooling) {
                (true, _) => Pooling::Graph,
                (false, Some(name)) => named(name, &self.path.join("alike.json"))?,
                (false, None) => read_pooling(&pooling_config)?,
            },
            lower_case: settings["do_lower_case"] == true,
            max_tokens: [longest, self.context_tokens].into_iter().flatten().min(),
            default_prompt: prompt.filter(|text| !text.is_empty()).map(str::to_owned),
        })
    }

    /// Checks the modules a text passes through, and says where the pooling's config is.
    fn modules(&self, encoder: &EncoderSignature) -> Result<PathBuf> {
        let path = self.path.join("modules.json");
        let wrong =
            |found: String, expected: &str| Err(Error::Format { path: path.clone(), found, expected: expected.into() });
        let mut pooling = "1_Pooling".to_owned();
        let modules = read_value(&path)?.unwrap_or(Value::Null);
        for module in modules.as_array().into_iter().flatten() {
            let kind = module["type"].as_str().unwrap_or_default();
            let kind = kind.rsplit('.').next().unwrap_or_default();
            if !KNOWN_MODULES.contains(&kind) && !encoder.pooled {
                let expected = "Transformer, Pooling and Normalize: what else makes the vectors must be in the graph, \
                                with `sentence_embedding` as its output";
                return wrong(format!("a module {kind:?}"), expected);
            }
            if kind == "Pooling" {
                pooling = module["path"].as_str().unwrap_or_default().to_owned();
            }
        }
        if pooling.is_empty() || !Path::new(&pooling).components().all(|part| matches!(part, Component::Normal(_))) {
            return wrong(format!("a pooling module in {pooling:?}"), "a folder in the model's own");
        }
        Ok(self.path.join(pooling).join("config.json"))
    }
}

fn read_pooling(path: &Path) -> Result<Pooling> {
    let Some(config) = read_json(path)? else {
        return Err(Error::Missing {
            what: "the encoder's pooling, which says how token states become one vector,",
            path: path.into(),
            hint: "take it from the place the model comes from, or write `\"pooling\": \"mean\"` or `\"cls\"` into alike.json"
                .into(),
        });
    };
    if let Some(name) = config["pooling_mode"].as_str() {
        return named(name, path);
    }
    let modes = config.as_object().into_iter().flatten().filter(|(_, on)| **on == true);
    let modes: Vec<&str> = modes.filter_map(|(name, _)| name.strip_prefix("pooling_mode_")).collect();
    match modes.as_slice() {
        ["mean_tokens"] => Ok(Pooling::Mean),
        ["cls_token"] => Ok(Pooling::Cls),
        others => named(&others.join(" + "), path),
    }
}

fn named(name: &str, path: &Path) -> Result<Pooling> {
    match name {
        "mean" => Ok(Pooling::Mean),
        "cls" => Ok(Pooling::Cls),
        _ => Err(Error::Format {
            path: path.into(),
            found: format!("pooling {name:?}"),
            expected: "mean or cls; any other must be in the graph, with `sentence_embedding` as its output".into(),
        }),
    }
}
