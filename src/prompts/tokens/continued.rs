//! Texts as they are given, with their continuations: the split of lm-evaluation-harness.

use crate::error::Result;
use crate::prompts::tokens::{Close, PromptTokenizer, Question, TokenId};

impl PromptTokenizer {
    /// Tokenises a whole text, within no frame, jointly with each option behind a delimiter, and splits them at the first
    /// token that differs. Returns also how many tokens the text alone has beyond those that stay with the prompt.
    ///
    /// As in lm-evaluation-harness, text that looks like a special token is one; an empty text is the token `start`, on
    /// its own; and white space that ends a text belongs to the options, unless a chat template wrote it. An encoder reads
    /// all of a text, and options are tokenised alone.
    ///
    /// # Errors
    /// As [`PromptTokenizer::question`].
    pub fn continued(
        &self,
        text: &str,
        delimiter: &str,
        options: &[&str],
        start: TokenId,
        close: Close,
    ) -> Result<(Question, usize)> {
        if let Some(decoder_start) = self.decoder_start {
            let answers: Vec<String> = options.iter().map(|option| format!("{delimiter}{option}")).collect();
            let prompt = self.encode(&self.tokenizer, text, self.frame.add_special_tokens)?;
            let (alone, joint) = self.decoded(prompt, decoder_start, &answers, &self.tokenizer)?;
            return Ok((self.split(text, &alone, &joint, options, close)?, 0));
        }
        let kept = if self.frame.add_special_tokens { text.trim_end() } else { text };
        if kept.is_empty() {
            let after_start = |option: &&str| -> Result<Vec<TokenId>> {
                let mut ids = self.encode(&self.tokenizer, &format!("{text}{delimiter}{option}"), false)?;
                if ids.len() < 2 || ids[0] != start {
                    ids.insert(0, start);
                }
                Ok(ids)
            };
            let joint: Vec<Vec<TokenId>> = options.iter().map(after_start).collect::<Result<_>>()?;
            return Ok((self.split("", &[start], &joint, options, close)?, 0));
        }
        let alone = self.as_given(kept)?;
        let joint = options.iter().map(|option| self.as_given(&format!("{text}{delimiter}{option}")));
        let question = self.split(kept, &alone, &joint.collect::<Result<Vec<_>>>()?, options, close)?;
        let n_alone = if kept.len() < text.len() { self.as_given(text)?.len() } else { alone.len() };
        let n_moved = n_alone.saturating_sub(question.prompt.len());
        Ok((question, n_moved))
    }

    /// A text with what the post-processor puts before one, unless it begins with that already.
    fn as_given(&self, text: &str) -> Result<Vec<TokenId>> {
        let mut ids = self.encode(&self.tokenizer, text, false)?;
        if !ids.starts_with(&self.prefix) {
            ids.splice(0..0, self.prefix.iter().copied());
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use crate::prompts::tokens::Close;
    use crate::prompts::tokens::tests::tokenizer;

    #[test]
    fn whole_texts_are_continued_as_the_harness_does() {
        let tokenizer = tokenizer("");
        let ask = |text: &str, delimiter: &str, options: &[&str]| {
            tokenizer.continued(text, delimiter, options, 1, Close::Never).unwrap()
        };
        // White space that ends a text is scored with the options; as two texts or as one, the tokens are the same.
        let (question, n_moved) = ask("x: ", "", &["b", "xb"]);
        assert_eq!((&question.prompt[..], n_moved), (&[0, 2][..], 1), "`: ` is one token that `:` alone is not");
        assert_eq!(question.options, [vec![7, 6], vec![7, 2, 6]]);
        let (same, n_moved) = ask("x:", " ", &["b", "xb"]);
        assert_eq!((same, n_moved), (question, 1));
        assert_eq!(ask("x ", "", &["b"]).0.options, [vec![4, 6]]);
        // Special tokens in a text are special, and BOS is not doubled.
        assert_eq!(ask("<s>x</s>", "", &["b"]).0.prompt, [0, 2, 1]);
        // Nothing, or nothing but white space, is the start token.
        let (empty, _) = ask("", " ", &["b", "ab"]);
        assert_eq!((empty.prompt, empty.options), (vec![1], vec![vec![4, 6], vec![4, 8]]));
        assert_eq!(ask(" ", "", &["b"]).0, ask("", " ", &["b"]).0);
        // A choice that begins with the start token is not told it twice.
        assert_eq!(ask("", "", &["</s>b"]).0.options, [vec![6]]);
        let nothing = tokenizer.continued("x", "", &[""], 1, Close::Never).unwrap_err().to_string();
        assert_eq!(nothing, "option \"\" has no tokens of its own after \"x\"");
    }
}
