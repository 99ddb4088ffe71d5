//! Real chat templates against transformers' own engine. `golden/templates/README.md` says where they come from.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use alike::prompts::chat_template::{ChatTemplate, TemplateOptions};
use alike::prompts::template::{Example, Frame, PAPER_SYSTEM, Style, SystemText, Wording};
use alike::prompts::tokens::{Close, PromptTokenizer};
use serde_json::{Value, json};

use crate::support::{copy_folder, fail, path, succeed, tiny};

#[derive(serde::Deserialize)]
pub(crate) struct Families {
    pub(crate) families: BTreeMap<String, Family>,
    /// Models whose template could not be had.
    pub(crate) gaps: BTreeMap<String, String>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Family {
    file: Option<PathBuf>,
    bos: Option<String>,
    eos: Option<String>,
    pub(crate) models: Vec<String>,
}

fn folder() -> PathBuf {
    path("tests/it/golden/templates")
}

impl Families {
    pub(crate) fn read() -> Self {
        toml::from_str(&std::fs::read_to_string(folder().join("families.toml")).unwrap()).unwrap()
    }
}

impl Family {
    fn template(&self, name: &str) -> ChatTemplate {
        let file = folder().join(self.file.clone().unwrap_or_else(|| format!("{name}.jinja").into()));
        let tokens = [("bos_token", &self.bos), ("eos_token", &self.eos)];
        let tokens = tokens.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?))).collect();
        let text = std::fs::read_to_string(&file).unwrap();
        ChatTemplate::new(&text, &file, tokens, TemplateOptions::new()).unwrap()
    }
}

fn golden() -> Value {
    serde_json::from_str(include_str!("golden/templates/golden.json")).unwrap()
}

/// The wording of the golden file.
fn wording() -> Wording {
    Wording::new("paper", None).unwrap()
}

#[test]
fn every_family_is_rendered_as_transformers_renders_it() {
    let golden = golden();
    let (user, answer) = (golden["user"].as_str().unwrap(), golden["answer"].as_str().unwrap());
    assert_eq!(
        (user, PAPER_SYSTEM),
        (&*wording().ask("bear", "ice cream", "hammer"), golden["system"].as_str().unwrap())
    );
    let Families { families, .. } = Families::read();
    assert_eq!(families.keys().collect::<Vec<_>>(), golden["families"].as_object().unwrap().keys().collect::<Vec<_>>());

    for (name, family) in &families {
        let expected = &golden["families"][name];
        let template = family.template(name);
        let frame = Frame::new(Style::Chat, &wording(), Some(&template)).unwrap();
        // Up to the generation prompt; then up to where an answer begins, and past its end.
        let up_to_lead = frame.after.strip_suffix(&frame.lead).unwrap();
        assert_eq!(format!("{}{user}{up_to_lead}", frame.before), expected["asked"].as_str().unwrap(), "{name}");
        let Frame { before, after, delimiter, closing, .. } = &frame;
        let answered = format!("{before}{user}{after}{delimiter}{answer}{closing}");
        assert_eq!(answered, expected["answered"].as_str().unwrap(), "{name}, answered");
        assert_eq!(frame.system == SystemText::Folded, expected["folded"].as_bool().unwrap(), "{name}");

        // The same after an answered question.
        let words = |n: usize| golden["earlier"][n]["content"].as_str().unwrap();
        assert_eq!((words(0), words(1)), ("Which item is most similar to cat: dog or car?", "dog"));
        let example =
            Example::Anchored { anchor: "cat".into(), first: "dog".into(), second: "car".into(), answer: "dog".into() };
        let other = Wording::new("Which item is most similar to {anchor}: {first} or {second}?", None).unwrap();
        let frame = Frame::new(Style::Chat, &other.after(vec![example]).unwrap(), Some(&template)).unwrap();
        let up_to_lead = frame.after.strip_suffix(&frame.lead).unwrap();
        assert_eq!(
            format!("{}{user}{up_to_lead}", frame.before),
            expected["after_another"].as_str().unwrap(),
            "{name}, after another"
        );
    }
}

/// What sets a family apart: where its answer begins and ends, where the system text went, what its template was told.
#[test]
fn what_sets_families_apart() {
    let Families { families, .. } = Families::read();
    let golden = golden();
    for (name, family) in &families {
        let template = family.template(name);
        let frame = Frame::new(Style::Chat, &wording(), Some(&template)).unwrap();
        let (lead, delimiter) = match name.as_str() {
            "gpt-oss" => ("<|channel|>final<|message|>", ""),
            "llama-2" | "falcon-7b-instruct" => ("", " "),
            _ => ("", ""),
        };
        assert_eq!((frame.lead.as_str(), frame.delimiter.as_str()), (lead, delimiter), "{name}");
        let system = match name.as_str() {
            "gemma-2" => SystemText::Folded,
            "phi-3-medium" => SystemText::Dropped,
            _ => SystemText::Kept,
        };
        assert_eq!(frame.system, system, "{name}");
        let settings = match name.as_str() {
            "llama-3.1" => json!({"date_string": golden["options"]["date_string"]}),
            "qwen3" => json!({"enable_thinking": false}),
            "gpt-oss" => json!({"today": "26 Jul 2024"}),
            _ => json!({}),
        };
        assert_eq!(json!(template.settings()), settings, "{name}");
    }
}

/// A folder with the tiny tokenizer, which is made to put BOS before every text, and a template.
fn with_bos(folder: &Path, template: &str) -> (PathBuf, ChatTemplate) {
    let mut tokenizer: Value =
        serde_json::from_slice(&std::fs::read(tiny("standard").join("tokenizer.json")).unwrap()).unwrap();
    let added = tokenizer["added_tokens"].as_array().unwrap();
    let bos = added.iter().find(|token| token["content"] == "<|im_start|>").unwrap()["id"].clone();
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [bos], "tokens": ["<|im_start|>"]}},
    });
    let file = folder.join("tokenizer.json");
    std::fs::write(&file, tokenizer.to_string()).unwrap();
    let tokens = vec![("bos_token".to_owned(), "<|im_start|>".to_owned())];
    (file.clone(), ChatTemplate::new(template, &file, tokens, TemplateOptions::new()).unwrap())
}

#[test]
fn there_is_one_bos_whoever_writes_it() {
    let scratch = tempfile::tempdir().unwrap();
    let body = "{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}";
    for (style, source, n_expected) in [
        (Style::Chat, format!("{{{{ bos_token }}}}{body}"), 1),
        // As in transformers: in chat, the template alone decides.
        (Style::Chat, body.to_owned(), 0),
        (Style::Base, body.to_owned(), 1),
        (Style::Plain, body.to_owned(), 1),
    ] {
        let (file, template) = with_bos(scratch.path(), &source);
        let frame = Frame::new(style, &wording(), Some(&template)).unwrap();
        let tokenizer = PromptTokenizer::new(&file, frame, Some(0)).unwrap();
        let bos = tokenizer.id("<|im_start|>").unwrap();
        let question = tokenizer.question("bear: cat or dog?", &["cat", "dog"], Close::Never).unwrap();
        let n = question.prompt.iter().filter(|id| **id == bos).count();
        assert_eq!(n, n_expected, "{style} {source}");
        assert!(n == 0 || question.prompt[0] == bos);
    }
}

/// A model whose template has a switch: what `alike.json` sets is used, shown, recorded, and part of the fingerprint.
#[test]
fn template_options_come_from_the_folder_and_are_recorded() {
    let scratch = tempfile::tempdir().unwrap();
    let model = scratch.path().join("model");
    copy_folder(&tiny("scoring"), &model);
    let change = |name: &str, key: &str, value: Value| {
        let file = model.join(name);
        let mut json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        json[key] = value;
        std::fs::write(file, json.to_string()).unwrap();
    };
    let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}hm\n{% endif %}{% endif %}";
    change("tokenizer_config.json", "chat_template", template.into());
    let model_flag = model.to_str().unwrap();
    let check = || succeed(&["check", "--model", model_flag, "--self-test", "1"]);
    let shown = check();
    assert!(shown.contains("template   enable_thinking = false") && shown.contains("hm\\n\""), "{shown}");
    assert!(shown.contains("bos        \"<|im_start|>\" (id 1), 3 in the prompt"), "{shown}");

    let triplets = scratch.path().join("triplets.csv");
    std::fs::write(&triplets, "anchor,first,second\nbear,cat,dog\n").unwrap();
    let judged = |out: &str| -> Value {
        let out = scratch.path().join(out);
        let flags = ["--triplets", triplets.to_str().unwrap(), "--out", out.to_str().unwrap(), "--json"];
        serde_json::from_str(&succeed(&[&["judge", "--model", model_flag][..], &flags].concat())).unwrap()
    };
    let off = judged("off");
    assert_eq!((&off["template_settings"], &off["system_text"]), (&json!({"enable_thinking": false}), &json!("kept")));
    change("alike.json", "template_options", json!({"enable_thinking": true}));
    let on = judged("on");
    assert_eq!(on["template_settings"], json!({"enable_thinking": true}));
    assert_ne!(on["fingerprint"], off["fingerprint"]);
    assert!(!check().contains("hm\\n\""));

    change("alike.json", "template_options", json!({"thinking": true}));
    let words = fail(&["check", "--model", model_flag]);
    assert!(words.contains("`template_options.thinking` is true, expected one that"), "{words}");
    assert!(words.contains("tokenizer_config.json reads: enable_thinking"), "{words}");
    change("alike.json", "template_options", json!(3));
    let words = fail(&["check", "--model", model_flag]);
    assert!(words.contains("alike.json: `template_options` 3, expected an object"), "{words}");
}

#[test]
fn an_answer_closes_with_a_token_and_not_with_the_space_before_it() {
    let scratch = tempfile::tempdir().unwrap();
    let source = "{% for m in messages %}{{ '[INST] ' + m.content + ' [/INST]' if m.role != 'assistant' else ' ' + m.content + ' <|im_end|>' }}{% endfor %}";
    let (file, template) = with_bos(scratch.path(), source);
    let frame = Frame::new(Style::Chat, &wording(), Some(&template)).unwrap();
    let tokenizer = PromptTokenizer::new(&file, frame, None).unwrap();
    assert_eq!(tokenizer.text(tokenizer.closing()), "<|im_end|>");
    // The space before an answer is the answer's, as in the text that such models were tuned on.
    let question = tokenizer.question("bear: cat or dog?", &["cat", "dog"], Close::Never).unwrap();
    assert!(tokenizer.text(*question.prompt.last().unwrap()).ends_with(']'));
    assert!(tokenizer.text(question.options[0][0]).starts_with(' '));
}
