//! The tokens of a prompt and its options.

mod continued;
mod text;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::error::{Error, Result};
use crate::guard::guarded;
use crate::prompts::template::Frame;

pub use text::{TextTokenizer, TextTokens};

/// A token id.
pub type TokenId = u32;

/// Whether the closing token counts as the last token of an option.
///
/// Open, an option's log-probability is that of "the answer starts with this"; closed, of "the answer is exactly this".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Close {
    /// Both options of a triplet, when one's tokens begin the other's ("baseball", "baseball glove").
    #[default]
    Auto,
    /// Every option.
    Always,
    /// No option.
    Never,
}

impl Close {
    /// Its name in files and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

/// A prompt to be continued, as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptTokens {
    /// Its ids; for an encoder–decoder those that the encoder reads, then the decoder's start token.
    pub tokens: Vec<TokenId>,
    /// The first of them that an encoder reads; 0 for a model without one.
    pub source_len: usize,
}

impl From<Vec<TokenId>> for PromptTokens {
    fn from(tokens: Vec<TokenId>) -> Self {
        Self { tokens, source_len: 0 }
    }
}

/// One prompt with the options that may follow it, as token ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Ids up to where the options part.
    pub prompt: Vec<TokenId>,
    /// The first of them that an encoder reads; 0 for a model without one.
    pub source_len: usize,
    /// Ids of each option as written, never empty; followed by the closing token when `closed`.
    pub options: Vec<Vec<TokenId>>,
    /// Whether the closing token is scored after each option.
    pub closed: bool,
}

impl Question {
    /// Number of tokens of an option as written, without the closing one.
    pub fn n_tokens(&self, option: usize) -> usize {
        self.options[option].len() - usize::from(self.closed)
    }

    /// Tokens of the prompt and its longest option: what the model's context must hold.
    pub fn longest(&self) -> usize {
        self.prompt.len() + self.options.iter().map(Vec::len).max().unwrap_or(0)
    }
}

/// A model's tokenizer within a [`Frame`].
#[derive(Debug)]
pub struct PromptTokenizer {
    tokenizer: Tokenizer,
    /// The same tokenizer, to which `<|im_end|>` is just ten characters: for text that is data.
    literal: Tokenizer,
    special: Vec<String>,
    frame: Frame,
    prefix: Vec<TokenId>,
    closing: TokenId,
    /// Where the decoder of an encoder–decoder begins.
    decoder_start: Option<TokenId>,
    path: PathBuf,
    pieces: Option<Pieces>,
}

/// A frame cut at its own special tokens, where a tokenizer cuts its input anyway: the question and the answer are then
/// encoded apart, and all that is fixed once.
#[derive(Debug)]
struct Pieces {
    /// Ids before the text around the question.
    head: Vec<TokenId>,
    /// Text right before and after the question.
    around: [String; 2],
    /// Ids between that and the text before the answer.
    middle: Vec<TokenId>,
    /// Text before the answer.
    tail: String,
}

impl PromptTokenizer {
    /// Reads `tokenizer.json`. `eos` closes an answer where the frame has no closing text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for an unreadable file or no closing token.
    pub fn new(path: &Path, frame: Frame, eos: Option<TokenId>) -> Result<Self> {
        let fault = |message: String| Error::Tokenizer { path: path.into(), message };
        let tokenizer = load(path)?;
        let mut literal = tokenizer.clone();
        literal.set_encode_special_tokens(true);
        let special =
            tokenizer.get_added_tokens_decoder().into_values().filter(|t| t.special).map(|t| t.content).collect();

        let mut this = Self {
            tokenizer,
            literal,
            special,
            frame,
            prefix: Vec::new(),
            closing: 0,
            decoder_start: None,
            path: path.into(),
            pieces: None,
        };
        if this.frame.add_special_tokens {
            // What the post-processor puts before a text (BOS); what it puts after would end a prompt too early.
            let with = this.encode(&this.tokenizer, "a", true)?;
            let without = this.encode(&this.tokenizer, "a", false)?;
            let start = with.windows(without.len()).position(|window| window == without).unwrap_or(0);
            this.prefix = with[..start].to_vec();
        }
        // White space before the closing token is layout (Llama 2): an answer ends without it.
        let closing = match this.frame.closing.trim_start() {
            "" => eos,
            text => this.encode(&this.tokenizer, text, false)?.first().copied(),
        };
        this.closing = closing.ok_or_else(|| fault("no token closes an answer: eos_token is not set".into()))?;
        this.pieces = this.cut()?;
        Ok(this)
    }

    /// The same for an encoder–decoder: the prompt goes to the encoder, as the post-processor ends it, and an option is what
    /// the decoder says after its start token, with nothing between.
    #[must_use]
    pub fn for_decoder(self, decoder_start: TokenId) -> Self {
        let frame = Frame { delimiter: String::new(), ..self.frame };
        Self { decoder_start: Some(decoder_start), frame, pieces: None, ..self }
    }

    /// The frame in pieces, if encoding piece by piece gives what encoding the whole gives.
    fn cut(&self) -> Result<Option<Pieces>> {
        let Frame { before, after, .. } = &self.frame;
        let (head, lead) = before.split_at(self.last_special_end(before));
        let (follow, rest) = after.split_at(self.first_special_start(after));
        let (middle, tail) = rest.split_at(self.last_special_end(rest));
        if middle.is_empty() {
            return Ok(None);
        }
        let pieces = Pieces {
            head: self.encode(&self.tokenizer, head, false)?,
            around: [lead, follow].map(str::to_owned),
            middle: self.encode(&self.tokenizer, middle, false)?,
            tail: tail.to_owned(),
        };
        // Some tokens swallow spaces beside them, some tokenizers mark the start of a text: whatever they do, they do it to
        // one of these.
        for text in ["bear: a cat or 3 dogs?", " space", "\nline", "Émile", "42 ", "  "] {
            for option in [None, Some("cat"), Some(" cat"), Some("Ice cream"), Some("7"), Some("é")] {
                let start = self.start(&pieces, text, &self.tokenizer)?;
                let whole = self.whole(text, &self.answer(option))?;
                if [start, self.encode(&self.tokenizer, &format!("{}{}", pieces.tail, self.answer(option)), false)?]
                    .concat()
                    != whole
                {
                    return Ok(None);
                }
            }
        }
        Ok(Some(pieces))
    }

    /// Checks that every token of this tokenizer has a row in a model's vocabulary.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when ids go beyond it: the tokenizer belongs to another model.
    pub fn check_vocabulary(&self, vocab_size: usize) -> Result<()> {
        check_vocabulary(&self.tokenizer, &self.path, vocab_size)
    }

    /// The token that closes an answer.
    pub fn closing(&self) -> TokenId {
        self.closing
    }

    /// The id of a token by its written form.
    pub fn id(&self, token: &str) -> Option<TokenId> {
        self.tokenizer.token_to_id(token)
    }

    /// The frame around every question.
    pub fn frame(&self) -> &Frame {
        &self.frame
    }

    /// The written form of a token; ids without one as `<id>`.
    pub fn text(&self, id: TokenId) -> String {
        // `decode` of a single id drops the word-boundary mark of some tokenizers, which matters to no reader of a column.
        guarded(&self.path, TOKENIZER, || Ok(self.tokenizer.decode(&[id], false).ok()))
            .ok()
            .flatten()
            .filter(|text| !text.is_empty())
            .or_else(|| self.tokenizer.id_to_token(id))
            .unwrap_or_else(|| format!("<{id}>"))
    }

    /// The text of several tokens together, special tokens left out.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[TokenId]) -> Result<String> {
        let fault = |message: String| Error::Tokenizer { path: self.path.clone(), message };
        guarded(&self.path, TOKENIZER, || {
            self.tokenizer.decode(ids, true).map_err(|e| fault(format!("cannot decode {} tokens: {e}", ids.len())))
        })
    }

    /// Tokenises a question text up to where a free answer begins.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when tokenisation fails, or gives nothing that an answer could follow.
    pub fn prompt(&self, text: &str) -> Result<PromptTokens> {
        let (tokens, _) = self.framed(text, &[])?;
        if tokens.is_empty() {
            let message = format!("{text:?} has no tokens that an answer could follow");
            return Err(Error::Tokenizer { path: self.path.clone(), message });
        }
        Ok(PromptTokens { source_len: self.source_len(tokens.len()), tokens })
    }

    /// How much of a prompt an encoder reads: all but the decoder's start token.
    fn source_len(&self, prompt_len: usize) -> usize {
        if self.decoder_start.is_some() { prompt_len - 1 } else { 0 }
    }

    /// Tokenises a question text with its options jointly, and splits them at the first token that differs.
    ///
    /// # Errors
    /// [`Error::EmptyOption`] when an option has no token of its own, [`Error::Tokenizer`] when tokenisation fails.
    pub fn question(&self, text: &str, options: &[&str], close: Close) -> Result<Question> {
        let (alone, joint) = self.framed(text, options)?;
        self.split(&format!("{text}{}", self.frame.after), &alone, &joint, options, close)
    }

    /// Splits a text and its continuations, tokenised alone and jointly, where they part.
    fn split(
        &self,
        text: &str,
        alone: &[TokenId],
        joint: &[Vec<TokenId>],
        options: &[&str],
        close: Close,
    ) -> Result<Question> {
        // Where an option merges with the prompt's last characters, all options of the question back off together.
        let cut = joint.iter().map(|ids| common_prefix(alone, ids)).min().unwrap_or(alone.len());
        if cut == 0 {
            return Err(Error::Tokenizer {
                path: self.path.clone(),
                message: format!("no token of {text:?} stays before an option"),
            });
        }
        for (option, ids) in options.iter().zip(joint) {
            if ids.len() == cut {
                let tail: String = text.chars().rev().take(24).collect::<Vec<_>>().into_iter().rev().collect();
                return Err(Error::EmptyOption { option: (*option).to_owned(), prompt_end: tail });
            }
        }
        let mut options: Vec<Vec<TokenId>> = joint.iter().map(|ids| ids[cut..].to_vec()).collect();
        let begins = |a: usize, b: usize| a != b && options[b].starts_with(&options[a]);
        let overlap = (0..options.len()).any(|a| (0..options.len()).any(|b| begins(a, b)));
        let closed = match close {
            Close::Auto => overlap,
            Close::Always => true,
            Close::Never => false,
        };
        if closed {
            options.iter_mut().for_each(|ids| ids.push(self.closing));
        }
        Ok(Question { prompt: alone[..cut].to_vec(), source_len: self.source_len(cut), options, closed })
    }

    /// Ids of the prompt alone, and of the prompt with each option.
    fn framed(&self, text: &str, options: &[&str]) -> Result<(Vec<TokenId>, Vec<Vec<TokenId>>)> {
        let answers: Vec<String> = options.iter().map(|o| self.answer(Some(o))).collect();
        let hostile = self.has_special(text) || answers.iter().any(|answer| self.has_special(answer));
        if let Some(start) = self.decoder_start {
            let Frame { before, after, .. } = &self.frame;
            let with = if hostile { &self.literal } else { &self.tokenizer };
            let prompt = self.encode(with, &format!("{before}{text}{after}"), self.frame.add_special_tokens)?;
            return self.decoded(prompt, start, &answers, with);
        }
        let both = |encode: &dyn Fn(&str) -> Result<Vec<TokenId>>| {
            Ok((encode("")?, answers.iter().map(|answer| encode(answer)).collect::<Result<_>>()?))
        };
        match &self.pieces {
            Some(pieces) => {
                // A name that looks like a special token is data, and encoded as plain characters.
                let with = if hostile { &self.literal } else { &self.tokenizer };
                let start = self.start(pieces, text, with)?;
                both(&|answer| {
                    Ok([&start[..], &self.encode(with, &format!("{}{answer}", pieces.tail), false)?].concat())
                })
            }
            None if hostile => both(&|answer| self.spelled(text, answer)),
            None => both(&|answer| self.whole(text, answer)),
        }
    }

    /// An encoder's prompt with the decoder's start token, alone and with each answer.
    fn decoded(
        &self,
        mut prompt: Vec<TokenId>,
        start: TokenId,
        answers: &[String],
        with: &Tokenizer,
    ) -> Result<(Vec<TokenId>, Vec<Vec<TokenId>>)> {
        prompt.push(start);
        let joint = |answer: &String| Ok([&prompt[..], &self.encode(with, answer, false)?].concat());
        let joint = answers.iter().map(joint).collect::<Result<_>>()?;
        Ok((prompt, joint))
    }

    /// What follows the prompt's text when an option is answered.
    fn answer(&self, option: Option<&str>) -> String {
        option.map(|o| format!("{}{o}", self.frame.delimiter)).unwrap_or_default()
    }

    /// Everything in one.
    fn whole(&self, text: &str, answer: &str) -> Result<Vec<TokenId>> {
        let Frame { before, after, .. } = &self.frame;
        let ids = self.encode(&self.tokenizer, &format!("{before}{text}{after}{answer}"), false)?;
        Ok([&self.prefix[..], &ids].concat())
    }

    /// Up to the text before the answer.
    fn start(&self, pieces: &Pieces, text: &str, with: &Tokenizer) -> Result<Vec<TokenId>> {
        let [lead, follow] = &pieces.around;
        let question = self.encode(with, &format!("{lead}{text}{follow}"), false)?;
        Ok([&self.prefix[..], &pieces.head, &question, &pieces.middle].concat())
    }

    /// A text or answer that looks like a special token, as plain characters between the frame's own special tokens.
    fn spelled(&self, text: &str, answer: &str) -> Result<Vec<TokenId>> {
        let Frame { before, after, .. } = &self.frame;
        let (head, lead) = before.split_at(self.last_special_end(before));
        let (follow, rest) = after.split_at(self.first_special_start(after));
        let (middle, tail) = rest.split_at(self.last_special_end(rest));
        let mut ids = self.prefix.clone();
        ids.extend(self.encode(&self.tokenizer, head, false)?);
        if rest.is_empty() {
            ids.extend(self.encode(&self.literal, &format!("{lead}{text}{follow}{answer}"), false)?);
        } else {
            ids.extend(self.encode(&self.literal, &format!("{lead}{text}{follow}"), false)?);
            ids.extend(self.encode(&self.tokenizer, middle, false)?);
            ids.extend(self.encode(&self.literal, &format!("{tail}{answer}"), false)?);
        }
        Ok(ids)
    }

    fn encode(&self, with: &Tokenizer, text: &str, special: bool) -> Result<Vec<TokenId>> {
        if text.is_empty() && !special {
            return Ok(Vec::new());
        }
        guarded(&self.path, TOKENIZER, || {
            let encoding = with.encode_fast(text, special).map_err(|e| Error::Tokenizer {
                path: self.path.clone(),
                message: format!("cannot encode {text:?}: {e}"),
            })?;
            Ok(encoding.get_ids().to_vec())
        })
    }

    fn has_special(&self, text: &str) -> bool {
        self.special.iter().any(|token| text.contains(token.as_str()))
    }

    fn last_special_end(&self, text: &str) -> usize {
        self.special.iter().filter_map(|t| text.rfind(t.as_str()).map(|at| at + t.len())).max().unwrap_or(0)
    }

    fn first_special_start(&self, text: &str) -> usize {
        self.special.iter().filter_map(|t| text.find(t.as_str())).min().unwrap_or(text.len())
    }
}

/// What its reader, which panics on some that are not, calls for.
const TOKENIZER: &str = "a tokenizer.json";

/// Reads `tokenizer.json`; texts are tokenised as they are, whatever padding and truncation it asks for.
fn load(path: &Path) -> Result<Tokenizer> {
    let fault = |message: String| Error::Tokenizer { path: path.into(), message };
    let bytes = fs_err::read(path)?;
    let mut tokenizer = guarded(path, TOKENIZER, || {
        Tokenizer::from_bytes(&bytes).map_err(|e| fault(format!("not a tokenizer.json: {e}")))
    })?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|e| fault(e.to_string()))?;
    Ok(tokenizer)
}

fn check_vocabulary(tokenizer: &Tokenizer, path: &Path, vocab_size: usize) -> Result<()> {
    // A model may have more rows than the tokenizer has tokens (padding), never fewer.
    let highest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if (highest as usize) < vocab_size {
        return Ok(());
    }
    let message = format!(
        "has token ids up to {highest}, but the model's vocabulary holds {vocab_size}: not this model's tokenizer"
    );
    Err(Error::Tokenizer { path: path.into(), message })
}

/// Length of the common prefix of two sequences.
pub(crate) fn common_prefix<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prompts::template::{Style, SystemText, Wording};

    /// Single characters, with `: ` and `ab` as merges, no splitting into words, and a BOS that the post-processor adds.
    const TOKENIZER: &str = r#"{
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null, "decoder": null,
        "added_tokens": [
            {"id": 0, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
            {"id": 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [0], "tokens": ["<s>"]}}},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"<s>": 0, "</s>": 1, "x": 2, ":": 3, " ": 4, "a": 5, "b": 6, ": ": 7, "ab": 8, "s": 9, "/": 10, "<": 11, ">": 12},
            "merges": [[":", " "], ["a", "b"]]}}"#;

    pub(super) fn tokenizer(delimiter: &str) -> PromptTokenizer {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), TOKENIZER).unwrap();
        let frame = Frame {
            before: String::new(),
            after: ":".into(),
            lead: String::new(),
            delimiter: delimiter.into(),
            closing: String::new(),
            add_special_tokens: true,
            system: SystemText::Absent,
        };
        PromptTokenizer::new(file.path(), frame, Some(1)).unwrap()
    }

    #[test]
    fn an_option_that_merges_with_the_prompt_backs_off() {
        // "x:" is x, `:`; "x: b" is x, `: `, b: the prompt keeps what all options leave it.
        let question = tokenizer(" ").question("x", &["b", "xb"], Close::Auto).unwrap();
        assert_eq!(question.prompt, [0, 2], "one BOS, then x");
        assert_eq!(question.options, [vec![7, 6], vec![7, 2, 6]]);
        // Lengths are never those of an option tokenised alone.
        assert_eq!((question.n_tokens(0), question.n_tokens(1)), (2, 3));
        assert_eq!(question.longest(), 5);
    }

    #[test]
    fn options_that_begin_each_other_are_closed_together() {
        let tokenizer = tokenizer("");
        let question = tokenizer.question("x", &["b", "bx"], Close::Auto).unwrap();
        assert_eq!((question.closed, &question.options[..]), (true, &[vec![6, 1], vec![6, 2, 1]][..]));
        assert_eq!(question.n_tokens(1), 2);
        // `a` does not begin `ab`, which is one token.
        assert!(!tokenizer.question("x", &["a", "ab"], Close::Auto).unwrap().closed);
        assert!(!tokenizer.question("x", &["b", "bx"], Close::Never).unwrap().closed);
        assert!(tokenizer.question("x", &["a", "b"], Close::Always).unwrap().closed);
    }

    #[test]
    fn an_option_without_tokens_is_refused_by_name() {
        let error = tokenizer("").question("x", &["a", ""], Close::Auto).unwrap_err().to_string();
        assert_eq!(error, "option \"\" has no tokens of its own after \"x:\"");
    }

    #[test]
    fn a_name_that_looks_like_a_special_token_is_text() {
        let question = tokenizer("").question("</s>", &["a", "</s>"], Close::Auto).unwrap();
        assert_eq!(question.prompt, [0, 11, 10, 9, 12, 3]);
        assert_eq!(question.options[1], [11, 10, 9, 12]);
    }

    #[test]
    fn a_vocabulary_that_is_too_small_is_another_models() {
        assert!(tokenizer("").check_vocabulary(13).is_ok());
        assert!(tokenizer("").check_vocabulary(12).unwrap_err().to_string().contains("not this model's tokenizer"));
    }

    #[test]
    fn styles_without_a_template() {
        let wording = Wording::new("paper", Some("Be kind")).unwrap();
        let base = Frame::new(Style::Base, &wording, None).unwrap();
        assert_eq!((base.before.as_str(), base.after.as_str(), base.delimiter.as_str()), ("", " Answer:", " "));
        let plain = Frame::new(Style::Plain, &wording, None).unwrap();
        assert_eq!((plain.before.as_str(), plain.after.as_str(), plain.delimiter.as_str()), ("Be kind\n", "", " "));
        assert!(Frame::new(Style::Chat, &wording, None).is_err());
    }
}
