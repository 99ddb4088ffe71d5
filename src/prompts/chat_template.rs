//! A model's own chat template: Jinja, rendered as Hugging Face transformers renders it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{Environment, ErrorKind, Value, context};
use serde_json::Value as Json;

use crate::error::{Error, Result};
use crate::guard::guarded_deep;
use crate::prompts::frame::{Frame, SystemText};

/// Variables by name, as JSON.
pub type TemplateOptions = BTreeMap<String, Json>;

/// A compiled template with everything it may read but the conversation.
pub struct ChatTemplate {
    environment: Environment<'static>,
    path: PathBuf,
    special_tokens: Vec<(String, String)>,
    options: TemplateOptions,
    /// Names that it reads and does not set itself.
    reads: Vec<String>,
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChatTemplate").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Steps a template may take: a thousand times what real ones need, a blink for a hostile one.
const FUEL: u64 = 2_000_000;

/// Four times the longest template of the suite. The engine's compiler recurses over chains of operators, and takes the square of
/// their length.
const MOST_BYTES: usize = 64 << 10;

/// The day that templates are told, so that prompts do not change overnight: Llama 3.1's own default.
const TODAY: &str = "26 Jul 2024";

/// What templates are told unless `alike.json` says otherwise: an answer that is scored is not thought about first.
fn default_options() -> TemplateOptions {
    [("date_string", Json::from(TODAY)), ("enable_thinking", Json::from(false))].map(|(n, v)| (n.into(), v)).into()
}

/// What every template may read, and no option can set.
const GIVEN: [&str; 7] =
    ["messages", "add_generation_prompt", "tools", "documents", "raise_exception", "strftime_now", "namespace"];

impl ChatTemplate {
    /// Compiles the template text of `path`. `special_tokens` are the names a template may use (`bos_token`, ...),
    /// `options` what `alike.json` sets beside them (`enable_thinking`, ...).
    ///
    /// # Errors
    /// [`Error::Template`] with the line of a syntax error, [`Error::Setting`] for an option that the template does not read.
    pub fn new(
        source: &str,
        path: &Path,
        special_tokens: Vec<(String, String)>,
        options: TemplateOptions,
    ) -> Result<Self> {
        let fail = |error: minijinja::Error| Error::Template { path: path.into(), message: describe(&error) };
        let mut environment = Environment::new();
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(fail)?);
        environment.set_fuel(Some(FUEL));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |message: String| -> Result<String, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, message))
        });
        environment.add_function("strftime_now", |format: String| today(&format));
        // Hugging Face's tojson: no HTML escaping, and a space after separators as Python's json.dumps writes it.
        environment.add_filter("tojson", |value: Value, _options: Kwargs| -> Result<String, minijinja::Error> {
            python_json(&value).map_err(|e| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string()))
        });
        environment.add_filter("indent", indent);
        if source.len() > MOST_BYTES {
            let message = format!("it has {} bytes, and at most {MOST_BYTES} are read", source.len());
            return Err(Error::Template { path: path.into(), message });
        }
        let names = guarded_deep(path, TEMPLATE, || {
            environment.add_template_owned("chat", without_generation_tags(source)).map_err(fail)?;
            Ok(environment.get_template("chat").map_err(fail)?.undeclared_variables(false))
        })?;
        let mut reads: Vec<String> = names.into_iter().collect();
        reads.sort();

        let settable: Vec<&str> = reads
            .iter()
            .map(String::as_str)
            .filter(|name| !GIVEN.contains(name) && special_tokens.iter().all(|(token, _)| token != name))
            .collect();
        if let Some((name, value)) = options.iter().find(|(name, _)| !settable.contains(&name.as_str())) {
            return Err(Error::Setting {
                field: format!("template_options.{name}"),
                found: value.to_string(),
                expected: match settable[..] {
                    [] => format!("no option: {} reads none", path.display()),
                    _ => format!("one that {} reads: {}", path.display(), settable.join(", ")),
                },
            });
        }
        let options = default_options().into_iter().chain(options).collect();
        Ok(Self { environment, path: path.into(), special_tokens, options, reads })
    }

    /// The options that the template reads, with their values, and the day if it asks for one.
    pub fn settings(&self) -> TemplateOptions {
        let reads = |name: &str| self.reads.iter().any(|read| read == name);
        let mut settings = self.options.clone();
        settings.retain(|name, _| reads(name));
        if reads("strftime_now") {
            settings.insert("today".into(), TODAY.into());
        }
        settings
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
        variables.extend(self.options.iter().map(|(name, value)| (name.clone(), Value::from(Serde(value)))));
        variables.insert("messages".into(), Value::from(messages));
        variables.insert("add_generation_prompt".into(), Value::from(add_generation_prompt));
        // As transformers passes them: there, and none.
        variables.insert("tools".into(), Value::from(()));
        variables.insert("documents".into(), Value::from(()));
        let template = self.environment.get_template("chat").map_err(fail)?;
        let variables = Value::from(variables);
        guarded_deep(&self.path, TEMPLATE, || template.render(variables).map_err(fail))
    }

    /// The text around the user's message, after a system text and answered questions.
    ///
    /// # Errors
    /// [`Error::Template`] when it fails for both ways of passing the system text, or alters the question.
    pub(crate) fn frame(&self, system: &str, turns: &[(String, &str)]) -> Result<Frame> {
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

        // Some families (Gemma 2, early Mistral) raise on a system message; their users put that text into the first turn,
        // as Gemma 3's template does by itself.
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
        let (before, after) = (&prompt[..at], &prompt[at + USER.len()..]);
        let probe = "Is it {x} or \"y\"?";
        if render(folded, probe, None)? != format!("{before}{probe}{after}") {
            return Err(alter());
        }
        // An answer begins where the template puts one: in GPT-OSS's final channel, after the space of Llama 2.
        let answered = render(folded, USER, Some(ANSWER))?;
        let (up_to, closing) = answered.rsplit_once(ANSWER).unwrap_or_default();
        let beyond = up_to.strip_prefix(&prompt).unwrap_or_default();
        let lead = beyond.trim_end_matches(' ');
        Ok(Frame {
            before: before.to_owned(),
            after: format!("{after}{lead}"),
            lead: lead.to_owned(),
            delimiter: beyond[lead.len()..].to_owned(),
            closing: closing.to_owned(),
            add_special_tokens: false,
            system: match (system.is_empty(), folded, before.contains(system)) {
                (true, ..) => SystemText::Absent,
                (_, true, _) => SystemText::Folded,
                (_, _, true) => SystemText::Kept,
                (_, _, false) => SystemText::Dropped,
            },
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

/// Python's `strftime` of [`TODAY`], at midnight.
fn today(format: &str) -> Result<String, minijinja::Error> {
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        // `%-d` and `%-m` are without a leading zero.
        let directive: String = match rest.next() {
            Some('-') => ['-'].into_iter().chain(rest.next()).collect(),
            other => other.into_iter().collect(),
        };
        text.push_str(match directive.as_str() {
            "d" | "-d" => "26",
            "a" => "Fri",
            "A" => "Friday",
            "m" => "07",
            "-m" => "7",
            "b" => "Jul",
            "B" => "July",
            "y" => "24",
            "Y" => "2024",
            "j" => "208",
            "F" => "2024-07-26",
            "H" | "M" | "S" => "00",
            "%" => "%",
            other => {
                let message = format!("strftime_now knows no %{other}");
                return Err(minijinja::Error::new(ErrorKind::InvalidOperation, message));
            }
        });
    }
    Ok(text)
}

/// `{% generation %}` marks what an assistant wrote, for training: it adds no text, so a condition that holds stands for it.
fn without_generation_tags(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut rest = source;
    while let Some((before, tag)) = rest.split_once("{%") {
        let (inner, after) = tag.split_once("%}").unwrap_or((tag, ""));
        let word = inner.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let inner = match word {
            "generation" => inner.replace(word, "if true"),
            "endgeneration" => inner.replace(word, "endif"),
            _ => inner.to_owned(),
        };
        let end = if tag.contains("%}") { "%}" } else { "" };
        text.extend([before, "{%", &inner, end]);
        rest = after;
    }
    text + rest
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

/// What the engine should stand.
const TEMPLATE: &str = "a chat template";

/// Jinja's filter, with an end to its width: the engine's own would take all memory.
fn indent(
    text: String,
    width: Option<usize>,
    first: Option<bool>,
    blank: Option<bool>,
    named: Kwargs,
) -> Result<String, minijinja::Error> {
    const MOST: usize = 1000;
    let width = width.or(named.get("width")?).unwrap_or(4);
    let first = first.or(named.get("first")?).unwrap_or(false);
    let blank = blank.or(named.get("blank")?).unwrap_or(false);
    named.assert_all_used()?;
    if width > MOST {
        let words = format!("indent by {width}, more than {MOST}");
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, words));
    }
    let margin = " ".repeat(width);
    let line = |(i, line): (usize, &str)| {
        let indented = if i == 0 { first } else { blank || !line.is_empty() };
        if indented { format!("{margin}{line}") } else { line.to_owned() }
    };
    Ok(text.split('\n').enumerate().map(line).collect::<Vec<_>>().join("\n"))
}

#[cfg(test)]
mod tests;
