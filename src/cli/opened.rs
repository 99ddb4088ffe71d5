//! A language model's folder, ready to be asked.

use std::path::Path;

use alike::engine::LanguageModel;
use alike::engine::provider::Runtime;
use alike::engine::session::OnnxModel;
use alike::error::Error;
use alike::model_folder::ModelFolder;
use alike::prompts::chat_template::{ChatTemplate, TemplateOptions};
use alike::prompts::template::{Frame, Style, SystemText, Wording};
use alike::prompts::tokens::PromptTokenizer;
use alike::store::manifest::Fingerprint;
use anyhow::Context;

use crate::cli::Common;
use crate::cli::device::{Device, session_settings};

/// A language model's folder, opened: everything but the session, which is slow to start.
pub(crate) struct Opened {
    pub(crate) folder: ModelFolder,
    pub(crate) runtime: &'static Runtime,
    pub(crate) tokenizer: PromptTokenizer,
    pub(crate) style: Style,
}

/// Opens a model folder and puts its tokenizer into the frame of a wording.
pub(crate) fn open(model: &Path, style: Option<Style>, wording: &Wording, common: &Common) -> anyhow::Result<Opened> {
    let runtime = Runtime::load(common.ort.as_deref())?;
    let folder = ModelFolder::open(model)?;
    if folder.encoder()?.is_some() {
        return Err(Error::Signature {
            path: folder.graph,
            side: "output",
            name: "logits".into(),
            found: "missing, as in a sentence encoder".into(),
            expected: "a language model's; encoders answer triplets only, with `alike judge` or `alike run`".into(),
        }
        .into());
    }
    let (style, stated) = folder.style(style);
    if !stated {
        tracing::warn!(
            "{} does not say how it is spoken to; using `{style}`. Say --style chat, plain or base to be sure",
            model.display()
        );
    }
    let frame = Frame::new(style, wording, folder.chat_template.as_ref())?;
    if matches!(frame.system, SystemText::Folded | SystemText::Dropped) {
        tracing::warn!("{}: the system text is {}", model.display(), frame.system.describe());
    }
    let mut tokenizer = PromptTokenizer::new(&folder.tokenizer, frame, folder.eos)?;
    if let Some(start) = folder.decoder_start {
        tokenizer = tokenizer.for_decoder(start);
    }
    Ok(Opened { folder, runtime, tokenizer, style })
}

impl Opened {
    /// What the chat template was told beside the conversation, where there is one in use.
    pub(crate) fn template_settings(&self) -> TemplateOptions {
        let template = self.folder.chat_template.as_ref().filter(|_| self.style == Style::Chat);
        template.map(ChatTemplate::settings).unwrap_or_default()
    }

    /// Adds what the chat template was told, where it reads anything: what was made without is still recognised.
    pub(crate) fn with_template(&self, fingerprint: Fingerprint) -> Fingerprint {
        let settings = self.template_settings();
        if settings.is_empty() {
            return fingerprint;
        }
        fingerprint.with("template_settings", serde_json::json!(settings))
    }

    /// Starts the session.
    pub(crate) fn start(&self, device: &Device, common: &Common) -> anyhow::Result<OnnxModel> {
        let settings = session_settings(&self.folder, device, common);
        let model = OnnxModel::open(&self.folder.graph, self.runtime, &settings)
            .with_context(|| format!("opening the model in {}", self.folder.path.display()))?;
        if model.signature().encoder && self.folder.decoder_start.is_none() {
            let (path, found) = (self.folder.path.join("config.json"), "no `decoder_start_token_id`".into());
            return Err(Error::Format {
                path,
                found,
                expected: "what an encoder–decoder begins its answer with".into(),
            }
            .into());
        }
        // The config may be silent, the graph never is.
        self.tokenizer.check_vocabulary(model.info().vocab_size)?;
        Ok(model)
    }
}

/// Raised whenever the same inputs would give other bytes.
pub(crate) const SCORING_VERSION: u32 = 3;
