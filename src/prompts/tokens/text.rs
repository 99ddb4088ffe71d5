//! Whole texts, as an encoder reads them.

use std::path::{Path, PathBuf};

use super::{TOKENIZER, TokenId, Tokenizer, check_vocabulary, load};
use crate::error::{Error, Result};
use crate::guard::guarded;

/// A text as token ids, with what the tokenizer's post-processor puts around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TextTokens {
    /// Ids of its tokens.
    pub ids: Vec<TokenId>,
    /// The segment of each token, as the post-processor says: 0 throughout for BERT and its like.
    pub type_ids: Vec<u32>,
}

/// An encoder's tokenizer.
#[derive(Debug)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    path: PathBuf,
}

impl TextTokenizer {
    /// Reads `tokenizer.json`. Padding and truncation that it asks for are not done.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] for an unreadable file.
    pub fn new(path: &Path) -> Result<Self> {
        let mut tokenizer = load(path)?;
        // A name that looks like a special token is data.
        tokenizer.set_encode_special_tokens(true);
        Ok(Self { tokenizer, path: path.into() })
    }

    /// Tokenises a text.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when that fails, or gives no token.
    pub fn text(&self, text: &str) -> Result<TextTokens> {
        let fault = |message: String| Error::Tokenizer { path: self.path.clone(), message };
        let encoding = guarded(&self.path, TOKENIZER, || {
            self.tokenizer.encode(text, true).map_err(|e| fault(format!("cannot encode {text:?}: {e}")))
        })?;
        if encoding.is_empty() {
            return Err(fault(format!("{text:?} has no tokens")));
        }
        Ok(TextTokens { ids: encoding.get_ids().to_vec(), type_ids: encoding.get_type_ids().to_vec() })
    }

    /// Checks that every token has a row in an encoder's vocabulary.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when ids go beyond it: the tokenizer belongs to another model.
    pub fn check_vocabulary(&self, vocab_size: usize) -> Result<()> {
        check_vocabulary(&self.tokenizer, &self.path, vocab_size)
    }

    /// The written forms of tokens.
    pub fn written(&self, tokens: &TextTokens) -> Vec<String> {
        let form = |id: &TokenId| self.tokenizer.id_to_token(*id).unwrap_or_else(|| format!("<{id}>"));
        tokens.ids.iter().map(form).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lower-cased words and their ends, between marks that the post-processor adds; the file asks for padding to five.
    const WORDS: &str = r###"{
        "version": "1.0", "truncation": {"max_length": 3, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 5}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "[PAD]"},
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"}, "decoder": null,
        "added_tokens": [
            {"id": 2, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [1], "tokens": ["[CLS]"]},
                "[SEP]": {"id": "[SEP]", "ids": [2], "tokens": ["[SEP]"]}}},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {"[PAD]": 0, "[CLS]": 1, "[SEP]": 2, "[UNK]": 3, "ice": 4, "cream": 5, "##s": 6, "sep": 7, "[": 8, "]": 9}}}"###;

    #[test]
    fn texts_are_framed_and_neither_padded_nor_cut() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs_err::write(file.path(), WORDS).unwrap();
        let tokenizer = TextTokenizer::new(file.path()).unwrap();
        let tokens = tokenizer.text("Ice Creams").unwrap();
        assert_eq!(tokens, TextTokens { ids: vec![1, 4, 5, 6, 2], type_ids: vec![0, 0, 0, 0, 1] });
        assert_eq!(tokenizer.written(&tokens), ["[CLS]", "ice", "cream", "##s", "[SEP]"]);
        // Only the post-processor adds special tokens.
        assert_eq!(tokenizer.text("[SEP]").unwrap().ids, [1, 8, 7, 9, 2]);
        assert!(tokenizer.check_vocabulary(10).is_ok());
        assert!(tokenizer.check_vocabulary(9).unwrap_err().to_string().contains("not this model's tokenizer"));
    }
}
