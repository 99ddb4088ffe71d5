//! The ways of writing an option that count as naming it.

use crate::error::{Error, Result};
use crate::prompts::tokens::{Close, PromptTokenizer, Question};

/// A question whose options may each be written in several forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormedQuestion {
    /// The question; its options are the forms of the first option, then those of the second, and so on.
    pub question: Question,
    /// The forms of each option, as written first; empty where an option has no other form.
    forms: Vec<Vec<String>>,
}

/// The forms of an option: as written, with a capital, and each of the articles before it.
///
/// The article is `an` before a vowel letter, else `a`: `an hour` and `a unicorn` would want a dictionary.
pub fn surface_forms(option: &str) -> Vec<String> {
    let capitalised = |text: &str| {
        let mut chars = text.chars();
        chars.next().map(|first| first.to_uppercase().chain(chars).collect::<String>()).unwrap_or_default()
    };
    let vowel = option.chars().next().is_some_and(|c| "aeiou".contains(c.to_ascii_lowercase()));
    let mut forms = vec![option.to_owned(), capitalised(option)];
    for article in [if vowel { "an" } else { "a" }, "the"] {
        let with = format!("{article} {option}");
        forms.extend([capitalised(&with), with]);
    }
    let mut seen = std::collections::HashSet::new();
    forms.retain(|form| seen.insert(form.clone()));
    forms
}

impl FormedQuestion {
    /// A question whose options have no other forms.
    pub fn plain(question: Question) -> Self {
        let forms = vec![Vec::new(); question.options.len()];
        Self { question, forms }
    }

    /// Number of options.
    pub fn n_options(&self) -> usize {
        self.forms.len()
    }

    /// Number of forms of an option.
    pub fn n_forms(&self, option: usize) -> usize {
        self.forms[option].len().max(1)
    }

    /// Where the option as written stands among the question's options.
    pub fn written(&self, option: usize) -> usize {
        (0..option).map(|before| self.n_forms(before)).sum()
    }

    /// The texts of an option's forms; `name` is the option as written.
    pub fn texts<'a>(&'a self, option: usize, name: &'a str) -> Vec<&'a str> {
        match &self.forms[option][..] {
            [] => vec![name],
            forms => forms.iter().map(String::as_str).collect(),
        }
    }
}

impl PromptTokenizer {
    /// Tokenises a question text with every form of its options, each closed: "the answer is exactly this". Closed forms do
    /// not begin each other, so that their probabilities add up.
    ///
    /// A form without tokens of its own is left out. One that is written with the same tokens as another of its option
    /// counts once; one that could name several options counts for the option that is so written, or else for none.
    ///
    /// # Errors
    /// As [`PromptTokenizer::question`], for options as written.
    pub fn formed_question(&self, text: &str, options: &[&str]) -> Result<FormedQuestion> {
        let mut texts: Vec<(usize, String)> = Vec::new();
        for (option, name) in options.iter().enumerate() {
            texts.extend(surface_forms(name).into_iter().map(|form| (option, form)));
        }
        let mut question = loop {
            let forms: Vec<&str> = texts.iter().map(|(_, form)| form.as_str()).collect();
            match self.question(text, &forms, Close::Always) {
                Err(Error::EmptyOption { option, .. }) if !options.contains(&option.as_str()) => {
                    texts.retain(|(_, form)| *form != option);
                }
                other => break other?,
            }
        };
        let written = |index: usize| options[texts[index].0] == texts[index].1;
        let counts = |index: usize| {
            let same = |other: &usize| question.options[*other] == question.options[index];
            let (mine, others): (Vec<usize>, Vec<usize>) =
                (0..texts.len()).filter(same).partition(|other| texts[*other].0 == texts[index].0);
            if written(index) {
                return true;
            }
            if let Some(other) = others.first() {
                let (form, other) = (&texts[index].1, options[texts[*other].0]);
                tracing::debug!(
                    "{form:?} could name {:?} or {other:?}: not a form of the former",
                    options[texts[index].0]
                );
                return false;
            }
            mine[0] == index
        };
        let counted: Vec<usize> = (0..texts.len()).filter(|index| counts(*index)).collect();
        let mut forms = vec![Vec::new(); options.len()];
        for &index in &counted {
            forms[texts[index].0].push(texts[index].1.clone());
        }
        question.options = counted.iter().map(|index| question.options[*index].clone()).collect();
        Ok(FormedQuestion { question, forms })
    }
}
