//! One request: a prompt and its choices, as a file's line or row holds them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text; in chat, the user's message.
    Text(String),
    /// A conversation of (role, content), for the model's chat template.
    Messages(Vec<(String, String)>),
}

/// A prompt with choices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its position among the requests of the file, from 0.
    pub row: usize,
    /// Its name; the position where the file gives none.
    pub id: String,
    /// File, line or row, and id: for error messages.
    pub place: String,
    /// What is asked.
    pub prompt: Prompt,
    /// What may follow, all different, none empty.
    pub choices: Vec<String>,
    /// Index of the right choice.
    pub gold: Option<usize>,
    /// Text between prompt and choice; the style's own unless given.
    pub delimiter: Option<String>,
    /// The text that a choice's log-probability is compared with; the empty context unless given.
    pub context: Option<String>,
}

/// The fields that are read.
pub(crate) const FIELDS: [&str; 7] = ["id", "prompt", "messages", "choices", "gold", "delimiter", "context"];

impl Request {
    /// Reads a request from the fields of a line or row; null is as good as absent.
    ///
    /// # Errors
    /// [`Error::Request`] naming `place`, the id where there is one, and the field.
    pub fn from_fields(mut fields: Map<String, Value>, row: usize, place: &str) -> Result<Self> {
        fields.retain(|_, value| !value.is_null());
        let mut reader = Reader { place: place.to_owned(), fields };
        let given = reader.id()?;
        if let Some(id) = &given {
            reader.place = format!("{place} (id {id:?})");
        }
        let prompt = reader.prompt()?;
        let choices = reader.choices()?;
        Ok(Self {
            row,
            id: given.unwrap_or_else(|| row.to_string()),
            prompt,
            gold: reader.gold(&choices)?,
            choices,
            delimiter: reader.optional_text("delimiter")?,
            context: reader.optional_text("context")?,
            place: reader.place,
        })
    }

    /// A digest of the id that no two ids share.
    pub fn id_digest(&self) -> [u8; 16] {
        let digest = Sha256::digest(self.id.as_bytes());
        digest[..16].try_into().expect("sha256 has 32 bytes")
    }
}

struct Reader {
    place: String,
    fields: Map<String, Value>,
}

impl Reader {
    fn id(&mut self) -> Result<Option<String>> {
        match self.fields.remove("id") {
            None => Ok(None),
            Some(Value::String(id)) => Ok(Some(id)),
            Some(other) => match integer(&other) {
                Some(id) => Ok(Some(id.to_string())),
                None => Err(self.fault("id", shown(&other), "text or an integer")),
            },
        }
    }

    fn prompt(&mut self) -> Result<Prompt> {
        match (self.optional_text("prompt")?, self.fields.remove("messages")) {
            (Some(text), None) => Ok(Prompt::Text(text)),
            (None, Some(Value::Array(messages))) if !messages.is_empty() => {
                messages.iter().map(|message| self.message(message)).collect::<Result<_>>().map(Prompt::Messages)
            }
            (None, Some(other)) => Err(self.fault("messages", shown(&other), "a list of {role, content}")),
            (None, None) => Err(self.fault("prompt", "missing".into(), "a text, or `messages`")),
            (Some(_), Some(_)) => Err(self.fault("prompt", "there beside `messages`".into(), "one of the two")),
        }
    }

    fn message(&self, message: &Value) -> Result<(String, String)> {
        match (&message["role"], &message["content"]) {
            (Value::String(role), Value::String(content)) => Ok((role.clone(), content.clone())),
            _ => Err(self.fault("messages", shown(message), "a role and a content in each, both text")),
        }
    }

    fn choices(&mut self) -> Result<Vec<String>> {
        const EXPECTED: &str = "a list of one text or more";
        let values = match self.fields.remove("choices") {
            None => return Err(self.fault("choices", "missing".into(), EXPECTED)),
            Some(Value::Array(values)) if !values.is_empty() => values,
            Some(other) => return Err(self.fault("choices", shown(&other), EXPECTED)),
        };
        let mut choices = Vec::with_capacity(values.len());
        for (index, value) in values.into_iter().enumerate() {
            match value {
                Value::String(text) if text.is_empty() => {
                    return Err(self.fault(&format!("choices[{index}]"), "empty".into(), "a text that can be scored"));
                }
                Value::String(text) => choices.push(text),
                other => return Err(self.fault(&format!("choices[{index}]"), shown(&other), "a text")),
            }
        }
        let mut seen = BTreeSet::new();
        if let Some(index) = choices.iter().position(|choice| !seen.insert(choice)) {
            let found = format!("{:?}, which stands twice", choices[index]);
            return Err(self.fault(&format!("choices[{index}]"), found, "choices that differ"));
        }
        Ok(choices)
    }

    fn gold(&mut self, choices: &[String]) -> Result<Option<usize>> {
        let Some(value) = self.fields.remove("gold") else { return Ok(None) };
        let index = match &value {
            Value::String(text) => choices.iter().position(|choice| choice == text),
            other => integer(other).and_then(|i| usize::try_from(i).ok()).filter(|i| *i < choices.len()),
        };
        let expected = || match choices.len() {
            1 => "0 or the choice's text".to_owned(),
            n => format!("0 to {} or the text of a choice", n - 1),
        };
        index.map(Some).ok_or_else(|| self.fault("gold", shown(&value), &expected()))
    }

    fn optional_text(&mut self, field: &str) -> Result<Option<String>> {
        match self.fields.remove(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.fault(field, shown(&other), "a text")),
        }
    }

    fn fault(&self, field: &str, found: String, expected: &str) -> Error {
        Error::Request { place: self.place.clone(), what: format!("`{field}`"), found, expected: expected.into() }
    }
}

/// An integer, also where a column with gaps has become one of floating-point numbers.
fn integer(value: &Value) -> Option<i64> {
    #[allow(clippy::cast_possible_truncation, reason = "checked to be whole and small")]
    let whole = |x: f64| (x.fract() == 0.0 && x.abs() < 9e15).then_some(x as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}

/// A value as it is quoted in a message: not more than a line of it.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(fields: Value) -> Result<Request> {
        let Value::Object(fields) = fields else { panic!("fields") };
        Request::from_fields(fields, 4, "r.jsonl, line 6")
    }

    #[test]
    fn fields_in_their_forms() {
        let request = read(json!({"prompt": "Q", "choices": ["a", "b"], "gold": "b", "id": null})).unwrap();
        assert_eq!((request.id.as_str(), request.gold, request.row), ("4", Some(1), 4));
        let messages = json!([{"role": "user", "content": "Q"}]);
        let request =
            read(json!({"messages": messages, "choices": ["a"], "gold": 0.0, "id": 17, "delimiter": ""})).unwrap();
        assert_eq!((request.id.as_str(), request.gold, request.delimiter.as_deref()), ("17", Some(0), Some("")));
        assert_eq!(request.prompt, Prompt::Messages(vec![("user".into(), "Q".into())]));
        // A number is an index, a text is a choice.
        assert_eq!(read(json!({"prompt": "", "choices": ["1", "0"], "gold": 0})).unwrap().gold, Some(0));
        assert_eq!(read(json!({"prompt": "", "choices": ["1", "0"], "gold": "0"})).unwrap().gold, Some(1));
    }

    #[test]
    fn faults_name_line_id_and_field() {
        let says = |fields: Value, expected: &str| assert_eq!(read(fields).unwrap_err().to_string(), expected);
        says(json!({"choices": ["a"]}), "r.jsonl, line 6: `prompt` is missing, expected a text, or `messages`");
        says(
            json!({"id": "q", "prompt": "Q", "choices": []}),
            "r.jsonl, line 6 (id \"q\"): `choices` is [], expected a list of one text or more",
        );
        says(
            json!({"id": 3, "prompt": "Q", "choices": ["a", "b", "a"]}),
            "r.jsonl, line 6 (id \"3\"): `choices[2]` is \"a\", which stands twice, expected choices that differ",
        );
        says(
            json!({"prompt": "Q", "choices": ["a", ""]}),
            "r.jsonl, line 6: `choices[1]` is empty, expected a text that can be scored",
        );
        says(json!({"prompt": "Q", "choices": ["a", 2]}), "r.jsonl, line 6: `choices[1]` is 2, expected a text");
        for gold in [json!(2), json!(-1), json!("c"), json!(0.5), json!(true)] {
            let expected = format!("r.jsonl, line 6: `gold` is {gold}, expected 0 to 1 or the text of a choice");
            says(json!({"prompt": "Q", "choices": ["a", "b"], "gold": gold}), &expected);
        }
        let both = json!({"prompt": "Q", "messages": [{"role": "user", "content": "Q"}], "choices": ["a"]});
        says(both, "r.jsonl, line 6: `prompt` is there beside `messages`, expected one of the two");
        let no_content = json!({"messages": [{"role": "user"}], "choices": ["a"]});
        assert!(read(no_content).unwrap_err().to_string().contains("a role and a content in each"));
        assert!(read(json!({"prompt": 7, "choices": ["a"]})).unwrap_err().to_string().contains("`prompt` is 7"));
    }
}
