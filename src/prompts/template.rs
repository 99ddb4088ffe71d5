//! The text of a prompt: wording, style, and the model's own chat template.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, ErrorKind, Value, context};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::presentations::Task;

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
    fn turns(&self) -> Vec<(String, &str)> {
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

/// The fixed text around a question, and how an option follows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Text before the question.
    pub before: String,
    /// Text after the question, up to where the answer begins.
    pub after: String,
    /// Text between prompt and option.
    pub delimiter: &'static str,
    /// What the template writes after an assistant's message; empty where the end-of-sequence token closes an answer.
    pub closing: String,
    /// Whether the tokenizer's own special tokens (BOS) are added: a chat template writes its own.
    pub add_special_tokens: bool,
    /// Whether the template refused a system message, so that its text went into the user's.
    pub system_folded: bool,
}

impl Frame {
    /// The frame of the `plain` and `base` styles, or of a chat template.
    ///
    /// # Errors
    /// [`Error::Template`] when the template fails for both ways of passing the system text, or alters the question.
    pub fn new(style: Style, wording: &Wording, template: Option<&ChatTemplate>) -> Result<Self> {
        let untemplated = |before: String, after: &str| Self {
            before,
            after: after.into(),
            delimiter: " ",
            closing: String::new(),
            add_special_tokens: true,
            system_folded: false,
        };
        let lines = |after: &str| -> String {
            wording.turns().iter().map(|(question, answer)| format!("{question}{after} {answer}\n")).collect()
        };
        match (style, template) {
            (Style::Base, _) => Ok(untemplated(lines(" Answer:"), " Answer:")),
            (Style::Plain, _) if wording.system.is_empty() => Ok(untemplated(lines(""), "")),
            (Style::Plain, _) => Ok(untemplated(format!("{}\n{}", wording.system, lines("")), "")),
            (Style::Chat, Some(template)) => template.frame(&wording.system, &wording.turns()),
            (Style::Chat, None) => Err(Error::Setting {
                field: "style".into(),
                found: "chat".into(),
                expected: "plain or base: this model has no chat template".into(),
            }),
        }
    }
}

/// A model's chat template, rendered as Hugging Face transformers renders it.
pub struct ChatTemplate {
    environment: Environment<'static>,
    path: PathBuf,
    special_tokens: Vec<(String, String)>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Steps a template may take: a thousand times what real ones need, a blink for a hostile one.
const FUEL: u64 = 2_000_000;

/// The day that `strftime_now` tells, so that prompts do not change overnight (Llama 3.1's own default).
const TODAY: &str = "26 Jul 2024";

impl ChatTemplate {
    /// Compiles the template text of `path`; `special_tokens` are the names a template may use (`bos_token`, ...).
    ///
    /// # Errors
    /// [`Error::Template`] with the line of a syntax error.
    pub fn new(source: &str, path: &Path, special_tokens: Vec<(String, String)>) -> Result<Self> {
        let fail = |error: minijinja::Error| Error::Template { path: path.into(), message: describe(&error) };
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(fail)?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |_format: String| TODAY);
        // Hugging Face's tojson: no HTML escaping, and a space after separators as Python's json.dumps writes it.
        environment.add_filter("tojson", |value: Value, _options: Kwargs| -> Result<String, minijinja::Error> {
            python_json(&value).map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string()))
        });
        environment.add_template_owned("chat", source.to_owned()).map_err(fail)?;
        Ok(Self { environment, path: path.into(), special_tokens })
    }

    /// Renders messages of (role, content).
    ///
    /// # Errors
    /// [`Error::Template`] with the template's own message if it raises, or the engine's.
    pub fn render(&self, messages: &[(&str, &str)], add_generation_prompt: bool) -> Result<String> {
        let fail = |error: minijinja::Error| Error::Template { path: self.path.clone(), message: describe(&error) };
        let messages: Vec<Value> =
            messages.iter().map(|(role, content)| context! { role => *role, content => *content }).collect();
        let mut variables: BTreeMap<String, Value> =
            self.special_tokens.iter().map(|(name, text)| (name.clone(), Value::from(text.as_str()))).collect();
        variables.insert("messages".into(), Value::from(messages));
        variables.insert("add_generation_prompt".into(), Value::from(add_generation_prompt));
        let template = self.environment.get_template("chat").map_err(fail)?;
        template.render(Value::from(variables)).map_err(fail)
    }

    /// The text around the user's message.
    fn frame(&self, system: &str, turns: &[(String, &str)]) -> Result<Frame> {
        const USER: &str = "Which of the two?";
        const ANSWER: &str = "That one.";
        let messages = |folded: bool, user: &str| -> Vec<(&'static str, String)> {
            let earlier = turns
                .iter()
                .flat_map(|(question, answer)| [("user", question.clone()), ("assistant", (*answer).to_owned())]);
            let mut messages: Vec<(&'static str, String)> = earlier.collect();
            messages.push(("user", user.to_owned()));
            match (system.is_empty(), folded) {
                (true, _) => {}
                (false, false) => messages.insert(0, ("system", system.to_owned())),
                (false, true) => messages[0].1.insert_str(0, &format!("{system}\n\n")),
            }
            messages
        };
        let render = |folded: bool, user: &str, answer: Option<&str>| {
            let mut messages = messages(folded, user);
            messages.extend(answer.map(|a| ("assistant", a.to_owned())));
            let borrowed: Vec<(&str, &str)> = messages.iter().map(|(role, text)| (*role, text.as_str())).collect();
            self.render(&borrowed, answer.is_none())
        };

        // Some families (Gemma, early Mistral) raise on a system message; their users put that text into the first turn.
        let (folded, prompt) = match render(false, USER, None) {
            Ok(prompt) => (false, prompt),
            Err(refused) => match render(true, USER, None) {
                Ok(prompt) if !system.is_empty() => (true, prompt),
                _ => return Err(refused),
            },
        };
        let alter = || Error::Template {
            path: self.path.clone(),
            message: "it does not carry the user's message as it is written".into(),
        };
        let at = prompt.rfind(USER).ok_or_else(alter)?;
        let (before, after) = (prompt[..at].to_owned(), prompt[at + USER.len()..].to_owned());
        let probe = "Is it {x} or \"y\"?";
        if render(folded, probe, None)? != format!("{before}{probe}{after}") {
            return Err(alter());
        }
        let answered = render(folded, USER, Some(ANSWER))?;
        let closing = answered.rfind(ANSWER).map_or("", |at| &answered[at + ANSWER.len()..]);
        Ok(Frame {
            before,
            after,
            delimiter: "",
            closing: closing.to_owned(),
            add_special_tokens: false,
            system_folded: folded,
        })
    }
}

fn describe(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" (line {line})")).unwrap_or_default();
    match error.detail() {
        Some(detail) => format!("{detail}{line}"),
        None => format!("{error}{line}"),
    }
}

/// JSON with the separators of Python's `json.dumps(ensure_ascii=False)`.
fn python_json(value: &Value) -> serde_json::Result<String> {
    struct Spaced;
    impl serde_json::ser::Formatter for Spaced {
        fn begin_array_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W, first: bool) -> std::io::Result<()> {
            if first { Ok(()) } else { w.write_all(b", ") }
        }
        fn begin_object_key<W: ?Sized + std::io::Write>(&mut self, w: &mut W, first: bool) -> std::io::Result<()> {
            if first { Ok(()) } else { w.write_all(b", ") }
        }
        fn begin_object_value<W: ?Sized + std::io::Write>(&mut self, w: &mut W) -> std::io::Result<()> {
            w.write_all(b": ")
        }
    }
    let mut bytes = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, Spaced);
    serde::Serialize::serialize(value, &mut serializer)?;
    Ok(String::from_utf8(bytes).expect("serde_json writes UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHATML: &str = "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";
    const NO_SYSTEM: &str = "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for m in messages %}<start_of_turn>{{ m['role'] if m['role'] != 'assistant' else 'model' }}\n{{ m['content'] | trim }}<end_of_turn>\n{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}";

    fn template(source: &str) -> Result<ChatTemplate> {
        ChatTemplate::new(source, Path::new("tokenizer_config.json"), vec![("bos_token".into(), "<bos>".into())])
    }

    #[test]
    fn chatml_frame() {
        let wording = Wording::new("paper", Some("Be kind")).unwrap();
        let frame = Frame::new(Style::Chat, &wording, Some(&template(CHATML).unwrap())).unwrap();
        assert_eq!(frame.before, "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\n");
        assert_eq!(frame.after, "<|im_end|>\n<|im_start|>assistant\n");
        assert_eq!(frame.closing, "<|im_end|>\n");
        assert!(!frame.system_folded && !frame.add_special_tokens);
    }

    #[test]
    fn a_refused_system_message_goes_into_the_users() {
        let wording = Wording::new("paper", Some("Be kind")).unwrap();
        let frame = Frame::new(Style::Chat, &wording, Some(&template(NO_SYSTEM).unwrap())).unwrap();
        assert!(frame.system_folded);
        assert_eq!(frame.before, "<bos><start_of_turn>user\nBe kind\n\n");
        assert_eq!(frame.after, "<end_of_turn>\n<start_of_turn>model\n");
        assert_eq!(frame.closing, "<end_of_turn>\n");
    }

    #[test]
    fn examples_are_earlier_turns_or_lines() {
        let example = |answer: &str| Example::Anchored {
            anchor: "cat".into(),
            first: "dog".into(),
            second: "car".into(),
            answer: answer.into(),
        };
        let wording = Wording::new("{anchor}: {first}, {second}?", Some("Be kind")).unwrap();
        let wording = wording.after(vec![example("dog"), example("car")]).unwrap();
        let chat = Frame::new(Style::Chat, &wording, Some(&template(CHATML).unwrap())).unwrap();
        assert_eq!(
            chat.before,
            "<|im_start|>system\nBe kind<|im_end|>\n<|im_start|>user\ncat: dog, car?<|im_end|>\n<|im_start|>assistant\ndog<|im_end|>\n\
             <|im_start|>user\ncat: dog, car?<|im_end|>\n<|im_start|>assistant\ncar<|im_end|>\n<|im_start|>user\n"
        );
        assert_eq!(
            (chat.after.as_str(), chat.closing.as_str()),
            ("<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n")
        );
        let folded = Frame::new(Style::Chat, &wording, Some(&template(NO_SYSTEM).unwrap())).unwrap();
        assert!(folded.before.starts_with("<bos><start_of_turn>user\nBe kind\n\ncat: dog"), "{}", folded.before);
        assert!(folded.before.ends_with("car<end_of_turn>\n<start_of_turn>user\n"));
        let base = Frame::new(Style::Base, &wording, None).unwrap();
        assert_eq!(base.before, "cat: dog, car? Answer: dog\ncat: dog, car? Answer: car\n");
        let plain = Frame::new(Style::Plain, &wording, None).unwrap();
        assert_eq!(plain.before, "Be kind\ncat: dog, car? dog\ncat: dog, car? car\n");
        let error = Wording::new("paper", None).unwrap().after(vec![example("cow")]).unwrap_err().to_string();
        assert!(error.contains("prompt.few_shot") && error.contains("\"cow\"") && error.contains("\"dog\" or \"car\""));
    }

    #[test]
    fn templates_that_raise_loop_or_do_not_parse_are_named() {
        let wording = Wording::new("paper", None).unwrap();
        let error = |source: &str| {
            template(source).and_then(|t| Frame::new(Style::Chat, &wording, Some(&t))).unwrap_err().to_string()
        };
        assert!(error("{{ raise_exception('only tools here') }}").contains("only tools here"));
        assert!(
            error("{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}").contains("fuel")
        );
        assert!(error("{% if %}").contains("tokenizer_config.json"));
        assert!(error("always the same").contains("does not carry the user's message"));
    }

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

    #[test]
    fn tojson_writes_what_python_writes() {
        let rendered = template("{{ {'a': [1, 'é<'], 'b': none} | tojson }}").unwrap().render(&[], false).unwrap();
        assert_eq!(rendered, "{\"a\": [1, \"é<\"], \"b\": null}");
    }
}
