//! The text of a prompt: its wording, its style, and the frame around a question.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::presentations::Task;
use crate::prompts::chat_template::ChatTemplate;
pub use crate::prompts::frame::{Frame, SystemText};

/// How a model is spoken to: a property of the model, not guessed from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// The model's chat template over system and user text.
    Chat,
    /// System text, newline, question: tuned models without a template.
    Plain,
    /// A question to be completed after `Answer:`: base models.
    Base,
}

impl FromStr for Style {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "chat" => Ok(Self::Chat),
            "plain" => Ok(Self::Plain),
            "base" => Ok(Self::Base),
            _ => Err(Error::Setting {
                field: "style".into(),
                found: text.into(),
                expected: "chat, plain or base".into(),
            }),
        }
    }
}

impl std::fmt::Display for Style {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Chat => "chat",
            Self::Plain => "plain",
            Self::Base => "base",
        })
    }
}

/// The system text of the paper.
pub const PAPER_SYSTEM: &str = "You are a helpful assistant who gives responses to questions";

/// What is asked: a system text and a question with places for three names, `{anchor}`, `{first}` and `{second}` or, of
/// the odd one out, `{a}`, `{b}` and `{c}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wording {
    /// What is asked of the three.
    pub task: Task,
    /// System text; the `base` style leaves it out.
    pub system: String,
    /// The question.
    pub question: String,
    /// Answered questions that come before it.
    pub examples: Vec<Example>,
}

/// A question with its answer, shown before the one that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "an example is `{ anchor, first, second, answer }`, of the odd one out `{ a, b, c, answer }`"
)]
pub enum Example {
    /// Of [`Task::Anchored`].
    Anchored {
        /// The thing compared with.
        anchor: String,
        /// The option named first.
        first: String,
        /// The option named second.
        second: String,
        /// The option that is the answer.
        answer: String,
    },
    /// Of [`Task::OddOneOut`].
    OddOneOut {
        /// The concept named first.
        a: String,
        /// The concept named second.
        b: String,
        /// The concept named third.
        c: String,
        /// The odd one.
        answer: String,
    },
}

impl Example {
    /// The task, the three names in its order, and the answer.
    fn parts(&self) -> (Task, [&str; 3], &str) {
        match self {
            Self::Anchored { anchor, first, second, answer } => (Task::Anchored, [anchor, first, second], answer),
            Self::OddOneOut { a, b, c, answer } => (Task::OddOneOut, [a, b, c], answer),
        }
    }
}

/// The instruction that every built-in wording carries, and the whole user text of the neutral prompt.
const INSTRUCTION: &str = "Respond only with the item name.";

impl Wording {
    /// The wording of an anchored question: see [`Wording::of`].
    ///
    /// # Errors
    /// As [`Wording::of`].
    pub fn new(wording: &str, system: Option<&str>) -> Result<Self> {
        Self::of(Task::Anchored, wording, system)
    }

    /// The named wording `paper` or `instruction-first` of a task, or the text itself if it has the task's three places.
    ///
    /// # Errors
    /// [`Error::Setting`] for a custom text in which a place is missing or stands twice.
    pub fn of(task: Task, wording: &str, system: Option<&str>) -> Result<Self> {
        let ask = match task {
            Task::Anchored => "QUESTION: Which item is most similar to {anchor}: {first} or {second}?",
            Task::OddOneOut => "QUESTION: Which item is the odd one out: {a}, {b} or {c}?",
        };
        let question = match wording {
            "paper" => format!("{ask} {INSTRUCTION}"),
            "instruction-first" => format!("{INSTRUCTION} {ask}"),
            custom => {
                for place in places(task) {
                    if custom.matches(&place).count() != 1 {
                        return Err(Error::Setting {
                            field: "prompt.wording".into(),
                            found: format!("{custom:?}"),
                            expected: format!("paper, instruction-first, or a text with {place} in it once"),
                        });
                    }
                }
                custom.trim().to_owned()
            }
        };
        Ok(Self { task, system: system.unwrap_or(PAPER_SYSTEM).trim().to_owned(), question, examples: Vec::new() })
    }

    /// The same after some answered questions.
    ///
    /// # Errors
    /// [`Error::Setting`] for an example of another task, one whose answer is none of its options, or whose names are not
    /// three.
    pub fn after(self, examples: Vec<Example>) -> Result<Self> {
        for example in &examples {
            let (task, names, answer) = example.parts();
            let quoted = |names: &[&str]| names.iter().map(|n| format!("{n:?}")).collect::<Vec<_>>();
            let wrong =
                |found: String, expected: String| Error::Setting { field: "prompt.few_shot".into(), found, expected };
            if task != self.task {
                let keys = format!("{} and answer: the task is {}", self.task.concepts().join(", "), self.task.name());
                return Err(wrong(format!("an example with {}", task.concepts().join(", ")), keys));
            }
            let [one, two, three] = names;
            if names.iter().any(|name| name.trim().is_empty()) || one == two || one == three || two == three {
                return Err(wrong(quoted(&names).join(", "), "three different names".into()));
            }
            let options = &names[3 - task.options().len()..];
            if !options.contains(&answer) {
                return Err(wrong(format!("the answer {answer:?}"), quoted(options).join(" or ")));
            }
        }
        Ok(Self { examples, ..self })
    }

    /// The examples as (question, answer).
    pub(crate) fn turns(&self) -> Vec<(String, &str)> {
        let turn = |(_, [one, two, three], answer): (Task, [&str; 3], _)| (self.ask(one, two, three), answer);
        self.examples.iter().map(|example| turn(example.parts())).collect()
    }

    /// The question about three names, in the order of the task's places.
    pub fn ask(&self, one: &str, two: &str, three: &str) -> String {
        // One pass, so that a name that looks like a place stays a name.
        let mut text = String::with_capacity(self.question.len() + one.len() + two.len() + three.len());
        let places: Vec<(String, &str)> = places(self.task).into_iter().zip([one, two, three]).collect();
        let mut rest = self.question.as_str();
        while let Some(at) = rest.find('{') {
            text.push_str(&rest[..at]);
            if let Some((place, name)) = places.iter().find(|(place, _)| rest[at..].starts_with(place.as_str())) {
                text.push_str(name);
                rest = &rest[at + place.len()..];
            } else {
                text.push('{');
                rest = &rest[at + 1..];
            }
        }
        text.push_str(rest);
        text
    }

    /// The user text that asks for an answer without asking anything: the condition of `prior_*`.
    pub fn neutral() -> &'static str {
        INSTRUCTION
    }
}

/// Where the three names of a task stand in a question.
fn places(task: Task) -> [String; 3] {
    task.concepts().map(|name| format!("{{{name}}}"))
}

impl Frame {
    /// The frame of the `plain` and `base` styles, or of a chat template.
    ///
    /// # Errors
    /// [`Error::Template`] when the template fails for both ways of passing the system text, or alters the question.
    pub fn new(style: Style, wording: &Wording, template: Option<&ChatTemplate>) -> Result<Self> {
        let untemplated = |before: String, after: &str, system: SystemText| Self {
            before,
            after: after.into(),
            lead: String::new(),
            delimiter: " ".into(),
            closing: String::new(),
            add_special_tokens: true,
            system,
        };
        let lines = |after: &str| -> String {
            wording.turns().iter().map(|(question, answer)| format!("{question}{after} {answer}\n")).collect()
        };
        match (style, template) {
            (Style::Base, _) => Ok(untemplated(lines(" Answer:"), " Answer:", SystemText::Absent)),
            (Style::Plain, _) if wording.system.is_empty() => Ok(untemplated(lines(""), "", SystemText::Absent)),
            (Style::Plain, _) => Ok(untemplated(format!("{}\n{}", wording.system, lines("")), "", SystemText::Kept)),
            (Style::Chat, Some(template)) => template.frame(&wording.system, &wording.turns()),
            (Style::Chat, None) => Err(Error::Setting {
                field: "style".into(),
                found: "chat".into(),
                expected: "plain or base: this model has no chat template".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wordings() {
        let paper = Wording::new("paper", None).unwrap();
        assert_eq!(
            paper.ask("bear", "cat", "{first}"),
            "QUESTION: Which item is most similar to bear: cat or {first}? Respond only with the item name."
        );
        assert!(Wording::new("Is {anchor} like {first}?", None).is_err());
        assert_eq!(Wording::new("{second}? {first}? {anchor}!", None).unwrap().ask("a", "b", "c"), "c? b? a!");
    }

    #[test]
    fn wordings_of_the_odd_one_out() {
        let paper = Wording::of(Task::OddOneOut, "paper", None).unwrap();
        assert_eq!(
            paper.ask("bear", "{c}", "car"),
            "QUESTION: Which item is the odd one out: bear, {c} or car? Respond only with the item name."
        );
        let first = Wording::of(Task::OddOneOut, "instruction-first", None).unwrap();
        assert_eq!(
            first.ask("bear", "cat", "car"),
            "Respond only with the item name. QUESTION: Which item is the odd one out: bear, cat or car?"
        );
        let custom = |text: &str| Wording::of(Task::OddOneOut, text, None);
        assert_eq!(custom("{c}/{a}/{b}?").unwrap().ask("x", "y", "z"), "z/x/y?");
        assert!(custom("{a} or {b}?").unwrap_err().to_string().contains("a text with {c} in it once"));
        assert!(custom("{anchor}: {first} or {second}?").is_err());

        let example = |answer: &str| Example::OddOneOut {
            a: "cat".into(),
            b: "dog".into(),
            c: "car".into(),
            answer: answer.into(),
        };
        let shown = paper.clone().after(vec![example("car")]).unwrap();
        let base = Frame::new(Style::Base, &shown, None).unwrap();
        assert!(base.before.ends_with("cat, dog or car? Respond only with the item name. Answer: car\n"));
        let error = |wording: Wording, example| wording.after(vec![example]).unwrap_err().to_string();
        assert!(error(paper, example("cow")).contains("\"cat\" or \"dog\" or \"car\""));
        let anchored = Wording::new("paper", None).unwrap();
        let words = error(anchored, example("car"));
        assert!(words.contains("an example with a, b, c") && words.contains("anchor, first, second and answer"));
    }
}
